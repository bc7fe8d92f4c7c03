"""Writes the trained parts as they are bundled: fp16 safetensors in the layout that diffusers and transformers read.

python tools/tiny/export.py                 # after vae.py and clip.py (the UNet trains on exactly what is exported),
                                            # and again after unet.py and vae.py --decoder
"""

import argparse
import json
import shutil
from pathlib import Path

import torch
import vae as vae_script
from clip import ROLES, build, mean_std
from common import GENERATOR, WORK, images, to_tensor
from diffusers import PNDMScheduler
from torch import nn
from transformers import CLIPImageProcessor, CLIPTextModel, CLIPTokenizer
from unet import PREDICTION
from unet import build as build_unet

from t2i.models.layout import settle

ASSETS = Path("t2i/assets")
MODEL_INDEX = {
    "_class_name": "StableDiffusionPipeline",
    "_diffusers_version": "0.35.0",
    "feature_extractor": [None, None],
    "image_encoder": [None, None],
    "requires_safety_checker": False,
    "safety_checker": [None, None],
    "scheduler": ["diffusers", "PNDMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}


def load_average(module: nn.Module, path: Path) -> None:
    """Puts the averaged weights of a checkpoint into `module`."""
    state = torch.load(path, weights_only=True)
    module.load_state_dict(state["model"])
    with torch.no_grad():
        for parameter, value in zip((p for p in module.parameters() if p.requires_grad), state["average"], strict=True):
            parameter.copy_(value)


def export_scheduler(target: Path) -> None:
    """SD 1.x's noise schedule, for velocity; `clip_sample` is there for the schedulers made from this configuration.

    PNDM has no such option, but DDIM and DDPM clip the denoised latents to [-1, 1] unless it says false, and guided
    samples fall apart.
    """
    PNDMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type=PREDICTION,
        skip_prk_steps=True,
        steps_offset=1,
        set_alpha_to_one=False,
    ).save_pretrained(target)
    path = target / "scheduler_config.json"
    config = json.loads(path.read_text()) | {"clip_sample": False}
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def export_vae(work: Path, target: Path) -> None:
    """Encoder of `vae.pt`, decoder of `vae_decoder.pt` when there is one; measures the scaling factor."""
    model = vae_script.build()
    load_average(model, work / "vae.pt")
    if (work / "vae_decoder.pt").exists():
        model.encoder.requires_grad_(False)
        model.quant_conv.requires_grad_(False)
        load_average(model, work / "vae_decoder.pt")
    model.half().float()
    with torch.no_grad():
        sample = to_tensor(images(work, GENERATOR)[:2000])
        latents = torch.cat([model.encode(part).latent_dist.mode() for part in sample.split(100)])
    model.register_to_config(scaling_factor=round(1 / latents.std().item(), 5))
    model.half().save_pretrained(target)


def export_text(work: Path, target: Path) -> None:
    """Tokenizer and text tower."""
    shutil.copytree(work / "tokenizer", target / "tokenizer", dirs_exist_ok=True)
    tokenizer = CLIPTokenizer.from_pretrained(work / "tokenizer")
    clip = build("text", tokenizer)
    load_average(clip, work / "clip_text.pt")
    tower = CLIPTextModel(clip.config.text_config)
    tower.load_state_dict(clip.text_model.state_dict())
    tower.half().save_pretrained(target / "text_encoder")
    settle(target)


def export_evaluator(work: Path, target: Path) -> None:
    """The whole evaluator, its tokenizer and its preprocessing."""
    shutil.copytree(work / "tokenizer", target, dirs_exist_ok=True)
    clip = build("evaluator", CLIPTokenizer.from_pretrained(work / "tokenizer"))
    load_average(clip, work / "clip_evaluator.pt")
    clip.half().save_pretrained(target)
    mean, std = mean_std(images(work, ROLES["evaluator"][0]))
    CLIPImageProcessor(
        size={"shortest_edge": 64}, crop_size={"height": 64, "width": 64}, image_mean=mean, image_std=std
    ).save_pretrained(target)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=WORK, help="folder for caches and checkpoints")
    parser.add_argument("--assets", type=Path, default=ASSETS, help="folder that receives tiny/ and tiny_clip/")
    args = parser.parse_args()

    tiny, done = args.assets / "tiny", []
    tiny.mkdir(parents=True, exist_ok=True)
    (tiny / "model_index.json").write_text(json.dumps(MODEL_INDEX, indent=2) + "\n")
    export_scheduler(tiny / "scheduler")
    if (args.work / "vae.pt").exists():
        export_vae(args.work, tiny / "vae")
        done.append("vae")
    if (args.work / "clip_text.pt").exists():
        export_text(args.work, tiny)
        done.append("text_encoder")
    if (args.work / "unet.pt").exists():
        unet = build_unet()
        load_average(unet, args.work / "unet.pt")
        unet.half().save_pretrained(tiny / "unet")
        done.append("unet")
    if (args.work / "clip_evaluator.pt").exists():
        export_evaluator(args.work, args.assets / "tiny_clip")
        done.append("tiny_clip")
    size = sum(path.stat().st_size for path in args.assets.rglob("*") if path.is_file())
    print(json.dumps({"exported": done, "megabytes": round(size / 1e6, 2)}))


if __name__ == "__main__":
    main()

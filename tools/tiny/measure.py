"""How well the bundled tiny models draw what is asked, read by the evaluator that never saw their pictures.

python tools/tiny/measure.py                      # JSON, and the table in t2i/assets/tiny/README.md
python tools/tiny/measure.py --model tiny_flow    # the same of the model of flow matching
python tools/tiny/measure.py --count 60 --sheet build/tiny/sheet.png --no-card

A picture agrees when the evaluator's zero-shot class (30 classes, mean over three prompts each) is one of the
classes that its caption names; one caption in five names two, so chance is about 4 %.
"""

import argparse
import json
import math
import re
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from clip import classes, read_classes
from common import HELD_OUT, SIZE, WORLD_SEED, texts, to_tensor
from diffusers import AutoencoderKL, DDIMScheduler, DPMSolverMultistepScheduler, StableDiffusionPipeline
from PIL import Image
from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizer

from t2i.data.sources.scenes import describe, render
from t2i.models.config import Model
from t2i.models.load import load
from t2i.sampling.config import Guidance, shipped
from t2i.sampling.sampler import encode, sample
from t2i.store import Store

SCHEDULERS = {"ddim": DDIMScheduler, "dpmpp_2m": DPMSolverMultistepScheduler}
FIRST_SEED = 1000


def generate(
    pipeline: StableDiffusionPipeline, prompts: list[str], guidance: float, steps: int, batch: int = 50
) -> np.ndarray:
    """uint8 (N, 64, 64, 3); picture i has seed `FIRST_SEED` + i whatever the batch."""
    parts = []
    for start in range(0, len(prompts), batch):
        lines = prompts[start : start + batch]
        seeds = [torch.Generator().manual_seed(FIRST_SEED + start + number) for number in range(len(lines))]
        output = pipeline(
            lines,
            num_inference_steps=steps,
            guidance_scale=guidance,
            generator=seeds,
            output_type="np",
            height=SIZE,
            width=SIZE,
        )
        parts.append((output.images * 255).round().astype(np.uint8))
    return np.concatenate(parts)


def generate_flow(assets: Path, prompts: list[str], guidance: float, steps: int, batch: int = 50) -> np.ndarray:
    """The same of `tiny_flow`, by this project's sampler: plain diffusers computes 256 rows of zeros for T5, ours one that stands
    for them.
    """
    with tempfile.TemporaryDirectory() as folder:
        models = load(Model(name="tiny_flow", source=str(assets / "tiny_flow"), resolution=SIZE), Store(Path(folder)))
    scale, scheduler = Guidance(scale=guidance), replace(shipped()["flow_euler"], steps=steps)
    seeds = range(FIRST_SEED, FIRST_SEED + len(prompts))
    return np.concatenate(list(sample(models, encode(models, prompts, scale), seeds, scheduler, scale, batch)))


def wilson(right: int, count: int) -> list[float]:
    """95 % interval of a proportion (Wilson 1927)."""
    z, share = 1.96, right / count
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return [round(centre - half, 3), round(centre + half, 3)]


def sheet(path: Path, pixels: np.ndarray, columns: int = 10) -> None:
    """The pictures side by side, twice enlarged."""
    rows = math.ceil(len(pixels) / columns)
    canvas = Image.new("RGB", (columns * 130, rows * 130))
    for number, picture in enumerate(pixels):
        large = Image.fromarray(picture).resize((128, 128), Image.Resampling.LANCZOS)
        canvas.paste(large, (number % columns * 130, number // columns * 130))
    canvas.save(path)


def write_card(path: Path, numbers: dict) -> None:
    """Replaces the table between the two `numbers` marks of the model card."""
    rows = ["| pictures | agreement | 95 % interval |", "|---|---|---|"]
    rows += [
        f"| {name} | {100 * row['agreement']:.1f} % | {row['interval']} |" for name, row in numbers["rows"].items()
    ]
    text = "\n".join(["<!-- numbers -->", *rows, "", numbers["how"], "<!-- /numbers -->"])
    path.write_text(re.sub(r"<!-- numbers -->.*<!-- /numbers -->", lambda _: text, path.read_text(), flags=re.DOTALL))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=("tiny", "tiny_flow"), default="tiny")
    parser.add_argument("--assets", type=Path, default=Path("t2i/assets"))
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--scheduler", choices=tuple(SCHEDULERS), default="ddim")
    parser.add_argument("--guidance", type=float, nargs="+", default=[7.5, 1.0])
    parser.add_argument("--sheet", type=Path, help="write the pictures at the first guidance scale to this PNG")
    parser.add_argument("--card", action=argparse.BooleanOptionalAction, default=True, help="update the model card")
    args = parser.parse_args()

    held_out = range(HELD_OUT.start, HELD_OUT.start + args.count)
    truth = classes(held_out)
    prompts = [five[number % 5] for number, five in enumerate(texts(held_out))]
    clip = CLIPModel.from_pretrained(args.assets / "tiny_clip", dtype=torch.float32).eval()
    tokenizer = CLIPTokenizer.from_pretrained(args.assets / "tiny_clip")
    processor = CLIPImageProcessor.from_pretrained(args.assets / "tiny_clip")
    rows: dict[str, dict] = {}

    def read(name: str, pixels: np.ndarray) -> None:
        inputs = processor([Image.fromarray(picture) for picture in pixels], return_tensors="pt").pixel_values
        right = [found in named for found, named in zip(read_classes(clip, tokenizer, inputs), truth, strict=True)]
        single = [value for value, named in zip(right, truth, strict=True) if len(named) == 1]
        rows[name] = {
            "agreement": round(sum(right) / len(right), 4),
            "interval": wilson(sum(right), len(right)),
            "one_class_only": round(sum(single) / len(single), 4),
        }

    real = np.stack([np.asarray(render(describe(WORLD_SEED, index), SIZE)) for index in held_out])
    read("real held-out scenes (ceiling)", real)
    vae = AutoencoderKL.from_pretrained(args.assets / "tiny" / "vae", torch_dtype=torch.float32).eval()
    with torch.no_grad():
        parts = [vae.decode(vae.encode(part).latent_dist.mode()).sample for part in to_tensor(real).split(50)]
    output = torch.cat(parts).clamp(-1, 1)
    mse = (output - to_tensor(real)).square().mean().item()
    read("the same through the VAE", ((output + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy())
    if args.model == "tiny_flow":
        for number, guidance in enumerate(args.guidance):
            pixels = generate_flow(args.assets, prompts, guidance, args.steps)
            read(f"generated, guidance {guidance:g}", pixels)
            if number == 0 and args.sheet:
                sheet(args.sheet, pixels[:60])
    elif (args.assets / "tiny" / "unet").exists():
        pipeline = StableDiffusionPipeline.from_pretrained(args.assets / "tiny", torch_dtype=torch.float32)
        pipeline.scheduler = SCHEDULERS[args.scheduler].from_config(pipeline.scheduler.config)
        pipeline.set_progress_bar_config(disable=True)
        for number, guidance in enumerate(args.guidance):
            pixels = generate(pipeline, prompts, guidance, args.steps)
            read(f"generated, guidance {guidance:g}", pixels)
            if number == 0 and args.sheet:
                sheet(args.sheet, pixels[:60])
    psnr = 10 * math.log10(4 / mse)
    scheduler = "flow_euler" if args.model == "tiny_flow" else args.scheduler
    how = (
        f"{args.count} captions of scenes {held_out.start}-{held_out.stop - 1} (world seed {WORLD_SEED}), which nothing "
        f"was trained on; {scheduler}, {args.steps} steps, seeds {FIRST_SEED} + i. VAE on the same scenes: mean "
        f"squared error {mse:.4f} on [-1, 1], PSNR {psnr:.1f} dB."
    )
    numbers = {"rows": rows, "vae_mse": mse, "vae_psnr_db": psnr, "how": how}
    if args.card:
        write_card(args.assets / args.model / "README.md", numbers)
    print(json.dumps(numbers, indent=2))


if __name__ == "__main__":
    main()

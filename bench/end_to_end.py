"""From a folder of pictures to the numbers of the base and the tuned model: `python run.py` against a plain script.

    python -m bench end_to_end

The same pictures, captions, steps and seeds on both sides, fresh processes, processor time. The script prepares with Pillow,
trains attn2.to_v by the loop of diffusers' example (VAE and text encoder inside), draws with StableDiffusionPipeline in batches,
writes PNG files and asks torchmetrics. Ours also looks for duplicates and memorised pictures, keeps checkpoints, tells the
change with its interval and writes the report. Prepared pictures, the base model's pictures and its numbers must be equal;
the trainings draw noise of their own.
"""

import json
import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench._measure import ratio, rounded
from bench.startup import PROJECT, _processor_seconds

BATCH, RESOLUTION = 16, 64


def run(pictures: int = 400, steps: int = 60, images: int = 40, sampling: int = 20, rounds: int = 2) -> dict[str, Any]:
    """The ratio of the script's time to ours."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    start = partial(subprocess.run, check=True, capture_output=True, cwd=PROJECT, env=environment)
    ours, theirs, grey, numbers = [], [], 0, 0.0
    with tempfile.TemporaryDirectory() as scratch:
        data = Path(scratch) / "data"
        _draw(data, pictures)
        for number in range(rounds):
            outputs, made = Path(scratch) / f"ours{number}", Path(scratch) / f"theirs{number}"
            ours.append(_processor_seconds(partial(start, _command(data, outputs, steps, images, sampling))))
            _write_splits(outputs, Path(scratch) / "splits.json")
            script = f"from bench.end_to_end import peer; peer({str(made)!r}, {str(data)!r}, {steps}, {sampling})"
            theirs.append(_processor_seconds(partial(start, [sys.executable, "-c", script])))
            grey = max(grey, _compare_pictures(outputs, made))
            numbers = max(numbers, _compare_numbers(outputs, made))
            print(f"round {number + 1}: ours {ours[-1]:.1f} s, the script {theirs[-1]:.1f} s", flush=True)
    return {
        "what": f"{pictures} pictures, {steps} steps of {BATCH}, {images} pictures of {sampling} steps from both models",
        "clock": "process, of children",
        "ours_s": [rounded(value) for value in ours],
        "theirs_s": [rounded(value) for value in theirs],
        **ratio(theirs, ours),
        "largest_difference_of_base_pictures": grey,
        "largest_relative_difference_of_base_numbers": float(f"{numbers:.2g}"),
        "results_equal": grey <= 1 and numbers < 0.02,
    }


def _draw(folder: Path, count: int) -> None:
    from t2i.data.scenes.world import describe, draw

    folder.mkdir()
    rows = []
    for number in range(count):
        name = f"{number:05d}.jpg"
        scene = describe(0, number)
        draw(scene, 256)[0].convert("RGB").save(folder / name, quality=92)
        rows.append(json.dumps({"file_name": name, "text": f"a drawing, the {number}th of many"}))
    (folder / "metadata.jsonl").write_text("\n".join(rows), encoding="utf-8")


def _command(data: Path, outputs: Path, steps: int, images: int, sampling: int) -> list[str]:
    return [
        sys.executable,
        str(PROJECT / "run.py"),
        "parts=[data,train,compare]",
        "dataset=folder",
        f"dataset.root={data}",
        f"dataset.resolution={RESOLUTION}",
        "dataset.held_out_share=0.2",
        f"outputs={outputs}",
        "track.enabled=false",
        f"training.steps={steps}",
        f"training.batch_size={BATCH}",
        "training.validation_images=0",
        "training.held_out_images=16",
        "training.export_pipeline=false",
        "scheduler=ddim",
        f"scheduler.steps={sampling}",
        f"eval.images={images}",
        "eval.metrics=[fid,kid,clip_score]",
    ]


def _write_splits(outputs: Path, path: Path) -> None:
    """Which pictures are held out, and the captions that are drawn: the script takes them as given."""
    from t2i.data.prepared import Prepared

    prepared = Prepared(next(outputs.glob("store/prepared/[0-9a-f]*")))
    splits: dict[str, Any] = {
        name: [[i, texts[0]] for i, texts in zip(prepared.split(name).ids, prepared.split(name).captions, strict=True)]
        for name in ("train", "held_out")
    }
    held_out = {text for _, text in splits["held_out"]}
    drawn = (json.loads(path.read_text(encoding="utf-8")) for path in outputs.glob("store/generated/*/captions.json"))
    splits["captions"] = next(
        captions for captions in drawn if held_out.issuperset(captions)
    )  # others show training captions
    path.write_text(json.dumps(splits), encoding="utf-8")


def peer(folder: str, data: str, steps: int, sampling: int) -> None:
    """The plain script."""
    import diffusers
    import torch
    from PIL import Image

    made = Path(folder)
    splits = json.loads((made.parent / "splits.json").read_text(encoding="utf-8"))
    for name in ("train", "held_out"):
        (made / name).mkdir(parents=True)
        for file, _ in splits[name]:
            with Image.open(Path(data) / file) as image:
                image.draft(None, (2 * RESOLUTION, 2 * RESOLUTION))  # as ours does: decoded at half the size
                square = image.convert("RGB").resize((RESOLUTION, RESOLUTION), Image.Resampling.LANCZOS)
            square.save((made / name / file).with_suffix(".png"))
    tiny = PROJECT / "t2i" / "assets" / "tiny"
    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(tiny, safety_checker=None, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    numbers = {"base": _draw_and_measure(pipeline, made / "base", made / "held_out", splits["captions"], sampling)}
    _train(pipeline, made / "train", splits["train"], steps)
    numbers["tuned"] = _draw_and_measure(pipeline, made / "tuned", made / "held_out", splits["captions"], sampling)
    (made / "numbers.json").write_text(json.dumps(numbers), encoding="utf-8")


def _train(pipeline: Any, folder: Path, rows: list[list[str]], steps: int) -> None:
    import torch
    from diffusers import DDPMScheduler
    from PIL import Image

    unet, vae, tokenizer, encoder = pipeline.unet, pipeline.vae, pipeline.tokenizer, pipeline.text_encoder
    for module in (unet, vae, encoder):
        module.requires_grad_(False)
    trained = [parameter for name, parameter in unet.named_parameters() if "attn2.to_v" in name]
    for parameter in trained:
        parameter.requires_grad_(True)
    unet.train()
    optimizer = torch.optim.AdamW(trained, lr=1e-4)
    schedule = DDPMScheduler.from_config(pipeline.scheduler.config)
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        chosen = torch.randint(len(rows), (BATCH,), generator=generator).tolist()
        arrays = [np.asarray(Image.open((folder / rows[i][0]).with_suffix(".png"))) for i in chosen]
        pixels = torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2) / 127.5 - 1
        text = tokenizer(
            [rows[i][1] for i in chosen],
            padding="max_length",
            max_length=tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        )
        with torch.no_grad():
            latents = vae.encode(pixels).latent_dist.sample(generator) * vae.config.scaling_factor
            states = encoder(text.input_ids)[0]
        noise = torch.randn(latents.shape, generator=generator)
        timesteps = torch.randint(schedule.config.num_train_timesteps, (BATCH,), generator=generator)
        predicted = unet(schedule.add_noise(latents, noise, timesteps), timesteps, states).sample
        loss = torch.nn.functional.mse_loss(predicted, noise)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        loss.item()
    unet.eval()


def _draw_and_measure(pipeline: Any, folder: Path, held_out: Path, captions: list[str], steps: int) -> dict[str, float]:
    import diffusers
    import torch
    from PIL import Image
    from torchmetrics.image.fid import FrechetInceptionDistance
    from torchmetrics.image.kid import KernelInceptionDistance

    from t2i.evaluation.clip_extractor import ClipExtractor
    from t2i.evaluation.extractors import TINY_CLIP

    clip = ClipExtractor(str(TINY_CLIP), "tiny_clip")
    folder.mkdir()
    drawer = diffusers.StableDiffusionPipeline(**{**pipeline.components, "safety_checker": None})
    drawer.scheduler = diffusers.DDIMScheduler.from_config(pipeline.scheduler.config)
    drawer.set_progress_bar_config(disable=True)
    for first in range(0, len(captions), 20):
        chosen = range(first, min(first + 20, len(captions)))
        drawn = drawer(
            [captions[i] for i in chosen],
            num_inference_steps=steps,
            guidance_scale=7.5,
            height=RESOLUTION,
            width=RESOLUTION,
            generator=[torch.Generator("cpu").manual_seed(i) for i in chosen],
        ).images
        for i, picture in zip(chosen, drawn, strict=True):
            picture.save(folder / f"{i:06d}.png")

    class Features(torch.nn.Module):
        num_features = clip.images(np.zeros((1, 64, 64, 3), np.uint8)).shape[1]

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.from_numpy(clip.images(images.permute(0, 2, 3, 1).numpy())).double()

    real, fake = (
        np.stack([np.asarray(Image.open(path)) for path in sorted(p.glob("*.png"))]) for p in (held_out, folder)
    )
    fid = FrechetInceptionDistance(feature=Features()).set_dtype(torch.float64)
    size = min(len(real), len(fake))
    kid = KernelInceptionDistance(feature=Features(), subsets=100, subset_size=size).set_dtype(torch.float64)
    for metric in (fid, kid):
        for pixels, is_real in ((real, True), (fake, False)):
            metric.update(torch.from_numpy(pixels).permute(0, 3, 1, 2), real=is_real)
    features, texts = clip.images(fake), clip.texts(captions)
    cosine = (features * texts).sum(1) / np.linalg.norm(features, axis=1) / np.linalg.norm(texts, axis=1)
    kid.compute()  # of subsets, which ours are not
    return {
        "fid[tiny_clip]": float(fid.compute()),
        "clip_score[tiny_clip]": 100 * float(np.maximum(cosine, 0).mean()),
    }


def _compare_pictures(outputs: Path, made: Path) -> int:
    """AssertionError unless the prepared pictures are equal; the largest difference of the base model's, in grey levels."""
    from PIL import Image

    from t2i.data.prepared import Prepared

    prepared = Prepared(next(outputs.glob("store/prepared/[0-9a-f]*")))
    for name in ("train", "held_out"):
        split = prepared.split(name)
        for place, file in enumerate(split.ids):
            theirs = np.asarray(Image.open((made / name / file).with_suffix(".png")))
            assert np.array_equal(split.pixels([place])[0], theirs), file
    differences = []
    for folder in outputs.glob("store/generated/[0-9a-f]*"):
        pairs = [(path, folder / path.name) for path in sorted((made / "base").glob("*.png"))]
        arrays = [[np.asarray(Image.open(path)).astype(int) for path in pair] for pair in pairs]
        differences.append(max(int(np.abs(left - right).max()) for left, right in arrays))
    return min(differences)  # the other set is the tuned model's


def _compare_numbers(outputs: Path, made: Path) -> float:
    mine = json.loads(next(outputs.glob("*/*_pipeline_*/metrics.json")).read_text(encoding="utf-8"))
    theirs = json.loads((made / "numbers.json").read_text(encoding="utf-8"))["base"]
    return max(abs(value - mine[f"base/{name}"]) / abs(mine[f"base/{name}"]) for name, value in theirs.items())

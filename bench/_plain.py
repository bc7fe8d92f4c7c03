"""What somebody writes who does not use this project: a script from pictures to numbers, and its parts, which the peers of
`end_to_end`, `evaluate_task` and `sweep` are made of."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from bench.startup import PROJECT

BATCH, RESOLUTION = 16, 64
RESAMPLES = 2000
LOSS_PICTURES, LOSS_TIMESTEPS = 16, (125, 375, 625, 875)


def peer(folder: str, data: str, steps: int, sampling: int, questions: bool) -> None:
    """The plain script; with `questions` it asks what ours asks."""
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
    pipeline, clip = load_tiny(), load_clip()
    captions = splits["captions"]
    seen = [text for _, text in splits["train"][: len(captions)]]
    numbers: dict[str, dict[str, float]] = {}
    answers: dict[str, Any] = {}
    for name in ("base", "tuned"):
        if name == "tuned":
            _train(pipeline, made / "train", splits["train"], steps)
        draw(pipeline, made / name, captions, sampling)
        numbers[name] = measure(clip, read(made / "held_out"), read(made / name), captions, subsets=100)
        del numbers[name]["kid[tiny_clip]"]  # of subsets, which ours is not
        if questions:
            draw(pipeline, made / f"{name} seen", seen, sampling)
            answers[name] = _answers(made, name, pipeline, clip, splits, captions, seen)
    if questions:
        for kind in ("scores", "seen scores"):
            change = np.subtract(answers["tuned"][kind], answers["base"][kind])
            rows = np.random.default_rng(0).integers(len(change), size=(RESAMPLES, len(change)))
            answers[f"change of {kind}"] = [change.mean(), *np.quantile(change[rows].mean(axis=1), (0.025, 0.975))]
    (made / "numbers.json").write_text(json.dumps(numbers), encoding="utf-8")
    (made / "answers.json").write_text(json.dumps(answers), encoding="utf-8")


def _train(pipeline: Any, folder: Path, rows: list[list[str]], steps: int) -> None:
    import torch

    unet = pipeline.unet
    for module in (unet, pipeline.vae, pipeline.text_encoder):
        module.requires_grad_(False)
    trained = [parameter for name, parameter in unet.named_parameters() if "attn2.to_v" in name]
    for parameter in trained:
        parameter.requires_grad_(True)
    unet.train()
    optimizer = torch.optim.AdamW(trained, lr=1e-4)
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        chosen = torch.randint(len(rows), (BATCH,), generator=generator).tolist()
        timesteps = torch.randint(1000, (BATCH,), generator=generator)
        loss = _loss(pipeline, folder, [rows[i] for i in chosen], timesteps, generator)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        loss.item()
    unet.eval()


def _loss(pipeline: Any, folder: Path, rows: list[list[str]], timesteps: Any, generator: Any) -> Any:
    import torch
    from diffusers import DDPMScheduler
    from PIL import Image

    vae, tokenizer = pipeline.vae, pipeline.tokenizer
    schedule = DDPMScheduler.from_config(pipeline.scheduler.config)
    arrays = [np.asarray(Image.open((folder / file).with_suffix(".png"))) for file, _ in rows]
    pixels = torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2) / 127.5 - 1
    text = tokenizer(
        [caption for _, caption in rows],
        padding="max_length",
        max_length=tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    )
    with torch.no_grad():
        latents = vae.encode(pixels).latent_dist.sample(generator) * vae.config.scaling_factor
        states = pipeline.text_encoder(text.input_ids)[0]
    noise = torch.randn(latents.shape, generator=generator)
    predicted = pipeline.unet(schedule.add_noise(latents, noise, timesteps), timesteps, states).sample
    return torch.nn.functional.mse_loss(predicted, noise)


def load_tiny() -> Any:
    """The bundled model as diffusers loads it."""
    return load("")


def load(source: str) -> Any:
    """A model's folder as diffusers loads it, on a GPU in bf16 where there is one; without a folder the bundled model."""
    import diffusers
    import torch

    cuda = torch.cuda.is_available() and bool(source)
    dtype = torch.bfloat16 if cuda else torch.float32
    folder = source or PROJECT / "t2i" / "assets" / "tiny"
    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(folder, safety_checker=None, dtype=dtype)
    return pipeline.to("cuda") if cuda else pipeline


def draw(
    pipeline: Any,
    folder: Path,
    captions: list[str],
    steps: int,
    batch: int = 20,
    kind: str = "DDIMScheduler",
    scale: float = 7.5,
) -> None:
    """Picture i of caption i with seed i, as `folder`/00000i.png."""
    import diffusers
    import torch

    folder.mkdir(parents=True)
    drawer = diffusers.StableDiffusionPipeline(**{**pipeline.components, "safety_checker": None})
    drawer.scheduler = getattr(diffusers, kind).from_config(pipeline.scheduler.config)
    drawer.set_progress_bar_config(disable=True)
    side = pipeline.unet.config.sample_size * pipeline.vae_scale_factor
    for first in range(0, len(captions), batch):
        chosen = range(first, min(first + batch, len(captions)))
        drawn = drawer(
            [captions[i] for i in chosen],
            num_inference_steps=steps,
            guidance_scale=scale,
            height=side,
            width=side,
            generator=[torch.Generator("cpu").manual_seed(i) for i in chosen],
        ).images
        for i, picture in zip(chosen, drawn, strict=True):
            picture.save(folder / f"{i:06d}.png")


def load_clip() -> Any:
    """The bundled evaluator."""
    from t2i.evaluation.extractors.clip import ClipExtractor
    from t2i.models.clip_files import TINY_CLIP

    return ClipExtractor(str(TINY_CLIP), "tiny_clip")


def network(clip: Any) -> Any:
    """The same as torchmetrics asks for it: uint8 (N, 3, H, W) to float64 (N, D)."""
    import torch

    class Features(torch.nn.Module):
        num_features = clip.images(np.zeros((1, RESOLUTION, RESOLUTION, 3), np.uint8)).shape[1]

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.from_numpy(clip.images(images.permute(0, 2, 3, 1).numpy())).double()

    return Features()


def read(folder: Path) -> np.ndarray:
    """The pictures of a folder, uint8 (N, H, W, 3)."""
    from PIL import Image

    return np.stack([np.asarray(Image.open(path)) for path in sorted(folder.glob("*.png"))])


def clip_scores(clip: Any, pictures: np.ndarray, captions: list[str]) -> np.ndarray:
    """Of each picture with its caption."""
    features, texts = clip.images(pictures), clip.texts(captions)
    cosine = (features * texts).sum(1) / np.linalg.norm(features, axis=1) / np.linalg.norm(texts, axis=1)
    return np.asarray(100 * np.maximum(cosine, 0))


def measure(clip: Any, real: np.ndarray, fake: np.ndarray, captions: list[str], subsets: int) -> dict[str, float]:
    """FID and KID (as torchmetrics has it, in so many subsets) and the mean CLIP score."""
    import torch
    from torchmetrics.image.fid import FrechetInceptionDistance
    from torchmetrics.image.kid import KernelInceptionDistance

    fid = FrechetInceptionDistance(feature=network(clip)).set_dtype(torch.float64)
    size = min(len(real), len(fake))
    kid = KernelInceptionDistance(feature=network(clip), subsets=subsets, subset_size=size).set_dtype(torch.float64)
    for metric in (fid, kid):
        for pixels, is_real in ((real, True), (fake, False)):
            metric.update(torch.from_numpy(pixels).permute(0, 3, 1, 2), real=is_real)
    return {
        "fid[tiny_clip]": float(fid.compute()),
        "kid[tiny_clip]": float(kid.compute()[0]),
        "clip_score[tiny_clip]": float(clip_scores(clip, fake, captions).mean()),
    }


def _answers(
    made: Path, name: str, pipeline: Any, clip: Any, splits: dict[str, Any], captions: list[str], seen: list[str]
) -> dict[str, Any]:
    """Scores of both kinds of captions, distances to the nearest training picture, and losses at fixed timesteps."""
    import torch

    kinds = {"drawn": made / name, "train": made / "train", "held_out": made / "held_out"}
    features = {kind: clip.images(read(folder)) for kind, folder in kinds.items()}
    unit = {kind: rows / np.linalg.norm(rows, axis=1, keepdims=True) for kind, rows in features.items()}
    nearest = {kind: float((1 - unit[kind] @ unit["train"].T).min(axis=1).mean()) for kind in ("drawn", "held_out")}
    losses = {}
    for split in ("train", "held_out"):
        rows = splits[split][:LOSS_PICTURES]
        with torch.no_grad():
            found = [
                _loss(pipeline, made / split, rows, torch.full((len(rows),), step), torch.Generator().manual_seed(step))
                for step in LOSS_TIMESTEPS
            ]
        losses[split] = float(torch.stack(found).mean())
    scores = {
        "scores": clip_scores(clip, read(made / name), captions).tolist(),
        "seen scores": clip_scores(clip, read(made / f"{name} seen"), seen).tolist(),
    }
    return {**scores, "nearest": nearest, "losses": losses}

"""How fast pictures are drawn, against diffusers' StableDiffusionPipeline on the same networks, prompts and seeds.

    python -m bench sampling                                   the bundled model on this machine
    python -m bench sampling --model=sd15 --steps=40           the full-size network at random, on a GPU in bf16

The peer draws them one by one (`default`, as its documentation shows) and in the same batches (`tuned`); then every
switch of `sampling` on and off, for a batch and for one picture. All must draw the same pictures, to one grey level (in
bf16 two roundings differ by more; the largest difference is in the result). The operations of ours are counted and held
against what a large matrix product reaches in the same rounds.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from bench._measure import Ceilings, counted_flops, in_turns, operators, ratio
from t2i.sampling.config import Sampling

BARE = Sampling(keep_text=False, channels_last=False)
"""Networks as diffusers loads them."""
PROMPTS = ("a red cat beside a tree", "two buses on a road", "a green apple", "a dog on a beach", "a small boat")


def run(
    model: str = "tiny",
    images: int = 40,
    steps: int = 20,
    batch: int = 20,
    rounds: int = 3,
    compile: int = 0,
    switches: int = 1,
) -> dict[str, Any]:
    """Ratios of the peer's time to ours, and of each switch off to on; `switches=0`: not these."""
    import diffusers
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    prompts = [PROMPTS[i % len(PROMPTS)] for i in range(images)]
    plain = _models(model, device, dtype, Sampling(keep_text=False))
    bare = _models(model, device, dtype, BARE)
    drawn: dict[str, np.ndarray] = {}

    def keep(name: str, draw: Callable[[], np.ndarray]) -> Callable[[], None]:
        def measured() -> None:
            drawn[name] = draw()

        return measured

    whole = {
        "ours": keep("ours", partial(_ours, plain, prompts, steps, batch, True)),
        "pipeline one by one": keep("pipeline one by one", partial(_pipeline, bare, prompts, steps, 1)),
        "pipeline in batches": keep("pipeline in batches", partial(_pipeline, bare, prompts, steps, batch)),
    }
    ceilings = Ceilings(device, dtype)
    flops = counted_flops(whole["ours"])
    seconds = in_turns({**whole, **ceilings.turns()}, rounds, device)
    result: dict[str, Any] = {
        "what": f"{images} pictures of {plain.resolution} pixels, {steps} steps of DDIM, guidance 7.5, model={model}",
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "dtype": str(dtype),
        "threads": torch.get_num_threads(),
        "versions": {"torch": torch.__version__, "diffusers": diffusers.__version__},
        "clock": "wall" if device == "cuda" else "process",
        "seconds_an_image": {name: round(min(seconds[name]) / images, 4) for name in whole},
        "faster_than_one_by_one": ratio(seconds["pipeline one by one"], seconds["ours"]),
        "faster_than_batches": ratio(seconds["pipeline in batches"], seconds["ours"]),
        "share_of_the_limit": ceilings.share(seconds, "ours", flops),
        "profile": operators(whole["ours"], device),
    }
    if switches:
        chosen = {
            "keep_text": Sampling(channels_last=False),
            "channels_last": Sampling(keep_text=False, channels_last=True),
        }
        if compile or device == "cuda":
            chosen["compile"] = Sampling(keep_text=False, channels_last=False, compile=True)
        result["switches"] = _switched(model, device, dtype, bare, chosen, prompts, steps, batch, rounds)
    result["largest_difference"] = max(_difference(drawn["ours"], drawn[name]) for name in whole)
    equal = result["largest_difference"]
    if dtype is not torch.float32:  # two roundings differ by more: the same way, in float32
        result["largest_difference_in_float32"] = equal = _in_float32(model, device)
    result["results_equal"] = equal <= 1
    return result


def _switched(
    model: str,
    device: str,
    dtype: Any,
    plain: Any,
    switches: dict[str, Any],
    prompts: list[str],
    steps: int,
    batch: int,
    rounds: int,
) -> dict[str, Any]:
    """Each switch off and on, for a batch and for one picture."""
    found, drawn = {}, {}
    for name, switch in switches.items():
        changed = _models(model, device, dtype, switch)
        for size in (batch, 1):
            some = prompts[: max(size, 4)]

            def off(some: list[str] = some, size: int = size) -> None:
                drawn["off"] = _ours(plain, some, steps, size, False)

            def on(
                some: list[str] = some, size: int = size, models: Any = changed, keeps: bool = switch.keeps_text
            ) -> None:
                drawn["on"] = _ours(models, some, steps, size, keeps)

            measured = in_turns({"off": off, "on": on}, rounds, device)
            found[f"{name}, batch {size}"] = {
                **ratio(measured["off"], measured["on"]),
                "largest_difference": _difference(drawn["off"], drawn["on"]),
            }
    return found


def _in_float32(model: str, device: str) -> int:
    """The largest difference between both sides, two pictures of four steps in float32."""
    import torch

    torch.backends.cudnn.allow_tf32 = False
    ours, theirs = (_models(model, device, torch.float32, switches) for switches in (Sampling(), BARE))
    some = list(PROMPTS[:2])
    return _difference(_ours(ours, some, 4, 2, True), _pipeline(theirs, some, 4, 2))


def _models(name: str, device: str, dtype: Any, switches: Any) -> Any:
    from t2i.config import compose
    from t2i.models.load import load
    from t2i.store import Store

    config = compose([f"model={name}", *(["model.init=random"] if name != "tiny" else [])])
    models = load(config.model, Store(_scratch())).to(device, dtype)
    switches.apply(models)
    return models


def _scratch() -> Any:
    import tempfile
    from pathlib import Path

    return Path(tempfile.gettempdir()) / "t2i-bench-store"


def _ours(models: Any, prompts: list[str], steps: int, batch: int, keep_text: bool) -> np.ndarray:
    from t2i.sampling.config import Guidance, Scheduler
    from t2i.sampling.sampler import encode, sample

    guidance = Guidance(scale=7.5)
    ddim = Scheduler(name="ddim", type="DDIMScheduler", steps=steps)
    conditions = encode(models, prompts, guidance)
    parts = sample(models, conditions, range(len(prompts)), ddim, guidance, batch, keep_text=keep_text)
    return np.concatenate(list(parts))


def _pipeline(models: Any, prompts: list[str], steps: int, batch: int) -> np.ndarray:
    import diffusers
    import torch

    pipeline = models.pipeline()
    pipeline.scheduler = diffusers.DDIMScheduler.from_config(models.scheduler_config)
    pipeline.set_progress_bar_config(disable=True)
    pictures = []
    for start in range(0, len(prompts), batch):
        chosen = range(start, min(start + batch, len(prompts)))
        made = pipeline(
            [prompts[i] for i in chosen],
            num_inference_steps=steps,
            guidance_scale=7.5,
            height=models.resolution,
            width=models.resolution,
            generator=[torch.Generator("cpu").manual_seed(i) for i in chosen],
            output_type="np",
        ).images
        pictures.append((made * 255).round().astype(np.uint8))
    return np.concatenate(pictures)


def _difference(left: np.ndarray, right: np.ndarray) -> int:
    return int(np.abs(left.astype(int) - right).max())

"""How fast a CPU draws with `sampling.engine=openvino`, against diffusers' pipeline and torch here, and optimum-intel.

    python -m bench engines                                         the full-size network at random, and the bundled model
    python -m bench engines --optimum=<venv>/bin/python             a Python that has optimum-intel, beside the first

All draw the same pictures, to two grey levels: same networks (of `sd15` random ones), prompts, seeds, DDIM, guidance 7.5,
float32. A conversion is kept below the temporary folder, as a store keeps it, and is timed when it is made. Where the processor
multiplies bf16, torch and OpenVINO draw in it too, in turns with the others; those pictures are others, and by how much is told.
Shares of the limit are those of OpenVINO and of the pipeline in float32, as in `sampling`. The peer of optimum-intel draws in a
process of its own, in turns with the others; its time is that process's.
"""

import json
import subprocess
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench._measure import Ceilings, counted_flops, in_turns, load, ratio, rounded, timed
from bench.sampling import PROMPTS, _difference, _ours, _pipeline

PEER = '''
import json, sys, time
import numpy as np, torch
from diffusers import DDIMScheduler
from optimum.intel import OVStableDiffusionPipeline
folder, threads = sys.argv[1], int(sys.argv[2])
settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads, "ENABLE_CPU_PINNING": False}
pipeline = OVStableDiffusionPipeline.from_pretrained(folder, export=True, load_in_8bit=False, ov_config=settings)
pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)
pipeline.set_progress_bar_config(disable=True)
print(json.dumps("ready"), flush=True)
for line in sys.stdin:
    asked, start = json.loads(line), time.process_time()
    made = []
    for first in range(0, len(asked["prompts"]), asked["batch"]):
        chosen = asked["prompts"][first : first + asked["batch"]]
        made.append(pipeline(
            chosen, num_inference_steps=asked["steps"], guidance_scale=7.5, height=asked["size"], width=asked["size"],
            generator=[torch.Generator("cpu").manual_seed(first + i) for i in range(len(chosen))], output_type="np",
        ).images)
    seconds = time.process_time() - start
    np.save(asked["file"], (np.concatenate(made) * 255).round().astype(np.uint8))
    print(json.dumps(seconds), flush=True)
'''  # fmt: skip


def run(size: int = 256, steps: int = 4, rounds: int = 3, optimum: str = "", full: int = 1) -> dict[str, Any]:
    """Ratios of the peers' time to ours, and what the conversions took. size, steps: of the full-size network's pictures, which
    full=0 leaves out.
    """
    import diffusers
    import torch

    from t2i.models.converted import quietly

    result: dict[str, Any] = {
        "what": f"a picture of sd15 at {size} pixels, {steps} steps; of tiny",
        "threads": torch.get_num_threads(),
        "clock": "process",
        "load": load(),
        "versions": {"torch": torch.__version__, "diffusers": diffusers.__version__, "openvino": quietly().__version__},
        **({"sd15": measured("sd15", size, 1, steps, 1, rounds, optimum)} if full else {}),
        "tiny": measured("tiny", 0, 20, 10, 20, rounds) if full else measured("tiny", 0, 2, 2, 2, rounds),
    }
    result["results_equal"] = all(result[model]["results_equal"] for model in ("sd15", "tiny") if model in result)
    return result


def measured(
    model: str, size: int, images: int, steps: int, batch: int, rounds: int, optimum: str = ""
) -> dict[str, Any]:
    """Of one model."""
    import torch

    from t2i.processes import bf16_instruction

    scratch = Path(tempfile.gettempdir()) / "t2i-bench-engines"
    prompts = [PROMPTS[i % len(PROMPTS)] for i in range(images)]
    plain = _plain(model, size, scratch)
    folder, converting = _converted(plain, scratch)
    fast, compiling = _fast(plain, folder)
    drawn: dict[str, np.ndarray] = {}

    def keep(name: str, draw: Callable[[], np.ndarray]) -> Callable[[], None]:
        def measured() -> None:
            drawn[name] = draw()

        return measured

    turns: dict[str, Callable[[], object]] = {
        "openvino": keep("openvino", partial(_ours, fast, prompts, steps, batch, True)),
        "torch": keep("torch", partial(_ours, _set_up(plain, torch.float32), prompts, steps, batch, True)),
        "pipeline": keep("pipeline", partial(_pipeline, plain, prompts, steps, batch)),
    }
    other: dict[str, Any] = {}
    if half := bf16_instruction():
        other = {"bf16": _set_up(plain, torch.bfloat16), "openvino bf16": _fast(plain, folder, "bf16")[0]}
        turns |= {name: keep(name, partial(_ours, own, prompts, steps, batch, True)) for name, own in other.items()}
    ceilings = Ceilings("cpu", torch.float32)
    flops = counted_flops(turns["torch"])
    seconds = in_turns({**turns, **ceilings.turns()}, rounds, "cpu")
    shares = {name: ceilings.share(seconds, name, flops) for name in ("openvino", "pipeline")}
    result: dict[str, Any] = {
        "what": f"{images} pictures of {plain.resolution} pixels at once, {steps} steps of DDIM, guidance 7.5, model={model}",
        "seconds_of_conversion": converting | compiling,
        "seconds_an_image": {name: rounded(min(seconds[name]) / images) for name in turns},
        "faster_than_pipeline": {
            **ratio(seconds["pipeline"], seconds["openvino"]),
            "share_of_the_limit": shares["openvino"],
            "share_of_the_pipeline": shares["pipeline"]["median"],
        },
        "faster_than_torch_here": ratio(seconds["torch"], seconds["openvino"]),
    }
    for name in other:
        apart = np.abs(drawn.pop(name).astype(int) - drawn["torch"])
        about = {"instruction": half, "mean_difference": rounded(float(apart.mean())), "largest": int(apart.max())}
        result[name] = {**ratio(seconds["pipeline"], seconds[name]), **about}
    turns, other = {"openvino": turns["openvino"]}, {}  # the peer needs the room
    if optimum:
        asked = {"prompts": prompts, "steps": steps, "batch": batch, "size": plain.resolution}
        own, theirs, drawn["optimum"] = _beside(optimum, plain, asked, turns["openvino"], rounds, scratch)
        result["faster_than_optimum"] = ratio(theirs, own)
        result["seconds_an_image"]["optimum-intel"] = rounded(min(theirs) / images)
    result["largest_difference"] = {
        n: _difference(drawn["openvino"], own) for n, own in drawn.items() if n != "openvino"
    }
    result["results_equal"] = max(result["largest_difference"].values()) <= 2
    return result


def _set_up(models: Any, dtype: Any) -> Any:
    """A copy of the model as torch draws with it here in this precision."""
    import copy

    from t2i.sampling.config import Sampling

    own = copy.deepcopy(models).to("cpu", dtype)
    Sampling().apply(own)
    return own


def _plain(model: str, size: int, scratch: Path) -> Any:
    """The model by torch, as it is loaded."""
    from t2i.config import compose
    from t2i.models.load import load as loaded
    from t2i.store import Store

    own = [f"model={model}", *(["model.init=random"] if model != "tiny" else [])]
    return loaded(compose([*own, *([f"model.resolution={size}"] if size else [])]).model, Store(scratch / "store"))


def _converted(plain: Any, scratch: Path) -> tuple[Path, dict[str, float]]:
    """Its parts as OpenVINO computes them, and the seconds that each took to convert, when it was new."""
    from t2i.models.converted import PARTS, convert

    folder = scratch / f"{plain.digest[:16]}-{plain.resolution}"
    folder.mkdir(parents=True, exist_ok=True)
    taken = {}
    for part in PARTS:
        if not (folder / f"{part}.json").exists():
            seconds, _ = timed(partial(convert, plain, part, folder))
            (folder / f"{part}.json").write_text(json.dumps(rounded(seconds)), encoding="utf-8")
        taken[f"convert {part}"] = json.loads((folder / f"{part}.json").read_text(encoding="utf-8"))
    return folder, taken


def _fast(plain: Any, folder: Path, precision: str = "no") -> tuple[Any, dict[str, float]]:
    """The model by OpenVINO, and the seconds that each part took to compile."""
    from t2i.models.converted import PARTS, Graph, computed

    graphs, taken = {}, {}
    for part in PARTS:
        seconds, graphs[part] = timed(partial(Graph, folder, part, precision))
        taken[f"compile {part}"] = rounded(seconds)
    return computed(plain, graphs), taken


def _beside(
    python: str, plain: Any, asked: dict[str, Any], ours: Callable[[], object], rounds: int, scratch: Path
) -> tuple[list[float], list[float], np.ndarray]:
    """Seconds of ours and of optimum-intel's pipeline, A B A B, and its pictures."""
    import torch

    from t2i.models.layout import settle

    folder, file = scratch / f"pipeline-{plain.digest[:16]}", scratch / "optimum.npy"
    if not folder.exists():
        plain.pipeline().save_pretrained(folder)
        settle(folder)  # optimum-intel stands on an older transformers
    (scratch / "peer.py").write_text(PEER, encoding="utf-8")
    command = [python, str(scratch / "peer.py"), str(folder), str(torch.get_num_threads())]
    own, theirs = [], []
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as peer:
        assert peer.stdin and peer.stdout
        peer.stdout.readline()
        for number in range(rounds + 1):
            seconds, _ = timed(ours)
            peer.stdin.write(json.dumps({**asked, "file": str(file)}) + "\n")
            peer.stdin.flush()
            other = float(json.loads(peer.stdout.readline()))
            if number:
                own.append(seconds)
                theirs.append(other)
                print(f"round {number}: openvino {seconds:.3f} s, optimum-intel {other:.3f} s", flush=True)
        peer.stdin.close()
    return own, theirs, np.load(file)

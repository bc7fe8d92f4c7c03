"""What is compared, where its ratio stands in a bench's result, and how large it has to be: on this machine, and on a GPU."""

import json
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
Result = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """One comparison."""

    what: str
    peer: str
    bench: str
    path: tuple[str, ...]
    """Where the ratio is: `median` and `range`, or a number."""
    must: float | None = None
    stretch: float | None = None
    gpu: tuple[float, float] | None = None
    """The two targets on a GPU, where they are others."""

    def found(self, result: Result) -> "Found | None":
        """Its numbers in a result; None where it was not measured."""
        level, above = result, result
        for name in self.path:
            if not isinstance(level, dict) or name not in level:
                return None
            level, above = level[name], level
        here: Result = level if isinstance(level, dict) else {"median": level}
        median = here.get("median", here.get("ratio_median"))
        if median is None:
            return None
        low, high = here.get("range", here.get("ratio_range", [median, median]))
        must, stretch = self.gpu if self.gpu and result.get("device", "cpu") != "cpu" else (self.must, self.stretch)
        details = {key: here.get(key, above.get(key, result.get(key))) for key in ("profile", "share_of_the_limit")}
        share = (details["share_of_the_limit"] or {}).get("median")
        return Found(
            self, float(median), float(low), float(high), must, stretch, share, details["profile"] or [], _load(result)
        )


@dataclass(frozen=True)
class Found:
    """A comparison's numbers and what they are held against."""

    row: Row
    median: float
    low: float
    high: float
    must: float | None
    stretch: float | None
    share: float | None
    """Of what a large matrix product reaches on the same machine in the same rounds."""
    profile: list[str]
    load: float | None
    """Processes that wanted a core before the rounds, where wall time was measured."""

    @property
    def short(self) -> bool:
        """Whether it misses its target."""
        return self.must is not None and self.median < self.must

    @property
    def verdict(self) -> str:
        """In a word or three."""
        if self.must is None:
            return "" if self.stretch is None else "stretch" if self.median >= self.stretch else "below stretch"
        if self.short:
            return f"short by {1 - self.median / self.must:.0%}"
        return "stretch" if self.stretch is not None and self.median >= self.stretch else "reached"


TUNED, DEFAULT, BY_OPENVINO = "tuned: ", "default: ", ", `sampling.engine=openvino`"
STEP = "the example's step"
ROWS = (
    Row("`--help`", "import of diffusers", "startup", ("help",), 10, 20),
    Row("composing a configuration", "import of diffusers", "startup", ("compose",), 10, 20),
    *(
        Row(what, "28 November, before", "small", ("ratios", key))
        for key, what in (
            ("again", "a second `python run.py`"),
            ("picture", "one picture"),
            ("diff", "`task=diff`"),
            ("mistake", "a model that is not there"),
            ("steps", "too many steps of LCM"),
            ("help", "the help itself"),
        )
    ),
    Row("preparing pictures", "bare Pillow loop", "prepare", (), 0.8, 0.95),
    *(
        Row(
            f"a step of {name}",
            f"{form}{STEP}",
            "train",
            ("strategies", key, *path),
            *(targets if form == TUNED else ()),
        )
        for key, name, targets in (
            ("attn2_to_v", "attn2.to_v", (1.28, 1.31, (2.5, 3.5))),
            ("lora", "LoRA", (None, None, (2.5, 3.5))),
            ("unet", "the whole U-Net", (1.2, 1.3, (2.0, 3.0))),
        )
        for form, path in ((TUNED, ()), (DEFAULT, ("default",)))
    ),
    Row("a step of LoRA, SDXL", f"{TUNED}{STEP}", "sdxl", ("strategies", "lora"), None, None, (2.0, 3.0)),
    Row("the whole U-Net, as programs", "train_text_to_image.py", "train", ("programs", "unet"), 1.2, 1.3, (2, 3)),
    Row("LoRA, as programs", "train_text_to_image_lora.py", "train", ("programs", "lora"), None, None, (2.5, 3.5)),
    *(
        Row(f"a step of {name} at SD 1.5 size, bf16 on a CPU", peer, "half", ("strategies", key, *path), *targets)
        for key, name, must in (("lora", "LoRA", 1.9), ("attn2_to_v", "attn2.to_v", None))
        for peer, path, targets in (
            (f"{TUNED}{STEP} in float32", (), (must,)),
            ("ours in float32", ("float32",), ()),
        )
    ),
    Row("drawing pictures", f"{TUNED}pipeline in batches", "sampling", ("faster_than_batches",), 1),
    Row(
        "drawing pictures", f"{DEFAULT}pipeline one by one", "sampling", ("faster_than_one_by_one",), 2, None, (3.5, 5)
    ),
    Row(
        f"drawing at SD 1.5 size{BY_OPENVINO}",
        "pipeline, torch in float32",
        "engines",
        ("sd15", "faster_than_pipeline"),
        2,
    ),
    Row("drawing at SD 1.5 size in bf16 on a CPU", "pipeline, torch in float32", "engines", ("sd15", "bf16")),
    Row(
        f"drawing at SD 1.5 size{BY_OPENVINO} in bf16",
        "pipeline, torch in float32",
        "engines",
        ("sd15", "openvino bf16"),
    ),
    Row(f"drawing at SD 1.5 size{BY_OPENVINO}", "torch here", "engines", ("sd15", "faster_than_torch_here")),
    Row(
        f"drawing at SD 1.5 size{BY_OPENVINO}",
        "optimum-intel in float32",
        "engines",
        ("sd15", "faster_than_optimum"),
        1,
    ),
    Row(f"drawing with `tiny`{BY_OPENVINO}", "pipeline, torch in float32", "engines", ("tiny", "faster_than_pipeline")),
    Row("3 x 3 sweep", f"{DEFAULT}pipeline, PNG and torchmetrics per cell", "sweep", ("default",), 2.5, None, (5, 8)),
    Row("3 x 3 sweep", f"{TUNED}loaded once, in batches", "sweep", ("tuned",)),
    Row("FID, N = 40", "torchmetrics", "evaluation", ("fid_40",), 200, 400),
    Row("FID, N = 40", "SciPy sqrtm", "evaluation", ("fid_40_scipy_sqrtm",), 800, 1500),
    Row("FID, N = 1,000", "torchmetrics", "evaluation", ("fid_1000",), 3, 4),
    Row("FID, N = 2,100", "torchmetrics", "evaluation", ("fid_2048",), 3, 4),
    Row("FID, N = 10,000", "torchmetrics", "evaluation", ("fid_10000",), 3, 4),
    Row("FID from moments", "torchmetrics", "evaluation", ("fid_moments",), 3, 4),
    Row("FID, N = 2,100", "SciPy sqrtm", "evaluation", ("fid_2048_scipy_sqrtm",), 10, 15),
    Row("KID, same subsets", "loop over subsets", "evaluation", ("kid_subsets",), 3, 6),
    Row("FID-infinity, 15 points", "15 SciPy sqrtm", "evaluation", ("fid_infinity",), 30, 200),
    Row("precision, recall, density, coverage", "whole distance matrices", "evaluation", ("prdc",), 1),
    Row("the same, memory", "whole distance matrices", "evaluation", ("prdc", "less_memory"), 1),
    Row("the verdict of `eval=full`, N = 1,000", "10 s", "verdict", ("limit_over_ours",), 1),
    Row("FID without each image, N = 1,000", "from features each time", "verdict", ("leaving_one_out",)),
    Row(
        "pictures to FID, KID, IS",
        f"{TUNED}PNG, torchmetrics, one pass",
        "images",
        ("float32", "tuned"),
        1.5,
        1.8,
        (1.3, 30),
    ),
    Row("pictures to FID, KID, IS", f"{DEFAULT}PNG, torchmetrics", "images", ("float32", "default"), 4),
    Row(
        "the same, `eval.exact=true`",
        f"{TUNED}PNG, torchmetrics, one pass",
        "images",
        ("tuned",),
        1,
    ),
    Row("the same, `eval.exact=true`", f"{DEFAULT}PNG, torchmetrics", "images", ("default",)),
    Row("`task=evaluate`", f"{TUNED}pipeline in batches, torchmetrics", "evaluate_task", ("tuned",), 1),
    Row("`task=evaluate`", f"{DEFAULT}pipeline one by one, torchmetrics", "evaluate_task", ("default",), 1),
    Row("bytes of a to_v checkpoint", "accelerate save_state", "checkpoint", ("fewer_bytes",), 25),
    Row("time of a to_v checkpoint", "accelerate save_state", "checkpoint", ("less_time",), 10),
    Row(
        "bytes of to_v, `format=weights dtype=fp16`",
        "accelerate save_state",
        "checkpoint",
        ("export_fewer_bytes",),
        None,
        150,
    ),
    *(
        Row(f"a step with two threads, {place} machine", peer, "waiting", (place, key))
        for place in ("quiet", "busy")
        for key, peer in (
            ("unset", "libgomp as it is"),
            ("passive", "threads that sleep at once"),
            ("one thread", "one thread"),
        )
    ),
    Row("two processes", "one, same batch", "processes", (), 1.6, 1.9),
    Row("data to verdict", "plain script, same questions", "end_to_end", ("same_questions",), 1),
    Row("data to verdict", "plain script, numbers only", "end_to_end", ("numbers_only",)),
)


def parts(result: Result) -> list[Result]:
    """The results in a result: that of `gpu` holds those of several benches."""
    if result["benchmark"] != "gpu":
        return [result]
    about = {key: result[key] for key in ("machine", "commit", "device")}
    return [
        {**about, **entry["result"], "benchmark": "sdxl" if "SDXL" in name else entry["bench"]}
        for name, entry in result["parts"].items()
        if "result" in entry
    ]


def _load(result: Result) -> float | None:
    given = result.get("load_before")
    if isinstance(given, dict):
        return statistics.median(value for values in given.values() for value in values)
    return float(given[0]) if given else None


def number(value: float) -> str:
    """Three digits, which is what a shared machine's clock is worth."""
    return f"{value:,.0f}" if value >= 999.5 else f"{value:.3g}"


def newest(folder: Path = RESULTS) -> Iterator[tuple[str, str, Result]]:
    """Date, machine and content of the last result of every bench on every machine."""
    last: dict[tuple[str, str], tuple[str, Result]] = {}
    for path in sorted(folder.glob("*.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        last[result["benchmark"], result["machine"]] = path.name.split("_")[0], result
    for (_, machine), (date, result) in last.items():
        yield date, machine, result

"""Writes the table of bench/README.md from the newest result of every bench: `python -m bench.table` (`make bench-table`)."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
README = Path(__file__).parent / "README.md"
BEGIN, END = "<!-- table -->", "<!-- end of table -->"
Found = tuple[float, list[float]]
"""A ratio and its range over the rounds."""


@dataclass(frozen=True)
class Row:
    """One comparison: where its ratio is in a bench's result, and how large it has to be."""

    what: str
    peer: str
    bench: str
    ratio: Callable[[dict[str, Any]], Found]
    must: float
    stretch: float | None = None


def at(*path: str) -> Callable[[dict[str, Any]], Found]:
    """The ratio at this place of a result."""

    def read(result: dict[str, Any]) -> Found:
        level: Any = result
        for name in path:
            level = level[name]
        median = level.get("median", level.get("times_faster_median", level.get("ratio_median")))
        spread = level.get("range", level.get("times_faster_range", level.get("ratio_range", [median, median])))
        return float(median), [float(value) for value in spread]

    return read


ROWS = (
    Row("`--help`", "import of diffusers", "startup", at("help"), 10, 20),
    Row("composing a configuration", "import of diffusers", "startup", at("compose"), 10, 20),
    Row("preparing pictures", "bare Pillow loop", "prepare", at(), 0.8, 0.95),
    Row("a step of attn2.to_v", "the example's step", "train", at("strategies", "attn2_to_v"), 1.6, 2),
    Row("a step of LoRA", "the example's step", "train", at("strategies", "lora"), 1.6, 2),
    Row("a step of the whole U-Net", "the example's step", "train", at("strategies", "unet"), 1.5, 2),
    Row("drawing pictures", "StableDiffusionPipeline one by one", "sampling", at("faster_than_one_by_one"), 2),
    Row("drawing pictures", "StableDiffusionPipeline in batches", "sampling", at("faster_than_batches"), 1),
    Row("3 x 3 sweep", "pipeline, PNG and torchmetrics per cell", "sweep", at(), 2.5),
    Row("FID, N = 40", "torchmetrics", "evaluation", at("fid_40"), 200, 800),
    Row("FID, N = 1,000", "torchmetrics", "evaluation", at("fid_1000"), 3, 10),
    Row("FID, N = 10,000", "torchmetrics", "evaluation", at("fid_10000"), 3, 10),
    Row("FID, N = 1,000", "SciPy sqrtm", "evaluation", at("fid_1000_scipy_sqrtm"), 4, 15),
    Row("KID, same subsets", "loop over subsets", "evaluation", at("kid_subsets"), 3, 6),
    Row("FID-infinity, 15 points", "15 sqrtm", "evaluation", at("fid_infinity"), 30, 200),
    Row("precision, recall, density, coverage", "whole distance matrices", "evaluation", at("prdc"), 1),
)


def newest(bench: str) -> tuple[str, dict[str, Any]] | None:
    """The file name and content of the last result of a bench."""
    paths = sorted(RESULTS.glob(f"*_{bench}.json"))
    return (paths[-1].name, json.loads(paths[-1].read_text(encoding="utf-8"))) if paths else None


def table() -> str:
    """One line a row that has been measured."""
    heads = ["what", "peer", "times as fast", "range", "must", "stretch", "", "measured"]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for row in ROWS:
        found = newest(row.bench)
        if found is None:
            continue
        name, result = found
        try:
            median, (low, *_, high) = row.ratio(result)
        except KeyError:
            continue
        stretch = f"{row.stretch:g}" if row.stretch is not None else ""
        reached = row.stretch is not None and median >= row.stretch
        verdict = "stretch" if reached else "reached" if median >= row.must else f"short by {1 - median / row.must:.0%}"
        date, machine = name.split("_")[0], name.split("_")[1]
        cells = [row.what, row.peer, f"{median:.3g}", f"{low:.3g} to {high:.3g}", f"{row.must:g}", stretch, verdict]
        lines.append("| " + " | ".join([*cells, f"{date}, {machine}"]) + " |")
    return "\n".join(lines)


def main() -> None:
    """Replace what stands between the two marks."""
    text = README.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    README.write_text(f"{before}{BEGIN}\n{table()}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()

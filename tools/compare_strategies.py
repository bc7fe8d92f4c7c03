"""The table and the figure of docs/strategies.md: one domain of the drawn world at dusk, tuned by each strategy alike.

    python tools/compare_strategies.py [--outputs FOLDER]

Every strategy takes the same steps over the same pictures. The learning rates are the better of those that were tried
(docs/strategies.md); what the store has is not computed again.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

RATES = {"attn2_to_v": 3e-3, "attn2_kv": 3e-3, "lora": 3e-3, "text_encoder": 1e-3, "unet": 3e-4}
DATA = ["dataset.light=dusk", "dataset.domains=[animal]", "dataset.train=2000", "dataset.val=1000"]
TRAINING = ["training.steps=300", "training.export_pipeline=false", "training.save_every=300"]
IMAGES = 200
MEASURED = [f"eval.images={IMAGES}", "training.held_out_images=100", "track.enabled=false"]
SHOWN = 6


def run(outputs: Path, *arguments: str) -> Path:
    """`python run.py <arguments>`; the run folder that it names last."""
    command = [sys.executable, str(PROJECT / "run.py"), f"outputs={outputs}", *DATA, *MEASURED, *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return Path(next(line for line in reversed(done.stdout.splitlines()) if line.startswith("run folder: "))[12:])


def numbers(folder: Path) -> dict[str, float]:
    """metrics.json of a run folder."""
    found: dict[str, float] = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    return found


def row(name: str, training: dict[str, float], measured: dict[str, float]) -> list[str]:
    """One line of the table."""
    from t2i.reporting.numbers import number

    def shown(metric: str) -> str:
        key = f"{metric}[tiny_clip]"
        return number(measured[key], measured.get(f"{key}.low"), measured.get(f"{key}.high"))

    trained = f"{training['trainable_parameters']:,.0f}" if training else "-"
    rate = f"{RATES[name]:g}" if name in RATES else "-"
    loss = f"{training['held_out_loss']:.4f}" if training else f"{measured['held_out_loss_before']:.4f}"
    return [name, trained, rate, loss, shown("fid"), shown("kid"), shown("clip_score")]


def main() -> None:
    """Train, measure, print the table, write docs/figures/strategies.png."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--outputs", type=Path, default=PROJECT / "outputs")
    outputs = parser.parse_args().outputs.absolute()
    base = run(outputs, "task=evaluate")
    folders: dict[str, tuple[Path, Path]] = {}
    for name, rate in RATES.items():
        tuned = run(outputs, "task=train", f"strategy={name}", f"strategy.learning_rate={rate}", *TRAINING)
        folders[name] = tuned, run(outputs, "task=evaluate", f"weights={tuned}")
        print(name, numbers(folders[name][0])["held_out_loss"], flush=True)
    before = numbers(next(iter(folders.values()))[0])["held_out_loss_before"]
    rows = [row("base", {}, {**numbers(base), "held_out_loss_before": before})]
    rows += [row(name, numbers(tuned), numbers(measured)) for name, (tuned, measured) in folders.items()]
    heads = ["strategy", "trainable", "learning rate", "held-out loss", "FID", "KID", "CLIP score"]
    rows.append(["real pictures", "-", "-", "-", "-", "-", real_score(outputs)])
    lines = [heads, ["---"] * len(heads), *rows]
    text = "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"
    (outputs / "strategies.md").write_text(text, encoding="utf-8")
    print(text)
    draw(outputs, {name: tuned for name, (tuned, _) in folders.items()})


def draw(outputs: Path, folders: dict[str, Path]) -> None:
    """The first held-out captions drawn by the base and by each tuned model, equal seeds, below the real pictures."""
    import numpy as np
    from PIL import Image

    from t2i.reporting.figures import rows_of_pictures

    pictures: dict[str, Any] = {"real": _held_out(outputs).squares(range(SHOWN), 64)}
    captions: list[str] = []
    for name, weights in {"base": None, **folders}.items():
        given = [] if weights is None else [f"weights={weights}"]
        folder = run(outputs, "task=generate", f"images={SHOWN}", *given) / "images"
        captions = json.loads((folder / "captions.json").read_text(encoding="utf-8"))
        pictures[name] = np.stack([np.asarray(Image.open(folder / f"{i:06d}.png")) for i in range(SHOWN)])
    rows_of_pictures(
        pictures,
        captions,
        PROJECT / "docs" / "figures" / "strategies.png",
        "Animals at dusk after 300 steps, by strategy",
        "Each column: one held-out caption and one seed.",
    )


def real_score(outputs: Path) -> str:
    """What the scoring CLIP gives the real pictures of these captions."""
    from t2i.config import compose
    from t2i.evaluation.extractors import registry as extractors
    from t2i.evaluation.metrics.clip_score import clip_scores
    from t2i.evaluation.statistics import intervals
    from t2i.reporting.numbers import number

    split = _held_out(outputs)
    clip = extractors.build(compose([]).eval)
    images = extractors.image_features(clip, "real", split.squares(range(IMAGES), 64), 64)
    texts = extractors.text_features(clip, [captions[0] for captions in split.captions[:IMAGES]], 64)
    found = intervals.mean(clip_scores(images, texts), 0.0, 100.0)
    return number(found.value, found.low, found.high)


def _held_out(outputs: Path) -> Any:
    """The held-out split of the prepared data."""
    from t2i.data.prepared import Prepared

    stages = json.loads((run(outputs, "task=prepare") / "stages.json").read_text(encoding="utf-8"))
    digest = next(stage["digest"] for name, stage in stages.items() if name.startswith("prepared/"))
    return Prepared(outputs / "store" / "prepared" / digest).split("held_out")


if __name__ == "__main__":
    main()

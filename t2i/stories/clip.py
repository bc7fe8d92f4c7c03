"""The story of a tuned CLIP: its training, its numbers before and after, what it forgot."""

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from t2i.config import Config
from t2i.context import Run
from t2i.stages.clip import Clip
from t2i.stages.clip_features import ALPHAS, Measured, OfState
from t2i.stories.states import blends, compared, headline, spoken

if TYPE_CHECKING:
    pass

MOST_CLASSES = 40
"""Classes up to which the confusion matrix can be read."""


def tell_training(config: Config, run: Run, folder: Path) -> None:
    """The loss over the steps, and what was trained how."""
    from t2i.reporting.figures import loss_curve

    with open(folder / "clip_log.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    held_out = [
        (int(step), float(loss))
        for step, loss in json.loads((folder / "history.json").read_text(encoding="utf-8"))["held_out"]
    ]
    figure = loss_curve(
        [int(row["step"]) for row in rows], [float(row["loss"]) for row in rows],
        run.figures() / "clip_loss.png", f"Contrastive tuning on {config.dataset.name}", held_out,
    )  # fmt: skip
    settings = config.clip
    table = {
        "columns": ["setting", "value"],
        "rows": [
            ["start", settings.source + (", text encoder of " + config.model.name if settings.text_from_model else "")],
            ["towers", settings.towers.value + (f", adapters of rank {settings.rank}" if settings.rank else "")],
            ["projection", settings.projection.value],
            ["targets", settings.targets.value.replace("_", " ")],
            ["pairs a step", settings.batch_size],
            ["steps", int(rows[-1]["step"])],
            ["final loss", float(rows[-1]["loss"])],
            ["held-out loss before", held_out[0][1]],
            ["held-out loss after", held_out[-1][1]],
            ["inverse temperature at the end", float(rows[-1]["logit_scale"])],
            ["pairs per second", sorted(float(row["pairs_per_second"]) for row in rows)[len(rows) // 2]],
        ],
        "caption": "Losses depend on the number of pairs in a batch: compare them at equal batch sizes only.",
    }
    text = (
        f"Held-out contrastive loss {held_out[0][1]:.3f} before, {held_out[-1][1]:.3f} after {rows[-1]['step']} steps."
    )
    run.section("CLIP tuning", text, [table], [(figure, "Symmetric contrastive loss over the optimizer steps.")])
    run.detail(text)


def tell_states(config: Config, other: Optional[Config], run: Run) -> dict[str, float]:
    """Every number before and after, with the difference; on the other data, if any, as `elsewhere/...`."""
    clip = Clip(config)
    states = {name: OfState(config, clip, name).read(run) for name in clip.states()}
    metrics = compared(states)
    if run.main:
        tell_numbers(config, run, states, metrics)
    if other is not None:
        elsewhere = {name: OfState(other, clip, name).read(run) for name in clip.states()}
        metrics |= {f"elsewhere/{name}": value for name, value in compared(elsewhere).items()}
        if run.main:
            tell_forgetting(other, run, elsewhere, metrics)
    return metrics


def tell_numbers(config: Config, run: Run, states: dict[str, Measured], metrics: dict[str, float]) -> None:
    """Every number before and after, as a table and a figure; which class was read as which."""
    from t2i.reporting.figures import before_after

    first, last = next(iter(states.values())), list(states.values())[-1]
    shares = [
        name
        for name in first.contrast.metrics
        if name in last.contrast.metrics and ("recall" in name or "zero" in name)
    ]
    named = {
        name: [(100 * m.value, 100 * m.low, 100 * m.high) for m in (state.contrast.metrics[share] for share in shares)]
        for name, state in states.items()
    }
    title = f"CLIP on {len(first.features.images):,} held-out pictures of {config.dataset.name}"
    figures = [
        (
            before_after(
                [spoken(share) for share in shares], named, run.figures() / "clip_before_after.png", title,
                "percent", "95 % intervals over pictures, each with all its captions",
            ),
            "Retrieval and zero-shot accuracy before and after.",
        )
    ]  # fmt: skip
    if confusion := _confusion(run, states, config.dataset.name):
        figures.append(confusion)
    name = headline(last.contrast.metrics)
    text = f"{spoken(name).capitalize()}: {_by_state(states, metrics, name)}"
    if "difference/alignment_gain" in metrics:
        text += f"; relative alignment gain {_shown(metrics, 'difference/alignment_gain')} %"
    if "before/cosine_margin" in metrics and "after/cosine_margin" in metrics:
        margins = [_shown(metrics, f"{state}/cosine_margin") for state in ("before", "after")]
        text += f"; margin between right and wrong captions {margins[0]} before, {margins[1]} after"
    text += "."
    run.section(
        "CLIP before and after",
        text,
        [_table(states, metrics)],
        figures,
        question="Did tuning the CLIP work?",
        verdict=_verdict(states, metrics, name),
        facts={"Model": config.clip.source, "Data": config.dataset.name, "Trained": config.clip.towers.value},
    )
    run.detail(text)


def _verdict(states: dict[str, Measured], metrics: dict[str, float], name: str) -> str:
    """Better, worse, or cannot tell, by the headline number's difference and its interval."""
    key = f"difference/{name}"
    low, high = metrics[f"{key}.low"], metrics[f"{key}.high"]
    answer = "Better" if low > 0 else "Worse" if high < 0 else "Cannot tell"
    told = f"{_by_state(states, metrics, name)}; difference {_shown(metrics, key, 100)} points"
    return f"**{answer}.** {spoken(name).capitalize()}: {told}."


def tell_forgetting(other: Config, run: Run, states: dict[str, Measured], metrics: dict[str, float]) -> None:
    """Numbers on a set that the CLIP was not tuned on."""
    own = {key.removeprefix("elsewhere/"): value for key, value in metrics.items() if key.startswith("elsewhere/")}
    name = headline(next(iter(states.values())).contrast.metrics)
    text = (
        f"On {other.dataset.name}, which it was not tuned on: {spoken(name)} {_by_state(states, own, name)}; after less "
        f"{next(iter(states))} {_shown(own, f'difference/{name}', 100)} points."
    )
    run.section("What the CLIP forgot", text, [_table(states, own)])
    run.detail(text)


def tell_blends(config: Config, other: Optional[Config], run: Run) -> dict[str, float]:
    """Weights between base and tuned; returns the numbers of each share."""
    from t2i.reporting.figures import blend_curves

    curves, numbers = blends(config, other, run)
    if not run.main:
        return numbers
    best = {name: ALPHAS[int(values[:, 0].argmax())] for name, values in curves.items()}
    text = "Weights between base and tuned (WiSE-FT): " + "; ".join(
        f"{name} is best at a share of {alpha:g} of the tuned weights" for name, alpha in best.items()
    )
    figure = blend_curves(
        ALPHAS, curves, run.figures() / "clip_blend.png", "From the base weights to the tuned ones", "percent",
        "95 % intervals over pictures",
    )  # fmt: skip
    run.section("Between base and tuned", text + ".", [], [(figure, "Share of the tuned weights, and what it gives.")])
    run.detail(text + ".")
    return numbers


def _confusion(run: Run, states: dict[str, Measured], name: str) -> Optional[tuple[Path, str]]:
    """Shares of each class's pictures by the class that is read from them; only for pictures of one class each."""
    import numpy as np

    from t2i.evaluation.metrics.zero_shot import cosines
    from t2i.reporting.figures import matrices

    chosen = {key: state for key, state in states.items() if key != "as it came"}
    first = next(iter(chosen.values()))
    if first.features.classes is None or len(first.classes) > MOST_CLASSES or first.features.accepted is None:
        return None
    single = [i for i, own in enumerate(first.features.accepted) if len(own) == 1]
    if not single:
        return None
    truth = np.array([next(iter(first.features.accepted[i])) for i in single])
    panels = {}
    for key, state in chosen.items():
        assert state.features.classes is not None
        read = cosines(state.features.images, state.features.classes)[single].argmax(axis=1)
        counts = np.zeros((len(first.classes), len(first.classes)))
        np.add.at(counts, (truth, read), 1)
        with np.errstate(invalid="ignore"):
            panels[f"{key} ({100 * (truth == read).mean():.1f} % right)"] = 100 * counts / counts.sum(1, keepdims=True)
    path = matrices(
        panels, first.classes, first.classes, run.figures() / "clip_confusion.png",
        f"Zero-shot classes of {name}", "percent of the class's pictures", ("class of the picture", "class that is read"),
        f"{len(single):,} held-out pictures of one class each", (0.0, 100.0),
    )  # fmt: skip
    return path, "Rows: the class of the picture; columns: the class whose prompts are nearest."


def _table(states: dict[str, Measured], metrics: dict[str, float]) -> dict[str, Any]:
    from t2i.evaluation.metrics.contrast import DIRECTIONS

    prefixes = [name.replace(" ", "_") for name in states]
    rows = []
    for name in (*DIRECTIONS, "alignment_gain", "margin_gain"):
        shown = [_shown(metrics, f"{prefix}/{name}") for prefix in (*prefixes, "difference")]
        if any(shown):
            label = spoken(name) + (" (%)" if name.endswith("gain") else "")
            rows.append([label, *shown, DIRECTIONS.get(name, "higher is better")])
    against = next(iter(states))
    return {
        "columns": ["number", *states, f"after less {against}", ""],
        "rows": rows,
        "caption": "95 % intervals over pictures, each with all its captions; differences are of "
        "the same pictures. A share of 0 or 1 has no width: no picture of this set could change it. Captions with the "
        "same words are one candidate, right for every picture that they are said about.",
    }


def _by_state(states: dict[str, Measured], metrics: dict[str, float], name: str) -> str:
    """`12 [10, 14] % before, 80 [78, 82] % after`."""
    keys = {state: f"{state.replace(' ', '_')}/{name}" for state in states}
    return ", ".join(f"{_shown(metrics, key, 100)} % {state}" for state, key in keys.items())


def _shown(metrics: dict[str, float], name: str, factor: float = 1.0) -> str:
    from t2i.reporting.numbers import number

    if name not in metrics:
        return ""
    ends = [metrics.get(f"{name}.{end}") for end in ("low", "high")]
    low, high = (None if end is None else factor * end for end in ends)
    return number(factor * metrics[name], low, high)

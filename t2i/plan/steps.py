"""What a task would look for in the store, in order, by the very functions that would make it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from t2i.config import Config, Part, Task
from t2i.context import Run
from t2i.stages.shared import captions_of, generated_set, prepared
from t2i.stages.tuned import Tuned, find_tuned
from t2i.sweeps.config import Sampler
from t2i.sweeps.space import Cell, cells
from t2i.training.contrastive.config import RANDOM

if TYPE_CHECKING:
    from t2i.tasks.evaluate import Measured


@dataclass(frozen=True)
class Step:
    """One thing that a task does with stages. `look` asks the store for them and reads nothing else that is not there."""

    title: str
    names: tuple[str, ...]
    """The stages that it asks for at most, in order; asked for the last of them, it is done."""
    needs: tuple[str, ...]
    """What must be on this machine before anything can be looked up: data, model, eval, numbers, clip."""
    look: Callable[[], Any]
    config: Config
    """With which the step works."""
    pictures: Optional[int] = None
    """How many it draws a set, where it draws."""
    group: str = ""
    """Steps of one group are told together."""
    within: str = ""
    """The stage whose making asks for these; when that one is there, these are not needed."""
    split: str = ""
    """Of which split it encodes rows, where it does."""


PARTS_OF = {
    Task.prepare: [Part.data],
    Task.embed: [Part.data, Part.embed],
    Task.verify: [Part.verify],
    Task.train: [Part.data, Part.train],
    Task.clip: [Part.data, Part.clip],
    Task.sweep: [Part.data, Part.sweep],
}


def steps(config: Config, run: Run) -> list[Step]:
    """Every step of the configured task; none for a task that keeps nothing in the store."""
    if config.task is Task.evaluate:
        return [_prepared(config, run), _measured(config, run, "numbers", lambda: find_tuned(config, run))]
    if config.task is Task.generate:
        from t2i.tasks.generate import prompts_of

        def look() -> None:
            generated_set(config, run, prompts_of(config, run), find_tuned(config, run))

        needs = ("model",) if config.prompts or config.prompts_file else ("data", "model")
        given = (len(config.prompts) or config.images) * config.images_per_prompt
        return [Step("pictures", ("generated",), needs, look, config, None if config.prompts_file else given)]
    parts = config.parts if config.task is Task.pipeline else PARTS_OF.get(config.task, [])
    found: list[Step] = []
    for part in Part:
        if part in parts:
            found += PLANS[part](config, run)
    return found if not found or found[0].names[0] == "prepared" else [_prepared(config, run), *found]


def measured_names(config: Config) -> tuple[str, ...]:
    """The stages behind one set of numbers."""
    return (
        "generated",
        "reference",
        *(["training_features"] if "memorisation" in config.eval.metrics else []),
        "metrics",
    )


def _prepared(config: Config, run: Run) -> Step:
    return Step("data", ("prepared",), ("data",), lambda: prepared(config, run), config)


def _tuned(config: Config, run: Run) -> Callable[[], Optional[Tuned]]:
    from t2i.tasks.pipeline import tuned_of

    if config.task is Task.pipeline:
        return lambda: tuned_of(config, run)
    return lambda: find_tuned(config, run)


def _data(config: Config, run: Run) -> Iterator[Step]:
    from t2i.tasks.prepare import surveyed

    yield _prepared(config, run)
    if config.task in (Task.pipeline, Task.prepare):
        names = ("long_captions", "survey")
        yield Step("survey", names, ("data",), lambda: surveyed(config, run, prepared(config, run)[0]), config)


def _embed(config: Config, run: Run) -> Iterator[Step]:
    from t2i.stages.pairing import paired
    from t2i.tasks.embed import embed

    yield Step("caption embeddings", ("text_embeddings",), ("data", "eval"), lambda: embed(config, run), config)
    yield Step("pairing", ("clip_features",), ("data", "eval"), lambda: paired(config, run), config)


def _verify(config: Config, run: Run) -> Iterator[Step]:
    from t2i.tasks.verify import verify

    yield Step("wiring check", ("wiring",), ("model",), lambda: verify(config, run), config)


def _train(config: Config, run: Run) -> Iterator[Step]:
    from t2i.plan.latents import latents, text_states
    from t2i.tasks.train import trained

    needs = ("data", "model")
    yield Step("training", ("training",), needs, lambda: trained(config, run), config)
    text_trains = config.strategy.trains_text
    for name in ("train", "held_out"):
        if config.training.cache_latents:
            look = partial(latents, config, run, name)
            yield Step(f"latents, {name}", ("latents",), needs, look, config, split=name, within="training")
        if config.training.cache_text and not text_trains and not config.training.captions.shuffle_tags:
            look = partial(text_states, config, run, name)
            yield Step(f"text states, {name}", ("text_states",), needs, look, config, split=name, within="training")


def _measured(config: Config, run: Run, title: str, tuned: Callable[[], Optional[Tuned]]) -> Step:
    from t2i.tasks.evaluate import measure

    needs = ("data", "model", "eval", "numbers")
    return Step(title, measured_names(config), needs, lambda: measure(config, run, tuned()), config, config.eval.images)


def _compare(config: Config, run: Run) -> Iterator[Step]:
    from t2i.stages.reference import training_features
    from t2i.stories import memorisation
    from t2i.stories.verdict import verdict_of
    from t2i.tasks.evaluate import extractors_of, measure

    tuned, needs = _tuned(config, run), ("data", "model", "eval", "numbers")

    def both() -> "tuple[Measured, Measured, Tuned]":
        weights = tuned()
        assert weights is not None
        return measure(config, run, None), measure(config, run, weights), weights

    yield _measured(config, run, "base", lambda: None)
    yield _measured(config, run, "tuned", tuned)
    yield Step("comparison", ("comparison",), needs, lambda: verdict_of(run, *both()[:2]), config)
    look = partial(training_features, config, run, partial(extractors_of, config, run))
    yield Step("features of the training pictures", ("training_features",), ("data", "eval", "numbers"), look, config)
    yield Step(
        "memorisation",
        ("nearest", "generated", "generated", "train_scores"),
        needs,
        lambda: memorisation.memorisation(config, run, *both(), {}),
        config,
        min(memorisation.GAP_PICTURES, config.eval.images),
    )


def _charts(config: Config, run: Run) -> Iterator[Step]:
    from t2i.stories.charts import prompts_of, scores_of, settings_of

    tuned = _tuned(config, run)
    drawn = len(config.charts.prompts) or config.charts.images
    for kind in config.charts.kinds:
        for label, own in settings_of(config, kind).items():

            def look(own: Config = own) -> None:
                prompts = prompts_of(config, run)
                scores_of(config, run, prompts, generated_set(own, run, prompts, tuned()))

            names = ("generated", "scores")
            yield Step(
                f"chart of {kind}, {label}", names, ("data", "model", "eval"), look, own, drawn, f"chart of {kind}"
            )


def _sweep(config: Config, run: Run) -> Iterator[Step]:
    from t2i.stages.sweep_reference import referred
    from t2i.sweeps.cells import cell_config, cell_trains, require_read
    from t2i.tasks.evaluate import measure

    tuned, needs = _tuned(config, run), ("data", "model", "eval", "numbers")

    def given() -> Config:
        """With the weights that the run tunes before."""
        weights = tuned()
        return replace(config, weights=str(weights.folder)) if weights else config

    require_read(config, run)
    if config.sweeps.sampler is not Sampler.grid or cell_trains(config, config.sweeps.space):
        title = f"sweep: up to {config.sweeps.trials or len(cells(config.sweeps.space))} cells, chosen while it runs"
        yield Step(title, (), needs, lambda: None, config)
        return
    if config.sweeps.reference is not None:
        names = ("generated", "sweep_reference")
        own = cell_config(config, run, {})
        yield Step("reference of the sweep", names, needs, lambda: referred(given(), run), own, own.eval.images)
    every = cells(config.sweeps.space)
    for cell in every:
        own = cell_config(config, run, cell)

        def look(cell: Cell = cell) -> None:
            whole = referred(given(), run)
            drawn = whole.sweeps.fixed.get("eval.reference")
            if config.sweeps.reference is not None and not Path(str(drawn)).exists():
                own = cell_config(given(), run, cell)
                generated_set(own, run, captions_of(prepared(own, run)[1], own.eval.images), find_tuned(own, run))
                raise FileNotFoundError(drawn)  # without it no number has an address
            own = cell_config(whole, run, cell)
            measure(own, run, find_tuned(own, run))

        yield Step(f"cell {cell}", measured_names(own), needs, look, own, own.eval.images, f"sweep, {len(every)} cells")


def _clip(config: Config, run: Run) -> Iterator[Step]:
    from t2i.plan.latents import clip_pixels
    from t2i.stages.clip_features import ALPHAS, blended, measure, other_data
    from t2i.stages.tuned import tuned_digest
    from t2i.tasks import clip

    quick = replace(config, eval=replace(config.eval, replicates=100))  # intervals are no part of what is kept
    places = [("", quick)] + ([("elsewhere, ", other_data(quick))] if config.clip.forgetting else [])

    def ends() -> dict[str, Path]:
        found = clip.folders(config, clip.tuned(config, run))
        for folder in found.values():
            folder.stat()  # what is still to be tuned has no weights to be known by
        return found

    yield Step("tuning of the CLIP", ("clip",), ("data", "clip"), lambda: clip.tuned(config, run), config)
    for name in ("train", "held_out"):
        pixels = partial(clip_pixels, config, run, name)
        yield Step(f"pixels, {name}", ("clip_pixels",), ("data", "clip"), pixels, config, split=name, within="clip")
    whole = config.clip.source != RANDOM and not config.clip.text_from_model
    states = [*([clip.CAME] if whole and config.clip.fresh else []), clip.BEFORE, clip.AFTER]
    for prefix, where in places:
        if prefix:
            yield Step(f"{prefix}data", ("prepared",), (), partial(prepared, where, run), where)
        for state in states:

            def look(where: Config = where, state: str = state) -> None:
                measure(where, run, ends()[state])

            yield Step(f"{prefix}CLIP {state}", ("clip_features",), ("data", "clip"), look, where)
        if clip.CAME not in states and config.clip.source != RANDOM and not config.clip.fresh:
            for alpha in ALPHAS[1:-1]:

                def blend(where: Config = where, alpha: float = alpha) -> None:
                    found = ends()
                    blended(where, run, found[clip.BEFORE], found[clip.AFTER], alpha)

                yield Step(
                    f"{prefix}blend {alpha:g}",
                    ("clip_features",),
                    ("data", "clip"),
                    blend,
                    where,
                    group=f"{prefix}blends",
                )
    if config.clip.generate:
        for name in ("base", "tuned"):

            def draw(tuned: bool = name == "tuned") -> None:
                folder = clip.tuned(config, run).path / clip.TUNED if tuned else None
                weights = Tuned(folder, tuned_digest(folder, run)) if folder else None
                captions = captions_of(prepared(config, run)[1], config.clip.generate)
                generated_set(config, run, captions, weights)

            needs = ("data", "model", "clip")
            yield Step(
                f"pictures with the {name} text encoder", ("generated",), needs, draw, config, config.clip.generate
            )


PLANS: dict[Part, Callable[[Config, Run], Iterator[Step]]] = {
    Part.data: _data,
    Part.embed: _embed,
    Part.verify: _verify,
    Part.train: _train,
    Part.compare: _compare,
    Part.charts: _charts,
    Part.sweep: _sweep,
    Part.clip: _clip,
}

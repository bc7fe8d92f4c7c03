"""Pictures with the base and with the tuned text encoder, same seeds, scored by another CLIP."""

from t2i.config import Config
from t2i.context import Run
from t2i.errors import ConfigError
from t2i.models.clip_files import weights_digest
from t2i.stages.captions import HeldOut
from t2i.stages.clip import AFTER, Clip, Tower
from t2i.stages.clip_pixels import source_folder
from t2i.stages.generated import Generated
from t2i.stages.networks import extractor_of, load_models
from t2i.stages.pictures import read_pictures
from t2i.stages.stage import made

TITLE = "Generation with base and tuned text encoder"


def sets_of(config: Config) -> dict[str, Generated]:
    """The pictures with each text encoder."""
    captions = HeldOut(config, config.clip.generate)
    return {"base": Generated(config, captions), "tuned": Generated(config, captions, Tower(Clip(config)))}


def compare(config: Config, run: Run) -> dict[str, float]:
    """The difference of CLIP scores with its interval; nothing but the reason when the text tower does not fit.

    Raises ConfigError when the tuned CLIP is the one that scores.
    """
    from t2i.evaluation.extractors import registry as extractors
    from t2i.evaluation.metrics.clip_score import clip_scores
    from t2i.evaluation.statistics import clustered
    from t2i.models.text_tower import misfit

    tuned = Clip(config).folder(run, AFTER)
    scorer, scorer_digest = extractors.identity(config.eval)
    if scorer_digest == weights_digest(tuned):
        raise ConfigError(
            f"eval.clip={config.eval.clip} is the CLIP that was tuned: it would score its own work; use another one"
        )
    if reason := misfit(tuned, load_models(config, run)):
        run.section(TITLE, f"Not compared: {reason}.")
        run.say(f"not compared: {reason}")
        return {}
    sets = {name: made(stage, run).path for name, stage in sets_of(config).items()}
    if not run.main:
        return {}
    extractor, captions = extractor_of(config, run), HeldOut(config, config.clip.generate).texts(run)
    texts = extractors.text_features(extractor, captions, config.eval.batch_size)
    pictures = {name: read_pictures(path, len(captions)) for name, path in sets.items()}
    scores = {
        name: clustered.one_each(
            clip_scores(extractors.image_features(extractor, name, shown, config.eval.batch_size), texts), 0.0, 100.0
        )
        for name, shown in pictures.items()
    }
    change = clustered.difference(scores["base"], scores["tuned"])
    found = {name: clustered.mean(values) for name, values in scores.items()} | {"difference": change}
    independent = scorer_digest != weights_digest(source_folder(config)) or config.clip.source == "random"
    _tell(config, run, captions, pictures, found, scorer, independent)
    metrics = {"generation/independent": float(independent)}
    for name, interval in found.items():
        key = f"generation/{name}/clip_score[{scorer}]"
        metrics |= {key: interval.value, f"{key}.low": interval.low, f"{key}.high": interval.high}
    return metrics


def _tell(config: Config, run: Run, captions: list[str], pictures, found, scorer: str, independent: bool) -> None:  # type: ignore[no-untyped-def]
    from t2i.reporting.figures import base_versus_tuned
    from t2i.reporting.numbers import number

    base, tuned, change = (number(found[k].value, found[k].low, found[k].high) for k in ("base", "tuned", "difference"))
    apart = found["difference"].low > 0 or found["difference"].high < 0
    verdict = "the difference is not zero" if apart else "that they differ cannot be told"
    origin = (
        "The scoring CLIP is independent: the tuned one did not start from it"
        if independent
        else "The scoring CLIP is the one that the tuning started from, so it may flatter the tuned text encoder"
    )
    text = (
        f"CLIP score [{scorer}] {base} with the base text encoder, {tuned} with the tuned one, difference {change} over "
        f"{len(captions)} captions with the same seeds: {verdict}. {origin}."
    )
    shown = min(8, len(captions))
    figure = base_versus_tuned(
        pictures["base"][:shown], pictures["tuned"][:shown], captions[:shown],
        run.figures() / "clip_generation.png", f"{config.model.name}: base and tuned text encoder, same seeds",
    )  # fmt: skip
    run.section(TITLE, text, [], [(figure, "Each column is one held-out caption with one seed.")])
    run.detail(text)

"""The metrics by name. A new one is a file with `measure`, an entry here, and a test with a pinned number."""

from t2i.evaluation.metrics import (
    agreement,
    clip_i,
    clip_score,
    clip_t,
    cmmd,
    composition,
    dino_i,
    drift,
    fd_dinov2,
    fid,
    fid_infinity,
    geneval_prompts,
    held_out_loss,
    hpsv2,
    inception_score,
    kid,
    memorisation,
    pickscore,
    prdc,
    ref_clip_score,
    subject_diversity,
    subject_nearest,
    vendi,
    vqa_score,
)
from t2i.evaluation.metrics.measurement import Features, Inputs, Measurement, Metric

METRICS: dict[str, Metric] = {
    "fid": Metric(fid.measure, ("moments|reference",)),
    "kid": Metric(kid.measure, ("reference",)),
    "inception_score": Metric(
        inception_score.measure,
        ("logits|classes", "logits|logit_scale"),
        higher_is_better=True,
    ),
    "clip_score": Metric(
        clip_score.measure, ("texts",), Features.CLIP, higher_is_better=True, judge="pictures and their captions"
    ),
    "agreement": Metric(agreement.measure, ("classes", "accepted"), Features.CLIP, higher_is_better=True),
    "ref_clip_score": Metric(
        ref_clip_score.measure,
        ("texts", "other_texts"),
        Features.CLIP,
        higher_is_better=True,
    ),
    "prdc": Metric(prdc.measure, ("reference",), higher_is_better=True),
    "cmmd": Metric(cmmd.measure, ("reference",), Features.CLIP),
    "fd_dinov2": Metric(fd_dinov2.measure, ("moments|reference",), Features.DINOV2),
    "fid_infinity": Metric(fid_infinity.measure, ("reference",)),
    "vendi": Metric(vendi.measure, (), higher_is_better=True),
    "pickscore": Metric(
        pickscore.measure,
        ("texts", "logit_scale"),
        Features.JUDGE,
        higher_is_better=True,
        judge="choices of Pick-a-Pic",
    ),
    "hpsv2": Metric(hpsv2.measure, ("texts",), Features.JUDGE, higher_is_better=True, judge="rankings of HPD"),
    "vqa_score": Metric(
        vqa_score.measure, ("answers",), Features.JUDGE, higher_is_better=True, judge="questions about pictures"
    ),
    "memorisation": Metric(memorisation.measure, ("reference", "train"), higher_is_better=None),
    "held_out_loss@8": Metric(held_out_loss.measure, ("held_out_losses",), Features.MODEL),
    "composition": Metric(composition.measure, ("suite",), Features.SUITE, higher_is_better=True),
    "geneval_prompts": Metric(geneval_prompts.measure, ("suite",), Features.SUITE, higher_is_better=True),
    "clip_i": Metric(clip_i.measure, ("subject",), Features.CLIP, higher_is_better=True),
    "dino_i": Metric(dino_i.measure, ("subject",), Features.DINOV2, higher_is_better=True),
    "clip_t": Metric(clip_t.measure, ("subject",), Features.CLIP, higher_is_better=True),
    "drift": Metric(drift.measure, ("subject",), higher_is_better=None),
    "subject_diversity": Metric(subject_diversity.measure, ("subject",), higher_is_better=None),
    "subject_nearest": Metric(subject_nearest.measure, ("subject",), higher_is_better=None),
}

NUMBERS_OF = {
    **dict.fromkeys(prdc.NAMES, "prdc"),
    "memorisation_distance": "memorisation",
    **dict.fromkeys(composition.NAMES.values(), "composition"),
    **dict.fromkeys(geneval_prompts.NAMES.values(), "geneval_prompts"),
    "vqa_score_answered": "vqa_score",
}
"""The metric of each tested number that is not named like it."""

SMALLEST = {"prdc": prdc.K + 1, "fid_infinity": fid_infinity.LEAST}
"""Samples below which a metric is left out, with the reason, instead of refused."""


def missing(name: str, inputs: Inputs) -> list[str]:
    """What metric `name` needs and `inputs` does not have; of alternatives the last."""
    groups = [need.split("|") for need in METRICS[name].needs]
    return [group[-1] for group in groups if all(getattr(inputs, need) is None for need in group)]


def measure(name: str, inputs: Inputs, extractor: str) -> dict[str, Measurement]:
    """Metric `name`, its numbers named for the features they come from: `fid[tiny_clip]`; of none, by their name alone."""
    bracket = f"[{extractor}]" if extractor else ""
    return {f"{key}{bracket}": value for key, value in METRICS[name].measure(inputs).items()}


def metric_of(key: str) -> str:
    """The metric that the number `key` (`recall[tiny_clip]`) is of."""
    name = key.partition("[")[0]
    return NUMBERS_OF.get(name, name)


def judge(key: str) -> str:
    """What the judge of the number `key` was taught by; empty for one that is of no judge."""
    name = key.partition("[")[0]
    return METRICS[NUMBERS_OF.get(name, name)].judge


def higher_is_better(key: str) -> bool | None:
    """Whether a rise of the number `key` (`recall[tiny_clip]`) is a gain; None where neither is."""
    return METRICS[metric_of(key)].higher_is_better

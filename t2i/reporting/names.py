"""What metrics are called where people read: one name for each number, in tables, sentences and figures.

`clip_score[tiny_clip]` names a number for programs; a page says `CLIP score (tiny_clip)` and keeps the raw name at hand.
"""

from __future__ import annotations

import re

METRICS = {
    "fid": "FID",
    "fid_infinity": "FID at infinite N",
    "kid": "KID",
    "inception_score": "Inception Score",
    "inception_score_10": "Inception Score, mean of 10 splits",
    "inception_score_10_std": "Inception Score, spread of 10 splits",
    "clip_score": "CLIP score",
    "ref_clip_score": "RefCLIPScore",
    "agreement": "Agreement with the caption",
    "precision": "Precision",
    "recall": "Recall",
    "density": "Density",
    "coverage": "Coverage",
    "cmmd": "CMMD",
    "fd_dinov2": "FD-DINOv2",
    "pickscore": "PickScore",
    "hpsv2": "HPSv2",
    "vqa_score": "VQA score",
    "vqa_score_answered": "VQA answers that are yes or no",
    "vendi": "Vendi score",
    "memorisation_distance": "Distance to training images",
    "mifid": "MIFID",
    "held_out_loss@8": "Held-out loss at 8 times",
    "clip_i": "CLIP-I",
    "dino_i": "DINO-I",
    "clip_t": "CLIP-T",
    "drift": "Drift on unrelated prompts",
    "subject_diversity": "Diversity of one prompt",
    "subject_nearest": "Distance of the subject to the nearest training picture",
    "composition_object": "Composition: object",
    "composition_two_objects": "Composition: two objects",
    "composition_count": "Composition: count",
    "composition_colour": "Composition: colour",
    "composition_position": "Composition: position",
    "composition_binding": "Composition: attribute binding",
    "geneval_prompts": "GenEval's prompts",
    "geneval_prompts_object": "GenEval's prompts: object",
    "geneval_prompts_two_objects": "GenEval's prompts: two objects",
    "geneval_prompts_count": "GenEval's prompts: count",
    "geneval_prompts_colour": "GenEval's prompts: colour",
    "geneval_prompts_position": "GenEval's prompts: position",
    "geneval_prompts_binding": "GenEval's prompts: attribute binding",
}
"""Metrics that are written with the network that they look through, in brackets."""
WORDS = {
    "seconds_per_image": "seconds a picture",
    "evaluations_per_image": "network calls a picture",
    "held_out_loss@8": "held-out loss at 8 times",
}
"""Numbers without brackets whose names are no words of any sentence."""
PLAIN = {
    "images": "pictures",
    "cfg.scale": "guidance scale",
    "scheduler.steps": "denoising steps",
}
"""Columns that are named by a bare word: only a whole text is taken for one."""
ANY_WORD = re.compile(r"(?<![\w.=])(" + "|".join(WORDS) + r")(?!\w)")
BRACKETED = re.compile(r"(?<![\w.=])([a-z][\w@]*)\[([^\[\]\s,]+)\]")


def readable(text: str) -> str:
    """The text with every raw metric name in it as people read it; one without raw names comes back as it is."""
    return PLAIN.get(text) or ANY_WORD.sub(lambda found: WORDS[found[1]], BRACKETED.sub(_said, text))


def readable_prose(text: str) -> str:
    """The same outside of `code`: what is typed keeps its raw names."""
    pieces = text.split("`")
    return "`".join(piece if i % 2 and i < len(pieces) - 1 else readable(piece) for i, piece in enumerate(pieces))


def _said(found: re.Match[str]) -> str:
    name = METRICS.get(found[1])
    return f"{name} ({found[2]})" if name else found[0]

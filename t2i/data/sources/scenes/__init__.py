"""A procedural picture world with known ground truth: described by (seed, index), drawn at any size, in COCO's form."""

from t2i.data.sources.scenes.captions import captions
from t2i.data.sources.scenes.coco import write
from t2i.data.sources.scenes.world import CATEGORIES, COLOURS, SUPERCATEGORIES, Scene, Thing, describe, render

__all__ = ["CATEGORIES", "COLOURS", "SUPERCATEGORIES", "Scene", "Thing", "captions", "describe", "render", "write"]

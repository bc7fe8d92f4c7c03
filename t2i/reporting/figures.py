"""Every figure of the project in one place: each takes plain arrays and a path, writes a PNG, returns the path."""

from t2i.reporting.before_after import before_after
from t2i.reporting.blend import blend_curves
from t2i.reporting.changes import changes
from t2i.reporting.columns import column_comparison
from t2i.reporting.comparisons import similarity_histogram
from t2i.reporting.curves import loss_curve, training_resources
from t2i.reporting.drift import drift_matrix
from t2i.reporting.exploration import (
    caption_lengths,
    captions_per_picture,
    pictures_by_group,
    source_sizes,
    word_frequencies,
)
from t2i.reporting.gains import gains
from t2i.reporting.grids import base_versus_tuned, cell_grid, rows_of_pictures, sample_grid
from t2i.reporting.heat_map import heat_map
from t2i.reporting.loss_and_samples import loss_and_samples
from t2i.reporting.matrix import matrices
from t2i.reporting.progress import samples_over_training
from t2i.reporting.projection import projection
from t2i.reporting.search import effects, front
from t2i.reporting.sheets import contact_sheet, picture_pairs

__all__ = [
    "base_versus_tuned",
    "before_after",
    "blend_curves",
    "caption_lengths",
    "captions_per_picture",
    "cell_grid",
    "changes",
    "column_comparison",
    "contact_sheet",
    "drift_matrix",
    "effects",
    "front",
    "gains",
    "heat_map",
    "loss_and_samples",
    "loss_curve",
    "matrices",
    "picture_pairs",
    "pictures_by_group",
    "projection",
    "rows_of_pictures",
    "sample_grid",
    "samples_over_training",
    "similarity_histogram",
    "source_sizes",
    "training_resources",
    "word_frequencies",
]

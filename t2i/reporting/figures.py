"""Every figure of the project in one place: each takes plain arrays and a path, writes a PNG, returns the path."""

from t2i.reporting.comparisons import bars_with_intervals, similarity_histogram
from t2i.reporting.curves import loss_curve, training_resources
from t2i.reporting.grids import base_versus_tuned, cell_grid, sample_grid
from t2i.reporting.heat_map import heat_map

__all__ = [
    "bars_with_intervals",
    "base_versus_tuned",
    "cell_grid",
    "heat_map",
    "loss_curve",
    "sample_grid",
    "similarity_histogram",
    "training_resources",
]

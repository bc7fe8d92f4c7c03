"""What tuning on one domain does to the others.

Each run's tuned model draws held-out captions of each domain, with the seeds of the base model, and what is shown is the
change of the CLIP score (do the pictures show what was asked for?) and of KID (do they look like the domain's real
pictures?): the diagonal is what was wanted, the rest is what it cost, or gave besides.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from t2i.config import Config
from t2i.context import Run
from t2i.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from t2i.evaluation.statistics.paired import PairedDifference

NAMED = 5
"""Lost cells that are named in the sentence; more are left to the figure."""
METRICS = {"clip_score": "CLIP score", "kid": "KID"}


@dataclass(frozen=True)
class Matrix:
    """The changes of one metric: rows are the tuned models, columns the domains."""

    name: str
    key: str
    """The metric with its network, `kid[tiny_clip]`."""
    cells: "list[list[PairedDifference]]"
    adjusted: "np.ndarray"
    """p of each cell, corrected over all of them, float64 (R, C)."""
    higher_is_better: bool

    def array(self, end: str) -> "np.ndarray":
        """`value`, `low` or `high` of each cell, float64 (R, C)."""
        import numpy as np

        return np.array([[getattr(cell.difference, end) for cell in row] for row in self.cells])

    @property
    def clear(self) -> "np.ndarray":
        """bool (R, C): changed for certain."""
        return self.adjusted <= 0.05

    @property
    def gained(self) -> "np.ndarray":
        """bool (R, C): changed for the better."""
        return (self.array("value") > 0) == self.higher_is_better


def tell(
    config: Config, run: Run, names: list[str], found: "list[dict[str, dict[str, PairedDifference]]]"
) -> dict[str, float]:
    """Returns `<metric>/<tuned on>/<tested on>` with its interval for every run and domain; leaves tables and heat maps.

    found: for each run, by domain, the change of every metric.
    """
    domains, numbers = list(found[0]), dict[str, float]()
    for metric in METRICS:
        matrix = _matrix(metric, [list(row.values()) for row in found])
        if run.main:
            _section(config, run, names, domains, matrix)
        for end, ending in {"value": "", "low": ".low", "high": ".high"}.items():
            for name, row in zip(names, matrix.array(end), strict=True):
                cells = zip(domains, row, strict=True)
                numbers |= {f"{metric}/{name}/{domain}{ending}": float(value) for domain, value in cells}
    return numbers


def _matrix(metric: str, rows: "list[list[dict[str, PairedDifference]]]") -> Matrix:
    from t2i.evaluation.metrics.registry import higher_is_better
    from t2i.evaluation.statistics.paired import holm

    key = next((key for key in rows[0][0] if key.startswith(f"{metric}[")), None)
    if key is None or not all(key in found for row in rows for found in row):
        raise UserError(
            f"a domain has too few held-out pictures for {METRICS[metric]} to be compared; use more held-out data "
            "(dataset.held_out, or dataset.val of scenes)"
        )
    cells = [[found[key] for found in row] for row in rows]
    adjusted = holm([cell.p for row in cells for cell in row]).reshape(len(cells), len(cells[0]))
    return Matrix(METRICS[metric], key, cells, adjusted, bool(higher_is_better(key)))


def _section(config: Config, run: Run, names: list[str], domains: list[str], matrix: Matrix) -> None:
    from t2i.evaluation.statistics.paired import fewest_pairs
    from t2i.reporting.figures import drift_matrix
    from t2i.reporting.numbers import number

    clear, gained = matrix.clear, matrix.gained
    better = "higher" if matrix.higher_is_better else "lower"
    path = drift_matrix(
        [f"tuned on {name}" for name in names],
        [f"on {domain}" for domain in domains],
        matrix.array("value"),
        matrix.array("low"),
        matrix.array("high"),
        clear,
        run.figures() / f"drift_{matrix.key.partition('[')[0]}.png",
        f"What tuning changed, domain by domain: {matrix.name}",
        f"change of {matrix.name} ({better} is better)",
        "Purple: gained, orange: lost; bold: clear (Holm's correction over all cells, 5 %).",
        matrix.higher_is_better,
    )
    lost = [
        f"{domain} when tuned on {name}"
        for i, name in enumerate(names)
        for j, domain in enumerate(domains)
        if clear[i, j] and not gained[i, j]
    ]
    text = (
        f"{matrix.name}: {config.eval.images} pictures a cell, same captions and seeds as the base model: "
        f"{int((clear & gained).sum())} of {clear.size} cells are better than the base model, {len(lost)} worse"
        + (f" ({'; '.join(lost)})" if 0 < len(lost) <= NAMED else "")
        + "."
    )
    pairs = min(cell.pairs for row in matrix.cells for cell in row)
    if pairs < (needed := fewest_pairs(clear.size)):
        text += (
            f" Too few for any verdict: {clear.size} cells need {needed} pairs of pictures each, and {pairs} are there."
        )
    rows = []
    for name, row, adjusted in zip(names, matrix.cells, matrix.adjusted, strict=True):
        shown = [(cell.difference, p) for cell, p in zip(row, adjusted, strict=True)]
        rows.append([name, *(f"{number(own.value, own.low, own.high)}, p {p:.2g}" for own, p in shown)])
    table = {
        "columns": ["tuned on", *(f"tested on {domain}" for domain in domains)],
        "rows": rows,
        "caption": f"Change of {matrix.key} from the base model, 95 % interval, p ({matrix.cells[0][0].test}) adjusted for the "
        f"{clear.size} cells (Holm 1979).",
    }
    run.section(f"Drift: {matrix.name}", text, [table], [(path, "Rows: tuned on; columns: tested on.")])
    run.say(text)

"""Diversity: mean 1 - cosine of pairs of pictures that one prompt of the subject drew (`subject.py`).

Ruiz et al. 2023, arXiv:2208.12242, sec. 4.3, with LPIPS in the cosine's place. A tuned model that draws one picture whatever the
seed is near 0; that it falls from the base's is no fault alone, since one subject varies less than a class. Pairwise distance and
not the Vendi score: its size does not hang on the number of pictures.
"""

from t2i.evaluation.metrics.measurement import Inputs, Measurement, between, measured
from t2i.evaluation.metrics.subject import ALONE, apart, of_units


def measure(inputs: Inputs) -> dict[str, Measurement]:
    """`subject_diversity` with its interval."""
    assert inputs.subject is not None
    return {"subject_diversity": measured(of_units(inputs.subject, apart(inputs.subject), 0.0, 2.0), ALONE)}


difference = between(measure)

"""What a few pictures taught: is the subject there, is the prompt still followed, and what else changed?

Of unit features g of pictures that prompts of the subject drew, r of held-out pictures of it, t of those it was learned from:

    CLIP-I, DINO-I      mean of g . r over all pairs                       (Ruiz et al. 2023, arXiv:2208.12242, sec. 4)
    CLIP-T              mean of g . p, p the prompt with the class word in the subject's place         (ibid.)
    diversity           mean of 1 - g . g' over pairs of pictures of one prompt (there with LPIPS for the cosine, sec. 4.3)
    nearest             mean of 1 - max g . t
    drift               mean of 1 - b . a, of one unrelated prompt and one seed before and after the tuning

Several subjects are the sample: subjects differ more than prompts of one, so each is one value. Of one subject, its prompts are.
"""

from dataclasses import dataclass, replace

import numpy as np

from t2i.errors import UserError
from t2i.evaluation import checks
from t2i.evaluation.statistics.intervals import Interval
from t2i.evaluation.statistics.terms import Terms, Units, of_mean
from t2i.evaluation.vectors import unit


@dataclass(frozen=True)
class Subjects:
    """Features of pictures of one or several subjects, by one network; rows of any length."""

    drawn: np.ndarray
    """float32 (N, D): of generated pictures."""
    prompts: np.ndarray
    """int (N,): of which prompt each is; no two subjects share one."""
    owners: np.ndarray
    """int (N,): which subject each should show."""
    held_out: np.ndarray
    """float32 (M, D): of real pictures that nothing was trained on."""
    held_out_owners: np.ndarray
    trained: np.ndarray
    """float32 (T, D): of the pictures that the subjects are learned from."""
    trained_owners: np.ndarray
    elsewhere: np.ndarray
    """float32 (U, D): of pictures of unrelated prompts."""
    elsewhere_before: np.ndarray
    """float32 (U, D): of the base model's pictures of the same prompts with the same seeds."""
    texts: np.ndarray | None = None
    """float32 (N, D): of each picture's prompt with the class word; None of a network that reads no text."""
    base: bool = False
    """Whether it is the base model itself, which has no drift by definition."""

    @property
    def several(self) -> bool:
        """Whether subjects are the sample."""
        return len(np.unique(self.owners)) > 1

    def by_unit(self, values: np.ndarray) -> np.ndarray:
        """Means float64 (units,) of `values` (N,) over what is the sample: prompts, or subjects by their prompts."""
        means, owners = self.by_prompt(values)
        return _means(means, owners) if self.several else means

    def by_prompt(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Means float64 (prompts,) of `values` (N,), and the subject of each."""
        _, first = np.unique(self.prompts, return_index=True)
        return _means(values, self.prompts), self.owners[first]


def _means(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """By label in its order."""
    _, place, counts = np.unique(labels, return_inverse=True, return_counts=True)
    return np.bincount(place, values) / counts


def rows(name: str, features: np.ndarray) -> np.ndarray:
    """Unit rows, float64; UserError for features that are not finite or zero."""
    return unit(checks.features(name, features, least=1))


def closeness(found: Subjects) -> Terms:
    """Of the mean cosine of generated and held-out pictures of the same subject."""
    drawn, real = rows("generated", found.drawn), rows("held-out", found.held_out)
    checks.same_width("generated", drawn, "held-out", real)
    own = np.empty(len(drawn))
    for owner in np.unique(found.owners):
        mine = found.owners == owner
        own[mine] = (drawn[mine] @ real[found.held_out_owners == owner].T).mean(axis=1)
    terms = of_units(found, own, -1.0, 1.0)
    if found.several or len(real) < 2:  # pictures of subjects are drawn with them; one picture says nothing of others
        return terms
    means = _means_of_pictures(found, drawn)
    return replace(terms, reference=real @ means - terms.value)


def _means_of_pictures(found: Subjects, drawn: np.ndarray) -> np.ndarray:
    """The mean feature (D,), each prompt as much as any other."""
    _, place, counts = np.unique(found.prompts, return_inverse=True, return_counts=True)
    weights = 1.0 / counts[place] / len(counts)
    return np.asarray(weights @ drawn)


def of_units(found: Subjects, values: np.ndarray, lowest: float, highest: float) -> Terms:
    """Of the mean over the sample of `values` (N,), one a picture."""
    return replace(of_mean(found.by_unit(values), lowest, highest), alone=True)


def real_closeness(found: Subjects) -> float:
    """The same of the pictures that subjects are learned from: what a picture of the subject has."""
    trained, real = rows("training", found.trained), rows("held-out", found.held_out)
    return float(
        np.mean(
            [
                (trained[found.trained_owners == owner] @ real[found.held_out_owners == owner].T).mean()
                for owner in np.unique(found.owners)
            ]
        )
    )


def fitting(found: Subjects) -> tuple[np.ndarray, float]:
    """Cosine of each picture and its prompt, float64 (N,); and the mean cosine with the other prompts of its subject, which a
    model that ignores prompts has.
    """
    assert found.texts is not None
    drawn, texts = rows("generated", found.drawn), rows("text", found.texts)
    checks.same_width("generated", drawn, "text", texts)
    others = []
    for owner in np.unique(found.owners):
        mine = found.owners == owner
        apart = found.prompts[mine][:, None] != found.prompts[mine][None]
        if apart.any():
            others.append((drawn[mine] @ texts[mine].T)[apart].mean())
    return (drawn * texts).sum(axis=1), float(np.mean(others)) if others else np.nan


def apart(found: Subjects) -> np.ndarray:
    """Mean distance of each picture to the others of its prompt, float64 (N,); NaN where it is alone."""
    drawn, values = rows("generated", found.drawn), np.full(len(found.drawn), np.nan)
    for prompt in np.unique(found.prompts):
        mine = np.flatnonzero(found.prompts == prompt)
        if len(mine) > 1:
            cosines = drawn[mine] @ drawn[mine].T
            values[mine] = 1.0 - (cosines.sum(axis=1) - np.diag(cosines)) / (len(mine) - 1)
    if np.isnan(values).all():
        raise UserError("no prompt of the subject has two pictures: their distance needs 2 of each, draw more")
    return values


def nearest(found: Subjects, features: np.ndarray, owners: np.ndarray) -> np.ndarray:
    """Distance of each of `features` (K, D) to the nearest training picture of its subject, float64 (K,)."""
    own, trained = rows("generated", features), rows("training", found.trained)
    checks.same_width("generated", own, "training", trained)
    values = np.empty(len(own))
    for owner in np.unique(owners):
        mine = owners == owner
        values[mine] = 1.0 - (own[mine] @ trained[found.trained_owners == owner].T).max(axis=1)
    return np.clip(values, 0.0, 2.0)


def drift(found: Subjects) -> tuple[np.ndarray, float]:
    """Distance of each picture to the base model's of the same prompt and seed, float64 (U,); and the mean distance of the base
    model's pictures of different prompts, which a model that kept nothing has.
    """
    after, before = rows("unrelated", found.elsewhere), rows("unrelated base", found.elsewhere_before)
    checks.same_length("unrelated pictures", after, "of the base model", before)
    checks.same_width("unrelated", after, "unrelated base", before)
    values = np.clip(1.0 - (after * before).sum(axis=1), 0.0, 2.0)
    values[(after == before).all(axis=1)] = 0.0  # where a cosine with itself is rounded
    count = len(before)
    cosines = before @ before.T
    other = 1.0 - (cosines.sum() - np.trace(cosines)) / (count * (count - 1)) if count > 1 else np.nan
    return np.zeros(count) if found.base else values, float(other)


def known(value: float) -> Interval:
    """A number that stands beside another."""
    return Interval(value, value, value)


ALONE = Units()
"""Its samples are prompts and subjects, not the pictures of the evaluated set."""

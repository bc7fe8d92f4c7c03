"""What a task wants of the store, by the name that it has for people: a run makes it, a plan looks for it."""

from collections.abc import Sequence

from t2i.stages.stage import Stage

Goals = dict[str, Sequence[Stage]]
"""In the order in which a run comes to them; what several stand on belongs to the first."""

"""What a task wants of the store, by the name that it has for people: a run makes it, a plan looks for it."""

from collections.abc import Iterator, Sequence

from t2i.stages.stage import Stage

Goals = Iterator[tuple[str, Sequence[Stage]]]
"""In the order in which a run comes to them; what several stand on belongs to the first. When the next goal is asked for, the
former ones have been made, or looked for."""

"""Prompt suites by skill: each prompt with the questions that a picture of it must answer with yes."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Item:
    """One prompt of a suite."""

    prompt: str
    skill: str
    """`object`, `two objects`, `count`, `colour`, `position`, `attribute binding`."""
    questions: tuple[str, ...]
    """Questions in English whose right answer, of a picture that shows the prompt, is yes; one at least."""

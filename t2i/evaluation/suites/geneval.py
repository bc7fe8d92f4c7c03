"""GenEval's 553 prompts with questions for a vision-language model (Ghosh et al. 2023, arXiv:2310.11513; MIT).

The prompts are those of GenEval, the judge is not: there an object detector and a CLIP look, here P(yes) of questions that are
made from what each prompt names. So a number of it is `geneval_prompts[<model>]`, and none of GenEval's tables can be held
against it.
Published plurals such as "knifes" are asked as the prompt has them.
"""

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from t2i.evaluation.suites import Item
from t2i.places import PACKAGE

VERSION = 1
"""Raised when prompts or questions change."""
FILE = PACKAGE / "assets" / "geneval_prompts" / "evaluation_metadata.jsonl"
SKILLS = {
    "single_object": "object",
    "two_object": "two objects",
    "counting": "count",
    "colors": "colour",
    "position": "position",
    "color_attr": "attribute binding",
}
"""GenEval's tags and what they are called here."""
MANY = frozenset({"scissors", "skis"})
"""Objects whose name is a plural."""
OPENING = "a photo of "
WHERE = {"left of": "to the left of", "right of": "to the right of", "above": "above", "below": "below"}


def items(most: int | None = None) -> list[Item]:
    """All 553, or the first `most` of each skill, in the order of the file."""
    found: list[Item] = []
    seen = Counter[str]()
    for line in FILE.read_text(encoding="utf-8").splitlines():
        item = _item(json.loads(line))
        seen[item.skill] += 1
        if most is None or seen[item.skill] <= most:
            found.append(item)
    return found


def _item(told: Mapping[str, Any]) -> Item:
    """Questions of one prompt: whether each object is there, how many, of which colour, and where."""
    prompt, include = str(told["prompt"]), told["include"]
    if told["tag"] == "counting":
        return Item(prompt, SKILLS["counting"], (f"Are there exactly {prompt.removeprefix(OPENING)}?",))
    questions = []
    for named in include:
        questions.append(_is_there(named["class"]))
        if "color" in named:
            questions.append(f"{_are(named['class'])} {named['color']}?")
        if "position" in named:
            where, other = named["position"]
            questions.append(f"{_are(named['class'])} {WHERE[where]} the {include[other]['class']}?")
    return Item(prompt, SKILLS[told["tag"]], tuple(questions))


def _is_there(name: str) -> str:
    if name in MANY:
        return f"Are there {name}?"
    return f"Is there {'an' if name[0] in 'aeiou' else 'a'} {name}?"


def _are(name: str) -> str:
    """`Is the dog`, `Are the skis`."""
    return f"{'Are' if name in MANY else 'Is'} the {name}"

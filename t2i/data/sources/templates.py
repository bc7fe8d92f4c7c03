"""Captions of labelled images: sentences into which the name of a class is put."""

import re
from collections.abc import Sequence

from t2i.data.keywords import with_article
from t2i.errors import ConfigError

DEFAULT = ("an image of {a label}",)


def check_templates(templates: Sequence[str]) -> None:
    """Raises ConfigError unless each template holds {label} or {a label} once, and there is one at least."""
    for template in templates:
        if len(re.findall(r"\{(?:a )?label\}", template)) != 1 or len(re.findall("[{}]", template)) != 2:
            raise ConfigError(
                f"dataset.templates holds {template!r}: type {{label}} or {{a label}} once, "
                "as in dataset.templates=['an image of {a label}']."
            )
    if not templates:
        raise ConfigError("dataset.templates is empty: type dataset.templates=['an image of {a label}'].")


def worded(templates: Sequence[str], label: str) -> tuple[str, ...]:
    """The captions of an image of that class."""
    return tuple(text.replace("{a label}", with_article(label)).replace("{label}", label) for text in templates)

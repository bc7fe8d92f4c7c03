"""Which columns of a table mean what, and what a row says by them."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from t2i.data.base import listed
from t2i.data.files.stated import texts, word
from t2i.data.sources.extract import Record
from t2i.errors import ConfigError, UserError


@dataclass
class Columns:
    """Names of columns; empty: the table has none of that meaning."""

    image: str = "image"
    """Encoded images."""
    caption: str = "caption"
    """A text or a list of texts; several columns are joined by +."""
    split: str = ""
    """Name of the split that a row belongs to, in place of that of its file."""
    id: str = ""
    """What tells images apart; rows of the same image add their captions."""
    license: str = ""
    """Licence of the image."""

    def names(self) -> list[tuple[str, str]]:
        """Key and column of everything that is named."""
        values = [(field.name, getattr(self, field.name)) for field in fields(self)]
        return [(key, name) for key, value in values for name in value.split("+") if name]

    def check(self, there: Mapping[str, Any], where: str) -> None:
        """Raises ConfigError when a column is not `there`."""
        for key, name in self.names():
            if name not in there:
                raise ConfigError(
                    f"dataset.columns.{key}={getattr(self, key)} names {name!r}, which {where} does not have: "
                    f"type one of {listed(there)}."
                )

    def record(self, values: Mapping[str, Any], split: str, key: str, where: str) -> Record:
        """What a row says; `split` and `key` stand where no column says them. Raises UserError that says `where`."""
        image = values[self.image]
        if image is not None and not isinstance(image, bytes):
            raise UserError(
                f"{where}: dataset.columns.image={self.image} holds {type(image).__name__}, not an encoded image: name "
                f"one of {listed(values)}."
            )
        return Record(
            id=(word(values[self.id], where, self.id) if self.id else "") or key,
            image=image,
            captions=[text for name in self.caption.split("+") for text in texts(values[name], where, name)],
            split=(word(values[self.split], where, self.split) if self.split else "") or split,
            license=word(values[self.license], where, self.license) if self.license else "",
            origin=where,
        )

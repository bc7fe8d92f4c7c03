"""How captions are worded for training. Imports nothing heavy: it is part of the configuration."""

from dataclasses import dataclass, field

from t2i.errors import ConfigError


@dataclass
class CaptionRule:
    """What training makes of a caption: tags shuffled, put into a template, between prefix and suffix, in this order."""

    templates: list[str] = field(default_factory=list)
    """Sentences with one {} for the caption; one is chosen for each epoch and picture. Empty: the caption itself."""
    prefix: str = ""
    """Put before every caption that is not dropped, such as "sks style, "."""
    suffix: str = ""
    """Put after it."""
    shuffle_tags: bool = False
    """Put the comma-separated parts of a caption in another order for each epoch and picture."""
    keep_tags: int = 0
    """How many of the first parts stay where they are."""

    def validate(self, prefix: str) -> None:
        """Raises ConfigError that names the key below `prefix`."""
        wrong = [template for template in self.templates if template.count("{}") != 1]
        if wrong:
            raise ConfigError(f"{prefix}.templates holds {wrong[0]!r}: each needs one {{}} for the caption")
        if self.keep_tags < 0:
            raise ConfigError(f"{prefix}.keep_tags={self.keep_tags} is negative; use 0 or a number of tags")

    def variants(self, caption: str) -> list[str]:
        """Every wording of a caption; only without shuffled tags, which have too many."""
        return [self.prefix + t.replace("{}", caption) + self.suffix for t in self.templates or ["{}"]]

    def wording(self, caption: str, seed: int, epoch: int, sample_id: str) -> str:
        """The wording that the epoch sees."""
        if not self.shuffle_tags and len(self.templates) < 2:
            return self.variants(caption)[0]
        from t2i.randomness import generator

        g = generator(seed, "wording", epoch, sample_id)
        number = int(g.integers(max(1, len(self.templates))))
        if self.shuffle_tags:
            tags = [tag.strip() for tag in caption.split(",") if tag.strip()]
            first, rest = tags[: self.keep_tags], tags[self.keep_tags :]
            caption = ", ".join([*first, *(rest[i] for i in g.permutation(len(rest)))])
        return self.variants(caption)[number]

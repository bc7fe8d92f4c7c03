"""What some families read of a picture beside its pixels."""

from typing import NamedTuple


class Picture(NamedTuple):
    """Sizes of one picture, (height, width) and (top, left) in pixels; some families read them."""

    original: tuple[int, int]
    """Of the file that it was made from."""
    crop: tuple[int, int]
    """Of its corner, in the file's picture made as large as this one."""
    size: tuple[int, int]

    @classmethod
    def whole(cls, size: tuple[int, int]) -> "Picture":
        """One that was never larger: what is drawn."""
        return cls(size, (0, 0), size)

    @property
    def mirrored(self) -> "Picture":
        """The same of the file's picture mirrored: its corner lies as far from the other edge."""
        scale = max(own / whole for own, whole in zip(self.size, self.original, strict=True))
        left = round(self.original[1] * scale) - self.size[1] - self.crop[1]
        return self._replace(crop=(self.crop[0], max(0, left)))

"""Images that lie inside containers (batches, Parquet, archives), written out once as files in a stage of the store.

Encoded images keep their bytes; arrays become PNG. The stage holds `images/` and `index.jsonl`, one line an image.
"""

import hashlib
import io
import json
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from t2i.data.sample import Sample, clean, packed
from t2i.data.spool import Spool
from t2i.errors import UserError
from t2i.progress import progress

if TYPE_CHECKING:
    import numpy as np

    from t2i.store import Store

VERSION = 2
"""Of what is written: raise it when the same containers give other files."""
MAX_IMAGE_BYTES = 64 * 2**20
"""An encoded image with more is not written out; preparation lists it as missing."""
PER_FOLDER = 1000
SIGNATURES = {b"\x89PNG": "png", b"\xff\xd8": "jpg", b"GIF8": "gif", b"BM": "bmp", b"II*\x00": "tif", b"MM\x00*": "tif"}
INDEX = "index.jsonl"


@dataclass(frozen=True)
class Record:
    """One image of a container with what is said about it; records of the same id add captions to the first."""

    id: str
    image: "bytes | np.ndarray | None"
    """An encoded file, or uint8 (H, W) grey or (H, W, 3) RGB; None where the container has none."""
    captions: list[str]
    split: str = ""
    categories: list[str] = field(default_factory=list)
    license: str = ""
    origin: str = ""
    """Where it lies, for messages: the shard and the key, or the file and the row."""


def extract(
    store: "Store",
    inputs: Mapping[str, str],
    config: Mapping[str, Any],
    records: Callable[[], Iterable[Record]],
    wanted: Container[str] | None = None,
) -> Path:
    """The stage with the images of `records`, written unless the store has it for these inputs and this config.

    wanted: the ids of those to write; all by default.
    """

    def build(folder: Path) -> None:
        found = progress(records(), "writing the images out", "image")
        try:
            _write(folder, (record for record in found if wanted is None or record.id in wanted))
        except BaseException as error:
            if not isinstance(error, Exception):  # a signal
                store.announce(
                    "interrupted: of the images that were being written out none is kept; the source is untouched"
                )
            raise

    return store.stage("extracted", inputs, config, VERSION, build).path


def listed_only(records: Iterable[Record]) -> Spool[list[Any]]:
    """Split and packed sample of each image, without a file: its path is the digest that its file would have.

    Arrays have that of their pixels: they come from files with splits of their own, and none is split by content.
    """

    def digest(number: int, image: "bytes | np.ndarray | None") -> str:
        if image is None or (isinstance(image, bytes) and len(image) > MAX_IMAGE_BYTES):
            return ""
        return hashlib.sha256(image if isinstance(image, bytes) else image.tobytes()).hexdigest()

    found: Spool[list[Any]] = Spool(pack=lambda row: row)
    for key, split, file, captions, categories, license, origin in _gathered(records, digest):
        path = Path(file) if file else Path()
        sample = Sample(key, path, clean(captions), (), tuple(sorted(categories)), license, origin=origin)
        found.append([split, *packed(sample)])
    return found


def hashed(store: "Store", files: Mapping[str, Path]) -> dict[str, str]:
    """The digest of each file, by the same names."""
    return {name: store.file_digest(path) for name, path in progress(files.items(), "reading", "file")}


def extracted(folder: Path) -> Iterator[tuple[str, Sample]]:
    """The split's name and the sample of each image that `extract` wrote, in the order of the records."""
    with (folder / INDEX).open(encoding="ascii") as index:
        for line in index:
            key, split, file, captions, categories, license, origin = json.loads(line)
            sample = Sample(key, folder / file, clean(captions), (), tuple(sorted(categories)), license, origin=origin)
            yield split, sample


def _write(folder: Path, records: Iterable[Record]) -> None:
    def keep(number: int, image: "bytes | np.ndarray | None") -> str:
        data = image if isinstance(image, bytes | None) else _png(image)
        path = folder / "images" / f"{number // PER_FOLDER:04d}" / f"{number:07d}.{_suffix(data)}"
        if number % PER_FOLDER == 0:
            path.parent.mkdir(parents=True)
        if data is not None and len(data) <= MAX_IMAGE_BYTES:
            path.write_bytes(data)
        return path.relative_to(folder).as_posix()

    with (folder / INDEX).open("w", encoding="ascii") as index:
        for row in _gathered(records, keep):
            index.write(json.dumps(row, separators=(",", ":")) + "\n")


def _gathered(
    records: Iterable[Record], keep: "Callable[[int, bytes | np.ndarray | None], str]"
) -> Iterator[list[Any]]:
    """One row an image, once all records are read: later records of an image add their captions to the first.

    keep: takes the number of an image and the image, and gives what stands for it in the row.
    """
    rows: Spool[list[Any]] = Spool(pack=lambda row: row)
    places: dict[str, int] = {}
    contents: list[bytes] = []
    more: dict[int, list[str]] = {}
    for record in records:
        image = record.image
        data = image if isinstance(image, bytes | None) else image.tobytes()
        content = b"" if data is None else hashlib.blake2b(data, digest_size=8).digest()
        number = places.setdefault(record.id, len(rows))
        if number < len(rows):
            if content != contents[number]:
                raise UserError(
                    f"{record.origin}: the image {record.id!r} was there already ({rows[number][-1]}) with another "
                    "picture: give every picture a name of its own."
                )
            more.setdefault(number, []).extend(record.captions)
            continue
        contents.append(content)
        kept = keep(number, image)
        rows.append([record.id, record.split, kept, record.captions, record.categories, record.license, record.origin])
    for number, (key, split, kept, captions, *rest) in enumerate(rows):
        yield [key, split, kept, captions + more.get(number, []), *rest]


def _png(pixels: "np.ndarray") -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=3)
    return file.getvalue()


def _suffix(data: bytes | None) -> str:
    if data is None:
        return "none"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    return next((suffix for start, suffix in SIGNATURES.items() if data.startswith(start)), "unknown")

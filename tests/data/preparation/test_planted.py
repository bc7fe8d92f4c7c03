"""Bad inputs planted among good ones: each is handled as stated, and the good ones are as if it were not there."""

import io
import json
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from t2i.data.preparation.prepare import prepare
from t2i.data.prepared import Prepared
from t2i.data.sources.coco import Coco
from t2i.data.tokens import TokenLimit, long_captions
from t2i.store import Store

from .test_decode import ORIENTATIONS, RED, bomb, four_colours, quadrants

GOOD, HELD_OUT = range(1, 41), range(101, 106)


def shapes(number: int) -> Image.Image:
    """Soft spots, different for each number: unlike noise, they look the same after lossy compression."""
    grid = np.random.default_rng(number).integers(0, 256, (20, 20, 3), np.uint8)
    return Image.fromarray(grid).resize((96, 96), Image.Resampling.BICUBIC)


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def cut(share: float) -> bytes:
    content = saved(shapes(500), "JPEG", quality=90)
    return content[: int(share * len(content))]


def turned(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(four_colours(), "PNG", exif=exif)


def png(width: int, depth: int, kind: int, row: bytes) -> bytes:
    """A PNG of equal rows, as high as wide, of which Pillow cannot write the kind."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, width, depth, kind, 0, 0, 0)
    chunks = (header, b"IDAT" + zlib.compress((b"\0" + row) * width), b"IEND")
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks
    )


def frames(kind: str, colour: tuple[int, int, int], **options: object) -> bytes:
    first, second = Image.new("RGB", (64, 64), colour), Image.new("RGB", (64, 64), (255, 255, 0))
    return saved(first, kind, save_all=True, append_images=[second], duration=100, **options)


def clear(mode: str, level: int) -> bytes:
    """Black (or `level` of grey) in the upper half and nothing in the lower."""
    image = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    image.paste((level, level, level, 255), (0, 0, 64, 32))
    if mode != "P":
        return saved(image.convert(mode), "PNG")
    flat = Image.new("P", (64, 64), 0)
    flat.putpalette([255, 0, 0, level, level, level])
    flat.paste(1, (0, 0, 64, 32))
    return saved(flat, "PNG", transparency=0)


def flat(colour: tuple[int, int, int], within: int = 2) -> Callable[[np.ndarray], bool]:
    return lambda pixels: bool((np.abs(pixels.astype(int) - colour) <= within).all())


def white_below(level: int) -> Callable[[np.ndarray], bool]:
    return lambda pixels: bool((pixels[:30] == level).all() and (pixels[34:] == 255).all())


def upright(orientation: int) -> Callable[[np.ndarray], bool]:
    return lambda pixels: quadrants(pixels) == ORIENTATIONS[orientation]


@dataclass
class Planted:
    what: str
    content: bytes | None = None
    """Of the file; None: there is none, or `place` makes it."""
    unusable: str = ""
    """How the reason begins with which the image is refused."""
    repeats: str = ""
    """How the reason begins with which the image is set aside."""
    looks: Callable[[np.ndarray], bool] | None = None
    """True of the prepared pixels of an image that is used."""
    name: str = ""
    captions: tuple[str, ...] = ("a planted picture",)
    used_captions: tuple[str, ...] | None = None
    place: Callable[[Path], object] | None = None


NEAR = saved(shapes(7), "JPEG", quality=60)
TABLE = [
    *(Planted(f"JPEG cut at {share:.0%}", cut(share), "truncated") for share in (0.2, 0.4, 0.6, 0.8, 0.97)),
    Planted("JPEG cut in its header", cut(0.01), "truncated"),
    Planted("PNG cut", saved(shapes(501), "PNG")[:2000], "truncated"),
    Planted("bomb past Pillow's limit", bomb(60_000, 60_000), "too large"),
    Planted("bomb past ours", bomb(8_001, 8_000), "too large: 8001 x 8000"),
    *(Planted(f"EXIF orientation {k}", turned(k), looks=upright(k)) for k in ORIENTATIONS),
    Planted("CMYK", saved(Image.new("CMYK", (64, 64), (0, 255, 255, 0)), "JPEG", quality=95), looks=flat(RED, 4)),
    Planted("16-bit grey", png(64, 16, 0, struct.pack(">H", 25700) * 64), looks=flat((100, 100, 100), 0)),
    Planted("16-bit colour", png(64, 16, 2, b"\x40\xff\x80\xff\xc0\xff" * 64), looks=flat((0x40, 0x80, 0xC0), 1)),
    Planted("32-bit float", saved(Image.fromarray(np.ones((64, 64), np.float32)), "TIFF"), "pixels are floating-point"),
    Planted("animated GIF", frames("GIF", (200, 0, 0)), looks=flat((200, 0, 0))),
    Planted("animated WebP", frames("WEBP", (0, 200, 0), lossless=True), looks=flat((0, 200, 0))),
    Planted("animated PNG", frames("PNG", (0, 0, 200)), looks=flat((0, 0, 200))),
    Planted("palette with transparency", clear("P", 10), looks=white_below(10)),
    Planted("grey with alpha", clear("LA", 20), looks=white_below(20)),
    Planted("colour with alpha", clear("RGBA", 30), looks=white_below(30)),
    Planted("one bit", saved(Image.new("1", (64, 64), 1), "PNG"), looks=flat((255, 255, 255), 0)),
    Planted("too small", saved(Image.new("RGB", (200, 15)), "PNG"), "too small: 200 x 15"),
    Planted("zero bytes", b"", "empty file"),
    Planted("text named .png", b"not a picture", "unreadable"),
    Planted("PostScript named .jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n", "unreadable"),
    Planted("link out", None, "outside the root folder", place=lambda path: path.symlink_to(__file__)),
    Planted("link to nothing", None, "missing", place=lambda path: path.symlink_to(path.with_name("nothing"))),
    Planted("link to itself", None, "not a usable file name", place=lambda path: path.symlink_to(path)),
    Planted("folder named .png", None, "missing", place=lambda path: path.mkdir()),
    Planted("../ in the annotations", None, "outside the root folder", name="../../outside.png"),
    Planted("absolute path", None, "outside the root folder", name="/etc/hostname"),
    Planted("NUL in the name", None, "not a usable file name", name="nul\0.png"),
    Planted("name too long", None, "not a usable file name", name="x" * 300 + ".png"),
    Planted("missing file", None, "missing"),
    Planted("no caption", saved(shapes(502), "PNG"), "no caption", captions=()),
    Planted("only empty captions", saved(shapes(503), "PNG"), "no caption", captions=("", " \n")),
    Planted(
        "NUL and control characters in a caption",
        saved(shapes(504), "PNG"),
        looks=lambda pixels: True,
        captions=("a\0cat\x07 here",),
        used_captions=("a cat here",),
    ),
    Planted(
        "right-to-left caption",
        saved(shapes(505), "PNG"),
        looks=lambda pixels: True,
        captions=("חתול על ספה", "قطة\u202e"),
        used_captions=("חתול על ספה", "قطة\u202e"),
    ),
    Planted(
        "caption of 100 kB",
        saved(shapes(506), "PNG"),
        looks=lambda pixels: True,
        captions=("cat " * 25_000,),
        used_captions=(" ".join(["cat"] * 25_000),),
    ),
    Planted(
        "empty and repeated captions",
        saved(shapes(507), "PNG"),
        looks=lambda pixels: True,
        captions=("a cat", "", "a  cat", "a dog"),
        used_captions=("a cat", "a dog"),
    ),
    Planted("the same file", saved(shapes(1), "PNG"), repeats="duplicate of 1"),
    Planted("the same pixels in another format", saved(shapes(2), "BMP"), repeats="duplicate of 2"),
    Planted("a held-out file", saved(shapes(101), "PNG"), repeats="duplicate of held-out 101"),
    Planted("held-out pixels", saved(shapes(102), "TIFF"), repeats="duplicate of held-out 102"),
    Planted("near a held-out one", saved(shapes(103), "JPEG", quality=60), repeats="near duplicate of held-out 103 ("),
    Planted("near a training one", NEAR, looks=lambda pixels: True),
    Planted("a copy of a cut file", cut(0.4), "truncated"),
]


def source(root: Path, planted: list[Planted]) -> Coco:
    (root / "annotations").mkdir(parents=True)
    rows: dict[str, list[tuple[int, str, tuple[str, ...]]]] = {"train2017": [], "val2017": []}
    for split, numbers in (("train2017", GOOD), ("val2017", HELD_OUT)):
        (root / split).mkdir()
        for number in numbers:
            shapes(number).save(root / split / f"{number}.png")
            rows[split].append((number, f"{number}.png", (f"picture {number}",)))
    for number, item in enumerate(planted, 1001):
        name = item.name or f"{number}.png"
        if item.content is not None:
            (root / "train2017" / name).write_bytes(item.content)
        if item.place:
            item.place(root / "train2017" / name)
        rows["train2017"].append((number, name, item.captions))
    for split, images in rows.items():
        texts = [(number, caption) for number, _, captions in images for caption in captions]
        content = {
            "images": [{"id": number, "file_name": name, "license": 4} for number, name, _ in images],
            "annotations": [{"id": k, "image_id": number, "caption": text} for k, (number, text) in enumerate(texts)],
        }
        (root / "annotations" / f"captions_{split}.json").write_text(json.dumps(content))
    return Coco(root=str(root), resolution=64, quarantine=1.0)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("planted")
    (folder / "outside.png").write_bytes(saved(shapes(600), "PNG"))
    stages = {
        name: prepare(source(folder / name, planted), Store(folder / f"store_{name}"))
        for name, planted in (("good", []), ("all", TABLE))
    }
    files = {path.stem: json.loads(path.read_text()) for path in stages["all"].path.glob("*.json")}
    return SimpleNamespace(
        good=Prepared(stages["good"].path),
        all=Prepared(stages["all"].path),
        stage=stages["all"],
        store=Store(folder / "store_all"),
        images={image["id"]: image for image in files["audit"]["images"]},
        **files,
    )


@pytest.mark.parametrize(("number", "item"), list(enumerate(TABLE, 1001)), ids=[item.what for item in TABLE])
def test_a_planted_input_is_handled_as_stated(runs, number, item):
    key = str(number)
    refused = {image["id"]: image["reason"] for image in runs.quarantine}
    repeats = {image["id"]: image["reason"] for image in runs.duplicates["set_aside"]}
    train = runs.all.split("train")
    if item.unusable:
        assert refused[key].startswith(item.unusable) and key not in train.ids and key not in repeats
    elif item.repeats:
        assert repeats[key].startswith(item.repeats) and key not in train.ids and key not in refused
    else:
        assert key not in refused and key not in repeats and item.looks is not None
        place = train.ids.index(key)
        assert item.looks(train.pixels([place])[0])
        if item.used_captions:
            assert tuple(train.captions[place]) == item.used_captions
    assert runs.images[key].get("dropped") == (refused | repeats).get(key)


def test_nothing_is_lost(runs):
    assert len(TABLE) >= 40
    numbers = [*GOOD, *HELD_OUT, *range(1001, 1001 + len(TABLE))]
    assert sorted(runs.images, key=int) == [str(number) for number in numbers]
    assert len(runs.audit["images"]) == len(numbers)
    kept = [*runs.all.split("train").ids, *runs.all.split("held_out").ids]
    dropped = [key for key, image in runs.images.items() if "dropped" in image]
    assert sorted(kept + dropped, key=int) == sorted(runs.images, key=int)
    refused, repeats = (sum(bool(getattr(item, kind)) for item in TABLE) for kind in ("unusable", "repeats"))
    assert (len(runs.quarantine), len(runs.duplicates["set_aside"])) == (refused, repeats)
    assert runs.audit["counts"]["set_aside"] == {
        "unusable": refused,
        "duplicate": 2,
        "leak": 3,
        "look_alike": 0,
        "near_duplicates": 3,  # of one training image; of the three with a dark upper half
        "empty_caption": 3,
        "duplicate_caption": 1,
    }


def test_the_good_images_are_those_of_a_run_without_the_bad(runs):
    for split in ("train", "held_out"):
        good, with_bad = runs.good.split(split), runs.all.split(split)
        assert len(good) == {"train": 40, "held_out": 5}[split]
        places = [with_bad.ids.index(key) for key in good.ids]
        for place, captions in zip(places, good.captions, strict=True):  # copies add theirs
            assert with_bad.captions[place][: len(captions)] == captions
        assert [with_bad.encoded(place) for place in places] == [good.encoded(place) for place in range(len(good))]


def test_every_image_has_its_source_digest_size_and_licence(runs):
    image = runs.images["3"]
    assert image["file"] == "train2017/3.png" and (image["width"], image["height"]) == (96, 96)
    assert len(image["sha256"]) == 64 and image["license"] == "4" and "dropped" not in image
    assert "sha256" not in runs.images[next(k for k, i in runs.images.items() if i.get("dropped") == "missing")]


def test_dropped_captions_are_listed(runs):
    number = str(1001 + next(place for place, item in enumerate(TABLE) if item.what.startswith("empty and")))
    listed = [item for item in runs.audit["dropped_captions"] if item["id"] == number]
    assert [(item["caption"], item["reason"]) for item in listed] == [
        ("", "empty caption"),
        ("a cat", "duplicate caption"),
    ]


def test_alike_training_images_are_listed_and_stay(runs):
    number = str(1001 + next(place for place, item in enumerate(TABLE) if item.content is NEAR))
    pairs = [([image["id"] for image in pair["images"]], pair["bits"]) for pair in runs.duplicates["near"]]
    ((images, bits),) = [pair for pair in pairs if number in pair[0]]
    assert images == ["7", number] and 0 <= bits <= 12


def test_captions_past_the_limit_are_listed_with_the_tokens_they_lose(runs):
    tokens = TokenLimit("words", 77, lambda captions: [len(caption.split()) + 2 for caption in captions])
    stage = long_captions(runs.stage, runs.store, tokens)
    found = json.loads((stage.path / "long_captions.json").read_text())
    (item,) = found["listed"]
    assert (item["tokens"], item["lost"]) == (25_002, 24_925) and len(item["caption"]) < 300
    assert (found["long"], found["tokens_lost"], found["limit"]) == (1, 24_925, 77)
    train, held_out = runs.all.split("train"), runs.all.split("held_out")
    assert found["captions"] == sum(map(len, train.captions)) + sum(map(len, held_out.captions))
    assert long_captions(runs.stage, runs.store, tokens).reused

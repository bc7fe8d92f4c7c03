"""`task=prepare` on a folder with one of everything: every file is used, set aside with a reason, or no picture."""

import io
import json
import re
from pathlib import Path

import pytest
from PIL import Image

from ..conftest import Ended, Lab
from .test_prepare import noise

USED = 14


def encoded(number: int, form: str, **settings: object) -> bytes:
    file = io.BytesIO()
    noise(number).save(file, form, **settings)
    return file.getvalue()


def captioned(path: Path, data: bytes, caption: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    path.with_suffix(".txt").write_text(caption)


@pytest.fixture(scope="module")
def own_lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(tmp_path_factory.mktemp("everything"))


@pytest.fixture(scope="module")
def ended(own_lab: Lab) -> Ended:
    root = own_lab.root / "one of everything"
    # Used: a picture of every kind, and of every side file.
    kinds = {"png": "PNG", "jpg": "JPEG", "jfif": "JPEG", "jpe": "JPEG", "webp": "WEBP", "gif": "GIF", "bmp": "BMP"}
    kinds |= {"tif": "TIFF", "avif": "AVIF", "jp2": "JPEG2000", "ppm": "PPM"}
    for number, (suffix, form) in enumerate(kinds.items()):
        captioned(root / f"good/{number}.{suffix}", encoded(number, form), f"picture {number}")
    for number, suffix in ((20, "caption"), (21, "json")):
        (root / f"good/{number}.png").write_bytes(encoded(number, "PNG"))
        text = json.dumps({"caption": "words"}) if suffix == "json" else "words"
        (root / f"good/{number}.{suffix}").write_text(text)
    white = Image.new("RGBA", (64, 64))
    white.paste((255, 255, 255, 255), (20, 20, 40, 50))
    white.save(root / "good/white.png")
    (root / "good/white.txt").write_text("a white bar")
    # Set aside.
    captioned(root / "good/copy.png", encoded(0, "PNG"), "a copy")
    captioned(root / "bad/cut.jpg", encoded(30, "JPEG")[:900], "cut")
    captioned(root / "bad/empty.png", b"", "empty")
    captioned(root / "bad/tiny.png", _saved(noise(31, (9, 9))), "tiny")
    captioned(root / "bad/clear.png", _saved(Image.new("RGBA", (64, 64))), "transparent")
    (root / "bad/mute.png").write_bytes(encoded(32, "PNG"))
    outside = own_lab.root / "outside"
    captioned(outside / "far.png", encoded(33, "PNG"), "far")
    (root / "bad/link.png").symlink_to(outside / "far.png")
    (root / "bad/link.txt").write_text("a link")
    (root / "linked").symlink_to(outside)
    # Passed over.
    captioned(root / ".ipynb_checkpoints/0-checkpoint.png", encoded(40, "PNG"), "hidden")
    for name in ("a.heic", "b.jxl", "c.psd", "d.svg", "e.cr2", "f.tga"):
        captioned(root / f"other/{name}", b"x" * 100, "another kind")
    # No pictures.
    (root / "good/._0.png").write_bytes(b"\0\5\x16\7")
    captioned(root / "__MACOSX/good/0.png", encoded(41, "PNG"), "left by macOS")
    (root / ".DS_Store").write_bytes(b"x")
    (root / "notes.md").write_text("notes")
    (root / "LICENSE").write_text("free")
    where = ["task=prepare", "dataset=folder", f"dataset.root='{root}'", "dataset.resolution=64"]
    return own_lab.here(*where, "dataset.quarantine=0.5")


def _saved(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def test_the_sentence_adds_up_to_the_number_of_files(ended: Ended, own_lab: Lab) -> None:
    root = own_lab.root / "one of everything"
    entries = [path for path in root.rglob("*") if path.is_symlink() or not path.is_dir()]
    found = re.search(
        r"Of the ([\d,]+) files below .*?: ([\d,]+) used, ([\d,]+) set aside or left out \((.*?)\), "
        r"([\d,]+) not pictures \((.*?)\)\.",
        ended.out,
    )
    assert found
    files, used, aside, others = (int(found[place]) for place in (1, 2, 3, 5))
    assert files == len(entries) == used + aside + others
    assert used == USED
    assert sum(int(part.split()[0]) for part in found[4].split(", ")) == aside
    assert sum(int(part.split()[0]) for part in found[6].split(", ")) == others
    reasons = {part.split(" ", 1)[1]: int(part.split()[0]) for part in found[4].split(", ")}
    assert reasons == {
        "truncated": 1,
        "empty file": 1,
        "too small": 1,
        "nothing to see": 1,
        "no caption": 1,
        "outside the root folder": 1,
        "duplicate of a picture": 1,
        "in a hidden folder": 1,
        "a link to a folder outside of the root": 1,
        **{f".{end} is not read": 1 for end in ("heic", "jxl", "psd", "svg", "cr2", "tga")},
    }
    numbers = ended.metrics
    assert numbers["files/below_root"] == files and numbers["files/set_aside"] == aside
    assert numbers["train_images"] + numbers["held_out_images"] == numbers["files/used"] == used
    assert numbers["files/no_pictures"] == others


def test_what_was_not_looked_at_is_listed_with_what_to_do(ended: Ended) -> None:
    listed = {item["file"]: item["reason"] for item in ended.json("files.json")["listed"]}
    assert set(listed) == {
        ".ipynb_checkpoints/0-checkpoint.png",
        "linked",
        *(f"other/{name}" for name in ("a.heic", "b.jxl", "c.psd", "d.svg", "e.cr2", "f.tga")),
    }
    assert "pip install pillow-heif" in listed["other/a.heic"] and "djxl" in listed["other/b.jxl"]
    assert "dataset.links=[" in listed["linked"]


def test_links_are_followed_where_they_are_allowed(ended: Ended, own_lab: Lab) -> None:
    root = own_lab.root / "one of everything"
    where = [f"dataset.root='{root}'", "dataset.resolution=64", "dataset.quarantine=0.5"]
    links = f"dataset.links=['{own_lab.root / 'outside'}']"
    again = own_lab.here("task=prepare", "dataset=folder", *where, links)
    assert again.metrics["files/used"] == USED + 1  # the link to the picture and the linked folder show the same one
    assert again.metrics["files/below_root"] == ended.metrics["files/below_root"] + 1  # what lies in the linked folder
    assert "a link to a folder outside" not in again.out


def test_pictures_that_no_row_names_are_mentioned(own_lab: Lab, tmp_path: Path) -> None:
    for number in range(10):
        noise(number).save(tmp_path / f"{number}.png")
    rows = [{"file_name": f"{number}.png", "text": "named"} for number in range(3)] + [
        {"file_name": "x.png", "text": "y"}
    ]
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    where = ["task=prepare", "dataset=folder", f"dataset.root={tmp_path}", "dataset.resolution=64"]
    ended = own_lab.here(*where, "dataset.quarantine=0.5")
    assert (
        "Of the 11 files below" in ended.out
        and "3 used, 7 set aside or left out (7 named by nothing that dataset=folder reads), "
        "1 not pictures (1 .jsonl); named, but no file there: 1 (1 missing)."
        in ended.out
    )
    assert len(ended.json("files.json")["listed"]) == 7


def test_what_the_configuration_leaves_out_is_counted(own_lab: Lab, tmp_path: Path) -> None:
    for split, count in (("train", 6), ("test", 2), ("validation", 3)):
        for number in range(count):
            path = tmp_path / f"{split}/{('cat', 'dog')[number % 2]}/{number}.png"
            captioned(path, encoded(100 + 10 * len(split) + number, "PNG"), f"{split} {number}")
    where = ["task=prepare", "dataset=folder", f"dataset.root={tmp_path}", "dataset.resolution=64"]
    ended = own_lab.here(*where, "dataset.domains=[cat]", "dataset.limit=2")
    text = next(line for line in ended.out.splitlines() if "files below" in line)
    assert "Of the 22 files below" in text and ": 3 used, 8 set" in text and "11 not pictures (11 .txt)" in text
    assert "3 in the split validation" in text and "4 left out by dataset.domains" in text
    assert "1 left out by dataset.limit" in text

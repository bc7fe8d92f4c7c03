"""A folder of pictures of any origin: what is said about them, wherever it is written, and their pixels in their own size."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from t2i.data.given.folder import gallery
from t2i.data.given.inside import OURS, inside
from t2i.errors import ConfigError, UserError
from t2i.sampling.recipe import KEY

CAPTIONS = ("a red kite", "two dogs, one asleep", "a bus")
NAMES = ("a.png", "b.png", "c.png")


def picture(path: Path, size: tuple[int, int] = (32, 24), chunks: dict[str, str] | None = None, seed: int = 0) -> None:
    """A PNG of size (width, height)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    information = PngInfo()
    for key, text in (chunks or {}).items():
        information.add_text(key, text)
    Image.fromarray(values).save(path, pnginfo=information)


def folder(root: Path) -> Path:
    for number, name in enumerate(NAMES):
        picture(root / name, seed=number)
    return root


def _list(root: Path) -> None:
    (root / "captions.json").write_text(json.dumps(list(CAPTIONS)))


def _object(root: Path) -> None:
    (root / "captions.json").write_text(json.dumps(dict(zip(reversed(NAMES), reversed(CAPTIONS), strict=True))))


def _stems(root: Path) -> None:
    (root / "captions.json").write_text(json.dumps({name[0]: text for name, text in zip(NAMES, CAPTIONS, strict=True)}))


def _entries(root: Path) -> None:
    rows = [{"file_name": name, "prompt": text} for name, text in zip(NAMES, CAPTIONS, strict=True)]
    (root / "captions.json").write_text(json.dumps(rows[::-1]))


def _csv(root: Path) -> None:
    rows = [f'{name},"{text}"' for name, text in zip(NAMES, CAPTIONS, strict=True)]
    (root / "captions.csv").write_text("\n".join(["file,caption", *rows[::-1]]))


def _txt(root: Path) -> None:
    (root / "captions.txt").write_text("\n".join(CAPTIONS) + "\n\n")


def _marked(root: Path) -> None:
    (root / "captions.txt").write_text("\r\n".join(CAPTIONS), encoding="utf-16")


def _metadata(root: Path) -> None:
    rows = [json.dumps({"file_name": name, "text": text}) for name, text in zip(NAMES, CAPTIONS, strict=True)]
    (root / "metadata.jsonl").write_text("\n".join(rows))


def _beside(root: Path) -> None:
    for name, text in zip(NAMES, CAPTIONS, strict=True):
        (root / name).with_suffix(".txt").write_text(text)


def comfyui(text: str, seed: int) -> str:
    """A graph as ComfyUI saves it: the text behind two nodes, the seed behind one."""
    graph = {
        "3": {
            "class_type": "KSampler",
            "inputs": {"positive": ["9", 0], "negative": ["7", 0], "seed": ["5", 0], "model": ["4", 0]},
        },
        "5": {"class_type": "Seed", "inputs": {"seed": seed}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": ["8", 0], "clip": ["4", 1]}},
        "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "blurry", "clip": ["4", 1]}},
        "8": {"class_type": "String", "inputs": {"value": text}},
        "9": {"class_type": "FluxGuidance", "inputs": {"conditioning": ["6", 0], "guidance": 3.5}},
    }
    return json.dumps(graph)


def a1111(text: str, seed: int) -> str:
    return f"{text} <lora:style:0.8>\nNegative prompt: blurry, text\nSteps: 20, Sampler: Euler a, Seed: {seed}, Size: 64x64"


INSIDE: dict[str, Callable[[str, int], dict[str, str]]] = {
    "ours": lambda text, seed: {OURS: json.dumps({"prompt": text, "seed": seed})},
    "a1111": lambda text, seed: {"parameters": a1111(text, seed)},
    "comfyui": lambda text, seed: {"prompt": comfyui(text, seed), "workflow": "{}"},
}


@pytest.mark.parametrize("write", [_list, _object, _stems, _entries, _csv, _txt, _marked, _metadata, _beside])
def test_captions_are_read_wherever_they_are_written(write: Callable[[Path], None], tmp_path: Path) -> None:
    write(folder(tmp_path))
    found = gallery(tmp_path)
    assert found.names == NAMES and found.captions == CAPTIONS and found.source and not found.notes


@pytest.mark.parametrize("tool", INSIDE)
def test_prompt_and_seed_are_read_from_inside(tool: str, tmp_path: Path) -> None:
    for number, (name, text) in enumerate(zip(NAMES, CAPTIONS, strict=True)):
        picture(tmp_path / name, chunks=INSIDE[tool](text, 40 + number))
    found = gallery(tmp_path)
    assert found.captions == CAPTIONS and found.seeds == (40, 41, 42)


def test_the_key_of_our_recipes_is_one() -> None:
    assert KEY == OURS


@pytest.mark.parametrize(
    "chunks",
    [
        {"parameters": ""},
        {"prompt": "[]"},
        {"prompt": "not json"},
        {"prompt": json.dumps({"1": {"inputs": {"positive": ["1", 0]}}})},  # leads back to itself
        {"prompt": json.dumps({"1": {"inputs": {"positive": "a"}}, "2": {"inputs": {"positive": "b"}}})},  # two prompts
        {OURS: json.dumps({"prompt": 3})},
        {"Comment": "made by hand"},
    ],
)
def test_what_says_nothing_gives_no_caption(chunks: dict[str, str], tmp_path: Path) -> None:
    picture(tmp_path / "a.png", chunks=chunks)
    found = inside(tmp_path / "a.png")
    assert found is None or not found.prompt
    assert gallery(tmp_path).captions is None


def test_a_picture_without_caption_is_told_and_none_is_read(tmp_path: Path) -> None:
    folder(tmp_path)
    (tmp_path / "captions.json").write_text(json.dumps({"a.png": "a red kite", "c.png": "a bus"}))
    found = gallery(tmp_path)
    assert found.captions is None and "2 of the 3" in found.notes[0] and "b.png" in found.notes[0]


@pytest.mark.parametrize(
    ("name", "text", "error", "words"),
    [
        ("captions.txt", "one\ntwo\n", ConfigError, "2 captions"),
        ("captions.json", '["one"]', ConfigError, "1 captions"),
        ("captions.json", '"one"', ConfigError, "neither a list"),
        ("captions.json", "{", UserError, "not JSON"),
        ("captions.json", '{"a.png": 3}', UserError, "a number"),
        ("captions.csv", "file,caption\na.png,one, two\n", UserError, "line 2"),
        ("captions.csv", "path,words\na.png,one\n", ConfigError, "expected the columns"),
    ],
)
def test_a_list_that_does_not_fit_is_one_sentence(
    name: str, text: str, error: type[Exception], words: str, tmp_path: Path
) -> None:
    (folder(tmp_path) / name).write_text(text)
    with pytest.raises(error, match=words):
        gallery(tmp_path)


@pytest.mark.parametrize("case", ["missing", "a file", "empty", "no picture"])
def test_a_folder_without_pictures_is_one_sentence(case: str, tmp_path: Path) -> None:
    root = tmp_path / "own"
    if case == "a file":
        root.write_text("x")
    elif case != "missing":
        root.mkdir()
        if case == "no picture":
            (root / "x.psd").write_bytes(b"x")
    with pytest.raises(ConfigError, match="pictures="):
        gallery(root)


def test_pictures_keep_their_size_and_grey_and_transparent_ones_are_rgb(tmp_path: Path) -> None:
    grey = np.arange(20 * 30, dtype=np.uint8).reshape(20, 30)
    Image.fromarray(grey).save(tmp_path / "a.png")
    clear = np.zeros((16, 40, 4), np.uint8)
    clear[..., 0], clear[:, 20:, 3] = 255, 255
    Image.fromarray(clear).save(tmp_path / "b.png")
    turned = Image.fromarray(np.zeros((18, 36, 3), np.uint8))
    exif = turned.getexif()
    exif[274] = 6  # seen upright it is 36 high
    turned.save(tmp_path / "c.jpg", exif=exif)
    found = gallery(tmp_path).pictures
    assert found.sizes is not None and found.sizes.tolist() == [[20, 30], [16, 40], [36, 18]]
    np.testing.assert_array_equal(found[0:1][0], np.stack([grey] * 3, axis=-1))
    np.testing.assert_array_equal(found[1:2][0, 0, [0, -1]], [[255, 255, 255], [255, 0, 0]])
    groups = found.groups()
    assert sorted(int(rows[0]) for rows, _ in groups) == [0, 1, 2]
    assert all(own[:].shape == (1, *found.sizes[rows[0]].tolist(), 3) for rows, own in groups)


def test_pictures_of_one_size_are_an_array(tmp_path: Path) -> None:
    found = gallery(folder(tmp_path)).pictures
    assert found.sizes is None and found.shape == (3, 24, 32, 3) and found[:].shape == (3, 24, 32, 3)

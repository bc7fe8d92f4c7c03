"""`task=prepare` as users type it: numbers, figures, what was set aside and why, and captions that are cut."""

import json
from pathlib import Path

import pytest
from PIL import Image

from t2i.stories import set_aside

from ..conftest import Ended, Lab

FIGURES = {"training_pictures", "contact_sheet"}
WORDY = "a word " * 30


def noise(number: int, size: tuple[int, int] = (64, 48)) -> Image.Image:
    import numpy as np

    from t2i.randomness import generator

    return Image.fromarray(generator("prepare", number).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def own_lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(tmp_path_factory.mktemp("prepare"))


@pytest.fixture(scope="module")
def ended(own_lab: Lab) -> Ended:
    """Forty good pictures in two domains; and three copies, one unreadable, one too small, one missing file."""
    root = own_lab.root / "pictures"
    lines = []

    def line(name: str, *captions: str) -> Path:
        lines.extend(json.dumps({"file_name": name, "text": caption}) for caption in captions)
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        return root / name

    for number in range(40):
        name = f"{('cats', 'dogs')[number % 2]}/{number:02d}.png"
        noise(number).save(line(name, f"picture {number}", WORDY if number < 4 else f"a second caption {number}"))
    for number in range(3):
        noise(number).save(line(f"last/{number}.png", "a copy"))
    noise(0, (9, 9)).save(line("small.png", "small"))
    line("text.png", "text").write_text("not a picture")
    line("gone.png", "gone")
    (root / "metadata.jsonl").write_text("\n".join(lines))
    where = ["task=prepare", "dataset=folder", f"dataset.root={root}", "dataset.resolution=64"]
    return own_lab.here(*where, "dataset.quarantine=0.1")


def test_the_numbers_are_those_of_the_files(ended: Ended) -> None:
    numbers = ended.metrics
    assert numbers["train_images"] + numbers["held_out_images"] == 40
    assert numbers["captions"] == 80 + 3  # those of the copies too
    assert {kind: numbers[f"set_aside/{kind}"] for kind in ("unusable", "duplicate", "leak")} == {
        "unusable": 3,
        "duplicate": 3,
        "leak": 0,
    }
    assert numbers["quarantined"] == 3
    assert numbers["domain/cats/train"] + numbers["domain/cats/held_out"] == 20
    assert numbers["captions_cut"] == 4
    longest = numbers["longest_caption_tokens"]
    assert numbers["tokens_cut"] == 4 * (longest - 32) > 0


def test_every_figure_and_reason_is_in_the_section(ended: Ended) -> None:
    (section,) = ended.json("sections.json")
    figures = {Path(figure["path"]).stem for figure in section["figures"]}
    assert figures == FIGURES | {
        *("pictures_by_domain", "word_frequencies", "duplicates", "caption_lengths", "captions_per_picture")
    }, "no figure of one bar: every source has the same size"
    for figure in section["figures"]:
        with Image.open(ended.folder / figure["path"]) as image:
            assert image.format == "PNG" and figure["caption"]
    (table,) = (table for table in section["tables"] if table["columns"][0] == "reason")
    assert {row[0]: row[1] for row in table["rows"]} == {
        "duplicate of a picture": 3,
        "unreadable": 1,
        "too small": 1,
        "missing": 1,
    }
    assert "3 unusable, 3 duplicates" in section["text"] and "32 tokens that model=tiny reads: 4" in section["text"]


def test_a_second_run_counts_nothing_again(ended: Ended, own_lab: Lab) -> None:
    again = own_lab.here(*ended.json("environment.json")["overrides"])
    assert again.metrics == ended.metrics
    assert {name.partition("/")[0] for name, stage in again.json("stages.json").items() if stage["reused"]} == {
        "prepared",
        "long_captions",
        "survey",
    }


def test_without_the_model_everything_but_tokens_is_there(
    empty_lab: Lab, folder_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    where = ["dataset=folder", f"dataset.root={folder_data}", "dataset.resolution=64"]
    ended = empty_lab.here("task=prepare", *where, "model=sd15", "model.source=nobody/no-such-model")
    assert "captions_cut" not in ended.metrics and ended.metrics["captions"] == 12
    assert "tokens are not counted" in ended.out + ended.err
    assert FIGURES <= {path.stem for path in (ended.folder / "figures").glob("*.png")}


def test_pictures_of_several_shapes_are_shown(empty_lab: Lab, tmp_path: Path) -> None:
    root = tmp_path / "shapes"
    root.mkdir()
    for number in range(20):
        noise(number, (64, 32 + 8 * (number % 8))).save(root / f"{number}.png")
        (root / f"{number}.txt").write_text(f"picture {number}")
    where = ["dataset=folder", f"dataset.root={root}", "dataset.resolution=64", "dataset.crop=buckets"]
    ended = empty_lab.here("task=prepare", *where)
    assert ended.status == 0, ended.err
    assert (ended.folder / "figures" / "contact_sheet.png").exists()


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("too small: 8 x 9, the shorter side must have 16 pixels", "too small"),
        ("missing", "missing"),
        ("duplicate of b: of c.png", "duplicate of a picture"),
        ("duplicate of held-out b.png", "duplicate of a held-out picture"),
        ("near duplicate of held-out a (1).png (7 of 256 bits differ)", "near duplicate of a held-out picture"),
    ],
)
def test_a_kind_is_a_reason_without_its_file(reason: str, kind: str) -> None:
    assert set_aside.kind(reason) == kind


def test_a_pair_is_found_by_the_wording_of_its_reason(tmp_path: Path) -> None:
    record = {"split": "train", "file": ""}
    duplicates = {
        "set_aside": [
            {**record, "id": "x", "reason": "duplicate of y"},
            {**record, "id": "z", "reason": "near duplicate of held-out a (1).png (7 of 256 bits differ)"},
        ],
        "near": [
            {"images": [{"split": "train", "id": "p"}, {"split": "train", "id": "q"}], "bits": bits} for bits in (9, 2)
        ],
    }
    (tmp_path / "duplicates.json").write_text(json.dumps(duplicates))
    found = set_aside.pairs(tmp_path)
    assert [(pair.left, pair.right) for pair in found] == [
        (("held_out", "a (1).png"), ("set_aside", "z")),
        (("train", "y"), ("set_aside", "x")),
        (("train", "p"), ("train", "q")),
        (("train", "p"), ("train", "q")),
    ]
    assert "2 of 256" in found[2].label and "9 of 256" in found[3].label

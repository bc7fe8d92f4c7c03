"""The folder source: where captions come from, how the split is drawn, and what never leaves the root."""

import json
import shutil
from collections import Counter

import pytest

from t2i.data.sources.folder import Folder
from t2i.errors import UserError

from ..conftest import picture


def everything(dataset):
    return [*dataset.samples("train"), *dataset.samples("held_out")]


@pytest.mark.parametrize("form", ["jsonl", "csv", "txt"])
def test_every_form_gives_the_same_samples(folder_root, form):
    samples = sorted(everything(Folder(root=str(folder_root(form)))), key=lambda sample: sample.captions)
    assert len(samples) == 40
    assert {sample.captions for sample in samples} == {(f"picture {number}",) for number in range(40)}
    assert Counter(sample.domains for sample in samples) == {("cats",): 20, ("dogs",): 20}
    assert all(sample.path.is_file() and sample.categories == () for sample in samples)


def test_rows_lists_and_domains_add_up(folder_root):
    root = folder_root()
    rows = [
        {"file_name": "cats/00.png", "text": ["a cat", "  ", "one  cat"], "domain": "animal"},
        {"file_name": "./cats/00.png", "caption": "some cat", "domains": ["pet", "animal"]},
        {"file_name": "dogs/01.png", "text": "a dog"},
    ]
    (root / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    first, second = sorted(everything(Folder(root=str(root))), key=lambda sample: sample.id)
    assert (first.id, first.captions, first.domains) == (
        "cats/00.png",
        ("a cat", "", "one cat", "some cat"),
        ("animal", "pet"),
    )
    assert (second.captions, second.domains) == (("a dog",), ("dogs",))


def test_a_side_file_has_one_caption_a_line(folder_root):
    root = folder_root("txt", 4)
    (root / "cats/00.txt").write_text("a cat\n\n  one cat \n")
    (root / "dogs/01.txt").unlink()
    captions = {sample.id: sample.captions for sample in everything(Folder(root=str(root)))}
    assert captions["cats/00.png"] == ("a cat", "one cat")
    assert captions["dogs/01.png"] == ()


def test_the_split_is_a_function_of_seed_and_content(folder_root, store):
    root = folder_root()
    dataset = Folder(root=str(root), held_out_share=0.25)
    dataset.acquire(store)
    held_out = [sample.captions for sample in dataset.samples("held_out")]
    assert len(held_out) == 10 and len(dataset.samples("train")) == 30
    assert held_out == [sample.captions for sample in Folder(root=str(root), held_out_share=0.25).samples("held_out")]
    other = Folder(root=str(root), held_out_share=0.25, seed=1).samples("held_out")
    assert held_out != [sample.captions for sample in other]
    for number, path in enumerate(sorted(root.rglob("*.png"))):  # new names, same pictures
        path.rename(path.with_name(f"x{number}{path.name}"))
    rows = [
        json.dumps({"file_name": str(p.relative_to(root)), "text": f"picture {int(p.stem[-2:])}"})
        for p in root.rglob("*.png")
    ]
    (root / "metadata.jsonl").write_text("\n".join(rows))
    moved = Folder(root=str(root), held_out_share=0.25).samples("held_out")
    assert sorted(held_out) == sorted(sample.captions for sample in moved)


@pytest.mark.parametrize("count", [2, 3, 4, 5, 6, 11, 30])
@pytest.mark.parametrize("share", [0.01, 0.2, 0.4, 0.5, 0.9, 0.99])
def test_of_few_images_the_share_is_a_count(folder_root, count, share):
    """Whatever the seed: of five pictures 0.4 are two, and something is left on both sides."""
    root, kept = str(folder_root("jsonl", count)), []
    for seed in range(3):
        dataset = Folder(root=root, seed=seed, held_out_share=share)
        kept.append({sample.id for sample in dataset.samples("held_out")})
        assert len(kept[-1]) == min(max(1, int(share * count + 0.5)), count - 1)
        assert len(dataset.samples("train")) == count - len(kept[-1])
        more = Folder(root=root, seed=seed, held_out_share=min(0.99, share + 0.2)).samples("held_out")
        assert kept[-1] <= {sample.id for sample in more}, "a larger share keeps those of a smaller one"


def test_equal_images_are_never_on_both_sides(folder_root):
    root = folder_root("txt")
    for path in list(root.rglob("*.png")):
        shutil.copy(path, path.with_name(f"copy_{path.name}"))
        path.with_name(f"copy_{path.stem}.txt").write_text("a copy")
    held_out = {sample.path.name for sample in Folder(root=str(root), held_out_share=0.3).samples("held_out")}
    assert held_out and {f"copy_{name}" for name in held_out if not name.startswith("copy_")} <= held_out
    assert sum(name.startswith("copy_") for name in held_out) * 2 == len(held_out)


def test_a_few_images_still_leave_one_held_out(folder_root):
    for seed in range(5):
        dataset = Folder(root=str(folder_root("jsonl", 3)), seed=seed, held_out_share=0.01)
        assert len(dataset.samples("held_out")) == 1 and len(dataset.samples("train")) == 2


def test_domains_select_folders(folder_root):
    dataset = Folder(root=str(folder_root()), domains=["cats"])
    assert {sample.domains for sample in everything(dataset)} == {("cats",)}


def test_an_empty_folder_says_what_was_expected(tmp_path):
    with pytest.raises(UserError, match=r"no image to prepare: .* is empty, expected images with metadata.jsonl"):
        Folder(root=str(tmp_path)).samples("train")
    (tmp_path / "notes.md").touch()
    with pytest.raises(UserError, match=r"holds \[notes.md\]"):
        Folder(root=str(tmp_path)).samples("train")


def test_images_without_any_caption_say_how_to_caption_them(tmp_path):
    picture(0).save(tmp_path / "a.png")
    with pytest.raises(UserError, match="none of the 1 images has a caption"):
        Folder(root=str(tmp_path)).samples("train")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("metadata.jsonl", '{"file_name": "a.png", "text": "x"}\n{"file', "line 2: not JSON"),
        ("metadata.jsonl", "[1]", "line 1: not an object"),
        ("metadata.jsonl", '{"file_name": "a.png"}', "line 1: expected file_name and text"),
        ("metadata.csv", "image,text\na.png,x\n", "line 2: expected file_name and text"),
        ("metadata.csv", b"file_name,text\na.png,\xff\xfe\n", "line 2: not UTF-8"),
    ],
)
def test_damaged_metadata_is_named_with_its_line(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=words):
        Folder(root=str(tmp_path)).samples("train")


def test_two_metadata_files_are_refused(folder_root):
    root = folder_root("jsonl")
    (root / "metadata.csv").touch()
    with pytest.raises(UserError, match="keep the one that is meant"):
        Folder(root=str(root)).samples("train")


def test_a_side_file_outside_of_the_root_is_not_read(folder_root, tmp_path):
    root = folder_root("txt", 4)
    (tmp_path / "secret").write_text("a secret")
    (root / "cats/00.txt").unlink()
    (root / "cats/00.txt").symlink_to(tmp_path / "secret")
    captions = {sample.id: sample.captions for sample in everything(Folder(root=str(root)))}
    assert captions["cats/00.png"] == ()

"""Whatever becomes of a finished stage's bytes, no number comes of it: it is made again, or a sentence says what to do."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from t2i.digests import MEMORY
from t2i.store import MANIFEST, damage

from ..conftest import SCENES, SWEEP, TOY, Ended, Lab
from ..test_store import DAMAGES, flipped, in_place, zeroed

PIPELINE = [*SCENES, *TOY, *SWEEP]


def copy(lab: Lab, root: Path) -> Lab:
    """The same store and runs in other files."""
    shutil.copytree(lab.root, root, symlinks=True)
    return Lab(root)


def kinds(root: Path) -> list[Path]:
    """One file of each kind that a stage has: of equal endings and folders the largest."""
    found: dict[tuple[str, str, str], Path] = {}
    for path in sorted(root.glob("store/*/[!.]*/**/*")):
        stage, _, *inner = path.relative_to(root / "store").parts
        if path.is_file():
            key = (stage, "/".join(inner[:-1]), path.suffix if path.name[0].isdigit() else path.name.split("-")[0])
            found[key] = max(found.get(key, path), path, key=lambda own: own.stat().st_size)
    return list(found.values())


def stage_of(root: Path, path: Path) -> Path:
    return root.joinpath(*path.relative_to(root).parts[:3])


def test_every_damage_of_every_kind_of_file_is_seen(lab: Lab, main_job: Ended, tmp_path: Path) -> None:
    own = copy(lab, tmp_path / "lab")
    files = kinds(own.root)
    assert {path.suffix for path in files} >= {".npy", ".npz", ".parquet", ".json", ".png", ".safetensors", ".csv"}
    assert len({stage_of(own.root, path).parent.name for path in files}) >= 17
    unseen = []
    for path in files:
        folder, content = stage_of(own.root, path), path.read_bytes()
        assert damage(folder) == []
        for name, spoil in DAMAGES.items():
            spoil(path)
            if path.is_file() and path.read_bytes() == content:
                continue  # zeros stay zeros
            if damage(folder) == []:
                unseen.append((path.relative_to(own.root), name))
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
            path.write_bytes(content)
    assert unseen == [], unseen


@pytest.mark.parametrize("spoil", [flipped, zeroed])
def test_a_store_of_which_every_stage_is_damaged_gives_the_same_numbers(
    lab: Lab, main_job: Ended, tmp_path: Path, spoil: object
) -> None:
    own = copy(lab, tmp_path / "lab")
    for folder in own.root.glob("store/*/[!.]*"):
        path = max(
            (file for file in folder.rglob("*") if file.name != MANIFEST and file.is_file()), key=lambda f: f.name
        )
        in_place(path, spoil(path.read_bytes()))  # type: ignore[operator]
    in_place(own.root / "store" / MEMORY, flipped((own.root / "store" / MEMORY).read_bytes()))
    again = own.here(*PIPELINE)
    assert again.status == 0, again.err
    assert again.out.count(" is damaged (") >= 17 and " reused " not in again.out
    timed = ("seconds", "per_second", "memory", "new_cells")
    before, after = (
        {name: value for name, value in ended.metrics.items() if not any(part in name for part in timed)}
        for ended in (main_job, again)
    )
    assert after == pytest.approx(before, nan_ok=True, rel=1e-9)


def test_what_is_read_without_being_made_is_refused_with_path_and_remedy(
    lab: Lab, main_job: Ended, tmp_path: Path
) -> None:
    """task=compare reads the numbers of finished runs, and an evaluation may have a run's pictures as its reference."""
    own = copy(lab, tmp_path / "lab")
    folder = next(path for path in own.folders() if path.name == main_job.folder.name)
    evaluated = json.loads((folder / "evaluated.json").read_text())["tuned"]
    for name, digest in evaluated.items():
        stage = own.root / "store" / name / digest
        for path in (path for path in stage.iterdir() if path.suffix in (".npz", ".json", ".parquet")):
            content = path.read_bytes()
            in_place(path, flipped(content))
            ended = own.here("task=compare", f"runs=[{folder}]")
            assert ended.status == 1 and f"{stage} is damaged (" in ended.err and "repeat the run" in ended.err, path
            in_place(path, content)


@pytest.mark.parametrize("name", ["pytorch_lora_weights.safetensors", "strategy.json", MANIFEST])
def test_weights_of_a_run_that_are_damaged_are_not_taken_for_others(
    lab: Lab, main_job: Ended, tmp_path: Path, name: str
) -> None:
    weights = tmp_path / "weights"
    shutil.copytree(main_job.folder / "weights", weights)
    arguments = [*SCENES, *TOY, "task=evaluate", f"weights={weights}"]
    whole = lab.here(*arguments)
    assert "reused metrics" in whole.out, "a copy is known by its bytes"
    in_place(weights / name, flipped((weights / name).read_bytes()))
    ended = lab.here(*arguments)
    assert ended.status == 1
    assert f"{weights} is damaged" in ended.err and "repeat the command of the training" in ended.err
    (weights / MANIFEST).unlink()  # as who changed them on purpose would
    if name == MANIFEST:
        assert lab.here(*arguments).status == 0


def test_a_picture_that_a_killed_run_left_damaged_is_drawn_again(lab: Lab, main_job: Ended, tmp_path: Path) -> None:
    own = copy(lab, tmp_path / "lab")
    arguments = [*SCENES, *TOY, "task=generate", "images=3"]
    made = own.here(*arguments)
    (stage,) = (own.root / "store" / "generated" / entry["digest"] for entry in made.json("stages.json").values()
                if (own.root / "store" / "generated" / entry["digest"]).exists())  # fmt: skip
    expected = [(stage / f"{i:06d}.png").read_bytes() for i in range(3)]
    partial = stage.with_name(f".{stage.name}.partial")
    stage.rename(partial)
    (partial / MANIFEST).unlink()
    in_place(partial / "000001.png", flipped(expected[1]))
    in_place(partial / "000002.png", zeroed(expected[2]))
    again = own.here(*arguments)
    assert again.status == 0
    for i in range(3):  # the two that were spoilt in a batch of their own, which rounds otherwise
        one, two = (np.asarray(Image.open(folder / f"{i:06d}.png"), int) for folder in (stage, made.folder / "images"))
        assert np.abs(one - two).max() <= (2 if i else 0)

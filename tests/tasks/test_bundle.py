"""Two runs are told apart by what differs, and a run is repeated from its bundle."""

import io
import json
import re
import tarfile
from pathlib import Path

import pytest

from ..conftest import SCENES, TOY, Ended, Lab

TRAIN = [
    *SCENES,
    *TOY,
    "task=train",
    "training.export_pipeline=false",
    "training.validation_images=0",
    "training.seed=5",
]


@pytest.fixture(scope="module")
def trained(lab: Lab, main_job: Ended) -> Ended:
    return lab.here(*TRAIN)


def parts(ended: Ended) -> dict[str, dict[str, list[str]]]:
    found = ended.json("diff.json")
    return {part: {name: rest for name, *rest in rows} for part, rows in found.items()}


def test_a_run_does_not_differ_from_itself(lab: Lab, trained: Ended) -> None:
    ended = lab.here("task=diff", f"runs=[{trained.folder},{trained.folder}]")
    assert set(ended.metrics.values()) == {0.0} and len(ended.metrics) == 5
    assert "configuration: equal" in ended.out


def test_only_what_differs_is_shown(lab: Lab, trained: Ended) -> None:
    other = lab.here(*TRAIN, "training.seed=1")
    ended = lab.here("task=diff", f"runs=[{trained.folder},{other.folder}]")
    assert ended.status == 0, ended.err
    found = parts(ended)
    assert found["configuration"] == {"training.seed": ["5", "1"]}
    assert found["code"] == {} and set(found["data and stages"]) == {"training"}
    assert "final_loss" in found["results"] and "trainable_parameters" not in found["results"]


def test_two_runs_are_needed(lab: Lab, trained: Ended) -> None:
    for runs, sentence in (("[]", "0 are given"), (f"[{trained.folder},/nowhere]", "/nowhere is no finished run")):
        ended = lab.here("task=diff", f"runs={runs}")
        assert ended.status == 2 and sentence in ended.err


def test_a_bundle_repeats_its_run_and_says_which_numbers_agree(
    lab: Lab, trained: Ended, empty_lab: Lab, tmp_path: Path
) -> None:
    packed = lab.here("task=bundle", f"run={trained.folder}")
    again = lab.here("task=bundle", f"run={trained.folder}")
    name = f"{trained.folder.name}.tar.gz"
    assert (packed.folder / name).read_bytes() == (again.folder / name).read_bytes(), "the same run is the same archive"
    with tarfile.open(packed.folder / name) as archive:
        names = archive.getnames()
        digests = json.load(archive.extractfile("stages.json"))  # type: ignore[arg-type]
    assert {"config.yaml", "metrics.json", "requirements.txt", "train_log.csv"} <= set(names)
    assert sum(name.startswith("manifests/") for name in names) == len(digests)
    repeated = empty_lab.here("task=rerun", f"bundle={packed.folder / name}")
    assert repeated.status == 0, repeated.err
    assert repeated.metrics["different"] == repeated.metrics["close"] == 0 and repeated.metrics["equal"] >= 8
    assert "built  training" in repeated.out, "computed again, not read"


def test_a_number_that_does_not_agree_is_named(lab: Lab, trained: Ended, empty_lab: Lab, tmp_path: Path) -> None:
    packed = lab.here("task=bundle", f"run={trained.folder}").folder / f"{trained.folder.name}.tar.gz"
    from t2i.bundles import pack, unpack

    files = unpack(packed)
    numbers = json.loads(files["metrics.json"])
    changed = {**numbers, "final_loss": numbers["final_loss"] * 1.5, "held_out_loss": numbers["held_out_loss"] * 1.0001}
    pack({**files, "metrics.json": json.dumps(changed).encode()}, tmp_path / "changed.tar.gz")
    repeated = empty_lab.here("task=rerun", f"bundle={tmp_path}/changed.tar.gz")
    assert (repeated.metrics["different"], repeated.metrics["close"]) == (1, 1)
    assert "final_loss" in repeated.out


def test_an_archive_that_is_no_bundle_is_refused(lab: Lab, tmp_path: Path) -> None:
    def archive(**members: bytes) -> Path:
        path = tmp_path / "x.tar.gz"
        with tarfile.open(path, "w:gz") as file:
            for name, content in members.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                file.addfile(entry, io.BytesIO(content))
        return path

    (tmp_path / "text.tar.gz").write_text("no archive")
    for path, sentence in (
        (tmp_path / "text.tar.gz", "cannot be read"),
        (archive(readme=b"x"), "holds no config.yaml"),
        (tmp_path / "gone.tar.gz", "does not exist"),
    ):
        ended = lab.here("task=rerun", f"bundle={path}")
        assert ended.status == 2 and sentence in ended.err


def test_differences_are_read_at_a_glance(lab: Lab, trained: Ended) -> None:
    """Numbers are rounded, and how far they are apart stands beside them; of digests the beginning tells them apart."""
    other = lab.here(*TRAIN, "training.seed=1")
    ended = lab.here("task=diff", f"runs=[{trained.folder},{other.folder}]")
    (section,) = ended.json("sections.json")
    tables = {table["columns"][0]: table for table in section["tables"]}
    assert tables["results"]["columns"][1:] == [trained.folder.name, other.folder.name, "difference"]
    rows = {row[0]: row[1:] for row in tables["results"]["rows"]}
    losses = [ended.metrics["final_loss"] for ended in (trained, other)]
    assert [float(text) for text in rows["final_loss"][:2]] == pytest.approx(losses, rel=5e-3)
    assert float(rows["final_loss"][2]) == pytest.approx(losses[1] - losses[0], rel=1e-2)
    assert all(len(text) == 12 for text in tables["data and stages"]["rows"][0][1:3])
    assert parts(ended)["results"]["final_loss"] == [f"{loss:.9g}" for loss in losses], "diff.json has every digit"
    assert not re.search(r"[1-9]\.\d{5}|0\.[1-9]\d{4}|[0-9a-f]{13}", "\n".join(ended.out.splitlines()[1:-1]))

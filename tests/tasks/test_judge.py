"""`task=evaluate pictures=...`, `task=compare pictures=[...]`: pictures of any origin, and the same from Python."""

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import t2i
from t2i import api
from t2i.data.sources.scenes.captions import captions
from t2i.data.sources.scenes.world import describe, render
from t2i.errors import ConfigError, UserError
from t2i.evaluation.extractors import inception as inception_extractor

from ..conftest import PROJECT, Ended, Lab
from ..evaluation.foreign import folders, random_inception

COUNT = 24


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`real` pictures; `same`, other ones of one world; `grey` and `grey_captioned`: those without their colours."""
    root = tmp_path_factory.mktemp("sets")
    for name, first in (("real", 0), ("same", 500), ("grey", 500), ("grey_captioned", 500), ("others", 900)):
        (root / name).mkdir()
        for number in range(COUNT):
            picture = render(describe(0, first + number), 64)
            if name.startswith("grey"):
                picture = picture.convert("L")
            prefix = "x" if name == "others" else ""
            picture.save(root / name / f"{prefix}{number:03d}.png")
    texts = [captions(describe(0, 500 + number))[0] for number in range(COUNT)]
    (root / "grey_captioned" / "captions.json").write_text(json.dumps(texts))
    return root


def test_two_folders_without_any_other_file(lab: Lab, sets: Path) -> None:
    ended = lab.here("task=compare", f"pictures=[{sets / 'same'},{sets / 'grey'}]")
    assert "vendi[tiny_clip].difference" in ended.metrics
    (section,) = ended.json("sections.json")
    assert "paired by file name" in section["text"] and "no reference" in section["text"]
    assert re.search(r"lie apart by kid\[tiny_clip\] -?\d", section["text"]), section["text"]
    page = (ended.folder / "report.html").read_text(encoding="utf-8")
    assert "grey against same" in page and "paired by file name" in page


def test_a_reference_gives_the_verdict_its_metrics(lab: Lab, sets: Path) -> None:
    pictures = f"pictures=[{sets / 'same'},{sets / 'grey'}]"
    ended = lab.here("task=compare", pictures, f"eval.reference={sets / 'real'}")
    assert ended.metrics["kid[tiny_clip].difference"] > 0 and ended.metrics["kid[tiny_clip].p_holm"] < 0.01
    (verdict,) = ended.json("verdicts.json")
    assert verdict["answer"] == "worse" and verdict["paired"] and "KID" in verdict["sentence"]
    again = lab.here("task=compare", pictures, f"eval.reference={sets / 'real'}")
    assert again.metrics == ended.metrics and all(stage["reused"] for stage in again.json("stages.json").values())


def test_independent_folders_have_a_test_of_independent_sets(lab: Lab, sets: Path) -> None:
    ended = lab.here("task=compare", f"pictures=[{sets / 'same'},{sets / 'others'}]", f"eval.reference={sets / 'real'}")
    (verdict,) = ended.json("verdicts.json")
    assert not verdict["paired"] and {row["test"] for row in verdict["rows"]} == {"Welch's t of independent sets"}
    assert verdict["answer"] == "cannot tell"
    assert "independent of each other" in ended.json("sections.json")[0]["text"]


def test_captions_of_one_of_a_pair_are_read_for_both(lab: Lab, sets: Path) -> None:
    ended = lab.here("task=compare", f"pictures=[{sets / 'same'},{sets / 'grey_captioned'}]")
    assert "clip_score[tiny_clip].difference" in ended.metrics


def test_several_are_held_against_the_first(lab: Lab, sets: Path) -> None:
    names = ",".join(str(sets / name) for name in ("same", "grey", "real"))
    ended = lab.here("task=compare", f"pictures=[{names}]", f"eval.reference={sets / 'real'}")
    verdicts = ended.json("verdicts.json")
    assert [own["name"] for own in verdicts] == ["grey", "real"]
    tests = sum(len(own["rows"]) for own in verdicts)
    adjusted = sorted(row["adjusted"] / row["p"] for own in verdicts for row in own["rows"] if row["adjusted"] < 1)
    assert adjusted[-1] == pytest.approx(tests)  # Holm: the smallest p of all tables times their number
    summary = ended.json("sections.json")[0]
    assert summary["title"] == "All against the first" and len(summary["tables"][0]["rows"]) == 2
    assert "By KID real is the best" in summary["text"]
    assert {Path(own["path"]).name for own in summary["figures"]} == {"gains.png"}
    assert f"{'grey'}/kid[tiny_clip].difference" in ended.metrics


def test_several_runs_are_held_against_the_first(lab: Lab, main_job: Ended) -> None:
    ended = lab.here("task=compare", f"runs=[{main_job.folder},{main_job.folder},{main_job.folder}]")
    verdicts = ended.json("verdicts.json")
    assert [own["answer"] for own in verdicts] == ["cannot tell"] * 2
    assert all(row["p"] == 1.0 for own in verdicts for row in own["rows"])
    assert "cannot be told from" in ended.json("sections.json")[0]["text"]


def _features(folder: Path, path: Path, **arrays: np.ndarray) -> Path:
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path


@pytest.mark.parametrize("kind", ["folder", "features", "moments", "reference.npz", "prepared"])
def test_every_kind_of_reference(kind: str, lab: Lab, sets: Path, main_job: Ended, tmp_path: Path) -> None:
    evaluate = ["task=evaluate", f"pictures={sets / 'same'}"]
    direct = lab.here(*evaluate, f"eval.reference={sets / 'real'}")
    (stage,) = [key for key in direct.json("stages.json") if key.startswith("reference/")]
    digest = direct.json("stages.json")[stage]["digest"]
    known = np.load(lab.root / "store" / "reference" / digest / "reference.npz")
    rows = known["tiny_clip.features"]
    reference = {
        "folder": lambda: sets / "real",
        "features": lambda: _features(sets, tmp_path / "f.npz", features=rows),
        "moments": lambda: _features(
            sets, tmp_path / "m.npz", mu=rows.astype(float).mean(0), sigma=np.cov(rows.astype(float), rowvar=False)
        ),
        "reference.npz": lambda: lab.root / "store" / "reference" / digest / "reference.npz",
        "prepared": lambda: lab.here("task=prepare", "dataset.train=24", "dataset.val=12").folder,
    }[kind]()
    ended = lab.here(*evaluate, f"eval.reference={reference}")
    if kind == "prepared":
        assert ended.json("definition.json")["reference_count"] == 12
        return
    assert ended.metrics["fid[tiny_clip]"] == pytest.approx(direct.metrics["fid[tiny_clip]"], rel=1e-6)
    assert ended.metrics["fid[tiny_clip].low"] == pytest.approx(direct.metrics["fid[tiny_clip].low"], rel=1e-4)
    assert ("kid[tiny_clip]" in ended.metrics) is (kind != "moments")
    if kind == "moments":
        assert "mean and covariance" in ended.json("sections.json")[0]["text"]
        pair = f"pictures=[{sets / 'same'},{sets / 'grey'}]"
        compared = lab.here("task=compare", pictures := pair, f"eval.reference={reference}")
        assert set(compared.json("verdicts.json")[0]["rows"][0]) >= {"p", "change"}, pictures
        assert [row["metric"] for row in compared.json("verdicts.json")[0]["rows"]] == ["fid[tiny_clip]"]


def test_mixed_sizes_and_modes_are_judged_and_each_picture_as_alone(lab: Lab, sets: Path, tmp_path: Path) -> None:
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    for number, path in enumerate(sorted((sets / "same").iterdir())):
        with Image.open(path) as image:
            side = (64, 80, 96)[number % 3]
            image.resize((side, 64 + number % 2), Image.Resampling.BICUBIC).save(mixed / path.name)
    ended = lab.here("task=evaluate", f"pictures={mixed}", f"eval.reference={sets / 'real'}")
    assert ended.json("definition.json")["image_format"] == "uint8 RGB, mixed sizes"
    reordered = tmp_path / "reordered"
    reordered.mkdir()
    for number, path in enumerate(sorted(mixed.iterdir(), key=lambda own: own.name[::-1])):
        (reordered / f"{number:03d}.png").write_bytes(path.read_bytes())
    again = lab.here("task=evaluate", f"pictures={reordered}", f"eval.reference={sets / 'real'}")
    assert again.metrics["kid[tiny_clip]"] == pytest.approx(ended.metrics["kid[tiny_clip]"], abs=1e-9)
    square = lab.here("task=evaluate", f"pictures={mixed}", f"eval.reference={sets / 'real'}", "eval.resolution=64")
    assert square.json("definition.json")["image_format"] == "uint8 RGB 64x64"


def test_two_sizes_are_refused_with_what_brings_them_together(lab: Lab, sets: Path, tmp_path: Path) -> None:
    large = tmp_path / "large"
    large.mkdir()
    for path in (sets / "same").iterdir():
        with Image.open(path) as image:
            image.resize((128, 128)).save(large / path.name)
    pictures, reference = f"pictures=[{sets / 'same'},{large}]", f"eval.reference={sets / 'real'}"
    ended = lab.here("task=compare", pictures, reference)
    assert ended.status == 1 and "image_format" in ended.err and "eval.resolution=64" in ended.err
    assert lab.here("task=compare", pictures, reference, "eval.resolution=64").status == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["task=compare", "pictures={same}"], "pictures=[<folder>,<folder>]"),
        (["task=compare", "pictures=[{same},{same}/none]"], "does not exist"),
        (["task=compare", "pictures=[{same},3]"], "does not exist"),
        (["task=evaluate", "pictures=[{same},{grey}]"], "takes 1"),
        (["task=evaluate", "pictures={same}/000.png"], "is a file"),
        (["task=train", "pictures={same}"], "task=evaluate pictures=<folder>"),
        (["task=evaluate", "eval.reference=none"], "goes with pictures"),
        (["task=evaluate", "pictures={same}", "eval.reference={same}/000.png"], "no .npz file"),
        (["task=evaluate", "pictures={same}", "eval.reference={same}/nothing"], "does not exist"),
    ],
)
def test_a_mistake_is_one_sentence(arguments: list[str], words: str, lab: Lab, sets: Path) -> None:
    filled = [text.format(same=sets / "same", grey=sets / "grey") for text in arguments]
    ended = lab.here(*filled)
    assert ended.status == 2 and words in ended.err.splitlines()[-1], ended.err


def test_a_damaged_picture_ends_the_run_with_its_name(lab: Lab, sets: Path, tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes((sets / "same" / "000.png").read_bytes())
    (tmp_path / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"x" * 40)
    ended = lab.here("task=evaluate", f"pictures={tmp_path}")
    assert ended.status == 2 and "b.png cannot be judged" in ended.err.splitlines()[-1]


# -- from Python -----------------------------------------------------------------------------------------------------


@pytest.fixture
def here(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of the Python functions go into the lab's outputs."""
    run = api._run

    def inside(name: str, given: list[Path], reference: object, overrides: list[str], quiet: bool) -> object:
        return run(name, given, reference, [*overrides, f"outputs={lab.root}"], quiet)  # type: ignore[arg-type]

    monkeypatch.setattr(api, "_run", inside)


def examples() -> list[str]:
    guide = (PROJECT / "docs" / "judging.md").read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", guide, re.DOTALL)


def test_there_are_three_examples() -> None:
    assert len(examples()) == 3


@pytest.mark.parametrize("number", range(3))
def test_the_examples_of_the_guide_run(
    number: int, here: None, sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    for name, own in (
        ("real", "real"),
        ("drawn_before", "same"),
        ("drawn_after", "grey"),
        ("drawn_otherwise", "others"),
    ):
        (tmp_path / name).symlink_to(sets / own)
    monkeypatch.chdir(tmp_path)
    exec(compile(examples()[number], "example", "exec"), {})
    told = capsys.readouterr().out
    assert re.search(
        (r"worse by KID", r"kid\[tiny_clip\] +\d", r"drawn_after worse False\ndrawn_otherwise cannot tell False\n")[
            number
        ],
        told,
    )


def test_python_says_what_the_command_line_says(here: None, lab: Lab, sets: Path) -> None:
    ended = lab.here("task=compare", f"pictures=[{sets / 'same'},{sets / 'grey'}]", f"eval.reference={sets / 'real'}")
    found = t2i.compare(sets / "same", sets / "grey", reference=sets / "real")
    assert found.metrics == ended.metrics and found.report.exists()
    table = found.table()
    assert table.loc["kid[tiny_clip]", "change"] == ended.metrics["kid[tiny_clip].difference"]
    assert table.loc["kid[tiny_clip]", "verdict"] == "worse" and "worse by" in found._repr_html_()
    numbers = t2i.evaluate(sets / "grey", reference=sets / "real")
    assert numbers.table().loc["kid[tiny_clip]", "value"] == table.loc["kid[tiny_clip]", "second"]
    assert "<table" in numbers._repr_html_()


def test_python_compares_runs(here: None, main_job: Ended) -> None:
    found = t2i.compare(main_job.folder, main_job.folder)
    assert found.verdicts[0].answer == "cannot tell" and found.sentence.startswith("cannot tell")


def test_mistakes_in_python_are_one_sentence(here: None, sets: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        t2i.compare(sets / "same", sets / "none")
    with pytest.raises(UserError, match="eval"):
        t2i.evaluate(sets / "same", overrides=["eval.nonsense=1"])
    with pytest.raises(AttributeError):
        t2i.nonsense  # noqa: B018


# -- beside other tools ----------------------------------------------------------------------------------------------

HELD = {
    # torch-fidelity 0.3.0: fid_statistics_to_metric, kid_features_to_metric with one subset of all 40, its own network.
    "torch_fidelity": (10.935661926770313, 0.022277007381140468),
    # clean-fid 0.1.35: build_resizer("clean"), frechet_distance, kernel_distance with one subset; the same network.
    "clean": (12.179932140024967, 0.02541266320817499),
}
"""FID and KID of the 40 pictures of `foreign.folders` with the network of `foreign.random_inception`."""


@pytest.mark.parametrize("policy", HELD)
def test_fid_and_kid_are_those_of_other_tools(
    policy: str, here: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn, real = folders(tmp_path)
    weights = tmp_path / "random.pth"
    torch.save(random_inception(), weights)
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    accept: Callable[..., None] = monkeypatch.setattr
    accept("t2i.evaluation.extractors.inception_weights.SHA256", digest)
    accept(inception_extractor, "SHA256", digest, raising=False)
    keys = ["eval.extractor=inception", f"eval.inception={weights}", f"eval.resize={policy}", "eval.metrics=[fid,kid]"]
    found = t2i.evaluate(drawn, reference=real, overrides=[*keys, "eval.exact=false"])
    fid, kid = HELD[policy]
    assert found.metrics["fid[inception]"] == pytest.approx(fid, rel=2e-4)
    assert found.metrics["kid[inception]"] == pytest.approx(kid, rel=2e-4)

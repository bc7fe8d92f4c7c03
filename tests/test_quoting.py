"""Paths and texts of the command line are taken as they are."""

import json
import shlex
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from PIL import Image

from t2i.messages import explain
from t2i.quoting import LISTS, PATHS, TEXTS, verbatim

from .conftest import Lab

PLACES = [
    "/data/Fotos für Käthe", "/data/猫", "/data/x (1)", "/data/a=b", "/data/a&b", "/data/a#b", "/data/a~b", "/data/it's",
    '/data/a "b" c', "/data/a,b", "/data/[a]", "/data/{a}", "/data/a;b", "/data/a!", "/data/a\\b", "/data/a\\", "/data/a\\'b",
    "/data/ a ", "/data/a: b", "/data/a*?", "2024", "007", "1e5", "true", "nan", "/data/plain-1.0_x", "D:/x", "a@b%c+d",
]  # fmt: skip


def parsed(argument: str) -> object:
    override = OverridesParser.create().parse_override(argument)
    value = override.value()
    return list(map(str, value)) if isinstance(value, list) else str(value)


@pytest.mark.parametrize("key", sorted(PATHS | TEXTS))
def test_a_value_is_taken_as_it_is(key: str) -> None:
    for place in PLACES:
        (argument,) = verbatim([f"{key}={place}"])
        assert parsed(argument) == place, argument
        assert verbatim([argument]) == [argument]  # as a run that is repeated gives it
        assert verbatim([f"++{key}={place}"]) == [f"++{argument}"]


@pytest.mark.parametrize("key", sorted(LISTS))
def test_the_parts_of_a_list_are(key: str) -> None:
    places = [place for place in PLACES if not set(place) & set(",[]{}'\"\\")]
    for text in (",".join(places), " , ".join(places)):
        (argument,) = verbatim([f"{key}=[{text}]"])
        assert parsed(argument) == [place.strip() for place in places]
    assert verbatim([f"{key}=['/a, b',/c d]"]) == [f"{key}=['/a, b','/c d']"]


def test_the_home_folder_is_meant_by_its_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/käthe")
    assert verbatim(["dataset.root=~/x", "weights='~/x'", "runs=[~/a,~/b]", "dataset.caption=~x"]) == [
        "dataset.root='/home/käthe/x'",
        "weights='/home/käthe/x'",
        "runs=['/home/käthe/a','/home/käthe/b']",
        "dataset.caption='~x'",
    ]


def test_what_has_a_meaning_keeps_it() -> None:
    kept = ["weights=null", "weights=", "outputs=${oc.env:X}", "task=prepare", "prompts=[a,b]", "dataset.limit=3", "-m"]
    kept += ["dataset.root=/plain/path", 'weights="/a b"']
    assert verbatim(kept) == kept
    several = ["weights=/a,/b", "dataset.root=glob(*)"]
    assert verbatim(several, multirun=True) == several and verbatim(several) != several


UNREADABLE = [
    "dataset.name=a (b)",
    "prompts=[a (big) cat, eine Tür]",
    "dataset.name=x=y",
    "model.name=größer",
    "run_name=a#b",
]


@pytest.mark.parametrize("argument", UNREADABLE)
def test_other_keys_are_told_the_exact_argument(argument: str) -> None:
    with pytest.raises(Exception) as error:  # noqa: PT011  whatever Hydra raises
        OverridesParser.create().parse_overrides([argument])
    sentence = str(explain(error.value, [argument]))
    (typed,) = shlex.split(sentence.partition("; type ")[2])
    key, _, value = argument.partition("=")
    expected = [item.strip() for item in value.strip("[]").split(",")] if value.startswith("[") else value
    assert typed.startswith(f"{key}=") and parsed(typed) == expected


def test_a_preset_that_does_not_fit_the_choice_beside_it_is_named(empty_lab: Lab) -> None:
    ended = empty_lab.here("task=prepare", "experiment=clip_cifar10_tiny", "dataset=fashion_mnist")
    assert ended.status == 2
    assert (
        "experiment=clip_cifar10_tiny sets dataset.train, which dataset=fashion_mnist does not have; leave one of the two "
        "out, or use one of its keys: background, "
    ) in ended.err


def test_unreadable_is_not_called_unwritable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x y.csv"
    path.touch()
    error = PermissionError(13, "Permission denied", str(path))
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root may read everything
    assert str(explain(error, [])) == (
        f"{path} cannot be read (Permission denied); give yourself permission: chmod u+r '{path}'"
    )
    gone = PermissionError(13, "Permission denied", str(tmp_path / "new"))
    assert "cannot be written (Permission denied); use outputs=" in str(explain(gone, []))


@pytest.mark.parametrize("name", ["Fotos für (1)", "猫=a&b#c", "it's"])
def test_a_run_reads_and_writes_such_folders(empty_lab: Lab, tmp_path: Path, name: str) -> None:
    root, outputs = tmp_path / name, tmp_path / f"{name} out"
    root.mkdir()
    for number in range(3):
        Image.new("RGB", (64, 64), (90 * number, 40, 40)).save(root / f"{number}.png")
        (root / f"{number}.txt").write_text(f"colour {number}")
    places = [f"dataset.root={root}", f"outputs={outputs}", "dataset.resolution=64", "dataset.near_bits=null"]
    ended = empty_lab.here("task=prepare", "dataset=folder", *places)
    assert ended.status == 0, ended.err
    folder = next(outputs.glob("*/*_prepare_*"))
    assert json.loads((folder / "metrics.json").read_text())["files/used"] == 3

"""What bench/ says of its results. The measurements themselves run in `make bench-quick`."""

import importlib.util
import inspect
import itertools
import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from bench import _commit, growth
from bench.__main__ import main
from bench._figure import TITLES
from bench._measure import Ceilings, counted_flops
from bench._options import read
from bench._rows import ROWS, Row, newest
from bench._signs import adjusted
from bench.growth import exponent
from bench.personalisation import METHODS, Data, _cell, _subjects, run, summary
from bench.quick import SMALLEST
from bench.table import OLDER, README, renewed
from t2i.errors import ConfigError


def test_the_page_shows_the_newest_results() -> None:
    text = README.read_text(encoding="utf-8")
    # A commit that touches what was measured marks results, and need not renew the page.
    assert text.replace(OLDER, "") == renewed(text).replace(OLDER, ""), "run make bench-table"


def test_a_result_is_marked_when_a_later_commit_touches_what_it_measures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*arguments: str) -> None:
        who = {**os.environ, "GIT_COMMITTER_DATE": "2030-05-02T12:00:00", "GIT_CONFIG_GLOBAL": os.devnull}
        command = ["git", "-c", "user.name=n", "-c", "user.email=n@e", "-c", "commit.gpgsign=false", *arguments]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, env=who)

    def committed(name: str) -> str | None:
        (tmp_path / "t2i" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "t2i" / name).write_text("changed", encoding="utf-8")
        git("add", "-A")
        git("commit", "-m", name)
        return _commit.commit()

    monkeypatch.setattr(_commit, "PROJECT", tmp_path)
    changed = _commit.changed_since.__wrapped__
    assert _commit.commit() is None and not changed("train", None, "2020-01-01"), "no history, nothing to say"
    git("init")
    first = committed("training/loop.py")
    last = committed("evaluation/metrics/fid.py")
    assert not changed("train", first, "2030-05-02") and changed("evaluation", first, "2030-05-02")
    assert not changed("evaluation", last, "2030-05-02") and not changed("evaluation", "0123456", "2030-05-02")
    # Without a commit the day has to do.
    assert changed("train", None, "2030-05-01") and not changed("train", None, "2030-05-02")
    (tmp_path / "t2i" / "training" / "loop.py").write_text("not committed", encoding="utf-8")
    assert _commit.commit() == f"{last}+"
    git("stash")
    shallow = tmp_path / "shallow"
    git("clone", "--depth=1", f"file://{tmp_path}", str(shallow))
    monkeypatch.setattr(_commit, "PROJECT", shallow)
    assert not changed("evaluation", first, "2030-05-02")


def test_the_limit_of_a_processor_is_the_quickest_of_its_routes() -> None:
    ceilings = Ceilings("cpu", torch.float32)
    assert set(ceilings.turns()) == {"matmul", "onednn linear", "onednn convolution", "copy"}
    for name, work in ceilings.turns().items():
        if name != "copy":
            assert counted_flops(work) in (0, 10 * ceilings._routes[name][1]), "0: torch does not count oneDNN's linear"
    seconds = {"matmul": [2.0, 1.0], "onednn linear": [1.0, 4.0], "onednn convolution": [9e9, 9e9], "copy": [1.0, 1.0]}
    share = ceilings.share({**seconds, "ours": [1.0, 1.0]}, "ours", 5 * 2 * 1024**3)
    assert share["median"] == share["range"][0] == share["range"][1] == 0.5
    assert share["limit_by"] == "matmul"


def test_every_bench_is_run_at_its_smallest_and_has_a_figure() -> None:
    assert set(SMALLEST) == set(TITLES)
    assert {row.bench for row in ROWS} <= {*TITLES, "sdxl"} == set(_commit.MEASURES), "sdxl is a part of gpu"
    assert all(importlib.util.find_spec(f"bench.{name}") for name in TITLES)


def test_every_result_was_found_equal_and_names_its_machine() -> None:
    results = list(newest())
    assert len(results) >= 8
    for _, machine, result in results:
        assert result.get("results_equal", True) and machine in result["machine"]


def test_a_row_is_held_against_the_targets_of_its_device() -> None:
    row = Row("a step", "theirs", "train", ("steps",), 1.6, 2.0, (2.5, 3.5))
    numbers = {"median": 2.2, "range": [2.0, 2.4]}
    on_cpu, on_gpu = (row.found({"device": device, "steps": numbers}) for device in ("cpu", "H200"))
    assert on_cpu is not None and on_cpu.verdict == "stretch"
    assert on_gpu is not None and (on_gpu.short, on_gpu.verdict) == (True, "short by 12%")
    assert row.found({"device": "cpu"}) is None


def test_the_exponent_is_the_slope_on_log_axes() -> None:
    found = exponent([10, 100, 1000], [3.0, 300.0, 30_000.0])
    assert found["median"] == pytest.approx(2.0) and found["range"] == pytest.approx([2.0, 2.0])
    assert exponent([10, 100, 1000], [1.0, 10.0, 1000.0])["range"] == pytest.approx([1.0, 2.0])


def test_methods_are_compared_over_subjects_with_their_seeds_averaged() -> None:
    """b gains 0.1 on every subject, by 0.001 more or less: told apart from six subjects on; c is a."""
    subjects, cells = [f"s{n}" for n in range(9)], {}
    for n, subject in enumerate(subjects):
        for seed in (0, 1):
            level = {"a": 0.5 + n / 100, "b": 0.6 + n / 100 + 0.001 * (-1) ** n, "c": 0.5 + n / 100}
            for name, value in level.items():
                told = {"drift": 0.2, "train_s": 3.0, "bytes": 1024}
                cells[f"{subject}/{name}/{seed}"] = {"clip_i": value + (0.02 if seed else -0.02), **told}
    found = summary(cells, subjects, ["a", "b", "c"], 2)
    assert found["methods_over_subjects"]["a"]["clip_i"][0] == pytest.approx(0.54)
    assert found["not_told_apart"] == {"clip_i": [["a", "c"]], "drift": [["a", "b"], ["a", "c"], ["b", "c"]]}
    assert found["fewest_subjects"] == 6, "2 / 2^6 is the first below 0.05"
    for count in (5, 6):
        few = summary(cells, subjects[:count], ["a", "b", "c"], 2)
        assert (["a", "b"] in few["not_told_apart"]["clip_i"]) == (count == 5), "five equal signs are no evidence"


@pytest.mark.parametrize("gains", [(0.0,) * 8, (0.0,) * 4 + (0.8,) * 4], ids=["eight alike", "two kinds"])
def test_pairs_of_methods_that_are_alike_are_told_apart_in_five_of_a_hundred_tables(gains: tuple[float, ...]) -> None:
    """Ten subjects that differ more than methods do, which agree on some subjects and not on others; heavy tails."""
    rng, tables, wrong, right = np.random.default_rng(0), 400, 0, 0.0
    pairs = list(itertools.combinations(range(8), 2))
    apart = np.array([gains[i] != gains[j] for i, j in pairs])
    for _ in range(tables):
        scores = np.array(gains) + rng.normal(0, 1, (10, 1)) + rng.standard_t(3, (10, 8)) * rng.uniform(0.1, 0.4, 8)
        p = adjusted(np.stack([scores[:, j] - scores[:, i] for i, j in pairs], axis=1))
        wrong += bool((p[~apart] <= 0.05).any())
        right += float((p[apart] <= 0.05).mean()) if apart.any() else 0.0
    assert wrong / tables <= 0.05 + 3 * (0.05 * 0.95 / tables) ** 0.5
    if apart.any():
        assert right / tables > 0.6, "which Holm's method over 28 pairs of ten subjects cannot tell at all"


def test_two_signs_exchanged_are_the_exact_test_of_one_difference() -> None:
    values = np.array([[0.3], [0.1], [0.2], [0.4], [-0.1]])
    sums = [abs(sum(sign * value[0] for sign, value in zip(signs, values, strict=True)))
            for signs in itertools.product((1, -1), repeat=5)]  # fmt: skip
    expected = sum(total >= abs(values.sum()) - 1e-9 for total in sums) / 32
    assert adjusted(values) == pytest.approx([expected])


def test_dreambenchs_folder_says_the_class_of_each_subject(tmp_path: Path) -> None:
    for name in ("dog2", "berry_bowl", "rc_car"):
        (tmp_path / "dataset" / name).mkdir(parents=True)
    listed = "Classes\n\nsubject_name,class\nberry_bowl,bowl\ndog2,dog\n\nPrompts\n'a {0} in the jungle'.format(unique_token),\n"
    (tmp_path / "dataset" / "prompts_and_classes.txt").write_text(listed)
    found = dict(_subjects(str(tmp_path / "dataset")))
    assert {name: own.kind for name, own in found.items()} == {"berry_bowl": "bowl", "dog2": "dog", "rc_car": "rc car"}
    assert "dataset.caption='a photo of sks dog'" in found["dog2"].typed("unet")
    taught = found["dog2"].typed("textual_inversion")
    assert "dataset.caption='a photo of <new> dog'" in taught and "strategy.initializers=[dog]" in taught
    rare = Data("cup", "chalice", tmp_path).typed("textual_inversion")
    assert "strategy.initializers=[]" in rare, "which the bundled model's vocabulary has in pieces"
    assert len(dict(_subjects(""))) == 10


def test_every_method_is_a_configuration() -> None:
    from t2i.config import compose

    for name, method in METHODS.items():
        config = compose([*Data("mia", "cat").typed(name), *method.keys, f"strategy.learning_rate={method.tiny}"])
        assert (config.training.prior is None) == (name == "textual_inversion")
        assert config.training.captions.prefix == ("<new> " if name == "textual_inversion" else "")


def test_a_finished_cell_is_not_measured_again_and_an_unknown_name_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(
        "bench.personalisation._measured", lambda typed, outputs: asked.append(typed) or {"clip_i": 0.5}
    )
    first = _cell(["b=1", "a=2"], tmp_path)
    assert first == _cell(["a=2", "b=1"], tmp_path) == {"clip_i": 0.5} and asked == [["b=1", "a=2"]]
    with pytest.raises(ConfigError, match="--subjects=nobody: nobody is none that is known.*; use one of: mia, rex"):
        run(subjects="nobody")


MISTAKES = {
    "an option that is none": ("--step=4", r"--step is no option of this bench \(did you mean --steps\?\)"),
    "no option at all": ("steps=4", "steps=4 is no option; options are typed as --steps=value"),
    "an option without a value": ("--seeds", "--seeds is no option; options are typed as --seeds=value"),
    "a word for a number": ("--steps=x", "--steps=x is no whole number from 0 on"),
    "none of what is counted": ("--seeds=0", "--seeds=0 is no whole number from 1 on; type e.g. --seeds=1"),
    "a folder that is not there": ("--root=/nope", "--root=/nope does not exist"),
    "a file for a folder": (f"--root={__file__}", "holds no subjects; give a folder that has one"),
    "what the configuration refuses": ("--prompts=1", "eval.prompts=1; expected an integer"),
    "a model that is none": ("--model=tin", r"model=tin is unknown \(did you mean model=tiny\?\)"),
    "keys that are none": ("--keys=training.stepz=3", "training.stepz"),
}  # fmt: skip


@pytest.mark.parametrize("case", MISTAKES)
def test_what_was_typed_wrong_is_one_sentence(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    typed, sentence = MISTAKES[case]
    monkeypatch.setattr("sys.argv", ["bench", "personalisation", f"--outputs={tmp_path}", typed])
    assert main() == 2
    said = capsys.readouterr()
    assert said.err.count("\n") == 1 and re.search(sentence, said.err), said.err


@pytest.mark.parametrize("name", TITLES)
def test_help_tells_a_bench_and_its_options(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["bench", name, "--help"])
    bench = importlib.import_module(f"bench.{name}")
    assert main() == 0
    said = capsys.readouterr().out
    assert said.startswith(bench.__doc__.splitlines()[0])
    assert all(f"  --{key}=" in said for key in inspect.signature(bench.run).parameters)


def test_numbers_and_words_are_told_apart_by_the_option() -> None:
    assert read(run, ["--keys=5", "--seeds=3", "--minutes=0"]) == {"keys": "5", "seeds": 3, "minutes": 0}
    assert read(growth.run, ["--cells=0"]) == {"cells": 0}, "which leaves them out"
    with pytest.raises(ConfigError, match="--rounds=0 is no whole number from 1 on; type e.g. --rounds=5"):
        read(importlib.import_module("bench.train").run, ["--rounds=0"])

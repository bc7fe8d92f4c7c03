"""A multirun says in what its runs differ, and what came of each."""

import json
from pathlib import Path

from t2i.multirun import Cell, settings, swept, table_of


def test_a_multirun_ends_with_a_table_of_what_differs(tmp_path: Path) -> None:
    cells = []
    for name, numbers in {
        "ddim": {"seconds": 2.0, "images": 6.0, "fid[x]": 20.04, "fid[x].low": 15.9, "fid[x].high": 24.0},
        "euler": {"seconds": 3.0, "images": 6.0, "fid[x]": 18.04, "fid[x].low": 13.9, "fid[x].high": 22.0},
        "pndm": None,
    }.items():
        (tmp_path / name).mkdir()
        if numbers:
            (tmp_path / name / "metrics.json").write_text(json.dumps(numbers))
        cells.append(Cell([f"scheduler={name}", "cfg.scale=5"], tmp_path / name))
    assert table_of(cells) == [
        "  run  scheduler  guidance scale            FID (x)  seconds  pictures",
        "    1  ddim                    5  20.0 [15.9, 24.0]        2         6",
        "    2  euler                   5  18.0 [13.9, 22.0]        3         6",
        "    3  pndm                    5                                        failed",
    ]
    assert table_of(cells[:2])[0] == "  run  scheduler  guidance scale            FID (x)  seconds"


def test_what_a_multirun_sweeps_is_what_has_several_values() -> None:
    given = ["-m", "task=evaluate", "track.uri=sqlite:////a,b/x.db", "scheduler=ddim,euler", "cfg.scale=range(1,4)",
             "dataset.domains=[animal,food]", "track.enabled=false", "seed=choice(1,2)", "prompts=['a,b']"]  # fmt: skip
    assert swept(given) == {"track.uri", "scheduler", "cfg.scale", "seed"}
    assert swept(["-m", "seed=1"]) == set()


def test_a_run_is_called_by_what_was_swept_as_hydra_writes_it() -> None:
    overrides = ["task=evaluate", "scheduler=ddim", "track.enabled=False", "+note=1"]
    assert settings(overrides, ["-m", "task=evaluate", "scheduler=ddim,euler", "track.enabled=false", "+note=1,2"]) == [
        "scheduler=ddim", "+note=1",
    ]  # fmt: skip

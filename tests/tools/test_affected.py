"""make check: the tests near to a change, nearest first, as many as fit; what is left out is said."""

import subprocess
from pathlib import Path

import pytest

from tools import affected
from tools.affected import ALWAYS, changed, choose, distances, expected_seconds

FILES = {
    "t2i/__init__.py": "",
    "t2i/errors.py": "",
    "t2i/sums.py": "from t2i.errors import UserError",
    "t2i/report.py": "def draw():\n    from t2i.sums import total",
    "t2i/page.html": "",
    "t2i/page.py": "TEMPLATE = 'page.html'",
    "t2i/typed.py": "if TYPE_CHECKING:\n    from t2i.sums import total",
    "t2i/tasks/add.py": "from t2i.report import draw",
    "conf/scheduler/fast.yaml": "",
    "tests/conftest.py": "",
    "tests/toy.py": "from t2i.errors import UserError",
    "tests/test_configs.py": "",
    "tests/test_sums.py": "from t2i.sums import total",
    "tests/test_uses.py": "from t2i.sums import total\nfrom .toy import x",
    "tests/test_report.py": "import t2i.report",
    "tests/test_page.py": "import t2i.page",
    "tests/test_typed.py": "import t2i.typed",
    "tests/tasks/conftest.py": "",
    "tests/tasks/test_add.py": "def test_it(lab):\n    lab.here('task=add')",
    "docs/readme.md": "",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("t2i/sums.py", {"tests/test_sums.py": 0.5, "tests/test_uses.py": 1, "tests/test_report.py": 2,
                         "tests/tasks/test_add.py": 3}),
        ("t2i/report.py", {"tests/test_report.py": 0.5, "tests/tasks/test_add.py": 2}),
        ("t2i/tasks/add.py", {"tests/tasks/test_add.py": 0.5}),
        ("t2i/page.html", {"tests/test_page.py": 0.5}),
        ("tests/toy.py", {"tests/test_uses.py": 1}),
        ("tests/test_report.py", {"tests/test_report.py": 0}),
        ("tests/tasks/conftest.py", {"tests/tasks/test_add.py": 1}),
        ("conf/scheduler/fast.yaml", {"tests/test_configs.py": 0}),
        ("docs/nothing.md", {}),
        ("t2i/gone.py", {}),
    ],
)  # fmt: skip
def test_the_distance_of_a_test_is_the_number_of_imports(project: Path, path: str, expected: dict[str, float]) -> None:
    assert distances([path], project) == expected


def test_the_fixtures_of_all_are_near_to_all(project: Path) -> None:
    found = distances(["tests/conftest.py"], project)
    assert found.keys() == {name for name in FILES if Path(name).name.startswith("test_")}
    assert set(found.values()) == {1.0}


def test_the_nearest_are_run_and_of_equally_near_ones_the_quickest() -> None:
    away = {"changed": 0, "named": 0.5, "quick": 1, "slow": 1, "far": 2, "further": 3}
    seconds = {"changed": 500.0, "named": 9.0, "quick": 1.0, "slow": 99.0, "far": 2.0, "further": 0.1}
    chosen = choose(away, seconds, 600)
    assert chosen.run == [ALWAYS, "changed", "named", "quick", "far"]
    assert chosen.too_long == ["slow"] and chosen.far == ["further"]
    assert choose(away, seconds, 700).run == [ALWAYS, "changed", "named", "quick", "slow", "far"]
    assert choose(away, seconds, 0).run == [ALWAYS, "changed"], "a changed test is run in any case"


def test_a_file_that_was_run_here_is_known_and_another_is_guessed(project: Path) -> None:
    record = project / "seconds"
    record.write_text('{"tests/test_sums.py": [12, 3.5]}')
    found = expected_seconds(["tests/test_sums.py", "tests/tasks/test_add.py"], project, record)
    assert found == {"tests/test_sums.py": 3.5, "tests/tasks/test_add.py": 3.0}
    assert expected_seconds(["tests/test_sums.py"], project, project / "nowhere") == {"tests/test_sums.py": 0.0}


def test_what_has_changed_is_committed_or_not_or_new(project: Path) -> None:
    def git(*arguments: str) -> None:
        who = ["-c", "user.name=a", "-c", "user.email=a@b.example"]
        subprocess.run(["git", "-C", str(project), *who, *arguments], check=True, capture_output=True)

    git("init", "-b", "main")
    git("add", ".")
    git("commit", "-m", "all")
    assert changed("main", project) == []
    git("switch", "-c", "mine")
    (project / "t2i" / "sums.py").write_text("total = sum")
    git("commit", "-am", "sums")
    (project / "t2i" / "report.py").write_text("")
    (project / "tests" / "test_new.py").write_text("")
    assert changed("main", project) == ["t2i/report.py", "t2i/sums.py", "tests/test_new.py"]
    with pytest.raises(SystemExit, match="nowhere"):
        changed("nowhere", project)


def test_a_task_is_near_to_the_tests_that_type_it() -> None:
    """Which import nothing of it: the distances of this project."""
    away = distances(["t2i/tasks/embed.py", "t2i/tasks/store.py"])
    assert away["tests/tasks/test_embed.py"] <= 1 and away["tests/tasks/test_store_task.py"] <= 1


def test_files_without_a_pytest_to_run_them_are_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(affected, "changed", lambda since: ["tests/test_house.py", "t2i/errors.py"])
    assert affected.main(["--seconds", "1"]) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines()[0] == ALWAYS and "make test runs them" in printed.err

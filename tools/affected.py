"""The tests of what has changed: python -m tools.affected [--since main] [--seconds 140] [-- arguments of pytest].

A test file is the nearer to a change the fewer imports lie between them; one that is named for the changed module, or runs
its task, comes first. The nearest are run, as many as fit into the time; what is left out is said. Without `--` the files are
printed and nothing is run.
"""

import argparse
import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.imports import PROJECT, Graph, files, graph

FOLDERS = ("t2i", "tests", "tools", "bench")
ALWAYS = "tests/test_house.py"
OTHER = {
    "conf/": ["tests/test_configs.py"],
    "sweeps/": ["tests/test_configs.py", "tests/sweeps/test_config.py"],
    "docs/": ["tests/test_docs.py"],
    "README.md": ["tests/test_docs.py"],
    "CONTRIBUTING.md": ["tests/test_docs.py", "tests/test_contributing.py"],
    "pyproject.toml": ["tests/test_packaging.py"],
    "Makefile": ["tests/test_packaging.py"],
    "constraints.txt": ["tests/test_packaging.py"],
}
"""By where a file that is not Python lies: the tests that read it."""
FURTHEST = 2
"""Imports between a test and a change that it is run for: beyond that nearly every test is near to everything."""
SECONDS = PROJECT / ".pytest_cache" / "v" / "t2i" / "seconds"
"""What each file took when it was last run here; tests/conftest.py writes it."""
EXPECTED = {True: 3.0, False: 0.4}
"""Seconds a test of a file that was never run here: with command lines in it, and without."""


@dataclass(frozen=True)
class Chosen:
    """Test files, the nearest to the change first."""

    run: list[str]
    too_long: list[str]
    """Near, but the time is full."""
    far: list[str]
    """More than FURTHEST imports away."""


def changed(since: str, root: Path = PROJECT) -> list[str]:
    """Files that differ from where this branch left `since`, those that are not committed included."""
    base = _git(root, "merge-base", "HEAD", since)[0]
    return sorted({*_git(root, "diff", "--name-only", base), *_git(root, "ls-files", "--others", "--exclude-standard")})


def _git(root: Path, *arguments: str) -> list[str]:
    done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"git {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout.splitlines()


def distances(paths: Iterable[str], root: Path = PROJECT) -> dict[str, float]:
    """By test file: how many imports lie between it and the nearest of the changed files `paths`."""
    known = files(root, *FOLDERS)
    names = {str(path.relative_to(root)): name for name, path in known.items()}
    paths = list(paths)
    touched = {names[path] for path in paths if path in names}
    for path in paths:
        if path not in names and (root / path).exists():  # what is no Python is known to those that name it
            touched |= {name for name, file in known.items() if Path(path).name in file.read_text(encoding="utf-8")}
    away = _away(touched, _with_tasks(graph(known), known))
    found: dict[str, float] = {}
    for path, name in names.items():
        if not _is_test(path):
            continue
        if name in away:
            found[path] = away[name] - 0.5 * (away[name] > 0 and _named_for(Path(path).stem, touched))
        above = {str(parent / "conftest.py") for parent in Path(path).parents}
        if above & set(paths):
            found[path] = min(found.get(path, 1.0), 1.0)
    for path in paths:
        for start, tests in OTHER.items():
            if path.startswith(start):
                found |= {test: 0.0 for test in tests if (root / test).exists()}
    return found


def _is_test(path: str) -> bool:
    return path.startswith("tests/") and Path(path).name.startswith("test_")


def _named_for(stem: str, touched: Iterable[str]) -> bool:
    modules = (name.rpartition(".")[2] for name in touched if name.startswith("t2i."))
    return any(re.fullmatch(rf"test_{re.escape(module)}(_\w+)?", stem) for module in modules)


def _with_tasks(imports: Graph, known: Mapping[str, Path]) -> Graph:
    """A test that types `task=embed` uses t2i/tasks/embed.py without importing it."""
    found = dict(imports)
    for name, path in known.items():
        if name.startswith("tests."):
            texts = (
                node.value for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Constant)
            )
            typed = {match[1] for text in texts if isinstance(text, str) and (match := re.match(r"task=(\w+)$", text))}
            found[name] |= {task for kind in typed if (task := f"t2i.tasks.{kind}") in known}
    return found


def _away(touched: Iterable[str], imports: Graph) -> dict[str, int]:
    """By module: the least number of imports to one of `touched`."""
    importers: dict[str, list[str]] = {}
    for name, others in imports.items():
        for other in others:
            importers.setdefault(other, []).append(name)
    found = dict.fromkeys(touched, 0)
    last = list(found)
    while last:
        nearer, last = last, []
        for name in nearer:
            for importer in importers.get(name, ()):
                if importer not in found:
                    found[importer] = found[name] + 1
                    last.append(importer)
    return found


def choose(away: Mapping[str, float], seconds: Mapping[str, float], most: float) -> Chosen:
    """The nearest files, of equally near ones the quickest first, until `most` seconds are full. A changed test is run in any
    case, and none that is further away than FURTHEST.
    """
    ordered = sorted(away, key=lambda path: (away[path], seconds[path], path))
    chosen, spent = Chosen([ALWAYS], [], []), 0.0
    for path in ordered:
        if path == ALWAYS:
            continue
        if away[path] == 0 or (away[path] <= FURTHEST and spent + seconds[path] <= most):
            chosen.run.append(path)
            spent += seconds[path]
        else:
            (chosen.too_long if away[path] <= FURTHEST else chosen.far).append(path)
    return chosen


def expected_seconds(paths: Iterable[str], root: Path = PROJECT, record: Path = SECONDS) -> dict[str, float]:
    """What each test file takes: as recorded here, or from the number of its tests."""
    known: dict[str, list[float]] = json.loads(record.read_text("utf-8")) if record.exists() else {}
    found = {}
    for path in paths:
        source = (root / path).read_text(encoding="utf-8")
        guess = (
            len(re.findall(r"^def test_", source, re.MULTILINE)) * EXPECTED[bool(re.search(r"\b(lab|Lab)\b", source))]
        )
        found[path] = known[path][1] if path in known else guess
    return found


def main(arguments: Sequence[str]) -> int:
    """Print what is chosen and run it; pytest's exit status."""
    at = list(arguments).index("--") if "--" in arguments else len(arguments)
    own, passed = arguments[:at], arguments[at + 1 :]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--since", default="main", help="the branch or commit to compare with")
    parser.add_argument("--seconds", type=float, default=140, help="of testing, over all processes")
    options = parser.parse_args(own)
    away = distances(changed(options.since))
    chosen = choose(away, expected_seconds(away), options.seconds)
    print("\n".join(chosen.run), flush=True)
    if chosen.too_long:
        print(f"left out, as they do not fit into the time: {' '.join(chosen.too_long)}", file=sys.stderr)
    if chosen.far:
        print(f"left out, as they are further away: {len(chosen.far)} files", file=sys.stderr)
    if chosen.too_long or chosen.far:
        print("make test runs them", file=sys.stderr, flush=True)
    return subprocess.call([sys.executable, "-m", "pytest", *passed, *chosen.run]) if passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

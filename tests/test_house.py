"""The house rules: short files, short functions, imports without circles, names that say a storey. docs/architecture.md."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.imports import circles, files, graph

from .conftest import PROJECT

MOST_LINES, MOST_IN_A_FUNCTION = 300, 60
LONG_FILES: dict[str, str] = {}
"""By module: why it may be longer."""
LONG_FUNCTIONS = {
    "t2i.web.page.build": "the page's layout: what stands in what, top to bottom, as it is on the screen",
}
NO_STOREY = {"shared", "utils", "util", "helpers", "common", "misc"}
"""Names of files that say nothing of what is in them."""
MODULES = files(PROJECT, "t2i")


def functions(tree: ast.AST, prefix: str) -> Iterator[tuple[str, int]]:
    """Every function with the number of its lines, decorators aside."""
    for node in ast.iter_child_nodes(tree):
        name = (
            f"{prefix}.{node.name}"
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            else prefix
        )
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            yield name, node.end_lineno - node.lineno + 1
        yield from functions(node, name)


def lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def test_no_file_is_longer_than_three_hundred_lines() -> None:
    long = {name: count for name, path in MODULES.items() if (count := lines(path)) > MOST_LINES}
    assert long.keys() == LONG_FILES.keys(), f"part them by what they do, or take them off the list: {long}"


def test_no_function_is_longer_than_sixty_lines() -> None:
    every = (pair for name, path in MODULES.items() for pair in functions(ast.parse(path.read_text("utf-8")), name))
    long = {name: count for name, count in every if count > MOST_IN_A_FUNCTION}
    assert long.keys() == LONG_FUNCTIONS.keys(), f"part them by what they do, or take them off the list: {long}"


def test_no_imports_go_in_a_circle() -> None:
    """Within a folder either, nor over an import inside a function."""
    assert circles(graph(MODULES)) == []


def test_every_name_says_what_is_in_the_file() -> None:
    found = {name for name in MODULES if name.rpartition(".")[2].strip("_") in NO_STOREY}
    assert not found, f"name them for what they are: {found}"


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        ({"a": "import p.b", "b": "from p import a"}, [["p.a", "p.b"]]),
        ({"a": "def f():\n    from p.b import x", "b": "from .c import y", "c": "from . import a"}, [["p.a", "p.b", "p.c"]]),
        ({"a": "import p.b", "b": "if TYPE_CHECKING:\n    from p import a"}, []),
        ({"a": "import p.b", "b": "if TYPE_CHECKING:\n    pass\nelse:\n    import p.a"}, [["p.a", "p.b"]]),
        ({"a": "from p.b import a", "b": "", "c": "try:\n    import p.a\nexcept ImportError:\n    import p.b"}, []),
        ({"a": "import p.b", "b": "import p.c", "c": "import p.b", "d": "import p.e", "e": "from p.d import x"},
         [["p.b", "p.c"], ["p.d", "p.e"]]),
    ],
)  # fmt: skip
def test_a_circle_is_found_wherever_the_import_stands(
    sources: dict[str, str], expected: list[list[str]], tmp_path: Path
) -> None:
    (tmp_path / "p").mkdir()
    for name, text in {"__init__": "", **sources}.items():
        (tmp_path / "p" / f"{name}.py").write_text(text)
    assert sorted(circles(graph(files(tmp_path, "p")))) == expected


def test_the_lines_of_a_function_are_counted_where_it_stands() -> None:
    source = (
        "class A:\n    def f(self):\n        def g():\n            pass\n        return g\nasync def h():\n    pass\n"
    )
    assert dict(functions(ast.parse(source), "m")) == {"m.A.f": 4, "m.A.f.g": 2, "m.h": 2}

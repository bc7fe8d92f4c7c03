"""Who imports whom, read from the source: at the top of a module, inside its functions, relative or not.

Imports for the type checker alone (`if TYPE_CHECKING`) do not count: they are gone when the program runs.
"""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
Graph = dict[str, frozenset[str]]


def files(root: Path, *folders: str) -> dict[str, Path]:
    """Every Python file below the folders of a project, by its module's name; a package's `__init__` has the package's."""
    found = {}
    for folder in folders:
        for path in sorted((root / folder).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def graph(known: Mapping[str, Path]) -> Graph:
    """The modules among `known` that each of them imports."""
    return {name: frozenset(_imported(name, path, known)) - {name} for name, path in known.items()}


def _imported(name: str, path: Path, known: Mapping[str, Path]) -> Iterator[str]:
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in _running(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom):
            above = package.rsplit(".", node.level - 1)[0] if node.level else ""
            source = ".".join(part for part in (above, node.module) if part)
            for alias in node.names:
                if (inner := f"{source}.{alias.name}") in known:
                    yield inner
                elif source in known:
                    yield source


def _running(node: ast.AST) -> Iterator[ast.AST]:
    """Everything below a node but what only the type checker reads."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            for other in child.orelse:
                yield other
                yield from _running(other)
            continue
        yield child
        yield from _running(child)


def circles(imports: Graph) -> list[list[str]]:
    """The groups of modules that import each other, directly or over others (Tarjan 1972)."""
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    open_: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        number[name] = lowest[name] = len(number)
        open_.append(name)
        for other in sorted(imports[name]):
            if other not in number:
                visit(other)
                lowest[name] = min(lowest[name], lowest[other])
            elif other in open_:
                lowest[name] = min(lowest[name], number[other])
        if lowest[name] == number[name]:
            at = open_.index(name)
            group = sorted(open_[at:])
            del open_[at:]
            if len(group) > 1:
                found.append(group)

    for name in sorted(imports):
        if name not in number:
            visit(name)
    return found

"""What is installed: every import is declared, every dependency is pinned, and nothing that breaks a CPU machine."""

import ast
import sys
import tomllib
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
BASE = [Requirement(text) for text in PROJECT["dependencies"]]
EXTRAS = [
    Requirement(text)
    for name, group in PROJECT["optional-dependencies"].items()
    if name != "ray"  # its launcher wants cloudpickle 2.2.1, which the others have outgrown
    for text in group
]


def pins() -> dict[str, Version]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = [line.split("==") for line in lines if not line.startswith("#")]
    return {canonicalize_name(name): Version(version) for name, version in pairs}


def imported(path: Path) -> set[str]:
    """Top-level packages that a module imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


def test_every_import_of_the_package_is_a_declared_dependency() -> None:
    modules = [ROOT / "run.py", *(ROOT / "t2i").rglob("*.py")]
    foreign = set().union(*map(imported, modules)) - sys.stdlib_module_names - {"t2i"}
    providers = metadata.packages_distributions()
    optional = [
        Requirement(text) for name, texts in PROJECT["optional-dependencies"].items() if name != "dev" for text in texts
    ]
    declared = {canonicalize_name(requirement.name) for requirement in [*BASE, *optional]}
    undeclared = {
        name for name in foreign if not declared & {canonicalize_name(p) for p in providers.get(name, [name])}
    }
    assert undeclared == set()


def test_every_dependency_is_pinned_to_a_version_in_its_range() -> None:
    pinned = pins()
    for requirement in [*BASE, *EXTRAS]:
        if requirement.name == "t2i":  # an extra that takes in others
            continue
        assert pinned[canonicalize_name(requirement.name)] in requirement.specifier, requirement


def test_nothing_pinned_brings_cuda_or_torchvision() -> None:
    unwanted = ("torchvision", "torchaudio", "torch-fidelity", "nvidia-", "triton")
    assert [name for name in pins() if name.startswith(unwanted)] == []
    assert pins()["torch"] == Version("2.13.0")

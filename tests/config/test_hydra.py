"""What is used of Hydra, and where."""

import ast
from functools import cache
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "metriscope"


@cache
def trees() -> dict[str, list[ast.AST]]:
    """Every node of every module of the source."""
    paths = {path.relative_to(SOURCE).as_posix(): path for path in SOURCE.rglob("*.py")}
    return {name: list(ast.walk(ast.parse(path.read_text(encoding="utf-8")))) for name, path in paths.items()}


def importers(package: str) -> set[str]:
    """The modules of the source that import a package or something in it."""
    found = set()
    for path, nodes in trees().items():
        for node in nodes:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            if isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{name}" for name in names]
            if any(f"{name}.".startswith(f"{package}.") for name in names):
                found.add(path)
    return found


@pytest.mark.parametrize(
    ("package", "modules"),
    [("hydra._internal", {"config/hydra.py"}), ("hydra.utils", set()), ("hydra.compose", {"config/compose.py"})],
)
def test_one_module_knows_it(package, modules):
    assert importers(package) == modules

"""Reads where the functions of a package wait, and whether the tests that are named for them exist (decision 0019)."""

import ast
from collections.abc import Iterable, Mapping
from pathlib import Path

WAITS = (ast.Await, ast.AsyncFor, ast.AsyncWith)
LIFE = "start, drain or stop of the process: one caller, in order"
READS = "hands on what it was told, or only reads"

Table = Mapping[str, tuple[int, str]]
"""Function -> how often it waits, and a test's name, or why none is needed."""


def waits(folder: Path) -> dict[str, int]:
    """How often each function of the package's modules waits; its core has nothing to wait for."""
    found: dict[str, int] = {}

    def visit(node: ast.AST, names: tuple[str, ...]) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                visit(child, (*names, child.name))
                continue
            if isinstance(child, WAITS) or (isinstance(child, ast.comprehension) and child.is_async):
                key = f"{module} {'.'.join(names)}"
                found[key] = found.get(key, 0) + 1
            visit(child, names)

    for path in sorted(folder.glob("*.py")):
        module = path.stem
        visit(ast.parse(path.read_text()), ())
    return found


def counts(table: Table) -> dict[str, int]:
    return {name: count for name, (count, _) in table.items()}


def holders(table: Table, others: Iterable[str] = ()) -> list[str]:
    return sorted({text for _, text in table.values() if "::" in text} | set(others))


def is_there(root: Path, named: str) -> bool:
    """Whether `path::test` is a test of the tree."""
    path, _, test = named.partition("::")
    return test in {node.name for node in ast.walk(ast.parse((root / path).read_text())) if hasattr(node, "name")}

"""No float and no true division where money is decided (L-1): looked up in the syntax tree, not in the text."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PRICE_MIRROR = ROOT / "payouts/core/resource_prices.py"
"""Decides no amount: the 60-digit decimal arithmetic that the contract's resource price is held against (P-4)."""
MONEY = sorted(
    [
        *(path for path in (ROOT / "payouts/core").glob("*.py") if path != PRICE_MIRROR),
        *(ROOT / "ledger/core").glob("*.py"),
        ROOT / "cgn_node/core/pricing.py",
        ROOT / "sdk/src/cgn_sdk/protocol/row.py",
        ROOT / "sdk/src/cgn_sdk/protocol/settlement.py",
        ROOT / "payouts/facts.py",
        ROOT / "payouts/journal.py",
        ROOT / "payouts/token.py",
        ROOT / "payouts/bindings/batches.py",
    ]
)
EXACT = {f"math.{name}" for name in ("gcd", "lcm", "prod", "isqrt", "comb")}
"""Integers in, integers out."""


def inexact(source: str) -> list[str]:
    """Returns what in the source could make an amount inexact, with its line."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, float | complex):
            found.append(f"line {node.lineno}: the number {node.value}")
        elif isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div):
            found.append(f"line {node.lineno}: true division")
        elif isinstance(node, ast.Name) and node.id in {"float", "round", "Decimal", "Fraction"}:
            found.append(f"line {node.lineno}: {node.id}")
        elif isinstance(node, ast.Attribute) and node.attr in {"truediv", "fsum", "sqrt", "total_seconds"}:
            found.append(f"line {node.lineno}: .{node.attr}")
        elif isinstance(node, ast.Import | ast.ImportFrom):
            module = getattr(node, "module", None) or ""
            names = {f"{module}.{alias.name}".lstrip(".") for alias in node.names} - EXACT
            inexact_modules = {"math", "cmath", "statistics", "decimal", "fractions"}
            found += [f"line {node.lineno}: imports {name}" for name in names if name.split(".")[0] in inexact_modules]
        elif (
            isinstance(node, ast.BinOp)
            and isinstance(node.op, ast.Pow)
            and not (isinstance(node.right, ast.Constant) and isinstance(node.right.value, int))
        ):
            found.append(f"line {node.lineno}: a power that may have a negative exponent")
    return found


@pytest.mark.parametrize("path", MONEY, ids=lambda path: str(path.relative_to(ROOT)))
def test_money_is_integers(path: Path) -> None:
    assert inexact(path.read_text()) == []


def test_no_money_code_uses_the_price_mirror() -> None:
    """Its exemption holds only as long as no amount of a row or a settlement comes out of it."""
    users = [path for path in MONEY if PRICE_MIRROR.stem in path.read_text()]
    assert users == []


@pytest.mark.parametrize(
    "source",
    ["a = 0.7", "a = b / c", "a /= 2", "float(a)", "round(a)", "import math", "from decimal import Decimal", "2 ** -a"],
)
def test_the_test_sees(source: str) -> None:
    assert inexact(source)


def test_integers_pass() -> None:
    assert inexact("a = b * 70 // 100 + 2**96 - 10**9") == []

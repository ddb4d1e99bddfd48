"""Plants one fault at a time in a room's Python, in a copy of the tree, and asks the tests that cover the room.

    infra/test mutation [ROOM ...] [--seconds N] [--seed S] [--list]

For each room: faults are drawn with the seed, each changes one place (an operator, a bound, a constant, two arguments,
a statement or a check that is left out), and the room's tests run until the first failure. What no test notices is
printed as `file:line before -> after`, at the end the share that was noticed. A survivor is a missing test or a change
that means the same; a person tells which. The seconds are per room; nothing in the working tree is touched.
"""

import argparse
import ast
import contextlib
import copy
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COPIED = (
    "cgn_node", "central_service", "miner_client", "ledger", "payouts", "cgn_chassis", "dservices", "sdk", "tests",
    "docs", "infra", "README.md", "ARCHITECTURE.md", "pyproject.toml",
)  # fmt: skip


@dataclass(frozen=True)
class Room:
    sources: tuple[str, ...]
    """Globs of what is changed; settings and limits are left out, since their numbers are choices."""
    tests: tuple[str, ...]
    """What must notice, the quickest first."""
    without: str = ""
    """Glob of sources that are a room of their own."""
    asked: str = ""
    """Which of the tests, as pytest's `-k` takes it."""


ROOMS = {
    "core": Room(
        ("cgn_node/core/*.py",),
        (
            "tests/unit/cgn_node/core",
            "tests/property/test_pricing.py",
            "tests/property/test_broker_fairness.py",
            "tests/property/test_row_parts.py",
            "tests/simulation",
        ),
    ),
    "node": Room(
        ("cgn_node/*.py",),
        (
            "tests/unit/cgn_node",
            "tests/property/test_node_http1.py",
            "tests/integration/test_node_http_server.py",
            "tests/integration/test_node_requests.py",
            "tests/integration/test_node_central_and_miners.py",
            "tests/integration/test_node_statements.py",
            "tests/integration/test_node_revocations.py",
            "tests/integration/test_node_resumed_readers.py",
            "tests/integration/test_node_work_path.py",
            "tests/integration/test_node_once.py",
            "tests/integration/test_node_faults.py",
            "tests/integration/test_node_gate.py",
        ),
    ),
    "ledger": Room(
        ("ledger/*.py", "ledger/core/*.py"),
        ("tests/unit/ledger", "tests/conformance/test_store.py"),
        without="ledger/elasticsearch_*.py",
        asked="not elasticsearch or address",
    ),
    "elasticsearch": Room(
        ("ledger/elasticsearch_*.py",),
        (
            "tests/unit/ledger/test_elasticsearch_address.py",
            "tests/integration/test_elasticsearch_store.py",
            "tests/conformance/test_store.py",
            "tests/integration/test_verify_elasticsearch.py",
        ),
        asked="elasticsearch",
    ),
    "miner": Room(
        ("miner_client/*.py", "miner_client/core/*.py"),
        (
            "tests/unit/miner_client",
            "tests/integration/test_miner_answers.py",
            "tests/integration/test_miner_bad_ends.py",
        ),
    ),
    "protocol": Room(
        ("sdk/src/cgn_sdk/protocol/*.py",),
        (
            "tests/unit/cgn_sdk/protocol",
            "tests/property/test_tunnel_frames.py",
            "tests/property/test_tunnel_machine.py",
            "tests/property/test_canonical.py",
            "tests/property/test_merkle.py",
            "tests/property/test_row.py",
        ),
    ),
    "sdk": Room(
        ("sdk/src/cgn_sdk/*.py", "sdk/src/cgn_sdk/client/*.py", "sdk/src/cgn_sdk/dservice/*.py"),
        ("tests/unit/cgn_sdk", "tests/integration/test_tunnel_io.py"),
    ),
    "payouts": Room(
        ("payouts/core/*.py",), ("tests/unit/payouts", "tests/property/test_rollup.py", "tests/property/test_money.py")
    ),
    "central": Room(
        ("central_service/*.py", "central_service/core/*.py"),
        ("tests/unit/central_service", "tests/integration/test_central_and_node.py"),
    ),
    "chassis": Room(("cgn_chassis/*.py",), ("tests/unit/cgn_chassis",)),
}
NOT_CHANGED = {"limits.py", "settings.py", "config.py", "app.py", "sim_app.py", "__init__.py"}


@dataclass(frozen=True)
class Fault:
    path: str
    line: int
    kind: str
    before: str
    after: str
    start: int
    end: int

    def apply(self, source: bytes) -> bytes:
        return source[: self.start] + self.after.encode() + source[self.end :]

    def __str__(self) -> str:
        before, after = (" ".join(text.split()) for text in (self.before, self.after))
        return f"{self.path}:{self.line} [{self.kind}] {before[:100]} -> {after[:100]}"


COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult, ast.LShift: ast.RShift,
    ast.RShift: ast.LShift, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.Mod: ast.FloorDiv,
}  # fmt: skip


class Finder(ast.NodeVisitor):
    """All faults that can be planted in one file."""

    def __init__(self, path: str, source: bytes) -> None:
        self.path = path
        self.source = source
        self.faults: list[Fault] = []
        starts, at = [0], 0
        for line in source.splitlines(keepends=True):
            at += len(line)
            starts.append(at)
        self._starts = starts
        tree = ast.parse(source)
        self.visit(tree)

    def _add(self, node: ast.expr | ast.stmt, kind: str, after: str) -> None:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        start = self._starts[node.lineno - 1] + node.col_offset
        end = self._starts[node.end_lineno - 1] + node.end_col_offset
        before = self.source[start:end].decode()
        self.faults.append(Fault(self.path, node.lineno, kind, before, after, start, end))

    def _changed(self, node: ast.expr, kind: str, **changes: object) -> None:
        made = copy.copy(node)
        for name, value in changes.items():
            setattr(made, name, value)
        self._add(node, kind, f"({ast.unparse(made)})")

    # --- expressions ---

    def visit_Compare(self, node: ast.Compare) -> None:
        other = COMPARISONS.get(type(node.ops[0]))
        if other is not None:
            self._changed(node, "comparison", ops=[other(), *node.ops[1:]])
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        self._changed(node, "and/or", op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.Not):
            self._add(node, "not", f"({ast.unparse(node.operand)})")
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        other = OPERATORS.get(type(node.op))
        sides = [side.value for side in (node.left, node.right) if isinstance(side, ast.Constant)]
        if other is not None and not any(isinstance(value, str | bytes) for value in sides):
            self._changed(node, "operator", op=other())
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, bool):
            self._add(node, "constant", str(not node.value))
        elif isinstance(node.value, int):
            self._add(node, "off by one", str(node.value + 1))

    def visit_Call(self, node: ast.Call) -> None:
        if len(node.args) >= 2 and not any(isinstance(one, ast.Starred) for one in node.args[:2]):
            swapped = [node.args[1], node.args[0], *node.args[2:]]
            if ast.dump(swapped[0]) != ast.dump(swapped[1]):
                self._changed(node, "swapped arguments", args=swapped)
        self.generic_visit(node)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """Texts for people; and positions inside them are wrong before Python 3.12."""

    # --- statements ---

    def visit_If(self, node: ast.If) -> None:
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return
        if isinstance(node.body[-1], ast.Raise | ast.Return | ast.Continue):
            self._add(node.test, "check left out", "(False)")
        self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> None:
        value = node.value.value if isinstance(node.value, ast.Await) else node.value
        if isinstance(value, ast.Call):
            if _is_log(value):
                return
            self._add(node, "statement left out", "pass")
        if not isinstance(node.value, ast.Constant):
            self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        if isinstance(node.targets[0], ast.Attribute | ast.Subscript):
            self._add(node, "statement left out", "pass")
        self.visit(node.value)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self._add(node, "statement left out", "pass")
        self.visit(node.value)

    def visit_Delete(self, node: ast.Delete) -> None:
        self._add(node, "statement left out", "pass")

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    def visit_Assert(self, node: ast.Assert) -> None:
        """States what holds anyway."""

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for statement in node.body:
            self.visit(statement)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._body(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._body(node)

    def _body(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        if node.name not in ("__repr__", "__str__"):
            for statement in node.body:
                self.visit(statement)


def _is_log(call: ast.Call) -> bool:
    return ast.unparse(call.func).startswith("_log.")


def faults_of(room: Room, tree: Path) -> list[Fault]:
    found: list[Fault] = []
    for pattern in room.sources:
        for path in sorted(tree.glob(pattern)):
            if path.name not in NOT_CHANGED and not (room.without and path.match(room.without)):
                found += Finder(str(path.relative_to(tree)), path.read_bytes()).faults
    return found


def drawn(faults: list[Fault], seed: int) -> Iterator[Fault]:
    """In an order by chance, the kinds taking turns: otherwise the most frequent kind would fill a small sample."""
    faults = sorted(faults, key=str)
    random.Random(seed).shuffle(faults)
    kinds: dict[str, list[Fault]] = {}
    for fault in faults:
        kinds.setdefault(fault.kind, []).append(fault)
    while any(kinds.values()):
        for kind in sorted(kinds):
            if kinds[kind]:
                yield kinds[kind].pop()


def copy_tree(to: Path) -> None:
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, to / name, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
        else:
            shutil.copy2(ROOT / name, to / name)
    for name in (".cache", ".venv"):  # engines and the interpreter; tests write neither
        (to / name).symlink_to(ROOT / name)


def check_copy(tree: Path) -> None:
    """The tests must import the copy, not what the interpreter has installed."""
    names = ("cgn_sdk.protocol", *(name for name in COPIED if (ROOT / name / "__init__.py").exists()))
    code = f"import {', '.join(names)}, sys; print(*(sys.modules[name].__file__ for name in {names!r}), sep='\\n')"
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=tree, env=_environment(tree), capture_output=True, check=True
    )
    assert all(line.startswith(str(tree)) for line in found.stdout.decode().splitlines()), found.stdout.decode()


def _environment(tree: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": f"{tree}:{tree}/sdk/src", "PYTHONDONTWRITEBYTECODE": "1"}


def tests_for(room: Room, fault: Fault | None, tree: Path) -> list[str]:
    """The room's tests, those that carry the changed file's name first."""
    named: list[str] = []
    if fault is not None:
        wanted = f"test_{Path(fault.path).stem}*.py"
        named = [str(path.relative_to(tree)) for test in room.tests for path in sorted((tree / test).rglob(wanted))]
    return [*named, *(test for test in room.tests if (tree / test).exists())]


def ask(tree: Path, tests: list[str], timeout_s: float, asked: str) -> tuple[int, str]:
    """(pytest's exit code, the end of what it printed); 124 when it took too long. `asked`: which tests of these."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--hypothesis-seed=1", *tests]
    command += ["-k", asked] if asked else []
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            command, cwd=tree, env=_environment(tree), stdout=said, stderr=said, start_new_session=True
        )
        try:
            code = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            code = 124
        finally:
            _end_group(process)
        said.seek(0)
        return code, said.read()[-2_000:].decode(errors="replace")


def _end_group(process: "subprocess.Popen[bytes]") -> None:
    """Also what the tests started and a planted fault left running."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def judge(name: str, room: Room, tree: Path, seconds: float, seed: int) -> Iterator[tuple[Fault, bool]]:
    """Each planted fault, and whether it was noticed, until the time is over."""
    began = time.monotonic()
    code, said = ask(tree, tests_for(room, None, tree), seconds, room.asked)
    if code != 0:
        print(f"{name}: left out, without any fault the tests end with {code}:\n{said}")
        return
    alone_s = time.monotonic() - began
    faults = faults_of(room, tree)
    print(f"{name}: {len(faults)} places, tests alone {alone_s:.0f} s, seed {seed}", flush=True)
    for fault in drawn(faults, seed):
        if time.monotonic() - began > seconds:
            return
        path = tree / fault.path
        sound = path.read_bytes()
        path.write_bytes(fault.apply(sound))
        try:
            ast.parse(path.read_bytes())
            code, _ = ask(tree, tests_for(room, fault, tree), 4 * alone_s + 30, room.asked)
        finally:
            path.write_bytes(sound)
        yield fault, code != 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="infra/test mutation", description=__doc__)
    parser.add_argument("rooms", nargs="*", choices=[*ROOMS, []], metavar="ROOM", help=", ".join(ROOMS))
    parser.add_argument("--seconds", type=float, default=300, help="for each room (default 300)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--list", action="store_true", help="print the places and plant nothing")
    given = parser.parse_args()
    os.nice(10)
    shares = []
    with tempfile.TemporaryDirectory(prefix="mutation-", dir=ROOT / ".cache") as folder:
        tree = Path(folder)
        copy_tree(tree)
        check_copy(tree)
        for name in given.rooms or ROOMS:
            room = ROOMS[name]
            if given.list:
                print(*faults_of(room, tree), sep="\n")
                continue
            planted = noticed = 0
            for fault, was_noticed in judge(name, room, tree, given.seconds, given.seed):
                planted += 1
                noticed += was_noticed
                if not was_noticed:
                    print(f"  lives: {fault}", flush=True)
            shares.append(f"{name}: {noticed} of {planted} noticed")
    print(*shares, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The node's modules know each other in one direction: whoever changes one needs to read only what it imports."""

import ast
from pathlib import Path

import cgn_node

ROOT = Path(cgn_node.__file__).parent


def module_of(path: Path) -> str:
    return ".".join(("cgn_node", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")


def imports() -> dict[str, set[str]]:
    """All of each module: those inside functions, and those for the type check alone, too."""
    paths = {module_of(path): path for path in sorted(ROOT.rglob("*.py"))}
    found: dict[str, set[str]] = {}
    for name, path in paths.items():
        told = found[name] = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                told |= {alias.name for alias in node.names} & set(paths)
            elif isinstance(node, ast.ImportFrom) and node.module:
                parts = {f"{node.module}.{alias.name}" for alias in node.names} & set(paths)
                told |= parts or {node.module} & set(paths)
    return found


KNOWN = {("cgn_node.channel", "cgn_node.gate")}
"""A channel tells the gate that opened it of its end."""


def test_no_module_needs_itself() -> None:
    left = {name: {other for other in needs if (name, other) not in KNOWN} for name, needs in imports().items()}
    while ready := [name for name, needs in left.items() if not needs & set(left)]:
        for name in ready:
            del left[name]
    assert left == {}, "these form circles, or stand above one"


def test_the_recorder_and_the_tunnel_know_no_request() -> None:
    """A tunnel tells an `AttemptSink`; the recorder gets a `WorkOrder` and a `FinishedAttempt`, whole."""
    found = imports()
    for name in ("cgn_node.recorder", "cgn_node.miner_endpoint"):
        assert not found[name] & {
            "cgn_node.work_request",
            "cgn_node.attempt",
            "cgn_node.http_server",
            "cgn_node.bodies",
        }

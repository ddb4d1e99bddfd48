"""What a peer sends is refused, never asserted: an AssertionError between a socket and a request's end would leave what
the request was counted under taken for ever."""

import ast
from pathlib import Path

import pytest

import cgn_node

FOLDER = Path(cgn_node.__file__).parent
OURS = {
    "self.head.method == 'HEAD'",  # `Exchange.answer_head` is called for nothing else
    "not self.started",  # an exchange has one owner, who answers it once
    "latest.number == command.attempt",  # the broker's own number, handed back
}


def asserted(module: str) -> set[str]:
    """What is asserted at run time, without what only narrows a type for mypy."""
    found = set()
    for node in ast.walk(ast.parse((FOLDER / module).read_text())):
        if isinstance(node, ast.Assert):
            text = ast.unparse(node.test)
            if not (text.endswith(" is not None") or text.startswith("isinstance(")):
                found.add(text)
    return found


@pytest.mark.parametrize(
    "module", ["bodies.py", "http_server.py", "work_request.py", "miner_endpoint.py", "recorder.py"]
)
def test_no_assert_is_about_what_a_peer_sends(module: str) -> None:
    assert asserted(module) <= OURS

"""Problem documents (RFC 9457): one body for every refusal, and the closed list of codes."""

import json

import pytest
from cgn_sdk.protocol import errors
from cgn_sdk.protocol.errors import ANSWER_RULES, CODES, TYPE_PREFIX, Problem, ProblemError, ProtocolError
from cgn_sdk.protocol.messages import Fail


def test_a_problem_says_what_and_what_to_change() -> None:
    problem = Problem("unknown_dservice", "Use one of the routes.", "/requests/1", {"routes": ["/mediagen"]})
    assert json.loads(problem.to_json()) == {
        "type": TYPE_PREFIX + "unknown_dservice",
        "title": "No DService has this route",
        "status": 404,
        "code": "unknown_dservice",
        "detail": "Use one of the routes.",
        "instance": "/requests/1",
        "routes": ["/mediagen"],
    }
    assert Problem.from_json(problem.to_json()) == problem
    assert problem.retry == "never"


@pytest.mark.parametrize("code", sorted(CODES))
def test_every_code_is_an_error_with_a_title_and_survives_the_wire(code: str) -> None:
    assert 400 <= CODES[code].status <= 599
    assert CODES[code].title and not CODES[code].title.endswith(".")
    assert Problem.from_json(Problem(code).to_json()) == Problem(code)


@pytest.mark.parametrize("rule", sorted(ANSWER_RULES))
def test_every_rule_of_an_answer_survives_the_wire_and_says_what_is_wrong(rule: str) -> None:
    assert ANSWER_RULES[rule].endswith((".", ")."))
    assert Fail.decode(Fail("dservice_protocol", "", rule).encode()) == Fail("dservice_protocol", "", rule)


def test_codes_outside_the_list_cannot_be_sent() -> None:
    with pytest.raises(AssertionError, match="closed list"):
        Problem("because")
    with pytest.raises(AssertionError, match="standard"):
        Problem("internal", extra={"status": 1})


@pytest.mark.parametrize(
    ("document", "code", "status"),
    [
        (b'{"type":"https://elsewhere.example/x","status":404}', "unknown_dservice", 404),
        (b'{"status":418}', "bad_request", 418),
        (b'{"status":"no","detail":5}', "internal", 500),
        (b'{"code":"deadline","status":504,"retry_after_s":3}', "deadline", 504),
        (b"{}", "internal", 500),
    ],
)
def test_foreign_documents_are_read_as_far_as_they_go(document: bytes, code: str, status: int) -> None:
    problem = Problem.from_json(document)
    assert (problem.code, problem.status) == (code, status)


@pytest.mark.parametrize("document", [b"", b"[]", b"[" * 100_000, b"\xff"])
def test_what_is_no_problem_document_is_a_value_error(document: bytes) -> None:
    with pytest.raises(ValueError):
        Problem.from_json(document)


def test_close_codes_are_those_of_the_interface() -> None:
    """Two programs of different versions meet in these numbers (interfaces.md, "Tunnel")."""
    found = {name: value for name, value in vars(errors).items() if name.startswith("CLOSE_")}
    assert found == {
        "CLOSE_NORMAL": 1000,
        "CLOSE_PROTOCOL_VIOLATION": 4400,
        "CLOSE_NOT_AUTHENTICATED": 4401,
        "CLOSE_REFUSED": 4403,
        "CLOSE_TOO_LATE": 4408,
        "CLOSE_REPLACED": 4409,
        "CLOSE_DRAINING": 4503,
    }


def test_exceptions_carry_their_facts() -> None:
    assert ProblemError(Problem("no_miner", "none")).problem.code == "no_miner"
    assert ProtocolError("broken").close_code == 4400

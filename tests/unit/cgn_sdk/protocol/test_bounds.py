"""Bounds of every message of the tunnel, at n and at n + 1: what is allowed is read, one more is refused by the rule
that names the member. A bound that nobody tries is a bound that may be off by one."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from cgn_sdk.protocol import frames, limits, messages
from cgn_sdk.protocol.errors import ProtocolError

ID, DIGEST = "0" * 32, "0" * 64
OFFER = {"name": "mediagen", "version": "1"}
VALID: dict[type[Any], dict[str, Any]] = {
    messages.Hello: {
        "protocol": messages.PROTOCOL, "account_id": "con_a", "miner_id": "min_a", "api_key": "k", "dservices": [OFFER],
        "runner": "process", "capabilities": {"threads": 1, "kmips_per_thread_milli": 1, "memory_bytes": 1}, "slots": 1,
        "signing_key": DIGEST,
    },
    messages.Welcome: {
        "miner_public_id": "pa", "tier": "1", "dservices": [OFFER], "keepalive_ms": 20_000, "node_id": "nod_a",
    },
    messages.GoAway: {"code": "draining", "reason": "", "move_to": ""},
    messages.Slots: {"slots": 1},
    messages.Seal: {"count": 1, "signature": DIGEST * 2},
    messages.Open: {
        "request_id": ID, "attempt": 1, "dservice": "mediagen", "method": "GET", "target": "/", "headers": [],
        "deadline_ms": 1, "body_bytes": None,
    },
    messages.Head: {"status": 200, "headers": [], "body_bytes": None},
    messages.Done: {
        "statement": {
            "attempt": "1", "cpu_ns": "5", "dservice": "mediagen", "dservice_version": "1", "gpu_ns": "0",
            "memory_byte_seconds": "7", "miner_id": "min_a", "request_bytes": "0", "request_id": ID,
            "response_bytes": "2", "response_sha256": DIGEST, "status": "200", "wall_ns": "9",
        },
        "metadata": {},
    },
    messages.Fail: {"code": "internal", "detail": ""},
    messages.Cancel: {"code": "cancelled"},
    messages.Progress: {"done_ppm": 0, "text": ""},
}  # fmt: skip


def names(count: int) -> list[dict[str, str]]:
    return [{"name": f"d{number}", "version": "1"} for number in range(count)]


def fields(count: int) -> list[list[str]]:
    return [["a", ""]] * count


def metadata(count: int) -> dict[str, str]:
    return {f"m{number}": "" for number in range(count)}


NAME, TEXT, WHOLE = limits.NAME_MAX_CHARS, limits.TEXT_MAX_CHARS, limits.MESSAGE_INTEGER_MAX
UPPER: list[tuple[type[Any], str, int, Callable[[int], Any]]] = [
    (messages.Hello, "account_id", NAME, lambda n: "a" * n),
    (messages.Hello, "miner_id", NAME, lambda n: "a" * n),
    (messages.Hello, "api_key", 256, lambda n: "a" * n),
    (messages.Hello, "dservices", limits.DSERVICES_MAX_COUNT, names),
    (messages.Hello, "capabilities.threads", 4_096, int),
    (messages.Hello, "capabilities.kmips_per_thread_milli", 10**9, int),
    (messages.Hello, "capabilities.memory_bytes", 2**50, int),
    (messages.Hello, "slots", limits.SLOTS_MAX, int),
    (messages.Hello, "signing_key", 64, lambda n: "0" * n),
    (messages.Welcome, "miner_public_id", NAME, lambda n: "a" * n),
    (messages.Welcome, "node_id", NAME, lambda n: "a" * n),
    (messages.Welcome, "dservices", limits.DSERVICES_MAX_COUNT, names),
    (messages.Welcome, "keepalive_ms", 3_600_000, int),
    (messages.GoAway, "reason", TEXT, lambda n: "a" * n),
    (messages.GoAway, "move_to", 256, lambda n: "a" * n),
    (messages.Slots, "slots", limits.SLOTS_MAX, int),
    (messages.Seal, "count", WHOLE, int),
    (messages.Seal, "signature", 128, lambda n: "0" * n),
    (messages.Open, "request_id", 32, lambda n: "0" * n),
    (messages.Open, "attempt", 1_000_000, int),
    (messages.Open, "dservice", NAME, lambda n: "a" * n),
    (messages.Open, "method", limits.METHOD_MAX_CHARS, lambda n: "A" * n),
    (messages.Open, "target", limits.TARGET_MAX_CHARS, lambda n: "/" + "a" * (n - 1)),
    (messages.Open, "headers", limits.HEADERS_MAX_COUNT, fields),
    (messages.Open, "headers", limits.HEADERS_MAX_CHARS, lambda n: [["a", "b" * (n - 1)]]),
    (messages.Open, "deadline_ms", WHOLE, int),
    (messages.Open, "body_bytes", limits.BODY_MAX_BYTES, int),
    (messages.Head, "status", 599, int),
    (messages.Head, "headers", limits.HEADERS_MAX_COUNT, fields),
    (messages.Head, "headers", limits.HEADERS_MAX_CHARS, lambda n: [["a" * (n - 1), "b"]]),
    (messages.Head, "body_bytes", limits.BODY_MAX_BYTES, int),
    (messages.Done, "statement.miner_id", NAME, lambda n: "a" * n),
    (messages.Done, "statement.dservice", NAME, lambda n: "a" * n),
    (messages.Done, "statement.dservice_version", NAME, lambda n: "a" * n),
    (messages.Done, "statement.request_id", 32, lambda n: "0" * n),
    (messages.Done, "statement.response_sha256", 64, lambda n: "0" * n),
    *((messages.Done, f"statement.{name}", 19, lambda n: "9" * n) for name in (
        "attempt", "status", "cpu_ns", "wall_ns", "gpu_ns", "memory_byte_seconds", "request_bytes", "response_bytes")),
    (messages.Done, "metadata", limits.METADATA_MAX_COUNT, metadata),
    (messages.Done, "metadata", limits.METADATA_MAX_CHARS, lambda n: {"a": "b" * (n - 1)}),
    (messages.Fail, "detail", TEXT, lambda n: "a" * n),
    (messages.Progress, "done_ppm", 1_000_000, int),
    (messages.Progress, "text", TEXT, lambda n: "a" * n),
]  # fmt: skip
LOWER: list[tuple[type[Any], str, int]] = [
    (messages.Hello, "capabilities.threads", 1),
    (messages.Hello, "capabilities.kmips_per_thread_milli", 1),
    (messages.Hello, "capabilities.memory_bytes", 1),
    (messages.Hello, "slots", 0),
    (messages.Welcome, "keepalive_ms", 100),
    (messages.Slots, "slots", 0),
    (messages.Seal, "count", 1),
    (messages.Open, "attempt", 1),
    (messages.Open, "deadline_ms", 0),
    (messages.Open, "body_bytes", 0),
    (messages.Head, "status", 200),
    (messages.Head, "body_bytes", 0),
    (messages.Progress, "done_ppm", 0),
]


def payload(kind: type[Any], member: str, value: object) -> bytes:
    document = json.loads(json.dumps(VALID[kind]))
    *outer, last = member.split(".")
    inner = document
    for name in outer:
        inner = inner[name]
    assert last in inner
    inner[last] = value
    return json.dumps(document).encode()


@pytest.mark.parametrize("kind", VALID, ids=lambda kind: kind.__name__)
def test_the_examples_are_valid(kind: type[Any]) -> None:
    kind.decode(json.dumps(VALID[kind]).encode())


@pytest.mark.parametrize(
    ("kind", "member", "most", "make"), UPPER, ids=lambda value: getattr(value, "__name__", str(value))
)
def test_the_upper_bound(kind: type[Any], member: str, most: int, make: Callable[[int], Any]) -> None:
    decoded = kind.decode(payload(kind, member, make(most)))
    assert kind.decode(decoded.encode()) == decoded
    with pytest.raises(ProtocolError, match=member.rpartition(".")[2]):
        kind.decode(payload(kind, member, make(most + 1)))


@pytest.mark.parametrize(("kind", "member", "least"), LOWER, ids=lambda value: getattr(value, "__name__", str(value)))
def test_the_lower_bound(kind: type[Any], member: str, least: int) -> None:
    kind.decode(payload(kind, member, least))
    with pytest.raises(ProtocolError, match=member.rpartition(".")[2]):
        kind.decode(payload(kind, member, least - 1))


def test_names_are_bounded_where_they_are_asked_about() -> None:
    assert messages.is_name("a" * NAME)
    assert not messages.is_name("a" * (NAME + 1))
    assert not messages.is_name("a b")
    assert not messages.is_name("")


@pytest.mark.parametrize("count", [0, limits.FRAME_PAYLOAD_MAX_BYTES])
def test_a_frame_holds_as_much_as_is_allowed(count: int) -> None:
    flags = frames.END
    [found] = frames.decode_message(frames.encode(frames.DATA, 1, bytes(count), flags))
    assert len(found.payload) == count


def a_message(size: int) -> bytes:
    """Whole frames of DATA that take so many bytes."""
    most = limits.FRAME_MAX_BYTES - limits.FRAME_HEADER_BYTES
    whole, rest = divmod(size, limits.FRAME_MAX_BYTES)
    message = frames.encode(frames.DATA, 1, bytes(most)) * whole
    return message + (frames.encode(frames.DATA, 1, bytes(rest - limits.FRAME_HEADER_BYTES)) if rest else b"")


def test_a_message_is_bounded() -> None:
    assert len(a_message(limits.MESSAGE_MAX_BYTES)) == limits.MESSAGE_MAX_BYTES
    frames.decode_message(a_message(limits.MESSAGE_MAX_BYTES))
    more = frames.encode(frames.ACK, 1)
    with pytest.raises(ProtocolError, match="longer than"):
        frames.decode_message(a_message(limits.MESSAGE_MAX_BYTES) + more)


def test_a_frame_holds_no_byte_more() -> None:
    raw = bytes([frames.DATA, 0]) + (limits.FRAME_PAYLOAD_MAX_BYTES + 1).to_bytes(2, "big") + (1).to_bytes(4, "big")
    with pytest.raises(ProtocolError, match="a frame of .* bytes is longer than"):
        frames.decode_message(raw + bytes(limits.FRAME_PAYLOAD_MAX_BYTES + 1))

"""A loss as signed bytes, its bounds, and its place in the line of heads (L-3)."""

import json
from pathlib import Path
from typing import Any

import pytest
from cgn_sdk import signing
from cgn_sdk.keccak import keccak_256
from cgn_sdk.protocol import loss as protocol
from cgn_sdk.protocol.canonical import encode
from cgn_sdk.protocol.head import NO_ROWS, Head, extend
from cgn_sdk.protocol.loss import END, ROWS, SPOOL, Line, Loss, in_words, loss_findings, sign_loss

NODE = "p" + "a" * 26
SIGNER = signing.Signer(bytes(32))
PLAIN = Loss(NODE, 3, SPOOL, 2, 5, b"", "old bytes are in damaged-1", "a disk died", "Ada", 9, b"")
ENDED = PLAIN._replace(kind=END, first=4, last=7, commitment=bytes(32))
HASHES = [bytes([number]) * 32 for number in range(1, 8)]


@pytest.mark.parametrize("unsigned", [PLAIN, ENDED, PLAIN._replace(kind=ROWS, last=0, said="")])
def test_it_is_read_as_it_was_signed(unsigned: Loss) -> None:
    made = sign_loss(unsigned, SIGNER.sign)
    assert Loss.decode(made.encode()) == made
    assert loss_findings(made, {NODE: SIGNER.public_key}, signing.verify) == []
    assert "a disk died (accepted by Ada" in in_words(made)


@pytest.mark.parametrize("name", Loss._fields)
def test_every_member_is_signed(name: str) -> None:
    made = sign_loss(ENDED, SIGNER.sign)
    other: dict[str, Any] = {
        "node_id": "p" + "b" * 25 + "a",
        "kind": ROWS,
        "commitment": b"x" * 32,
        "said": "x",
        "reason": "x",
        "by": "x",
        "signature": bytes(64),
    }
    value = other.get(name, getattr(made, name) + 1 if name not in other else None)
    changed = made._replace(**{name: value})
    assert loss_findings(changed, {NODE: SIGNER.public_key, changed.node_id: SIGNER.public_key}, signing.verify) != []


def test_a_stranger_counts_for_nothing() -> None:
    made = sign_loss(PLAIN, SIGNER.sign)
    assert [finding.code for finding in loss_findings(made, {}, signing.verify)] == ["loss_unknown"]
    other = signing.Signer(b"o" * 32).public_key
    assert [finding.code for finding in loss_findings(made, {NODE: other}, signing.verify)] == ["loss_signature"]


@pytest.mark.parametrize(
    ("changes", "is_in_bounds"),
    [
        ({"reason": "r" * protocol.REASON_MAX_CHARS}, True),
        ({"reason": "r" * (protocol.REASON_MAX_CHARS + 1)}, False),
        ({"reason": ""}, False),
        ({"reason": "a\nb"}, False),
        ({"by": "b" * protocol.BY_MAX_CHARS}, True),
        ({"by": "b" * (protocol.BY_MAX_CHARS + 1)}, False),
        ({"by": ""}, False),
        ({"said": "s" * protocol.SAID_MAX_CHARS}, True),
        ({"said": "s" * (protocol.SAID_MAX_CHARS + 1)}, False),
        ({"said": "\0"}, False),
        ({"kind": "other"}, False),
        ({"at": 0}, True),
        ({"at": -1}, False),
        ({"at": 2**63 - 1}, True),
        ({"at": 2**63}, False),
        ({"first": 0}, False),
        ({"first": 1, "last": 1}, True),
        ({"first": 2, "last": 1}, False),
        ({"first": 2, "last": 0}, True),
        ({"last": 2**63 - 1}, True),
        ({"last": 2**63}, False),
    ],
)
def test_bounds(changes: dict[str, Any], is_in_bounds: bool) -> None:
    changed = PLAIN._replace(**changes)
    if is_in_bounds:
        made = sign_loss(changed, SIGNER.sign)
        assert Loss.decode(made.encode()) == made
        assert len(made.encode()) <= protocol.LOSS_MAX_BYTES
    else:
        with pytest.raises(ValueError, match="must be"):
            sign_loss(changed, SIGNER.sign)
        with pytest.raises(ValueError, match="is not the canonical JSON of a loss"):
            Loss.decode(changed.encode())


@pytest.mark.parametrize("changes", [{"first": 5}, {"commitment": b""}, {"commitment": b"x" * 31}])
def test_an_end_begins_where_it_stands_and_names_what_was_signed(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="begins behind the row"):
        sign_loss(ENDED._replace(**changes), SIGNER.sign)


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"[" * 9_000, PLAIN.encode() + b" ", PLAIN.encode()[:-1]])
def test_what_is_no_loss(data: bytes) -> None:
    with pytest.raises(ValueError, match="is not the canonical JSON of a loss"):
        Loss.decode(data)


@pytest.mark.parametrize(
    ("rows", "time_ns", "node_id", "wanted"),
    [
        (4, 9, NODE, True),
        (7, 9, NODE, True),
        (3, 9, NODE, False),
        (8, 9, NODE, False),
        (4, 10, NODE, False),
        (4, 9, "p" + "b" * 25 + "a", False),
    ],
)
def test_an_end_explains_heads_over_what_is_gone(rows: int, time_ns: int, node_id: str, wanted: bool) -> None:
    head = Head(node_id, rows, bytes(32), time_ns, b"")
    assert ENDED.explains(head) == wanted
    assert not ENDED._replace(kind=ROWS).explains(head)


def test_a_loss_is_a_link_behind_its_row() -> None:
    """As the module says it, by hand; in one piece or many, from the beginning or from where a copy stands."""
    later = PLAIN._replace(time_ns=10)
    links = [keccak_256(each.signed_bytes()) for each in (PLAIN, later)]
    before = extend(NO_ROWS, HASHES[:3], keccak_256)
    wanted = extend(before, [*links, *HASHES[3:]], keccak_256)
    line = Line([later, PLAIN], keccak_256)
    line.extend(HASHES[:3])
    assert (line.rows, line.commitment) == (3, before), "a head over the row where it stands is not over it"
    line.extend(HASHES[3:5])
    line.extend(HASHES[5:])
    assert (line.rows, line.commitment) == (7, wanted)
    again = Line([PLAIN, later], keccak_256, rows=3, commitment=before)
    again.extend(HASHES[3:])
    assert again.commitment == wanted
    behind = Line([PLAIN, later], keccak_256, rows=4, commitment=b"x" * 32)
    behind.extend([])
    behind.extend(HASHES[4:5])
    assert behind.commitment == keccak_256(b"x" * 32 + HASHES[4])
    assert Line([], keccak_256).commitment == NO_ROWS


def test_the_vectors() -> None:
    """What implementers in other languages compute: by hand here, from the documented rule."""
    file = json.loads((Path(__file__).parents[3] / "vectors/loss.json").read_text())
    losses = [Loss.decode(encode(each["loss"])) for each in file["losses"]]
    assert {loss.kind for loss in losses} == set(protocol.KINDS)
    for loss, each in zip(losses, file["losses"], strict=True):
        assert loss.signed_bytes().hex() == each["signed_hex"]
        assert loss_findings(loss, {loss.node_id: bytes.fromhex(file["public_key"])}, signing.verify) == []
    for each in file["line"]:
        commitment = NO_ROWS
        for number, row_hash in enumerate(each["row_hashes"]):
            behind = sorted((loss for loss in losses if loss.at == number), key=lambda loss: loss.time_ns)
            links = [keccak_256(loss.signed_bytes()) for loss in behind]
            commitment = extend(commitment, [*links, bytes.fromhex(row_hash)], keccak_256)
        assert commitment.hex() == each["commitment"]
    assert len({each["commitment"] for each in file["line"]}) == 5

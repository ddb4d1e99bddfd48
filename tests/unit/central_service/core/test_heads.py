"""What Central keeps of the heads that nodes tell, and what it names (L-12)."""

import pytest
from cgn_sdk import signing
from cgn_sdk.protocol.head import Head, sign_head
from cgn_sdk.protocol.link import NodeHead
from cgn_sdk.protocol.loss import END, SPOOL, Loss, sign_loss

from central_service.core.heads import Known, judge

NODE, OTHER = "p" + "a" * 26, "p" + "b" * 25 + "a"
SIGNER, STRANGER = signing.Signer(bytes(32)), signing.Signer(b"s" * 32)
KEY = SIGNER.public_key


def head(rows: int, commitment: bytes = b"c", time_ns: int = 0, signer: signing.Signer = SIGNER) -> Head:
    return sign_head(NODE, rows, commitment * 32, time_ns or rows, signer.sign)


def end(at: int, last: int, time_ns: int, node_id: str = NODE) -> Loss:
    return sign_loss(Loss(node_id, at, END, at + 1, last, bytes(32), "", "why", "who", time_ns, b""), SIGNER.sign)


def code(told: NodeHead, known: Known | None, *losses: Loss) -> str | None:
    found = judge(told, NODE, known, losses, signing.verify)
    return found and found.code


KNOWN = Known(KEY, head(10))


@pytest.mark.parametrize(
    ("told", "known", "wanted"),
    [
        (NodeHead(KEY, head(1)), None, None),
        (NodeHead(KEY, head(11)), KNOWN, None),
        (NodeHead(KEY, head(10)), KNOWN, None),
        (NodeHead(KEY, head(10, time_ns=99)), KNOWN, None),
        (NodeHead(KEY, head(9)), KNOWN, "head_lower"),
        (NodeHead(KEY, head(10, b"d")), KNOWN, "head_forked"),
        (NodeHead(KEY, head(11)._replace(node_id=OTHER)), KNOWN, "head_foreign"),
        (NodeHead(KEY, head(11), (end(10, 12, 5, OTHER),)), KNOWN, "head_foreign"),
        (NodeHead(KEY, head(11)._replace(last_ingest=12)), KNOWN, "head_signature"),
        (NodeHead(KEY, head(11, signer=STRANGER)), None, "head_signature"),
        (NodeHead(STRANGER.public_key, head(11, signer=STRANGER)), KNOWN, "head_other_key"),
        (NodeHead(KEY, head(11), (end(10, 12, 5)._replace(last=13),)), KNOWN, "head_signature"),
    ],
)
def test_a_head_is_kept_or_named(told: NodeHead, known: Known | None, wanted: str | None) -> None:
    assert code(told, known) == wanted


def test_a_lower_head_is_kept_where_the_node_has_signed_for_the_loss() -> None:
    """Told now or before; and only for a loss that is over the head which is kept, and not after the new head."""
    told = head(4, b"e", time_ns=50)
    loss = end(3, 10, 40)
    assert code(NodeHead(KEY, told, (loss,)), KNOWN) is None
    assert code(NodeHead(KEY, told), KNOWN, loss) is None
    assert code(NodeHead(KEY, head(3, b"e", time_ns=40)), KNOWN, loss) is None
    for wrong in (end(3, 9, 40), end(3, 10, 9), end(3, 10, 51), end(5, 10, 40), end(10, 12, 40)):
        assert code(NodeHead(KEY, told, (wrong,)), KNOWN) == "head_lower", wrong
    spool = sign_loss(Loss(NODE, 3, SPOOL, 4, 10, b"", "", "why", "who", 40, b""), SIGNER.sign)
    assert code(NodeHead(KEY, told, (spool,)), KNOWN) == "head_lower"

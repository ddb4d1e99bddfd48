"""The head of a ledger: a node's signed word for which rows the ledger held, and in which order (L-3, L-12).

    commitment h(0) = 32 zero bytes,  h(n) = Keccak-256(h(n-1) ‖ hash of the row with ingestion number n)
    signed bytes    = canonical JSON of {version, node_id, last_ingest, commitment, time_ns}
    signature       = the node's, Ed25519 over `b"cgn/head/1\\x00" + signed bytes`

A row's own signature binds what it says; a head binds that it is there, and where. Whoever holds one sees a row that
was left out, two that changed places, an end that was cut off, or a number below 1: walk the row hashes from number 1
and compare at `last_ingest`. Two heads of one node over one ledger must lie on one chain; two that do not are proof
against the node or its store.

What a head does not say: that other nodes' rows in the same ledger are right. Pure; Keccak and signatures come in.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple

from cgn_sdk.protocol.canonical import JsonValue, encode
from cgn_sdk.protocol.receipt import VerifySignature
from cgn_sdk.protocol.row import Finding, Keccak

HEAD: Final = "head"
"""Domain of the node's signature; the data is `Head.signed_bytes`."""
HEAD_VERSION: Final = "1"
NO_ROWS: Final = bytes(32)
"""The commitment over no rows."""

Sign = Callable[[str, bytes], bytes]
"""(what, data) -> signature; `cgn_sdk.signing.Signer.sign`."""


class Head(NamedTuple):
    """One head. Not to be believed before `head_findings` has found nothing."""

    node_id: str
    """Public id of the node that signed."""
    last_ingest: int
    """Number of the last row it is over."""
    commitment: bytes
    """The running commitment over rows 1 to `last_ingest`."""
    time_ns: int
    """When it was signed, by the node's clock, UTC, ns since 1970."""
    signature: bytes

    def signed_bytes(self) -> bytes:
        """Returns what the node signs for "head": canonical JSON, numbers as digits, the commitment in hexadecimal."""
        return encode(self._stated())

    def encode(self) -> bytes:
        """Returns the head as others are shown it: the signed members and `signature`, as canonical JSON."""
        return encode({**self._stated(), "signature": self.signature.hex()})

    @classmethod
    def decode(cls, data: bytes) -> "Head":
        """Reads what `encode` wrote, to the byte. Raises ValueError."""
        try:
            said = json.loads(data)
            head = cls(
                said["node_id"],
                int(said["last_ingest"]),
                bytes.fromhex(said["commitment"]),
                int(said["time_ns"]),
                bytes.fromhex(said["signature"]),
            )
            if head.encode() == data:
                return head
        except (ValueError, KeyError, TypeError, RecursionError):
            pass  # the one answer below
        raise ValueError(f"is not the canonical JSON of a head: {data[:80]!r}")

    def _stated(self) -> dict[str, JsonValue]:
        return {
            "version": HEAD_VERSION,
            "node_id": self.node_id,
            "last_ingest": str(self.last_ingest),
            "commitment": self.commitment.hex(),
            "time_ns": str(self.time_ns),
        }


def extend(commitment: bytes, row_hashes: Iterable[bytes], keccak: Keccak) -> bytes:
    """Returns the commitment after these further rows, in their order."""
    for row_hash in row_hashes:
        commitment = keccak(commitment + row_hash)
    return commitment


def sign_head(node_id: str, last_ingest: int, commitment: bytes, time_ns: int, sign: Sign) -> Head:
    """Returns a head with its signature."""
    unsigned = Head(node_id, last_ingest, commitment, time_ns, b"")
    return unsigned._replace(signature=sign(HEAD, unsigned.signed_bytes()))


def head_findings(head: Head, nodes: Mapping[str, bytes], verify_signature: VerifySignature) -> list[Finding]:
    """Returns what is wrong with a head by itself. `nodes`: trusted public key by the node's public id."""
    where = f"head {head.last_ingest} of {head.node_id}"
    key = nodes.get(head.node_id)
    if key is None:
        return [Finding("head_unknown", where, "no key of that node is trusted")]
    if not verify_signature(key, HEAD, head.signed_bytes(), head.signature):
        return [Finding("head_signature", where, "is not by that node over this head")]
    return []

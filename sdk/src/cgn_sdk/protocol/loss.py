"""A loss that somebody has accepted: a node's signed word for what of its records is gone, why, and who says so (L-3).

    signed bytes = canonical JSON of {version, node_id, at, kind, first, last, commitment, said, reason, by, time_ns}
    signature    = the node's, Ed25519 over `b"cgn/loss/1\\x00" + signed bytes`

A loss is a link in the line of the node's heads: it stands behind row `at`, and the commitment goes on from it,

    h(at)' = Keccak-256(h(at) ‖ Keccak-256(signed bytes)),   h(at + 1) = Keccak-256(h(at)' ‖ hash of row at + 1)

so that no head from then on fits a ledger from which the loss was taken away. A head over `at` rows is over none of the
losses that stand behind them; several behind one row follow each other by time, then by hash.

Kinds: `spool`, rows that were acknowledged and never reached the ledger (`first` to `last` are the spool's numbers);
`end`, rows `at` + 1 to `last` that the node had signed a head over and the ledger does not hold any more; `rows`, rows
that stand in the ledger and can no longer be read as they were signed. Pure; Keccak and signatures come in.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from cgn_sdk.protocol.canonical import JsonValue, encode
from cgn_sdk.protocol.head import NO_ROWS, Head, Sign
from cgn_sdk.protocol.receipt import VerifySignature
from cgn_sdk.protocol.row import Finding, Keccak

LOSS: Final = "loss"
"""Domain of the node's signature; the data is `Loss.signed_bytes`."""
LOSS_VERSION: Final = "1"

SPOOL: Final = "spool"
END: Final = "end"
ROWS: Final = "rows"
KINDS: Final = (SPOOL, END, ROWS)

SAID_MAX_CHARS: Final = 1_000
"""What the tools found; more is in the folder that they keep."""
REASON_MAX_CHARS: Final = 500
BY_MAX_CHARS: Final = 100
LOSS_MAX_BYTES: Final = 8 * 1024
"""One as JSON: the texts at their bounds, of characters that JSON escapes, and some room."""


class Loss(NamedTuple):
    """One loss. Not to be believed before `loss_findings` has found nothing."""

    node_id: str
    """Public id of the node that signed."""
    at: int
    """Number of the ledger's row behind which it stands in the line of heads."""
    kind: str
    first: int
    last: int
    """0: nobody knows how many there were."""
    commitment: bytes
    """Of the head over `last` rows that is contradicted (kind `end`); else empty."""
    said: str
    """What was found."""
    reason: str
    """Why it is gone, as far as the one who accepts it knows."""
    by: str
    """Who accepts it."""
    time_ns: int
    """When, by the node's clock, UTC, ns since 1970."""
    signature: bytes

    def signed_bytes(self) -> bytes:
        """Returns what the node signs for "loss"."""
        return encode(self._stated())

    def encode(self) -> bytes:
        """Returns the loss as others are shown it: the signed members and `signature`, as canonical JSON."""
        return encode({**self._stated(), "signature": self.signature.hex()})

    @classmethod
    def decode(cls, data: bytes) -> "Loss":
        """Reads what `encode` wrote, to the byte. Raises ValueError."""
        try:
            said = json.loads(data[:LOSS_MAX_BYTES])
            loss = cls(
                said["node_id"],
                int(said["at"]),
                said["kind"],
                int(said["first"]),
                int(said["last"]),
                bytes.fromhex(said["commitment"]),
                said["said"],
                said["reason"],
                said["by"],
                int(said["time_ns"]),
                bytes.fromhex(said["signature"]),
            )
            if loss.encode() == data and not loss.faults():
                return loss
        except (ValueError, KeyError, TypeError, RecursionError, AttributeError):
            pass  # the one answer below
        raise ValueError(f"is not the canonical JSON of a loss: {data[:80]!r}")

    def faults(self) -> list[str]:
        """What of its members is out of bounds; empty for a loss that may be signed."""
        found = [
            f"{name} must be 1 to {most} printable characters"
            for name, text, most in (("reason", self.reason, REASON_MAX_CHARS), ("by", self.by, BY_MAX_CHARS))
            if not 0 < len(text) <= most or not text.isprintable()
        ]
        if len(self.said) > SAID_MAX_CHARS or not self.said.isprintable():
            found.append(f"said must be at most {SAID_MAX_CHARS} printable characters")
        if self.kind not in KINDS:
            found.append(f"kind must be one of {', '.join(KINDS)}")
        if not (
            0 <= self.at < 2**63 and 0 < self.first < 2**63 and (self.last == 0 or self.first <= self.last < 2**63)
        ):
            found.append("at, first and last must be numbers of rows, first not above last")
        if self.kind == END and (self.first != self.at + 1 or len(self.commitment) != 32):
            found.append("an end begins behind the row at which it stands, and names what was signed over it")
        return found

    def explains(self, head: Head) -> bool:
        """Whether this head may be over rows that are not there: they are lost by this node's own word."""
        is_before = head.node_id == self.node_id and head.time_ns <= self.time_ns
        return self.kind == END and is_before and self.at < head.last_ingest <= self.last

    def _stated(self) -> dict[str, JsonValue]:
        return {
            "version": LOSS_VERSION,
            "node_id": self.node_id,
            "at": str(self.at),
            "kind": self.kind,
            "first": str(self.first),
            "last": str(self.last),
            "commitment": self.commitment.hex(),
            "said": self.said,
            "reason": self.reason,
            "by": self.by,
            "time_ns": str(self.time_ns),
        }


class Line:
    """The running commitment of a node's heads: over the rows' hashes, and over losses where they stand."""

    def __init__(self, losses: Iterable[Loss], keccak: Keccak, *, rows: int = 0, commitment: bytes = NO_ROWS) -> None:
        """`rows`, `commitment`: where to go on."""
        self._keccak = keccak
        links = [(loss.at, loss.time_ns, keccak(loss.signed_bytes())) for loss in losses if loss.at >= rows]
        self._links = sorted(links, reverse=True)
        self.rows = rows
        """Number of the last row."""
        self.commitment = commitment

    def extend(self, row_hashes: Iterable[bytes]) -> None:
        """Takes the next rows."""
        keccak, commitment, rows, links = self._keccak, self.commitment, self.rows, self._links
        for row_hash in row_hashes:
            while links and links[-1][0] == rows:
                commitment = keccak(commitment + links.pop()[2])
            commitment = keccak(commitment + row_hash)
            rows += 1
        self.commitment, self.rows = commitment, rows


def sign_loss(unsigned: Loss, sign: Sign) -> Loss:
    """Returns the loss with its signature. Raises ValueError for one that is out of bounds."""
    if faults := unsigned.faults():
        raise ValueError("; ".join(faults))
    return unsigned._replace(signature=sign(LOSS, unsigned.signed_bytes()))


def loss_findings(loss: Loss, nodes: Mapping[str, bytes], verify_signature: VerifySignature) -> list[Finding]:
    """Returns what is wrong with a loss by itself. `nodes`: trusted public key by the node's public id."""
    where = f"loss at {loss.at} of {loss.node_id}"
    key = nodes.get(loss.node_id)
    if key is None:
        return [Finding("loss_unknown", where, "no key of that node is trusted")]
    if faults := loss.faults():
        return [Finding("loss_malformed", where, "; ".join(faults))]
    if not verify_signature(key, LOSS, loss.signed_bytes(), loss.signature):
        return [Finding("loss_signature", where, "is not by that node over this loss")]
    return []


def in_words(loss: Loss) -> str:
    """One line for a person."""
    if loss.kind == SPOOL:
        what = "acknowledged rows that never reached the ledger, the spool's numbers"
    elif loss.kind == END:
        what = "rows that were signed and are gone from the ledger's end, numbers"
    else:
        what = "rows that stand in the ledger and cannot be read, numbers"
    until = f"to {loss.last}" if loss.last else "on, how many nobody knows"
    return f"{what} {loss.first} {until}: {loss.reason} (accepted by {loss.by}; {loss.said})"

"""The receipt: what proves a row to its parties, offline, against what the chain says.

A receipt holds the public row, the opened private part `metrics` with its salt, the node's signature over the row hash,
and, once a settlement has anchored the row, its place in that batch's Merkle tree. Inside `metrics` stand the miner's
`statement` and its `seal`: the statement's path in the small tree (SHA-256) whose root the miner signed, once per
message rather than per request (docs/decisions/0003-seals.md).

    statement ─SHA-256→ leaf of the seal's tree ─root ‖ count→ miner's signature over "seal"
        └ in `metrics` ─salted hash→ public column ─row hash→ node's signature over "row"
                                                     └ leaf of the batch's tree ─root, count→ event on the chain

`verify_receipt` collects all findings before any verdict. Keccak and the signature check come in from outside.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final, TypeAlias

from cgn_sdk.protocol import merkle
from cgn_sdk.protocol.canonical import CanonicalError, CanonicalText, JsonValue, encode, parse
from cgn_sdk.protocol.row import ROLES, Finding, Keccak, part_hash, row_hash, verify_row
from cgn_sdk.protocol.settlement import batch_id, entity_on_chain

VerifySignature: TypeAlias = Callable[[bytes, str, bytes, bytes], bool]
"""(public key, what, data, signature) -> whether it holds; `cgn_sdk.signing.verify`."""

RECEIPT_VERSION: Final = "1"
ROW: Final = "row"
"""Domain of the node's signature; the data is the row hash."""
SEAL: Final = "seal"
CUT: Final = ("price_cap", "cancelled", "deadline")
"""Why a row may bill less than a whole response (`metrics.ended`); absent for a whole one."""
"""Domain of the miner's signature; the data is `seal_bytes`."""

MAX_RECEIPT_BYTES: Final = 256 * 1024
"""A row and an opened part are at most 80 KiB; hexadecimal and paths make the rest."""
MAX_TRUST_BYTES: Final = 8 * 1024 * 1024
"""A trust file: some 600 bytes per node with its newest head, so more than ten thousand nodes."""
MAX_PATH: Final = 64
"""Steps of an inclusion proof: a tree of 2^64 leaves has no more."""


class ReceiptError(ValueError):
    """The bytes are no receipt, anchor or trust file; the text says which member is wrong."""


@dataclass(frozen=True, slots=True)
class Inclusion:
    """The row's place in a settled batch."""

    batch_id: bytes
    index: int
    row_count: int
    path: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a node hands out for one request. Nothing in it is to be believed before `verify_receipt`."""

    public: Mapping[str, Any]
    metrics: Mapping[str, Any]
    metrics_salt: bytes
    node_signature: bytes
    inclusion: Inclusion | None = None

    def encode(self) -> bytes:
        """Returns canonical JSON: {version, row, metrics, metrics_salt, node_signature, inclusion or null}."""
        inclusion: dict[str, Any] | None = None
        if self.inclusion is not None:
            inclusion = {
                "batch_id": self.inclusion.batch_id.hex(),
                "index": str(self.inclusion.index),
                "row_count": str(self.inclusion.row_count),
                "path": [node.hex() for node in self.inclusion.path],
            }
        return encode(
            {
                "version": RECEIPT_VERSION,
                "row": dict(self.public),
                "metrics": dict(self.metrics),
                "metrics_salt": self.metrics_salt.hex(),
                "node_signature": self.node_signature.hex(),
                "inclusion": inclusion,
            }
        )

    @classmethod
    def decode(cls, data: bytes) -> "Receipt":
        """Reads what `encode` wrote (any JSON layout). Raises ReceiptError."""
        members = _object(data, "the receipt")
        _exactly(members, {"version", "row", "metrics", "metrics_salt", "node_signature", "inclusion"}, "the receipt")
        if members["version"] != RECEIPT_VERSION:
            raise ReceiptError(f"version {members['version']!r:.40} of a receipt is not known here")
        if type(members["row"]) is not dict or type(members["metrics"]) is not dict:
            raise ReceiptError("row and metrics are objects")
        inclusion = None
        if members["inclusion"] is not None:
            given = members["inclusion"]
            _exactly(given, {"batch_id", "index", "row_count", "path"}, "inclusion")
            inclusion = Inclusion(
                _hex(given, "batch_id", 32), _count(given, "index"), _count(given, "row_count"), _path(given)
            )
        return cls(
            members["row"],
            members["metrics"],
            _hex(members, "metrics_salt", 32),
            _hex(members, "node_signature", 64),
            inclusion,
        )


@dataclass(frozen=True, slots=True)
class Anchor:
    """What the chain says about one batch: the event `Settled` and where it stands."""

    chain_id: int
    contract: str
    """Address of the contract that logged the event, 0x and 40 hexadecimal digits, lower case."""
    settlement_id: bytes
    """The event's `batchId`: one for all entities of a payout run."""
    entity: bytes
    """As in the event: the 16 bytes of the entity's public id, then zeros (protocol.settlement)."""
    role: int
    account: str
    amount_nano_cpu: int
    xor_hash: bytes
    merkle_root: bytes
    row_count: int
    tx_id: str = ""

    def batch_id(self, keccak: Keccak) -> bytes:
        """Returns the id of this entity's batch, from what the event says. Raises ValueError for no role."""
        return batch_id(self.settlement_id, self.entity, self.role, keccak)

    def encode(self) -> bytes:
        """Returns canonical JSON with the event's members."""
        return encode(
            {
                "chain_id": str(self.chain_id),
                "contract": self.contract,
                "settlement_id": self.settlement_id.hex(),
                "entity": self.entity.hex(),
                "role": str(self.role),
                "account": self.account,
                "amount_nano_cpu": str(self.amount_nano_cpu),
                "xor_hash": self.xor_hash.hex(),
                "merkle_root": self.merkle_root.hex(),
                "row_count": str(self.row_count),
                "tx_id": self.tx_id,
            }
        )

    @classmethod
    def decode(cls, data: bytes) -> "Anchor":
        """Reads what `encode` wrote. Raises ReceiptError."""
        members = _object(data, "the anchor")
        _exactly(members, set(cls.__slots__), "the anchor")
        return cls(
            chain_id=_count(members, "chain_id", bits=256),
            contract=_address(members, "contract"),
            settlement_id=_hex(members, "settlement_id", 32),
            entity=_hex(members, "entity", 32),
            role=_count(members, "role"),
            account=_address(members, "account"),
            amount_nano_cpu=_count(members, "amount_nano_cpu", bits=256),
            xor_hash=_hex(members, "xor_hash", 32),
            merkle_root=_hex(members, "merkle_root", 32),
            row_count=_count(members, "row_count"),
            tx_id=_text(members, "tx_id"),
        )


@dataclass(frozen=True, slots=True)
class TrustedMiner:
    """A miner's public key, and whose miner it is: then the row must pay that contributor."""

    key: bytes
    contributor_id: str = ""


@dataclass(frozen=True, slots=True)
class Trust:
    """What the verifier believes beforehand: public keys, and which contract on which chain counts."""

    nodes: Mapping[str, bytes] = field(default_factory=dict)
    """Public key by the node's public id."""
    miners: Mapping[str, TrustedMiner] = field(default_factory=dict)
    """By the miner id that stands in statements."""
    chain_id: int | None = None
    contract: str = ""
    """Empty: any contract's event is taken as given."""
    heads: tuple[bytes, ...] = ()
    """Heads that somebody has kept of these nodes' ledgers, each as `head.Head.encode` writes it; for `cgn verify`."""
    losses: tuple[bytes, ...] = ()
    """Losses that these nodes have signed for, each as `loss.Loss.encode` writes it."""

    def encode(self) -> bytes:
        """Returns canonical JSON: {nodes: {id: key}, miners: {id: {key, contributor_id}}, chain_id, contract}, and
        heads and losses where there are any."""
        kept: dict[str, JsonValue] = {
            name: [json.loads(each) for each in found]
            for name, found in (("heads", self.heads), ("losses", self.losses))
            if found
        }
        return encode(
            {
                **kept,
                "nodes": {name: key.hex() for name, key in self.nodes.items()},
                "miners": {
                    name: {"key": miner.key.hex(), "contributor_id": miner.contributor_id}
                    for name, miner in self.miners.items()
                },
                "chain_id": None if self.chain_id is None else str(self.chain_id),
                "contract": self.contract,
            }
        )

    @classmethod
    def decode(cls, data: bytes) -> "Trust":
        """Reads what `encode` wrote. Raises ReceiptError."""
        members = _object(data, "the trust file", MAX_TRUST_BYTES)
        kept = {"heads", "losses"} & members.keys()
        _exactly(members, {"nodes", "miners", "chain_id", "contract"} | kept, "the trust file")
        if not all(type(members[name]) is list for name in kept):
            raise ReceiptError("heads and losses are lists")
        nodes, miners = members["nodes"], members["miners"]
        if type(nodes) is not dict or type(miners) is not dict:
            raise ReceiptError("nodes and miners are objects")
        for name, miner in miners.items():
            _exactly(miner, {"key", "contributor_id"}, f"miner {name:.80}")
        return cls(
            nodes={name: _hex(nodes, name, 32) for name in nodes},
            miners={
                name: TrustedMiner(_hex(miner, "key", 32), _text(miner, "contributor_id"))
                for name, miner in miners.items()
            },
            chain_id=None if members["chain_id"] is None else _count(members, "chain_id", bits=256),
            contract=_address(members, "contract") if members["contract"] else "",
            heads=tuple(encode(each) for each in members.get("heads", ())),
            losses=tuple(encode(each) for each in members.get("losses", ())),
        )


# --- the miner's seal ----------------------------------------------------------------------------------------------


def _sha256(data: bytes) -> bytes:
    return sha256(data).digest()


def statement_digest(statement: Mapping[str, Any]) -> bytes:
    """Returns SHA-256 of the statement's canonical JSON: the data of its leaf in the seal's tree."""
    return _sha256(encode(dict(statement)))


def seal_tree(digests: Sequence[bytes]) -> list[list[bytes]]:
    """Returns the Merkle tree (SHA-256) over the statement digests of one message, in the order of its DONE frames."""
    return merkle.levels(digests, _sha256)


def seal_bytes(root: bytes, count: int) -> bytes:
    """Returns what the miner signs for "seal": the root, then the count of statements as 8 bytes, big-endian."""
    return root + count.to_bytes(8, "big")


def seal_texts(tree: Sequence[Sequence[bytes]], signature: bytes) -> list[CanonicalText]:
    """Returns what the `metrics` part holds as `seal`, for every statement of a sealed message in order: the canonical
    JSON of {count, index, path, signature}, the numbers as digits, the rest in hexadecimal."""
    count, signed = len(tree[0]), signature.hex()
    texts = []
    for index in range(count):
        path = ",".join([f'"{node.hex()}"' for node in merkle.path(tree, index)])
        texts.append(CanonicalText(f'{{"count":"{count}","index":"{index}","path":[{path}],"signature":"{signed}"}}'))
    return texts


# --- verification --------------------------------------------------------------------------------------------------


def verify_receipt(
    receipt: Receipt,
    anchor: Anchor | None,
    trust: Trust,
    keccak: Keccak,
    verify_signature: VerifySignature,
    *,
    response_sha256: str = "",
) -> list[Finding]:
    """Returns everything wrong with a receipt; empty means it proves the row.

    `anchor` is None for a receipt that is looked at before settlement: then no inclusion is asked for, and one that is
    there anyway is not judged. `response_sha256` (hexadecimal) is of the response body the DApp has, if it wants to
    know that this receipt is for those bytes. Collects all findings; each names the member it is about.
    """
    findings = verify_row(dict(receipt.public))
    try:
        hash_ = row_hash(receipt.public, keccak)
    except CanonicalError as error:
        return [*findings, Finding("row_malformed", "row", str(error))]
    if findings and any(finding.code in {"column_missing", "row_malformed"} for finding in findings):
        return findings  # nothing to bind the rest to
    findings += _node_findings(receipt, hash_, trust, verify_signature)
    findings += _metrics_findings(receipt, keccak)
    findings += _statement_findings(receipt, trust, verify_signature, response_sha256)
    if anchor is not None:
        findings += _anchor_findings(receipt, anchor, hash_, trust, keccak)
    return findings


def _node_findings(receipt: Receipt, hash_: bytes, trust: Trust, verify_signature: VerifySignature) -> list[Finding]:
    claimed = receipt.public.get("row_hash")
    findings = []
    if claimed is not None and claimed != hash_.hex():
        findings.append(Finding("row_hash", "row.row_hash", f"says {claimed!r:.70}, the columns hash to {hash_.hex()}"))
    node_id = receipt.public["node_id"]
    key = trust.nodes.get(node_id) if type(node_id) is str else None
    if key is None:
        findings.append(Finding("node_unknown", "row.node_id", f"no key of node {node_id!r:.40} is trusted"))
    elif not verify_signature(key, ROW, hash_, receipt.node_signature):
        findings.append(Finding("node_signature", "node_signature", "is not by that node over this row"))
    return findings


def _metrics_findings(receipt: Receipt, keccak: Keccak) -> list[Finding]:
    try:
        hash_ = part_hash(receipt.metrics_salt, receipt.metrics, keccak).hex()
    except CanonicalError as error:
        return [Finding("metrics_malformed", "metrics", str(error))]
    if hash_ != receipt.public["metrics_hash"]:
        return [Finding("metrics_hash", "metrics", "is not what the row's metrics_hash is over")]
    return []


def _statement_findings(
    receipt: Receipt, trust: Trust, verify_signature: VerifySignature, response_sha256: str
) -> list[Finding]:
    """The miner's word: that it is about this row, under the seal, and signed."""
    statement, seal = receipt.metrics.get("statement"), receipt.metrics.get("seal")
    if receipt.metrics.get("ended") in CUT and statement is None and seal is None:
        if not response_sha256:  # the attempt was cut before its miner could sign: the node alone vouches for it
            return []
        return [Finding("response", "metrics.ended", "the response was cut: no statement names its bytes")]
    if type(statement) is not dict or type(seal) is not dict:
        return [Finding("statement_missing", "metrics", "holds no statement of the miner with its seal")]
    findings = []
    for member, column in (
        ("request_id", "row_id"),
        ("dservice", "dservice"),
        ("dservice_version", "dservice_version"),
    ):
        if statement.get(member) != receipt.public[column]:
            detail = f"is {statement.get(member)!r:.80}, the row says {receipt.public[column]!r:.80}"
            findings.append(Finding("statement_row", f"statement.{member}", detail))
    if response_sha256 and statement.get("response_sha256") != response_sha256.lower():
        findings.append(
            Finding("response", "statement.response_sha256", "is not the digest of the response that was received")
        )
    try:
        index, count, path = _count(seal, "index"), _count(seal, "count"), _path(seal)
        signature, digest = _hex(seal, "signature", 64), statement_digest(statement)
    except (ReceiptError, CanonicalError) as error:
        return [*findings, Finding("seal_malformed", "seal", str(error))]
    miner_id = statement.get("miner_id")
    miner = trust.miners.get(miner_id) if type(miner_id) is str else None
    if miner is None:
        return [*findings, Finding("miner_unknown", "statement.miner_id", f"no key of {miner_id!r:.80} is trusted")]
    if miner.contributor_id and miner.contributor_id != receipt.public["contributor_id"]:
        findings.append(
            Finding("contributor", "row.contributor_id", f"is not {miner.contributor_id}, whose miner did the work")
        )
    sealed = merkle.root_of_path(digest, index, count, path, _sha256)
    if sealed is None:
        findings.append(Finding("seal_path", "seal.path", f"does not lead from leaf {index} of {count} to a root"))
    elif not verify_signature(miner.key, SEAL, seal_bytes(sealed, count), signature):
        findings.append(Finding("seal_signature", "seal.signature", "is not by that miner over this statement"))
    return findings


def _anchor_findings(receipt: Receipt, anchor: Anchor, hash_: bytes, trust: Trust, keccak: Keccak) -> list[Finding]:
    """That the row is in the batch the chain tells of, and that the batch is one of an entity of this row."""
    findings = []
    if trust.chain_id is not None and anchor.chain_id != trust.chain_id:
        findings.append(Finding("anchor_chain", "anchor.chain_id", f"is {anchor.chain_id}, trusted: {trust.chain_id}"))
    if trust.contract and anchor.contract != trust.contract:
        findings.append(Finding("anchor_contract", "anchor.contract", f"{anchor.contract} is not {trust.contract}"))
    findings += _entity_findings(receipt, anchor)
    inclusion = receipt.inclusion
    if inclusion is None:
        return [*findings, Finding("inclusion_missing", "inclusion", "the receipt has no place in a settled batch yet")]
    if 0 <= anchor.role < len(ROLES) and inclusion.batch_id != anchor.batch_id(keccak):
        findings.append(Finding("inclusion_batch", "inclusion.batch_id", "is not the batch of the anchor"))
    if inclusion.row_count != anchor.row_count:
        detail = f"is {inclusion.row_count}, the chain says {anchor.row_count}"
        findings.append(Finding("inclusion_count", "inclusion.row_count", detail))
    if not merkle.verify(hash_, inclusion.index, anchor.row_count, inclusion.path, anchor.merkle_root, keccak):
        findings.append(Finding("inclusion_path", "inclusion.path", "does not lead from this row to the anchored root"))
    return findings


def _is_entity(public_id: str, entity: bytes) -> bool:
    try:
        return entity_on_chain(public_id) == entity
    except ValueError:
        return False


def _entity_findings(receipt: Receipt, anchor: Anchor) -> list[Finding]:
    if not 0 <= anchor.role < len(ROLES):
        return [Finding("anchor_role", "anchor.role", f"{anchor.role} is no role")]
    role = ROLES[anchor.role]
    entries = receipt.public["pay_in" if role in {"enterprise", "subsidy"} else "payouts"]
    amounts = [
        entry.get("amount_nano_cpu")
        for entry in (entries if type(entries) is list else [])
        if type(entry) is dict
        and entry.get("role") == role
        and type(entry.get("id")) is str
        and _is_entity(entry["id"], anchor.entity)
    ]
    if not amounts:
        return [Finding("anchor_entity", "anchor.entity", f"is no {role} of this row")]
    if anchor.row_count == 1 and amounts != [str(anchor.amount_nano_cpu)]:
        return [
            Finding("anchor_amount", "anchor.amount_nano_cpu", f"is not what the batch's only row says: {amounts[0]}")
        ]
    if type(amounts[0]) is str and amounts[0].isdigit() and int(amounts[0]) > anchor.amount_nano_cpu:
        return [Finding("anchor_amount", "anchor.amount_nano_cpu", f"is less than this row alone: {amounts[0]}")]
    return []


# --- reading what others wrote -------------------------------------------------------------------------------------

_HEX = re.compile(r"(?:[0-9a-f]{2})*", re.ASCII).fullmatch
_COUNT = re.compile(r"0|[1-9][0-9]{0,77}", re.ASCII).fullmatch
_ADDRESS = re.compile(r"0x[0-9a-f]{40}", re.ASCII).fullmatch
MAX_TEXT: Final = 256
"""Characters of a member that is only shown: an id, a transaction hash."""


def _object(data: bytes, what: str, most: int = MAX_RECEIPT_BYTES) -> dict[str, Any]:
    if len(data) > most:
        raise ReceiptError(f"{what} is longer than {most} bytes")
    try:
        members = parse(data)
    except CanonicalError as error:
        raise ReceiptError(f"{what} cannot be read: {error}") from error
    if type(members) is not dict:
        raise ReceiptError(f"{what} is not an object")
    return members


def _exactly(members: object, names: set[str], what: str) -> None:
    if type(members) is not dict or set(members) != names:
        raise ReceiptError(f"{what} is not an object of {', '.join(sorted(names))}")


def _hex(members: Mapping[str, Any], name: str, length: int) -> bytes:
    text = members.get(name)
    if type(text) is not str or len(text) != 2 * length or not _HEX(text):
        raise ReceiptError(f"{name:.80} is not {2 * length} lower-case hexadecimal digits")
    return bytes.fromhex(text)


def _count(members: Mapping[str, Any], name: str, bits: int = 63) -> int:
    text = members.get(name)
    if type(text) is not str or not _COUNT(text) or int(text) >> bits:
        raise ReceiptError(f"{name} is not a string of decimal digits below 2^{bits}")
    return int(text)


def _address(members: Mapping[str, Any], name: str) -> str:
    text = members.get(name)
    if type(text) is not str or not _ADDRESS(text):
        raise ReceiptError(f"{name} is not 0x and 40 lower-case hexadecimal digits")
    return text


def _text(members: Mapping[str, Any], name: str) -> str:
    text = members.get(name)
    if type(text) is not str or len(text) > MAX_TEXT:
        raise ReceiptError(f"{name} is not a text of at most {MAX_TEXT} characters")
    return text


def _path(members: Mapping[str, Any]) -> tuple[bytes, ...]:
    nodes = members.get("path")
    if type(nodes) is not list or len(nodes) > MAX_PATH:
        raise ReceiptError(f"path is not a list of at most {MAX_PATH} hashes")
    return tuple(_hex({"path": node}, "path", 32) for node in nodes)

"""Writes tests/vectors/{canonical,merkle,row,keccak,head,loss,settlement}.json and receipt/, for implementers in other languages.

Run it only when the protocol changes; the tests read the files and would show any change of bytes.
"""

import base64
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cgn_sdk import signing
from cgn_sdk.keccak import keccak_256
from cgn_sdk.protocol import head, loss, merkle, receipt, row
from cgn_sdk.protocol.canonical import encode
from cgn_sdk.protocol.settlement import NO_SETTLEMENT, Scope, batch_id_of, commit, entity_on_chain, settlement_id

VECTORS = Path(__file__).resolve().parent.parent / "vectors"

ENCODE = {
    "empty object": "{}",
    "keys in order": '{"b":1,"a":2,"B":3,"":4}',
    "nested": '{"z":[{"y":1,"x":[]},null,true,false],"a":{}}',
    "white space goes": ' { "a" : [ 1 , 2 ] } ',
    "escapes": '{"s":"\\u0008\\t\\n\\f\\r\\"\\\\\\/\\u0000\\u001f\\u007f\\u2028"}',
    "not ascii": '{"\\u00fc":"\\u20ac \\ud83d\\ude00"}',
    "keys by utf-16 unit": '{"\\uffee":1,"\\ud83d\\ude00":2,"\\ud7ff":3,"a":4}',
    "largest integers": "[9007199254740991,-9007199254740991,0,-1]",
    "digits as text": '{"amount_nano_eur":"18446744073709551616"}',
}
REFUSE = {
    "float": "[1.0]",
    "exponent": "[1e3]",
    "negative zero as float": "[-0.0]",
    "integer beyond 2^53-1": "[9007199254740992]",
    "lone surrogate": '["\\ud800"]',
    "lone surrogate in a key": '{"\\udc00":1}',
}


def public_id(name: str) -> str:
    return "p" + base64.b32encode(keccak_256(name.encode())[:16])[:26].decode().lower()


RESPONSE = b"the bytes that the DApp received\n"
NODE_KEY, MINER_KEY = (
    signing.Signer(b"node key of the test vectors !!!"),
    signing.Signer(b"miner key of the test vectors !!"),
)


def sealed_metrics(row_id: str) -> dict[str, Any]:
    """A miner's statement, third of five in its message, and the seal over them."""

    def statement(request_id: str) -> dict[str, str]:
        return {
            "request_id": request_id,
            "attempt": "1",
            "miner_id": "min_aaaaaaaaaaaaaaaaaaaa",
            "dservice": "mediagen",
            "dservice_version": "1.0.0",
            "status": "200",
            "response_sha256": hashlib.sha256(RESPONSE).hexdigest(),
            "response_bytes": str(len(RESPONSE)),
            "request_bytes": "0",
            "cpu_ns": "4100000",
            "memory_byte_seconds": "181403648",
            "wall_ns": "4700000",
            "gpu_ns": "0",
        }

    requests = [*(f"{n:032x}" for n in (1, 2)), row_id, *(f"{n:032x}" for n in (4, 5))]
    tree = receipt.seal_tree([receipt.statement_digest(statement(request)) for request in requests])
    signature = MINER_KEY.sign(receipt.SEAL, receipt.seal_bytes(tree[-1][0], len(requests)))
    return {"statement": statement(row_id), "seal": json.loads(receipt.seal_texts(tree, signature)[2])}


def write_receipt(one: row.Row) -> None:
    """The first row's receipt in a batch of three, with anchor and trust: `cgn receipt verify` proves it."""
    hashes = sorted([one.row_hash, keccak_256(b"another row"), keccak_256(b"a third row")])
    index = hashes.index(one.row_hash)
    settlement = keccak_256(b"settlement of the test vectors")
    batch_id = batch_id_of(settlement, one.public["enterprise_id"], "enterprise", keccak_256)
    proof = tuple(merkle.proof(hashes, index, keccak_256))
    shown = receipt.Receipt(
        public=one.public,
        metrics=one.parts["metrics"],
        metrics_salt=row.part_salt(one.salt, "metrics", keccak_256),
        node_signature=NODE_KEY.sign(receipt.ROW, one.row_hash),
        inclusion=receipt.Inclusion(batch_id, index, len(hashes), proof),
    )
    anchor = receipt.Anchor(
        chain_id=31337,
        contract="0x5fbdb2315678afecb367f032d93f642f64180aa3",
        settlement_id=settlement,
        entity=entity_on_chain(one.public["enterprise_id"]),
        role=0,
        account="0x70997970c51812dc3a010c7d01b50e0d17dc79c8",
        amount_nano_cpu=1_000_000,
        xor_hash=bytes(a ^ b ^ c for a, b, c in zip(*hashes, strict=True)),
        merkle_root=merkle.root(hashes, keccak_256),
        row_count=len(hashes),
        tx_id="0x" + "7" * 64,
    )
    trust = receipt.Trust(
        nodes={one.public["node_id"]: NODE_KEY.public_key},
        miners={"min_aaaaaaaaaaaaaaaaaaaa": receipt.TrustedMiner(MINER_KEY.public_key, one.public["contributor_id"])},
        chain_id=31337,
        contract=anchor.contract,
    )
    folder = VECTORS / "receipt"
    folder.mkdir(exist_ok=True)
    (folder / "response.txt").write_bytes(RESPONSE)
    for name, value in (("receipt", shown), ("anchor", anchor), ("trust", trust)):
        (folder / f"{name}.json").write_text(json.dumps(json.loads(value.encode()), indent=1) + "\n")


def heads() -> list[dict[str, Any]]:
    """Heads of one ledger as it grows, and the row hashes they are over."""
    hashes = [one.row_hash for one in rows()] + [keccak_256(b"row %d" % number) for number in range(3, 8)]
    made = []
    for count in (0, 1, 2, 7):
        commitment = head.extend(head.NO_ROWS, hashes[:count], keccak_256)
        signed = head.sign_head(public_id("node"), count, commitment, 1_795_250_000_000_000_000, NODE_KEY.sign)
        made.append(
            {
                "row_hashes": [hash_.hex() for hash_ in hashes[:count]],
                "signed_hex": signed.signed_bytes().hex(),
                "head": json.loads(signed.encode()),
            }
        )
    return made


def losses() -> list[loss.Loss]:
    """One of each kind: rows of the spool behind row 2, an end behind row 2 a moment later, rows behind row 3."""
    node, said = public_id("node"), "found by the tools"
    unsigned = [
        loss.Loss(
            node, 2, loss.SPOOL, 7, 0, b"", said, "a disk died", "Ada of operations", 1_795_250_000_000_000_000, b""
        ),
        loss.Loss(
            node,
            2,
            loss.END,
            3,
            5,
            bytes(range(32)),
            said,
            "a copy of yesterday",
            "Ada",
            1_795_250_000_000_000_001,
            b"",
        ),
        loss.Loss(node, 3, loss.ROWS, 1, 2, b"", said, "a bit", "Ada", 1_795_250_000_000_000_002, b""),
    ]
    return [loss.sign_loss(one, NODE_KEY.sign) for one in unsigned]


def line_with_losses() -> list[dict[str, Any]]:
    """The commitment over each number of rows."""
    hashes = [keccak_256(bytes([number])) for number in range(1, 5)]
    found = []
    for count in range(len(hashes) + 1):
        line = loss.Line(losses(), keccak_256)
        line.extend(hashes[:count])
        found.append({"row_hashes": [each.hex() for each in hashes[:count]], "commitment": line.commitment.hex()})
    return found


def settlements() -> list[dict[str, Any]]:
    """Two runs after each other: their ids, and one batch of each with its rows and what it commits to."""
    made, previous, hashes = [], NO_SETTLEMENT, [one.row_hash for one in rows()] + [keccak_256(b"a third row")]
    scope = Scope(31337, "0x5fbdb2315678afecb367f032d93f642f64180aa3", "2026-11-21")
    for first, last, role in ((1, 2, "enterprise"), (3, 3, "contributor")):
        found = settlement_id(scope, first, last, previous, keccak_256)
        in_batch = hashes[first - 1 : last]
        committed = commit(in_batch, 246_900, keccak_256)
        made.append(
            {
                **{name: str(value) for name, value in scope._asdict().items()},
                "first_ingest": str(first),
                "last_ingest": str(last),
                "previous": previous.hex(),
                "settlement_id": found.hex(),
                "role": role,
                "public_id": public_id(role),
                "entity": entity_on_chain(public_id(role)).hex(),
                "batch_id": batch_id_of(found, public_id(role), role, keccak_256).hex(),
                "row_hashes": [hash_.hex() for hash_ in in_batch],
                "amount_nano_cpu": str(committed.amount_nano_cpu),
                "row_count": str(committed.row_count),
                "xor": committed.xor.hex(),
                "merkle_root": committed.merkle_root.hex(),
                "paths": [
                    [node.hex() for node in merkle.proof(sorted(in_batch), index, keccak_256)]
                    for index in range(len(in_batch))
                ],
            }
        )
        previous = found
    return made


def rows() -> list[row.Row]:
    common: dict[str, Any] = {
        "node_id": public_id("node"),
        "enterprise_id": public_id("enterprise"),
        "contributor_id": public_id("contributor"),
        "developer_id": public_id("developer"),
        "operator_id": public_id("operator"),
        "dservice": "mediagen",
        "dservice_version": "1.0.0",
        "exchange_rate_nano_eur_per_cpu": 50_000_000,
        "keccak": keccak_256,
    }
    plain = row.build_row(
        row_id="000102030405060708090a0b0c0d0e0f",
        event_time_ns=1_795_250_000_123_456_789,
        tier="2",
        usage_fee_nano_eur=12_345,
        usage_fee_nano_cpu=246_900,
        pay_in=[row.PayIn("enterprise", common["enterprise_id"], 246_900)],
        payouts=[
            row.Payout("operator", common["operator_id"], 1_236, 24_690),
            row.Payout("contributor", common["contributor_id"], 8_641, 172_830),
            row.Payout("developer", common["developer_id"], 2_468, 49_380),
        ],
        parts={
            "metrics": sealed_metrics("000102030405060708090a0b0c0d0e0f"),
            "custom": {"user": "Zoë", "job": "\U0001f600"},
            "service": {"cache": "hit"},
        },
        salt=bytes(range(32)),
        **common,
    )
    free = row.build_row(
        row_id="f" * 32,
        event_time_ns=0,
        tier="4b",
        usage_fee_nano_eur=0,
        usage_fee_nano_cpu=0,
        pay_in=[],
        payouts=[],
        parts={},
        salt=bytes(32),
        end_user_id=public_id("user"),
        **common,
    )
    return [plain, free]


def write(name: str, value: object) -> None:
    (VECTORS / name).write_text(json.dumps(value, indent=1) + "\n")


def main() -> None:
    write(
        "canonical.json",
        {
            "about": "RFC 8785 without floats: `json` is parsed, then encoded; `refuse` has no canonical form here.",
            "encode": [
                {"name": name, "json": text, "canonical_hex": encode(json.loads(text)).hex()}
                for name, text in ENCODE.items()
            ],
            "refuse": [{"name": name, "json": text} for name, text in REFUSE.items()],
        },
    )
    trees = []
    hashes: dict[str, Callable[[bytes], bytes]] = {
        "keccak-256": keccak_256,
        "sha-256": lambda data: hashlib.sha256(data).digest(),
    }
    for name, hash_ in hashes.items():
        for count in (0, 1, 2, 3, 5, 8, 11):
            leaves = [hash_(bytes([index])) for index in range(count)]
            trees.append(
                {
                    "hash": name,
                    "leaves": [leaf.hex() for leaf in leaves],
                    "root": merkle.root(leaves, hash_).hex(),
                    "proofs": [[node.hex() for node in merkle.proof(leaves, i, hash_)] for i in range(count)],
                }
            )
    write("merkle.json", {"about": "RFC 6962 shape: leaf H(0x00 data), node H(0x01 left right).", "trees": trees})
    write(
        "row.json",
        {
            "about": "Rows with their salts: every hash can be recomputed from what is here.",
            "rows": [
                {
                    "public": dict(one.public),
                    "parts": {name: dict(part) for name, part in one.parts.items()},
                    "salt": one.salt.hex(),
                    "part_salts": {name: row.part_salt(one.salt, name, keccak_256).hex() for name in row.PARTS},
                    "preimage_hex": one.public_json.hex(),
                    "row_hash": one.row_hash.hex(),
                }
                for one in rows()
            ],
        },
    )
    write_receipt(rows()[0])
    write(
        "head.json",
        {
            "about": "Heads: the commitment over the row hashes in their order, what is signed, the signed head.",
            "public_key": NODE_KEY.public_key.hex(),
            "heads": heads(),
        },
    )
    write(
        "loss.json",
        {
            "about": "Losses: what is signed, the signed loss, and the commitment over rows with all of them in the line.",
            "public_key": NODE_KEY.public_key.hex(),
            "losses": [{"signed_hex": one.signed_bytes().hex(), "loss": json.loads(one.encode())} for one in losses()],
            "line": line_with_losses(),
        },
    )
    write(
        "settlement.json",
        {
            "about": "Settlement and batch ids, and a batch's commitment. `paths` are of the row hashes in ascending "
            "order, each from the leaf to the root.",
            "settlements": settlements(),
        },
    )
    inputs = [b"", b"abc", bytes(135), bytes(136), bytes(137), bytes(range(256)) * 3]
    write(
        "keccak.json",
        {
            "about": "Keccak-256 with the original padding, as on Ethereum.",
            "vectors": [{"input_hex": data.hex(), "digest": keccak_256(data).hex()} for data in inputs],
        },
    )


if __name__ == "__main__":
    main()

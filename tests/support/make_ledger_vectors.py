"""Writes tests/vectors/{canonical,merkle,row,keccak}.json, for implementers in other languages.

Run it only when the protocol changes; the tests read the files and would show any change of bytes.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from cgn_sdk.keccak import keccak_256
from cgn_sdk.protocol import merkle, row
from cgn_sdk.protocol.canonical import encode

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
    digits = "abcdefghijklmnopqrstuvwxyz234567"
    number = int.from_bytes(keccak_256(name.encode())[:17], "big")
    return "p" + "".join(digits[number >> shift & 31] for shift in range(0, 130, 5))


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
        parts={"custom": {"user": "Zoë", "job": "\U0001f600"}, "service": {"cache": "hit"}},
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
    hashes = {"keccak-256": keccak_256, "sha-256": lambda data: hashlib.sha256(data).digest()}
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

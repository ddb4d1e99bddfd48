"""Forms of the names on the wire: account ids, public ids, API keys (interfaces.md, "Words on the wire").

Pure: randomness comes in as bytes.

    account_id("ent", os.urandom(ID_BYTES))            ->  "ent_" and 20 characters of lower-case base32
    public_id(os.urandom(PUBLIC_ID_BYTES))             ->  "p" and 26 characters
    make_api_key(os.urandom(API_KEY_BYTES))            ->  "cgn_<key id>_<secret>"
"""

import base64
import re
from dataclasses import dataclass, field
from typing import Final

KINDS: Final = {
    "ent": "enterprise",
    "con": "contributor",
    "dev": "developer",
    "opr": "operator",
    "cha": "charity",
    "ops": "ops user",
    "nod": "node",
    "min": "miner",
    "usr": "end user",
}
"""Prefix of an id -> what it names (C-3). A contributor is a miner operator; a miner is one record of one."""

ID_BYTES: Final = 13
"""100 of 104 random bits become the 20 characters."""
PUBLIC_ID_BYTES: Final = 16
API_KEY_BYTES: Final = 8 + 32
"""Key id (60 of 64 bits are used) and secret (256 bits)."""

_ACCOUNT_ID = re.compile(r"(?:" + "|".join(KINDS) + r")_[a-z2-7]{20}").fullmatch
_PUBLIC_ID = re.compile(r"p[a-z2-7]{26}").fullmatch
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}").fullmatch

API_KEY_PATTERN: Final = r"cgn_[a-z2-7]{12}_[A-Za-z0-9_-]{43}"
SESSION_KEY_PREFIX: Final = "cgs_"
SESSION_KEY_PATTERN: Final = r"cgs_[A-Za-z0-9_-]{43}"
SECRET_PATTERNS: Final = (API_KEY_PATTERN, SESSION_KEY_PATTERN)
"""For logs and rows that hide keys wherever they turn up."""
_API_KEY = re.compile(API_KEY_PATTERN).fullmatch


def account_id(kind: str, random: bytes) -> str:
    """A new id of the kind with this prefix. `random` holds ID_BYTES."""
    assert kind in KINDS, kind
    assert len(random) == ID_BYTES
    return f"{kind}_{_base32(random)[:20]}"


def public_id(random: bytes) -> str:
    """A new pseudonym. `random` holds PUBLIC_ID_BYTES."""
    assert len(random) == PUBLIC_ID_BYTES
    return "p" + _base32(random)


def make_api_key(random: bytes) -> str:
    """A new API key. `random` holds API_KEY_BYTES."""
    assert len(random) == API_KEY_BYTES
    secret = base64.urlsafe_b64encode(random[8:]).decode().rstrip("=")
    return f"cgn_{_base32(random[:8])[:12]}_{secret}"


def is_account_id(text: str, *kinds: str) -> bool:
    """Whether the text has the form of an account id, of one of the kinds if any are given."""
    return _ACCOUNT_ID(text) is not None and (not kinds or text[:3] in kinds)


def is_public_id(text: str) -> bool:
    return _PUBLIC_ID(text) is not None


def is_address(text: str) -> bool:
    """Whether the text has the form of an Ethereum address. (The checksum in its capitals is not looked at.)"""
    return _ADDRESS(text) is not None


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key in its parts. Only `key_id` may be shown or stored as it is."""

    key_id: str
    whole: str = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> "ApiKey | None":
        """None for whatever has not the form of a key."""
        return cls(text[4:16], text) if _API_KEY(text) else None


def _base32(data: bytes) -> str:
    return base64.b32encode(data).decode().rstrip("=").lower()

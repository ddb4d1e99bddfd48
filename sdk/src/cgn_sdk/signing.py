"""Ed25519 (RFC 8032) signatures over `b"cgn/<what>/1\\x00" + data`, by the fastest library installed.

The prefix keeps a signature made for one purpose from being shown for another. libsodium does the work where PyNaCl is
installed (every server), pycryptodome in the SDK alone; both make the same signatures (RFC 8032 is deterministic),
which the tests hold. libsodium also refuses keys of small order, whose signatures prove nothing. Keys are loaded once:
a `Signer` for the process, a cache for those verified.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Final

KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64

_KEYS_CACHED: Final = 4_096
"""Public keys kept loaded (some hundred bytes each): more miners than a node serves at once."""


def message(what: str, data: bytes) -> bytes:
    """Returns the bytes that are signed. `what` is a short word: "row", "seal"."""
    return b"cgn/%b/1\x00%b" % (what.encode("ascii"), data)


class Signer:
    """Holds one private key, loaded. `seed` is the 32 bytes of RFC 8032, section 5.1.5."""

    __slots__ = ("_sign", "public_key")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != KEY_BYTES:
            raise ValueError(f"an Ed25519 seed is {KEY_BYTES} bytes")
        self._sign, self.public_key = _load_private(seed)

    def sign(self, what: str, data: bytes) -> bytes:
        """Returns the signature, 64 bytes."""
        return self._sign(message(what, data))

    def __repr__(self) -> str:
        return f"Signer({self.public_key.hex()})"


def verify(public_key: bytes, what: str, data: bytes, signature: bytes) -> bool:
    """Returns whether the signature over `data` for `what` is by this key. Never raises for bad keys or signatures."""
    if len(public_key) != KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    check = _load_public(bytes(public_key))
    return check is not None and check(bytes(signature), message(what, data))


def _with_sodium() -> "tuple[_LoadPrivate, _LoadPublic]":
    from nacl.bindings import crypto_sign, crypto_sign_open, crypto_sign_seed_keypair
    from nacl.exceptions import BadSignatureError

    def load_private(seed: bytes) -> tuple[Callable[[bytes], bytes], bytes]:
        public_key, secret_key = crypto_sign_seed_keypair(seed)
        return lambda data: crypto_sign(data, secret_key)[:SIGNATURE_BYTES], public_key

    def load_public(public_key: bytes) -> "_Check | None":
        def holds(signature: bytes, data: bytes) -> bool:
            try:
                crypto_sign_open(signature + data, public_key)
            except BadSignatureError:
                return False
            return True

        return holds

    return load_private, load_public


def _with_pycryptodome() -> "tuple[_LoadPrivate, _LoadPublic]":
    from Crypto.Signature import eddsa

    def load_private(seed: bytes) -> tuple[Callable[[bytes], bytes], bytes]:
        key = eddsa.import_private_key(seed)
        return eddsa.new(key, "rfc8032").sign, key.public_key().export_key(format="raw")

    def load_public(public_key: bytes) -> "_Check | None":
        try:
            check = eddsa.new(eddsa.import_public_key(public_key), "rfc8032").verify
        except ValueError:
            return None

        def holds(signature: bytes, data: bytes) -> bool:
            try:
                check(data, signature)
            except ValueError:
                return False
            return True

        return holds

    return load_private, load_public


_Check = Callable[[bytes, bytes], bool]
_LoadPrivate = Callable[[bytes], tuple[Callable[[bytes], bytes], bytes]]
_LoadPublic = Callable[[bytes], "_Check | None"]

try:
    _load_private, _load_public_uncached = _with_sodium()
except ImportError:  # the SDK without the server packages
    _load_private, _load_public_uncached = _with_pycryptodome()

_load_public = lru_cache(maxsize=_KEYS_CACHED)(_load_public_uncached)

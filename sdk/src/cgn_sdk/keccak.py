"""Keccak-256 as Ethereum has it (original padding 0x01, not SHA3-256's 0x06), by the fastest library installed.

safe-pysha3 hashes a row 2.8 times as fast as pycryptodome (docs/dependencies.md); the SDK alone installs only the
latter. Both give the same digests: tests/vectors/keccak.json runs over each.
"""

try:
    from sha3 import keccak_256 as _new
except ImportError:  # the SDK without the server packages
    _new = None

if _new is not None:

    def keccak_256(data: bytes) -> bytes:
        """Returns the 32-byte Keccak-256 digest of the data."""
        digest: bytes = _new(data).digest()
        return digest

else:
    from Crypto.Hash import keccak as _pycryptodome

    def keccak_256(data: bytes) -> bytes:
        """Returns the 32-byte Keccak-256 digest of the data."""
        return _pycryptodome.new(digest_bits=256, data=data).digest()

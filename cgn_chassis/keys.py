"""Ed25519 key files (RFC 8032): made once with mode 0600, loaded at start."""

from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cgn_chassis.tls import write_private


def load_or_create(path: Path) -> Ed25519PrivateKey:
    """The key in the PEM file (PKCS 8) at `path`, made on first use. Raises ValueError as `load` does."""
    if path.exists():
        return load(path)
    key = Ed25519PrivateKey.generate()
    write_private(
        path,
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )
    return key


def load(path: Path) -> Ed25519PrivateKey:
    """The key in the file. Raises FileNotFoundError, and ValueError for a file that others can read or that holds
    another kind of key."""
    if path.stat().st_mode & 0o077:
        raise ValueError(f"{path} can be read by others: chmod 600 it, or remove it if it may have leaked")
    loaded = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(loaded, Ed25519PrivateKey):
        raise ValueError(f"{path} is not an Ed25519 key")
    return loaded


def public_bytes(key: Ed25519PrivateKey) -> bytes:
    """The 32 bytes of the public key."""
    return key.public_key().public_bytes_raw()

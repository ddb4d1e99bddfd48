"""A local certificate authority and TLS contexts (O-7): ECDSA P-256, TLS 1.2 and later, mutual and
pinned where asked.

The authority exists for machines of one owner that trust each other by it (the sandbox, a region's own processes, the
link between two services). Public endpoints in production use certificates of a public authority through the same
`server_context`.

Pinning is by fingerprint: SHA-256 over the DER form of the peer's certificate, lower-case hexadecimal.
"""

import datetime
import hashlib
import hmac
import ipaddress
import os
import ssl
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cgn_chassis import failures

AUTHORITY_DAYS = 3_650
"""Days an authority lives: longer than what it signs, since renewing it means visiting each machine."""

CERTIFICATE_DAYS = 397
"""Days a certificate lives: the most that browsers take for a server's certificate."""

BACKDATE_HOURS = 1
"""Clocks of machines differ; a certificate that begins in the peer's future is refused."""


@dataclass(frozen=True, slots=True)
class Credential:
    """A certificate and its private key, both as PEM. The key never prints."""

    certificate_pem: bytes
    key_pem: bytes

    def __repr__(self) -> str:
        return f"Credential({fingerprint(self.certificate_pem)})"

    def save(self, certificate_path: Path, key_path: Path) -> None:
        """Writes both; the key with mode 0600 from its first byte."""
        write_private(key_path, self.key_pem)
        certificate_path.parent.mkdir(parents=True, exist_ok=True)
        certificate_path.write_bytes(self.certificate_pem)

    @classmethod
    def load(cls, certificate_path: Path, key_path: Path) -> "Credential":
        return cls(certificate_path.read_bytes(), key_path.read_bytes())


class Authority:
    """Signs certificates with one key. Issuing one takes about a millisecond."""

    def __init__(self, credential: Credential) -> None:
        self.credential = credential
        self._certificate = x509.load_pem_x509_certificate(credential.certificate_pem)
        key = serialization.load_pem_private_key(credential.key_pem, password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError("the authority's key is not an elliptic-curve key")
        self._key = key

    @property
    def certificate_pem(self) -> bytes:
        """What others need to trust what this authority signs."""
        return self.credential.certificate_pem

    @classmethod
    def create(cls, name: str, *, days: int = AUTHORITY_DAYS) -> "Authority":
        """A new authority that may sign end certificates only (path length 0)."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _name(name)
        builder = _builder(subject, subject, key.public_key(), days)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(_key_usage(sign_certificates=True), critical=True)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        return cls(_credential(builder.sign(key, hashes.SHA256()), key))

    @classmethod
    def load_or_create(cls, folder: Path, name: str) -> "Authority":
        """The authority kept in `folder` (`authority.pem`, `authority.key`), made on first use."""
        certificate_path, key_path = folder / "authority.pem", folder / "authority.key"
        if certificate_path.exists() and key_path.exists():
            return cls(Credential.load(certificate_path, key_path))
        authority = cls.create(name)
        authority.credential.save(certificate_path, key_path)
        return authority

    def issue_server(self, name: str, hosts: Sequence[str], *, days: int = CERTIFICATE_DAYS) -> Credential:
        """A server's certificate for host names and IP addresses (its SANs). It serves as a client's too, so that one
        process needs one certificate."""
        if not hosts:
            raise ValueError("a server's certificate needs at least one host")
        return self._issue(name, hosts, [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH], days)

    def issue_client(self, name: str, *, days: int = CERTIFICATE_DAYS) -> Credential:
        """A client's certificate; no server may use it."""
        return self._issue(name, (), [ExtendedKeyUsageOID.CLIENT_AUTH], days)

    def _issue(self, name: str, hosts: Sequence[str], usages: list[x509.ObjectIdentifier], days: int) -> Credential:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_name(name), self._certificate.subject, key.public_key(), days)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_key_usage(sign_certificates=False), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
        )
        if hosts:
            builder = builder.add_extension(x509.SubjectAlternativeName(_alternative_names(hosts)), critical=False)
        return _credential(builder.sign(self._key, hashes.SHA256()), key)


def fingerprint(certificate: bytes) -> str:
    """SHA-256 of the DER form, lower-case hexadecimal. Takes PEM or DER."""
    if certificate.lstrip().startswith(b"-----BEGIN"):
        certificate = ssl.PEM_cert_to_DER_cert(certificate.decode("ascii").strip())
    return hashlib.sha256(certificate).hexdigest()


def is_pinned(peer: ssl.SSLObject | ssl.SSLSocket | None, fingerprints: Iterable[str]) -> bool:
    """Whether the peer of an established TLS connection shows one of the certificates pinned here.

    `peer` is a transport's `ssl_object`. No TLS, no certificate, or an empty list: no.
    """
    shown = peer.getpeercert(binary_form=True) if peer is not None else None
    if not shown:
        return False
    digest = hashlib.sha256(shown).hexdigest()
    return any([hmac.compare_digest(digest, pinned.lower()) for pinned in fingerprints])


def server_context(
    credential_paths: tuple[Path, Path], *, client_authority: Path | None = None, alpn: Sequence[str] = ("http/1.1",)
) -> ssl.SSLContext:
    """Context of a listener. `credential_paths` are certificate and key. With `client_authority` (a PEM file) a client
    must show a certificate signed by it: mutual TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _harden(context, alpn)
    _name_missing(*credential_paths, client_authority)
    context.load_cert_chain(*credential_paths)
    if client_authority is not None:
        context.load_verify_locations(client_authority)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(
    authority: Path | None = None,
    *,
    credential_paths: tuple[Path, Path] | None = None,
    alpn: Sequence[str] = ("http/1.1",),
) -> ssl.SSLContext:
    """Context of a caller. `authority` (a PEM file) alone is trusted; None trusts the system's authorities.
    `credential_paths` are shown to a server that asks (mutual TLS). Host names are always checked."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _harden(context, alpn)
    _name_missing(authority, *(credential_paths or ()))
    if authority is not None:
        context.load_verify_locations(authority)
    else:
        context.load_default_certs()
    if credential_paths is not None:
        context.load_cert_chain(*credential_paths)
    return context


def _name_missing(*paths: Path | None) -> None:
    """OpenSSL's own error for a file that is not there, or may not be read, names none."""
    for path in paths:
        if path is not None:
            path.open("rb").close()


def authority_findings(path: Path, what: str) -> list[str]:
    """What is wrong with an authority's certificate; `what` is the setting that names it."""
    return _certificate_findings(path, what)


def credential_findings(certificate_path: Path, key_path: Path, what: tuple[str, str]) -> list[str]:
    """What is wrong with a certificate and its key: files, modes, dates, and whether they belong together. `what` are
    the settings that name them."""
    found = _certificate_findings(certificate_path, what[0])
    try:
        if key_path.stat().st_mode & 0o077:
            found.append(f"{what[1]}: {key_path} can be read by others: chmod 600 it")
        key_path.read_bytes()
    except OSError as error:
        sentence = failures.told(error)
        found.append(f"{what[1]}: {sentence.sentence if sentence else error}")
    if found:
        return found
    try:
        server_context((certificate_path, key_path))
    except OSError as error:
        sentence = failures.told(error)
        return [f"{what[1]}: {key_path}: {sentence.sentence if sentence else error}"]
    return []


def _certificate_findings(path: Path, what: str) -> list[str]:
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except OSError as error:
        sentence = failures.told(error)
        return [f"{what}: {sentence.sentence if sentence else error}"]
    except ValueError:
        return [f"{what}: {path} is no certificate in PEM"]
    now = datetime.datetime.now(datetime.UTC)
    if certificate.not_valid_after_utc <= now:
        return [
            f"{what}: {path} has expired on {certificate.not_valid_after_utc:%Y-%m-%d}: renew it (cgn init --renew)"
        ]
    if certificate.not_valid_before_utc > now:
        return [
            f"{what}: {path} begins on {certificate.not_valid_before_utc:%Y-%m-%d at %H:%M} UTC: is the clock right?"
        ]
    return []


def days_left(path: Path) -> int:
    """Whole days until a certificate expires; negative when it has."""
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    return (certificate.not_valid_after_utc - datetime.datetime.now(datetime.UTC)).days


def write_private(path: Path, content: bytes) -> None:
    """Writes a file that only its owner can read, from its first byte on, in one step (never half-written)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _harden(context: ssl.SSLContext, alpn: Sequence[str]) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # For TLS 1.2 only forward-secret suites with authenticated encryption; TLS 1.3 has no others.
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(list(alpn))


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=BACKDATE_HOURS))
        .not_valid_after(now + datetime.timedelta(days=days))
    )


def _key_usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _alternative_names(hosts: Sequence[str]) -> list[x509.GeneralName]:
    names: list[x509.GeneralName] = []
    for host in hosts:
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(host)))
        except ValueError:
            names.append(x509.DNSName(host))
    return names


def _credential(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Credential:
    return Credential(
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )

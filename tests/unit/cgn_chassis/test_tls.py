"""The local authority and its contexts (O-7), against real sockets."""

import asyncio
import datetime
import hashlib
import os
import ssl
import stat
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import syncs
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from cgn_chassis.tls import Authority, Credential, client_context, fingerprint, is_pinned, server_context, write_private


@dataclass
class Files:
    authority: Path
    server: tuple[Path, Path]
    client: tuple[Path, Path]


def save(credential: Credential, folder: Path, name: str) -> tuple[Path, Path]:
    paths = (folder / f"{name}.pem", folder / f"{name}.key")
    credential.save(*paths)
    return paths


@pytest.fixture
def files(tmp_path: Path) -> Files:
    authority = Authority.load_or_create(tmp_path, "test authority")
    return Files(
        tmp_path / "authority.pem",
        save(authority.issue_server("server", ["localhost", "127.0.0.1"]), tmp_path, "server"),
        save(authority.issue_client("client"), tmp_path, "client"),
    )


async def talk(
    server: ssl.SSLContext, client: ssl.SSLContext, pinned: list[str] | None = None, host: str = "localhost"
) -> tuple[bytes, list[bool]]:
    """One byte each way. The server's verdicts on the client's pin come along."""
    verdicts = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        verdicts.append(is_pinned(writer.get_extra_info("ssl_object"), pinned or []))
        try:
            writer.write(await reader.readexactly(1))
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server)
    try:
        port = listener.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client, server_hostname=host)
        try:
            writer.write(b"x")
            return await reader.readexactly(1), verdicts
        finally:
            writer.close()
    finally:
        listener.close()


async def test_mutual_tls_with_a_pin(files: Files) -> None:
    pin = fingerprint(files.client[0].read_bytes())
    server = server_context(files.server, client_authority=files.authority)
    client = client_context(files.authority, credential_paths=files.client)
    assert await talk(server, client, [pin]) == (b"x", [True])
    other = fingerprint(files.server[0].read_bytes())
    assert await talk(server, client, [other]) == (b"x", [False])
    assert await talk(server, client, []) == (b"x", [False])


async def test_the_ip_address_counts_as_a_name(files: Files) -> None:
    client = client_context(files.authority)
    assert (await talk(server_context(files.server), client, host="127.0.0.1"))[0] == b"x"


async def test_a_client_without_certificate_is_refused(files: Files) -> None:
    server = server_context(files.server, client_authority=files.authority)
    with pytest.raises((ssl.SSLError, OSError, asyncio.IncompleteReadError)):
        await talk(server, client_context(files.authority))


async def test_a_client_of_another_authority_is_refused(files: Files, tmp_path: Path) -> None:
    stranger = save(Authority.create("test authority").issue_client("client"), tmp_path / "other", "client")
    server = server_context(files.server, client_authority=files.authority)
    with pytest.raises((ssl.SSLError, OSError, asyncio.IncompleteReadError)):
        await talk(server, client_context(files.authority, credential_paths=stranger))


async def test_a_server_of_another_authority_or_name_is_refused(files: Files, tmp_path: Path) -> None:
    other = Authority.create("other")
    fake = save(other.issue_server("server", ["localhost"]), tmp_path / "other", "server")
    with pytest.raises(ssl.SSLCertVerificationError):
        await talk(server_context(fake), client_context(files.authority))
    with pytest.raises(ssl.SSLCertVerificationError, match="match"):
        await talk(server_context(files.server), client_context(files.authority), host="elsewhere.example")


async def test_a_clients_certificate_serves_no_server(files: Files) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        await talk(server_context(files.client), client_context(files.authority))


async def test_tls_1_1_is_refused(files: Files) -> None:
    old = client_context(files.authority)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        old.minimum_version = ssl.TLSVersion.TLSv1
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises((ssl.SSLError, OSError)):
        await talk(server_context(files.server), old)


def test_what_is_issued(files: Files) -> None:
    certificate = x509.load_pem_x509_certificate(files.server[0].read_bytes())
    assert (certificate.not_valid_after_utc - certificate.not_valid_before_utc).days == 397
    assert (
        fingerprint(files.server[0].read_bytes()) == certificate.fingerprint(certificate.signature_hash_algorithm).hex()
    )
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_the_authority_is_kept_and_its_key_is_private(tmp_path: Path) -> None:
    first = Authority.load_or_create(tmp_path, "a")
    again = Authority.load_or_create(tmp_path, "b")
    assert first.certificate_pem == again.certificate_pem
    assert stat.S_IMODE((tmp_path / "authority.key").stat().st_mode) == 0o600
    assert b"PRIVATE" not in repr(first.credential).encode()


def test_private_files_replace_what_stood_there_with_their_own_mode(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("old")
    path.chmod(0o644)
    write_private(path, b"new")
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["key"]


class Peer:
    """The one method of an established connection that pinning asks."""

    def __init__(self, der: bytes | None) -> None:
        self.der = der

    def getpeercert(self, binary_form: bool) -> bytes | None:
        assert binary_form
        return self.der


def test_a_pin_that_differs_in_one_digit_is_another_pin() -> None:
    """Every digit counts, the first and the last too; capitals are the same digits."""
    peer: Any = Peer(b"a certificate")
    pin = hashlib.sha256(b"a certificate").hexdigest()
    assert is_pinned(peer, [pin]) and is_pinned(peer, [pin.upper()]) and is_pinned(peer, ["0" * 64, pin])
    for at in range(64):
        wrong = pin[:at] + ("0" if pin[at] != "0" else "1") + pin[at + 1 :]
        assert not is_pinned(peer, [wrong]), at
    for wrong in (pin[:-1], pin[1:], pin + "0", pin + " ", "", pin[:32]):
        assert not is_pinned(peer, [wrong]), wrong
    assert not is_pinned(peer, [])
    assert not is_pinned(Peer(None), [pin])  # type: ignore[arg-type]
    assert not is_pinned(Peer(b""), [hashlib.sha256(b"").hexdigest()])  # type: ignore[arg-type]
    assert not is_pinned(None, [pin])


def test_what_the_certificates_say(files: Files) -> None:
    """Each serves for what it is for and no more; clocks of machines differ."""
    own, server, client = (
        x509.load_pem_x509_certificate(path.read_bytes())
        for path in (files.authority, files.server[0], files.client[0])
    )
    constraints = [one.extensions.get_extension_for_class(x509.BasicConstraints).value for one in (own, server, client)]
    assert [(one.ca, one.path_length) for one in constraints] == [(True, 0), (False, None), (False, None)]
    usages = [list(one.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) for one in (server, client)]
    for_server, for_client = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH
    assert usages == [[for_server, for_client], [for_client]]
    for one in (own, server, client):
        began = server_time() - one.not_valid_before_utc
        assert datetime.timedelta(hours=1) <= began < datetime.timedelta(hours=2)


def server_time() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def test_who_names_an_authority_trusts_no_other(files: Files) -> None:
    assert client_context(files.authority).cert_store_stats()["x509_ca"] == 1
    assert server_context(files.server, client_authority=files.authority).cert_store_stats()["x509_ca"] == 1


def test_no_context_compresses_or_renegotiates(files: Files) -> None:
    for context in (client_context(files.authority), server_context(files.server)):
        for option in (ssl.OP_NO_COMPRESSION, ssl.OP_NO_RENEGOTIATION):
            assert context.options & option == option


def test_a_private_file_is_on_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = syncs.watch(monkeypatch)
    write_private(tmp_path / "key", b"secret")
    assert [(one.what, one.content) for one in done] == [("sync", b"secret"), ("name", b"secret")]
    assert done[1].path == "key"


def test_nothing_stays_of_a_private_file_that_could_not_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError("full")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="full"):
        write_private(tmp_path / "key", b"secret")
    assert list(tmp_path.iterdir()) == []

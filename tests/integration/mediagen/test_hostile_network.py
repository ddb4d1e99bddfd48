"""Hostile names, servers and redirects against MediaGen as it runs (G-5): the system's resolver asks a lying name
server, every address of the network leads to one web server that notes what it was reached at, and no address is
allowed that is not public.
"""

import datetime
import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import hostile_world
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hostile_dns import GOOD, name_for

pytestmark = pytest.mark.engine("namespaces")
ROOT = Path(__file__).parents[3]
VECTORS = ROOT / "tests/vectors/addresses"
GOOD6 = "2606:4700::1111"
READ = "function main() { var m = new Media(); m.load(name @ req.getParameter('u')); m.save(type @ 'png'); }"
PUT = "function main() { var m = new Media(); m.makeCanvas(xs @ 2, ys @ 2); m.save(name @ req.getParameter('u'), type @ 'png'); resp.setObject(m, RespType.Streamed); }"
WAIT_S = 6.0
"""A fetch may take 1.5 s here; the rest is for a machine that has other work."""


def vectors(name: str) -> list[str]:
    lines = (VECTORS / f"{name}.txt").read_text().split("\n")
    return [line.encode().decode("unicode_escape") for line in lines if line and not line.startswith("#")]


class _Unix(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=20)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(20)
        self.sock.connect(str(self._path))


@dataclass
class Answer:
    status: int
    body: bytes
    seconds: float
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def problem(self) -> dict[str, Any]:
        assert self.headers["content-type"] == "application/problem+json", self.body[:300]
        return json.loads(self.body)


@dataclass
class World:
    folder: Path

    def get(self, service: str, target: str) -> Answer:
        connection = _Unix(self.folder / f"{service}.sock")
        started = time.monotonic()
        try:
            connection.request("GET", target)
            raw = connection.getresponse()
            body = raw.read()
            return Answer(raw.status, body, time.monotonic() - started, {k.lower(): v for k, v in raw.getheaders()})
        finally:
            connection.close()

    def read(self, url: str, service: str = "direct", script: str = "http://good.example/read.ms") -> Answer:
        """What a script that loads the address is answered."""
        return self.get(service, f"/mgen/io?script={quote(script, safe='')}&u={quote(url, safe='')}")

    def reached(self) -> list[str]:
        return (self.folder / "reached.txt").read_text().splitlines()

    def news(self, before: list[str]) -> list[str]:
        """What was reached since, without the scripts."""
        return [line for line in self.reached()[len(before) :] if not line.endswith(".ms")]

    def asked(self, name: str) -> dict[int, int]:
        time.sleep(1)  # the world writes it down five times a second
        lines = [line.split() for line in (self.folder / "asked.txt").read_text().splitlines()]
        return {int(kind): int(count) for label, kind, count in lines if label == name}


def certificates(folder: Path) -> None:
    """An authority, and certificates: valid, expired, for another name, and one by itself."""
    now = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)

    def named(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    def make(name: str, signer: Any, issuer: str, start: Any, end: Any, *, authority: bool = False) -> Any:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = x509.CertificateBuilder().subject_name(named(name)).issuer_name(named(issuer))
        builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(start).not_valid_after(end)
        builder = builder.add_extension(x509.BasicConstraints(authority, None), critical=True)
        if not authority:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        else:
            usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
            builder = builder.add_extension(usage, critical=True)
            builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        return key, builder.sign(signer or key, hashes.SHA256())

    top, authority = make("authority", None, "authority", now - day, now + 30 * day, authority=True)
    (folder / "authority.pem").write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    for label, name, signer, issuer, start, end in (
        ("valid", "valid.hostile.example", top, "authority", now - day, now + day),
        ("expired", "expired.hostile.example", top, "authority", now - 3 * day, now - day),
        ("wrongname", "another.example", top, "authority", now - day, now + day),
        ("selfsigned", "selfsigned.hostile.example", None, "selfsigned.hostile.example", now - day, now + day),
    ):
        key, certificate = make(name, signer, issuer, start, end)
        (folder / f"{label}.pem").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, media: dict[str, bytes]) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("world")
    (folder / "resolv.conf").write_text("nameserver 127.0.0.53\noptions timeout:1 attempts:1\n")
    (folder / "nsswitch.conf").write_text("hosts: files dns\n")
    (folder / "hosts").write_text("127.0.0.1 localhost\n::1 localhost ip6-localhost\n")
    (folder / "files").mkdir()
    (folder / "files/read.ms").write_text(READ)
    (folder / "files/put.ms").write_text(PUT)
    (folder / "files/photo.jpg").write_bytes(media["photo.jpg"][: 1 << 20])
    import pyvips

    for name, shade in (("a.png", 10), ("b.png", 200)):
        picture = pyvips.Image.black(8, 8).new_from_image([shade] * 3).cast("uchar")
        (folder / "files" / name).write_bytes(picture.write_to_buffer(".png"))
    certificates(folder)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT / "tests/support"), str(ROOT), os.environ.get("PYTHONPATH", "")]),
    }
    process = subprocess.Popen(
        [*hostile_world.COMMAND, sys.executable, str(ROOT / "tests/support/hostile_world.py"), str(folder)],
        stdin=subprocess.PIPE, env=environment, cwd=ROOT,
    )  # fmt: skip
    made = World(folder)
    deadline = time.monotonic() + 60
    for service in ("direct", "egress", "lists"):
        while True:
            assert process.poll() is None and time.monotonic() < deadline, f"{service} does not start"
            try:
                if made.get(service, "/_cgn/health").status == 200:
                    break
            except OSError:
                pass
            time.sleep(0.1)
    yield made
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(timeout=60) == 0


def refused(answer: Answer, *codes: str) -> None:
    problem = answer.problem
    code = problem["type"].rpartition(":")[2]
    assert 400 <= answer.status < 500, answer.body
    assert code in codes, problem
    assert problem["status"] == answer.status
    assert len(problem["detail"]) > 20
    assert answer.seconds < WAIT_S


# -- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("service", ["direct", "egress"])
def test_public_names_and_addresses_are_reached_at_the_address_that_was_checked(world: World, service: str) -> None:
    """The counterproof: what is refused below is refused for what it is. A, AAAA, literals, CNAME, TCP, TLS."""
    urls = {
        f"http://{name_for(str(GOOD))}/a.png": str(GOOD),
        f"http://{name_for(GOOD6)}/a.png": GOOD6,
        f"http://{GOOD}:8080/a.png": str(GOOD),
        f"http://[{GOOD6}]/a.png": GOOD6,
        f"http://{name_for(str(GOOD), mode='cname')}/a.png": str(GOOD),
        f"http://{name_for(str(GOOD), mode='truncated')}/a.png": str(GOOD),
        f"http://{name_for('64:ff9b::808:808')}/a.png": "64:ff9b::808:808",
        "https://valid.hostile.example/a.png": str(GOOD),
    }
    for url, address in urls.items():
        before = world.reached()
        answer = world.read(url, service)
        assert answer.status == 200, (url, answer.body)
        (line,) = world.news(before)
        assert line.split()[0].removeprefix("::ffff:") == address
        assert line.split()[3] == url.split("/")[2]


@pytest.mark.parametrize("service", ["direct", "egress"])
def test_no_name_leads_to_an_address_that_is_not_public(world: World, service: str) -> None:
    """Every special address as the answer of a real lookup, alone and beside a good one; every one is listened at."""
    addresses = vectors("not_public")
    names = [name_for(text) for text in addresses if "%" not in text]
    names += [name_for(str(GOOD), text) for text in addresses[::2] if "%" not in text]
    names += [name_for(text, GOOD6) for text in addresses[1::2] if "%" not in text]
    assert len(names) >= 120
    before = world.reached()
    for name in names:
        answer = world.read(f"http://{name}/a.png", service)
        # The C library drops an IPv4-mapped AAAA record on some systems: then there is no address at all.
        refused(answer, "source_refused", "source_failed")
        assert (answer.status == 403) or "ffff" in name, (name, answer.body)
    assert world.news(before) == []


@pytest.mark.parametrize("service", ["direct", "egress"])
def test_no_literal_in_any_disguise_is_reached(world: World, service: str) -> None:
    """Literals, decimal, octal and hexadecimal forms, other schemes, odd hosts: as a source and as a script."""
    literals = [f"http://[{a}]/" if ":" in a else f"http://{a}/" for a in vectors("not_public")]
    urls = [url for url in (*literals, *vectors("hostile_urls")) if url.isascii()]
    urls = [url for url in urls if ":" in url]  # without a scheme it is relative to the script's address: a good one
    assert len(urls) >= 130
    before = world.reached()
    for url in urls:
        # An address without a scheme is a name in the DApp's own files (4.1) or a format this does not read: also 4xx.
        answer = world.read(url, service)
        assert 400 <= answer.status < 500, (url, answer.body)
        assert answer.problem["status"] == answer.status
        assert world.news(before) == [], url
    for url in urls[::7]:
        answer = world.get(service, f"/mgen/io?script={quote(url, safe='')}")
        assert 400 <= answer.status < 500, (url, answer.body)
    assert world.news(before) == []


@pytest.mark.parametrize("service", ["direct", "egress"])
def test_rebinding_wins_nothing(world: World, service: str) -> None:
    """A good answer first, an inner one for ever after, TTL 0: one lookup a connection, and that answer is used."""
    for bad in ("127.0.0.1", "169.254.169.254", "10.0.0.7"):
        name = name_for(str(GOOD), bad, mode=f"rebind-{service}")
        before = world.reached()
        first = world.read(f"http://{name}/a.png", service)
        assert first.status == 200, first.body
        assert [line.split()[0].removeprefix("::ffff:") for line in world.news(before)] == [str(GOOD)]
        assert world.asked(name)[1] == 1
        before = world.reached()
        for _ in range(3):
            answer = world.read(f"http://{name}/b.png", service)
            # A connection to the checked address may still be open: then there is no second lookup to lie to.
            assert answer.status == 200 or answer.problem["type"].endswith("source_refused")
        assert {line.split()[0].removeprefix("::ffff:") for line in world.news(before)} <= {str(GOOD)}


LIES = [
    ("cname", ["127.0.0.1"], ["source_refused"]),
    ("cname", [str(GOOD), "10.0.0.1"], ["source_refused"]),
    ("truncated", ["192.168.1.1"], ["source_refused"]),
    ("inside", [], ["source_refused", "source_failed"]),
    ("loop", [], ["source_failed"]),
    ("chain", ["127.0.0.1"], ["source_refused", "source_failed"]),
    ("tcpdrop", [str(GOOD)], ["source_failed", "source_timeout"]),
    ("tcpslow", [str(GOOD)], ["source_failed", "source_timeout"]),
    ("garbage", [str(GOOD)], ["source_failed", "source_timeout"]),
    ("short", [str(GOOD)], ["source_failed", "source_timeout"]),
    ("otherid", ["127.0.0.1"], ["source_failed", "source_timeout"]),
    ("othername", [], ["source_failed", "source_timeout"]),
    ("otherquestion", [], ["source_failed", "source_timeout"]),
    ("oversized", ["127.0.0.1"], ["source_refused", "source_failed", "source_timeout"]),
    ("slow", [str(GOOD)], ["source_failed", "source_timeout"]),
    ("never", [str(GOOD)], ["source_failed", "source_timeout"]),
    ("nx", [], ["source_failed"]),
    ("servfail", [], ["source_failed"]),
    ("refused", [], ["source_failed"]),
    ("empty", [], ["source_failed"]),
    ("many-20", ["127.0.0.1"], ["source_refused"]),
    ("many-900", ["10.0.0.1"], ["source_refused"]),
    ("many-3000", ["::1"], ["source_refused"]),
    ("pointerloop", [], ["source_failed", "source_timeout"]),
    ("badlength", [], ["source_failed", "source_timeout"]),
]


@pytest.mark.parametrize("service", ["direct", "egress"])
def test_lying_name_servers_are_a_problem_and_no_connection(world: World, service: str) -> None:
    before = world.reached()
    for mode, addresses, codes in LIES:
        refused(world.read(f"http://{name_for(*addresses, mode=mode)}/a.png", service), *codes)
    assert world.news(before) == []


@pytest.mark.parametrize("service", ["direct", "egress"])
def test_a_name_with_thousands_of_addresses_makes_few_connections(world: World, service: str) -> None:
    """Nobody answers at port 8443 there: at most eight doors are knocked at, and quickly."""
    answer = world.read(f"http://{name_for(mode='many-3000')}:8443/a.png", service)
    refused(answer, "source_failed", "source_timeout")
    assert world.read(f"http://{name_for(mode='many-3000')}/a.png", service).status == 200


def test_names_that_never_answer_do_not_hold_up_the_others(world: World) -> None:
    """Twelve lookups hang; a good name is found at once, by threads of its own."""
    from concurrent.futures import ThreadPoolExecutor

    slow = f"http://{name_for(str(GOOD), mode='never')}/x.ms"
    with ThreadPoolExecutor(12) as crowd:
        hanging = [crowd.submit(world.get, "direct", f"/mgen/io?script={quote(slow, safe='')}") for _ in range(12)]
        time.sleep(0.3)
        answer = world.get(
            "direct", "/mgen/io?script=" + quote(f"http://{name_for(str(GOOD), '93.184.216.35')}/none.ms")
        )
        assert answer.seconds < 0.9, answer
        for one in hanging:
            refused(one.result(), "script_failed", "script_timeout", "script_source_failed", "script_refused")


# -- servers ----------------------------------------------------------------------------------------------------------

INNER = [
    "http://127.0.0.1/", "http://10.0.0.1/", "http://169.254.169.254/latest/meta-data/", "http://[::1]/",
    "http://[::ffff:127.0.0.1]/", "http://[fd00::1]/", "http://[fe80::1]/", "http://[64:ff9b::7f00:1]/",
    "http://[2002:7f00:1::]/", "http://2130706433/", "http://0x7f000001/", "http://0177.0.0.1/", "http://127.1/",
    "http://0/", "http://localhost/", "http://100.64.0.1/", "http://255.255.255.255/", "http://224.0.0.1/",
    "//10.0.0.1/x", "file:///etc/passwd", "gopher://10.0.0.1/", "ftp://10.0.0.1/", "data:text/plain,x",
    "unix:///run/x", "http://good.example:22/", "http://user:pw@good.example/", "http://good.example:81/",
    f"http://{name_for('10.0.0.1')}/", f"http://{name_for(str(GOOD), '::1')}/",
]  # fmt: skip


@pytest.mark.parametrize("service", ["direct", "egress"])
def test_redirects_lead_nowhere_inside(world: World, service: str) -> None:
    """Each step is checked as the first one was; the inner address is never connected to."""
    for status, url in [(302, url) for url in INNER] + [(code, INNER[1]) for code in (301, 303, 307, 308)]:
        before = world.reached()
        answer = world.read(f"http://good.example/to?{status}={quote(quote(url, safe=''), safe='')}", service)
        refused(answer, "source_refused")
        assert len(world.news(before)) == 1, url
    refused(world.read("http://good.example/loop", service), "source_failed")
    refused(world.read("http://good.example/further/1", service), "source_failed")


SERVERS = [
    ("no-location", ["source_failed"]),
    ("less-than-said", ["source_failed"]),
    ("two-lengths", ["source_failed"]),
    ("negative-length", ["source_failed"]),
    ("length-and-chunks", ["source_failed"]),
    ("huge-length", ["source_failed", "source_too_large"]),
    ("endless-chunks", ["source_too_large"]),
    ("endless", ["source_too_large"]),
    ("chunk-extension", ["source_failed"]),
    ("drip", ["source_timeout"]),
    ("drip-head", ["source_timeout", "source_failed"]),
    ("silent", ["source_timeout"]),
    ("headers", ["source_failed"]),
    ("header", ["source_failed"]),
    ("continue", ["source_failed", "source_timeout"]),
    ("bomb/gzip", ["source_failed"]),
    ("bomb/deflate", ["source_failed"]),
    ("bomb/br", ["source_failed", "source_too_large"]),
    ("bomb/gzip,deflate,gzip", ["source_failed"]),
    ("part", ["source_failed"]),
    ("reset", ["source_failed"]),
    ("status/500", ["source_failed"]),
    ("status/418", ["source_failed"]),
    ("status/404", ["source_missing"]),
]


@pytest.mark.parametrize("service", ["direct", "egress"])
@pytest.mark.parametrize(("path", "codes"), SERVERS, ids=[path for path, _ in SERVERS])
def test_hostile_servers_end_in_one_clear_problem(world: World, service: str, path: str, codes: list[str]) -> None:
    refused(world.read(f"http://good.example/{path}", service), *codes)


@pytest.mark.parametrize("service", ["direct", "egress"])
def test_a_body_longer_than_said_is_cut_where_it_was_said(world: World, service: str) -> None:
    answer = world.read("http://good.example/more-than-said", service)
    assert answer.status in (415, 422, 424), answer.body
    assert world.read("http://good.example/a.png", service).status == 200


@pytest.mark.parametrize("service", ["direct", "egress"])
@pytest.mark.parametrize("kind", ["expired", "wrongname", "selfsigned"])
def test_certificates_are_checked(world: World, service: str, kind: str) -> None:
    before = world.reached()
    answer = world.read(f"https://{kind}.hostile.example/a.png", service)
    refused(answer, "source_failed")
    assert "TLS" in answer.problem["detail"]
    assert world.news(before) == []


def test_an_upload_goes_nowhere_inside_either(world: World) -> None:
    """G-5: outputs are addresses, too."""
    before = world.reached()
    for url in (*INNER[:18], f"http://{name_for('127.0.0.1')}/", f"http://{name_for(mode='inside')}/"):
        answer = world.read(url, script="http://good.example/put.ms")
        assert 400 <= answer.status < 500, (url, answer.body)
    assert world.news(before) == []
    redirected = world.read(
        "http://good.example/to?307=http%253A%252F%252F10.0.0.1%252F", script="http://good.example/put.ms"
    )
    refused(redirected, "target_failed")
    assert len(world.news(before)) == 1


# -- an operator's lists ----------------------------------------------------------------------------------------------

ON_LISTS = [
    # url, allowed
    ("http://good.example/a.png", True),
    (f"http://{name_for(str(GOOD))}/a.png", True),
    ("http://10.1.2.3:81/a.png", True),  # allowed: inner address and odd port
    ("http://[fd00::5]/a.png", True),
    ("http://any.store.example/a.png", True),
    (f"http://{name_for('10.1.2.3')}:81/a.png", True),
    ("http://93.184.217.7/a.png", True),
    ("http://10.1.2.3/a.png", False),  # only that port
    ("http://10.1.2.3:8080/a.png", False),
    ("http://10.9.9.9/a.png", False),  # `only` does not make it public
    ("http://bad.store.example/a.png", False),  # deny beats allow
    ("http://BAD.store.example./a.png", False),
    ("http://x.worse.example/a.png", False),
    ("http://other.example/a.png", False),  # not on `only`
    ("http://8.8.8.8/a.png", False),
    ("http://93.184.216.99/a.png", False),
    ("http://[::ffff:93.184.216.99]/a.png", False),
    ("http://[64:ff9b::5db8:d863]/a.png", False),
    ("http://[2606:4700::1111]/a.png", False),
    (f"http://{name_for('93.184.216.99')}/a.png", False),  # a denied address behind an allowed name
    (f"http://{name_for(str(GOOD), '93.184.216.99')}/a.png", False),
    (f"http://{name_for('93.184.216.99', mode='cname')}/a.png", False),
    (f"http://{name_for('10.1.2.4')}:81/a.png", False),
    (f"http://{name_for('10.1.2.3', '10.1.2.5')}:81/a.png", False),
    ("http://good.example:81/a.png", False),
    ("http://10.1.2.3:81@8.8.8.8/a.png", False),
    ("http://good.example.evil.org/a.png", False),
    ("http://store.example/a.png", False),  # the suffix rule is for names below it
    ("http://evilstore.example/a.png", False),
    ("http://good.example/to?302=http%253A%252F%252Fother.example%252Fa.png", False),
    ("http://good.example/to?302=http%253A%252F%252F93.184.216.99%252Fa.png", False),
    ("http://good.example/to?302=http%253A%252F%252F10.1.2.3%253A81%252Fa.png", True),
]


@pytest.mark.parametrize(("url", "allowed"), ON_LISTS, ids=[url for url, _ in ON_LISTS])
def test_allow_and_deny_lists_hold_against_detours(world: World, url: str, allowed: bool) -> None:
    """ALLOW, DENY and ONLY of the operator: by name, suffix, network and port, through names, aliases and redirects."""
    before = world.reached()
    answer = world.read(url, "lists")
    news = world.news(before)
    if allowed:
        assert answer.status == 200, answer.body
    else:
        refused(answer, "source_refused")
        assert all(" /to?" in line for line in news)


def test_content_that_changes_is_fetched_once_a_request(world: World) -> None:
    """Two loads of one address in one request: whatever each was given, the answer is one of the two pictures."""
    seen = {world.read("http://good.example/changing").body for _ in range(4)}
    assert len(seen) == 2

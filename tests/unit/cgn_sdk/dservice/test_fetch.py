"""Safe fetching against hostile resolvers and servers (G-5)."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from cgn_sdk.dservice.addresses import PUBLIC_ONLY, AddressPolicy, parse_rules
from cgn_sdk.dservice.fetch import Fetcher, FetchLimits, shown
from cgn_sdk.dservice.problems import Problem

Reply = Callable[[bytes, asyncio.StreamWriter], None]


class Canary:
    """A server on loopback that must not be reached unless it is allowed; counts connections and keeps requests."""

    def __init__(self) -> None:
        self.connections = 0
        self.requests: list[bytes] = []
        self.reply: Reply = lambda head, writer: writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                self.requests.append(head)
                self.reply(head, writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@pytest.fixture
async def canary() -> AsyncIterator[tuple[Canary, int]]:
    made = Canary()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    yield made, server.sockets[0].getsockname()[1]
    server.close()


def answering(*answers: list[str]):
    """A resolver that gives each list once, then the last one for ever."""
    remaining = list(answers)

    async def resolve(host: str, port: int) -> list[str]:
        return remaining.pop(0) if len(remaining) > 1 else remaining[0]

    return resolve


async def refused(fetcher: Fetcher, url: str) -> Problem:
    with pytest.raises(Problem) as problem:
        await fetcher.get(url)
    await fetcher.close()
    return problem.value


INWARD = [
    ["127.0.0.1"],
    ["::1"],
    ["::ffff:127.0.0.1"],
    ["10.0.0.1"],
    ["169.254.169.254"],
    ["fd00::1"],
    ["64:ff9b::7f00:1"],
    ["2002:7f00:1::"],
    ["0.0.0.0"],
    ["::"],
    ["93.184.216.34", "127.0.0.1"],
    ["127.0.0.1", "93.184.216.34"],
    ["2606:4700::1", "::1"],
    ["100.64.0.1"],
    ["192.0.0.1"],
    ["224.0.0.1"],
    ["255.255.255.255"],
]


@pytest.mark.parametrize("answer", INWARD, ids="+".join)
async def test_no_answer_of_a_resolver_leads_inside(canary, answer):
    """Every A and AAAA is checked; one bad one refuses the name. The canary is never connected to."""
    made, port = canary
    policy = AddressPolicy(ports=frozenset({port}))
    problem = await refused(Fetcher(policy, resolve=answering(answer)), f"http://evil.example:{port}/")
    assert (problem.status, problem.code) == (403, "source_refused")
    assert made.connections == 0


async def test_rebinding_wins_nothing(canary):
    """The resolver is asked once a connection and the answer used is the answer checked."""
    made, port = canary
    asked = []

    async def resolve(host: str, wanted: int) -> list[str]:
        asked.append(host)
        return ["192.0.2.1"] if len(asked) % 2 else ["127.0.0.1"]

    for _ in range(20):
        fetcher = Fetcher(
            AddressPolicy(ports=frozenset({port})), FetchLimits(connect_s=0.05, total_s=0.1), resolve=resolve
        )
        problem = await refused(fetcher, f"http://rebind.example:{port}/")
        assert problem.status == 403
    assert made.connections == 0
    assert len(asked) == 20


async def test_the_connection_goes_to_the_checked_address_with_the_name_as_host(canary):
    made, port = canary
    policy = AddressPolicy(allow=parse_rules(f"store.example:{port}"))
    fetcher = Fetcher(policy, resolve=answering(["127.0.0.1"]))
    got = await fetcher.get(f"http://store.example:{port}/a%20b?sig=x%2By")
    assert got.body == b"ok"
    head = made.requests[0].decode()
    assert head.startswith("GET /a%20b?sig=x%2By HTTP/1.1\r\n")
    assert f"Host: store.example:{port}" in head
    assert "Cookie" not in head
    assert "Authorization" not in head
    await fetcher.close()


def _redirect(*targets: str) -> Reply:
    remaining = list(targets)

    def reply(head: bytes, writer: asyncio.StreamWriter) -> None:
        target = remaining.pop(0) if remaining else None
        if target is None:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        else:
            writer.write(f"HTTP/1.1 302 Found\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n".encode())

    return reply


@pytest.mark.parametrize(
    "target",
    [
        "http://127.0.0.2/",
        "http://10.0.0.1/",
        "http://[::1]/",
        "file:///etc/passwd",
        "gopher://127.0.0.1/",
        "ftp://example.org/",
        "http://0x7f.1/",
        "//169.254.169.254/",
        "http://user:pw@example.org/",
        "http://example.org:22/",
        "http://localhost/",
    ],
)
async def test_redirects_repeat_the_whole_check(canary, target):
    made, port = canary
    made.reply = _redirect(target)
    policy = AddressPolicy(allow=parse_rules(f"127.0.0.1:{port}"))
    problem = await refused(Fetcher(policy, resolve=answering(["127.0.0.1"])), f"http://127.0.0.1:{port}/")
    assert (problem.status, problem.code) == (403, "source_refused")
    assert made.connections == 1


async def test_three_redirects_pass_and_four_do_not(canary):
    made, port = canary
    policy = AddressPolicy(allow=parse_rules(f"127.0.0.1:{port}"))
    made.reply = _redirect("/b", "/c", "/d")
    fetcher = Fetcher(policy)
    assert (await fetcher.get(f"http://127.0.0.1:{port}/a")).body == b"ok"
    made.reply = _redirect("/b", "/c", "/d", "/e")
    assert (await refused(fetcher, f"http://127.0.0.1:{port}/a")).code == "source_failed"


def _raw(data: bytes) -> Reply:
    def reply(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        writer.close()

    return reply


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", 404, "source_missing"),
        (b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n", 404, "source_missing"),
        (b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n", 424, "source_failed"),
        (b"HTTP/1.1 206 Part\r\nContent-Length: 1\r\n\r\nx", 424, "source_failed"),
        (b"HTTP/1.1 304 Same\r\n\r\n", 424, "source_failed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2147483648\r\n\r\n", 413, "source_too_large"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 5000, 413, "source_too_large"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nxx", 424, "source_failed"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 40_000 + b"\r\n\r\n", 424, "source_failed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", 424, "source_failed"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 424, "source_failed"),
        (b"garbage\r\n\r\n", 424, "source_failed"),
        (b"", 424, "source_failed"),
    ],
)
async def test_bad_answers_become_one_problem(canary, data, status, code):
    made, port = canary
    made.reply = _raw(data)
    policy = AddressPolicy(allow=parse_rules(f"127.0.0.1:{port}"))
    problem = await refused(Fetcher(policy, FetchLimits(max_bytes=4096)), f"http://127.0.0.1:{port}/x?sig=secret")
    assert (problem.status, problem.code) == (status, code)
    assert "secret" not in problem.detail


async def test_a_sink_takes_the_body_as_it_comes_and_repeated_fields_are_one_list(canary):
    made, port = canary
    made.reply = _raw(b"HTTP/1.1 200 OK\r\nCache-Control: public\r\nCache-Control: no-store\r\n\r\n" + b"x" * 3000)
    fetcher = Fetcher(AddressPolicy(allow=parse_rules(f"127.0.0.1:{port}")), FetchLimits(max_bytes=4096))
    parts: list[bytes] = []
    answer = await fetcher.get(f"http://127.0.0.1:{port}/", sink=parts.append)
    assert (answer.body, b"".join(parts)) == (b"", b"x" * 3000)
    assert answer.headers["cache-control"] == "public, no-store"
    await fetcher.close()


async def test_slow_sources_are_given_up(canary):
    made, port = canary
    made.reply = lambda head, writer: writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
    policy = AddressPolicy(allow=parse_rules(f"127.0.0.1:{port}"))
    problem = await refused(Fetcher(policy, FetchLimits(idle_s=0.1)), f"http://127.0.0.1:{port}/")
    assert (problem.status, problem.code) == (424, "source_timeout")
    problem = await refused(Fetcher(policy, FetchLimits(total_s=0.1)), f"http://127.0.0.1:{port}/")
    assert problem.code == "source_timeout"


async def test_nothing_listens_there(free_port):
    port = free_port()
    policy = AddressPolicy(allow=parse_rules(f"127.0.0.1:{port}"))
    assert (await refused(Fetcher(policy), f"http://127.0.0.1:{port}/")).status == 424


async def test_a_tls_error_is_a_problem():
    async def garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"this is not TLS, whatever was said")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(garbage, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    policy = AddressPolicy(allow=parse_rules(f"127.0.0.1:{port}"))
    problem = await refused(Fetcher(policy, tls=ssl.create_default_context()), f"https://127.0.0.1:{port}/")
    assert (problem.status, problem.code) == (424, "source_failed")
    server.close()


async def test_a_failing_resolver_is_a_problem():
    async def resolve(host: str, port: int) -> list[str]:
        raise socket.gaierror(-2, "Name or service not known")

    problem = await refused(Fetcher(PUBLIC_ONLY, resolve=resolve), "http://nowhere.example/")
    assert (problem.status, problem.code) == (424, "source_failed")


async def test_environment_proxies_are_not_used(canary, monkeypatch):
    made, port = canary
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
    fetcher = Fetcher(resolve=answering(["127.0.0.1"]))
    assert (await refused(fetcher, "http://example.org/")).status == 403
    assert made.connections == 0


async def test_with_an_egress_proxy_everything_goes_through_it(tmp_path: Path):
    """S-2: absolute-form over the UNIX socket; its refusal is a refusal; names are resolved on its side."""
    made = Canary()
    path = str(tmp_path / "egress")
    server = await asyncio.start_unix_server(made.serve, path)
    fetcher = Fetcher(egress=path, resolve=answering(["127.0.0.1"]))
    assert (await fetcher.get("http://example.org/pic.jpg?a=1")).body == b"ok"
    assert made.requests[0].startswith(b"GET http://example.org/pic.jpg?a=1 HTTP/1.1\r\n")
    made.reply = lambda head, writer: writer.write(
        b"HTTP/1.1 403 Forbidden\r\nCGN-Egress: refused\r\nContent-Length: 0\r\n\r\n"
    )
    with pytest.raises(Problem) as refusal:
        await fetcher.get("http://inside.example/")
    assert refusal.value.status == 403
    with pytest.raises(Problem) as refusal:
        await fetcher.get("https://inside.example/")
    assert made.requests[-1].startswith(b"CONNECT inside.example:443 HTTP/1.1\r\n")
    assert refusal.value.status == 403
    before = len(made.requests)
    with pytest.raises(Problem):
        await fetcher.get("http://127.0.0.1/")
    assert len(made.requests) == before
    await fetcher.close()
    server.close()


TARGETS = [
    "/a//b/./c/../d?X-Amz-Signature=ab%2Bcd%2fEF&x=1+2&y=a%20b&x=2&empty=&bare&=&z=%C3%A4~'()*!;,:@",
    "/%7Euser/~user/%2e%2e/x%25y?sig=Zm9v%3D%3D&sp=rw&se=2026-11-21T12%3A00%3A00Z",
    "/b?a=%zz&b=%&c=[]{}|^`&d=/?/..//",
    "/?list-type=2&prefix=a/b",
]


@pytest.mark.parametrize("target", TARGETS)
async def test_what_was_signed_is_sent_byte_for_byte(canary, target):
    """G-5: a signature covers path and query as they are written, so nothing is normalised, for GET and PUT."""
    made, port = canary
    fetcher = Fetcher(AddressPolicy(allow=parse_rules(f"127.0.0.1:{port}")))
    await fetcher.get(f"http://127.0.0.1:{port}{target}")
    await fetcher.put(f"http://127.0.0.1:{port}{target}", b"", "image/png", headers={"x-ms-blob-type": "BlockBlob"})
    await fetcher.close()
    assert made.requests[0].split(b"\r\n")[0].decode() == f"GET {target} HTTP/1.1"
    assert made.requests[1].split(b"\r\n")[0].decode() == f"PUT {target} HTTP/1.1"
    assert b"\r\nx-ms-blob-type: BlockBlob\r\n" in made.requests[1]
    assert b"\r\nContent-Type: image/png\r\n" in made.requests[1]


S3_REFUSAL = b"<?xml version='1.0'?><Error><Code>SignatureDoesNotMatch</Code><Message>secret detail</Message></Error>"
UPLOADS = [
    # answer of the store (None: hangs up), code, stored, upstream status, upstream code
    (None, "target_failed", "unknown", None, None),
    (b"HTTP/1.1 20", "target_failed", "unknown", None, None),
    (b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", "target_failed", "unknown", 500, None),
    (b"HTTP/1.1 307 There\r\nLocation: http://8.8.8.8/\r\nContent-Length: 0\r\n\r\n", "target_failed", "no", 307, None),
    (
        b"HTTP/1.1 403 No\r\nContent-Type: application/xml\r\nContent-Length: %d\r\n\r\n%b"
        % (len(S3_REFUSAL), S3_REFUSAL),
        "target_failed",
        "no",
        403,
        "SignatureDoesNotMatch",
    ),
    (
        b"HTTP/1.1 403 No\r\nx-ms-error-code: AuthenticationFailed\r\nContent-Length: 0\r\n\r\n",
        "target_failed",
        "no",
        403,
        "AuthenticationFailed",
    ),
    (b"HTTP/1.1 403 No\r\nContent-Length: 900\r\n\r\n", "target_failed", "no", 403, None),
    (b"HTTP/1.1 403 No\r\nx-ms-error-code: <script>\r\nContent-Length: 0\r\n\r\n", "target_failed", "no", 403, None),
]


@pytest.mark.parametrize(("answer", "code", "stored", "status", "upstream"), UPLOADS)
async def test_an_upload_is_sent_once_and_a_lost_answer_is_unknown(canary, answer, code, stored, status, upstream):
    """A time-out or a lost answer is unknown, not failed, and never repeated: the problem says so."""
    made, port = canary
    made.reply = _raw(answer or b"")
    fetcher = Fetcher(AddressPolicy(allow=parse_rules(f"127.0.0.1:{port}")))
    with pytest.raises(Problem) as raised:
        await fetcher.put(f"http://127.0.0.1:{port}/x?sig=hidden", b"", "image/png")
    problem = raised.value
    assert (problem.status, problem.code, problem.facts["stored"]) == (424, code, stored)
    assert (problem.facts.get("upstream_status"), problem.facts.get("upstream_code")) == (status, upstream)
    assert len(made.requests) == 1
    assert "hidden" not in str(problem.document()) and "secret" not in str(problem.document())
    await fetcher.close()


async def test_an_upload_on_a_connection_that_was_used_before_is_not_repeated_either(canary):
    made, port = canary
    fetcher = Fetcher(AddressPolicy(allow=parse_rules(f"127.0.0.1:{port}")))
    assert await fetcher.put(f"http://127.0.0.1:{port}/1", b"", "image/png") == 200
    made.reply = _raw(b"")
    with pytest.raises(Problem):
        await fetcher.put(f"http://127.0.0.1:{port}/2", b"", "image/png")
    assert [head.split(b" ")[1] for head in made.requests] == [b"/1", b"/2"]
    await fetcher.close()


async def test_uploads_that_time_out_or_never_begin_say_so(canary, free_port):
    made, port = canary
    nobody = free_port()
    made.reply = lambda head, writer: None
    policy = AddressPolicy(allow=parse_rules(f"127.0.0.1:{port} 127.0.0.1:{nobody}"))
    fetcher = Fetcher(policy, FetchLimits(idle_s=0.2))
    for url, code, stored in (
        (f"http://127.0.0.1:{port}/x", "target_timeout", "unknown"),
        (f"http://127.0.0.1:{nobody}/x", "target_failed", "no"),
        ("http://127.0.0.2/x", "target_refused", "no"),
    ):
        with pytest.raises(Problem) as raised:
            await fetcher.put(url, b"", "image/png")
        assert (raised.value.code, raised.value.facts["stored"]) == (code, stored)
    await fetcher.close()


def test_urls_are_shown_without_what_is_secret():
    assert shown("https://user:pw@x.org/a?sig=1#f") == "https://x.org/a"
    assert shown("http://x.org/\n\x1b[31m") == "http://x.org/??[31m"
    assert len(shown("http://x.org/" + "y" * 500)) == 200

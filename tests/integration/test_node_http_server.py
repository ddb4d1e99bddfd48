"""The node's HTTP server over real sockets: order, refusals, deadlines, slow and hostile peers (N-6; ASVS 4.2)."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from cgn_sdk.turns import Turns

from cgn_node import limits
from cgn_node.http_server import Exchange, HttpListener

CRLF = b"\r\n"


def get(path: str, *lines: str, method: str = "GET", version: str = "1.1", body: bytes = b"") -> bytes:
    text = CRLF.join(line.encode() for line in (f"{method} {path} HTTP/{version}", "Host: h", *lines, "", ""))
    return text + body


class Echo:
    """Answers at once; `/echo` with the whole body, `/stream` in pieces, `/flood` for ever, `/later` when told."""

    def __init__(self) -> None:
        self.lost = 0
        self.served = 0
        self.pieces = 0
        self.waiting: list[Exchange] = []

    def problem(self, status: int, detail: str) -> bytes:
        return json.dumps({"status": status, "detail": detail}).encode()

    def serve(self, exchange: Exchange) -> None:
        self.served += 1
        path = exchange.head.path
        if path == "/large":
            exchange.answer(200, [], b"l" * 65_536)
        elif path.startswith("/stored/"):
            exchange.answer(200, [], [Stored(number) for number in range(int(path[8:]))])
        elif path.startswith("/bare/"):
            exchange.answer_head(200, [], int(path[6:]) if path[6:] else None)
        elif path.startswith("/status/"):
            exchange.answer(int(path[8:]), [], b"dropped")
        elif path == "/echo":
            exchange.take_body(Collect(self, exchange))
        elif path == "/stream":
            exchange.start(200, [], None)
            exchange.write(b"a" * 10)
            exchange.write(b"b" * 10)
            exchange.end()
        elif path == "/flood":
            exchange.take_body(Flood(exchange))
        elif path == "/later":
            exchange.take_body(Collect(self, exchange, answers=False))
            self.waiting.append(exchange)
        elif path == "/vouched":
            exchange.vouch()
            exchange.answer(200, [], b"now")
        elif path == "/early":
            exchange.take_body(Collect(self, exchange, answers=False))
            exchange.answer(200, [], [Stored(101)] * 500)
        elif path == "/locked":
            exchange.refuse(401, self.problem(401, "no"))
        else:
            exchange.answer(200, [("X-Path", path)], b"now")


class Collect:
    def __init__(self, echo: Echo, exchange: Exchange, answers: bool = True) -> None:
        self.echo, self.exchange, self.answers, self.got = echo, exchange, answers, b""

    def body_received(self, data: bytes) -> None:
        self.got += data
        self.echo.pieces += 1

    def body_ended(self) -> None:
        if self.answers:
            self.exchange.answer(200, [], self.got)

    def peer_lost(self) -> None:
        self.echo.lost += 1

    def writable(self) -> None: ...


class Flood:
    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        exchange.start(200, [], 1 << 30)

    def body_received(self, data: bytes) -> None: ...

    def body_ended(self) -> None:
        self.writable()

    def peer_lost(self) -> None: ...

    def writable(self) -> None:
        while self.exchange.open and self.exchange.write(b"x" * 65_536):
            pass


@asynccontextmanager
async def serving(**settings: Any) -> AsyncIterator[tuple[HttpListener, Echo, int]]:
    echo = Echo()
    listener = HttpListener(echo, tls=None, **settings)
    port = await listener.start("127.0.0.1", 0)
    try:
        yield listener, echo, port
    finally:
        await listener.close()
        await asyncio.sleep(0)


async def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


async def talk(port: int, data: bytes, *, pieces: int = 1, timeout: float = 5) -> bytes:
    """Sends, and returns all bytes until the server closes (or the time is over)."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    size = max(1, -(-len(data) // pieces))
    for at in range(0, len(data), size):
        writer.write(data[at : at + size])
        await asyncio.sleep(0)
    got = b""
    try:
        async with asyncio.timeout(timeout):
            while piece := await reader.read(65_536):
                got += piece
    except (TimeoutError, ConnectionResetError):
        pass
    writer.close()
    return got


CLOSE = "Connection: close"


async def test_answers_come_in_order_and_the_connection_is_kept() -> None:
    async with serving() as (_, _, port):
        last = get("/echo", CLOSE, "Content-Length: 3", method="POST", body=b"abcJUNK")
        got = await talk(port, get("/0") + get("/1") + get("/2") + last)
        assert [line[-1:] for line in got.split(CRLF) if line.startswith(b"X-Path")] == [b"0", b"1", b"2"]
        assert got.endswith(b"\r\n\r\nabc")
        assert got.count(b"HTTP/1.1 200 OK") == 4


@pytest.mark.parametrize("pieces", [1, 7, 400])
async def test_any_slicing_reads_alike(pieces: int) -> None:
    body = b"3\r\nabc\r\n5;e=1\r\ndefgh\r\n0\r\nT: x\r\n\r\n"
    async with serving() as (_, _, port):
        wire = get("/echo", "Transfer-Encoding: chunked", method="POST", body=body) + get("/last", CLOSE)
        got = await talk(port, wire, pieces=pieces)
        assert b"\r\n\r\nabcdefghHTTP/1.1 200 OK\r\nX-Path: /last" in got


async def test_a_streamed_answer_is_chunked_or_ends_with_the_connection() -> None:
    async with serving() as (_, _, port):
        got = await talk(port, get("/stream", CLOSE))
        assert b"Transfer-Encoding: chunked" in got
        assert got.endswith(b"a\r\naaaaaaaaaa\r\na\r\nbbbbbbbbbb\r\n0\r\n\r\n")
        got = await talk(port, get("/stream", version="1.0"))
        assert got.endswith(b"\r\n\r\n" + b"a" * 10 + b"b" * 10)
        got = await talk(port, get("/x", CLOSE, method="HEAD"))
        assert b"Content-Length: 3" in got
        assert got.endswith(b"\r\n\r\n")


async def test_an_answer_to_head_ends_with_its_head() -> None:
    """RFC 9110 8.6 and 9.3.2: the length is what GET would send, if anybody knows it, and not a byte of it follows."""
    async with serving() as (_, _, port):
        got = await talk(port, get("/bare/5000", method="HEAD") + get("/bare/", method="HEAD") + get("/x", CLOSE))
        first, second, third = got.split(b"HTTP/1.1 200 OK\r\n")[1:]
        assert b"Content-Length: 5000\r\n" in first
        assert b"Content-Length" not in second
        assert b"Transfer-Encoding" not in second
        assert third.endswith(b"now")
        got = await talk(port, get("/stream", method="HEAD") + get("/x", CLOSE))
        assert b"aaaa" not in got
        assert got.endswith(b"now")


async def test_statuses_without_content_have_none() -> None:
    """204 and 304 say no length, 205 says 0 (RFC 9110 15.3.6): whatever the endpoint gave as the body."""
    async with serving() as (_, _, port):
        got = await talk(port, get("/status/204") + get("/status/304") + get("/status/205") + get("/x", CLOSE))
        heads = got.split(b"HTTP/1.1 ")[1:]
        assert [head[:3] for head in heads] == [b"204", b"304", b"205", b"200"]
        assert [b"Content-Length: " in head for head in heads] == [False, False, True, True]
        assert b"Content-Length: 0\r\n" in heads[2]
        assert b"dropped" not in got


async def test_http_1_0_is_kept_when_both_say_so() -> None:
    """RFC 9112 9.3: the server confirms."""
    async with serving() as (_, _, port):
        got = await talk(port, get("/a", "Connection: keep-alive", version="1.0") + get("/b", version="1.0"))
        assert got.count(b"Connection: keep-alive\r\n") == 1
        assert got.count(b"Connection: close\r\n") == 1
        assert got.count(b"X-Path") == 2


async def test_a_401_leaves_before_the_body_is_read() -> None:
    """N-5: invalid sessions are answered at once, and the refusal is not lost to the unread body."""
    async with serving() as (_, _, port):
        got = await talk(port, get("/locked", "Content-Length: 1000000", method="POST", body=b"x" * 100_000))
        assert got.startswith(b"HTTP/1.1 401 ")
        assert b"Connection: close" in got
        got = await talk(port, get("/locked", "Expect: 100-continue", "Content-Length: 9", method="POST"))
        assert got.startswith(b"HTTP/1.1 401 ")


async def test_100_continue_is_said_when_the_body_is_wanted() -> None:
    async with serving() as (_, _, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(get("/echo", "Expect: 100-continue", "Content-Length: 2", method="POST"))
        assert await reader.readexactly(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"ok")
        assert (await reader.readuntil(b"\r\n\r\nok")).startswith(b"HTTP/1.1 200 OK")
        writer.close()


def chunked(body: bytes, *lines: str) -> bytes:
    return get("/echo", "Transfer-Encoding: chunked", *lines, method="POST", body=body)


def sized(length: str, *lines: str) -> bytes:
    return get("/echo", f"Content-Length: {length}", *lines, method="POST", body=b"ab")


SMUGGLING = {
    "CL.TE": sized("6", "Transfer-Encoding: chunked") + b"0\r\n\r\nG",
    "TE.CL": chunked(b"8\r\nSMUGGLED\r\n0\r\n\r\n", "Content-Length: 3"),
    "TE.TE": chunked(b"0\r\n\r\n", "Transfer-Encoding: x"),
    "TE space": get("/echo", "Transfer-Encoding : chunked", method="POST", body=b"0\r\n\r\n"),
    "TE control": get("/echo", "Transfer-Encoding:\x0bchunked", method="POST", body=b"0\r\n\r\n"),
    "two lengths": sized("1", "Content-Length: 2"),
    "plus": sized("+1"),
    "hex": sized("0x1"),
    "bare LF head": b"GET /now HTTP/1.1\nHost: h\n\n",
    "bare LF line": b"GET /now HTTP/1.1\r\nHost: h\nX: y\r\n\r\n",
    "bare CR": b"GET /now HTTP/1.1\r\nHost: h\rX: y\r\n\r\n",
    "obs-fold": get("/now", "X: a", " b"),
    "NUL": get("/now", "X: a\0b"),
    "chunk LF": chunked(b"1\na\r\n0\r\n\r\n"),
    "chunk extension LF": chunked(b"1;a\nb\r\na\r\n0\r\n\r\n"),
    "chunk overrun": chunked(b"1\r\nab\r\n0\r\n\r\n"),
    "h2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\n",
}


@pytest.mark.parametrize("form", SMUGGLING)
async def test_smuggling_forms_are_refused_and_the_connection_ends(form: str) -> None:
    """N-6. What follows the refused request on the connection is never served."""
    async with serving() as (listener, _, port):
        got = await talk(port, SMUGGLING[form] + get("/smuggled"))
        status = int(got.split(b" ", 2)[1])
        assert status in (400, 501, 505), got
        assert b"application/problem+json" in got
        assert b"Connection: close" in got
        assert b"X-Path: /smuggled" not in got
        assert listener.counters[f"refused {status}"] == 1


@pytest.mark.parametrize(
    ("wire", "status"),
    [
        (get("/" + "a" * limits.TARGET_MAX_BYTES), 414),
        (get("/", "X: " + "a" * limits.HEAD_MAX_BYTES), 431),
        (get("/", *["a: b"] * 101), 431),
        (sized("2147483649"), 413),
        (sized("1", "Expect: x"), 417),
    ],
)
async def test_bounds_say_which_one(wire: bytes, status: int) -> None:
    async with serving() as (_, _, port):
        got = await talk(port, wire)
        assert int(got.split(b" ", 2)[1]) == status
        assert json.loads(got.split(b"\r\n\r\n", 1)[1])["detail"]


async def test_slowloris_is_cut_off_with_408() -> None:
    """N-6; a header deadline is our job, and a byte now and then does not renew it."""

    async def drip(port: int) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for byte in get("/", "X: " + "y" * 400):  # eight seconds
            if writer.is_closing() or reader._buffer:  # type: ignore[attr-defined]
                break
            writer.write(bytes([byte]))
            await asyncio.sleep(0.02)
        got = b""
        with suppress(ConnectionError):
            got = await reader.read()
        writer.close()
        return got

    async with serving(head_deadline_s=0.5) as (listener, _, port):
        answers = await asyncio.gather(*(drip(port) for _ in range(50)))
        assert all(answer.startswith(b"HTTP/1.1 408 ") for answer in answers)
        assert listener.counters["refused 408"] == 50


async def test_a_body_that_comes_too_slowly_is_cut_off_with_408() -> None:
    async with serving(progress_window_s=0.5) as (_, echo, port):
        got = await talk(port, sized("1000"), timeout=6)
        assert got.startswith(b"HTTP/1.1 408 ")
        assert echo.lost == 1


async def test_an_idle_connection_is_closed_in_silence() -> None:
    async with serving(idle_s=0.5) as (_, _, port):
        assert (await talk(port, get("/x"))).endswith(b"now")
        assert await talk(port, b"") == b""


async def test_a_reader_that_never_reads_costs_one_buffer_and_is_cut_off() -> None:
    async with serving(progress_window_s=1) as (listener, _, port):
        _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(get("/flood"))
        await asyncio.sleep(0.3)
        (connection,) = listener._connections
        assert connection._transport is not None
        assert connection._transport.get_write_buffer_size() <= 2 * limits.WRITE_BUFFER_HIGH_BYTES
        for _ in range(60):
            if listener.counters["slow readers cut"]:
                break
            await asyncio.sleep(0.1)
        assert listener.counters["slow readers cut"] == 1
        writer.close()


async def test_a_client_that_leaves_is_noticed() -> None:
    """N-17: also when it sent its whole request and waits."""
    async with serving() as (listener, echo, port):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(get("/later"))
        await asyncio.sleep(0.05)
        writer.close()
        await asyncio.sleep(0.05)
        assert echo.lost == 1
        echo.waiting[0].answer(200, [], b"too late")  # changes nothing
        assert listener.connection_count == 0


async def test_bytes_behind_an_open_request_are_bounded() -> None:
    async with serving() as (listener, _, port):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(get("/later") + b"x" * 8_000_000)
        await asyncio.sleep(0.2)
        (connection,) = listener._connections
        assert len(connection._buffer) < 1_000_000
        writer.transport.abort()


async def largest_step(count: Callable[[], int], done: Callable[[], bool]) -> int:
    """By how much `count` grew within one turn of the loop, at most."""
    largest, last = 0, count()
    async with asyncio.timeout(30):
        while not done():
            await asyncio.sleep(0)
            largest, last = max(largest, count() - last), count()
    return largest


async def test_pipelined_requests_are_served_in_turns() -> None:
    """One peer's buffer full of requests takes one portion of each turn of the loop, and order is kept."""
    async with serving(turns=Turns(turn_s=0)) as (_, echo, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 22)
        writer.write(b"".join(get(f"/{number}") for number in range(2_000)))
        assert await largest_step(lambda: echo.served, lambda: echo.served == 2_000) <= 2
        writer.write(get("/last", CLOSE))
        paths = [line[9:] for line in (await reader.read()).split(CRLF) if line.startswith(b"X-Path")]
        assert paths == [b"%d" % number for number in range(2_000)] + [b"last"]
        writer.close()


async def test_many_who_pipeline_share_one_portion_of_a_turn() -> None:
    """The bound is on all peers together: twenty of them take no more of a turn than one."""
    async with serving(turns=Turns(turn_s=0)) as (_, echo, port):
        writers = [(await asyncio.open_connection("127.0.0.1", port))[1] for _ in range(20)]
        for writer in writers:
            writer.write(get("/x") * 50)
        first_ones = len(writers)  # each connection's first request is served as it comes
        largest = await largest_step(lambda: echo.served, lambda: echo.served == 1_000)
        assert largest <= first_ones + 1
        for writer in writers:
            writer.close()


async def test_tiny_chunks_reach_the_taker_in_few_pieces_and_in_turns() -> None:
    async with serving(turns=Turns(turn_s=0)) as (_, echo, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        count = 50_000
        writer.write(chunked(b"1\r\nx\r\n" * count + b"0\r\n\r\n", CLOSE))
        ended = asyncio.ensure_future(reader.read())
        assert await largest_step(lambda: echo.pieces, ended.done) <= 2
        assert (await ended).endswith(b"\r\n\r\n" + b"x" * count)
        assert echo.pieces <= 4 * count // limits.CHUNK_LINES_AT_ONCE
        writer.close()


async def test_nothing_more_is_served_while_answers_are_not_read() -> None:
    """Answers nobody reads do not pile up; whoever reads again gets all of them."""
    async with serving() as (listener, echo, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(get("/large") * 2_000)
        served = -1
        while served != echo.served:
            served = echo.served
            await asyncio.sleep(0.3)
        assert served < 500  # what the kernels' own buffers take
        for _ in range(100):  # each in a packet of its own
            writer.write(get("/large"))
            await asyncio.sleep(0.005)
        assert echo.served == served
        writer.write(get("/last", CLOSE))
        (connection,) = listener._connections
        assert connection._transport is not None
        assert connection._transport.get_write_buffer_size() <= limits.WRITE_BUFFER_HIGH_BYTES + 66_000
        writer.transport.resume_reading()  # type: ignore[attr-defined]
        got = 0
        while data := await reader.read(1 << 20):
            got += data.count(b"HTTP/1.1 200 OK")
        assert echo.served == 2_101
        writer.close()


class Stored:
    """A piece of an answer that is not in memory."""

    is_here = False
    loads = 0

    def __init__(self, number: int) -> None:
        self.number = number

    def __len__(self) -> int:
        return 32_768

    def load(self) -> bytes:
        Stored.loads += 1
        return bytes([self.number % 256]) * len(self)


async def test_a_long_answer_is_fetched_as_its_reader_takes_it() -> None:
    """What waits for a slow reader stays where it is; what comes behind the answer waits for its last byte."""
    Stored.loads = 0
    async with serving() as (_, echo, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(get("/stored/1000") + get("/x", CLOSE))
        loads = -1
        while loads != Stored.loads:
            loads = Stored.loads
            await asyncio.sleep(0.3)
        assert loads < 500  # what the kernels' own buffers take
        assert echo.served == 1
        writer.transport.resume_reading()  # type: ignore[attr-defined]
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"Content-Length: 32768000\r\n" in head
        for number in range(1_000):
            assert await reader.readexactly(32_768) == bytes([number % 256]) * 32_768
        assert (await reader.read()).endswith(b"now")
        writer.close()


async def test_a_long_answer_before_the_end_of_the_connection_is_whole() -> None:
    async with serving() as (_, _, port):
        got = await talk(port, get("/stored/64", CLOSE))
        assert len(got.split(b"\r\n\r\n", 1)[1]) == 64 * 32_768


async def test_more_connections_than_allowed_are_closed() -> None:
    """Those in the middle of a request stay."""
    async with serving(per_address_max=3) as (listener, echo, port):
        opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        for _, writer in opened:
            writer.write(get("/later"))
        await until(lambda: len(echo.waiting) == 3)
        assert await talk(port, get("/")) == b""
        assert listener.counters["connections refused"] == 1
        for (reader, writer), exchange in zip(opened, echo.waiting, strict=True):
            exchange.answer(200, [], b"then")
            assert (await reader.readuntil(b"then")).startswith(b"HTTP/1.1 200")
            writer.close()
        await until(lambda: listener.connection_count == 0)
        assert (await talk(port, get("/", CLOSE))).startswith(b"HTTP/1.1 200")


async def test_who_waits_makes_room_strangers_first() -> None:
    """A full listener: one in the middle of a request, one that has shown a session, the others have had one answer."""
    async with serving(per_address_max=6) as (listener, echo, port):
        opened = []
        for path in ("/later", "/vouched", "/a", "/b", "/c", "/d"):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(get(path))
            if path != "/later":
                await reader.readuntil(b"now")
            opened.append((reader, writer))
        held = []
        for _ in range(4):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(get("/later"))
            await until(lambda: len(echo.waiting) == len(held) + 2)
            held.append((reader, writer))
        assert [reader.at_eof() for reader, _ in opened] == [False, False, True, True, True, True]
        assert (await talk(port, get("/", CLOSE))).startswith(b"HTTP/1.1 200")
        assert opened[1][0].at_eof()
        assert listener.counters["connections refused"] == 0
        assert listener.counters["connections that gave way"] == 5
        echo.waiting[0].answer(200, [], b"then")
        assert (await opened[0][0].readuntil(b"then")).startswith(b"HTTP/1.1 200")
        for _, writer in opened + held:
            writer.close()


async def test_only_who_has_shown_a_session_may_idle_for_long() -> None:
    async with serving(stranger_idle_s=0.3) as (_, _, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(get("/vouched"))
        await reader.readuntil(b"now")
        stranger = await asyncio.open_connection("127.0.0.1", port)
        stranger[1].write(get("/x"))
        assert (await asyncio.wait_for(stranger[0].read(), 20)).endswith(b"now")  # closed by the server
        stranger[1].close()
        await asyncio.sleep(1)
        writer.write(get("/x", CLOSE))
        assert (await reader.read()).endswith(b"now")
        writer.close()


async def test_a_long_answer_before_the_body_is_whole() -> None:
    """What still comes of the body is dropped; the answer arrives."""
    async with serving() as (listener, _, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(get("/early", "Content-Length: 1000000", method="POST", body=b"x" * 10))
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"Connection: close" in head
        for _ in range(20):
            writer.write(b"x" * 1_000)
            await asyncio.sleep(0.01)
        assert await reader.read() == b"e" * (500 * 32_768)
        writer.close()
        await until(lambda: listener.connection_count == 0)


async def test_the_end_waits_for_readers_and_refuses_bodies_under_way() -> None:
    """Nothing is read of the answer before the listener is told to end."""
    async with serving() as (listener, echo, port):
        slow = await asyncio.open_connection("127.0.0.1", port, limit=1_024)
        slow[1].transport.pause_reading()  # type: ignore[attr-defined]
        slow[1].write(get("/stored/300"))
        body = await asyncio.open_connection("127.0.0.1", port)
        body[1].write(get("/echo", "Content-Length: 10", method="POST", body=b"x"))
        await until(lambda: echo.served == 2)
        listener.stop_accepting()
        finishing = asyncio.create_task(listener.finish())
        refused = await body[0].read()
        assert refused.startswith(b"HTTP/1.1 503 ")
        assert echo.lost == 1
        await asyncio.sleep(0.3)
        assert not finishing.done()
        slow[1].transport.resume_reading()  # type: ignore[attr-defined]
        got = await slow[0].read()
        assert len(got.split(b"\r\n\r\n", 1)[1]) == 300 * 32_768
        await asyncio.wait_for(finishing, 10)
        for _, writer in (slow, body):
            writer.close()


async def test_drain_lets_running_requests_end_and_closes_the_rest() -> None:
    """N-18."""
    async with serving() as (listener, echo, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        idle_reader, idle_writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(get("/later"))
        await asyncio.sleep(0.05)
        listener.stop_accepting()
        assert await idle_reader.read() == b""
        echo.waiting[0].answer(200, [], b"done")
        got = await reader.read()
        assert got.endswith(b"done")
        assert b"Connection: close" in got
        writer.close()
        idle_writer.close()


@pytest.mark.parametrize(("size", "status"), [(limits.HEAD_MAX_BYTES, b"200"), (limits.HEAD_MAX_BYTES + 1, b"431")])
async def test_a_head_is_as_long_as_is_written(size: int, status: bytes) -> None:
    """22,528 bytes with the empty line, not one more."""
    async with serving() as (_, _, port):
        bare = len(get("/", CLOSE, "X: "))
        head = get("/", CLOSE, "X: " + "a" * (size - bare))
        assert len(head) == size
        assert (await talk(port, head))[9:12] == status

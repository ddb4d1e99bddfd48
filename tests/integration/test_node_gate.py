"""What stands between a TCP connect and a protocol: counts from accept on, handshakes, slow and silent peers, descriptors
that run out; over the TLS that is used."""

import asyncio
import errno
import socket
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import node_world
import pytest
from cgn_sdk.turns import Turns
from key_updates import KeyUpdates

from cgn_chassis import accepting
from cgn_chassis.tls import server_context
from cgn_node import limits
from cgn_node.channel import Channel
from cgn_node.gate import Gate, _counted
from cgn_node.places import Standing


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """(a server's, a client's)"""
    chosen, client, _ = node_world.make_settings(tmp_path_factory.mktemp("tls"))
    return server_context((chosen.tls.certificate, chosen.tls.key)), client


Contexts = tuple[ssl.SSLContext, ssl.SSLContext]


class Ends(asyncio.Protocol):
    """Answers every line `n` with n bytes; `close` with the end."""

    def __init__(self, log: list[str]) -> None:
        self.log = log
        self.channel: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.channel = transport
        self.channel.opened()
        self.channel.stand(Standing.BUSY)
        self.log.append("made")

    def data_received(self, data: bytes) -> None:
        for word in data.split():
            if word == b"close":
                self.channel.close()
            else:
                self.channel.write(b"x" * int(word))

    def connection_lost(self, exc: Exception | None) -> None:
        self.log.append("lost")


@asynccontextmanager
async def gate(
    tls: ssl.SSLContext | None, connections_max: int = 100, per_address_max: int = 100, window_s: float = 6
) -> AsyncIterator[tuple[Gate, int, list[str]]]:
    log: list[str] = []
    made = Gate(
        "test",
        tls=tls,
        connections_max=connections_max,
        per_address_max=per_address_max,
        counters=Counter(),
        turns=Turns(),
        progress_window_s=window_s,
        is_proxy=lambda peer: peer == "127.0.0.9",
    )
    port = await made.start("127.0.0.1", 0, lambda: Ends(log))
    try:
        yield made, port, log
    finally:
        await made.wait_closed()
        assert made.connection_count == 0


async def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


def connect(port: int, source: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), 5, (source, 0))


async def is_refused(port: int, source: str = "127.0.0.1") -> bool:
    def ask() -> bool:
        with connect(port, source) as one:
            one.settimeout(0.5)
            try:
                return one.recv(1) == b""
            except ConnectionResetError:
                return True
            except TimeoutError:
                return False

    return await asyncio.to_thread(ask)


async def test_connections_count_from_accept_on(contexts: Contexts) -> None:
    """Nobody has shaken hands; the bound per address and the bound in all hold, by those that give way."""
    async with gate(contexts[0], connections_max=6, per_address_max=2) as (made, port, log):
        held = [connect(port) for _ in range(2)]
        await until(lambda: made.connection_count == 2)
        held += [connect(port), connect(port, "127.0.0.2")]
        await until(lambda: made.counters["connections that gave way"] == 1)
        await until(lambda: made.connection_count == 3)
        held += [connect(port, f"127.0.0.{host}") for host in (3, 9, 9, 9, 5)]  # 9 is a proxy
        await until(lambda: made.counters["connections that gave way"] == 3)
        assert made.connection_count == 6
        assert log == []
        for each in held:
            each.close()
        await until(lambda: made.connection_count == 0)


async def test_who_proves_itself_gets_in_beside_sockets_that_say_nothing(contexts: Contexts) -> None:
    """Strangers who connect again and again from a few addresses and never shake hands: every place is theirs, and none
    stays theirs. Somebody at another address gets in at once; at one of theirs, after some tries."""
    async with gate(contexts[0], connections_max=16, per_address_max=16) as (made, port, log):

        async def hold(source: str) -> None:
            loop = asyncio.get_running_loop()
            while True:
                with socket.socket() as one:
                    one.setblocking(False)
                    one.bind((source, 0))
                    with suppress(OSError):
                        await loop.sock_connect(one, ("127.0.0.1", port))
                        await loop.sock_recv(one, 1)
                await asyncio.sleep(0.02)

        strangers = [asyncio.create_task(hold(f"127.0.0.{host}")) for host in (2, 3, 4) for _ in range(12)]
        await until(lambda: made.counters["connections that gave way"] > 20)
        tries: dict[str, int] = {}
        for source in ("127.0.0.1", "127.0.0.2"):
            for number in range(100):
                with suppress(OSError, asyncio.IncompleteReadError):
                    reader, writer = await asyncio.wait_for(
                        asyncio.open_connection(
                            "127.0.0.1", port, ssl=contexts[1], server_hostname="localhost", local_addr=(source, 0)
                        ),
                        10,
                    )
                    writer.write(b"5 ")
                    assert await asyncio.wait_for(reader.readexactly(5), 10) == b"xxxxx"
                    writer.close()
                    tries[source] = number + 1
                    break
        assert tries.keys() == {"127.0.0.1", "127.0.0.2"}
        assert tries["127.0.0.1"] == 1
        assert "made" in log
        for each in strangers:
            each.cancel()
        await asyncio.gather(*strangers, return_exceptions=True)


@pytest.mark.parametrize("says", [b"", b"\x16\x03\x01\x02\x00\x01\x00"])
async def test_a_handshake_that_does_not_come_is_cut(
    contexts: Contexts, says: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "OPENING_S", 0.2)
    async with gate(contexts[0]) as (made, port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(says)
        assert await asyncio.wait_for(reader.read(), 10) == b""
        assert made.counters["slow openings cut"] == 1
        writer.close()


async def test_what_is_not_tls_ends_with_an_alert(contexts: Contexts) -> None:
    async with gate(contexts[0]) as (made, port, log):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        assert (await asyncio.wait_for(reader.read(7), 10))[:1] in (b"\x15", b"")
        writer.close()
        await until(lambda: made.connection_count == 0)
        assert (made.counters["handshakes failed"], log) == (1, [])


async def test_a_request_right_behind_the_handshake_is_read(contexts: Contexts) -> None:
    """More than a handshake may hold, sent before the server has finished its own side."""
    async with gate(contexts[0]) as (_, port, _):
        reader, writer = await asyncio.open_connection("localhost", port, ssl=contexts[1])
        words = b"1 " * 100_000
        writer.write(words + b"close ")
        assert len(await asyncio.wait_for(reader.read(), 20)) == 100_000
        writer.close()


async def test_a_whole_answer_arrives_before_the_end(contexts: Contexts) -> None:
    """Closing loses nothing that was written, for a reader that takes its time, too."""
    async with gate(contexts[0]) as (_, port, _):

        def read_slowly() -> int:
            with contexts[1].wrap_socket(connect(port), server_hostname="localhost") as one:
                one.sendall(b"3000000 close ")
                size = 0
                while data := one.recv(16_384):
                    size += len(data)
                return size

        assert await asyncio.to_thread(read_slowly) == 3_000_000


@pytest.mark.parametrize("size", [100_000, 3_000_000])
async def test_who_does_not_read_is_cut_over_tls(contexts: Contexts, size: int) -> None:
    """Also when the whole answer left at once and only the kernel still holds some of it."""
    async with gate(contexts[0], window_s=0.5) as (made, port, log):
        bare = socket.socket()
        bare.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        bare.settimeout(5)
        await asyncio.to_thread(bare.connect, ("127.0.0.1", port))
        one = await asyncio.to_thread(contexts[1].wrap_socket, bare, server_hostname="localhost")
        one.sendall(b"%d " % size)
        await until(lambda: "lost" in log)
        assert made.counters["slow readers cut"] == 1
        one.close()


async def test_a_reader_that_keeps_reading_is_not_cut(contexts: Contexts) -> None:
    async with gate(contexts[0], window_s=1.5) as (made, port, _):

        def read_on() -> int:
            with contexts[1].wrap_socket(connect(port), server_hostname="localhost") as one:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
                one.sendall(b"1000000 close ")
                size = 0
                while data := one.recv(4_096):
                    size += len(data)
                    time.sleep(0.015)
                return size

        assert await asyncio.to_thread(read_on) == 1_000_000
        assert made.counters["slow readers cut"] == 0


async def test_closing_does_not_wait_long_for_the_peer(contexts: Contexts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CLOSING_S", 0.1)
    async with gate(contexts[0]) as (made, port, log):
        one = await asyncio.to_thread(contexts[1].wrap_socket, connect(port), server_hostname="localhost")
        one.sendall(b"close ")
        await until(lambda: log == ["made", "lost"])
        assert made.connection_count == 0
        one.close()


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
async def test_no_free_descriptor_pauses_the_listener(
    contexts: Contexts, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It neither spins nor ends anything, and who waited is served afterwards."""
    tried = []

    def accept(self: socket.socket) -> tuple[socket.socket, Any]:
        tried.append(self)
        raise OSError(number, "no descriptor")

    async with gate(contexts[0]) as (made, port, log):
        with monkeypatch.context() as broken:
            broken.setattr(socket.socket, "accept", accept)
            waiting = asyncio.ensure_future(asyncio.open_connection("localhost", port, ssl=contexts[1]))
            await asyncio.sleep(5 * accepting.PAUSE_S)
            assert 1 <= len(tried) <= 10
        _, writer = await asyncio.wait_for(waiting, 10)
        assert log == ["made"]
        assert made.counters["accepts paused"] == len(tried)
        writer.close()


async def test_handshakes_take_turns(contexts: Contexts) -> None:
    """Many hellos at once take a portion of each turn of the loop, not one long one."""
    server = contexts[0]
    log: list[str] = []
    made = Gate(
        "test",
        tls=server,
        connections_max=200,
        per_address_max=200,
        counters=Counter(),
        turns=Turns(turn_s=0),
    )
    port = await made.start("127.0.0.1", 0, lambda: Ends(log))
    shaken: list[int] = []
    original = Channel._shake

    def counted(self: Channel) -> None:
        shaken[-1] += 1
        original(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Channel, "_shake", counted)
        hello = ssl.MemoryBIO()
        with pytest.raises(ssl.SSLWantReadError):
            contexts[1].wrap_bio(ssl.MemoryBIO(), hello, server_hostname="localhost").do_handshake()
        said = hello.read()
        held = [connect(port) for _ in range(50)]
        for each in held:
            each.sendall(said)
        async with asyncio.timeout(20):
            while sum(shaken) < 50:
                shaken.append(0)
                await asyncio.sleep(0)
    assert max(shaken) <= 1
    for each in held:
        each.close()
    await made.wait_closed()


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("::1", "::/64"),
    ],
)
def test_what_counts_as_one_address(address: str, counted: str) -> None:
    assert _counted(address) == counted


async def test_answers_in_memory_have_a_bound_together(contexts: Contexts, monkeypatch: pytest.MonkeyPatch) -> None:
    """Long before their window is over, those who read nothing are cut; who reads is not."""
    monkeypatch.setattr(limits, "OWED_MAX_BYTES", 4_000_000)
    async with gate(contexts[0], window_s=60) as (made, port, log):

        def read_slowly() -> int:
            with contexts[1].wrap_socket(connect(port), server_hostname="localhost") as one:
                one.sendall(b"2000000 close ")
                size = 0
                while data := one.recv(16_384):
                    size += len(data)
                    time.sleep(0.01)
                return size

        reading = asyncio.create_task(asyncio.to_thread(read_slowly))
        held = []
        for _ in range(5):
            bare = socket.socket()
            bare.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            bare.settimeout(5)
            await asyncio.to_thread(bare.connect, ("127.0.0.1", port))
            one = await asyncio.to_thread(contexts[1].wrap_socket, bare, server_hostname="localhost")
            one.sendall(b"3000000 ")
            held.append(one)
        await until(lambda: made.counters["slow readers cut early"] >= 3)
        assert await reading == 2_000_000
        assert made.counters["slow readers cut"] == 0
        for one in held:
            one.close()
        assert log.count("made") == 6


async def test_one_socket_has_its_share_of_a_turn(contexts: Contexts) -> None:
    """A sender that keeps the kernel's buffer full is read once a turn, not until it stops."""
    async with gate(None) as (_, port, _):
        got = [0]

        def data_received(self: Ends, data: bytes) -> None:
            got[0] += len(data)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Ends, "data_received", data_received)
            one = await asyncio.to_thread(connect, port)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
            sending = asyncio.create_task(asyncio.to_thread(one.sendall, bytes(64 << 20)))
            largest, last = 0, 0
            while got[0] < 64 << 20:
                await asyncio.sleep(0)
                largest, last = max(largest, got[0] - last), got[0]
            await sending
            one.close()
        assert largest <= 2 * limits.READ_AT_ONCE_BYTES


@pytest.mark.parametrize("asks_for_one", [False, True])
async def test_key_updates_have_a_bound(contexts: Contexts, asks_for_one: bool) -> None:
    """They are 27 bytes each and cost a derivation of keys: as many as a program may want, but not as many as a socket
    carries."""
    async with gate(contexts[0]) as (made, port, log):

        def flood() -> tuple[bytes, bool]:
            one = KeyUpdates(port)
            one.update(limits.EMPTY_RECORDS_MAX, asks_for_one=asks_for_one)
            one.write(b"5 ")
            answer = one.read()
            one.update(1, asks_for_one=asks_for_one)
            ended = one.read() == b""
            one.close()
            return answer, ended

        assert await asyncio.wait_for(asyncio.to_thread(flood), 20) == (b"xxxxx", True)
        assert made.counters["empty records cut"] == 1
        await until(lambda: log == ["made", "lost"])


async def test_records_of_one_byte_are_read_in_portions(contexts: Contexts) -> None:
    """However little is in each record: everything arrives, in order, and nobody waits for all of it."""
    async with gate(contexts[0]) as (_, port, _):
        portions: list[bytes] = []

        def data_received(self: Ends, data: bytes) -> None:
            portions.append(data)

        sent = bytes(range(256)) * 20

        def send() -> socket.socket:
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            tls = contexts[1].wrap_bio(incoming, outgoing, server_hostname="localhost")
            bare = connect(port)
            while True:
                try:
                    tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    bare.sendall(outgoing.read())
                    incoming.write(bare.recv(65_536))
            for byte in sent:
                tls.write(bytes([byte]))
            bare.sendall(outgoing.read())
            return bare

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Ends, "data_received", data_received)
            bare = await asyncio.to_thread(send)
            await until(lambda: sum(map(len, portions)) == len(sent))
        assert b"".join(portions) == sent
        assert max(map(len, portions)) <= limits.RECORDS_AT_ONCE
        bare.close()

"""A name server that lies, over UDP and TCP: what it answers is written in the name that it is asked for.

Labels in front of any suffix: `4-7f000001` an A record, `6-<32 hexadecimal digits>` an AAAA record, as many as wanted;
and as first label a way to misbehave (`MODES`). So a test states the attack in the URL alone.
"""

from __future__ import annotations

import asyncio
import itertools
import struct
from collections import Counter
from ipaddress import IPv4Address, IPv6Address, ip_address

A, CNAME, AAAA = 1, 5, 28
SUFFIX = "hostile.example"
GOOD = IPv4Address("93.184.216.34")
MODES = [
    "rebind",
    "cname",
    "loop",
    "chain",
    "inside",
    "truncated",
    "tcpdrop",
    "tcpslow",
    "garbage",
    "short",
    "otherid",
    "othername",
    "otherquestion",
    "oversized",
    "slow",
    "never",
    "nx",
    "servfail",
    "refused",
    "empty",
    "many",
    "pointerloop",
    "badlength",
]


def name_for(*addresses: str, mode: str = "") -> str:
    """The name that this server answers with these addresses."""
    labels = [mode] if mode else []
    for text in addresses:
        address = ip_address(text)
        labels.append(f"{address.version}-{address.packed.hex()}")
    # A label has 63 characters, a name 253: seven addresses of version 6 fit.
    return ".".join([*labels, SUFFIX])


def encoded(name: str) -> bytes:
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"


def record(name: bytes, kind: int, data: bytes) -> bytes:
    return name + struct.pack(">HHIH", kind, 1, 0, len(data)) + data  # TTL 0


class HostileDns:
    """`asked` counts questions by (name, kind of record)."""

    def __init__(self) -> None:
        self.asked: Counter[tuple[str, int]] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, host: str, port: int) -> None:
        loop = asyncio.get_running_loop()
        await loop.create_datagram_endpoint(lambda: _Datagrams(self), local_addr=(host, port))
        await asyncio.start_server(self._stream, host, port)

    # -- answers ------------------------------------------------------------------------------------------------------

    def answer(self, query: bytes, *, stream: bool) -> tuple[float, bytes | None]:
        """(delay in seconds, answer or None for silence) to one question."""
        name, kind, question = _question(query)
        self.asked[name, kind] += 1
        mode, _, rest = name.partition(".")
        if mode.partition("-")[0] not in MODES:
            return 0, self._reply(query, question, _records(name, kind))
        honest = self._reply(query, question, _records(rest, kind))
        pointer = b"\xc0\x0c"
        match mode.partition("-")[0]:
            case "rebind":  # the first address once, then the second one for ever
                good, bad, _ = rest.split(".", 2)
                chosen = good if self.asked[name, kind] == 1 else bad
                return 0, self._reply(query, question, _records(chosen + ".x", kind))
            case "cname":
                alias = record(pointer, CNAME, encoded(rest))
                return 0, self._reply(query, question, [alias, *_records(rest, kind, encoded(rest))])
            case "loop":
                return 0, self._reply(query, question, [record(pointer, CNAME, encoded(name))] * 2)
            case "chain":
                names = [name, *(f"link{n}.{rest}" for n in range(30)), rest]
                links = [record(encoded(a), CNAME, encoded(b)) for a, b in itertools.pairwise(names)]
                return 0, self._reply(query, question, [*links, *_records(rest, kind, encoded(rest))])
            case "inside":
                alias = record(pointer, CNAME, encoded("localhost"))
                inner = [record(encoded("localhost"), A, bytes([127, 0, 0, 1]))] if kind == A else []
                return 0, self._reply(query, question, [alias, *inner])
            case "truncated":
                return 0, honest if stream else self._reply(query, question, [], flags=0x8380)
            case "tcpdrop":
                return 0, b"" if stream else self._reply(query, question, [], flags=0x8380)
            case "tcpslow":
                return 0, None if stream else self._reply(query, question, [], flags=0x8380)
            case "garbage":
                return 0, query[:2] + bytes(range(7, 250)) * 2
            case "short":
                return 0, query[:5]
            case "otherid":
                return 0, bytes([query[0] ^ 0xFF, query[1]]) + honest[2:]
            case "othername":
                return 0, self._reply(query, question, [record(encoded("other.example"), A, GOOD.packed)])
            case "otherquestion":
                other = encoded("other.example") + struct.pack(">HH", kind, 1)
                return 0, self._reply(query, other, [record(pointer, A, GOOD.packed)])
            case "oversized":
                return 0, self._reply(query, question, [*_records(rest, kind), record(pointer, 16, bytes(60000))])
            case "slow":
                return 8, honest
            case "never":
                return 0, None
            case "nx" | "servfail" | "refused" as code:
                return 0, self._reply(query, question, [], flags=0x8180 | {"nx": 3, "servfail": 2, "refused": 5}[code])
            case "empty":
                return 0, self._reply(query, question, [])
            case "many":
                count = int(mode.partition("-")[2])
                crowd = [record(pointer, A, (GOOD + n).packed) for n in range(count)] if kind == A else []
                records = crowd + _records(rest, kind)
                if not stream and count > 25:
                    return 0, self._reply(query, question, [], flags=0x8380)
                return 0, self._reply(query, question, records)
            case "pointerloop":
                return 0, self._reply(query, question, [record(b"\xc0" + bytes([12 + len(question)]), A, GOOD.packed)])
            case "badlength":
                return 0, self._reply(query, question, [record(pointer, kind, b"\x7f\0\0")])
        raise AssertionError(mode)

    @staticmethod
    def _reply(query: bytes, question: bytes, records: list[bytes], flags: int = 0x8180) -> bytes:
        return query[:2] + struct.pack(">HHHHH", flags, 1, len(records), 0, 0) + question + b"".join(records)

    # -- transport ----------------------------------------------------------------------------------------------------

    def later(self, delay_s: float, send: object, data: bytes) -> None:
        async def wait() -> None:
            await asyncio.sleep(delay_s)
            send(data)  # type: ignore[operator]

        task = asyncio.ensure_future(wait())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                (length,) = struct.unpack(">H", await reader.readexactly(2))
                delay_s, answer = self.answer(await reader.readexactly(length), stream=True)
                await asyncio.sleep(delay_s)
                if answer is None:
                    await asyncio.sleep(60)
                    return
                if not answer:
                    return
                answer = answer[:65_535]
                writer.write(struct.pack(">H", len(answer)) + answer)
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass
        finally:
            writer.close()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: HostileDns) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        delay_s, answer = self._server.answer(data, stream=False)
        if answer is not None:
            send = self._transport.sendto  # type: ignore[attr-defined]
            self._server.later(delay_s, lambda text: send(text, address), answer)


def _question(query: bytes) -> tuple[str, int, bytes]:
    labels, at = [], 12
    while length := query[at]:
        labels.append(query[at + 1 : at + 1 + length].decode("latin-1"))
        at += 1 + length
    (kind,) = struct.unpack_from(">H", query, at + 1)
    return ".".join(labels).lower(), kind, query[12 : at + 5]


def _records(name: str, kind: int, owner: bytes = b"\xc0\x0c") -> list[bytes]:
    """The records that a name spells out. `known` names have the good address."""
    made = []
    labels = name.split(".")
    for label in labels:
        if kind == A and label.startswith("4-"):
            made.append(record(owner, A, IPv4Address(bytes.fromhex(label[2:])).packed))
        elif kind == AAAA and label.startswith("6-"):
            made.append(record(owner, AAAA, IPv6Address(bytes.fromhex(label[2:])).packed))
    if kind == A and not any(label[:2] in ("4-", "6-") for label in labels):
        made.append(record(owner, A, GOOD.packed))
    return made

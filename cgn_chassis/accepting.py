"""Listening sockets of one port, for processes that strangers can reach: every connect is handed over as a bare socket,
so that it counts before anything is spent on it.

Accepting is done here and not by the event loop's own server for two reasons: a burst of connects takes a bounded part
of a turn, and a process without a free descriptor pauses instead of spinning or failing.
"""

import asyncio
import errno
import socket
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from cgn_chassis import logs

BACKLOG: Final = 1_024
"""Connects that wait in the kernel (which may have a lower bound of its own)."""

AT_ONCE: Final = 32
"""Accepted before everybody else has a turn: about 2 ms."""

PAUSE_S: Final = 0.1
"""How long nothing is accepted when the process or the system has no descriptor left."""

_NO_DESCRIPTOR = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

_log = logs.get("accepting")


class Acceptor:
    """`take` gets each connection and its peer's address; it must not wait, and what it does not want it closes.
    `counters` gets `accepts paused`."""

    def __init__(self, name: str, take: Callable[[socket.socket, str], None], counters: Counter[str]) -> None:
        self._name = name
        self._take = take
        self._counters = counters
        self._sockets: list[socket.socket] = []
        self._timer: asyncio.TimerHandle | None = None

    async def start(self, host: str, port: int) -> int:
        """Listens on every address of the host; returns the port (useful when 0 was asked for)."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, address in dict.fromkeys((each[0], each[4][:2]) for each in found):
            listening = socket.create_server(address, family=family, backlog=BACKLOG)
            listening.setblocking(False)
            self._sockets.append(listening)
        self._listen()
        return int(self._sockets[0].getsockname()[1])

    def close(self) -> None:
        """No new connection."""
        loop = asyncio.get_running_loop()
        if self._timer is not None:
            self._timer.cancel()
        for listening in self._sockets:
            loop.remove_reader(listening)
            listening.close()
        self._sockets = []

    @property
    def sockets(self) -> Sequence[socket.socket]:
        return tuple(self._sockets)

    def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        for listening in self._sockets:
            loop.add_reader(listening, self._accept, listening)

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(AT_ONCE):
            try:
                accepted, address = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._pause(error)
                return
            self._take(accepted, str(address[0]))

    def _pause(self, error: OSError) -> None:
        """Connects wait in the kernel for a moment: the event loop would report the same one again and again."""
        if self._counters["accepts paused"] == 0 or error.errno not in _NO_DESCRIPTOR:
            _log.error("accept.failed", port=self._name, error=str(error))
        self._counters["accepts paused"] += 1
        loop = asyncio.get_running_loop()
        for listening in self._sockets:
            loop.remove_reader(listening)
        self._timer = loop.call_later(PAUSE_S, self._listen)

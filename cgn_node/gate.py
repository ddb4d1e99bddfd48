"""A listening port: accepts, counts from accept on, and lets in no more than its bounds and the process's descriptors.

Accepting is done here and not by the event loop's own server for three reasons: a connection counts before anything is
spent on it, a burst of connects takes a bounded part of a turn, and a process without a free descriptor pauses instead
of spinning or failing.
"""

import asyncio
import errno
import ipaddress
import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable, Sequence

from cgn_sdk.turns import Turns

from cgn_chassis import logs
from cgn_node import limits
from cgn_node.channel import Channel
from cgn_node.places import Places, Standing

_NO_DESCRIPTOR = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

_log = logs.get("gate")


class Gate:
    """One port and its connections. It has what `websockets` asks of an `asyncio.Server`, too.

    No address gets more than half of the connections, whatever `per_address_max` says, but for one that `is_proxy`
    knows: many clients come through it. When all places are taken, who has shown least gives way (`cgn_node.places`).
    """

    def __init__(
        self,
        name: str,
        *,
        tls: ssl.SSLContext | None,
        connections_max: int,
        per_address_max: int,
        counters: Counter[str],
        turns: Turns,
        progress_window_s: float = limits.PROGRESS_WINDOW_S,
        clock: Callable[[], float] = time.monotonic,
        is_proxy: Callable[[str], bool] = lambda peer: False,
    ) -> None:
        self.name = name
        self.tls = tls
        self.counters = counters
        self.turns = turns
        self.progress_window_s = progress_window_s
        self.clock = clock
        self._is_proxy = is_proxy
        self.factory: Callable[[], asyncio.Protocol]
        """Makes the protocol of a connection whose TLS is up; given at `start`."""
        per_address = min(per_address_max, max(1, connections_max // 2))
        self._places: Places[Channel] = Places(connections_max, per_address)
        self._sockets: list[socket.socket] = []
        self._openings: set[asyncio.Task[None]] = set()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._empty: asyncio.Event | None = None

    async def start(self, host: str, port: int, factory: Callable[[], asyncio.Protocol]) -> int:
        """Listens on every address of the host; returns the port (useful when 0 was asked for)."""
        loop = asyncio.get_running_loop()
        self.factory = factory
        found = await loop.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, address in dict.fromkeys((each[0], each[4][:2]) for each in found):
            listening = socket.create_server(address, family=family, backlog=limits.ACCEPT_BACKLOG)
            listening.setblocking(False)
            self._sockets.append(listening)
        self._listen()
        self._sweep()
        return int(self._sockets[0].getsockname()[1])

    @property
    def connection_count(self) -> int:
        return len(self._places)

    def forget(self, channel: Channel) -> None:
        self._places.leave(channel)
        if not len(self._places) and self._empty is not None:
            self._empty.set()

    def stand(self, channel: Channel, standing: Standing) -> None:
        self._places.stand(channel, standing)

    # --- as asyncio.Server ----------

    def close(self) -> None:
        """No new connection. Those that are there go on."""
        loop = asyncio.get_running_loop()
        timer = self._timers.pop("listen", None)
        if timer is not None:
            timer.cancel()
        for listening in self._sockets:
            loop.remove_reader(listening)
            listening.close()
        self._sockets = []

    async def wait_closed(self) -> None:
        """Cuts the connections that are left."""
        self.close()
        self._empty = asyncio.Event()
        for channel in self._places.holders():
            channel.abort()
        if len(self._places):
            await self._empty.wait()
        timer = self._timers.pop("sweep", None)
        if timer is not None:
            timer.cancel()

    def is_serving(self) -> bool:
        return bool(self._sockets)

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    @property
    def sockets(self) -> Sequence[socket.socket]:
        return tuple(self._sockets)

    # --- accepting ----------

    def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        for listening in self._sockets:
            loop.add_reader(listening, self._accept, listening)

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(limits.ACCEPTS_AT_ONCE):
            try:
                accepted, address = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._pause(error)
                return
            self._admit(accepted, str(address[0]))

    def _pause(self, error: OSError) -> None:
        """Connects wait in the kernel for a moment: the event loop would report the same one again and again."""
        if self.counters["accepts paused"] == 0 or error.errno not in _NO_DESCRIPTOR:
            _log.error("gate.accept_failed", gate=self.name, error=str(error), connections=len(self._places))
        self.counters["accepts paused"] += 1
        loop = asyncio.get_running_loop()
        for listening in self._sockets:
            loop.remove_reader(listening)
        self._timers["listen"] = loop.call_later(limits.ACCEPT_PAUSE_S, self._listen)

    def _admit(self, accepted: socket.socket, peer: str) -> None:
        address, now = _counted(peer), self.clock()
        if not self._makes_room(address, now, has_own_bound=not self._is_proxy(peer)):
            self.counters["connections refused"] += 1
            accepted.close()
            return
        channel = Channel(self, accepted, peer, now)
        self._places.take(channel, address, now)
        opening = asyncio.get_running_loop().create_task(self._open(channel, accepted))
        self._openings.add(opening)
        opening.add_done_callback(self._openings.discard)

    def _makes_room(self, address: str, now: float, *, has_own_bound: bool) -> bool:
        for _ in range(limits.GIVE_WAY_TRIES):
            is_needed, weakest = self._places.must_give_way(address, now, has_own_bound=has_own_bound)
            if not is_needed:
                return True
            if weakest is None:
                return False
            if weakest.is_open and not weakest.has_taken_all():
                self._places.stand(weakest, Standing.BUSY)  # its last answer is still on its way
                continue
            self.counters["connections that gave way"] += 1
            weakest.abort()
            self.forget(weakest)
        return False

    async def _open(self, channel: Channel, accepted: socket.socket) -> None:
        try:
            accepted.setblocking(False)
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            _bound_kernel_queue(accepted)
            await asyncio.get_running_loop().connect_accepted_socket(lambda: channel, accepted)
        except OSError:  # gone before it was here
            accepted.close()
            self.forget(channel)

    def _sweep(self) -> None:
        self._timers["sweep"] = asyncio.get_running_loop().call_later(limits.SWEEP_S, self._sweep)
        now = self.clock()
        for channel in self._places.holders():
            channel.check(now)
        self._bound_owed(now)

    def _bound_owed(self, now: float) -> None:
        """Answers that wait in memory for their readers have a bound together: beyond it, who has not read for longest
        is cut, and after a second already."""
        sizes = {channel: channel.get_write_buffer_size() for channel in self._places.holders()}
        owed = sum(sizes.values())
        if owed <= limits.OWED_MAX_BYTES:
            return
        stuck = [each for each in sizes if each.stuck_since and now - each.stuck_since >= limits.STUCK_LEAST_S]
        for channel in sorted(stuck, key=lambda each: each.stuck_since):
            if owed <= limits.OWED_MAX_BYTES:
                break
            owed -= sizes[channel]
            channel.cut_stuck()


def _counted(peer: str) -> str:
    """What counts as one address: an IPv6 host commonly has a whole /64 for itself."""
    if ":" not in peer:
        return peer
    address = ipaddress.IPv6Address(peer)
    return str(address.ipv4_mapped or ipaddress.IPv6Network((int(address) >> 64 << 64, 64)))


def _bound_kernel_queue(accepted: socket.socket) -> None:
    """What the kernel takes and has not sent stays small, so that bytes owed to a reader that does not read are few."""
    option = getattr(socket, "TCP_NOTSENT_LOWAT", 25)  # Python names it from 3.12 on; the number is Linux's
    if accepted.family in (socket.AF_INET, socket.AF_INET6):
        accepted.setsockopt(socket.IPPROTO_TCP, option, limits.NOT_SENT_BYTES)

"""A listening port: counts connections from accept on, and lets in no more than its bounds and the process's
descriptors.
"""

import asyncio
import ipaddress
import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable, Sequence

from cgn_sdk.turns import Turns

from cgn_chassis.accepting import Acceptor
from cgn_node import limits
from cgn_node.channel import Channel
from cgn_node.places import Places, Standing


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
        self._acceptor = Acceptor(name, self._admit, counters)
        self._openings: set[asyncio.Task[None]] = set()
        self._sweeper: asyncio.TimerHandle | None = None
        self._empty: asyncio.Event | None = None

    async def start(self, host: str, port: int, factory: Callable[[], asyncio.Protocol]) -> int:
        """Listens on every address of the host; returns the port (useful when 0 was asked for)."""
        self.factory = factory
        port = await self._acceptor.start(host, port)
        self._sweep()
        return port

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
        self._acceptor.close()

    async def wait_closed(self) -> None:
        """Cuts the connections that are left."""
        self.close()
        self._empty = asyncio.Event()
        for channel in self._places.holders():
            channel.abort()
        if len(self._places):
            await self._empty.wait()
        if self._sweeper is not None:
            self._sweeper.cancel()

    def is_serving(self) -> bool:
        return bool(self._acceptor.sockets)

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    @property
    def sockets(self) -> Sequence[socket.socket]:
        return self._acceptor.sockets

    # --- accepted ----------

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
        self._sweeper = asyncio.get_running_loop().call_later(limits.SWEEP_S, self._sweep)
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

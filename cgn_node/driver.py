"""The only loop between the Work Broker and the world: events in, commands out, one deadline (architecture, "the
broker core").

`post` hands an event over at once: nothing waits in a queue between a socket and the broker. What carrying out a
command causes is queued until the command list at hand is through, so that the broker sees events in a fair order.

A step that raises, be it a command's or the core's own, is the fault of the one request it is about: that request ends
with the problem `internal`, everything it holds is given back by the events that say so, and the steps behind it are
done.

Left to others: what a command means for sockets (`work_request`, `miner_endpoint`) and for disks (`recorder`).
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from cgn_chassis import logs
from cgn_node.core import commands, events
from cgn_node.core.broker import Broker
from cgn_node.core.events import Event
from cgn_node.core.pricing import Measured, Usage

LATE_MS = 50
"""A timer that fires this much later than asked for shows that the process was paused."""
SETTLE_S = 0.02
"""After such a pause: time for what miners said meanwhile to be read before anything is called late."""

CLOSE_INTERNAL = 1011
"""RFC 6455's registry: an error of the server."""

_ONLY_LATER = frozenset({events.Acknowledged, events.Progressed, events.ResponsePassedOn, events.RowStored})
"""Events that bring no deadline nearer when no command follows: the timer stays as it is."""

_log = logs.get("driver")


def monotonic_ms() -> int:
    """The broker's clock."""
    return time.monotonic_ns() // 1_000_000


class Request(Protocol):
    """What the driver asks of a request under way (`work_request.WorkRequest`)."""

    id: str

    def assign(self, command: commands.Assign, tunnel: Any) -> None: ...
    def cancel_attempt(self, command: commands.CancelAttempt) -> None: ...
    def record(self, command: commands.RecordRow) -> None: ...
    def release(self) -> None: ...
    def refuse(self, command: commands.Refuse) -> None: ...
    def break_off(self) -> None:
        """A step of it has raised: says `internal` to the DApp, and to the broker that nobody waits any more."""


class Tunnel(Protocol):
    """What the driver asks of a miner's connection (`miner_endpoint.MinerTunnel`)."""

    number: int

    def expel(self, code: int, reason: str) -> None: ...
    def close(self, code: int, reason: str) -> None: ...


class Driver:
    """Owns the broker. `requests` and `tunnels` are the live ones, by id and by miner id."""

    def __init__(
        self,
        broker: Broker,
        *,
        report: Callable[[commands.ReportError], None],
        clock_ms: Callable[[], int] = monotonic_ms,
    ) -> None:
        self.broker = broker
        self.clock_ms = clock_ms
        self.requests: dict[str, Request] = {}
        self.tunnels: dict[str, Tunnel] = {}
        self.by_number: dict[int, Tunnel] = {}
        self.counters: Counter[type] = Counter()
        """Events and commands by kind."""
        self.broken: Counter[type] = Counter()
        """Of them, those that raised."""
        self.drained = asyncio.Event()
        self._report = report
        self._inbox: deque[Event] = deque()
        self._handling = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ms: int | None = None
        self._carriers: dict[type, Callable[[Any], None]] = {
            commands.Assign: self._assign,
            commands.CancelAttempt: self._cancel_attempt,
            commands.CloseMiner: self._close_miner,
            commands.RecordRow: self._record,
            commands.Release: self._release,
            commands.Refuse: self._refuse,
            commands.ReportError: self._report,
            commands.Drained: self._drained,
        }
        self._menders: dict[type, Callable[[Any], None]] = {
            commands.Assign: self._mend_assign,
            commands.CancelAttempt: self._mend_cancel,
            commands.CloseMiner: self._mend_close,
            commands.RecordRow: self._mend_record,
        }
        """What is to be done when one of those raises. The others are the last of their request, or only tell."""

    def post(self, event: Event) -> None:
        """Something happened. Commands that follow are carried out before this returns, unless one is being carried
        out."""
        self._inbox.append(event)
        if not self._handling:
            self._run()

    def take_on(self, request: Request) -> bool:
        """Takes a request's id, unless it is under way already: looked up and taken in one step, with no wait in
        between. False: nothing has happened. The broker hears of the request by `RequestArrived`."""
        if request.id in self.requests:
            return False
        self.requests[request.id] = request
        return True

    def turn_away(self, command: commands.Refuse) -> None:
        """Ends a request of which the broker has not heard."""
        self._refuse(command)

    def _run(self) -> None:
        self._handling = True
        inbox, counters, carriers, handle = self._inbox, self.counters, self._carriers, self.broker.handle
        may_be_due = False
        try:
            while inbox:
                event = inbox.popleft()
                counters[type(event)] += 1
                try:
                    out = handle(event, self.clock_ms())
                except Exception:
                    self._break_event(event)
                    continue
                may_be_due = may_be_due or bool(out) or type(event) not in _ONLY_LATER
                for command in out:
                    kind = type(command)
                    counters[kind] += 1
                    try:
                        carriers[kind](command)
                    except Exception:
                        self._break_command(command)
        finally:
            self._handling = False
        if may_be_due:
            self._set_timer()

    # --- what raised ----------------------------------------------------------------------------------------------

    def _break_command(self, command: commands.Command) -> None:
        kind = type(command)
        self.broken[kind] += 1
        _log.exception("driver.command_failed", kind=kind.__name__, request_id=getattr(command, "request", ""))
        mend = self._menders.get(kind)
        if mend is not None:
            mend(command)

    def _break_event(self, event: Event) -> None:
        """The core has raised: what it knows of this request may be wrong. The request ends here; what the core still
        holds of it ends by its deadline."""
        kind, request_id = type(event), getattr(event, "request", "")
        self.broken[kind] += 1
        _log.exception("driver.event_failed", kind=kind.__name__, request_id=request_id)
        if request_id in self.requests:
            self._break_off(request_id)
            self._refuse(commands.Refuse(request_id, "internal"))

    def _break_off(self, request_id: str) -> None:
        request = self.requests.get(request_id)
        if request is not None:
            try:
                request.break_off()
            except Exception:
                _log.exception("driver.break_failed", request_id=request_id)

    def _mend_assign(self, command: commands.Assign) -> None:
        self._break_off(command.request)
        self._inbox.append(events.ClientGone(command.request))

    def _mend_cancel(self, command: commands.CancelAttempt) -> None:
        """A miner that was not told works on, while the broker counts on the slot: nobody may rely on that tunnel."""
        tunnel = self.tunnels.get(command.miner)
        if tunnel is not None:
            tunnel.close(CLOSE_INTERNAL, "an error of the node")
        if command.settle:  # its report is waited for; where it was sent before the error, this one changes nothing
            nothing = Usage(), Measured(0, 0, 0)
            self._inbox.append(events.AttemptCut(command.request, command.attempt, command.miner, *nothing))

    def _mend_close(self, command: commands.CloseMiner) -> None:
        """It is out of the broker's pool: nothing of it may be found here."""
        self.by_number.pop(command.tunnel, None)
        tunnel = self.tunnels.get(command.miner)
        if tunnel is not None and tunnel.number == command.tunnel:
            del self.tunnels[command.miner]

    def _mend_record(self, command: commands.RecordRow) -> None:
        """Nothing of the row has reached the spool, which takes a row or raises."""
        self._break_off(command.request)
        self._inbox.append(events.RowRefused(command.request))

    # --- time -----------------------------------------------------------------------------------------------------

    def _set_timer(self) -> None:
        """One timer for the whole broker. A later deadline leaves an earlier timer alone: it fires, finds nothing due
        and is set again, which is cheaper than moving it with every request."""
        deadline = self.broker.next_deadline()
        if deadline is None or (self._timer_ms is not None and self._timer_ms <= deadline):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_ms = deadline
        delay_s = max(0, deadline - self.clock_ms()) / 1000
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._on_timer)

    def _on_timer(self) -> None:
        assert self._timer_ms is not None
        late_ms = self.clock_ms() - self._timer_ms
        if late_ms > LATE_MS:
            _log.warning("driver.late", late_ms=late_ms)
            self._timer = asyncio.get_running_loop().call_later(SETTLE_S, self._tick)
        else:
            self._tick()

    def _tick(self) -> None:
        self._timer = None
        self._timer_ms = None
        deadline = self.broker.next_deadline()
        if deadline is not None and deadline <= self.clock_ms():
            self.post(events.Tick())
        else:
            self._set_timer()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    # --- commands -------------------------------------------------------------------------------------------------

    def _assign(self, command: commands.Assign) -> None:
        tunnel = self.tunnels[command.miner]
        self.requests[command.request].assign(command, tunnel)

    def _cancel_attempt(self, command: commands.CancelAttempt) -> None:
        request = self.requests.get(command.request)
        if request is not None:
            request.cancel_attempt(command)

    def _close_miner(self, command: commands.CloseMiner) -> None:
        tunnel = self.by_number.get(command.tunnel)
        if tunnel is not None:
            tunnel.expel(command.close_code, command.reason)

    def _record(self, command: commands.RecordRow) -> None:
        self.requests[command.request].record(command)

    def _release(self, command: commands.Release) -> None:
        _end(self.requests.pop(command.request).release)

    def _refuse(self, command: commands.Refuse) -> None:
        request = self.requests.pop(command.request, None)
        if request is not None:
            _end(partial(request.refuse, command))

    def _drained(self, command: commands.Drained) -> None:
        self.drained.set()


def _end(end: Callable[[], None]) -> None:
    """The last that is asked of a request. A failure is its own: the commands behind it are about others."""
    try:
        end()
    except Exception:
        _log.exception("driver.end_failed")

"""Sockets of the HTTP endpoints: connections, order, deadlines, refusals. One `Exchange` per request, handed to the
endpoint's `serve`.

An endpoint answers through the exchange, at once or later, without a task of its own: a task, a timer and a stream
object per request are most of what a general server costs (docs/decisions/0009-own-http-front.md). Rules held here for
every endpoint:

- nothing of a body is read before the endpoint asks for it (`take_body`), so that a 401 leaves before the body (N-5);
- bytes behind a request stay unread until its answer is out;
- what one peer has sent is worked off in portions: one request, or a bounded number of chunks, at once; the rest waits
  for its turn among all peers (`cgn_sdk.turns`);
- nothing is read, and nothing served, for a peer that does not take what it is owed;
- what waits on disk is read beside the event loop, and an error there ends the one answer it belongs to;
- what an endpoint or its taker raises ends the one connection on which it did;
- every wait has a deadline, watched by one sweep per second over all connections (slowloris, slow bodies; handshakes,
  slow readers and closing connections are the channel's);
- every refusal is an RFC 9457 problem document.
"""

import asyncio
import json
import ssl
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Sequence
from email.utils import formatdate
from typing import Protocol, cast

from cgn_sdk.protocol.http_fields import NO_CONTENT_STATUSES
from cgn_sdk.turns import Turns

from cgn_chassis import logs
from cgn_node import limits
from cgn_node.channel import Channel
from cgn_node.disk_reads import DiskReads, Reading
from cgn_node.gate import Gate
from cgn_node.http1 import (
    NO_BODY_STATUSES,
    BadMessage,
    ChunkedDecoder,
    Headers,
    RequestHead,
    bare_line_feed,
    parse_head,
    response_head,
)
from cgn_node.places import Standing

PROBLEM = "application/problem+json"
_CLOSE = ("Connection", "close")
_KEEP_ALIVE = ("Connection", "keep-alive")

_log = logs.get("http")


class Taker(Protocol):
    """Who takes a request's body and hears of the connection. An exchange without one drops what it hears."""

    def body_received(self, data: bytes) -> None: ...
    def body_ended(self) -> None: ...
    def peer_lost(self) -> None:
        """The DApp is gone or its body broke; the exchange takes nothing more."""

    def writable(self) -> None:
        """After `write` returned False: the reader has caught up."""


class Loadable(Protocol):
    """Bytes that may be elsewhere than in memory."""

    @property
    def is_here(self) -> bool:
        """Whether `load` reads no disk."""

    def __len__(self) -> int: ...
    def load(self) -> bytes: ...


Pieces = Sequence[bytes | Loadable]


class Exchange:
    """One request and its answer."""

    __slots__ = ("_chunked", "_connection", "_left", "_status", "bytes_out", "head", "open", "peer", "started", "taker")

    def __init__(self, connection: "HttpConnection", head: RequestHead) -> None:
        self._connection = connection
        self.head = head
        self.peer = connection.peer
        """The address that counts. An endpoint that knows its proxies puts the client's own here."""
        self.taker: Taker | None = None
        self.started = False
        """Whether the status line has left."""
        self.open = True
        """False once the answer is complete or the connection is gone."""
        self.bytes_out = 0
        self._chunked = False
        self._left: int | None = None
        self._status = 0

    def take_body(self, taker: Taker, within_s: float | None = None) -> None:
        """Begins to read the body (and says 100 Continue where asked). `within_s`: a small body has to be there so
        soon after the request's first byte; a long one has to keep moving."""
        self.taker = taker
        self._connection.take_body(self, within_s)

    def vouch(self) -> None:
        """The request has shown a valid session: its connection may idle, and is kept when places are few."""
        self._connection.is_known = True

    def pause_body(self) -> None:
        self._connection.pause_body(self)

    def resume_body(self) -> None:
        self._connection.resume_body(self)

    def answer(self, status: int, headers: Headers, body: bytes | Pieces = b"") -> None:
        """The whole answer at once. `headers` without framing ones. A HEAD request gets the head alone."""
        if not self.open:
            return
        pieces: Pieces = [body] if isinstance(body, bytes) else body
        length = sum(map(len, pieces))
        if self.head.method == "HEAD":
            self.answer_head(status, headers, length)
            return
        self._start(status, headers, 0 if status in NO_CONTENT_STATUSES else length)
        if length and status not in NO_CONTENT_STATUSES:
            self.bytes_out += length
            self._connection.send_whole(pieces, length)
        self._complete()

    def answer_head(self, status: int, headers: Headers, body_bytes: int | None) -> None:
        """To a HEAD request: `body_bytes` is what GET would send (RFC 9110 8.6), None when nobody knows."""
        if self.open:
            assert self.head.method == "HEAD"
            self._start(status, headers, body_bytes)
            self._complete()

    def start(self, status: int, headers: Headers, body_bytes: int | None) -> None:
        """Head of a streamed answer; `body_bytes` None: length unknown (chunked, or up to the connection's end for
        HTTP/1.0)."""
        if self.open:
            self._start(status, headers, body_bytes)
            self._connection.flush()

    def write(self, data: bytes | Loadable) -> bool:
        """Returns False when the reader or the disk lags: wait for `writable`."""
        if not self.open or self._is_bare:
            return True
        self.bytes_out += len(data)
        if self._chunked:
            self._connection.send([b"%x\r\n" % len(data), data, b"\r\n"])
        else:
            if self._left is not None:
                self._left -= len(data)
                if self._left < 0:
                    self.abort()  # a byte more would be taken for the next answer's
                    return True
            self._connection.send([data])
        return self._connection.takes_more

    def end(self) -> None:
        """After the last `write`. An answer shorter than its head said is cut: its reader would wait for the rest."""
        if not self.open:
            return
        if self._left and not self._is_bare:
            self.abort()
            return
        if self._chunked:
            self._connection.send([b"0\r\n\r\n"])
        self._complete()

    def abort(self) -> None:
        """Cuts the connection, so that nobody takes a part for the whole."""
        if self.open:
            self._connection.abort()

    def refuse(self, status: int, body: bytes, headers: Headers | None = None) -> None:
        """A problem document instead of an answer; after a started answer only the cut is left."""
        if self.started:
            self.abort()
        else:
            self.answer(status, [("Content-Type", PROBLEM), *(headers or [])], body)

    @property
    def _is_bare(self) -> bool:
        """Whether the answer ends with its head, whatever the head says: not a byte may follow."""
        return self.head.method == "HEAD" or self._status in NO_BODY_STATUSES

    def _start(self, status: int, headers: Headers, length: int | None) -> None:
        assert not self.started, "an exchange is answered once"
        self.started, self._status = True, status
        headers = list(headers)
        self._left = length
        if length is not None:
            if status not in NO_BODY_STATUSES:
                headers.append(("Content-Length", str(length)))
        elif not self._is_bare:
            if self.head.minor == 1:
                self._chunked = True
                headers.append(("Transfer-Encoding", "chunked"))
            else:
                self._connection.close_after = True
        self._connection.begin_answer(self, status, headers)

    def _complete(self) -> None:
        self.open = False
        self.taker = None
        self._connection.answer_complete(self)


class Endpoint(Protocol):
    """What serves a listener's requests. Called when a head is complete; may answer at once, or take the body and
    answer later."""

    def serve(self, exchange: Exchange) -> None: ...

    def problem(self, status: int, detail: str) -> bytes:
        """A problem document of the endpoint's own making, for what is refused before `serve`."""


class HttpListener:
    """One port. `counters` counts by kind what was cut off or refused at this level."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        tls: ssl.SSLContext | None,
        name: str = "http",
        connections_max: int = limits.CONNECTIONS_MAX,
        per_address_max: int = limits.CONNECTIONS_PER_ADDRESS_MAX,
        head_deadline_s: float = limits.HEAD_DEADLINE_S,
        idle_s: float = limits.IDLE_CONNECTION_S,
        stranger_idle_s: float = limits.IDLE_STRANGER_S,
        progress_window_s: float = limits.PROGRESS_WINDOW_S,
        clock: Callable[[], float] = time.monotonic,
        turns: Turns | None = None,
        is_proxy: Callable[[str], bool] = lambda peer: False,
        disk: DiskReads | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.head_deadline_s = head_deadline_s
        self.idle_s = idle_s
        self.stranger_idle_s = min(stranger_idle_s, idle_s)
        self.progress_window_s = progress_window_s
        self.counters: Counter[str] = Counter()
        self.draining = False
        self.clock = clock
        self.turns = Turns() if turns is None else turns
        self.disk = DiskReads() if disk is None else disk
        self._gate = Gate(
            name,
            tls=tls,
            connections_max=connections_max,
            per_address_max=per_address_max,
            counters=self.counters,
            turns=self.turns,
            progress_window_s=progress_window_s,
            clock=clock,
            is_proxy=is_proxy,
        )
        self._connections: set[HttpConnection] = set()
        self._sweeper: asyncio.TimerHandle | None = None
        self._date = ("", 0)

    async def start(self, host: str, port: int) -> int:
        """Listens; returns the port (useful when 0 was asked for)."""
        self._sweeper = asyncio.get_running_loop().call_later(limits.SWEEP_S, self._sweep)
        return await self._gate.start(host, port, lambda: HttpConnection(self))

    def stop_accepting(self) -> None:
        """Drain (N-18): no new connection, idle ones close, running requests go on and say `Connection: close`."""
        self.draining = True
        self._gate.close()
        for connection in list(self._connections):
            connection.close_if_idle()

    async def finish(self) -> None:
        """After `stop_accepting`: waits until every answer is with its reader. Bounded by the slow readers' cut, and by
        whoever waits. A body that still arrives belongs to nothing that runs: it is refused."""
        for connection in list(self._connections):
            connection.refuse_body("This node is about to stop; use another one.")
        while any(each.owes for each in self._connections):  # noqa: ASYNC110  (nobody tells of the kernel's queue)
            await asyncio.sleep(limits.FINISH_LOOK_S)

    async def close(self) -> None:
        """Cuts what is left."""
        self.stop_accepting()
        if self._sweeper is not None:
            self._sweeper.cancel()
        await self._gate.wait_closed()

    @property
    def connection_count(self) -> int:
        """From accept on, whatever has become of them."""
        return self._gate.connection_count

    def add(self, connection: "HttpConnection") -> None:
        self._connections.add(connection)

    def forget(self, connection: "HttpConnection") -> None:
        self._connections.discard(connection)

    def date(self) -> str:
        now = int(time.time())
        if self._date[1] != now:
            self._date = (formatdate(now, usegmt=True), now)
        return self._date[0]

    def _sweep(self) -> None:
        self._sweeper = asyncio.get_running_loop().call_later(limits.SWEEP_S, self._sweep)
        now = self.clock()
        for connection in list(self._connections):
            connection.check_deadlines(now)


_HEAD, _WAIT, _BODY, _DONE, _CLOSED = range(5)
"""What a connection does with the next byte: read a head; hold it (body not asked for); give it to the taker; hold it
(pipelined); nothing."""


class HttpConnection(asyncio.Protocol):
    """One connection: at most one exchange at a time, further requests wait in the buffer."""

    def __init__(self, listener: HttpListener) -> None:
        self._listener = listener
        self._transport: Channel | None = None
        self.peer = ""
        self.close_after = False
        self.is_known = False
        """Whether a request on it has shown a valid session."""
        self.is_writable = True
        self._buffer = b""
        self._at = 0  # where the unread part of `_buffer` begins
        self._scanned = 0  # how far a head's end has been looked for, from `_at`
        self._state = _HEAD
        self._exchange: Exchange | None = None
        self._body_left = 0
        self._chunks: ChunkedDecoder | None = None
        self._body_total = 0
        self._body_paused = False
        self._reading = True
        self._has_turn = False  # waits in the listener's `turns`
        self._out: list[bytes] = []
        self._waiting_answer: deque[bytes | Loadable] = deque()
        self._reading_disk: Reading | None = None
        self._is_loading = False  # the first of what waits is being read from disk
        self._since = 0.0  # of the accept, of a later request's first byte, of an answer's end
        self._is_first = True
        self._body_until: float | None = None
        self._moved = 0  # bytes of the body since `_window`
        self._window = 0.0

    # --- asyncio's side ----------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = channel = cast(Channel, transport)
        channel.opened()
        channel.set_write_buffer_limits(high=limits.WRITE_BUFFER_HIGH_BYTES)
        self.peer = channel.peer
        self._since = channel.accepted_at  # a slow handshake is not paid with a slow head on top
        self._listener.add(self)
        channel.stand(Standing.IDLE_STRANGER)
        if self._listener.draining:
            self._close()

    def data_received(self, data: bytes) -> None:
        try:
            self._receive(data)
        except Exception as error:
            self._broke(error)

    def _receive(self, data: bytes) -> None:
        if self._state == _BODY:
            self._read_body(data)
            return
        if self._state == _CLOSED:
            return
        if not self._waiting_bytes():
            self._buffer, self._at = data, 0
            if self._state == _HEAD and not self._is_first:
                self._since = self._listener.clock()
        else:
            self._buffer, self._at = self._buffer[self._at :] + data, 0
        if self._state == _HEAD and not self._has_turn:
            self._read_head()
        self._choose_reading()

    def eof_received(self) -> None:
        """A half-closed connection counts as gone: most clients that close look like this first, and their work must
        stop (N-17)."""

    def connection_lost(self, exc: Exception | None) -> None:
        self._listener.forget(self)
        self._state = _CLOSED
        self._waiting_answer.clear()
        if self._reading_disk is not None:
            self._reading_disk.withdraw()
        self._drop_buffer()
        self._drop_exchange()

    def pause_writing(self) -> None:
        self.is_writable = False

    def resume_writing(self) -> None:
        self.is_writable = True
        if self._waiting_answer or (self._state == _HEAD and self._waiting_bytes()):
            self._take_turn()
        else:
            self._tell_writable()
        self._choose_reading()

    @property
    def takes_more(self) -> bool:
        """Whether what is written now leaves now."""
        return self.is_writable and not self._waiting_answer and not self._is_loading

    def _tell_writable(self) -> None:
        if self.takes_more and self._exchange is not None and self._exchange.taker is not None:
            self._exchange.taker.writable()

    def _broke(self, error: Exception) -> None:
        """Whatever was asked for on this connection raised: nobody else's turn, and nobody else's work, ends by it."""
        self._listener.counters["connections that broke"] += 1
        _log.error(
            "http.broke",
            peer=self.peer,
            problem=repr(error),
            trace="".join(traceback.format_exception(error, limit=20)),
        )
        self.abort()
        self._drop_exchange()

    # --- turns ----------

    def _take_turn(self) -> None:
        """What waits in the buffer is read on when it is this connection's turn."""
        if not self._has_turn:
            self._has_turn = True
            self._listener.turns.add(self._on_turn)

    def _on_turn(self) -> None:
        self._has_turn = False
        try:
            self._do_portion()
        except Exception as error:
            self._broke(error)

    def _do_portion(self) -> None:
        if self._waiting_answer or self._is_loading:
            if self._state != _CLOSED:
                self._send_portion()
        elif self._state == _HEAD and self.is_writable and self._waiting_bytes():
            self._read_head()
        if self._state == _BODY and not self._body_paused:  # an answer may begin before its request has ended
            self._read_body(b"")
        self._choose_reading()

    def _waiting_bytes(self) -> int:
        return len(self._buffer) - self._at

    def _drop_buffer(self) -> None:
        self._buffer, self._at, self._scanned = b"", 0, 0

    def _choose_reading(self) -> None:
        """Whether the socket is read: not while enough waits here, nor, between two requests, while answers wait."""
        if self._state == _BODY:
            wanted = not self._body_paused and not self._has_turn
        elif self._state == _HEAD:
            wanted = self.is_writable and not self._has_turn
        else:
            wanted = self._waiting_bytes() <= limits.PIPELINED_MAX_BYTES
        self._set_reading(wanted)

    # --- heads ----------

    def _read_head(self) -> None:
        """Serves the request whose head is here, if one is: one, whatever else has come."""
        try:
            head = self._next_head()
        except BadMessage as problem:
            self.refuse_connection(problem.status, problem.detail)
            return
        if head is None:
            if self.is_known:
                self._stand(Standing.BUSY)
            return
        self._stand(Standing.BUSY)
        exchange = self._exchange = Exchange(self, head)
        self._is_first = False
        self.close_after = not head.keep_alive or self._listener.draining
        self._chunks = ChunkedDecoder() if head.body_bytes is None else None
        self._body_left = head.body_bytes or 0
        self._body_total = 0
        self._state = _DONE if head.body_bytes == 0 else _WAIT
        self._listener.endpoint.serve(exchange)

    def _next_head(self) -> RequestHead | None:
        buffer, at = self._buffer, self._at
        end = buffer.find(b"\r\n\r\n", at + max(0, self._scanned - 3), at + limits.HEAD_MAX_BYTES)
        if end < 0:
            waiting = len(buffer) - at
            if waiting >= limits.HEAD_MAX_BYTES:
                raise BadMessage(431, f"The request's head is longer than {limits.HEAD_MAX_BYTES} bytes.")
            if bare_line_feed(buffer, at + self._scanned):
                raise BadMessage(400, "Lines of a request's head end with CR LF.")
            self._scanned = waiting
            return None
        self._scanned = 0
        start = at + 2 if buffer.startswith(b"\r\n", at) else at  # one empty line is forgiven (RFC 9112 2.2)
        head = parse_head(buffer[start : end + 4])
        self._at = end + 4
        if self._at == len(buffer):
            self._drop_buffer()
        if head.body_bytes is not None and head.body_bytes > limits.BODY_MAX_BYTES:
            raise BadMessage(413, f"A request's body may have {limits.BODY_MAX_BYTES} bytes.")
        return head

    # --- bodies ----------

    def take_body(self, exchange: Exchange, within_s: float | None = None) -> None:
        if exchange is not self._exchange or self._state not in (_WAIT, _DONE):
            return
        if self._state == _DONE:
            assert exchange.taker is not None
            exchange.taker.body_ended()
            return
        if exchange.head.expects_continue and not self._waiting_bytes() and self._transport is not None:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._state = _BODY
        self._body_until = None if within_s is None else self._since + within_s
        self._window, self._moved = self._listener.clock(), 0
        self._feed_buffered()
        self._choose_reading()

    def pause_body(self, exchange: Exchange) -> None:
        if exchange is self._exchange and self._state == _BODY:
            self._body_paused = True
            self._choose_reading()

    def resume_body(self, exchange: Exchange) -> None:
        if exchange is self._exchange and self._state == _BODY and self._body_paused:
            self._body_paused = False
            self._window, self._moved = self._listener.clock(), 0
            if self._chunks is not None and self._chunks.has_more:
                self._take_turn()
            self._choose_reading()

    def _feed_buffered(self) -> None:
        if self._waiting_bytes():
            data = self._buffer[self._at :]
            self._drop_buffer()
            self._read_body(data)

    def _read_body(self, data: bytes) -> None:
        """Hands on what has come (a bounded number of chunks, as one piece); the rest when it is our turn again."""
        exchange = self._exchange
        assert exchange is not None
        self._moved += len(data)
        chunks = self._chunks
        try:
            if chunks is not None:
                piece, ended = chunks.feed(data), chunks.ended
                rest = chunks.rest() if ended else b""
            else:
                piece, rest = data[: self._body_left], data[self._body_left :]
                self._body_left -= len(piece)
                ended = self._body_left == 0
            self._body_total += len(piece)
            if self._body_total > limits.BODY_MAX_BYTES:
                raise BadMessage(413, f"A request's body may have {limits.BODY_MAX_BYTES} bytes.")
        except BadMessage as problem:
            self.refuse_connection(problem.status, problem.detail)
            return
        if piece and exchange.taker is not None:
            exchange.taker.body_received(piece)
        if self._state != _BODY:
            return
        if ended:
            self._state = _DONE
            self._buffer, self._at = rest, 0
            self._choose_reading()
            if exchange.taker is not None:
                exchange.taker.body_ended()
        elif chunks is not None and chunks.has_more:
            self._take_turn()
            self._choose_reading()

    # --- answers ----------

    def begin_answer(self, exchange: Exchange, status: int, headers: Headers) -> None:
        if self._state in (_WAIT, _BODY):
            self.close_after = True  # what is unread of the body is not worth reading to save a connection
        headers.append(("Date", self._listener.date()))
        self.close_after = self.close_after or self._listener.draining
        if self.close_after:
            headers.append(_CLOSE)
        elif exchange.head.minor == 0:
            headers.append(_KEEP_ALIVE)  # HTTP/1.0 keeps what both have agreed on (RFC 9112 9.3)
        self._out.append(response_head(status, headers))

    def send(self, pieces: Pieces) -> None:
        """More of a streamed answer: at once, or behind what waits for the disk."""
        if self._waiting_answer or self._is_loading or not all(map(_is_here, pieces)):
            self._waiting_answer.extend(pieces)
            self._take_turn()
        else:
            self._out += map(_loaded, pieces)
            self.flush()

    def send_whole(self, pieces: Pieces, length: int) -> None:
        """A whole body: a short one with its head, a long one in portions as the reader takes them."""
        if length <= limits.JOINED_WRITE_BYTES and all(map(_is_here, pieces)):
            self._out += map(_loaded, pieces)
        else:
            self._waiting_answer.extend(pieces)

    def _send_portion(self) -> None:
        """More of the answer, when what went before has been taken; at its end, what comes after it."""
        waiting, size = self._waiting_answer, 0
        if not self.is_writable or self._is_loading:
            return  # `resume_writing` or `_on_loaded` brings us back
        portion = []
        while waiting and size < limits.WRITE_BUFFER_HIGH_BYTES and _is_here(waiting[0]):
            portion.append(_loaded(waiting.popleft()))
            size += len(portion[-1])
        self._out += portion
        self.flush()
        if waiting and not _is_here(waiting[0]):
            self._is_loading = True
            self._reading_disk = self._listener.disk.read(cast(Loadable, waiting.popleft()).load, self._on_loaded)
        elif waiting:
            self._take_turn()
        elif self._exchange is None:
            self._after_answer()
        else:
            self._tell_writable()

    def _on_loaded(self, data: bytes, problem: Exception | None) -> None:
        """What was asked of the disk is here, or never will be."""
        self._is_loading, self._reading_disk = False, None
        if self._state == _CLOSED:
            return
        if problem is not None:
            self._broke(problem)
            return
        self._waiting_answer.appendleft(data)
        self._take_turn()

    def flush(self) -> None:
        if self._transport is not None and self._out:
            out, self._out = self._out, []
            if len(out) == 1:
                self._transport.write(out[0])
            elif sum(map(len, out)) <= limits.JOINED_WRITE_BYTES:
                self._transport.write(b"".join(out))  # one TLS record and one system call
            else:
                self._transport.writelines(out)

    def answer_complete(self, exchange: Exchange) -> None:
        self.flush()
        self._exchange = None
        self._chunks = None
        if self._state in (_WAIT, _BODY):
            self._state = _DONE  # what still comes of the body belongs to nobody
        if self._waiting_answer or self._is_loading:
            self._take_turn()
        else:
            self._after_answer()

    def _after_answer(self) -> None:
        """All of the answer is with the transport: the next request, or the end."""
        now = self._listener.clock()
        if self.close_after or (self._listener.draining and not self._waiting_bytes()):
            self._close()
            return
        self._state = _HEAD
        self._since = now
        if not self._waiting_bytes():
            self._stand(Standing.IDLE if self.is_known else Standing.IDLE_STRANGER)
        elif self.is_writable:
            self._take_turn()
        self._choose_reading()

    def refuse_connection(self, status: int, detail: str) -> None:
        """For what cannot be read on: a problem document if nothing has been said yet, then the end."""
        self._listener.counters[f"refused {status}"] += 1
        exchange, self._exchange = self._exchange, None
        if self._state == _CLOSED:
            return
        if exchange is not None and exchange.started:
            self.abort()
            _tell_lost(exchange)
            return
        body = self._listener.endpoint.problem(status, detail)
        headers = [
            ("Content-Type", PROBLEM),
            ("Content-Length", str(len(body))),
            ("Date", self._listener.date()),
            _CLOSE,
        ]
        if self._transport is not None:
            self._transport.write(response_head(status, headers) + body)
        self._close()
        if exchange is not None:
            _tell_lost(exchange)

    # --- ends ----------

    @property
    def owes(self) -> bool:
        """Whether the peer waits for an answer, or for the rest of one."""
        if self._transport is None:
            return False
        if self._exchange is not None or self._waiting_answer or self._is_loading:
            return True
        return not self._transport.has_taken_all()

    def refuse_body(self, detail: str) -> None:
        """For the end of the node: a request that is not whole will not be served."""
        if self._state == _BODY and self._exchange is not None and not self._exchange.started:
            self.refuse_connection(503, detail)

    def close_if_idle(self) -> None:
        if self._state == _HEAD and not self._waiting_bytes():
            self._close()

    def _close(self) -> None:
        """Everything written still leaves; what comes from now on is dropped (the channel reads it, for a moment)."""
        self._state = _CLOSED
        self._drop_buffer()
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        self._state = _CLOSED
        if self._transport is not None:
            self._transport.abort()

    def _drop_exchange(self) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            _tell_lost(exchange)

    def _stand(self, standing: Standing) -> None:
        if self._transport is not None:
            self._transport.stand(standing)

    def _set_reading(self, wanted: bool) -> None:
        if self._transport is None or wanted == self._reading or self._transport.is_closing():
            return
        self._reading = wanted
        if wanted:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    def check_deadlines(self, now: float) -> None:
        """Called by the listener's sweep."""
        if self._state == _HEAD:
            self._check_head(now)
        elif self._state == _BODY:
            self._check_body(now)

    def _check_head(self, now: float) -> None:
        listener = self._listener
        if self._has_turn or not self.is_writable:
            self._since = now  # it waits for us, or for its own reading, which the channel watches
        elif self._waiting_bytes():
            if now - self._since > listener.head_deadline_s:
                self.refuse_connection(408, f"The request's head did not arrive within {listener.head_deadline_s:g} s.")
        else:
            idle_s = listener.idle_s if self.is_known else listener.stranger_idle_s
            if now - self._since > (listener.head_deadline_s if self._is_first else idle_s):
                self._close()

    def _check_body(self, now: float) -> None:
        """A small body has a deadline; a long one has to keep moving while we read it."""
        if self._body_until is not None:
            if now > self._body_until:
                self.refuse_connection(408, f"This body has to arrive within {limits.SMALL_BODY_DEADLINE_S} s.")
            return
        window, least = self._listener.progress_window_s, limits.PROGRESS_MIN_BYTES_PER_S
        if self._body_paused or self._has_turn or self._moved >= least * window:
            self._window, self._moved = now, 0
        elif now - self._window > window:
            self.refuse_connection(408, f"The body arrives slower than {least} bytes a second.")


def _is_here(piece: bytes | Loadable) -> bool:
    return isinstance(piece, bytes) or piece.is_here


def _loaded(piece: bytes | Loadable) -> bytes:
    """Of one that is here."""
    return piece if isinstance(piece, bytes) else piece.load()


def _tell_lost(exchange: Exchange) -> None:
    exchange.open = False
    taker, exchange.taker = exchange.taker, None
    if taker is not None:
        taker.peer_lost()


def json_body(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()

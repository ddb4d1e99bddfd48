"""N-2, N-5, N-6: the DApps' endpoint. Who may do what, under which route, with which options; then the request is the
broker's.

Order of refusals, all before the body is read: 401, 404, 400 (CGN- headers), 403, 409, 429, 503.
"""

import asyncio
import json
import time
import traceback
from collections import Counter, OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from cgn_sdk.protocol import headers as cgn_headers
from cgn_sdk.protocol import link
from cgn_sdk.protocol.errors import Problem, ProblemError
from cgn_sdk.protocol.limits import DEADLINE_MAX_MS

from cgn_chassis import logs
from cgn_node import limits
from cgn_node.bodies import HeldMemory, Piece, RequestBody
from cgn_node.central_endpoint import CentralUnreachable
from cgn_node.client_address import Proxies
from cgn_node.core import events
from cgn_node.core.commands import RecordRow, Refuse
from cgn_node.disk_reads import DiskReads
from cgn_node.driver import Driver
from cgn_node.http1 import Headers, end_to_end
from cgn_node.http_server import Exchange, json_body
from cgn_node.key_desk import KeyDesk
from cgn_node.key_guard import pair_of
from cgn_node.policy import PolicyView
from cgn_node.random_pool import RandomPool
from cgn_node.refusals import TooMany
from cgn_node.results import Results
from cgn_node.sessions import Session, Sessions
from cgn_node.work_order import FinishedAttempt, WorkOrder
from cgn_node.work_request import WorkRequest
from ledger.port import StoreError

_CODE_OF_STATUS = {
    408: "slow_request",
    413: "body_too_large",
    414: "target_too_long",
    431: "headers_too_large",
    503: "draining",
}
_JSON = ("Content-Type", "application/json")
_NO_STORE = ("Cache-Control", "no-store")

_log = logs.get("work")


def edge_problem(status: int, detail: str) -> bytes:
    """The document for what the HTTP server refuses before an endpoint sees a request."""
    document: bytes = Problem(_CODE_OF_STATUS.get(status, "bad_request"), detail, status=status).to_json()
    return document


class Recorder(Protocol):
    """What the work endpoint asks of `recorder`."""

    @property
    def is_full(self) -> bool: ...
    def record(self, order: WorkOrder, finished: FinishedAttempt, command: RecordRow) -> None: ...
    async def receipt(self, request_id: str, enterprise_id: str) -> tuple[bool, bytes] | None: ...
    async def cost(self, request_id: str, enterprise_id: str) -> dict[str, Any] | None: ...
    def is_recorded(self, request_id: str) -> bool: ...
    async def is_stored(self, request_id: str, within_s: float) -> bool: ...


class WorkEndpoint:
    """Serves `POST /session`, `GET /receipts/<id>`, `GET /requests/<id>` and its result, and every DService's route."""

    def __init__(
        self,
        *,
        driver: Driver,
        sessions: Sessions,
        keys: KeyDesk,
        proxies: Proxies,
        policy: Callable[[], PolicyView | None],
        recorder: Recorder,
        bodies_folder: Path,
        held_bytes: int = limits.RESPONSE_HELD_BYTES,
        latencies: Callable[[str, str, int], None] | None = None,
    ) -> None:
        self.counters: Counter[str] = Counter()
        """Answers by status, refusals by code."""
        self._driver = driver
        self._sessions = sessions
        self.keys = keys
        self._proxies = proxies
        self._policy = policy
        self._recorder = recorder
        self._bodies_folder = bodies_folder
        self._held_bytes = held_bytes
        self._held_memory = HeldMemory(bodies_folder)
        self._latencies = latencies
        self.disk = DiskReads()
        """Reads what is held in files: for the listener too."""
        self._by_address: Counter[str] = Counter()
        self._results = Results()
        self._forgetting: asyncio.TimerHandle | None = None
        self._endings: OrderedDict[str, tuple[str, dict[str, Any]]] = OrderedDict()
        self._reserved: set[str] = set()  # ids brought by DApps, while the store is asked about them
        self._random = RandomPool()
        self._tasks: set[asyncio.Task[None]] = set()
        self.draining = False

    # --- http_server.Endpoint -----------------------------------------------------------------------------------------

    def problem(self, status: int, detail: str) -> bytes:
        return edge_problem(status, detail)

    def serve(self, exchange: Exchange) -> None:
        path = exchange.head.path
        exchange.peer = self._proxies.client(exchange.peer, exchange.head.fields)
        try:
            if path == "/session":
                self._serve_session(exchange)
                return
            session = self._authenticate(exchange)
            if path.startswith("/receipts/"):
                self._serve_later(exchange, self._serve_receipt(exchange, session, path.removeprefix("/receipts/")))
            elif path.startswith("/requests/") and path.endswith("/result"):
                self._serve_result(exchange, session, path.removeprefix("/requests/").removesuffix("/result"))
            elif path.startswith("/requests/"):
                self._serve_later(exchange, self._serve_state(exchange, session, path.removeprefix("/requests/")))
            else:
                self._serve_work(exchange, session, path)
        except Exception as error:
            self._refuse_for(exchange, error)

    def _refuse_for(self, exchange: Exchange, error: Exception) -> None:
        """What serving it has raised, as an answer."""
        match error:
            case ProblemError():
                self.refuse(exchange, error.problem)
            case TooMany():
                self.refuse(exchange, Problem(error.code, error.detail), error.retry_after_s)
            case StoreError():
                _log.warning("work.store_away", path=exchange.head.path, error=str(error))
                self.refuse(exchange, Problem("ledger_full", "The ledger cannot be asked now; ask again later."), 2)
            case CentralUnreachable():
                self.refuse(exchange, Problem("central_unreachable", f"Accounts cannot be checked now: {error}."), 5)
            case _:
                trace = "".join(traceback.format_exception(error, limit=20))
                _log.error("work.failed", path=exchange.head.path, trace=trace)
                self.refuse(exchange, Problem("internal"))

    def refuse(self, exchange: Exchange, problem: Problem, retry_after_s: int = 0) -> None:
        self.counters[f"refused {problem.code}"] += 1
        headers: Headers = []
        if problem.status == 401:
            headers.append(("WWW-Authenticate", 'Bearer realm="cgn"'))
        if retry_after_s or problem.status in (429, 503):
            headers.append(("Retry-After", str(retry_after_s or 1)))
        if "allow" in problem.extra:
            headers.append(("Allow", str(problem.extra["allow"])))
        exchange.refuse(problem.status, problem.to_json(), headers)

    # --- sessions -----------------------------------------------------------------------------------------------------

    def _authenticate(self, exchange: Exchange) -> Session:
        """A session that is not known is no wrong API key and holds nobody up: to refuse it costs a look-up, and a
        session key of 256 random bits is not found by trying."""
        key = _bearer(exchange)
        if key is not None:
            session = self._sessions.find(key, self._driver.clock_ms())
            if session is not None:
                exchange.vouch()
                return session
            detail = "The session is unknown, expired or revoked; POST /session opens a new one."
        else:
            detail = "Send 'Authorization: Bearer <session key>'; POST /session opens a session."
        raise ProblemError(Problem("not_authenticated", detail))

    def _serve_session(self, exchange: Exchange) -> None:
        head = exchange.head
        if head.method != "POST":
            raise ProblemError(Problem("method_not_allowed", "A session is opened by POST.", extra={"allow": "POST"}))
        if self.draining:
            raise ProblemError(Problem("draining", "This node is about to stop; use another one."))
        if head.body_bytes is not None and head.body_bytes > limits.SMALL_REQUEST_MAX_BYTES:
            raise ProblemError(_too_large())
        exchange.take_body(_SmallBody(exchange, self, self._open_session), limits.SMALL_BODY_DEADLINE_S)

    def _open_session(self, exchange: Exchange, body: bytes) -> None:
        self._serve_later(exchange, self._ask_session(exchange, body))

    async def _ask_session(self, exchange: Exchange, body: bytes) -> None:
        asked = link.SessionOpen.from_params(_json_object(body))
        answer = await self.keys.ask(
            link.METHOD_SESSION_OPEN,
            asked.to_params(),
            account_id=asked.account_id,
            api_key=asked.api_key,
            peer=exchange.peer,
        )
        if not exchange.open:
            return  # nobody would ever know the key
        # from here to the session without a break: what was granted is what holds now
        key = self._sessions.open(
            self._driver.clock_ms(),
            link.SessionGrant.from_params(answer),
            pair=pair_of(asked.account_id, asked.api_key),
        )
        self.counters["sessions opened"] += 1
        exchange.vouch()
        exchange.answer(201, [_JSON, _NO_STORE], json_body({"session_key": key, "expires_in_s": self._sessions.ttl_s}))

    # --- work ---------------------------------------------------------------------------------------------------------

    def _serve_work(self, exchange: Exchange, session: Session, path: str) -> None:
        admitted = self._admit(exchange, session, path)
        request_id = admitted.options.request_id
        if request_id is not None and (
            request_id in self._driver.requests
            or request_id in self._reserved
            or self._recorder.is_recorded(request_id)
        ):
            raise _duplicate(request_id)
        self._count(session, exchange.peer)
        if request_id is None:
            self._start(admitted, self._random.take(16).hex())
        else:
            self._reserved.add(request_id)
            self._serve_later(exchange, self._start_named(admitted, path, request_id))

    def _admit(self, exchange: Exchange, session: Session, path: str) -> "_Admitted":
        """Raises ProblemError or TooMany. Changes nothing: what has waited since is to be asked again."""
        view = self._policy()
        if view is None:
            raise ProblemError(Problem("central_unreachable", "This node has not heard from Central yet."))
        dservice = view.find(path)
        if dservice is None:
            raise ProblemError(
                Problem("unknown_dservice", f"No DService is at {path[:200]}.", extra={"routes": view.routes})
            )
        options = cgn_headers.parse(exchange.head.headers)
        if isinstance(options, Problem):
            raise ProblemError(options)
        tiers = options.tiers or session.allowed_tiers
        if not set(tiers) <= set(session.allowed_tiers):
            allowed = ", ".join(session.allowed_tiers)
            raise ProblemError(Problem("forbidden", f"CGN-Tier: this account may use tiers {allowed}."))
        if self.draining:
            raise ProblemError(Problem("draining", "This node is about to stop; use another one."))
        if self._recorder.is_full:
            raise ProblemError(Problem("ledger_full", "Work cannot be recorded now, so none is taken."))
        deadline_ms = min(options.deadline_ms or session.deadline_ms, DEADLINE_MAX_MS)
        return _Admitted(exchange, session, view, dservice, options, tiers, self._driver.clock_ms() + deadline_ms)

    async def _start_named(self, admitted: "_Admitted", path: str, request_id: str) -> None:
        """A client that brings its own id may be repeating: what is recorded is not done again (reliability, L2 to
        L4). The id is reserved meanwhile and the request counted, and nothing that was true before the wait is taken
        for true behind it but the deadline."""
        exchange, deadline_ms = admitted.exchange, admitted.deadline_ms
        is_started = False
        try:
            if await self._recorder.is_stored(request_id, (deadline_ms - self._driver.clock_ms()) / 1000):
                raise _duplicate(request_id)
            if exchange.open:
                again = self._admit(exchange, self._authenticate(exchange), path)
                is_started = True  # from here it is given back with the request
                self._start(again._replace(deadline_ms=deadline_ms), request_id)
        except StoreError as error:
            _log.warning("work.store_away", request_id=request_id, error=str(error))
            detail = "Whether CGN-Request-Id was used before cannot be looked up now; send it again later."
            raise ProblemError(Problem("ledger_full", detail)) from None
        finally:
            self._reserved.discard(request_id)
            if not is_started:
                self._uncount(admitted.session, exchange.peer)

    def _start(self, admitted: "_Admitted", request_id: str) -> None:
        """`_count` was called before: what is counted is given back when the request has ended."""
        exchange, driver = admitted.exchange, self._driver
        try:
            request, arrived = self._made(admitted, request_id)
        except Exception:
            self._uncount(admitted.session, exchange.peer)
            raise
        if not driver.take_on(request):
            self._give_back(request)
            raise _duplicate(request_id)
        try:
            if request.body.ended:
                driver.post(arrived)
            elif (refused := driver.broker.refusal_of(arrived)) is not None:
                driver.turn_away(refused)
            if exchange.open:
                exchange.take_body(request)
        except Exception:
            _log.exception("work.start_failed", request_id=request_id)
            request.break_off()

    def _made(self, admitted: "_Admitted", request_id: str) -> tuple[WorkRequest, events.RequestArrived]:
        exchange, session, view, dservice, options, tiers, until_ms = admitted
        driver, head = self._driver, exchange.head
        body = RequestBody(self._bodies_folder)
        if head.body_bytes == 0:
            body.end()
        arrived = events.RequestArrived(
            request=request_id,
            account=session.account_id,
            dservice=dservice.name,
            tiers=tiers,
            deadline_ms=max(1, until_ms - driver.clock_ms()),
            match=options.match,
            level=_level(options),
            max_fee_nano_eur=options.max_fee_nano_eur,
            resumable=True,
        )
        order = WorkOrder(
            id=request_id,
            session=session,
            view=view,
            dservice=dservice,
            method=head.method,
            target=head.target,
            headers=[pair for pair in end_to_end(head, _OURS) if not pair[0].lower().startswith("cgn-")],
            custom=options.meta,
            deadline_ms=until_ms,
            max_fee_nano_eur=options.max_fee_nano_eur,
            is_named=options.request_id is not None,
        )
        request = WorkRequest(
            order,
            exchange,
            body=body,
            held_bytes=self._held_bytes,
            held_memory=self._held_memory,
            driver=driver,
            disk=self.disk,
            admit=None if body.ended else partial(self._hand_over, arrived=arrived),
            recorder=self._recorder.record,
            finished=self._finish_later,
        )
        return request, arrived

    def _hand_over(self, request: WorkRequest, arrived: events.RequestArrived) -> None:
        """Gives the request to the broker. While its body was on its way, what let it in may have ended."""
        left_ms = request.order.deadline_ms - self._driver.clock_ms()
        key = _bearer(request.exchange)
        if key is None or self._sessions.find(key, self._driver.clock_ms()) is not request.order.session:
            code = "not_authenticated"
        elif self._recorder.is_full:
            code = "ledger_full"
        elif left_ms <= 0:
            code = "deadline"
        else:
            self._driver.post(replace(arrived, deadline_ms=left_ms))
            return
        self._driver.turn_away(Refuse(request.id, code))

    def _finish_later(self, request: WorkRequest) -> None:
        """The answer leaves at the end of this turn of the loop; what nobody waits for comes in the next one."""
        asyncio.get_running_loop().call_soon(self._finished, request)

    def _finished(self, request: WorkRequest) -> None:
        """Once per request, whatever became of it: what it held is given back, and one line says everything about
        it."""
        self._give_back(request)
        self._remember(request)
        command, times = request.record_command, request.times
        status = request.response.status if request.state == "done" else 0
        self.counters[(request.outcome and f"refused {request.outcome}") or request.state] += 1
        total_us = (time.monotonic_ns() - times.arrived) // 1000
        if command is not None and request.state == "done" and self._latencies is not None:
            self._latencies(request.order.dservice.name, command.tier, total_us)
        if not _log.is_on(logs.INFO):
            return
        _log.info(
            "request.finished",
            request_id=request.id,
            state=request.state,
            code=request.outcome,
            status=status,
            account=request.order.session.account_id,
            dservice=request.order.dservice.name,
            tier=command.tier if command else "",
            miner=command.miner if command else "",
            attempts=request.attempts,
            fee_nano_eur=command.fee_nano_eur if command else 0,
            ended=command.ended if command else "",
            bytes_in=request.body.length,
            bytes_out=request.exchange.bytes_out,
            total_us=total_us,
        )

    def _remember(self, request: WorkRequest) -> None:
        """What `GET /requests/<id>` may be asked about it."""
        result, request.result = request.result, None
        if result is not None:
            self._keep_result(request, *result)
        elif request.record_command is None:
            state = {"request_id": request.id, "state": request.state, "attempts": request.attempts}
            if request.refusal is not None:
                state |= {"problem": request.refusal.as_dict()}
            self._endings[request.id] = (request.order.session.account_id, state)
            if len(self._endings) > limits.ENDINGS_KEPT:
                self._endings.popitem(last=False)

    def _keep_result(self, request: WorkRequest, status: int, headers: Headers, pieces: list[Piece]) -> None:
        """As bytes under a bound of their own: pieces would take the room, or the files, of answers under way."""

        def keep(data: list[bytes]) -> None:
            now_ms = self._driver.clock_ms()
            self._results.put(request.id, request.order.session.account_id, status, headers, data, now_ms)
            if self._forgetting is None:
                self._forgetting = asyncio.get_running_loop().call_later(limits.RESULTS_SWEEP_S, self._forget_results)

        def on_read(data: bytes, problem: Exception | None) -> None:
            if problem is None:
                keep([data])
            else:
                _log.error("work.result_lost", request_id=request.id, error=repr(problem))

        if all(piece.is_here for piece in pieces):
            keep([piece.load() for piece in pieces])
        else:
            self.disk.read(lambda: b"".join(piece.load() for piece in pieces), on_read)

    def _forget_results(self) -> None:
        """So that a node with nothing to do gives their memory back."""
        self._results.expire(self._driver.clock_ms())
        again = self._results.bytes > 0
        loop = asyncio.get_running_loop()
        self._forgetting = loop.call_later(limits.RESULTS_SWEEP_S, self._forget_results) if again else None

    def _give_back(self, request: WorkRequest) -> None:
        """What the request was counted under."""
        self._uncount(request.order.session, request.exchange.peer)

    def _count(self, session: Session, peer: str) -> None:
        """Counts a request of this account and address, from its arrival. Raises TooMany."""
        limit = limits.CONCURRENCY_PER_ADDRESS_MAX
        if self._by_address[peer] >= limit:
            raise TooMany("concurrency_limited", f"An address may have {limit} requests at once.")
        self._sessions.begin_request(session)
        self._by_address[peer] += 1

    def _uncount(self, session: Session, peer: str) -> None:
        self._sessions.end_request(session)
        self._by_address[peer] -= 1
        if not self._by_address[peer]:
            del self._by_address[peer]

    # --- what became of a request -------------------------------------------------------------------------------------

    async def _serve_receipt(self, exchange: Exchange, session: Session, request_id: str) -> None:
        _only_get(exchange)
        found = await self._recorder.receipt(request_id, session.public_id) if _is_id(request_id) else None
        if found is None:
            raise ProblemError(Problem("not_found", "This account has no finished request with this id here."))
        is_anchored, body = found
        anchored = ("CGN-Anchored", "true" if is_anchored else "false")
        exchange.answer(200, [_JSON, _NO_STORE, anchored], body)

    async def _serve_state(self, exchange: Exchange, session: Session, request_id: str) -> None:
        _only_get(exchange)
        live = self._driver.requests.get(request_id)
        if isinstance(live, WorkRequest) and live.order.session.account_id == session.account_id:
            state = {"request_id": request_id, "state": live.state, "attempts": live.attempts}
            exchange.answer(200, [_JSON, _NO_STORE], json_body(state))
            return
        found = await self._recorder.cost(request_id, session.public_id) if _is_id(request_id) else None
        if found is None:
            account, ending = self._endings.get(request_id, ("", None))
            if ending is None or account != session.account_id:
                raise ProblemError(Problem("not_found", "This account has no request with this id here."))
            exchange.answer(200, [_JSON, _NO_STORE], json_body(ending))
            return
        exchange.answer(200, [_JSON, _NO_STORE], json_body({"request_id": request_id, "state": "done", **found}))

    def _serve_result(self, exchange: Exchange, session: Session, request_id: str) -> None:
        _only_get(exchange)
        result = self._results.get(request_id, session.account_id, self._driver.clock_ms())
        if result is None:
            seconds = limits.RESULTS_KEPT_MS // 1_000
            detail = f"No result of this account is kept under this id; named ones are, up to 1 MiB, for {seconds} s."
            raise ProblemError(Problem("not_found", detail))
        exchange.answer(result.status, list(result.headers), result.pieces)

    def _serve_later(self, exchange: Exchange, coroutine: Coroutine[Any, Any, None]) -> None:
        """For what has to ask somebody: a task, watched, whose failures become refusals."""
        task = asyncio.get_running_loop().create_task(self._guarded(exchange, coroutine))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(self, exchange: Exchange, coroutine: Coroutine[Any, Any, None]) -> None:
        try:
            await coroutine
        except Exception as error:
            self._refuse_for(exchange, error)


_OURS = frozenset({"authorization"})


def _bearer(exchange: Exchange) -> str | None:
    """The session key that a request shows, if it shows one."""
    scheme, _, key = exchange.head.fields.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else None


def _level(options: cgn_headers.WorkOptions) -> events.ServiceLevel | None:
    if not options.has_service_level:
        return None
    return events.ServiceLevel(
        options.min_threads, options.min_kmips_per_thread_milli, options.min_bandwidth_bytes_per_s
    )


def _duplicate(request_id: str) -> ProblemError:
    where = f"/requests/{request_id}"
    detail = f"This id was used before; GET {where} says what became of it, {where}/result what it was."
    return ProblemError(Problem("duplicate_request", detail, extra={"request_id": request_id}))


def _is_id(text: str) -> bool:
    return len(text) == 32 and all(char in "0123456789abcdef" for char in text)


def _only_get(exchange: Exchange) -> None:
    if exchange.head.method not in ("GET", "HEAD"):
        raise ProblemError(Problem("method_not_allowed", "Ask by GET.", extra={"allow": "GET, HEAD"}))


def _too_large() -> Problem:
    return Problem("body_too_large", f"This body may have {limits.SMALL_REQUEST_MAX_BYTES} bytes.")


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ProblemError(Problem("bad_json", f"The body is not JSON: {str(error)[:100]}.")) from None
    if not isinstance(value, dict):
        raise ProblemError(Problem("bad_json", "The body is not a JSON object."))
    return value


class _Admitted(NamedTuple):
    """A request that may go to the broker."""

    exchange: Exchange
    session: Session
    view: PolicyView
    dservice: link.DServicePolicy
    options: cgn_headers.WorkOptions
    tiers: tuple[str, ...]
    deadline_ms: int
    """On the driver's clock, from the request's arrival."""


class _SmallBody:
    """Takes a whole short body, then calls `done`."""

    def __init__(self, exchange: Exchange, endpoint: WorkEndpoint, done: Callable[[Exchange, bytes], None]) -> None:
        self._exchange = exchange
        self._endpoint = endpoint
        self._done = done
        self._body = b""

    def body_received(self, data: bytes) -> None:
        self._body += data
        if len(self._body) > limits.SMALL_REQUEST_MAX_BYTES and self._exchange.open:
            self._endpoint.refuse(self._exchange, _too_large())

    def body_ended(self) -> None:
        if self._exchange.open:
            self._done(self._exchange, self._body)

    def peer_lost(self) -> None: ...

    def writable(self) -> None: ...

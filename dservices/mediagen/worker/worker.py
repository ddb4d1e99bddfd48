"""A worker process: one request at a time, script and pixels together, no network, bounded memory; made to be killed.

It talks to its parent over one socket (descriptor 3, `channel`). The parent fetches for it. Descriptor 4 is one shared
page where the worker notes what it is doing, so that the parent can say something sensible about a worker that died.
"""

from __future__ import annotations

import gc
import mmap
import os
import re
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Protocol

import pyvips
from cgn_sdk.dservice.problems import Problem

from dservices.mediagen import limits
from dservices.mediagen.channel import (
    PHASE_FETCH,
    PHASE_HOST,
    PHASE_IDLE,
    PHASE_SCRIPT,
    Data,
    MessageTooLong,
    Status,
    WorkerEnd,
)
from dservices.mediagen.language import catalogue, scripts
from dservices.mediagen.language.mrl import ENTRY, Mrl
from dservices.mediagen.operations import fonts
from dservices.mediagen.worker import confinement, engine, identity, simd
from dservices.mediagen.worker.engine import ScriptStopped
from dservices.mediagen.worker.host import Host, script_table
from dservices.mediagen.worker.memory import Memory

CONTEXTS_AHEAD = 8
"""Fresh contexts kept ready, about 2 MiB each: the requests of a short burst find one without waiting 1.5 ms for it."""
PREPARE_AFTER_MS = 2
"""Idle for so long, a worker makes contexts for later."""


class Estimates(Protocol):
    """Who weighs a request instead of doing it (G-8); `dservices.mediagen.estimator` has it."""

    def host(self, mrl: Mrl, headers: Mapping[str, str], fetch: Any, fonts: fonts.Fonts, **options: Any) -> Host:
        """A host that answers the script's calls without pixels."""

    def conclude(self, host: Any, script: scripts.Script, failure: Problem | None) -> bytes:
        """The answer once the script has run. Raises `failure` where nothing can be said."""

    def refresh(self) -> None:
        """Measures the machine's speed again, while nobody waits."""


class Runner:
    """What stays between requests: libraries, fonts, and the next request's fresh context."""

    def __init__(self, channel: WorkerEnd, status: Status, estimates: Estimates) -> None:
        # libvips counts SVG among what VIPS_BLOCK_UNTRUSTED switches off; G-6 wants it read, and it draws the shapes.
        pyvips.operation_block_set("VipsForeignLoadSvg", False)
        pyvips.cache_set_max(0)  # one request's pictures must not stay for the next
        self._channel, self._status, self._estimates = channel, status, estimates
        self._fonts = fonts.Fonts(_path(os.environ.get("CGN_MEDIAGEN_FONTS")))
        self._engine = identity.engine(self._fonts.digest)
        for path in self._fonts.passed_over:
            text = "is a Type 1 font that cannot be read"
            print(f"WARNING cgn.mediagen.worker {path} {text}", file=sys.stderr)
        self._fonts.install()
        self._table = script_table()
        self._scripts = scripts.Scripts()
        self._used: list[Any] = []
        self._estimated = False
        self.spent = False
        self._held: Any = None
        self.waiting: Callable[[int], bool] | None = None
        """Whether a frame has come within so many milliseconds; set by `main`, where there is a real channel."""
        self._fresh: list[Any] = [engine.Context(self._table)]
        pyvips.Image.text("warm", font="Source Sans Pro 12").avg()

    def prepare(self, waiting: Callable[[], bool] = lambda: False) -> None:
        """Fresh contexts for the next requests, made while nobody waits: it stops as soon as `waiting` says somebody
        does."""
        while not waiting():
            if self._used:
                self._used.pop().close()
            elif len(self._fresh) < CONTEXTS_AHEAD:
                context = engine.Context(self._table)
                context.warm()
                self._fresh.append(context)
            else:
                if self._estimated:
                    self._estimates.refresh()
                return

    def forget(self) -> None:
        """Lets go of the last request: giving back its pictures takes a while, so the answer goes first."""
        self._held = None

    def _take_context(self) -> Any:

        while len(self._used) > CONTEXTS_AHEAD:  # never idle: what was used must go nevertheless
            self._used.pop().close()
        return self._fresh.pop() if self._fresh else engine.Context(self._table)

    def run(
        self, order: Mapping[str, Any], upload: Data = b"", script: bytes | None = None
    ) -> tuple[dict[str, Any], bytes]:
        """One request: (outcome, body). The script comes with it, or is fetched."""
        try:
            with simd.without() if order.get("portable") else nullcontext():
                return self._run(order, upload, script)
        except Problem as problem:
            problem.__traceback__ = problem.__context__ = None  # the same here: see `Host`
            return {"problem": [problem.status, problem.code, problem.detail, problem.facts]}, b""
        except MemoryError:
            return {"problem": [422, "work_memory", "the request needs more memory than it may have", {}]}, b""
        except Exception:
            # Ours to fix, and this request's alone: the worker goes on, the operator sees where.
            traceback.print_exc(file=sys.stderr)
            return {"problem": [500, "internal_error", "the request failed inside the service", {}]}, b""

    def _run(self, order: Mapping[str, Any], upload: Data, main: bytes | None) -> tuple[dict[str, Any], bytes]:

        mrl = Mrl(order["script"], order["function"], tuple(order["arguments"]), order["parameters"], order["query"])

        def read(address: str) -> bytes:
            if main is not None and address == mrl.script:
                return main
            return self._fetch(address, "script")[:]

        script = self._scripts.get(mrl.script, read)
        estimated = order.get("mode") == "estimate"  # asked about a request instead of doing it
        host = self._host_for(order, mrl, script, upload)
        self._held = host

        def call(text: str) -> str:
            self._status.note(PHASE_HOST)
            try:
                return host.call(text)
            finally:
                self._status.note(PHASE_SCRIPT)

        context = self._take_context()
        try:
            self._status.note(PHASE_SCRIPT)
            try:
                report = context.run(script.code, mrl.function, mrl.arguments, call)
            except ScriptStopped as stop:
                self.spent = stop.reason != "parse"  # an isolate that was stopped by force is not trusted again
                raise _stopped(stop, script) from None
            failure = None if "done" in report else _failed(report, host, script, mrl.function)
            if "absent" in report and mrl.function == ENTRY and host.answer.body is not None:
                failure = None  # a script that is run from top to bottom, and has answered
        finally:
            self._used.append(context)  # closed when nobody waits
        if estimated:
            return {"estimated": True}, self._estimates.conclude(host, script, failure)
        if failure is not None:
            raise failure
        answer = host.answer
        if answer.body is None:
            raise Problem(
                422,
                "no_response",
                "the script ended without an answer: save without a name, or resp.setObject",
                log=host.printed or None,
            )
        return {
            "status": answer.status,
            "headers": {"Content-Type": answer.content_type, **answer.headers},
            "cached": answer.cached,
            "looked_at": sorted(answer.looked_at),
            "printed": host.printed,
            "sources": host.sources,
            "source_bytes": host.source_bytes,
            "steps": host.steps,
            "format": answer.format,
            "engine": self._engine,
        }, answer.body

    def _host_for(self, order: Mapping[str, Any], mrl: Any, script: Any, upload: Data) -> Any:
        """Who answers the script's calls: the one that does the work, or the one that only weighs it."""

        uploads, position = {}, 0
        for name, size in order.get("uploads", ()):
            uploads[name] = upload[position : position + size]
            position += size
        # Work that is done again to be compared puts nothing anywhere.
        put = _put_nothing if order.get("mode") == "again" else self._put
        options: dict[str, Any] = {
            "locate": script.locate,
            "put": put,
            "uploads": uploads,
            "stores": frozenset(order.get("stores", ())),
        }
        if order.get("mode") != "estimate":
            return Host(mrl, order["headers"], self._fetch, self._fonts, **options)

        self._estimated = True
        size = int(order["body_bytes"])
        return self._estimates.host(mrl, order["headers"], self._fetch, self._fonts, body_bytes=size, **options)

    def _fetch(self, address: str, purpose: str) -> Data:
        self._status.note(PHASE_FETCH)
        self._channel.send({"fetch": address, "purpose": purpose})
        if self.waiting is not None and not self.waiting(PREPARE_AFTER_MS):
            self.prepare(lambda: self.waiting is None or self.waiting(0))  # an origin that is far away leaves time
        message, blob = self._channel.receive()
        self._status.note(PHASE_HOST)
        _raise(message)
        return blob

    def _put(self, address: str, data: bytes, content_type: str) -> None:
        self._status.note(PHASE_FETCH)
        self._channel.send({"put": address, "content_type": content_type}, data)
        message, _ = self._channel.receive()
        self._status.note(PHASE_HOST)
        _raise(message)


def _put_nothing(address: str, data: bytes, content_type: str) -> None:
    pass


def _raise(message: Mapping[str, Any]) -> None:
    if "problem" in message:
        status, code, detail, facts = message["problem"]
        raise Problem(status, code, detail, **facts)


def _path(text: str | None) -> Path | None:

    return Path(text) if text else None


def _stopped(stop: Any, script: Any) -> Exception:

    if stop.reason == "parse":
        message, line, column = scripts.engine_message(stop.text)
        line, column, file = script.locate(line, column)
        return scripts.syntax_problem(message, line, column, None, file)
    if stop.reason == "memory":
        return Problem(
            422, "script_memory", f"the script needs more than {limits.SCRIPT_HEAP_MAX_BYTES >> 20} MiB of memory"
        )
    return Problem(422, "script_timeout", f"the script ran longer than {limits.SCRIPT_CPU_S:g} s")


def _failed(report: Mapping[str, Any], host: Any, script: Any, function: str) -> Exception:
    """A problem out of what the prelude reports. It comes out of the script's own context, so nothing in it is
    believed.
    """

    reference = report.get("problem")
    if isinstance(reference, dict) and type(reference.get("ref")) is int and 0 <= reference["ref"] < len(host.problems):
        problem: Problem = host.problems[reference["ref"]]
        if host.printed:
            problem.facts["log"] = host.printed
        return problem
    if report.get("absent") is not None:
        return Problem(
            422,
            "script_no_function",
            f"the script defines no function {function}" + (" and gave no answer" if function == ENTRY else ""),
            expected=f"function {function}() {{ … }}",
            log=host.printed or None,
        )
    if report.get("pending") is True:
        return Problem(
            422,
            "script_pending",
            f"{function} waits for a promise that nothing can settle any more: a script has no timers",
            log=host.printed or None,
        )
    if isinstance(report.get("thrown_text"), str):
        message, line, column = scripts.engine_message(report["thrown_text"])
        for refused in reversed(host.problems):  # by the host, and nothing in the script caught it
            if message == f"MediaScriptError: {refused.detail}".partition("\n")[0]:
                refused.facts.update({"log": host.printed} if host.printed else {})
                return refused
    else:
        message = str(report.get("thrown", "the script failed"))[:2000]
        found = re.search(r"script\.ms:(\d{1,9}):(\d{1,9})", str(report.get("stack", "")))
        line, column = (int(found[1]), int(found[2])) if found else (0, 0)
    missing = str(report.get("missing", ""))
    found_method = re.search(r"\.(\w{1,64}) is not a function", message)
    facts: dict[str, Any] = {"log": host.printed or None}
    if line:
        line, column, file = script.locate(line, column)
        facts.update({"line": line, "column": column, "file": file})
    if found_method and found_method[1] == missing:
        problem = catalogue.unknown_method(missing)
        problem.facts.update({name: value for name, value in facts.items() if value is not None})
        return problem
    where = f"line {line}, column {column}: " if line else ""
    return Problem(422, "script_failed", f"{where}{message}", **facts)


def main(estimates: Estimates) -> int:
    """The process: talks to its parent until that is gone."""

    memory_bytes = int(sys.argv[1])
    channel = WorkerEnd(socket.socket(fileno=3))
    page = mmap.mmap(4, mmap.PAGESIZE)
    status = Status(page)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    more_fonts = _path(os.environ.get("CGN_MEDIAGEN_FONTS"))
    missing = confinement.fence(more_fonts, fonts.prepared(fonts.chosen_files(more_fonts)))
    runner = Runner(channel, status, estimates)
    runner.waiting = channel.waiting
    # What is there now stays: the collector need not walk through it in the middle of a request.
    gc.collect()
    gc.freeze()
    for lack in [*missing, *confinement.confine(memory_bytes)]:
        print(f"WARNING cgn.mediagen.worker this worker is less confined than it should be: {lack}", file=sys.stderr)
    memory = Memory()
    status.note_idle(memory.in_use())
    channel.send({"ready": os.getpid()})
    while True:
        order, script, uploads = channel.receive_all()
        status.begin()
        outcome, body = runner.run(order["run"], uploads[0] if uploads else b"", script)
        del uploads
        status.note(PHASE_IDLE)
        try:
            channel.send({"done": outcome, "spent": runner.spent}, body)
        except MessageTooLong:
            refusal = [422, "script_output", "the answer's headers and messages are too long", {}]
            channel.send({"done": {"problem": refusal}, "spent": runner.spent})
        del outcome, body
        runner.forget()
        # The answer first: on one core preparing at once would delay what the front still does for it. If spent, the
        # parent ends this process.
        if not runner.spent:
            status.note_idle(memory.in_use())
            if not channel.waiting(PREPARE_AFTER_MS):
                runner.prepare(channel.waiting)
                status.note_idle(memory.in_use())

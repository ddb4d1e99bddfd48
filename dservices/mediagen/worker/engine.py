"""V8 as MediaGen uses it: one fresh context per request, one synchronous way out, limits on time and memory.

`mini-racer` brings V8 as a wheel; its Python layer offers host functions only as promises, which MediaScript (load,
then
ask for the width) cannot use. So this adapter drives the library's C interface, as the wheel declares it: the host
function
is called on V8's thread and answers before it returns. Arguments and answers are JSON in one buffer shared with V8, of
fixed size; the host believes nothing in it.

A script that runs on is ended from outside (`mr_cancel_task`); one that eats memory by V8's own limit. Should V8 itself
die, the worker process dies with it, and the pool answers for it.
"""

from __future__ import annotations

import ctypes
import functools
import json
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from dservices.mediagen import limits

REMOVED_GLOBALS = (
    "SharedArrayBuffer",
    "Atomics",
    "WebAssembly",
    "setTimeout",
    "clearTimeout",
    "console",
    "Temporal",
    "Intl",
    "WeakRef",
    "FinalizationRegistry",
    "ArrayBuffer",
    "DataView",
    "Int8Array",
    "Uint8Array",
    "Uint8ClampedArray",
    "Int16Array",
    "Uint16Array",
    "Int32Array",
    "Uint32Array",
    "BigInt64Array",
    "BigUint64Array",
    "Float16Array",
    "Float32Array",
    "Float64Array",
)
"""Clocks, shared memory, code that is not JavaScript, and memory outside V8's heap limit. MediaScript has none
of them.
"""
FLAGS = ("--single-threaded",)
"""Measured beside it and without effect on making, running and closing a context: fewer compilers, no draft features of
the language, fixed seeds, other pages. Reading functions twice (`--max-lazy`) costs 0.25 ms."""
SCRIPT_NAME = "script.ms"
_STRING, _SHARED_BUFFER = 5, 101
_FIRST_ERROR, _PARSE_ERROR, _MEMORY, _TIMEOUT, _TERMINATED = 200, 201, 202, 203, 204
_HOST_CALLBACK = 7
_TASK_CALLBACK = 1

HostCall = Callable[[str], str]


class ScriptStopped(Exception):
    """The engine ended the script: `reason` is "time", "memory" or "parse" (then `text` is V8's message)."""

    def __init__(self, reason: str, text: str = "") -> None:
        super().__init__(f"{reason}: {text}")
        self.reason, self.text = reason, text


@dataclass(frozen=True, slots=True)
class _Value:
    type: int
    text: str
    pointer: int
    length: int
    raw: Any


def _library() -> ctypes.CDLL:
    from py_mini_racer import init_mini_racer

    return init_mini_racer(flags=FLAGS, ignore_duplicate_init=True)


def _report(outcome: _Value) -> dict[str, Any]:
    report = json.loads(outcome.text) if outcome.type == _STRING else {"thrown_text": outcome.text}
    return report if isinstance(report, dict) else {"thrown_text": "the script changed how it is started"}


PARTS: dict[str, tuple[str, ...]] = {
    "answers": ("TextResponse", "RespType", "resp"),
    "chance": (),
    "clock": ("Date",),
    "colours": ("RgbColor", "CmykColor", "rgb", "RgbColorFromPct"),
    "errors": ("MediaScriptError",),
    "files": ("File", "Zip"),
    "framework": (),
    "metadata": ("IPTCMetadata", "ExifMetadata"),
    "profiles": ("IccProfile",),
    "request": ("req", "print", "version", "error", "getScriptFileName", "getPropertyValue"),
    "values": (),
    "xml": ("XmlDocument",),
}
"""The files of `prelude/` beside `core.js`, and the globals whose first use makes V8 compile one."""


def _source(name: str) -> str:
    """A file of the prelude without comments and indentation, which V8 would read in every context."""
    text = resources.files("dservices.mediagen.worker").joinpath(f"prelude/{name}.js").read_text("utf-8")
    lines = (line.strip() for line in text.splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("//"))


@functools.cache
def _code(table: str) -> tuple[str, dict[str, str]]:
    """The prelude over these names (JSON of `host.script_table`), and its parts by name."""
    names = json.loads(table)
    methods = f"|{'|'.join(names['methods'])}|"
    lazy = [text for part, listed in PARTS.items() for name in listed for text in (name, part)]
    core = f"{_source('core')}({limits.CALL_MAX_CHARS}, {json.dumps(methods)}, {lazy}, {list(REMOVED_GLOBALS)})"
    parts = {
        part: f"(tools => {_source(part)}(tools, {json.dumps(names.get(part))}))\n//# sourceURL=mediascript"
        for part in PARTS
    }
    return f"{core}\n//# sourceURL=mediascript", parts


class Context:
    """One isolate with MediaScript's objects in place. Used for one script, then closed."""

    def __init__(self, table: str) -> None:
        from py_mini_racer._dll import mr_callback_func

        self._library = _library()
        self._results: queue.SimpleQueue[_Value] = queue.SimpleQueue()
        self._callback = mr_callback_func(self._on_callback)
        self._host: HostCall | None = None
        self._host_seconds = 0.0
        self._host_since: float | None = None
        self._parts: dict[str, str] = {}
        self._memory: Any = None
        self._units: Any = None
        self._lock = threading.Lock()
        self._context = self._library.mr_init_context(self._callback)
        self._library.mr_set_hard_memory_limit(self._context, limits.SCRIPT_HEAP_MAX_BYTES)
        self._install(table)

    def _install(self, table: str) -> None:
        library, context = self._library, self._context
        code, self._parts = _code(table)
        border = self._evaluate(code)
        if border.type >= _FIRST_ERROR:
            raise RuntimeError(f"the prelude failed: {border.text[:300]}")
        buffer = library.mr_get_object_item(context, border.raw, self._string("buffer")).contents
        if buffer.type != _SHARED_BUFFER or buffer.len != 8 + 2 * limits.CALL_MAX_CHARS:
            raise RuntimeError("the JavaScript engine gave no shared buffer")
        self._memory = (ctypes.c_int32 * 2).from_address(buffer.value.value_ptr)
        self._units = (ctypes.c_char * (2 * limits.CALL_MAX_CHARS)).from_address(buffer.value.value_ptr + 8)
        function = library.mr_make_js_callback(context, _HOST_CALLBACK)
        library.mr_set_object_item(context, border.raw, self._string("host"), function)

    def warm(self) -> None:
        """Compiles what many scripts name: for a context that is made while nobody waits. No script can tell."""
        self._evaluate("__warm()")

    def run(self, code: str, function: str, arguments: Sequence[Any], host: HostCall) -> dict[str, Any]:
        """Evaluates the script and calls its function. What happened, as the prelude reports it; ScriptStopped
        otherwise.
        """
        self._host = host
        try:
            return self._run(code, function, arguments)
        finally:
            self._host = (
                None  # with it go the request's pictures; this object lives until somebody has time to close it
            )

    def _run(self, code: str, function: str, arguments: Sequence[Any]) -> dict[str, Any]:
        started = time.monotonic()
        outcome = self._evaluate(f"{code}\n//# sourceURL={SCRIPT_NAME}", started)
        self._raise_stop(outcome)
        if outcome.type == _FIRST_ERROR:
            missing = self._evaluate("__missing()", started)
            return {"thrown_text": outcome.text, "missing": missing.text if missing.type == _STRING else ""}
        literal = json.dumps(list(arguments)).replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
        outcome = self._evaluate(f"__start({json.dumps(function)}, {literal}, () => {function})", started)
        if outcome.type == _PARSE_ERROR:  # the name is a reserved word
            return {"absent": function}
        self._raise_stop(outcome)
        report = _report(outcome)
        if report.get("pending") is True:  # an async function: what it waits for has happened by now, or never will
            outcome = self._evaluate("__settled()", started)
            self._raise_stop(outcome)
            report = _report(outcome)
        return report

    @staticmethod
    def _raise_stop(outcome: _Value) -> None:
        if outcome.type == _PARSE_ERROR:
            raise ScriptStopped("parse", outcome.text)
        if outcome.type == _MEMORY:
            raise ScriptStopped("memory")
        if outcome.type in (_TIMEOUT, _TERMINATED):
            raise ScriptStopped("time")

    def close(self) -> None:
        self._library.mr_free_context(self._context)
        self._callback = None  # it refers back to this object

    # -- V8 -----------------------------------------------------------------------------------------------------

    def _string(self, text: str) -> Any:
        data = text.encode("utf-8", "replace")
        return self._library.mr_alloc_string_val(self._context, data, len(data), _STRING)

    def _evaluate(self, code: str, started: float | None = None) -> _Value:
        handle = self._string(code)
        task = self._library.mr_eval(self._context, handle, _TASK_CALLBACK)
        try:
            while True:
                wait = 10.0 if started is None else self._time_left(started)
                if wait <= 0:
                    self._library.mr_cancel_task(self._context, task)
                    wait = 5.0
                    started = None
                try:
                    return self._results.get(timeout=wait)
                except queue.Empty:
                    if started is None:
                        raise ScriptStopped("time") from None
        finally:
            self._library.mr_free_value(self._context, handle)

    def _time_left(self, started: float) -> float:
        """Of the script's own time: what the host takes (fetching, pixels) is bounded elsewhere."""
        with self._lock:
            now = time.monotonic()
            in_host = self._host_seconds + (now - self._host_since if self._host_since is not None else 0.0)
            if self._host_since is not None:
                return limits.SCRIPT_CPU_S
            return limits.SCRIPT_CPU_S - (now - started - in_host)

    def _on_callback(self, callback: int, raw: Any) -> None:
        """On V8's thread. An exception must not cross into C."""
        if callback == _HOST_CALLBACK:
            self._library.mr_free_value(self._context, raw)
            self._answer_host_call()
            return
        content = raw.contents
        pointer = content.value.value_ptr or 0
        is_text = content.type == _STRING or content.type >= _FIRST_ERROR
        text = ctypes.string_at(pointer, content.len).decode("utf-8", "replace") if is_text and content.len else ""
        self._results.put(_Value(content.type, text, pointer, content.len, raw))

    def _answer_host_call(self) -> None:
        with self._lock:
            self._host_since = time.monotonic()
        try:
            length = self._memory[0]
            if not -limits.CALL_MAX_CHARS <= length <= limits.CALL_MAX_CHARS:
                raise ValueError("length")
            text = bytes(self._units[: 2 * abs(length)]).decode("utf-16-le", "surrogatepass")
            if length < 0:
                answer = self._parts[text]
            else:
                assert self._host is not None
                answer = self._host(text)
        except BaseException:
            answer = '{"problem":{"code":"internal_error","status":500,"detail":"the host failed"}}'
        data = answer.encode("utf-16-le", "surrogatepass")
        if len(data) > 2 * limits.CALL_MAX_CHARS:
            data = '{"problem":{"code":"script_output","status":422,"detail":"the answer is too long"}}'.encode(
                "utf-16-le"
            )
        ctypes.memmove(self._units, data, len(data))
        self._memory[0] = len(data) // 2
        with self._lock:
            assert self._host_since is not None
            self._host_seconds += time.monotonic() - self._host_since
            self._host_since = None

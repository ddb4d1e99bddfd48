"""Structured logs: one line per event, coloured text for people at a terminal, JSON for machines (O-6).

    log = logs.get("broker")
    log.info("request.finished", request_id=request_id, total_ms=3)

An event is a dotted name, what belongs to it are named fields; a line below the level costs one comparison.
Secrets never reach a line: values of type `Secret` hide themselves, fields with a telling name are hidden here,
`configure(hide=...)` takes patterns of keys that might travel inside longer text, and `configure(redact=...)` takes a
function that removes what no pattern describes.

Lines of libraries that use the standard `logging` come out in the same form (warnings and above).

A line never raises and never holds up an event loop: on a full disk, a closed pipe, a reader that stands still, or with
a value that cannot be shown, it is dropped and counted (`dropped`), and the first line that can be written again is
preceded by one that says how many are missing.
"""

import asyncio
import atexit
import functools
import json
import logging
import os
import re
import select
import stat
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, TextIO

DEBUG, INFO, WARNING, ERROR = 10, 20, 30, 40
LEVELS = {"debug": DEBUG, "info": INFO, "warning": WARNING, "error": ERROR}
_NAMES = {value: name for name, value in LEVELS.items()}

FIELD_CHARACTERS_MAX = 2_000
"""A longer value is cut: what strangers send must not fill the disk line by line."""

GATHER_S = 0.05
"""Lines below a warning may wait this long for others, so that one system call writes them all."""
GATHERED_LINES_MAX = 256
"""More than these do not wait."""

LIBRARY_LINES_PER_MINUTE = 30
"""Lines of one library with one wording: a stranger can cause some by the thousand (a handshake that fails)."""
LIBRARY_WORDINGS_MAX = 500
"""Wordings told apart within a minute."""

OWED_BYTES_MAX = 1 << 20
"""Lines kept for a pipe whose reader is slow; what comes on top is dropped."""
PIPE_BYTES = 4_096
"""POSIX's PIPE_BUF on Linux: so much can be written to a pipe that polls as writable without waiting."""
LAST_WORDS_S = 1.0
"""How long the end of the process waits for a pipe's reader."""

_HIDDEN = "[hidden]"
_SECRET_FIELDS = frozenset(
    ["api_key", "authorization", "cookie", "password", "private_key", "secret", "session_key", "token", "key"]
)
_COLOURS = {DEBUG: "\x1b[2m", INFO: "\x1b[36m", WARNING: "\x1b[33m", ERROR: "\x1b[31m"}
_RESET, _DIM = "\x1b[0m", "\x1b[2m"
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")

Sink = Callable[[int, str, str, dict[str, Any]], None]


class _State:
    """The one place that says where lines go; `configure` sets it, once per process."""

    level: int = INFO
    sink: Sink | None = None
    hide: tuple[re.Pattern[str], ...] = ()
    redact: Callable[[str], str] | None = None
    lines: "_Lines | None" = None
    unshown: int = 0
    """Lines that could not even be made: a value raised while it was turned into text."""


class Log:
    """A named source of events. Make one per module with `get`."""

    __slots__ = ("bound", "name")

    def __init__(self, name: str, bound: dict[str, Any] | None = None) -> None:
        self.name = name
        self.bound = bound or {}

    def bind(self, **fields: Any) -> "Log":
        """The same source with fields that every line carries."""
        return Log(self.name, {**self.bound, **fields})

    def is_on(self, level: int) -> bool:
        return level >= _State.level

    def debug(self, event: str, /, **fields: Any) -> None:
        if _State.level <= DEBUG:
            _emit(DEBUG, self, event, fields)

    def info(self, event: str, /, **fields: Any) -> None:
        if _State.level <= INFO:
            _emit(INFO, self, event, fields)

    def warning(self, event: str, /, **fields: Any) -> None:
        if _State.level <= WARNING:
            _emit(WARNING, self, event, fields)

    def error(self, event: str, /, **fields: Any) -> None:
        _emit(ERROR, self, event, fields)

    def exception(self, event: str, /, **fields: Any) -> None:
        """An error with the trace of the exception being handled."""
        _emit(ERROR, self, event, {**fields, "trace": traceback.format_exc(limit=20)})


def get(name: str) -> Log:
    return Log(name)


def configure(
    *,
    level: str = "info",
    form: str = "auto",
    stream: TextIO | None = None,
    hide: Sequence[str] = (),
    redact: Callable[[str], str] | None = None,
) -> None:
    """Says where lines go. `form` is `text`, `json` or `auto` (text at a terminal). `hide` holds regular expressions
    whose matches inside any text are hidden; `redact` returns any text with its secrets taken out."""
    out = stream if stream is not None else sys.stderr
    as_text = form == "text" or (form == "auto" and out.isatty())
    _State.level = LEVELS[level]
    _State.hide = tuple(re.compile(pattern) for pattern in hide)
    _State.redact = redact
    lines = _Lines(out, _text_notice if as_text else _json_notice)
    _State.sink = _text_sink(lines, colour=out.isatty()) if as_text else _json_sink(lines)
    _State.lines = lines
    root = logging.getLogger()
    root.handlers[:] = [_Bridge()]
    root.setLevel(logging.WARNING)


def dropped() -> int:
    """Lines that were lost since the start of the process: a metric."""
    return _State.unshown + (_State.lines.dropped if _State.lines is not None else 0)


def clean(name: str, value: Any) -> Any:
    """A field's value as it may be shown: secrets hidden, long text cut."""
    if name in _SECRET_FIELDS:
        return _HIDDEN
    if isinstance(value, (bool, int, float)) or value is None:
        return value
    if isinstance(value, bytes):
        value = value.hex()
    elif isinstance(value, dict):
        return {str(key): clean(str(key), entry) for key, entry in value.items()}
    elif isinstance(value, (list, tuple)):
        return [clean("", entry) for entry in value]
    text = value if isinstance(value, str) else str(value)
    limit = FIELD_CHARACTERS_MAX * (10 if name == "trace" else 1)
    if len(text) > limit:
        text = text[:limit] + f"… ({len(text)} characters)"
    return _without_secrets(text)


def _emit(level: int, log: Log, event: str, fields: dict[str, Any]) -> None:
    sink = _State.sink
    if sink is None:
        if level >= ERROR:
            _unconfigured(log, event, fields)
        return
    try:
        shown = dict(log.bound) if log.bound else {}
        for name, value in fields.items():
            kind = type(value)
            if name in _SECRET_FIELDS:
                shown[name] = _HIDDEN
            elif kind is int:
                shown[name] = value
            elif kind is str and len(value) <= FIELD_CHARACTERS_MAX:  # nearly all fields
                shown[name] = _without_secrets(value)
            else:
                shown[name] = clean(name, value)
        sink(level, log.name, event, shown)
    except Exception:  # whatever a value does when it is shown: who logs goes on
        _State.unshown += 1


def _unconfigured(log: Log, event: str, fields: dict[str, Any]) -> None:
    """A program that never said where its lines go: an error is told all the same, on standard error."""
    try:
        shown = " ".join(f"{name}={clean(name, value)}" for name, value in fields.items())
        print(f"{log.name} {event} {shown}", file=sys.stderr, flush=True)
    except Exception:
        _State.unshown += 1


def _without_secrets(text: str) -> str:
    for pattern in _State.hide:
        text = pattern.sub(_HIDDEN, text)
    return text if _State.redact is None else _State.redact(text)


class _Lines:
    """Where whole lines go: a file, a pipe, a terminal. See the module: nothing here raises.

    Bytes go to the descriptor itself, since what Python's own buffers hold after a failed write is not known.
    """

    def __init__(self, out: TextIO, notice: Callable[[int], str]) -> None:
        self.dropped = 0
        self._out = out
        self._notice = notice
        self._owed = bytearray()
        self._unsaid = 0
        self._saying = 0
        self._is_torn = False
        self._timer: asyncio.TimerHandle | None = None
        try:
            self._descriptor = out.fileno()
            out.flush()
            mode = os.fstat(self._descriptor).st_mode
        except (OSError, ValueError, AttributeError):  # a stream in memory
            self._descriptor, mode = -1, stat.S_IFREG
        self._may_block = stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or stat.S_ISCHR(mode)

    def write(self, text: str) -> None:
        """One or more whole lines."""
        if self._unsaid and not self._owed:
            self._saying = self._unsaid
            text = self._notice(self._unsaid) + text
        data = text.encode("utf-8", "backslashreplace")
        if len(self._owed) + len(data) > OWED_BYTES_MAX and self._owed:
            self._count(data.count(b"\n"))
            return
        if self._is_torn and not self._owed:  # the end of the last line was dropped
            data = b"\n" + data
        self._owed += data
        self.flush()

    def flush(self, wait_s: float = 0.0) -> None:
        """Writes what is owed as far as that is possible now; the rest follows by the loop's timer."""
        self._timer = None
        while self._owed:
            if self._may_block and not self._takes(wait_s):
                self._later()
                return
            piece = bytes(self._owed[:PIPE_BYTES]) if self._may_block else bytes(self._owed)
            try:
                written = self._put(piece)
            except BlockingIOError:
                self._later()
                return
            except (OSError, ValueError):
                self._drop()
                return
            del self._owed[:written]
            self._is_torn = not piece[:written].endswith(b"\n")
        self._unsaid -= self._saying
        self._saying = 0
        self._is_torn = False

    def _put(self, data: bytes) -> int:
        if self._descriptor >= 0:
            return os.write(self._descriptor, data)
        self._out.write(data.decode("utf-8", "surrogateescape"))
        self._out.flush()
        return len(data)

    def _takes(self, wait_s: float) -> bool:
        """Whether a write would not wait. Outside an event loop nobody is held up, so a slow reader is waited for."""
        if not wait_s and not _in_loop():
            return True
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        return bool(poll.poll(wait_s * 1000))

    def _later(self) -> None:
        if self._timer is None and _in_loop():
            self._timer = asyncio.get_running_loop().call_later(GATHER_S, self.flush)

    def _drop(self) -> None:
        lost = self._owed.count(b"\n") - self._owed.startswith(b"\n") - bool(self._saying)
        self._owed.clear()
        self._count(max(0, lost))
        self._saying = 0

    def _count(self, lines: int) -> None:
        self.dropped += lines
        self._unsaid += lines


def _in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _json_notice(lines: int) -> str:
    fields = {"dropped": lines, "time": _now(), "level": "warning", "source": "logs", "event": "logs.dropped"}
    return json.dumps(fields, separators=(",", ":")) + "\n"


def _text_notice(lines: int) -> str:
    return f"{_now()} warning logs logs.dropped dropped={lines}\n"


def _json_sink(out: _Lines) -> Sink:
    encode = _json_encoder()
    lines: list[str] = []

    def flush() -> None:
        text = "".join(lines)
        lines.clear()
        out.write(text)

    def write(level: int, name: str, event: str, fields: dict[str, Any]) -> None:
        # The four fixed fields stand last, so that no caller's field can pretend to be one of them.
        fields["time"], fields["level"], fields["source"], fields["event"] = _now(), _NAMES[level], name, event
        lines.append(encode(fields) + "\n")
        if len(lines) > 1 and level < WARNING and len(lines) < GATHERED_LINES_MAX:
            return  # a flush is on its way
        if level < WARNING and len(lines) < GATHERED_LINES_MAX and _later(flush):
            return
        flush()

    def last_words() -> None:
        if lines:
            flush()
        out.flush(LAST_WORDS_S)

    atexit.register(last_words)
    return write


def _json_encoder() -> Callable[[dict[str, Any]], str]:
    """The standard encoder with its C part made once: `JSONEncoder.encode` makes it anew for every line."""
    standard = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, default=str, check_circular=False)
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:  # not CPython
        return standard.encode
    chunks = make(None, str, json.encoder.encode_basestring, None, ":", ",", False, False, True)
    return lambda fields: "".join(chunks(fields, 0))


def _later(flush: Callable[[], None]) -> bool:
    """Has the running event loop flush soon: under load one system call serves many lines. False outside a loop."""
    if not _in_loop():
        return False
    asyncio.get_running_loop().call_later(GATHER_S, flush)
    return True


def _text_sink(out: _Lines, *, colour: bool) -> Sink:
    def write(level: int, name: str, event: str, fields: dict[str, Any]) -> None:
        trace = str(fields.pop("trace", ""))
        details = " ".join(f"{key}={_one_line(value)}" for key, value in fields.items())
        if colour:
            head = f"{_DIM}{_now()[11:23]}{_RESET} {_COLOURS[level]}{_NAMES[level]:7}{_RESET} {name} {event}"
            line = f"{head} {_DIM}{details}{_RESET}"
        else:
            line = f"{_now()} {_NAMES[level]:7} {name} {event} {details}"
        out.write(line.rstrip() + "\n" + (trace.rstrip() + "\n" if trace else ""))

    return write


def _one_line(value: Any) -> str:
    """Text for one line: what a stranger sent can neither begin a new line nor steer the terminal."""
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def _now() -> str:
    now = time.time_ns()
    return f"{_second(now // 1_000_000_000)}.{now // 1000 % 1_000_000:06d}Z"


@functools.lru_cache(maxsize=2)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


class _Bridge(logging.Handler):
    """Takes lines of the standard library's logging into ours, and of those that repeat themselves so many a minute."""

    def __init__(self) -> None:
        super().__init__()
        self._minute = 0
        self._lines: Counter[tuple[str, str]] = Counter()

    def _is_one_too_many(self, record: logging.LogRecord) -> bool:
        minute = int(time.monotonic() // 60)
        if minute != self._minute:
            left_out = {wording: count - LIBRARY_LINES_PER_MINUTE for wording, count in self._lines.items()}
            self._minute = minute
            self._lines.clear()
            for (name, wording), count in left_out.items():
                if count > 0:
                    _emit(WARNING, Log(name), "library.left_out", {"message": wording, "lines": count})
        key = (record.name, str(record.msg)[:200])
        if len(self._lines) >= LIBRARY_WORDINGS_MAX and key not in self._lines:
            key = (record.name, "other lines")  # what differs each time is cut short together
        self._lines[key] += 1
        return self._lines[key] > LIBRARY_LINES_PER_MINUTE

    def emit(self, record: logging.LogRecord) -> None:
        if self._is_one_too_many(record):
            return
        level = max(known for known in _NAMES if known <= max(record.levelno, DEBUG))
        try:
            fields: dict[str, Any] = {"message": record.getMessage()}
            if record.exc_info:
                fields["trace"] = "".join(traceback.format_exception(*record.exc_info, limit=20))
        except Exception:  # arguments that do not fit the message
            _State.unshown += 1
        else:
            _emit(level, Log(record.name), "library", fields)

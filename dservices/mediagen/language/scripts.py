"""A script with its includes as one JavaScript text, and the way back from its lines to the files as written. Pure
but for the function that fetches includes."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urljoin

from cgn_sdk.dservice.problems import Problem

from dservices.mediagen import limits
from dservices.mediagen.language.syntax import Rewritten, ScriptSyntax, rewrite
from dservices.mediagen.language.tokens import LINE_END

Read = Callable[[str], bytes]

BUILT_IN = re.compile(r"(?:sys:/?|Sys/)[\w./-]+\.ms", re.IGNORECASE)
"""Shipped libraries of the original product (`sys:xml.ms`, `Sys/color.ms`, `Sys/media.ms`): their objects are
always there.
"""
_MESSAGE = re.compile(r"(script\.ms|<anonymous>|undefined|mediascript):(\d+): (.*)")
_CARET = re.compile(r"^([ \t]*)\^+$", re.MULTILINE)
_FRAME = re.compile(r"^    at .*?\bscript\.ms:(\d{1,9}):(\d{1,9})\)?$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Script:
    """`code` for the engine; `lines[i]` tells where line i+1 comes from: (file address, line, column map)."""

    code: str
    lines: tuple[tuple[str, int, Rewritten], ...]
    main: str

    def locate(self, line: int, column: int) -> tuple[int, int, str | None]:
        """Line, column and file (None for the script itself) as written, for a place in `code`."""
        if line > len(self.lines):  # the text ends where more was due
            line, column = len(self.lines), 0
        if line < 1:
            return line, column, None
        file, original, rewritten = self.lines[line - 1]
        return original, rewritten.original(original, column), None if file == self.main else file


def assemble(address: str, read: Read) -> Script:
    """Fetches, rewrites and joins a script and its includes. Problem 422 with line and column if it cannot be read."""
    seen: set[str] = set()
    pieces: list[str] = []
    lines: list[tuple[str, int, Rewritten]] = []
    size = 0

    def add(name: str, depth: int) -> None:
        nonlocal size
        seen.add(name)
        data = read(name)
        size += len(data)
        if size > limits.SCRIPT_MAX_BYTES:
            raise Problem(
                413, "script_too_large", f"a script with its includes may have at most {limits.SCRIPT_MAX_BYTES} bytes"
            )
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise Problem(422, "script_syntax", "the script is not UTF-8 text") from None
        try:
            rewritten = rewrite(text)
        except ScriptSyntax as error:
            raise syntax_problem(
                error.message, error.line, error.column, error.expected, None if name == address else name
            ) from None
        directives: dict[int, list[str]] = {}
        for directive in rewritten.directives:
            if directive.kind == "include" and not BUILT_IN.fullmatch(directive.value):
                directives.setdefault(directive.line, []).append(directive.value)
        start = 0  # lines keep what ends them: U+2028 in a string or a template is a character of it
        ends = [match.end() for match in LINE_END.finditer(rewritten.code)]
        for number, end in enumerate([*ends, len(rewritten.code)], 1):
            for value in directives.get(number, ()):
                _include(name, value, number, depth)
            pieces.append(rewritten.code[start:end])
            lines.append((name, number, rewritten))
            start = end
        if depth:
            pieces.append("\n")

    def _include(name: str, value: str, number: int, depth: int) -> None:
        scheme, separator, rest = value.partition(":")
        if separator and scheme.lower() in ("scripts", "read"):
            value = rest.lstrip("/")
        try:
            target = urljoin(name, value)
        except ValueError as error:
            place = None if name == address else name
            raise syntax_problem(f"#include {value!r:.200} is no address: {error}", number, 1, None, place) from None
        if target in seen:  # ours: a file is included once
            return
        if depth == limits.INCLUDE_DEPTH_MAX or len(seen) > limits.INCLUDES_MAX:
            raise syntax_problem(
                "too many or too deeply nested includes",
                number,
                1,
                f"at most {limits.INCLUDES_MAX} includes, {limits.INCLUDE_DEPTH_MAX} deep",
                None,
            )
        add(target, depth + 1)

    add(address, 0)
    return Script("".join(pieces), tuple(lines), address)


class Scripts:
    """Assembled scripts by address and content, so that a script that comes again is not rewritten again (G-9).

    Every file of it is read each time, as without this: an include that changed is noticed by its bytes, and a result
    is never another one than `assemble` gives. What V8 compiles is not kept: its isolates live for one request.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[str, tuple[tuple[tuple[str, bytes], ...], Script]] = OrderedDict()
        self._held_chars = 0

    def get(self, address: str, read: Read) -> Script:
        known = self._kept.get(address)
        seen: dict[str, bytes] = {}

        def once(name: str) -> bytes:
            if name not in seen:
                seen[name] = read(name)
            return seen[name]

        if known is not None:
            files, script = known
            # In the order of the includes, and no further than they agree: what follows might not be included any more.
            if all(once(name) == data for name, data in files):
                self._kept.move_to_end(address)
                return script
        script = assemble(address, once)
        self._keep(address, tuple(seen.items()), script)
        return script

    def _keep(self, address: str, files: tuple[tuple[str, bytes], ...], script: Script) -> None:
        if (old := self._kept.pop(address, None)) is not None:
            self._held_chars -= len(old[1].code)
        self._kept[address] = (files, script)
        self._held_chars += len(script.code)
        while self._held_chars > limits.SCRIPTS_KEPT_MAX_CHARS or len(self._kept) > limits.SCRIPTS_KEPT_MAX:
            _, (_, gone) = self._kept.popitem(last=False)
            self._held_chars -= len(gone.code)


def syntax_problem(message: str, line: int, column: int, expected: str | None, file: str | None) -> Problem:
    return Problem(
        422,
        "script_syntax",
        f"line {line}, column {column}: {message}",
        line=line,
        column=column,
        expected=expected,
        file=file,
    )


def engine_message(text: str) -> tuple[str, int, int]:
    """(message, line, column) out of what V8 writes about an exception that nobody caught; 0 where it does not say.

    V8 writes `file:line: message`, the line, a caret under the place, and the stack. An exception thrown inside the
    prelude belongs to the script's innermost frame.
    """
    match = _MESSAGE.match(text)
    if match is None:
        return text.partition("\n")[0] or "the script failed", 0, 0
    file, number, message = match.groups()
    if file == "mediascript":
        frame = _FRAME.search(text)
        return message, *((int(frame[1]), int(frame[2])) if frame else (0, 0))
    caret = _CARET.search(text)
    return message, int(number), len(caret[1]) + 1 if caret else 0

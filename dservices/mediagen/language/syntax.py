"""From MediaScript to JavaScript: directives taken out, named arguments rewritten, nothing else touched. Pure.

`f(a @ x, b @ y)` becomes `f(__named("a", x, "b", y))`. The rewrite works on tokens (`tokens`), so that an `@` in a
string, a comment, a regular expression or a template stays what it is. ECMAScript is V8's to judge: a text with neither
directive nor `@` is not read at all, and what cannot be read outside a call with named arguments is left as it is, for
V8 to say what is wrong with it.

Line numbers do not change. `Rewritten.original` maps a column of the result back, so that every message names the place
in the script as written. Lines end where V8 ends them, U+2028 and U+2029 included; columns count UTF-16 code units from
1, as V8's do.

Reference: mediascript.md 1.2 (named arguments), 1.3 (directives). Ours, where it is silent: in one call all arguments
are named or none; `@` binds looser than every operator but the comma between arguments.
"""

from __future__ import annotations

import bisect
import re
from dataclasses import dataclass, field

from dservices.mediagen.language.tokens import LINE_END, Frame, GivenUp, Reader

OPEN = "__named("
KNOWN_LIBRARIES = frozenset({"database.dll", "iccprofile.dll", "zip.dll", "xml.dll"})
"""Native libraries of the original product whose objects are built in here or absent with a clear error."""

_DIRECTIVE = re.compile(r"#[ \t]*(include|link)\b[ \t]*(.*)", re.S)
_MAY_HAVE_DIRECTIVE = re.compile(r"#[ \t]*(?:include|link)\b")
_BEFORE_AT = re.compile(r"(?:\s|/\*.*?\*/|//[^\n\r\u2028\u2029]*)*@", re.S)


class ScriptSyntax(Exception):
    """The script cannot be read. Line and column count from 1, the column in UTF-16 code units."""

    def __init__(self, message: str, line: int, column: int, expected: str | None = None) -> None:
        super().__init__(message)
        self.message, self.line, self.column, self.expected = message, line, column, expected


@dataclass(frozen=True, slots=True)
class Directive:
    """`#include "path"` or `#link <library>` at a line (from 1)."""

    kind: str
    value: str
    line: int


@dataclass(frozen=True, slots=True)
class Rewritten:
    """JavaScript with the line count of the script, the directives in order, and the column map."""

    code: str
    directives: tuple[Directive, ...]
    shifts: dict[int, list[tuple[int, int]]] = field(default_factory=dict)

    def original(self, line: int, column: int) -> int:
        """The column (from 1) in the script for a column of the code."""
        marks = self.shifts.get(line)
        if not marks:
            return column
        index = bisect.bisect_right(marks, (column, 1 << 30)) - 1
        if index < 0:
            return column
        start, shift = marks[index]
        return max(1, max(column, start) - shift)


@dataclass(slots=True)
class _Call:
    """The arguments of an open call. `named` holds (name start, name end, `@` position) of each named one."""

    argument: int = 0
    argument_start: int = 0
    named: list[tuple[int, int, int]] = field(default_factory=list)
    positional: bool = False


def rewrite(source: str) -> Rewritten:
    """Rewrites one script file. ScriptSyntax for wrong directives and named arguments."""
    if source.startswith("#!"):
        source = "//" + source[2:]  # so that a file may have it that is included, too
    if "@" not in source and _MAY_HAVE_DIRECTIVE.search(source) is None:
        return Rewritten(source, ())
    return _Rewriter(source).run()


class _Rewriter(Reader):
    def __init__(self, source: str) -> None:
        super().__init__(source)
        self.edits: list[tuple[int, int, str]] = []
        self.directives: list[Directive] = []
        self.line_starts = [0, *(match.end() for match in LINE_END.finditer(source))]
        self.calls: dict[int, _Call] = {}  # by the position of the bracket

    def run(self) -> Rewritten:
        try:
            self.read()
        except GivenUp as end:
            if any(call.named for call in self.calls.values()):  # V8 would stumble over the `@` of it
                raise self._error(end.message, end.position, end.expected) from None
        return self._result()

    # -- named arguments ----------------------------------------------------------------------------------------

    def opened(self, frame: Frame) -> None:
        if frame.kind == "call":
            self.calls[frame.position] = _Call(argument_start=len(self.tokens))

    def names_argument(self, end: int) -> bool:
        call = self.calls.get(self.frame.position) if self.frame.kind == "call" else None
        at_start = call is not None and call.argument_start == len(self.tokens)
        return at_start and _BEFORE_AT.match(self.source, end) is not None

    def comma(self) -> None:
        call = self.calls.get(self.frame.position) if self.frame.kind == "call" else None
        if call is not None:
            call.positional = call.positional or len(call.named) <= call.argument
            call.argument += 1
            call.argument_start = len(self.tokens) + 1

    def at(self, position: int) -> None:
        name = self.tokens[-1] if self.tokens else None
        if self.frame.kind != "call":
            raise self._error("'@' stands outside the arguments of a call", position, "name @ value inside a call")
        call = self.calls[self.frame.position]
        if name is None or name.kind != "word" or call.argument_start != len(self.tokens) - 1:
            raise self._error("'@' must follow the name of an argument", position, "name @ value")
        if len(call.named) != call.argument or call.positional:
            raise self._error("named and positional arguments cannot be mixed", name.start, "name @ value throughout")
        call.named.append((name.start, name.end, position))

    def closing(self, frame: Frame, position: int) -> None:
        call = self.calls.pop(frame.position, None) if frame.kind == "call" else None
        if call is None or not call.named:
            return
        count = call.argument + (0 if self.last(",") else 1)
        if len(call.named) != count or call.positional:
            raise self._error(
                "named and positional arguments cannot be mixed", frame.position, "name @ value throughout"
            )
        if self.last("@"):
            raise self._error("the argument has no value", position, "a value after '@'")
        self.edits.append((frame.position + 1, frame.position + 1, OPEN))
        for name_start, name_end, at in call.named:
            self.edits.append((name_start, name_start, '"'))
            self.edits.append((name_end, name_end, '"'))
            self.edits.append((at, at + 1, ","))
        self.edits.append((position, position, ")"))

    # -- directives ---------------------------------------------------------------------------------------------

    def line(self) -> bool:
        """A directive, if this is one. In a class `#include` is a private name as any other."""
        start = self.position
        match = _DIRECTIVE.match(self.source, start)
        if match is None:
            return False
        end = start
        while end < len(self.source) and not (self.source[end] in "\n\r" and self.source[end - 1] != "\\"):
            end += 1
        if any(frame.kind == "class" for frame in self.frames) and not (
            self.frame.kind == "block" and self.frame.statement and match[2][:1] in ('"', "<")
        ):
            return False
        match = _DIRECTIVE.fullmatch(re.sub(r"\\\r?\n|\\\r", " ", self.source[start:end]))
        assert match is not None
        kind, value = match[1], match[2].split("//")[0] if "://" not in match[2] else match[2]
        value = value.strip().rstrip(";").strip()
        form = re.fullmatch(r'"([^"]+)"' if kind == "include" else r'<([^<>]+)>|"([^"]+)"', value)
        if form is None:
            wanted = '#include "path"' if kind == "include" else "#link <library>"
            raise self._error(f"the directive cannot be read: {wanted}", start, wanted)
        name = form[1] or form[2]
        if kind == "link" and name.lower() not in KNOWN_LIBRARIES:
            raise self._error(
                f"native libraries cannot be loaded: {name}", start, "one of " + ", ".join(sorted(KNOWN_LIBRARIES))
            )
        self.directives.append(Directive(kind, name, self._place(start)[0]))
        blank = re.sub(r"[^\n\r]", " ", self.source[start:end])
        self.edits.append((start, end, blank))
        self.position = end
        return True

    # -- result -------------------------------------------------------------------------------------------------

    def _place(self, position: int) -> tuple[int, int]:
        line = bisect.bisect_right(self.line_starts, position)
        before = self.source[self.line_starts[line - 1] : position]
        return line, len(before) + sum(character > "\uffff" for character in before) + 1

    def _error(self, message: str, position: int, expected: str | None = None) -> ScriptSyntax:
        return ScriptSyntax(message, *self._place(min(position, len(self.source))), expected)

    def _result(self) -> Rewritten:
        out: list[str] = []
        shifts: dict[int, list[tuple[int, int]]] = {}
        position = 0
        shift_line, shift = 0, 0
        for start, end, text in sorted(self.edits, key=lambda edit: edit[0]):
            out += [self.source[position:start], text]
            position = end
            grown = len(text) - (end - start)
            if grown:
                line, column = self._place(start)
                if line != shift_line:
                    shift_line, shift = line, 0
                begins = column + shift + max(0, len(text) if start == end else 0)
                shift += grown
                shifts.setdefault(line, []).append((begins, shift))
        out.append(self.source[position:])
        return Rewritten("".join(out), tuple(self.directives), shifts)

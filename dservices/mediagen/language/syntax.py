"""From MediaScript to JavaScript: directives taken out, named arguments rewritten, nothing else touched. Pure.

`f(a @ x, b @ y)` becomes `f(__named("a", x, "b", y))`. The rewrite works on tokens, so that an `@` in a string, a
comment, a regular expression or a template stays what it is. Line numbers do not change; `Rewritten.original` maps a
column of the result back, so that every message names the place in the script as written.

Reference: mediascript.md 1.2 (named arguments), 1.3 (directives). Ours, where it is silent: in one call all arguments
are named or none; `@` binds looser than every operator but the comma between arguments.
"""

from __future__ import annotations

import bisect
import re
from dataclasses import dataclass, field

OPEN = "__named("
KNOWN_LIBRARIES = frozenset({"database.dll", "iccprofile.dll", "zip.dll", "xml.dll"})
"""Native libraries of the original product whose objects are built in here or absent with a clear error."""

_IDENTIFIER = re.compile(r"[A-Za-z_$\u0080-\U0010ffff][\w$\u0080-\U0010ffff]*")
_NUMBER = re.compile(r"0[xXoObB][0-9A-Fa-f_]+n?|(?:\d[\d_]*)?\.?\d[\d_]*(?:[eE][+-]?\d+)?n?|\d+\.")
_DIRECTIVE = re.compile(r"#[ \t]*(include|link)\b[ \t]*(.*)", re.S)
_PUNCTUATION = re.compile(
    r">>>=|\.\.\.|===|!==|\*\*=|<<=|>>=|>>>|&&=|\|\|=|\?\?=|=>|==|!=|<=|>=|&&|\|\||\?\?|\?\.|\+\+|--|\+=|-=|\*=|/=|%=|&=|\|=|\^=|<<|>>|\*\*|.",
    re.S,
)
# After these words a slash begins a regular expression; after any other word or a closing bracket it divides.
_BEFORE_REGEX = frozenset(
    "return typeof case in of delete void throw new else do instanceof yield await".split()  # noqa: SIM905
)
_STATEMENT_HEADS = frozenset({"if", "while", "for", "with"})
_LINE_ENDS = "\n\r\u2028\u2029"


class ScriptSyntax(Exception):
    """The script cannot be read. Line and column count from 1."""

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
class _Token:
    kind: str  # word, number, string, template, regex, punctuation
    text: str
    start: int
    end: int
    newline_before: bool = False


@dataclass(slots=True)
class _Bracket:
    """An open bracket. `named` holds (name start, name end, `@` position) of each named argument found in it."""

    character: str
    position: int
    is_call: bool
    argument: int = 0
    argument_start: int = 0
    named: list[tuple[int, int, int]] = field(default_factory=list)
    positional: bool = False
    statement_head: bool = False


def rewrite(source: str) -> Rewritten:
    """Rewrites one script file. ScriptSyntax for what a JavaScript parser would report badly or not at all."""
    return _Rewriter(source).run()


class _Rewriter:
    def __init__(self, source: str) -> None:
        self.source = source
        self.position = 0
        self.tokens: list[_Token] = []
        self.brackets: list[_Bracket] = []
        self.edits: list[tuple[int, int, str]] = []
        self.directives: list[Directive] = []
        self.newline = True
        self.line_starts = [0, *(match.end() for match in re.finditer(r"\r\n|[\n\r\u2028\u2029]", source))]
        self.closed: _Bracket | None = None
        self.templates: list[int] = []  # depth of brackets at each open `${`

    def run(self) -> Rewritten:
        if self.source.startswith("\ufeff"):
            self.position = 1
        if self.source.startswith("#!", self.position):
            self._skip_line()
        while self.position < len(self.source):
            self._step()
        if self.brackets:
            bracket = self.brackets[-1]
            raise self._error(f"the {bracket.character!r} is never closed", bracket.position, "a closing bracket")
        return self._result()

    # -- reading ------------------------------------------------------------------------------------------------

    def _step(self) -> None:
        source, position = self.source, self.position
        character = source[position]
        if character in _LINE_ENDS:
            self.newline = True
            self.position += 1
        elif character.isspace() or character == "\ufeff":
            self.position += 1
        elif source.startswith("//", position) or (source.startswith("<!--", position)):
            self._skip_line()
        elif source.startswith("/*", position):
            end = source.find("*/", position + 2)
            if end < 0:
                raise self._error("the comment is never closed", position, "*/")
            self.newline = self.newline or any(mark in source[position:end] for mark in _LINE_ENDS)
            self.position = end + 2
        elif character == "#" and self.newline and self._directive():
            return
        elif character in "\"'":
            self._push("string", self._string_end(position))
        elif character == "`":
            self.position += 1
            self._template(position)
        elif match := (_NUMBER.match(source, position) if character.isdigit() or character == "." else None):
            self._push("number", match.end())
        elif match := _IDENTIFIER.match(source, position):
            self._push("word", match.end())
        elif character == "/" and self._regex_may_start():
            self._push("regex", self._regex_end(position))
        else:
            self._punctuation()

    def _skip_line(self) -> None:
        while self.position < len(self.source) and self.source[self.position] not in _LINE_ENDS:
            self.position += 1

    def _string_end(self, start: int) -> int:
        quote, position = self.source[start], start + 1
        while position < len(self.source):
            character = self.source[position]
            if character == quote:
                return position + 1
            if character == "\\":
                position += 2 if not self.source.startswith("\\\r\n", position) else 3
                continue
            if character in "\n\r":
                break
            position += 1
        raise self._error("the string is never closed", start, f"a closing {quote} on the same line")

    def _template(self, start: int) -> None:
        """Reads a template from `position` up to its end or to the next `${`, whose code is read like any other."""
        source = self.source
        while self.position < len(source):
            if source.startswith("\\", self.position):
                self.position += 2
            elif source[self.position] == "`":
                self.position += 1
                self._append(_Token("template", "`", start, self.position, self.newline))
                return
            elif source.startswith("${", self.position):
                self.brackets.append(_Bracket("${", self.position, False))
                self.position += 2
                self._append(_Token("punctuation", "${", self.position - 2, self.position, self.newline))
                return
            else:
                self.position += 1
        raise self._error("the template is never closed", start, "a closing `")

    def _regex_end(self, start: int) -> int:
        position, in_class = start + 1, False
        while position < len(self.source):
            character = self.source[position]
            if character in _LINE_ENDS:
                break
            if character == "\\":
                position += 2
                continue
            if character == "[":
                in_class = True
            elif character == "]":
                in_class = False
            elif character == "/" and not in_class:
                match = _IDENTIFIER.match(self.source, position + 1)
                return match.end() if match else position + 1
            position += 1
        raise self._error("the regular expression is never closed", start, "a closing / on the same line")

    def _regex_may_start(self) -> bool:
        if not self.tokens:
            return True
        last = self.tokens[-1]
        if last.kind == "word":
            after_dot = len(self.tokens) > 1 and self.tokens[-2].text in (".", "?.")
            return last.text in _BEFORE_REGEX and not after_dot
        if last.kind != "punctuation":
            return False
        if last.text == ")":
            return self.closed is not None and self.closed.statement_head
        if last.text in ("]", "++", "--"):
            return False
        # A block's end or an object's end: an object ends an expression, and then what follows divides.
        return last.text != "}" or self.closed is None or self.closed.is_call is False

    # -- tokens -------------------------------------------------------------------------------------------------

    def _push(self, kind: str, end: int) -> None:
        token = _Token(kind, self.source[self.position : end], self.position, end, self.newline)
        self.position = end
        self._append(token)

    def _append(self, token: _Token) -> None:
        self.tokens.append(token)
        self.newline = False

    def _punctuation(self) -> None:
        source, start = self.source, self.position
        if source[start] == "@":
            self._at(start)
            return
        match = _PUNCTUATION.match(source, start)
        assert match is not None
        text = match[0]
        if text == "?." and source[start + 2 : start + 3].isdigit():
            text = "?"
        if text in ("(", "[", "{"):
            self._open(text, start)
        elif text in (")", "]", "}"):
            if self._close(text, start):
                return
        elif text == "," and self.brackets:
            bracket = self.brackets[-1]
            bracket.positional = bracket.positional or len(bracket.named) <= bracket.argument
            bracket.argument += 1
            bracket.argument_start = len(self.tokens) + 1
        self.position = start + len(text)
        self._append(_Token("punctuation", text, start, self.position, self.newline))

    def _open(self, text: str, start: int) -> None:
        last = self.tokens[-1] if self.tokens else None
        ends_expression = last is not None and (
            (last.kind == "word" and last.text not in _BEFORE_REGEX and last.text not in _STATEMENT_HEADS)
            or (last.kind == "punctuation" and last.text in (")", "]", "?."))
        )
        is_call = text == "(" and ends_expression
        if text == "{":  # an object literal stands where an expression may begin
            is_call = last is not None and last.kind == "punctuation" and last.text not in (")", "}", "{", ";", "=>")
        bracket = _Bracket(text, start, is_call, argument_start=len(self.tokens) + 1)
        bracket.statement_head = text == "(" and last is not None and last.text in _STATEMENT_HEADS
        self.brackets.append(bracket)

    def _close(self, text: str, start: int) -> bool:
        """True if the bracket ended a `${`: then the template goes on and no token is due."""
        if not self.brackets:
            raise self._error(f"{text!r} closes nothing", start)
        bracket = self.brackets.pop()
        if {"(": ")", "[": "]", "{": "}", "${": "}"}[bracket.character] != text:
            raise self._error(f"{text!r} does not close the {bracket.character!r}", start)
        self.closed = bracket
        if bracket.character == "${":
            self.position = start + 1
            self._append(_Token("punctuation", "}", start, start + 1, self.newline))
            self._template(start)
            return True
        if bracket.named:
            self._rewrite_call(bracket, start)
        return False

    # -- named arguments ----------------------------------------------------------------------------------------

    def _at(self, position: int) -> None:
        bracket = self.brackets[-1] if self.brackets else None
        name = self.tokens[-1] if self.tokens else None
        if bracket is None or not (bracket.character == "(" and bracket.is_call):
            raise self._error("'@' stands outside the arguments of a call", position, "name @ value inside a call")
        if name is None or name.kind != "word" or bracket.argument_start != len(self.tokens) - 1:
            raise self._error("'@' must follow the name of an argument", position, "name @ value")
        if len(bracket.named) != bracket.argument or bracket.positional:
            raise self._error("named and positional arguments cannot be mixed", name.start, "name @ value throughout")
        bracket.named.append((name.start, name.end, position))
        self.position = position + 1
        self._append(_Token("punctuation", "@", position, position + 1, self.newline))

    def _rewrite_call(self, bracket: _Bracket, end: int) -> None:
        last_is_comma = self.tokens[-1].text == ","
        count = bracket.argument + (0 if last_is_comma else 1)
        if len(bracket.named) != count or bracket.positional:
            raise self._error(
                "named and positional arguments cannot be mixed", bracket.position, "name @ value throughout"
            )
        if self.tokens[-1].text == "@":
            raise self._error("the argument has no value", end, "a value after '@'")
        self.edits.append((bracket.position + 1, bracket.position + 1, OPEN))
        for name_start, name_end, at in bracket.named:
            self.edits.append((name_start, name_start, '"'))
            self.edits.append((name_end, name_end, '"'))
            self.edits.append((at, at + 1, ","))
        self.edits.append((end, end, ")"))

    # -- directives ---------------------------------------------------------------------------------------------

    def _directive(self) -> bool:
        start = self.position
        end = start
        while end < len(self.source) and not (self.source[end] in "\n\r" and self.source[end - 1] != "\\"):
            end += 1
        match = _DIRECTIVE.fullmatch(re.sub(r"\\\r?\n|\\\r", " ", self.source[start:end]))
        if match is None:
            return False
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
        return line, position - self.line_starts[line - 1] + 1

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

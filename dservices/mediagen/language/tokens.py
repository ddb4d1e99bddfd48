"""ECMAScript read token by token, as far as MediaScript's rewriter needs it. Pure.

Where a slash may begin a regular expression, only the grammar says. So the reader keeps a stack of frames, one for each
open bracket, and in each whether an operand or an operator comes next, whether a statement begins, and what the bracket
stands for: a block, an object, a class, the head of a statement, parameters, arguments. It judges nothing: whether a
text is a program is V8's to say, and a text that is none is read somehow or given up (`GivenUp`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

LINE_ENDS = "\n\r\u2028\u2029"
LINE_END = re.compile(r"\r\n|[\n\r\u2028\u2029]")
"""What ends a line for V8, inside strings and templates too."""

_SPACES = " \t\v\f\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000\ufeff"
_SPACE = re.compile(f"[{_SPACES}]+")
_ESCAPE = r"\\u[0-9A-Fa-f]{4}|\\u\{[0-9A-Fa-f]+\}"
_NAME = rf"(?:[A-Za-z_$]|(?![{_SPACES}\u2028\u2029])[\u0080-\U0010ffff]|{_ESCAPE})"
_WORD = re.compile(rf"#?{_NAME}(?:{_NAME}|\d)*")
_NUMBER = re.compile(
    r"0[xXoObB][0-9A-Fa-f_]+n?|\d[\d_]*n|(?:\d[\d_]*\.?(?:\d[\d_]*)?|\.\d[\d_]*)(?:[eE][+-]?\d[\d_]*)?"
)
_PUNCTUATION = re.compile(
    r">>>=|\.\.\.|===|!==|\*\*=|<<=|>>=|>>>|&&=|\|\|=|\?\?=|=>|==|!=|<=|>=|&&|\|\||\?\?|\?\.(?!\d)|\+\+|--"
    r"|\+=|-=|\*=|/=|%=|&=|\|=|\^=|<<|>>|\*\*|.",
    re.S,
)
_REGEX = re.compile(
    r"/(?:[^\n\r\u2028\u2029\[/\\]|\\[^\n\r\u2028\u2029]|\[(?:[^\n\r\u2028\u2029\]\\]|\\[^\n\r\u2028\u2029])*\])+/"
)
_CLOSES = {"(": ")", "[": "]", "{": "}", "${": "}"}

_HEADS = frozenset({"if", "while", "for", "with", "switch", "catch"})
_STATEMENTS = frozenset({"do", "else", "try", "finally"})
_BEFORE_OPERAND = frozenset(
    {"in", "instanceof", "typeof", "void", "delete", "new", "var", "const", "throw", "case", "extends", "return"}
)
_JUMPS = frozenset({"break", "continue", "debugger"})


class GivenUp(Exception):
    """The text cannot be read on from `position`."""

    def __init__(self, message: str, position: int, expected: str | None = None) -> None:
        super().__init__(message)
        self.message, self.position, self.expected = message, position, expected


@dataclass(slots=True)
class Token:
    kind: str  # word, number, string, template, regex, punctuation
    text: str
    start: int
    end: int
    newline_before: bool = False


@dataclass(slots=True)
class _Pending:
    """A function or class whose body is still to come."""

    is_class: bool
    is_statement: bool
    awaits: bool = False
    yields: bool = False
    parameters_read: bool = False


@dataclass(slots=True)
class Frame:
    """An open bracket, or the whole text. `after` says what its end means for the frame around it."""

    kind: str  # block, object, class, call, group (whatever holds expressions), head (of a statement), template
    character: str
    position: int
    opener: int  # index of the bracket's token
    after: str = "operand"  # operand, statement, body (of a function), key, method, arrow
    awaits: bool = False
    yields: bool = False
    operand: bool = True
    statement: bool = False
    key: bool = False  # in an object or class: the name of a member is being read
    key_async: bool = False
    key_star: bool = False
    method: bool = False  # the parameters of a method have been read
    head: bool = False  # `if` and its like: a head may follow
    jump: bool = False  # `break` and its like: a label may follow on the line
    restricted: bool = False  # `return` and `yield`: a new line ends the statement
    async_statement: bool = False
    ternaries: int = 0
    pending: list[_Pending] = field(default_factory=list)
    concise: list[tuple[int, bool]] = field(default_factory=list)  # arrows without braces: (ternaries, async)

    def begin_statement(self) -> None:
        self.operand = self.statement = True
        self.head = self.jump = self.restricted = False
        self.ternaries = 0
        self.concise.clear()

    def begin_member(self) -> None:
        self.key, self.key_async, self.key_star, self.method = True, False, False, False
        self.ternaries = 0
        self.concise.clear()

    def context(self) -> tuple[bool, bool]:
        """Whether `await` and `yield` are operators here."""
        if self.concise:
            return self.concise[-1][1], False
        if self.kind == "class" and not self.key:
            return False, False
        return self.awaits, self.yields


class Reader:
    """Reads `source` into `tokens`. What a user of it wants to know, it is told by `opened`, `closing` and `odd`."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.position = 0
        self.tokens: list[Token] = []
        self.newline = True
        self.frames = [Frame("block", "", 0, -1, statement=True)]
        self.closed_opener = -1

    @property
    def frame(self) -> Frame:
        return self.frames[-1]

    def read(self) -> None:
        """To the end of the text. GivenUp where that is not possible."""
        while self.position < len(self.source):
            self._step()
        if len(self.frames) > 1:
            raise GivenUp(f"the {self.frame.character!r} is never closed", self.frame.position, "a closing bracket")

    # -- for the rewriter ---------------------------------------------------------------------------------------

    def line(self) -> bool:
        """A `#` at the start of a line: True if it was no token, and `position` is behind it."""
        return False

    def opened(self, frame: Frame) -> None:
        """A bracket has been opened; its token is the next one."""

    def closing(self, frame: Frame, position: int) -> None:
        """A bracket is about to be closed."""

    def comma(self) -> None:
        """A comma comes in the innermost frame."""

    def at(self, position: int) -> None:
        """An `@`, which ECMAScript does not have."""

    def names_argument(self, end: int) -> bool:
        """Whether the word that ends here is a name, whatever ECMAScript takes it for."""
        return False

    # -- reading ------------------------------------------------------------------------------------------------

    def _step(self) -> None:
        source, position = self.source, self.position
        character = source[position]
        if character in LINE_ENDS:
            self.newline = True
            self.position += 1
        elif space := _SPACE.match(source, position):
            self.position = space.end()
        elif source.startswith(("//", "<!--"), position) or (self.newline and source.startswith("-->", position)):
            end = LINE_END.search(source, position)
            self.position = end.start() if end else len(source)
        elif source.startswith("/*", position):
            self._comment()
        elif character == "#" and self.newline and self.line():
            return
        elif character in "\"'":
            self._literal("string", self._string_end(position))
        elif character == "`":
            self.position += 1
            self._template(position)
        elif match := (_NUMBER.match(source, position) if character.isdigit() or character == "." else None):
            self._literal("number", match.end())
        elif match := _WORD.match(source, position):
            self._word(match[0], match.end())
        elif character == "/" and self.frame.operand and not self.frame.key:
            self._literal("regex", self._regex_end(position))
        else:
            self._punctuation()

    def _comment(self) -> None:
        end = self.source.find("*/", self.position + 2)
        if end < 0:
            raise GivenUp("the comment is never closed", self.position, "*/")
        self.newline = self.newline or LINE_END.search(self.source, self.position, end) is not None
        self.position = end + 2

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
        raise GivenUp("the string is never closed", start, f"a closing {quote} on the same line")

    def _regex_end(self, start: int) -> int:
        match = _REGEX.match(self.source, start)
        if match is None:
            raise GivenUp("the regular expression is never closed", start, "a closing / on the same line")
        flags = _WORD.match(self.source, match.end())
        return flags.end() if flags and flags[0][0] != "#" else match.end()

    def _template(self, start: int) -> None:
        """From `position` up to the template's end or to the next `${`, whose code is read like any other."""
        source = self.source
        while self.position < len(source):
            if source.startswith("\\", self.position):
                self.position += 2
            elif source[self.position] == "`":
                self.position += 1
                self._append("template", self.position, start)
                self.frame.operand = self.frame.statement = False
                return
            elif source.startswith("${", self.position):
                self._push(Frame("template", "${", self.position, len(self.tokens)))
                self.position += 2
                self._append("punctuation", self.position, self.position - 2)
                return
            else:
                self.position += 1
        raise GivenUp("the template is never closed", start, "a closing `")

    def _append(self, kind: str, end: int, start: int | None = None) -> None:
        begin = self.position if start is None else start
        self.tokens.append(Token(kind, self.source[begin:end], begin, end, self.newline))
        self.position = end
        self.newline = False

    def last(self, text: str) -> bool:
        """Whether the token before is this word or sign."""
        return bool(self.tokens) and self.tokens[-1].text == text and self.tokens[-1].kind in ("word", "punctuation")

    # -- what tokens mean ---------------------------------------------------------------------------------------

    def _new_line_ends(self) -> None:
        """A semicolon is put before a token that begins a line and cannot go on (ECMAScript, 12.10)."""
        frame = self.frame
        if not self.newline or (frame.operand and not frame.restricted):
            return
        if frame.kind == "block" and not frame.pending:
            frame.begin_statement()
        elif frame.kind == "class" and not frame.key and not frame.pending:
            frame.begin_member()

    def _literal(self, kind: str, end: int) -> None:
        frame = self.frame
        if frame.restricted or kind != "regex":
            self._new_line_ends()
        self._append(kind, end)
        if not frame.key:
            frame.operand = frame.statement = frame.restricted = frame.head = frame.jump = False

    def _word(self, text: str, end: int) -> None:
        frame = self.frame
        is_name = self.last(".") or self.last("?.") or self.names_argument(end)
        if not is_name and text not in ("in", "instanceof"):
            self._new_line_ends()
        if frame.key:
            frame.key_async = text == "async" or (frame.key_async and not self.newline)
            self._append("word", end)
        elif is_name:
            self._append("word", end)
            frame.operand = frame.statement = False
        elif frame.jump and not self.newline:
            self._append("word", end)
            frame.begin_statement()  # behind the label
        else:
            self._keyword(text, end)

    def _keyword(self, text: str, end: int) -> None:
        frame = self.frame
        was_statement, was_async = frame.statement, self.last("async") and not self.newline
        after_let = self.last("let")
        self._append("word", end)
        if frame.pending and not frame.pending[-1].is_class:
            return  # a function's name
        awaits, yields = frame.context()
        if text in _HEADS or text in _STATEMENTS or text in _JUMPS:
            frame.begin_statement()
            frame.head, frame.jump = text in _HEADS, text in _JUMPS
        elif frame.head and text == "await":
            return  # for await (
        elif text in ("function", "class"):
            is_statement = was_statement or (was_async and frame.async_statement)
            frame.pending.append(_Pending(text == "class", is_statement, was_async))
            frame.operand = frame.statement = False
        else:
            is_of = text == "of" and frame.kind == "head" and not frame.operand and not after_let
            is_operator = (text == "await" and awaits) or (text == "yield" and yields)
            frame.async_statement = text == "async" and was_statement
            frame.operand = text in _BEFORE_OPERAND or is_operator or is_of
            frame.restricted = text == "return" or (text == "yield" and yields)
            frame.statement = frame.head = frame.jump = False

    def _punctuation(self) -> None:
        source, start, frame = self.source, self.position, self.frame
        if source[start] == "@":
            self.at(start)
            self._append("punctuation", start + 1)
            frame.operand, frame.statement = True, False
            return
        match = _PUNCTUATION.match(source, start)
        assert match is not None
        text = match[0]
        if text in _CLOSES:
            self._open(text)
        elif text in (")", "]", "}"):
            self._close(text)
        else:
            self._sign(text, match.end())

    def _sign(self, text: str, end: int) -> None:
        frame = self.frame
        if text in ("++", "--"):
            self._new_line_ends()
        if text == ",":
            self.comma()
        was_operand = frame.operand
        is_async_arrow = text == "=>" and self._is_async_arrow()
        self._append("punctuation", end)
        if frame.pending and text == "*" and not frame.pending[-1].is_class:
            frame.pending[-1].yields = True
            return
        if text == ";" and frame.kind == "block":
            frame.begin_statement()
            return
        if text == ";" and frame.kind == "class":
            frame.begin_member()
            return
        if frame.key:
            frame.key_star = frame.key_star or text == "*"
            frame.key = text in ("*", ",")
        if text == ",":
            frame.concise.clear()
            if frame.kind == "object":
                frame.begin_member()
        elif text == "?":
            frame.ternaries += 1
        elif text == ":" and self._colon():
            return
        elif text == "=>":
            frame.concise.append((frame.ternaries, is_async_arrow))
        frame.operand = was_operand if text in ("++", "--") else text not in (".", "?.")
        frame.statement = frame.restricted = frame.head = frame.jump = False

    def _colon(self) -> bool:
        """True if a statement begins behind it: after a label or a case."""
        frame = self.frame
        if frame.ternaries:
            frame.ternaries -= 1
            while frame.concise and frame.concise[-1][0] > frame.ternaries:
                frame.concise.pop()
            return False
        if frame.kind != "block":
            return False
        frame.begin_statement()
        return True

    def _is_async_arrow(self) -> bool:
        last = len(self.tokens) - 1
        if last < 1:
            return False
        at = self.closed_opener - 1 if self.tokens[last].text == ")" else last - 1
        if at < 0 or self.tokens[at].text != "async" or self.tokens[at + 1].newline_before:
            return False
        return at == 0 or self.tokens[at - 1].text not in (".", "?.")

    # -- brackets -----------------------------------------------------------------------------------------------

    def _push(self, frame: Frame) -> None:
        self.frames.append(frame)
        self.opened(frame)

    def _open(self, text: str) -> None:
        outer = self.frame
        if outer.restricted:
            self._new_line_ends()
        frame = Frame("group", text, self.position, len(self.tokens))
        frame.awaits, frame.yields = outer.context()
        if text == "{":
            self._brace(outer, frame)
        elif text == "[":
            frame.after = "key" if outer.key else "operand"
        else:
            self._parenthesis(outer, frame)
        outer.head = outer.jump = outer.restricted = False
        self._append("punctuation", self.position + 1)
        self._push(frame)

    def _parenthesis(self, outer: Frame, frame: Frame) -> None:
        function = outer.pending[-1] if outer.pending else None
        if outer.key:
            frame.after = "method"
            outer.key_async = outer.key_async and not self.last("async")  # a method of that name
            frame.awaits, frame.yields = outer.key_async, outer.key_star
        elif function is not None and not function.is_class and not function.parameters_read:
            frame.after, frame.awaits, frame.yields = "body", function.awaits, function.yields
        elif outer.head:
            frame.kind, frame.after = "head", "statement"
        elif not outer.operand:
            frame.kind = "call"

    def _brace(self, outer: Frame, frame: Frame) -> None:
        pending = outer.pending[-1] if outer.pending else None
        if outer.key:
            frame.kind, frame.after = "block", "key"
            frame.awaits, frame.yields = outer.method and outer.key_async, outer.method and outer.key_star
        elif pending is not None and (pending.parameters_read or (pending.is_class and not outer.operand)):
            outer.pending.pop()
            frame.kind = "class" if pending.is_class else "block"
            frame.after = "statement" if pending.is_statement else "operand"
            if not pending.is_class:
                frame.awaits, frame.yields = pending.awaits, pending.yields
        elif self.last("=>"):
            frame.kind, frame.after = "block", "arrow"
            frame.awaits, frame.yields = outer.concise.pop()[1], False
        elif outer.kind == "block" and (outer.statement if outer.operand else not self.last("let")):
            frame.kind, frame.after = "block", "statement"
        else:
            frame.kind = "object"
        frame.statement = frame.kind == "block"
        frame.key = frame.kind in ("object", "class")

    def _close(self, text: str) -> None:
        start, frame = self.position, self.frame
        if len(self.frames) == 1:
            raise GivenUp(f"{text!r} closes nothing", start)
        if _CLOSES[frame.character] != text:
            raise GivenUp(f"{text!r} does not close the {frame.character!r}", start)
        self.closing(frame, start)
        self.frames.pop()
        outer = self.frame
        self.closed_opener = frame.opener
        self._append("punctuation", start + 1)
        if frame.kind == "template":
            self._template(start)
        elif frame.after == "statement" or (frame.after == "arrow" and outer.kind == "block"):
            outer.begin_statement()
        elif frame.after == "method":
            outer.method = True
        elif frame.after == "body":
            outer.pending[-1].parameters_read = True
        elif frame.after == "arrow" and outer.kind == "class":
            outer.begin_member()
        elif frame.after == "key":
            if frame.character == "{" and outer.kind == "class":
                outer.begin_member()
        else:
            outer.operand = outer.statement = False

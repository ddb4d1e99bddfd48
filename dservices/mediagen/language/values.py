"""Values from scripts: what each kind of parameter accepts, and what it becomes. Pure.

MediaScript passes query parameters straight into methods, so numbers come as strings (reference 1.1), colours as
`0xRRGGBB` (1.4), lists as text (1.5); names and enumerated words are case-insensitive (1.2). A value that does not
fit is
refused with what was expected, never corrected in silence.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from dservices.mediagen import limits

Args = Mapping[str, Any]
"""The checked arguments of one call, by their names in lower case."""
_NUMERIC = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?")
_HEX = re.compile(r"0[xX][0-9A-Fa-f]{1,8}")
_SPAN = re.compile(r"(\d{1,6})(?:-(\d{1,6})(?:-(\d{1,6}))?)?")


class ValueRefused(Exception):
    """`expected` says what would have been right, `got` what came."""

    def __init__(self, expected: str, got: Any) -> None:
        super().__init__(f"expected {expected}, got {shown(got)}")
        self.expected, self.got = expected, shown(got)


def shown(value: Any) -> str:
    """A value as a problem document shows it: short, printable."""
    if isinstance(value, Mapping):
        kind = value.get("$")
        return {"media": "a Media object", "number": str(value.get("v")), "function": "a function"}.get(
            str(kind), f"an object ({kind})"
        )
    text = {True: "true", False: "false", None: "null"}.get(value) if isinstance(value, bool | None) else None
    if text is None:
        text = repr(value) if isinstance(value, str) else str(value)
    text = "".join(character if character.isprintable() else "?" for character in text)
    return text if len(text) <= 80 else text[:77] + "..."


@dataclass(frozen=True, slots=True)
class Size:
    """A length in pixels or in per cent of some reference length."""

    value: float
    percent: bool = False

    def of(self, reference: int) -> int:
        """Whole pixels, at least 1; half up, so that the result does not depend on parity."""
        pixels = self.value * reference / 100 if self.percent else self.value
        return max(1, math.floor(pixels + 0.5))


class Kind(Protocol):
    """One kind of parameter: `expected` for messages, `accept` to convert or refuse."""

    @property
    def expected(self) -> str: ...

    def accept(self, value: Any) -> Any: ...


def as_number(value: Any) -> float | None:
    """The number a script meant, or None. Finite only."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, str):
        text = value.strip()
        if len(text) <= 40 and _HEX.fullmatch(text):
            return float(int(text, 16))
        if len(text) <= 40 and text.isascii() and _NUMERIC.fullmatch(text):
            number = float(text)
            return number if math.isfinite(number) else None
    if isinstance(value, Mapping) and value.get("$") == "colour":
        return as_number(value.get("v"))
    return None


@dataclass(frozen=True, slots=True)
class Number:
    low: float
    high: float
    what: str = "a number"

    @property
    def expected(self) -> str:
        return f"{self.what} from {self.low:g} to {self.high:g}"

    def accept(self, value: Any) -> float:
        number = as_number(value)
        if number is None or not self.low <= number <= self.high:
            raise ValueRefused(self.expected, value)
        return number


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number; a fraction is rounded half up, as pixel positions computed by scripts often have one."""

    low: int
    high: int
    what: str = "a whole number"

    @property
    def expected(self) -> str:
        return f"{self.what} from {self.low} to {self.high}"

    def accept(self, value: Any) -> int:
        number = as_number(value)
        if number is None or not self.low <= (whole := math.floor(number + 0.5)) <= self.high:
            raise ValueRefused(self.expected, value)
        return whole


@dataclass(frozen=True, slots=True)
class Length:
    """Pixels, or per cent with a `%` sign (reference 3.2, scale)."""

    low: float = 0.01

    @property
    def expected(self) -> str:
        return f"pixels from 1 to {limits.SIDE_MAX}, or a percentage such as '50%'"

    def accept(self, value: Any) -> Size:
        percent = isinstance(value, str) and value.strip().endswith("%")
        number = as_number(value.strip()[:-1] if percent else value)
        high = 100_000 if percent else limits.SIDE_MAX
        if number is None or not (self.low if percent else 0.5) <= number <= high:
            raise ValueRefused(self.expected, value)
        return Size(number, percent)


@dataclass(frozen=True, slots=True)
class Flag:
    @property
    def expected(self) -> str:
        return "true or false"

    def accept(self, value: Any) -> bool:
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.strip().lower() in ("true", "false", "1", "0"):
            return value.strip().lower() in ("true", "1")
        if isinstance(value, int | float) and value in (0, 1):
            return bool(value)
        raise ValueRefused(self.expected, value)


@dataclass(frozen=True, slots=True)
class FlagOr:
    """A flag, or one of some words that say a third thing."""

    words: Word

    @property
    def expected(self) -> str:
        return "true, false or " + ", ".join(self.words.words)

    def accept(self, value: Any) -> bool | str:
        for kind in (Flag(), self.words):
            try:
                return kind.accept(value)
            except ValueRefused:
                continue
        raise ValueRefused(self.expected, value)


@dataclass(frozen=True, slots=True)
class Word:
    """One of some words, in any case; spaces and hyphens do not count. `aliases` maps further spellings."""

    words: tuple[str, ...]
    aliases: tuple[tuple[str, str], ...] = ()

    @property
    def expected(self) -> str:
        return "one of " + ", ".join(self.words)

    def accept(self, value: Any) -> str:
        if isinstance(value, str):
            known = {_folded(word): word for word in self.words} | {_folded(a): b for a, b in self.aliases}
            if (found := known.get(_folded(value))) is not None:
                return found
        raise ValueRefused(self.expected, value)


def _folded(word: str) -> str:
    return re.sub(r"[\s_-]", "", word.lower())


@dataclass(frozen=True, slots=True)
class Text:
    max_chars: int = limits.TEXT_MAX_CHARS
    what: str = "text"

    @property
    def expected(self) -> str:
        return f"{self.what} of at most {self.max_chars} characters"

    def accept(self, value: Any) -> str:
        if isinstance(value, bool | None) or not isinstance(value, str | int | float):
            raise ValueRefused(self.expected, value)
        text = value if isinstance(value, str) else f"{value:g}"
        if len(text) > self.max_chars or "\0" in text:
            raise ValueRefused(self.expected, value)
        # A lone half of a surrogate pair is no character; it becomes the replacement character.
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


@dataclass(frozen=True, slots=True)
class Colour:
    """A colour number; what its digits mean (RGB or CMYK) is the picture's business (reference 1.4)."""

    @property
    def expected(self) -> str:
        return "a colour: 0xRRGGBB (or 0xCCMMYYKK on CMYK), a number, '#RRGGBB' or a colour object"

    def accept(self, value: Any) -> int:
        if isinstance(value, str) and re.fullmatch(r"#[0-9A-Fa-f]{6}", value.strip()):
            return int(value.strip()[1:], 16)
        number = as_number(value)
        if number is None or not 0 <= number <= 0xFFFFFFFF or number != int(number):
            raise ValueRefused(self.expected, value)
        return int(number)


@dataclass(frozen=True, slots=True)
class MediaRef:
    @property
    def expected(self) -> str:
        return "a Media object"

    def accept(self, value: Any) -> int:
        if isinstance(value, Mapping) and value.get("$") == "media" and isinstance(value.get("v"), int):
            return int(value["v"])
        raise ValueRefused(self.expected, value)


@dataclass(frozen=True, slots=True)
class ProfileRef:
    """The name of an ICC profile, an address, or an IccProfile object."""

    @property
    def expected(self) -> str:
        return "'rgb', 'cmyk', 'srgb', 'p3', 'gray', the address of a profile, or an IccProfile"

    def accept(self, value: Any) -> str | int:
        if isinstance(value, Mapping) and value.get("$") == "profile" and isinstance(value.get("v"), int):
            return int(value["v"])
        if isinstance(value, str) and 0 < len(value) <= 8192:
            return value
        raise ValueRefused(self.expected, value)


@dataclass(frozen=True, slots=True)
class Frames:
    """A frame list: `"3-9"`, `"1,4,8-20-2"`; the first frame is 1 (reference 1.5). None as `upper` means the
    last frame.
    """

    pages: bool = False

    @property
    def expected(self) -> str:
        return "a frame list such as '1,3-5,2-10-2' (the first frame is 1)"

    def accept(self, value: Any) -> tuple[tuple[int, int, int], ...]:
        """Spans (first, last, step); last 0 means "to the end" (page lists only, reference 1.5)."""
        text = value if isinstance(value, str) else (str(int(value)) if as_number(value) is not None else "")
        spans = []
        for entry in text.replace(" ", "").split(",")[: limits.FRAMES_MAX]:
            match = _SPAN.fullmatch(entry)
            if match is None:
                raise ValueRefused(self.expected, value)
            first, last, step = int(match[1]), int(match[2] or match[1]), int(match[3] or 1)
            open_end = self.pages and match[2] is not None and last == 0
            if step == 0 or (first == 0 and not self.pages) or (last < first and not open_end):
                raise ValueRefused(self.expected, value)
            spans.append((first, last, step))
        return tuple(spans)


def frame_numbers(spans: Sequence[tuple[int, int, int]], count: int) -> list[int]:
    """Frame indexes from 0, ascending, without repeats; what lies beyond the last frame is left out."""
    chosen: set[int] = set()
    for first, last, step in spans:
        end = count if last == 0 and first > 0 else min(last, count)
        chosen.update(range(max(first, 1) - 1, end, step) if first > 0 else ())
    return sorted(chosen)


@dataclass(frozen=True, slots=True)
class Layers:
    """A layer list: indexes from 0, ranges, names with `*`; the order given is the order of application (1.5)."""

    @property
    def expected(self) -> str:
        return "a layer list such as '0,2-3,Logo*' (the background is 0)"

    def accept(self, value: Any) -> tuple[str, ...]:
        text = value if isinstance(value, str) else (str(int(value)) if as_number(value) is not None else "")
        entries = tuple(entry for entry in text.split(",") if entry)
        if not entries or len(entries) > 256 or any(len(entry) > 31 for entry in entries):
            raise ValueRefused(self.expected, value)
        return entries


@dataclass(frozen=True, slots=True)
class Points:
    """`"x,y;x,y;…"` (reference 1.5)."""

    low: int = 2

    @property
    def expected(self) -> str:
        return f"at least {self.low} points as 'x,y;x,y;…'"

    def accept(self, value: Any) -> tuple[tuple[float, float], ...]:
        points = []
        for pair in str(value).strip().strip(";").split(";") if isinstance(value, str) else ():
            numbers = [as_number(part) for part in pair.split(",")]
            if len(numbers) != 2 or None in numbers or any(abs(number or 0) > 1e6 for number in numbers):
                raise ValueRefused(self.expected, value)
            points.append((numbers[0] or 0.0, numbers[1] or 0.0))
        if not self.low <= len(points) <= 10_000:
            raise ValueRefused(self.expected, value)
        return tuple(points)


@dataclass(frozen=True, slots=True)
class Matrix:
    """A square list of 9 or 25 numbers, as text or as an array."""

    @property
    def expected(self) -> str:
        return "9, 25 or 49 numbers, row by row"

    def accept(self, value: Any) -> tuple[float, ...]:
        parts = re.split(r"[\s,;]+", value.strip()) if isinstance(value, str) else value
        flat: list[Any] = []
        for part in parts if isinstance(parts, Sequence) else ():
            flat.extend(part if isinstance(part, list) else [part])
        numbers = [as_number(part) for part in flat[:50]]
        if len(numbers) not in (9, 25, 49) or any(n is None or abs(n) > 1e6 for n in numbers):
            raise ValueRefused(self.expected, value)
        return tuple(number or 0.0 for number in numbers)


@dataclass(frozen=True, slots=True)
class Anything:
    """A value that is passed on to a host method that checks it itself."""

    @property
    def expected(self) -> str:
        return "a value"

    def accept(self, value: Any) -> Any:
        return value

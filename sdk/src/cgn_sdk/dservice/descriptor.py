"""The descriptor of a DService, `dservice.toml` (S-3): its name, how it starts, where it listens, what it needs.

    [dservice]
    name = "hello"
    version = "0.1.0"
    route = "/hello"
    command = ["python", "app.py"]
    port = 8000                 # where it listens; without it, on the UNIX socket CGN_SOCKET
    health = "/healthz"         # optional: 503 there means "not yet"

Only the standard library, because the launcher that stands in front of a DService reads it. Every mistake is collected
and says what to write instead; an unknown name is a mistake and not a comment.
"""

from __future__ import annotations

import difflib
import re
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FILE_NAME = "dservice.toml"
FILE_MAX_BYTES = 64 * 1024
"""A descriptor is written by a person; more is the wrong file."""
HEALTH_PATH = "/_cgn/health"
TIERS = ("1", "2", "3", "4a", "4b")
MEMORY_BYTES = 1 << 30
"""Where the descriptor says nothing."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_VERSION = re.compile(r"[A-Za-z0-9._+-]{1,64}")
_ROUTE = re.compile(r"(/[A-Za-z0-9._~-]+)+")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TABLES: Mapping[str, tuple[str, ...]] = {
    "dservice": ("name", "version", "summary", "route", "command", "port", "health", "licence"),
    "resources": ("threads", "memory_bytes", "temporary_bytes"),
    "limits": ("request_bytes", "response_bytes", "deadline_ms", "concurrency"),
    "tiers": ("allowed", "deterministic"),
    "egress": ("allowed",),
    "estimator": ("path", "deadline_ms"),
    "verifier": ("path", "deadline_ms", "screen_ppm", "exact_ppm"),
    "environment": (),
}
"""Every table and its members; those of `environment` are the author's own."""


class DescriptorError(Exception):
    """The descriptor cannot be used. `mistakes` are sentences, one per mistake."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = tuple(mistakes)


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A descriptor that was read and is in order."""

    folder: Path
    name: str
    version: str
    route: str
    command: tuple[str, ...]
    port: int = 0
    """TCP port of loopback it listens on; 0: the UNIX socket `CGN_SOCKET`."""
    health: str = HEALTH_PATH
    memory_bytes: int = MEMORY_BYTES
    allowed_tiers: tuple[str, ...] = TIERS
    egress: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def words(self) -> list[str]:
        """The command as it is run: `python` is this interpreter, a relative path counts from the folder."""
        first = self.command[0]
        if first in ("python", "python3"):
            first = sys.executable
        elif "/" in first:
            first = str(self.folder / first)
        return [first, *self.command[1:]]


class _Reader:
    """Takes values out of the document and notes every mistake."""

    def __init__(self, path: Path, document: Mapping[str, Any], text: str) -> None:
        self._path = path
        self._document = document
        self._lines = text.splitlines()
        self.mistakes: list[str] = []

    def table(self, name: str) -> Mapping[str, Any]:
        value = self._document.get(name, {})
        if isinstance(value, dict):
            return value
        self.wrong(name, f"{name} must be a table [{name}]")
        return {}

    def wrong(self, key: str, sentence: str) -> None:
        self.mistakes.append(f"{self._place(key)}: {sentence}")

    def _place(self, key: str) -> str:
        pattern = re.compile(rf"\s*\[?\s*{re.escape(key)}\s*[\]=]")
        for number, line in enumerate(self._lines, 1):
            if pattern.match(line):
                return f"{self._path}:{number}"
        return str(self._path)

    def unknown(self) -> None:
        for name, value in self._document.items():
            if name not in _TABLES:
                self.wrong(name, f"there is no table [{name}]{_guess(name, _TABLES)}")
            elif isinstance(value, dict) and _TABLES[name]:
                for key in value:
                    if key not in _TABLES[name]:
                        self.wrong(key, f"[{name}] has no {key}{_guess(key, _TABLES[name])}")

    def value(self, table: str, key: str, default: Any, is_good: Callable[[Any], bool], wanted: str) -> Any:
        """The member, its default, or a mistake that says what is wanted."""
        found = self.table(table).get(key, default)
        if found is None:
            self.mistakes.append(f"{self._path}: [{table}] needs {key}: {wanted}")
        elif not is_good(found):
            self.wrong(key, f"{key} must be {wanted}, is {found!r}")
        return found


def _guess(name: str, known: Any) -> str:
    close = difflib.get_close_matches(name, list(known), 1)
    return f"; did you mean {close[0]}?" if close else f"; there are {', '.join(known)}"


def _matches(pattern: re.Pattern[str]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and pattern.fullmatch(value) is not None


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(word, str) and word for word in value)


def _is_between(low: int, high: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def read(folder: Path) -> Descriptor:
    """The descriptor in `folder`. Raises DescriptorError with every mistake."""
    path = folder / FILE_NAME
    if not folder.is_dir():
        raise DescriptorError([f"{folder} is no folder; `cgn dservice new NAME` makes one"])
    try:
        with path.open("rb") as file:
            content = file.read(FILE_MAX_BYTES + 1)
        text = content.decode("utf-8-sig")  # Windows' editors begin a file with a byte order mark
        document = tomllib.loads(text)
    except FileNotFoundError:
        raise DescriptorError(
            [f"{folder} has no {FILE_NAME}, which says how the DService starts; `cgn dservice new` writes one"]
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise DescriptorError([f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}"]) from None
    except tomllib.TOMLDecodeError as error:
        raise DescriptorError([f"{path}: not TOML: {error}"]) from None
    if len(content) > FILE_MAX_BYTES:
        raise DescriptorError([f"{path}: longer than {FILE_MAX_BYTES} bytes"])
    return _checked(folder, _Reader(path, document, text))


def _checked(folder: Path, reader: _Reader) -> Descriptor:
    reader.unknown()
    name = reader.value("dservice", "name", None, _matches(_NAME), "lower-case letters, digits, . _ and -, at most 64")
    version = reader.value("dservice", "version", None, _matches(_VERSION), 'a version such as "0.1.0"')
    route = reader.value(
        "dservice", "route", f"/{name}", _matches(_ROUTE), f'a path such as "/{name}", without a / behind'
    )
    command = reader.value("dservice", "command", None, _texts, 'a list of words such as ["python", "app.py"]')
    if command == []:
        reader.wrong("command", "command must have at least one word")
    port = reader.value("dservice", "port", 0, _is_between(0, 65_535), "a TCP port from 1 to 65535")
    health = reader.value("dservice", "health", HEALTH_PATH, _matches(_ROUTE), 'a path such as "/healthz"')
    memory = reader.value(
        "resources", "memory_bytes", MEMORY_BYTES, _is_between(16 << 20, 1 << 46), "bytes, at least 16 MiB"
    )
    tiers = reader.value(
        "tiers", "allowed", list(TIERS), lambda value: _texts(value) and set(value) <= set(TIERS),
        f"a list of {', '.join(TIERS)}",
    )  # fmt: skip
    egress = reader.value("egress", "allowed", [], _texts, 'a list such as ["public"] or ["host:port"]')
    environment = reader.table("environment")
    for key, value in environment.items():
        if not _VARIABLE.fullmatch(key) or not isinstance(value, str):
            reader.wrong(key, f'[environment] holds NAME = "text", and {key} is {value!r}')
    if reader.mistakes:
        raise DescriptorError(reader.mistakes)
    return Descriptor(
        folder,
        name,
        version,
        route,
        tuple(command),
        port,
        health,
        memory,
        tuple(tiers),
        tuple(egress),
        dict(environment),
    )

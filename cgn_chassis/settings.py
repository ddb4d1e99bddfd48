"""Settings of one process: a frozen dataclass, built once from one TOML file and the environment (O-5).

A process declares a frozen dataclass whose fields are made by `setting(default, unit, about)`; a field whose type is
such a dataclass again is a TOML table. `load` fills it and collects every mistake before it refuses, each with file
and line. What the environment says wins over the file, the file over the default.

Rules:
- nothing reads the environment at import;
- a secret (`Secret`) never stands in the file: the file names another (`name_file = "path"`), or the environment
  holds it;
- relative paths in the file count from the folder of the file;
- an unknown key is a mistake, not a comment;
- a field of type `dict[str, D]` with a settings dataclass D (made by `named_sections`) holds one table per name,
  from the file alone: the environment cannot name what it does not know.
"""

import difflib
import os
import re
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

S = TypeVar("S")

FILE_BYTES_MAX = 1024 * 1024
"""A settings file is written by people; a megabyte is a mistake."""

SECRET_BYTES_MAX = 64 * 1024
"""A secret is a key or a password; longer is the wrong file."""


class Secret:
    """A value that never shows itself: `reveal()` is the only way to read it."""

    __slots__ = ("_value", "exposed")

    def __init__(self, value: str, exposed: str = "") -> None:
        self._value = value
        self.exposed = exposed
        """The file it came from, when others than its owner can read that."""

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "Secret(hidden)"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __bool__(self) -> bool:
        return bool(self._value)


class SettingsError(Exception):
    """One or more mistakes in the settings, each a sentence with its place."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join(mistakes))


def setting(
    default: Any = MISSING,
    *,
    about: str,
    unit: str = "",
    minimum: int | float | None = None,
    maximum: int | float | None = None,
    choices: Sequence[str] = (),
) -> Any:
    """A field of a settings dataclass. Without a default the setting must be given.

    `about` is one sentence; `unit` is what a number counts; bounds are inclusive.
    """
    metadata = {"about": about, "unit": unit, "minimum": minimum, "maximum": maximum, "choices": tuple(choices)}
    return field(metadata=metadata) if default is MISSING else field(default=default, metadata=metadata)


def section(cls: type[S], *, about: str) -> S:
    """A field that holds another settings dataclass: a TOML table."""
    return field(default_factory=cls, metadata={"about": about})


def named_sections(*, about: str) -> Any:
    """A field of type `dict[str, D]`: one table `[field.<name>]` per entry, each a settings dataclass D."""
    return field(default_factory=dict, metadata={"about": about})


@dataclass(frozen=True, slots=True)
class _Source:
    path: Path | None
    lines: Mapping[str, int]
    environ: Mapping[str, str]
    prefix: str
    mistakes: list[str]

    def place(self, name: str) -> str:
        return f"{self.path}:{self.lines[name]}" if name in self.lines else str(self.path or "settings")

    def variable(self, name: str) -> str:
        return self.prefix + name.upper().replace(".", "__").replace("-", "_")

    def folder(self) -> Path:
        return self.path.parent if self.path else Path.cwd()


_OF_OTHERS = re.compile(r"SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?")
"""What Kubernetes puts into every pod beside a Service that has the name of a program of ours: nobody's mistake."""


def load(cls: type[S], path: Path | None, *, prefix: str, environ: Mapping[str, str]) -> S:
    """Settings of class `cls` from the file at `path` (None: defaults and environment only).

    Variables that Kubernetes sets for a Service of that name are passed over.

    `prefix` begins each environment variable (`EXAMPLE_`): field `port` is `EXAMPLE_PORT`, field `size` of table
    `cache` is `EXAMPLE_CACHE__SIZE`. Raises SettingsError with all mistakes at once.
    """
    values, lines = _read(path) if path is not None else ({}, {})
    source = _Source(path, lines, environ, prefix, [])
    result = _build(cls, values, "", source)
    known = set(_variables(cls, "", source))
    for variable in sorted(name for name in environ if name.startswith(prefix)):
        if variable not in known and not _OF_OTHERS.fullmatch(variable.removeprefix(prefix)):
            source.mistakes.append(f"environment {variable}: no such setting{_suggest(variable, known)}")
    if source.mistakes or result is None:
        raise SettingsError(source.mistakes)
    return result


def exposed(settings: Any) -> list[str]:
    """A sentence for each secret whose file others can read: what a program says when it checks itself."""
    found = []
    for item in fields(settings):
        value = getattr(settings, item.name)
        if isinstance(value, Secret) and value.exposed:
            found.append(f"{item.name}_file: {value.exposed} can be read by others: chmod 600 it")
        elif is_dataclass(value) and not isinstance(value, type):
            found += exposed(value)
    return found


def reference(cls: type[Any]) -> str:
    """An example file that states every setting with unit, default and sentence; it loads as the defaults."""
    return "\n".join(_reference(cls, "")).lstrip("\n") + "\n"


def _read(path: Path) -> tuple[dict[str, Any], dict[str, int]]:
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise SettingsError([f"{path}: longer than {FILE_BYTES_MAX} bytes"])
        text = path.read_text(encoding="utf-8-sig")  # Windows' editors begin a file with a byte order mark
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError([f"{path}: cannot be read: {error}"]) from error
    try:
        return tomllib.loads(text), _line_numbers(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"\(at line (\d+), column (\d+)\)", str(error))
        place = f"{path}:{found[1]}:{found[2]}" if found else str(path)
        message = re.sub(r" \(at .*\)$", "", str(error))
        raise SettingsError([f"{place}: not TOML: {message}"]) from error


_TABLE = re.compile(r"^\s*\[\s*([A-Za-z0-9_.\- ]+?)\s*\]")
_KEY = re.compile(r"^\s*([A-Za-z0-9_.\-]+)\s*=")


def _line_numbers(text: str) -> dict[str, int]:
    """Line of each table and key, by dotted name. (tomllib keeps none; keys inside inline tables share their line.)"""
    lines: dict[str, int] = {}
    table = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if found := _TABLE.match(line):
            table = found[1].replace(" ", "")
            lines.setdefault(table, number)
        elif found := _KEY.match(line):
            lines.setdefault(f"{table}.{found[1]}" if table else found[1], number)
    return lines


def _types(cls: type[Any]) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _build(cls: type[S], values: Mapping[str, Any], at: str, source: _Source) -> S | None:
    hints = _types(cls)
    accepted: set[str] = set()
    arguments: dict[str, Any] = {}
    failed = False
    for item in fields(cast(Any, cls)):
        name = f"{at}.{item.name}" if at else item.name
        kind = hints[item.name]
        accepted.add(f"{item.name}_file" if _is_secret(kind) else item.name)
        try:
            found, value = _value(item, kind, name, values, source)
        except _Mistake as mistake:
            source.mistakes.append(str(mistake))
            failed = True
            continue
        if found:
            arguments[item.name] = value
        elif item.default is MISSING and item.default_factory is MISSING:
            source.mistakes.append(
                f"{source.place(at)}: {name} must be given ({_sentence(item)}; or {source.variable(name)})"
            )
            failed = True
    for key in values:
        if key in accepted:
            continue
        name = f"{at}.{key}" if at else key
        if key in hints and _is_secret(hints[key]):
            source.mistakes.append(
                f"{source.place(name)}: {name} is a secret and does not stand here: "
                f"give {name}_file, or {source.variable(name)}"
            )
        else:
            source.mistakes.append(f"{source.place(name)}: no setting {name}{_suggest(key, accepted)}")
        failed = True
    return None if failed else cls(**arguments)


class _Mistake(Exception):
    pass


def _value(item: "Field[Any]", kind: Any, name: str, values: Mapping[str, Any], source: _Source) -> tuple[bool, Any]:
    if (named := _named(kind)) is not None:
        table = values.get(item.name, {})
        if not isinstance(table, dict) or not all(isinstance(entry, dict) for entry in table.values()):
            raise _Mistake(f"{source.place(name)}: {name} must be tables [{name}.<name>]")
        entries = {key: _build(named, entry, f"{name}.{key}", source) for key, entry in table.items()}
        return True, entries
    if is_dataclass(kind):
        table = values.get(item.name, {})
        if not isinstance(table, dict):
            raise _Mistake(f"{source.place(name)}: {name} must be a table [{name}]")
        before = len(source.mistakes)
        built = _build(cast(type[Any], kind), table, name, source)
        if built is None:
            if len(source.mistakes) == before:
                raise _Mistake(f"{source.place(name)}: {name} is incomplete")
            return True, None
        return True, built
    variable = source.variable(name)
    if _is_secret(kind):
        return _secret(item, name, variable, values, source)
    if variable in source.environ:
        place = f"environment {variable}"
        raw = _from_text(source.environ[variable], kind, place)
        return True, _checked(raw, kind, item, place, Path.cwd())
    if item.name in values:
        return True, _checked(values[item.name], kind, item, f"{source.place(name)}: {name}", source.folder())
    return False, None


def _secret(
    item: "Field[Any]", name: str, variable: str, values: Mapping[str, Any], source: _Source
) -> tuple[bool, Any]:
    if variable in source.environ:
        return True, Secret(source.environ[variable])
    from_file = values.get(f"{item.name}_file")
    path = source.environ.get(f"{variable}_FILE", from_file)
    if path is None:
        return False, None
    place = source.place(f"{name}_file")
    if not isinstance(path, str):
        raise _Mistake(f"{place}: {name}_file must be a string (a path)")
    file = source.folder() / path
    try:
        with file.open("rb") as stream:
            content = stream.read(SECRET_BYTES_MAX + 1)
            mode = os.fstat(stream.fileno()).st_mode
        if len(content) > SECRET_BYTES_MAX:
            raise _Mistake(f"{place}: {name}_file: {file} is longer than {SECRET_BYTES_MAX} bytes")
        return True, Secret(content.decode("utf-8").strip(), str(file) if mode & 0o077 else "")
    except (OSError, UnicodeDecodeError) as error:
        raise _Mistake(f"{place}: {name}_file: {file} cannot be read: {error}") from error


def _from_text(text: str, kind: Any, place: str) -> Any:
    base = _base(kind)
    try:
        if base is bool:
            return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[text.lower()]
        if base is int:
            return int(text.replace("_", ""))
        if base is float:
            return float(text)
    except (KeyError, ValueError):
        raise _Mistake(f"{place}: must be {_kind_name(kind)}, is {text!r}") from None
    if base is tuple:
        return [part.strip() for part in text.split(",") if part.strip()]
    return text


def _checked(value: Any, kind: Any, item: "Field[Any]", place: str, folder: Path) -> Any:
    base = _base(kind)
    good = {
        bool: isinstance(value, bool),
        int: isinstance(value, int) and not isinstance(value, bool),
        float: isinstance(value, (int, float)) and not isinstance(value, bool),
        str: isinstance(value, str),
        Path: isinstance(value, str),
        tuple: isinstance(value, list) and all(isinstance(entry, str) for entry in value),
    }
    if base not in good:
        raise TypeError(f"settings cannot hold {kind!r}")
    if not good[base]:
        raise _Mistake(f"{place} must be {_kind_name(kind)}, is {value!r}")
    minimum, maximum = item.metadata.get("minimum"), item.metadata.get("maximum")
    unit = f" {item.metadata['unit']}" if item.metadata.get("unit") and "port" not in item.metadata["unit"] else ""
    if minimum is not None and value < minimum:
        raise _Mistake(f"{place} must be at least {minimum}{unit}, is {value}")
    if maximum is not None and value > maximum:
        raise _Mistake(f"{place} must be at most {maximum}{unit}, is {value}")
    choices = item.metadata.get("choices") or ()
    if choices and value not in choices:
        raise _Mistake(f"{place} must be one of {', '.join(choices)}, is {value!r}")
    if base is Path:
        return folder / os.path.expanduser(value)
    return tuple(value) if base is tuple else float(value) if base is float else value


def _named(kind: Any) -> type[Any] | None:
    """The dataclass D of a field of type `dict[str, D]`."""
    if typing.get_origin(kind) is not dict:
        return None
    entry: type[Any] = typing.get_args(kind)[1]
    return entry if is_dataclass(entry) else None


def _base(kind: Any) -> Any:
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
        kind = next(part for part in typing.get_args(kind) if part is not type(None))
    return typing.get_origin(kind) or kind


def _is_secret(kind: Any) -> bool:
    return _base(kind) is Secret


def _kind_name(kind: Any) -> str:
    return {
        bool: "true or false",
        int: "a whole number",
        float: "a number",
        str: "a string",
        Path: "a string (a path)",
        tuple: "a list of strings",
    }.get(_base(kind), str(kind))


def _suggest(name: str, known: set[str]) -> str:
    close = difflib.get_close_matches(name, sorted(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _sentence(item: "Field[Any]") -> str:
    return str(item.metadata.get("about", "")).rstrip(".")


def _variables(cls: type[Any], at: str, source: _Source) -> list[str]:
    names = []
    for item in fields(cls):
        name = f"{at}.{item.name}" if at else item.name
        kind = _types(cls)[item.name]
        if _named(kind) is not None:
            continue
        if is_dataclass(kind):
            names += _variables(cast(type[Any], kind), name, source)
        else:
            names.append(source.variable(name))
            if _is_secret(kind):
                names.append(source.variable(name) + "_FILE")
    return names


def _reference(cls: type[Any], at: str) -> list[str]:
    out: list[str] = []
    tables: list[str] = []
    hints = _types(cls)
    for item in fields(cls):
        kind = hints[item.name]
        if (named := _named(kind)) is not None:
            name = f"{at}.{item.name}" if at else item.name
            tables += ["", f"# {item.metadata.get('about', '')}", f"# [{name}.<name>]"]
            tables += [line if line.startswith("#") else f"# {line}" for line in _reference(named, name) if line]
            continue
        if is_dataclass(kind):
            name = f"{at}.{item.name}" if at else item.name
            tables += ["", f"# {item.metadata.get('about', '')}", f"[{name}]"]
            tables += _reference(cast(type[Any], kind), name)
            continue
        unit = f" Unit: {item.metadata['unit']}." if item.metadata.get("unit") else ""
        out.append(f"# {_sentence(item)}.{unit}")
        key = f"{item.name}_file" if _is_secret(kind) else item.name
        if item.default is MISSING:
            out.append(f"# {key} =        (must be given)")
        elif item.default is None or _is_secret(kind):
            out.append(f"# {key} =")
        else:
            out.append(f"{key} = {_toml(item.default)}")
    return out + tables


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(entry) for entry in value) + "]"
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'

"""The gallery's table: what is in it, which MRL each entry is, what its file is called. Pure but for reading
the table.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cgn_sdk.mrl import mrl

FOLDER = Path(__file__).parent
SCRIPTS = FOLDER / "scripts"
SUFFIXES = {"jpeg": "jpg"}


@dataclass(frozen=True, slots=True)
class Entry:
    """One picture of the gallery."""

    name: str
    chapter: str
    title: str
    says: str
    type: str
    """The format that comes back, as MediaScript names it."""
    query: Mapping[str, str] = field(default_factory=dict)
    accept: str = ""
    """The request's Accept header, where the script asks for it."""
    hints: Mapping[str, str] = field(default_factory=dict)
    """Further request headers."""
    made: str = ""
    """An earlier entry whose file this one reads."""

    @property
    def file(self) -> str:
        return f"{self.name}.{SUFFIXES.get(self.type, self.type)}"

    @property
    def script(self) -> str:
        return f"{self.name}.ms"

    def mrl(self, base: str) -> str:
        """Path and query; `base` is where scripts and sources are, without a slash at the end."""
        return str(mrl(f"{base}/{self.script}", **self.query))

    @property
    def headers(self) -> dict[str, str]:
        return {**({"Accept": self.accept} if self.accept else {}), **self.hints}


def entries() -> list[Entry]:
    """All entries in the order of the page; one that reads another's file comes after it."""
    table = tomllib.loads((FOLDER / "gallery.toml").read_text("utf-8"))
    return [Entry(chapter=chapter["title"], **entry) for chapter in table["chapter"] for entry in chapter["entry"]]

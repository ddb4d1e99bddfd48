"""Fonts: those of locked packages and nothing of the machine, so that text has the same pixels everywhere (G-1).

`Source Sans Pro` and `Source Serif Pro` (SIL OFL 1.1) come with the packages `font-source-sans-pro` and
`font-source-serif-pro`; an operator may name one more folder. A font that is not there is an error (reference 2.6),
never a silent substitute, and so is a character that no font has; a few names that scripts use for "some sans" or "some
serif" are aliases.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.util
import os
import stat
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

from dservices.mediagen.operations import font_files as contents

PACKAGES = ("font_source_sans_pro", "font_source_serif_pro")
ALIASES: Mapping[str, str] = {
    **dict.fromkeys(
        ("sans", "sans-serif", "default", "arial", "helvetica", "verdana", "tahoma", "segoe ui"), "Source Sans Pro"
    ),
    **dict.fromkeys(("serif", "times", "times new roman", "georgia", "garamond"), "Source Serif Pro"),
}
"""Families that scripts name when any plain face will do."""
FOLDER_MAX_FILES = 2000
_SUFFIXES = (".ttf", ".otf", ".ttc", ".otc")
_TYPE_1 = (".pfa", ".pfb", ".pfm", ".afm", ".t1")


def package_folders() -> list[Path]:
    """Folders of the installed font packages, found without importing them."""
    found = []
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin is not None:
            found.append(Path(spec.origin).parent / "files")
    return found


def font_files(folders: Iterable[Path]) -> list[Path]:
    """Font files below the folders, sorted; where a face exists as .ttf and .otf, only the .ttf (one rasteriser)."""
    files = [
        p for folder in folders for p in sorted(folder.rglob("*"))[:FOLDER_MAX_FILES] if p.suffix.lower() in _SUFFIXES
    ]
    outlines = {p.stem for p in files if p.suffix.lower() == ".ttf"}
    return [p for p in files if p.suffix.lower() == ".ttf" or p.stem not in outlines]


def passed_over(folders: Iterable[Path]) -> list[Path]:
    """Font files of kinds that cannot be drawn here: HarfBuzz, which Pango shapes text with, reads no Type 1."""
    return [
        p for folder in folders for p in sorted(folder.rglob("*"))[:FOLDER_MAX_FILES] if p.suffix.lower() in _TYPE_1
    ]


def chosen_files(extra: Path | None) -> list[Path]:
    """The font files of the packages and of one more folder."""
    return font_files([*package_folders(), *([extra] if extra is not None else [])])


def prepared(files: Sequence[Path]) -> Path:
    """A folder for fontconfig's settings and cache, with links to exactly these files in `fonts` below it.

    Of this user and this set of files: another installation on this machine has another. It is made before a worker's
    fence stands, and found again inside it.
    """
    facts = [(str(path), (info := path.stat()).st_size, info.st_mtime_ns) for path in files]
    digest = hashlib.sha256(repr(facts).encode()).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"cgn-mediagen-fonts-{os.getuid()}-{digest}"
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    info = folder.lstat()
    if info.st_uid != os.getuid() or not stat.S_ISDIR(info.st_mode):
        raise PermissionError(f"{folder} belongs to somebody else: remove it or set TMPDIR")
    (folder / "fonts").mkdir(exist_ok=True)
    for number, path in enumerate(files):
        with contextlib.suppress(FileExistsError):
            (folder / f"fonts/{number:04}-{path.name}").symlink_to(path.resolve())
    return folder


class Fonts:
    """The fonts of one process. `install` must run before the first text is drawn: the library reads it once."""

    def __init__(self, extra: Path | None = None) -> None:
        self.files = chosen_files(extra)
        self.passed_over = passed_over([extra]) if extra is not None else []
        families: dict[str, str] = {}
        digests = []
        for path in self.files:
            data = path.read_bytes()
            digests.append(hashlib.sha256(data).digest())
            for family in contents.families(data):
                families.setdefault(family.lower(), family)
        self.families = families
        self.digest = hashlib.sha256(b"".join(sorted(digests))).hexdigest()[:12]
        """Of all faces: who has others draws other text."""

    @functools.cached_property
    def coverage(self) -> contents.Coverage:
        """The characters that some face here has: Pango takes from another face what the named one lacks."""
        return contents.Coverage(run for path in self.files for run in contents.characters(path.read_bytes()))

    def resolve(self, name: str) -> str | None:
        """The family that a script's name stands for, or None. `fs:/family` and a file suffix are accepted (3.3)."""
        plain = name.partition(":/")[2] if ":/" in name else name
        plain = plain.strip().lower()
        for suffix in _SUFFIXES:
            plain = plain.removesuffix(suffix)
        return self.families.get(plain) or self.families.get(ALIASES.get(plain, "").lower())

    def install(self) -> None:
        """Points fontconfig at exactly these files, with a cache of its own.

        Not at the packages' folders with globs for what to leave out: fontconfig does not apply those below a folder
        whose name begins with a dot, so whether a text was drawn from .ttf or .otf outlines hung on the path (G-1).
        """
        folder = prepared(self.files)
        text = (
            '<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd"><fontconfig>'
            f"<dir>{escape(str(folder / 'fonts'))}</dir><cachedir>{escape(str(folder))}</cachedir>"
            '<match target="font"><edit name="hinting" mode="assign"><bool>false</bool></edit></match></fontconfig>'
        )
        target = folder / "fonts.conf"
        draft = folder / f"fonts.{os.getpid()}"
        draft.write_text(text, "utf-8")
        draft.replace(target)
        os.environ["FONTCONFIG_FILE"] = str(target)
        os.environ.pop("FONTCONFIG_PATH", None)

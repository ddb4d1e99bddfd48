"""Fonts: those of locked packages and nothing of the machine, so that text has the same pixels everywhere (G-1).

`Source Sans Pro` and `Source Serif Pro` are the faces that scripts name; behind them stand Noto's for the scripts of
the world and Twemoji for emoji in colour (decision 0031), from which Pango takes what a named face lacks. An operator
may name one more folder. A font that is not there is an error (reference 2.6), never a silent substitute, and so is a
character that no font has; a few names that scripts use for "some sans" or "some serif" are aliases.
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
from dservices.mediagen.operations import type_1

PACKAGES: Mapping[str, str] = {
    "font_source_sans_pro": "files",
    "font_source_serif_pro": "files",
    "manimgx_fonts": ".",
    "manimgx_fonts_cjk": ".",
    "cgn_emoji": "files",
}
"""Packages with fonts, and the folder in each. The last is laid beside the others by `infra/fonts/install`."""
NOT_USED = ("NotoEmoji",)
"""Faces of the packages that would stand in the way of better ones: emoji without colour."""
ALIASES: Mapping[str, str] = {
    **dict.fromkeys(
        ("sans", "sans-serif", "default", "arial", "helvetica", "verdana", "tahoma", "segoe ui"), "Source Sans Pro"
    ),
    **dict.fromkeys(("serif", "times", "times new roman", "georgia", "garamond"), "Source Serif Pro"),
}
"""Families that scripts name when any plain face will do."""
FOLDER_MAX_FILES = 2000
_TYPE_1 = (".pfa", ".pfb")
_SUFFIXES = (".ttf", ".otf", ".ttc", ".otc", *_TYPE_1)


def package_folders() -> list[Path]:
    """Folders of the installed font packages, found without importing them."""
    found = []
    for name, folder in PACKAGES.items():
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin is not None:
            found.append(Path(spec.origin).parent / folder)
    return found


def font_files(folders: Iterable[Path]) -> list[Path]:
    """Font files below the folders, sorted; where a face exists as .ttf and .otf, only the .ttf (one rasteriser)."""
    files = [
        p for folder in folders for p in sorted(folder.rglob("*"))[:FOLDER_MAX_FILES] if p.suffix.lower() in _SUFFIXES
    ]
    outlines = {p.stem for p in files if p.suffix.lower() == ".ttf"}
    return [p for p in files if p.suffix.lower() == ".ttf" or p.stem not in outlines]


def chosen_files(extra: Path | None) -> list[Path]:
    """The font files of the packages and of one more folder."""
    packaged = [path for path in font_files(package_folders()) if not path.name.startswith(NOT_USED)]
    return packaged + (font_files([extra]) if extra is not None else [])


def prepared(files: Sequence[Path]) -> Path:
    """A folder for fontconfig's settings and cache, with links to exactly these files in `fonts` below it; a Type 1
    font is there as OpenType, or not at all if it cannot be read.

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
        target = folder / "fonts" / _name_of(number, path)
        if path.suffix.lower() in _TYPE_1:
            _convert(path, target)
        else:
            with contextlib.suppress(FileExistsError):
                target.symlink_to(path.resolve())
    return folder


def _name_of(number: int, path: Path) -> str:
    return f"{number:04}-{path.name}" + (".otf" if path.suffix.lower() in _TYPE_1 else "")


def _convert(path: Path, target: Path) -> None:
    if target.exists():
        return
    with contextlib.suppress(type_1.NotRead):
        draft = target.with_suffix(f".{os.getpid()}")
        draft.write_bytes(type_1.as_opentype(path))
        draft.replace(target)


class Fonts:
    """The fonts of one process. `install` must run before the first text is drawn: the library reads it once."""

    def __init__(self, extra: Path | None = None) -> None:
        chosen = chosen_files(extra)
        self._folder = prepared(chosen)
        there = [(path, self._folder / "fonts" / _name_of(number, path)) for number, path in enumerate(chosen)]
        self.files = [target for _, target in there if target.exists()]
        self.passed_over = [path for path, target in there if not target.exists()]
        """Type 1 fonts that cannot be read."""
        families: dict[str, str] = {}
        digests = []
        self._in_colour: list[tuple[str, Path]] = []
        for path in self.files:
            data = path.read_bytes()
            digests.append(hashlib.sha256(data).digest())
            for family in (names := contents.families(data)):
                families.setdefault(family.lower(), family)
            if names and contents.has_colours(data):
                self._in_colour.append((names[0], path))
        self.families = families
        self.digest = hashlib.sha256(b"".join(sorted(digests))).hexdigest()[:12]
        """Of all faces: who has others draws other text."""

    @functools.cached_property
    def coverage(self) -> contents.Coverage:
        """The characters that some face here has: Pango takes from another face what the named one lacks."""
        return contents.Coverage(run for path in self.files for run in contents.characters(path.read_bytes()))

    @functools.cached_property
    def _colour_coverage(self) -> contents.Coverage:
        return contents.Coverage(run for _, path in self._in_colour for run in contents.characters(path.read_bytes()))

    def is_colourful(self, text: str) -> bool:
        """Whether some of the text may be drawn in colours of its own: as emoji, which is for Pango to decide."""
        return any(ord(character) > 0xFF and character in self._colour_coverage for character in text)

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
        folder = self._folder
        emoji = "".join(
            f'<alias binding="strong"><family>emoji</family><prefer><family>{escape(family)}</family></prefer></alias>'
            for family, _ in self._in_colour
        )
        text = (
            '<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd"><fontconfig>'
            f"<dir>{escape(str(folder / 'fonts'))}</dir><cachedir>{escape(str(folder))}</cachedir>"
            '<match target="font"><edit name="hinting" mode="assign"><bool>false</bool></edit></match>'
            f"{emoji}</fontconfig>"
        )
        target = folder / "fonts.conf"
        draft = folder / f"fonts.{os.getpid()}"
        draft.write_text(text, "utf-8")
        draft.replace(target)
        os.environ["FONTCONFIG_FILE"] = str(target)
        os.environ.pop("FONTCONFIG_PATH", None)

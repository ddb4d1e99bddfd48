"""A worker's confinement: what holds even if a decoder, the PDF renderer or V8 is taken over by what it reads (G-6).

`fence` first, before libraries start threads; `confine` when they are loaded, before the first request. What is left
to a worker then: its memory, its threads, the files of the installed packages and fonts, and the channel to its front.
"""

from __future__ import annotations

import ctypes
import resource
import signal
import sys
from collections.abc import Iterable
from pathlib import Path

from cgn_sdk.dservice.confinement import limit_calls, limit_files

ANONYMOUS_FILE_MAX_BYTES = 8 << 20
"""Of a file in memory: libvips wants colour profiles as files, and those of printing presses have up to 3 MiB."""
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE = 1, 4
_SYSTEM_FILES = (
    *("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/share"),
    *("/etc/ld.so.cache", "/etc/fonts", "/etc/localtime"),
    *("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom"),
    *("/sys/devices/system/cpu", "/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat"),
)
"""Libraries, locales, fonts' descriptions, and what a process reads of the machine to know its size."""


def readable(extra: Iterable[Path] = ()) -> list[Path]:
    """What a worker reads: Python, the packages it was started with, system libraries, and `extra` (fonts)."""
    python = [sys.prefix, sys.base_prefix, *(entry for entry in sys.path if entry)]
    return [*(Path(text) for text in (*python, *_SYSTEM_FILES)), *extra]


def fence(fonts: Path | None, cache: Path) -> list[str]:
    """The fence around files: reading as in `readable`, writing only in fontconfig's `cache` (until `confine` ends
    that, too). Returns what could not be had."""
    missing = limit_files(readable([fonts] if fonts is not None else []), [cache])
    return [missing] if missing is not None else []


def confine(memory_bytes: int) -> list[str]:
    """Limits that hold whatever the code does. Threads stay possible: V8 and libvips have some. Returns what could not
    be had."""
    library = ctypes.CDLL(None, use_errno=True)
    library.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    library.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    # V8 reserves far more address space than it uses, so what is limited is private memory, not address space.
    resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    resource.setrlimit(resource.RLIMIT_FSIZE, (ANONYMOUS_FILE_MAX_BYTES, ANONYMOUS_FILE_MAX_BYTES))
    missing = limit_calls()
    return [missing] if missing is not None else []

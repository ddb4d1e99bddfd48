"""How much memory this process uses, and what its allocator keeps of what was freed."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from dservices.mediagen import limits

_STATM = Path("/proc/self/statm")
_DATA_FIELD = 5
"""proc(5): private writable memory and stack, in pages; what RLIMIT_DATA counts, and the stack."""


class _Mallinfo2(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_size_t)
        for name in "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()  # noqa: SIM905
    ]


class Memory:
    """Of this process. Where the C library cannot tell what is free (glibc before 2.33), nothing is taken for free."""

    def __init__(self) -> None:
        library = ctypes.CDLL(None)
        self._info = getattr(library, "mallinfo2", None)
        if self._info is not None:
            self._info.restype = _Mallinfo2
        self._trim = getattr(library, "malloc_trim", None)

    def in_use(self) -> int:
        """Bytes, without what is freed but kept. More than a bound of that goes back to the system first."""
        free = self._free()
        if free > limits.FREE_KEPT_MAX_BYTES and self._trim is not None:
            self._trim(0)
            free = self._free()
        data = int(_STATM.read_text().split()[_DATA_FIELD]) * os.sysconf("SC_PAGE_SIZE")
        return max(0, data - free)

    def _free(self) -> int:
        return int(self._info().fordblks) if self._info is not None else 0

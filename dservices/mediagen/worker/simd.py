"""Switches libvips' SIMD off for a while (G-8), to get the result of a processor that has none.

Every processor with SSE2 or better gives the same bytes. Where libvips finds no vector instructions at all it blurs by
other arithmetic, so a shadow's bytes differ there, and an honest result may come from such a machine.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager


def _switch() -> ctypes._NamedFuncPointer:
    import pyvips

    if pyvips.API_mode:
        import _libvips

        library = ctypes.CDLL(_libvips.__file__)  # loaded already: its own libvips answers
    else:
        library = ctypes.CDLL("libvips.so.42")
    return library.vips_vector_set_enabled


@contextmanager
def without() -> Iterator[None]:
    switch = _switch()
    switch(0)
    try:
        yield
    finally:
        switch(1)

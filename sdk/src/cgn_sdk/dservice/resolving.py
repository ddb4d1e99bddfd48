"""Names to addresses by the system's resolver, so that slow names hold up nobody else.

`getaddrinfo` waits in a thread for as long as the name's servers please. On the event loop's own few threads half a
dozen such names would stop every other lookup of the process, and the process could not end before they have been
answered. So each lookup has a thread of its own that nobody waits for at the end, at most `LOOKUPS_MAX` of them, and is
given up after `RESOLVE_S`.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, TypeVar

LOOKUPS_MAX: Final = 64
"""At once; as many as connections."""
RESOLVE_S: Final = 5.0
"""One lookup, seconds. A resolver that asks three servers for a live name is done in one."""
TRIED_MAX: Final = 8
"""Addresses of one name that are tried. All are checked; but a name with a thousand must not make us knock at a
thousand doors."""

Item = TypeVar("Item")
_places = threading.BoundedSemaphore(LOOKUPS_MAX)


async def system_resolve(host: str, port: int) -> list[str]:
    """All A and AAAA records by the system's resolver, as text. OSError (gaierror) if there are none, or if too many
    lookups hang; TimeoutError."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[list[str]] = loop.create_future()
    if not _places.acquire(blocking=False):
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    def settle(found: list[str] | None, error: Exception | None) -> None:
        if answer.done():
            return  # given up
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(found or [])

    def look_up() -> None:
        found, error = None, None
        try:
            entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
            found = list(dict.fromkeys(str(entry[4][0]) for entry in entries))
        except Exception as raised:
            error = raised
        finally:
            _places.release()
        with suppress(RuntimeError):  # the loop is closed: nobody asks any more
            loop.call_soon_threadsafe(settle, found, error)

    try:
        threading.Thread(target=look_up, name="resolve", daemon=True).start()
    except RuntimeError:  # no more threads
        _places.release()
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN)) from None
    async with asyncio.timeout(RESOLVE_S):
        return await answer


def tried(addresses: Sequence[Item]) -> Sequence[Item]:
    """Those of the checked addresses that a connection may be tried to, in their order."""
    return addresses[:TRIED_MAX]

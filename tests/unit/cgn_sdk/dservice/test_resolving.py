"""Lookups by the system's resolver: bounded, given up, and nobody waits for them at the end."""

import asyncio
import socket
import subprocess
import sys
import threading

import pytest
from cgn_sdk.dservice import resolving
from cgn_sdk.dservice.resolving import system_resolve, tried


async def test_literals_and_local_names_are_found() -> None:
    assert await system_resolve("127.0.0.1", 80) == ["127.0.0.1"]
    assert "127.0.0.1" in await system_resolve("localhost", 80)
    with pytest.raises(socket.gaierror):
        await system_resolve("nothing.invalid", 80)


async def test_slow_lookups_are_given_up_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Six hundred names that hang cost LOOKUPS_MAX threads, and none of the loop's own."""
    release = threading.Event()

    def hang(host: str, *arguments: object, **options: object) -> list[object]:
        release.wait(10)
        return [(0, 0, 0, "", ("192.0.2.1", 0))]

    monkeypatch.setattr(resolving, "RESOLVE_S", 0.2)
    monkeypatch.setattr(resolving.socket, "getaddrinfo", hang)
    outcomes = await asyncio.gather(*(system_resolve(f"n{n}", 80) for n in range(600)), return_exceptions=True)
    late = sum(isinstance(one, TimeoutError) for one in outcomes)
    assert late == resolving.LOOKUPS_MAX
    assert all(isinstance(one, OSError) for one in outcomes)
    assert await asyncio.to_thread(lambda: "free") == "free"
    release.set()
    for _ in range(200):
        try:
            assert await system_resolve("n", 80) == ["192.0.2.1"]
            break
        except OSError:
            await asyncio.sleep(0.01)
    else:
        raise AssertionError("the places do not come back")


def test_a_process_ends_while_a_lookup_hangs() -> None:
    code = (
        "import asyncio, socket, time\n"
        "from cgn_sdk.dservice import resolving\n"
        "resolving.RESOLVE_S = 0.1\n"
        "socket.getaddrinfo = lambda *a, **o: time.sleep(60)\n"
        "async def main():\n"
        "    try: await resolving.system_resolve('x', 1)\n"
        "    except TimeoutError: print('late')\n"
        "asyncio.run(main())\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=True)
    assert ran.stdout == "late\n"


def test_few_addresses_of_many_are_tried() -> None:
    assert tried(list(range(1000))) == list(range(resolving.TRIED_MAX))

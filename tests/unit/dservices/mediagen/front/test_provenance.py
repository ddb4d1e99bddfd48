"""What a result was made from (G-8): the digest over everything a request has read."""

import re

from dservices.mediagen.channel import Shared
from dservices.mediagen.front.provenance import Reading
from dservices.mediagen.front.sources import Sources
from dservices.mediagen.worker.identity import engine


class Shelf:
    """A fetch function over a dictionary, as the front gives it."""

    def __init__(self, **files: bytes) -> None:
        self.files = files

    async def fetch(self, address: str, purpose: str) -> bytes | Shared:
        data = self.files[address]
        return Shared.of(data) if len(data) > 100 else data


async def digest_of(shelf: Shelf, *addresses: str) -> str:
    reading = Reading(shelf.fetch, Sources(None, 0))
    for address in addresses:
        await reading.fetch(address, "source")
    return await reading.digest()


async def test_it_is_of_what_was_read_where() -> None:
    shelf = Shelf(script=b"s", small=b"x", large=b"y" * 1000)
    whole = await digest_of(shelf, "script", "small", "large")
    assert whole == await digest_of(shelf, "large", "script", "small", "script"), "order and repeats do not matter"
    assert len({whole, await digest_of(shelf, "script", "small"), await digest_of(shelf)}) == 3
    assert whole != await digest_of(Shelf(script=b"s", small=b"x", large=b"y" * 999 + b"z"), "script", "small", "large")
    assert await digest_of(Shelf(a=b"1", b=b"2"), "a", "b") != await digest_of(Shelf(a=b"2", b=b"1"), "a", "b")


async def test_an_address_that_changes_within_a_request_is_in_it_twice() -> None:
    shelf = Shelf(a=b"1")
    reading = Reading(shelf.fetch, Sources(None, 0))
    await reading.fetch("a", "source")
    shelf.files["a"] = b"2"
    await reading.fetch("a", "source")
    assert await reading.digest() not in (await digest_of(Shelf(a=b"1"), "a"), await digest_of(Shelf(a=b"2"), "a"))


def test_the_engine_is_one_line() -> None:
    version, libvips, libwebp, machine, fonts = engine("0123").split()
    assert version[0].isdigit()
    assert libvips.startswith("libvips-8.")
    assert re.fullmatch(r"libwebp-1\.\d+\.\d+", libwebp)
    assert machine
    assert fonts == "fonts-0123"

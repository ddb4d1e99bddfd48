"""The source cache against a web server that plays every game with validators, and counts (G-9)."""

import hashlib
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest
from aiohttp import web
from cgn_sdk.dservice.addresses import AddressPolicy, parse_rules
from cgn_sdk.dservice.fetch import Fetcher, FetchLimits
from cgn_sdk.dservice.problems import Problem

from dservices.mediagen.channel import Shared
from dservices.mediagen.front import sources
from dservices.mediagen.front.sources import Source, Sources

SMALL, LARGE = b"small" * 100, bytes(range(256)) * 1024
MIB = 1 << 20
DATE = "Sat, 21 Nov 2026 12:00:00 GMT"
WALL = 1795262400.0


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return WALL + self.now - 1000.0


@dataclass
class Origin:
    """Answers as the test's function says; keeps what it was asked."""

    port: int = 0
    answer: Callable[[web.BaseRequest], web.StreamResponse] = lambda request: web.Response(status=500)
    asked: list[web.BaseRequest] = field(default_factory=list)

    def url(self, path: str = "x") -> str:
        return f"http://127.0.0.1:{self.port}/{path}"

    def serve(self, body: bytes, etag: str | None = '"1"', status: int = 200, **headers: str) -> None:
        """Always this body; 304 where the question's ETag is the present one."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if etag is not None:
            named["ETag"] = etag

        def answer(request: web.BaseRequest) -> web.StreamResponse:
            if etag is not None and request.headers.get("If-None-Match") == etag:
                return web.Response(status=304, headers=named)
            return web.Response(status=status, body=body, headers=named)

        self.answer = answer


@pytest.fixture
async def origin() -> AsyncIterator[Origin]:
    made = Origin()

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        made.asked.append(request)
        return made.answer(request)

    runner = web.ServerRunner(web.Server(handle))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.port = runner.addresses[0][1]
    yield made
    await runner.cleanup()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(origin: Origin, clock: Clock) -> AsyncIterator[Callable[..., Sources]]:
    policy = AddressPolicy(parse_rules(f"127.0.0.1:{origin.port}"))
    fetcher = Fetcher(policy, FetchLimits(total_s=5))

    def make(cache_bytes: int = 8 * MIB, **options: float) -> Sources:
        return Sources(fetcher, cache_bytes, monotonic=clock.monotonic, wall=clock.wall, **options)

    yield make
    await fetcher.close()


def plain(source: Source) -> bytes:
    return source.read() if isinstance(source, Shared) else source


async def test_what_is_fresh_is_not_asked_for_again(store, origin, clock):
    kept = store()
    for body in (SMALL, LARGE):
        origin.asked.clear()
        origin.serve(body, Cache_Control="max-age=60", Date=DATE)
        url = origin.url(str(len(body)))
        clock.now = 1000.0
        assert [plain(await kept.get(url, MIB)) for _ in range(3)] == [body] * 3
        assert len(origin.asked) == 1
        clock.now = 1061.0
        assert plain(await kept.get(url, MIB)) == body
        assert [request.headers.get("If-None-Match") for request in origin.asked] == [None, '"1"']


async def test_without_a_lifetime_every_use_asks_and_304_spares_the_body(store, origin):
    kept = store()
    origin.serve(LARGE)
    bodies = [await kept.get(origin.url(), MIB) for _ in range(4)]
    assert [plain(body) for body in bodies] == [LARGE] * 4
    assert len(origin.asked) == 4
    assert (kept.counts.fetched, kept.counts.confirmed) == (1, 3)
    assert bodies[0] is bodies[3]  # the same memory, handed out again


async def test_a_source_that_changes_is_noticed_at_once(store, origin):
    kept = store()
    for version in range(4):
        origin.serve(b"%d" % version * 200_000, f'"{version}"')
        assert plain(await kept.get(origin.url(), MIB)) == b"%d" % version * 200_000
    assert kept.held_bytes == 200_000 + sources.ENTRY_OVERHEAD_BYTES


@pytest.mark.parametrize(
    "headers",
    [
        {"Cache-Control": "no-store"},
        {"Cache-Control": "private, max-age=60"},
        {"Vary": "*"},
        {"Cache-Control": "max-age=60", "X-Second": "no-store"},
    ],
    ids=str,
)
async def test_what_may_not_be_kept_is_fetched_every_time(store, origin, headers):
    kept = store()

    def answer(request: web.BaseRequest) -> web.StreamResponse:
        response = web.Response(body=SMALL, headers={"ETag": '"1"'})
        for name, value in headers.items():
            response.headers.add("Cache-Control" if name == "X-Second" else name, value)  # two fields are one list
        return response

    origin.answer = answer
    for _ in range(2):
        assert await kept.get(origin.url(), MIB) == SMALL
    assert ["If-None-Match" in request.headers for request in origin.asked] == [False, False]
    assert kept.held_bytes == 0


async def test_errors_are_not_kept_and_nothing_stale_is_served(store, origin, clock):
    """An origin that fails on being asked again fails the request, as it would without a cache."""
    kept = store()
    origin.serve(SMALL, status=404)
    with pytest.raises(Problem, match="404"):
        await kept.get(origin.url(), MIB)
    origin.serve(SMALL, Cache_Control="max-age=10", Date=DATE)
    assert await kept.get(origin.url(), MIB) == SMALL
    clock.now += 11
    origin.answer = lambda request: web.Response(status=503)
    with pytest.raises(Problem, match="503"):
        await kept.get(origin.url(), MIB)
    assert kept.held_bytes == 0
    origin.answer = lambda request: web.Response(status=403)
    with pytest.raises(Problem, match="403"):
        await kept.get(origin.url(), MIB)


async def test_a_body_that_breaks_off_is_not_kept(store, origin):
    kept = store()

    def answer(request: web.BaseRequest) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Length: 500000\r\nCache-Control: max-age=60\r\nDate: %b\r\n\r\n"
            % DATE.encode()
            + LARGE
        )
        request.transport.close()
        return web.Response()

    origin.answer = answer
    for _ in range(2):
        with pytest.raises(Problem, match="broke off"):
            await kept.get(origin.url(), MIB)
    assert kept.held_bytes == 0


async def test_a_redirect_is_not_kept_and_a_304_behind_one_is_not_believed(store, origin):
    kept = store()
    targets = {"/x": "/first"}

    def answer(request: web.BaseRequest) -> web.StreamResponse:
        if request.path in targets:
            return web.Response(status=302, headers={"Location": targets[request.path]})
        if "If-None-Match" in request.headers:
            return web.Response(status=304, headers={"ETag": '"1"'})  # every file here calls itself "1"
        return web.Response(body=request.path.encode(), headers={"ETag": '"1"', "Cache-Control": "max-age=60"})

    origin.answer = answer
    assert await kept.get(origin.url(), MIB) == b"/first"
    targets["/x"] = "/second"
    assert await kept.get(origin.url(), MIB) == b"/second"
    targets.clear()
    origin.serve(b"plain")
    assert await kept.get(origin.url(), MIB) == b"plain"
    targets["/x"] = "/third"
    origin.answer = answer
    assert await kept.get(origin.url(), MIB) == b"/third"


async def test_a_304_with_another_etag_is_not_believed(store, origin):
    kept = store()
    origin.serve(b"old")
    assert await kept.get(origin.url(), MIB) == b"old"

    def answer(request: web.BaseRequest) -> web.StreamResponse:
        if request.headers:
            status = 304 if "If-None-Match" in request.headers else 200
        return web.Response(status=status, body=b"new" if status == 200 else None, headers={"ETag": '"2"'})

    origin.answer = answer
    assert await kept.get(origin.url(), MIB) == b"new"


async def test_addresses_with_different_grants_share_nothing(store, origin):
    """Signed addresses are entries of their own, and asked about every time: the origin decides whether the grant holds."""
    kept = store()

    def answer(request: web.BaseRequest) -> web.StreamResponse:
        grant = request.query.get("sig")
        if grant not in ("ann", "bob"):
            return web.Response(status=403)
        if request.headers.get("If-None-Match") == f'"{grant}"':
            return web.Response(status=304)
        return web.Response(body=grant.encode(), headers={"ETag": f'"{grant}"', "Cache-Control": "max-age=600"})

    origin.answer = answer
    for grant in ("ann", "bob", "ann", "bob"):
        assert await kept.get(origin.url(f"x?sig={grant}"), MIB) == grant.encode()
    assert len(origin.asked) == 4
    for url in (origin.url("x"), origin.url("x?sig=eve")):
        with pytest.raises(Problem, match="403"):
            await kept.get(url, MIB)
    origin.answer = lambda request: web.Response(status=403)  # the grant has ended
    with pytest.raises(Problem, match="403"):
        await kept.get(origin.url("x?sig=ann"), MIB)


async def test_the_oldest_go_when_it_is_full_and_no_entry_takes_it_all(store, origin):
    kept = store(100_000)
    origin.serve(b"x" * 20_000)
    for name in "abcd":
        await kept.get(origin.url(name), MIB)
    await kept.get(origin.url("a"), MIB)  # used: younger than b now
    await kept.get(origin.url("e"), MIB)
    assert kept.held_bytes <= 100_000
    assert kept.counts.evicted == 1
    origin.asked.clear()
    for name in "acdeb":
        await kept.get(origin.url(name), MIB)
    assert ["If-None-Match" in request.headers for request in origin.asked] == [True, True, True, True, False]
    origin.serve(b"y" * 60_000)
    await kept.get(origin.url("large"), MIB)
    assert kept.held_bytes <= 100_000
    assert origin.url("large") not in kept._entries


async def test_switched_off_it_keeps_nothing(store, origin):
    kept = store(0)
    origin.serve(SMALL, Cache_Control="max-age=60", Date=DATE)
    for _ in range(2):
        assert await kept.get(origin.url(), MIB) == SMALL
    assert len(origin.asked) == 2
    assert kept.held_bytes == 0


async def test_an_entry_whose_bytes_are_wrong_is_fetched_again(store, origin):
    """Small ones are compared at every use, large ones after a while; unsealed memory is never used."""
    kept = store(verify_every_s=0.0)
    for body, wrong in ((SMALL, b"wrong"), (LARGE, Shared.of(LARGE[:-1] + b"!"))):
        origin.serve(body, Cache_Control="max-age=60", Date=DATE)
        url = origin.url(str(len(body)))
        given = await kept.get(url, MIB)
        assert plain(given) == body
        assert await kept.digest(url, given) == hashlib.sha256(body).digest()
        kept._entries[url].body = wrong
        assert plain(await kept.get(url, MIB)) == body
    open_memory = Shared()
    open_memory.write(LARGE)
    kept._entries[url].body = open_memory
    assert plain(await kept.get(url, MIB)) == LARGE
    assert kept.counts.spoiled == 3
    kept.clear()


async def test_a_use_with_a_narrower_bound_is_refused(store, origin):
    kept = store()
    origin.serve(LARGE, Cache_Control="max-age=60", Date=DATE)
    await kept.get(origin.url(), MIB)
    with pytest.raises(Problem, match="larger than 1000 bytes"):
        await kept.get(origin.url(), 1000)


async def test_an_upload_makes_what_was_kept_void(store, origin):
    kept = store()
    origin.serve(SMALL, Cache_Control="max-age=60", Date=DATE)
    await kept.get(origin.url(), MIB)
    kept.forget(origin.url())
    await kept.get(origin.url(), MIB)
    assert len(origin.asked) == 2


async def test_shared_memory_cannot_be_changed_by_whoever_gets_it(store, origin):
    """A worker that was taken over holds descriptors of kept sources: it must not be able to poison them."""
    import mmap
    import os

    kept = store()
    origin.serve(LARGE, Cache_Control="max-age=60", Date=DATE)
    source = await kept.get(origin.url(), MIB)
    assert isinstance(source, Shared)
    for attack in (
        lambda: os.pwrite(source.descriptor, b"!", 0),
        lambda: os.ftruncate(source.descriptor, 0),
        lambda: os.ftruncate(source.descriptor, 1 << 30),
        lambda: mmap.mmap(source.descriptor, len(source), flags=mmap.MAP_SHARED, prot=mmap.PROT_WRITE),
    ):
        with pytest.raises(OSError):
            attack()
    with open(f"/proc/self/fd/{source.descriptor}", "rb+", buffering=0) as again, pytest.raises(OSError):
        again.write(b"!")
    assert plain(source) == LARGE


@pytest.mark.parametrize("seed", range(8))
async def test_results_are_the_same_whatever_is_kept(store, origin, clock, seed):
    """G-1, G-9: on, off and much too small, against an origin that keeps its promises: 300 steps each."""
    chance = random.Random(seed)
    versions = dict.fromkeys("abcdef", 0)
    until = dict.fromkeys("abcdef", 0.0)

    def body(name: str) -> bytes:
        return f"{name}{versions[name]}".encode() * (10 if name < "d" else 30_000)

    def answer(request: web.BaseRequest) -> web.StreamResponse:
        name = request.path[1]
        headers = {"ETag": f'"{versions[name]}"', "Date": DATE}
        if name in "ad":
            headers["Cache-Control"] = f"max-age={max(0, int(until[name] - clock.now))}"
            headers.pop("Date")
        elif name == "b":
            headers["Cache-Control"] = "no-store"
        elif name == "e":
            headers["ETag"] = 'W/"same"'
        if chance.random() < 0.05:
            return web.Response(status=503)
        if request.headers.get("If-None-Match") == headers["ETag"]:
            return web.Response(status=304, headers=headers)
        return web.Response(body=body(name), headers=headers)

    origin.answer = answer
    caches = [store(8 * MIB), store(0), store(70_000), store(8 * MIB, verify_every_s=0.0)]
    # aiohttp's own Date would be read against the false clock.
    for each in caches:
        each._wall = lambda: 0.0
    for _ in range(300):
        clock.now += chance.choice((0, 0, 1, 7))
        name = chance.choice("abcdef")
        if clock.now >= until[name] and chance.random() < 0.3:
            versions[name] += 1
            until[name] = clock.now + chance.choice((0, 3, 20))
        for each in caches:
            try:
                assert plain(await each.get(origin.url(name), MIB)) == body(name)
            except Problem as problem:
                assert problem.code == "source_failed"
    assert caches[0].counts.fresh > 10
    assert caches[0].counts.confirmed > 10
    for each in caches:
        each.clear()

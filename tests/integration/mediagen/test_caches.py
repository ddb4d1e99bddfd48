"""Sources and scripts kept between requests, seen from outside: how often the origin is asked, and that results do not
change (G-1, G-9)."""

from collections import Counter
from pathlib import Path
from urllib.parse import quote

import pytest
import pyvips

SCRIPT = "function main() { var m = new Media(); m.load(name @ '%s'); m.scale(xs @ 40); m.save(type @ 'png'); }"


def rough(seed: int) -> bytes:
    """A JPEG of some 200 KiB: long enough to be handed over as shared memory."""
    image = pyvips.Image.gaussnoise(600, 400, mean=128, sigma=60, seed=seed).cast("uchar")
    return bytes(image.jpegsave_buffer(Q=90))


def asked(rig, script_url: str, times: int) -> tuple[list[bytes], Counter[str], Counter[str]]:
    """Bodies of that many requests, and what the origin was asked for meanwhile: all, and answered 304."""
    rig.origin.hits.clear()
    rig.origin.confirmed.clear()
    bodies = []
    for _ in range(times):
        answer = rig.get(f"/mgen/io?script={quote(script_url, safe='')}")
        assert answer.status == 200, answer.body[:300]
        bodies.append(answer.body)
    return bodies, Counter(rig.origin.hits), Counter(rig.origin.confirmed)


@pytest.fixture(scope="module")
def rigs(start_mediagen, origin):
    """As installed, with a cache too small for the pictures, with none, and with two workers."""
    return {
        "kept": start_mediagen(),
        "small": start_mediagen(CGN_MEDIAGEN_CACHE_BYTES="100000"),
        "none": start_mediagen(CGN_MEDIAGEN_CACHE_BYTES="0"),
        "two": start_mediagen(CGN_MEDIAGEN_WORKERS="2"),
    }


def test_the_origin_decides_how_often_it_is_asked(rigs, origin):
    origin.add("fresh.jpg", rough(1), ETag='"1"', Cache_Control="max-age=600")
    origin.add("asked.jpg", rough(1), ETag='"1"')
    origin.add("never.jpg", rough(1), ETag='"1"', Cache_Control="no-store")
    fresh = origin.add("fresh.ms", SCRIPT % "fresh.jpg", ETag='"s"', Cache_Control="max-age=600")
    tagged = origin.add("asked.ms", SCRIPT % "asked.jpg", ETag='"s"')
    never = origin.add("never.ms", SCRIPT % "never.jpg", Cache_Control="no-store")
    results = set()
    for name, rig in rigs.items():
        bodies, hits, confirmed = asked(rig, fresh, 3)
        results.update(bodies)
        times = {"kept": 1, "two": 1, "none": 3, "small": 3}[name]
        assert hits == {"/fresh.ms": 3 if name == "none" else 1, "/fresh.jpg": times}
        bodies, hits, confirmed = asked(rig, tagged, 3)
        results.update(bodies)
        assert hits == {"/asked.ms": 3, "/asked.jpg": 3}
        expected = {"kept": (2, 2), "two": (2, 2), "none": (0, 0), "small": (2, 0)}[name]
        assert (confirmed["/asked.ms"], confirmed["/asked.jpg"]) == expected
        bodies, hits, confirmed = asked(rig, never, 3)
        results.update(bodies)
        assert hits == {"/never.ms": 3, "/never.jpg": 3}
        assert not confirmed
    assert len(results) == 1  # the same bytes, however they came


def test_a_change_at_the_origin_shows_in_the_next_answer(rigs, origin):
    """Script, include and source each; the answers are those of the service that keeps nothing."""
    url = origin.add("changing.ms", '#include "part.ms"\n' + SCRIPT % "changing.jpg", ETag='"1"')
    origin.add("part.ms", "var part = 1;", ETag='"1"')
    seen = []
    for version in range(1, 5):
        origin.add("changing.jpg", rough(version), ETag=f'"{version}"')
        if version == 3:
            script = '#include "part.ms"\n' + (SCRIPT % "changing.jpg").replace("xs @ 40", "xs @ part")
            origin.add("changing.ms", script, ETag='"2"')
        if version == 4:
            origin.add("part.ms", "var part = 30;", ETag='"2"')
        answers = {name: asked(rig, url, 2)[0] for name, rig in rigs.items()}
        assert len({body for bodies in answers.values() for body in bodies}) == 1
        seen.append(answers["kept"][0])
    assert len(set(seen)) == 4
    assert pyvips.Image.new_from_buffer(seen[3], "").width == 30


def test_a_source_that_goes_is_missed_at_once(rigs, origin):
    origin.add("going.jpg", rough(9), ETag='"1"')
    url = origin.add("going.ms", SCRIPT % "going.jpg", ETag='"1"')
    asked(rigs["kept"], url, 2)
    del origin.files["/going.jpg"]
    for _ in range(2):
        answer = rigs["kept"].get(f"/mgen/io?script={quote(url, safe='')}")
        assert (answer.status, answer.problem["title"]) == (404, "source_missing")


def test_what_a_script_uploads_is_what_it_reads_next(rigs, origin):
    """RFC 9111, 4.4: a PUT makes what was kept of that address void."""
    origin.add("target.txt", "old", ETag='"1"', Cache_Control="max-age=600")
    target = origin.url("target.txt")
    read = f"resp.setObject(new TextResponse(new File('{target}').read()), RespType.Streamed);"
    write = f"var m = new Media(); m.makeCanvas(xs @ 2, ys @ 2); m.save(name @ '{target}', type @ 'png'); "
    assert rigs["kept"].run(read).body == b"old"
    origin.add("target.txt", "new", ETag='"2"', Cache_Control="max-age=600")
    assert rigs["kept"].run(read).body == b"old"
    assert rigs["kept"].run(write + read).body == b"new"


def test_kept_sources_stay_within_their_bound(start_mediagen, origin):
    """Fifty sources of some 200 KiB through a cache of 2 MiB: the process keeps no more of them."""
    rig = start_mediagen(CGN_MEDIAGEN_CACHE_BYTES=str(2 << 20))

    def shared_mib() -> float:
        """Memory that is not a file's and can be shared: what the front holds for its workers."""
        total = 0
        for link in Path(f"/proc/{rig.process.pid}/fd").iterdir():
            if "cgn-mediagen-source" in str(link.readlink()):
                total += link.stat().st_size
        return total / (1 << 20)

    for number in range(50):
        origin.add(f"many{number}.jpg", rough(number), ETag='"1"', Cache_Control="max-age=600")
        answer = rig.run(SCRIPT % f"many{number}.jpg")
        assert answer.status == 200
    assert 1 < shared_mib() <= 2


def test_a_pinned_source_serves_many_requests_at_once(rigs, origin):
    """One entry, two workers, eight requests: all read the same memory, none changes it."""
    from concurrent.futures import ThreadPoolExecutor

    origin.add("shared.jpg", rough(4), ETag='"1"', Cache_Control="max-age=600")
    url = origin.add("shared.ms", SCRIPT % "shared.jpg", ETag='"1"', Cache_Control="max-age=600")
    with ThreadPoolExecutor(4) as pool:
        bodies = list(pool.map(lambda _: asked(rigs["two"], url, 2)[0], range(4)))
    assert len({body for several in bodies for body in several}) == 1

"""MediaGen as its users meet it: through a real node and a real miner (issue of MediaGen: "runs both directly and through a
real node and miner"). One network for the module.

What is shown directly in tests/conformance/mediascript and tests/integration/mediagen is shown here by samples: pictures
pixel by pixel, refusals with line and column, hostile sources, and that every answer of the service is one row in the
ledger while what the node itself refuses is none (N-24).
"""

import asyncio
import importlib.util
import json
import sqlite3
import ssl
import struct
import zlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import pytest_asyncio
import pyvips
from cgn_sandbox.network import Sandbox, SandboxOptions
from cgn_sdk.client import AsyncClient, CgnProblem, WorkResult
from cgn_sdk.mrl import mrl

from cgn_chassis.tls import Authority

TESTS = Path(__file__).resolve().parents[1]
FETCH_TOTAL_S, WALL_S = 1.5, 8.0
pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]


def module_at(path: str) -> ModuleType:
    """What other tests keep for themselves: the conformance corpus, and the web server that misbehaves."""
    spec = importlib.util.spec_from_file_location("of_" + Path(path).stem + str(len(path)), TESTS / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CORPUS = module_at("conformance/mediascript/test_pictures.py")
SHELF = module_at("conformance/mediascript/conftest.py")
ORIGINS = module_at("integration/mediagen/conftest.py")
SAMPLED = CORPUS.ROWS[:: max(1, len(CORPUS.ROWS) // 32)]


@pytest.fixture(scope="module")
def origin() -> Iterator[Any]:
    made = ORIGINS.Origin()
    made.add("a.png", SHELF.png(SHELF.SAMPLE))
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture(scope="module")
def untrusted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """An origin whose certificate nobody vouches for."""
    folder = tmp_path_factory.mktemp("tls")
    credential = Authority.load_or_create(folder, "nobody's authority").issue_server("origin", ["127.0.0.1"])
    credential.save(folder / "origin.pem", folder / "origin.key")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "origin.pem", folder / "origin.key")
    made = ORIGINS.Origin()
    made.server.socket = context.wrap_socket(made.server.socket, server_side=True)
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def network(origin: Any, untrusted: Any) -> AsyncIterator[Sandbox]:
    options = SandboxOptions(
        chain=False,
        miners=1,
        allow_egress=(f"127.0.0.1:{origin.port}", f"127.0.0.1:{untrusted.port}"),
        mediagen_settings={"FETCH_TOTAL_S": str(FETCH_TOTAL_S), "WALL_S": str(WALL_S)},
    )
    async with Sandbox(options) as sandbox:
        yield sandbox


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(network: Sandbox) -> AsyncIterator[AsyncClient]:
    async with network.client() as one:
        yield one


async def run(client: AsyncClient, origin: Any, script: str, **parameters: str) -> tuple[WorkResult, bytes]:
    """Publishes the script and asks for it. One without a function becomes the body of main, from line 2 on."""
    if "function main" not in script:
        script = "function main() {\n" + script + "\n}"
    origin.count = getattr(origin, "count", 0) + 1
    result = await client.request("GET", mrl(origin.add(f"s{origin.count}.ms", script), **parameters))
    return result, await result.read()


async def stored(network: Sandbox, wanted: set[str]) -> dict[str, dict[str, Any]]:
    """The ledger's public rows of these requests, when they have arrived (they are spooled first)."""
    for _ in range(100):
        with sqlite3.connect(f"file:{network.ledger_path}?mode=ro", uri=True) as ledger:
            texts = [text for (text,) in ledger.execute("SELECT public_json FROM rows")]
        ids = [json.loads(text)["row_id"] for text in texts]
        assert len(ids) == len(set(ids)), "a request is billed twice"
        rows = {row["row_id"]: row for row in map(json.loads, texts) if row["row_id"] in wanted}
        if rows.keys() == wanted:
            return rows
        await asyncio.sleep(0.05)
    raise AssertionError(f"missing in the ledger: {wanted - rows.keys()}")


async def alive(client: AsyncClient, origin: Any) -> str:
    """Asks for a picture; returns the request's id."""
    result, body = await run(client, origin, "var m = new Media(); m.makeCanvas(xs @ 3, ys @ 2); m.save(type @ 'png');")
    assert result.status == 200, body[:300]
    return result.request_id


# -- pictures -------------------------------------------------------------------------------------------------------


async def test_a_sample_of_the_corpus_gives_exactly_its_pictures(client: AsyncClient, origin: Any) -> None:
    """The conformance corpus, every ninth row or so: the same pixels behind node and miner."""
    assert len(SAMPLED) >= 30
    for trace, script, expected in SAMPLED:
        result, body = await run(client, origin, script)
        assert result.status == 200, (trace, body[:300])
        assert SHELF.grid(pyvips.Image.new_from_buffer(body, "")) == expected, trace


async def test_headers_of_the_answer_reach_the_dapp(client: AsyncClient, origin: Any) -> None:
    """2.4: status, type and headers that a script sets; cost and times beside them (N-25)."""
    script = (
        "resp.setObject(new TextResponse('<p>none</p>', 'text/html'), RespType.Streamed); resp.setStatus(404);"
        " resp.setHeader('Vary', 'Accept');"
    )
    result, body = await run(client, origin, script)
    assert (result.status, body) == (404, b"<p>none</p>")
    assert result.headers["Content-Type"].startswith("text/html")
    assert result.headers["Vary"] == "Accept"
    assert result.headers["Cache-Control"] == "no-store"
    assert (result.fee_nano_eur or 0) > 0
    assert "work" in result.timings


async def test_a_cap_that_cannot_fit_is_refused_before_the_work(
    client: AsyncClient, network: Sandbox, origin: Any
) -> None:
    """N-22: MediaGen's estimator is asked where there is a cap; 402 names the price, nothing is done or charged."""
    script = (
        "var p = new Media(); p.makeCanvas(xs @ 6000, ys @ 4000, fillColor @ 0x224466); p.blur(radius @ 20);"
        " p.save(type @ 'png');"
    )
    address = mrl(origin.add("heavy.ms", "function main() {\n" + script + "\n}"))
    with pytest.raises(CgnProblem) as refused:
        await client.request("GET", address, max_fee_nano_eur=100)
    problem = refused.value.problem
    assert (problem.status, problem.code, problem.extra["constraint"]) == (402, "price_cap", "estimate")
    assert int(problem.extra["price_nano_eur"]) > 100
    request_id = await alive(client, origin)
    assert problem.extra["request_id"] not in await stored(network, {request_id})


async def test_a_result_can_be_put_to_an_address(client: AsyncClient, origin: Any) -> None:
    """G-5: a pre-signed address gets the picture by PUT, through the miner's proxy."""
    target = origin.url("bucket/made.png") + "?X-Amz-Signature=abc"
    script = (
        "var m = new Media(); m.makeCanvas(xs @ 5, ys @ 4, fillColor @ 0x336699); m.save(name @ req.getParameter('to'), type @ 'png');"
        " resp.setObject(new TextResponse('done'), RespType.Streamed);"
    )
    result, body = await run(client, origin, script, to=target)
    assert (result.status, body) == (200, b"done")
    data, headers = origin.uploads["/bucket/made.png?X-Amz-Signature=abc"]
    assert pyvips.Image.new_from_buffer(data, "").width == 5
    assert headers["content-type"] == "image/png"


async def test_a_picture_that_is_sent_along_is_worked_on(client: AsyncClient, origin: Any) -> None:
    """2.3: POST; the upload crosses node and miner as a stream."""
    script = "function main() { var m = new Media(); m.load(name @ req.getFileParamPath('body')); m.flip(axis @ 'horizontal'); m.save(type @ 'png'); }"
    sent = SHELF.png(SHELF.SAMPLE)
    result = await client.request("POST", mrl(origin.add("upload.ms", script)), sent)
    body = await result.read()
    assert result.status == 200, body[:300]
    assert SHELF.grid(pyvips.Image.new_from_buffer(body, "")) == [row[::-1] for row in SHELF.SAMPLE]


# -- refusals ---------------------------------------------------------------------------------------------------------


def png_bomb(width: int, height: int) -> bytes:
    """About a hundred kilobytes that unfold to width x height pixels of one bit."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    packed = zlib.compress(bytes(1 + width // 8) * 2000, 9)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def hostile_files(origin: Any) -> None:
    gradient = pyvips.Image.xyz(60, 40)[0].cast("uchar").copy(interpretation="b-w")
    whole = bytes(gradient.pngsave_buffer())
    origin.add("cut.png", whole[: len(whole) // 2])
    origin.add("cut.jpg", bytes(gradient.jpegsave_buffer())[:200])
    origin.add("bomb.png", png_bomb(30_000, 30_000))
    origin.add("lies.jpg", b"MZ" + bytes(500))
    origin.add("bomb.svg", '<svg xmlns="http://www.w3.org/2000/svg" width="900000" height="900000"/>')
    deep = "".join(f'<g id="g{n}"><use href="#g{n - 1}"/><use href="#g{n - 1}"/></g>' for n in range(1, 40))
    origin.add("uses.svg", f'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><g id="g0"/>{deep}</svg>')


LOAD = "new Media().load(name @ '{}');"
DRAW = "var m = new Media();\n  m.load(name @ '{}');\n  m.scale(xs @ 20); m.save(type @ 'png');"
REFUSED = [
    ("syntax", "var m = new Media();\n  var = 3;", 422, "script_syntax", (3, 7)),
    ("endless", "for (;;);", 422, "script_timeout", None),
    ("endless in a catch", "for (;;) try { for (;;); } catch (e) {}", 422, "script_timeout", None),
    ("memory", "var a = []; for (;;) a.push(new Array(100000).fill(7));", 422, "script_memory", None),
    ("recursion", "(function f() { f(); })();", 422, "script_failed", None),
    ("unknown method", "var m = new Media();\nm.makeCanvas(xs @ 4, ys @ 4);\n  m.rotat(angle @ 90);", 422, "unknown_method", (4, 5)),
    ("unknown parameter", "var m = new Media();\n  m.makeCanvas(xs @ 4, hight @ 4);", 422, "unknown_parameter", (3, 5)),
    ("out of range", "var m = new Media(); m.makeCanvas(xs @ 4, ys @ -1);", 422, "bad_parameter", (2, 24)),
    ("too large", "var m = new Media(); m.makeCanvas(xs @ 30000, ys @ 30000);", 422, "picture_too_large", (2, 24)),
    ("metadata service", LOAD.format("http://169.254.169.254/latest"), 403, "source_refused", (2, 13)),
    ("mapped loopback", LOAD.format("http://[::ffff:127.0.0.1]:22/"), 403, "source_refused", (2, 13)),
    ("decimal loopback", LOAD.format("http://2130706433/"), 403, "source_refused", (2, 13)),
    ("by name", LOAD.format("http://localhost:1/x"), 403, "source_refused", (2, 13)),
    ("file", LOAD.format("file:///etc/passwd"), 403, "source_refused", (2, 13)),
    ("redirect inwards", LOAD.format("redirect/http~127.0.0.2/x"), 403, "source_refused", (2, 13)),
    ("source 404", LOAD.format("no-such.jpg"), 404, "source_missing", (2, 13)),
    ("source 500", LOAD.format("status/500"), 424, "source_failed", (2, 13)),
    ("source breaks off", LOAD.format("half"), 424, "source_failed", (2, 13)),
    ("source too slow", LOAD.format("slow"), 424, "source_timeout", (2, 13)),
    ("source too big", LOAD.format("two-gigabytes"), 413, "source_too_large", (2, 13)),
    ("source without end", LOAD.format("endless"), None, None, (2, 13)),
    ("untrusted certificate", LOAD.format("TLS/a.png"), 424, "source_failed", (2, 13)),
    ("cut PNG", DRAW.format("cut.png"), 422, "FileMangled", None),
    ("cut JPEG", DRAW.format("cut.jpg"), 422, "FileMangled", None),
    ("bomb", DRAW.format("bomb.png"), 422, "picture_too_large", (3, 5)),
    ("SVG bomb", DRAW.format("bomb.svg"), 422, None, (3, 5)),
    ("SVG that multiplies", DRAW.format("uses.svg"), 422, None, None),
    ("mislabelled", DRAW.format("lies.jpg"), 415, "source_unsupported", (3, 5)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "script", "status", "code", "place"), REFUSED, ids=[row[0] for row in REFUSED])
async def test_a_refusal_reaches_the_dapp_whole_is_billed_once_and_the_service_lives_on(
    name: str,
    script: str,
    status: int | None,
    code: str | None,
    place: tuple[int, int] | None,
    client: AsyncClient,
    network: Sandbox,
    origin: Any,
    untrusted: Any,
) -> None:
    """Issue, bad input: one problem document with line, column and what was expected. The miner has worked, so there is
    one row (N-24)."""
    if "/cut.png" not in origin.files:
        hostile_files(origin)
    script = script.replace("TLS/", untrusted.url("").replace("http:", "https:"))
    result, body = await run(client, origin, script)
    problem = json.loads(body)
    assert result.headers["Content-Type"] == "application/problem+json"
    assert problem["status"] == result.status
    assert 400 <= result.status < 500
    assert status is None or result.status == status, problem
    assert code is None or problem["title"] == code, problem
    assert len(problem["detail"]) > 10
    if place is not None:
        assert (problem["line"], problem["column"]) == place, problem
    row = (await stored(network, {result.request_id}))[result.request_id]
    assert int(row["usage_fee_nano_eur"]) == result.fee_nano_eur
    assert int(row["usage_fee_nano_eur"]) > 0
    await alive(client, origin)


async def test_what_the_node_refuses_is_not_billed(client: AsyncClient, network: Sandbox, origin: Any) -> None:
    """No miner worked: no row. And a malformed MRL, which a miner did read, is one."""
    await stored(network, {await alive(client, origin)})  # rows are stored in order: all before it are there
    with sqlite3.connect(f"file:{network.ledger_path}?mode=ro", uri=True) as ledger:
        (before,) = ledger.execute("SELECT count(*) FROM rows").fetchone()
    for path, options in (("/nowhere/io", {}), ("/mgen/io?script=x", {"tiers": ["3"]})):
        with pytest.raises(CgnProblem):
            await client.request("GET", path, **options)  # type: ignore[arg-type]
    malformed = await client.request("GET", "/mgen/io?script=%zz")
    assert json.loads(await malformed.read())["title"] == "mrl_malformed"
    await stored(network, {malformed.request_id})
    await asyncio.sleep(0.3)
    with sqlite3.connect(f"file:{network.ledger_path}?mode=ro", uri=True) as ledger:
        (after,) = ledger.execute("SELECT count(*) FROM rows").fetchone()
    assert after == before + 1


async def test_a_crowd_of_bad_requests_does_not_disturb_a_good_one(client: AsyncClient, origin: Any) -> None:
    """G-6: bombs, endless scripts and missing sources at once; the pictures between them are right."""
    hostile_files(origin)
    bad = ["for (;;);", DRAW.format("bomb.png"), LOAD.format("no-such.jpg"), DRAW.format("cut.png")]
    good = "var m = new Media(); m.load(name @ 'a.png'); m.save(type @ 'png');"
    answers = await asyncio.gather(*(run(client, origin, one) for one in [*bad, good] * 2))
    for number, (result, body) in enumerate(answers):
        if number % 5 == 4:
            assert result.status == 200, body[:300]
            assert SHELF.grid(pyvips.Image.new_from_buffer(body, "")) == SHELF.SAMPLE
        else:
            assert 400 <= result.status < 500, body[:300]

"""Inputs from and outputs to stores that check signatures (G-5): Azurite for Azure's SAS, a gateway for S3's SigV4.

The addresses go through the MRL, the script and the fetcher; a signature that survives is one whose bytes nobody touched.
"""

import base64
import hashlib
import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import presigned
import pytest
import pyvips

ROOT = Path(__file__).parents[3]
STORES = ROOT / ".cache/stores"
READ = "function main() { var m = new Media(); m.load(name @ req.getParameter('u')); m.save(type @ 'png'); }"
WRITE = (
    "function main() { var m = new Media(); m.makeCanvas(xs @ 7, ys @ 5, fillColor @ 0x336699);"
    " m.save(name @ req.getParameter('u'), type @ 'png'); var t = new TextResponse('stored'); resp.setObject(t, RespType.Streamed); }"
)


def png() -> bytes:
    return pyvips.Image.black(9, 4, bands=3).copy(interpretation="srgb").write_to_buffer(".png")


def send(url: str, method: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
    request = urllib.request.Request(url, body, {k.replace("_", "-"): v for k, v in headers.items()}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


@dataclass
class Store:
    """One bucket or container; `address(method, name)` is a signed address, `expired` and `forged` are not good.
    `facts` are what a document of named stores says of it, `secret` is what nobody may see of that."""

    base: str
    address: Callable[..., str]
    headers: dict[str, str]
    facts: dict[str, str]
    secret: str

    def read(self, name: str) -> tuple[int, bytes]:
        return send(self.address("GET", name), "GET")

    def write(self, name: str, body: bytes) -> None:
        status, said = send(self.address("PUT", name), "PUT", body, **self.headers)
        assert status in (200, 201), said


def started(command: list[str], port: int, folder: Path, **environment: str) -> subprocess.Popen[bytes]:
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **environment}, cwd=folder)
    for _ in range(300):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return process
        except OSError:
            assert process.poll() is None, (folder / "log").read_text()
            time.sleep(0.1)
    process.kill()
    raise AssertionError((folder / "log").read_text())


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def azurite(folder: Path) -> Iterator[Store]:
    port, account, key = unused_port(), "tester", base64.b64encode(os.urandom(32)).decode()
    program = str(STORES / "node_modules/.bin/azurite-blob")
    options = ["--blobHost", "127.0.0.1", "--blobPort", str(port), "--location", str(folder), "--silent"]
    process = started(
        ["node", program, *options, "--disableTelemetry"], port, folder, AZURITE_ACCOUNTS=f"{account}:{key}"
    )
    base = f"http://127.0.0.1:{port}/{account}/media"

    def address(method: str, name: str, *, expires_s: int = 600, key: str = key) -> str:
        return presigned.sas(
            f"{base}/{quote(name)}", account, key, {"GET": "r", "PUT": "cw"}[method], expires_s=expires_s
        )

    create_container(base, account, key)
    whole = presigned.sas(f"{base}/", account, key, "rcw", resource="c").partition("?")[2]
    facts = {"type": "azure", "container": base, "sas": whole}
    yield Store(base, address, {"x-ms-blob-type": "BlockBlob"}, facts, whole.rpartition("sig=")[2])
    process.terminate()
    process.wait(timeout=20)


def create_container(base: str, account: str, key: str) -> None:
    """By an account SAS, which may make containers."""
    import datetime
    import hmac

    end = (datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    text = "\n".join([account, "cw", "b", "c", "", end, "", "", "2020-12-06", "", ""])
    signature = base64.b64encode(hmac.digest(base64.b64decode(key), text.encode(), "sha256")).decode()
    query = f"restype=container&sv=2020-12-06&ss=b&srt=c&sp=cw&se={quote(end, safe='')}&sig={quote(signature, safe='')}"
    status, said = send(f"{base}?{query}", "PUT", b"")
    assert status == 201, said


def s3(folder: Path) -> Iterator[Store]:
    port, access, secret = unused_port(), "tester", hashlib.sha256(os.urandom(32)).hexdigest()
    (folder / "data").mkdir()
    (folder / "meta").mkdir()
    process = started(
        [str(STORES / "bin/versitygw"), "--port", f"127.0.0.1:{port}", "posix", "--sidecar", str(folder / "meta"), str(folder / "data")],
        port, folder, ROOT_ACCESS_KEY=access, ROOT_SECRET_KEY=secret,
    )  # fmt: skip
    base = f"http://127.0.0.1:{port}/media"

    def address(method: str, name: str, *, expires_s: int = 600, key: str = secret, age_s: int = 0) -> str:
        return presigned.s3(method, f"{base}/{quote(name)}", access, key, expires_s=expires_s, age_s=age_s)

    status, said = send(presigned.s3("PUT", base, access, secret), "PUT", b"")
    assert status == 200, said
    endpoint, _, bucket = base.rpartition("/")
    facts = {"type": "s3", "endpoint": endpoint, "bucket": bucket, "access_key": access, "secret_key": secret}
    yield Store(base, address, {}, facts, secret)
    process.terminate()
    process.wait(timeout=20)


@pytest.fixture(
    scope="module",
    params=[pytest.param(azurite, marks=pytest.mark.engine("azurite"), id="azure"), pytest.param(s3, marks=pytest.mark.engine("s3"), id="s3")],
)  # fmt: skip
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    yield from request.param(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def service(start_mediagen: Callable, store: Store, origin):
    port = store.base.split("/")[2]
    return start_mediagen(CGN_MEDIAGEN_ALLOW=f"127.0.0.1:{origin.port} {port}", CGN_MEDIAGEN_FETCH_TOTAL_S="8")


def expired(store: Store, method: str, name: str) -> str:
    if "azure" in str(store.headers) or store.headers:
        return store.address(method, name, expires_s=-60)
    return store.address(method, name, expires_s=60, age_s=3600)


NAMES = ["plain.png", "with space & + sign.png", "folder/déjà vu.png", "a=b;c,d'(e).png"]


@pytest.mark.parametrize("name", NAMES)
def test_a_signed_input_is_read_and_a_signed_output_is_stored(service, store: Store, name: str) -> None:
    """The store has checked both signatures, over names and queries with everything that somebody might re-encode."""
    store.write(name, png())
    read = service.run(READ, "&u=" + quote(store.address("GET", name), safe=""))
    assert read.status == 200, read.body
    assert (pyvips.Image.new_from_buffer(read.body, "").width) == 9
    made = service.run(WRITE, "&u=" + quote(store.address("PUT", "out-" + name.replace("/", "-")), safe=""))
    assert (made.status, made.body) == (200, b"stored")
    status, stored = store.read("out-" + name.replace("/", "-"))
    assert status == 200
    picture = pyvips.Image.new_from_buffer(stored, "")
    assert (picture.width, picture.height) == (7, 5)


@pytest.mark.parametrize(
    "fault", ["expired", "forged key", "one byte of the signature", "another name", "another method"]
)
@pytest.mark.parametrize("way", ["GET", "PUT"])
def test_a_signature_that_is_not_good_is_a_clear_problem_and_stores_nothing(
    service, store: Store, way: str, fault: str
) -> None:
    name = f"{way}-{fault}.png".replace(" ", "-")
    if way == "GET":
        store.write(name, png())
    good = store.address(way, name)
    forged = {
        "expired": lambda: expired(store, way, name),
        "forged key": lambda: store.address(way, name, key=base64.b64encode(b"k" * 32).decode()),
        "one byte of the signature": lambda: good[:-8] + ("A" if good[-8] != "A" else "B") + good[-7:],
        "another name": lambda: good.replace(quote(name), quote("other-" + name)),
        "another method": lambda: store.address("PUT" if way == "GET" else "GET", name),
    }[fault]()
    answer = service.run(READ if way == "GET" else WRITE, "&u=" + quote(forged, safe=""))
    problem = answer.problem
    code = "source_failed" if way == "GET" else "target_failed"
    assert (answer.status, problem["title"], problem["upstream_status"]) == (424, code, 403), problem
    assert problem["upstream_code"].isalnum()
    assert problem.get("stored") == (None if way == "GET" else "no")
    secret = forged.split("ig=")[-1] if "sig=" in forged else forged.split("Signature=")[-1]
    assert secret not in str(problem)
    if way == "PUT":
        assert store.read(name)[0] == 404
    assert service.alive()


# -- named stores (G-13) ----------------------------------------------------------------------------------------------


def named(service, store: Store, **more: str) -> str:
    """The address of a document that calls the store `media`."""
    document = {"stores": {"media": {**store.facts, **more}}}
    return service.origin.add("stores.json", json.dumps(document))


@pytest.mark.parametrize("name", NAMES)
def test_a_script_reads_and_writes_by_a_stores_name(service, store: Store, name: str) -> None:
    """Read from one folder, written to another; neither the script nor the answer has seen what grants access."""
    store.write("in/" + name, png())
    script = (
        "function main() { var m = new Media(); m.load(name @ 'media:in/' + req.getParameter('n')); m.scale(xs @ 5, ys @ 3);"
        " m.save(name @ 'media:out/' + req.getParameter('n'), type @ 'png');"
        " var f = new File('media:out/' + req.getParameter('n')); resp.setObject(new TextResponse([f.exists(), f.getSize() > 60, new File('media:out/none').exists()].join()), RespType.Streamed); }"
    )
    answer = service.run(script, f"&n={quote(name, safe='')}&stores={quote(named(service, store), safe='')}")
    assert (answer.status, answer.body) == (200, b"true,true,false"), answer.body
    assert store.secret not in str(answer.headers)
    picture = pyvips.Image.new_from_buffer(store.read("out/" + name)[1], "")
    assert (picture.width, picture.height) == (5, 3)


def test_what_is_not_there_and_what_may_not_be_is_said_by_the_stores_name(service, store: Store) -> None:
    query = f"&stores={quote(named(service, store), safe='')}"
    for name, status, code in (
        ("media:never.png", 404, "source_missing"),
        ("media:../media/x.png", 422, "bad_parameter"),
        ("other:x.png", 403, "source_refused"),
    ):
        answer = service.run(f"function main() {{ var m = new Media(); m.load(name @ '{name}'); m.save(); }}", query)
        assert (answer.status, answer.problem["title"]) == (status, code), answer.body
        assert store.secret not in answer.body.decode()
    wrong = {"sas": "sv=2020-12-06&sig=AAAA"} if "sas" in store.facts else {"secret_key": "wrong"}
    query = f"&stores={quote(named(service, store, **wrong), safe='')}"
    store.write("there.png", png())
    answer = service.run("function main() { var m = new Media(); m.load(name @ 'media:there.png'); m.save(); }", query)
    assert (answer.status, answer.problem["upstream_status"]) == (424, 403)


def test_a_document_that_is_not_there_is_named_as_that(service, store: Store) -> None:
    for address, status, code in (
        (service.origin.url("never.json"), 404, "source_missing"),
        (service.origin.add("none.json", "[]"), 422, "bad_stores"),
    ):
        answer = service.run("resp.setObject(new TextResponse('x'));", f"&stores={quote(address, safe='')}")
        assert (answer.status, answer.problem["title"], answer.problem["parameter"]) == (status, code, "stores")


def test_the_same_store_is_the_same_source_for_whoever_does_the_work_again(service, store: Store) -> None:
    """What an S3 signature says differs with the second, what was read is told by the store's name."""
    store.write("same.png", png())
    query = f"&stores={quote(named(service, store), safe='')}"
    script = "function main() { var m = new Media(); m.load(name @ 'media:same.png'); m.save(type @ 'png'); }"
    first = service.run(script, query, name="same.ms")
    time.sleep(1.1)
    second = service.run(script, query, name="same.ms")
    digest = "cgn-meta-sources-digest"
    assert first.headers[digest] == second.headers[digest] and first.body == second.body


def test_stores_of_the_operators_file(start_mediagen: Callable, store: Store, origin, tmp_path: Path) -> None:
    """For machines of the account's own: no MRL names them."""
    (tmp_path / "stores.json").write_text(json.dumps({"stores": {"media": store.facts}}))
    port = store.base.split("/")[2]
    there = start_mediagen(
        CGN_MEDIAGEN_ALLOW=f"127.0.0.1:{origin.port} {port}", CGN_MEDIAGEN_STORES=str(tmp_path / "stores.json")
    )
    store.write("own.png", png())
    answer = there.run("function main() { var m = new Media(); m.load(name @ 'media:own.png'); m.save(type @ 'png'); }")
    assert (answer.status, answer.headers["content-type"]) == (200, "image/png")

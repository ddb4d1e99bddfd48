"""The gallery (G-10) without a network: the page is whole, every entry renders to the committed bytes (G-1), whatever the
environment. tests/e2e/test_gallery_network.py does the same through node and miner."""

import hashlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import pyvips

from dservices.mediagen.formats import decoding
from dservices.mediagen.gallery import page, render, table

ROOT = Path(__file__).resolve().parents[3]
DOCS = ROOT / "docs/gallery"
ENTRIES = table.entries()
TOTAL_MAX_BYTES = 4 << 20
RUNNER = ROOT / "tests/support/gallery_runner.py"


def committed(entry: table.Entry) -> bytes:
    return (DOCS / entry.file).read_bytes()


# -- the page ---------------------------------------------------------------------------------------------------------


def test_the_page_is_current_and_the_readme_leads_to_it() -> None:
    assert (DOCS / "README.md").read_text() == page.page(ENTRIES)
    assert "docs/gallery/README.md" in (ROOT / "README.md").read_text()


def test_there_are_at_least_thirty_entries_each_with_mrl_picture_and_sentence() -> None:
    """G-10, issue 4."""
    text = (DOCS / "README.md").read_text()
    assert len(ENTRIES) >= 30
    for entry in ENTRIES:
        assert entry.file in text, entry.name
        assert entry.mrl(f"http://127.0.0.1:{page.SOURCE_PORT}") in text, entry.name
        assert entry.says.rstrip().endswith("."), entry.name
        assert (table.SCRIPTS / entry.script).read_text().startswith("// "), f"{entry.script} says nothing"
    assert len({entry.name for entry in ENTRIES}) == len(ENTRIES)


def test_files_and_entries_match_and_stay_small() -> None:
    files = {path.name: path.stat().st_size for path in DOCS.iterdir()}
    assert files.keys() == {entry.file for entry in ENTRIES} | {"README.md"}
    assert sum(files.values()) < TOTAL_MAX_BYTES
    scripts = {path.name for path in table.SCRIPTS.iterdir()}
    assert scripts == {entry.script for entry in ENTRIES} | {"toolbox.ms"}


def test_the_page_links_to_files_that_are_there() -> None:
    text = (DOCS / "README.md").read_text()
    links = re.findall(r"\]\(([^)#]+)\)", text)
    assert len(links) > 2 * len(ENTRIES)
    for link in links:
        if not link.startswith("http"):
            assert (DOCS / link).exists(), link


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_a_committed_picture_is_a_picture_of_its_type(entry: table.Entry) -> None:
    data = committed(entry)
    assert decoding.sniff(data) == entry.type
    if entry.type != "pdf":
        image = pyvips.Image.new_from_buffer(data, "")
        assert 90 <= image.width <= 900
        assert image.deviate() > 4, "it shows next to nothing"


# -- the same bytes ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scripts, sources, and the committed files that later entries read."""
    made = tmp_path_factory.mktemp("gallery")
    render.prepare(made)
    for name in {entry.made for entry in ENTRIES if entry.made}:
        entry = next(one for one in ENTRIES if one.name == name)
        (made / entry.file).write_bytes(committed(entry))
    return made


@pytest.fixture(scope="module")
def shelf(folder: Path, origin):
    for path in folder.iterdir():
        if not path.name.startswith("."):
            origin.add(path.name, path.read_bytes())
    return origin


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_every_entry_comes_back_with_the_committed_bytes(entry: table.Entry, shelf, mediagen) -> None:
    """G-1: the service directly; another process, another day."""
    answer = mediagen.get(entry.mrl(shelf.url("").rstrip("/")), **entry.headers)
    assert answer.status == 200, answer.body[:500]
    assert answer.headers["content-type"].partition(";")[0].endswith(entry.type)
    assert answer.body == committed(entry), f"{entry.file} differs: python -m dservices.mediagen.gallery build"


SAMPLE = ("animated-webp", "badge", "card", "filters", "fit-blur", "press", "spinner", "strip")
"""What could differ most: blurs, text, profiles, noise, dates, animations, WebP by its own library."""
ENVIRONMENTS = {
    "one thread": {"VIPS_CONCURRENCY": "1"},
    "seven threads": {"VIPS_CONCURRENCY": "7"},
    "another place": {"TZ": "Pacific/Auckland", "LC_ALL": "de_DE.UTF-8", "LANG": "tr_TR.UTF-8"},
    "the C locale, another hash seed": {"TZ": "America/St_Johns", "LC_ALL": "C", "PYTHONHASHSEED": "4711"},
    # Bits of processor targets not to use: an old processor's instructions, and the oldest's. Same integers, same bytes.
    "SSE4 only": {"VIPS_VECTOR": "0x3ff", "WEBP_PROCESSOR": "SSE4.1"},
    "SSE2 only": {"VIPS_VECTOR": "0x1fff", "WEBP_PROCESSOR": "SSE2"},
}


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_threads_locale_time_zone_and_processor_change_nothing(name: str, folder: Path, tmp_path: Path) -> None:
    """G-1: the same MRL, the same bytes across thread counts, locales, time zones and generations of processors."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("VIPS_", "LC_", "LANG", "TZ"))}
    said = subprocess.run(
        [sys.executable, str(RUNNER), str(folder), *SAMPLE],
        env={**environment, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path), **ENVIRONMENTS[name]},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert said.returncode == 0, said.stderr[-2000:]
    made = dict(line.split() for line in said.stdout.splitlines())
    wanted = {entry.name: hashlib.sha256(committed(entry)).hexdigest() for entry in ENTRIES if entry.name in SAMPLE}
    assert made == wanted


# -- what the gallery found --------------------------------------------------------------------------------------------


def test_many_overlapping_shapes_take_linear_time(mediagen) -> None:
    """Found by the gallery's dots: lazy drawings on top of each other asked for what lies below twice, each time."""
    script = (
        "var m = new Media(); m.makeCanvas(xs @ 200, ys @ 200); for (var i = 0; i < 300; i++)"
        " m.ellipse(x @ 60 + i % 40, y @ 60 + i % 37, rx @ 50, ry @ 50, color @ i * 4000, fill @ true); m.save(type @ 'png');"
    )
    assert mediagen.run(script).status == 200


def test_a_baseline_does_not_depend_on_the_letters(mediagen) -> None:
    """3.3, baseLine: the H stands at the same height whatever stands beside it."""
    script = (
        "var m = new Media(); m.makeCanvas(xs @ 200, ys @ 100); m.drawText(text @ 'H' + req.getParameter('t'), size @ 40, baseLine @ true,"
        " color @ 0, x @ 5, y @ 5, handleX @ 'left', handleY @ 'top', justify @ 'left'); m.save(type @ 'png');"
    )
    stems = set()
    for text in ("a", "g", "A", "q|", ""):
        image = pyvips.Image.new_from_buffer(mediagen.run(script, f"&t={text}").body, "")
        stems.add(tuple(image.crop(5, 0, 8, 100).find_trim(background=[255], threshold=60)[1::2]))
    assert len(stems) == 1


def free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def fetched(url: str, wait_s: float) -> bytes:
    """The answer at an address, as soon as there is one."""
    deadline = time.monotonic() + wait_s
    while True:
        try:
            with urllib.request.urlopen(url, timeout=20) as answer:
                return answer.read()
        except OSError as error:  # nobody there yet, or 503 while it starts
            assert time.monotonic() < deadline, f"{url}: {error}"
            time.sleep(0.1)


def serve_command(service: int, source: int) -> list[str]:
    ports = ["--service-port", str(service), "--source-port", str(source)]
    return [sys.executable, "-m", "dservices.mediagen.gallery", "serve", *ports]


def test_the_links_of_the_page_work_while_serve_runs(free_port: Callable[[], int]) -> None:
    """G-10: "an MRL to try", as a reader does; one that reads another's file, too. Ctrl-C ends it.

    On ports of its own: the page's may be a reader's, or another run's on the same machine.
    """
    service, source = free_port(), free_port()
    process = subprocess.Popen(serve_command(service, source), cwd=ROOT)
    try:
        fetched(f"http://127.0.0.1:{service}/_cgn/health", 60)
        links = re.findall(r"\]\((http://[^)]+)\)", (DOCS / "README.md").read_text())
        assert len(links) == len(ENTRIES)
        for entry, link in zip(ENTRIES, links, strict=True):
            if entry.name in ("thumbnail", "card", "pages"):
                assert link.count(str(page.SERVICE_PORT)) == link.count(str(page.SOURCE_PORT)) == 1
                here = link.replace(str(page.SERVICE_PORT), str(service)).replace(str(page.SOURCE_PORT), str(source))
                assert fetched(here, 10) == committed(entry)
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 0
    assert free(service)
    assert free(source)


@pytest.mark.parametrize("taken", ["--service-port", "--source-port"])
def test_serve_says_which_port_is_taken(taken: str, free_port: Callable[[], int]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as somebody:
        port = somebody.getsockname()[1]
        ports = (port, free_port()) if taken == "--service-port" else (free_port(), port)
        said = subprocess.run(serve_command(*ports), capture_output=True, text=True, cwd=ROOT, check=False, timeout=60)
    assert (said.returncode, said.stdout) == (1, "")
    assert said.stderr.startswith(f"port {port}: Address already in use")
    assert taken in said.stderr
    assert "Traceback" not in said.stderr


def test_the_command_is_named_where_people_look() -> None:
    said = subprocess.run(
        [sys.executable, "-m", "dservices.mediagen.gallery", "--help"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    assert "build" in said.stdout
    assert "serve" in said.stdout
    assert urlsplit(ENTRIES[0].mrl("http://x")).path == "/mgen/io"

"""MediaGen beside libvips by hand, Pillow, sharp, thumbor, imgproxy and imagor: the same pictures, one core each, one
run, ratios (G-7).

    .venv/bin/python tests/bench/bench_mediagen.py [--rounds 5] [--burst 6] [--cases 0,1] [--peers libvips,pillow,...]
        [--crowds] [--imgproxy PROGRAM] [--imagor PROGRAM]

Peers live in .cache/bench (a virtual environment and a folder of Node packages of their own, installed on first use by
package name); one that cannot be installed is left out by name.

What is measured is pinned to the first processor this process may use: front and worker of MediaGen together, thumbor, or
a peer's process. The client and the web server with the sources have the other one. Each round asks every contender for a
burst of pictures, one after the other over one connection, so that a change of the machine's speed meets all alike;
figures are medians of the rounds' means. A burst leaves no pause in which MediaGen could prepare for free; it begins with
the contexts that were made while others were measured (up to eight), so a longer burst (`--burst`) is the stricter one.

* MediaGen, fresh: as it is installed; the web server says that script and source are good for an hour, so they are used
  again without asking, as the others use their files.
* MediaGen, asked: the same, but the web server gives an ETag only: script and source are asked about at every use (304).
* MediaGen, cold: `CACHE_BYTES=0`; every use fetches all bytes anew.
* by hand: the library called in a process that is warm, reading a file; no HTTP, no script. `thumbnail` is what libvips
  recommends; `shrink 4` loads the JPEG at a quarter and resizes the rest, which is what `alg @ 'Fast'` does; `resize` decodes
  everything first. All write with the same quality, effort, compression and filter as MediaGen's script asks for.
* thumbor over HTTP: from files (no storage), and with the picture over HTTP.

* imgproxy and imagor over HTTP, with the picture over HTTP; left out unless `--imgproxy` and `--imagor` say where the
  programs are (they are built from source with Go and libvips' headers: `go build ./cli`, `go build ./cmd/imagor`).

`--crowds` adds two rows of the same thumbnail over eight connections at once: of different addresses (nothing that was
made or fetched can be used again) and of one hot address.

Processor time is the more robust figure where other programs run beside it; on a quiet machine both agree.

Memory is the peak resident size of the process with the pixels while it did the case (shared libraries and sources
included); MediaGen's bound is RLIMIT_DATA of a worker.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import os
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache/bench"
SOURCES = CACHE / "sources"
PROCESSORS = sorted(os.sched_getaffinity(0))
MEASURED, BESIDE = {PROCESSORS[0]}, {PROCESSORS[-1]}

_TEXT_AND_MARK = (
    " m.drawText(text @ 'Compute Generation Network', size @ 36, color @ 0xFFFFFF, x @ 400, y @ 300);"
    " var w = new Media(); w.load(name @ 'mark.png');"
    " m.composite(source @ w, x @ 20, y @ 20, handleX @ 'left', handleY @ 'top', opacity @ 128);"
)
CASES: dict[str, str] = {
    "12-megapixel JPEG to 800 px JPEG, Fast": (
        "m.load(name @ 'photo.jpg'); m.scale(xs @ 800, ys @ 600); m.save(type @ 'jpeg', quality @ 80);"
    ),
    "12-megapixel JPEG to 800 px JPEG, Smooth": (
        "m.load(name @ 'photo.jpg'); m.scale(xs @ 800, ys @ 600, alg @ 'Smooth'); m.save(type @ 'jpeg', quality @ 80);"
    ),
    "Fast with text and watermark": (
        "m.load(name @ 'photo.jpg'); m.scale(xs @ 800, ys @ 600);"
        + _TEXT_AND_MARK
        + " m.save(type @ 'jpeg', quality @ 80);"
    ),
    "PNG to WebP": "m.load(name @ 'picture.png'); m.save(type @ 'webp', quality @ 80);",
    "PDF page to PNG at 150 dpi": "m.load(name @ 'document.pdf', dpi @ 150); m.save(type @ 'png', level @ 1);",
    "animated GIF to WebP": "m.load(name @ 'anim.gif'); m.save(type @ 'webp', quality @ 80);",
    "overhead: a script that draws one pixel": "m.makeCanvas(xs @ 1, ys @ 1); m.save(type @ 'png');",
    "overhead: a script that answers a text": "resp.setObject(new TextResponse('x'), RespType.Streamed);",
    "overhead: a request without a script": "",
}
NO_SCRIPT = len(CASES) - 1
"""Asks for the health page: client, HTTP and front alone. What a script costs is the difference to this."""

VIPS = """
import resource, sys, time, pyvips, pypdfium2
pyvips.cache_set_max(0)
I = pyvips.Image
def small(): return I.thumbnail('photo.jpg', 800, height=600, size='force')
def quarter(): return I.jpegload('photo.jpg', shrink=4, access='sequential').resize(0.8, vscale=0.8)
def marked(i):
    t = I.text('Compute Generation Network', font='sans 36', dpi=72)
    o = I.black(1, 1).linear([1, 1, 1], [255, 255, 255]).embed(0, 0, t.width, t.height, extend='copy').cast('uchar')
    i = i.composite2(o.bandjoin(t).copy(interpretation='srgb'), 'over', x=400 - t.width // 2, y=300 - t.height // 2)
    w = I.new_from_file('mark.png'); w = w.extract_band(0, n=3).bandjoin((w[3] * 0.5).cast('uchar')).copy(interpretation='srgb')
    return i.composite2(w, 'over', x=20, y=20).extract_band(0, n=3).cast('uchar')
def jpeg(i): return i.jpegsave_buffer(Q=80, keep='none')
def page():
    d = pypdfium2.PdfDocument('document.pdf'); b = d[0].render(scale=150 / 72, rev_byteorder=True, prefer_bgrx=True)
    i = I.new_from_memory(bytes(b.buffer), b.width, b.height, 4, 'uchar').extract_band(0, n=3).copy(interpretation='srgb')
    r = i.pngsave_buffer(compression=1, filter='sub', keep='none'); d.close(); return r
BEST = [
    lambda: jpeg(quarter()), lambda: jpeg(small()), lambda: jpeg(marked(quarter())),
    lambda: I.new_from_file('picture.png', access='sequential').webpsave_buffer(Q=80, keep='none'), page,
    lambda: I.new_from_file('anim.gif[n=-1]', access='sequential').webpsave_buffer(Q=80, keep='none')]
OTHER = [
    lambda: jpeg(small()), lambda: jpeg(I.jpegload('photo.jpg', access='sequential').resize(0.2, vscale=0.2)),
    lambda: jpeg(marked(small()))]
"""
PILLOW = """
import io, resource, sys, time
from PIL import Image, ImageDraw, ImageFont
def out(i, kind, **k): b = io.BytesIO(); i.save(b, kind, **k); return b.getvalue()
def small(): i = Image.open('photo.jpg'); i.draft('RGB', (800, 600)); return i.resize((800, 600), Image.LANCZOS)
def marked():
    i, font = small(), ImageFont.load_default(36)
    ImageDraw.Draw(i).text((400, 300), 'Compute Generation Network', anchor='mm', font=font, fill='white')
    w = Image.open('mark.png'); i.paste(w, (20, 20), w.getchannel('A').point(lambda v: v // 2)); return i
BEST = [
    lambda: out(small(), 'JPEG', quality=80), None, lambda: out(marked(), 'JPEG', quality=80),
    lambda: out(Image.open('picture.png'), 'WEBP', quality=80, method=4), None,
    lambda: out(Image.open('anim.gif'), 'WEBP', quality=80, method=4, save_all=True)]
"""
LOOP = """
# A line "case burst" in, "seconds peak-MiB processor-seconds" (of one picture) or "-" out.
for line in sys.stdin:
    case, burst = map(int, line.split())
    f = LIST[case] if case < len(LIST) else None
    if f is None:
        print('-', flush=True); continue
    try: open('/proc/self/clear_refs', 'w').write('5')
    except OSError: pass
    t, c = time.perf_counter(), time.process_time()
    for _ in range(burst): f()
    t, c = (time.perf_counter() - t) / burst, (time.process_time() - c) / burst
    peak = [l for l in open('/proc/self/status') if l.startswith('VmHWM')][0].split()[1]
    print(t, int(peak) // 1024, c, flush=True)
"""
SHARP = """
const fs = require('fs'), sharp = require('sharp'); sharp.cache(false); sharp.concurrency(1);
const small = (fast) => sharp('photo.jpg').resize(800, 600, {fit: 'fill', fastShrinkOnLoad: fast}).jpeg({quality: 80}).toBuffer();
const cases = [
  () => small(true), () => small(false), null,
  () => sharp('picture.png').webp({quality: 80}).toBuffer(), null,
  () => sharp('anim.gif', {animated: true}).webp({quality: 80}).toBuffer()];
require('readline').createInterface({input: process.stdin}).on('line', async (line) => {
  const [number, burst] = line.split(' ').map(Number), f = cases[number];
  if (!f) { console.log('-'); return; }
  try { fs.writeFileSync('/proc/self/clear_refs', '5'); } catch (_) { }
  const t = process.hrtime.bigint(), c = process.cpuUsage(); for (let i = 0; i < burst; i++) await f();
  const peak = /VmHWM:\\s+(\\d+)/.exec(fs.readFileSync('/proc/self/status', 'utf8'))[1];
  const used = process.cpuUsage(c), cpu = (used.user + used.system) / 1e6 / burst;
  console.log(Number(process.hrtime.bigint() - t) / 1e9 / burst, Math.floor(peak / 1024), cpu); });
"""
ORIGIN = """
import asyncio, hashlib, os, sys
files = {('/' + n).encode(): open(n, 'rb').read() for n in os.listdir('.')}
tags = {n: b'"%s"' % hashlib.sha256(d).hexdigest()[:16].encode() for n, d in files.items()}
class Origin(asyncio.Protocol):
    # Answers GET with an ETag, and 304 to a question that names it.
    def connection_made(self, transport): self.transport, self.data = transport, b''
    def data_received(self, data):
        self.data += data
        while b'\\r\\n\\r\\n' in self.data:
            head, _, self.data = self.data.partition(b'\\r\\n\\r\\n')
            name = head.split(b' ')[1].partition(b'?')[0]; age = b''
            if name.startswith(b'/fresh/'): name = name[6:]; age = b'Cache-Control: max-age=3600\\r\\n'
            body = files.get(name)
            if body is None: self.transport.write(b'HTTP/1.1 404 Not Found\\r\\nContent-Length: 0\\r\\n\\r\\n')
            elif b'if-none-match: ' + tags[name] in head.replace(b'If-None-Match', b'if-none-match'):
                self.transport.write(b'HTTP/1.1 304 Not Modified\\r\\nETag: %s\\r\\n\\r\\n' % tags[name])
            else:
                self.transport.write(b'HTTP/1.1 200 OK\\r\\nETag: %s\\r\\n%sContent-Length: %d\\r\\n\\r\\n'
                    % (tags[name], age, len(body)) + body)
async def main():
    server = await asyncio.get_running_loop().create_server(Origin, '127.0.0.1', int(sys.argv[1]))
    await server.serve_forever()
try: import uvloop; uvloop.run(main())
except ImportError: asyncio.run(main())
"""


def make_sources() -> None:
    import pyvips

    from dservices.mediagen import samples

    samples.make(SOURCES)
    if (SOURCES / "anim.gif").exists():
        return
    photo = pyvips.Image.new_from_file(str(SOURCES / "photo.jpg"))
    photo.resize(0.3).pngsave(str(SOURCES / "picture.png"))
    mark = pyvips.Image.text("CGN", font="sans 40", dpi=72)
    white = pyvips.Image.black(mark.width, mark.height, bands=3) + 255
    white.cast("uchar").bandjoin(mark).copy(interpretation="srgb").pngsave(str(SOURCES / "mark.png"))
    wide = photo.resize(0.12)
    frames = [wide.crop(n * 10, 20, 320, 240) for n in range(12)]
    strip = pyvips.Image.arrayjoin(frames, across=1)
    strip.set_type(pyvips.GValue.gint_type, "page-height", 240)
    strip.set_type(pyvips.GValue.array_int_type, "delay", [80] * 12)
    strip.gifsave(str(SOURCES / "anim.gif"))


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "VIPS_CONCURRENCY": "1", "OMP_NUM_THREADS": "1", **more}


def venv(*packages: str) -> Path | None:
    """A Python of the peers' own with these packages; None if they cannot be installed."""
    python = CACHE / "venv/bin/python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(CACHE / "venv")], check=True)
    done = subprocess.run([str(python), "-m", "pip", "install", "-q", *packages], capture_output=True, check=False)
    return python if done.returncode == 0 else None


_started: list[subprocess.Popen[str]] = []


def started(command: list[str], processors: set[int], folder: Path = SOURCES, **more: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment(**more),
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        preexec_fn=lambda: os.sched_setaffinity(0, processors),
    )
    _started.append(process)
    return process


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(port: int, target: str) -> None:
    for _ in range(400):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", target)
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        time.sleep(0.05)
    raise SystemExit("a server does not start")


@dataclass(frozen=True)
class Sample:
    """One burst: per picture."""

    seconds: float
    peak_mib: int
    cpu_seconds: float


AT_ONCE = 8
"""Connections of a crowd."""
Measure = Callable[[int, int, float], Sample | None]
"""(case, burst, pause in seconds between pictures) to a sample; None if this one cannot do the case."""


def by_lines(command: list[str]) -> Measure:
    """A process that keeps the protocol of `LOOP`."""
    process = started(command, MEASURED)

    def measure(case: int, burst: int, pause_s: float) -> Sample | None:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{case} {burst}\n")
        process.stdin.flush()
        line = process.stdout.readline().split()
        if not line:
            raise SystemExit(f"{command[0]} ended")
        return None if line == ["-"] else Sample(float(line[0]), int(line[1]), float(line[2]))

    return measure


class Family:
    """A server process and its children: their processor time, and the peak memory of the one that has most."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def pids(self) -> list[int]:
        own = self._process.pid
        children = Path(f"/proc/{own}/task/{own}/children").read_text().split()
        return [own, *map(int, children)]

    def cpu_seconds(self) -> float:
        # clock_getcpuclockid(3): a process's own clock, of all its threads, those that have ended included.
        return sum(time.clock_gettime((~pid << 3) | 2) for pid in self.pids())

    def forget_peaks(self) -> None:
        for pid in self.pids():
            try:
                Path(f"/proc/{pid}/clear_refs").write_text("5")
            except OSError:
                return

    def peak_mib(self) -> int:
        peaks = [0]
        for pid in self.pids()[1:] or self.pids():
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith("VmHWM"):
                    peaks.append(int(line.split()[1]) // 1024)
        return max(peaks)


def by_http(process: subprocess.Popen[str], port: int, targets: dict[int, str]) -> Measure:
    family = Family(process)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def measure(case: int, burst: int, pause_s: float) -> Sample | None:
        if case not in targets:
            return None
        family.forget_peaks()
        cpu_s, total_s = family.cpu_seconds(), 0.0
        for _ in range(burst):
            started_s = time.perf_counter()
            connection.request("GET", targets[case])
            answer = connection.getresponse()
            body = answer.read()
            total_s += time.perf_counter() - started_s
            if answer.status != 200:
                raise SystemExit(f"{targets[case]}: {answer.status} {body[:300]!r}")
            if pause_s:
                time.sleep(pause_s)
        return Sample(total_s / burst, family.peak_mib(), (family.cpu_seconds() - cpu_s) / burst)

    return measure


class Crowd:
    """One thumbnail asked for over AT_ONCE connections; `target` has the number of the address."""

    def __init__(self, process: subprocess.Popen[str], port: int, target: Callable[[int], str]) -> None:
        self._family, self._port, self._target = Family(process), port, target
        self._numbers = itertools.count(1)

    def _ask(self, targets: Iterator[str]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=120)
        for target in targets:
            connection.request("GET", target)
            answer = connection.getresponse()
            body = answer.read()
            if answer.status != 200:
                raise SystemExit(f"{target}: {answer.status} {body[:300]!r}")

    def sample(self, pictures: int, *, hot: bool) -> Sample:
        """`pictures` of them, of one address or of as many."""
        number = next(self._numbers)
        targets = [self._target(number if hot else next(self._numbers)) for _ in range(pictures)]
        shares = [targets[n::AT_ONCE] for n in range(AT_ONCE)]
        self._family.forget_peaks()
        cpu_s, started_s = self._family.cpu_seconds(), time.perf_counter()
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(self._ask, map(iter, shares)))
        total_s = time.perf_counter() - started_s
        return Sample(total_s / pictures, self._family.peak_mib(), (self._family.cpu_seconds() - cpu_s) / pictures)


def crowds(measured: dict[str, Crowd], rounds: int, burst: int) -> None:
    """The two rows of `--crowds`."""
    print("\n| crowd | " + " | ".join(measured) + " |")
    print("| --- |" + " --- |" * len(measured))
    for title, hot in (("different addresses", False), ("one hot address", True)):
        samples: dict[str, list[Sample]] = {name: [] for name in measured}
        for number in range(rounds + 1):
            for name, crowd in measured.items():
                sample = crowd.sample(burst * AT_ONCE if number else AT_ONCE, hot=hot)
                if number:  # the first round warms up
                    samples[name].append(sample)
        medians = {
            name: Sample(
                statistics.median(sample.seconds for sample in several),
                max(sample.peak_mib for sample in several),
                statistics.median(sample.cpu_seconds for sample in several),
            )
            for name, several in samples.items()
        }
        ours = next(iter(medians.values()))
        print(f"| {title} | " + " | ".join(shown(medians[name], ours) for name in measured) + " |", flush=True)


def mediagen(origin_port: int, folder: str = "", **settings: str) -> tuple[Measure, Crowd]:
    port = free_port()
    process = started(
        [sys.executable, "-m", "dservices.mediagen"],
        MEASURED,
        ROOT,
        CGN_PORT=str(port),
        CGN_MEDIAGEN_WORKERS="1",
        CGN_MEDIAGEN_ALLOW=f"127.0.0.1:{origin_port}",
        **settings,
    )
    wait_for(port, "/_cgn/health")
    scripts = [
        quote(f"http://127.0.0.1:{origin_port}/{folder}case{number}.ms", safe="") for number in range(len(CASES))
    ]
    targets = {number: f"/mgen/io?script={script}" for number, script in enumerate(scripts)}
    script = quote(f"http://127.0.0.1:{origin_port}/fresh/named.ms", safe="")
    crowd = Crowd(process, port, lambda n: f"/mgen/io?script={script}&name={quote(f'photo.jpg?n={n}', safe='')}")
    return by_http(process, port, {**targets, NO_SCRIPT: "/_cgn/health"}), crowd


def thumbor(python: Path, origin_port: int, loader: str) -> Measure:
    port = free_port()
    config = CACHE / f"thumbor-{loader}.conf"
    config.write_text(
        f"LOADER='thumbor.loaders.{loader}_loader'\nFILE_LOADER_ROOT_PATH={str(SOURCES)!r}\n"
        "STORAGE='thumbor.storages.no_storage'\nQUALITY=80\nAUTO_WEBP=False\n"
    )
    command = [str(python.parent / "thumbor"), "-p", str(port), "-i", "127.0.0.1", "-c", str(config), "-l", "error"]
    process = started(command, MEASURED)
    wait_for(port, "/healthcheck")
    base = "" if loader == "file" else quote(f"http://127.0.0.1:{origin_port}/", safe="")
    targets = {0: f"/unsafe/800x600/{base}photo.jpg", 3: f"/unsafe/filters:format(webp)/{base}picture.png"}
    return by_http(process, port, targets)


def imgproxy(program: str, origin_port: int) -> tuple[Measure, Crowd]:
    port = free_port()
    process = started(
        [program],
        MEASURED,
        IMGPROXY_BIND=f"127.0.0.1:{port}",
        IMGPROXY_ALLOW_LOOPBACK_SOURCE_ADDRESSES="true",
        IMGPROXY_WORKERS="1",
        IMGPROXY_KEEP_ALIVE_TIMEOUT="600",
        IMGPROXY_MAX_ANIMATION_FRAMES="512",
        IMGPROXY_LOG_LEVEL="error",
        IMGPROXY_QUALITY="80",
        GOMAXPROCS="1",
    )
    wait_for(port, "/health")

    def target(name: str, change: str) -> str:
        return f"/insecure/{change}/plain/{quote(f'http://127.0.0.1:{origin_port}/fresh/{name}', safe='')}"

    targets = {
        0: target("photo.jpg", "rs:force:800:600/q:80/f:jpg"),
        3: target("picture.png", "q:80/f:webp"),
        5: target("anim.gif", "q:80/f:webp"),
    }
    crowd = Crowd(process, port, lambda n: target(f"photo.jpg?n={n}", "rs:force:800:600/q:80/f:jpg"))
    return by_http(process, port, targets), crowd


def imagor(program: str, origin_port: int) -> tuple[Measure, Crowd]:
    port = free_port()
    options = ["-port", str(port), "-imagor-unsafe", "-vips-concurrency", "1", "-vips-jpeg-quality", "80"]
    process = started([program, *options, "-imagor-process-concurrency", "1"], MEASURED, GOMAXPROCS="1")
    wait_for(port, "/healthcheck")

    def target(name: str, change: str) -> str:
        return f"/unsafe/{change}/{quote(f'http://127.0.0.1:{origin_port}/fresh/{name}', safe='')}"

    targets = {
        0: target("photo.jpg", "stretch/800x600/filters:quality(80):format(jpeg)"),
        3: target("picture.png", "filters:quality(80):format(webp)"),
        5: target("anim.gif", "filters:quality(80):format(webp)"),
    }
    crowd = Crowd(
        process, port, lambda n: target(f"photo.jpg?n={n}", "stretch/800x600/filters:quality(80):format(jpeg)")
    )
    return by_http(process, port, targets), crowd


def contenders(
    names: list[str], origin_port: int, programs: dict[str, str | None]
) -> tuple[dict[str, Measure], dict[str, Crowd]]:
    """By name; those that cannot be had are named and left out. And those of them that crowds can ask."""
    fresh, crowd = mediagen(origin_port, "fresh/")
    out = {
        "MediaGen, fresh": fresh,
        "MediaGen, asked": mediagen(origin_port)[0],
        "MediaGen, cold": mediagen(origin_port, CGN_MEDIAGEN_CACHE_BYTES="0")[0],
    }
    asked = {"MediaGen": crowd}
    for name, start in (("imgproxy", imgproxy), ("imagor", imagor)):
        if program := programs[name]:
            out[name], asked[name] = start(program, origin_port)
    CACHE.mkdir(parents=True, exist_ok=True)
    if "libvips" in names:
        out["libvips by hand"] = by_lines([sys.executable, "-c", VIPS + LOOP.replace("LIST", "BEST")])
        out["libvips, other way"] = by_lines([sys.executable, "-c", VIPS + LOOP.replace("LIST", "OTHER")])
    if "pillow" in names:
        if python := venv("pillow"):
            out["Pillow"] = by_lines([str(python), "-c", PILLOW + LOOP.replace("LIST", "BEST")])
        else:
            print("left out: Pillow cannot be installed", file=sys.stderr)
    if "sharp" in names:
        folder = CACHE / "node"
        folder.mkdir(exist_ok=True)
        install = ["npm", "install", "--silent", "--prefix", str(folder), "sharp"]
        ready = (folder / "node_modules/sharp").exists()
        if shutil.which("npm") and (ready or not subprocess.run(install, check=False).returncode):
            script = folder / "bench.js"
            script.write_text(SHARP)
            out["sharp"] = by_lines(["node", str(script)])
        else:
            print("left out: sharp cannot be installed", file=sys.stderr)
    if "thumbor" in names:
        if python := venv("thumbor"):
            out["thumbor, file"] = thumbor(python, origin_port, "file")
            out["thumbor, HTTP"] = thumbor(python, origin_port, "http")
        else:
            print("left out: thumbor cannot be installed", file=sys.stderr)
    return out, asked


def row(case: int, measured: dict[str, Measure], rounds: int, burst: int, pause_s: float = 0.0) -> dict[str, Sample]:
    samples: dict[str, list[Sample]] = {}
    for number in range(rounds + 1):
        for name, measure in measured.items():
            sample = measure(case, burst if number else 2, pause_s)
            if sample is not None and number:  # the first round warms up
                samples.setdefault(name, []).append(sample)
    return {
        name: Sample(
            statistics.median(sample.seconds for sample in several),
            max(sample.peak_mib for sample in several),
            statistics.median(sample.cpu_seconds for sample in several),
        )
        for name, several in samples.items()
    }


def shown(sample: Sample | None, ours: Sample) -> str:
    if sample is None:
        return "-"
    wall, cpu = sample.seconds / ours.seconds, sample.cpu_seconds / ours.cpu_seconds
    return f"{sample.seconds * 1000:.1f} ms ({wall:.2f}), {sample.cpu_seconds * 1000:.1f} ms ({cpu:.2f}), {sample.peak_mib} MiB"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--burst", type=int, default=6)
    parser.add_argument("--cases", default=",".join(map(str, range(len(CASES)))))
    parser.add_argument("--peers", default="libvips,pillow,sharp,thumbor")
    parser.add_argument("--crowds", action="store_true")
    parser.add_argument("--imgproxy")
    parser.add_argument("--imagor")
    options = parser.parse_args()
    make_sources()
    for number, body in enumerate(CASES.values()):
        (SOURCES / f"case{number}.ms").write_text(f"function main() {{ var m = new Media(); {body} }}")
    named = CASES[next(iter(CASES))].replace("'photo.jpg'", "req.getParameter('name')")
    (SOURCES / "named.ms").write_text(f"function main() {{ var m = new Media(); {named} }}")
    os.sched_setaffinity(0, BESIDE)
    origin_port = free_port()
    try:
        started([sys.executable, "-c", ORIGIN, str(origin_port)], BESIDE)
        wait_for(origin_port, "/case0.ms")
        programs = {"imgproxy": options.imgproxy, "imagor": options.imagor}
        measured, asked = contenders(options.peers.split(","), origin_port, programs)
        print(
            "For one picture: time, processor time of everything that is pinned, peak memory of the process with the pixels.\n"
            "In brackets: divided by that of MediaGen, fresh; above 1 MediaGen is faster.\n"
        )
        print("| case | " + " | ".join(measured) + " |")
        print("| --- |" + " --- |" * len(measured))
        for case in map(int, filter(None, options.cases.split(","))):
            name = list(CASES)[case]
            burst = options.burst if not name.startswith("overhead") else options.burst * 10
            variants = [(name, 0.0)] if burst == options.burst else [(name, 0.0), (f"{name}, every 30 ms", 0.03)]
            for title, pause_s in variants:
                samples = row(case, measured, options.rounds, burst if not pause_s else options.burst, pause_s)
                ours = samples["MediaGen, fresh"]
                cells = [shown(samples.get(contender), ours) for contender in measured]
                print(f"| {title} | " + " | ".join(cells) + " |", flush=True)
        if options.crowds:
            crowds(asked, options.rounds, options.burst)
        from dservices.mediagen import limits

        print(f"\nBound of a worker's private memory: {limits.WORKER_MEMORY_BYTES >> 20} MiB (RLIMIT_DATA).")
    finally:
        for process in _started:
            process.terminate()
        for process in _started:
            process.wait(timeout=20)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"Beside it: load {os.getloadavg()[0]:.2f}, {len(PROCESSORS)} processors, this client {peak} MiB.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

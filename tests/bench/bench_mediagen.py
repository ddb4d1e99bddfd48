"""MediaGen beside libvips by hand, Pillow, sharp and thumbor: the same pictures, one core each, one run, ratios (G-7).

    .venv/bin/python tests/bench/bench_mediagen.py [--rounds 7] [--peers libvips,pillow,sharp,thumbor]

Peers live in .cache/bench (a virtual environment and a folder of Node packages of their own, installed on first use by package
name); one that cannot be installed is left out by name. MediaGen runs with one worker and is asked over HTTP, script and all,
sources from a server on loopback; the others read files and call their library in a process that is already warm; thumbor
is asked over HTTP with its file loader. Nothing is cached between rounds on any side (MediaGen's answers are not reused).
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache/bench"
SOURCES = CACHE / "sources"

CASES: dict[str, str] = {
    "12-megapixel JPEG to 800 px JPEG": "m.load(name @ 'photo.jpg'); m.scale(xs @ 800, ys @ 600); m.save(type @ 'jpeg', quality @ 80);",
    "the same with text and watermark": (
        "m.load(name @ 'photo.jpg'); m.scale(xs @ 800, ys @ 600);"
        " m.drawText(text @ 'Compute Generation Network', size @ 36, color @ 0xFFFFFF, x @ 400, y @ 300);"
        " var w = new Media(); w.load(name @ 'mark.png'); m.composite(source @ w, x @ 20, y @ 20, handleX @ 'left', handleY @ 'top', opacity @ 128);"
        " m.save(type @ 'jpeg', quality @ 80);"
    ),
    "PNG to WebP": "m.load(name @ 'picture.png'); m.save(type @ 'webp', quality @ 80);",
    "PDF page to PNG at 150 dpi": "m.load(name @ 'document.pdf', dpi @ 150); m.save(type @ 'png', level @ 1);",
    "animated GIF to WebP": "m.load(name @ 'anim.gif'); m.save(type @ 'webp', quality @ 80);",
    "nothing (1 x 1 canvas): overhead": "m.makeCanvas(xs @ 1, ys @ 1); m.save(type @ 'png');",
}

VIPS = """
import json, sys, time, pyvips, pypdfium2
pyvips.cache_set_max(0)
I = pyvips.Image
def case0(): return I.thumbnail('photo.jpg', 800, height=600, size='force').jpegsave_buffer(Q=80, keep='none')
def case1():
    i = I.thumbnail('photo.jpg', 800, height=600, size='force')
    t = I.text('Compute Generation Network', font='sans 36', dpi=72)
    o = I.black(1, 1).linear([1, 1, 1], [255, 255, 255]).embed(0, 0, t.width, t.height, extend='copy').cast('uchar').bandjoin(t).copy(interpretation='srgb')
    i = i.composite2(o, 'over', x=400 - t.width // 2, y=300 - t.height // 2)
    w = I.new_from_file('mark.png'); w = w[0:3].bandjoin((w[3] * 0.5).cast('uchar')).copy(interpretation='srgb')
    return i.composite2(w, 'over', x=20, y=20)[0:3].cast('uchar').jpegsave_buffer(Q=80, keep='none')
def case2(): return I.new_from_file('picture.png', access='sequential').webpsave_buffer(Q=80, keep='none')
def case3():
    d = pypdfium2.PdfDocument('document.pdf'); b = d[0].render(scale=150 / 72, rev_byteorder=True, prefer_bgrx=True)
    i = I.new_from_memory(bytes(b.buffer), b.width, b.height, 4, 'uchar')[0:3].copy(interpretation='srgb')
    r = i.pngsave_buffer(compression=1, filter='sub'); d.close(); return r
def case4(): return I.new_from_file('anim.gif[n=-1]').webpsave_buffer(Q=80, keep='none')
"""
PILLOW = """
import io, json, sys, time
from PIL import Image, ImageDraw, ImageFont
def out(i, kind, **k): b = io.BytesIO(); i.save(b, kind, **k); return b.getvalue()
def small(): i = Image.open('photo.jpg'); i.draft('RGB', (800, 600)); return i.resize((800, 600), Image.LANCZOS)
def case0(): return out(small(), 'JPEG', quality=80)
def case1():
    i = small(); ImageDraw.Draw(i).text((400, 300), 'Compute Generation Network', anchor='mm', font=ImageFont.load_default(36), fill='white')
    w = Image.open('mark.png'); i.paste(w, (20, 20), w.getchannel('A').point(lambda v: v // 2)); return out(i, 'JPEG', quality=80)
def case2(): return out(Image.open('picture.png'), 'WEBP', quality=80, method=4)
case3 = None
def case4(): i = Image.open('anim.gif'); return out(i, 'WEBP', quality=80, method=4, save_all=True)
"""
LOOP = """
n = int(sys.argv[1]); f = globals().get('case%d' % n)
if f is None: print('null'); sys.exit()
f(); f(); times = []
for _ in range(int(sys.argv[2])):
    t = time.perf_counter(); f(); times.append(time.perf_counter() - t)
print(json.dumps(times))
"""
SHARP = """
const sharp = require('sharp'); sharp.cache(false); sharp.concurrency(1);
const small = () => sharp('photo.jpg').resize(800, 600, {fit: 'fill'});
const cases = [
  () => small().jpeg({quality: 80}).toBuffer(), null,
  () => sharp('picture.png').webp({quality: 80}).toBuffer(), null,
  () => sharp('anim.gif', {animated: true}).webp({quality: 80}).toBuffer()];
(async () => { const f = cases[+process.argv[2]]; if (!f) { console.log('null'); return; } await f(); await f(); const times = [];
  for (let i = 0; i < +process.argv[3]; i++) { const t = process.hrtime.bigint(); await f(); times.push(Number(process.hrtime.bigint() - t) / 1e9); }
  console.log(JSON.stringify(times)); })();
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


def timed(command: list[str], case: int, rounds: int) -> list[float] | None:
    done = subprocess.run(
        [*command, str(case), str(rounds)], cwd=SOURCES, env=environment(), capture_output=True, check=False
    )
    if done.returncode != 0:
        return None
    return json.loads(done.stdout)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ask(port: int, target: str) -> float:
    started = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", target)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    if answer.status != 200:
        raise SystemExit(f"{target}: {answer.status} {body[:300]!r}")
    return time.perf_counter() - started


def wait_for(port: int, target: str) -> None:
    for _ in range(400):
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                pass
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", target)
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        time.sleep(0.05)
    raise SystemExit("a server does not start")


def start_mediagen(origin_port: int) -> tuple[subprocess.Popen[bytes], int]:
    port = free_port()
    settings = {"CGN_PORT": str(port), "CGN_MEDIAGEN_WORKERS": "1", "CGN_MEDIAGEN_ALLOW": f"127.0.0.1:{origin_port}"}
    process = subprocess.Popen([sys.executable, "-m", "dservices.mediagen"], env=environment(**settings), cwd=ROOT)
    wait_for(port, "/_cgn/health")
    return process, port


def memory_mib(process: subprocess.Popen[bytes]) -> int:
    """Peak resident memory of the worker, MiB."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    peaks = [
        line
        for pid in children
        for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        if line.startswith("VmHWM")
    ]
    return max(int(line.split()[1]) for line in peaks) // 1024


def peers(names: list[str]) -> dict[str, Callable[[int, int], list[float] | None]]:
    """Measured functions by name; those that cannot be had are named and left out."""
    out: dict[str, Callable[[int, int], list[float] | None]] = {}
    CACHE.mkdir(parents=True, exist_ok=True)
    if "libvips" in names:
        out["libvips by hand"] = partial(timed, [sys.executable, "-c", VIPS + LOOP])
    if "pillow" in names:
        if python := venv("pillow"):
            out["Pillow"] = partial(timed, [str(python), "-c", PILLOW + LOOP])
        else:
            print("left out: Pillow cannot be installed", file=sys.stderr)
    if "sharp" in names:
        folder = CACHE / "node"
        folder.mkdir(exist_ok=True)
        npm = shutil.which("npm")
        if npm and (
            (folder / "node_modules/sharp").exists()
            or not subprocess.run(
                [npm, "install", "--silent", "--prefix", str(folder), "sharp"], check=False
            ).returncode
        ):
            script = folder / "bench.js"
            script.write_text(SHARP)
            out["sharp"] = partial(timed, ["node", str(script)])
        else:
            print("left out: sharp cannot be installed", file=sys.stderr)
    if "thumbor" in names:
        thumbor = start_thumbor()
        if thumbor is not None:
            out["thumbor over HTTP"] = thumbor
        else:
            print("left out: thumbor cannot be installed", file=sys.stderr)
    return out


_started: list[subprocess.Popen[bytes]] = []


def start_thumbor() -> Callable[[int, int], list[float] | None] | None:
    python = venv("thumbor")
    if python is None:
        return None
    port = free_port()
    config = CACHE / "thumbor.conf"
    config.write_text(
        f"LOADER='thumbor.loaders.file_loader'\nFILE_LOADER_ROOT_PATH={str(SOURCES)!r}\nSTORAGE='thumbor.storages.no_storage'\nQUALITY=80\nAUTO_WEBP=False\n"
    )
    command = [str(python.parent / "thumbor"), "-p", str(port), "-i", "127.0.0.1", "-c", str(config), "-l", "error"]
    _started.append(subprocess.Popen(command, env=environment(), stderr=subprocess.DEVNULL))
    wait_for(port, "/healthcheck")
    targets = {0: "/unsafe/800x600/photo.jpg", 2: "/unsafe/filters:format(webp)/picture.png"}

    def measure(case: int, rounds: int) -> list[float] | None:
        if case not in targets:
            return None
        ask(port, targets[case])
        return [ask(port, targets[case]) for _ in range(rounds)]

    return measure


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--peers", default="libvips,pillow,sharp,thumbor")
    options = parser.parse_args()
    make_sources()
    for number, body in enumerate(CASES.values()):
        (SOURCES / f"case{number}.ms").write_text(f"function main() {{ var m = new Media(); {body} }}")

    class Handler(SimpleHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # headers and body leave in two writes: without this each fetch waits 40 ms

        def log_message(self, *arguments: object) -> None:
            pass

    origin = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(SOURCES)))
    threading.Thread(target=origin.serve_forever, daemon=True).start()
    process, port = start_mediagen(origin.server_address[1])
    try:
        measured = peers(options.peers.split(","))
        print("| case | " + " | ".join(["MediaGen over HTTP", *measured]) + " |")
        print("| --- |" + " --- |" * (1 + len(measured)))
        for number, name in enumerate(CASES):
            target = f"/mgen/io?script={quote(f'http://127.0.0.1:{origin.server_address[1]}/case{number}.ms', safe='')}"
            ask(port, target)
            ask(port, target)
            ours = statistics.median(ask(port, target) for _ in range(options.rounds))
            cells = [f"{ours * 1000:.1f} ms"]
            for measure in measured.values():
                times = measure(number, options.rounds) if number < 5 else None
                if times is None:
                    cells.append("-")
                    continue
                theirs = statistics.median(times)
                cells.append(f"{theirs * 1000:.1f} ms (MediaGen {theirs / ours:.2f} x as fast)")
            print(f"| {name} | " + " | ".join(cells) + " |", flush=True)
        print(f"\nPeak memory of the worker: {memory_mib(process)} MiB")
    finally:
        for child in (process, *_started):
            child.terminate()
            child.wait(timeout=20)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""MediaGen's estimator (G-8) judged on requests it was not fitted to: relative error of the estimate against the measured cost.

    .venv/bin/python tests/bench/bench_estimator.py [--runs 3] [--each] [--seed N] [--count N] [--set development]

Held out are requests drawn by a seed (`estimator_requests`), over sources that neither the calibration
(`dservices.mediagen.calibration.scripts`) nor the development of the model has seen; with another seed they are others, so the figure can
be had again as often as wanted. `--set development` takes the requests that the model was developed with instead, which
also serve bench_verifier.py: what they say is better than the truth.

Measured is the CPU time of the service's processes, front and worker, as a miner meters it. Two comparisons: in reference
time, where a fixed piece of work that is timed right before and after every request takes the machine's changing speed out
of the measured side (this is the model's error); and in CPU time as it was, against the answer that the service gave over
HTTP (this adds how far the machine's speed strays from its median). The time of an estimate is taken in this process with
script, heads and a context at hand, and over HTTP with nothing at hand.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

from dservices.mediagen.calibration.calibrate import Refused, Rehearsal, Trial
from dservices.mediagen.calibration.scripts import chart
from dservices.mediagen.estimator import cost_model

sys.path.insert(0, str(Path(__file__).parent))
import estimator_requests

HELD_OUT_SEED, HELD_OUT_COUNT, HELD_OUT_WORLD = 57721, 150, 3
HELD_OUT_SOURCES = Path(".cache/bench/estimates")
SOURCES = Path(".cache/bench/estimator")
VERSION = "2"
J, P, W = (
    "m.save(type @ 'jpeg', quality @ {});",
    "m.save(type @ 'png', level @ {});",
    "m.save(type @ 'webp', quality @ {});",
)
TEXT = "m.drawText(text @ '{}', size @ {}, color @ 0xFFFFFF, x @ {}, y @ {});"
MARK = "var w = new Media(); w.load(name @ 'mark.png'); m.composite(source @ w, x @ 20, y @ 20, handleX @ 'left', handleY @ 'top', opacity @ 128);"


def load(name: str, more: str = "") -> str:
    return f"m.load(name @ '{name}'{more}); "


def scale(width: int, more: str = "") -> str:
    return f"m.scale(xs @ {width}, constrain @ true{more}); "


DEVELOPMENT: dict[str, str] = {
    "thumbnail of 16 MP": load("scene16.jpg") + scale(200) + J.format(75),
    "thumbnail of 8 MP": load("scene8.jpg") + scale(320) + J.format(82),
    "web size of 8 MP": load("scene8.jpg") + scale(1280) + J.format(85),
    "web size of 16 MP": load("scene16.jpg") + scale(1024) + J.format(80),
    "large of 24 MP": load("scene24.jpg") + scale(2400) + J.format(88),
    "thumbnail of 24 MP": load("scene24.jpg") + scale(500) + J.format(80),
    "small of 0.1 MP": load("scene01.jpg") + scale(150) + J.format(80),
    "0.1 MP as it is": load("scene01.jpg") + J.format(90),
    "progressive to 700": load("scene4p.jpg") + scale(700) + J.format(80),
    "progressive result": load("scene4.jpg") + scale(900) + "m.save(type @ 'jpeg', quality @ 78, progressive @ true);",
    "half of 4 MP": load("scene4.jpg") + "m.scale(xs @ '50%', ys @ '50%'); " + J.format(80),
    "best scaler": load("scene4.jpg") + "m.scale(xs @ 1000, constrain @ true, alg @ 'Best'); " + J.format(85),
    "enlarged": load("scene01.jpg") + "m.scale(xs @ 1500, constrain @ true, alg @ 'Smooth'); " + J.format(80),
    "turned by 90": load("scene4.jpg") + "m.rotate(angle @ 90); " + J.format(85),
    "turned a little": load("scene4.jpg") + scale(1100) + "m.rotate(angle @ -4, padColor @ 0xFFFFFF); " + J.format(85),
    "mirrored and cropped": load("scene4.jpg") + "m.flip(axis @ 'horizontal'); m.crop(xs @ 900, ys @ 700); " + J.format(85),
    "crop of 8 MP": load("scene8.jpg") + "m.crop(x @ 500, y @ 400, xs @ 600, ys @ 600); " + W.format(80),
    "pad to square": load("scene4.jpg") + "m.scale(xs @ 800, ys @ 800, constrain @ true, padColor @ 0xEEEEEE); " + J.format(80),
    "text on it": load("scene8.jpg") + scale(1000) + TEXT.format("A line of text", 48, 500, 100) + J.format(85),
    "two texts and a mark": load("scene8.jpg") + scale(900) + TEXT.format("Above", 60, 450, 90) + TEXT.format("and below it", 28, 450, 600) + MARK + J.format(85),
    "watermark tiled": load("scene4.jpg") + scale(1000) + "m.drawText(text @ 'Proof', size @ 30, tile @ true, opacity @ 90); " + J.format(80),
    "text card": "m.makeCanvas(xs @ 1200, ys @ 630, fillColor @ 0x103050); " + TEXT.format("A card for sharing", 72, 600, 250) + TEXT.format("made of two lines", 36, 600, 400) + P.format(6),
    "paragraph": "m.makeCanvas(xs @ 700, ys @ 900); m.drawText(text @ '" + "A paragraph of several words that fills lines. " * 12 + "', size @ 22, wrap @ 600, color @ 0); " + P.format(6),
    "button": "m.makeText(text @ 'Press here', size @ 30, color @ 0x202020); m.pad(xs @ 300, ys @ 80, padColor @ 0xDDDDDD); m.save(type @ 'png');",
    "blur and letters": load("scene4.jpg") + scale(800) + "m.blurGaussianBlur(radius @ 4); " + TEXT.format("Soft", 90, 400, 300) + J.format(80),
    "blur of 4 MP": load("scene4.jpg") + "m.blur(radius @ 5); " + J.format(80),
    "sharpened": load("scene8.jpg") + scale(1200) + "m.sharpenUnsharpMask(radius @ 1, amount @ 60); " + J.format(88),
    "contrast and saturation": load("scene4.jpg") + scale(1000) + "m.adjustRgb(contrast @ 20); m.adjustHsb(saturation @ 20); " + J.format(85),
    "contrast, sharp, blur": load("scene4.jpg") + scale(640) + "m.adjustRgb(brightness @ 15); m.sharpenSharpen(); m.blurBlur(); " + P.format(3),
    "gray": load("scene8.jpg") + scale(1000) + "m.convert(rtype @ 'Gray-8'); " + J.format(85),
    "sepia": load("scene4.jpg") + scale(900) + "m.colorize(color @ 0x704214); " + J.format(85),
    "equalised": load("scene4.jpg") + scale(800) + "m.equalize(brightness @ 2); " + J.format(85),
    "embossed": load("scene4.jpg") + scale(900) + "m.stylizeEmboss(); " + J.format(80),
    "edges": load("scene4.jpg") + scale(900) + "m.stylizeFindEdges(); " + P.format(6),
    "noise": load("scene4.jpg") + scale(700) + "m.noiseAddNoise(amount @ 8); " + J.format(90),
    "mosaic": load("scene4.jpg") + scale(900) + "m.pixellateMosaic(size @ 20); " + P.format(9),
    "motion": load("scene4.jpg") + scale(700) + "m.blurMotionBlur(angle @ 60, distance @ 25); " + J.format(80),
    "spread bright": load("scene4.jpg") + scale(700) + "m.otherMaximum(radius @ 4); " + J.format(80),
    "high pass": load("scene4.jpg") + scale(800) + "m.otherHighPass(radius @ 8); " + J.format(80),
    "shapes": load("scene4.jpg") + scale(800) + "m.rectangle(x @ 100, y @ 100, xs @ 500, ys @ 300, width @ 6, color @ 0xFF0000); m.ellipse(x @ 300, y @ 250, rx @ 90, ry @ 60, fill @ true, opacity @ 128); " + J.format(80),
    "gradient over": load("scene4.jpg") + scale(1000) + "m.gradient(opacity @ 100, angle @ 90); " + J.format(80),
    "warped": load("scene4.jpg") + scale(800) + "m.quadWarp(x1 @ 0, y1 @ 60, x2 @ 800, y2 @ 0, x3 @ 800, y3 @ 600, x4 @ 0, y4 @ 500); " + J.format(80),
    "multiply": load("scene4.jpg") + scale(900) + "var w = new Media(); w.load(name @ 'graph.png'); w.scale(xs @ 900, ys @ 600); m.composite(source @ w, blend @ 'Multiply'); " + J.format(80),
    "shadow": load("logo.png") + scale(400) + "m.dropShadow(blur @ 5); m.save(type @ 'png');",
    "layers": load("scene4.jpg") + scale(700) + "var w = new Media(); w.load(name @ 'logo.png'); w.scale(xs @ 300, constrain @ true); m.setLayer(1, w); m.setLayerOpacity(1, 150); m.setLayerPosition(1, 50, 60); m.collapse(); " + J.format(80),
    "palette": load("scene4.jpg") + scale(500) + "m.reduce(colors @ 64); m.save(type @ 'png');",
    "cmyk": load("scene4.jpg") + scale(700) + "m.colorCorrect(destProfile @ 'cmyk', sourceProfile @ 'rgb'); m.save(type @ 'tiff');",
    "display p3": load("scene4.jpg") + scale(900) + "m.colorCorrect(destProfile @ 'p3', sourceProfile @ 'rgb'); " + J.format(85),
    "png to webp": load("scene2.png") + W.format(80),
    "png to small jpeg": load("scene2.png") + scale(400) + J.format(80),
    "graph to png": load("graph.png") + scale(600) + P.format(9),
    "graph to webp lossless": load("graph.png") + scale(700) + "m.save(type @ 'webp', lossless @ true);",
    "graph to gif": load("graph.png") + scale(500) + "m.save(type @ 'gif');",
    "logo to webp": load("logo.png") + scale(350) + W.format(85),
    "webp to jpeg": load("scene3.webp") + scale(800) + J.format(80),
    "webp effort 6": load("scene4.jpg") + scale(600) + "m.save(type @ 'webp', quality @ 75, effort @ 6);",
    "webp effort 1, large": load("scene4.jpg") + scale(1600) + "m.save(type @ 'webp', quality @ 70, effort @ 1);",
    "avif to png": load("scene2.avif") + scale(500) + P.format(6),
    "to avif": load("scene4.jpg") + scale(600) + "m.save(type @ 'avif', quality @ 50);",
    "to avif, effort 4": load("scene8.jpg") + scale(400) + "m.save(type @ 'avif', quality @ 60, effort @ 4);",
    "tiff to jpeg": load("scene3.tif") + scale(900) + J.format(85),
    "tiff lzw": load("scene4.jpg") + scale(1200) + "m.save(type @ 'tiff', compression @ 'lzw');",
    "bmp to png": load("scene2.bmp") + scale(700) + P.format(6),
    "4 MP to png": load("scene4.jpg") + P.format(4),
    "1 MP to png 9": load("scene8.jpg") + scale(1200) + P.format(9),
    "gif to webp": load("walk.gif") + "m.save(type @ 'webp');",
    "gif smaller": load("walk.gif") + scale(160) + "m.save(type @ 'gif');",
    "gif with text": load("walk.gif") + "m.drawText(text @ 'moving', size @ 20); m.save(type @ 'gif');",
    "gif to apng": load("walk.gif") + "m.save(type @ 'png');",
    "first frame": load("walk.gif") + "m.save(type @ 'png', frames @ '1');",
    "sprite of frames": "for (var n = 1; n <= 12; n++) { var f = new Media(); f.makeCanvas(xs @ 160, ys @ 160, fillColor @ 0x203040 + n * 9000); f.ellipse(x @ 80, y @ 80, rx @ 5 * n, ry @ 60, fill @ true); m.setFrame(n, f); } m.save(type @ 'webp');",
    "page to png": load("book.pdf", ", frames @ 1, dpi @ 130") + P.format(6),
    "page to jpeg": load("book.pdf", ", frames @ 2, dpi @ 90") + J.format(85),
    "three pages to pdf": load("book.pdf", ", frames @ '1-3', dpi @ 100") + "m.save(type @ 'pdf', quality @ 80);",
    "pictures to pdf": load("scene4.jpg") + scale(1000) + "m.save(type @ 'pdf');",
    "rgba png": load("logo.png") + P.format(6),
}  # fmt: skip


def make_sources() -> None:
    import pyvips

    from dservices.mediagen import samples
    from dservices.mediagen.formats import bmp

    SOURCES.mkdir(parents=True, exist_ok=True)
    stamp = SOURCES / ".version"
    if stamp.exists() and stamp.read_text() == VERSION:
        return
    base = samples.landscape(3200, 2500).fliphor()
    base = (
        base.linear([0.9, 1.05, 0.8], [12, -8, 30]) + pyvips.Image.gaussnoise(3200, 2500, sigma=3, mean=0, seed=99)
    ).cast("uchar")
    base = base.copy(interpretation="srgb").copy_memory()  # 8 MP

    def save(image, name, **options):
        image.write_to_file(str(SOURCES / name), **{"keep": "none", **options})

    def of(mega: float):
        return base.resize((mega / 8) ** 0.5).cast("uchar")

    save(of(16), "scene16.jpg", Q=82)
    save(of(24), "scene24.jpg", Q=75)
    save(base, "scene8.jpg", Q=90)
    four, two = of(4.2).copy_memory(), of(2).copy_memory()
    save(four, "scene4.jpg", Q=84)
    save(four, "scene4p.jpg", Q=84, interlace=True)
    save(of(0.1), "scene01.jpg", Q=85)
    save(two, "scene2.png")
    save(of(3), "scene3.webp", Q=82)
    save(two, "scene2.avif", Q=60, effort=2)
    save(of(3), "scene3.tif", compression="deflate", predictor="horizontal")
    (SOURCES / "scene2.bmp").write_bytes(bmp.save(two))
    graph = chart(1500, 1000, seed=5)
    save(graph, "graph.png")
    logo = chart(700, 500, seed=8)
    save(logo.bandjoin((logo[0] < 245).ifthenelse(255, 0).cast("uchar")), "logo.png")
    mark = pyvips.Image.text("CGN", font="sans 40", dpi=72)
    save(
        (mark * 0 + 255)
        .cast("uchar")
        .bandjoin([(mark * 0 + 255).cast("uchar")] * 2 + [mark])
        .copy(interpretation="srgb"),
        "mark.png",
    )
    frames = [two.crop(9 * n, 300, 300, 220) for n in range(18)]
    strip = pyvips.Image.arrayjoin(frames, across=1).copy()
    strip.set_type(pyvips.GValue.gint_type, "page-height", 220)
    strip.set_type(pyvips.GValue.array_int_type, "delay", [60] * 18)
    save(strip, "walk.gif", keep="all")
    (SOURCES / "book.pdf").write_bytes(
        samples.document(
            [[(50, 780 - 30 * n, 14, f"Line {n} of page {page}, with words") for n in range(24)] for page in range(5)]
        )
    )
    stamp.write_text(VERSION)


def _summary(label: str, errors: list[tuple[float, float, str]]) -> None:
    sizes = sorted(abs(error) for error, _, _ in errors)
    inside = sum(size <= 0.25 for size in sizes)
    share = inside / len(sizes)
    spread = 1.96 * (share * (1 - share) / len(sizes)) ** 0.5
    print(
        f"{label}: {share:.1%} of {len(sizes)} within 25 % (95 % confidence: {share - spread:.1%} to {min(1.0, share + spread):.1%}); "
        f"median error {statistics.median(sizes):.1%}, 90th percentile {sizes[int(len(sizes) * 0.9)]:.1%}, largest {sizes[-1]:.1%}; "
        f"bias {statistics.median(e for e, _, _ in errors):+.1%}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--each", action="store_true", help="one line a request")
    parser.add_argument("--seed", type=int, default=HELD_OUT_SEED)
    parser.add_argument("--count", type=int, default=HELD_OUT_COUNT)
    parser.add_argument("--set", choices=("held", "development"), default="held")
    parser.add_argument("--keep", type=Path, help="also write the measured costs here")
    options = parser.parse_args()
    if options.set == "held":
        requests, sources = estimator_requests.drawn(options.seed, options.count), HELD_OUT_SOURCES
        estimator_requests.make_sources(sources, HELD_OUT_WORLD)
    else:
        requests, sources = DEVELOPMENT, SOURCES
        make_sources()
    rehearsal, model = Rehearsal(sources), cost_model.model()
    trial, errors, as_answered, over_http, kept = Trial(sources), [], [], [], {}
    try:
        trial.measured(trial.target("m.makeCanvas(xs @ 1, ys @ 1); m.save(type @ 'png');"), 4)
        trial.estimated(trial.target("m.makeCanvas(xs @ 2, ys @ 1); m.save(type @ 'png');"))
        for name, body in requests.items():
            target = trial.target(body)
            started = time.perf_counter()
            answer = int(trial.estimated(target)["cpu_ns"])
            over_http.append(time.perf_counter() - started)
            time.sleep(0.01)
            try:
                measured = trial.measured(target, options.runs)
            except Refused as refusal:
                print(f"refused: {name}: {refusal}")
                continue
            kept[name] = measured.works
            error = model.cpu_ns(rehearsal.terms(body)) / (measured.works * model.yardstick_ns) - 1
            errors.append((error, measured.cpu_ns, name))
            as_answered.append((answer / measured.cpu_ns - 1, measured.cpu_ns, name))
            if options.each:
                print(f"{error:+7.1%}  {measured.cpu_ns / 1e6:9.1f} ms  {name}: {body[:150]}", flush=True)
    finally:
        trial.close()
    if options.keep:
        options.keep.write_text(json.dumps(kept, indent=1))
    print()
    _summary("in reference time", errors)
    _summary("in CPU time as it was", as_answered)
    print(
        "worst: "
        + "; ".join(f"{name} {error:+.0%}" for error, _, name in sorted(errors, key=lambda e: -abs(e[0]))[:10])
    )
    works = sorted(value / 1e6 for value in trial.works_ns)
    print(
        f"the fixed work took {works[len(works) // 20]:.2f} to {works[-len(works) // 20]:.2f} ms, median {statistics.median(works):.2f}; calibrated at {model.yardstick_ns / 1e6:.2f}"
    )
    runs = [rehearsal.timed(body)[1:] for body in requests.values() for _ in range(3)]
    whole, steps = ([values[index] / 1e6 for values in runs] for index in (0, 1))
    for label, values in (
        ("script and heads at hand: ", whole),
        ("of it our steps: ", steps),
        ("over HTTP, script and heads fetched: ", [t * 1000 for t in over_http]),
    ):
        ordered = sorted(values)
        print(
            f"{label}median {statistics.median(ordered):.2f} ms, 95th percentile {ordered[int(len(ordered) * 0.95)]:.2f} ms"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

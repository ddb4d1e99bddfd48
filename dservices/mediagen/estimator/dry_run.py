"""Dry run of a script for an estimate (G-8): pictures have sizes and formats but no pixels; each step adds its cost.

A term is a name and an amount: `("conv.tap", 3.2)` are 3.2 million channel values times kernel taps. What a unit of
each costs is in `coefficients.json`, measured by `calibration`; `cost_model` multiplies. As libvips computes only what
is looked at, a step's cost is *pending* until something looks: a crop behind it makes it cheaper, a save settles it.

Steps that this module does not know by name are taken as one pass over the pixels under their own name, so that a new
method is estimated as soon as it has been measured, and as an ordinary pass before. Pure, but for the headers that the
host fetches.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from cgn_sdk.dservice.problems import Problem

from dservices.mediagen import limits
from dservices.mediagen.estimator import contents, encoder_costs
from dservices.mediagen.estimator.contents import Content
from dservices.mediagen.estimator.headers import Facts
from dservices.mediagen.estimator.sketch import MEGA, LayerSketch, Sketch, Term
from dservices.mediagen.formats import jpeg
from dservices.mediagen.formats.encoding import type_of_name
from dservices.mediagen.language.values import Args, frame_numbers
from dservices.mediagen.picture import geometry
from dservices.mediagen.picture.layers import named
from dservices.mediagen.picture.picture import CMYK, CMYKA, GRAY, RGB, RGBA, STORED_AS

DRAWINGS = ("svg", "pdf")
"""What has no pixels of its own."""


def loaded(facts: Facts, args: Args, number: int) -> Sketch:
    """A source. `number` tells it from the others: its decoding is paid once."""
    width, height = (facts.height, facts.width) if facts.turned else (facts.width, facts.height)
    mode = {1: GRAY, 2: RGBA, 3: RGB}.get(facts.bands, RGBA)
    mode = (CMYK if facts.bands < 5 else CMYKA) if facts.inks else mode
    frames, dpi = facts.frames, facts.dpi
    if facts.kind in DRAWINGS:
        dpi = float(args.get("dpi") or 72.0)
        scale = dpi / 72
        width, height = max(1, round(width * scale)), max(1, round(height * scale))
    spans = args.get("frames") or args.get("frame") or (((1, 1, 1),) if facts.kind == "pdf" else None)
    if spans and facts.kind in ("pdf", "gif", "webp", "tiff"):
        frames = max(1, len(frame_numbers(spans, facts.frames)))
    sketch = Sketch(
        width,
        height,
        mode,
        frames,
        moves=facts.frames > 1 and facts.kind in ("gif", "webp", "png"),
        file_type=facts.kind,
        dpi=(dpi, dpi),
        content=contents.of_source(facts, dpi),
    )
    if facts.kind == "psd":
        return _photoshop(sketch, facts, args, number)
    if facts.frames == 1 and facts.kind in ("jpeg", "png", "webp", "avif", "tiff"):
        return replace(sketch, undecoded=facts)
    if frames == 1 and facts.kind in DRAWINGS:
        return replace(sketch, undecoded=facts)
    all_pixels = facts.width * facts.height * facts.frames / MEGA
    decoded_area = sketch.area if facts.kind in (*DRAWINGS, "tiff") else all_pixels
    terms = [Term(f"load.{facts.kind}", decoded_area, number), Term(f"load.{facts.kind}.call", 1, number)]
    terms.append(Term(f"load.{facts.kind}.bytes", facts.bytes / MEGA, number))
    if facts.kind == "png":
        terms.append(Term("load.apng", decoded_area, number))
    elif facts.frames > 1:
        terms.append(Term("load.frames", float(frames), number))
    return replace(sketch, pending=tuple(terms))


def _photoshop(sketch: Sketch, facts: Facts, args: Args, number: int) -> Sketch:
    """The flattened picture that ends a PSD, or the layers that are asked for."""
    entries = args.get("layers")
    packed, depth = facts.bytes - sum(layer.bytes for layer in facts.layers), 2 if facts.deep else 1
    chosen: tuple[LayerSketch, ...] = ()
    values = sketch.values
    if entries is not None and facts.layers:
        every = tuple(LayerSketch(f.name, f.width, f.height, f.blend, f.visible) for f in facts.layers)
        numbers = list(dict.fromkeys(named(every, entries)))
        chosen = tuple(every[n] for n in numbers)
        packed = sum(facts.layers[n].bytes for n in numbers)
        values = sum(layer.width * layer.height for layer in chosen) * 4 / MEGA
        sketch = replace(sketch, mode=CMYKA if facts.inks else RGBA)
    terms = (
        Term("load.psd", values * depth, number),
        Term("load.psd.bytes", max(0, packed) / MEGA, number),
        Term("load.psd.call", 1, number),
    )
    return replace(sketch, layers=chosen, pending=terms)


def decoded(sketch: Sketch, number: int) -> Sketch:
    """The sketch with its source decoded in full."""
    facts = sketch.undecoded
    if facts is None:
        if not sketch.width:
            raise Problem(422, "empty_media", "the Media object is empty: load or makeCanvas comes first")
        return sketch
    area = facts.width * facts.height / MEGA
    terms = [Term(f"load.{facts.kind}.bytes", facts.bytes / MEGA, number), Term(f"load.{facts.kind}.call", 1, number)]
    if facts.kind in DRAWINGS:
        return replace(
            sketch,
            undecoded=None,
            pending=(*sketch.pending, Term(f"load.{facts.kind}", sketch.area, number), *terms),
        )
    name = f"load.{facts.kind}" + (".progressive" if facts.progressive else ".lossless" if _is_vp8l(facts) else "")
    name += f".{facts.codec}" if facts.codec else ""
    terms.append(Term(name, area * facts.bands * (2 if facts.deep else 1), number))
    return replace(sketch, undecoded=None, pending=(*sketch.pending, *terms))


def _is_vp8l(facts: Facts) -> bool:
    return facts.kind == "webp" and facts.lossless


def _drawn(sketch: Sketch, width: int, height: int, number: int) -> Sketch:
    """A drawing rendered at the size that is wanted."""
    facts = sketch.undecoded
    assert facts is not None
    dpi = sketch.dpi[0] * (width * height / (sketch.width * sketch.height)) ** 0.5
    sized = replace(sketch, width=width, height=height, content=contents.of_source(facts, dpi))
    return decoded(sized, number)


def _shrunk(sketch: Sketch, width: int, height: int, number: int, coarse: bool) -> Sketch:
    """A scale that lets the decoder shrink: JPEG by 2, 4 or 8, with a reserve of 2 unless `coarse`, WebP to the size
    itself."""
    facts = sketch.undecoded
    assert facts is not None
    factor = min(sketch.width / width, sketch.height / height)
    area = facts.width * facts.height / MEGA
    step = 1
    if facts.kind == "jpeg":
        reach = factor * (2 if coarse else 1)
        step = 8 if reach >= 16 else 4 if reach >= 8 else 2 if reach >= 4 else 1
    elif facts.kind == "webp" and not facts.lossless:
        step = max(1, int(factor))
    held = facts.pixels / step**2 <= jpeg.PIXELS_MAX
    plain = facts.kind == "jpeg" and step > 1 and not facts.progressive and held
    decoder = "jpeg.plain" if plain else facts.kind  # the first is another decoder's (decision 0017)
    kind = f"{decoder}{'.progressive' if facts.progressive else '.lossless' if _is_vp8l(facts) else ''}"
    terms = [
        Term(f"load.{decoder}.bytes", facts.bytes / MEGA, number),
        Term(f"load.{facts.kind}.call", 1, number),
        Term(f"load.{kind}.by{min(step, 8)}" if step > 1 else f"load.{kind}", area * facts.bands, number),
        Term("thumbnail.in", area * (facts.bands + 1) / step**2, number),
        Term("thumbnail.out", width * height * facts.bands / MEGA, number),
    ]
    if facts.bands == 4:
        terms.append(Term("thumbnail.alpha", area / step**2, number))
    content = contents.scaled(sketch.content, factor)
    pending = (*sketch.pending, *terms)
    return replace(sketch, width=width, height=height, content=content, undecoded=None, pending=pending)


def resized(sketch: Sketch, width: int, height: int, alg: str) -> Sketch:
    if (sketch.width, sketch.height) == (width, height):
        return sketch
    across, down = width / sketch.width, height / sketch.height
    out = width * height * sketch.frames * sketch.bands / MEGA
    terms: list[tuple[str, float]] = []
    if across < 1 or down < 1:
        name = "Outline" if alg == "Outline" else "Best" if alg in ("Best", "OS") else "Fast"
        terms += [(f"resize.{name}.in", sketch.values), ("resize.out", out)]
    if across > 1 or down > 1:
        terms.append((f"resize.up.{alg}", out))
    if sketch.alpha:
        terms.append(("resize.alpha", sketch.area + out / sketch.bands))
    terms.append(("resize.call", float(sketch.frames)))
    content = contents.scaled(sketch.content, (across * down) ** -0.5)
    return sketch.then(*terms, width=width, height=height, content=content)


def on_canvas(sketch: Sketch, width: int, height: int, share: float | None = None) -> Sketch:
    """Cut or padded to a size; `share` of what was before is still to be seen."""
    shown = min(1.0, (width * height) / max(1, sketch.width * sketch.height)) if share is None else share
    return sketch.shared(shown).then(
        ("canvas", width * height * sketch.frames * sketch.bands / MEGA), width=width, height=height
    )


def each(sketch: Sketch, args: Args) -> float:
    """The share of the frames that a step is for."""
    spans = args.get("frames")
    return len(frame_numbers(spans, sketch.frames)) / sketch.frames if spans and sketch.frames > 1 else 1.0


# -- text and overlays ------------------------------------------------------------------------------------------------


def text_size(args: Args, dpi: float) -> tuple[int, int, int]:
    """(width, height, characters) of text, by the widths of an average face."""
    text = str(args["text"]).replace("\r\n", "\n").replace("\\n", "\n")
    pixels = args["size"] * (args["dpi"] or dpi or 72.0) / 72
    lines = text.split("\n")
    longest = max(len(line) for line in lines) * pixels * 0.49
    wrap = args.get("wrap")
    count = float(len(lines))
    if wrap and longest > wrap:
        count = sum(max(1, math.ceil(len(line) * pixels * 0.49 / wrap)) for line in lines)
        longest = wrap
    return max(1, int(longest)), max(1, int(count * pixels * 1.25 * float(args.get("line") or 1))), len(text)


def _text_terms(args: Args, dpi: float) -> tuple[list[tuple[str, float]], int, int]:
    width, height, count = text_size(args, dpi)
    factor = 2 ** (args.get("smoothfactor") or 0)
    area = width * height * factor**2 / MEGA
    terms = [("text.call", 1.0), ("text.chars", count / 1000), ("text.area", area)]
    if factor > 1 or args.get("angle"):
        terms.append(("text.changed", area))
    return terms, width, height


def over(sketch: Sketch, content: Content, area: float) -> Content:
    """The sketch's content with `area` (millions of pixels) of another's over it."""
    return sketch.content.mixed(content, area / sketch.area if sketch.area else 1.0)


_SIMPLE = frozenset({"Darken", "Lighten", "Multiply", "Screen", "Difference", "Exclusion", "Dissolve"})
_HEAVY = frozenset({"Hue", "Saturation", "Color", "Luminosity", "Colorize"})


def _ink(blend: str, mode: str) -> str:
    """The term of a blend mode: libvips' own, or arithmetic of three degrees."""
    if blend in ("Normal", "Prenormal", "Under") and mode in (RGB, RGBA):
        return "ink.plain"
    name = "ink.heavy" if blend in _HEAVY else "ink.formula" if blend in _SIMPLE else "ink.curved"
    return f"{name}.alpha" if mode in (RGBA, CMYKA) else name


_BY_COLOUR = frozenset(("ink.heavy", "ink.heavy.alpha", "ink.curved", "ink.curved.alpha",
                        "op.adjustHsb", "op.colorize", "op.equalize.saturation", "selection.kind"))  # fmt: skip
"""What is computed one way for some colours and another way for others: libvips leaves out what a whole region does not
need, so that pictures of few colours come off more cheaply."""


def _shares(name: str, amount: float, rich: float) -> list[tuple[str, float]]:
    if name not in _BY_COLOUR:
        return [(name, amount)]
    return [(name, amount * rich), (f"{name}.few", amount * (1 - rich))]


def inked(sketch: Sketch, args: Args, area: float) -> Sketch:
    """An overlay of `area` (millions of pixels) put on."""
    area = min(area, sketch.area) * each(sketch, args)
    name = _ink(args.get("blend", "Normal"), sketch.mode)
    terms = _shares(name, area * sketch.bands, sketch.content.tones)
    terms += [("ink.base", sketch.values), (f"{name}.call", float(sketch.frames))]
    if sketch.selection:
        terms.append(("selected", sketch.values))
    return sketch.then(*terms)


# -- steps ---------------------------------------------------------------------------------------------------------


def _scale(sketch: Sketch, args: Args, number: int) -> Sketch:
    if any(args[name] is not None for name in ("x1", "y1", "x2", "y2")):
        left, top = int(args["x1"] or 0), int(args["y1"] or 0)
        right = int(args["x2"] if args["x2"] is not None else sketch.width)
        bottom = int(args["y2"] if args["y2"] is not None else sketch.height)
        sketch = on_canvas(decoded(sketch, number), max(1, right - left), max(1, bottom - top))
    target = geometry.scaling(sketch.width, sketch.height, args["xs"], args["ys"], args["constrain"])
    facts = sketch.undecoded
    shrinks = facts is not None and facts.kind in ("jpeg", "webp", "png") and not facts.deep and not facts.inks
    smaller = target.width <= sketch.width and target.height <= sketch.height
    same = (target.width, target.height) == (sketch.width, sketch.height)
    if facts is not None and facts.kind in DRAWINGS and not args["preservebackground"] and args["frames"] is None:
        sketch = _drawn(sketch, target.width, target.height, number)
    elif shrinks and smaller and not same and args["alg"] in ("Fast", "Smooth") and args["frames"] is None:
        sketch = _shrunk(sketch, target.width, target.height, number, args["alg"] == "Fast")
    sketch = resized(decoded(sketch, number), target.width, target.height, args["alg"])
    if (target.width, target.height) != (target.canvas_width, target.canvas_height):
        sketch = on_canvas(sketch, target.canvas_width, target.canvas_height)
    return sketch


def _crop(sketch: Sketch, args: Args, number: int) -> Sketch:
    sketch = decoded(sketch, number)
    left, top, width, height = geometry.area(args, sketch.width, sketch.height)
    seen_x = max(0, min(left + width, sketch.width) - max(left, 0))
    seen_y = max(0, min(top + height, sketch.height) - max(top, 0))
    return on_canvas(sketch, width, height, seen_x * seen_y / (sketch.width * sketch.height))


def _zoom(sketch: Sketch, args: Args, number: int) -> Sketch:
    sketch = decoded(sketch, number)
    xs = args["xs"].of(sketch.width) if args["xs"] is not None else sketch.width
    ys = args["ys"].of(sketch.height) if args["ys"] is not None else sketch.height
    factor = args["scale"] / 100
    part = on_canvas(sketch, max(1, int(xs / factor)), max(1, int(ys / factor)))
    return on_canvas(resized(part, xs, ys, args["alg"]), xs, ys)


def _rotate(sketch: Sketch, args: Args, number: int) -> Sketch:
    quarters = geometry.quarter_turns(args["angle"])
    sized = args["xs"] is not None or args["ys"] is not None
    if quarters is not None and args["resize"] and not sized and args["frames"] is None:
        changed = sketch if quarters % 2 == 0 else replace(sketch, width=sketch.height, height=sketch.width)
        return changed.then(("turn.quarter" if quarters % 2 else "turn.flip", sketch.values if quarters else 0.0))
    sketch = decoded(sketch, number)
    width, height = sketch.width, sketch.height
    bounds = geometry.turned_bounds(width, height, args["angle"]) if args["resize"] else (width, height)
    if args["xs"] is not None:
        bounds = (args["xs"].of(bounds[0]), bounds[1])
    if args["ys"] is not None:
        bounds = (bounds[0], args["ys"].of(bounds[1]))
    out = bounds[0] * bounds[1] * sketch.frames * sketch.bands / MEGA
    name = "turn.free" if args["smooth"] else "turn.rough"
    alpha = ("turn.alpha", sketch.area if sketch.alpha else 0.0)
    turned = sketch.then((name, out), alpha, ("turn.call", float(sketch.frames)))
    return replace(turned, width=bounds[0], height=bounds[1])


def _flip(sketch: Sketch, args: Args, number: int) -> Sketch:
    return sketch.then(("turn.flip", sketch.values))


def _canvas(sketch: Sketch, args: Args, number: int) -> Sketch:
    mode = STORED_AS.get(args["rtype"], args["rtype"])
    if args["transparency"] is not None and mode == RGB:
        mode = RGBA
    made = Sketch(args["xs"], args["ys"], mode, dpi=(args["dpi"], args["dpi"]))
    return made.then(("canvas", made.values))


def _make_text(sketch: Sketch, args: Args, number: int) -> Sketch:
    terms, width, height = _text_terms(args, 72.0)
    content = contents.letters(height / max(1, str(args["text"]).count("\n") + 1))
    made = Sketch(width, height, RGBA, content=content, dpi=(args["dpi"] or 72.0,) * 2)
    return made.then(*terms, ("ink.plain", made.values if args["fillcolor"] is not None else 0.0))


def _draw_text(sketch: Sketch, args: Args, number: int) -> Sketch:
    sketch = decoded(sketch, number)
    terms, width, height = _text_terms(args, sketch.dpi[1])
    area = sketch.area if args["tile"] else width * height * sketch.frames / MEGA
    letter = contents.letters(height / max(1, str(args["text"]).count("\n") + 1))
    inked_text = inked(sketch.then(*terms), args, area)
    return replace(inked_text, content=over(sketch, letter, area))


def _shape(sketch: Sketch, args: Args, number: int) -> Sketch:
    sketch = decoded(sketch, number)
    reach = 2 * args["width"] + 1
    if "rx" in args:
        width, height = 2 * args["rx"], 2 * args["ry"]
    elif "points" in args:
        xs, ys = [x for x, _ in args["points"]], [y for _, y in args["points"]]
        width, height = max(xs) - min(xs), max(ys) - min(ys)
    elif "x1" in args:
        width, height = abs(args["x2"] - args["x1"]), abs(args["y2"] - args["y1"])
    else:
        width, height = abs(args["xs"]), abs(args["ys"])
    area = min((width + reach) * (height + reach), sketch.width * sketch.height) * sketch.frames / MEGA
    drawn = contents.graphic(min(0.1, 0.5 / max(1.0, min(width, height) + 1)))
    shaped = inked(sketch.then(("shape.call", 1.0), ("shape.area", area)), args, area)
    return replace(shaped, content=over(sketch, drawn, area if args.get("fill") else 0.0))


def _gradient(sketch: Sketch, args: Args, number: int) -> Sketch:
    if not sketch.width:
        sketch = Sketch(args["xs"] or 1, args["ys"] or 1)
    sketch = decoded(sketch, number)
    ramp = Content(0.01, 0.01, 1.0)
    content = ramp if args["opacity"] == 255 else sketch.content.mixed(ramp, 0.3)
    return sketch.then((f"gradient.{args['style']}", sketch.values), ("gradient.call", 1.0), content=content)


def _convert(sketch: Sketch, args: Args, number: int) -> Sketch:
    sketch = decoded(sketch, number)
    mode = STORED_AS.get(args["rtype"], args["rtype"])
    name = "convert.gray" if mode == GRAY else "convert"
    return sketch.then((name, sketch.values), mode=mode, palette=0)


def _correct(sketch: Sketch, args: Args, number: int) -> Sketch:
    sketch = decoded(sketch, number)
    wanted = str(args["destprofile"]).lower()
    inks = "cmyk" in wanted
    mode = (CMYKA if sketch.alpha else CMYK) if inks else (RGBA if sketch.alpha else RGB)
    return sketch.then(
        ("icc.cmyk" if inks or sketch.mode in (CMYK, CMYKA) else "icc", sketch.values), ("icc.call", 1.0), mode=mode
    )


def _reduce(sketch: Sketch, args: Args, number: int) -> Sketch:
    sketch = decoded(sketch, number)
    terms = [("reduce", sketch.values), ("reduce.colors", args["colors"] / 256), ("reduce.call", 1.0)]
    if args["dither"]:
        terms.append(("reduce.dither", sketch.values))
    made = eager(sketch).then(*terms)
    return replace(made, palette=args["colors"], content=contents.in_palette(made.content))


def eager(sketch: Sketch) -> Sketch:
    """Looked at now, and again when it is used: what is pending is paid twice."""
    repeated = tuple(term for term in sketch.pending if not term.once)
    return replace(sketch, pending=(*sketch.pending, *repeated))


def _import(sketch: Sketch, args: Args, number: int) -> Sketch:
    sketch = decoded(sketch, number)
    if str(args.get("channel", "")).lower() == "alpha" and not sketch.alpha:
        sketch = replace(sketch, mode=RGBA)
    return sketch.then(("importChannel", sketch.values))


def _behind(sketch: Sketch, args: Args, number: int) -> Sketch:
    sketch = decoded(sketch, number)
    spread = float(args.get("size") or 0)
    reach = math.ceil(args["blur"] * 3 + spread)
    if args["enlarge"]:
        grown = 2 * reach
        sketch = replace(
            sketch,
            width=sketch.width + max(grown, reach + int(abs(args.get("dx", 0)))),
            height=sketch.height + max(grown, reach + int(abs(args.get("dy", 0)))),
        )
    sketch = replace(sketch, mode=CMYKA if sketch.mode in (CMYK, CMYKA) else RGBA)
    taps = sketch.area * (12 * args["blur"] + 2)
    rank = ("rank.tap", sketch.area * 2 * (2 * spread + 1) if spread >= 1 else 0.0)
    return sketch.then(
        ("conv.int", taps if args["blur"] >= 0.1 else 0), rank, ("ink.plain", 2 * sketch.values), ("behind.call", 1.0)
    )


def taps_of(method: str, args: Args) -> float | None:
    """Kernel taps a channel value of the filters that convolve; None for other methods."""
    radius = float(args.get("radius") or 0)
    match method:
        case "blur":
            return 2.0 * (2 * int(radius + 0.5) + 1) if radius >= 0.5 else 0.0
        case "blurGaussianBlur" | "otherHighPass" | "sharpenUnsharpMask":
            return 2.0 * (2 * math.ceil(3.04 * radius) + 1) if radius >= 0.1 else 0.0
        case "blurBlur" | "sharpenSharpenMore":
            return 9.0
        case "sharpenSharpen":
            return 5.0
        case "blurMoreBlur":
            return 27.0
        case "blurMotionBlur":
            return float(args["distance"])
        case "stylizeFindEdges":
            return 12.0
        case "convolve":
            return float(sum(1 for value in args["matrix"] if value))
    return None


def _filter(method: str) -> Callable[[Sketch, Args, int], Sketch]:
    def change(sketch: Sketch, args: Args, number: int) -> Sketch:
        sketch = decoded(sketch, number)
        values = sketch.values * each(sketch, args)
        taps = taps_of(method, args)
        kind = ".saturation" if method == "equalize" and args.get("saturation") is not None else ""
        terms = [
            *_shares(f"op.{method}{kind}", values, sketch.content.tones),
            (f"op.{method}{kind}.call", sketch.frames * each(sketch, args)),
        ]
        if taps:
            terms.append(("conv.tap", values * taps))
        if method in ("otherMaximum", "otherMinimum"):
            terms.append(("rank.tap", values * 2 * (2 * args["radius"] + 1)))
        if sketch.alpha and (method.startswith(("blur", "pixellate"))):
            terms.append(("filter.alpha", sketch.area))
        if sketch.selection:
            terms.append(("selected", values))
        return sketch.then(*terms, content=contents.after(method, args, sketch.content))

    return change


def _keep(sketch: Sketch, args: Args, number: int) -> Sketch:
    return sketch


def _selection(sketch: Sketch, args: Args, number: int) -> Sketch:
    sketch = decoded(sketch, number)
    if args["remove"]:
        return replace(sketch, selection=False)
    radius = args["radius"] or 0
    name = "selection.kind" if args["colortype"] is not None else "selection"
    terms = [*_shares(name, sketch.area, sketch.content.tones), ("selection.call", 1.0)]
    return sketch.then(*terms, ("conv.int", sketch.area * radius * 6), selection=True)


# -- layers --------------------------------------------------------------------------------------------------------

_DRAWS = frozenset("drawText rectangle ellipse arc polygon line setPixel gradient composite".split())  # noqa: SIM905
"""Without `layers` they are for the topmost one; other steps for all."""


def layers_of(sketch: Sketch) -> tuple[LayerSketch, ...]:
    """The layers; a picture without any is its own background layer."""
    if sketch.layers or not sketch.width:
        return sketch.layers
    return (LayerSketch("Background", sketch.width, sketch.height, content=sketch.content),)


def flattened(sketch: Sketch, *, only_visible: bool = True) -> Sketch:
    """The sketch whose layers have been put on each other, as it is seen."""
    if not sketch.layers:
        return sketch
    terms: list[tuple[str, float]] = []
    content = sketch.content
    for layer in sketch.layers:
        if layer.visible or not only_visible:
            area = min(layer.width * layer.height, sketch.width * sketch.height) / MEGA
            name = _ink(layer.blend, RGBA)
            terms += _shares(name, area * 4, content.tones)
            terms += [("ink.base", sketch.values), (f"{name}.call", 1.0)]
            content = content.mixed(layer.content, area / sketch.area)
    return sketch.then(*terms, layers=(), content=content)


def _chosen(sketch: Sketch, args: Args, draws: bool) -> list[int]:
    layers = layers_of(sketch)
    if args.get("layers") is not None:
        return list(dict.fromkeys(named(layers, args["layers"])))
    if draws:
        return [max((n for n, layer in enumerate(layers) if layer.visible), default=len(layers) - 1)]
    return list(range(len(layers)))


def each_layer(method: str, sketch: Sketch, args: Args, number: int) -> Sketch:
    """A step for layers instead of frames: the listed ones, each laid on the canvas first."""
    chosen = _chosen(sketch, args, method in _DRAWS)
    if not chosen:
        return sketch
    once = replace(sketch, frames=len(chosen), mode=RGBA, layers=(), pending=())
    done = STEPS.get(method, _filter(method))(once, {**args, "frames": None}, number)
    terms = [*done.pending, Term("canvas", once.values)]
    whole = len(chosen) == len(sketch.layers)
    width, height = (done.width, done.height) if whole else (sketch.width, sketch.height)
    layers = tuple(
        replace(layer, width=done.width, height=done.height, content=done.content) if n in chosen else layer
        for n, layer in enumerate(sketch.layers)
    )
    return replace(sketch, width=width, height=height, layers=layers, pending=(*sketch.pending, *terms))


def with_layer(sketch: Sketch, media: Sketch, args: Args) -> Sketch:
    """`setLayer`; both decoded."""
    made = LayerSketch(f"Layer {args['index']}", media.width, media.height, content=media.content)
    if not sketch.width:
        return replace(media, mode=RGBA, layers=(made,))
    layers, index = list(layers_of(sketch)), int(args["index"])
    layers[index : index + 1] = (
        [replace(layers[index], width=media.width, height=media.height)] if index < len(layers) else [made]
    )
    return replace(sketch.with_terms(media.pending), mode=RGBA, layers=tuple(layers))


def _change_layer(**names: str) -> Callable[[Sketch, Args, int], Sketch]:
    def change(sketch: Sketch, args: Args, number: int) -> Sketch:
        sketch = decoded(sketch, number)
        layers = list(layers_of(sketch))
        if args["index"] < len(layers):
            layers[args["index"]] = replace(
                layers[args["index"]], **{field: args[name] for field, name in names.items()}
            )
        return replace(sketch, mode=RGBA, layers=tuple(layers))

    return change


def _collapse(sketch: Sketch, args: Args, number: int) -> Sketch:
    sketch = decoded(sketch, number)
    layers = tuple(layers_of(sketch)[n] for n in _chosen(sketch, args, False))
    return flattened(replace(sketch, layers=layers, mode=RGBA), only_visible=args["visibleonly"])


STEPS: dict[str, Callable[[Sketch, Args, int], Sketch]] = {
    "scale": _scale,
    "crop": _crop,
    "pad": _crop,
    "zoom": _zoom,
    "rotate": _rotate,
    "flip": _flip,
    "mirror": _flip,
    "makeCanvas": _canvas,
    "makeText": _make_text,
    "drawText": _draw_text,
    "rectangle": _shape,
    "ellipse": _shape,
    "arc": _shape,
    "polygon": _shape,
    "line": _shape,
    "gradient": _gradient,
    "convert": _convert,
    "colorCorrect": _correct,
    "reduce": _reduce,
    "importChannel": _import,
    "dropShadow": _behind,
    "glow": _behind,
    "selection": _selection,
    "collapse": _collapse,
    "setResolution": _keep,
    "setColor": _keep,
    "setSourceProfile": _keep,
    "setMetadata": _keep,
    "setFrameDelay": _keep,
    "setLayerOpacity": _keep,
    "setLayerPosition": _keep,
    "setLayerBlend": _change_layer(blend="blend"),
    "setLayerVisible": _change_layer(visible="visible"),
    "setLayerName": _change_layer(name="name"),
}
_OF_LAYERS = frozenset(name for name in STEPS if name.startswith("setLayer")) | {"collapse"}
_OF_PICTURES = frozenset(("setResolution", "setColor", "setSourceProfile", "setMetadata", "setFrameDelay"))


def step(method: str, sketch: Sketch, args: Args, number: int) -> Sketch:
    """The sketch after a transform. Bounds are the real ones' business; here sizes are only kept sane."""
    if sketch.layers and method not in _OF_LAYERS and method not in _OF_PICTURES:
        done = each_layer(method, sketch, args, number)
    else:
        done = STEPS.get(method, _filter(method))(sketch, args, number)
    if done.width * done.height * done.frames > 4 * limits.PIXELS_MAX:
        raise Problem(422, "picture_too_large", f"a picture may have at most {limits.PIXELS_MAX} pixels")
    return done


# -- saving --------------------------------------------------------------------------------------------------------


def saved(sketch: Sketch, args: Args, number: int) -> tuple[str, list[Term]]:
    """(format, terms of settling and encoding)."""
    sketch = flattened(decoded(sketch, number))
    if args["frames"] is not None:
        chosen = max(1, len(frame_numbers(args["frames"], sketch.frames)))
        sketch = replace(sketch.shared(chosen / sketch.frames), frames=chosen)
    moves = sketch.moves or args["delay"] is not None
    kind = args["type"] or (type_of_name(args["name"]) if args["name"] else None)
    kind = kind or ("gif" if moves else "png" if sketch.alpha else "jpeg")
    all_frames = kind in ("gif", "webp", "tiff", "pdf") or (kind == "png" and moves)
    if sketch.frames > 1 and not all_frames:
        sketch = replace(sketch.shared(1 / sketch.frames), frames=1)
    terms = [*sketch.pending, Term(f"save.{kind}.call", 1)]
    terms += [Term(name, amount) for name, amount in encoder_costs.encoding(kind, sketch, args, moves) if amount > 0]
    if sketch.frames > 1:
        terms.append(Term(f"save.{kind}.frames", float(sketch.frames)))
    return kind, terms

"""The estimator (G-8, N-22): what a request will cost in CPU time, from its script and the heads of its sources.

How the model is built:

1. *Sources.* Of each the first 64 KiB are read: size, channels, frames, quality, palette, layers (`headers`), and out
   of the bytes a pixel takes there, what it holds (`contents`: how rough, how busy, in how many colours).
2. *Steps.* The script runs as it would, in the same confined worker and the same engine, but its media are sketches:
   headers that change as the real ones would (`dry_run`). Every step adds terms, an amount of something that costs
   time; libvips' laziness is followed, so that what nobody looks at costs nothing.
3. *Encoders.* Their time depends most on content; their terms are curves over the three numbers (`encoder_costs`).
4. *Prices.* A term's amount times its coefficient, added up, is the cost in reference time. `calibrate` measures some
   nine hundred scripts and `fit` makes the coefficients of it: none below zero, least in relative error.
5. *This machine.* Reference time times the machine's factor, the time of a fixed piece of work here over that of the
   calibration (`machine_speed`), is CPU time here: what the miner will meter.

How sure that is comes along: every part of an estimate, such as an encoder at an effort, has the spread that its trials
had, and an estimate is as uncertain as the parts that make up its cost (`Model.within`).

What a sketch cannot know (a pixel's colour, metadata, what a text file says) reads as nothing; a script that fails over
it is estimated up to there, and the basis says "partial".
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources
from typing import Any

from cgn_sdk.dservice.problems import Problem

from dservices.mediagen import limits
from dservices.mediagen.channel import Data
from dservices.mediagen.estimator import dry_run, fit, machine_speed
from dservices.mediagen.estimator.dry_run import Sketch, Term
from dservices.mediagen.estimator.headers import Facts, facts_of
from dservices.mediagen.language.catalogue import MEDIA, check
from dservices.mediagen.language.values import Size
from dservices.mediagen.picture.picture import GRAY, RGBA, Picture
from dservices.mediagen.worker.host import Host

COEFFICIENTS = "coefficients.json"
PARTIAL = frozenset({"no_profile", "script_failed", "no_response", "empty_media", "FileMangled"})
"""What a script may end with because a sketch knows less than a picture. Anything else the request would meet, too."""
NINE_OF_TEN = 2.1
"""Standard deviations within which nine of ten lie: 1.65, and more because trials that were fitted are nearer than
requests that were not (four fifths of those of the development were within 1.65)."""
MACHINE = 0.05
"""A machine's speed strays so far from its median while the request is done."""
GUESSED = 0.4
"""What a size that had to be guessed from the number of bytes adds."""
_BODY_NAME = "mem:/upload/body"


@dataclass(frozen=True, slots=True)
class Model:
    """What a unit of each term costs, nanoseconds of CPU; `yardstick_ns` is the fixed work's on that machine."""

    coefficients: Mapping[str, float]
    yardstick_ns: int
    version: str
    trials: int = 0
    spread: Mapping[str, float] = field(default_factory=dict)
    """How far off the parts of an estimate are (`group_of`), one standard deviation."""

    def cpu_ns(self, terms: Mapping[str, float], factor: float = 1.0) -> int:
        return round(factor * sum(self.of(name) * amount for name, amount in sorted(terms.items())))

    def within(self, terms: Mapping[str, float], guessed: bool = False) -> float:
        """How far nine of ten such estimates are off at most, relatively; `guessed`: a source did not tell its size.

        The parts err on their own; what no trial has measured may be off by all of it."""
        priced = {name: self.of(name) for name in terms}
        parts = fit.shares(terms, priced, group_of)
        unknown = {name: value for name, value in priced.items() if name not in self.coefficients}
        new = sum(value * terms[name] for name, value in unknown.items()) / max(1.0, self.cpu_ns(terms))
        variance = sum((share * self.spread.get(name, 0.5)) ** 2 for name, share in parts.items())
        variance += MACHINE**2 + new**2 + (GUESSED**2 if guessed else 0.0)
        return min(1.0, NINE_OF_TEN * variance**0.5)

    def of(self, name: str) -> float:
        """A term nobody has measured costs what its nearest relatives do on average."""
        known = self.coefficients.get(name)
        if known is not None:
            return known
        stem, _, last = name.rpartition(".")
        if (where := _point(last)) is not None:
            points = {at: key for key in self.coefficients if (at := _point(key[len(stem) + 1 :])) is not None
                      and key.startswith(stem + ".")}  # fmt: skip
            if points:
                return self.coefficients[points[min(points, key=lambda at: (abs(at - where), at))]]
        kinds = (".call",) if last == "call" else (".call", ".bytes", ".bits")
        while stem:
            near = [
                value
                for key, value in self.coefficients.items()
                if key.startswith(stem + ".") and key.endswith(kinds) == (last == "call")
            ]
            if near:
                return sum(near) / len(near)
            stem = stem.rpartition(".")[0]
        return 0.0


def group_of(name: str) -> str:
    """The part of an estimate that a term belongs to: an encoder with its setting, a decoder, a method, the rest."""
    stem, *rest = name.split(".")
    if stem == "save" and rest[:1] and rest[-1] != "call":
        deep = 2 if rest[0] in ("png", "avif", "tiff") else 3 if rest[:2] == ["webp", "lossless"] else 1
        return ".".join(("save", *rest[:deep]))
    if stem in ("load", "op", "ink", "resize") and rest[:1] and rest[-1] != "call":
        return f"{stem}.{rest[0]}"
    return stem if stem in ("text", "reduce", "gradient", "turn", "icc", "conv", "rank") else "base"


def _point(text: str) -> int | None:
    """The number of a point of a curve (`encoder_costs.points`), such as 15 of "p15"."""
    return int(text[1:]) if text[:1] == "p" and text[1:].isdigit() else None


def read(text: str) -> Model:
    """A file of coefficients."""
    data = json.loads(text)
    return Model(data["nanoseconds"], data["yardstick_ns"], data["version"], data["trials"], data.get("spread", {}))


@cache
def model() -> Model:
    """The committed calibration."""
    return read(resources.files("dservices.mediagen.estimator").joinpath(COEFFICIENTS).read_text("utf-8"))


class SketchHost(Host):
    """A host whose media are sketches. `terms` is what the request will cost, by name."""

    def __init__(self, *arguments: Any, body_bytes: int = 0, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.terms: dict[str, float] = {"request": 1.0}
        self.sketches: dict[int, Sketch] = {}
        self._facts: dict[str, Facts] = {}
        self._paid: set[tuple[str, int]] = set()
        self._numbers: dict[int, int] = {}
        self._loads = 0
        self.guessed = False
        """Whether a source did not tell its size."""
        self._form_bytes = 0
        if self.headers.get("content-type", "").lower().startswith("multipart/form-data"):
            self._form_bytes = body_bytes
        if body_bytes:
            self.uploads = ("body",)
            self._facts[_BODY_NAME] = facts_of(b"", body_bytes)

    def add(self, name: str, amount: float) -> None:
        self.terms[name] = self.terms.get(name, 0.0) + amount

    def settle(self, terms: Sequence[Term]) -> None:
        """Pays terms now; one with a number only the first time."""
        for term in terms:
            if term.once:
                if (term.name, term.once) in self._paid:
                    continue
                self._paid.add((term.name, term.once))
            self.add(term.name, term.amount)

    # -- media ----------------------------------------------------------------------------------------------------

    def _new_media(self, handle: Any) -> None:
        super()._new_media(handle)
        self.sketches[handle] = Sketch()

    def sketched(self, sketch: Sketch, number: int) -> dict[str, Any]:
        """A new Media for the script."""
        made = self.made(Picture())
        self.sketches[made["v"]], self._numbers[made["v"]] = sketch, number
        return made

    def _media(self, method: str, handle: int, args: dict[str, Any]) -> Any:
        self.add("call", 1.0)
        sketch, number = self.sketches[handle], self._numbers.get(handle, 0)
        if method in ("load", "loadAsRGB"):
            self._loads += 1
            self._numbers[handle] = self._loads
            self.sketches[handle] = dry_run.loaded(self.facts(args["name"]), args, self._loads)
            return None
        if method == "save":
            return self._save_sketch(sketch, number, args)
        query = getattr(self, f"_query_{method}", None)
        if query is not None:
            return query(sketch, number, args)
        joined = _PARTNERS.get(method)
        if joined is not None:
            self.sketches[handle] = self._joined(method, sketch, number, args, joined)
        else:
            self.sketches[handle] = dry_run.step(method, sketch, args, number)
        return None

    def _joined(self, method: str, sketch: Sketch, number: int, args: dict[str, Any], name: str) -> Sketch:
        """Steps that take a second picture."""
        partner = None
        if args.get(name) is not None:
            reference = int(args[name])
            if reference not in self.sketches:
                raise Problem(422, "script_call", "the Media object is unknown")
            partner = dry_run.decoded(self.sketches[reference], self._numbers.get(reference, 0))
        elif args.get("name") is not None:
            self._loads += 1
            load = check(MEDIA["load"], {"named": [["name", args["name"]]]})
            partner = dry_run.decoded(dry_run.loaded(self.facts(args["name"]), load, self._loads), self._loads)
        if method == "setFrame":
            assert partner is not None
            if not sketch.width:
                return replace(partner, frames=1, moves=False)
            count = max(sketch.frames, int(args["index"]))
            return (
                replace(
                    dry_run.decoded(sketch, number),
                    frames=count,
                    moves=True,
                    content=sketch.content.mixed(partner.content, 1 / count),
                )
                .then(("canvas", partner.values))
                .with_terms(partner.pending)
            )
        if partner is not None:
            partner = dry_run.flattened(partner)
        if method == "setLayer":
            assert partner is not None
            sketch = dry_run.decoded(sketch, number) if sketch.width else sketch
            return dry_run.with_layer(sketch, partner, args)
        if method == "composite" and not sketch.layers:
            sketch = dry_run.decoded(sketch, number)
            if args.get("onto") and partner is not None:
                sketch, partner = partner, sketch
            area, base = sketch.area, sketch
            if partner is not None:
                whole = bool(args.get("tile"))
                area = sketch.area if whole else min(partner.area / max(1, partner.frames) * sketch.frames, sketch.area)
                sketch = sketch.with_terms(partner.pending)
            put = dry_run.inked(sketch, args, area)
            return put if partner is None else replace(put, content=dry_run.over(base, partner.content, area))
        if partner is not None:
            sketch = sketch.with_terms(partner.pending)
        return dry_run.step(method, sketch, args, number)

    def _save(self, picture: Picture, args: dict[str, Any]) -> None:
        """Of `resp.setObject`, which has the picture that stands for a sketch here."""
        handle = next(handle for handle, known in self.pictures.items() if known is picture)
        self._save_sketch(self.sketches[handle], self._numbers.get(handle, 0), args)

    def _save_sketch(self, sketch: Sketch, number: int, args: dict[str, Any]) -> None:
        kind, terms = dry_run.saved(sketch, args, number)
        self.settle(terms)
        name = args["name"]
        if name is None:
            self.answer.body, self.answer.content_type = b"", kind
            return
        if not name.lower().startswith(("http:", "https:")):
            packed = sketch.content.rough if kind in ("png", "gif", "tiff") else sketch.content.busy
            bytes_guess = max(200, round(sketch.values * 1e6 * (1.0 if kind in ("bmp", "tga") else packed)))
            facts = Facts(kind, bytes_guess, sketch.width, sketch.height, sketch.bands, sketch.frames)
            self._facts["mem:/" + name.partition(":")[2].lstrip("/") if ":" in name else "mem:/" + name] = facts

    def facts(self, name: str) -> Facts:
        """Of a source by its name; fetches no more than its head."""
        address = self.address(name)
        known = self._facts.get(address)
        if known is None:
            if address.startswith("mem:/"):
                raise Problem(404, "source_missing", f"there is no {address}", parameter="name")
            self.sources += 1
            if self.sources > limits.SOURCES_MAX:
                raise Problem(422, "script_limit", f"a script may load at most {limits.SOURCES_MAX} addresses")
            answer = self._fetch(address, "head")
            total = int.from_bytes(answer[:8], "big")
            known = self._facts[address] = facts_of(answer[8:], total)
        self.guessed |= not known.known
        self.add("source", 1.0)
        self.add("source.bytes", known.bytes / 1e6)
        return known

    def view(self, name: str) -> Data:
        self.facts(name)
        return b""

    def _req(self, method: str, args: Mapping[str, Any]) -> Any:
        """Of a form only the length is known before it comes: any file of it, by whatever name, may have that."""
        if method == "getFileParamPath" and self._form_bytes:
            path = f"mem:/upload/{args['name']}"
            self._facts.setdefault(path, facts_of(b"", self._form_bytes))
            return path
        return super()._req(method, args)

    # -- queries --------------------------------------------------------------------------------------------------

    def _query_clone(self, sketch: Sketch, number: int, args: Any) -> Any:
        return self.sketched(sketch, number)

    def _query_getWidth(self, sketch: Sketch, number: int, args: Any) -> int:
        return sketch.width

    def _query_getHeight(self, sketch: Sketch, number: int, args: Any) -> int:
        return sketch.height

    def _query_getPixelFormat(self, sketch: Sketch, number: int, args: Any) -> str:
        return sketch.mode

    def _query_getFrameCount(self, sketch: Sketch, number: int, args: Any) -> int:
        return sketch.frames

    def _query_getFileType(self, sketch: Sketch, number: int, args: Any) -> str | None:
        return sketch.file_type

    def _query_getResolution(self, sketch: Sketch, number: int, args: Any) -> float:
        return sketch.dpi[0]

    def _query_getPixel(self, sketch: Sketch, number: int, args: Any) -> int:
        self.settle(tuple(term for term in dry_run.decoded(sketch, number).pending if term.once))
        return 0

    def _query_getPopularColor(self, sketch: Sketch, number: int, args: Any) -> int:
        sketch = dry_run.decoded(sketch, number)
        self.settle(sketch.then(("histogram", sketch.values)).pending)
        return 0

    def _looked_at(self, sketch: Sketch, number: int) -> None:
        """Of what describes a picture: a small copy of it."""
        side = max(sketch.width, sketch.height, 1)
        small = {"xs": Size(max(1, sketch.width * 128 // side)), "ys": Size(max(1, sketch.height * 128 // side))}
        plain = check(MEDIA["scale"], {"named": []})
        self.settle(dry_run.step("scale", sketch, {**plain, **small}, number).pending)

    def _query_getPalette(self, sketch: Sketch, number: int, args: Any) -> list[Any]:
        self._looked_at(sketch, number)
        return []

    def _query_getThumbHash(self, sketch: Sketch, number: int, args: Any) -> str:
        self._looked_at(sketch, number)
        return ""

    def _query_getPerceptualHash(self, sketch: Sketch, number: int, args: Any) -> str:
        self._looked_at(sketch, number)
        return "0" * 16

    def _query_getInfo(self, sketch: Sketch, number: int, args: Any) -> dict[str, Any]:
        self._looked_at(sketch, number)
        return {
            "width": sketch.width,
            "height": sketch.height,
            "format": sketch.file_type,
            "palette": [],
            "metadata": {},
        }

    def _query_sizeText(self, sketch: Sketch, number: int, args: Any) -> dict[str, int]:
        width, height, count = dry_run.text_size(args, sketch.dpi[1])
        self.settle((Term("text.call", 1.0), Term("text.chars", count / 1000), Term("text.area", width * height / 1e6)))
        return {"width": width, "height": height}

    def _query_measureText(self, sketch: Sketch, number: int, args: Any) -> list[int]:
        width, height, _ = dry_run.text_size(args, sketch.dpi[1])
        count = min(1000, len(args["text"].split("\n")[0]))
        self.settle((Term("text.call", count), Term("text.area", count * width * height / 2e6)))
        return [round(width * n / max(1, count)) for n in range(count)]

    def _query_embeddedProfile(self, sketch: Sketch, number: int, args: Any) -> bool:
        return False

    def _query_getEmbeddedProfileName(self, sketch: Sketch, number: int, args: Any) -> None:
        return None

    def _query_getMetadata(self, sketch: Sketch, number: int, args: Any) -> None:
        return None

    def _query_exportChannel(self, sketch: Sketch, number: int, args: Any) -> Any:
        sketch = dry_run.decoded(sketch, number)
        return self.sketched(replace(sketch.then(("exportChannel", sketch.values)), mode=GRAY), number)

    def _query_getLayerCount(self, sketch: Sketch, number: int, args: Any) -> int:
        return len(dry_run.layers_of(sketch))

    def _query_getLayer(self, sketch: Sketch, number: int, args: Any) -> Any:
        sketch = dry_run.decoded(sketch, number)
        layer = self._layer(sketch, args)
        part = replace(sketch, width=layer.width, height=layer.height, content=layer.content, layers=(), mode=RGBA)
        return self.sketched(part, number)

    def _query_getLayerName(self, sketch: Sketch, number: int, args: Any) -> str:
        return self._layer(sketch, args).name

    def _layer(self, sketch: Sketch, args: Any) -> dry_run.LayerSketch:
        layers = dry_run.layers_of(sketch)
        if args["index"] >= len(layers):
            raise Problem(422, "bad_parameter", f"there is no layer {args['index']}", parameter="index")
        return layers[args["index"]]

    def _query_getFrame(self, sketch: Sketch, number: int, args: Any) -> Any:
        sketch = dry_run.decoded(sketch, number)
        return self.sketched(replace(sketch.shared(1 / sketch.frames), frames=1, moves=False), number)

    def _query_getFrameDelay(self, sketch: Sketch, number: int, args: Any) -> int:
        return 100


_PARTNERS = {
    "composite": "source",
    "selection": "source",
    "importChannel": "source",
    "setLayer": "media",
    "setFrame": "media",
}


def answer_of(host: SketchHost, script_bytes: int, partial: str | None) -> bytes:
    """What the worker sends back: terms, and nanoseconds on the machine of the calibration."""
    host.add("script.bytes", script_bytes / 1e6)
    within = model().within(host.terms, host.guessed)
    basis = f"model {model().version}, " + (f"partial: {partial}" if partial else f"nine in ten within {within:.0%}")
    if host.guessed:
        basis += "; the size of a source is a guess"
    answer = {
        "within_ppm": None if partial else round(within * 1e6),
        "cpu_ns": model().cpu_ns(host.terms),
        "basis": basis,
        "terms": dict(sorted(host.terms.items())),
        "factor": speed().factor(model().yardstick_ns),
    }
    return json.dumps(answer).encode()


@cache
def speed() -> machine_speed.Speed:
    """This worker's measure of its machine."""
    return machine_speed.Speed()

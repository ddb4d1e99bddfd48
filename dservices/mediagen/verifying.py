"""The verifier (G-8, T-7): is this result what the request would have given? In a worker, in the sandbox of the work.

The script runs over lazy pictures and is remembered call by call. What it saves last is known before a pixel is
computed: size, frames, format, options. Then, as far as the share of the work's cost allows that verifying may have:

* `structure`: the file is whole, has the size, and everything in it but coded pixels is what the encoder writes for
  these options (`structure`, against a tiny picture saved by it).
* `head`: the uppermost rows computed exactly and encoded; their bytes have to be in the result. A decoder that reads
  from the top stops there, so this costs a few per cent. How many rows, the asker's seed decides.
* `whole`: everything, by means of blocks. JPEG sources are decoded at an eighth (kept by their digest for the next
  result made of them), which is enough where all steps are smooth; other sources and steps are computed exactly. Where
  they are exact, a lossless result has to be equal, and of a lossy one a part chosen by the seed is encoded again.

Only `whole` covers the result, so only it leads to `agree`; what was too dear is said. Everything that goes wrong here
is `cannot_tell`: an honest miner is never accused because a verifier failed.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pyvips
from cgn_sdk.dservice.problems import Problem
from cgn_sdk.dservice.verdicts import Verdict

from dservices.mediagen import documents, judging, loading, saving, structure
from dservices.mediagen.channel import Data
from dservices.mediagen.estimating import SketchHost, model
from dservices.mediagen.facts import HEAD_BYTES
from dservices.mediagen.host import Host
from dservices.mediagen.judging import Finding
from dservices.mediagen.picture import GRAY, RGB, Image, Picture, as_rgb, filled, has_alpha, interpretation_of
from dservices.mediagen.picture import normalised as plain

PROXIES_MAX_BYTES = 48 << 20
"""Sources at an eighth, kept in a worker: about 80 of 12 megapixels."""
SHRINK = 8
SMALL = 300_000
"""Pixels of a source that is decoded as it is: a mark or a logo costs nothing beside a photograph."""
HEAD_SHARE = 30
"""At most 1/n of the rows are computed for `head`."""
_PROXIES: OrderedDict[bytes, Image] = OrderedDict()

SMOOTH = frozenset(
    """
    load loadAsRGB save clone makeCanvas makeText drawText scale crop pad zoom rotate flip mirror quadWarp
    rectangle ellipse arc polygon line setPixel composite convert adjustRgb blur blurBlur blurMoreBlur
    blurGaussianBlur blurMotionBlur sharpenSharpen sharpenUnsharpMask gradient dropShadow glow setResolution
    setMetadata setSourceProfile exportChannel importChannel setLayer setLayerOpacity setLayerVisible
    setLayerPosition setLayerName setLayerBlend collapse getLayer setFrame setFrameDelay getFrame getWidth
    getHeight getPixelFormat getFrameCount getFileType getResolution measureText sizeText embeddedProfile
    getEmbeddedProfileName getLayerCount getLayerName getFrameDelay getMetadata
    """.split()  # noqa: SIM905 - a list of words
)
"""Methods whose result from a source at an eighth is, block by block, nearly that from the whole source."""
LOOKING = frozenset({"getPixel", "getPopularColor"})
"""The script goes on by what the pixels are."""
EAGER = frozenset({"reduce", "equalize", "setColor"})
"""Computed at once from all pixels."""
FROM_THE_TOP = frozenset(
    """
    load loadAsRGB save makeCanvas makeText drawText scale crop pad rectangle ellipse arc polygon line
    setPixel composite convert colorCorrect adjustRgb adjustHsb colorize blur blurBlur blurMoreBlur
    blurGaussianBlur sharpenSharpen sharpenSharpenMore sharpenUnsharpMask stylizeFindEdges stylizeEmboss
    convolve otherMaximum otherMinimum otherHighPass pixellateMosaic gradient setResolution setMetadata
    setSourceProfile getWidth getHeight getPixelFormat getFrameCount getFileType getResolution measureText
    sizeText embeddedProfile getEmbeddedProfileName getMetadata
    """.split()  # noqa: SIM905 - a list of words
)
"""Methods whose upper rows need only the upper rows of what they are made from."""


def forget_proxies() -> None:
    """Nothing is known of any source any more."""
    _PROXIES.clear()


class _Unclear(Exception):
    """The verifier cannot say, and why."""


class _Capture(Host):
    """A host that keeps what would be the answer instead of encoding it, and puts nothing anywhere."""

    def __init__(self, *arguments: Any, data: dict[str, Data], **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.data = data
        self.saved: tuple[Picture, dict[str, Any]] | None = None

    def view(self, name: str) -> Data:
        address = self.address(name)
        if address.startswith("mem:/") or address not in self.data:
            data = super().view(name)
            if not address.startswith("mem:/"):
                self.data[address] = data
            return data
        return self.data[address]

    def _save(self, picture: Picture, args: dict[str, Any]) -> None:
        if args["name"] is not None:
            super()._save(picture, args)
            return
        self.saved = (picture, args)
        self.answer.body, self.answer.content_type = b"", None

    def write(self, name: str, data: bytes, content_type: str) -> None:
        if not name.lower().startswith(("http:", "https:")):
            super().write(name, data, content_type)

    def load(self, args: Mapping[str, Any], *, rgb: bool = False) -> Picture:
        data = self.view(args["name"])
        picture = self.adapted(loading.load(data, "a source", args), data)
        if rgb:
            from dservices.mediagen import colouring

            picture = colouring.to_rgb(self, picture)
        return picture

    def adapted(self, picture: Picture, data: Data) -> Picture:
        return picture


class _Upper(_Capture):
    """Sources read from the top and no further than is asked for."""

    def adapted(self, picture: Picture, data: Data) -> Picture:
        undecoded = picture.undecoded
        if undecoded is None:
            return picture
        if not undecoded.turn.is_nothing:
            raise _Unclear("the source is turned")

        header, kind = loading._opened(data), picture.file_type or ""

        def opened(once: bool) -> Image:
            return plain(loading._opened(data, access="sequential", fail_on="error"))

        def shrunk(width: int, height: int, coarse: bool) -> Image:
            return loading.shrunk_lines(data, header, kind, width, height, coarse)

        changed = replace(undecoded, open=opened, shrunk=shrunk if undecoded.shrunk is not None else None)
        return replace(picture, undecoded=changed)


class CheckHost(_Capture):
    """The host of the script's own run: lazy pictures, nothing decoded yet, and a sketch beside it for the costs."""

    def __init__(
        self, mrl: Any, headers: Any, fetch: Any, fonts: Any, *, claim: Mapping[str, Any], **options: Any
    ) -> None:
        super().__init__(mrl, headers, fetch, fonts, data={}, **options)
        self._started_ns = time.process_time_ns()
        self._arguments = (mrl, headers, fetch, fonts)
        self._options = options
        self.claim = claim
        self.trace: list[str] = []
        self.methods: set[str] = set()
        self.exact = True
        """Whether no picture stands for another yet."""
        self.coarse = True
        """Whether all that stand for others are at an eighth."""
        self._lazy: list[tuple[Data, Image]] = []
        self.fresh_sources = 0
        self.sketch: SketchHost | None = SketchHost(mrl, headers, self._head, fonts, locate=options["locate"])
        self._terms = self.sketch.terms

    def _head(self, address: str, purpose: str) -> bytes:
        data = self.data[address]
        return len(data).to_bytes(8, "big") + data[:HEAD_BYTES]

    def call(self, text: str) -> str:
        answer = super().call(text)
        self.trace.append(text)
        if self.sketch is not None and '"problem"' not in answer[:12] and '"problem"' in self.sketch.call(text)[:12]:
            self.sketch = None  # the costs up to here stay in _terms
        return answer

    def _media(self, method: str, handle: int, args: dict[str, Any]) -> Any:
        self.methods.add(method)
        if not self.exact and method in LOOKING:
            raise Problem(422, "verifier_unclear", "the script looks at pixels")
        if not self.exact and method in EAGER and not (method == "setColor" and not args["popular"]):
            self.coarse = False
            picture = self.pictures[handle].decoded()
            count = args.get("colors") if method == "reduce" else None
            self.keep(handle, replace(picture, palette=tuple(range(count))) if count else picture)
            return None
        return super()._media(method, handle, args)

    def adapted(self, picture: Picture, data: Data) -> Picture:
        undecoded = picture.undecoded
        if undecoded is None or undecoded.width * undecoded.height <= SMALL:
            return picture
        self.exact = False
        width, height, mode = undecoded.width, undecoded.height, undecoded.mode
        if picture.file_type == "jpeg" and mode in (GRAY, RGB):
            digest = hashlib.sha256(data).digest() if _PROXIES else b""
            if digest in _PROXIES:
                _PROXIES.move_to_end(digest)
                small = _PROXIES[digest]
            else:
                self.fresh_sources += 1
                small = plain(loading._opened(data, shrink=SHRINK, fail_on="error"))
                self._lazy.append((data, small))

            whole = small.embed(0, 0, -(-width // SHRINK), -(-height // SHRINK), extend="copy")

            def opened(once: bool) -> Image:
                made = whole.zoom(SHRINK, SHRINK).crop(0, 0, width, height)
                return made.copy(interpretation=small.interpretation)

            def shrunk(across: int, down: int, coarse: bool) -> Image:
                made = whole.resize(across * SHRINK / width, vscale=down * SHRINK / height, kernel="linear")
                if (made.width, made.height) != (across, down):
                    made = made.embed(0, 0, across, down, extend="copy")
                return made.copy(interpretation=small.interpretation)

        else:
            self.coarse = False
            values = [255] * {GRAY: 1, RGB: 3}.get(mode, 4 + (mode.startswith("CMYKA")))

            def opened(once: bool) -> Image:
                return filled(width, height, values, interpretation_of(mode))

            def shrunk(across: int, down: int, coarse: bool) -> Image:
                return filled(across, down, values, interpretation_of(mode))

        changed = replace(undecoded, open=opened, shrunk=shrunk if undecoded.shrunk is not None else None)
        return replace(picture, undecoded=changed)

    # -- afterwards ---------------------------------------------------------------------------------------------------

    def again(self, kind: type[_Capture]) -> tuple[Picture, dict[str, Any]]:
        """The same calls over other pictures: what they save."""
        host = kind(*self._arguments, data=self.data, **self._options)
        for text in self.trace:
            answer = host.call(text)
            if '"problem"' in answer[:12]:
                raise _Unclear(f"the steps could not be repeated: {host.problems[-1].detail[:200]}")
        if host.saved is None:
            raise _Unclear("the steps saved nothing when they were repeated")
        return host.saved

    def costs(self) -> dict[str, float]:
        """CPU nanoseconds on the calibration's machine: the work, its parts, and what has been spent by now."""
        table = model()
        parts = {"load": 0.0, "save": 0.0, "steps": 0.0, "base": 0.0}
        eighth = 0.0
        for name, amount in self._terms.items():
            cost = table.of(name) * amount
            stem = name.partition(".")[0]
            where = {"load": "load", "thumbnail": "load", "save": "save"}.get(stem, "steps")
            where = "base" if name in ("request", "call", "source", "source.bytes", "script.bytes") else where
            parts[where] += cost
            if name in ("load.jpeg.bytes", "load.jpeg.call"):
                eighth += cost
            elif name.startswith("load.jpeg"):
                eighth += table.of("load.jpeg.by8") * amount
        if self.coarse and not self.fresh_sources:
            eighth = 0.0
        spent = time.process_time_ns() - self._started_ns + table.of("request")
        work = sum(parts.values())
        height = self.saved[0].height if self.saved is not None else 16
        top = HEAD_NS + 16 / max(16, height) * (work - parts["base"])
        return {**parts, "work": work, "eighth": eighth, "spent": spent, "top": top}

    def keep_proxies(self) -> None:
        """Sources that have been decoded at an eighth stay for the next result."""
        for data, image in self._lazy:
            _PROXIES[hashlib.sha256(data).digest()] = image.copy_memory()
        while sum(i.width * i.height * i.bands for i in _PROXIES.values()) > PROXIES_MAX_BYTES:
            _PROXIES.popitem(last=False)


def conclude(host: CheckHost, failure: Problem | None) -> bytes:
    """The verdict once the script has run, as the worker sends it."""
    try:
        verdict = _verdict(host, failure)
    except _Unclear as reason:
        verdict = Verdict("cannot_tell", "unclear", str(reason))
    except (pyvips.Error, Problem, ValueError, ArithmeticError, LookupError, MemoryError) as error:
        verdict = Verdict("cannot_tell", "failed", f"the verifier failed: {type(error).__name__}: {str(error)[:200]}")
    return json.dumps(verdict.document()).encode()


def _verdict(host: CheckHost, failure: Problem | None) -> Verdict:
    claim = host.claim
    if failure is not None:
        return judging.refused(failure, int(claim["status"]))
    if int(claim["status"]) != host.answer.status:
        return Verdict("disagree", "status", f"the answer has status {host.answer.status}", ("status",))
    if host.saved is None:
        return _plain_answer(host)
    picture, args = host.saved
    result: bytes = claim["result"]
    kind = args["type"] or saving.default_type(picture)
    done = ["structure"]
    try:
        finding = _structure(host, picture, args, kind, result)
    except structure.Broken as error:
        finding = Finding("structure", f"the file is broken: {error}")
    if finding is not None:
        return finding.verdict(done)
    costs, share = host.costs(), int(claim["share_ppm"]) / 1e6
    seed = hashlib.sha256(bytes.fromhex(claim["seed"]) + hashlib.sha256(result).digest()).digest()
    budget = share * costs["work"] - costs["spent"]
    head = _has_head(host, picture, kind)
    # What an eighth cannot show (another encoding, a cheaper scaling), the upper rows do: never one without the other.
    coarse = head and host.coarse and not host.exact and host.methods <= SMOOTH
    dear, apart = _cheapest(costs, picture, kind, len(result), budget, coarse)
    if head and budget >= costs["top"]:
        rest = budget - (dear - costs["top"] if coarse and dear <= budget else 0.0)
        finding = _head(host, kind, result, _head_rows(picture, costs, rest, seed))
        done.append("head")
        if finding is not None:
            return finding.verdict(done)
    again = costs["work"] - costs["base"]
    if again <= budget and (coarse or again <= dear or dear > budget):
        return _done_again(host, result, (*done, "again"))
    if dear > budget:
        needed = (dear + costs["spent"]) / max(1.0, costs["work"])
        return Verdict(
            "cannot_tell", "too_dear", f"it takes {needed:.2f} of the work, {share:.2f} are allowed", tuple(done)
        )
    exact = host.exact or not coarse
    if not host.exact and exact:
        picture, args = host.again(_Capture)
    done.append(("whole" if exact else "whole, coarse") + (f", 1/{apart}" if apart > 1 else ""))
    finding = _whole(picture, args, kind, result, exact, seed, apart)
    if not exact:
        host.keep_proxies()
    if finding is not None:
        return finding.verdict(done)
    return Verdict("agree", checks=tuple(done))


def _cheapest(
    costs: Mapping[str, float], picture: Picture, kind: str, size: int, budget: float, coarse: bool
) -> tuple[float, int]:
    """(nanoseconds of looking at the whole, which rows of blocks): every row if the budget allows it."""
    pixels = picture.width * picture.height * picture.frame_count
    for apart in (1, max(1, picture.height // (BANDS * SHRINK)) if picture.frame_count == 1 else 1):
        dear = _whole_cost(costs, kind, size, pixels, coarse, apart) + (costs["top"] if coarse else 0.0)
        if dear <= budget:
            break
    return dear, apart


def _done_again(host: CheckHost, result: bytes, checks: tuple[str, ...]) -> Verdict:
    """The work itself, where it costs no more than looking at all of the result: equal to the byte (G-1)."""
    picture, args = host.again(_Capture)
    made, _ = saving.encode(picture, args)
    if made != result:
        return Verdict("disagree", "bytes", "the same work done here gives other bytes", checks)
    return Verdict("agree", checks=checks)


def _plain_answer(host: CheckHost) -> Verdict:
    """Text, or a file as it is: known to the byte."""
    if not host.exact and host.methods & (LOOKING | EAGER):
        raise _Unclear("the text may depend on pixels")
    if host.answer.body is None:
        raise _Unclear("the script has no answer")
    if host.answer.body != host.claim["result"]:
        return Verdict("disagree", "bytes", "the answer is another text or file", ("bytes",))
    return Verdict("agree", checks=("bytes",))


# -- structure --------------------------------------------------------------------------------------------------------


def _structure(host: CheckHost, picture: Picture, args: dict[str, Any], kind: str, result: bytes) -> Finding | None:
    found = loading.sniff(result)
    if found != kind:
        return Finding("format", f"it is {found or 'nothing known'}, not {kind}")
    wanted = saving.CONTENT_TYPES[kind]
    wanted = host.answer.headers.get("Content-Type", wanted)
    if host.claim["content_type"].partition(";")[0].strip().lower() != wanted.partition(";")[0].strip().lower():
        return Finding("format", f"it is called {host.claim['content_type']!r}, not {wanted!r}")
    chosen = saving._chosen(picture.decoded(), args)
    if kind == "pdf":
        return _pdf_structure(chosen, args, result)
    moves = len(chosen.images) > 1 and kind in ("gif", "webp", "tiff", "png")
    if kind == "png" and not chosen.delays:
        moves = False
    if not moves or kind in ("gif", "webp"):
        image = chosen.images[0]
        # libvips writes the size into an Exif block, so with one the template is as large as the result.
        exif = args["savemetadata"] and "Exif" in chosen.metadata
        across, down = (image.width, image.height) if exif else (16, 16)
        tiny = filled(across, down, [90] * image.bands, image.interpretation)
        still = replace(chosen, images=(tiny,), delays=(), layers=(), selection=None)
        template, _ = saving.encode(still, {**args, "type": kind, "frames": None, "delay": None})
        difference = structure.difference(kind, result, template)
        if difference is not None:
            return Finding("structure", difference)
    width, height, frames, delay_ms = _measures(kind, result)
    if (width, height) != (max(i.width for i in chosen.images), max(i.height for i in chosen.images)):
        return Finding("size", f"it has {width} x {height} pixels, not {chosen.width} x {chosen.height}")
    if moves:
        expected = list(chosen.delays) or [100] * len(chosen.images)
        return judging.frames(len(chosen.images), frames, sum(expected) if kind != "tiff" else 0, delay_ms)
    if frames != 1:
        return Finding("frames", f"it has {frames} frames, not one")
    return None


def _header(data: bytes) -> Image:
    """The result's header as the decoder reads it: one of an honest result can be read."""
    try:
        return Image.new_from_buffer(data, "")
    except pyvips.Error as error:
        raise structure.Broken(str(error).strip().splitlines()[0][:150]) from None


def _measures(kind: str, result: bytes) -> tuple[int, int, int, int]:
    """(width, height, frames, milliseconds of all frames) as the file says."""
    if kind == "png":
        header = _header(result)
        frames, total, _ = structure.png_times(result)
        return header.width, header.height, frames, total
    if kind == "bmp":
        from dservices.mediagen.facts import facts_of

        facts = facts_of(result[:HEAD_BYTES], len(result))
        return facts.width, facts.height, 1, 0
    header = _header(result)
    frames = header.get("n-pages") if header.get_typeof("n-pages") else 1
    delays = header.get("delay") if header.get_typeof("delay") else []
    return header.width, header.height, int(frames), sum(delays)


def _pdf_structure(picture: Picture, args: dict[str, Any], result: bytes) -> Finding | None:
    try:
        jpegs = structure.pdf_pictures(result)
    except structure.Broken as error:
        return Finding("structure", f"the file is broken: {error}")
    if len(jpegs) != len(picture.images):
        return Finding("frames", f"it has {len(jpegs)} pages, not {len(picture.images)}")
    given = iter(jpegs)
    if documents.write(picture, args, lambda image, options: next(given)) != result:
        return Finding("structure", "the document around its pages is not that of the request")
    for jpeg, image in zip(jpegs, picture.images, strict=True):
        flat = saving.flattened(image, picture.background)
        template = documents.page_jpeg(filled(16, 16, [90] * flat.bands, flat.interpretation), args)
        difference = structure.difference("jpeg", jpeg, template)
        if difference is not None:
            return Finding("structure", difference)
        header = _header(jpeg)
        if (header.width, header.height) != (image.width, image.height):
            return Finding("size", "a page has another size")
    return None


# -- head -------------------------------------------------------------------------------------------------------------


HEAD_NS = 3_000_000.0
"""What repeating the steps for the upper rows costs beside the rows."""


def _has_head(host: CheckHost, picture: Picture, kind: str) -> bool:
    """Whether the upper rows can be had without the lower ones, and stand first in the result byte by byte."""
    args = host.saved[1] if host.saved is not None else {}
    if picture.frame_count != 1 or not host.methods <= FROM_THE_TOP or picture.height < 16:
        return False
    if kind == "jpeg":
        return not (args["progressive"] or args["interlaced"])
    return kind == "png" and not args["interlaced"] and not picture.palette and args["colors"] is None


def _head_rows(picture: Picture, costs: Mapping[str, float], budget: float, seed: bytes) -> int:
    """How many of the upper rows to compute: between half of what the budget allows and all of it, by the seed."""
    whole = max(1.0, costs["work"] - costs["base"])
    most = int((budget - HEAD_NS) / whole * picture.height) // 16
    steps = max(1, min(most, picture.height // HEAD_SHARE // 16))
    return 16 * (steps - int.from_bytes(seed[:4], "big") % max(1, (steps + 1) // 2))


def _head(host: CheckHost, kind: str, result: bytes, rows: int) -> Finding | None:
    try:
        picture, args = host.again(_Upper)
        chosen = saving._chosen(picture.decoded(), args)
        part = chosen.images[0].crop(0, 0, chosen.width, rows).copy_memory()
    except (_Unclear, pyvips.Error):
        return None  # something wants to be read in another order: the head is no shortcut here
    # Of a PNG the rows before compression are compared: only the filter follows the level.
    options = {**args, "type": kind, "frames": None, "level": 7 if args["level"] > 6 else 1}
    encoded, _ = saving.encode(replace(chosen, images=(part,)), options)
    if kind == "jpeg":
        return judging.same_start(encoded, result)
    return judging.same_rows(encoded, result, chosen.width, rows)


# -- whole ------------------------------------------------------------------------------------------------------------


def _whole_cost(costs: Mapping[str, float], kind: str, size: int, pixels: int, coarse: bool, apart: int = 1) -> float:
    """CPU nanoseconds of `whole`: sources, steps, the result's decoding, the comparison."""
    table, mega = model(), pixels / 1e6
    per_pixel = {"jpeg": "load.jpeg", "pdf": "load.jpeg", "avif": "load.avif", "tiff": "load.tiff"}.get(
        kind, f"load.{kind}"
    )
    name = "load.jpeg.by8" if kind == "jpeg" and pixels > LARGE else per_pixel
    bands = 1 if kind == "gif" else 3
    decode = table.of(name) * mega * bands + table.of(f"load.{kind}.bytes") * size / 1e6
    compare = (12e6 if coarse else 5e6) * mega / apart + 8e6
    sources = costs["eighth"] if coarse else costs["load"]
    steps = costs["steps"] * min(1.0, 1.5 / apart)
    return sources + steps + decode + compare


BANDS = 40
"""Where all rows are too dear, rows of blocks are looked at that lie no further apart than 1/n of the height."""
LARGE = 2_000_000
"""Pixels beyond which a JPEG result is decoded at an eighth, which gives the means of its blocks."""


def _presented(picture: Picture, args: dict[str, Any], kind: str) -> Image:
    """What is encoded, as one image (frames below each other)."""
    chosen = saving._chosen(picture.decoded(), args)
    if kind in ("jpeg", "pdf"):
        images = [saving.flattened(image, chosen.background) for image in chosen.images]
        images = images if kind == "pdf" else images[:1]
    elif kind in ("gif", "webp", "tiff") or (kind == "png" and chosen.delays):
        images = list(chosen.images)
    else:
        images = [chosen.images[0]]
    return _joined(images)


def _joined(images: list[Image]) -> Image:
    shown = [_visible(image) for image in images]
    if len(shown) == 1:
        return shown[0]
    width, height = max(i.width for i in shown), max(i.height for i in shown)
    same = [i if (i.width, i.height) == (width, height) else i.embed(0, 0, width, height) for i in shown]
    return Image.arrayjoin(same, across=1)


def _visible(image: Image) -> Image:
    """Three channels, or four inks; alpha shows as a strong colour, so that it is compared with the rest."""
    if image.interpretation == "cmyk":
        return image[0:4]
    rgb = as_rgb(image)
    if has_alpha(rgb):
        rgb = rgb.flatten(background=[255, 0, 255]).cast("uchar").copy(interpretation="srgb")
    return rgb


def _decoded(kind: str, result: bytes, *, eighth: bool) -> Image:
    """The result's pixels, presented alike."""
    if kind == "jpeg":
        return _visible(plain(loading._opened(result, fail_on="error", **({"shrink": SHRINK} if eighth else {}))))
    if kind == "pdf":
        return _joined([plain(loading._opened(jpeg, fail_on="error")) for jpeg in structure.pdf_pictures(result)])
    if kind == "bmp" or (kind == "png" and b"acTL" in result[:4096]):
        from dservices.mediagen.catalogue import MEDIA, check

        picture = loading.load(result, "the result", check(MEDIA["load"], {"named": [["name", "x"]]}))
        return _joined(list(picture.decoded().images))
    pages = {"n": -1} if kind in ("gif", "webp", "tiff") else {}
    image = loading._opened(result, fail_on="error", **pages)
    return _visible(plain(image))


def _whole(
    picture: Picture, args: dict[str, Any], kind: str, result: bytes, exact: bool, seed: bytes, apart: int = 1
) -> Finding | None:
    expected = _presented(picture, args, kind)
    eighth = kind == "jpeg" and expected.width * expected.height > LARGE and not exact
    try:
        found = _decoded(kind, result, eighth=eighth)
        if exact or not eighth:
            found = found.copy_memory()
    except pyvips.Error as error:
        return Finding("structure", f"the file is broken: {str(error).strip().splitlines()[0][:150]}")
    if exact and apart == 1:
        expected = expected.copy_memory()
    lossless = (
        kind in ("png", "bmp")
        or (kind == "tiff" and args["compression"] not in ("jpeg", "webp"))
        or (kind == "webp" and args["lossless"])
    )
    palette = kind == "png" and (bool(picture.palette) or args["colors"] is not None)
    size = SHRINK if eighth else judging.block_side(expected.width, expected.height)
    if not eighth and (found.width, found.height) != (expected.width, expected.height):
        return Finding("size", f"its pixels are {found.width} x {found.height}")
    if apart > 1:
        start = int.from_bytes(seed[12:16], "big") % apart
        tall = 1 if eighth else size
        found = _bands(found, tall, apart, start)
        expected = _bands(expected, size, apart, start)
        if exact:
            expected = expected.copy_memory()
    if exact and lossless and not palette:
        return judging.equal(
            (found.cast("short") - expected.cast("short")).abs(), has_alpha(picture.decoded().images[0])
        )
    means = expected.shrink(size, size, ceil=True).copy_memory()
    seen = (found if eighth else found.shrink(size, size, ceil=True)).copy_memory()
    if not exact:  # the decoder leaves out a rest below an eighth, so what lies at the far edges is a guess
        width, height = min(means.width, seen.width), min(means.height, seen.height)
        width, height = max(1, width - 1), max(1, height - (apart == 1))
        means, seen = means.crop(0, 0, width, height), seen.crop(0, 0, width, height)
    if (means.width, means.height) != (seen.width, seen.height):
        return Finding("size", "its pixels are of another number")
    quality = args["quality"] or saving.QUALITY.get(kind, 80)
    finding = judging.blocks(means, seen, kind, quality, exact, size)
    if finding is None and exact and not palette and apart == 1:
        finding = _encoded_again(expected, found, picture, args, kind, seed)
    return finding


def _bands(image: Image, tall: int, apart: int, start: int) -> Image:
    """Every `apart`-th row of blocks that are `tall` pixels high, below each other."""
    tops = range(start * tall, image.height - tall + 1, apart * tall)
    bands = [image.crop(0, top, image.width, tall) for top in tops]
    return Image.arrayjoin(bands, across=1) if len(bands) > 1 else bands[0]


PARTS = 5
"""Places the seed proposes for encoding a part again; the liveliest is taken."""


def _encoded_again(
    expected: Image, found: Image, picture: Picture, args: dict[str, Any], kind: str, seed: bytes
) -> Finding | None:
    """A part chosen by the seed, encoded as the whole was: its losses have to be of the same size."""
    if kind not in ("jpeg", "webp", "avif", "pdf"):
        return None
    side = 256
    width, height = min(side, expected.width), min(side, expected.height)
    places = []
    for number in range(PARTS):
        across, down = (int.from_bytes(seed[4 + 4 * number + n :][:4], "big") for n in (0, 2))
        left = across % max(1, expected.width - width + 1) // 16 * 16
        top = down % max(1, expected.height - height + 1) // 16 * 16
        places.append((expected.crop(left, top, width, height).deviate(), left, top))
    _, left, top = max(places)  # where nothing is drawn nothing is lost either
    part = expected.crop(left, top, width, height)
    return _losses_of(part, found.crop(left, top, width, height), picture, args, kind)


def _losses_of(part: Image, found: Image, picture: Picture, args: dict[str, Any], kind: str) -> Finding | None:
    still = Picture(images=(part,), dpi=picture.dpi)
    options = {**args, "type": "jpeg" if kind == "pdf" else kind, "frames": None, "savemetadata": False}
    data, _ = saving.encode(still, options)
    again = _visible(plain(loading._opened(data)))
    return judging.losses(part, again, found, kind, moves=picture.frame_count > 1)

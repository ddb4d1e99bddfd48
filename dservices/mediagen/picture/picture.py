"""A picture in a worker: frames as lazy libvips images plus what travels with them. Immutable; operations make new
ones.

Every image here has 8 bits a channel (reference 5.2) in one of five modes: Gray, RGB, RGBA, CMYK, CMYKA; alpha is
straight. What was loaded stays undecoded as long as only right-angle turns and mirrors follow, so that a scale after
them
can let the decoder shrink (see `scaled`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, overload

import pyvips
from cgn_sdk.dservice.problems import Problem

from dservices.mediagen import limits
from dservices.mediagen.picture.geometry import Turn

GRAY, RGB, RGBA, CMYK, CMYKA = "Gray-8", "RGB-24", "RGBA-32", "CMYK-32", "CMYKA-40"
STORED_AS: Mapping[str, str] = {
    "RGB-15": RGB,
    "RGB-16": RGB,
    "RGB-18": RGB,
    "RGBA-16": RGBA,
    "HSV-24": RGB,
    "HLS-24": RGB,
}
"""Packed and cylindrical formats (reference 5.2) are kept as 8 bits a channel, quantised where they have fewer."""
Image = pyvips.Image
CHAIN_MAX = 6
"""Lazy operations on top of each other before the pixels are computed and kept. Where a drawing overlaps the one before
it, libvips asks what lies below twice, so a script that draws in a loop would take time exponential in the overlaps."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of a picture that has layers; `image` has alpha. Position is the upper left corner."""

    image: Image
    name: str
    x: int = 0
    y: int = 0
    opacity: int = 255
    visible: bool = True
    blend: str = "Normal"


@dataclass(frozen=True, slots=True)
class Undecoded:
    """Bytes whose header has been read. `open(once)` decodes in full, if `once` for one reading from top to bottom;
    `shrunk(w, h, coarse)` decodes to exactly that size, if `coarse` with as much of it as can be left to the
    decoder; what it gives has no turn, and its last step may still be ahead. Of a `drawing` (SVG, a page of a PDF) any
    size can be had that way, a larger one, too."""

    width: int
    height: int
    mode: str
    turn: Turn
    open: Callable[[bool], Image]
    shrunk: Callable[[int, int, bool], Undecoded] | None
    drawing: bool = False


class Frames(Sequence[Image]):
    """Frames of one height that lie below each other in one image, cut out when they are asked for."""

    def __init__(self, strip: Image, height: int, numbers: Sequence[int]) -> None:
        self._strip, self._height, self._numbers = strip, height, numbers
        self._cut: dict[int, Image] = {}

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, index: int) -> Image: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Image]: ...
    def __getitem__(self, index: int | slice) -> Image | Sequence[Image]:
        if isinstance(index, slice):
            return Frames(self._strip, self._height, self._numbers[index])
        number = self._numbers[index]
        if number not in self._cut:
            self._cut[number] = self._strip.crop(0, number * self._height, self._strip.width, self._height)
        return self._cut[number]


@dataclass(frozen=True, slots=True)
class Strip:
    """The one image that frames were cut out of; `open` gives it for one reading from top to bottom."""

    images: Sequence[Image]
    open: Callable[[], Image]


@dataclass(frozen=True, slots=True)
class Pen:
    """Where the last `drawText` ended: its right edge, and how it was placed in height (for `append`)."""

    x: int
    y: float | None
    handle_y: str | None


@dataclass(frozen=True, slots=True)
class Picture:
    """See the module. `images` is empty while `undecoded` is set."""

    images: Sequence[Image] = ()
    undecoded: Undecoded | None = None
    delays: tuple[int, ...] = ()
    """Milliseconds a frame, one each; empty for still pictures and pages."""
    loop: int = 0
    dpi: tuple[float, float] = (72.0, 72.0)
    profile: bytes | None = None
    metadata: Mapping[str, bytes] = field(default_factory=dict)
    """Raw blocks "Exif", "IPTC", "XMP"."""
    file_type: str | None = None
    foreground: int | None = None
    background: int | None = None
    transparent: bool = False
    """The background colour counts as transparent (setColor)."""
    palette: tuple[int, ...] = ()
    """Colours of a picture that `reduce` made; its pixels stay RGB or RGBA."""
    selection: Image | None = None
    strip: Strip | None = None
    """Where the frames came from; it holds only while `images` is the very sequence in it."""
    layers: tuple[Layer, ...] = ()
    depth: int = 0
    """Operations since the pixels were last in memory, see CHAIN_MAX."""
    pen: Pen | None = None

    @property
    def width(self) -> int:
        if self.undecoded is not None:
            return self.undecoded.height if self.undecoded.turn.swaps_sides else self.undecoded.width
        return int(self._first.width)

    @property
    def height(self) -> int:
        if self.undecoded is not None:
            return self.undecoded.width if self.undecoded.turn.swaps_sides else self.undecoded.height
        return int(self._first.height)

    @property
    def mode(self) -> str:
        return self.undecoded.mode if self.undecoded is not None else mode_of(self._first)

    @property
    def frame_count(self) -> int:
        return 1 if self.undecoded is not None else len(self.images)

    @property
    def _first(self) -> Image:
        if not self.images:
            raise Problem(422, "empty_media", "the Media object is empty: load or makeCanvas comes first")
        return self.images[0]

    def decoded(self, *, once: bool = False) -> Picture:
        """The same picture with pixels to work on; `once` for a reader that goes from top to bottom one time."""
        if self.undecoded is None:
            self._first  # noqa: B018 - raises for an empty object
            return self
        turn = self.undecoded.turn
        image = turned(self.undecoded.open(once and turn.is_nothing), turn)
        return replace(self, undecoded=None, images=(image,))

    def with_images(self, images: tuple[Image, ...], **changes: Any) -> Picture:
        if sum(image.width * image.height for image in images) > limits.PIXELS_MAX:
            raise too_large()
        depth = changes.pop("depth", self.depth + 1)
        if depth >= CHAIN_MAX:
            images, depth = tuple(image.copy_memory() for image in images), 0
        return replace(self, images=images, undecoded=None, depth=depth, **changes)

    def turned(self, quarters: int) -> Picture:
        if self.undecoded is not None:
            changed = replace(self.undecoded, turn=self.undecoded.turn.then_turned(quarters))
            return replace(self, undecoded=changed)
        return self.with_images(tuple(turned(image, Turn(quarters)) for image in self.images))

    def mirrored(self, vertical: bool) -> Picture:
        if self.undecoded is not None:
            changed = replace(self.undecoded, turn=self.undecoded.turn.then_mirrored(vertical))
            return replace(self, undecoded=changed)
        return self.with_images(tuple(image.flipver() if vertical else image.fliphor() for image in self.images))


def too_large() -> Problem:
    return Problem(
        422,
        "picture_too_large",
        f"a picture may have at most {limits.PIXELS_MAX} pixels, all frames together",
        expected=f"at most {limits.PIXELS_MAX} pixels",
    )


def turned(image: Image, turn: Turn) -> Image:
    if turn.mirrored:
        image = image.fliphor()
    if turn.quarters == 0:
        return image
    # Quarter turns read columns: from memory, or each column would decode the picture again.
    return image.rot(("d0", "d90", "d180", "d270")[turn.quarters])


def first_bands(image: Image, count: int) -> Image:
    """The first bands. pyvips' own slices (`image[0:3]`) take each band by itself and join them again, which computes
    everything before them once for every band."""
    return image if image.bands == count else image.extract_band(0, n=count)


def seen_as(image: Image, interpretation: str) -> Image:
    """The same pixels under that interpretation. libvips keeps it in most operations, and asking costs an eighth of
    another copy of the header."""
    return image if image.interpretation == interpretation else image.copy(interpretation=interpretation)


def mode_of(image: Image) -> str:
    if image.interpretation == "cmyk":
        return CMYK if image.bands == 4 else CMYKA
    return {1: GRAY, 3: RGB, 4: RGBA}[image.bands]


def has_alpha(image: Image) -> bool:
    return mode_of(image) in (RGBA, CMYKA)


def normalised(image: Image) -> Image:
    """Any decoded image as one of the five modes, 8 bits a channel."""
    interpretation = image.interpretation
    if interpretation == "cmyk":
        if image.format != "uchar":
            image = (
                (image >> 8).cast("uchar").copy(interpretation="cmyk")
                if image.format == "ushort"
                else image.cast("uchar")
            )
        return image if image.bands in (4, 5) else first_bands(image, 5).copy(interpretation="cmyk")
    if interpretation in ("b-w", "grey16") and image.bands == 1:
        if image.format == "ushort":
            image = (image >> 8).cast("uchar")
        elif image.format != "uchar":
            image = image.cast("uchar")
        return seen_as(image, "b-w")
    if interpretation in ("rgb16", "grey16") and image.format == "ushort":
        image = (image >> 8).cast("uchar").copy(interpretation="srgb")
    elif interpretation not in ("srgb", "rgb", "b-w", "multiband") or image.format != "uchar":
        image = image.colourspace("srgb") if interpretation not in ("multiband", "matrix") else image.cast("uchar")
        image = image.cast("uchar")
    bands = image.bands
    if bands == 2:
        image = image[0].bandjoin([image[0], image[0], image[1]])
    elif bands > 4:
        image = first_bands(image, 4)
    return seen_as(image, "b-w" if bands == 1 else "srgb")


def channels(colour: int, mode: str) -> list[int]:
    """A colour number as values for the colour channels of a mode, without alpha (reference 1.4)."""
    if mode in (CMYK, CMYKA):
        return [colour >> 24 & 255, colour >> 16 & 255, colour >> 8 & 255, colour & 255]
    red, green, blue = colour >> 16 & 255, colour >> 8 & 255, colour & 255
    if mode == GRAY:
        return [luma(red, green, blue)]
    return [red, green, blue]


def luma(red: int, green: int, blue: int) -> int:
    """Rec. 601 weights in integers; the sum of the weights is 1000, so equal components stay what they are."""
    return (299 * red + 587 * green + 114 * blue + 500) // 1000


def colour_number(values: list[float], mode: str) -> int:
    """The other way round: channel values (alpha ignored) as a colour number."""
    whole = [max(0, min(255, int(value))) for value in values]
    if mode == GRAY:
        return whole[0] * 0x010101
    count = 4 if mode in (CMYK, CMYKA) else 3
    number = 0
    for value in whole[:count]:
        number = number << 8 | value
    return number


def filled(width: int, height: int, values: list[int], interpretation: str) -> Image:
    """A canvas of one colour; lazy, costs no memory."""
    dot = Image.new_from_memory(bytes(values), 1, 1, len(values), "uchar")
    return dot.copy(interpretation=interpretation).embed(0, 0, width, height, extend="copy")


def interpretation_of(mode: str) -> str:
    return {GRAY: "b-w", CMYK: "cmyk", CMYKA: "cmyk"}.get(mode, "srgb")


def with_alpha(image: Image, alpha: int = 255) -> Image:
    """The image with an alpha channel (gray becomes RGB: there is no gray with alpha in 5.2)."""
    if has_alpha(image):
        return image
    if image.bands == 1:
        image = image.bandjoin([image, image]).copy(interpretation="srgb")
    return image.bandjoin(alpha)


def as_rgb(image: Image) -> Image:
    """RGB or RGBA for display of any mode; CMYK by the plain formula (colorCorrect is the exact way)."""
    mode = mode_of(image)
    if mode == GRAY:
        return image.bandjoin([image, image]).copy(interpretation="srgb")
    if mode in (CMYK, CMYKA):
        inks = first_bands(image, 3).linear([-1, -1, -1], [255, 255, 255])
        key = image[3].linear(-1, 255)
        rgb = (inks * key / 255).rint().cast("uchar").copy(interpretation="srgb")
        return rgb.bandjoin(image[4]) if mode == CMYKA else rgb
    return image


def as_gray(image: Image) -> Image:
    """One channel, by `luma`; alpha is dropped."""
    if mode_of(image) == GRAY:
        return image
    rgb = as_rgb(image)
    weighted = first_bands(rgb, 3).recomb(Image.new_from_array([[0.299, 0.587, 0.114]]))
    return (weighted + 0.5).floor().cast("uchar").copy(interpretation="b-w")

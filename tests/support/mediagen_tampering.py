"""Ways to send something else than what was asked for, as somebody would who wants to be paid for it."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pyvips
from mediagen_here import Here

from dservices.mediagen.formats import encoding
from dservices.mediagen.picture.picture import Picture, has_alpha

Image = pyvips.Image
Change = Callable[[Image, random.Random], Image | None]


def _kept(image: Image, like: Image) -> Image:
    return image.cast("uchar").copy(interpretation=like.interpretation)


def wrong_crop(image: Image, chance: random.Random) -> Image | None:
    """An area a twelfth further right and down, enlarged to the size that was asked for."""
    left, top = image.width // 12, image.height // 12
    part = image.crop(left, top, image.width - left, image.height - top)
    part = part.resize(image.width / part.width, vscale=image.height / part.height, kernel="linear")
    return _kept(part.embed(0, 0, image.width, image.height, extend="copy"), image)


def stale_source(image: Image, chance: random.Random) -> Image | None:
    """The same motif as it was before: a third of it has changed since."""
    width = image.width // 3
    left = chance.randrange(image.width - width + 1)
    older = image.crop(left, 0, width, image.height).fliphor()
    return _kept(image.insert(older, left, 0), image)


def blank(image: Image, chance: random.Random) -> Image | None:
    """One colour, the mean of the picture."""
    mean = [image[band].avg() for band in range(image.bands)]
    return _kept((image * 0 + mean), image)


def watermark(image: Image, chance: random.Random) -> Image | None:
    """A half-transparent line of text, a quarter of the width, white or black so that it can be seen."""
    mask = Image.text("made elsewhere", font="sans 40", dpi=72)
    factor = image.width / 4 / mask.width
    mask = mask.resize(factor).linear(0.6, 0).cast("uchar")
    if mask.height >= image.height or mask.height < 3:
        return None
    left, top = chance.randrange(image.width - mask.width), chance.randrange(image.height - mask.height)
    part = image.crop(left, top, mask.width, mask.height)
    share = mask / 255
    colours = part.bands - 1 if has_alpha(part) else part.bands
    ink = 255 if part[0:colours].avg() < 128 else 0
    mixed = part[0:colours] * (1 - share) + share * ink
    if has_alpha(part):
        mixed = mixed.bandjoin(part[part.bands - 1])
    return _kept(image.insert(mixed.cast("uchar").copy(interpretation=image.interpretation), left, top), image)


def changed_pixels(image: Image, chance: random.Random) -> Image | None:
    """A square of a twelfth of the shorter side turned into its negative."""
    side = max(4, min(image.width, image.height) // 12)
    if side >= min(image.width, image.height):
        return None
    left, top = chance.randrange(image.width - side), chance.randrange(image.height - side)
    part = image.crop(left, top, side, side)
    colours = part.bands - 1 if has_alpha(part) else part.bands
    other = (part[0:colours] * -1 + 255).cast("uchar")
    other = (part[0:colours] + 128 & 255).cast("uchar") if abs(other.avg() - part[0:colours].avg()) < 60 else other
    if has_alpha(part):
        other = other.bandjoin(part[part.bands - 1])
    return _kept(image.insert(other.copy(interpretation=image.interpretation), left, top), image)


def flipped(image: Image, chance: random.Random) -> Image | None:
    return image.fliphor()


def half_turn(image: Image, chance: random.Random) -> Image | None:
    return image.rot180()


def colour_shift(image: Image, chance: random.Random) -> Image | None:
    """One channel 5 levels brighter."""
    colours = image.bands - 1 if has_alpha(image) else image.bands
    shift = [0] * image.bands
    shift[chance.randrange(colours)] = 5
    return _kept(image + shift, image)


def cheap_scaling(image: Image, chance: random.Random) -> Image | None:
    """Computed at a third of the size and enlarged: a ninth of the work."""
    small = image.resize(1 / 3, kernel="nearest")
    large = small.resize(image.width / small.width, vscale=image.height / small.height, kernel="linear")
    return _kept(large.embed(0, 0, image.width, image.height, extend="copy"), image)


def wrong_size(image: Image, chance: random.Random) -> Image | None:
    return _kept(image.resize(0.97), image)


PIXELS: dict[str, Change] = {
    "wrong crop": wrong_crop,
    "stale source": stale_source,
    "blank": blank,
    "watermark added": watermark,
    "changed pixels": changed_pixels,
    "mirrored": flipped,
    "turned": half_turn,
    "colour shift": colour_shift,
    "cheap scaling": cheap_scaling,
    "wrong size": wrong_size,
}
KINDS = (
    *PIXELS,
    "recompressed",
    "lower quality",
    "other format",
    "step left out",
    "truncated",
    "something added",
    "frames left out",
)


def tampered(
    kind: str, here: Here, body: str, saved: tuple[Picture, dict[str, Any]], honest: bytes, chance: random.Random
) -> bytes | None:
    """A false result of this kind, or None where there is none (a flat picture has no mirror image)."""
    picture, args = saved
    form = args["type"] or encoding.default_type(picture)
    args = {**args, "type": form}
    if kind in PIXELS:
        chosen = picture.decoded()
        images = tuple(PIXELS[kind](image.copy_memory(), chance) for image in chosen.images)
        if any(image is None for image in images):
            return None
        if kind != "wrong size" and all(
            (new - old).abs().max() < 1 for new, old in zip(images, chosen.images, strict=True)
        ):
            return None  # nothing to be seen of it
        return encoding.encode(replace(chosen, images=images, layers=(), selection=None), args)[0]
    if kind == "recompressed":
        return _recompressed(form, honest, args, picture)
    if kind == "lower quality":
        if form not in ("jpeg", "webp", "avif", "pdf") or args["lossless"]:
            return None
        quality = max(5, (args["quality"] or encoding.QUALITY[form]) - 15)
        return encoding.encode(picture, {**args, "quality": quality})[0]
    if kind == "other format":
        return encoding.encode(picture, {**args, "type": "jpeg" if form != "jpeg" else "png"})[0]
    if kind == "step left out":
        return _without_a_step(here, body, chance)
    if kind == "truncated":
        return honest[: len(honest) * 9 // 10]
    if kind == "something added":
        return honest + b"\0" * 16
    if len(picture.decoded().images) < 3:
        return None
    chosen = picture.decoded()
    return encoding.encode(replace(chosen, images=chosen.images[:-1], delays=chosen.delays[:-1]), args)[0]


def _recompressed(form: str, honest: bytes, args: dict[str, Any], picture: Picture) -> bytes | None:
    """Decoded and encoded again with the same options: a second generation."""
    if form not in ("jpeg", "webp", "avif") or args["lossless"] or len(picture.decoded().images) > 1:
        return None
    again = Image.new_from_buffer(honest, "")
    return encoding.encode(replace(picture.decoded(), images=(again.copy(interpretation=again.interpretation),)), args)[
        0
    ]


_STEPS = ("m.drawText(", "m.composite(", "m.blur", "m.sharpen", "m.adjust", "m.rectangle(", "m.gradient(", "m.convert(", "m.colorize(", "m.equalize(",
          "m.stylize", "m.noise", "m.pixellate", "m.other", "m.quadWarp(", "m.dropShadow(", "m.rotate(angle @ -", "m.colorCorrect(")  # fmt: skip


def _without_a_step(here: Here, body: str, chance: random.Random) -> bytes | None:
    parts = body.split("; ")
    steps = [index for index, part in enumerate(parts) if part.strip().startswith(_STEPS)]
    if not steps:
        return None
    del parts[chance.choice(steps)]
    try:
        return here.work("; ".join(parts))[0]
    except RuntimeError:
        return None  # what follows needs the step

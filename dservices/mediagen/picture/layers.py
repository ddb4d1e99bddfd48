"""Layers of a picture (reference 3.7): naming them, changing each, and what they look like together."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable
from dataclasses import replace

from cgn_sdk.dservice.problems import Problem

from dservices.mediagen import limits
from dservices.mediagen.language.values import Args
from dservices.mediagen.picture.blending import Ink, put
from dservices.mediagen.picture.picture import (
    CHAIN_MAX,
    CMYKA,
    Image,
    Layer,
    Picture,
    filled,
    interpretation_of,
    with_alpha,
)
from dservices.mediagen.picture.picture import RGBA as RGBA_MODE

LAYERS_MAX = 256


NAME_MAX_CHARS = 31
"""Of a layer's name in a layer list (reference 1.5)."""


def layers_of(picture: Picture) -> tuple[Layer, ...]:
    """The layers; a picture without any is its own background layer."""
    if picture.layers:
        return picture.layers
    if not picture.images and picture.undecoded is None:
        return ()
    return (Layer(with_alpha(picture.decoded().images[0]), "Background"),)


def layer_at(picture: Picture, index: int) -> Layer:
    layers = layers_of(picture)
    if index >= len(layers):
        raise Problem(
            422,
            "bad_parameter",
            f"there is no layer {index}",
            parameter="index",
            expected=f"a layer from 0 to {len(layers) - 1}",
        )
    return layers[index]


def with_layers(picture: Picture, layers: tuple[Layer, ...], size: tuple[int, int] | None = None) -> Picture:
    """The picture shows its visible layers, flattened onto a canvas of its own size, or of `size`."""
    if len(layers) > LAYERS_MAX or sum(layer.image.width * layer.image.height for layer in layers) > limits.PIXELS_MAX:
        raise Problem(422, "picture_too_large", f"at most {LAYERS_MAX} layers and {limits.PIXELS_MAX} pixels in them")
    base = (
        picture.decoded()
        if picture.images or picture.undecoded is not None
        else replace(picture, images=(layers[0].image,))
    )
    width, height = size or (base.width, base.height)
    shown = composed(layers, width, height, visible_only=True)
    return replace(base, images=(shown,), layers=layers, delays=())


def chosen_layers(picture: Picture, entries: tuple[str, ...]) -> list[int]:
    """Indexes that a layer list names, in its order, each once. A picture without layers is its own background."""
    layers = layers_of(picture)
    chosen = list(dict.fromkeys(named(layers, entries)))
    if not chosen:
        raise Problem(
            422,
            "bad_parameter",
            "layers: the list names no layer of this picture",
            parameter="layers",
            expected=f"layers from 0 to {len(layers) - 1}, or their names: "
            + ", ".join(layer.name for layer in layers)[:200],
        )
    return chosen


def each_layer(picture: Picture, args: Args, change: Callable[[Image], Image], *, draws: bool) -> Picture:
    """A change to layers instead of frames: each is laid on the canvas (what lies beyond is cut off), changed, and the
    picture flattened again. Without `layers` all of them; of what draws, the topmost visible one. When all layers
    change, their new size becomes the canvas; otherwise it stays.
    """
    layers = list(layers_of(picture))
    if args.get("layers") is not None:
        chosen = chosen_layers(picture, args["layers"])
    elif draws:
        chosen = [max((n for n, layer in enumerate(layers) if layer.visible), default=len(layers) - 1)]
    else:
        chosen = list(range(len(layers)))
    width, height = picture.width, picture.height
    for n in chosen:
        made = with_alpha(change(_on_canvas(layers[n], width, height)))
        layers[n] = replace(layers[n], image=made, x=0, y=0)
    if len({layer.image.interpretation == "cmyk" for layer in layers}) > 1:
        raise Problem(
            422,
            "color_space",
            "all layers have one colour space",
            parameter="layers",
            expected="all layers, so that none stays in another colour space",
        )
    depth = picture.depth + 1
    if depth >= CHAIN_MAX:
        layers, depth = [replace(layer, image=layer.image.copy_memory()) for layer in layers], 0
    size = (layers[0].image.width, layers[0].image.height) if len(chosen) == len(layers) else None
    return replace(with_layers(picture, tuple(layers), size), depth=depth)


def _on_canvas(layer: Layer, width: int, height: int) -> Image:
    if (layer.x, layer.y, layer.image.width, layer.image.height) == (0, 0, width, height):
        return layer.image
    clear = filled(width, height, [0] * layer.image.bands, layer.image.interpretation)
    if layer.x >= width or layer.y >= height or layer.x <= -layer.image.width or layer.y <= -layer.image.height:
        return clear
    placed = layer.image.embed(layer.x, layer.y, width, height) if layer.x >= 0 and layer.y >= 0 else None
    if placed is None:
        placed = clear.insert(layer.image, layer.x, layer.y)
    return placed.copy(interpretation=layer.image.interpretation)


def seen(picture: Picture, entries: tuple[str, ...] | None) -> Picture:
    """What a method that only looks sees: the picture, or the listed layers flattened."""
    picture = picture.decoded()
    if entries is None:
        return replace(picture, layers=())
    chosen = chosen_layers(picture, entries)
    if not picture.layers:
        return picture
    layers = tuple(picture.layers[n] for n in chosen)
    image = composed(layers, picture.width, picture.height, visible_only=False)
    return replace(picture, images=(image,), layers=())


def composed(layers: tuple[Layer, ...], width: int, height: int, *, visible_only: bool, white: bool = False) -> Image:
    inks = layers[0].image.interpretation == "cmyk"
    mode = CMYKA if inks else RGBA_MODE
    ground = [0, 0, 0, 0, 255 if white else 0] if inks else ([255, 255, 255, 255] if white else [0, 0, 0, 0])
    image = filled(width, height, ground, interpretation_of(mode))
    for layer in layers:
        if layer.visible or not visible_only:
            image = put(image, layer.image, layer.x, layer.y, Ink(blend=layer.blend, opacity=layer.opacity))
    return image


def named(layers: tuple[Layer, ...], entries: tuple[str, ...]) -> list[int]:
    """Indexes in the order given: numbers, ranges, names with `*` (1.5)."""
    chosen: list[int] = []
    for entry in entries:
        first, dash, last = entry.partition("-")
        if first.isdigit() and (not dash or last.isdigit()):
            chosen += [n for n in range(int(first), int(last or first) + 1) if n < len(layers)]
        else:
            chosen += [
                n
                for n, layer in enumerate(layers)
                if fnmatch.fnmatchcase(layer.name, entry.replace("[", "[[]").replace("?", "[?]"))
            ]
    return chosen

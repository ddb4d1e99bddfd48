"""Layers and frames (reference 3.7). A picture gets layers by `setLayer`; layer 0 is the background. Frames
count from 1.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from cgn_sdk.dservice.problems import Problem

from dservices.mediagen import limits
from dservices.mediagen.compositing import Ink, put
from dservices.mediagen.picture import (
    CHAIN_MAX,
    CMYKA,
    Image,
    Layer,
    Picture,
    filled,
    first_bands,
    interpretation_of,
    with_alpha,
)
from dservices.mediagen.picture import RGBA as RGBA_MODE

Args = Mapping[str, Any]
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
    shown = _flattened(layers, width, height, visible_only=True)
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
    image = _flattened(layers, picture.width, picture.height, visible_only=False)
    return replace(picture, images=(image,), layers=())


def _flattened(layers: tuple[Layer, ...], width: int, height: int, *, visible_only: bool, white: bool = False) -> Image:
    inks = layers[0].image.interpretation == "cmyk"
    mode = CMYKA if inks else RGBA_MODE
    ground = [0, 0, 0, 0, 255 if white else 0] if inks else ([255, 255, 255, 255] if white else [0, 0, 0, 0])
    image = filled(width, height, ground, interpretation_of(mode))
    for layer in layers:
        if layer.visible or not visible_only:
            image = put(image, layer.image, layer.x, layer.y, Ink(blend=layer.blend, opacity=layer.opacity))
    return image


def set_layer(picture: Picture, media: Picture, args: Args) -> Picture:
    layers = list(layers_of(picture))
    index = args["index"]
    if index > len(layers):
        raise Problem(
            422,
            "bad_parameter",
            f"the next layer is {len(layers)}",
            parameter="index",
            expected=f"a layer from 0 to {len(layers)}",
        )
    image = with_alpha(media.decoded().images[0])
    if layers and (layers[0].image.interpretation == "cmyk") != (image.interpretation == "cmyk"):
        raise Problem(
            422,
            "color_space",
            "all layers have one colour space",
            parameter="media",
            expected="the colour space of the background",
        )
    if index == len(layers):
        layers.append(Layer(image, f"Layer {index}"))
    else:
        layers[index] = replace(layers[index], image=image)
    return with_layers(picture, tuple(layers))


def change_layer(picture: Picture, index: int, **changes: Any) -> Picture:
    changed = replace(layer_at(picture, index), **changes)
    layers = tuple(changed if n == index else layer for n, layer in enumerate(layers_of(picture)))
    return with_layers(picture, layers)


def collapse(picture: Picture, args: Args) -> Picture:
    layers = layers_of(picture)
    if args["layers"] is not None:
        layers = tuple(layers[n] for n in chosen_layers(picture, args["layers"]))
    base = picture.decoded()
    image = _flattened(layers, base.width, base.height, visible_only=args["visibleonly"], white=args["likeps"])
    last = image.bands - 1
    if args["ignorealpha"]:
        image = first_bands(image, last).copy(interpretation=image.interpretation)
    elif args["preservealpha"] or args["likeps"]:
        first = filled(base.width, base.height, [0] * image.bands, image.interpretation)
        alpha = put(first, layers[0].image, layers[0].x, layers[0].y, Ink())[last]
        image = first_bands(image, last).bandjoin(alpha).copy(interpretation=image.interpretation)
    return replace(base, images=(image,), layers=())


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


# -- frames -------------------------------------------------------------------------------------------------------


def frame_at(picture: Picture, number: int) -> Picture:
    picture = picture.decoded()
    if number > picture.frame_count:
        raise Problem(
            422,
            "bad_parameter",
            f"there is no frame {number}",
            parameter="index",
            expected=f"a frame from 1 to {picture.frame_count}",
        )
    return replace(picture, images=(picture.images[number - 1],), delays=(), layers=())


def set_frame(picture: Picture, media: Picture, args: Args) -> Picture:
    frame, depth = media.decoded().images[0], max(picture.depth, media.depth)
    if not picture.images and picture.undecoded is None:
        picture = replace(media.decoded(), images=(), delays=(), layers=())
    else:
        picture = picture.decoded()
    number, images = args["index"], list(picture.images)
    if number > len(images) + 1:
        raise Problem(
            422,
            "bad_parameter",
            f"the next frame is {len(images) + 1}",
            parameter="index",
            expected=f"a frame from 1 to {len(images) + 1}",
        )
    delays = list(picture.delays)
    if number == len(images) + 1:
        images.append(frame)
        if delays or len(images) > 1:
            delays = [*delays, *[100] * (len(images) - len(delays))]
    else:
        images[number - 1] = frame
    return picture.with_images(tuple(images), delays=tuple(delays), layers=(), depth=depth)


def set_delay(picture: Picture, args: Args) -> Picture:
    picture = picture.decoded()
    frame_at(picture, args["index"])
    delays = list(picture.delays) or [100] * picture.frame_count
    delays[args["index"] - 1] = args["delay"]
    return replace(picture, delays=tuple(delays))


def get_delay(picture: Picture, args: Args) -> int:
    frame_at(picture, args["index"])
    return picture.delays[args["index"] - 1] if picture.delays else 0

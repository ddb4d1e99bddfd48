"""Layers and frames (reference 3.7). A picture gets layers by `setLayer`; layer 0 is the background. Frames
count from 1.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cgn_sdk.dservice.problems import Problem

from dservices.mediagen.language.values import Args
from dservices.mediagen.picture.blending import Ink, put
from dservices.mediagen.picture.layers import chosen_layers, composed, layer_at, layers_of, with_layers
from dservices.mediagen.picture.picture import (
    Layer,
    Picture,
    filled,
    first_bands,
    with_alpha,
)


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
    image = composed(layers, base.width, base.height, visible_only=args["visibleonly"], white=args["likeps"])
    last = image.bands - 1
    if args["ignorealpha"]:
        image = first_bands(image, last).copy(interpretation=image.interpretation)
    elif args["preservealpha"] or args["likeps"]:
        first = filled(base.width, base.height, [0] * image.bands, image.interpretation)
        alpha = put(first, layers[0].image, layers[0].x, layers[0].y, Ink())[last]
        image = first_bands(image, last).bandjoin(alpha).copy(interpretation=image.interpretation)
    return replace(base, images=(image,), layers=())


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

"""The engine's name (G-8): who makes other bytes may have another one, and is not judged by it."""

from __future__ import annotations

import platform
import tomllib
from importlib import resources

import pyvips

from dservices.mediagen.formats import webp


def engine(fonts_digest: str) -> str:
    """Version of the service, of libvips, of libwebp, kind of processor, and the fonts."""
    descriptor = tomllib.loads(resources.files("dservices.mediagen").joinpath("dservice.toml").read_text("utf-8"))
    libvips = ".".join(str(pyvips.version(part)) for part in range(3))
    service = descriptor["dservice"]["version"]
    return f"{service} libvips-{libvips} libwebp-{webp.version()} {platform.machine()} fonts-{fonts_digest}"

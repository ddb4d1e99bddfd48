"""A picture without pixels: what a dry run knows of it, and what there is still to do."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from dservices.mediagen.estimator.contents import FLAT, Content
from dservices.mediagen.estimator.headers import Facts
from dservices.mediagen.picture.picture import CMYK, CMYKA, GRAY, RGB, RGBA

MEGA = 1e6


_BANDS = {GRAY: 1, RGB: 3, RGBA: 4, CMYK: 4, CMYKA: 5}


@dataclass(frozen=True, slots=True)
class Term:
    """`amount` of what `name` stands for, mostly millions of channel values. A term with a `once` is paid once."""

    name: str
    amount: float
    once: int = 0


@dataclass(frozen=True, slots=True)
class LayerSketch:
    """One layer: what flattening costs depends on its size and blend mode."""

    name: str
    width: int
    height: int
    blend: str = "Normal"
    visible: bool = True
    content: Content = FLAT


@dataclass(frozen=True, slots=True)
class Sketch:
    """A picture without pixels. `undecoded` is set as long as a scale may still let the decoder shrink."""

    width: int = 0
    height: int = 0
    mode: str = RGB
    frames: int = 1
    moves: bool = False
    """Frames with delays: an animation."""
    file_type: str | None = None
    dpi: tuple[float, float] = (72.0, 72.0)
    content: Content = FLAT
    """What there is to encode, as far as the sources' heads tell."""
    undecoded: Facts | None = None
    pending: tuple[Term, ...] = ()
    palette: int = 0
    selection: bool = False
    layers: tuple[LayerSketch, ...] = ()
    """From the background up. What flattening them costs is not pending yet."""

    @property
    def bands(self) -> int:
        return _BANDS[self.mode]

    @property
    def area(self) -> float:
        """Millions of pixels, all frames."""
        return self.width * self.height * self.frames / MEGA

    @property
    def values(self) -> float:
        """Millions of channel values."""
        return self.area * self.bands

    @property
    def alpha(self) -> bool:
        return self.mode in (RGBA, CMYKA)

    def then(self, *terms: tuple[str, float], **changes: Any) -> Sketch:
        """The sketch with more to be done."""
        added = tuple(Term(name, amount) for name, amount in terms if amount > 0)
        return replace(self, pending=(*self.pending, *added), **changes)

    def with_terms(self, terms: tuple[Term, ...]) -> Sketch:
        """The sketch that also needs another's pixels."""
        return replace(self, pending=(*self.pending, *terms))

    def shared(self, share: float) -> Sketch:
        """The sketch of which only a share will be looked at."""
        if share >= 1:
            return self
        # Laying out a step costs the same whatever is looked at.
        kept = tuple(t if t.once or t.name.endswith(".call") else Term(t.name, t.amount * share) for t in self.pending)
        return replace(self, pending=kept)

"""What operations ask of the request they are part of: other pictures, files, fonts, profiles."""

from __future__ import annotations

from typing import Any, Protocol

from dservices.mediagen.operations.fonts import Fonts
from dservices.mediagen.picture.picture import Picture


class Host(Protocol):
    """One request, as an operation sees it. Every method raises Problem for what is not there."""

    fonts: Fonts
    profiles: dict[int, bytes]
    """ICC profiles by the number that the script's object has."""

    def picture(self, handle: int) -> Picture:
        """The picture of a Media object."""

    def load_named(self, name: str) -> Picture:
        """A picture from an address or a file of this request."""

    def read(self, name: str) -> bytes:
        """The bytes of an address or a file of this request."""

    def made(self, picture: Picture) -> dict[str, Any]:
        """A new Media object of the script's for this picture."""

"""The reference page is made from the tables and current (S-6)."""

from pathlib import Path

from dservices.mediagen import operations
from dservices.mediagen.catalogue import MEDIA
from dservices.mediagen.reference import page


def test_the_page_is_current():
    assert (Path(__file__).parents[4] / "docs/reference/mediagen.md").read_text("utf-8") == page()


def test_every_method_is_carried_out_by_exactly_one_function():
    assert not operations.TRANSFORMS.keys() & operations.QUERIES.keys()
    assert operations.TRANSFORMS.keys() | operations.QUERIES.keys() | {"load", "loadAsRGB", "save"} == MEDIA.keys()

"""The reference page is made from the tables and current (S-6)."""

from pathlib import Path

from dservices.mediagen.language.catalogue import MEDIA
from dservices.mediagen.language.reference import page
from dservices.mediagen.operations import methods


def test_the_page_is_current():
    assert (Path(__file__).parents[5] / "docs/reference/mediagen.md").read_text("utf-8") == page()


def test_every_method_is_carried_out_by_exactly_one_function():
    assert not methods.TRANSFORMS.keys() & methods.QUERIES.keys()
    assert methods.TRANSFORMS.keys() | methods.QUERIES.keys() | {"load", "loadAsRGB", "save"} == MEDIA.keys()

"""Terms of encoders (G-8): curves out of straight pieces, efforts between those that were measured."""

import pytest

from dservices.mediagen.estimator import contents, encoder_costs
from dservices.mediagen.estimator.dry_run import Sketch
from dservices.mediagen.language.catalogue import MEDIA, check


def amounts(kind: str, content: contents.Content = contents.FLAT, **options: object) -> dict[str, float]:
    args = check(MEDIA["save"], {"named": [["type", kind], *([name, value] for name, value in options.items())]})
    return dict(encoder_costs.encoding(kind, Sketch(1000, 500, content=content), args, False))


@pytest.mark.parametrize(("x", "shares"), [(0.0, {"n.p0": 8}), (0.1, {"n.p0": 4, "n.p200": 4}), (0.2, {"n.p200": 8}), (9, {"n.p200": 8})])  # fmt: skip
def test_an_amount_is_shared_between_neighbouring_points(x: float, shares: dict[str, float]) -> None:
    found = {name: amount for name, amount in encoder_costs.points("n", 8.0, x, (0.0, 0.2)) if amount}
    assert found == pytest.approx(shares)


def test_an_effort_between_two_is_made_up_of_both() -> None:
    assert encoder_costs.efforts("avif", 4) == [("avif.4", 1.0)]
    (low, most), (high, rest) = encoder_costs.efforts("avif", 3)
    assert (low, high) == ("avif.2", "avif.4") and most + rest == pytest.approx(1) and most > rest > 0.2
    ((name, share),) = encoder_costs.efforts("avif", 9)
    assert name == "avif.6" and share > 3


@pytest.mark.parametrize("kind", ["png", "webp", "avif", "gif", "tiff", "jpeg", "bmp", "pdf"])
def test_the_whole_area_is_encoded_whatever_is_in_it(kind: str) -> None:
    """The amounts of a curve add up to the area (0.5 megapixels, 1.5 million values)."""
    for content in (contents.FLAT, contents.photograph(), contents.letters(14), contents.photograph(0.9)):
        found = amounts(kind, content)
        curve = sum(amount for name, amount in found.items() if not name.endswith(".bits") and ".root" not in name)
        assert curve == pytest.approx(1.5 if kind in ("png", "tiff", "jpeg", "bmp", "pdf") else 0.5)


def test_lossless_depends_on_roughness_lossy_on_what_the_quality_leaves() -> None:
    photo, chart = contents.photograph(), contents.graphic(0.01)
    assert amounts("png", photo) != amounts("png", chart)
    assert amounts("webp", photo, quality=30) != amounts("webp", photo, quality=95)
    assert "save.webp.lossless.4.few.p0" in amounts("webp", chart, lossless=True)
    assert amounts("webp", photo, lossless=True)["save.webp.lossless.4.few.p100"] == 0.0

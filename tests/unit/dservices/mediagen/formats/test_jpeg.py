"""JPEGs are scaled down by one decoder or the other with the very same pixels (G-1), and the bad ones by neither (G-6)."""

import hashlib
import io
import os
import random
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import PIL.Image
import pytest
import pyvips

from dservices.mediagen import samples
from dservices.mediagen.formats import decoding, jpeg

Decoder = Callable[[bytes, Any, int], Any]


@pytest.fixture(scope="module")
def scene() -> Any:
    return samples.landscape(1000, 750).copy_memory()


def drawn(scene: Any, chance: random.Random, **options: Any) -> bytes:
    """A JPEG of a random piece of the scene, of a random kind."""
    width, height = chance.randint(1, 900), chance.randint(1, 700)
    piece = scene.crop(chance.randint(0, 1000 - width), chance.randint(0, 750 - height), width, height)
    if chance.random() < 0.25:
        piece = piece.colourspace("b-w")
    options = {"Q": chance.choice((40, 85, 97)), "subsample_mode": chance.choice(("on", "off")), **options}
    if chance.random() < 0.3:
        options["restart_interval"] = chance.randint(1, 9)
    return bytes(piece.jpegsave_buffer(keep="none", **options))


def header_of(data: bytes) -> Any:
    return pyvips.Image.jpegload_buffer(data, fail_on="error")


def test_the_pixels_are_those_of_the_other_decoder(scene: Any) -> None:
    """300 pictures: gray and RGB, with and without fewer colours, restarts, odd sides."""
    chance = random.Random(16)
    compared = 0
    for _ in range(300):
        data, factor = drawn(scene, chance), chance.choice((2, 4, 8))
        header = header_of(data)
        if min(header.width, header.height) < factor:
            continue
        mine, theirs = jpeg.shrunk(data, header, factor), pyvips.Image.jpegload_buffer(data, shrink=factor)
        assert mine is not None
        assert (mine.width, mine.height, mine.bands) == (theirs.width, theirs.height, theirs.bands)
        assert mine.interpretation == theirs.interpretation
        assert mine.write_to_memory() == theirs.write_to_memory(), (header.width, header.height, factor)
        compared += 1
    assert compared > 250


@pytest.mark.parametrize(
    "kind",
    [{"keep_rgb": True}, {"subsampling": 1}, {"optimize": True}, {"comment": b"x" * 60_000}],
    ids=lambda kind: next(iter(kind)),
)
def test_kinds_that_other_programs_write(scene: Any, kind: dict[str, Any]) -> None:
    """Without a change of colours, 4:2:2, tables of their own, a long comment."""
    out = io.BytesIO()
    PIL.Image.frombytes("RGB", (1000, 750), scene.write_to_memory()).save(out, "JPEG", quality=80, **kind)
    data = out.getvalue()
    for factor in (2, 4, 8):
        mine = jpeg.shrunk(data, header_of(data), factor)
        assert mine is not None
        assert mine.write_to_memory() == pyvips.Image.jpegload_buffer(data, shrink=factor).write_to_memory()


def test_a_scaled_picture_is_the_same_whoever_decodes(scene: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(17)
    for _ in range(60):
        data = drawn(scene, chance)
        header = header_of(data)
        size = max(1, header.width // chance.randint(2, 9)), max(1, header.height // chance.randint(2, 9))
        mine = decoding.shrunk_lines(data, header, "jpeg", *size, True)[0].write_to_memory()
        with monkeypatch.context() as patched:
            patched.setattr(jpeg, "shrunk", lambda *_: None)
            assert mine == decoding.shrunk_lines(data, header, "jpeg", *size, True)[0].write_to_memory()


@pytest.mark.parametrize("simd", [{"JSIMD_FORCENONE": "1"}, {"JSIMD_FORCESSE2": "1"}, {}], ids=["C", "SSE2", "all"])
def test_the_processor_changes_nothing(scene: Any, simd: dict[str, str], tmp_path: Any) -> None:
    """In a process of its own, where the library has not yet looked at the processor."""
    data = drawn(scene.resize(0.999), random.Random(18), Q=85)
    (tmp_path / "a.jpg").write_bytes(data)
    code = (
        "import sys, hashlib, pyvips; from dservices.mediagen.formats import jpeg;"
        "data = open(sys.argv[1], 'rb').read();"
        "image = jpeg.shrunk(data, pyvips.Image.jpegload_buffer(data), 2);"
        "print(hashlib.sha256(image.write_to_memory()).hexdigest())"
    )
    told = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a.jpg")],
        env={**os.environ, **simd},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout.strip()
    want = pyvips.Image.jpegload_buffer(data, shrink=2).write_to_memory()
    assert told == hashlib.sha256(want).hexdigest()


@pytest.mark.parametrize(
    ("why", "change", "options"),
    [
        ("several scans", lambda data: data, {"interlace": True}),
        ("cut off", lambda data: data[: len(data) * 2 // 3], {}),
        ("no end", lambda data: data[:-2], {}),
        ("nothing after its head", lambda data: data[: data.index(b"\xff\xda") + 14], {}),
    ],
)
def test_what_is_not_plain_and_whole_is_left_to_libvips(
    scene: Any, why: str, change: Callable[[bytes], bytes], options: dict[str, Any]
) -> None:
    whole = bytes(scene.jpegsave_buffer(Q=80, keep="none", **options))
    data = change(whole)
    assert jpeg.shrunk(data, header_of(whole), 4) is None, why


def test_inks_and_large_results_are_left_to_libvips(scene: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    inks = scene.bandjoin(scene[0]).copy(interpretation="cmyk").jpegsave_buffer(keep="none")
    assert jpeg.shrunk(bytes(inks), header_of(bytes(inks)), 2) is None
    data = bytes(scene.jpegsave_buffer(keep="none"))
    monkeypatch.setattr(jpeg, "PIXELS_MAX", 500 * 375 - 1)
    assert jpeg.shrunk(data, header_of(data), 2) is None
    assert jpeg.shrunk(data, header_of(data), 4) is not None


def scaled(data: bytes) -> bytes | None:
    """Its pixels at a quarter, None if it is refused."""
    try:
        header = header_of(data)
        if min(header.width, header.height) < 8:
            return None
        size = header.width // 4, header.height // 4
        return bytes(decoding.shrunk_lines(data, header, "jpeg", *size, True)[0].write_to_memory())
    except pyvips.Error:
        return None


def damaged(whole: bytes, chance: random.Random) -> bytes:
    """One to three places changed or cut out, one in five cut off."""
    data = bytearray(whole[: chance.randrange(700, len(whole))] if chance.random() < 0.2 else whole)
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(2, len(data))
        if chance.random() < 0.5:
            data[at] = chance.randrange(256)
        else:
            del data[at : at + chance.randint(1, 400)]
    return bytes(data)


def test_a_damaged_picture_is_refused_or_decoded_by_both_alike(scene: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one way gives, the other gives, pixels or refusal (G-6)."""
    chance = random.Random(19)
    whole = bytes(scene.crop(0, 0, 400, 300).jpegsave_buffer(Q=80, keep="none"))
    refused = 0
    for _ in range(200):
        data = damaged(whole, chance)
        mine = scaled(data)
        with monkeypatch.context() as patched:
            patched.setattr(jpeg, "shrunk", lambda *_: None)
            assert scaled(data) == mine
        refused += mine is None
    assert 10 < refused < 190


def test_smooth_is_the_same_picture_by_either_decoder(scene: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is scaled down half by the decoder and half by the kernel (`alg @ 'Smooth'`), from memory or line by line."""
    chance, compared = random.Random(17), 0
    for _ in range(60):
        data = drawn(scene, chance)
        header = header_of(data)
        width, height = (
            max(1, header.width // chance.choice((4, 5, 9, 16))),
            max(1, header.height // chance.choice((4, 5, 9))),
        )
        mine, at_hand = decoding.shrunk_lines(data, header, "jpeg", width, height, False)
        with monkeypatch.context() as patch:
            patch.setattr(jpeg, "shrunk", lambda *_: None)
            theirs, by_lines = decoding.shrunk_lines(data, header, "jpeg", width, height, False)
        assert not by_lines
        assert mine.write_to_memory() == theirs.write_to_memory(), (header.width, header.height, width, height)
        compared += at_hand
    assert compared > 40

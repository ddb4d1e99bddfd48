"""WebP written by Pillow (G-1, G-6, G-7): the bytes libvips' own encoder writes of the same pictures, or a reason."""

import os
import random
import subprocess
import sys
from collections.abc import Mapping
from itertools import product
from typing import Any

import pytest
import pyvips
from cgn_sdk.dservice.problems import Problem
from gallery_runner import INSTRUCTIONS, libwebp_on

from dservices.mediagen.formats import encoding, metadata, webp
from dservices.mediagen.formats.integrity import defect
from dservices.mediagen.picture.picture import Picture

SRGB, CMYK_PROFILE = (bytes(pyvips.Image.profile_load(name)) for name in ("srgb", "cmyk"))
EXIF = metadata.write_exif([("Orientation", "1"), ("Artist", "somebody"), ("ExposureTime", "1/125")])
XMP = metadata.block_of("XMP", "<x:xmpmeta xmlns:x='adobe:ns:meta/'/>")
BLOCKS = {"exif": ("exif-data", EXIF), "xmp": ("xmp-data", XMP), "icc": ("icc-profile-data", SRGB)}
DEFAULTS: dict[str, Any] = {"quality": 80, "lossless": False, "effort": 4, "keep": "none"}


def by_libvips(image: pyvips.Image, *, quality: int, **options: Any) -> bytes:
    return bytes(image.webpsave_buffer(Q=quality, **options))


def noise(rng: random.Random, width: int, height: int, sigma: float) -> pyvips.Image:
    return pyvips.Image.gaussnoise(width, height, seed=rng.randrange(1 << 30), sigma=sigma, mean=128)


def picture(rng: random.Random, width: int, height: int, kind: str) -> pyvips.Image:
    if kind == "flat":
        bands = [pyvips.Image.black(width, height) + rng.randrange(256) for _ in range(3)]
    elif kind == "slopes":
        place = pyvips.Image.xyz(width, height)
        bands = [place[n % 2] * rng.uniform(-9, 9) + rng.randrange(256) for n in range(3)]
    elif kind == "drawing":
        bands = [(noise(rng, width, height, 90) > 128).cast("uchar") & rng.randrange(256) for _ in range(3)]
    else:
        bands = [noise(rng, width, height, 50) for _ in range(3)]
    return bands[0].bandjoin(bands[1:]).cast("uchar").copy(interpretation="srgb")


def see_through(rng: random.Random, image: pyvips.Image, kind: str) -> pyvips.Image:
    if kind == "none":
        return image.copy_memory()
    width, height = image.width, image.height
    alpha = {
        "opaque": lambda: pyvips.Image.black(width, height) + 255,
        "empty": lambda: pyvips.Image.black(width, height),
        "soft": lambda: noise(rng, width, height, 80),
        "holes": lambda: (pyvips.Image.xyz(width, height)[0] % 11 > 5).cast("uchar"),
    }[kind]()
    return image.bandjoin(alpha.cast("uchar")).copy_memory()


def dressed(rng: random.Random, image: pyvips.Image) -> tuple[pyvips.Image, str]:
    """With some blocks, of which some shall be kept."""
    image = image.copy(xres=rng.uniform(1, 20), yres=rng.uniform(1, 20))
    for field, block in BLOCKS.values():
        if rng.random() < 0.7:
            image.set_type(pyvips.GValue.blob_type, field, block)
    return image, ":".join(name for name in BLOCKS if rng.random() < 0.7) or "none"


def strip(frames: list[pyvips.Image], delays: list[int], loop: int = 0) -> pyvips.Image:
    whole = pyvips.Image.arrayjoin(frames, across=1).copy_memory().copy()
    whole.set_type(pyvips.GValue.gint_type, "page-height", frames[0].height)
    whole.set_type(pyvips.GValue.array_int_type, "delay", delays)
    whole.set_type(pyvips.GValue.gint_type, "loop", loop)
    return whole


def moving(rng: random.Random, count: int, alpha: str = "none") -> list[pyvips.Image]:
    """Frames that share most of their pixels, now and then one twice."""
    ground = picture(rng, 40, 30, rng.choice(["slopes", "noise", "drawing"]))
    frames = []
    for _ in range(count):
        patch = picture(rng, 12, 9, "noise")
        frame = see_through(rng, ground.insert(patch, rng.randrange(28), rng.randrange(21)), alpha)
        frames += [frame] * (rng.choice([1, 1, 1, 2]) if frames else 1)
    return frames[:count]


def frames_of(data: bytes) -> tuple[list[int], int, pyvips.Image]:
    image = pyvips.Image.new_from_buffer(data, "", n=-1)
    return image.get("delay"), image.get("loop"), image


# -- the same bytes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["flat", "slopes", "drawing", "noise"])
@pytest.mark.parametrize("alpha", ["none", "opaque", "empty", "soft", "holes"])
def test_stills_are_the_bytes_libvips_writes(kind: str, alpha: str) -> None:
    """G-1: every combination of what `save` offers, over pictures of every sort and awkward sizes."""
    rng = random.Random(f"{kind} {alpha}")
    for lossless, effort in product((False, True), range(7)):
        width, height = rng.choice([(1, 1), (1, 37), (53, 1), (16, 16), (61, 43), (97, 64)])
        image, keep = dressed(rng, see_through(rng, picture(rng, width, height, kind), alpha))
        options = {"quality": rng.choice([1, 30, 75, 80, 99, 100]), "lossless": lossless, "effort": effort}
        wanted = by_libvips(image, keep=keep, **options)
        assert webp.save(image, keep=keep, **options) == wanted, (options, keep, width, height)
        assert defect("webp", wanted) is None


@pytest.mark.parametrize("alpha", ["none", "soft", "holes"])
def test_lossless_animations_are_the_bytes_libvips_writes(alpha: str) -> None:
    """Delays that libvips lengthens, frames that are the same and become one, loops, blocks."""
    rng = random.Random(f"moving {alpha}")
    for count in (2, 3, 8, 23):
        frames = moving(rng, count, alpha)
        delays = [rng.choice([0, 1, 10, 11, 39, 40, 41, 500, 655_350]) for _ in frames]
        image, keep = dressed(rng, strip(frames, delays, rng.choice([0, 1, 65_535])))
        options = {"quality": rng.choice([20, 80, 100]), "lossless": True, "effort": rng.randrange(7)}
        keep = keep.replace("exif:", "").replace("exif", "none") if "exif" in keep else keep
        assert webp.save(image, keep=keep, **options) == by_libvips(image, keep=keep, **options), (options, keep)


def test_frames_that_are_all_the_same_become_a_still() -> None:
    frames = moving(random.Random(4), 1) * 5
    image = strip(frames, [70] * 5)
    assert webp.save(image, **DEFAULTS | {"lossless": True}) == by_libvips(image, **DEFAULTS | {"lossless": True})


def test_lossy_animations_are_nearer_to_their_source_than_those_of_libvips() -> None:
    """libvips turns each frame to YUV and back before libwebp does it once more; the frames, times and loops are the
    same, the bytes are not."""
    rng = random.Random(8)
    for count in (2, 9):
        image = strip(moving(rng, count), [rng.choice([0, 40, 90]) for _ in range(count)], 7)
        ours, theirs = webp.save(image, **DEFAULTS), by_libvips(image, **DEFAULTS)
        assert ours != theirs
        assert defect("webp", ours) is None
        (delays, loop, made), (their_delays, their_loop, other) = frames_of(ours), frames_of(theirs)
        assert (delays, loop, made.height) == (their_delays, their_loop, other.height)
        away, their_away = ((one.extract_band(0, n=3) - image).abs().avg() for one in (made, other))
        assert away < their_away


@pytest.mark.parametrize("processor", INSTRUCTIONS)
def test_the_bytes_are_those_of_every_processor(processor: str) -> None:
    """G-1: libwebp without vector instructions, and with those of older processors."""
    rng = random.Random(6)
    cases = []
    for lossless, alpha in product((False, True), ("none", "soft", "holes")):
        frames = moving(rng, 3, alpha)
        for effort in (0, 3, 4, 6):
            still = see_through(rng, picture(rng, 99, 70, rng.choice(["slopes", "noise", "drawing"])), alpha)
            options = {"quality": rng.choice([5, 80, 100]), "lossless": lossless, "effort": effort, "keep": "none"}
            cases += [(still, options), (strip(frames, [40] * 3), options)]
    here = [webp.save(image, **options) for image, options in cases]
    with libwebp_on(processor):
        assert [webp.save(image, **options) for image, options in cases] == here


# -- blocks ------------------------------------------------------------------------------------------------------------


def chunks(data: bytes) -> Mapping[bytes, bytes]:
    found, at = {}, 12
    while at < len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        found[data[at : at + 4]] = data[at + 8 : at + 8 + size]
        at += 8 + size + size % 2
    return found


def with_block(image: pyvips.Image, name: str, block: bytes) -> pyvips.Image:
    image = image.copy()
    image.set_type(pyvips.GValue.blob_type, BLOCKS[name][0], block)
    return image


def test_exif_of_an_animation_tells_the_size_of_a_frame() -> None:
    """Where libvips tells the height of all frames together; all else of the block is the same."""
    image = with_block(strip(moving(random.Random(1), 3), [40] * 3), "exif", EXIF)
    options = DEFAULTS | {"keep": "exif", "lossless": True}
    ours, theirs = (chunks(encode(image, **options))[b"EXIF"] for encode in (webp.save, by_libvips))
    assert ours == metadata.sized(theirs, 40, 30) != theirs
    assert metadata.sized(ours, 40, 90) == theirs
    for block in (ours, ours.removeprefix(b"Exif\0\0")):
        assert metadata.sized(metadata.sized(block, 7, 9), 40, 30) == block
    for cut in range(len(ours)):
        assert len(metadata.sized(ours[:cut], 7, 9)) == cut


@pytest.mark.parametrize(
    "block",
    [
        b"Exif\0\0",
        EXIF[:40],
        EXIF[6:],
        bytes(70_000),
        b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x87\x69\0\x04\0\0\0\x01\0\0\0\x1a\0\0\0\0\0\x02\xa0\x02\0\x03\0\0\0\x01\0\x09\0\0\xa0\x03\0\x04\0\0\0\x01\0\0\0\x09\0\0\0\0",
    ],
)
def test_strange_exif_is_written_as_libvips_writes_it(block: bytes) -> None:
    image = with_block(picture(random.Random(2), 300, 20, "slopes"), "exif", block)
    options = DEFAULTS | {"keep": "exif"}
    assert webp.save(image, **options) == by_libvips(image, **options)


@pytest.mark.parametrize("profile", [CMYK_PROFILE, b"no profile", SRGB[:200], bytes(SRGB[:16]) + b"GRAY" + SRGB[20:]])
def test_a_profile_of_other_channels_is_left_out_as_libvips_does(profile: bytes) -> None:
    image = with_block(picture(random.Random(2), 30, 20, "slopes"), "icc", profile)
    options = DEFAULTS | {"keep": "icc"}
    assert webp.save(image, **options) == by_libvips(image, **options)
    if profile == CMYK_PROFILE:
        assert b"ICCP" not in chunks(webp.save(image, **options))


# -- limits and failures -----------------------------------------------------------------------------------------------


def test_sides_up_to_the_formats_limit() -> None:
    for width, height in ((16_383, 1), (1, 16_383)):
        image = picture(random.Random(3), width, height, "slopes")
        assert webp.save(image, **DEFAULTS) == by_libvips(image, **DEFAULTS)
    wide, tall = (pyvips.Image.black(*size, bands=3).copy(interpretation="srgb") for size in ((16_384, 1), (1, 16_384)))
    for image in (wide, tall, strip([wide, wide], [40, 40])):
        with pytest.raises(webp.NotWritten):
            webp.save(image, **DEFAULTS)


def test_more_loops_than_the_format_can_say() -> None:
    """A GIF may ask for 65,536; libvips wrote 0, for ever."""
    image = strip(moving(random.Random(5), 2), [40, 40], 65_536)
    assert frames_of(webp.save(image, **DEFAULTS))[1] == 65_535


def saved(picture: Picture, **options: Any) -> bytes:
    names = ("name", "frames", "delay", "loop", "dpi", "quality", "effort", "embedprofile", "colors")
    return encoding.encode(
        picture,
        {
            **dict.fromkeys(names),
            "type": "webp",
            "lossless": False,
            "savemetadata": True,
            "interlaced": False,
            **options,
        },
    )[0]


def test_failures_are_problems() -> None:
    """G-6: what libwebp refuses, and what cannot be decoded while it is written."""
    image = picture(random.Random(3), 300, 200, "noise")
    cut = bytes(image.pngsave_buffer())[:40_000]
    broken = pyvips.Image.new_from_buffer(cut, "", access="sequential", fail_on="error")
    wide = pyvips.Image.black(16_384, 2, bands=3).copy(interpretation="srgb")
    for images, blocks in (((broken,), {}), ((image, wide), {}), ((image,), {"Exif": b"x"})):
        with pytest.raises(Problem) as caught:
            saved(Picture(images=images, delays=(40,) * (len(images) - 1) * 2, metadata=blocks))
        assert (caught.value.status, caught.value.code) == (422, "FileMangled")
    assert saved(Picture(images=(image,), metadata={"Exif": EXIF}))[8:12] == b"WEBP"


ALONE = """
import resource, sys
import pyvips
from dservices.mediagen.formats import webp
from dservices.mediagen.worker.memory import Memory
memory = Memory()
pyvips.cache_set_max(0)
options = {"quality": 80, "lossless": "lossless" in sys.argv, "effort": 4, "keep": "none"}
def image(side):
    image = pyvips.Image.black(side, side * (1 if "still" in sys.argv else 2), bands=3).copy(interpretation="srgb")
    if "still" not in sys.argv:
        image.set_type(pyvips.GValue.gint_type, "page-height", side)
        image.set_type(pyvips.GValue.array_int_type, "delay", [40, 40])
        image.set_type(pyvips.GValue.gint_type, "loop", 0)
    return image
small, large = image(20), image(2000)
webp.save(small, **options)
large.write_to_memory()  # libvips has its threads
pixels = 16_000_000 if "still" in sys.argv else 32_000_000
used = int(open("/proc/self/status").read().split("VmData:")[1].split()[0]) << 10
before = memory.in_use()
for more in [pixels // 2, *range(pixels + 8_000_000, 200_000_000, 8_000_000)]:
    resource.setrlimit(resource.RLIMIT_DATA, (used + more, resource.RLIM_INFINITY))
    try:
        webp.save(large, **options)
    except MemoryError:
        print("memory")
    except pyvips.Error:
        print("pixels")
    else:
        print("done")
        break
kept = memory.in_use() - before
# As a worker does for its next request: so much room from where it stands.
resource.setrlimit(resource.RLIMIT_DATA, (memory.in_use() + 16_000_000, resource.RLIM_INFINITY))
webp.save(small, **options)
print(kept)
"""


@pytest.mark.parametrize("what", ["still", "still lossless", "moving", "moving lossless"])
def test_too_little_memory_is_said_to_be_that(what: str) -> None:
    """G-6: wherever it ends, in libvips, in Pillow or inside libwebp; and the next picture is written again."""
    said = subprocess.run(
        [sys.executable, "-c", ALONE, *what.split()],
        # One thread as in a worker; one heap, so that what is not given back can be counted.
        env={**os.environ, "VIPS_CONCURRENCY": "1", "MALLOC_ARENA_MAX": "1"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert said.returncode == 0, said.stderr
    first, *more, last, kept = said.stdout.split()
    assert (first, last) == ("pixels", "done")
    assert more.count("memory") >= 2
    assert int(kept) < 28_000_000, "each failure has left its pixels (16 MB); a few threads' stacks are 8 each"


QUIET = """
import sys
from dservices.mediagen.channel import Status
from dservices.mediagen.estimator.estimates import Estimates
from dservices.mediagen.worker.worker import Runner
import mmap, pyvips
Runner(None, Status(mmap.mmap(-1, mmap.PAGESIZE)), Estimates())
before, seen = set(sys.modules), []
sys.addaudithook(lambda event, arguments: seen.append((event, arguments)) if event in ("open", "import") else None)
from dservices.mediagen.formats import webp
image = pyvips.Image.black(9, 8, bands=3).copy(interpretation="srgb")
options = {"quality": 80, "lossless": False, "effort": 4, "keep": "all"}
webp.save(image, **options)
image.set_type(pyvips.GValue.gint_type, "page-height", 4)
image.set_type(pyvips.GValue.array_int_type, "delay", [40, 40])
image.set_type(pyvips.GValue.gint_type, "loop", 0)
webp.save(image, **options)
assert seen == [], seen
print(sorted(name for name in sys.modules if name.endswith("ImagePlugin")), set(sys.modules) - before)
import PIL.Image
print(list(PIL.Image.OPEN))
"""


def test_a_worker_has_loaded_all_it_needs_and_no_other_format() -> None:
    """G-6: nothing is opened or imported when the first picture is saved, and Pillow's readers are not there."""
    said = subprocess.run([sys.executable, "-c", QUIET], capture_output=True, text=True, timeout=60)
    assert said.returncode == 0, said.stderr
    assert said.stdout.splitlines() == ["['PIL.WebPImagePlugin'] set()", "['WEBP']"]

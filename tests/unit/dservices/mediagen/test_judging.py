"""Decisions of the verifier (G-8) over numbers and bytes, and the descriptor that names its routes (S-3)."""

import tomllib
from pathlib import Path

import pytest
import pyvips
from cgn_sdk.dservice import estimates, verdicts
from cgn_sdk.dservice.problems import Problem

import dservices.mediagen
from dservices.mediagen import judging

PLAIN = pyvips.Image.xyz(60, 45)[0].cast("uchar").bandjoin([90, 120]).copy(interpretation="srgb")


@pytest.mark.parametrize(
    ("expected", "found", "expected_ms", "found_ms", "fine"),
    [
        (5, 5, 350, 350, True),
        (5, 4, 350, 350, True),  # equal frames are joined, their time stays
        (5, 4, 350, 260, False),
        (5, 6, 350, 350, False),
        (5, 5, 350, 380, True),  # hundredths of a second
        (5, 5, 350, 450, False),
        (3, 3, 0, 0, True),
        (3, 2, 0, 0, False),  # pages are not joined
    ],
)
def test_frames(expected: int, found: int, expected_ms: int, found_ms: int, fine: bool) -> None:
    assert (judging.frames(expected, found, expected_ms, found_ms) is None) == fine


@pytest.mark.parametrize(
    "code",
    ["source_missing", "work_timeout", "script_failed", "FileMangled", "internal_error", "verifier_unclear", "busy"],
)
def test_a_failure_that_may_be_of_this_place_accuses_nobody(code: str) -> None:
    assert judging.refused(Problem(422, code, "x"), 200).answer == "cannot_tell"


def test_a_failure_that_lasts_has_to_be_claimed() -> None:
    assert judging.refused(Problem(422, "bad_parameter", "x"), 422).answer == "agree"
    assert judging.refused(Problem(422, "bad_parameter", "x"), 200).answer == "disagree"


def test_blocks_bear_what_encoding_does_and_no_more() -> None:
    noise = pyvips.Image.gaussnoise(60, 45, sigma=1.5, mean=0, seed=3)
    assert judging.blocks(PLAIN, PLAIN + noise, "jpeg", 80, True, 8) is None
    assert judging.blocks(PLAIN, PLAIN + 2, "jpeg", 80, True, 8).reason == "colours"
    spot = (pyvips.Image.black(1, 1) + 60).embed(20, 20, 60, 45)
    assert judging.blocks(PLAIN, PLAIN + spot, "jpeg", 80, True, 8).reason == "pixels"
    assert judging.blocks(PLAIN, PLAIN + spot, "jpeg", 80, False, 8).reason == "pixels"


def test_lossless_is_equal() -> None:
    dot = (pyvips.Image.black(1, 1) + 1).embed(7, 7, 60, 45)
    assert judging.equal((PLAIN - PLAIN).abs(), False) is None
    assert judging.equal(((PLAIN + dot) - PLAIN).abs(), False).reason == "pixels"


def test_a_second_loss_is_seen() -> None:
    noise = [pyvips.Image.gaussnoise(60, 45, sigma=2, mean=0, seed=n) for n in (1, 2)]
    assert judging.losses(PLAIN, PLAIN + noise[0], PLAIN + noise[1], "jpeg") is None
    assert judging.losses(PLAIN, PLAIN + noise[0], PLAIN + noise[0] + noise[1], "jpeg").reason == "recompressed"


def test_the_descriptor_names_the_routes_and_a_share_that_is_allowed() -> None:
    text = Path(dservices.mediagen.__file__).with_name("dservice.toml").read_text()
    descriptor = tomllib.loads(text)
    assert descriptor["estimator"]["path"] == estimates.PATH
    assert descriptor["verifier"]["path"] == verdicts.PATH
    assert 0 < descriptor["verifier"]["share_ppm"] <= verdicts.SHARE_PPM_MAX

"""The policy of the source cache against RFC 9111 and against its own promise to change no result (G-9)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dservices.mediagen.front import http_cache
from dservices.mediagen.front.http_cache import Times

URL = "https://origin.example/photo.jpg"
DATE = "Sat, 21 Nov 2026 12:00:00 GMT"
WALL = 1795262400.0
LATER = "Sat, 21 Nov 2026 12:10:00 GMT"
EARLIER = "Sat, 21 Nov 2026 11:00:00 GMT"
ETAG = '"one"'


def kept(url: str = URL, *, took_s: float = 0.0, wall_s: float = WALL, **headers: str) -> http_cache.Kept | None:
    named = {"date": DATE, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return http_cache.kept(url, named, Times(100.0 - took_s, 100.0, wall_s))


def lifetime(**headers: str) -> float | None:
    answer = kept(**{"etag": ETAG, **headers})
    return None if answer is None else answer.lifetime_s


@pytest.mark.parametrize(
    ("control", "seconds"),
    [
        ("max-age=60", 60),
        ("MAX-AGE=60", 60),
        ('max-age="60"', 60),
        ("public, max-age=60", 60),
        ("max-age=60,must-revalidate", 60),
        ("max-age=60, s-maxage=10", 10),  # shared: s-maxage wins (5.2.2.10)
        ("s-maxage=90", 90),
        ("max-age=0", 0),
        ("max-age=60, no-cache", 0),
        ('max-age=60, no-cache="set-cookie"', 0),
        ("no-cache", 0),
        ("max-age=-1", 0),
        ("max-age=1.5", 0),
        ("max-age=", 0),
        ("max-age", 0),
        ("max-age=60, max-age=90", 0),  # contradicts itself: stale (4.2.1)
        ("max-age=60, max-age=60", 60),
        ("max-age=99999999999999999999", 0),
        ("max-age=9999999999", http_cache.LIFETIME_MAX_S),
        ("public", 0),
        ("stale-while-revalidate=600, max-age=5", 5),
        ("immutable, max-age=60", 60),
        ("", 0),
    ],
)
def test_the_lifetime_is_what_the_origin_says(control, seconds):
    """RFC 9111, 4.2.1 and 5.2.2; without a lifetime, none is guessed."""
    assert lifetime(cache_control=control) == seconds


@pytest.mark.parametrize(
    "control",
    [
        "no-store",
        "NO-STORE",
        "max-age=60, no-store",
        "private",
        "private, max-age=60",
        'private="x", max-age=60',
        "max-age=60; no-store",
        "max-age=60, \x00",
    ],
)
def test_what_must_not_be_kept_is_not(control):
    """RFC 9111, 3; what cannot be read might have been `no-store`."""
    assert kept(etag=ETAG, cache_control=control) is None


@pytest.mark.parametrize("vary", ["*", "accept, *", " * "])
def test_what_varies_by_anything_is_not_kept(vary):
    assert kept(etag=ETAG, cache_control="max-age=60", vary=vary) is None
    assert kept(etag=ETAG, cache_control="max-age=60", vary="accept-encoding, user-agent") is not None


def test_expires_counts_from_the_date_where_there_is_no_max_age():
    assert lifetime(expires=LATER) == 600
    assert lifetime(expires=LATER, cache_control="max-age=5") == 5
    assert lifetime(expires=EARLIER) == 0
    assert lifetime(expires="0") == 0
    assert lifetime(expires="never") == 0
    answer = http_cache.kept(URL, {"etag": ETAG, "expires": LATER}, Times(0.0, 0.0, WALL))
    assert answer is not None
    assert answer.lifetime_s == 0  # no Date: by whose clock?


def test_pragma_counts_only_without_cache_control():
    assert lifetime(expires=LATER, pragma="no-cache") == 0
    assert lifetime(cache_control="max-age=60", pragma="no-cache") == 60


def test_freshness_ends_to_the_second():
    answer = kept(cache_control="max-age=60")
    assert answer is not None
    assert answer.is_fresh(100.0)
    assert answer.is_fresh(159.9)
    assert not answer.is_fresh(160.0)


def test_an_answer_that_was_old_on_arrival_is_fresh_for_less():
    """RFC 9111, 4.2.3: Age plus the time it took, or what Date says, whichever is more."""
    by_age = kept(etag=ETAG, cache_control="max-age=60", age="50", took_s=5.0)
    assert by_age is not None
    assert by_age.is_fresh(104.9)
    assert not by_age.is_fresh(105.0)
    by_date = kept(etag=ETAG, cache_control="max-age=60", wall_s=WALL + 40)
    assert by_date is not None
    assert not by_date.is_fresh(120.0)
    fast_clock = kept(etag=ETAG, cache_control="max-age=60", wall_s=WALL - 3600)
    assert fast_clock is not None
    assert not fast_clock.is_fresh(160.0)  # a Date in the future makes nothing younger
    assert kept(cache_control="max-age=60", age="60") is None  # stale on arrival, and nothing to ask with


def test_only_strong_validators_are_asked_with():
    """G-1: a weak ETag promises no equal bytes (RFC 9110, 8.8.1); a date only if it was over (8.8.2.2)."""
    strong = kept(etag=ETAG, last_modified=EARLIER)
    assert strong is not None
    assert strong.questions == {"If-None-Match": ETAG}
    dated = kept(etag='W/"one"', last_modified=EARLIER)
    assert dated is not None
    assert dated.questions == {"If-Modified-Since": EARLIER}
    assert kept(etag='W/"one"') is None
    assert kept(last_modified=DATE) is None  # changed in the very second it was answered
    assert kept(last_modified=LATER) is None
    for broken in ("one", '"one', '"on"e"', '"one"\r\nX: y', '"' + "x" * 2000 + '"', ""):
        assert kept(etag=broken) is None
    fresh_only = kept(cache_control="max-age=60", etag='W/"one"')
    assert fresh_only is not None
    assert fresh_only.questions == {}


@pytest.mark.parametrize(
    ("url", "signed"),
    [
        ("https://b.s3.amazonaws.com/x?X-Amz-Algorithm=A&X-Amz-Signature=1", True),
        ("https://b.s3.amazonaws.com/x?AWSAccessKeyId=A&Expires=1&Signature=1", True),
        ("https://a.blob.core.windows.net/c/x?sv=2024&se=2026&sp=r&sig=abc", True),
        ("https://storage.googleapis.com/x?X-Goog-Signature=1", True),
        ("https://origin.example/x?access_token=1", True),
        ("https://origin.example/x?w=1&%73ig=abc", True),
        ("https://user:word@origin.example/x", True),
        ("https://origin.example/x?width=1&design=flat", False),
        ("https://origin.example/sig=1", False),
        ("https://origin.example/x?q=sig", False),
    ],
)
def test_an_address_that_grants_access_is_asked_about_every_time(url, signed):
    assert http_cache.carries_credentials(url) == signed
    answer = kept(url, etag=ETAG, cache_control="max-age=60")
    assert answer is not None
    assert answer.is_fresh(100.0) != signed


def test_a_304_makes_it_fresh_again_with_its_own_fields():
    """RFC 9111, 4.3.4."""
    stored = {"etag": ETAG, "date": DATE, "age": "10", "cache-control": "max-age=60"}
    before = http_cache.kept(URL, stored, Times(0.0, 0.0, WALL))
    assert before is not None
    again = http_cache.confirmed(URL, before, stored, {"date": LATER}, Times(600.0, 600.0, WALL + 600))
    assert again is not None
    assert again.is_fresh(659.0)
    longer = http_cache.confirmed(URL, before, stored, {"cache-control": "max-age=5"}, Times(600.0, 600.0, WALL + 600))
    assert longer is not None
    assert not longer.is_fresh(605.0)
    assert http_cache.confirmed(URL, before, stored, {"cache-control": "no-store"}, Times(1.0, 1.0, WALL)) is None


def test_a_304_about_something_else_confirms_nothing():
    before = kept(etag=ETAG)
    assert before is not None
    assert not http_cache.speaks_of(before, {"etag": '"two"'})
    assert http_cache.confirmed(URL, before, {"etag": ETAG}, {"etag": '"two"'}, Times(1.0, 1.0, WALL)) is None
    assert http_cache.speaks_of(before, {"etag": ETAG})
    assert http_cache.speaks_of(before, {})


@given(st.text(max_size=200))
def test_no_header_breaks_the_policy(text):
    for name in ("cache-control", "etag", "last-modified", "date", "age", "expires", "vary", "pragma"):
        headers = {"cache-control": "max-age=60", "etag": ETAG, "date": DATE, name: text}
        answer = http_cache.kept(URL, headers, Times(0.0, 0.0, WALL))
        assert answer is None or 0 <= answer.lifetime_s <= http_cache.LIFETIME_MAX_S

"""Bodies: replay of requests, hold-back and resumption of responses (N-2, N-11)."""

import os
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgn_node.bodies import RequestBody, ResponseBody, ResumeFailed


@pytest.mark.parametrize("sizes", [[], [5], [40, 24], [40, 30, 1000], [200]])
def test_a_request_body_reads_alike_from_memory_and_file(tmp_path: Path, sizes: list[int]) -> None:
    body, whole = RequestBody(tmp_path, memory_bytes=64), b""
    for number, size in enumerate(sizes):
        piece = bytes([number]) * size
        body.append(piece)
        whole += piece
    body.end()
    assert (body.length, body.ended, body.sha256()) == (len(whole), True, sha256(whole).hexdigest())
    for offset in range(0, len(whole), 7):
        assert body.read(offset, 13) == whole[offset : offset + 13]
    assert body.read(0, 10_000) == whole
    assert os.listdir(tmp_path) == []  # the file has no name
    body.close()
    body.close()


def test_small_bodies_touch_no_disk(tmp_path: Path) -> None:
    body = RequestBody(tmp_path / "missing", memory_bytes=64)
    body.append(b"x" * 64)
    assert body.read(0, 64) == b"x" * 64
    with pytest.raises(OSError):
        body.append(b"x")


def test_a_short_response_waits_whole() -> None:
    response = ResponseBody(held_bytes=10)
    response.attempt_begins()
    response.head(200, [("a", "b")], None)
    assert response.data(b"12345") == []
    assert response.data(b"67890") == []
    assert response.whole() == (sha256(b"1234567890").hexdigest(), 10)
    assert (response.passed, response.finish()) == (0, [b"12345", b"67890"])


def test_a_failed_attempt_leaves_no_trace_before_anything_left() -> None:
    response = ResponseBody(held_bytes=10)
    response.attempt_begins()
    response.head(500, [], 3)
    response.data(b"bad")
    response.attempt_begins()
    response.head(200, [], 4)
    response.data(b"good")
    assert response.whole()[0] == sha256(b"good").hexdigest()
    assert (response.status, response.body_bytes, response.finish()) == (200, 4, [b"good"])


@given(st.binary(min_size=1, max_size=300), st.integers(1, 40), st.lists(st.integers(1, 60), max_size=12), st.data())
def test_what_leaves_over_all_attempts_is_the_response_once(
    whole: bytes, held: int, cuts: list[int], data: st.DataObject
) -> None:
    """Any number of broken attempts, any slicing: the DApp sees the bytes once, in order, the last ones at the end
    only."""
    response, seen = ResponseBody(held_bytes=held), b""
    for broken in [*data.draw(st.lists(st.integers(0, len(whole)), max_size=3)), None]:
        response.attempt_begins()
        response.head(200, [], len(whole))
        offered = whole if broken is None else whole[:broken]
        at = 0
        for cut in [*cuts, len(whole)]:
            if at >= len(offered):
                break
            seen += b"".join(response.data(offered[at : at + cut]))
            at += cut
        assert len(seen) < len(whole)
        assert seen == whole[: len(seen)]
        assert response.passed == len(seen)
    assert response.whole() == (sha256(whole).hexdigest(), len(whole))
    assert seen + b"".join(response.finish()) == whole


def passing() -> ResponseBody:
    response = ResponseBody(held_bytes=4)
    response.attempt_begins()
    response.head(200, [], 12)
    assert response.data(b"abcd") == []
    assert response.data(b"efgh") == [b"abcd"]
    response.attempt_begins()
    return response


def test_another_status_length_or_prefix_is_not_mixed_in() -> None:
    with pytest.raises(ResumeFailed):
        passing().head(500, [], 12)
    with pytest.raises(ResumeFailed):
        passing().head(200, [], 11)
    with pytest.raises(ResumeFailed):
        passing().data(b"abcX")
    short = passing()
    assert short.data(b"abc") == []
    with pytest.raises(ResumeFailed):
        short.whole()


def test_a_wrong_prefix_does_not_spoil_the_next_try() -> None:
    response = passing()
    with pytest.raises(ResumeFailed):
        response.data(b"XXXXXX")
    response.attempt_begins()
    response.head(200, [], 12)
    assert response.data(b"ab") == []
    assert response.data(b"cdefgh") == []
    assert response.data(b"ijkl") == [b"efgh"]
    assert response.whole()[0] == sha256(b"abcdefghijkl").hexdigest()


def test_one_long_piece_keeps_its_end() -> None:
    response = ResponseBody(held_bytes=4)
    response.attempt_begins()
    response.head(200, [], 6)
    assert response.data(b"abcdef") == [b"abcde"]
    assert response.finish() == [b"f"]

"""Bodies: replay of requests, hold-back and resumption of responses (N-2, N-11)."""

import os
import tempfile
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgn_node import limits
from cgn_node.bodies import BadResponse, HeldFile, HeldMemory, Piece, RequestBody, ResponseBody


@pytest.mark.parametrize("sizes", [[], [5], [40, 24], [40, 30, 1000], [200]])
def test_a_request_body_reads_alike_from_memory_and_file(tmp_path: Path, sizes: list[int]) -> None:
    body, whole = RequestBody(tmp_path, memory_bytes=64), b""
    assert (body.length, body.ended) == (0, False)
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
    with pytest.raises(FileNotFoundError):
        body.append(b"x")


def test_what_the_disk_gives_in_parts_is_read_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In front of a bad block the kernel gives less than was asked for, and the error only to the next call."""
    whole = bytes(range(256)) * 20
    body = RequestBody(tmp_path, memory_bytes=0)
    body.append(whole)
    memory, file = HeldMemory(tmp_path, 0), None
    pieces = []
    for at in range(0, len(whole), 1_000):
        piece, file = memory.keep(whole[at : at + 1_000], file)
        pieces.append(piece)
    read, lost = os.pread, 1 << 20

    def in_parts(descriptor: int, size: int, offset: int) -> bytes:
        return read(descriptor, min(size, 300, max(0, lost - offset)), offset)

    monkeypatch.setattr(os, "pread", in_parts)
    assert body.read(7, 5_000) == whole[7:5_007]
    assert b"".join(loaded(pieces)) == whole
    lost = 2_500
    assert body.read(0, 2_500) == whole[:2_500]
    assert loaded(pieces[:2]) == [whole[:1_000], whole[1_000:2_000]]
    for late in (lambda: body.read(0, 2_501), pieces[2].load, pieces[3].load):
        with pytest.raises(OSError, match="before what was written to it"):
            late()
    body.close()


def response_body(memory: int, held_bytes: int) -> ResponseBody:
    """One whose node may hold so many bytes in memory; the rest is in a file."""
    return ResponseBody(HeldMemory(Path(tempfile.gettempdir()), memory), held_bytes)


def loaded(pieces: list[Piece]) -> list[bytes]:
    return [piece.load() for piece in pieces]


MEMORY = pytest.mark.parametrize("memory", [0, 6, 1 << 20])


@MEMORY
def test_a_short_response_waits_whole(memory: int) -> None:
    response = response_body(memory, 10)
    response.attempt_begins()
    response.head(200, [("a", "b")], None)
    assert response.data(b"12345") == []
    assert response.data(b"67890") == []
    assert response.whole() == (sha256(b"1234567890").hexdigest(), 10)
    assert (response.passed, b"".join(loaded(response.finish()))) == (0, b"1234567890")


@MEMORY
def test_a_failed_attempt_leaves_no_trace_before_anything_left(memory: int) -> None:
    response = response_body(memory, 10)
    response.attempt_begins()
    response.head(500, [], 3)
    response.data(b"bad")
    response.attempt_begins()
    response.head(200, [], 4)
    response.data(b"good")
    assert response.whole()[0] == sha256(b"good").hexdigest()
    assert (response.status, response.body_bytes, loaded(response.finish())) == (200, 4, [b"good"])


@given(
    st.binary(min_size=1, max_size=300),
    st.integers(1, 40),
    st.lists(st.integers(1, 60), max_size=12),
    st.integers(0, 80),
    st.data(),
)
def test_what_leaves_over_all_attempts_is_the_response_once(
    whole: bytes, held: int, cuts: list[int], memory: int, data: st.DataObject
) -> None:
    """Any number of broken attempts, any slicing: the DApp sees the bytes once, in order, the last ones at the end
    only."""
    response, seen = response_body(memory, held), b""
    for broken in [*data.draw(st.lists(st.integers(0, len(whole)), max_size=3)), None]:
        response.attempt_begins()
        response.head(200, [], len(whole))
        offered = whole if broken is None else whole[:broken]
        at = 0
        for cut in [*cuts, len(whole)]:
            if at >= len(offered):
                break
            seen += b"".join(loaded(response.data(offered[at : at + cut])))
            at += cut
        assert len(seen) < len(whole)
        assert seen == whole[: len(seen)]
        assert response.passed == len(seen)
    assert response.whole() == (sha256(whole).hexdigest(), len(whole))
    assert seen + b"".join(loaded(response.finish())) == whole


def passing(memory: int, declared: int | None = 12) -> ResponseBody:
    response = response_body(memory, 4)
    response.attempt_begins()
    response.head(200, [], declared)
    assert response.data(b"abcd") == []
    assert loaded(response.data(b"efgh")) == [b"abcd"]
    response.attempt_begins()
    return response


@MEMORY
def test_another_status_length_or_prefix_is_not_mixed_in(memory: int) -> None:
    with pytest.raises(BadResponse, match="status 500, length 12 instead of 200, 12"):
        passing(memory).head(500, [], 12)
    with pytest.raises(BadResponse, match="status 200, length 11 instead of 200, 12"):
        passing(memory).head(200, [], 11)
    with pytest.raises(BadResponse, match="begins with other bytes"):
        passing(memory).data(b"abcX")
    short = passing(memory, declared=None)
    short.head(200, [], None)
    assert short.data(b"abc") == []
    with pytest.raises(BadResponse, match="ends 1 bytes before what the DApp has"):
        short.whole()


@MEMORY
def test_a_wrong_prefix_does_not_spoil_the_next_try(memory: int) -> None:
    response = passing(memory)
    response.head(200, [], 12)
    with pytest.raises(BadResponse, match="begins with other bytes"):
        response.data(b"XXXXXX")
    response.attempt_begins()
    response.head(200, [], 12)
    assert response.data(b"ab") == []
    assert response.data(b"cdefgh") == []
    assert loaded(response.data(b"ijkl")) == [b"efgh"]
    assert response.whole()[0] == sha256(b"abcdefghijkl").hexdigest()


@MEMORY
def test_one_long_piece_keeps_its_end(memory: int) -> None:
    response = response_body(memory, 4)
    response.attempt_begins()
    response.head(200, [], 6)
    assert loaded(response.data(b"abcdef")) == [b"abcde"]
    assert loaded(response.finish()) == [b"f"]


@MEMORY
def test_a_response_of_one_byte_is_its_own_end(memory: int) -> None:
    response = response_body(memory, 0)
    response.attempt_begins()
    response.head(200, [], 1)
    assert response.data(b"a") == []
    assert response.whole() == (sha256(b"a").hexdigest(), 1)
    assert loaded(response.finish()) == [b"a"]


@pytest.mark.parametrize("memory", [0, 1 << 20])
def test_pieces_say_whether_they_are_here(memory: int) -> None:
    response = response_body(memory, 4)
    response.attempt_begins()
    response.head(200, [], None)
    assert [piece.is_here for piece in [*response.data(b"abcdef"), *response.finish()]] == [memory > 0] * 2


def test_a_response_is_hashed_without_being_read_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has left, what is whole, over two attempts: a disk that hangs holds up the reader of its bytes alone."""
    monkeypatch.setattr(HeldFile, "read", None)
    response = response_body(0, 4)
    for sent in (b"abcdefg", b"abcdefghij"):
        response.attempt_begins()
        response.head(200, [], 10)
        for at in range(0, len(sent), 3):
            response.data(sent[at : at + 3])
    assert response.left() == (sha256(b"abcdefghi").hexdigest(), 9)
    assert response.whole() == (sha256(b"abcdefghij").hexdigest(), 10)


@pytest.mark.parametrize("above", [0, 1])
def test_memory_takes_as_much_as_is_left_of_it(tmp_path: Path, above: int) -> None:
    memory = HeldMemory(tmp_path, 10 - above)
    first, file = memory.keep(b"0123456789", None)
    assert (memory.left, file is None) == ((9, False) if above else (0, True))
    assert first.load() == b"0123456789"
    del first
    assert memory.left == 10 - above


def test_what_is_held_is_given_back_with_its_pieces() -> None:
    """Memory is a bound over all responses: who comes later is in a file, until the others have left."""
    memory = HeldMemory(Path(tempfile.gettempdir()), 10)

    def held(data: bytes) -> ResponseBody:
        response = ResponseBody(memory, 100)
        response.attempt_begins()
        response.head(200, [], None)
        response.data(data)
        return response

    def open_files() -> int:
        return len(os.listdir("/proc/self/fd"))

    before = open_files()
    first, second = held(b"12345678"), held(b"abcdefgh")
    assert open_files() == before + 1
    pieces = [*first.finish(), *second.finish()]
    assert loaded(pieces) == [b"12345678", b"abcdefgh"]
    del first, second, pieces
    assert open_files() == before
    third = held(b"ABCDEFGHIJ")
    assert open_files() == before
    third.attempt_begins()
    assert memory.left == 10


@MEMORY
def test_a_response_is_as_long_as_its_head_says(memory: int) -> None:
    """More fails at once and less at the end, also when the first part has left; the next attempt counts anew."""
    long, short = response_body(memory, 4), response_body(memory, 4)
    for response in (long, short):
        response.attempt_begins()
        response.head(200, [], 12)
        response.data(b"abcdefgh")
    assert long.passed == short.passed == 7
    with pytest.raises(BadResponse, match="1 bytes more"):
        long.data(b"ijklm")
    with pytest.raises(BadResponse, match="4 bytes before"):
        short.whole()
    short.attempt_begins()
    short.head(200, [], 12)
    short.data(b"abcdefghijkl")
    assert short.whole() == (sha256(b"abcdefghijkl").hexdigest(), 12)


@pytest.mark.parametrize(("is_bare", "status"), [(True, 200), (False, 204), (False, 205), (False, 304)])
def test_what_has_no_content_takes_none_whatever_its_head_says(is_bare: bool, status: int) -> None:
    """To HEAD, and with the statuses without content: the length is what GET would send, and no byte is paid for."""
    response = ResponseBody(HeldMemory(Path(tempfile.gettempdir())), is_bare=is_bare)
    response.attempt_begins()
    response.head(status, [], 5)
    assert response.whole() == (sha256(b"").hexdigest(), 0)
    with pytest.raises(BadResponse, match="1 bytes more than the head declared, or HTTP allows"):
        response.data(b"x")


@pytest.mark.parametrize("memory", [0, 1000, 1 << 30])
@pytest.mark.parametrize("size", [2, 3_000])
def test_what_is_held_costs_by_its_bytes_not_by_its_pieces(
    memory: int, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In memory, in a file, and where the one ends and the other begins."""
    writes = []
    write = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda at, data, offset: writes.append(len(data)) or write(at, data, offset))
    held, whole = response_body(memory, 1 << 20), bytes(range(256)) * 1_200
    held.attempt_begins()
    held.head(200, [], len(whole))
    for at in range(0, len(whole), size):
        assert held.data(whole[at : at + size]) == []
    assert held.whole() == (sha256(whole).hexdigest(), len(whole))
    assert len(writes) <= len(whole) // limits.HELD_WRITE_BYTES + 8
    pieces = held.finish()
    assert len(pieces) <= len(whole) // limits.HELD_PIECE_BYTES + 3
    assert b"".join(loaded(pieces)) == whole


def test_a_request_body_in_tiny_pieces_is_the_same_body(tmp_path: Path) -> None:
    body, whole = RequestBody(tmp_path, memory_bytes=600), bytes(range(256)) * 4
    for at in range(len(whole)):
        body.append(whole[at : at + 1])
        assert body.read(0, 10_000) == whole[: at + 1]
        assert type(body.read(at, 1)) is bytes

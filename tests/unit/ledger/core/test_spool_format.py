"""The spool's bytes: written and read, torn at every place, damaged at every byte (N-24)."""

from collections.abc import Iterator

import pytest

from ledger.core.spool_format import (
    SEGMENT_HEADER_BYTES,
    SpoolDamaged,
    encode_group,
    group_bytes,
    read_segment,
    salvage_segment,
    segment_end,
    segment_header,
)

GROUPS = [[b"one", b"two"], [b"three"], [b"f" * 300, b"CGNG", b"six"]]


def flat(groups: list[list[bytes]]) -> list[bytes]:
    return [record for group in groups for record in group]


def segment(groups: list[list[bytes]], first: int = 7) -> tuple[bytes, list[int]]:
    """The bytes, and where each group ends."""
    data, ends = segment_header(first), []
    for group in groups:
        data += encode_group(first, group)
        first += len(group)
        ends.append(len(data))
    return data, ends


def test_what_is_written_is_read() -> None:
    data, ends = segment(GROUPS)
    found = read_segment(data, last=False)
    assert found is not None
    assert (found.first, found.records, found.good_bytes) == (7, flat(GROUPS), ends[-1])
    assert group_bytes(GROUPS[2]) == ends[2] - ends[1]
    empty = read_segment(segment_header(9), last=False)
    assert empty is not None
    assert (empty.first, empty.records) == (9, [])


def test_torn_at_every_byte_only_the_last_group_goes() -> None:
    data, ends = segment(GROUPS)
    for length in range(SEGMENT_HEADER_BYTES, len(data)):
        found = read_segment(data[:length], last=True)
        assert found is not None
        whole = sum(end <= length for end in ends)
        assert found.records == flat(GROUPS[:whole])
        assert found.good_bytes == ([SEGMENT_HEADER_BYTES, *ends])[whole]
        if length not in (SEGMENT_HEADER_BYTES, *ends):
            with pytest.raises(SpoolDamaged):
                read_segment(data[:length], last=False)


def test_a_torn_group_may_also_have_holes() -> None:
    """After a crash any page of the unsynced group may be missing, not only its end."""
    data, ends = segment(GROUPS)
    for hole in range(ends[1], ends[2]):
        torn = data[:hole] + bytes(min(50, ends[2] - hole)) + data[hole + 50 :]
        if torn != data:
            found = read_segment(torn, last=True)
            assert found is not None
            assert found.records == flat(GROUPS[:2])


@pytest.mark.parametrize("last", [True, False])
def test_damage_before_a_later_group_is_never_dropped(last: bool) -> None:
    data, ends = segment(GROUPS)
    for place in range(SEGMENT_HEADER_BYTES, ends[1]):
        damaged = data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :]
        with pytest.raises(SpoolDamaged):
            read_segment(damaged, last=last)


def test_a_header_that_never_became_whole_held_nothing() -> None:
    header = segment_header(1)
    for length in range(len(header)):
        assert read_segment(header[:length], last=True) is None
        with pytest.raises(SpoolDamaged):
            read_segment(header[:length], last=False)
    data, _ = segment(GROUPS)
    with pytest.raises(SpoolDamaged):
        read_segment(b"\x00" * 8 + data[8:], last=True)
    assert read_segment(bytes(4096), last=True) is None


def test_a_group_out_of_its_place_is_damage() -> None:
    data = segment_header(1) + encode_group(2, [b"x"])
    with pytest.raises(SpoolDamaged):
        read_segment(data, last=False)


def every_flip(data: bytes) -> Iterator[bytes]:
    for place in range(len(data)):
        for bit in range(8):
            yield data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :]


@pytest.mark.parametrize("room", [0, 50], ids=["trimmed", "with reserved room"])
@pytest.mark.parametrize("closed", [True, False])
def test_no_flipped_bit_takes_a_row_without_a_word(closed: bool, room: int) -> None:
    """Every bit of a newest segment: all rows are there, or something is said. With its end nothing is ever dropped."""
    data, _ = segment(GROUPS)
    data += (segment_end(13) if closed else b"") + bytes(room)
    assert read_segment(data, last=True) is not None
    said = 0
    for flipped in every_flip(data):
        try:
            found = read_segment(flipped, last=True)
        except SpoolDamaged:
            said += 1
            continue
        assert found is not None
        assert found.records == flat(GROUPS)[: len(found.records)]
        if found.records != flat(GROUPS):
            assert not closed
            assert found.torn_bytes > 0
    assert said > 8 * 20, "the header and all before the last group"


def test_no_flipped_bit_of_a_segment_that_another_follows_is_passed_over() -> None:
    data, _ = segment(GROUPS)
    for whole in (data, data + segment_end(13)):
        for flipped in every_flip(whole):
            with pytest.raises(SpoolDamaged):
                read_segment(flipped, last=False)


def test_an_end_belongs_behind_the_last_row() -> None:
    data, ends = segment(GROUPS)
    found = read_segment(data + segment_end(13), last=True)
    assert found is not None
    assert (found.is_closed, found.good_bytes, found.end_bytes) == (True, len(data), len(data) + 16)
    for wrong in (data + segment_end(14), data[: ends[1]] + segment_end(13), data + segment_end(13) + b"more"):
        with pytest.raises(SpoolDamaged):
            read_segment(wrong, last=True)


def test_what_can_be_read_of_a_damaged_segment_is_read() -> None:
    """One flip takes one row at most, and its number is known; never a wrong row under a right number."""
    data, _ = segment(GROUPS)
    data += segment_end(13)
    rows = dict(enumerate(flat(GROUPS), 7))
    group_headers = 0
    for flipped in every_flip(data):
        found = salvage_segment(flipped)
        assert found.last == 12 or found.records == rows
        assert found.records.items() <= rows.items()
        missing = rows.keys() - found.records.keys()
        group_headers += len(missing) > 1
        assert len(missing) <= 3
        assert found.first == 7 or not {7, 8} & found.records.keys()
    assert group_headers <= 8 * (3 * 24 + 3 * 4)
    empty = salvage_segment(bytes(100))
    assert (empty.first, empty.records, empty.last) == (None, {}, 0)

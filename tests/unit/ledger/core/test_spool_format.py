"""The spool's bytes: written and read, torn at every place, damaged at every byte (N-24)."""

import pytest

from ledger.core.spool_format import (
    SEGMENT_HEADER_BYTES,
    SpoolDamaged,
    encode_group,
    group_bytes,
    read_segment,
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

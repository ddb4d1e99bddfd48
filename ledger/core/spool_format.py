"""How the spool's segments are written: pure encoding and reading of bytes (N-24, L-4).

    segment = "CGNSPL01" ‖ first sequence number (8) ‖ CRC-32 of the 16 bytes before (4) ‖ groups [‖ end] ‖ zeros
    group   = "CGNG" ‖ first sequence number (8) ‖ count (4) ‖ bytes that follow (4) ‖ CRC-32 of the 20 before (4)
              ‖ records
    record  = length (4) ‖ CRC-32 of length and payload (4) ‖ payload
    end     = "CGNE" ‖ next sequence number (8) ‖ CRC-32 of the 12 before (4)

All numbers are big-endian. A group is what one fdatasync covers, and the next is written only after it returned. The
end is written when a segment is left, at a clean stop too. So in a segment that has its end, or is followed by another
one, everything has to fit. Without both it is the newest one of a process that died: its last group may be torn, and
then nobody was told of its rows. A torn group and one that was damaged afterwards look alike, so whoever drops it says
so and keeps the bytes. Zeros behind the last group are room that was reserved.
"""

import struct
from collections.abc import Sequence
from typing import Final, NamedTuple
from zlib import crc32

_SEGMENT: Final = struct.Struct(">8sQ")
_GROUP: Final = struct.Struct(">4sQII")
_RECORD: Final = struct.Struct(">II")
_END: Final = struct.Struct(">4sQ")
_CRC: Final = struct.Struct(">I")
_SEGMENT_MAGIC: Final = b"CGNSPL01"
_GROUP_MAGIC: Final = b"CGNG"
_END_MAGIC: Final = b"CGNE"

SEGMENT_HEADER_BYTES: Final = _SEGMENT.size + _CRC.size
GROUP_HEADER_BYTES: Final = _GROUP.size + _CRC.size
RECORD_HEADER_BYTES: Final = _RECORD.size
END_BYTES: Final = _END.size + _CRC.size


class SpoolDamaged(Exception):
    """A segment holds what no crash of ours explains: rows that were acknowledged may be lost. A person must look."""


class Segment(NamedTuple):
    """What reading a segment found."""

    first: int
    """Sequence number of the first record (of the next one, when there are none)."""
    records: list[bytes]
    good_bytes: int
    """Length of header and whole groups."""
    torn_bytes: int = 0
    """What follows them and is no group, without the zeros at its end."""
    torn_records: int | None = 0
    """How many records stood in it, where its header still says so."""
    is_closed: bool = False
    """Whether its end was written."""

    @property
    def end_bytes(self) -> int:
        """Length of what belongs to it."""
        return self.good_bytes + (END_BYTES if self.is_closed else 0)


class Salvage(NamedTuple):
    """What can still be read of a damaged segment."""

    first: int | None
    """Its first sequence number, as its header or else its first whole group says."""
    records: dict[int, bytes]
    """By sequence number: every record whose checksum holds and whose number is certain."""
    last: int
    """The largest sequence number that anything in the segment tells of; 0 for none."""


def segment_header(first: int) -> bytes:
    header = _SEGMENT.pack(_SEGMENT_MAGIC, first)
    return header + _CRC.pack(crc32(header))


def encode_group(first: int, payloads: Sequence[bytes]) -> bytes:
    """Returns one group of records; `first` is the sequence number of the first."""
    parts = [b""]
    size = 0
    for payload in payloads:
        length = len(payload)
        parts.append(_RECORD.pack(length, crc32(payload, crc32(length.to_bytes(4, "big")))))
        parts.append(payload)
        size += length
    header = _GROUP.pack(_GROUP_MAGIC, first, len(payloads), size + RECORD_HEADER_BYTES * len(payloads))
    parts[0] = header + _CRC.pack(crc32(header))
    return b"".join(parts)


def group_bytes(payloads: Sequence[bytes]) -> int:
    """Returns the length of `encode_group(…, payloads)`."""
    return GROUP_HEADER_BYTES + RECORD_HEADER_BYTES * len(payloads) + sum(map(len, payloads))


def segment_end(next_sequence: int) -> bytes:
    """Returns the end of a segment that is left; `next_sequence`: the number of the record that would follow."""
    end = _END.pack(_END_MAGIC, next_sequence)
    return end + _CRC.pack(crc32(end))


def read_segment(data: bytes, *, last: bool) -> Segment | None:
    """Reads a segment's bytes. `last`: no other one follows, so that its end may be torn.

    Returns None for a newest segment whose header never became whole: it held nothing. Raises SpoolDamaged.
    """
    first = _first_of(data)
    if first is None:
        if last and data.find(_GROUP_MAGIC) < 0:
            return None
        raise SpoolDamaged("the segment's header is damaged")
    records: list[bytes] = []
    offset = SEGMENT_HEADER_BYTES
    while offset < len(data) and (group := _read_group(data, offset, first + len(records))) is not None:
        records += group
        offset += group_bytes(group)
    following = first + len(records)
    is_closed = data.startswith(segment_end(following), offset)
    rest = data[offset + (END_BYTES if is_closed else 0) :].rstrip(b"\0")
    if not rest:
        return Segment(first, records, offset, is_closed=is_closed)
    if is_closed or not last or _was_written_after(data, offset, following):
        raise SpoolDamaged(f"what stands at byte {offset}, behind row {following - 1}, is damaged")
    header = _group_header(data, offset)
    return Segment(first, records, offset, len(rest), header[1] if header and header[0] == following else None)


def salvage_segment(data: bytes) -> Salvage:
    """Reads what can be read of a damaged segment: whole records of any group whose header holds."""
    first = _first_of(data)
    records: dict[int, bytes] = {}
    last = 0 if first is None else first - 1
    offset = 0
    while (offset := _next_magic(data, offset)) >= 0:
        end = _end_number(data, offset)
        header = _group_header(data, offset)
        if end is not None:
            last = max(last, end - 1)
        if header is None:
            offset += 1
            continue
        sequence, count, size = header
        first = sequence if first is None else first
        last = max(last, sequence + count - 1)
        until = min(offset + GROUP_HEADER_BYTES + size, len(data))
        records |= _whole_records(data, offset + GROUP_HEADER_BYTES, until, sequence, count)
        offset += GROUP_HEADER_BYTES
    return Salvage(first, records, last)


def _first_of(data: bytes) -> int | None:
    """The first sequence number in a segment's header, or None where it is not whole."""
    header, crc = data[: _SEGMENT.size], data[_SEGMENT.size : SEGMENT_HEADER_BYTES]
    if len(crc) < _CRC.size or header[:8] != _SEGMENT_MAGIC or crc32(header) != _CRC.unpack(crc)[0]:
        return None
    return int(_SEGMENT.unpack(header)[1])


def _whole_records(data: bytes, position: int, until: int, sequence: int, count: int) -> dict[int, bytes]:
    """The records of a group whose checksums hold. A damaged length ends the search: what follows has no place."""
    found: dict[int, bytes] = {}
    for number in range(sequence, sequence + count):
        if position + RECORD_HEADER_BYTES > until:
            break
        length, crc = _RECORD.unpack_from(data, position)
        position += RECORD_HEADER_BYTES
        if position + length > until:
            break
        payload = data[position : position + length]
        position += length
        if crc == crc32(payload, crc32(length.to_bytes(4, "big"))):
            found[number] = payload
    return found


def _read_group(data: bytes, offset: int, first: int) -> list[bytes] | None:
    """Returns the records of the whole group at the offset, or None when it is not whole."""
    header = _group_header(data, offset)
    if header is None or header[0] != first:
        return None
    _, count, size = header
    position = offset + GROUP_HEADER_BYTES
    end = position + size
    if end > len(data):
        return None
    records = []
    for _ in range(count):
        if position + RECORD_HEADER_BYTES > end:
            return None
        length, crc = _RECORD.unpack_from(data, position)
        position += RECORD_HEADER_BYTES
        payload = data[position : position + length]
        position += length
        if position > end or crc != crc32(payload, crc32(length.to_bytes(4, "big"))):
            return None
        records.append(payload)
    return records if position == end else None


def _group_header(data: bytes, offset: int) -> tuple[int, int, int] | None:
    if offset + GROUP_HEADER_BYTES > len(data):
        return None
    header = data[offset : offset + _GROUP.size]
    magic, first, count, size = _GROUP.unpack(header)
    if magic != _GROUP_MAGIC or crc32(header) != _CRC.unpack_from(data, offset + _GROUP.size)[0]:
        return None
    return first, count, size


def _end_number(data: bytes, offset: int) -> int | None:
    """The number in an end at the offset, or None where there is none that is whole."""
    end, crc = data[offset : offset + _END.size], data[offset + _END.size : offset + END_BYTES]
    if len(crc) < _CRC.size or end[:4] != _END_MAGIC or crc32(end) != _CRC.unpack(crc)[0]:
        return None
    return int(_END.unpack(end)[1])


def _next_magic(data: bytes, offset: int) -> int:
    """Where the next group or end may begin, or -1."""
    found = [place for place in (data.find(_GROUP_MAGIC, offset), data.find(_END_MAGIC, offset)) if place >= 0]
    return min(found, default=-1)


def _was_written_after(data: bytes, offset: int, following: int) -> bool:
    """Whether a later group or the segment's end stands at the offset or behind it: then what is before it had been on
    disk, whole.

    Payloads cannot look like one: canonical JSON holds no zero byte, and a sequence number's first byte is zero.
    """
    while (offset := _next_magic(data, offset)) >= 0:
        header, end = _group_header(data, offset), _end_number(data, offset)
        if (header is not None and header[0] > following) or (end is not None and end > following):
            return True
        offset += 1
    return False

"""How the spool's segments are written: pure encoding and reading of bytes (N-24, L-4).

    segment = "CGNSPL01" ‖ first sequence number (8) ‖ CRC-32 of the 16 bytes before (4) ‖ groups
    group   = "CGNG" ‖ first sequence number (8) ‖ count (4) ‖ bytes that follow (4) ‖ CRC-32 of the 20 before (4)
              ‖ records
    record  = length (4) ‖ CRC-32 of length and payload (4) ‖ payload

All numbers are big-endian. A group is what one fdatasync covers, and the next is written only after it returned. So
after a crash the last group of the last segment may be torn, and nobody was told of its rows: it is dropped. Anything
else that does not fit is damage, and damage is never dropped silently.
"""

import struct
from collections.abc import Sequence
from typing import Final, NamedTuple
from zlib import crc32

_SEGMENT: Final = struct.Struct(">8sQ")
_GROUP: Final = struct.Struct(">4sQII")
_RECORD: Final = struct.Struct(">II")
_CRC: Final = struct.Struct(">I")
_SEGMENT_MAGIC: Final = b"CGNSPL01"
_GROUP_MAGIC: Final = b"CGNG"

SEGMENT_HEADER_BYTES: Final = _SEGMENT.size + _CRC.size
GROUP_HEADER_BYTES: Final = _GROUP.size + _CRC.size
RECORD_HEADER_BYTES: Final = _RECORD.size


class SpoolDamaged(Exception):
    """A segment holds what no crash of ours explains: rows that were acknowledged may be lost. A person must look."""


class Segment(NamedTuple):
    """What reading a segment found."""

    first: int
    """Sequence number of the first record (of the next one, when there are none)."""
    records: list[bytes]
    good_bytes: int
    """Length of the whole groups; what follows is torn."""


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


def read_segment(data: bytes, *, last: bool) -> Segment | None:
    """Reads a segment's bytes. `last`: it is the newest one, whose end may be torn.

    Returns None for a newest segment whose header never became whole: it held nothing. Raises SpoolDamaged.
    """
    header, crc = data[: _SEGMENT.size], data[_SEGMENT.size : SEGMENT_HEADER_BYTES]
    if len(crc) < _CRC.size or header[:8] != _SEGMENT_MAGIC or crc32(header) != _CRC.unpack(crc)[0]:
        if last and data.find(_GROUP_MAGIC) < 0:
            return None
        raise SpoolDamaged("the segment's header is damaged")
    first = int(_SEGMENT.unpack(header)[1])
    records: list[bytes] = []
    offset = SEGMENT_HEADER_BYTES
    while offset < len(data):
        group = _read_group(data, offset, first + len(records))
        if group is None:
            if not last or _group_after(data, offset + 1, first + len(records)):
                raise SpoolDamaged(f"the group at byte {offset} is damaged, and later ones were written after it")
            break
        records += group
        offset += group_bytes(group)
    return Segment(first, records, offset)


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


def _group_after(data: bytes, offset: int, first: int) -> bool:
    """Whether a later group begins behind the offset: then the one before it had been on disk, whole.

    Payloads cannot look like one: canonical JSON holds no zero byte, and a sequence number's first byte is zero.
    """
    while (offset := data.find(_GROUP_MAGIC, offset)) >= 0:
        header = _group_header(data, offset)
        if header is not None and header[0] > first:
            return True
        offset += 1
    return False

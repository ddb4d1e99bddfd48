"""Bounds that both ends of a wire must agree on: each with its unit and its reason, their relations asserted at the
end.

What only one process decides (its queue lengths, its time-outs towards engines) lives in that process's own
`limits.py`.
"""

# --- The tunnel between node and miner (interfaces.md, "Tunnel") ---

FRAME_HEADER_BYTES = 8
FRAME_MAX_BYTES = 65_536
"""Header and payload. One frame is the longest a control frame can wait behind inside a message being built; 64 KiB
keeps a 64 MiB reply from holding small calls up (0.04 s instead of 0.8 to 1.4 s when it was one message)."""
FRAME_PAYLOAD_MAX_BYTES = FRAME_MAX_BYTES - FRAME_HEADER_BYTES

MESSAGE_MAX_BYTES = 262_144
"""One WebSocket message: a run of whole frames. Larger batches save nothing and cost page faults in the allocator."""

INITIAL_CREDIT_BYTES = 262_144
"""Body bytes a sender may have under way per stream and direction before the reader has consumed any: 26 MB/s at 10
ms of round trip, and the most that a reader who never reads can make its peer hold for one stream."""

CREDIT_RETURN_BYTES = 65_536
"""Consumed bytes are given back as credit in portions of at least this: one small frame per 64 KiB of body."""

CREDIT_MAX_BYTES = 1_048_576
"""The most credit a stream may hold: what a peer may make the sender's application put into its queue for one
stream."""

STREAMS_MAX = 1_024
"""Open streams per tunnel. Slots keep it far lower; this is the bound on memory when the peer ignores its slots."""

STREAM_ID_MAX = 2**32 - 1
"""Ids ascend and are never used twice. A tunnel that has used them all says GOAWAY and dials again."""

SEAL_FRAME_MAX_BYTES = 512
"""Room kept free in a message for the SEAL that must follow its DONE frames (a signature and a number)."""

# --- JSON bodies of frames ---

NAME_MAX_CHARS = 64
"""A DService's name, a version, an id, a code: all short words."""

TEXT_MAX_CHARS = 1_024
"""A sentence for a person: the detail of a failure, the reason of a GOAWAY."""

METHOD_MAX_CHARS = 32
TARGET_MAX_CHARS = 8_192
"""The request target as the DApp sent it; the work endpoint refuses longer ones with 414."""

HEADERS_MAX_COUNT = 128
HEADERS_MAX_CHARS = 22_528
"""All names and values of a request's or response's head together, so that with the longest target an OPEN fits into
one frame even if every character takes two bytes (a JSON escape, or Latin-1 as UTF-8). Servers commonly take 8 to 16
KiB."""

METADATA_MAX_COUNT = 32
METADATA_MAX_CHARS = 8_192
"""A DService's `CGN-Meta-` headers, which become the row's metadata."""

DSERVICES_MAX_COUNT = 64
SLOTS_MAX = STREAMS_MAX
MESSAGE_INTEGER_MAX = 2**53 - 1
"""Integers in frame bodies stay exact in every JSON reader; statements carry theirs as strings of digits."""

PROGRESS_MS = 1_500
"""So often a miner says of each request that it works on it, and what it has used: far above what costs anything, far
below what anybody would wait for a miner that is gone."""

ACKNOWLEDGE_TIMEOUT_MS = 2_000
"""A miner acknowledges an OPEN within this, or it is down (N-10)."""
HELLO_TIMEOUT_MS = 5_000
"""A new tunnel says HELLO within this, or is closed with 4408."""
KEEPALIVE_DEFAULT_MS = 20_000
"""Ping interval between requests, and how long a pong may take: a dead peer is found within twice this."""

BODY_MAX_BYTES = 2 * 1024**3
"""One request or response body (N-2)."""

# --- `CGN-*` headers of a work request ---

DEADLINE_MAX_MS = 24 * 3_600_000
"""A day: longer work is collected later (N-16), not waited for."""
FEE_MAX_NANO_EUR = 10**18
"""A cap on one request's fee: a thousand million EUR, so that sums of a day stay far inside 128 bits."""
MIN_THREADS_MAX = 4_096
MIN_KMIPS_MILLI_MAX = 1_000_000
MIN_BANDWIDTH_MAX_BYTES_S = 10**12
"""Service levels no machine has are mistakes: 4,096 threads, 10^12 instructions/s each, 8 Tbit/s."""
REQUEST_META_MAX_COUNT = 32
REQUEST_META_MAX_CHARS = 4_096
"""An enterprise's own fields in one row, names and values: "up to a few KB" of the ledger's specification."""

assert FRAME_PAYLOAD_MAX_BYTES <= 0xFFFF, "the length field has 16 bits"
assert MESSAGE_MAX_BYTES >= 2 * FRAME_MAX_BYTES + SEAL_FRAME_MAX_BYTES, "a message holds a frame, a DONE and its SEAL"
assert CREDIT_RETURN_BYTES * 2 <= INITIAL_CREDIT_BYTES <= CREDIT_MAX_BYTES, "a stream never starves for a portion"
_OPEN_MAX_BYTES = 2 * (TARGET_MAX_CHARS + HEADERS_MAX_CHARS) + 8 * HEADERS_MAX_COUNT + 1_024
assert _OPEN_MAX_BYTES <= FRAME_PAYLOAD_MAX_BYTES, "the largest OPEN fits into a frame"

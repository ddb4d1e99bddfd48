"""Every bound of MediaGen, with unit and reason. What an operator may change is in `settings`; these are the
defaults.
"""

from __future__ import annotations

MRL_MAX_CHARS = 16 * 1024
"""The longest request target: two pre-signed URLs and a text fit."""
PARAMETERS_MAX = 128
"""Named parameters of an MRL."""
ARGUMENTS_MAX = 64
"""Positional arguments of an MRL."""
SCRIPT_MAX_BYTES = 256 * 1024
"""One script with its includes; hand-written scripts have a few KiB."""
SCRIPTS_KEPT_MAX = 128
"""Assembled scripts one worker keeps; a DApp has tens."""
SCRIPTS_KEPT_MAX_CHARS = 2 << 20
"""All of them together, as JavaScript; the bytes they came from take about as much again."""
INCLUDES_MAX = 16
"""`#include` directives in one script, nested ones counted: enough for libraries, too few for a flood of fetches."""
INCLUDE_DEPTH_MAX = 4
SOURCES_MAX = 32
"""Addresses one request may load; each may be several megabytes."""
SOURCE_MAX_BYTES = 64 << 20
"""One source: a 12-megapixel photograph has 4 to 8 MiB, a scanned PDF tens."""
SOURCES_TOTAL_MAX_BYTES = 192 << 20
"""All sources of one request: they are in memory at the same time."""
SCRIPT_CPU_S = 2.0
"""A script's own running time, without fetching and pixels; usual ones take 1 ms."""
SCRIPT_HEAP_MAX_BYTES = 64 << 20
"""V8 heap of one script."""
WORK_WALL_S = 60.0
"""One request from script to picture."""
CALLS_MAX = 20_000
"""Calls from a script into the host; a loop over pixels by getPixel fits for small pictures only, on purpose."""
CALL_MAX_CHARS = 1 << 20
"""One call's arguments, or its answer, in UTF-16 units: the longest metadata document."""
STORES_MAX = 16
"""Named stores of one request."""
PRINT_MAX_CHARS = 8 * 1024
"""What `print` keeps of one request."""
FORM_PARTS_MAX = 64
"""Parts of an uploaded form: files and fields of a page."""
FORM_HEAD_MAX_BYTES = 8 * 1024
"""Headers of one part."""
MEASURE_MAX_CHARS = 1_000
"""Of one measureText: each character is laid out with all before it."""
HEAD_BYTES = 64 * 1024
"""What is read of a source: headers and the usual Exif and ICC blocks fit. A longer preamble costs accuracy only."""
HEADERS_MAX = 32
HEADERS_MAX_CHARS = 8 * 1024
"""Response headers that one script sets, names and values together: what proxies and the node pass on."""
PIXELS_MAX = 100_000_000
"""Pixels of one picture, all frames together: a 100-megapixel scan; at 4 bytes a pixel it fits a worker's memory."""
SIDE_MAX = 32_768
"""Width or height in pixels; JPEG ends at 65,535, WebP at 16,383 (checked when saving)."""
FRAMES_MAX = 512
"""Frames of an animation or pages of a document that are handled at once."""
MEDIA_MAX = 512
"""Media objects of one script."""
STEPS_MAX = 4_096
"""Operations in one script."""
TEXT_MAX_CHARS = 10_000
"""Of one drawText."""
OUTPUT_MAX_BYTES = 128 << 20
"""One response."""
WORK_CPU_S = 10.0
"""Processor time of one request: an animation or a scan at the bound of pixels takes 2 to 5 s, a hostile document as
much as it gets."""
PORTABLE_FACTOR = 4
"""Work that is done again without vector instructions may take so many times as long."""
WORK_MEMORY_BYTES = 768 << 20
"""Private memory of one request, over what its worker uses without one: PIXELS_MAX twice over at 4 bytes."""
WORKER_MEMORY_BYTES = 2 << 30
"""Private memory of one worker process (RLIMIT_DATA, hard): what V8 and libraries map, about 700 MiB of which a
tenth is ever touched, and a request."""
FREE_KEPT_MAX_BYTES = 128 << 20
"""Freed memory that a worker keeps for its next request; more is given back to the system."""
WORKER_REQUESTS_MAX = 1_000
"""A worker is replaced after so many requests, so that nothing a request left behind lives for long."""
QUEUE_MAX = 64
"""Requests waiting for a worker; beyond it 503."""

assert SCRIPT_CPU_S < WORK_WALL_S
assert SOURCE_MAX_BYTES <= SOURCES_TOTAL_MAX_BYTES < WORKER_MEMORY_BYTES
assert PIXELS_MAX * 8 < WORK_MEMORY_BYTES < WORKER_MEMORY_BYTES

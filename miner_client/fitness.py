"""A first measure of this machine (M-2, thin): threads, memory and CPU power. The whole fitness test comes with M-2.

CPU power in MIPS is a convention here: SHA-256 over a fixed buffer is timed on one thread, best of several rounds,
and one byte hashed counts as `INSTRUCTIONS_PER_BYTE` instructions. It repeats within a few percent on an idle machine
because it stays in the first-level cache and takes the best round.
"""

import hashlib
import time

import psutil
from cgn_sdk.protocol.messages import Capabilities

INSTRUCTIONS_PER_BYTE = 12
"""SHA-256 in plain C takes about 12 instructions per byte; hardware that does it faster counts as a faster machine."""

_BUFFER = bytes(16 * 1024)
_ROUNDS = 5
_HASHES = 64


def measure(share_ppm: int = 1_000_000, kmips_per_thread_milli: int = 0) -> Capabilities:
    """What this machine can do for the network, at this share of it. Takes a few milliseconds."""
    process = psutil.Process()
    has_affinity = hasattr(process, "cpu_affinity")  # macOS has none
    threads = len(process.cpu_affinity() or ()) if has_affinity else psutil.cpu_count() or 1
    memory = psutil.virtual_memory().total
    return Capabilities(
        threads=max(1, threads * share_ppm // 1_000_000),
        kmips_per_thread_milli=kmips_per_thread_milli or mips_per_thread(),
        memory_bytes=max(1, memory * share_ppm // 1_000_000),
    )


def mips_per_thread() -> int:
    """Millions of instructions per second on one thread (thousandths of KMIPS)."""
    best_ns = min(_one_round() for _ in range(_ROUNDS))
    return max(1, len(_BUFFER) * _HASHES * INSTRUCTIONS_PER_BYTE * 1_000 // best_ns)


def _one_round() -> int:
    began = time.thread_time_ns()
    for _ in range(_HASHES):
        hashlib.sha256(_BUFFER).digest()
    return max(1, time.thread_time_ns() - began)

"""Price estimates of a DService (S-2, N-22): what a request will cost before it is done.

    POST /_cgn/estimate
    {"method": "GET", "target": "/mgen/io?script=…", "headers": {"accept": "image/webp"}, "body_bytes": "0"}

    200
    {"cpu_ns": "71000000", "within_ppm": "180000", "memory_bytes": "180000000", "response_bytes": "64000",
     "basis": "model 1"}

Integers are strings, as everywhere in the network (decision 0005). `cpu_ns` is the CPU time of all threads of the
DService that the request will take on this machine, the way the miner meters it; `within_ppm` says how sure that is:
nine of ten requests estimated so come no further from it than this share of it. It, `memory_bytes` and `response_bytes`
may be null. An estimate binds nobody: what is billed is what was measured. A DService that cannot say answers with a
problem document, as it would to the request itself (422 for a request that will be refused).

The path lies outside every route, so no DApp reaches it; the miner's runtime asks. Pure: encodes, decodes, checks.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cgn_sdk.dservice.problems import Problem

PATH = "/_cgn/estimate"
ASK_MAX_BYTES = 64 * 1024
"""One question: a target of 16 KiB and 16 KiB of headers, twice over for JSON's escapes."""
TARGET_MAX_CHARS = 16 * 1024
HEADERS_MAX = 128
_INTEGER_MAX = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Work:
    """A request that is asked about, without its body. Header names are lower-case; `body_bytes` is its length."""

    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body_bytes: int = 0

    def document(self) -> dict[str, Any]:
        return {
            "method": self.method,
            "target": self.target,
            "headers": dict(self.headers),
            "body_bytes": str(self.body_bytes),
        }


@dataclass(frozen=True, slots=True)
class Estimate:
    """`cpu_ns`: CPU time on this machine, nanoseconds. The others in bytes, None where nobody knows."""

    cpu_ns: int
    memory_bytes: int | None = None
    response_bytes: int | None = None
    basis: str = ""
    """What it rests on, for people: the model and its version."""
    within_ppm: int | None = None
    """How far nine of ten are off at most, in millionths of `cpu_ns`; None where that is not known."""

    @property
    def least_cpu_ns(self) -> int:
        """What the work takes at least, as far as the estimator is sure of; 0 where it does not say how sure it is."""
        return 0 if self.within_ppm is None else max(0, self.cpu_ns * (1_000_000 - self.within_ppm) // 1_000_000)

    def document(self) -> dict[str, Any]:
        return {
            "cpu_ns": str(self.cpu_ns),
            "within_ppm": None if self.within_ppm is None else str(self.within_ppm),
            "memory_bytes": None if self.memory_bytes is None else str(self.memory_bytes),
            "response_bytes": None if self.response_bytes is None else str(self.response_bytes),
            "basis": self.basis,
        }


Estimator = Callable[[Work], Awaitable[Estimate]]


def integer(document: Mapping[str, Any], name: str, *, optional: bool = False) -> int | None:
    """A member that is an integer as text, 0 to 2^63 - 1. Problem 400 otherwise."""
    value = document.get(name)
    if value is None and optional:
        return None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 19:
        number = int(value)
        if number <= _INTEGER_MAX:
            return number
    raise Problem(400, "bad_question", f'{name} must be an integer as text, such as "0"', parameter=name)


def object_of(data: bytes) -> dict[str, Any]:
    """A JSON object out of bytes. Problem 400 for anything else."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        raise Problem(400, "bad_question", "the question is not JSON") from None
    if not isinstance(document, dict):
        raise Problem(400, "bad_question", "the question must be a JSON object")
    return document


def work_of(document: Mapping[str, Any]) -> Work:
    """The work that a question names. Problem 400 with the member otherwise."""
    method, target, headers = document.get("method", "GET"), document.get("target"), document.get("headers", {})
    if not (isinstance(method, str) and method.isascii() and method.isalpha() and len(method) <= 16):
        raise Problem(400, "bad_question", "method must be an HTTP method", parameter="method")
    if not (isinstance(target, str) and target.startswith("/") and len(target) <= TARGET_MAX_CHARS):
        raise Problem(
            400,
            "bad_question",
            f"target must be a request target of at most {TARGET_MAX_CHARS} characters",
            parameter="target",
        )
    if (
        not isinstance(headers, dict)
        or len(headers) > HEADERS_MAX
        or not all(isinstance(value, str) for value in headers.values())
    ):
        raise Problem(
            400, "bad_question", f"headers must be at most {HEADERS_MAX} names with text", parameter="headers"
        )
    body_bytes = integer(document, "body_bytes", optional=True)
    return Work(method.upper(), target, {name.lower(): value for name, value in headers.items()}, body_bytes or 0)


def estimate_of(data: bytes) -> Estimate:
    """An answer as the asker reads it. Problem 400 if it is none."""
    document = object_of(data)
    cpu_ns = integer(document, "cpu_ns")
    assert cpu_ns is not None
    return Estimate(
        cpu_ns,
        integer(document, "memory_bytes", optional=True),
        integer(document, "response_bytes", optional=True),
        str(document.get("basis", ""))[:200],
        integer(document, "within_ppm", optional=True),
    )

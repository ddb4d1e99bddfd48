"""Verdicts of a DService's verifier (S-2, T-7): whether somebody else's result is what this service would have made.

    POST /_cgn/verify
    {"work": {"method": "GET", "target": "/mgen/io?…", "headers": {}, "body_bytes": "0"}, "status": "200",
     "headers": {"content-type": "image/jpeg", "cgn-meta-format": "jpeg"}, "depth": "exact", "sizes": ["0", "64000"]}
    <line feed> <the work's request body> <the result>

    200
    {"answer": "disagree", "reason": "bytes", "detail": "…", "checks": ["screen", "again"]}

The first line is JSON, `sizes` are the lengths of the two parts behind it. `headers` are all that the DService's
response had, its `CGN-Meta-` fields among them. `depth` says how closely to look:

* `screen`: so cheap beside the work that every result can be looked at. It never agrees.
* `exact`: whatever it takes to be sure, usually the work itself. For results that were drawn (`sampling`).

Answers: `agree` (what was checked covers the whole result), `disagree` (an honest miner would not have sent this;
`reason` is a word, `detail` a sentence), `cannot_tell` (nothing wrong was found, or nothing could be looked at, for
`reason`). A verifier never disagrees because it failed itself: that is `cannot_tell`. Only `agree` is a pass: whoever
asks has a result that was drawn and not agreed to made again by somebody else, but accuses nobody over `cannot_tell`.
Pure: encodes, decodes, checks.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from cgn_sdk.dservice.estimates import ASK_MAX_BYTES, HEADERS_MAX, Work, integer, object_of, work_of
from cgn_sdk.dservice.problems import Problem

PATH = "/_cgn/verify"
CLAIM_LINE_MAX_BYTES = 2 * ASK_MAX_BYTES
"""The first line: a question as for an estimate and the response's headers."""
RESULT_MAX_BYTES = 256 << 20
"""Request body and result together: a verifier keeps both in memory."""

Answer = Literal["agree", "disagree", "cannot_tell"]
Depth = Literal["screen", "exact"]


@dataclass(frozen=True, slots=True)
class Claim:
    """A result, what it claims to be the result of, and how closely to look at it. Header names are lower-case."""

    work: Work
    result: bytes
    depth: Depth = "exact"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    """The work's own request body."""

    def encoded(self) -> bytes:
        """The body of the question."""
        line = {
            "work": self.work.document(),
            "status": str(self.status),
            "headers": dict(self.headers),
            "depth": self.depth,
            "sizes": [str(len(self.body)), str(len(self.result))],
        }
        return json.dumps(line).encode() + b"\n" + self.body + self.result


@dataclass(frozen=True, slots=True)
class Verdict:
    """See the module. `checks` are the names of what was looked at."""

    answer: Answer
    reason: str = ""
    detail: str = ""
    checks: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        return {"answer": self.answer, "reason": self.reason, "detail": self.detail, "checks": list(self.checks)}


Verifier = Callable[[Claim], Awaitable[Verdict]]


def claim_of(data: bytes) -> Claim:
    """The claim in a question's body. Problem 400 with the member that is wrong."""
    line, separator, _ = data[: CLAIM_LINE_MAX_BYTES + 1].partition(b"\n")
    if not separator:
        raise Problem(400, "bad_question", f"the first line must be JSON of at most {CLAIM_LINE_MAX_BYTES} bytes")
    document = object_of(line)
    start = len(line) + 1
    work, headers, depth = document.get("work"), document.get("headers", {}), document.get("depth")
    if not isinstance(work, dict):
        raise Problem(400, "bad_question", "work must be an object", parameter="work")
    if depth not in ("screen", "exact"):
        raise Problem(400, "bad_question", "depth must be screen or exact", parameter="depth")
    if (
        not isinstance(headers, dict)
        or len(headers) > HEADERS_MAX
        or not all(isinstance(value, str) for value in headers.values())
    ):
        raise Problem(
            400, "bad_question", f"headers must be at most {HEADERS_MAX} names with text", parameter="headers"
        )
    status = integer(document, "status")
    assert status is not None
    if not 100 <= status <= 599:
        raise Problem(400, "bad_question", "status must be an HTTP status", parameter="status")
    sizes = document.get("sizes")
    if not (isinstance(sizes, list) and len(sizes) == 2):
        raise Problem(400, "bad_question", "sizes must be two lengths", parameter="sizes")
    lengths = [integer({"sizes": size}, "sizes") or 0 for size in sizes]
    if start + sum(lengths) != len(data):
        raise Problem(400, "bad_question", "sizes must add up to what follows the first line", parameter="sizes")
    cut = start + lengths[0]
    return Claim(
        work_of(work),
        data[cut:],
        depth,
        status,
        {name.lower(): value for name, value in headers.items()},
        data[start:cut],
    )


def verdict_of(data: bytes) -> Verdict:
    """An answer as the asker reads it. Problem 400 if it is none."""
    document = object_of(data)
    answer, checks = document.get("answer"), document.get("checks", [])
    if answer not in ("agree", "disagree", "cannot_tell") or not isinstance(checks, list):
        raise Problem(400, "bad_question", "this is no verdict", parameter="answer")
    return Verdict(
        answer,
        str(document.get("reason", ""))[:100],
        str(document.get("detail", ""))[:1000],
        tuple(str(check)[:100] for check in checks[:32]),
    )

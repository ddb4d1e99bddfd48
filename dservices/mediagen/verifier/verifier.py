"""The verifier (G-8, T-7): is this result what the request would have given?

MediaGen gives the same bytes for the same request and sources (G-1), so the sure way is to make the result again, in
the sandbox of all work, and to compare: whatever was done to a result is found, at about the cost of the work. Whoever
wants to find a local change must read all sources, and reading a photograph is two thirds of a thumbnail; ways that
look shorter cost nearly as much and miss some. So there are two depths:

* `screen`, for every result: is the file whole that claims to be a picture of ours (`integrity`)?
* `exact`, for those that were drawn (`cgn_sdk.dservice.sampling`).

Bytes that differ accuse somebody only if nothing else can have caused it: both sides have read the same bytes at all
addresses and run the same version on the same kind of processor (`provenance`), and the bytes are not those of a
processor without vector instructions either (`simd`). A request that fails here or failed there accuses nobody.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from cgn_sdk.dservice.framework import Response
from cgn_sdk.dservice.problems import CONTENT_TYPE, Problem
from cgn_sdk.dservice.verdicts import Claim, Verdict

from dservices.mediagen import limits
from dservices.mediagen.formats import integrity
from dservices.mediagen.front import provenance
from dservices.mediagen.front.service import MediaGen

BRIEF_BYTES = 256 * 1024
"""A result up to this size is screened at once (a few tenths of a millisecond); a longer one beside other requests."""


async def verify(service: MediaGen, claim: Claim) -> Verdict:
    """The verdict on a result. Where the request cannot even be made again, nobody is accused."""
    defect = screened(claim) if len(claim.result) <= BRIEF_BYTES else await asyncio.to_thread(screened, claim)
    if defect is not None:
        return Verdict("disagree", "defect", defect, ("screen",))
    if claim.depth == "screen":
        return Verdict("cannot_tell", "screened", "nothing is wrong with the file as such", ("screen",))
    if claim.work.method not in ("GET", "HEAD", "POST"):
        return Verdict("cannot_tell", "refused", "only GET, HEAD and POST make results", ("screen",))
    return await _again(service, claim)


def screened(claim: Claim) -> str | None:
    """What is wrong with the result as a file, if it says that it is a picture this service has encoded. Pure."""
    if len(claim.result) > limits.OUTPUT_MAX_BYTES:
        return f"it is longer than {limits.OUTPUT_MAX_BYTES} bytes"
    if claim.status == 304 or claim.work.method == "HEAD":
        return "there are bytes where none belong" if claim.result else None
    return integrity.defect(_metadata(claim, provenance.FORMAT), claim.result)


def _metadata(claim: Claim, name: str) -> str:
    return claim.headers.get(f"cgn-meta-{name.lower()}", "")


async def _again(service: MediaGen, claim: Claim) -> Verdict:
    checks: tuple[str, ...] = ("screen", "again")
    try:
        made = await _made(service, claim, portable=False)
    except Problem as problem:
        return _refused(claim, problem, checks)
    difference = _difference(claim, made)
    if difference is None:
        return Verdict("agree", checks=checks)
    if claim.headers.get("content-type", "").startswith(CONTENT_TYPE):
        return Verdict("cannot_tell", "failed_there", "here the request does not fail", checks)
    for name, reason in ((provenance.SOURCES, "sources"), (provenance.ENGINE, "engine")):
        theirs, ours = _metadata(claim, name), made.metadata[name]
        if theirs != ours:
            return Verdict("cannot_tell", reason, f"{name} was {theirs or 'not said'} there, here it is {ours}", checks)
    checks = (*checks, "again without vector instructions")
    try:
        portable = await _made(service, claim, portable=True)
    except Problem as problem:
        return _refused(claim, problem, checks)
    if portable.metadata[provenance.SOURCES] != made.metadata[provenance.SOURCES]:
        return Verdict("cannot_tell", "sources", "the sources have changed meanwhile", checks)
    if _difference(claim, portable) is None:
        return Verdict("agree", checks=checks)
    return Verdict("disagree", *difference, checks)


async def _made(service: MediaGen, claim: Claim, *, portable: bool) -> Response:
    """The response this service gives to the request, its uploads left out. Problem as the request would meet it."""
    work = claim.work
    order: dict[str, Any] = {**service.order(work.target, work.headers), "mode": "again", "portable": portable}
    upload = b""
    if work.method == "POST":
        order, upload = service.with_body(order, work.headers, claim.body)
    outcome, body = await service.made(order, upload, service.settings.wall_s)
    return service.response(work.method, work.headers, outcome, body)


def _difference(claim: Claim, made: Response) -> tuple[str, str] | None:
    """(reason, detail) of what the result has otherwise: status, headers, format, bytes."""
    if claim.status != made.status:
        return "status", f"the status is {made.status}, not {claim.status}"
    if claim.result != (b"" if claim.work.method == "HEAD" else made.body):
        return "bytes", "the same work done here gives other bytes"
    expected = {name.lower(): str(value) for name, value in made.headers.items()}
    if provenance.FORMAT in made.metadata:
        expected[f"cgn-meta-{provenance.FORMAT.lower()}"] = made.metadata[provenance.FORMAT]
    for name, value in sorted(expected.items()):
        if claim.headers.get(name) != value:
            return "headers", f"{name} is {value!r}, not {claim.headers.get(name)!r}"[:300]
    return None


def _refused(claim: Claim, problem: Problem, checks: tuple[str, ...]) -> Verdict:
    """The request fails here. It may be of this place or moment, so only the same failure there is agreed to."""
    if claim.status == problem.status and _code(claim) == problem.code:
        return Verdict("agree", checks=checks)
    return Verdict("cannot_tell", "failed_here", f"{problem.code}: {problem.detail}"[:500], checks)


def _code(claim: Claim) -> str | None:
    try:
        document = json.loads(claim.result)
    except (ValueError, RecursionError):
        return None
    return document.get("title") if isinstance(document, Mapping) else None

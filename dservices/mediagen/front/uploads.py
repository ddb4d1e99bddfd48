"""The body of a POST as files of the request (reference 2.2, 2.3). Pure.

A body is one file, `body`. One of `multipart/form-data`, as forms and `curl -F` send it, is taken apart (RFC 7578):
each part with a file name is a file under the name of its field, each other part a parameter of the request. Files lie
one behind the other in what a worker is sent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from cgn_sdk.dservice.problems import Problem

from dservices.mediagen import limits

WHOLE = "body"
_BOUNDARY = re.compile(r";\s*boundary=(?:\"([^\"\r\n]{1,70})\"|([\w'()+,./:=?-]{1,70}))\s*(?:;|$)", re.IGNORECASE)
_PARAMETER = re.compile(r";\s*([\w*-]+)=(?:\"((?:[^\"\\]|\\.)*)\"|([^;\s]*))")
_NAME = re.compile(r"[^\x00-\x1f\x7f/\\?#%]{1,100}")


@dataclass(slots=True)
class Uploads:
    """`files`: name and size of each, in the order of `data`; `fields`: what was no file."""

    files: list[tuple[str, int]] = field(default_factory=list)
    fields: dict[str, str] = field(default_factory=dict)
    data: bytes = b""

    def into(self, order: Mapping[str, object], parameters: Mapping[str, str]) -> dict[str, object]:
        """The order with these files and fields; what the MRL says goes before what the form says."""
        return {**order, "uploads": [list(file) for file in self.files], "parameters": {**self.fields, **parameters}}


def is_form(content_type: str) -> bool:
    return content_type.partition(";")[0].strip().lower() == "multipart/form-data"


def taken_apart(content_type: str, body: bytes) -> Uploads:
    """The files and fields of a body. Problem for a form that cannot be read or breaks a bound."""
    if not is_form(content_type):
        return Uploads([(WHOLE, len(body))] if body else [], {}, body)
    boundary = _BOUNDARY.search(content_type)
    if boundary is None:
        raise _refused("its Content-Type names no boundary", "multipart/form-data; boundary=…")
    made = Uploads()
    pieces: list[memoryview] = []
    names: set[str] = set()
    for head, content in _parts(memoryview(body), (boundary[1] or boundary[2]).encode("ascii", "replace")):
        name, is_file = _field(head)
        if name in names:  # as in an MRL: refused rather than guessed
            raise _refused(f"the field {name!r} comes twice", "each field once")
        names.add(name)
        if is_file:
            made.files.append((name, len(content)))
            pieces.append(content)
        else:
            if len(content) > limits.MRL_MAX_CHARS:
                raise _refused(f"the field {name!r} is too long", f"at most {limits.MRL_MAX_CHARS} bytes, or a file")
            made.fields[name] = bytes(content).decode("utf-8", "replace")
    made.data = b"".join(pieces)
    return made


def _parts(body: memoryview, boundary: bytes) -> list[tuple[bytes, memoryview]]:
    """(header lines, content) of each part (RFC 2046 5.1)."""
    whole, line = body.obj, b"--" + boundary
    assert isinstance(whole, bytes)
    at = 0 if whole.startswith(line) else _after(whole.find(b"\r\n" + line), 2)
    found: list[tuple[bytes, memoryview]] = []
    while True:
        if at < 0:
            raise _refused("it has no such boundary, or no end", "a whole form")
        at += len(line)
        if whole.startswith(b"--", at):
            return found
        end = whole.find(b"\r\n", at)
        if end < 0 or whole[at:end].strip(b" \t"):
            raise _refused("a boundary is not a line of its own", "CRLF behind each boundary")
        if len(found) == limits.FORM_PARTS_MAX:
            raise _refused(f"it has more than {limits.FORM_PARTS_MAX} parts", "fewer parts")
        blank = whole.find(b"\r\n\r\n", end, end + limits.FORM_HEAD_MAX_BYTES)
        if blank < 0:
            raise _refused(
                "a part's head has no end", f"at most {limits.FORM_HEAD_MAX_BYTES} bytes of headers in a part"
            )
        following = whole.find(b"\r\n" + line, blank + 2)
        if following < 0:
            raise _refused("a part has no end", "a whole form")
        found.append((whole[end + 2 : blank], body[min(blank + 4, following) : following]))
        at = following + 2


def _after(at: int, count: int) -> int:
    return at + count if at >= 0 else at


def _field(head: bytes) -> tuple[str, bool]:
    """The name of a part's field, and whether it is a file."""
    lines = dict(
        (name.strip().lower(), value.strip())
        for name, _, value in (line.partition(":") for line in head.decode("utf-8", "replace").split("\r\n"))
    )
    encoding = lines.get("content-transfer-encoding", "binary").lower()
    if encoding not in ("binary", "8bit", "7bit"):  # RFC 7578 4.7: not to be used
        raise _refused(f"a part is encoded as {encoding:.20}", "parts as they are")
    disposition = lines.get("content-disposition", "")
    said = {name.lower(): quoted or plain for name, quoted, plain in _PARAMETER.findall(disposition)}
    name = re.sub(r"\\(.)", r"\1", said.get("name", ""))
    if not disposition.lower().startswith("form-data") or _NAME.fullmatch(name) is None or name in (".", ".."):
        raise _refused(
            "a part has no name, or one that is none for a file",
            'Content-Disposition: form-data; name="…" of 1 to 100 characters, none of / \\ ? # %',
        )
    return name, "filename" in said


def _refused(what: str, expected: str) -> Problem:
    return Problem(422, "bad_form", f"the form cannot be read: {what}", expected=expected)

"""What a script's calls do: from a checked call to a new state. One `Host` serves one request and is thrown away.

It lives in a worker process, between the engine (calls come in as JSON) and the pixels. It reaches nothing outside but
`fetch`, which asks the parent process; every other name is in memory.
"""

from __future__ import annotations

import json
import re
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin, urlsplit

import pyvips
from cgn_sdk.dservice.fetch import shown
from cgn_sdk.dservice.problems import Problem

from dservices.mediagen import limits
from dservices.mediagen.channel import Data
from dservices.mediagen.formats import decoding, encoding
from dservices.mediagen.formats.problems import mangled
from dservices.mediagen.language import catalogue, metadata_names
from dservices.mediagen.language.catalogue import MEDIA, PROFILE, REQ, RESP, check
from dservices.mediagen.language.mrl import Mrl
from dservices.mediagen.operations import colours, methods
from dservices.mediagen.operations.fonts import Fonts
from dservices.mediagen.picture.picture import Picture
from dservices.mediagen.worker import script_objects

Fetch = Callable[[str, str], Data]
"""(address, purpose) to its bytes; raises Problem."""

SETTABLE_HEADERS = frozenset(
    {
        "cache-control",
        "content-disposition",
        "content-language",
        "expires",
        "last-modified",
        "link",
        "retry-after",
        "vary",
    }
)
"""What a script may say of its answer. A list of what is allowed, because the rest speaks for the node's name: framing,
cookies, what a browser may do on this origin, where else it should go."""
_GUARDED = ("x-content-type-options", "x-frame-options", "x-xss-protection", "x-accel-", "x-sendfile", "x-forwarded-")
"""Of the names that begin with X-, which a script may choose freely otherwise: those that browsers and proxies obey."""
_TOKEN = re.compile(r"[A-Za-z0-9-]{1,64}")


def may_set(name: str) -> bool:
    """Whether a script may set this response header."""
    lower = name.lower()
    if _TOKEN.fullmatch(name) is None:
        return False
    return lower in SETTABLE_HEADERS or (lower.startswith("x-") and not lower.startswith(_GUARDED))


@dataclass(slots=True)
class Answer:
    """The response as far as the script has set it."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    content_type: str | None = None
    cached: bool = True
    format: str | None = None
    """Of a picture that was encoded here; None of a text, or of a file passed on as it is."""
    looked_at: set[str] = field(default_factory=set)
    """Request headers that the script has asked for, in lower case: the answer may depend on them."""


class Host:
    """State of one request: media by handle, files in memory, the answer."""

    def __init__(
        self,
        mrl: Mrl,
        headers: Mapping[str, str],
        fetch: Fetch,
        fonts: Fonts,
        *,
        locate: Callable[[int, int], tuple[int, int, str | None]],
        put: Callable[[str, bytes, str], None] | None = None,
        uploads: Mapping[str, bytes] | None = None,
        stores: frozenset[str] = frozenset(),
    ) -> None:
        self.mrl, self.headers, self.fonts = mrl, headers, fonts
        self._fetch, self._put, self._locate = fetch, put, locate
        self._stores = stores
        """Names that stand for a place of the account's; where that is, the front knows."""
        self.answer = Answer()
        self.pictures: dict[int, Picture] = {}
        self.profiles: dict[int, bytes] = {}
        self.zips: dict[int, dict[str, bytes]] = {}
        self.files: dict[str, bytes] = {f"mem:/upload/{name}": data for name, data in (uploads or {}).items()}
        self.uploads = tuple(uploads or ())
        self._views: list[Data] = []
        """Mappings that pictures read from while the request lasts."""
        self.printed: list[str] = []
        self.problems: list[Problem] = []
        self.calls = 0
        self.steps = 0
        self.sources = 0
        self.source_bytes = 0
        self._next = 1 << 20  # handles made by the host; those made by scripts count from 1

    # -- the border ---------------------------------------------------------------------------------------------

    def call(self, text: str) -> str:
        """One call as JSON, one answer as JSON. Never raises: whatever goes wrong is a problem, and the prelude then
        says where in the script that was (the call "place"): only calls that fail pay for looking."""
        name = "?"
        try:
            name, handle, packed = json.loads(text)
            if not isinstance(name, str):
                raise Problem(422, "script_call", "the call cannot be read")
            if name == "place":
                self._note_place(packed)
                return "{}"
            self.calls += 1
            if self.calls > limits.CALLS_MAX:
                raise Problem(422, "script_limit", f"a script may make at most {limits.CALLS_MAX} calls")
            return json.dumps({"value": self._dispatch(name, handle, packed)})
        except Problem as problem:
            return self._refusal(problem, name)
        except RecursionError:
            return self._refusal(Problem(422, "script_call", f"{name}: the arguments are too deep"), name)
        except MemoryError:
            return self._refusal(
                Problem(422, "script_memory", f"{name} needs more memory than a request may have"), name
            )
        except pyvips.Error as error:
            return self._refusal(mangled(name, "picture", error), name)
        except Exception:
            # Ours to fix: the operator sees where, the caller only that it was not their script.
            traceback.print_exc(file=sys.stderr)
            return self._refusal(Problem(500, "internal_error", f"{name} failed inside the service"), name)

    def _refusal(self, problem: Problem, name: str) -> str:
        if name.startswith("media.") and "method" not in problem.facts:
            problem.facts["method"] = name.partition(".")[2]
        # Its traceback would hold this object, and with it the pictures, until the collector comes by.
        problem.__traceback__ = problem.__context__ = None
        self.problems.append(problem)
        return json.dumps(
            {
                "problem": {
                    "ref": len(self.problems) - 1,
                    "code": problem.code,
                    "status": problem.status,
                    "detail": problem.detail,
                }
            }
        )

    def _note_place(self, packed: Any) -> None:
        reference, line, column = packed
        if not all(type(value) is int for value in (reference, line, column)) or line < 1:
            return
        if 0 <= reference < len(self.problems) and "line" not in (facts := self.problems[reference].facts):
            line, column, file = self._locate(line, column)
            facts.update({"line": line, "column": column, **({"file": file} if file else {})})

    def _dispatch(self, name: str, handle: Any, packed: Any) -> Any:
        kind, _, method = name.partition(".")
        if kind == "media" and method in MEDIA:
            self.steps += 1
            if self.steps > limits.STEPS_MAX:
                raise Problem(422, "script_limit", f"a script may do at most {limits.STEPS_MAX} operations")
            if type(handle) is not int or handle not in self.pictures:
                raise Problem(422, "script_call", "the Media object is unknown")
            return self._media(method, handle, check(MEDIA[method], packed))
        if kind == "req" and method in REQ:
            return self._req(method, check(REQ[method], packed))
        if kind == "resp":
            return self._resp(method, packed)
        if name == "Media":
            return self._new_media(handle)
        if name == "print":
            return self._print(packed)
        return script_objects.dispatch(self, name, handle, packed)

    # -- media --------------------------------------------------------------------------------------------------

    def _new_media(self, handle: Any) -> None:
        if type(handle) is not int or not 0 < handle < 1 << 20 or handle in self.pictures:
            raise Problem(422, "script_call", "the Media object cannot be made")
        self.keep(handle, Picture())

    def keep(self, handle: int, picture: Picture) -> None:
        if handle not in self.pictures and len(self.pictures) >= limits.MEDIA_MAX:
            raise Problem(422, "script_limit", f"a script may have at most {limits.MEDIA_MAX} Media objects")
        self.pictures[handle] = picture

    def made(self, picture: Picture) -> dict[str, Any]:
        """A new Media for the script."""
        self._next += 1
        self.keep(self._next, picture)
        return {"$": "media", "v": self._next}

    def picture(self, handle: int) -> Picture:
        if handle not in self.pictures:
            raise Problem(422, "script_call", "the Media object is unknown")
        return self.pictures[handle]

    def _media(self, method: str, handle: int, args: dict[str, Any]) -> Any:
        picture = self.pictures[handle]
        if method in ("load", "loadAsRGB"):
            self.keep(handle, self.load(args, rgb=method == "loadAsRGB"))
            return None
        if method == "save":
            return self._save(picture, args)
        query = methods.QUERIES.get(method)
        if query is not None:
            return query(self, picture, args)
        self.keep(handle, methods.TRANSFORMS[method](self, picture, args))
        return None

    def load(self, args: Mapping[str, Any], *, rgb: bool = False) -> Picture:
        name = args["name"]
        data = self.view(name)
        picture = decoding.load(data, shown(name), args)
        kept = args["temporaryfilename"]
        if kept is not None and picture.file_type == "pdf":
            # The pages as one TIFF that the script can load again (reference 3.1).
            pages, _ = encoding.encode(picture, check(MEDIA["save"], {"named": [["type", "tiff"]]}))
            self.write(kept, pages, "image/tiff")
        if rgb:
            picture = colours.to_rgb(self, picture)
        return picture

    def load_named(self, name: str) -> Picture:
        return self.load(check(MEDIA["load"], {"named": [["name", name]]}))

    def _save(self, picture: Picture, args: dict[str, Any]) -> None:
        data, content_type = encoding.encode(picture, args)
        name = args["name"]
        if name is None:
            self.answer.body, self.answer.content_type = data, content_type
            self.answer.cached = args["responsetype"] != "streamed"
            self.answer.format = content_type.rpartition("/")[2]
            return
        self.write(name, data, content_type)

    # -- files --------------------------------------------------------------------------------------------------

    def address(self, name: str) -> str:
        """An absolute address, or a `mem:` path. Relative names are read beside the script; `read:/x` is the same."""
        scheme, separator, rest = name.partition(":")
        if separator and scheme.lower() in ("http", "https"):
            return name
        if separator and scheme.lower() == "mem":
            return "mem:/" + rest.lstrip("/")
        if separator and scheme.lower() in ("read", "scripts"):
            return self._beside(rest.lstrip("/"))
        if separator and scheme in self._stores:
            return f"{scheme}:{rest.lstrip('/')}"
        if separator and scheme.isalnum() and len(scheme) > 1:
            raise Problem(
                403,
                "source_refused",
                f"there is no file system or store {scheme}:",
                parameter="name",
                expected="an http(s) address, mem:/name, a path beside the script or a store of the request"
                + (f" ({', '.join(sorted(self._stores))})" if self._stores else ""),
            )
        if not urlsplit(self.mrl.script).scheme.startswith("http"):
            raise Problem(
                422,
                "bad_parameter",
                "a relative name needs a script with an address",
                parameter="name",
                expected="an http(s) address",
            )
        return self._beside(name)

    def _beside(self, name: str) -> str:
        try:
            return urljoin(self.mrl.script, name)
        except ValueError as error:  # such as a bracket without its other half where a host would be
            raise Problem(
                422,
                "bad_parameter",
                f"the name {name!r:.200} is no address: {error}",
                parameter="name",
                expected="an http(s) address, mem:/name or a path beside the script",
            ) from None

    def read(self, name: str) -> bytes:
        return self.view(name)[:]

    def view(self, name: str) -> Data:
        """The bytes of an address or file; those of a large source stay where the front has put them."""
        address = self.address(name)
        if address.startswith("mem:/"):
            if address not in self.files:
                raise Problem(404, "source_missing", f"there is no {shown(address)}", parameter="name")
            return self.files[address]
        self.sources += 1
        if self.sources > limits.SOURCES_MAX:
            raise Problem(422, "script_limit", f"a script may load at most {limits.SOURCES_MAX} addresses")
        data = self._fetch(address, "source")
        self._views.append(data)
        self.source_bytes += len(data)
        if self.source_bytes > limits.SOURCES_TOTAL_MAX_BYTES:
            raise Problem(
                413, "source_too_large", f"all sources together may have at most {limits.SOURCES_TOTAL_MAX_BYTES} bytes"
            )
        return data

    def write(self, name: str, data: bytes, content_type: str) -> None:
        """`mem:` keeps it for this request; an http(s) address gets it by PUT (G-5: pre-signed S3, Azure SAS)."""
        scheme = name.partition(":")[0].lower()
        if scheme in ("http", "https") or (":" in name and name.partition(":")[0] in self._stores):
            if self._put is None:
                raise Problem(422, "bad_parameter", "saving to an address is not available here", parameter="name")
            self._put(name, data, content_type)
            return
        if scheme in ("write", "results") or ":" not in name:
            name = "mem:/" + name.partition(":")[2].lstrip("/") if ":" in name else "mem:/" + name
        if not name.lower().startswith("mem:"):
            raise Problem(
                422,
                "bad_parameter",
                f"cannot save to {shown(name)}",
                parameter="name",
                expected="an http(s) address, mem:/name or a store of the request",
            )
        held = sum(len(value) for key, value in self.files.items())
        if held + len(data) > limits.SOURCES_TOTAL_MAX_BYTES or len(self.files) >= limits.MEDIA_MAX:
            raise Problem(
                422, "script_memory", f"files in mem: may have at most {limits.SOURCES_TOTAL_MAX_BYTES} bytes together"
            )
        self.files[self.address(name)] = data

    # -- req, resp, print ----------------------------------------------------------------------------------------

    def _req(self, method: str, args: Mapping[str, Any]) -> Any:
        match method:
            case "getParameter":
                return self.mrl.parameters.get(args["name"])
            case "getParameterNames":
                return list(self.mrl.parameters)
            case "getHeader":
                self.answer.looked_at.add(args["name"].lower())
                return self.headers.get(args["name"].lower())
            case "getHeaderNames":
                self.answer.looked_at.update(self.headers)
                return sorted(self.headers)
            case "getFileParamNames":
                return list(self.uploads)
            case "getFileParamPath":
                return f"mem:/upload/{args['name']}" if args["name"] in self.uploads else None
            case "getRequestURL":
                return f"/mgen/io?{self.mrl.query}"
            case "getQueryString":
                return self.mrl.query
            case _:
                return self.mrl.script

    def _resp(self, method: str, packed: Any) -> None:
        if method in ("setObject", "setText"):
            values: Sequence[Any] = packed.get("positional", []) if isinstance(packed, dict) else []
            cached = self._response_type(values[2 if method == "setText" else 1])
            if method == "setText":
                self._set_text(str(values[0]), str(values[1]))
            else:
                handle = values[0].get("v") if isinstance(values[0], dict) and values[0].get("$") == "media" else None
                if not isinstance(handle, int):
                    raise Problem(
                        422,
                        "bad_parameter",
                        "resp.setObject: expected a Media, XmlDocument or TextResponse",
                        parameter="object",
                        expected="a Media, XmlDocument or TextResponse",
                    )
                args = check(MEDIA["save"], {"named": [pair for pair in values[2] if str(pair[0]).lower() != "name"]})
                self._save(self.picture(handle), args)
            self.answer.cached = cached
            return
        if method not in RESP:
            raise Problem(422, "unknown_method", f"resp has no method {method!r}", expected="one of " + ", ".join(RESP))
        args = check(RESP[method], packed)
        match method:
            case "setPath":
                path = args["path"]
                data = self.read(path)
                self.answer.body, self.answer.format = data, None
                self.answer.cached = args["type"] != "streamed"
                self.answer.content_type = encoding.CONTENT_TYPES.get(
                    decoding.sniff(data) or "", "application/octet-stream"
                )
            case "setStatus" | "setStatusCode":
                self.answer.status = args["status"]
            case "setContentType":
                self.answer.headers["Content-Type"] = _header_value(args["type"])
            case _:
                self._set_header(args["name"], _header_value(args["value"]))

    def _set_header(self, name: str, value: str) -> None:
        if not may_set(name):
            raise Problem(
                422,
                "bad_parameter",
                f"resp.setHeader: the header {name!r:.100} cannot be set",
                parameter="name",
                expected=", ".join(sorted(SETTABLE_HEADERS)) + ", or a name of your own that begins with X-",
            )
        headers = self.answer.headers
        headers.pop(next((known for known in headers if known.lower() == name.lower()), ""), None)
        headers[name] = value
        taken = sum(len(known) + len(text) for known, text in headers.items())
        if len(headers) > limits.HEADERS_MAX or taken > limits.HEADERS_MAX_CHARS:
            raise Problem(
                422,
                "script_limit",
                f"an answer may have {limits.HEADERS_MAX} headers of {limits.HEADERS_MAX_CHARS} characters together",
                method="setHeader",
            )

    def _set_text(self, text: str, content_type: str) -> None:
        data = text.encode("utf-8", "replace")
        if len(data) > limits.OUTPUT_MAX_BYTES:
            raise Problem(422, "output_too_large", f"the result has more than {limits.OUTPUT_MAX_BYTES} bytes")
        self.answer.body, self.answer.format = data, None
        self.answer.content_type = _header_value(content_type) + (
            "" if "charset" in content_type else "; charset=utf-8"
        )

    @staticmethod
    def _response_type(value: Any) -> bool:
        if value is None:
            return True
        if value not in ("cached", "streamed", "path"):
            raise Problem(
                422,
                "bad_parameter",
                "the response type is one of RespType",
                parameter="type",
                expected="RespType.Cached or RespType.Streamed",
            )
        return bool(value != "streamed")

    def _print(self, packed: Any) -> None:
        line = str(packed["positional"][0])
        room = limits.PRINT_MAX_CHARS - sum(len(text) + 1 for text in self.printed)
        if room > 0:
            self.printed.append(line[:room])


def _header_value(text: str) -> str:
    """One line of printable ASCII: a line break in a header would begin another."""
    if not text.isascii() or not text.isprintable():
        raise Problem(
            422, "bad_parameter", "a header value is one line of ASCII", parameter="value", expected="printable ASCII"
        )
    return text


def script_table() -> str:
    """What the prelude needs to know, as JSON: the names of Media's methods, and names of methods and tags by part."""
    table = {
        "methods": list(MEDIA),
        "answers": {"resp": list(RESP)},
        "files": {"file": list(catalogue.FILE), "zip": list(catalogue.ZIP)},
        "metadata": {"IPTC": list(metadata_names.IPTC), "Exif": list(metadata_names.EXIF)},
        "profiles": {"profile": list(PROFILE)},
        "request": {"req": list(REQ), "version": catalogue.VERSION},
    }
    return json.dumps(table)

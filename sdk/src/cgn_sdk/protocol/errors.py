"""What goes wrong, by whose fault it is: `Problem` for what a person or program asked wrongly, `ProtocolError` for a
peer that breaks the rules.

Every refusal of every endpoint is one body: a problem document (RFC 9457, `application/problem+json`). Its `code`
comes from the closed list below, so that clients can act on it; `type` is derived from the code; `detail` says what
to change, in a sentence. Anything else a refusal needs (the limit that was passed, routes that exist, seconds to
wait) is an extension member.
"""

import json
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

MEDIA_TYPE: Final = "application/problem+json"
TYPE_PREFIX: Final = "urn:cgn:problem:"

Retry = Literal["never", "later", "elsewhere"]


class Code(NamedTuple):
    """A kind of problem: HTTP status, title (constant per code, RFC 9457 section 3.1.3), and whether asking again can
    help."""

    status: int
    title: str
    retry: Retry


CODES: Final[dict[str, Code]] = {
    # What the asker can change
    "bad_request": Code(400, "The request cannot be understood", "never"),
    "bad_header": Code(400, "A CGN- header is malformed or unknown", "never"),
    "bad_json": Code(400, "The body is not the JSON that is wanted here", "never"),
    "not_authenticated": Code(401, "The session or key is missing, wrong or expired", "never"),
    "price_cap": Code(402, "The work costs more than the cap allows", "never"),
    "forbidden": Code(403, "This account may not do that", "never"),
    "account_suspended": Code(403, "The account is suspended", "never"),
    "unknown_dservice": Code(404, "No DService has this route", "never"),
    "not_found": Code(404, "There is nothing under this name", "never"),
    "method_not_allowed": Code(405, "This method is not answered here", "never"),
    "slow_request": Code(408, "The request came too slowly", "later"),
    "conflict": Code(409, "This contradicts what is already there", "never"),
    "duplicate_request": Code(409, "A request with this id exists already", "never"),
    "body_too_large": Code(413, "The body is larger than is allowed here", "never"),
    "target_too_long": Code(414, "The request target is longer than is allowed here", "never"),
    "unsupported_media_type": Code(415, "This kind of body is not taken here", "never"),
    "rate_limited": Code(429, "Too many requests", "later"),
    "concurrency_limited": Code(429, "Too many requests at once", "later"),
    "headers_too_large": Code(431, "The header fields are larger than is allowed here", "never"),
    "cancelled": Code(499, "The request was cancelled by its sender", "never"),
    # What the network cannot do now
    "internal": Code(500, "An error of ours", "later"),
    "bad_gateway": Code(502, "The DService did not give a usable answer", "later"),
    "quarantined": Code(502, "The request failed on too many miners", "never"),
    "no_miner": Code(503, "No miner fits this request now", "later"),
    "overloaded": Code(503, "Too much is waiting", "elsewhere"),
    "draining": Code(503, "This node is about to stop", "elsewhere"),
    "ledger_full": Code(503, "Work cannot be recorded now, so none is taken", "later"),
    "central_unreachable": Code(503, "Accounts cannot be checked now", "later"),
    "deadline": Code(504, "The deadline passed before the work was done", "later"),
    # What a DService refuses to run for its caller
    "script_limit": Code(422, "The script uses more than it may", "never"),
    # Between node and miner (FAIL, CANCEL, GOAWAY); the node translates before a DApp sees anything
    "dservice_unavailable": Code(503, "The DService does not run on this miner", "elsewhere"),
    "dservice_crashed": Code(502, "The DService ended in the middle of a request", "elsewhere"),
    "dservice_protocol": Code(502, "The DService's answer broke a rule of HTTP or of this network", "elsewhere"),
    "dservice_timeout": Code(504, "The DService did not answer in time", "elsewhere"),
    "no_slot": Code(503, "The miner has no free slot", "elsewhere"),
    "miner_refused": Code(403, "This miner may not work here", "never"),
}
"""Closed: code -> status, title, retry. A code that is not here cannot be sent."""

ANSWER_RULES: Final[dict[str, str]] = {
    "head_syntax": "The status line or a header field is malformed (RFC 9112 sections 4 and 5).",
    "head_too_large": "Status line and header fields are longer or more than is allowed.",
    "status": "The status is not between 200 and 599, or switches protocols.",
    "content_length": "Content-Length is not one decimal number, or stands beside Transfer-Encoding.",
    "transfer_coding": "Transfer-Encoding names another coding than chunked, alone and in HTTP/1.1.",
    "chunk_framing": "The chunked body is malformed (RFC 9112 section 7.1).",
    "no_length": "The answer has no length, and the connection stays open behind it: give Content-Length, chunks, or "
    "Connection: close.",
    "content_not_allowed": "An answer with this status has no content, and this one announces some.",
    "content_too_large": "The content is larger than a response may be.",
    "metadata": "The CGN-Meta- fields are malformed, or more than is allowed.",
    "cut_short": "The connection was closed before the answer was complete, and the DService goes on.",
}
"""Closed: the rules that a DService's answer can break, each with what is wrong, for the problem document that names
it. FAIL with `dservice_protocol` carries one, so that a DApp and the DService's developer learn it at once."""

_STANDARD = ("type", "title", "status", "detail", "instance", "code")


@dataclass(frozen=True, slots=True)
class Problem:
    """A refusal (RFC 9457). `extra` holds extension members with JSON values; `status` may differ from the code's
    usual one."""

    code: str
    detail: str = ""
    instance: str = ""
    extra: dict[str, Any] = field(default_factory=dict)
    status: int = 0

    def __post_init__(self) -> None:
        assert self.code in CODES, f"{self.code!r} is not in the closed list of codes"
        assert not set(self.extra) & set(_STANDARD), "an extension member has the name of a standard one"
        if not self.status:
            object.__setattr__(self, "status", CODES[self.code].status)

    @property
    def type(self) -> str:
        return TYPE_PREFIX + self.code

    @property
    def title(self) -> str:
        return CODES[self.code].title

    @property
    def retry(self) -> Retry:
        return CODES[self.code].retry

    def as_dict(self) -> dict[str, Any]:
        """The document's members, the empty ones left out."""
        members: dict[str, Any] = {"type": self.type, "title": self.title, "status": self.status, "code": self.code}
        if self.detail:
            members["detail"] = self.detail
        if self.instance:
            members["instance"] = self.instance
        return members | self.extra

    def to_json(self) -> bytes:
        return json.dumps(self.as_dict(), ensure_ascii=False, separators=(",", ":")).encode()

    @classmethod
    def from_dict(cls, members: dict[str, Any]) -> "Problem":
        """Reads any RFC 9457 document: what is missing or of another type is ignored (section 3.1), a foreign code
        becomes the nearest of ours by its status and stays readable as the extension member `foreign_type`."""
        status = members.get("status")
        status = status if type(status) is int and 400 <= status <= 599 else 500
        extra = {name: value for name, value in members.items() if name not in _STANDARD}
        code = members.get("code")
        if not isinstance(code, str) or code not in CODES:
            if isinstance(members.get("type"), str):
                extra.setdefault("foreign_type", members["type"])
            code = next((name for name, known in CODES.items() if known.status == status), "")
            code = code or ("bad_request" if status < 500 else "internal")
        detail, instance = members.get("detail"), members.get("instance")
        return cls(
            code=code,
            detail=detail if isinstance(detail, str) else "",
            instance=instance if isinstance(instance, str) else "",
            extra=extra,
            status=status,
        )

    @classmethod
    def from_json(cls, document: bytes | str) -> "Problem":
        """Raises ValueError when the document is not a JSON object."""
        try:
            members = json.loads(document)
        except RecursionError as error:
            raise ValueError("the problem document nests too deeply") from error
        if not isinstance(members, dict):
            raise ValueError("a problem document is a JSON object")
        return cls.from_dict(members)


class ProblemError(Exception):
    """Carries a problem through code that cannot return it."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(f"{problem.code}: {problem.detail or problem.title}")
        self.problem = problem


# WebSocket close codes of tunnel and link (interfaces.md)
CLOSE_NORMAL: Final = 1000
CLOSE_PROTOCOL_VIOLATION: Final = 4400
CLOSE_NOT_AUTHENTICATED: Final = 4401
CLOSE_REFUSED: Final = 4403
CLOSE_TOO_LATE: Final = 4408
CLOSE_REPLACED: Final = 4409
CLOSE_DRAINING: Final = 4503


class ProtocolError(Exception):
    """The peer broke the rules: the connection is closed with `close_code` and this reason, and nothing else is
    affected."""

    def __init__(self, reason: str, close_code: int = CLOSE_PROTOCOL_VIOLATION) -> None:
        super().__init__(reason)
        self.reason = reason
        self.close_code = close_code

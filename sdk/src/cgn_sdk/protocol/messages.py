"""The JSON bodies of the tunnel's frames, as frozen dataclasses.

`encode()` gives the payload of one frame; `decode(payload)` reads one from a peer that is not trusted and raises
ProtocolError for anything malformed: wrong types, out-of-range numbers, text that would split a header, too much of
anything. Unknown members are ignored, so that a newer peer may say more. Integers here are JSON integers below 2^53,
except in a `Statement`, which is signed and therefore canonical: there every integer is a string of decimal digits
(interfaces.md, "Words on the wire").

Each class shows one example of its payload; tests/vectors/tunnel_frames.json holds the same ones as whole frames.
"""

import json
import json.scanner
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from types import MappingProxyType
from typing import Any, Final, NamedTuple, cast

from cgn_sdk.protocol import limits
from cgn_sdk.protocol.errors import ANSWER_RULES, CODES, ProtocolError

PROTOCOL: Final = "cgn.tunnel.1"
"""The WebSocket subprotocol, and what HELLO says it speaks."""

Headers = tuple[tuple[str, str], ...]

_TOKEN_CHARS: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]*").fullmatch  # RFC 9110 section 5.6.2
_VALUE_CHARS: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*").fullmatch  # RFC 9110 section 5.5, as Latin-1
_TARGET: Final = re.compile(r"/[!-~]*").fullmatch
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*").fullmatch
_REQUEST_ID: Final = re.compile(r"[0-9a-f]{32}").fullmatch
_DIGEST: Final = re.compile(r"[0-9a-f]{64}").fullmatch
_SIGNATURE: Final = re.compile(r"[0-9a-f]{128}").fullmatch
_DIGITS: Final = re.compile(r"0|[1-9][0-9]{0,18}").fullmatch

_encode_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False, allow_nan=False).encode
_quote = json.encoder.encode_basestring  # a JSON string of any text; written in C


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _no_float(text: str) -> Any:
    raise ValueError(f"{text[:40]} is not an integer")


_decoder = json.JSONDecoder(parse_constant=_no_constant, parse_float=_no_float)
_scan: Callable[[str, int], tuple[Any, int]] = json.scanner.make_scanner(cast(Any, _decoder))


def parse_object(payload: bytes, what: str) -> dict[str, Any]:
    """A JSON object without floats out of untrusted bytes. Raises ProtocolError naming `what`."""
    try:
        text = payload.decode()
        try:
            value, end = _scan(text, 0)
        except StopIteration:
            end = -1
        if end != len(text):  # white space around it, or not JSON
            value = _decoder.decode(text)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"{what} is not JSON: {str(error)[:120]}") from None
    if type(value) is not dict:
        raise ProtocolError(f"{what} is not a JSON object")
    return value


def _wrong(what: str, member: str, wanted: str) -> ProtocolError:
    return ProtocolError(f"{what}.{member} must be {wanted}")


def is_name(text: str) -> bool:
    """Whether this can be the name or version of a DService, an id or a code."""
    return len(text) <= limits.NAME_MAX_CHARS and _NAME(text) is not None


def _text(members: dict[str, Any], what: str, member: str, max_chars: int = limits.TEXT_MAX_CHARS) -> str:
    value = members.get(member, "")
    if type(value) is not str or len(value) > max_chars or not value.isprintable():
        raise _wrong(what, member, f"printable text of at most {max_chars} characters")
    return value


def _name(members: dict[str, Any], what: str, member: str) -> str:
    value = members.get(member)
    if type(value) is not str or len(value) > limits.NAME_MAX_CHARS or not _NAME(value):
        raise _wrong(what, member, f"a name of at most {limits.NAME_MAX_CHARS} characters (letters, digits, . _ + -)")
    return value


def _integer(members: dict[str, Any], what: str, member: str, low: int, high: int) -> int:
    value = members.get(member)
    if type(value) is not int or not low <= value <= high:
        raise _wrong(what, member, f"an integer from {low} to {high}")
    return value


def _count(members: dict[str, Any], what: str, member: str, *, default: int | None) -> int | None:
    """A member that may be left out."""
    return default if member not in members else _integer(members, what, member, 0, limits.MESSAGE_INTEGER_MAX)


def _size_or_none(members: dict[str, Any], what: str) -> int | None:
    if members.get("body_bytes") is None:
        return None
    return _integer(members, what, "body_bytes", 0, limits.BODY_MAX_BYTES)


def _integer_or_null(value: int | None) -> str:
    return "null" if value is None else str(value)


def _matching(
    members: dict[str, Any], what: str, member: str, pattern: Callable[[str], object | None], wanted: str
) -> str:
    value = members.get(member)
    if type(value) is not str or not pattern(value):
        raise _wrong(what, member, wanted)
    return value


def _code(members: dict[str, Any], what: str) -> str:
    value = members.get("code")
    if type(value) is not str or value not in CODES:
        raise _wrong(what, "code", "a code of the closed list")
    return value


def headers_problem(headers: Iterable[tuple[str, str]]) -> str:
    """What is wrong with these header fields, or an empty text: names are tokens, values hold no line ends, and all
    are bounded."""
    pairs = list(headers)
    names = [name for name, _ in pairs]
    if "" in names:
        return "a header name is empty"
    if len(names) > limits.HEADERS_MAX_COUNT:
        return f"more than {limits.HEADERS_MAX_COUNT} header fields"
    all_names, all_values = "".join(names), "".join([value for _, value in pairs])
    if len(all_names) + len(all_values) > limits.HEADERS_MAX_CHARS:
        return f"header fields of more than {limits.HEADERS_MAX_CHARS} characters"
    if not _TOKEN_CHARS(all_names):
        return "a header name is not a token"
    if not _VALUE_CHARS(all_values):
        return "a header value holds a character that is not allowed"
    return ""


def _headers(members: dict[str, Any], what: str) -> Headers:
    raw = members.get("headers")
    if type(raw) is list and (not raw or set(map(type, raw)) == {list}):
        try:
            if problem := headers_problem(raw):
                raise ProtocolError(f"{what}.headers: {problem}")
            return tuple(map(tuple, raw))
        except (ValueError, TypeError):
            pass  # not two, or not texts
    raise _wrong(what, "headers", "a list of [name, value]")


def _headers_json(headers: Headers) -> str:
    return "[" + ",".join([f"[{_quote(name)},{_quote(value)}]" for name, value in headers]) + "]"


@dataclass(frozen=True, slots=True)
class DServiceOffer:
    """A DService this miner can run."""

    name: str
    version: str


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What the fitness test found. `kmips_per_thread_milli` is thousands of MIPS per thread, in thousandths."""

    threads: int
    kmips_per_thread_milli: int
    memory_bytes: int


def _offers(members: dict[str, Any], what: str) -> tuple[DServiceOffer, ...]:
    raw = members.get("dservices")
    if type(raw) is not list or len(raw) > limits.DSERVICES_MAX_COUNT:
        raise _wrong(what, "dservices", f"a list of at most {limits.DSERVICES_MAX_COUNT}")
    offers = []
    for entry in raw:
        if type(entry) is not dict:
            raise _wrong(what, "dservices", "a list of {name, version}")
        offers.append(DServiceOffer(_name(entry, what, "name"), _name(entry, what, "version")))
    if len({offer.name for offer in offers}) != len(offers):
        raise _wrong(what, "dservices", "a list without the same name twice")
    return tuple(offers)


def _offer_members(offers: Iterable[DServiceOffer]) -> list[dict[str, str]]:
    return [{"name": offer.name, "version": offer.version} for offer in offers]


@dataclass(frozen=True, slots=True)
class Hello:
    """First frame of a tunnel, miner to node.

    {"protocol":"cgn.tunnel.1","account_id":"con_a","miner_id":"min_a","api_key":"cgn_k_s","dservices":[{"name":"mediagen","version":"1"}],
    "runner":"process","capabilities":{"threads":2,"kmips_per_thread_milli":9000,"memory_bytes":1073741824},"slots":2,"signing_key":"<64
    hex>"}
    """

    account_id: str
    miner_id: str
    api_key: str = field(repr=False)
    dservices: tuple[DServiceOffer, ...]
    runner: str
    capabilities: Capabilities
    slots: int
    signing_key: str
    """Ed25519 public key, hexadecimal, that SEALs of this tunnel verify with."""

    def encode(self) -> bytes:
        return _encode_json(
            {
                "protocol": PROTOCOL,
                "account_id": self.account_id,
                "miner_id": self.miner_id,
                "api_key": self.api_key,
                "dservices": _offer_members(self.dservices),
                "runner": self.runner,
                "capabilities": {
                    "threads": self.capabilities.threads,
                    "kmips_per_thread_milli": self.capabilities.kmips_per_thread_milli,
                    "memory_bytes": self.capabilities.memory_bytes,
                },
                "slots": self.slots,
                "signing_key": self.signing_key,
            }
        ).encode()

    @classmethod
    def decode(cls, payload: bytes) -> "Hello":
        members = parse_object(payload, "HELLO")
        if members.get("protocol") != PROTOCOL:
            raise _wrong("HELLO", "protocol", PROTOCOL)
        capabilities = members.get("capabilities")
        if type(capabilities) is not dict:
            raise _wrong("HELLO", "capabilities", "an object")
        if members.get("runner") not in ("docker", "process"):
            raise _wrong("HELLO", "runner", "docker or process")
        what = "HELLO.capabilities"
        return cls(
            account_id=_name(members, "HELLO", "account_id"),
            miner_id=_name(members, "HELLO", "miner_id"),
            api_key=_text(members, "HELLO", "api_key", 256),
            dservices=_offers(members, "HELLO"),
            runner=members["runner"],
            capabilities=Capabilities(
                threads=_integer(capabilities, what, "threads", 1, 4096),
                kmips_per_thread_milli=_integer(capabilities, what, "kmips_per_thread_milli", 1, 10**9),
                memory_bytes=_integer(capabilities, what, "memory_bytes", 1, 2**50),
            ),
            slots=_integer(members, "HELLO", "slots", 0, limits.SLOTS_MAX),
            signing_key=_matching(members, "HELLO", "signing_key", _DIGEST, "64 hexadecimal digits"),
        )


@dataclass(frozen=True, slots=True)
class Welcome:
    """Answer to HELLO.
    {"miner_public_id":"pa","tier":"1","dservices":[{"name":"mediagen","version":"1"}],"keepalive_ms":20000,"node_id":"nod_a"}"""

    miner_public_id: str
    tier: str
    dservices: tuple[DServiceOffer, ...]
    keepalive_ms: int
    node_id: str

    def encode(self) -> bytes:
        return _encode_json(
            {
                "miner_public_id": self.miner_public_id,
                "tier": self.tier,
                "dservices": _offer_members(self.dservices),
                "keepalive_ms": self.keepalive_ms,
                "node_id": self.node_id,
            }
        ).encode()

    @classmethod
    def decode(cls, payload: bytes) -> "Welcome":
        members = parse_object(payload, "WELCOME")
        if members.get("tier") not in ("1", "2", "3", "4a", "4b"):
            raise _wrong("WELCOME", "tier", "1, 2, 3, 4a or 4b")
        return cls(
            miner_public_id=_name(members, "WELCOME", "miner_public_id"),
            tier=members["tier"],
            dservices=_offers(members, "WELCOME"),
            keepalive_ms=_integer(members, "WELCOME", "keepalive_ms", 100, 3_600_000),
            node_id=_name(members, "WELCOME", "node_id"),
        )


@dataclass(frozen=True, slots=True)
class GoAway:
    """No new streams; running ones finish. `move_to` names another node's address or is empty.
    {"code":"draining","reason":"","move_to":""}"""

    code: str
    reason: str = ""
    move_to: str = ""

    def encode(self) -> bytes:
        return _encode_json({"code": self.code, "reason": self.reason, "move_to": self.move_to}).encode()

    @classmethod
    def decode(cls, payload: bytes) -> "GoAway":
        members = parse_object(payload, "GOAWAY")
        return cls(
            _code(members, "GOAWAY"), _text(members, "GOAWAY", "reason"), _text(members, "GOAWAY", "move_to", 256)
        )


@dataclass(frozen=True, slots=True)
class Slots:
    """How many requests the miner will run at once from now on. {"slots":2}"""

    slots: int

    def encode(self) -> bytes:
        return b'{"slots":%d}' % self.slots

    @classmethod
    def decode(cls, payload: bytes) -> "Slots":
        return cls(_integer(parse_object(payload, "SLOTS"), "SLOTS", "slots", 0, limits.SLOTS_MAX))


@dataclass(frozen=True, slots=True)
class Seal:
    """Signature over the statements in all DONE frames since the last SEAL (`receipt.seal_bytes`).
    {"count":1,"signature":"<128 hex>"}"""

    count: int
    signature: str

    def encode(self) -> bytes:
        return _encode_json({"count": self.count, "signature": self.signature}).encode()

    @classmethod
    def decode(cls, payload: bytes) -> "Seal":
        members = parse_object(payload, "SEAL")
        count = _integer(members, "SEAL", "count", 1, limits.MESSAGE_INTEGER_MAX)
        return cls(count, _matching(members, "SEAL", "signature", _SIGNATURE, "128 hexadecimal digits"))


class Open(NamedTuple):
    """An attempt is assigned; the request's head. `deadline_ms` is what is left; `body_bytes` is None when the length
    is not known. `cpu_budget_ns`, where it is there: the CPU time that the request's price cap pays for; where the
    DService's estimator is sure of more, the miner answers FAIL with price_cap and does not begin.

    {"request_id":"<32
    hex>","attempt":1,"dservice":"mediagen","method":"GET","target":"/a?b=c","headers":[["accept","*/*"]],"deadline_ms":30000,"body_bytes":0}
    """

    request_id: str
    attempt: int
    dservice: str
    method: str
    target: str
    headers: Headers
    deadline_ms: int
    body_bytes: int | None
    cpu_budget_ns: int | None = None

    def encode(self) -> bytes:
        budget = "" if self.cpu_budget_ns is None else f',"cpu_budget_ns":{self.cpu_budget_ns}'
        return (
            f'{{"request_id":{_quote(self.request_id)},"attempt":{self.attempt},"dservice":{_quote(self.dservice)}'
            f',"method":{_quote(self.method)},"target":{_quote(self.target)},"headers":{_headers_json(self.headers)}'
            f',"deadline_ms":{self.deadline_ms},"body_bytes":{_integer_or_null(self.body_bytes)}{budget}}}'
        ).encode()

    @classmethod
    def decode(cls, payload: bytes) -> "Open":
        members = parse_object(payload, "OPEN")
        method, target = members.get("method"), members.get("target")
        if type(method) is not str or not 0 < len(method) <= limits.METHOD_MAX_CHARS or not _TOKEN_CHARS(method):
            raise _wrong("OPEN", "method", "an HTTP method")
        if type(target) is not str or len(target) > limits.TARGET_MAX_CHARS or not _TARGET(target):
            raise _wrong("OPEN", "target", f"a path of at most {limits.TARGET_MAX_CHARS} visible ASCII characters")
        return cls(
            request_id=_matching(members, "OPEN", "request_id", _REQUEST_ID, "32 hexadecimal digits"),
            attempt=_integer(members, "OPEN", "attempt", 1, 1_000_000),
            dservice=_name(members, "OPEN", "dservice"),
            method=method,
            target=target,
            headers=_headers(members, "OPEN"),
            deadline_ms=_integer(members, "OPEN", "deadline_ms", 0, limits.MESSAGE_INTEGER_MAX),
            body_bytes=_size_or_none(members, "OPEN"),
            cpu_budget_ns=_count(members, "OPEN", "cpu_budget_ns", default=None),
        )


class Head(NamedTuple):
    """The response's head. {"status":200,"headers":[["content-type","image/jpeg"]],"body_bytes":null}"""

    status: int
    headers: Headers
    body_bytes: int | None

    def encode(self) -> bytes:
        headers = _headers_json(self.headers)
        body_bytes = _integer_or_null(self.body_bytes)
        return f'{{"status":{self.status},"headers":{headers},"body_bytes":{body_bytes}}}'.encode()

    @classmethod
    def decode(cls, payload: bytes) -> "Head":
        members = parse_object(payload, "HEAD")
        return cls(
            status=_integer(members, "HEAD", "status", 200, 599),  # interim responses end at the miner
            headers=_headers(members, "HEAD"),
            body_bytes=_size_or_none(members, "HEAD"),
        )


class Statement(NamedTuple):
    """What the miner says an attempt used; its canonical bytes are what the seal signs. Every integer is a string of
    digits.

    {"attempt":"1","cpu_ns":"5","dservice":"mediagen","dservice_version":"1","gpu_ns":"0","memory_byte_seconds":"7","miner_id":"min_a","request_bytes":"0",
    "request_id":"<32 hex>","response_bytes":"2","response_sha256":"<64 hex>","status":"200","wall_ns":"9"}
    """

    request_id: str
    attempt: int
    miner_id: str
    dservice: str
    dservice_version: str
    status: int
    response_sha256: str
    response_bytes: int
    request_bytes: int
    cpu_ns: int
    memory_byte_seconds: int
    wall_ns: int
    gpu_ns: int = 0

    def members(self) -> dict[str, str]:
        """The JSON object, members in canonical order."""
        return {
            "attempt": str(self.attempt),
            "cpu_ns": str(self.cpu_ns),
            "dservice": self.dservice,
            "dservice_version": self.dservice_version,
            "gpu_ns": str(self.gpu_ns),
            "memory_byte_seconds": str(self.memory_byte_seconds),
            "miner_id": self.miner_id,
            "request_bytes": str(self.request_bytes),
            "request_id": self.request_id,
            "response_bytes": str(self.response_bytes),
            "response_sha256": self.response_sha256,
            "status": str(self.status),
            "wall_ns": str(self.wall_ns),
        }

    def canonical_text(self) -> str:
        """RFC 8785. Member names ascend and every value is plain ASCII without anything to escape (`decode` holds it;
        a test compares with `canonical.encode`), so this text is written down directly: it is made once per request
        at both ends."""
        return (
            f'{{"attempt":"{self.attempt}","cpu_ns":"{self.cpu_ns}","dservice":"{self.dservice}"'
            f',"dservice_version":"{self.dservice_version}","gpu_ns":"{self.gpu_ns}"'
            f',"memory_byte_seconds":"{self.memory_byte_seconds}","miner_id":"{self.miner_id}"'
            f',"request_bytes":"{self.request_bytes}","request_id":"{self.request_id}"'
            f',"response_bytes":"{self.response_bytes}","response_sha256":"{self.response_sha256}"'
            f',"status":"{self.status}","wall_ns":"{self.wall_ns}"}}'
        )

    def canonical_bytes(self) -> bytes:
        """The canonical text in ASCII: what the statement's digest is over."""
        return self.canonical_text().encode("ascii")

    def digest(self) -> bytes:
        """SHA-256 of the canonical bytes: the leaf's data in the seal's tree."""
        return sha256(self.canonical_bytes()).digest()

    @classmethod
    def from_members(cls, members: object) -> "Statement":
        if type(members) is not dict:
            raise _wrong("DONE", "statement", "an object")
        what = "DONE.statement"

        def number(member: str) -> int:
            value = members.get(member)
            if type(value) is not str or not _DIGITS(value):
                raise _wrong(what, member, "a string of decimal digits")
            return int(value)

        values = cls(
            request_id=_matching(members, what, "request_id", _REQUEST_ID, "32 hexadecimal digits"),
            attempt=number("attempt"),
            miner_id=_name(members, what, "miner_id"),
            dservice=_name(members, what, "dservice"),
            dservice_version=_name(members, what, "dservice_version"),
            status=number("status"),
            response_sha256=_matching(members, what, "response_sha256", _DIGEST, "64 hexadecimal digits"),
            response_bytes=number("response_bytes"),
            request_bytes=number("request_bytes"),
            cpu_ns=number("cpu_ns"),
            memory_byte_seconds=number("memory_byte_seconds"),
            wall_ns=number("wall_ns"),
            gpu_ns=number("gpu_ns"),
        )
        if len(members) != 13:  # an unknown member would be signed by one side and not by the other
            raise _wrong("DONE", "statement", "an object of exactly the statement's members")
        return values


_MEMBER_PATTERNS: Final = {
    "dservice": "[A-Za-z0-9][A-Za-z0-9._+-]{0,63}",
    "dservice_version": "[A-Za-z0-9][A-Za-z0-9._+-]{0,63}",
    "miner_id": "[A-Za-z0-9][A-Za-z0-9._+-]{0,63}",
    "request_id": "[0-9a-f]{32}",
    "response_sha256": "[0-9a-f]{64}",
}
"""Members of a statement that are not numbers."""

_DONE: Final = re.compile(
    r'\{"statement":(\{'
    + ",".join(f'"{name}":"({_MEMBER_PATTERNS.get(name, "0|[1-9][0-9]{0,18}")})"' for name in sorted(Statement._fields))
    + r'\}),"metadata":(\{.*\})\}',
    re.DOTALL,
).fullmatch
"""A DONE as `Done.encode` writes it; groups: the statement's canonical JSON, its members in their order, the
metadata."""


def metadata_problem(metadata: Mapping[str, str]) -> str:
    """What is wrong with a DService's metadata, or an empty text."""
    if len(metadata) > limits.METADATA_MAX_COUNT:
        return f"more than {limits.METADATA_MAX_COUNT} fields of metadata"
    if sum(map(len, metadata)) + sum(map(len, metadata.values())) > limits.METADATA_MAX_CHARS:
        return f"metadata of more than {limits.METADATA_MAX_CHARS} characters"
    return headers_problem(metadata.items())


class Done(NamedTuple):
    """The attempt is finished. {"statement":{…},"metadata":{"pages":"3"}}"""

    statement: Statement
    metadata: Mapping[str, str] = MappingProxyType({})

    def encode(self) -> bytes:
        return self.encode_with_digest()[0]

    def encode_with_digest(self) -> tuple[bytes, bytes]:
        """The payload, and the statement's digest for the seal."""
        canonical = self.statement.canonical_bytes()
        metadata = _encode_json(dict(self.metadata)).encode() if self.metadata else b"{}"
        return b'{"statement":%b,"metadata":%b}' % (canonical, metadata), sha256(canonical).digest()

    @classmethod
    def decode(cls, payload: bytes) -> "Done":
        return cls.decode_with_digest(payload)[0]

    @classmethod
    def decode_with_digest(cls, payload: bytes) -> "tuple[Done, bytes]":
        """Reads a payload, and computes the statement's digest as the seal's tree has it.

        As every implementation of ours writes it, one pattern checks all of it and the digest is over the bytes as
        they came; any other JSON of the same meaning takes the longer way.
        """
        try:
            match = _DONE(payload.decode())
        except UnicodeDecodeError:
            match = None
        if match is None:
            return cls._decode_any(payload)
        (canonical, attempt, cpu, dservice, version, gpu, memory, miner, request_bytes, request_id, response_bytes,
         response_sha256, status, wall, metadata) = match.groups()  # fmt: skip
        statement = Statement(
            request_id, int(attempt), miner, dservice, version, int(status), response_sha256, int(response_bytes),
            int(request_bytes), int(cpu), int(memory), int(wall), int(gpu),
        )  # fmt: skip
        found = {} if metadata == "{}" else _metadata(parse_object(metadata.encode(), "DONE.metadata"))
        return cls(statement, found), sha256(canonical.encode()).digest()

    @classmethod
    def _decode_any(cls, payload: bytes) -> "tuple[Done, bytes]":
        members = parse_object(payload, "DONE")
        statement = Statement.from_members(members.get("statement"))
        return cls(statement, _metadata(members.get("metadata", {}))), statement.digest()


def _metadata(value: object) -> dict[str, str]:
    if type(value) is not dict or not all(type(text) is str for text in value.values()):
        raise _wrong("DONE", "metadata", "an object of texts")
    if value and (problem := metadata_problem(value)):
        raise ProtocolError(f"DONE.metadata: {problem}")
    return value


@dataclass(frozen=True, slots=True)
class Fail:
    """The attempt cannot be finished here. `rule`: which of `errors.ANSWER_RULES` the DService's answer broke, when
    the code is `dservice_protocol`; `detail` is for logs, the miner's own words. `estimate_cpu_ns`: with `price_cap`,
    what the DService's estimator says the work would take; it was not begun.
    {"code":"dservice_crashed","detail":"exit status 1"}"""

    code: str
    detail: str = ""
    rule: str = ""
    estimate_cpu_ns: int | None = None

    def encode(self) -> bytes:
        members: dict[str, Any] = {"code": self.code, "detail": self.detail}
        if self.estimate_cpu_ns is not None:
            members["estimate_cpu_ns"] = self.estimate_cpu_ns
        if self.rule:
            members["rule"] = self.rule
        return _encode_json(members).encode()

    @classmethod
    def decode(cls, payload: bytes) -> "Fail":
        members = parse_object(payload, "FAIL")
        rule = members.get("rule", "")
        if type(rule) is not str or (rule and rule not in ANSWER_RULES):
            raise _wrong("FAIL", "rule", "a rule of the closed list")
        code = _code(members, "FAIL")
        if rule and code != "dservice_protocol":
            raise _wrong("FAIL", "rule", "absent unless the code is dservice_protocol")
        estimate_ns = _count(members, "FAIL", "estimate_cpu_ns", default=None)
        if (code == "price_cap") != (estimate_ns is not None):
            raise _wrong("FAIL", "estimate_cpu_ns", "there when the code is price_cap, and only then")
        return cls(code, _text(members, "FAIL", "detail"), rule, estimate_ns)


@dataclass(frozen=True, slots=True)
class Cancel:
    """The attempt is no longer wanted. {"code":"cancelled"}"""

    code: str = "cancelled"

    def encode(self) -> bytes:
        return _encode_json({"code": self.code}).encode()

    @classmethod
    def decode(cls, payload: bytes) -> "Cancel":
        return cls(_code(parse_object(payload, "CANCEL"), "CANCEL"))


@dataclass(frozen=True, slots=True)
class Progress:
    """A sign of life of one request, due every PROGRESS_MS, and what it has used so far; what the work has to say on
    its way (N-16). Members that are 0 may be left out. {"done_ppm":250000,"text":"page 1 of 4","cpu_ns":1500000000}"""

    done_ppm: int = 0
    text: str = ""
    cpu_ns: int = 0
    memory_byte_seconds: int = 0

    def encode(self) -> bytes:
        members: dict[str, Any] = {"done_ppm": self.done_ppm, "text": self.text}
        if self.cpu_ns:
            members["cpu_ns"] = self.cpu_ns
        if self.memory_byte_seconds:
            members["memory_byte_seconds"] = self.memory_byte_seconds
        return _encode_json(members).encode()

    @classmethod
    def decode(cls, payload: bytes) -> "Progress":
        members = parse_object(payload, "PROGRESS")
        return cls(
            _integer(members, "PROGRESS", "done_ppm", 0, 1_000_000),
            _text(members, "PROGRESS", "text"),
            _count(members, "PROGRESS", "cpu_ns", default=0) or 0,
            _count(members, "PROGRESS", "memory_byte_seconds", default=0) or 0,
        )


def one_line(text: str) -> str:
    """Any text as the `detail` of a FAIL or the `reason` of a GOAWAY: printable, and cut to the bound."""
    cleaned = "".join(char if char.isprintable() else " " for char in text[: limits.TEXT_MAX_CHARS])
    return cleaned.strip()

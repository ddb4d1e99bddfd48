"""The JSON messages of Central's link, and the pure machine that matches answers to questions (C-1, N-4).

Central dials the node; the node asks, Central answers and tells. The envelope is one of four shapes:

    {"id": 7, "ask": "miner.verify", "params": {...}}
    {"id": 7, "answer": {...}}
    {"id": 7, "problem": {...}}
    {"tell": "revoke", "params": {...}}

Rules of this file:
- `decode` refuses whatever is not exactly such an envelope: `ProtocolError`, and the link closes. A *parameter* of a
  question that is wrong is the questioner's fault only: `from_params` raises `ProblemError`, to be answered, and the
  link lives on. (What a DApp typed as its account id must not be able to close the link of a whole node.)
- unknown members of params and answers are ignored, so that one end may be newer;
- money is a string of digits, as everywhere; shares are parts per million, counts and milliseconds are JSON integers.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cgn_sdk.protocol.errors import Problem, ProblemError, ProtocolError
from cgn_sdk.protocol.ids import is_account_id, is_address, is_public_id

SUBPROTOCOL: Final = "cgn.link.1"
PATH: Final = "/central"

MESSAGE_MAX_BYTES: Final = 256 * 1024
"""One message. A policy with 64 DServices and their hundred egress hosts each stays below it."""

ASKS_MAX: Final = 1_024
"""Questions open at once per link and direction. Answers take Central some tenths of a second at worst (a key seen for
the first time), so this is what a burst of new sessions may queue; more is refused at once rather than late."""

ASK_TIMEOUT_MS: Final = 10_000
"""A question unanswered for so long is unknown; the asker tells its own caller to come back later."""

HELLO_TIMEOUT_MS: Final = 5_000
"""A node that has been dialled says `node.hello` within this."""

DSERVICES_MAX: Final = 64
EGRESS_HOSTS_MAX: Final = 100
REVOKED_MAX: Final = 1_000
"""Ids in one `revoke`; more go out as several."""
TEXT_MAX_CHARS: Final = 256
KEY_MAX_CHARS: Final = 128
"""An API key has 60 characters; the bound keeps what a stranger sends away from the hash function."""
INTEGER_MAX: Final = 2**53 - 1
AMOUNT_MAX: Final = 2**63 - 1

METHOD_NODE_HELLO: Final = "node.hello"
METHOD_SESSION_OPEN: Final = "session.open"
METHOD_MINER_VERIFY: Final = "miner.verify"
TOPIC_POLICY: Final = "policy"
TOPIC_REVOKE: Final = "revoke"

TIERS: Final = ("1", "2", "3", "4a", "4b")
PARTS_PER_MILLION: Final = 1_000_000

_METHOD = re.compile(r"[a-z]{1,32}(?:\.[a-z]{1,32})?").fullmatch
_DIGITS = re.compile(r"0|[1-9][0-9]{0,18}").fullmatch
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}").fullmatch
_ROUTE = re.compile(r"/[A-Za-z0-9._~-]{1,63}(?:/[A-Za-z0-9._~-]{1,63}){0,3}").fullmatch

_encode_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


# --- The envelope ---


@dataclass(frozen=True, slots=True)
class Ask:
    """`{"id":1,"ask":"node.hello","params":{}}`"""

    id: int
    method: str
    params: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """`{"id":1,"answer":{}}`"""

    id: int
    answer: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Refusal:
    """`{"id":1,"problem":{"type":"urn:cgn:problem:forbidden","title":"This account may not do that","status":403,
    "code":"forbidden"}}`"""

    id: int
    problem: Problem


@dataclass(frozen=True, slots=True)
class Tell:
    """`{"tell":"revoke","params":{"account_ids":[],"miner_ids":[]}}`"""

    topic: str
    params: dict[str, Any]


Message = Ask | Answer | Refusal | Tell


def encode(message: Message) -> str:
    """The text of one message. Raises ValueError when it is longer than MESSAGE_MAX_BYTES."""
    match message:
        case Ask(id, method, params):
            members: dict[str, Any] = {"id": id, "ask": method, "params": params}
        case Answer(id, answer):
            members = {"id": id, "answer": answer}
        case Refusal(id, problem):
            members = {"id": id, "problem": problem.as_dict()}
        case Tell(topic, params):
            members = {"tell": topic, "params": params}
    text = _encode_json(members)
    if len(text) * 4 > MESSAGE_MAX_BYTES and len(text.encode()) > MESSAGE_MAX_BYTES:
        raise ValueError(f"a message of {len(text.encode())} bytes; at most {MESSAGE_MAX_BYTES} go over the link")
    return text


def decode(text: str | bytes) -> Message:
    """Reads one message of a peer. Raises ProtocolError for anything that is not exactly an envelope."""
    if not isinstance(text, str):
        raise ProtocolError("the link takes text messages only")
    if len(text) > MESSAGE_MAX_BYTES:
        raise ProtocolError(f"a message of more than {MESSAGE_MAX_BYTES} bytes")
    try:
        members = _decode_json(text)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"not JSON: {str(error)[:100]}") from None
    if type(members) is not dict:
        raise ProtocolError("not a JSON object")
    match sorted(members):
        case ["ask", "id", "params"]:
            return Ask(_id(members), _word(members, "ask"), _object(members, "params"))
        case ["answer", "id"]:
            return Answer(_id(members), _object(members, "answer"))
        case ["id", "problem"]:
            return Refusal(_id(members), Problem.from_dict(_known_members(_object(members, "problem"))))
        case ["params", "tell"]:
            return Tell(_word(members, "tell"), _object(members, "params"))
    raise ProtocolError(f"neither ask, answer, problem nor tell: {sorted(members)!r:.100}")


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member stands there twice")
    return members


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _no_float(text: str) -> Any:
    raise ValueError(f"{text[:40]} is not an integer")


def _bounded_int(text: str) -> int:
    if len(text) > 19:
        raise ValueError("an integer of more than 19 digits")
    return int(text)


_decode_json = json.JSONDecoder(
    object_pairs_hook=_pairs, parse_constant=_no_constant, parse_float=_no_float, parse_int=_bounded_int
).decode


def _id(members: dict[str, Any]) -> int:
    value = members["id"]
    if type(value) is not int or not 1 <= value <= INTEGER_MAX:
        raise ProtocolError("id must be an integer from 1 to 2^53-1")
    return value


def _word(members: dict[str, Any], name: str) -> str:
    value = members[name]
    if type(value) is not str or not _METHOD(value):
        raise ProtocolError(f"{name} must be a word of lower-case letters, or two with a dot")
    return value


def _object(members: dict[str, Any], name: str) -> dict[str, Any]:
    value = members[name]
    if type(value) is not dict:
        raise ProtocolError(f"{name} must be an object")
    return value


def _known_members(problem: dict[str, Any]) -> dict[str, Any]:
    """A problem's text is shown to people and logs: bounded, whoever wrote it."""
    return {
        name: value[:TEXT_MAX_CHARS] if isinstance(value, str) else value for name, value in list(problem.items())[:32]
    }


# --- Questions and answers at one end of the link ---


@dataclass(frozen=True, slots=True)
class Expired:
    """A question that got no answer in time: its outcome is unknown."""

    id: int


class Correlator:
    """Matches answers to questions at one end; no clock, no sockets. Times are milliseconds of the caller's clock.

    id, text = end.ask("miner.verify", params, now_ms)     # send text, remember who waits for id
    event = end.receive(text, now_ms)                      # Ask, Answer, Refusal or Tell; None: a late answer
    text = end.answer(id, {...})                           # or end.refuse(id, problem)
    expired = end.expire(now_ms)                           # by next_deadline()
    """

    def __init__(self, *, ask_timeout_ms: int = ASK_TIMEOUT_MS, asks_max: int = ASKS_MAX) -> None:
        self._ask_timeout_ms = ask_timeout_ms
        self._asks_max = asks_max
        self._last_asked = 0
        self._last_heard = 0
        self._waiting: dict[int, int] = {}  # id of our question -> deadline; insertion order is deadline order
        self._owed: set[int] = set()  # ids of the peer's questions that we have not answered

    @property
    def waiting_count(self) -> int:
        return len(self._waiting)

    @property
    def owed_count(self) -> int:
        return len(self._owed)

    def ask(self, method: str, params: dict[str, Any], now_ms: int) -> tuple[int, str]:
        """A new question's id and text. Raises ProblemError (`overloaded`) when too many are open."""
        if len(self._waiting) >= self._asks_max:
            raise ProblemError(Problem("overloaded", "Too many questions to Central are open; come back later."))
        id = self._last_asked + 1
        text = encode(Ask(id, method, params))
        self._last_asked = id
        self._waiting[id] = now_ms + self._ask_timeout_ms
        return id, text

    def receive(self, text: str | bytes, now_ms: int) -> Message | None:
        """What the peer said; None for the answer to a question that has expired. Raises ProtocolError."""
        message = decode(text)
        if isinstance(message, Ask):
            if message.id <= self._last_heard:
                raise ProtocolError(f"question {message.id} after {self._last_heard}: ids ascend")
            if len(self._owed) >= self._asks_max:
                raise ProtocolError(f"more than {self._asks_max} questions at once")
            self._last_heard = message.id
            self._owed.add(message.id)
        elif isinstance(message, Answer | Refusal):
            if message.id > self._last_asked:
                raise ProtocolError(f"an answer to question {message.id}, which was never asked")
            if self._waiting.pop(message.id, None) is None:
                return None
        return message

    def answer(self, id: int, value: dict[str, Any]) -> str:
        """The text that answers the peer's question `id`. Each is answered once."""
        self._owed.remove(id)
        return encode(Answer(id, value))

    def refuse(self, id: int, problem: Problem) -> str:
        self._owed.remove(id)
        return encode(Refusal(id, problem))

    def next_deadline(self) -> int | None:
        return next(iter(self._waiting.values()), None)

    def expire(self, now_ms: int) -> list[Expired]:
        """Gives up on the questions whose time has passed."""
        expired = []
        for id, deadline in list(self._waiting.items()):
            if deadline > now_ms:
                break
            del self._waiting[id]
            expired.append(Expired(id))
        return expired

    def close(self) -> list[Expired]:
        """The link is gone: every open question is unknown."""
        expired = [Expired(id) for id in self._waiting]
        self._waiting.clear()
        self._owed.clear()
        return expired


# --- Parameters and answers ---


class _Reader:
    """Reads members of an untrusted object; each fault is a Problem that names the member."""

    def __init__(self, members: Mapping[str, Any], what: str) -> None:
        self.members = members
        self.what = what

    def wrong(self, name: str, wanted: str) -> ProblemError:
        return ProblemError(Problem("bad_request", f"{self.what}: {name} must be {wanted}."))

    def matching(self, name: str, pattern: Callable[[str], object], wanted: str) -> str:
        value = self.members.get(name)
        if type(value) is not str or len(value) > TEXT_MAX_CHARS or not pattern(value):
            raise self.wrong(name, wanted)
        return value

    def account_id(self, name: str, *kinds: str) -> str:
        wanted = f"an account id ({', '.join(kinds) or 'any kind'})"
        return self.matching(name, lambda text: is_account_id(text, *kinds), wanted)

    def public_id(self, name: str) -> str:
        return self.matching(name, is_public_id, "a public id")

    def address(self, name: str) -> str:
        return self.matching(name, is_address, "an Ethereum address")

    def key(self, name: str) -> str:
        return self.text(name, KEY_MAX_CHARS)

    def text(self, name: str, max_chars: int = TEXT_MAX_CHARS) -> str:
        value = self.members.get(name)
        if type(value) is not str or len(value) > max_chars or not value.isprintable():
            raise self.wrong(name, f"text of at most {max_chars} printable characters")
        return value

    def optional_text(self, name: str) -> str:
        return "" if self.members.get(name) in (None, "") else self.text(name)

    def integer(self, name: str, low: int, high: int = INTEGER_MAX) -> int:
        value = self.members.get(name)
        if type(value) is not int or not low <= value <= high:
            raise self.wrong(name, f"an integer from {low} to {high}")
        return value

    def amount(self, name: str) -> int:
        value = int(self.matching(name, _DIGITS, "an amount: a string of decimal digits"))
        if value > AMOUNT_MAX:
            raise self.wrong(name, "an amount below 2^63")
        return value

    def inner(self, name: str) -> "_Reader":
        value = self.members.get(name)
        if type(value) is not dict:
            raise self.wrong(name, "an object")
        return _Reader(value, f"{self.what}.{name}")

    def items(self, name: str, max_count: int) -> list[Any]:
        value = self.members.get(name)
        if type(value) is not list or len(value) > max_count:
            raise self.wrong(name, f"a list of at most {max_count}")
        return value

    def texts(self, name: str, max_count: int, pattern: Callable[[str], object], wanted: str) -> tuple[str, ...]:
        values = self.items(name, max_count)
        for value in values:
            if type(value) is not str or len(value) > TEXT_MAX_CHARS or not pattern(value):
                raise self.wrong(name, f"a list of {wanted}")
        return tuple(values)

    def tiers(self, name: str) -> tuple[str, ...]:
        values = self.texts(name, len(TIERS), TIERS.__contains__, f"tiers ({', '.join(TIERS)})")
        return tuple(tier for tier in TIERS if tier in values)


def _egress_host(text: str) -> bool:
    return text == "*" or re.fullmatch(r"(?:\*\.)?[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63}){1,8}", text) is not None


@dataclass(frozen=True, slots=True)
class Party:
    """One account as others may know it. `id` is empty where only the pseudonym is anybody's business."""

    public_id: str
    address: str
    id: str = ""

    def to_params(self) -> dict[str, Any]:
        shown = {"public_id": self.public_id, "address": self.address}
        return {"id": self.id, **shown} if self.id else shown

    @classmethod
    def read(cls, reader: _Reader) -> "Party":
        id = reader.account_id("id") if "id" in reader.members else ""
        return cls(reader.public_id("public_id"), reader.address("address"), id)


@dataclass(frozen=True, slots=True)
class DServicePolicy:
    """A DService that may run: who made it, what the fee is split into, where it may run and what it may reach.

    The operator's share is the rest, so that the three are exactly the fee. `egress` lists the hosts it may fetch from:
    names, `*.name` for all below, `*` for every public host; empty for none.
    """

    name: str
    version: str
    route: str
    developer: Party
    contributor_ppm: int
    developer_ppm: int
    allowed_tiers: tuple[str, ...] = TIERS
    image: str = ""
    egress: tuple[str, ...] = ()

    def to_params(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "version": self.version,
            "route": self.route,
            "developer": self.developer.to_params(),
            "contributor_ppm": self.contributor_ppm,
            "developer_ppm": self.developer_ppm,
            "allowed_tiers": list(self.allowed_tiers),
            "image": self.image,
            "egress": list(self.egress),
        }

    @classmethod
    def read(cls, reader: _Reader) -> "DServicePolicy":
        contributor_ppm = reader.integer("contributor_ppm", 0, PARTS_PER_MILLION)
        return cls(
            name=reader.matching("name", _NAME, "a name"),
            version=reader.matching("version", _NAME, "a version"),
            route=reader.matching("route", _ROUTE, "a path such as /mgen"),
            developer=Party.read(reader.inner("developer")),
            contributor_ppm=contributor_ppm,
            developer_ppm=reader.integer("developer_ppm", 0, PARTS_PER_MILLION - contributor_ppm),
            allowed_tiers=reader.tiers("allowed_tiers"),
            image=reader.optional_text("image"),
            egress=reader.texts("egress", EGRESS_HOSTS_MAX, _egress_host, "host names"),
        )


@dataclass(frozen=True, slots=True)
class Prices:
    """Unit prices in 1e-9 EUR (N-21, N-22)."""

    kmips_hour_nano_eur: int
    tflop_hour_nano_eur: int
    gigabyte_nano_eur: int
    memory_gib_hour_nano_eur: int

    def to_params(self) -> dict[str, Any]:
        return {name: str(getattr(self, name)) for name in self.__slots__}

    @classmethod
    def read(cls, reader: _Reader) -> "Prices":
        return cls(*(reader.amount(name) for name in cls.__slots__))


@dataclass(frozen=True, slots=True)
class Policy:
    """What a node needs to know to price and place work. `version` grows with every change; an older one is ignored."""

    version: int
    network_id: str
    dservices: tuple[DServicePolicy, ...]
    prices: Prices
    tier_factor_ppm: Mapping[str, int]
    exchange_rate_nano_eur_per_cpu: int

    def to_params(self) -> dict[str, Any]:
        return {
            "version": self.version,
            "network_id": self.network_id,
            "dservices": [each.to_params() for each in self.dservices],
            "prices": self.prices.to_params(),
            "tier_factor_ppm": {tier: self.tier_factor_ppm[tier] for tier in TIERS if tier in self.tier_factor_ppm},
            "exchange_rate_nano_eur_per_cpu": str(self.exchange_rate_nano_eur_per_cpu),
        }

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> "Policy":
        reader = _Reader(params, TOPIC_POLICY)
        listed = reader.items("dservices", DSERVICES_MAX)
        dservices = []
        for number, item in enumerate(listed):
            if type(item) is not dict:
                raise reader.wrong("dservices", "a list of objects")
            dservices.append(DServicePolicy.read(_Reader(item, f"{TOPIC_POLICY}.dservices[{number}]")))
        if len({each.route for each in dservices}) != len(dservices):
            raise reader.wrong("dservices", "a list with each route once")
        factors = reader.inner("tier_factor_ppm")
        exchange_rate = reader.amount("exchange_rate_nano_eur_per_cpu")
        if not exchange_rate:
            raise reader.wrong("exchange_rate_nano_eur_per_cpu", "more than 0")
        return cls(
            version=reader.integer("version", 1),
            network_id=reader.matching("network_id", _NAME, "a name"),
            dservices=tuple(dservices),
            prices=Prices.read(reader.inner("prices")),
            tier_factor_ppm={tier: factors.integer(tier, 0) for tier in TIERS if tier in factors.members},
            exchange_rate_nano_eur_per_cpu=exchange_rate,
        )


@dataclass(frozen=True, slots=True)
class NodeHello:
    """`node.hello`: the first message of a link, from the node. `geolocation` is free text such as `DE-HE`."""

    node_id: str
    api_key: str = field(repr=False)
    version: str
    geolocation: str = ""

    def to_params(self) -> dict[str, Any]:
        return {
            "node_id": self.node_id,
            "api_key": self.api_key,
            "version": self.version,
            "geolocation": self.geolocation,
        }

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> "NodeHello":
        reader = _Reader(params, METHOD_NODE_HELLO)
        return cls(
            reader.account_id("node_id", "nod"),
            reader.key("api_key"),
            reader.text("version", 64),
            reader.optional_text("geolocation"),
        )


@dataclass(frozen=True, slots=True)
class NodeWelcome:
    """The answer to `node.hello`."""

    node_public_id: str
    operator: Party
    policy: Policy

    def to_params(self) -> dict[str, Any]:
        return {
            "node_public_id": self.node_public_id,
            "operator": self.operator.to_params(),
            "policy": self.policy.to_params(),
        }

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> "NodeWelcome":
        reader = _Reader(params, "welcome")
        return cls(
            reader.public_id("node_public_id"),
            Party.read(reader.inner("operator")),
            Policy.from_params(reader.inner("policy").members),
        )


@dataclass(frozen=True, slots=True)
class SessionOpen:
    """`session.open`: may this account send work? `end_user` is the id of one of its end users, or empty."""

    account_id: str
    api_key: str = field(repr=False)
    end_user: str = ""

    def to_params(self) -> dict[str, Any]:
        return {"account_id": self.account_id, "api_key": self.api_key, "end_user": self.end_user}

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> "SessionOpen":
        reader = _Reader(params, METHOD_SESSION_OPEN)
        end_user = reader.account_id("end_user", "usr") if params.get("end_user") else ""
        return cls(reader.account_id("account_id"), reader.key("api_key"), end_user)


@dataclass(frozen=True, slots=True)
class SessionGrant:
    """The answer to `session.open`. `end_user_id` is a public id or empty; `deadline_ms` is the account's default for a
    request; `concurrency` is how many requests it may have under way at once."""

    account_id: str
    public_id: str
    address: str
    end_user_id: str
    allowed_tiers: tuple[str, ...]
    deadline_ms: int
    concurrency: int

    def to_params(self) -> dict[str, Any]:
        members = {name: getattr(self, name) for name in self.__slots__}
        return members | {"allowed_tiers": list(self.allowed_tiers)}

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> "SessionGrant":
        reader = _Reader(params, "session")
        return cls(
            account_id=reader.account_id("account_id"),
            public_id=reader.public_id("public_id"),
            address=reader.address("address"),
            end_user_id=reader.public_id("end_user_id") if params.get("end_user_id") else "",
            allowed_tiers=reader.tiers("allowed_tiers"),
            deadline_ms=reader.integer("deadline_ms", 1),
            concurrency=reader.integer("concurrency", 1),
        )


@dataclass(frozen=True, slots=True)
class MinerVerify:
    """`miner.verify`: is this one of the contributor's miners, and may it work?"""

    account_id: str
    miner_id: str
    api_key: str = field(repr=False)

    def to_params(self) -> dict[str, Any]:
        return {"account_id": self.account_id, "miner_id": self.miner_id, "api_key": self.api_key}

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> "MinerVerify":
        reader = _Reader(params, METHOD_MINER_VERIFY)
        return cls(reader.account_id("account_id"), reader.account_id("miner_id", "min"), reader.key("api_key"))


@dataclass(frozen=True, slots=True)
class MinerGrant:
    """The answer to `miner.verify`. `enterprise_id` names the one enterprise a tier 1 miner serves, else None."""

    miner_id: str
    miner_public_id: str
    tier: str
    contributor: Party
    enterprise_id: str | None = None

    def to_params(self) -> dict[str, Any]:
        return {
            "miner_id": self.miner_id,
            "miner_public_id": self.miner_public_id,
            "tier": self.tier,
            "contributor": self.contributor.to_params(),
            "enterprise_id": self.enterprise_id,
        }

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> "MinerGrant":
        reader = _Reader(params, "miner")
        return cls(
            miner_id=reader.account_id("miner_id", "min"),
            miner_public_id=reader.public_id("miner_public_id"),
            tier=reader.matching("tier", TIERS.__contains__, f"a tier ({', '.join(TIERS)})"),
            contributor=Party.read(reader.inner("contributor")),
            enterprise_id=reader.account_id("enterprise_id", "ent") if params.get("enterprise_id") else None,
        )


@dataclass(frozen=True, slots=True)
class Revoke:
    """`revoke`: sessions of these accounts and tunnels of these accounts and miners end now (N-5, C-10). Whoever comes
    again is asked about anew, so a refused one stays out and a reinstated one needs no second message."""

    account_ids: tuple[str, ...] = ()
    miner_ids: tuple[str, ...] = ()

    def to_params(self) -> dict[str, Any]:
        return {"account_ids": list(self.account_ids), "miner_ids": list(self.miner_ids)}

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> "Revoke":
        reader = _Reader(params, TOPIC_REVOKE)
        return cls(
            reader.texts("account_ids", REVOKED_MAX, is_account_id, "account ids"),
            reader.texts("miner_ids", REVOKED_MAX, is_account_id, "miner ids"),
        )

    def parts(self) -> "Iterable[Revoke]":
        """The same as messages that fit."""
        for start in range(0, max(len(self.account_ids), len(self.miner_ids)), REVOKED_MAX):
            end = start + REVOKED_MAX
            yield Revoke(self.account_ids[start:end], self.miner_ids[start:end])

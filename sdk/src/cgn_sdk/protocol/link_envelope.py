"""The envelope of Central's link, and the pure machine that matches answers to questions (C-1, N-4).

Central dials the node; the node asks, Central answers and tells. A message is one of four shapes:

    {"id": 7, "ask": "miner.verify", "params": {...}}
    {"id": 7, "answer": {...}}
    {"id": 7, "problem": {...}}
    {"tell": "revoke", "params": {...}}

`decode` refuses whatever is not exactly that: `ProtocolError`, and the link closes. What `params` and `answer` hold is
in `protocol.link`.
"""

import json
import re
from dataclasses import dataclass
from typing import Any, Final

from cgn_sdk.protocol.errors import Problem, ProblemError, ProtocolError

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

TEXT_MAX_CHARS: Final = 256
INTEGER_MAX: Final = 2**53 - 1

_METHOD = re.compile(r"[a-z]{1,32}(?:\.[a-z]{1,32})?").fullmatch
_encode_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


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

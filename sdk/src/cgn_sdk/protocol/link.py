"""What Central and a node say to each other (C-1, N-4): params and answers as typed messages. They travel in the
envelope of `protocol.link_envelope`.

Rules of this file:
- a *parameter* of a question that is wrong is the questioner's fault only: `from_params` raises `ProblemError`, to be
  answered, and the link lives on. (What a DApp typed as its account id must not be able to close the link of a whole
  node.)
- unknown members of params and answers are ignored, so that one end may be newer;
- money is a string of digits, as everywhere; shares are parts per million, counts and milliseconds are JSON integers.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cgn_sdk.protocol.canonical import encode
from cgn_sdk.protocol.errors import Problem, ProblemError
from cgn_sdk.protocol.head import Head
from cgn_sdk.protocol.ids import is_account_id, is_address, is_public_id
from cgn_sdk.protocol.limits import BODY_MAX_BYTES, DEADLINE_MAX_MS
from cgn_sdk.protocol.link_envelope import INTEGER_MAX, TEXT_MAX_CHARS
from cgn_sdk.protocol.loss import Loss
from cgn_sdk.protocol.row import fee_nano_cpu

DSERVICES_MAX: Final = 64
EGRESS_HOSTS_MAX: Final = 100
REVOKED_MAX: Final = 1_000
"""Ids in one `revoke`; more go out as several."""
KEY_MAX_CHARS: Final = 128
"""An API key has 60 characters; the bound keeps what a stranger sends away from the hash function."""
AMOUNT_MAX: Final = 2**63 - 1
MACHINE_THREADS_MAX: Final = 4_096
MACHINE_KMIPS_PER_THREAD_MILLI_MAX: Final = 100_000
MACHINE_MEMORY_BYTES_MAX: Final = 2**46
MACHINE_GPUS_MAX: Final = 64
MACHINE_GFLOPS_PER_GPU_MAX: Final = 10_000_000
"""What one machine can have: 10^11 instructions/s a thread is three times the fastest there is; 64 TiB; 10 PFLOPS a
GPU. With the longest deadline they bound what one request can cost (`Prices.highest_fee`)."""
CPUS_MILLI_MAX: Final = 1_000 * MACHINE_THREADS_MAX
LOSSES_MAX: Final = 20
"""Accepted losses told with a head, the newest ones: a message has room for them, and older ones were told before."""

METHOD_NODE_HELLO: Final = "node.hello"
METHOD_SESSION_OPEN: Final = "session.open"
METHOD_MINER_VERIFY: Final = "miner.verify"
METHOD_NODE_HEAD: Final = "node.head"
TOPIC_POLICY: Final = "policy"
TOPIC_REVOKE: Final = "revoke"

TIERS: Final = ("1", "2", "3", "4a", "4b")
PARTS_PER_MILLION: Final = 1_000_000
TIER_FACTOR_MAX: Final = 10
"""The dearest tier costs at most so many times the price list. A bound of its own, because a request that waits over a
change of policy is priced by its own prices and by the factor of a tier that was opened since."""

_HOURS_MOST = DEADLINE_MAX_MS // 3_600_000
_GIGABYTES_MOST = -(-2 * BODY_MAX_BYTES // 10**9)

_DIGITS = re.compile(r"0|[1-9][0-9]{0,18}").fullmatch
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}").fullmatch
_PUBLIC_KEY = re.compile(r"[0-9a-f]{64}").fullmatch
_ROUTE = re.compile(r"/[A-Za-z0-9._~-]{1,63}(?:/[A-Za-z0-9._~-]{1,63}){0,3}").fullmatch


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


REDACT_MAX_COUNT = 64
"""Names that one account may keep out of rows beside the usual ones."""


def is_redact_name(text: str) -> bool:
    """Whether a header field or parameter may have this name, in lower case."""
    return re.fullmatch(r"[a-z0-9._~$-]{1,64}", text) is not None


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
    names, `*.name` for all below, `*` for every public host; empty for none. `cpus_milli` is the CPU that one container
    of it may use, in thousandths; 0 where its registration states none.
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
    cpus_milli: int = 0

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
            "cpus_milli": self.cpus_milli,
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
            cpus_milli=reader.integer("cpus_milli", 0, CPUS_MILLI_MAX) if "cpus_milli" in reader.members else 0,
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

    @property
    def highest_fee(self) -> int:
        """What no request can pass, in nano EUR: every part of the largest machine for the longest deadline, with the
        longest body both ways, in the dearest tier."""
        return TIER_FACTOR_MAX * (
            MACHINE_THREADS_MAX * MACHINE_KMIPS_PER_THREAD_MILLI_MAX // 1_000 * _HOURS_MOST * self.kmips_hour_nano_eur
            + MACHINE_GPUS_MAX * MACHINE_GFLOPS_PER_GPU_MAX // 1_000 * _HOURS_MOST * self.tflop_hour_nano_eur
            + MACHINE_MEMORY_BYTES_MAX // 2**30 * _HOURS_MOST * self.memory_gib_hour_nano_eur
            + _GIGABYTES_MOST * self.gigabyte_nano_eur
        )


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

    def _check_fees(self, reader: _Reader) -> None:
        """A fee that has no room in a row would be found when the work is done, so it is refused with the prices."""
        highest = max(1, self.prices.highest_fee)  # the least fee of a request is 1
        if highest > AMOUNT_MAX:
            raise reader.wrong("prices", "so low that no request can cost 2^63 nano EUR or more")
        if fee_nano_cpu(highest, self.exchange_rate_nano_eur_per_cpu) > AMOUNT_MAX:
            wanted = "so high that at these prices no request can cost 2^63 nano CPU or more"
            raise reader.wrong("exchange_rate_nano_eur_per_cpu", wanted)

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
        policy = cls(
            version=reader.integer("version", 1),
            network_id=reader.matching("network_id", _NAME, "a name"),
            dservices=tuple(dservices),
            prices=Prices.read(reader.inner("prices")),
            tier_factor_ppm={
                tier: factors.integer(tier, 0, TIER_FACTOR_MAX * PARTS_PER_MILLION)
                for tier in TIERS
                if tier in factors.members
            },
            exchange_rate_nano_eur_per_cpu=exchange_rate,
        )
        policy._check_fees(reader)
        return policy


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
    request; `concurrency` is how many requests it may have under way at once; `redact` names header fields and
    parameters whose values stay out of rows, beside those that always do (`protocol.redaction`)."""

    account_id: str
    public_id: str
    address: str
    end_user_id: str
    allowed_tiers: tuple[str, ...]
    deadline_ms: int
    concurrency: int
    redact: tuple[str, ...] = ()

    def to_params(self) -> dict[str, Any]:
        members = {name: getattr(self, name) for name in self.__slots__}
        return members | {"allowed_tiers": list(self.allowed_tiers), "redact": list(self.redact)}

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
            redact=reader.texts("redact", REDACT_MAX_COUNT, is_redact_name, "names in lower case")
            if "redact" in params
            else (),
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
class Machine:
    """What Central knows of a miner's machine. It bounds what the miner may claim: its own word does not."""

    threads: int
    kmips_per_thread_milli: int
    memory_bytes: int

    def to_params(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> "Machine":
        return cls.read(_Reader(params, "machine"))

    @classmethod
    def read(cls, reader: _Reader) -> "Machine":
        return cls(
            reader.integer("threads", 1, MACHINE_THREADS_MAX),
            reader.integer("kmips_per_thread_milli", 1, MACHINE_KMIPS_PER_THREAD_MILLI_MAX),
            reader.integer("memory_bytes", 1, MACHINE_MEMORY_BYTES_MAX),
        )


@dataclass(frozen=True, slots=True)
class MinerGrant:
    """The answer to `miner.verify`. `enterprise_id` names the one enterprise a tier 1 miner serves, else None.
    `machine` is None where nobody has registered what the miner runs on."""

    miner_id: str
    miner_public_id: str
    tier: str
    contributor: Party
    enterprise_id: str | None = None
    machine: Machine | None = None

    def to_params(self) -> dict[str, Any]:
        return {
            "miner_id": self.miner_id,
            "miner_public_id": self.miner_public_id,
            "tier": self.tier,
            "contributor": self.contributor.to_params(),
            "enterprise_id": self.enterprise_id,
            "machine": self.machine.to_params() if self.machine is not None else None,
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
            machine=Machine.read(reader.inner("machine")) if params.get("machine") is not None else None,
        )


@dataclass(frozen=True, slots=True)
class NodeHead:
    """`node.head`: what a node's ledger holds now, by its own signature; Central keeps the newest. `losses` are those
    that its operator has accepted, the newest of them."""

    public_key: bytes
    head: Head
    losses: tuple[Loss, ...] = ()

    def to_params(self) -> dict[str, Any]:
        return {
            "public_key": self.public_key.hex(),
            "head": json.loads(self.head.encode()),
            "losses": [json.loads(loss.encode()) for loss in self.losses],
        }

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> "NodeHead":
        reader = _Reader(params, METHOD_NODE_HEAD)
        public_key = bytes.fromhex(reader.matching("public_key", _PUBLIC_KEY, "64 hexadecimal digits"))
        try:
            head = Head.decode(encode(dict(reader.inner("head").members)))
        except ValueError as error:  # also what has no canonical form
            raise reader.wrong("head", "a signed head of a ledger") from error
        try:
            losses = tuple(Loss.decode(encode(each)) for each in reader.items("losses", LOSSES_MAX))
        except ValueError as error:
            raise reader.wrong("losses", "a list of signed losses") from error
        return cls(public_key, head, losses)


@dataclass(frozen=True, slots=True)
class HeadKept:
    """The answer to `node.head`: the last row of the head that Central keeps now."""

    last_ingest: int

    def to_params(self) -> dict[str, Any]:
        return {"last_ingest": str(self.last_ingest)}

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> "HeadKept":
        return cls(_Reader(params, "kept").amount("last_ingest"))


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

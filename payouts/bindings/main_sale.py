"""Bindings of MainSale. Generated from the ABI by payouts.bindings.generate: do not edit."""

from dataclasses import dataclass
from typing import ClassVar

from payouts.bindings.abi import Call, Log, artifact, decode_event, encode, encode_arguments, reader
from payouts.bindings.roles import Roles


@dataclass(frozen=True, slots=True)
class Claimed:
    """Event `Claimed(uint256,uint256,address,uint256)`."""

    TOPIC: ClassVar[bytes] = bytes.fromhex("b94bf7f9302edf52a596286915a69b4b0685574cffdedd0712e3c62f2550f0ba")
    TYPES: ClassVar[tuple[tuple[str, bool], ...]] = (
        ("uint256", True),
        ("uint256", True),
        ("address", True),
        ("uint256", False),
    )

    period: int
    index: int
    buyer: str
    tokens: int

    @classmethod
    def decode(cls, log: Log) -> "Claimed | None":
        """None when the log is another event."""
        if not log.topics or log.topics[0] != cls.TOPIC:
            return None
        return cls(*decode_event(cls.TYPES, log))


@dataclass(frozen=True, slots=True)
class Contributed:
    """Event `Contributed(uint256,uint256,address,uint256)`."""

    TOPIC: ClassVar[bytes] = bytes.fromhex("79647fdee5d79432e9423459dc810afc1d3c07da7797f0f9670b9e90b87d7f4b")
    TYPES: ClassVar[tuple[tuple[str, bool], ...]] = (
        ("uint256", True),
        ("uint256", True),
        ("address", True),
        ("uint256", False),
    )

    period: int
    index: int
    buyer: str
    amount: int

    @classmethod
    def decode(cls, log: Log) -> "Contributed | None":
        """None when the log is another event."""
        if not log.topics or log.topics[0] != cls.TOPIC:
            return None
        return cls(*decode_event(cls.TYPES, log))


@dataclass(frozen=True, slots=True)
class Refunded:
    """Event `Refunded(uint256,uint256,address,uint256)`."""

    TOPIC: ClassVar[bytes] = bytes.fromhex("c6595eed48e3b1bafff43b131099ab88a5d3a9733f0b8e76a0519099172be83f")
    TYPES: ClassVar[tuple[tuple[str, bool], ...]] = (
        ("uint256", True),
        ("uint256", True),
        ("address", True),
        ("uint256", False),
    )

    period: int
    index: int
    buyer: str
    amount: int

    @classmethod
    def decode(cls, log: Log) -> "Refunded | None":
        """None when the log is another event."""
        if not log.topics or log.topics[0] != cls.TOPIC:
            return None
        return cls(*decode_event(cls.TYPES, log))


@dataclass(frozen=True, slots=True)
class SaleClosed:
    """Event `SaleClosed(uint256)`."""

    TOPIC: ClassVar[bytes] = bytes.fromhex("cb67f20f64495b30f15524c55f90201dd6571d6b5c19dac183d2aeb25315b2dc")
    TYPES: ClassVar[tuple[tuple[str, bool], ...]] = (("uint256", False),)

    unsold: int

    @classmethod
    def decode(cls, log: Log) -> "SaleClosed | None":
        """None when the log is another event."""
        if not log.topics or log.topics[0] != cls.TOPIC:
            return None
        return cls(*decode_event(cls.TYPES, log))


@dataclass(frozen=True, slots=True)
class Started:
    """Event `Started(uint256)`."""

    TOPIC: ClassVar[bytes] = bytes.fromhex("006e0c97de781a7389d44ba8fd35d1467cabb17ed04d038d166d34ab819213f3")
    TYPES: ClassVar[tuple[tuple[str, bool], ...]] = (("uint256", False),)

    amount: int

    @classmethod
    def decode(cls, log: Log) -> "Started | None":
        """None when the log is another event."""
        if not log.topics or log.topics[0] != cls.TOPIC:
            return None
        return cls(*decode_event(cls.TYPES, log))


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """Event `Withdrawn(uint256,uint256)`."""

    TOPIC: ClassVar[bytes] = bytes.fromhex("0c875c8d391179c5cf7ad8303d268efd50b8beb78b671f85cd54bfb91eb8ef40")
    TYPES: ClassVar[tuple[tuple[str, bool], ...]] = (
        ("uint256", True),
        ("uint256", False),
    )

    period: int
    amount: int

    @classmethod
    def decode(cls, log: Log) -> "Withdrawn | None":
        """None when the log is another event."""
        if not log.topics or log.topics[0] != cls.TOPIC:
            return None
        return cls(*decode_event(cls.TYPES, log))


class MainSale(Roles):
    """The contract `MainSale` at an address."""

    @staticmethod
    def deploy_data(admin: str, admin_delay: int, ieo_token_: str, treasury_: str) -> bytes:
        """The data of the transaction that creates the contract."""
        code = bytes.fromhex(str(artifact("MainSale")["bytecode"])[2:])
        return code + encode_arguments(
            (
                "address",
                "uint48",
                "address",
                "address",
            ),
            (
                admin,
                admin_delay,
                ieo_token_,
                treasury_,
            ),
        )

    def lot(self) -> Call[int]:
        """`LOT()` (reads)."""
        return Call(
            self.address,
            "LOT()",
            encode("d3284cda", (), ()),
            reader(("uint256",)),
        )

    def period(self) -> Call[int]:
        """`PERIOD()` (reads)."""
        return Call(
            self.address,
            "PERIOD()",
            encode("b4d1d795", (), ()),
            reader(("uint256",)),
        )

    def claim(self, number: int, index: int) -> Call[None]:
        """`claim(uint256,uint256)`."""
        return Call(
            self.address,
            "claim(uint256,uint256)",
            encode(
                "c3490263",
                (
                    "uint256",
                    "uint256",
                ),
                (
                    number,
                    index,
                ),
            ),
            reader(()),
        )

    def close(self) -> Call[None]:
        """`close()`."""
        return Call(
            self.address,
            "close()",
            encode("43d726d6", (), ()),
            reader(()),
        )

    def closed(self) -> Call[bool]:
        """`closed()` (reads)."""
        return Call(
            self.address,
            "closed()",
            encode("597e1fb5", (), ()),
            reader(("bool",)),
        )

    def contribute(self) -> Call[None]:
        """`contribute()` (takes ether)."""
        return Call(
            self.address,
            "contribute()",
            encode("d7bb99ba", (), ()),
            reader(()),
        )

    def contribution(self, number: int, index: int) -> Call[tuple[str, int]]:
        """`contribution(uint256,uint256)` (reads): buyer, amount."""
        return Call(
            self.address,
            "contribution(uint256,uint256)",
            encode(
                "b12d02fc",
                (
                    "uint256",
                    "uint256",
                ),
                (
                    number,
                    index,
                ),
            ),
            reader(
                (
                    "address",
                    "uint256",
                )
            ),
        )

    def current_period(self) -> Call[int]:
        """`currentPeriod()` (reads)."""
        return Call(
            self.address,
            "currentPeriod()",
            encode("06040618", (), ()),
            reader(("uint256",)),
        )

    def ieo_token(self) -> Call[str]:
        """`ieoToken()` (reads)."""
        return Call(
            self.address,
            "ieoToken()",
            encode("06d11a75", (), ()),
            reader(("address",)),
        )

    def last_sold_period(self) -> Call[int]:
        """`lastSoldPeriod()` (reads)."""
        return Call(
            self.address,
            "lastSoldPeriod()",
            encode("f34fb68f", (), ()),
            reader(("uint256",)),
        )

    def period_at(self, number: int) -> Call[tuple[int, int, int, bool, bool]]:
        """`periodAt(uint256)` (reads): lot, total, contributions, isVoid, isWithdrawn."""
        return Call(
            self.address,
            "periodAt(uint256)",
            encode("fc207c8f", ("uint256",), (number,)),
            reader(
                (
                    "uint256",
                    "uint256",
                    "uint256",
                    "bool",
                    "bool",
                )
            ),
        )

    def refund(self, number: int, index: int) -> Call[None]:
        """`refund(uint256,uint256)`."""
        return Call(
            self.address,
            "refund(uint256,uint256)",
            encode(
                "5af36e3e",
                (
                    "uint256",
                    "uint256",
                ),
                (
                    number,
                    index,
                ),
            ),
            reader(()),
        )

    def start(self) -> Call[None]:
        """`start()`."""
        return Call(
            self.address,
            "start()",
            encode("be9a6555", (), ()),
            reader(()),
        )

    def started_at(self) -> Call[int]:
        """`startedAt()` (reads)."""
        return Call(
            self.address,
            "startedAt()",
            encode("f21f537d", (), ()),
            reader(("uint256",)),
        )

    def treasury(self) -> Call[str]:
        """`treasury()` (reads)."""
        return Call(
            self.address,
            "treasury()",
            encode("61d027b3", (), ()),
            reader(("address",)),
        )

    def unsold(self) -> Call[int]:
        """`unsold()` (reads)."""
        return Call(
            self.address,
            "unsold()",
            encode("c9cb7204", (), ()),
            reader(("uint256",)),
        )

    def withdraw(self, number: int) -> Call[None]:
        """`withdraw(uint256)`."""
        return Call(
            self.address,
            "withdraw(uint256)",
            encode("2e1a7d4d", ("uint256",), (number,)),
            reader(()),
        )

"""Bindings of ResourcePrices. Generated from the ABI by payouts.bindings.generate: do not edit."""

from dataclasses import dataclass
from typing import ClassVar

from payouts.bindings.abi import Call, Log, artifact, decode_event, encode, encode_arguments, reader
from payouts.bindings.roles import Roles


@dataclass(frozen=True, slots=True)
class CoefficientsDropped:
    """Event `CoefficientsDropped(uint8,uint256)`."""

    TOPIC: ClassVar[bytes] = bytes.fromhex("85ea678d0d83c22f5a3c335952a2156b28d764ee88bf10848a8061e3b2cff231")
    TYPES: ClassVar[tuple[tuple[str, bool], ...]] = (
        ("uint8", True),
        ("uint256", True),
    )

    resource: int
    first_day: int

    @classmethod
    def decode(cls, log: Log) -> "CoefficientsDropped | None":
        """None when the log is another event."""
        if not log.topics or log.topics[0] != cls.TOPIC:
            return None
        return cls(*decode_event(cls.TYPES, log))


@dataclass(frozen=True, slots=True)
class CoefficientsSet:
    """Event `CoefficientsSet(uint8,uint256,uint256,uint256,uint256)`."""

    TOPIC: ClassVar[bytes] = bytes.fromhex("fced9e59d491bc02300572ed1ceb59eadb20ef13c2b3a92109a725ce0f3ce4e6")
    TYPES: ClassVar[tuple[tuple[str, bool], ...]] = (
        ("uint8", True),
        ("uint256", True),
        ("uint256", False),
        ("uint256", False),
        ("uint256", False),
    )

    resource: int
    first_day: int
    amount: int
    doubling_days: int
    factor: int

    @classmethod
    def decode(cls, log: Log) -> "CoefficientsSet | None":
        """None when the log is another event."""
        if not log.topics or log.topics[0] != cls.TOPIC:
            return None
        return cls(*decode_event(cls.TYPES, log))


class ResourcePrices(Roles):
    """The contract `ResourcePrices` at an address."""

    @staticmethod
    def deploy_data(admin: str, admin_delay: int) -> bytes:
        """The data of the transaction that creates the contract."""
        code = bytes.fromhex(str(artifact("ResourcePrices")["bytecode"])[2:])
        return code + encode_arguments(
            (
                "address",
                "uint48",
            ),
            (
                admin,
                admin_delay,
            ),
        )

    def day_zero(self) -> Call[int]:
        """`DAY_ZERO()` (reads)."""
        return Call(
            self.address,
            "DAY_ZERO()",
            encode("0b7cf502", (), ()),
            reader(("uint256",)),
        )

    def max_doublings(self) -> Call[int]:
        """`MAX_DOUBLINGS()` (reads)."""
        return Call(
            self.address,
            "MAX_DOUBLINGS()",
            encode("fb40dde6", (), ()),
            reader(("uint256",)),
        )

    def max_doubling_days(self) -> Call[int]:
        """`MAX_DOUBLING_DAYS()` (reads)."""
        return Call(
            self.address,
            "MAX_DOUBLING_DAYS()",
            encode("3af1d78c", (), ()),
            reader(("uint256",)),
        )

    def one(self) -> Call[int]:
        """`ONE()` (reads)."""
        return Call(
            self.address,
            "ONE()",
            encode("c2ee3a08", (), ()),
            reader(("uint256",)),
        )

    def pricing_role(self) -> Call[bytes]:
        """`PRICING_ROLE()` (reads)."""
        return Call(
            self.address,
            "PRICING_ROLE()",
            encode("acb132a4", (), ()),
            reader(("bytes32",)),
        )

    def amount_on(self, resource: int, day: int) -> Call[int]:
        """`amountOn(uint8,uint256)` (reads)."""
        return Call(
            self.address,
            "amountOn(uint8,uint256)",
            encode(
                "9d3cc577",
                (
                    "uint8",
                    "uint256",
                ),
                (
                    resource,
                    day,
                ),
            ),
            reader(("uint256",)),
        )

    def amount_today(self, resource: int) -> Call[int]:
        """`amountToday(uint8)` (reads)."""
        return Call(
            self.address,
            "amountToday(uint8)",
            encode("bd6acc88", ("uint8",), (resource,)),
            reader(("uint256",)),
        )

    def coefficients_on(self, resource: int, day: int) -> Call[tuple[int, int, int, int]]:
        """`coefficientsOn(uint8,uint256)` (reads): firstDay, amount, doublingDays, factor."""
        return Call(
            self.address,
            "coefficientsOn(uint8,uint256)",
            encode(
                "f7447598",
                (
                    "uint8",
                    "uint256",
                ),
                (
                    resource,
                    day,
                ),
            ),
            reader(
                (
                    "uint256",
                    "uint256",
                    "uint256",
                    "uint256",
                )
            ),
        )

    def cost_on(self, resource: int, quantity: int, day: int) -> Call[int]:
        """`costOn(uint8,uint256,uint256)` (reads)."""
        return Call(
            self.address,
            "costOn(uint8,uint256,uint256)",
            encode(
                "71332ac4",
                (
                    "uint8",
                    "uint256",
                    "uint256",
                ),
                (
                    resource,
                    quantity,
                    day,
                ),
            ),
            reader(("uint256",)),
        )

    def set_coefficients(
        self, resource: int, first_day: int, amount: int, doubling_days: int, factor: int
    ) -> Call[None]:
        """`setCoefficients(uint8,uint256,uint256,uint256,uint256)`."""
        return Call(
            self.address,
            "setCoefficients(uint8,uint256,uint256,uint256,uint256)",
            encode(
                "3f39f114",
                (
                    "uint8",
                    "uint256",
                    "uint256",
                    "uint256",
                    "uint256",
                ),
                (
                    resource,
                    first_day,
                    amount,
                    doubling_days,
                    factor,
                ),
            ),
            reader(()),
        )

    def today(self) -> Call[int]:
        """`today()` (reads)."""
        return Call(
            self.address,
            "today()",
            encode("b74e452b", (), ()),
            reader(("uint256",)),
        )

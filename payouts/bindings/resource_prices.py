"""Bindings of ResourcePrices. Generated from its ABI by payouts.bindings.generate: do not edit."""

from dataclasses import dataclass
from typing import ClassVar

from payouts.bindings.abi import Call, Log, artifact, decode_event, encode, encode_arguments, reader


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


@dataclass(frozen=True, slots=True)
class DefaultAdminDelayChangeCanceled:
    """Event `DefaultAdminDelayChangeCanceled()`."""

    TOPIC: ClassVar[bytes] = bytes.fromhex("2b1fa2edafe6f7b9e97c1a9e0c3660e645beb2dcaa2d45bdbf9beaf5472e1ec5")
    TYPES: ClassVar[tuple[tuple[str, bool], ...]] = ()

    @classmethod
    def decode(cls, log: Log) -> "DefaultAdminDelayChangeCanceled | None":
        """None when the log is another event."""
        if not log.topics or log.topics[0] != cls.TOPIC:
            return None
        return cls(*decode_event(cls.TYPES, log))


@dataclass(frozen=True, slots=True)
class DefaultAdminDelayChangeScheduled:
    """Event `DefaultAdminDelayChangeScheduled(uint48,uint48)`."""

    TOPIC: ClassVar[bytes] = bytes.fromhex("f1038c18cf84a56e432fdbfaf746924b7ea511dfe03a6506a0ceba4888788d9b")
    TYPES: ClassVar[tuple[tuple[str, bool], ...]] = (
        ("uint48", False),
        ("uint48", False),
    )

    new_delay: int
    effect_schedule: int

    @classmethod
    def decode(cls, log: Log) -> "DefaultAdminDelayChangeScheduled | None":
        """None when the log is another event."""
        if not log.topics or log.topics[0] != cls.TOPIC:
            return None
        return cls(*decode_event(cls.TYPES, log))


@dataclass(frozen=True, slots=True)
class DefaultAdminTransferCanceled:
    """Event `DefaultAdminTransferCanceled()`."""

    TOPIC: ClassVar[bytes] = bytes.fromhex("8886ebfc4259abdbc16601dd8fb5678e54878f47b3c34836cfc51154a9605109")
    TYPES: ClassVar[tuple[tuple[str, bool], ...]] = ()

    @classmethod
    def decode(cls, log: Log) -> "DefaultAdminTransferCanceled | None":
        """None when the log is another event."""
        if not log.topics or log.topics[0] != cls.TOPIC:
            return None
        return cls(*decode_event(cls.TYPES, log))


@dataclass(frozen=True, slots=True)
class DefaultAdminTransferScheduled:
    """Event `DefaultAdminTransferScheduled(address,uint48)`."""

    TOPIC: ClassVar[bytes] = bytes.fromhex("3377dc44241e779dd06afab5b788a35ca5f3b778836e2990bdb26a2a4b2e5ed6")
    TYPES: ClassVar[tuple[tuple[str, bool], ...]] = (
        ("address", True),
        ("uint48", False),
    )

    new_admin: str
    accept_schedule: int

    @classmethod
    def decode(cls, log: Log) -> "DefaultAdminTransferScheduled | None":
        """None when the log is another event."""
        if not log.topics or log.topics[0] != cls.TOPIC:
            return None
        return cls(*decode_event(cls.TYPES, log))


@dataclass(frozen=True, slots=True)
class RoleAdminChanged:
    """Event `RoleAdminChanged(bytes32,bytes32,bytes32)`."""

    TOPIC: ClassVar[bytes] = bytes.fromhex("bd79b86ffe0ab8e8776151514217cd7cacd52c909f66475c3af44e129f0b00ff")
    TYPES: ClassVar[tuple[tuple[str, bool], ...]] = (
        ("bytes32", True),
        ("bytes32", True),
        ("bytes32", True),
    )

    role: bytes
    previous_admin_role: bytes
    new_admin_role: bytes

    @classmethod
    def decode(cls, log: Log) -> "RoleAdminChanged | None":
        """None when the log is another event."""
        if not log.topics or log.topics[0] != cls.TOPIC:
            return None
        return cls(*decode_event(cls.TYPES, log))


@dataclass(frozen=True, slots=True)
class RoleGranted:
    """Event `RoleGranted(bytes32,address,address)`."""

    TOPIC: ClassVar[bytes] = bytes.fromhex("2f8788117e7eff1d82e926ec794901d17c78024a50270940304540a733656f0d")
    TYPES: ClassVar[tuple[tuple[str, bool], ...]] = (
        ("bytes32", True),
        ("address", True),
        ("address", True),
    )

    role: bytes
    account: str
    sender: str

    @classmethod
    def decode(cls, log: Log) -> "RoleGranted | None":
        """None when the log is another event."""
        if not log.topics or log.topics[0] != cls.TOPIC:
            return None
        return cls(*decode_event(cls.TYPES, log))


@dataclass(frozen=True, slots=True)
class RoleRevoked:
    """Event `RoleRevoked(bytes32,address,address)`."""

    TOPIC: ClassVar[bytes] = bytes.fromhex("f6391f5c32d9c69d2a47ea670b442974b53935d1edc7fd64eb21e047a839171b")
    TYPES: ClassVar[tuple[tuple[str, bool], ...]] = (
        ("bytes32", True),
        ("address", True),
        ("address", True),
    )

    role: bytes
    account: str
    sender: str

    @classmethod
    def decode(cls, log: Log) -> "RoleRevoked | None":
        """None when the log is another event."""
        if not log.topics or log.topics[0] != cls.TOPIC:
            return None
        return cls(*decode_event(cls.TYPES, log))


class ResourcePrices:
    """The contract `ResourcePrices` at an address."""

    def __init__(self, address: str) -> None:
        self.address = address.lower()

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

    def default_admin_role(self) -> Call[bytes]:
        """`DEFAULT_ADMIN_ROLE()` (reads)."""
        return Call(
            self.address,
            "DEFAULT_ADMIN_ROLE()",
            encode("a217fddf", (), ()),
            reader(("bytes32",)),
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

    def accept_default_admin_transfer(self) -> Call[None]:
        """`acceptDefaultAdminTransfer()`."""
        return Call(
            self.address,
            "acceptDefaultAdminTransfer()",
            encode("cefc1429", (), ()),
            reader(()),
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

    def begin_default_admin_transfer(self, new_admin: str) -> Call[None]:
        """`beginDefaultAdminTransfer(address)`."""
        return Call(
            self.address,
            "beginDefaultAdminTransfer(address)",
            encode("634e93da", ("address",), (new_admin,)),
            reader(()),
        )

    def cancel_default_admin_transfer(self) -> Call[None]:
        """`cancelDefaultAdminTransfer()`."""
        return Call(
            self.address,
            "cancelDefaultAdminTransfer()",
            encode("d602b9fd", (), ()),
            reader(()),
        )

    def change_default_admin_delay(self, new_delay: int) -> Call[None]:
        """`changeDefaultAdminDelay(uint48)`."""
        return Call(
            self.address,
            "changeDefaultAdminDelay(uint48)",
            encode("649a5ec7", ("uint48",), (new_delay,)),
            reader(()),
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

    def default_admin(self) -> Call[str]:
        """`defaultAdmin()` (reads)."""
        return Call(
            self.address,
            "defaultAdmin()",
            encode("84ef8ffc", (), ()),
            reader(("address",)),
        )

    def default_admin_delay(self) -> Call[int]:
        """`defaultAdminDelay()` (reads)."""
        return Call(
            self.address,
            "defaultAdminDelay()",
            encode("cc8463c8", (), ()),
            reader(("uint48",)),
        )

    def default_admin_delay_increase_wait(self) -> Call[int]:
        """`defaultAdminDelayIncreaseWait()` (reads)."""
        return Call(
            self.address,
            "defaultAdminDelayIncreaseWait()",
            encode("022d63fb", (), ()),
            reader(("uint48",)),
        )

    def get_role_admin(self, role: bytes) -> Call[bytes]:
        """`getRoleAdmin(bytes32)` (reads)."""
        return Call(
            self.address,
            "getRoleAdmin(bytes32)",
            encode("248a9ca3", ("bytes32",), (role,)),
            reader(("bytes32",)),
        )

    def grant_role(self, role: bytes, account: str) -> Call[None]:
        """`grantRole(bytes32,address)`."""
        return Call(
            self.address,
            "grantRole(bytes32,address)",
            encode(
                "2f2ff15d",
                (
                    "bytes32",
                    "address",
                ),
                (
                    role,
                    account,
                ),
            ),
            reader(()),
        )

    def has_role(self, role: bytes, account: str) -> Call[bool]:
        """`hasRole(bytes32,address)` (reads)."""
        return Call(
            self.address,
            "hasRole(bytes32,address)",
            encode(
                "91d14854",
                (
                    "bytes32",
                    "address",
                ),
                (
                    role,
                    account,
                ),
            ),
            reader(("bool",)),
        )

    def owner(self) -> Call[str]:
        """`owner()` (reads)."""
        return Call(
            self.address,
            "owner()",
            encode("8da5cb5b", (), ()),
            reader(("address",)),
        )

    def pending_default_admin(self) -> Call[tuple[str, int]]:
        """`pendingDefaultAdmin()` (reads): newAdmin, schedule."""
        return Call(
            self.address,
            "pendingDefaultAdmin()",
            encode("cf6eefb7", (), ()),
            reader(
                (
                    "address",
                    "uint48",
                )
            ),
        )

    def pending_default_admin_delay(self) -> Call[tuple[int, int]]:
        """`pendingDefaultAdminDelay()` (reads): newDelay, schedule."""
        return Call(
            self.address,
            "pendingDefaultAdminDelay()",
            encode("a1eda53c", (), ()),
            reader(
                (
                    "uint48",
                    "uint48",
                )
            ),
        )

    def renounce_role(self, role: bytes, account: str) -> Call[None]:
        """`renounceRole(bytes32,address)`."""
        return Call(
            self.address,
            "renounceRole(bytes32,address)",
            encode(
                "36568abe",
                (
                    "bytes32",
                    "address",
                ),
                (
                    role,
                    account,
                ),
            ),
            reader(()),
        )

    def revoke_role(self, role: bytes, account: str) -> Call[None]:
        """`revokeRole(bytes32,address)`."""
        return Call(
            self.address,
            "revokeRole(bytes32,address)",
            encode(
                "d547741f",
                (
                    "bytes32",
                    "address",
                ),
                (
                    role,
                    account,
                ),
            ),
            reader(()),
        )

    def rollback_default_admin_delay(self) -> Call[None]:
        """`rollbackDefaultAdminDelay()`."""
        return Call(
            self.address,
            "rollbackDefaultAdminDelay()",
            encode("0aa6220b", (), ()),
            reader(()),
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

    def supports_interface(self, interface_id: bytes) -> Call[bool]:
        """`supportsInterface(bytes4)` (reads)."""
        return Call(
            self.address,
            "supportsInterface(bytes4)",
            encode("01ffc9a7", ("bytes4",), (interface_id,)),
            reader(("bool",)),
        )

    def today(self) -> Call[int]:
        """`today()` (reads)."""
        return Call(
            self.address,
            "today()",
            encode("b74e452b", (), ()),
            reader(("uint256",)),
        )

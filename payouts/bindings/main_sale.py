"""Bindings of MainSale. Generated from its ABI by payouts.bindings.generate: do not edit."""

from dataclasses import dataclass
from typing import ClassVar

from payouts.bindings.abi import Call, Log, artifact, decode_event, encode, encode_arguments, reader


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


@dataclass(frozen=True, slots=True)
class SaleClosed:
    """Event `SaleClosed(uint256,bool)`."""

    TOPIC: ClassVar[bytes] = bytes.fromhex("abd29be12abad77e16507ae7619ae69ca4a9a8fab3f2798bdd7b952a9cff468e")
    TYPES: ClassVar[tuple[tuple[str, bool], ...]] = (
        ("uint256", False),
        ("bool", False),
    )

    unsold: int
    terminated: bool

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


class MainSale:
    """The contract `MainSale` at an address."""

    def __init__(self, address: str) -> None:
        self.address = address.lower()

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

    def default_admin_role(self) -> Call[bytes]:
        """`DEFAULT_ADMIN_ROLE()` (reads)."""
        return Call(
            self.address,
            "DEFAULT_ADMIN_ROLE()",
            encode("a217fddf", (), ()),
            reader(("bytes32",)),
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

    def accept_default_admin_transfer(self) -> Call[None]:
        """`acceptDefaultAdminTransfer()`."""
        return Call(
            self.address,
            "acceptDefaultAdminTransfer()",
            encode("cefc1429", (), ()),
            reader(()),
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

    def supports_interface(self, interface_id: bytes) -> Call[bool]:
        """`supportsInterface(bytes4)` (reads)."""
        return Call(
            self.address,
            "supportsInterface(bytes4)",
            encode("01ffc9a7", ("bytes4",), (interface_id,)),
            reader(("bool",)),
        )

    def terminate(self) -> Call[None]:
        """`terminate()`."""
        return Call(
            self.address,
            "terminate()",
            encode("0c08bf88", (), ()),
            reader(()),
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

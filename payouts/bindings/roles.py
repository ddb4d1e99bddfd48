"""Bindings of Roles. Generated from the ABI by payouts.bindings.generate: do not edit."""

from dataclasses import dataclass
from typing import ClassVar

from payouts.bindings.abi import Call, Contract, Log, decode_event, encode, reader


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
class RoleAnnounced:
    """Event `RoleAnnounced(bytes32,address,uint256)`."""

    TOPIC: ClassVar[bytes] = bytes.fromhex("159bff7091ece0ce1359c9abd9a2f21cd6de995813de0bbf0ec7a2e21e9ea485")
    TYPES: ClassVar[tuple[tuple[str, bool], ...]] = (
        ("bytes32", True),
        ("address", True),
        ("uint256", False),
    )

    role: bytes
    account: str
    effective_at: int

    @classmethod
    def decode(cls, log: Log) -> "RoleAnnounced | None":
        """None when the log is another event."""
        if not log.topics or log.topics[0] != cls.TOPIC:
            return None
        return cls(*decode_event(cls.TYPES, log))


@dataclass(frozen=True, slots=True)
class RoleCancelled:
    """Event `RoleCancelled(bytes32,address,address)`."""

    TOPIC: ClassVar[bytes] = bytes.fromhex("6275a1be197eb8a09f3731efaa5d581a07f7c6ffc7c6aac7d680468d2d573dc7")
    TYPES: ClassVar[tuple[tuple[str, bool], ...]] = (
        ("bytes32", True),
        ("address", True),
        ("address", False),
    )

    role: bytes
    account: str
    by: str

    @classmethod
    def decode(cls, log: Log) -> "RoleCancelled | None":
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
class SetupEnded:
    """Event `SetupEnded()`."""

    TOPIC: ClassVar[bytes] = bytes.fromhex("4561e408b30894cd21d5f1fd3537df4eaeeb0d29d095b57e81b7813dba3b644f")
    TYPES: ClassVar[tuple[tuple[str, bool], ...]] = ()

    @classmethod
    def decode(cls, log: Log) -> "SetupEnded | None":
        """None when the log is another event."""
        if not log.topics or log.topics[0] != cls.TOPIC:
            return None
        return cls(*decode_event(cls.TYPES, log))


class Roles(Contract):
    """What IeoToken, MainSale, MasterAccount, ResourcePrices, UtilityToken have in common."""

    def announcement_window(self) -> Call[int]:
        """`ANNOUNCEMENT_WINDOW()` (reads)."""
        return Call(
            self.address,
            "ANNOUNCEMENT_WINDOW()",
            encode("c9d9f45f", (), ()),
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

    def guardian_role(self) -> Call[bytes]:
        """`GUARDIAN_ROLE()` (reads)."""
        return Call(
            self.address,
            "GUARDIAN_ROLE()",
            encode("24ea54f4", (), ()),
            reader(("bytes32",)),
        )

    def minimum_delay(self) -> Call[int]:
        """`MINIMUM_DELAY()` (reads)."""
        return Call(
            self.address,
            "MINIMUM_DELAY()",
            encode("b1b43ae5", (), ()),
            reader(("uint48",)),
        )

    def accept_default_admin_transfer(self) -> Call[None]:
        """`acceptDefaultAdminTransfer()`."""
        return Call(
            self.address,
            "acceptDefaultAdminTransfer()",
            encode("cefc1429", (), ()),
            reader(()),
        )

    def announce_role(self, role: bytes, account: str) -> Call[None]:
        """`announceRole(bytes32,address)`."""
        return Call(
            self.address,
            "announceRole(bytes32,address)",
            encode(
                "206bb7f0",
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

    def cancel_role(self, role: bytes, account: str) -> Call[None]:
        """`cancelRole(bytes32,address)`."""
        return Call(
            self.address,
            "cancelRole(bytes32,address)",
            encode(
                "aa5a2096",
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

    def change_default_admin_delay(self, new_delay: int) -> Call[None]:
        """`changeDefaultAdminDelay(uint48)`."""
        return Call(
            self.address,
            "changeDefaultAdminDelay(uint48)",
            encode("649a5ec7", ("uint48",), (new_delay,)),
            reader(()),
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

    def end_setup(self) -> Call[None]:
        """`endSetup()`."""
        return Call(
            self.address,
            "endSetup()",
            encode("6e98b0ff", (), ()),
            reader(()),
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

    def role_announced(self, role: bytes, account: str) -> Call[int]:
        """`roleAnnounced(bytes32,address)` (reads): effectiveAt."""
        return Call(
            self.address,
            "roleAnnounced(bytes32,address)",
            encode(
                "6c848173",
                (
                    "bytes32",
                    "address",
                ),
                (
                    role,
                    account,
                ),
            ),
            reader(("uint256",)),
        )

    def rollback_default_admin_delay(self) -> Call[None]:
        """`rollbackDefaultAdminDelay()`."""
        return Call(
            self.address,
            "rollbackDefaultAdminDelay()",
            encode("0aa6220b", (), ()),
            reader(()),
        )

    def setup_ended(self) -> Call[bool]:
        """`setupEnded()` (reads)."""
        return Call(
            self.address,
            "setupEnded()",
            encode("c4edcca3", (), ()),
            reader(("bool",)),
        )

    def supports_interface(self, interface_id: bytes) -> Call[bool]:
        """`supportsInterface(bytes4)` (reads)."""
        return Call(
            self.address,
            "supportsInterface(bytes4)",
            encode("01ffc9a7", ("bytes4",), (interface_id,)),
            reader(("bool",)),
        )

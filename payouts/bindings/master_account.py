"""Bindings of MasterAccount. Generated from its ABI by payouts.bindings.generate: do not edit."""

from dataclasses import dataclass
from typing import ClassVar

from payouts.bindings.abi import Call, Log, artifact, decode_event, encode, encode_arguments, reader


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


@dataclass(frozen=True, slots=True)
class SeizureAnnounced:
    """Event `SeizureAnnounced(address,bytes32,uint256,uint256)`."""

    TOPIC: ClassVar[bytes] = bytes.fromhex("f13f7a7cf2ec5857d3cdb7e8d304d37879f95f2610500dc6eef369e88a6eb8aa")
    TYPES: ClassVar[tuple[tuple[str, bool], ...]] = (
        ("address", True),
        ("bytes32", True),
        ("uint256", False),
        ("uint256", False),
    )

    account: str
    evidence_hash: bytes
    amount: int
    executable_at: int

    @classmethod
    def decode(cls, log: Log) -> "SeizureAnnounced | None":
        """None when the log is another event."""
        if not log.topics or log.topics[0] != cls.TOPIC:
            return None
        return cls(*decode_event(cls.TYPES, log))


@dataclass(frozen=True, slots=True)
class SeizureExecuted:
    """Event `SeizureExecuted(address,bytes32,uint256,uint256)`."""

    TOPIC: ClassVar[bytes] = bytes.fromhex("3991933c5e6273086e11ab208c4d757e44a46942f52c8e9dce2902330c134eab")
    TYPES: ClassVar[tuple[tuple[str, bool], ...]] = (
        ("address", True),
        ("bytes32", True),
        ("uint256", False),
        ("uint256", False),
    )

    account: str
    evidence_hash: bytes
    announced: int
    taken: int

    @classmethod
    def decode(cls, log: Log) -> "SeizureExecuted | None":
        """None when the log is another event."""
        if not log.topics or log.topics[0] != cls.TOPIC:
            return None
        return cls(*decode_event(cls.TYPES, log))


@dataclass(frozen=True, slots=True)
class SeizureWithdrawn:
    """Event `SeizureWithdrawn(address,bytes32,address)`."""

    TOPIC: ClassVar[bytes] = bytes.fromhex("65bb3a7ea210965bc3a3f7feafaa576d87ebb9e5abb244c7276199deab4d512a")
    TYPES: ClassVar[tuple[tuple[str, bool], ...]] = (
        ("address", True),
        ("bytes32", True),
        ("address", False),
    )

    account: str
    evidence_hash: bytes
    by: str

    @classmethod
    def decode(cls, log: Log) -> "SeizureWithdrawn | None":
        """None when the log is another event."""
        if not log.topics or log.topics[0] != cls.TOPIC:
            return None
        return cls(*decode_event(cls.TYPES, log))


class MasterAccount:
    """The contract `MasterAccount` at an address."""

    def __init__(self, address: str) -> None:
        self.address = address.lower()

    @staticmethod
    def deploy_data(admin: str, admin_delay: int, token_: str, treasury_: str, hold_period_: int) -> bytes:
        """The data of the transaction that creates the contract."""
        code = bytes.fromhex(str(artifact("MasterAccount")["bytecode"])[2:])
        return code + encode_arguments(
            (
                "address",
                "uint48",
                "address",
                "address",
                "uint256",
            ),
            (
                admin,
                admin_delay,
                token_,
                treasury_,
                hold_period_,
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

    def execution_window(self) -> Call[int]:
        """`EXECUTION_WINDOW()` (reads)."""
        return Call(
            self.address,
            "EXECUTION_WINDOW()",
            encode("3e65164a", (), ()),
            reader(("uint256",)),
        )

    def operations_role(self) -> Call[bytes]:
        """`OPERATIONS_ROLE()` (reads)."""
        return Call(
            self.address,
            "OPERATIONS_ROLE()",
            encode("78a6cc09", (), ()),
            reader(("bytes32",)),
        )

    def seizer_role(self) -> Call[bytes]:
        """`SEIZER_ROLE()` (reads)."""
        return Call(
            self.address,
            "SEIZER_ROLE()",
            encode("421a40a7", (), ()),
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

    def announce(self, account: str, amount: int, evidence_hash: bytes) -> Call[None]:
        """`announce(address,uint256,bytes32)`."""
        return Call(
            self.address,
            "announce(address,uint256,bytes32)",
            encode(
                "ea304d62",
                (
                    "address",
                    "uint256",
                    "bytes32",
                ),
                (
                    account,
                    amount,
                    evidence_hash,
                ),
            ),
            reader(()),
        )

    def at_stake(self, account: str) -> Call[int]:
        """`atStake(address)` (reads)."""
        return Call(
            self.address,
            "atStake(address)",
            encode("0d507146", ("address",), (account,)),
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

    def execute(self, account: str, evidence_hash: bytes) -> Call[None]:
        """`execute(address,bytes32)`."""
        return Call(
            self.address,
            "execute(address,bytes32)",
            encode(
                "9edd8c74",
                (
                    "address",
                    "bytes32",
                ),
                (
                    account,
                    evidence_hash,
                ),
            ),
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

    def hold_period(self) -> Call[int]:
        """`holdPeriod()` (reads)."""
        return Call(
            self.address,
            "holdPeriod()",
            encode("f5967a2f", (), ()),
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

    def seizure(self, account: str, evidence_hash: bytes) -> Call[tuple[int, int, int]]:
        """`seizure(address,bytes32)` (reads): amount, executableAt, state."""
        return Call(
            self.address,
            "seizure(address,bytes32)",
            encode(
                "2c7ba24d",
                (
                    "address",
                    "bytes32",
                ),
                (
                    account,
                    evidence_hash,
                ),
            ),
            reader(
                (
                    "uint256",
                    "uint256",
                    "uint8",
                )
            ),
        )

    def supports_interface(self, interface_id: bytes) -> Call[bool]:
        """`supportsInterface(bytes4)` (reads)."""
        return Call(
            self.address,
            "supportsInterface(bytes4)",
            encode("01ffc9a7", ("bytes4",), (interface_id,)),
            reader(("bool",)),
        )

    def token(self) -> Call[str]:
        """`token()` (reads)."""
        return Call(
            self.address,
            "token()",
            encode("fc0c546a", (), ()),
            reader(("address",)),
        )

    def treasury(self) -> Call[str]:
        """`treasury()` (reads)."""
        return Call(
            self.address,
            "treasury()",
            encode("61d027b3", (), ()),
            reader(("address",)),
        )

    def withdraw(self, account: str, evidence_hash: bytes) -> Call[None]:
        """`withdraw(address,bytes32)`."""
        return Call(
            self.address,
            "withdraw(address,bytes32)",
            encode(
                "40e5e9aa",
                (
                    "address",
                    "bytes32",
                ),
                (
                    account,
                    evidence_hash,
                ),
            ),
            reader(()),
        )

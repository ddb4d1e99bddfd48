"""Bindings of UtilityToken. Generated from its ABI by payouts.bindings.generate: do not edit."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from payouts.bindings.abi import Call, Log, artifact, decode_event, encode, encode_arguments, reader


@dataclass(frozen=True, slots=True)
class Approval:
    """Event `Approval(address,address,uint256)`."""

    TOPIC: ClassVar[bytes] = bytes.fromhex("8c5be1e5ebec7d5bd14f71427d1e84f3dd0314c0f7b2291e5b200ac8c7c3b925")
    TYPES: ClassVar[tuple[tuple[str, bool], ...]] = (
        ("address", True),
        ("address", True),
        ("uint256", False),
    )

    owner: str
    spender: str
    value: int

    @classmethod
    def decode(cls, log: Log) -> "Approval | None":
        """None when the log is another event."""
        if not log.topics or log.topics[0] != cls.TOPIC:
            return None
        return cls(*decode_event(cls.TYPES, log))


@dataclass(frozen=True, slots=True)
class BatchCollected:
    """Event `BatchCollected(bytes32,bytes32,uint256,uint256)`."""

    TOPIC: ClassVar[bytes] = bytes.fromhex("084cd7f2e3cd0c48636d1de81f8dabe5f1af3283d4592b742e4b34ddf5bd4b47")
    TYPES: ClassVar[tuple[tuple[str, bool], ...]] = (
        ("bytes32", True),
        ("bytes32", False),
        ("uint256", False),
        ("uint256", False),
    )

    batch_id: bytes
    list_hash: bytes
    count: int
    total: int

    @classmethod
    def decode(cls, log: Log) -> "BatchCollected | None":
        """None when the log is another event."""
        if not log.topics or log.topics[0] != cls.TOPIC:
            return None
        return cls(*decode_event(cls.TYPES, log))


@dataclass(frozen=True, slots=True)
class BatchPaid:
    """Event `BatchPaid(bytes32,bytes32,uint256,uint256)`."""

    TOPIC: ClassVar[bytes] = bytes.fromhex("1e30f7b9044cf3e9a6753efae935b7d1ba85c0b78df36a3b71bd526887a0830c")
    TYPES: ClassVar[tuple[tuple[str, bool], ...]] = (
        ("bytes32", True),
        ("bytes32", False),
        ("uint256", False),
        ("uint256", False),
    )

    batch_id: bytes
    list_hash: bytes
    count: int
    total: int

    @classmethod
    def decode(cls, log: Log) -> "BatchPaid | None":
        """None when the log is another event."""
        if not log.topics or log.topics[0] != cls.TOPIC:
            return None
        return cls(*decode_event(cls.TYPES, log))


@dataclass(frozen=True, slots=True)
class Collected:
    """Event `Collected(bytes32,address,uint256,uint256)`."""

    TOPIC: ClassVar[bytes] = bytes.fromhex("b6a8b9565f5bf75ff20880e512f0403d49e2d9a7a17f17ff91e1bfc75ab46038")
    TYPES: ClassVar[tuple[tuple[str, bool], ...]] = (
        ("bytes32", True),
        ("address", True),
        ("uint256", False),
        ("uint256", False),
    )

    reservation_id: bytes
    owner: str
    amount: int
    returned: int

    @classmethod
    def decode(cls, log: Log) -> "Collected | None":
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
class EIP712DomainChanged:
    """Event `EIP712DomainChanged()`."""

    TOPIC: ClassVar[bytes] = bytes.fromhex("0a6387c9ea3628b88a633bb4f3b151770f70085117a15f9bf3787cda53f13d31")
    TYPES: ClassVar[tuple[tuple[str, bool], ...]] = ()

    @classmethod
    def decode(cls, log: Log) -> "EIP712DomainChanged | None":
        """None when the log is another event."""
        if not log.topics or log.topics[0] != cls.TOPIC:
            return None
        return cls(*decode_event(cls.TYPES, log))


@dataclass(frozen=True, slots=True)
class MintersSealed:
    """Event `MintersSealed()`."""

    TOPIC: ClassVar[bytes] = bytes.fromhex("56b86661c41d914322a7fb83129594d9f289e9a6232b5156b5350bf957a88526")
    TYPES: ClassVar[tuple[tuple[str, bool], ...]] = ()

    @classmethod
    def decode(cls, log: Log) -> "MintersSealed | None":
        """None when the log is another event."""
        if not log.topics or log.topics[0] != cls.TOPIC:
            return None
        return cls(*decode_event(cls.TYPES, log))


@dataclass(frozen=True, slots=True)
class Paused:
    """Event `Paused(address)`."""

    TOPIC: ClassVar[bytes] = bytes.fromhex("62e78cea01bee320cd4e420270b5ea74000d11b0c9f74754ebdbfc544b05a258")
    TYPES: ClassVar[tuple[tuple[str, bool], ...]] = (("address", True),)

    by: str

    @classmethod
    def decode(cls, log: Log) -> "Paused | None":
        """None when the log is another event."""
        if not log.topics or log.topics[0] != cls.TOPIC:
            return None
        return cls(*decode_event(cls.TYPES, log))


@dataclass(frozen=True, slots=True)
class Released:
    """Event `Released(bytes32,address,uint256)`."""

    TOPIC: ClassVar[bytes] = bytes.fromhex("c8fa66dff4b9073528c3f1bf21a8dc9a18fdf09847e88e96188bc953aef519f0")
    TYPES: ClassVar[tuple[tuple[str, bool], ...]] = (
        ("bytes32", True),
        ("address", True),
        ("uint256", False),
    )

    reservation_id: bytes
    owner: str
    amount: int

    @classmethod
    def decode(cls, log: Log) -> "Released | None":
        """None when the log is another event."""
        if not log.topics or log.topics[0] != cls.TOPIC:
            return None
        return cls(*decode_event(cls.TYPES, log))


@dataclass(frozen=True, slots=True)
class Reserved:
    """Event `Reserved(bytes32,address,uint256,uint64)`."""

    TOPIC: ClassVar[bytes] = bytes.fromhex("4909fcd46577b0d5ff0c0e571befb696afb72c794f1080849a14ed9f9d7b55a5")
    TYPES: ClassVar[tuple[tuple[str, bool], ...]] = (
        ("bytes32", True),
        ("address", True),
        ("uint256", False),
        ("uint64", False),
    )

    reservation_id: bytes
    owner: str
    amount: int
    expires_at: int

    @classmethod
    def decode(cls, log: Log) -> "Reserved | None":
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
class Settled:
    """Event `Settled(bytes32,bytes32,uint8,uint256,uint64,bytes32,bytes32,address)`."""

    TOPIC: ClassVar[bytes] = bytes.fromhex("29a96f3e5399936e872edaea16a7b21914d21923707c2e8fa682b1fd6f41b6c3")
    TYPES: ClassVar[tuple[tuple[str, bool], ...]] = (
        ("bytes32", True),
        ("bytes32", True),
        ("uint8", False),
        ("uint256", False),
        ("uint64", False),
        ("bytes32", False),
        ("bytes32", False),
        ("address", False),
    )

    batch_id: bytes
    entity: bytes
    role: int
    amount: int
    row_count: int
    xor_hash: bytes
    merkle_root: bytes
    account: str

    @classmethod
    def decode(cls, log: Log) -> "Settled | None":
        """None when the log is another event."""
        if not log.topics or log.topics[0] != cls.TOPIC:
            return None
        return cls(*decode_event(cls.TYPES, log))


@dataclass(frozen=True, slots=True)
class Transfer:
    """Event `Transfer(address,address,uint256)`."""

    TOPIC: ClassVar[bytes] = bytes.fromhex("ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef")
    TYPES: ClassVar[tuple[tuple[str, bool], ...]] = (
        ("address", True),
        ("address", True),
        ("uint256", False),
    )

    from_: str
    to: str
    value: int

    @classmethod
    def decode(cls, log: Log) -> "Transfer | None":
        """None when the log is another event."""
        if not log.topics or log.topics[0] != cls.TOPIC:
            return None
        return cls(*decode_event(cls.TYPES, log))


@dataclass(frozen=True, slots=True)
class Unpaused:
    """Event `Unpaused(address)`."""

    TOPIC: ClassVar[bytes] = bytes.fromhex("5db9ee0a495bf2e6ff9c91a7834c1ba4fdd244a5e8aa4e537bd38aeae4b073aa")
    TYPES: ClassVar[tuple[tuple[str, bool], ...]] = (("address", True),)

    by: str

    @classmethod
    def decode(cls, log: Log) -> "Unpaused | None":
        """None when the log is another event."""
        if not log.topics or log.topics[0] != cls.TOPIC:
            return None
        return cls(*decode_event(cls.TYPES, log))


class UtilityToken:
    """The contract `UtilityToken` at an address."""

    def __init__(self, address: str) -> None:
        self.address = address.lower()

    @staticmethod
    def deploy_data(admin: str, admin_delay: int) -> bytes:
        """The data of the transaction that creates the contract."""
        code = bytes.fromhex(str(artifact("UtilityToken")["bytecode"])[2:])
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

    def cap(self) -> Call[int]:
        """`CAP()` (reads)."""
        return Call(
            self.address,
            "CAP()",
            encode("ec81b483", (), ()),
            reader(("uint256",)),
        )

    def collector_role(self) -> Call[bytes]:
        """`COLLECTOR_ROLE()` (reads)."""
        return Call(
            self.address,
            "COLLECTOR_ROLE()",
            encode("9ca39ae9", (), ()),
            reader(("bytes32",)),
        )

    def default_admin_role(self) -> Call[bytes]:
        """`DEFAULT_ADMIN_ROLE()` (reads)."""
        return Call(
            self.address,
            "DEFAULT_ADMIN_ROLE()",
            encode("a217fddf", (), ()),
            reader(("bytes32",)),
        )

    def domain_separator(self) -> Call[bytes]:
        """`DOMAIN_SEPARATOR()` (reads)."""
        return Call(
            self.address,
            "DOMAIN_SEPARATOR()",
            encode("3644e515", (), ()),
            reader(("bytes32",)),
        )

    def max_hold(self) -> Call[int]:
        """`MAX_HOLD()` (reads)."""
        return Call(
            self.address,
            "MAX_HOLD()",
            encode("d40a9c4f", (), ()),
            reader(("uint256",)),
        )

    def minter_role(self) -> Call[bytes]:
        """`MINTER_ROLE()` (reads)."""
        return Call(
            self.address,
            "MINTER_ROLE()",
            encode("d5391393", (), ()),
            reader(("bytes32",)),
        )

    def pauser_role(self) -> Call[bytes]:
        """`PAUSER_ROLE()` (reads)."""
        return Call(
            self.address,
            "PAUSER_ROLE()",
            encode("e63ab1e9", (), ()),
            reader(("bytes32",)),
        )

    def payer_role(self) -> Call[bytes]:
        """`PAYER_ROLE()` (reads)."""
        return Call(
            self.address,
            "PAYER_ROLE()",
            encode("77f050b0", (), ()),
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

    def allowance(self, owner: str, spender: str) -> Call[int]:
        """`allowance(address,address)` (reads)."""
        return Call(
            self.address,
            "allowance(address,address)",
            encode(
                "dd62ed3e",
                (
                    "address",
                    "address",
                ),
                (
                    owner,
                    spender,
                ),
            ),
            reader(("uint256",)),
        )

    def approve(self, spender: str, amount: int) -> Call[bool]:
        """`approve(address,uint256)`."""
        return Call(
            self.address,
            "approve(address,uint256)",
            encode(
                "095ea7b3",
                (
                    "address",
                    "uint256",
                ),
                (
                    spender,
                    amount,
                ),
            ),
            reader(("bool",)),
        )

    def balance_of(self, account: str) -> Call[int]:
        """`balanceOf(address)` (reads)."""
        return Call(
            self.address,
            "balanceOf(address)",
            encode("70a08231", ("address",), (account,)),
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

    def collect(self, batch_id: bytes, total: int, list_hash: bytes, list: bytes) -> Call[None]:
        """`collect(bytes32,uint256,bytes32,bytes)`."""
        return Call(
            self.address,
            "collect(bytes32,uint256,bytes32,bytes)",
            encode(
                "a67e8e67",
                (
                    "bytes32",
                    "uint256",
                    "bytes32",
                    "bytes",
                ),
                (
                    batch_id,
                    total,
                    list_hash,
                    list,
                ),
            ),
            reader(()),
        )

    def decimals(self) -> Call[int]:
        """`decimals()` (reads)."""
        return Call(
            self.address,
            "decimals()",
            encode("313ce567", (), ()),
            reader(("uint8",)),
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

    def eip712_domain(self) -> Call[tuple[bytes, str, str, int, str, bytes, Sequence[int]]]:
        """`eip712Domain()` (reads): fields, name, version, chainId, verifyingContract, salt, extensions."""
        return Call(
            self.address,
            "eip712Domain()",
            encode("84b0196e", (), ()),
            reader(
                (
                    "bytes1",
                    "string",
                    "string",
                    "uint256",
                    "address",
                    "bytes32",
                    "uint256[]",
                )
            ),
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

    def mint(self, to: str, amount: int) -> Call[None]:
        """`mint(address,uint256)`."""
        return Call(
            self.address,
            "mint(address,uint256)",
            encode(
                "40c10f19",
                (
                    "address",
                    "uint256",
                ),
                (
                    to,
                    amount,
                ),
            ),
            reader(()),
        )

    def name(self) -> Call[str]:
        """`name()` (reads)."""
        return Call(
            self.address,
            "name()",
            encode("06fdde03", (), ()),
            reader(("string",)),
        )

    def nonces(self, owner: str) -> Call[int]:
        """`nonces(address)` (reads)."""
        return Call(
            self.address,
            "nonces(address)",
            encode("7ecebe00", ("address",), (owner,)),
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

    def pause(self) -> Call[None]:
        """`pause()`."""
        return Call(
            self.address,
            "pause()",
            encode("8456cb59", (), ()),
            reader(()),
        )

    def paused(self) -> Call[bool]:
        """`paused()` (reads)."""
        return Call(
            self.address,
            "paused()",
            encode("5c975abb", (), ()),
            reader(("bool",)),
        )

    def pay(self, batch_id: bytes, total: int, list_hash: bytes, list: bytes) -> Call[None]:
        """`pay(bytes32,uint256,bytes32,bytes)`."""
        return Call(
            self.address,
            "pay(bytes32,uint256,bytes32,bytes)",
            encode(
                "c9a417d7",
                (
                    "bytes32",
                    "uint256",
                    "bytes32",
                    "bytes",
                ),
                (
                    batch_id,
                    total,
                    list_hash,
                    list,
                ),
            ),
            reader(()),
        )

    def payouts_account(self) -> Call[str]:
        """`payoutsAccount()` (reads)."""
        return Call(
            self.address,
            "payoutsAccount()",
            encode("0a40dd2a", (), ()),
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

    def permit(self, owner: str, spender: str, value: int, deadline: int, v: int, r: bytes, s: bytes) -> Call[None]:
        """`permit(address,address,uint256,uint256,uint8,bytes32,bytes32)`."""
        return Call(
            self.address,
            "permit(address,address,uint256,uint256,uint8,bytes32,bytes32)",
            encode(
                "d505accf",
                (
                    "address",
                    "address",
                    "uint256",
                    "uint256",
                    "uint8",
                    "bytes32",
                    "bytes32",
                ),
                (
                    owner,
                    spender,
                    value,
                    deadline,
                    v,
                    r,
                    s,
                ),
            ),
            reader(()),
        )

    def release(self, reservation_id: bytes) -> Call[None]:
        """`release(bytes32)`."""
        return Call(
            self.address,
            "release(bytes32)",
            encode("67d42a8b", ("bytes32",), (reservation_id,)),
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

    def reservation(self, reservation_id: bytes) -> Call[tuple[str, int, int]]:
        """`reservation(bytes32)` (reads): owner, amount, expiresAt."""
        return Call(
            self.address,
            "reservation(bytes32)",
            encode("5e8cb02c", ("bytes32",), (reservation_id,)),
            reader(
                (
                    "address",
                    "uint256",
                    "uint64",
                )
            ),
        )

    def reserve(self, owner: str, amount: int, reservation_id: bytes, expires_at: int) -> Call[None]:
        """`reserve(address,uint256,bytes32,uint64)`."""
        return Call(
            self.address,
            "reserve(address,uint256,bytes32,uint64)",
            encode(
                "d9de2ec8",
                (
                    "address",
                    "uint256",
                    "bytes32",
                    "uint64",
                ),
                (
                    owner,
                    amount,
                    reservation_id,
                    expires_at,
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

    def seal_minters(self) -> Call[None]:
        """`sealMinters()`."""
        return Call(
            self.address,
            "sealMinters()",
            encode("cff5b6f3", (), ()),
            reader(()),
        )

    def settled_up_to(self, batch_id: bytes) -> Call[tuple[int, int]]:
        """`settledUpTo(bytes32)` (reads): collected, paid."""
        return Call(
            self.address,
            "settledUpTo(bytes32)",
            encode("1cd6964b", ("bytes32",), (batch_id,)),
            reader(
                (
                    "uint128",
                    "uint128",
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

    def symbol(self) -> Call[str]:
        """`symbol()` (reads)."""
        return Call(
            self.address,
            "symbol()",
            encode("95d89b41", (), ()),
            reader(("string",)),
        )

    def total_supply(self) -> Call[int]:
        """`totalSupply()` (reads)."""
        return Call(
            self.address,
            "totalSupply()",
            encode("18160ddd", (), ()),
            reader(("uint256",)),
        )

    def transfer(self, to: str, amount: int) -> Call[bool]:
        """`transfer(address,uint256)`."""
        return Call(
            self.address,
            "transfer(address,uint256)",
            encode(
                "a9059cbb",
                (
                    "address",
                    "uint256",
                ),
                (
                    to,
                    amount,
                ),
            ),
            reader(("bool",)),
        )

    def transfer_from(self, from_: str, to: str, amount: int) -> Call[bool]:
        """`transferFrom(address,address,uint256)`."""
        return Call(
            self.address,
            "transferFrom(address,address,uint256)",
            encode(
                "23b872dd",
                (
                    "address",
                    "address",
                    "uint256",
                ),
                (
                    from_,
                    to,
                    amount,
                ),
            ),
            reader(("bool",)),
        )

    def unpause(self) -> Call[None]:
        """`unpause()`."""
        return Call(
            self.address,
            "unpause()",
            encode("3f4ba83a", (), ()),
            reader(()),
        )

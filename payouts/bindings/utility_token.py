"""Bindings of UtilityToken. Generated from the ABI by payouts.bindings.generate: do not edit."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from payouts.bindings.abi import Call, Log, artifact, decode_event, encode, encode_arguments, reader
from payouts.bindings.erc20 import Erc20
from payouts.bindings.roles import Roles


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


class UtilityToken(Roles, Erc20):
    """The contract `UtilityToken` at an address."""

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

    def collector_role(self) -> Call[bytes]:
        """`COLLECTOR_ROLE()` (reads)."""
        return Call(
            self.address,
            "COLLECTOR_ROLE()",
            encode("9ca39ae9", (), ()),
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

    def nonces(self, owner: str) -> Call[int]:
        """`nonces(address)` (reads)."""
        return Call(
            self.address,
            "nonces(address)",
            encode("7ecebe00", ("address",), (owner,)),
            reader(("uint256",)),
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

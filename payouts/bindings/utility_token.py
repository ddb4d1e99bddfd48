"""Bindings of UtilityToken. Generated from the ABI by payouts.bindings.generate: do not edit."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from payouts.bindings.abi import Call, Log, artifact, decode_event, encode, encode_arguments, reader
from payouts.bindings.erc20 import Erc20
from payouts.bindings.roles import Roles


@dataclass(frozen=True, slots=True)
class AccountAnnounced:
    """Event `AccountAnnounced(address,address,address,uint256)`."""

    TOPIC: ClassVar[bytes] = bytes.fromhex("412e084163852ecb3429d8dd07c9aeee51e9393447d9693595f313e2f16070a6")
    TYPES: ClassVar[tuple[tuple[str, bool], ...]] = (
        ("address", True),
        ("address", True),
        ("address", False),
        ("uint256", False),
    )

    account: str
    collector: str
    predecessor: str
    effective_at: int

    @classmethod
    def decode(cls, log: Log) -> "AccountAnnounced | None":
        """None when the log is another event."""
        if not log.topics or log.topics[0] != cls.TOPIC:
            return None
        return cls(*decode_event(cls.TYPES, log))


@dataclass(frozen=True, slots=True)
class AccountCancelled:
    """Event `AccountCancelled(address,address)`."""

    TOPIC: ClassVar[bytes] = bytes.fromhex("0e5f53549ee99e98f8b6ba0f9516b29db81e49ddd55c2746619574fbe32541d2")
    TYPES: ClassVar[tuple[tuple[str, bool], ...]] = (
        ("address", True),
        ("address", False),
    )

    account: str
    by: str

    @classmethod
    def decode(cls, log: Log) -> "AccountCancelled | None":
        """None when the log is another event."""
        if not log.topics or log.topics[0] != cls.TOPIC:
            return None
        return cls(*decode_event(cls.TYPES, log))


@dataclass(frozen=True, slots=True)
class AccountOpened:
    """Event `AccountOpened(address,address)`."""

    TOPIC: ClassVar[bytes] = bytes.fromhex("4c85972a811b8f152b75ea02817b25ede88583f498d8da0de57b41bccda176de")
    TYPES: ClassVar[tuple[tuple[str, bool], ...]] = (
        ("address", True),
        ("address", False),
    )

    account: str
    predecessor: str

    @classmethod
    def decode(cls, log: Log) -> "AccountOpened | None":
        """None when the log is another event."""
        if not log.topics or log.topics[0] != cls.TOPIC:
            return None
        return cls(*decode_event(cls.TYPES, log))


@dataclass(frozen=True, slots=True)
class AuthorizationCanceled:
    """Event `AuthorizationCanceled(address,bytes32)`."""

    TOPIC: ClassVar[bytes] = bytes.fromhex("1cdd46ff242716cdaa72d159d339a485b3438398348d68f09d7c8c0a59353d81")
    TYPES: ClassVar[tuple[tuple[str, bool], ...]] = (
        ("address", True),
        ("bytes32", True),
    )

    authorizer: str
    nonce: bytes

    @classmethod
    def decode(cls, log: Log) -> "AuthorizationCanceled | None":
        """None when the log is another event."""
        if not log.topics or log.topics[0] != cls.TOPIC:
            return None
        return cls(*decode_event(cls.TYPES, log))


@dataclass(frozen=True, slots=True)
class AuthorizationUsed:
    """Event `AuthorizationUsed(address,bytes32)`."""

    TOPIC: ClassVar[bytes] = bytes.fromhex("98de503528ee59b575ef0c0a2576a82497bfc029a5685b209e9ec333479b10a5")
    TYPES: ClassVar[tuple[tuple[str, bool], ...]] = (
        ("address", True),
        ("bytes32", True),
    )

    authorizer: str
    nonce: bytes

    @classmethod
    def decode(cls, log: Log) -> "AuthorizationUsed | None":
        """None when the log is another event."""
        if not log.topics or log.topics[0] != cls.TOPIC:
            return None
        return cls(*decode_event(cls.TYPES, log))


@dataclass(frozen=True, slots=True)
class BatchCollected:
    """Event `BatchCollected(bytes32,address,bytes32,uint256,uint256)`."""

    TOPIC: ClassVar[bytes] = bytes.fromhex("9957ce1ebb2a2297e5f287f5eb48ac03d3cd7109f34374ba2743daa01b798799")
    TYPES: ClassVar[tuple[tuple[str, bool], ...]] = (
        ("bytes32", True),
        ("address", True),
        ("bytes32", False),
        ("uint256", False),
        ("uint256", False),
    )

    batch_id: bytes
    account: str
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
    """Event `BatchPaid(bytes32,address,bytes32,uint256,uint256)`."""

    TOPIC: ClassVar[bytes] = bytes.fromhex("c717ed9661ab6bedc719ac98a1d720c0fb07e39546d37fdd961f8358d8597762")
    TYPES: ClassVar[tuple[tuple[str, bool], ...]] = (
        ("bytes32", True),
        ("address", True),
        ("bytes32", False),
        ("uint256", False),
        ("uint256", False),
    )

    batch_id: bytes
    account: str
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
class BurnAnnounced:
    """Event `BurnAnnounced(address,uint256,string,uint256)`."""

    TOPIC: ClassVar[bytes] = bytes.fromhex("16730c0c5aef871bf63d02a08ba75b8ca6057a9805c145b2e5257ef1a2f5be1f")
    TYPES: ClassVar[tuple[tuple[str, bool], ...]] = (
        ("address", True),
        ("uint256", False),
        ("string", False),
        ("uint256", False),
    )

    treasury: str
    amount: int
    reason: str
    executable_at: int

    @classmethod
    def decode(cls, log: Log) -> "BurnAnnounced | None":
        """None when the log is another event."""
        if not log.topics or log.topics[0] != cls.TOPIC:
            return None
        return cls(*decode_event(cls.TYPES, log))


@dataclass(frozen=True, slots=True)
class Burned:
    """Event `Burned(address,uint256)`."""

    TOPIC: ClassVar[bytes] = bytes.fromhex("696de425f79f4a40bc6d2122ca50507f0efbeabbff86a84871b7196ab8ea8df7")
    TYPES: ClassVar[tuple[tuple[str, bool], ...]] = (
        ("address", True),
        ("uint256", False),
    )

    account: str
    amount: int

    @classmethod
    def decode(cls, log: Log) -> "Burned | None":
        """None when the log is another event."""
        if not log.topics or log.topics[0] != cls.TOPIC:
            return None
        return cls(*decode_event(cls.TYPES, log))


@dataclass(frozen=True, slots=True)
class Collected:
    """Event `Collected(bytes32,address,uint256,uint256,uint256)`."""

    TOPIC: ClassVar[bytes] = bytes.fromhex("2af590501c1ab89716be4da18a0fdd8235b2bbb333bf43ed50dc21c2fe0972d6")
    TYPES: ClassVar[tuple[tuple[str, bool], ...]] = (
        ("bytes32", True),
        ("address", True),
        ("uint256", False),
        ("uint256", False),
        ("uint256", False),
    )

    reservation_id: bytes
    owner: str
    amount: int
    returned: int
    top_up_returned: int

    @classmethod
    def decode(cls, log: Log) -> "Collected | None":
        """None when the log is another event."""
        if not log.topics or log.topics[0] != cls.TOPIC:
            return None
        return cls(*decode_event(cls.TYPES, log))


@dataclass(frozen=True, slots=True)
class CollectorChanged:
    """Event `CollectorChanged(address,address)`."""

    TOPIC: ClassVar[bytes] = bytes.fromhex("1f032125113845f9706c98ef37be7ab0a61fbaef59a6736f7e853e0d21839b16")
    TYPES: ClassVar[tuple[tuple[str, bool], ...]] = (
        ("address", True),
        ("address", True),
    )

    account: str
    collector: str

    @classmethod
    def decode(cls, log: Log) -> "CollectorChanged | None":
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
class NodeBound:
    """Event `NodeBound(bytes32,address)`."""

    TOPIC: ClassVar[bytes] = bytes.fromhex("5f67940b89c17f2b9951ed5909e2fa15ff7d9853f3c1fe7ddaabf24d0502eb0d")
    TYPES: ClassVar[tuple[tuple[str, bool], ...]] = (
        ("bytes32", True),
        ("address", True),
    )

    node: bytes
    account: str

    @classmethod
    def decode(cls, log: Log) -> "NodeBound | None":
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
    """Event `Released(bytes32,address,uint256,uint256)`."""

    TOPIC: ClassVar[bytes] = bytes.fromhex("baa21fb6000fbb6d014fac9cd1b0726799e6f352a967157a59f4b2da8ef32211")
    TYPES: ClassVar[tuple[tuple[str, bool], ...]] = (
        ("bytes32", True),
        ("address", True),
        ("uint256", False),
        ("uint256", False),
    )

    reservation_id: bytes
    owner: str
    amount: int
    top_up: int

    @classmethod
    def decode(cls, log: Log) -> "Released | None":
        """None when the log is another event."""
        if not log.topics or log.topics[0] != cls.TOPIC:
            return None
        return cls(*decode_event(cls.TYPES, log))


@dataclass(frozen=True, slots=True)
class Reserved:
    """Event `Reserved(bytes32,address,address,bytes32,uint8,uint256,bytes10,uint64)`."""

    TOPIC: ClassVar[bytes] = bytes.fromhex("191d1d015a3993b4fa7fa94a732fba170e2fda581c032a0a4ca4856ef50a00b6")
    TYPES: ClassVar[tuple[tuple[str, bool], ...]] = (
        ("bytes32", True),
        ("address", True),
        ("address", True),
        ("bytes32", False),
        ("uint8", False),
        ("uint256", False),
        ("bytes10", False),
        ("uint64", False),
    )

    reservation_id: bytes
    owner: str
    account: str
    entity: bytes
    role: int
    amount: int
    tag: bytes
    expires_at: int

    @classmethod
    def decode(cls, log: Log) -> "Reserved | None":
        """None when the log is another event."""
        if not log.topics or log.topics[0] != cls.TOPIC:
            return None
        return cls(*decode_event(cls.TYPES, log))


@dataclass(frozen=True, slots=True)
class Returned:
    """Event `Returned(bytes32,bytes32,uint8,address,uint256)`."""

    TOPIC: ClassVar[bytes] = bytes.fromhex("9829757499021ed1fd2147bf7a7131bce6801009b19397d3d36a0c6bba3e6424")
    TYPES: ClassVar[tuple[tuple[str, bool], ...]] = (
        ("bytes32", True),
        ("bytes32", True),
        ("uint8", False),
        ("address", False),
        ("uint256", False),
    )

    batch_id: bytes
    entity: bytes
    role: int
    owner: str
    amount: int

    @classmethod
    def decode(cls, log: Log) -> "Returned | None":
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
class SettlementAbandoned:
    """Event `SettlementAbandoned(bytes32,address,uint256,uint256)`."""

    TOPIC: ClassVar[bytes] = bytes.fromhex("99a25b585cecd0ac90453dd16e1148a5c7cad0e8efead6e45c2ea18baef6f2d8")
    TYPES: ClassVar[tuple[tuple[str, bool], ...]] = (
        ("bytes32", True),
        ("address", True),
        ("uint256", False),
        ("uint256", False),
    )

    batch_id: bytes
    account: str
    uncollected: int
    unpaid: int

    @classmethod
    def decode(cls, log: Log) -> "SettlementAbandoned | None":
        """None when the log is another event."""
        if not log.topics or log.topics[0] != cls.TOPIC:
            return None
        return cls(*decode_event(cls.TYPES, log))


@dataclass(frozen=True, slots=True)
class SettlementBegun:
    """Event `SettlementBegun(bytes32,address,bytes32,uint64,uint64,uint256,uint256,bytes32)`."""

    TOPIC: ClassVar[bytes] = bytes.fromhex("16d64b2bf49892354d57baa497a2b0e9c6f55cbf8af4b3d46fec20471982ccd5")
    TYPES: ClassVar[tuple[tuple[str, bool], ...]] = (
        ("bytes32", True),
        ("address", True),
        ("bytes32", False),
        ("uint64", False),
        ("uint64", False),
        ("uint256", False),
        ("uint256", False),
        ("bytes32", False),
    )

    batch_id: bytes
    account: str
    previous: bytes
    first_row: int
    last_row: int
    collections: int
    payouts: int
    payouts_root: bytes

    @classmethod
    def decode(cls, log: Log) -> "SettlementBegun | None":
        """None when the log is another event."""
        if not log.topics or log.topics[0] != cls.TOPIC:
            return None
        return cls(*decode_event(cls.TYPES, log))


@dataclass(frozen=True, slots=True)
class ToppedUp:
    """Event `ToppedUp(bytes32,address,uint256)`."""

    TOPIC: ClassVar[bytes] = bytes.fromhex("831e8bacc44ea8b4be95d1b2ad207b7bbe602348c66b089cace4646af6619e86")
    TYPES: ClassVar[tuple[tuple[str, bool], ...]] = (
        ("bytes32", True),
        ("address", True),
        ("uint256", False),
    )

    reservation_id: bytes
    treasury: str
    amount: int

    @classmethod
    def decode(cls, log: Log) -> "ToppedUp | None":
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

    def burn_notice(self) -> Call[int]:
        """`BURN_NOTICE()` (reads)."""
        return Call(
            self.address,
            "BURN_NOTICE()",
            encode("83503587", (), ()),
            reader(("uint256",)),
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

    def max_reason_bytes(self) -> Call[int]:
        """`MAX_REASON_BYTES()` (reads)."""
        return Call(
            self.address,
            "MAX_REASON_BYTES()",
            encode("3cefc404", (), ()),
            reader(("uint256",)),
        )

    def max_rows(self) -> Call[int]:
        """`MAX_ROWS()` (reads)."""
        return Call(
            self.address,
            "MAX_ROWS()",
            encode("e67953ea", (), ()),
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

    def treasury_role(self) -> Call[bytes]:
        """`TREASURY_ROLE()` (reads)."""
        return Call(
            self.address,
            "TREASURY_ROLE()",
            encode("d11a57ec", (), ()),
            reader(("bytes32",)),
        )

    def abandon(self, account: str, batch_id: bytes) -> Call[None]:
        """`abandon(address,bytes32)`."""
        return Call(
            self.address,
            "abandon(address,bytes32)",
            encode(
                "5a3ba76e",
                (
                    "address",
                    "bytes32",
                ),
                (
                    account,
                    batch_id,
                ),
            ),
            reader(()),
        )

    def accept_account(self) -> Call[None]:
        """`acceptAccount()`."""
        return Call(
            self.address,
            "acceptAccount()",
            encode("c7d11c57", (), ()),
            reader(()),
        )

    def account_of(self, node: bytes) -> Call[str]:
        """`accountOf(bytes32)` (reads): account."""
        return Call(
            self.address,
            "accountOf(bytes32)",
            encode("0b61a887", ("bytes32",), (node,)),
            reader(("address",)),
        )

    def announce_account(self, account: str, collector: str, predecessor: str, node: bytes) -> Call[None]:
        """`announceAccount(address,address,address,bytes32)`."""
        return Call(
            self.address,
            "announceAccount(address,address,address,bytes32)",
            encode(
                "fd1c0193",
                (
                    "address",
                    "address",
                    "address",
                    "bytes32",
                ),
                (
                    account,
                    collector,
                    predecessor,
                    node,
                ),
            ),
            reader(()),
        )

    def announce_burn(self, amount: int, reason: str) -> Call[None]:
        """`announceBurn(uint256,string)`."""
        return Call(
            self.address,
            "announceBurn(uint256,string)",
            encode(
                "9445c5a3",
                (
                    "uint256",
                    "string",
                ),
                (
                    amount,
                    reason,
                ),
            ),
            reader(()),
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

    def authorization_state(self, authorizer: str, nonce: bytes) -> Call[bool]:
        """`authorizationState(address,bytes32)` (reads)."""
        return Call(
            self.address,
            "authorizationState(address,bytes32)",
            encode(
                "e94a0102",
                (
                    "address",
                    "bytes32",
                ),
                (
                    authorizer,
                    nonce,
                ),
            ),
            reader(("bool",)),
        )

    def begin(
        self,
        account: str,
        batch_id: bytes,
        previous: bytes,
        first_row: int,
        last_row: int,
        collections: int,
        payouts: int,
        payouts_root: bytes,
    ) -> Call[None]:
        """`begin(address,bytes32,bytes32,uint64,uint64,uint256,uint256,bytes32)`."""
        return Call(
            self.address,
            "begin(address,bytes32,bytes32,uint64,uint64,uint256,uint256,bytes32)",
            encode(
                "482ef60b",
                (
                    "address",
                    "bytes32",
                    "bytes32",
                    "uint64",
                    "uint64",
                    "uint256",
                    "uint256",
                    "bytes32",
                ),
                (
                    account,
                    batch_id,
                    previous,
                    first_row,
                    last_row,
                    collections,
                    payouts,
                    payouts_root,
                ),
            ),
            reader(()),
        )

    def burn(self, amount: int) -> Call[None]:
        """`burn(uint256)`."""
        return Call(
            self.address,
            "burn(uint256)",
            encode("42966c68", ("uint256",), (amount,)),
            reader(()),
        )

    def burn_announced(self) -> Call[None]:
        """`burnAnnounced()`."""
        return Call(
            self.address,
            "burnAnnounced()",
            encode("6331be48", (), ()),
            reader(()),
        )

    def cancel_account(self, account: str) -> Call[None]:
        """`cancelAccount(address)`."""
        return Call(
            self.address,
            "cancelAccount(address)",
            encode("cdbb962f", ("address",), (account,)),
            reader(()),
        )

    def cancel_authorization(self, authorizer: str, nonce: bytes, v: int, r: bytes, s: bytes) -> Call[None]:
        """`cancelAuthorization(address,bytes32,uint8,bytes32,bytes32)`."""
        return Call(
            self.address,
            "cancelAuthorization(address,bytes32,uint8,bytes32,bytes32)",
            encode(
                "5a049a70",
                (
                    "address",
                    "bytes32",
                    "uint8",
                    "bytes32",
                    "bytes32",
                ),
                (
                    authorizer,
                    nonce,
                    v,
                    r,
                    s,
                ),
            ),
            reader(()),
        )

    def collect(self, account: str, batch_id: bytes, list: bytes) -> Call[None]:
        """`collect(address,bytes32,bytes)`."""
        return Call(
            self.address,
            "collect(address,bytes32,bytes)",
            encode(
                "7a1934e1",
                (
                    "address",
                    "bytes32",
                    "bytes",
                ),
                (
                    account,
                    batch_id,
                    list,
                ),
            ),
            reader(()),
        )

    def dismiss_collector(self, account: str) -> Call[None]:
        """`dismissCollector(address)`."""
        return Call(
            self.address,
            "dismissCollector(address)",
            encode("f9cca42f", ("address",), (account,)),
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

    def node_of(self, account: str) -> Call[bytes]:
        """`nodeOf(address)` (reads)."""
        return Call(
            self.address,
            "nodeOf(address)",
            encode("682a9141", ("address",), (account,)),
            reader(("bytes32",)),
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

    def pay(self, batch_id: bytes, list: bytes, proof: Sequence[bytes]) -> Call[None]:
        """`pay(bytes32,bytes,bytes32[])`."""
        return Call(
            self.address,
            "pay(bytes32,bytes,bytes32[])",
            encode(
                "1f14c65d",
                (
                    "bytes32",
                    "bytes",
                    "bytes32[]",
                ),
                (
                    batch_id,
                    list,
                    proof,
                ),
            ),
            reader(()),
        )

    def payouts_account(self, account: str) -> Call[tuple[str, int, bool]]:
        """`payoutsAccount(address)` (reads): collector, effectiveAt, isOpen."""
        return Call(
            self.address,
            "payoutsAccount(address)",
            encode("900ccd4e", ("address",), (account,)),
            reader(
                (
                    "address",
                    "uint256",
                    "bool",
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

    def receive_with_authorization(
        self,
        from_: str,
        to: str,
        value: int,
        valid_after: int,
        valid_before: int,
        nonce: bytes,
        v: int,
        r: bytes,
        s: bytes,
    ) -> Call[None]:
        """`receiveWithAuthorization(address,address,uint256,uint256,uint256,bytes32,uint8,bytes32,bytes32)`."""
        return Call(
            self.address,
            "receiveWithAuthorization(address,address,uint256,uint256,uint256,bytes32,uint8,bytes32,bytes32)",
            encode(
                "ef55bec6",
                (
                    "address",
                    "address",
                    "uint256",
                    "uint256",
                    "uint256",
                    "bytes32",
                    "uint8",
                    "bytes32",
                    "bytes32",
                ),
                (
                    from_,
                    to,
                    value,
                    valid_after,
                    valid_before,
                    nonce,
                    v,
                    r,
                    s,
                ),
            ),
            reader(()),
        )

    def release(self, account: str, owner: str, entity: bytes, role: int) -> Call[None]:
        """`release(address,address,bytes32,uint8)`."""
        return Call(
            self.address,
            "release(address,address,bytes32,uint8)",
            encode(
                "6d490682",
                (
                    "address",
                    "address",
                    "bytes32",
                    "uint8",
                ),
                (
                    account,
                    owner,
                    entity,
                    role,
                ),
            ),
            reader(()),
        )

    def reservation(self, account: str, owner: str, entity: bytes, role: int) -> Call[tuple[int, int, int, int, bytes]]:
        """`reservation(address,address,bytes32,uint8)` (reads): state, own, toppedUp, expiresAt, tag."""
        return Call(
            self.address,
            "reservation(address,address,bytes32,uint8)",
            encode(
                "0b1d882b",
                (
                    "address",
                    "address",
                    "bytes32",
                    "uint8",
                ),
                (
                    account,
                    owner,
                    entity,
                    role,
                ),
            ),
            reader(
                (
                    "uint8",
                    "uint256",
                    "uint256",
                    "uint64",
                    "bytes10",
                )
            ),
        )

    def reservation_id(self, account: str, owner: str, entity: bytes, role: int) -> Call[bytes]:
        """`reservationId(address,address,bytes32,uint8)` (reads)."""
        return Call(
            self.address,
            "reservationId(address,address,bytes32,uint8)",
            encode(
                "a9526f6d",
                (
                    "address",
                    "address",
                    "bytes32",
                    "uint8",
                ),
                (
                    account,
                    owner,
                    entity,
                    role,
                ),
            ),
            reader(("bytes32",)),
        )

    def reserve(
        self, account: str, owner: str, entity: bytes, role: int, amount: int, batch_id: bytes, expires_at: int
    ) -> Call[None]:
        """`reserve(address,address,bytes32,uint8,uint256,bytes32,uint64)`."""
        return Call(
            self.address,
            "reserve(address,address,bytes32,uint8,uint256,bytes32,uint64)",
            encode(
                "86636f09",
                (
                    "address",
                    "address",
                    "bytes32",
                    "uint8",
                    "uint256",
                    "bytes32",
                    "uint64",
                ),
                (
                    account,
                    owner,
                    entity,
                    role,
                    amount,
                    batch_id,
                    expires_at,
                ),
            ),
            reader(()),
        )

    def return_to_payer(self, owner: str, entity: bytes, role: int) -> Call[None]:
        """`returnToPayer(address,bytes32,uint8)`."""
        return Call(
            self.address,
            "returnToPayer(address,bytes32,uint8)",
            encode(
                "6772349e",
                (
                    "address",
                    "bytes32",
                    "uint8",
                ),
                (
                    owner,
                    entity,
                    role,
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

    def settled_up_to(self, account: str) -> Call[tuple[int, int]]:
        """`settledUpTo(address)` (reads): collected, paid."""
        return Call(
            self.address,
            "settledUpTo(address)",
            encode("d34e11e7", ("address",), (account,)),
            reader(
                (
                    "uint128",
                    "uint128",
                )
            ),
        )

    def settlement_of(self, account: str) -> Call[tuple[bytes, bytes, int, int, int]]:
        """`settlementOf(address)` (reads): batchId, payoutsRoot, lastRow, uncollected, unpaid."""
        return Call(
            self.address,
            "settlementOf(address)",
            encode("13938cbd", ("address",), (account,)),
            reader(
                (
                    "bytes32",
                    "bytes32",
                    "uint64",
                    "uint256",
                    "uint256",
                )
            ),
        )

    def top_up(self, account: str, owner: str, entity: bytes, role: int, amount: int, batch_id: bytes) -> Call[None]:
        """`topUp(address,address,bytes32,uint8,uint256,bytes32)`."""
        return Call(
            self.address,
            "topUp(address,address,bytes32,uint8,uint256,bytes32)",
            encode(
                "a8072a3d",
                (
                    "address",
                    "address",
                    "bytes32",
                    "uint8",
                    "uint256",
                    "bytes32",
                ),
                (
                    account,
                    owner,
                    entity,
                    role,
                    amount,
                    batch_id,
                ),
            ),
            reader(()),
        )

    def total_minted(self) -> Call[int]:
        """`totalMinted()` (reads)."""
        return Call(
            self.address,
            "totalMinted()",
            encode("a2309ff8", (), ()),
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

    def transfer_with_authorization(
        self,
        from_: str,
        to: str,
        value: int,
        valid_after: int,
        valid_before: int,
        nonce: bytes,
        v: int,
        r: bytes,
        s: bytes,
    ) -> Call[None]:
        """`transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,uint8,bytes32,bytes32)`."""
        return Call(
            self.address,
            "transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,uint8,bytes32,bytes32)",
            encode(
                "e3ee160e",
                (
                    "address",
                    "address",
                    "uint256",
                    "uint256",
                    "uint256",
                    "bytes32",
                    "uint8",
                    "bytes32",
                    "bytes32",
                ),
                (
                    from_,
                    to,
                    value,
                    valid_after,
                    valid_before,
                    nonce,
                    v,
                    r,
                    s,
                ),
            ),
            reader(()),
        )

    def unpause(self) -> Call[None]:
        """`unpause()`."""
        return Call(
            self.address,
            "unpause()",
            encode("3f4ba83a", (), ()),
            reader(()),
        )

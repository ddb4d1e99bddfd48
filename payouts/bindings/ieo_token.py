"""Bindings of IeoToken. Generated from the ABI by payouts.bindings.generate: do not edit."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from payouts.bindings.abi import Call, Log, artifact, decode_event, encode, encode_arguments, reader
from payouts.bindings.erc20 import Erc20
from payouts.bindings.roles import Roles


@dataclass(frozen=True, slots=True)
class CapLowered:
    """Event `CapLowered(uint8,uint256,uint256)`."""

    TOPIC: ClassVar[bytes] = bytes.fromhex("cc4fe14ec68d69a4a8f75af6bd6de88a580f72f654d69213d98490ead27112a4")
    TYPES: ClassVar[tuple[tuple[str, bool], ...]] = (
        ("uint8", True),
        ("uint256", False),
        ("uint256", False),
    )

    pool: int
    amount: int
    cap: int

    @classmethod
    def decode(cls, log: Log) -> "CapLowered | None":
        """None when the log is another event."""
        if not log.topics or log.topics[0] != cls.TOPIC:
            return None
        return cls(*decode_event(cls.TYPES, log))


@dataclass(frozen=True, slots=True)
class Closed:
    """Event `Closed(uint256)`."""

    TOPIC: ClassVar[bytes] = bytes.fromhex("6cc09e7b5c3e49861ebe8f6867e1618fbfc14c8d0e968fde37c4243ca02a6f83")
    TYPES: ClassVar[tuple[tuple[str, bool], ...]] = (("uint256", False),)

    cap: int

    @classmethod
    def decode(cls, log: Log) -> "Closed | None":
        """None when the log is another event."""
        if not log.topics or log.topics[0] != cls.TOPIC:
            return None
        return cls(*decode_event(cls.TYPES, log))


@dataclass(frozen=True, slots=True)
class ExtraBonusGranted:
    """Event `ExtraBonusGranted(address,uint256)`."""

    TOPIC: ClassVar[bytes] = bytes.fromhex("ff8055a811615a74483dc16717343d9291b637bf311bc95d6823b3c58ad32333")
    TYPES: ClassVar[tuple[tuple[str, bool], ...]] = (
        ("address", True),
        ("uint256", False),
    )

    wallet: str
    amount: int

    @classmethod
    def decode(cls, log: Log) -> "ExtraBonusGranted | None":
        """None when the log is another event."""
        if not log.topics or log.topics[0] != cls.TOPIC:
            return None
        return cls(*decode_event(cls.TYPES, log))


@dataclass(frozen=True, slots=True)
class MainSaleOpened:
    """Event `MainSaleOpened(uint256,uint256,uint256)`."""

    TOPIC: ClassVar[bytes] = bytes.fromhex("acebe202b84bc306a0b7e1e6a786ef899f15e99f759eb41a4c314337e6c312f0")
    TYPES: ClassVar[tuple[tuple[str, bool], ...]] = (
        ("uint256", False),
        ("uint256", False),
        ("uint256", False),
    )

    presale_tokens: int
    main_sale_tokens: int
    main_sale_periods: int

    @classmethod
    def decode(cls, log: Log) -> "MainSaleOpened | None":
        """None when the log is another event."""
        if not log.topics or log.topics[0] != cls.TOPIC:
            return None
        return cls(*decode_event(cls.TYPES, log))


@dataclass(frozen=True, slots=True)
class PresaleGranted:
    """Event `PresaleGranted(address,uint256,uint256,uint256,uint256)`."""

    TOPIC: ClassVar[bytes] = bytes.fromhex("ace5db2e684c515d324a0fd7eb65d77a3b1a4f18ecca29d3121eaf89add6e856")
    TYPES: ClassVar[tuple[tuple[str, bool], ...]] = (
        ("address", True),
        ("uint256", True),
        ("uint256", False),
        ("uint256", False),
        ("uint256", False),
    )

    wallet: str
    tranche: int
    purchased: int
    bonus: int
    purchase_day: int

    @classmethod
    def decode(cls, log: Log) -> "PresaleGranted | None":
        """None when the log is another event."""
        if not log.topics or log.topics[0] != cls.TOPIC:
            return None
        return cls(*decode_event(cls.TYPES, log))


@dataclass(frozen=True, slots=True)
class Redeemed:
    """Event `Redeemed(address,uint256)`."""

    TOPIC: ClassVar[bytes] = bytes.fromhex("4896181ff8f4543cc00db9fe9b6fb7e6f032b7eb772c72ab1ec1b4d2e03b9369")
    TYPES: ClassVar[tuple[tuple[str, bool], ...]] = (
        ("address", True),
        ("uint256", False),
    )

    wallet: str
    amount: int

    @classmethod
    def decode(cls, log: Log) -> "Redeemed | None":
        """None when the log is another event."""
        if not log.topics or log.topics[0] != cls.TOPIC:
            return None
        return cls(*decode_event(cls.TYPES, log))


@dataclass(frozen=True, slots=True)
class TrancheAnnounced:
    """Event `TrancheAnnounced(uint256,uint256,uint256,uint256,uint256[],uint256[],uint256)`."""

    TOPIC: ClassVar[bytes] = bytes.fromhex("c48710724564f2dc25bb9904cdc3c78f5c005c973f1c88bed8312e62d6b708eb")
    TYPES: ClassVar[tuple[tuple[str, bool], ...]] = (
        ("uint256", True),
        ("uint256", False),
        ("uint256", False),
        ("uint256", False),
        ("uint256[]", False),
        ("uint256[]", False),
        ("uint256", False),
    )

    tranche: int
    price: int
    supply: int
    bonus: int
    leasts: Sequence[int]
    bonuses: Sequence[int]
    opens_at: int

    @classmethod
    def decode(cls, log: Log) -> "TrancheAnnounced | None":
        """None when the log is another event."""
        if not log.topics or log.topics[0] != cls.TOPIC:
            return None
        return cls(*decode_event(cls.TYPES, log))


@dataclass(frozen=True, slots=True)
class TrancheClosed:
    """Event `TrancheClosed(uint256,uint256,address)`."""

    TOPIC: ClassVar[bytes] = bytes.fromhex("c8fbca10857985fc3dd4b3c76fe5ad17a5a7d556c7519c4f6876b75168001455")
    TYPES: ClassVar[tuple[tuple[str, bool], ...]] = (
        ("uint256", True),
        ("uint256", False),
        ("address", False),
    )

    tranche: int
    sold: int
    by: str

    @classmethod
    def decode(cls, log: Log) -> "TrancheClosed | None":
        """None when the log is another event."""
        if not log.topics or log.topics[0] != cls.TOPIC:
            return None
        return cls(*decode_event(cls.TYPES, log))


@dataclass(frozen=True, slots=True)
class UnlockedAnnounced:
    """Event `UnlockedAnnounced(address,uint256,uint8,uint256)`."""

    TOPIC: ClassVar[bytes] = bytes.fromhex("f1c3a2f5394346c8e018100f58188019bdcf77a2830d7d35dc8580a881fac6be")
    TYPES: ClassVar[tuple[tuple[str, bool], ...]] = (
        ("address", True),
        ("uint256", False),
        ("uint8", False),
        ("uint256", False),
    )

    wallet: str
    amount: int
    pool: int
    effective_at: int

    @classmethod
    def decode(cls, log: Log) -> "UnlockedAnnounced | None":
        """None when the log is another event."""
        if not log.topics or log.topics[0] != cls.TOPIC:
            return None
        return cls(*decode_event(cls.TYPES, log))


@dataclass(frozen=True, slots=True)
class UnlockedCancelled:
    """Event `UnlockedCancelled(address,uint256,uint8,address)`."""

    TOPIC: ClassVar[bytes] = bytes.fromhex("9fb0da04f175362e6c9c6d4ba6b654262d2a0cb150035cef288c8609e99bcd4e")
    TYPES: ClassVar[tuple[tuple[str, bool], ...]] = (
        ("address", True),
        ("uint256", False),
        ("uint8", False),
        ("address", False),
    )

    wallet: str
    amount: int
    pool: int
    by: str

    @classmethod
    def decode(cls, log: Log) -> "UnlockedCancelled | None":
        """None when the log is another event."""
        if not log.topics or log.topics[0] != cls.TOPIC:
            return None
        return cls(*decode_event(cls.TYPES, log))


@dataclass(frozen=True, slots=True)
class UnlockedGranted:
    """Event `UnlockedGranted(address,uint256,uint8)`."""

    TOPIC: ClassVar[bytes] = bytes.fromhex("7b2b3c147121abeab1f5de6a6c8bebbc5e02a0a1042e597e0c1193db4047d464")
    TYPES: ClassVar[tuple[tuple[str, bool], ...]] = (
        ("address", True),
        ("uint256", False),
        ("uint8", False),
    )

    wallet: str
    amount: int
    pool: int

    @classmethod
    def decode(cls, log: Log) -> "UnlockedGranted | None":
        """None when the log is another event."""
        if not log.topics or log.topics[0] != cls.TOPIC:
            return None
        return cls(*decode_event(cls.TYPES, log))


@dataclass(frozen=True, slots=True)
class VestingGranted:
    """Event `VestingGranted(address,uint256,uint256,uint256,uint256)`."""

    TOPIC: ClassVar[bytes] = bytes.fromhex("448814aefe120d878d378d7f1a9eb958c78276fcb3bb14e8bfd0ae5b07eb36ad")
    TYPES: ClassVar[tuple[tuple[str, bool], ...]] = (
        ("address", True),
        ("uint256", False),
        ("uint256", False),
        ("uint256", False),
        ("uint256", False),
    )

    wallet: str
    amount: int
    start_day: int
    cliff_days: int
    duration_days: int

    @classmethod
    def decode(cls, log: Log) -> "VestingGranted | None":
        """None when the log is another event."""
        if not log.topics or log.topics[0] != cls.TOPIC:
            return None
        return cls(*decode_event(cls.TYPES, log))


class IeoToken(Roles, Erc20):
    """The contract `IeoToken` at an address."""

    @staticmethod
    def deploy_data(admin: str, admin_delay: int, utility_token_: str) -> bytes:
        """The data of the transaction that creates the contract."""
        code = bytes.fromhex(str(artifact("IeoToken")["bytecode"])[2:])
        return code + encode_arguments(
            (
                "address",
                "uint48",
                "address",
            ),
            (
                admin,
                admin_delay,
                utility_token_,
            ),
        )

    def extra_bonus_cap(self) -> Call[int]:
        """`EXTRA_BONUS_CAP()` (reads)."""
        return Call(
            self.address,
            "EXTRA_BONUS_CAP()",
            encode("d9ca276b", (), ()),
            reader(("uint256",)),
        )

    def granter_role(self) -> Call[bytes]:
        """`GRANTER_ROLE()` (reads)."""
        return Call(
            self.address,
            "GRANTER_ROLE()",
            encode("f94c0a11", (), ()),
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

    def main_sale_role(self) -> Call[bytes]:
        """`MAIN_SALE_ROLE()` (reads)."""
        return Call(
            self.address,
            "MAIN_SALE_ROLE()",
            encode("de5cc6a8", (), ()),
            reader(("bytes32",)),
        )

    def max_bonus(self) -> Call[int]:
        """`MAX_BONUS()` (reads)."""
        return Call(
            self.address,
            "MAX_BONUS()",
            encode("24f0808c", (), ()),
            reader(("uint256",)),
        )

    def max_past_days(self) -> Call[int]:
        """`MAX_PAST_DAYS()` (reads)."""
        return Call(
            self.address,
            "MAX_PAST_DAYS()",
            encode("d457f2f6", (), ()),
            reader(("uint256",)),
        )

    def max_steps(self) -> Call[int]:
        """`MAX_STEPS()` (reads)."""
        return Call(
            self.address,
            "MAX_STEPS()",
            encode("f367d5cc", (), ()),
            reader(("uint256",)),
        )

    def max_vesting_days(self) -> Call[int]:
        """`MAX_VESTING_DAYS()` (reads)."""
        return Call(
            self.address,
            "MAX_VESTING_DAYS()",
            encode("2ed32e29", (), ()),
            reader(("uint256",)),
        )

    def min_vesting_days(self) -> Call[int]:
        """`MIN_VESTING_DAYS()` (reads)."""
        return Call(
            self.address,
            "MIN_VESTING_DAYS()",
            encode("685e4236", (), ()),
            reader(("uint256",)),
        )

    def presale_cap(self) -> Call[int]:
        """`PRESALE_CAP()` (reads)."""
        return Call(
            self.address,
            "PRESALE_CAP()",
            encode("bd94fafc", (), ()),
            reader(("uint256",)),
        )

    def unlock_days(self) -> Call[int]:
        """`UNLOCK_DAYS()` (reads)."""
        return Call(
            self.address,
            "UNLOCK_DAYS()",
            encode("f81a5a96", (), ()),
            reader(("uint256",)),
        )

    def announce_tranche(
        self, price: int, supply: int, bonus: int, leasts: Sequence[int], bonuses: Sequence[int]
    ) -> Call[int]:
        """`announceTranche(uint256,uint256,uint256,uint256[],uint256[])`: tranche."""
        return Call(
            self.address,
            "announceTranche(uint256,uint256,uint256,uint256[],uint256[])",
            encode(
                "fa9561ca",
                (
                    "uint256",
                    "uint256",
                    "uint256",
                    "uint256[]",
                    "uint256[]",
                ),
                (
                    price,
                    supply,
                    bonus,
                    leasts,
                    bonuses,
                ),
            ),
            reader(("uint256",)),
        )

    def announce_unlocked(self, wallet: str, amount: int, pool: int) -> Call[None]:
        """`announceUnlocked(address,uint256,uint8)`."""
        return Call(
            self.address,
            "announceUnlocked(address,uint256,uint8)",
            encode(
                "df08e226",
                (
                    "address",
                    "uint256",
                    "uint8",
                ),
                (
                    wallet,
                    amount,
                    pool,
                ),
            ),
            reader(()),
        )

    def approve(self, value0: str, value1: int) -> Call[bool]:
        """`approve(address,uint256)` (reads)."""
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
                    value0,
                    value1,
                ),
            ),
            reader(("bool",)),
        )

    def bonus_of(self, tranche: int, purchased: int) -> Call[int]:
        """`bonusOf(uint256,uint256)` (reads)."""
        return Call(
            self.address,
            "bonusOf(uint256,uint256)",
            encode(
                "1ba148ea",
                (
                    "uint256",
                    "uint256",
                ),
                (
                    tranche,
                    purchased,
                ),
            ),
            reader(("uint256",)),
        )

    def cancel_unlocked(self, wallet: str, amount: int, pool: int) -> Call[None]:
        """`cancelUnlocked(address,uint256,uint8)`."""
        return Call(
            self.address,
            "cancelUnlocked(address,uint256,uint8)",
            encode(
                "38e15919",
                (
                    "address",
                    "uint256",
                    "uint8",
                ),
                (
                    wallet,
                    amount,
                    pool,
                ),
            ),
            reader(()),
        )

    def cap(self) -> Call[int]:
        """`cap()` (reads)."""
        return Call(
            self.address,
            "cap()",
            encode("355274ea", (), ()),
            reader(("uint256",)),
        )

    def close(self) -> Call[None]:
        """`close()`."""
        return Call(
            self.address,
            "close()",
            encode("43d726d6", (), ()),
            reader(()),
        )

    def close_tranche(self, tranche: int) -> Call[None]:
        """`closeTranche(uint256)`."""
        return Call(
            self.address,
            "closeTranche(uint256)",
            encode("8e20cbe5", ("uint256",), (tranche,)),
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

    def end_main_sale(self, unsold: int) -> Call[None]:
        """`endMainSale(uint256)`."""
        return Call(
            self.address,
            "endMainSale(uint256)",
            encode("4d685139", ("uint256",), (unsold,)),
            reader(()),
        )

    def extra_bonus_granted(self) -> Call[int]:
        """`extraBonusGranted()` (reads)."""
        return Call(
            self.address,
            "extraBonusGranted()",
            encode("baf9c475", (), ()),
            reader(("uint256",)),
        )

    def grant_extra_bonus(self, wallet: str, amount: int) -> Call[None]:
        """`grantExtraBonus(address,uint256)`."""
        return Call(
            self.address,
            "grantExtraBonus(address,uint256)",
            encode(
                "0586fb59",
                (
                    "address",
                    "uint256",
                ),
                (
                    wallet,
                    amount,
                ),
            ),
            reader(()),
        )

    def grant_main_sale(self, wallet: str, amount: int) -> Call[None]:
        """`grantMainSale(address,uint256)`."""
        return Call(
            self.address,
            "grantMainSale(address,uint256)",
            encode(
                "55883ff5",
                (
                    "address",
                    "uint256",
                ),
                (
                    wallet,
                    amount,
                ),
            ),
            reader(()),
        )

    def grant_presale(self, wallet: str, tranche: int, purchased: int, purchase_day: int) -> Call[None]:
        """`grantPresale(address,uint256,uint256,uint256)`."""
        return Call(
            self.address,
            "grantPresale(address,uint256,uint256,uint256)",
            encode(
                "b0ce17f3",
                (
                    "address",
                    "uint256",
                    "uint256",
                    "uint256",
                ),
                (
                    wallet,
                    tranche,
                    purchased,
                    purchase_day,
                ),
            ),
            reader(()),
        )

    def grant_unlocked(self, wallet: str, amount: int, pool: int) -> Call[None]:
        """`grantUnlocked(address,uint256,uint8)`."""
        return Call(
            self.address,
            "grantUnlocked(address,uint256,uint8)",
            encode(
                "8e05d313",
                (
                    "address",
                    "uint256",
                    "uint8",
                ),
                (
                    wallet,
                    amount,
                    pool,
                ),
            ),
            reader(()),
        )

    def grant_vesting(
        self, wallet: str, amount: int, start_day: int, cliff_days: int, duration_days: int
    ) -> Call[None]:
        """`grantVesting(address,uint256,uint256,uint256,uint256)`."""
        return Call(
            self.address,
            "grantVesting(address,uint256,uint256,uint256,uint256)",
            encode(
                "c3605d7b",
                (
                    "address",
                    "uint256",
                    "uint256",
                    "uint256",
                    "uint256",
                ),
                (
                    wallet,
                    amount,
                    start_day,
                    cliff_days,
                    duration_days,
                ),
            ),
            reader(()),
        )

    def granted_of(self, wallet: str) -> Call[int]:
        """`grantedOf(address)` (reads)."""
        return Call(
            self.address,
            "grantedOf(address)",
            encode("66dc3225", ("address",), (wallet,)),
            reader(("uint256",)),
        )

    def locked_of(self, wallet: str) -> Call[int]:
        """`lockedOf(address)` (reads)."""
        return Call(
            self.address,
            "lockedOf(address)",
            encode("a5f1e282", ("address",), (wallet,)),
            reader(("uint256",)),
        )

    def main_sale_ended(self) -> Call[bool]:
        """`mainSaleEnded()` (reads)."""
        return Call(
            self.address,
            "mainSaleEnded()",
            encode("9f579731", (), ()),
            reader(("bool",)),
        )

    def main_sale_opened(self) -> Call[bool]:
        """`mainSaleOpened()` (reads)."""
        return Call(
            self.address,
            "mainSaleOpened()",
            encode("984109e1", (), ()),
            reader(("bool",)),
        )

    def main_sale_periods(self) -> Call[int]:
        """`mainSalePeriods()` (reads)."""
        return Call(
            self.address,
            "mainSalePeriods()",
            encode("b98b9f6b", (), ()),
            reader(("uint256",)),
        )

    def main_sale_tokens(self) -> Call[int]:
        """`mainSaleTokens()` (reads)."""
        return Call(
            self.address,
            "mainSaleTokens()",
            encode("80e1d870", (), ()),
            reader(("uint256",)),
        )

    def open_main_sale(self) -> Call[int]:
        """`openMainSale()`: amount."""
        return Call(
            self.address,
            "openMainSale()",
            encode("24536471", (), ()),
            reader(("uint256",)),
        )

    def pool_left(self, pool: int) -> Call[int]:
        """`poolLeft(uint8)` (reads)."""
        return Call(
            self.address,
            "poolLeft(uint8)",
            encode("b6a2fccd", ("uint8",), (pool,)),
            reader(("uint256",)),
        )

    def pool_size(self, pool: int) -> Call[int]:
        """`poolSize(uint8)` (reads)."""
        return Call(
            self.address,
            "poolSize(uint8)",
            encode("db383822", ("uint8",), (pool,)),
            reader(("uint256",)),
        )

    def presale_offered(self) -> Call[int]:
        """`presaleOffered()` (reads)."""
        return Call(
            self.address,
            "presaleOffered()",
            encode("be844cee", (), ()),
            reader(("uint256",)),
        )

    def presale_tokens(self) -> Call[int]:
        """`presaleTokens()` (reads)."""
        return Call(
            self.address,
            "presaleTokens()",
            encode("0a09815c", (), ()),
            reader(("uint256",)),
        )

    def redeem(self, amount: int) -> Call[None]:
        """`redeem(uint256)`."""
        return Call(
            self.address,
            "redeem(uint256)",
            encode("db006a75", ("uint256",), (amount,)),
            reader(()),
        )

    def redeemable_of(self, wallet: str) -> Call[int]:
        """`redeemableOf(address)` (reads)."""
        return Call(
            self.address,
            "redeemableOf(address)",
            encode("09c8715d", ("address",), (wallet,)),
            reader(("uint256",)),
        )

    def redeemed_of(self, wallet: str) -> Call[int]:
        """`redeemedOf(address)` (reads)."""
        return Call(
            self.address,
            "redeemedOf(address)",
            encode("a662925e", ("address",), (wallet,)),
            reader(("uint256",)),
        )

    def schedule_of(self, wallet: str) -> Call[tuple[int, int, int, int, int]]:
        """`scheduleOf(address)` (reads): kind, amount, startDay, cliffDays, durationDays."""
        return Call(
            self.address,
            "scheduleOf(address)",
            encode("2af75b86", ("address",), (wallet,)),
            reader(
                (
                    "uint8",
                    "uint256",
                    "uint256",
                    "uint256",
                    "uint256",
                )
            ),
        )

    def today(self) -> Call[int]:
        """`today()` (reads)."""
        return Call(
            self.address,
            "today()",
            encode("b74e452b", (), ()),
            reader(("uint256",)),
        )

    def tranche_at(self, tranche: int) -> Call[tuple[int, int, int, int, int]]:
        """`trancheAt(uint256)` (reads): price, supply, sold, bonus, opensAt."""
        return Call(
            self.address,
            "trancheAt(uint256)",
            encode("a8d4859f", ("uint256",), (tranche,)),
            reader(
                (
                    "uint256",
                    "uint256",
                    "uint256",
                    "uint256",
                    "uint256",
                )
            ),
        )

    def transfer(self, value0: str, value1: int) -> Call[bool]:
        """`transfer(address,uint256)` (reads)."""
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
                    value0,
                    value1,
                ),
            ),
            reader(("bool",)),
        )

    def transfer_from(self, value0: str, value1: str, value2: int) -> Call[bool]:
        """`transferFrom(address,address,uint256)` (reads)."""
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
                    value0,
                    value1,
                    value2,
                ),
            ),
            reader(("bool",)),
        )

    def utility_token(self) -> Call[str]:
        """`utilityToken()` (reads)."""
        return Call(
            self.address,
            "utilityToken()",
            encode("ae86ed89", (), ()),
            reader(("address",)),
        )

"""Bindings of IeoToken. Generated from the ABI by payouts.bindings.generate: do not edit."""

from dataclasses import dataclass
from typing import ClassVar

from payouts.bindings.abi import Call, Log, artifact, decode_event, encode, encode_arguments, reader
from payouts.bindings.erc20 import Erc20
from payouts.bindings.roles import Roles


@dataclass(frozen=True, slots=True)
class BonusGranted:
    """Event `BonusGranted(address,uint256,bool)`."""

    TOPIC: ClassVar[bytes] = bytes.fromhex("47bcfeedc001c93bb431cbfb04751dcfc8e29d478f87cb4795588343d9f8a61e")
    TYPES: ClassVar[tuple[tuple[str, bool], ...]] = (
        ("address", True),
        ("uint256", False),
        ("bool", False),
    )

    wallet: str
    amount: int
    extra: bool

    @classmethod
    def decode(cls, log: Log) -> "BonusGranted | None":
        """None when the log is another event."""
        if not log.topics or log.topics[0] != cls.TOPIC:
            return None
        return cls(*decode_event(cls.TYPES, log))


@dataclass(frozen=True, slots=True)
class Closed:
    """Event `Closed()`."""

    TOPIC: ClassVar[bytes] = bytes.fromhex("1cdde67b72a90f19919ac732a437ac2f7a10fc128d28c2a6e525d89ce5cd9d3a")
    TYPES: ClassVar[tuple[tuple[str, bool], ...]] = ()

    @classmethod
    def decode(cls, log: Log) -> "Closed | None":
        """None when the log is another event."""
        if not log.topics or log.topics[0] != cls.TOPIC:
            return None
        return cls(*decode_event(cls.TYPES, log))


@dataclass(frozen=True, slots=True)
class MainSaleOpened:
    """Event `MainSaleOpened(uint256)`."""

    TOPIC: ClassVar[bytes] = bytes.fromhex("15fe992ec62f10777cf3c2c9b6a6065d4dd431011513fb31bf9d057c0cdb45a3")
    TYPES: ClassVar[tuple[tuple[str, bool], ...]] = (("uint256", False),)

    amount: int

    @classmethod
    def decode(cls, log: Log) -> "MainSaleOpened | None":
        """None when the log is another event."""
        if not log.topics or log.topics[0] != cls.TOPIC:
            return None
        return cls(*decode_event(cls.TYPES, log))


@dataclass(frozen=True, slots=True)
class PresaleGranted:
    """Event `PresaleGranted(address,uint256,uint256,uint256)`."""

    TOPIC: ClassVar[bytes] = bytes.fromhex("85e33b454a18feac23e481435bf6fdacb6b7104d0bcdd49405c90cff26e8b842")
    TYPES: ClassVar[tuple[tuple[str, bool], ...]] = (
        ("address", True),
        ("uint256", False),
        ("uint256", False),
        ("uint256", False),
    )

    wallet: str
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

    def main_sale_role(self) -> Call[bytes]:
        """`MAIN_SALE_ROLE()` (reads)."""
        return Call(
            self.address,
            "MAIN_SALE_ROLE()",
            encode("de5cc6a8", (), ()),
            reader(("bytes32",)),
        )

    def max_vesting_days(self) -> Call[int]:
        """`MAX_VESTING_DAYS()` (reads)."""
        return Call(
            self.address,
            "MAX_VESTING_DAYS()",
            encode("2ed32e29", (), ()),
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

    def extra_bonus_granted(self) -> Call[int]:
        """`extraBonusGranted()` (reads)."""
        return Call(
            self.address,
            "extraBonusGranted()",
            encode("baf9c475", (), ()),
            reader(("uint256",)),
        )

    def grant_bonus(self, wallet: str, amount: int, extra: bool) -> Call[None]:
        """`grantBonus(address,uint256,bool)`."""
        return Call(
            self.address,
            "grantBonus(address,uint256,bool)",
            encode(
                "3611c1af",
                (
                    "address",
                    "uint256",
                    "bool",
                ),
                (
                    wallet,
                    amount,
                    extra,
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

    def grant_presale(self, wallet: str, purchased: int, bonus: int, purchase_day: int) -> Call[None]:
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
                    purchased,
                    bonus,
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

    def main_sale_opened(self) -> Call[bool]:
        """`mainSaleOpened()` (reads)."""
        return Call(
            self.address,
            "mainSaleOpened()",
            encode("984109e1", (), ()),
            reader(("bool",)),
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

    def presale_granted(self) -> Call[int]:
        """`presaleGranted()` (reads)."""
        return Call(
            self.address,
            "presaleGranted()",
            encode("c1778f4a", (), ()),
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

"""Bindings of Erc20. Generated from the ABI by payouts.bindings.generate: do not edit."""

from dataclasses import dataclass
from typing import ClassVar

from payouts.bindings.abi import Call, Contract, Log, decode_event, encode, reader


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


class Erc20(Contract):
    """What IeoToken, UtilityToken have in common."""

    def cap(self) -> Call[int]:
        """`CAP()` (reads)."""
        return Call(
            self.address,
            "CAP()",
            encode("ec81b483", (), ()),
            reader(("uint256",)),
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

    def balance_of(self, account: str) -> Call[int]:
        """`balanceOf(address)` (reads)."""
        return Call(
            self.address,
            "balanceOf(address)",
            encode("70a08231", ("address",), (account,)),
            reader(("uint256",)),
        )

    def decimals(self) -> Call[int]:
        """`decimals()` (reads)."""
        return Call(
            self.address,
            "decimals()",
            encode("313ce567", (), ()),
            reader(("uint8",)),
        )

    def name(self) -> Call[str]:
        """`name()` (reads)."""
        return Call(
            self.address,
            "name()",
            encode("06fdde03", (), ()),
            reader(("string",)),
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

"""Bindings of MasterAccount. Generated from the ABI by payouts.bindings.generate: do not edit."""

from dataclasses import dataclass
from typing import ClassVar

from payouts.bindings.abi import Call, Log, artifact, decode_event, encode, encode_arguments, reader
from payouts.bindings.roles import Roles


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
    due: int
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


class MasterAccount(Roles):
    """The contract `MasterAccount` at an address."""

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

    def hold_period(self) -> Call[int]:
        """`holdPeriod()` (reads)."""
        return Call(
            self.address,
            "holdPeriod()",
            encode("f5967a2f", (), ()),
            reader(("uint256",)),
        )

    def seizure(self, account: str, evidence_hash: bytes) -> Call[tuple[int, int, int, int]]:
        """`seizure(address,bytes32)` (reads): amount, taken, executableAt, state."""
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
                    "uint256",
                    "uint8",
                )
            ),
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

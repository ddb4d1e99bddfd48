"""What the generated bindings stand on: calls, events and errors of a contract as values, without any I/O.

A binding's method returns a `Call`: where to, which bytes, how to read the answer. Whoever talks to the chain either
asks for it (`eth_call`, then `decode`) or signs and sends `data` in a transaction. So the same bindings serve web3,
a plain JSON-RPC client, an outbox and a test. eth_abi is imported on first use (0.4 s).

Values: addresses are lower-case text with 0x; `bytesN` and `bytes` are bytes; integers are int.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Generic, TypeVar

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Call(Generic[T_co]):
    """One call of a contract's function: to be asked, or to be sent in a transaction."""

    to: str
    function: str
    """Signature, such as `balanceOf(address)`; for logs and messages."""
    data: bytes
    decode: Callable[[bytes], T_co]
    """Reads the answer of an `eth_call`."""

    def __repr__(self) -> str:
        return f"Call({self.function} of {self.to}, {len(self.data)} bytes)"


@dataclass(frozen=True, slots=True)
class Revert:
    """Why a contract refused: the named error and its arguments by name."""

    name: str
    arguments: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.name}({', '.join(f'{name}={_shown(value)}' for name, value in self.arguments.items())})"


@dataclass(frozen=True, slots=True)
class Log:
    """One event of a transaction, as the chain returns it."""

    address: str
    topics: tuple[bytes, ...]
    data: bytes


class Contract:
    """A contract at an address. What it has in functions is in the generated classes."""

    def __init__(self, address: str) -> None:
        self.address = address.lower()


def encode(selector: str, types: Sequence[str], values: Sequence[Any]) -> bytes:
    """Returns selector (hexadecimal) and arguments. Raises ValueError for a value outside of its type."""
    return bytes.fromhex(selector) + encode_arguments(types, values)


def encode_arguments(types: Sequence[str], values: Sequence[Any]) -> bytes:
    from eth_abi.abi import encode as encode_abi
    from eth_abi.exceptions import EncodingError

    try:
        return encode_abi(types, values)
    except EncodingError as refused:
        raise ValueError(str(refused)) from refused


def decode(types: Sequence[str], data: bytes) -> tuple[Any, ...]:
    """Reads the values. Raises ValueError when the bytes are not of these types (no contract there, for one)."""
    from eth_abi.abi import decode as decode_abi
    from eth_abi.exceptions import DecodingError

    try:
        return tuple(decode_abi(types, data))
    except DecodingError as refused:
        raise ValueError(f"{len(data)} bytes are not ({', '.join(types)}): {refused}") from refused


def reader(types: Sequence[str]) -> Callable[[bytes], Any]:
    """Returns a function that reads an answer: nothing, one value, or a tuple."""

    def read(data: bytes) -> Any:
        values = decode(types, data)
        return values[0] if len(values) == 1 else values or None

    return read


def decode_event(types: Sequence[tuple[str, bool]], log: Log) -> tuple[Any, ...]:
    """Reads an event's values in the order of its declaration; `types` say for each whether it is indexed."""
    topics = iter(log.topics[1:])
    data = iter(decode([kind for kind, indexed in types if not indexed], log.data))
    try:
        return tuple(decode([kind], next(topics))[0] if indexed else next(data) for kind, indexed in types)
    except StopIteration:
        raise ValueError("too few topics") from None


def decode_error(data: bytes) -> Revert | None:
    """Names the error that a revert's bytes stand for; None when no contract of ours knows it."""
    from payouts.bindings.errors import ERRORS

    found = ERRORS.get(data[:4].hex())
    if found is None:
        return None
    name, arguments = found
    return Revert(name, dict(zip(arguments, decode(list(arguments.values()), data[4:]), strict=True)))


@cache
def artifact(name: str) -> Mapping[str, Any]:
    """The compiled contract: `abi`, `bytecode`, `deployedBytecode`, `immutables` (offset and length of each)."""
    path = resources.files("payouts") / "contracts" / "artifacts" / f"{name}.json"
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def _shown(value: Any) -> str:
    return "0x" + value.hex() if isinstance(value, bytes) else str(value)

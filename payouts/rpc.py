"""A small Ethereum JSON-RPC client for deployment and status, on the standard library.

Start-up stays light: web3 (1.4 s to import) is not needed to ask a chain a few things. Settlement has its own adapter.
"""

import itertools
import json
import time
import urllib.error
import urllib.request
from typing import Any, Final, TypeVar

from cgn_chassis.backoff import Backoff
from payouts.bindings.abi import Call, Revert, decode_error

T = TypeVar("T")

_POLLS: Final = Backoff(first_ms=5, most_ms=1_000)
TIMEOUT_S: Final = 15
"""Seconds for one call."""
MAX_ANSWER_BYTES: Final = 16 * 2**20
"""Bytes of one answer: the logs of a few thousand settlements fit."""


class RpcError(Exception):
    """The endpoint answered with an error."""

    def __init__(self, method: str, message: str, data: bytes = b"") -> None:
        self.revert: Revert | None = decode_error(data)
        super().__init__(f"{method}: {self.revert or message}")


class Unreachable(Exception):
    """No answer from the endpoint, or none that can be read: what was asked for may or may not have happened."""


class Rpc:
    """One endpoint. Raises RpcError and Unreachable."""

    def __init__(self, url: str) -> None:
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"{url!r}: the chain's endpoint is an http or https URL")
        self.url = url
        self._ids = itertools.count(1)

    def __call__(self, method: str, *params: Any) -> Any:
        body = json.dumps({"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": params}).encode()
        request = urllib.request.Request(self.url, body, {"Content-Type": "application/json"})  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
                raw = answer.read(MAX_ANSWER_BYTES + 1)
            if len(raw) > MAX_ANSWER_BYTES:
                raise Unreachable(f"{self.url} answered with more than {MAX_ANSWER_BYTES} bytes")
            members = json.loads(raw)
        except (OSError, ValueError) as lost:
            raise Unreachable(f"{self.url} does not answer: {lost}") from lost
        if not isinstance(members, dict) or ("result" not in members and "error" not in members):
            raise Unreachable(f"{self.url} answered with something that is not JSON-RPC")
        if error := members.get("error"):
            data = error.get("data")
            code = data[2:] if isinstance(data, str) and data.startswith("0x") else ""
            raise RpcError(method, str(error.get("message")), bytes.fromhex(code))
        return members["result"]

    def integer(self, method: str, *params: Any) -> int:
        return int(self(method, *params), 16)

    def ask(self, call: Call[T], *, sender: str | None = None) -> T:
        """Runs a call without a transaction. A refusal is an RpcError with `revert`."""
        message = {"to": call.to, "data": "0x" + call.data.hex()} | ({"from": sender} if sender else {})
        return call.decode(bytes.fromhex(self("eth_call", message, "latest")[2:]))

    def code(self, address: str) -> bytes:
        return bytes.fromhex(self("eth_getCode", address, "latest")[2:])

    def wait_receipt(self, transaction: str, timeout_s: float = 120) -> dict[str, Any]:
        """Returns the receipt. Raises Unreachable after `timeout_s`: the transaction may still be mined."""
        until = time.monotonic() + timeout_s
        looks = 0
        while time.monotonic() < until:
            receipt: dict[str, Any] | None = self("eth_getTransactionReceipt", transaction)
            if receipt is not None:
                return receipt
            looks += 1
            time.sleep(_POLLS.longest_ms(looks) / 1000)
        raise Unreachable(f"no receipt of {transaction} after {timeout_s:.0f} s")

"""The chain as payouts see it: one port, one adapter for Ethereum JSON-RPC (P-14), and what signs.

`Chain` is all that the rest of the package knows. Addresses are lower-case text with 0x; hashes and data are bytes;
amounts are integers. Everything the endpoint says may be late, lost or wrong: whoever decides on it looks things up
by hash and block (payouts.driver), and a call that fails raises `ChainError`, which means *unknown*, never *failed*.

web3 and eth-account are imported by the adapter when it is made, so that `cgn` starts quickly without them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from payouts import ethereum, limits
from payouts.journal import SignedVersion


class ChainError(Exception):
    """The endpoint did not answer, not in time, or not in form. What was asked for may have happened."""


class Block(NamedTuple):
    """A block as the endpoint shows it now."""

    number: int
    block_hash: bytes
    timestamp_s: int


class Log(NamedTuple):
    """One event."""

    address: str
    topics: tuple[bytes, ...]
    data: bytes
    block_number: int
    block_hash: bytes
    tx_hash: bytes
    log_index: int

    @property
    def place(self) -> tuple[int, int]:
        """Where it stands on the chain: of two events the later one has the higher place."""
        return self.block_number, self.log_index


class Receipt(NamedTuple):
    """A mined transaction."""

    tx_hash: bytes
    succeeded: bool
    block_number: int
    block_hash: bytes
    gas_used: int
    logs: tuple[Log, ...]


class Fees(NamedTuple):
    """What to offer per gas, in wei (EIP-1559)."""

    max_fee: int
    priority_fee: int


class Simulated(NamedTuple):
    """What a call would do now."""

    reverted: bool
    data: bytes
    """What it returns, or the error it reverts with (4 bytes of selector and arguments)."""
    gas: int
    """The endpoint's estimate; 0 when it reverts."""


class Chain(Protocol):
    """What payouts and verification ask of a chain."""

    def chain_id(self) -> int: ...

    def head(self) -> Block:
        """The newest block."""
        ...

    def block(self, number: int) -> Block | None:
        """The block at a height on the chain as it stands now; None beyond the head."""
        ...

    def nonce(self, account: str, block_number: int | None = None) -> int:
        """How many transactions of the account are mined (at that block; None: at the head)."""
        ...

    def fees(self) -> Fees:
        """What a transaction should offer now."""
        ...

    def read(self, recipient: str, data: bytes, block_number: int | None = None) -> bytes:
        """What a view returns, at that block or at the head. A view that reverts is a ChainError."""
        ...

    def simulate(self, sender: str, recipient: str, data: bytes) -> Simulated:
        """What a transaction would do at the head, and its gas."""
        ...

    def broadcast(self, raw: bytes) -> str:
        """Hands signed bytes to the network. Returns what the endpoint said against it, or the empty string.

        Either way the outcome is unknown until a receipt is seen: "already known" and "nonce too low" are answers to
        bytes that were taken before.
        """
        ...

    def receipt(self, tx_hash: bytes) -> Receipt | None:
        """The receipt of a mined transaction on the chain as it stands now."""
        ...

    def is_known(self, tx_hash: bytes) -> bool:
        """Whether the endpoint has the transaction, mined or waiting."""
        ...

    def code(self, address: str) -> bytes:
        """The contract at an address; empty where there is none."""
        ...

    def logs(self, address: str, topics: tuple[bytes | None, ...], first_block: int, last_block: int) -> list[Log]:
        """Events of a contract, by block and place. `topics` as in eth_getLogs (None: any)."""
        ...


class Web3Chain:
    """An Ethereum endpoint over HTTP. Each call is bounded by `timeout_s`; nothing is retried behind our back."""

    def __init__(self, url: str, *, timeout_s: float = limits.RPC_TIMEOUT_S) -> None:
        ethereum.web3()  # first, so that the recursion limit stays as it is
        web3: Any = ethereum.web3()
        web3_exceptions = web3.exceptions
        from requests.exceptions import RequestException

        # web3 repeats eth_sendRawTransaction by default; here a repeat is the driver's decision
        provider = web3.HTTPProvider(url, request_kwargs={"timeout": timeout_s}, exception_retry_configuration=None)
        self._web3: Any = web3.Web3(provider)
        self._absent = (web3_exceptions.TransactionNotFound, web3_exceptions.BlockNotFound)
        self._refused = (web3_exceptions.Web3RPCError, web3_exceptions.ContractLogicError)
        self._broken = (
            web3_exceptions.Web3Exception,
            RequestException,
            OSError,
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
        )
        self.url = url

    @contextmanager
    def _asking(self, what: str) -> Iterator[None]:
        try:
            yield
        except self._absent:
            raise
        except self._broken as error:
            raise ChainError(f"{what}: {type(error).__name__}: {error!s:.300}") from error

    def chain_id(self) -> int:
        with self._asking("eth_chainId"):
            return int(self._web3.eth.chain_id)

    def head(self) -> Block:
        found = self._block("latest")
        if found is None:
            raise ChainError("eth_getBlockByNumber: no newest block")
        return found

    def block(self, number: int) -> Block | None:
        return self._block(number)

    def _block(self, which: int | str) -> Block | None:
        try:
            with self._asking("eth_getBlockByNumber"):
                found = self._web3.eth.get_block(which)
                return Block(int(found["number"]), bytes(found["hash"]), int(found["timestamp"]))
        except self._absent:
            return None

    def nonce(self, account: str, block_number: int | None = None) -> int:
        with self._asking("eth_getTransactionCount"):
            return int(self._web3.eth.get_transaction_count(self._address(account), _at(block_number)))

    def fees(self) -> Fees:
        with self._asking("eth_feeHistory"):
            base = int(self._web3.eth.get_block("latest")["baseFeePerGas"])
            priority = int(self._web3.eth.max_priority_fee)
            return Fees(max_fee=2 * base + priority, priority_fee=priority)

    def read(self, recipient: str, data: bytes, block_number: int | None = None) -> bytes:
        with self._asking("eth_call"):
            return bytes(self._web3.eth.call({"to": self._address(recipient), "data": data}, _at(block_number)))

    def simulate(self, sender: str, recipient: str, data: bytes) -> Simulated:
        call = {"from": self._address(sender), "to": self._address(recipient), "data": data}
        answer = self._raw("eth_estimateGas", [self._wire(call)])
        if "result" in answer:
            return Simulated(False, b"", int(answer["result"], 16))
        revert = _revert_data(answer)
        if revert is None:
            raise ChainError(f"eth_estimateGas: {answer.get('error')!s:.300}")
        return Simulated(True, revert, 0)

    def broadcast(self, raw: bytes) -> str:
        answer = self._raw("eth_sendRawTransaction", ["0x" + raw.hex()])
        return "" if "result" in answer else f"{answer.get('error')!s:.300}"

    def receipt(self, tx_hash: bytes) -> Receipt | None:
        try:
            with self._asking("eth_getTransactionReceipt"):
                found = self._web3.eth.get_transaction_receipt(tx_hash)
                receipt = Receipt(
                    tx_hash=bytes(found["transactionHash"]),
                    succeeded=found["status"] == 1,
                    block_number=int(found["blockNumber"]),
                    block_hash=bytes(found["blockHash"]),
                    gas_used=int(found["gasUsed"]),
                    logs=tuple(_log(entry) for entry in found["logs"]),
                )
        except self._absent:
            return None
        if receipt.tx_hash != tx_hash:
            raise ChainError(f"eth_getTransactionReceipt: asked for {tx_hash.hex()}, got {receipt.tx_hash.hex()}")
        return receipt

    def is_known(self, tx_hash: bytes) -> bool:
        try:
            with self._asking("eth_getTransactionByHash"):
                self._web3.eth.get_transaction(tx_hash)
        except self._absent:
            return False
        return True

    def code(self, address: str) -> bytes:
        with self._asking("eth_getCode"):
            return bytes(self._web3.eth.get_code(self._address(address)))

    def logs(self, address: str, topics: tuple[bytes | None, ...], first_block: int, last_block: int) -> list[Log]:
        found: list[Log] = []
        for first in range(first_block, last_block + 1, limits.LOG_BLOCKS_PER_CALL):
            last = min(last_block, first + limits.LOG_BLOCKS_PER_CALL - 1)
            with self._asking("eth_getLogs"):
                answer = self._web3.eth.get_logs(
                    {
                        "address": self._address(address),
                        "topics": [None if topic is None else "0x" + topic.hex() for topic in topics],
                        "fromBlock": first,
                        "toBlock": last,
                    }
                )
                found += [_log(entry) for entry in answer]
        return sorted(found, key=lambda log: log.place)

    def _raw(self, method: str, params: list[Any]) -> dict[str, Any]:
        """One call whose error is an answer and not an exception."""
        with self._asking(method):
            answer = self._web3.provider.make_request(method, params)
            if not isinstance(answer, dict) or not ("result" in answer or "error" in answer):
                raise ValueError("neither result nor error")
            return answer

    def _address(self, address: str) -> Any:
        return self._web3.to_checksum_address(address)

    @staticmethod
    def _wire(call: dict[str, Any]) -> dict[str, Any]:
        return {**call, "data": "0x" + call["data"].hex()}


def _at(block_number: int | None) -> int | str:
    return "latest" if block_number is None else block_number


def _log(entry: Any) -> Log:
    return Log(
        address=str(entry["address"]).lower(),
        topics=tuple(bytes(topic) for topic in entry["topics"]),
        data=bytes(entry["data"]),
        block_number=int(entry["blockNumber"]),
        block_hash=bytes(entry["blockHash"]),
        tx_hash=bytes(entry["transactionHash"]),
        log_index=int(entry["logIndex"]),
    )


def _revert_data(answer: dict[str, Any]) -> bytes | None:
    """The error data of a call that reverted; None when the endpoint failed in another way."""
    error = answer.get("error")
    if not isinstance(error, dict):
        return None
    data = error.get("data")
    if isinstance(data, dict):  # some endpoints wrap it
        data = data.get("data")
    if isinstance(data, str) and data.startswith("0x"):
        try:
            return bytes.fromhex(data[2:])
        except ValueError:
            return None
    return b"" if error.get("code") == 3 or "revert" in str(error.get("message", "")).lower() else None


@dataclass(frozen=True, slots=True)
class Payload:
    """What a transaction does, without nonce and fee: the same in every version of it."""

    recipient: str
    data: bytes
    gas: int


class Signer:
    """One key. Signs EIP-1559 transactions for one chain; never shows the key."""

    def __init__(self, private_key: str, chain_id: int) -> None:
        """`private_key`: 64 hexadecimal digits, with or without 0x. Raises ValueError for anything else."""
        account = ethereum.eth_account().Account
        try:
            self._account: Any = account.from_key(private_key.strip())
        except Exception as error:
            raise ValueError("the signing key is not 32 bytes in hexadecimal") from error
        self._chain_id = chain_id
        self.address: str = str(self._account.address).lower()

    def __repr__(self) -> str:
        return f"Signer({self.address})"

    def sign(self, payload: Payload, nonce: int, fees: Fees) -> SignedVersion:
        """Returns the raw bytes of the payload under a nonce (deterministic, RFC 6979)."""
        signed = self._account.sign_transaction(
            {
                "type": 2,
                "chainId": self._chain_id,
                "nonce": nonce,
                "to": bytes.fromhex(payload.recipient[2:]),
                "value": 0,
                "data": payload.data,
                "gas": payload.gas,
                "maxFeePerGas": fees.max_fee,
                "maxPriorityFeePerGas": fees.priority_fee,
            }
        )
        return SignedVersion(bytes(signed.raw_transaction), bytes(signed.hash), fees.max_fee, fees.priority_fee)


def bumped(version: SignedVersion, today: Fees) -> Fees:
    """Returns what a replacement must offer: more than the version before by what pools ask, and today's fees."""
    priority_fee = max(_more(version.priority_fee), today.priority_fee)
    return Fees(max_fee=max(_more(version.max_fee), today.max_fee, priority_fee), priority_fee=priority_fee)


def _more(fee: int) -> int:
    return fee + fee * limits.FEE_BUMP_PERCENT // 100 + 1

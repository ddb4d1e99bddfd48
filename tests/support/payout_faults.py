"""Faults for payout tests: time that is the test's own, points of the journal at which something happens, and layers
over the real adapter. What a layer hides or delays has really happened."""

import asyncio
import random
from collections.abc import Callable
from typing import Any

import payout_world as kit
from cgn_sdk.keccak import keccak_256

from payouts import app
from payouts.chain import Block, ChainError, Receipt, Web3Chain
from payouts.journal import Journal, Tx


class Time:
    """A clock that only sleeping moves; each sleep lets `tick` act on the chain."""

    def __init__(self, tick: Callable[[], object] = lambda: None, seconds_per_sleep: float = 10) -> None:
        self.now_s = 0.0
        self.tick = tick
        self.seconds_per_sleep = seconds_per_sleep

    def clock(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += max(seconds, self.seconds_per_sleep)
        self.tick()


def settle(
    world: Any,
    time: Time,
    *,
    at: Callable[[str], None] = lambda point: None,
    chain_at: Callable[[str], Any] = Web3Chain,
    **changes: Any,
) -> dict[str, Any]:
    given = {"settle_timeout_s": 2_000} | changes
    outside = app.Outside(chain_at, time.clock, time.sleep)
    return asyncio.run(app.settle(world.settings(**given), tell=print, at=at, outside=outside))


def transactions(world: Any) -> list[Tx]:
    account = kit.account("payer")
    with Journal(world.journal, chain_id=31337, token=world.manifest.token.address, account=account) as journal:
        return journal.txs(1)


class Once:
    """Acts the first time that the point comes up after `skip` others of its name."""

    def __init__(self, point: str, act: Callable[[], object], skip: int = 0) -> None:
        self.point, self.act, self.left = point, act, skip

    def __call__(self, name: str) -> None:
        if name == self.point:
            if self.left == 0:
                self.act()
            self.left -= 1


class Layer:
    """The real adapter, seen through an endpoint that misbehaves."""

    def __init__(self, url: str) -> None:
        self.real = Web3Chain(url)
        self.calls = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


class TimesOutAfterSending(Layer):
    """Each broadcast arrives and times out; every other one arrives twice."""

    def broadcast(self, raw: bytes) -> str:
        self.calls += 1
        self.real.broadcast(raw)
        if self.calls % 2:
            self.real.broadcast(raw)
        raise ChainError("eth_sendRawTransaction: read timed out")


class SwallowsBroadcasts(Layer):
    """Says yes to the first two broadcasts of three and forgets them."""

    def broadcast(self, raw: bytes) -> str:
        self.calls += 1
        return self.real.broadcast(raw) if self.calls % 3 == 0 else ""


class LagsBehind(Layer):
    """A pool of endpoints of which half do not know the newest blocks; chance says who answers."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.chance = random.Random(7)

    def receipt(self, tx_hash: bytes) -> Receipt | None:
        return None if self.chance.random() < 0.5 else self.real.receipt(tx_hash)

    def is_known(self, tx_hash: bytes) -> bool:
        return False

    def head(self) -> Block:
        newest = self.real.head()
        older = self.real.block(max(0, newest.number - 3))
        return older if self.chance.random() < 0.5 and older else newest

    def nonce(self, account: str, block_number: int | None = None) -> int:
        return self.real.nonce(account, block_number)


class FailsHalfTheTime(Layer):
    """Every second call of any kind is an HTTP error."""

    def __getattr__(self, name: str) -> Any:
        real = getattr(self.real, name)

        def call(*arguments: Any) -> Any:
            self.calls += 1
            if self.calls % 5 == 0:
                raise ChainError(f"{name}: 502 Bad Gateway")
            return real(*arguments)

        return call


class OtherBlocks(Layer):
    """Receipts name blocks that are not on the chain, the first times."""

    def receipt(self, tx_hash: bytes) -> Receipt | None:
        self.calls += 1
        found = self.real.receipt(tx_hash)
        return found._replace(block_hash=b"\x01" * 32) if found and self.calls < 6 else found


class LateReceipts(Layer):
    """Knows no receipt of one transaction for a while, and the truth about everything else: an index that is late."""

    hidden = 0  # which broadcast
    looks = 20

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.hashes: list[bytes] = []

    def broadcast(self, raw: bytes) -> str:
        if keccak_256(raw) not in self.hashes:
            self.hashes.append(keccak_256(raw))
        return self.real.broadcast(raw)

    def receipt(self, tx_hash: bytes) -> Receipt | None:
        if self.hashes[self.hidden : self.hidden + 1] == [tx_hash]:
            self.calls += 1
            if self.calls < self.looks:
                return None
        return self.real.receipt(tx_hash)


class LateTransactions(LateReceipts):
    """Knows nothing of one transaction for long: neither its receipt nor itself, though its nonce is used."""

    looks = 60

    def is_known(self, tx_hash: bytes) -> bool:
        return not (self.hashes[self.hidden : self.hidden + 1] == [tx_hash] and self.calls < self.looks) and (
            self.real.is_known(tx_hash)
        )


class CountsTooHigh(Layer):
    """Says for the first `lies` questions that an account has mined more than it has."""

    lies, too_many = 1, 1

    def nonce(self, account: str, block_number: int | None = None) -> int:
        self.calls += 1
        count = int(self.real.nonce(account, block_number))
        return count + self.too_many if self.calls <= self.lies else count


Endpoints = (
    TimesOutAfterSending,
    SwallowsBroadcasts,
    LagsBehind,
    FailsHalfTheTime,
    OtherBlocks,
    LateReceipts,
    LateTransactions,
    CountsTooHigh,
)
"""Every endpoint that misbehaves and leaves the truth to be found."""


def send_ahead(world: Any, name: str, call: Any) -> None:
    """Leaves a transaction of an account in the pool that offers more than any of ours, under its next nonce."""
    from payouts.chain import Fees, Payload, Signer
    from payouts.deploy import development_key

    signer = Signer(development_key(name).hex(), 31337)
    nonce = int(world.rpc("eth_getTransactionCount", signer.address, "latest"), 16)
    raw = signer.sign(Payload(call.to, call.data, 200_000), nonce, Fees(200 * 10**9, 80 * 10**9)).raw
    world.rpc("eth_sendRawTransaction", "0x" + raw.hex())

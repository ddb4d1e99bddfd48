"""Faults for payout tests: time that is the test's own, points of the journal at which something happens, and layers
over the real adapter. What a layer hides or delays has really happened."""

import asyncio
from collections.abc import Callable
from typing import Any

import payout_world as kit

from payouts import app
from payouts.chain import Web3Chain
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
    return asyncio.run(app.settle(world.settings(**given), at=at, outside=outside))


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


def send_ahead(world: Any, name: str, call: Any) -> None:
    """Leaves a transaction of an account in the pool that offers more than any of ours, under its next nonce."""
    from payouts.chain import Fees, Payload, Signer

    signer = Signer(kit.development_key(name).hex(), 31337)
    nonce = int(world.rpc("eth_getTransactionCount", signer.address, "latest"), 16)
    raw = signer.sign(Payload(call.to, call.data, 200_000), nonce, Fees(200 * 10**9, 80 * 10**9)).raw
    world.rpc("eth_sendRawTransaction", "0x" + raw.hex())

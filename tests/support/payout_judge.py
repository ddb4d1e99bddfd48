"""The judge of payout tests: what the chain says was settled, to the unit, and what an auditor says of the ledger.

Each row of `row` has one payer, so the payers' settlements must count every row once: their number, their sum, and the
exclusive or of their hashes (a row twice would cancel out) are those of the rows that should be settled.
"""

from functools import reduce
from operator import xor
from typing import Any

import payout_world as kit

from ledger.audit import audit
from payouts.bindings.utility_token import Returned
from payouts.chain import Web3Chain
from payouts.token import SettledLog, Token
from payouts.verify_app import shown_by

FEE = 20_000_000
CONTRIBUTORS = 20


def row(number: int) -> Any:
    """Rows of two payers in turn; a contributor for each pair."""
    contributor = f"contributor {number // 2 % CONTRIBUTORS}"
    return kit.make_row(number, enterprise=f"enterprise {number % 2}", contributor=contributor)


def events(world: Any) -> list[SettledLog]:
    """Every settlement on the chain, without what its payers have again."""
    chain = Web3Chain(world.url)
    token, blocks = Token(chain, world.manifest.token.address), (world.manifest.first_block, chain.head().number)
    returned = {(event.batch_id, event.entity, event.role) for event, _ in token.logs(Returned, (), *blocks)}
    settled = token.settled(*blocks)
    return [item for item in settled if (item.settled.batch_id, item.settled.entity, item.settled.role) not in returned]


def check_chain(world: Any, settled: set[int]) -> None:
    """Exactly these rows are collected, each once, to the unit; and what is paid or kept is what was collected."""
    paying = [item.settled for item in events(world) if item.settled.role == 0]
    hashes = [int.from_bytes(row(number).row_hash, "big") for number in settled]
    assert sum(item.row_count for item in paying) == len(settled)
    assert reduce(xor, (int.from_bytes(item.xor_hash, "big") for item in paying), 0) == reduce(xor, hashes, 0)
    assert sum(item.amount for item in paying) == len(settled) * FEE
    paid = sum(item.settled.amount for item in events(world) if item.settled.role != 0)
    assert world.kept() == len(settled) * FEE - paid
    contributors = sum(world.balance(f"contributor {number}") for number in range(CONTRIBUTORS))
    assert contributors == len(settled) * FEE * 70 // 100
    token = world.manifest.token
    reserved = world.rpc.ask(token.balance_of(token.address))
    assert world.balance("enterprise 0") + world.balance("enterprise 1") + reserved == 2 * 10**12 - len(settled) * FEE


def check_books(world: Any) -> None:
    """Rows, batches, payment states and chain fit together."""
    chain = Web3Chain(world.url)
    token = world.manifest.token.address
    shown = shown_by(chain, token, world.manifest.first_block, 1)
    report = audit(
        world.ledger_url, shown.events, begun=shown.begun, chain_id=chain.chain_id(), token=token, processes=1
    )
    assert report.sound, report.findings

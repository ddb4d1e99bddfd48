"""Settles rows of a ledger as a payout run would, without a chain: batches, payment states, and the events that a chain
would tell."""

from cgn_sdk.keccak import keccak_256
from cgn_sdk.protocol.head import NO_ROWS, extend, sign_head
from cgn_sdk.protocol.row import ROLES
from cgn_sdk.protocol.settlement import Scope, batch_id_of, commit, entity_on_chain, settlement_id
from cgn_sdk.signing import Signer

from ledger.core.batch import BatchRecord, SettledEvent, SettlementRecord
from ledger.core.entries import COLLECTED, PAID, PAYERS
from ledger.port import Store

CHAIN, TOKEN, ACCOUNT = 31337, "0x" + "7" * 40, "0x" + "a" * 40


async def settle(store: Store, first: int, last: int, previous: bytes, period: str) -> tuple[bytes, list[SettledEvent]]:
    """Collects from and pays everybody of rows first to last. Returns the settlement's id and its events."""
    settlement = settlement_id(Scope(CHAIN, TOKEN, period), first, last, previous, keccak_256)
    await store.begin_settlement(SettlementRecord(settlement, CHAIN, TOKEN, period, first, last, previous, "test", 1))
    events = []
    for total in await store.totals(first, last):
        members = [row async for row in store.entity_rows(total.role, total.public_id, first, last)]
        said = commit((row.row_hash for row in members), total.amount_nano_cpu, keccak_256)
        batch_id = batch_id_of(settlement, total.public_id, total.role, keccak_256)
        run = CHAIN, TOKEN, period, total.role, total.public_id, ACCOUNT, first, last, previous
        await store.put_batch(BatchRecord(batch_id, *run, *said))
        tx_id = "0x" + batch_id.hex()
        state = COLLECTED if total.role in PAYERS else PAID
        ids = [row.row_id for row in members]
        await store.mark(total.role, total.public_id, ids, state=state, batch_id=batch_id, tx_id=tx_id)
        events.append(
            SettledEvent(
                *(CHAIN, TOKEN, settlement, entity_on_chain(total.public_id), ROLES.index(total.role), ACCOUNT),
                *(said.amount_nano_cpu, said.xor, said.merkle_root, said.row_count, tx_id),
            )
        )
    await store.end_settlement(settlement, 2)
    return settlement, events


async def sign_heads(store: Store, node_id: str, signer: Signer, *counts: int) -> None:
    """The node's heads over so many rows each."""
    commitment, number = NO_ROWS, 0
    for count in counts:
        while number < count:
            rows = await store.row_hashes(number, min(10_000, count - number))
            commitment = extend(commitment, (row.row_hash for row in rows), keccak_256)
            number += len(rows)
        await store.put_head(sign_head(node_id, count, commitment, 1, signer.sign))

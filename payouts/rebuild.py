"""Makes a lost journal anew from the ledger's batches and the chain's events (P-11).

What is lost with the journal: which rows were taken, which parties of them are still open, and the raw bytes of what
was under way. The first two stand in the ledger (batches, payment state). The last does not matter: whatever still gets
mined of it settles batches that the contract then refuses to settle again.
"""

from payouts.settlement import Settlement


async def journal_from_ledger(settlement: Settlement, first_block: int) -> None:
    """Fills an empty journal, if the ledger holds batches of earlier runs."""

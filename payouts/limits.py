"""Every bound of a payout run, with unit and reason. Relations between bounds are asserted at the end."""

GAS_PER_TRANSACTION = 2**24
"""Gas. EIP-7825: no transaction may ask for more."""

PAYEES_PER_TRANSACTION = 250
"""Payees in one transaction. A payee that never held the token costs about 30,000 gas, so 250 stay below half of
the limit even if gas prices of storage rise, and a transaction that fails blocks no more than 250. A settlement
under way has committed to lists of this size: it may change between runs only."""

COLLECTIONS_PER_TRANSACTION = 100
"""Payers in one transaction: releasing what was reserved costs more than a payment."""

GAS_MARGIN_PERCENT = 25
"""Added to the chain's own estimate: between estimate and block a payee's balance may have become empty."""

RPC_TIMEOUT_S = 15
"""Seconds for one call to the chain endpoint; after that the outcome is unknown and is looked up."""

POLL_FIRST_MS = 20
"""Milliseconds between the first two looks for a receipt, for a chain that answers at once; each further wait is twice
as long, so that a block of 12 s costs ten looks."""

POLL_MOST_MS = 4_000
"""Milliseconds between two looks at most: a third of Ethereum's block time."""

SETTLE_TIMEOUT_S = 1800
"""Seconds that one transaction may take from first broadcast to final. Then the run stops and says so; the next
run goes on with the same bytes."""

STUCK_AFTER_S = 120
"""Seconds (ten blocks) without a receipt before the same payload is offered again with the same nonce and a higher
fee. All versions are kept: exactly one can be mined."""

OFFER_AGAIN_S = 5
"""Seconds after a broadcast before a transaction that the endpoint does not know is offered again, the same bytes."""

LOST_BLOCKS = 12
"""Blocks over which a nonce must be used, and the endpoint know no version of our transaction, before it is lost: an
endpoint of several machines, of which one is late, shows all of it within a few."""

LOST_AFTER_S = 60
"""Seconds, likewise, for chains that are quick."""

GAP_MAX = 16
"""Nonces that are filled: one answer that was too high by more is no miscount."""

TRANSFER_GAS = 21_000
"""Gas of a transaction that moves nothing and calls nobody."""

IN_FLIGHT_MAX = 64
"""Transactions under way at once: pools drop long queues of one sender, and a gap holds up all behind it."""

FEE_BUMP_PERCENT = 13
"""A replacement must offer at least 10 per cent more (common rule of transaction pools, 12.5 with some)."""

REPLACEMENTS_MAX = 8
"""Replacements of one transaction: 13 per cent eight times is 2.7 times the first fee."""

BURIED_BLOCKS = 128
"""Blocks above a transaction after which it is not looked at again: twice what Ethereum takes to finalise."""

REORG_ROUNDS_MAX = 8
"""Times that a run moves its money anew because blocks of its own had gone meanwhile. A chain that does so more often
is not one to pay on now."""

ATTEMPTS_MAX = 3
"""New transactions (new nonce) for the same step after an earlier one was mined without effect. The contract settles a
batch once, so a further attempt can never pay twice; it can only spend gas for nothing."""

TOP_UPS_MAX = 2
"""Top-ups per payer and run (P-7: a second failure to reserve tops up again; then the payer is flagged)."""

TOP_UP_RUN_NANO_CPU = 10**9
"""1e-9 CPU. What a treasury adds for one payer in one run unless the settings say otherwise: nothing makes a payer give
it back, and a payer may be in league with those who are paid."""

TOP_UP_TOTAL_NANO_CPU = 10 * 10**9
"""1e-9 CPU, likewise for one payer in all runs together."""

RESERVATION_HOLD_S = 6 * 86_400
"""Seconds that a payer's funds are set aside: the contract allows seven days, and a chain's clock may differ."""

RESERVATION_LEFT_S = 3_600
"""Seconds that a reservation must still have when it is to be collected; else a new one is made."""

RESERVATIONS_MAX = 8
"""Reservations of one payer in one run: the second is made when the first expired or was given back."""

CONFIRMATIONS_MAX = 1_000
"""Blocks. Ethereum finalises within about 64; more is a mistake in the settings."""

ROWS_PER_READ = 2_000
"""Rows read from the store at once: a few megabytes in memory."""

OPEN_ROW_GAP = 64
"""Rows between two open ones up to which both are read at once: reading a row costs less than asking once more."""

ROWS_SHOWN = 20
"""Rows that a run names one by one as from after its day, or as another node's; it counts the others."""

LOG_BLOCKS_PER_CALL = 5_000
"""Blocks per request for events: many endpoints refuse more."""

VERIFY_LOOKS = 4
"""Audits of a ledger in which something does not fit, as long as a payout run moves things beside it."""

LOOK_AGAIN_S = 2.0
"""Seconds between them: what a run writes last, the marks of some hundred thousand rows, takes no longer."""

DAYS_TRIED = (0, -1, -2, -3, -4, -5, -6, -7, 1)
"""Days from the block's to that of the run, when a settlement is known by its events alone: a run settles the day
before as a rule, and one that lay still or whose host's clock differs is found too."""

ROWS_PER_RUN = 100_000
"""Rows of one run unless the settings say otherwise. A run holds them in memory: about 0.6 KiB each as facts and plan
(tests/bench/bench_audit.py), and as much again for the plan as the journal gives it back. A window of more rows is
several runs, so memory does not grow with it; each run costs the gas of a settlement and of its payees."""

ROWS_PER_RUN_MAX = 500_000
"""What the settings may say, and how far back the rows of a settlement known by its events alone are looked for."""

assert ROWS_PER_RUN <= ROWS_PER_RUN_MAX
assert 64_000 * PAYEES_PER_TRANSACTION < GAS_PER_TRANSACTION
assert POLL_FIRST_MS < POLL_MOST_MS < 1_000 * RPC_TIMEOUT_S
assert RPC_TIMEOUT_S < STUCK_AFTER_S < SETTLE_TIMEOUT_S
assert TOP_UP_RUN_NANO_CPU <= TOP_UP_TOTAL_NANO_CPU

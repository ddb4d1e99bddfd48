"""Every bound of the broker core, with its unit and its reason. What both ends of a wire must agree on is in
`cgn_sdk.protocol.limits` instead."""

from typing import Final

from cgn_sdk.protocol import limits as wire
from cgn_sdk.protocol import link

ACKNOWLEDGE_MS: Final = wire.ACKNOWLEDGE_TIMEOUT_MS
"""N-10's default, 2 s: far above a round trip round the globe (0.4 s), far below what a person waits."""

SILENCE_MS: Final = 4 * wire.PROGRESS_MS
"""An acknowledged attempt whose miner says nothing about it for so long is given to another miner, and the miner is
down: it owes a sign of life every PROGRESS_MS, and three may be lost to a busy machine. How long the work itself takes
is nobody's business but the deadline's."""

QUARANTINE_MINERS: Final = 5
"""N-11's default: a request that fails on this many distinct miners is itself the likely cause."""

TIER_QUEUE_DEPTH: Final = 20_000
"""Requests waiting in one tier's queue: about 6 s of work at the 3,300 requests/s one node answers, 20 MB of state."""

ACCOUNT_QUEUE_DEPTH: Final = 5_000
"""Of these, one account's: no account alone can fill a queue."""

ACCOUNT_KINDS: Final = 32
"""Different kinds (DService, tiers, service level, policy) of waiting requests of one account: a slot that falls free
looks at the first request of each waiting kind, so an account must not invent them by the thousand."""

GRACE_MS: Final = 10_000
"""How long an accepted request waits when no fitting miner is left: a lost tunnel is dialled again within seconds.
One that has failed waits only for miners that it has not failed on and that were here so short a time ago."""

DSERVICE_FAULTS_MAX: Final = 2
"""Miners that must say alike that the DService's answer breaks HTTP until it is believed while others are free: one
could be lying, and another is asked in milliseconds."""

FASTEST_WAIT_MS: Final = 2_000
"""The "little" of N-8's `fastest`: how long a request may be held back from a free miner for a better one."""

FASTEST_LOOK: Final = 16
"""Busy miners looked at per decision of `fastest`, best first: keeps a decision under some 20 microseconds."""

SLOTS: Final = wire.SLOTS_MAX
"""Slots of one miner: streams of one tunnel that a node keeps state for."""

DSERVICES: Final = wire.DSERVICES_MAX_COUNT
"""DServices of one miner: a slot that is taken or freed is ranked once in each."""

THREADS: Final = link.MACHINE_THREADS_MAX
KMIPS_PER_THREAD_MILLI: Final = link.MACHINE_KMIPS_PER_THREAD_MILLI_MAX
MEMORY_BYTES: Final = link.MACHINE_MEMORY_BYTES_MAX
GPUS: Final = link.MACHINE_GPUS_MAX
GFLOPS_PER_GPU: Final = link.MACHINE_GFLOPS_PER_GPU_MAX
"""What one machine can have: fitness bounds what may be claimed and paid, so fitness itself needs a bound."""

UNREGISTERED_THREADS: Final = 1
UNREGISTERED_KMIPS_PER_THREAD_MILLI: Final = 1_000
UNREGISTERED_MEMORY_BYTES: Final = 4 * 2**30
"""What a machine counts as that nobody has registered at Central (`pricing.believed`): one thread of 1 KMIPS, which is
the unit of the price list, and the memory that goes with one thread."""

CAPACITY_SLACK_MS: Final = 2
"""Added to each period in which a miner was busy: our clock counts whole milliseconds at both of its ends."""

QUEUES: Final = 10_000
"""Kinds of request remembered (DService, tiers, service level, policy, and account where tier 1 is accepted); idle
ones are forgotten beyond this, so that invented service levels cannot fill memory."""

RETRY_AFTER_MIN_MS: Final = 1_000
RETRY_AFTER_MAX_MS: Final = 60_000
"""A hint below a second invites a storm, one above a minute loses the client."""

PRIOR_SERVICE_US: Final = 50_000
"""Expected service time of a DService nobody has measured yet."""

SERVICE_CEILING_US: Final = 2**40
"""Twelve days; keeps ranks within their range."""

FAILURE_SHIFT: Final = 6
"""A miner that keeps failing a DService is ranked as if 2, 4, … up to 2^6 times slower, and recovers with one
success.
"""

assert ACCOUNT_QUEUE_DEPTH <= TIER_QUEUE_DEPTH
assert ACKNOWLEDGE_MS < SILENCE_MS
assert ACKNOWLEDGE_MS < GRACE_MS
assert RETRY_AFTER_MIN_MS < RETRY_AFTER_MAX_MS

ROW_HEADERS_MAX_CHARS: Final = 8 * 1024
"""Request headers that stand in a row (L-17); a private part has 64 KiB with JSON's escapes, six at worst each."""

ACCOUNT_PARTS_KEPT: Final = 1_024
"""Combinations of four parties whose part of a row is kept written down; about 600 bytes each."""

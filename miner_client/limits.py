"""Bounds that only the miner decides, each with its unit and its reason. What both ends agree on is
`cgn_sdk.protocol.limits`."""

from cgn_sdk.protocol.limits import DEADLINE_MAX_MS

SWEEP_MS = 250
"""How often long requests are metered and overdue ones ended: one look for all of them instead of a timer each."""

MEMORY_LOOK_NS = 250_000_000
"""A reading of a DService's memory is good for this long: reading it costs more than the rest of a small request."""

PROGRESS_BYTES = 256 * 1024
"""What a long answer's work has used is said each time so much of it has gone to the node: a message of 60 bytes and a
look at a clock, and a quarter of what a node holds back before anything leaves."""

ACKNOWLEDGE_AFTER_MS = 2
"""An acknowledgement waits this long for the answer, to leave in one message with it: for quick requests that halves
the messages. What it is for, finding a miner that is down, has two seconds (N-10)."""

READY_WAIT_MS = 10_000
"""An attempt waits this long for a DService that is being restarted; then another miner is better."""

ESTIMATE_WAIT_MS = 2_000
"""An estimator reads heads of files and answers in milliseconds; one that takes longer is not waited for."""

OFFER_WAIT_MS = 5_000
"""Once one DService is healthy, the others have this long to be offered in the same greeting; a later one is offered by
greeting anew."""

DOUBT_S = 5.0
"""A DService that broke a connection and lives shows its health within this, or is restarted."""

RESTART_FIRST_MS = 100
RESTART_MOST_MS = 30_000
RESTART_STABLE_MS = 60_000
"""A DService that ran this long before it ended is restarted at once; one that keeps ending waits longer each time."""

DIAL_FIRST_MS = 200
DIAL_MOST_MS = 30_000
DIAL_STABLE_MS = 30_000
REFUSED_WAIT_MS = 60_000
"""A node that refused the key or the miner will hardly think otherwise sooner."""
REFUSED_WAIT_MOST_MS = 3_600_000
"""A miner that was taken before stays, and asks once an hour at least."""
REFUSALS_MOST = 2
"""A miner that was never taken stops after so many: a minute apart, so that whoever registers it may come second."""

DIAL_TIMEOUT_MS = 10_000
DRAIN_S = DEADLINE_MAX_MS // 1_000
"""After SIGTERM, at most, for what runs to end: each request ends by its own deadline, and none is longer than this. A
setting, for those whose machine has to go sooner."""

STOP_S = 10
"""After the drain: for the tunnel to close and the DServices to end."""

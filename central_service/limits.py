"""Bounds of Central alone: each with its unit and its reason. What both ends agree on is in `cgn_sdk.protocol`."""

HASH_MEMORY_KIB = 64 * 1024
HASH_PASSES = 3
HASH_LANES = 1
"""Argon2id (RFC 9106): its second recommended setting with one lane instead of four, so that a hash is one thread's
work: 139 ms on the machine it was tuned on, where C-4 asks for 0.1 to 0.5 s."""

HASH_THREADS = 2
"""Hashes at once: 2 times 64 MiB and two cores, whatever a flood of logins wants."""

HASH_QUEUE_MAX = 64
"""Hashes waiting for a thread: the last of them waits 64 / 2 * 0.14 s = 4.5 s, half of what a link's question may take.
What comes then is refused at once."""

PROVEN_KEYS_MAX = 100_000
PROVEN_KEY_LIFE_S = 600
"""Keys that were proven keep a SHA-256 in memory for so long, so that a node that reconnects with a thousand miners
costs a thousand look-ups and not 140 s of hashing. It stands for the stored hash it was proven against and no other."""

WRONG_KEY_BURST = 10
WRONG_KEYS_PER_S = 0.2
"""Wrong tries against one key (after the burst): a guesser of 256 bits needs no more, a mistyped key no less."""

UNKNOWN_KEY_BURST = 20
UNKNOWN_KEYS_PER_S = 2.0
"""Tries with a key nobody has, per asker: each costs a full hash, as a wrong one does, and may not starve others."""

THROTTLED_KEYS_MAX = 10_000
"""Buckets kept for wrong tries; the oldest goes first."""

PENDING_AFTER_S = 2.0
"""Keys of a seed are hashed this long after it was stored: a sandbox on two cores is starting up until then."""

DIAL_FIRST_S = 0.1
DIAL_QUICK = 30
DIAL_LONGEST_S = 15.0
"""Waiting before dialling a node again: thirty times a tenth of a second, so that a node that restarts is linked again
as soon as it listens; then it doubles up to the longest, with full jitter, so that a region's nodes do not come back
in one second."""

DIAL_KNOWN_S = 600.0
DIAL_KNOWN_LONGEST_S = 1.0
"""A node that was linked so lately is about to come back: the longest wait is a second (a node restarts in three), or,
when so many are away that this would be more than 500 dials a second, DIAL_STAGGER_S for each of them."""

DIAL_STAGGER_S = 0.002
"""Between the first dials of nodes when Central starts: a TLS handshake costs a millisecond at each end."""

DIAL_TIMEOUT_S = 10.0

LINK_PING_S = 10.0
"""A node that does not answer a ping within this is dialled again: N-4 wants seconds, not minutes."""

LINK_STABLE_S = 5.0
"""A link that lasted this long was good: the next dial after it waits only the first step."""

TOLD_AGAIN_S = 120.0
"""What was revoked within this time before a link was lost is told again after the next hello: what was sent into a
link that breaks may not have arrived, and what the node wrote down half a minute before its machine crashed may be
lost."""

SEEN_KEPT = 10_000
"""Lines of the audit log with the time they were seen, for the look back."""

CHANGE_POLL_S = 0.2
"""How often the audit log is read for changes by other processes: a revocation reaches nodes within a second (N-5)."""

SESSION_LIFE_MAX_S = 24 * 3600
"""No session at a node lives longer, so an older revocation concerns none."""

CHANGES_MAX = 500
"""Changes read at once."""

BODY_BYTES_MAX = 64 * 1024
"""A machine-to-machine question: a thousand public ids are 30 KiB."""

LOOKUP_MAX = 1_000
"""Public ids in one look-up."""

HTTP_IDLE_S = 15.0
"""A connection without a request being answered for so long is closed: slow heads, slow bodies and idle ones alike."""

HTTP_CONNECTIONS_MAX = 500
"""Connections per port, counted from accept."""

HTTP_CONNECTIONS_LEAST = 32
"""Per port; below, Central is of no use."""

DESCRIPTORS_RESERVED = 256
"""Open files that no port may take: the database, logs, TLS files, the event loop, links to some 200 nodes. With fewer
left, the ports have fewer connections."""

HEAD_BURST = 5
HEADS_PER_S = 0.1
"""Heads that one node may tell (after the burst): a node signs one in ten seconds, and tells one in a minute. Each is a
transaction of the database."""

HEAD_DAYS_KEPT = 400
"""Days of which the newest head of a node is kept: as long as rows are (twelve months), and some room. A head has some
300 bytes."""

TRUST_SHOWN_S = 5.0
"""How old the public trust document may be: strangers ask for it as often as they like."""

SEED_BYTES_MAX = 8 * 1024 * 1024
NAME_CHARS_MAX = 128
WHY_CHARS_MAX = 1_000
PASSWORD_CHARS_MIN = 12
PASSWORD_CHARS_MAX = 256
"""NIST SP 800-63B: length matters; the upper bound keeps a stranger from making us hash megabytes."""

DEADLINE_MS_DEFAULT = 60_000
CONCURRENCY_DEFAULT = 256

assert HASH_QUEUE_MAX / HASH_THREADS * 0.5 <= 16, "a full queue is worked off in seconds even at the slowest tuning"
assert CHANGE_POLL_S < 1, "a revocation reaches nodes within a second"

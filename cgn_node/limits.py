"""Every bound of the node that only the node decides, with its unit and its reason. What both ends of a tunnel or link
must agree on is in `cgn_sdk.protocol.limits`."""

from cgn_sdk.protocol.limits import DEADLINE_MAX_MS

KIB = 1024
MIB = 1024 * KIB

# --- HTTP edge (N-6) ----------

HEAD_MAX_BYTES = 22 * KIB
"""Request line and headers together; browsers and proxies stay under 16 KiB, cookies included, and what passes here
passes the tunnel's `HEADERS_MAX_CHARS`. More: 431."""

HEADERS_MAX_COUNT = 100
"""As in nginx and Apache; bounds the work of one head. More: 431."""

TARGET_MAX_BYTES = 8 * KIB
"""Path and query; MRLs are a few hundred bytes. More: 414."""

CHUNK_LINE_MAX_BYTES = 4 * KIB
"""One chunk-size or trailer line."""

CHUNK_EXTRA_MAX_BYTES = 16 * KIB
"""All chunk extensions and trailers of one body: they carry nothing we pass on, so they may not cost much either."""

CHUNK_LINES_AT_ONCE = 1_024
"""Lines of a chunked body (two per chunk) read before everybody else has a turn: about a millisecond, however small
the chunks are."""

BODY_MAX_BYTES = 2 * 1024 * MIB
"""Request and response body each (N-2, 2 GB). More: 413, or the attempt fails."""

SMALL_REQUEST_MAX_BYTES = 64 * KIB
"""Bodies of the node's own routes (`POST /session`)."""

SLOW_HELD_S = 10
"""Nobody who is slow holds a connection for longer, whatever he is slow at; the deadlines below add up to it."""

OPENING_S = 7
"""From accept to the end of the TLS handshake and, for a WebSocket, of its upgrade; for HTTP, to the end of the first
request's head."""

HEAD_DEADLINE_S = 7
"""From a later request's first byte to the empty line: slowloris is cut off here, with 408."""

GREETING_S = 8
"""From accept to a miner's HELLO."""

SMALL_BODY_DEADLINE_S = 7
"""From the first byte of a request with a small body (`POST /session`) to the body's end. Then 408."""

PROGRESS_WINDOW_S = 6
PROGRESS_MIN_BYTES_PER_S = 1_024
"""A body that arrives, or an answer that is read, slower than this over a whole window is cut off. The time in which
this node itself does not read does not count. A modem of 1994 is faster."""

OWED_MAX_BYTES = 24 * MIB
STUCK_LEAST_S = 0.5
"""Answers of one listener that wait in memory for their readers. Beyond, readers that have taken nothing for so long
are cut before their window is over, the most patient first: memory is everybody's."""

CLOSING_S = 2
CLOSING_MAX_BYTES = 256 * KIB
"""After the last byte has been taken: for the peer to close, and what it may still send meanwhile; it is read and
dropped, so that a refusal is not lost to a TCP reset."""

IDLE_CONNECTION_S = 75
IDLE_STRANGER_S = 5
"""A kept-alive connection that has had a request and waits for the next, as nginx has it. Then it is closed; long
before, when no request on it has shown a valid session."""

OPENING_PROTECTED_S = 1
"""Whoever has not opened (a handshake, an upgrade, a greeting) within this gives way first when a listener is full: a
handshake takes three round trips."""

OPENING_SHARE = 8
"""Of a full listener's places, the part (one in so many) that newcomers may hold before they give way to one another,
instead of connections that had a request."""

GIVE_WAY_TRIES = 16
"""Connections looked at to make room for one newcomer."""

PIPELINED_MAX_BYTES = 64 * KIB
"""Bytes behind an unanswered request that are held; beyond, the connection is not read until the answer is out."""

CONNECTIONS_MAX = 8_192
"""Of the work listener, counted from accept; an idle TLS connection takes about 30 KiB, so this is 240 MiB at most.
More: closed at once. With few descriptors it is less (`cgn_node.descriptors`)."""

CONNECTIONS_PER_ADDRESS_MAX = 1_024
"""Of the work listener; large enough for a data centre's proxy. With fewer connections in all, half of them: no address
may take all."""

STATUS_CONNECTIONS_MAX = 128
METRICS_CONNECTIONS_MAX = 32
CENTRAL_CONNECTIONS_MAX = 64
"""The other listeners' connections, counted from accept: pages that are asked for now and then, one scraper, a few
instances of Central."""

DESCRIPTORS_RESERVED = 256
"""Open files that no listener may take: the spool's segments and the next ones, the store, logs, TLS files, the event
loop, a pool of connections to Elasticsearch."""

CONNECTIONS_LEAST = 64
"""Of DApps and of miners each: below, a node is of no use."""

HANDSHAKE_MAX_BYTES = 64 * KIB
"""Bytes that wait for their turn during a TLS handshake before the connection is not read: certificates of clients are
a few KiB, and a client may send its first request right behind its handshake."""

RECORD_BYTES = 16 * KIB
"""The longest content of a TLS record (RFC 8446 5.1)."""

RECORD_SEALED_MAX_BYTES = 5 + 16 * KIB + 2_048
"""The longest TLS record as it is on the wire (RFC 5246 6.2.3; TLS 1.3 has shorter ones)."""

HANDSHAKE_RECORDS_AT_ONCE = 16
RECORDS_AT_ONCE = 512
"""TLS records of one connection worked off before everybody else has a turn: some 2 ms, however little is in them."""

EMPTY_RECORDS_MAX = 32
FULL_RECORDS_PER_EMPTY = 1_024
"""TLS records without content (key updates, warnings) that a connection may send, and how many full ones allow one
more. Clients update keys after millions of records, if at all; each costs 0.05 ms, for 27 bytes. More: cut."""

READ_AT_ONCE_BYTES = 256_000
"""What uvloop reads from a socket at once, so what is decrypted at once."""

NOT_SENT_BYTES = 128 * KIB
"""TCP_NOTSENT_LOWAT: unsent bytes the kernel takes per connection. Its own default lets megabytes wait there for a
reader that does not read."""

JOINED_WRITE_BYTES = 128 * KIB
"""Pieces of an answer up to this length are joined before they are written: a copy costs less than a TLS record
each."""

WRITE_BUFFER_HIGH_BYTES = 64 * KIB
"""Bytes waiting for a slow reader before the source is told to stop; a long answer that is here as a whole is given to
the transport in portions of this."""

# --- Bodies (N-2, N-11) ----------

REQUEST_MEMORY_BYTES = 64 * KIB
"""Of one request's body kept in memory; what is longer goes to an unlinked temporary file, for replay on another
miner."""

REQUEST_AHEAD_BYTES = 1 * MIB
"""How far the DApp's upload may run ahead of the miner's reading before the connection is not read."""

PUMP_BYTES = 256 * KIB
"""Read from a body at once while feeding a stream: no more than a fresh stream takes."""

RESPONSE_HELD_BYTES = 1 * MIB
"""A response up to this length is held until its row is durable and leaves with its cost in the headers; a longer one
streams. A setting."""

RESULTS_KEPT_BYTES = 64 * MIB
RESULTS_KEPT_MS = 60_000
RESULT_OVERHEAD_BYTES = 4 * KIB
"""Held answers to requests that brought their id, for `GET /requests/<id>/result`: long enough to dial again and ask,
and all together no more than 64 long ones. Each counts with its headers and objects."""

RESULTS_SWEEP_S = 10
"""How often those whose time is over are looked for, while there are any."""

ENDINGS_KEPT = 10_000
"""Requests that ended without a row, so that `GET /requests/<id>` says why; 300 bytes each."""

HELD_MEMORY_BYTES = 16 * MIB
"""Of all responses that are held or wait for their readers, kept in memory; the rest is in unnamed files, so that many
who ask for much and do not read cost disk, and little of it. A normal load stays below."""

HELD_PIECE_BYTES = 64 * KIB
HELD_WRITE_BYTES = 4 * KIB
"""Pieces of a held response are joined up to the first: an object each costs 100 bytes, and a miner may send two bytes
at a time. In a file they are so when they are worth a write."""

DISK_READ_THREADS = 4
"""Threads that read what is held in files, a piece each, so that a slow disk holds up only those who wait for it."""

PASSED_AT_ONCE_BYTES = 16 * KIB
"""Shorter pieces of an answer that is passing wait for the end of their turn of the loop, and leave as one: a TLS
record each would cost more than what is in them."""

RESPONSE_TAIL_BYTES = 1
"""The end of a streamed response that waits for the row: without it no client takes the response for complete."""

# --- Admission (N-5, N-6) ----------

SESSION_TTL_S = 3_600
"""A session key's life; renewal is one call, and a stolen key ends by itself."""

SESSIONS_MAX = 200_000
"""In memory, about 1 KiB each. More: 503 until some expire."""

SESSION_LINE_BYTES = 4 * KIB
SESSION_FILE_BYTES = 128 * MIB
"""One session in the file that outlives a restart (some 400 bytes), and all that one file may hold; there are three at
most. Sessions on top of it end with the process."""

SESSIONS_PER_ACCOUNT_MAX = 1_000
"""One enterprise with many programs; more: 429."""

KEY_QUESTIONS_MAX = 64
"""Questions of one endpoint to Central about keys at once, those of keys known to be right counted apart: each other
one costs Central 0.1 to 0.5 s of Argon2id. More: 503 with Retry-After."""

KEY_QUESTIONS_PER_ADDRESS = 10
"""Of these, from one address, keys known to be right left out; the others wait behind them. As many as it has tries,
so that a crowd of honest ones behind one address is not taken for a guesser."""

KEY_QUESTIONS_AGAIN = 3
"""Times that a question is put when its account is revoked while the answer is on its way."""

WRONG_KEYS_PER_MINUTE = 10
"""Wrong API keys from one address before it shares the brake with all such addresses."""

WRONG_KEYS_PER_ACCOUNT_PER_MINUTE = 30
"""Wrong API keys for one account; counts only against addresses that themselves failed, so that nobody locks another
one out."""

DOUBTFUL_KEYS_PER_MINUTE = 60
"""The brake: keys never seen to be right, from addresses with too many wrong ones, that one endpoint of this node asks
Central about in all. A hash costs Central 0.14 s, so this is a seventh of one core. More: 429."""

WRONG_PAIR_KEPT_S = 30
"""An account and key found wrong are wrong without a question for so long: a program that does not stop trying costs
Central nothing."""

KNOWN_PAIRS_MAX = 50_000
"""Accounts and keys remembered as right, and as wrong; about 150 bytes each. The oldest goes first."""

FAILURE_TABLE_MAX = 50_000
"""Addresses and accounts whose wrong keys are counted; the oldest goes first."""

CONCURRENCY_DEFAULT = 256
"""Requests of one account at once when Central names no other figure. More: 429."""

CONCURRENCY_PER_ADDRESS_MAX = 2_048
"""Requests from one address at once, over all accounts."""

# --- Miners and Central ----------

MINERS_MAX = 10_000
"""Tunnels of one node."""

STRANGERS_TOLD_S = 60.0
"""Connections to the miner endpoint that nobody known made are told of in one line so often; the metrics count each."""

GRANTS_KEPT_S = 86_400
"""What Central said about a miner counts this long while Central cannot be reached."""

CENTRAL_ASK_S = 5
"""Any other question to Central. Then it counts as unknown."""

CENTRAL_LINKS_MAX = 8
"""Instances of Central linked at once."""

CENTRAL_ASKS_MAX = 256
"""Questions in flight over all links."""

POLICY_COPY_S = 1.0
"""The copy of Central's policy is written so often at most, however often it changes."""

# --- Recording (N-24) ----------

ROWS_KEPT = 2_048
"""Rows in memory for receipts asked for at once, before the shipper has brought them to the store; about 8 KiB each."""

ROW_IDS_KEPT = 100_000
"""Ids of the latest rows, so that a repeated `CGN-Request-Id` is known without asking the store; 15 MiB. More are kept
while the spool holds more rows: a full one (4 GiB, a million rows) then costs 150 MiB."""

SPOOLED_IDS_READ = 4_096
"""Rows read at once from the spool at the start: about 32 MiB."""

SPOOL_RESERVE_BYTES = 1 * MIB
SPOOL_RESERVE_PER_REQUEST_BYTES = 32 * KIB
"""Room in the spool that admission leaves free, in all and per request under way: what is done must find room for its
row. Rows are 4 to 10 KiB; 32 is above all but the longest heads."""

SPOOL_RETRY_S = 1.0
"""After the disk refused a row, work is refused for this long, then one may try."""

ROWS_WAIT_S = 120
"""The store may be away for this long before the node calls itself unhealthy: a restart of Elasticsearch takes a
minute, and rows that wait longer are missed by a settlement. A setting."""

HEAD_TOLD_S = 60.0
"""How often Central is told a newer head of the ledger at most: what an operator who cuts the ledger's end and its
heads may have that nobody else knows of. A message of some 700 bytes, a transaction at Central."""

HEAD_LOOK_S = 1.0
"""How often it is looked whether there is one: the first after a quiet time is told at once."""

SHIPPING_LOOK_S = 1.0
SHIPPING_MARKS_MAX = 1_024
"""How often it is looked at how far rows have got, and how many looks are kept while they wait."""

LOOK_UP_S = 2.0
"""For one look-up in the store: an id that a DApp brought, a receipt, a state. They take milliseconds; then it is 503,
and health turns red while the answer is still missing."""

BATCH_TREES_KEPT = 4
"""Merkle trees of settled batches: receipts are asked for batch by batch. 100 bytes per row."""

# --- Status (N-3) ----------

LATENCIES_KEPT = 512
"""Request times per DService and tier that the percentiles are over: the recent ones."""

# --- Process ----------

SWEEP_S = 0.5
"""One timer looks at every connection; a timer each would cost 3 to 5 microseconds per request."""

DRAIN_S = DEADLINE_MAX_MS // 1_000
"""After SIGTERM, at most, for what runs to end; then connections are cut. Each request ends by its own deadline, and
none is longer than this. A setting, for those whose machine has to go sooner."""

FINISH_LOOK_S = 0.05
"""How often it is looked meanwhile whether answers are still on their way."""

SWITCH_INTERVAL_S = 0.0005
"""How long the threads behind the ledger may hold the interpreter while the event loop wants it; the default of 5 ms
would be paid at every system call of the loop."""

COLLECT_THRESHOLDS = (50_000, 20, 50)
"""Python's garbage collector: container objects made before the youngest are looked at (some 500 requests), and how
often that happens before older ones are. Everything a request makes is freed by reference counts."""

RANDOM_POOL_BYTES = 4 * KIB
"""Random bytes fetched from the kernel at once, for row salts and request ids: a system call per request less."""

FREED_KEPT_BYTES = 48 * MIB
FREED_LOOK_S = 2.0
"""Memory that is free in the allocator beyond this goes back to the kernel, looked at so often: what a burst of long
bodies took is not kept for the next one."""

MALLOC_TRIM_BYTES = 256 * MIB
MALLOC_TOP_PAD_BYTES = 16 * MIB
MALLOC_MMAP_BYTES = 32 * MIB
"""glibc gives freed memory back to the kernel at 128 KiB by default; 64 KiB bodies then spend most of their time on
page faults (measured: 67 against 37 microseconds each)."""

CERTIFICATE_TOLD_DAYS = 14
"""A certificate that expires within so many days is told of in the log: time enough to renew it by hand."""
CERTIFICATE_LOOK_S = 12 * 3_600
"""Between two looks at its date."""

assert RESPONSE_TAIL_BYTES >= 1
assert SMALL_REQUEST_MAX_BYTES <= REQUEST_MEMORY_BYTES <= REQUEST_AHEAD_BYTES
assert max(OPENING_S, HEAD_DEADLINE_S, SMALL_BODY_DEADLINE_S, PROGRESS_WINDOW_S) + SWEEP_S + CLOSING_S <= SLOW_HELD_S
assert OPENING_S < GREETING_S <= SLOW_HELD_S - CLOSING_S
assert CENTRAL_LINKS_MAX < CENTRAL_CONNECTIONS_MAX
assert TARGET_MAX_BYTES < HEAD_MAX_BYTES
assert KEY_QUESTIONS_PER_ADDRESS <= WRONG_KEYS_PER_MINUTE

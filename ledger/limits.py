"""Bounds of the ledger, each with its unit and its reason. What a row may hold is protocol (cgn_sdk.protocol.row)."""

from typing import Final

APPEND_MAX_ROWS: Final = 50_000
"""Rows of one `append`: about 150 MB as Python objects. A shipper sends far fewer; a test or an import splits."""

ROW_AHEAD_S: Final = 24 * 3600
"""How far a row's event time may be ahead of the clock of who stores it. Clocks that are kept differ by milliseconds; a
row that is a day ahead would fall into tomorrow's settlement at the earliest."""

ROW_BEHIND_S: Final = 400 * 24 * 3600
"""And how far behind: rows wait in a spool for days, and are kept for twelve months; older ones come from a clock that
was never set."""

READ_MAX_ROWS: Final = 10_000
"""Rows one `read` answers: about 30 MB. Readers page."""

MARK_MAX_ROWS: Final = 1_000_000
"""Row ids of one `mark`: one entity's batch. Adapters write it in portions; a portion is all or nothing."""

PORTION_ROWS: Final = 2_000
"""Rows a store handles in one step (one statement group, one bulk request): past it the rate no longer grows."""

PORTION_BYTES: Final = 8 * 1024 * 1024
"""Bytes of one bulk request; Elasticsearch refuses beyond 100 MB and recommends about this."""

GROUP_MAX_OPERATIONS: Final = 10_000
"""Operations taken into one transaction of the embedded store: a commit stays below a second."""

BUSY_WAIT_MS: Final = 10_000
"""How long the embedded store waits for another process that writes to the same file."""

SPOOL_RECORD_MAX_BYTES: Final = 512 * 1024
"""One row as JSON: public columns, five private parts at their limits, and some room."""

SPOOL_SEGMENT_BYTES: Final = 16 * 1024 * 1024
"""A segment is cut off whole once its rows are in the store; this is what stays on disk at least."""

SPOOL_ZEROED_BYTES: Final = 1024 * 1024
"""Room written ahead of the rows, at once: about 300 rows, and a millisecond or two of the disk."""

SPOOL_DIRECT_BYTES: Final = 256 * 1024
"""Groups up to this length go past the kernel's cache: beyond, the copy it saves is no longer what counts."""

SPOOL_MAX_BYTES: Final = 4 * 1024 * 1024 * 1024
"""Default bound of the spool: a day of 20 rows/s, or 20 minutes at 1,000 rows/s, of a store that is away."""

SPOOL_GROUP_BYTES: Final = 4 * 1024 * 1024
"""Bytes written before one fdatasync: at 1 GB/s about 4 ms that the first row of a group waits for the last."""

SPOOL_QUICK_SYNC_NS: Final = 500_000
"""A disk that syncs faster than this may be waited for by the event loop itself when nothing else is under way: two
changes of thread cost 0.09 ms here."""

SPOOL_QUICK_SYNCS: Final = 16
"""So many quick syncs in a row must have been seen; one that is slower sends all further ones to the thread again."""

SPOOL_MEMORY_BYTES: Final = 32 * 1024 * 1024
"""Rows kept in memory for the shipper; about 10,000. With a store that is away longer it reads the files."""

SHIP_ROWS: Final = 2_000
"""Rows the shipper gives the store at once."""

SHIP_PAUSE_MS: Final = 100
"""The shipper gathers rows this long before it bothers the store: few commits, on a disk the spool needs too."""

SHIP_RETRY_MS: Final = (50, 15_000)
"""First and longest wait between attempts while the store is away."""

HEAD_PAUSE_S: Final = 10.0
"""Between two signed heads: how long an end of the ledger that was cut off may go unseen; 3 million heads a year at
most, some 300 bytes each."""

HEADS_OF_A_ROW: Final = 1_000
"""Heads over the same last row that are looked at: one per node that writes to the ledger."""

HEAD_PAGE_ROWS: Final = 500
"""Row hashes taken into the commitment in one turn of the event loop: under a millisecond."""

LOSSES_MAX: Final = 1_000
"""Accepted losses of one ledger: each is a person's act after an accident."""

ELASTICSEARCH_TIMEOUT_S: Final = 30.0
"""A request without answer for this long is unknown: it is looked up before anything is decided."""

ELASTICSEARCH_RETRIES: Final = 8
ELASTICSEARCH_RETRY_MS: Final = (100, 12_800)
"""Attempts while the server says that it is too busy (429), and the first and longest wait between them: some 12 s in
all."""

ELASTICSEARCH_HITS: Final = 1_000
"""Documents one search answers where all that match are wanted, page by page."""

PROCESS_CLOSE_S: Final = 5.0
"""How long a store in a process of its own may take to finish what is under way when it is closed: half of what a node
has for its end. What it does not finish is in the spool."""

AUDIT_RANGE_ROWS: Final = 5_000
"""Rows that one process of an audit judges at once: about 15 MB read, 1 MB sent back."""

AUDIT_PROCESSES_MAX: Final = 8
"""Processes of an audit at most, however many processors there are: one process gathers what they find."""

AUDIT_SHELVED_BYTES: Final = 16 * 1024 * 1024
"""What an audit gathers in memory before it goes to the temporary file: of about 100,000 rows."""

assert PORTION_ROWS <= APPEND_MAX_ROWS
assert SPOOL_RECORD_MAX_BYTES < SPOOL_GROUP_BYTES < SPOOL_SEGMENT_BYTES < SPOOL_MAX_BYTES

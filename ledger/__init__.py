"""Microtransaction rows and their stores: what the node writes and payouts settle (specification L).

`open_store(url)` is the one way to a store; what it answers is `ledger.port.Store`. `initialise(url)` makes one.
"""

from collections.abc import Callable

from ledger.port import Store

__all__ = ["initialise", "open_store"]


async def open_store(
    url: str, *, apart: bool = False, now_ns: Callable[[], int] | None = None, read_only: bool = False
) -> Store:
    """Opens the store a URL names.

    `sqlite:///relative/path`, `sqlite:////absolute/path`: the embedded store, made where it is missing. `http://…` and
    `https://…`: Elasticsearch (`ledger.elasticsearch_address` says what may stand in it), which `initialise` has made.
    `apart`: in a process of its own, for who does other work meanwhile (`ledger.store_process`). `now_ns`: the clock
    against which the times of new rows are bounded (`limits.ROW_AHEAD_S`, `ROW_BEHIND_S`); a node gives its own, who
    imports old rows none. `read_only`: an embedded store is read as it is (not `apart`); a cluster has roles for that.
    Raises ValueError for any other URL, `port.StoreError` when the store cannot be used.
    """
    if apart:
        from ledger.store_process import ProcessStore

        return await ProcessStore.open(url, now_ns)
    scheme, _, rest = url.partition("://")
    if scheme == "sqlite" and rest.startswith("/") and len(rest) > 1:
        from ledger.sqlite_store import SqliteStore

        return await SqliteStore.open(rest[1:], now_ns, read_only=read_only)
    if scheme in {"http", "https"} and rest:
        from ledger.elasticsearch_store import ElasticsearchStore

        return await ElasticsearchStore.open(url, now_ns)
    raise ValueError(f"a ledger is sqlite:///path or http(s)://host:port, not {scheme or url!r:.40}")


async def initialise(url: str) -> None:
    """Makes the store a URL names where it is missing, or brings it up to date; again changes nothing.

    In Elasticsearch this wants an administrator: whoever opens it later needs no more than to create and read.
    Raises what `open_store` raises.
    """
    if url.partition("://")[0] in {"http", "https"}:
        from ledger import elasticsearch_setup

        await elasticsearch_setup.initialise(url)
    else:
        await (await open_store(url)).close()

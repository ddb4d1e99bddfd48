"""Microtransaction rows and their stores: what the node writes and payouts settle (specification L).

`open_store(url)` is the one way to a store; what it answers is `ledger.port.Store`.
"""

from ledger.port import Store

__all__ = ["open_store"]


async def open_store(url: str, *, apart: bool = False) -> Store:
    """Opens the store a URL names, making its tables or indices where they are missing.

    `sqlite:///relative/path`, `sqlite:////absolute/path`: the embedded store. `http://…` and `https://…`, with user and
    password where the server wants them, and an optional path that prefixes the index names: Elasticsearch.
    `apart`: in a process of its own, for who does other work meanwhile (`ledger.store_process`).
    Raises ValueError for any other URL, `port.StoreError` when the store cannot be used.
    """
    if apart:
        from ledger.store_process import ProcessStore

        return await ProcessStore.open(url)
    scheme, _, rest = url.partition("://")
    if scheme == "sqlite" and rest.startswith("/") and len(rest) > 1:
        from ledger.sqlite_store import SqliteStore

        return await SqliteStore.open(rest[1:])
    if scheme in {"http", "https"} and rest:
        from ledger.elasticsearch_store import ElasticsearchStore

        return await ElasticsearchStore.open(url)
    raise ValueError(f"a ledger is sqlite:///path or http(s)://host:port, not {scheme or url!r:.40}")

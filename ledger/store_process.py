"""A store in a process of its own: the port of `ledger.port`, kept by a child process that holds the real store.

Who writes rows beside other work (the node) loses no time to them: building SQL, hashing for the second look and
waiting for the interpreter's lock happen elsewhere. The child speaks to its parent alone, over a pair of sockets that
it inherits, and ends when that is closed, after what was under way; signals meant for the parent it ignores.

    store = await ProcessStore.open("sqlite:////var/lib/cgn/ledger.db")

What goes wrong: a child that ends makes everything under way fail with StoreError (whether a write happened is
unknown, as the port says), and the next call starts another one. See docs/decisions/0013-ledger-process.md.
"""

import asyncio
import contextlib
import itertools
import pickle
import signal
import socket
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Sequence
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from cgn_sdk.keccak import keccak_256
from cgn_sdk.protocol.row import Row, RowError, carry_row

from ledger import limits, open_store
from ledger.core.batch import BatchRecord, SettlementRecord
from ledger.core.entries import refuse_times
from ledger.port import (
    Conflict,
    EntityRow,
    Head,
    Loss,
    PaymentState,
    RowHash,
    RowPayment,
    Store,
    StoredRow,
    StoreError,
    StoreFull,
    Total,
)

_LENGTH_BYTES: Final = 8

P = ParamSpec("P")
T = TypeVar("T")


class ProcessStore:
    """`ledger.port.Store` over a child process. `await ProcessStore.open(url)`; `await close()`."""

    def __init__(self, url: str, now_ns: Callable[[], int] | None = None) -> None:
        self._url = url
        self._now_ns = now_ns
        self._starting = asyncio.Lock()
        self._child: _Child | None = None
        self._closed = False

    @classmethod
    async def open(cls, url: str, now_ns: Callable[[], int] | None = None) -> "ProcessStore":
        """Starts the child, which opens the store `open_store` would. Raises what that raises."""
        store = cls(url, now_ns)
        await store._running()
        return store

    # --- rows ---

    async def append(self, rows: Sequence[Row]) -> None:
        if len(rows) > limits.APPEND_MAX_ROWS:
            raise ValueError(f"append takes {limits.APPEND_MAX_ROWS} rows at once")
        if self._now_ns is not None:  # on this side: the clock cannot be sent
            refuse_times(rows, self._now_ns())
        child = await self._running()
        await child.ask(
            "append", [(row.public_json, row.private_json, row.row_hash, row.node_signature) for row in rows]
        )

    async def read(self, after_ingest: int, limit: int) -> list[StoredRow]:
        return await self._ask(Store.read, after_ingest, limit)

    async def get(self, row_id: str) -> StoredRow | None:
        return await self._ask(Store.get, row_id)

    async def head(self) -> int:
        return await self._ask(Store.head)

    async def row_hashes(self, after_ingest: int, limit: int) -> list[RowHash]:
        return await self._ask(Store.row_hashes, after_ingest, limit)

    async def put_head(self, head: Head) -> None:
        await self._ask(Store.put_head, head)

    async def heads(self, *, after: tuple[int, str] = (0, ""), limit: int = 1_000) -> list[Head]:
        return await self._ask(Store.heads, after=after, limit=limit)

    async def newest_head(self, node_id: str) -> Head | None:
        return await self._ask(Store.newest_head, node_id)

    async def put_loss(self, loss: Loss) -> None:
        await self._ask(Store.put_loss, loss)

    async def losses(self) -> list[Loss]:
        return await self._ask(Store.losses)

    async def totals(self, first_ingest: int, last_ingest: int) -> list[Total]:
        return await self._ask(Store.totals, first_ingest, last_ingest)

    def entity_rows(self, role: str, public_id: str, first_ingest: int, last_ingest: int) -> AsyncIterator[EntityRow]:
        return self._pages(Store.entity_rows, role, public_id, first_ingest, last_ingest)

    # --- payment state and batches ---

    async def mark(
        self, role: str, public_id: str, row_ids: Sequence[str], *, state: str, batch_id: bytes = b"", tx_id: str = ""
    ) -> None:
        await self._ask(Store.mark, role, public_id, list(row_ids), state=state, batch_id=batch_id, tx_id=tx_id)

    async def payment_state(self, row_id: str) -> list[PaymentState]:
        return await self._ask(Store.payment_state, row_id)

    def payments(self, first_ingest: int, last_ingest: int) -> AsyncIterator[RowPayment]:
        return self._pages(Store.payments, first_ingest, last_ingest)

    async def begin_settlement(self, settlement: SettlementRecord) -> SettlementRecord:
        return await self._ask(Store.begin_settlement, settlement)

    async def end_settlement(self, settlement_id: bytes, ended_ns: int) -> None:
        await self._ask(Store.end_settlement, settlement_id, ended_ns)

    async def settlements(self, *, after: bytes = b"", limit: int = 1_000) -> list[SettlementRecord]:
        return await self._ask(Store.settlements, after=after, limit=limit)

    async def newest_settlement(self, chain_id: int, token: str) -> SettlementRecord | None:
        return await self._ask(Store.newest_settlement, chain_id, token)

    async def put_batch(self, batch: BatchRecord) -> None:
        await self._ask(Store.put_batch, batch)

    async def get_batch(self, batch_id: bytes) -> BatchRecord | None:
        return await self._ask(Store.get_batch, batch_id)

    async def get_batches(
        self, *, role: str = "", public_id: str = "", after: bytes = b"", limit: int = 1_000
    ) -> list[BatchRecord]:
        return await self._ask(Store.get_batches, role=role, public_id=public_id, after=after, limit=limit)

    async def batch_of(self, row_id: str, role: str, public_id: str) -> BatchRecord | None:
        return await self._ask(Store.batch_of, row_id, role, public_id)

    def batch_rows(self, batch_id: bytes) -> AsyncIterator[EntityRow]:
        return self._pages(Store.batch_rows, batch_id)

    async def close(self) -> None:
        """Ends the child after what is under way; returns when it has gone."""
        self._closed = True
        async with self._starting:
            if self._child is not None:
                await self._child.end()

    # --- the child ---

    async def _running(self) -> "_Child":
        async with self._starting:
            if self._closed:
                raise StoreError("the ledger is closed")
            if self._child is None or self._child.is_gone:
                self._child = await _Child.start(self._url)
            return self._child

    async def _ask(
        self, method: Callable[Concatenate[Store, P], Coroutine[Any, Any, T]], *arguments: P.args, **named: P.kwargs
    ) -> T:
        """The port's own method says what it takes and gives; the child is asked by its name."""
        answer: T = await (await self._running()).ask(method.__name__, *arguments, **named)
        return answer

    async def _pages(
        self, method: Callable[Concatenate[Store, P], AsyncIterator[T]], *arguments: P.args, **named: P.kwargs
    ) -> AsyncIterator[T]:
        """A sequence comes page by page, each when it is asked for; one that is left early is closed in the child."""
        child = await self._running()
        number = await child.ask(_Served.BEGIN, method.__name__, arguments, named)
        page: list[Any] | None = []
        try:
            while page := await child.ask(_Served.NEXT, number):
                for row in page:
                    yield row
        finally:
            if page and not child.is_gone:
                await child.ask(_Served.LEAVE, number)


class _Child:
    """The parent's end of one child process."""

    def __init__(
        self, process: asyncio.subprocess.Process, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer
        self._numbers = itertools.count()
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self.is_gone = False
        self._reading = asyncio.create_task(self._read(), name="ledger process")

    @classmethod
    async def start(cls, url: str) -> "_Child":
        try:
            ours, theirs = socket.socketpair()
        except OSError as error:
            raise StoreError(f"the ledger's process did not start: {error}") from error
        with theirs:
            try:
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "ledger.store_process", str(theirs.fileno())),
                    pass_fds=[theirs.fileno()],
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.DEVNULL,
                )
            except OSError as error:
                ours.close()
                raise StoreError(f"the ledger's process did not start: {error}") from error
        reader, writer = await asyncio.open_connection(sock=ours)
        child = cls(process, reader, writer)
        try:
            await child.ask(url)  # not in the arguments of the process: it may hold a password
        except BaseException:
            await child.end()
            raise
        return child

    async def ask(self, method: str, *arguments: Any, **named: Any) -> Any:
        """One call there and its answer. Raises what the store raises, StoreError when the child ends before."""
        if self.is_gone:
            raise StoreError(_GONE)
        number = next(self._numbers)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            try:
                _send(self._writer, (number, method, arguments, named))
                with contextlib.suppress(ConnectionError):  # then the reading task says so to all who wait
                    await self._writer.drain()
            except RuntimeError as error:  # the transport closed before the reading task heard of it
                raise StoreError(_GONE) from error
            return await answer
        finally:
            self._waiting.pop(number, None)

    async def end(self) -> None:
        with contextlib.suppress(OSError, RuntimeError):  # it has gone already
            self._writer.write_eof()  # its answers still come
        try:
            await asyncio.wait_for(self._process.wait(), limits.PROCESS_CLOSE_S)
        except TimeoutError:  # whatever it was at is unknown now, as when it dies
            self._process.kill()
            await self._process.wait()
        await self._reading

    async def _read(self) -> None:
        try:
            while True:
                number, error, found = await _receive(self._reader)
                answer = self._waiting.get(number)
                if answer is None or answer.done():  # who asked has gone
                    continue
                answer.set_result(found) if error is None else answer.set_exception(_raised(error, found))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # it has ended
        finally:  # whatever it was: nobody may wait for an answer that cannot come
            self.is_gone = True
            self._writer.close()
            for answer in self._waiting.values():
                if not answer.done():
                    answer.set_exception(StoreError(_GONE))


_GONE: Final = "the ledger's process has ended"
_ERRORS: Final[dict[str, type[Exception]]] = {
    error.__name__: error for error in (StoreError, StoreFull, Conflict, RowError, ValueError)
}
"""What the port may raise. Anything else is a StoreError to the parent, as an error nobody knows is."""


def _told(error: Exception) -> tuple[str, Any]:
    """An error as it is sent: its name, and what makes it."""
    if isinstance(error, RowError):
        return "RowError", error.findings
    for kind in (Conflict, StoreFull, StoreError, ValueError):
        if isinstance(error, kind):
            return kind.__name__, str(error)
    return "StoreError", f"the ledger failed: {error!r:.300}"


def _raised(name: str, made_of: Any) -> Exception:
    return _ERRORS[name](made_of)


def _send(writer: asyncio.StreamWriter, message: tuple[Any, ...]) -> None:
    data = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    writer.writelines([len(data).to_bytes(_LENGTH_BYTES, "big"), data])


async def _receive(reader: asyncio.StreamReader) -> Any:
    """The next message. Pickled, because only these two processes, of one program, hold the ends of this connection."""
    length = int.from_bytes(await reader.readexactly(_LENGTH_BYTES), "big")
    return pickle.loads(await reader.readexactly(length))  # noqa: S301 - see above


class _Served:
    """The child's side: calls run beside each other, as they come, against one store."""

    BEGIN: Final = "begin pages"
    NEXT: Final = "next page"
    LEAVE: Final = "leave pages"

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._store: Store
        self._sequences: dict[int, AsyncIterator[Any]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Until the parent's end is closed; then finishes what was begun and closes the store."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            number, url, _, _ = await _receive(self._reader)
            if not await self._answer(number, self._open(url)):
                return
            try:
                while True:
                    number, method, arguments, named = await _receive(self._reader)
                    task = asyncio.create_task(self._begin(number, method, arguments, named))
                    self._tasks.add(task)
                    task.add_done_callback(self._tasks.discard)
            finally:
                await asyncio.gather(*self._tasks, return_exceptions=True)
                await self._store.close()

    async def _open(self, url: str) -> None:
        self._store = await open_store(url)

    async def _begin(self, number: int, method: str, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        if method in {self.BEGIN, self.NEXT, self.LEAVE}:
            await self._answer(number, self._page(number, method, *arguments))
        elif method == "append":
            await self._answer(number, self._append(*arguments))
        else:
            await self._answer(number, getattr(self._store, method)(*arguments, **named))

    async def _append(self, rows: Sequence[tuple[bytes, bytes, bytes, bytes]]) -> None:
        await self._store.append([carry_row(*row, keccak_256) for row in rows])

    async def _page(self, number: int, method: str, *arguments: Any) -> Any:
        if method == self.BEGIN:
            name, given, named = arguments
            self._sequences[number] = getattr(self._store, name)(*given, **named)
            return number
        begun = arguments[0]
        if method == self.NEXT:
            page = [row async for row in _first(self._sequences[begun], limits.PORTION_ROWS)]
            if page:
                return page
        sequence = self._sequences.pop(begun)
        if isinstance(sequence, AsyncGenerator):  # which may hold a cursor of the store
            await sequence.aclose()
        return []

    async def _answer(self, number: int, work: Coroutine[Any, Any, Any]) -> bool:
        """Returns whether it went well."""
        try:
            message: tuple[Any, ...] = (number, None, await work)
        except Exception as error:
            message = (number, *_told(error))
        _send(self._writer, message)
        with contextlib.suppress(ConnectionError):
            await self._writer.drain()
        return message[1] is None


async def _first(rows: AsyncIterator[T], count: int) -> AsyncIterator[T]:
    """The next `count` of them; the sequence stays open for more."""
    while count > 0:
        try:
            yield await anext(rows)
        except StopAsyncIteration:
            return
        count -= 1


async def _serve(descriptor: int) -> None:
    reader, writer = await asyncio.open_connection(sock=socket.socket(fileno=descriptor))
    await _Served(reader, writer).run()


if __name__ == "__main__":
    for name in (signal.SIGINT, signal.SIGTERM):  # a terminal and a service manager send them to all processes
        signal.signal(name, signal.SIG_IGN)
    asyncio.run(_serve(int(sys.argv[1])))

"""The DApp client for programs without an event loop: the asynchronous one on a loop in a thread of its own (S-1)."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import AsyncIterable, AsyncIterator, Coroutine, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self, TypeGuard, TypeVar

from cgn_sdk.client.asynchronous import AsyncClient, Body, WorkResult

T = TypeVar("T")


class SyncResult:
    """A WorkResult whose body is read without await."""

    def __init__(self, client: Client, result: WorkResult) -> None:
        self._client = client
        self._result = result
        self.status = result.status
        self.headers: Mapping[str, str] = result.headers
        self.request_id = result.request_id
        self.fee_nano_eur = result.fee_nano_eur
        self.fee_nano_cpu = result.fee_nano_cpu
        self.timings = result.timings

    def read(self) -> bytes:
        return self._client.wait(self._result.read())

    def chunks(self, max_bytes: int = 64 * 1024) -> Iterator[bytes]:
        iterator = self._result.chunks(max_bytes)

        async def following() -> bytes | None:
            return await anext(iterator, None)

        while (chunk := self._client.wait(following())) is not None:
            yield chunk

    def close(self) -> None:
        self._client.call(self._result.close)


class Client:
    """Takes the same arguments as AsyncClient; every method waits."""

    def __init__(self, node: str, **arguments: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="cgn-client", daemon=True)
        self._thread.start()

        async def make() -> AsyncClient:
            return AsyncClient(node, **arguments)

        try:
            self._client = self.wait(make())
        except BaseException:
            self._end()
            raise

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine on the client's loop and returns its outcome."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def call(self, function: Any) -> None:
        self._loop.call_soon_threadsafe(function)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        if not self._loop.is_closed():
            self.wait(self._client.close())
            self._end()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def request(self, method: str, path: str, body: Body | Iterable[bytes] = None, **options: Any) -> SyncResult:
        """As AsyncClient.request; a body may also be any iterable of bytes."""
        sent = body if _is_whole(body) else _following(body)
        return SyncResult(self, self.wait(self._client.request(method, path, sent, **options)))

    def status(self, request_id: str) -> dict[str, Any]:
        """As AsyncClient.status."""
        return self.wait(self._client.status(request_id))

    def receipt(self, request_id: str) -> dict[str, Any]:
        """As AsyncClient.receipt."""
        return self.wait(self._client.receipt(request_id))

    def wait_for_proof(self, request_id: str, *, time_limit_s: float = 60) -> dict[str, Any]:
        """As AsyncClient.wait_for_proof."""
        return self.wait(self._client.wait_for_proof(request_id, time_limit_s=time_limit_s))


def _is_whole(body: Body | Iterable[bytes]) -> TypeGuard[Body]:
    """Whether the asynchronous client can send it itself."""
    return body is None or isinstance(body, (bytes, bytearray, memoryview, io.IOBase, AsyncIterable))


async def _following(body: Any) -> AsyncIterator[bytes]:
    """The iterable's parts, each made in another thread: the caller's iterable may wait, the client's loop may not."""
    iterator = iter(body)
    while (part := await asyncio.to_thread(next, iterator, None)) is not None:
        yield part

"""The DApp client for programs without an event loop: the asynchronous one on a loop in a thread of its own (S-1)."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeGuard, TypeVar

from cgn_sdk.client.asynchronous import AsyncClient, Body, WorkResult
from cgn_sdk.client.errors import ClientClosed

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

    @property
    def ok(self) -> bool:
        """Whether the DService answered with a status below 400."""
        return self._result.ok

    def raise_for_status(self) -> Self:
        """As WorkResult.raise_for_status."""
        self._client.wait(self._result.raise_for_status())
        return self

    def read(self) -> bytes:
        """As WorkResult.read."""
        return self._client.wait(self._result.read())

    def save(self, path: str | Path) -> int:
        """As WorkResult.save."""
        return self._client.wait(self._result.save(path))

    def chunks(self, max_bytes: int = 64 * 1024) -> Iterator[bytes]:
        """As WorkResult.chunks."""
        iterator = self._result.chunks(max_bytes)

        async def following() -> bytes | None:
            return await anext(iterator, None)

        while (chunk := self._client.wait(following())) is not None:
            yield chunk

    def close(self) -> None:
        """As WorkResult.close."""
        self._client.call(self._result.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Client:
    """Takes the same arguments as AsyncClient; every method waits."""

    def __init__(
        self,
        node: str,
        *,
        account_id: str,
        api_key: str,
        end_user: str = "",
        ca_file: str | Path | None = None,
        time_limit_s: float = 300,
    ) -> None:
        """As AsyncClient."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="cgn-client", daemon=True)
        self._thread.start()

        async def make() -> AsyncClient:
            return AsyncClient(
                node,
                account_id=account_id,
                api_key=api_key,
                end_user=end_user,
                ca_file=ca_file,
                time_limit_s=time_limit_s,
            )

        try:
            self._client = self.wait(make())
        except BaseException:
            self._end()
            raise

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine on the client's loop and returns its outcome. Raises ClientClosed behind `close`."""
        if self._loop.is_closed():
            work.close()
            raise ClientClosed("the client is closed; make a new one")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def call(self, function: Callable[[], object]) -> None:
        """Calls a function on the client's loop, some time; behind `close` there is nothing left to call it for."""
        if not self._loop.is_closed():
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

    def request(
        self,
        method: str,
        path: str,
        body: Body | Iterable[bytes] = None,
        headers: Mapping[str, str] | None = None,
        *,
        tiers: Sequence[str] | str = (),
        deadline_ms: int | None = None,
        max_fee_nano_eur: int | None = None,
        match: Literal["", "immediate", "fastest"] = "",
        request_id: str = "",
        meta: Mapping[str, str] | None = None,
    ) -> SyncResult:
        """As AsyncClient.request; a body may also be any iterable of bytes."""
        sent = body if _is_whole(body) else _following(body)
        result = self._client.request(
            method,
            path,
            sent,
            headers,
            tiers=tiers,
            deadline_ms=deadline_ms,
            max_fee_nano_eur=max_fee_nano_eur,
            match=match,
            request_id=request_id,
            meta=meta,
        )
        return SyncResult(self, self.wait(result))

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
    """Whether the asynchronous client can send it itself, or refuses it in words: parts of a text or a dict are no
    bytes."""
    whole = (bytes, bytearray, memoryview, str, Mapping, io.IOBase, AsyncIterable)
    return body is None or isinstance(body, whole) or not isinstance(body, Iterable)


async def _following(body: Any) -> AsyncIterator[bytes]:
    """The iterable's parts, each made in another thread: the caller's iterable may wait, the client's loop may not."""
    iterator = iter(body)
    while (part := await asyncio.to_thread(next, iterator, None)) is not None:
        yield part

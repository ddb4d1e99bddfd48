"""The DApp's side (S-1): sessions, work requests, results, receipts.

    async with AsyncClient("https://node.example", account_id="ent_…", api_key="cgn_…") as client:
        result = await client.request("GET", "/mgen/io?script=…")
        await result.save("picture.png")
        print(result.fee_nano_eur, result.timings)

`Client` is the same for programs without an event loop. Everything that a request can raise is a `CgnError`.
"""

from cgn_sdk.client.asynchronous import AsyncClient, WorkResult
from cgn_sdk.client.errors import (
    AnswerCutShort,
    CgnError,
    CgnProblem,
    ClientClosed,
    DServiceError,
    NoAnswerInTime,
    NodeUnreachable,
)
from cgn_sdk.client.synchronous import Client, SyncResult

__all__ = [
    "AnswerCutShort",
    "AsyncClient",
    "CgnError",
    "CgnProblem",
    "Client",
    "ClientClosed",
    "DServiceError",
    "NoAnswerInTime",
    "NodeUnreachable",
    "SyncResult",
    "WorkResult",
]

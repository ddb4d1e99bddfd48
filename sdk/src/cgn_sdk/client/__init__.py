"""The DApp's side (S-1): sessions, work requests, results, receipts.

    async with AsyncClient("https://node.example", account_id="ent_…", api_key="cgn_…") as client:
        result = await client.request("GET", "/mgen/io?script=…")
        picture = await result.read()
        print(result.fee_nano_eur, result.timings)

`Client` is the same for programs without an event loop.
"""

from cgn_sdk.client.asynchronous import AsyncClient, CgnProblem, WorkResult
from cgn_sdk.client.synchronous import Client

__all__ = ["AsyncClient", "CgnProblem", "Client", "WorkResult"]

"""The price estimate of a request (G-8): the same script in the same sandbox, over a host that only weighs the work."""

from __future__ import annotations

import json

from cgn_sdk.dservice.estimates import Estimate, Work

from dservices.mediagen.front.service import MediaGen


async def estimate(service: MediaGen, work: Work) -> Estimate:
    """The price estimate of a request. Problem where the request itself would meet one before any picture is made."""
    order = {**service.order(work.target, work.headers), "mode": "estimate", "body_bytes": work.body_bytes}
    named = await service.stores_of(order, service.settings.wall_s)
    fetch = named.fetch(service.fetch)
    script = await service.script(str(order["script"]), service.settings.wall_s, fetch)
    _, body = await service.pool.run({**order, "stores": named.names}, script, fetch=fetch)
    answer = json.loads(body)
    cpu_ns = round(answer["cpu_ns"] * answer["factor"])
    return Estimate(cpu_ns, basis=answer["basis"], within_ppm=answer["within_ppm"])

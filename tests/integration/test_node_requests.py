"""Requests through a real node: from a DApp over the tunnel to a scripted miner, and into the ledger (N-1 to N-25)."""

from pathlib import Path

import node_world as support


async def test_a_request_crosses_node_and_miner_and_leaves_a_row(tmp_path: Path) -> None:
    async with support.world(tmp_path) as world:
        miner = await world.miner(serve=support.echo).join()
        reply = await world.call("POST", "/noop/a?b=c", "X-Mine: 1", "CGN-Meta-Campaign: spring", body=b"data")
        assert (reply.status, reply.body) == (200, b"data")
        opened = miner.opened[0]
        assert (opened.method, opened.target, opened.dservice, opened.body_bytes) == ("POST", "/noop/a?b=c", "noop", 4)
        assert opened.headers == (("Host", "localhost"), ("X-Mine", "1"))
        (row,) = await world.rows()
        assert row["row_id"] == reply.headers["cgn-request-id"] == opened.request_id
        assert row["usage_fee_nano_eur"] == reply.headers["cgn-fee-nano-eur"]
        assert row["usage_fee_nano_cpu"] == reply.headers["cgn-fee-nano-cpu"]
        assert {part.split(";")[0] for part in reply.headers["server-timing"].split(", ")} == {
            "queue", "match", "network", "work", "record",
        }  # fmt: skip

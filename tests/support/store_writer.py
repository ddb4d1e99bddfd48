"""A process that appends rows to an embedded ledger until it is killed; each acknowledged number goes to stdout.

store_writer.py URL FIRST
"""

import asyncio
import hashlib
import os
import sys

from cgn_sdk.keccak import keccak_256
from cgn_sdk.protocol.row import PayIn, Payout, Row, build_row

from ledger import open_store

ID = "p" + "a" * 26


def make(number: int) -> Row:
    fee = number * 7
    return build_row(
        row_id=f"{number:032x}",
        event_time_ns=number,
        node_id=ID,
        enterprise_id=ID,
        contributor_id=ID,
        developer_id=ID,
        operator_id=ID,
        dservice="noop",
        dservice_version="1",
        tier="2",
        usage_fee_nano_eur=fee,
        usage_fee_nano_cpu=fee,
        exchange_rate_nano_eur_per_cpu=10**9,
        pay_in=[PayIn("enterprise", ID, fee)],
        payouts=[Payout("operator", ID, fee, fee)],
        parts={},
        salt=hashlib.sha256(b"%d" % number).digest(),
        keccak=keccak_256,
    )


async def main(url: str, number: int) -> None:
    store = await open_store(url)
    while True:
        groups = [[make(n) for n in range(first, first + 3)] for first in range(number, number + 30, 3)]
        await asyncio.gather(*(store.append(group) for group in groups))
        os.write(1, b"%d\n" % (number + 29))
        number += 30


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))

"""The contract's prices against decimal arithmetic, every day for forty years (P-4)."""

import json
import urllib.request
from collections.abc import Sequence

import pytest

from payouts import deploy
from payouts.bindings.resource_prices import ResourcePrices
from payouts.core import resource_prices as prices
from payouts.deploy import Sender
from payouts.rpc import Rpc

pytestmark = pytest.mark.engine("anvil")
LAST_DAY = 14_600
PER_REQUEST = 1_000


@pytest.fixture(scope="module")
def contract(anvil_url: str) -> ResourcePrices:
    rpc = Rpc(anvil_url)
    admin = Sender(rpc, deploy.development_key("admin"))
    rpc("anvil_setBalance", admin.address, hex(10**21))
    receipt = admin.create(ResourcePrices.deploy_data(admin.address, 0))
    return ResourcePrices(receipt["contractAddress"])


def amounts(url: str, contract: ResourcePrices, resource: int, days: Sequence[int]) -> list[int]:
    found = []
    for first in range(0, len(days), PER_REQUEST):
        calls = [contract.amount_on(resource, day) for day in days[first : first + PER_REQUEST]]
        body = [
            {
                "jsonrpc": "2.0",
                "id": number,
                "method": "eth_call",
                "params": [{"to": call.to, "data": "0x" + call.data.hex()}, "latest"],
            }
            for number, call in enumerate(calls)
        ]
        request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            members = sorted(json.load(answer), key=lambda item: item["id"])
        found += [int(item["result"], 16) for item in members]
    return found


@pytest.mark.parametrize("resource", prices.RESOURCES, ids=lambda resource: resource.unit)
def test_every_day_to_the_last_unit(anvil_url: str, contract: ResourcePrices, resource: prices.Resource) -> None:
    days = [prices.DAY_ZERO + n for n in range(LAST_DAY + 1)]
    expected = [prices.amount_on(resource.white_paper, day) for day in days]
    assert amounts(anvil_url, contract, resource.number, days) == expected


@pytest.mark.parametrize("doubling_days", [1, 2, 180, 365, 1461, 36_500])
def test_other_coefficients_agree_too(anvil_url: str, contract: ResourcePrices, doubling_days: int) -> None:
    """The factor that the mirror computes is taken by the contract, and gives the mirror's amounts."""
    rpc = Rpc(anvil_url)
    admin = Sender(rpc, deploy.development_key("admin"))
    taken = rpc("evm_snapshot")
    admin.send(contract.grant_role(deploy.role_id("pricing"), admin.address))
    first = rpc.ask(contract.today()) + 1
    terms = prices.Coefficients(first, 123_456_789_012_345_678_901, doubling_days)
    admin.send(contract.set_coefficients(1, first, terms.amount, doubling_days, prices.factor(doubling_days)))
    days = [first + n for n in range(0, min(20 * doubling_days, 3_000), 7)]
    assert amounts(anvil_url, contract, 1, days) == [prices.amount_on(terms, day) for day in days]
    quantity = 10**20 + 7
    assert rpc.ask(contract.cost_on(1, quantity, days[-1])) == prices.cost(terms, quantity, days[-1])
    rpc("evm_revert", taken)

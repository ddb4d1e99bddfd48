"""Deployment and one whole settlement on a real chain, through the bindings (P-1)."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cgn_sdk.keccak import keccak_256
from cgn_sdk.protocol.settlement import entity_on_chain

from payouts import chain_app, deploy
from payouts.bindings import batches, utility_token
from payouts.bindings.abi import Call, Log
from payouts.deploy import Manifest, ManifestMismatch, Sender
from payouts.rpc import Rpc, RpcError

pytestmark = pytest.mark.engine("anvil")
CPU = 10**9


@pytest.fixture(scope="module")
def rpc(anvil_url: str) -> Rpc:
    return Rpc(anvil_url)


@pytest.fixture(scope="module")
def deployed(rpc: Rpc) -> Manifest:
    for name in (*deploy.ROLES, "enterprise"):
        rpc("anvil_setBalance", deploy.address_of(deploy.development_key(name)), hex(10**21))
    return deploy.deploy(rpc, deploy.development_key("admin"), deploy.development_plan())


@pytest.fixture(autouse=True)
def snapshot(rpc: Rpc, deployed: Manifest) -> Iterator[None]:
    taken = rpc("evm_snapshot")
    yield
    rpc("evm_revert", taken)


def sender(rpc: Rpc, name: str) -> Sender:
    return Sender(rpc, deploy.development_key(name))


def logs(receipt: dict[str, object]) -> list[Log]:
    return [
        Log(log["address"], tuple(bytes.fromhex(t[2:]) for t in log["topics"]), bytes.fromhex(log["data"][2:]))
        for log in receipt["logs"]  # type: ignore[attr-defined]
    ]


def refusal(rpc: Rpc, call: Call[object], name: str) -> str:
    with pytest.raises(RpcError) as refused:
        rpc.ask(call, sender=deploy.address_of(deploy.development_key(name)))
    assert refused.value.revert is not None, refused.value
    return refused.value.revert.name


def test_a_day_is_collected_and_paid_and_the_account_ends_at_zero(rpc: Rpc, deployed: Manifest) -> None:
    token = deployed.token
    payer = deploy.address_of(deploy.development_key("enterprise"))
    sender(rpc, "admin").send(deployed.faucet.give(payer, 100 * CPU))
    sender(rpc, "enterprise").send(token.approve(token.address, 50 * CPU))
    now = int(rpc("eth_getBlockByNumber", "latest", False)["timestamp"], 16)
    books, entity = deployed.accounts["payer"], entity_on_chain("p" + "e" * 26)
    day = keccak_256(b"a day")
    payees = [
        batches.Item(
            entity_on_chain("p" + "bcde"[n] * 26), 1 + n % 4, f"0x{n + 1:040x}", 5 * CPU, b"x" * 32, b"m" * 32, n
        )
        for n in range(4)
    ]
    committed = batches.payout_lists([payees[:2], payees[2:3], payees[3:]], keccak_256)
    sender(rpc, "collector").send(token.reserve(books, payer, entity, 0, 30 * CPU, day, now + 3600))
    assert rpc.ask(token.balance_of(token.address)) == 30 * CPU
    assert rpc.ask(token.reservation(books, payer, entity, 0)) == (1, 30 * CPU, 0, now + 3600, day[:10])
    sender(rpc, "collector").send(token.begin(books, day, bytes(32), 1, 9, 20 * CPU, 20 * CPU, committed.root))
    assert rpc.ask(token.settlement_of(books)) == (day, committed.root, 9, 20 * CPU, 20 * CPU)

    collection = batches.Item(entity, 0, payer, 20 * CPU, b"x" * 32, b"m" * 32, 3)
    receipt = sender(rpc, "collector").send(batches.collect(token, books, day, [collection]))
    settled = [event for log in logs(receipt) if (event := utility_token.Settled.decode(log))]
    assert settled == [utility_token.Settled(day, entity, 0, 20 * CPU, 3, b"x" * 32, b"m" * 32, payer)]
    assert rpc.ask(token.balance_of(payer)) == 80 * CPU
    assert rpc.ask(token.balance_of(token.address)) == 0

    settled = []
    for number in range(3):
        receipt = sender(rpc, "payer").send(batches.pay(token, day, committed, number))
        settled += [event for log in logs(receipt) if (event := utility_token.Settled.decode(log))]
    assert [(event.entity, event.role, event.account, event.amount, event.row_count) for event in settled] == [
        (payee.entity, payee.role, payee.account, payee.amount, payee.row_count) for payee in payees
    ]
    assert rpc.ask(token.balance_of(books)) == 0
    assert [rpc.ask(token.balance_of(payee.account)) for payee in payees] == [5 * CPU] * 4
    assert refusal(rpc, batches.pay(token, day, committed, 1), "payer") == "AlreadySettled"
    other = batches.payout_lists([payees], keccak_256)
    assert refusal(rpc, batches.pay(token, day, other, 0), "payer") == "ListNotCommitted"
    assert refusal(rpc, batches.pay(token, b"2" * 32, committed, 0), "payer") == "NotTheCurrent"
    assert refusal(rpc, batches.pay(token, day, committed, 0), "collector") == "NotTheCurrent"
    # the same rows once more under another id, as a restored backup would have it
    again = token.begin(books, b"2" * 32, bytes(32), 1, 9, 0, 0, batches.NO_PAYOUTS)
    assert refusal(rpc, again, "collector") == "NotThePrevious"
    again = token.begin(books, b"2" * 32, day, 1, 9, 0, 0, batches.NO_PAYOUTS)
    assert refusal(rpc, again, "collector") == "NotTheNextRow"


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 8, 13])
def test_every_list_has_a_proof_that_the_contract_takes(rpc: Rpc, deployed: Manifest, count: int) -> None:
    """Whatever the number of lists; and the proof of one is not another's."""
    token, books = deployed.token, deployed.accounts["payer"]
    payees = [
        batches.Item(bytes([n + 1]) * 16 + bytes(16), 1, f"0x{n + 1:040x}", 1, b"x" * 32, b"m" * 32, 1)
        for n in range(count)
    ]
    committed = batches.payout_lists([[payee] for payee in payees], keccak_256)
    owner = deploy.address_of(deploy.development_key("enterprise"))
    entity = entity_on_chain("p" + "e" * 26)
    sender(rpc, "admin").send(deployed.faucet.give(owner, count))
    sender(rpc, "enterprise").send(token.approve(token.address, count))
    now = int(rpc("eth_getBlockByNumber", "latest", False)["timestamp"], 16)
    collector = sender(rpc, "collector")
    collector.send(token.reserve(books, owner, entity, 0, count, b"d" * 32, now + 3600))
    collector.send(token.begin(books, b"d" * 32, bytes(32), 1, 1, count, count, committed.root))
    item = batches.Item(entity, 0, owner, count, b"x" * 32, b"m" * 32, 1)
    collector.send(batches.collect(token, books, b"d" * 32, [item]))
    for number in range(count):
        if count > 1:
            wrong = token.pay(b"d" * 32, committed.lists[number], committed.proofs[number - 1])
            assert refusal(rpc, wrong, "payer") == "ListNotCommitted"
        sender(rpc, "payer").send(batches.pay(token, b"d" * 32, committed, number))
    assert rpc.ask(token.balance_of(books)) == 0


def test_status_is_what_the_chain_holds(rpc: Rpc, deployed: Manifest) -> None:
    before = chain_app.status(deployed, rpc)
    sender(rpc, "admin").send(deployed.faucet.give("0x" + "11" * 20, 7 * CPU))
    after = chain_app.status(deployed, rpc)
    assert after["supply_nano_cpu"] - before["supply_nano_cpu"] == 7 * CPU
    assert all(role["holds"] for role in after["roles"].values())


def test_a_manifest_survives_its_file(deployed: Manifest, tmp_path: Path) -> None:
    deployed.save(tmp_path / "a" / "manifest.json")
    assert Manifest.load(tmp_path / "a" / "manifest.json") == deployed


@pytest.mark.parametrize("change", ["chain", "no_code", "other_code", "foreign_code"])
def test_a_chain_that_is_not_the_manifests_is_refused(rpc: Rpc, deployed: Manifest, change: str) -> None:
    token = deployed.contracts["UtilityToken"]
    wrong = {
        "chain": replace(deployed, chain_id=1),
        "no_code": replace(deployed, contracts={"UtilityToken": replace(token, address="0x" + "12" * 20)}),
        "other_code": replace(deployed, contracts={"UtilityToken": replace(token, code_hash="00" * 32)}),
        "foreign_code": deployed,
    }[change]
    if change == "foreign_code":  # one byte of the code changed, and a manifest made to agree with it
        code = bytearray(rpc.code(token.address))
        code[100] ^= 1
        rpc("anvil_setCode", token.address, "0x" + code.hex())
        wrong = replace(deployed, contracts={"UtilityToken": replace(token, code_hash=keccak_256(bytes(code)).hex())})
    with pytest.raises(ManifestMismatch) as refused:
        deploy.check(wrong, rpc)
    assert len(refused.value.findings) == 1


def test_minters_are_sealed_and_the_admin_cannot_make_another(rpc: Rpc, deployed: Manifest) -> None:
    admin = deploy.address_of(deploy.development_key("admin"))
    for call in (deployed.token.announce_role, deployed.token.grant_role):
        assert refusal(rpc, call(deploy.role_id("minter"), admin), "admin") in (
            "AccessControlUnauthorizedAccount",
            "NothingAnnounced",
        )
    assert refusal(rpc, deployed.token.mint(admin, 1), "admin") == "AccessControlUnauthorizedAccount"


def test_light_start(rpc: Rpc) -> None:
    """Neither web3 nor the ABI codec is imported before it is needed (1.4 s)."""
    import subprocess
    import sys

    code = "import payouts.chain_app, sys; print(sorted({'web3', 'eth_abi', 'eth_account'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


def test_the_recursion_limit_stays(rpc: Rpc, deployed: Manifest) -> None:
    """A dependency of eth_account raises it to 100,000, where nested JSON from outside would end the process."""
    import json
    import sys

    from payouts import ethereum

    ethereum.eth_account()
    ethereum.web3()
    assert sys.getrecursionlimit() < 10_000
    with pytest.raises(RecursionError):
        json.loads("[" * 90_000)

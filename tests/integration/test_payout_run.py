"""`cgn payouts run` on a real chain and a real ledger (P-6 to P-13)."""

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import payout_world as kit
import pytest

from payouts import app

pytestmark = pytest.mark.engine("anvil")


@pytest.fixture(scope="module")
def chain_url() -> Iterator[str]:
    with kit.anvil() as url:
        yield url


@pytest.fixture
def world(chain_url: str, tmp_path: Path) -> Any:
    """Contracts of this test's own on the module's chain, an empty ledger."""
    return kit.make_world(chain_url, tmp_path)


def row(number: int, **changes: Any) -> Any:
    return kit.make_row(number, **changes)


FEE = 20_000_000  # 1e-9 CPU: what a row of 1,000,000 nano-EUR costs


def test_a_day_is_settled_to_the_unit(world: Any) -> None:
    """P-7, P-8, P-10, P-12: one collection, one payout per beneficiary, everything marked, nothing left over."""
    world.fund("enterprise 0", 10**12, approved=10**12)
    world.fund("enterprise 1", 10**12, approved=10**12)
    rows = [
        row(n, enterprise=f"enterprise {n % 2}", contributor=f"contributor {n % 3}", charity="charity" if n % 4 else "")
        for n in range(24)
    ]
    world.add_rows(rows)
    before = {name: world.balance(name) for name in ("enterprise 0", "contributor 0", "operator 0", "charity")}
    report = world.settle()
    assert report["balances"]
    assert (report["opening"], report["collected"], report["paid"], report["closing"]) == (0, 24 * FEE, 24 * FEE, 0)
    assert len(report["collections"]) == 2
    assert sorted(line["role"] for line in report["payouts"]) == [
        *["charity"],
        *["contributor"] * 3,
        "developer",
        "operator",
    ]
    gained = {name: world.balance(name) - amount for name, amount in before.items()}
    assert gained["enterprise 0"] == -12 * FEE
    assert gained["contributor 0"] == 8 * FEE * 70 // 100
    assert gained["charity"] + gained["operator 0"] == 24 * FEE // 10
    for item in rows:
        assert {state for state, _ in world.payment_states(item.row_id).values()} == {"collected", "paid"}
    assert [tx["step"] for tx in report["transactions"]] == ["reserve", "reserve", "begin", "collect", "pay"]


def test_a_second_run_takes_only_what_is_new(world: Any) -> None:
    """P-6: rows by ingestion order; a row that comes late falls in the next run, and none in two."""
    world.fund("enterprise 0", 10**12, approved=10**12)
    world.add_rows([row(n) for n in range(5)])
    first = world.settle()
    assert world.settle()["transactions"] == []
    world.add_rows([row(99, time_ns=1)])  # older than all, stored last
    second = world.settle()
    assert (first["last_ingest"], second["first_ingest"], second["last_ingest"]) == (5, 6, 6)
    assert (first["paid"], second["paid"]) == (5 * FEE, FEE)
    assert second["settlement_id"] != first["settlement_id"]


def test_below_the_minimum_is_carried_over(world: Any) -> None:
    """P-8: the share stays in the payouts account, the rows wait, and the next run pays all of it."""
    world.fund("enterprise 0", 10**12, approved=10**12)
    world.add_rows([row(1)])
    minimum = FEE * 30 // 100
    first = world.settle(minimum_payout_nano_cpu=minimum)
    carried = FEE * 30 // 100
    assert (first["carried"], first["closing"], world.kept()) == (carried, carried, carried)
    states = {role: state for (role, _), (state, _) in world.payment_states(row(1).row_id).items()}
    assert states == {
        "enterprise": "collected",
        "contributor": "paid",
        "developer": "carried",
        "operator": "carried",
    }
    world.add_rows([row(2)])
    second = world.settle(minimum_payout_nano_cpu=minimum)
    paid = {line["role"]: (line["amount"], line["rows"]) for line in second["payouts"]}
    assert paid["developer"] == (FEE * 40 // 100, 2)
    assert (second["opening"], second["carried_in"], second["carried"]) == (carried, carried, FEE * 20 // 100)
    assert second["balances"]


def test_who_cannot_pay_is_flagged_and_the_run_goes_on(world: Any) -> None:
    """P-7: its rows stay pending as a whole; nobody is paid for them until they are collected."""
    world.fund("enterprise 0", 10**12, approved=10**12)
    world.fund("enterprise 1", FEE, approved=10**12)  # half of what it will owe
    world.add_rows([row(1), row(2, enterprise="enterprise 1"), row(3, enterprise="enterprise 1")])
    first = world.settle()
    assert [line["id"] for line in first["flagged"]] == [kit.public_id("enterprise 1")]
    assert (first["collected"], first["paid"], first["closing"]) == (FEE, FEE, 0)
    assert world.balance("enterprise 1") == FEE
    assert {state for state, _ in world.payment_states(row(2).row_id).values()} == {"pending"}
    world.fund("enterprise 1", FEE)
    second = world.settle()
    assert (second["collected"], second["paid"], second["flagged"]) == (2 * FEE, 2 * FEE, [])
    assert {state for state, _ in world.payment_states(row(2).row_id).values()} == {"collected", "paid"}


def test_the_treasury_tops_up_what_is_short(world: Any) -> None:
    """P-7: by exactly what is missing, once."""
    world.fund("enterprise 0", FEE // 2, approved=10**12)
    world.fund("treasury", 10**12)
    world.add_rows([row(1)])
    report = world.settle(treasury_key=kit.Secret(kit.development_key("treasury").hex()))
    assert report["flagged"] == []
    assert [tx["step"] for tx in report["transactions"]] == ["reserve", "top_up", "begin", "collect", "pay"]
    assert world.balance("treasury") == 10**12 - FEE // 2
    assert world.balance("enterprise 0") == 0


def test_a_payer_cannot_empty_the_treasury(world: Any) -> None:
    """P-7: the payer moves away whatever comes into its account. The top-up never does: it goes to beneficiaries or back."""
    treasury = kit.Secret(kit.development_key("treasury").hex())
    world.fund("enterprise 0", 0, approved=10**12)
    world.fund("enterprise 1", 0, approved=1)  # has not agreed to pay: nobody pays for it
    world.fund("treasury", 10**12)
    world.add_rows([row(1), row(2, enterprise="enterprise 1")])
    token, thief = world.manifest.token, kit.account("thief")

    def steal(point: str) -> None:
        there = world.balance("enterprise 0")
        if there:
            kit.Sender(world.rpc, kit.development_key("enterprise 0")).send(token.transfer(thief, there))

    for _ in range(3):
        report = asyncio.run(app.settle(world.settings(treasury_key=treasury), at=steal, tell=print))
    assert [line["id"] for line in report["flagged"]] == [kit.public_id("enterprise 1")]
    assert world.rpc.ask(token.balance_of(thief)) == 0
    assert world.balance("treasury") == 10**12 - FEE  # what the beneficiaries of row 1 got, once
    assert world.balance("contributor 0") == FEE * 70 // 100
    assert world.rpc.ask(token.balance_of(token.address)) == 0  # and nothing is left set aside


def test_what_a_treasury_adds_for_a_payer_is_bounded(world: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """P-7: a payer that holds nothing, in league with a miner, takes no more than the bounds, however often it comes."""
    changes = {
        "treasury_key": kit.Secret(kit.development_key("treasury").hex()),
        "top_up_run_nano_cpu": 2 * FEE,
        "top_up_total_nano_cpu": 3 * FEE,
    }
    world.fund("enterprise 0", 0, approved=10**12)
    world.fund("treasury", 10**12)
    payer, added = kit.public_id("enterprise 0"), []
    for first, count in ((0, 2), (2, 1), (3, 1)):  # at the bound of a run, at that of all, and one more
        world.add_rows([row(number) for number in range(first, first + count)])
        report = world.settle(**changes)
        added.append([(line["id"], line["amount"], line["total"]) for line in report["top_ups"]])
    assert added == [[(payer, 2 * FEE, 2 * FEE)], [(payer, FEE, 3 * FEE)], []]
    assert [line["id"] for line in report["flagged"]] == [payer]
    assert f"the treasury has added {3 * FEE} for it before" in capsys.readouterr().out
    assert world.settle(**changes)["flagged"], "it stays so"
    assert world.balance("treasury") == 10**12 - 3 * FEE
    world.fund("enterprise 0", FEE)
    world.rpc("evm_increaseTime", 60)
    world.rpc("evm_mine")
    assert world.settle(**changes)["collected"] == FEE, "whoever pays by itself is served"


def test_the_bound_for_a_payer_rests_on_the_chain(world: Any, tmp_path: Path) -> None:
    """P-7: a lost journal, another enterprise that pays from the same account, another account of the same enterprise,
    another node: all that was added for the payer counts."""
    changes = {
        "treasury_key": kit.Secret(kit.development_key("treasury").hex()),
        "top_up_run_nano_cpu": 2 * FEE,
        "top_up_total_nano_cpu": 3 * FEE,
    }
    world.fund("treasury", 10**12)
    for name in ("wallet", "new wallet"):
        world.fund(name, 0, approved=10**12)
    first, second = ({"enterprise": f"enterprise {n}", "accounts": {f"enterprise {n}": "wallet"}} for n in (0, 1))

    def added(at: Any, *rows: Any, **keys: Any) -> tuple[int, int]:
        """How much the treasury gave, and how many payers were flagged."""
        before = world.balance("treasury")
        at.add_rows(rows)
        report = at.settle(**changes, **keys)
        assert sum(line["amount"] for line in report["top_ups"]) == before - world.balance("treasury")
        return before - world.balance("treasury"), len(report["flagged"])

    assert added(world, row(0, **first), row(1, **second), row(2, **second)) == (2 * FEE, 1)  # a run's bound, for both
    world.journal.unlink()
    assert added(world) == (FEE, 0)  # what was left of all
    world.journal.unlink()
    assert added(world, row(3, **first)) == (0, 1)
    moved = {"enterprise": "enterprise 1", "accounts": {"enterprise 1": "new wallet"}}
    assert added(world, row(4, **moved)) == (0, 2)
    other = kit.World(world.url, tmp_path / "second", world.manifest)
    other.folder.mkdir()
    world.manifest.save(other.folder / "manifest.json")
    world.open_account("payer 2", "collector 2")
    keys = {f"{key}_key": kit.Secret(kit.development_key(f"{key} 2").hex()) for key in ("payer", "collector")}
    world.sender("collector 2")
    assert added(other, row(5, **second), **keys) == (0, 1)
    assert added(other, row(6, enterprise="enterprise 2"), **keys) == (0, 2), "has approved nothing"


def test_runs_of_one_day_that_settle_nothing_do_not_meet(world: Any) -> None:
    """P-11: they share a settlement's id; each reserves and gives back by itself, and nothing stays set aside."""
    world.fund("enterprise 0", FEE // 2, approved=10**12)
    world.add_rows([row(1)])
    token, found = world.manifest.token, set()
    world.settle()
    for _ in range(10):
        report = world.settle()
        found.add(report["settlement_id"])
        assert [tx["step"] for tx in report["transactions"]] == ["reserve", "release"]
        assert world.balance("enterprise 0") == FEE // 2
        assert world.rpc.ask(token.balance_of(token.address)) == 0
    assert len(found) == 1
    world.fund("enterprise 0", FEE)
    assert world.settle()["collected"] == FEE


def test_a_payer_that_lacks_more_than_a_run_allows_is_flagged(world: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """P-7, and without a treasury nobody is said to be topped up."""
    world.fund("enterprise 0", 0, approved=10**12)
    world.fund("treasury", 10**12)
    world.add_rows([row(0)])
    treasury = kit.Secret(kit.development_key("treasury").hex())
    assert world.settle(treasury_key=treasury, top_up_run_nano_cpu=FEE - 1)["flagged"]
    assert world.settle()["flagged"]
    assert world.balance("treasury") == 10**12
    assert "topped up" not in capsys.readouterr().out


def test_two_nodes_settle_through_one_contract(world: Any, tmp_path: Path) -> None:
    """P-18: each with its own payouts account, collector, ledger and journal; neither takes the other's settlements for
    its own, and neither pays the other's account."""
    second = kit.World(world.url, tmp_path / "second", world.manifest)
    second.folder.mkdir()
    world.manifest.save(second.folder / "manifest.json")
    keys = {
        "payer_key": kit.Secret(kit.development_key("payer 2").hex()),
        "collector_key": kit.Secret(kit.development_key("collector 2").hex()),
    }
    with pytest.raises(ValueError, match="not an open payouts account"):
        second.settle(**keys)
    world.open_account("payer 2", "collector 2", node="node 2")
    world.fund("enterprise 0", 10**12, approved=10**12)
    for round_ in range(2):
        world.add_rows([row(10 * round_ + n) for n in range(2)])
        second.add_rows([row(10 * round_ + 5 + n, operator="payer", node="node 2") for n in range(3)])
        reports = [world.settle(), second.settle(**keys)]
        assert [report["collected"] for report in reports] == [2 * FEE, 3 * FEE]
        assert all(report["balances"] for report in reports)
        held = [(item["role"], item["reason"]) for item in reports[1]["held_back"]]
        assert held == [("operator", "address")]  # the first node's payouts account is no address that can be paid
    assert world.balance("enterprise 0") == 10**12 - 10 * FEE
    with pytest.raises(ValueError, match="the collector of"):
        second.settle(**(keys | {"collector_key": world.settings().collector_key}))


def test_the_payouts_account_is_made_here_and_opens_itself(
    world: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """P-18: the key never leaves the node; an administrator announces the address, and the account agrees."""

    key = tmp_path / "account.key"
    assert app.main(["account", "--key-file", str(key)]) == 0
    address = capsys.readouterr().out.split()[-1]
    assert key.stat().st_mode & 0o077 == 0
    assert app.main(["account", "--key-file", str(key)]) == 0
    assert capsys.readouterr().out.split() == [address]  # the same, and nothing else
    (tmp_path / "payouts.toml").write_text(
        f'ledger_url = "{world.ledger_url}"\njournal = "journal.sqlite"\nrpc_url = "{world.url}"\n'
        f'manifest = "{world.folder}/manifest.json"\ncollector_key_file = "account.key"\n'
        'payer_key_file = "account.key"\n'
    )
    world.rpc("anvil_setBalance", address, hex(10**21))
    assert app.main(["accept", "--config", str(tmp_path / "payouts.toml")]) == 1
    assert "NothingAnnounced" in capsys.readouterr().err
    announced = world.manifest.token.announce_account(address, kit.account("collector"), kit.NOBODY, kit.NO_NODE)
    world.sender("admin").send(announced)
    assert app.main(["accept", "--config", str(tmp_path / "payouts.toml")]) == 0
    assert world.rpc.ask(world.manifest.token.payouts_account(address)) == (kit.account("collector"), 0, True)
    key.write_text("")
    assert app.main(["account", "--key-file", str(key)]) == 1
    assert "no private key" in capsys.readouterr().err


def test_a_payee_without_an_account_holds_nobody_up(world: Any) -> None:
    world.fund("enterprise 0", 10**12, approved=10**12)
    world.add_rows([row(1, without_account=["developer 0"])])
    report = world.settle()
    assert [(item["role"], item["reason"]) for item in report["held_back"]] == [("developer", "address")]
    assert report["closing"] == report["carried"] == FEE * 20 // 100


def test_what_an_overtaken_run_had_set_aside_goes_back(world: Any) -> None:
    """P-11: another host settles the same rows between a run's reservation and its next step. What this one holds of the
    payer is given back by the next run, not by its expiry days later."""
    from payouts.errors import SettlementError

    world.fund("enterprise 0", 10**12, approved=10**12)
    world.add_rows([row(n) for n in range(3)])
    other: list[threading.Thread] = []

    def at(point: str) -> None:
        if point == "tx.final.after" and not other:
            changes = {"journal": world.folder / "other.sqlite"}
            other.append(threading.Thread(target=lambda: (world.add_rows([row(3)]), world.settle(**changes))))
            other[0].start()
            other[0].join()

    with pytest.raises(SettlementError, match="another process settles"):
        asyncio.run(app.settle(world.settings(), at=at))
    token = world.manifest.token
    assert world.rpc.ask(token.balance_of(token.address)) == 3 * FEE
    assert world.settle()["balances"]
    assert world.rpc.ask(token.balance_of(token.address)) == 0
    assert world.balance("enterprise 0") == 10**12 - 4 * FEE


def test_many_payees_are_split_over_transactions(world: Any) -> None:
    """P-12: under the gas limit of one transaction, ascending within one settlement id."""
    world.fund("enterprise 0", 10**15, approved=10**15)
    world.add_rows([row(n, contributor=f"contributor {n}") for n in range(700)])
    report = world.settle()
    pays = [tx["gas_used"] for tx in report["transactions"] if tx["step"] == "pay"]
    assert len(pays) == 3
    assert max(pays) < 2**24
    assert len(report["payouts"]) == 702
    assert report["balances"]


def settle_day(world: Any, day: str) -> Any:
    from datetime import date

    return asyncio.run(app.settle(world.settings(), day=date.fromisoformat(day), tell=print))


DAY_NS = 86_400 * 10**9


def test_the_day_ends_the_window(world: Any) -> None:
    """P-6: --day takes the rows up to the last that is of the day; what is younger among them waits, and is named."""
    world.fund("enterprise 0", 10**12, approved=10**12)
    world.add_rows([row(1), row(2), row(3, time_ns=kit.DAY_NS + DAY_NS), row(4), row(5, time_ns=kit.DAY_NS + DAY_NS)])
    report = settle_day(world, "2026-11-21")
    assert (report["period"], report["last_ingest"], report["collected"]) == ("2026-11-21", 4, 3 * FEE)
    assert report["later"] == [{"row_id": row(3, time_ns=kit.DAY_NS + DAY_NS).row_id, "ingest": 3}]
    report = settle_day(world, "2026-11-22")
    assert (report["first_ingest"], report["last_ingest"], report["collected"]) == (5, 5, 2 * FEE)
    assert report["later"] == []


def test_a_row_from_the_future_or_the_past_holds_nobody_up(world: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """P-6: a clock that was wrong. The rows behind it are settled day by day, it waits for its own day and is named at
    each run; none is lost and none is settled twice."""
    world.fund("enterprise 0", 10**12, approved=10**12)
    future = row(3, time_ns=kit.DAY_NS + 300 * DAY_NS)
    world.add_rows([row(1), row(2), future, row(4), row(5, time_ns=kit.DAY_NS + DAY_NS), row(6, time_ns=1)])
    collected = [settle_day(world, day)["collected"] for day in ("2026-11-21", "2026-11-22", "2026-11-23")]
    assert collected == [4 * FEE, FEE, 0]
    assert f"row {future.row_id} (number 3) has a time after 2026-11-23" in capsys.readouterr().out
    assert {state for state, _ in world.payment_states(future.row_id).values()} == {"pending"}
    assert settle_day(world, "2027-09-17")["collected"] == FEE
    assert settle_day(world, "2027-09-18")["collected"] == 0
    assert world.balance("enterprise 0") == 10**12 - 6 * FEE
    assert {state for state, _ in world.payment_states(future.row_id).values()} == {"collected", "paid"}


def test_a_large_window_is_several_runs(world: Any) -> None:
    """P-6: each takes at most `rows_per_run` and says whether more of the window is left; rows that come meanwhile are
    for another day, or the runs of a busy node would never end."""
    world.fund("enterprise 0", 10**12, approved=10**12)
    world.add_rows([row(number) for number in range(5)])
    first = world.settle(rows_per_run=3)
    world.add_rows([row(number) for number in range(5, 9)])
    second = asyncio.run(app.settle(world.settings(rows_per_run=3), until_ingest=first["window_end"]))
    found = [(report["collected"], report["window_end"], report["more"]) for report in (first, second)]
    assert found == [(3 * FEE, 5, True), (2 * FEE, 5, False)]
    assert world.settle()["collected"] == 4 * FEE


def test_the_command(world: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line, its JSON report, and refusals that say what to change."""
    world.fund("enterprise 0", 10**12, approved=10**12)
    world.add_rows([row(1)])
    key = world.folder / "collector.key"
    key.write_text(kit.development_key("collector").hex())
    (world.folder / "payer.key").write_text(kit.development_key("payer").hex())
    config = world.folder / "payouts.toml"
    config.write_text(
        f'ledger_url = "{world.ledger_url}"\njournal = "journal.sqlite"\nrpc_url = "{world.url}"\n'
        'manifest = "manifest.json"\ncollector_key_file = "collector.key"\npayer_key_file = "payer.key"\n'
        "confirmations = 1\nminimum_payout_nano_cpu = 0\n"
    )
    assert app.main(["run", "--config", str(config), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["paid"] == FEE
    world.add_rows([row(number) for number in range(2, 7)])
    config.write_text(config.read_text() + "rows_per_run = 2\n")
    assert app.main(["run", "--config", str(config), "--until-ingest", "5"]) == 0
    said = capsys.readouterr().out
    assert said.count("The books agree with the chain.") == 2  # rows 2 and 3, 4 and 5; the sixth is not in the window
    assert world.settle()["collected"] == FEE
    assert app.main(["run", "--config", str(config)]) == 0
    assert "The books agree with the chain." in capsys.readouterr().out
    key.write_text("not a key")
    assert app.main(["run", "--config", str(config)]) == 2
    assert "32 bytes in hexadecimal" in capsys.readouterr().err
    config.write_text('ledger_url = "x"\nconfirmation = 3\n')
    assert app.main(["run", "--config", str(config)]) == 2
    assert "did you mean confirmations?" in capsys.readouterr().err
    assert app.main(["settings"]) == 0
    assert "minimum_payout_nano_cpu" in capsys.readouterr().out

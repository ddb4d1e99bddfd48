"""Both production ends of Central's link, joined by real sockets and mutual TLS (C-1, N-4, N-5)."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from central_kit import CON, ENT, KEYS, MIN, NOD, OPR, Certificates, api_key, make_seed
from cgn_sdk import signing
from cgn_sdk.protocol import link, link_envelope
from cgn_sdk.protocol.errors import ProblemError
from cgn_sdk.protocol.head import Head
from cgn_sdk.protocol.loss import END, Loss, sign_loss
from cgn_sdk.protocol.row import Row

from central_service.answers import Answers
from central_service.core.records import FLAGGED, SUSPENDED, Node, Pricing
from central_service.core.seed import read_seed
from central_service.credentials import Credentials, Hashing
from central_service.links import Links
from central_service.planting import plant
from central_service.store import Store
from cgn_chassis.supervisor import Supervisor
from cgn_node import central_endpoint, limits
from cgn_node.central_endpoint import CentralEndpoint, CentralUnreachable
from cgn_node.head_teller import HeadTeller
from cgn_node.policy import load_copy
from ledger import open_store
from ledger.heads import HeadKeeper

SESSION = link.SessionOpen(ENT, KEYS[ENT]).to_params()
MINER = link.MinerVerify(CON, MIN, KEYS[CON]).to_params()


class NodeEnd:
    """The node's endpoint and what it was told."""

    def __init__(
        self, certificates: Certificates, folder: Path, *, api_key: str = KEYS[NOD], pin: str = "central"
    ) -> None:
        self.policies: list[link.Policy] = []
        self.revokes: list[link.Revoke] = []
        self.tls = certificates.server("node")
        self.endpoint = CentralEndpoint(
            link.NodeHello(NOD, api_key, "0.1.0", "DE"),
            copy_path=folder / "welcome.json",
            fingerprints=(certificates.pin(pin),),
            on_policy=self.policies.append,
            on_revoke=self.revokes.append,
        )
        self.port = 0

    async def start(self, port: int = 0) -> None:
        self.port = await self.endpoint.start("127.0.0.1", port, self.tls)


async def until(condition: Callable[[], object], timeout_s: float = 5.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path / "tls")


@pytest.fixture
async def central(tmp_path: Path) -> AsyncIterator[Answers]:
    store = await Store.open(tmp_path / "central.sqlite")
    hashing = Hashing(memory_kib=8, passes=1)
    credentials = Credentials(hashing)
    await plant(store, credentials, read_seed(make_seed()))
    credentials.forget()
    yield Answers(store, credentials)
    hashing.close()
    await store.close()


@pytest.fixture
async def make_links(central: Answers, certificates: Certificates) -> AsyncIterator[Callable[..., Any]]:
    made: list[Links] = []

    async def make(certificate: str = "central") -> Links:
        links = Links(central, certificates.client(certificate), Supervisor(lambda reason: None), dial_first_s=0.02)
        made.append(links)
        await links.start()
        return links

    yield make
    for each in made:
        await each.close()


@pytest.fixture
async def node(certificates: Certificates, tmp_path: Path, central: Answers) -> AsyncIterator[NodeEnd]:
    end = NodeEnd(certificates, tmp_path)
    await end.start()
    await register(central, certificates, end.port)
    yield end
    await end.endpoint.close()


async def register(central: Answers, certificates: Certificates, port: int) -> None:
    where = Node(NOD, OPR, f"wss://127.0.0.1:{port}/central", certificates.pin("node"))
    await central.store.write("test", "here it is", lambda records: records.put_node(where))


async def test_the_node_asks_and_central_answers(node: NodeEnd, make_links: Any) -> None:
    await make_links()
    await until(lambda: node.endpoint.link_count)
    assert node.policies[0].dservices[0].name == "mediagen"
    grant = link.SessionGrant.from_params(await node.endpoint.ask("session.open", SESSION))
    assert grant.allowed_tiers == ("2", "4b")
    assert link.MinerGrant.from_params(await node.endpoint.ask("miner.verify", MINER)).contributor.id == CON
    with pytest.raises(ProblemError, match="not_authenticated"):
        await node.endpoint.ask("session.open", {**SESSION, "api_key": api_key(1)})


async def test_what_a_dapp_types_never_closes_the_link(node: NodeEnd, make_links: Any) -> None:
    await make_links()
    await until(lambda: node.endpoint.link_count)
    for account_id in ("", "x" * 200_000, "\x00", "ent_' OR 1=1 --", "\ud7ff\U0001f600", ENT + "\n"):
        with pytest.raises(ProblemError) as caught:
            await node.endpoint.ask("session.open", {**SESSION, "account_id": account_id})
        assert "account_id must be an account id" in caught.value.problem.detail
    assert (await node.endpoint.ask("session.open", SESSION))["account_id"] == ENT
    assert node.endpoint.link_count == 1


async def test_revocation_and_policy_reach_the_node_within_a_second(
    node: NodeEnd, make_links: Any, central: Answers
) -> None:
    await make_links()
    await until(lambda: node.endpoint.link_count)
    await central.store.write("ops", "fraud", lambda records: records.set_account_state(ENT, SUSPENDED))
    await until(lambda: node.revokes, timeout_s=1.0)
    assert node.revokes == [link.Revoke((ENT,), ())]
    pricing = Pricing("testnet", 5, 5, 5, 5, {"2": 1_000_000}, 5)
    await central.store.write("ops", "cheaper", lambda records: records.set_pricing(pricing))
    await until(lambda: node.policies[-1].prices.gigabyte_nano_eur == 5, timeout_s=1.0)
    assert node.policies[-1].version > node.policies[0].version


async def test_the_node_keeps_what_it_knows_through_a_gap_and_hears_what_it_missed(
    node: NodeEnd, make_links: Any, central: Answers
) -> None:
    """C-1: Central gone, then back as another process."""
    first = await make_links()
    await until(lambda: node.endpoint.link_count)
    await first.close()
    await until(lambda: not node.endpoint.link_count)
    assert node.endpoint.welcome is not None
    with pytest.raises(CentralUnreachable):
        await node.endpoint.ask("session.open", SESSION)
    await central.store.write("ops", "wrong work", lambda records: records.set_miner_state(MIN, FLAGGED))
    await make_links()
    await until(lambda: node.revokes)
    assert node.revokes[-1] == link.Revoke((), (MIN,))
    assert (await node.endpoint.ask("session.open", SESSION))["account_id"] == ENT


async def test_a_node_may_have_links_to_several_centrals(node: NodeEnd, make_links: Any) -> None:
    """N-4: one goes, the other answers."""
    first = await make_links()
    await make_links()
    await until(lambda: node.endpoint.link_count == 2)
    await first.close()
    await until(lambda: node.endpoint.link_count == 1)
    assert (await node.endpoint.ask("miner.verify", MINER))["miner_id"] == MIN


async def test_what_several_centrals_say_is_taken_in_turns(node: NodeEnd, make_links: Any) -> None:
    """C-1, N-6: one message at a time, whoever sent it, however many are there."""
    node.endpoint._turns._turn_s = 0
    made = [await make_links() for _ in range(3)]
    await until(lambda: node.endpoint.link_count == 3)
    for links in made:
        [one] = links._links.values()
        for _ in range(50):
            await one.tell("x", {})
    largest, last = 0, 0
    async with asyncio.timeout(30):
        while last < 150:
            await asyncio.sleep(0)
            now = node.endpoint.counters["unknown topics"]
            largest, last = max(largest, now - last), now
    assert largest == 1


async def test_the_copy_of_a_policy_is_written_beside_the_loop(
    node: NodeEnd, make_links: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C-1: however often the policy changes, the disk is asked now and then, and the newest is what stays."""
    await make_links()
    await until(lambda: node.endpoint.link_count == 1)
    threads: list[threading.Thread] = []
    real = central_endpoint.save_copy

    def save(*given: Any) -> None:
        threads.append(threading.current_thread())
        real(*given)

    monkeypatch.setattr(central_endpoint, "save_copy", save)
    monkeypatch.setattr(limits, "POLICY_COPY_S", 0.2)
    welcome = node.endpoint.welcome
    assert welcome is not None
    versions = range(welcome.policy.version + 1, welcome.policy.version + 101)
    for version in versions:
        params = replace(welcome.policy, version=version).to_params()
        node.endpoint._told(link_envelope.Tell("policy", params))
    path = node.endpoint._copy_path
    await until(lambda: (copy := load_copy(path)) is not None and copy.policy.version == versions[-1])
    assert len(threads) <= 3
    assert threading.main_thread() not in threads


async def test_a_question_whose_link_breaks_is_put_to_the_next_central(node: NodeEnd, make_links: Any) -> None:
    """C-5, N-4: before it was sent, or before it was answered."""
    await make_links()
    await make_links()
    await until(lambda: node.endpoint.link_count == 2)
    for is_sent in (False, True):
        asking = asyncio.create_task(node.endpoint.ask("miner.verify", MINER))
        if is_sent:
            await asyncio.sleep(0)
        node.endpoint._links[-1]._connection.transport.abort()
        assert (await asking)["miner_id"] == MIN
        await until(lambda: node.endpoint.link_count == 2)


async def test_a_stranger_of_the_same_authority_is_no_central(node: NodeEnd, make_links: Any) -> None:
    links = await make_links("stranger")
    await until(lambda: node.endpoint.counters["refused certificates"])
    assert (node.endpoint.link_count, links.admitted_count) == (0, 0)


async def test_a_node_with_a_wrong_key_gets_no_welcome(
    certificates: Certificates, tmp_path: Path, central: Answers, make_links: Any
) -> None:
    end = NodeEnd(certificates, tmp_path / "wrong", api_key=api_key(1))
    (tmp_path / "wrong").mkdir()
    await end.start()
    await register(central, certificates, end.port)
    links = await make_links()
    await asyncio.sleep(0.3)
    assert (end.endpoint.link_count, links.admitted_count, end.endpoint.welcome) == (0, 0, None)
    await end.endpoint.close()


async def test_miners_that_come_back_at_once_cost_one_hash(
    node: NodeEnd, make_links: Any, central: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reconnect storm: 400 questions with one contributor's key, all answered."""
    await make_links()
    await until(lambda: node.endpoint.link_count)
    hashed = []
    verify = Hashing._verify
    monkeypatch.setattr(Hashing, "_verify", lambda self, *each: (hashed.append(1), verify(self, *each))[1])
    answers = await asyncio.gather(*(node.endpoint.ask("miner.verify", MINER) for _ in range(200)))
    answers += await asyncio.gather(*(node.endpoint.ask("miner.verify", MINER) for _ in range(200)))
    assert all(each["miner_id"] == MIN for each in answers)
    assert len(hashed) == 1


async def test_central_keeps_the_heads_that_a_node_signs(
    node: NodeEnd, make_links: Any, central: Answers, tmp_path: Path, make_row: Callable[..., Row]
) -> None:
    """L-12: over the real link; a ledger that was cut with its heads and the node's own copy is an ailment, and goes on
    when its loss was accepted."""
    await make_links()
    await until(lambda: node.endpoint.link_count)
    public_id, signer = node.endpoint.node_public_id, signing.Signer(bytes(32))
    rows = [make_row(number) for number in range(1, 6)]

    async def told(name: str, count: int, loss: Loss | None = None) -> HeadTeller:
        store = await open_store(f"sqlite:///{tmp_path}/{name}.db")
        if loss is not None:
            await store.put_loss(loss)
        await store.append(rows[:count])
        heads = HeadKeeper(store, signer, node_id=lambda: public_id, kept=tmp_path / f"{name}.json")
        await heads.advance()
        teller = HeadTeller(heads, node.endpoint, signer.public_key)
        await teller.tell()
        await store.close()
        return teller

    first = await told("first", 4)
    assert (first.problem, first.told_rows) == ("", 4)
    cut = await told("cut", 2)
    assert "fewer rows than the 4" in cut.problem
    longer = await told("longer", 5)
    assert (longer.problem, longer.told_rows) == ("", 5)
    now_ns = time.time_ns()
    commitment = Head.decode((await central.store.read(lambda facts: facts.trust())).heads[0]).commitment
    unsigned = Loss(public_id, 2, END, 3, 5, commitment, "cut", "a disk died", "Ada", now_ns, b"")
    loss = sign_loss(unsigned, signer.sign)
    again = await told("again", 3, loss)
    assert (again.problem, again.told_rows) == ("", 3)
    kept = await central.store.read(lambda facts: facts.trust())
    assert Head.decode(kept.heads[0]).last_ingest == 3
    assert kept.losses == (loss.encode(),)
    assert [each.code for each in await central.store.read(lambda facts: facts.head_findings())] == ["head_lower"]

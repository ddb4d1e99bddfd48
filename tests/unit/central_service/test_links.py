"""The links that Central dials (C-1, N-4, N-5, C-10), over real sockets and TLS."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from central_kit import (
    CON,
    CON_2,
    DEV,
    ENT,
    ENT_2,
    KEYS,
    MIN,
    MIN_2,
    NOD,
    NOD_2,
    OPR,
    Certificates,
    FakeNode,
    account_id,
    api_key,
    public_id,
)
from cgn_sdk.protocol import link, link_envelope
from websockets.exceptions import ConnectionClosed

from central_service import limits
from central_service.answers import Answers
from central_service.core.records import ACTIVE, BANNED, FLAGGED, SUSPENDED, Account, DService, Node
from central_service.links import Links, dial_wait_s, refused_now
from central_service.store import Records
from cgn_chassis.supervisor import Supervisor

SESSION = {"account_id": ENT, "api_key": KEYS[ENT], "end_user": ""}
MINER = {"account_id": CON, "miner_id": MIN, "api_key": KEYS[CON]}


@pytest.fixture
async def node(certificates: Certificates, hello: dict[str, Any], answers: Answers) -> AsyncIterator[FakeNode]:
    """A node that is registered under its address and certificate."""
    fake = FakeNode(certificates, hello)
    await fake.start()
    await register(answers, fake, certificates)
    yield fake
    await fake.stop()


@pytest.fixture
async def links(certificates: Certificates, answers: Answers) -> AsyncIterator[Links]:
    supervisor = Supervisor(lambda reason: None)
    made = Links(answers, certificates.client(), supervisor, dial_first_s=0.02)
    yield made
    await made.close()
    await supervisor.close()


async def register(answers: Answers, fake: FakeNode, certificates: Certificates, pin: str = "node") -> None:
    where = Node(NOD, OPR, fake.url, certificates.pin(pin), "DE")
    await answers.store.write("test", "here it is", lambda records: records.put_node(where))


async def test_a_node_says_hello_and_is_answered(node: FakeNode, links: Links) -> None:
    await links.start()
    await node.until(lambda: node.welcomes)
    welcome = link.NodeWelcome.from_params(node.welcomes[0].answer)
    assert welcome.operator.id == OPR
    assert [each.route for each in welcome.policy.dservices] == ["/mgen"]
    assert (await node.ask("session.open", SESSION)).answer["account_id"] == ENT
    assert (await node.ask("miner.verify", MINER)).answer["tier"] == "2"
    assert (await node.ask("weather.tell", {})).problem.code == "not_found"
    assert (await node.ask("session.open", {"account_id": "x"})).problem.code == "bad_request"
    assert (await node.ask("session.open", {**SESSION, "api_key": api_key(1)})).problem.code == "not_authenticated"
    assert links.admitted_count == 1


@pytest.mark.parametrize("method", ["session.open", "miner.verify", "weather.tell"])
async def test_nothing_is_answered_before_hello(node: FakeNode, links: Links, method: str) -> None:
    node.hello = None
    await links.start()
    await node.until(lambda: node.connections)
    asking = asyncio.ensure_future(node.ask(method, SESSION))
    await node.until(lambda: node.close_codes)
    assert node.close_codes[0] == 4401
    assert not asking.done()
    asking.cancel()
    assert links.admitted_count == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"api_key": api_key(1)},
        {"api_key": KEYS[NOD_2]},
        {"api_key": KEYS[ENT]},
        {"node_id": NOD_2, "api_key": KEYS[NOD_2]},
        {"api_key": ""},
        {"node_id": "nod_x"},
    ],
)
async def test_a_node_that_is_not_who_it_says_is_refused(node: FakeNode, links: Links, wrong: dict[str, str]) -> None:
    """A right key of another account opens nothing; nor does another node's whole identity at this node's address."""
    node.hello = {**node.hello, **wrong} if node.hello else None
    await links.start()
    await node.until(lambda: node.close_codes)
    assert node.close_codes[0] == 4401
    assert links.admitted_count == 0


async def test_a_silent_node_is_dialled_again(node: FakeNode, links: Links, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_envelope, "HELLO_TIMEOUT_MS", 50)
    node.hello = None
    await links.start()
    await node.until(lambda: len(node.connections) > 1)
    assert node.close_codes[0] == 4408


async def test_a_node_with_another_certificate_hears_nothing(
    certificates: Certificates, hello: dict[str, Any], answers: Answers, links: Links
) -> None:
    """Same authority, same address, wrong certificate: Central hangs up before it takes a message (pinning)."""
    fake = FakeNode(certificates, hello, certificate="stranger")
    await fake.start()
    await register(answers, fake, certificates)
    await links.start()
    await fake.until(lambda: fake.close_codes)
    assert fake.welcomes == []
    assert links.admitted_count == 0
    await fake.stop()


@pytest.mark.parametrize("at", [0, 63])
async def test_a_node_whose_pin_differs_in_one_digit_hears_nothing(
    node: FakeNode, links: Links, answers: Answers, certificates: Certificates, at: int
) -> None:
    """N-4: the same certificate, and a record with one wrong digit, the first or the last."""
    pin = certificates.pin("node")
    wrong = pin[:at] + ("0" if pin[at] != "0" else "1") + pin[at + 1 :]
    where = Node(NOD, OPR, node.url, wrong, "DE")
    await answers.store.write("test", "a slip of the pen", lambda records: records.put_node(where))
    await links.start()
    await node.until(lambda: node.close_codes)
    assert node.welcomes == []
    assert links.admitted_count == 0


@pytest.mark.parametrize(
    "text", ["{", '{"id":1,"answer":{}}', '{"tell":"policy","params":{}}', '{"id":1,"ask":"node.hello","params":{}}']
)
async def test_a_node_that_breaks_the_rules_is_hung_up_on(node: FakeNode, links: Links, text: str) -> None:
    """The last one repeats a question's number."""
    await links.start()
    await node.until(lambda: node.welcomes)
    await node.connections[0].send(text)
    await node.until(lambda: node.close_codes)
    assert node.close_codes[0] == 4400


async def test_a_message_beyond_the_bound_ends_the_link(node: FakeNode, links: Links) -> None:
    await links.start()
    await node.until(lambda: node.welcomes)
    await node.connections[0].send("x" * (link_envelope.MESSAGE_MAX_BYTES + 1))
    await node.until(lambda: node.close_codes)
    assert node.close_codes[0] == 1009
    await node.until(lambda: len(node.welcomes) == 2)


async def test_revocation_reaches_a_node(node: FakeNode, links: Links, answers: Answers) -> None:
    """N-5, C-10: by account, by key, by miner; and the answer is no from then on."""
    await links.start()
    await node.until(lambda: node.welcomes)
    assert (await node.ask("session.open", SESSION)).answer
    key_id = KEYS[ENT_2][4:16]
    for change, expected in [
        (lambda records: records.set_account_state(ENT, SUSPENDED), {"account_ids": [ENT], "miner_ids": []}),
        (lambda records: records.revoke_key(key_id), {"account_ids": [ENT_2], "miner_ids": []}),
        (lambda records: records.set_miner_state(MIN, FLAGGED), {"account_ids": [], "miner_ids": [MIN]}),
    ]:
        node.tells.clear()
        await answers.store.write("ops", "wrong work", change)
        await node.until(lambda: node.tells)
        assert node.tells[0] == link_envelope.Tell("revoke", expected)
    assert (await node.ask("session.open", SESSION)).problem.code == "account_suspended"
    refused = await node.ask("session.open", {"account_id": ENT_2, "api_key": KEYS[ENT_2]})
    assert refused.problem.code == "not_authenticated"
    assert (await node.ask("miner.verify", MINER)).problem.code == "miner_refused"
    await answers.store.write("ops", "a mistake", lambda records: records.set_account_state(ENT, ACTIVE))
    assert (await node.ask("session.open", SESSION)).answer["account_id"] == ENT


async def test_what_was_revoked_while_the_link_was_down_is_told_after_hello(
    node: FakeNode, links: Links, answers: Answers
) -> None:
    await links.start()
    await node.until(lambda: node.welcomes)
    port = node.port
    await node.stop()
    await answers.store.write("ops", "wrong work", lambda records: records.set_miner_state(MIN_2, FLAGGED))
    await asyncio.sleep(2 * limits.CHANGE_POLL_S)
    await node.start(port)
    await node.until(lambda: node.tells)
    assert node.tells == [link_envelope.Tell("revoke", {"account_ids": [], "miner_ids": [MIN_2]})]


async def test_what_could_not_be_told_after_one_hello_is_told_after_the_next(
    node: FakeNode, links: Links, answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """N-5: a link counts for what its node knows when the node has been told, not when it has said hello."""
    monkeypatch.setattr(limits, "TOLD_AGAIN_S", 0.0)
    await links.start()
    await node.until(lambda: node.welcomes)
    port = node.port
    await asyncio.sleep(2 * limits.CHANGE_POLL_S)
    await node.stop()
    await answers.store.write("ops", "wrong work", lambda records: records.set_miner_state(MIN_2, FLAGGED))
    await asyncio.sleep(2 * limits.CHANGE_POLL_S)
    real, failed = answers.store.read, 0

    async def read(work: Any) -> Any:
        nonlocal failed
        if "_catch_up" in work.__qualname__ and not failed:
            failed += 1
            raise OSError("the disk is away")
        return await real(work)

    monkeypatch.setattr(answers.store, "read", read)
    await node.start(port)
    await node.until(lambda: node.tells)
    assert node.tells == [link_envelope.Tell("revoke", {"account_ids": [], "miner_ids": [MIN_2]})]
    assert failed == 1


async def test_a_central_that_was_down_itself_tells_all_that_is_refused(
    node: FakeNode, links: Links, answers: Answers
) -> None:
    await answers.store.write("ops", "fraud", lambda records: records.set_account_state(CON_2, BANNED))
    await answers.store.write("ops", "leaked", lambda records: records.revoke_key(KEYS[ENT_2][4:16]))
    await links.start()
    await node.until(lambda: node.tells)
    assert node.tells == [link_envelope.Tell("revoke", {"account_ids": sorted([CON_2, ENT_2]), "miner_ids": []})]


async def test_a_changed_policy_is_told_with_a_higher_version(node: FakeNode, links: Links, answers: Answers) -> None:
    await links.start()
    await node.until(lambda: node.welcomes)
    before = link.NodeWelcome.from_params(node.welcomes[0].answer).policy
    new = DService("noop", "1", "/noop", DEV, 1, 1, ("2",))
    await answers.store.write("ops", "certified", lambda records: records.put_dservice(new))
    await node.until(lambda: node.tells)
    policy = link.Policy.from_params(node.tells[0].params)
    assert node.tells[0].topic == "policy"
    assert policy.version > before.version
    assert [each.name for each in policy.dservices] == ["mediagen", "noop"]


async def test_a_node_registered_later_is_dialled_and_a_suspended_one_dropped(
    certificates: Certificates, hello: dict[str, Any], answers: Answers, links: Links
) -> None:
    await links.start()
    fake = FakeNode(certificates, hello)
    await fake.start()
    await register(answers, fake, certificates)
    await fake.until(lambda: fake.welcomes)
    await answers.store.write("ops", "broken", lambda records: records.set_account_state(NOD, SUSPENDED))
    await fake.until(lambda: fake.close_codes)
    assert links.admitted_count == 0
    await fake.stop()


async def test_a_node_that_comes_back_is_dialled_again(node: FakeNode, links: Links) -> None:
    await links.start()
    await node.until(lambda: node.welcomes)
    port = node.port
    await node.stop()
    await node.start(port)
    await node.until(lambda: len(node.welcomes) == 2)


async def test_a_node_that_was_away_longer_is_linked_a_second_after_it_listens(
    node: FakeNode, links: Links, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C-1: however many dials have failed meanwhile; only nodes that were not here for long wait longer."""
    waits: list[float] = []
    monkeypatch.setattr("central_service.links.dial_wait_s", lambda *given: waits.append(dial_wait_s(*given)) or 0.001)
    await links.start()
    await node.until(lambda: node.welcomes)
    port = node.port
    await node.stop()
    async with asyncio.timeout(30):
        while len(waits) < 5 * limits.DIAL_QUICK:
            await asyncio.sleep(0.01)
    assert max(waits) <= limits.DIAL_KNOWN_LONGEST_S
    monkeypatch.setattr(limits, "DIAL_KNOWN_S", 0.0)
    waits.clear()
    async with asyncio.timeout(30):
        while not waits or max(waits) <= limits.DIAL_KNOWN_LONGEST_S:
            await asyncio.sleep(0.01)
    await node.start(port)
    await node.until(lambda: len(node.welcomes) == 2)


async def test_what_was_told_just_before_the_link_broke_is_told_again(
    node: FakeNode, links: Links, answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C-10: nobody confirms what is told, so the last minutes are repeated, and no more than those."""
    monkeypatch.setattr(limits, "TOLD_AGAIN_S", 0.5)
    await links.start()
    await node.until(lambda: node.welcomes)
    await answers.store.write("ops", "old", lambda records: records.set_miner_state(MIN, FLAGGED))
    await node.until(lambda: len(node.tells) == 1)
    await asyncio.sleep(1.0)
    await answers.store.write("ops", "new", lambda records: records.set_miner_state(MIN_2, FLAGGED))
    await node.until(lambda: len(node.tells) == 2)
    node.tells.clear()
    node.connections[0].transport.abort()
    await node.until(lambda: node.tells)
    assert node.tells == [link_envelope.Tell("revoke", {"account_ids": [], "miner_ids": [MIN_2]})]


@pytest.mark.parametrize("fails", ["changes", "refused"])
async def test_what_could_not_be_read_is_read_again_and_told(
    node: FakeNode, links: Links, answers: Answers, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    """Neither the watcher nor the catching up after a hello ends with a database that says no for a moment."""
    real, left = answers.store.read, 3

    async def read(work: Any) -> Any:
        nonlocal left
        if left and (work is refused_now if fails == "refused" else node.welcomes):
            left -= 1
            raise OSError("the disk is away")
        return await real(work)

    await answers.store.write("ops", "before", lambda records: records.set_miner_state(MIN, FLAGGED))
    monkeypatch.setattr(answers.store, "read", read)
    await links.start()
    await node.until(lambda: node.welcomes)
    await answers.store.write("ops", "wrong work", lambda records: records.set_miner_state(MIN_2, FLAGGED))

    def told() -> set[str]:
        return {miner for tell in node.tells for miner in tell.params["miner_ids"]}

    await node.until(lambda: told() == {MIN, MIN_2} and not left)


async def test_a_node_that_reads_nothing_stops_nobody_else(
    node: FakeNode, links: Links, answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its link is cut when it does not take what it is told."""
    monkeypatch.setattr(limits, "LINK_PING_S", 0.3)
    await links.start()
    await node.until(lambda: node.welcomes)
    node.connections[0].transport.pause_reading()
    one = links._links[NOD]
    big = {"account_ids": [public_id(1)] * 5_000}
    async with asyncio.timeout(5):
        while links.admitted_count and links._links.get(NOD) is one:
            await one.tell("revoke", big)
    with pytest.raises(ConnectionClosed):
        await one._connection.send("x")


@pytest.mark.parametrize("failures", [0, 1, 5, 50, 5_000])
def test_waiting_between_dials_grows_with_jitter_and_has_bounds(failures: int) -> None:
    for jitter in (0.0, 0.3, 1.0):
        waited = dial_wait_s(failures, 0.1, jitter)
        assert 0.05 <= waited <= limits.DIAL_LONGEST_S
    assert dial_wait_s(5_000, 0.1, 0.5) == pytest.approx(limits.DIAL_LONGEST_S / 2, rel=0.01)
    assert dial_wait_s(0, 0.1, 1.0) == pytest.approx(0.1)
    assert sum(dial_wait_s(number, 0.1, 0.5) for number in range(limits.DIAL_QUICK)) < 3


async def test_many_unreachable_nodes_delay_none_that_answers(
    certificates: Certificates, hello: dict[str, Any], answers: Answers, links: Links, free_port: Callable[[], int]
) -> None:
    """Two hundred registered nodes that nobody listens for or that accept and say nothing, and one that is well: one
    after the other, the silent ones alone would take a quarter of an hour of time-outs."""
    mute = socket.create_server(("127.0.0.1", 0), backlog=300)
    dead_ports = [mute.getsockname()[1], free_port()]

    def add(records: Records) -> None:
        for number in range(200):
            id = account_id("nod", 1000 + number)
            records.add_account(Account(id, public_id(1000 + number)))
            url = f"wss://127.0.0.1:{dead_ports[number % 2]}/central"
            records.put_node(Node(id, OPR, url, certificates.pin("node")))

    await answers.store.write("test", "many", add)
    fake = FakeNode(certificates, hello)
    await fake.start()
    await register(answers, fake, certificates)
    await links.start()
    await fake.until(lambda: fake.welcomes)
    await fake.stop()
    mute.close()

"""Sessions, Central's link and its gaps, miners at the door, status (N-1, N-3 to N-6, C-1)."""

import asyncio
import dataclasses
import json
import ssl
from collections import Counter
from pathlib import Path

import node_world as support
import pytest
from cgn_sdk.protocol import link, link_envelope, messages
from cgn_sdk.tunnel_connection import CONNECTION_OPTIONS
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus, WebSocketException

from cgn_chassis import logs
from cgn_chassis.tls import Authority, client_context
from cgn_node import limits


async def until(condition: object, timeout_s: float = 3) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():  # type: ignore[operator]
            await asyncio.sleep(0.01)


async def scraped(world: support.World) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", world.ports["metrics"])
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    text = (await support.read_reply(reader)).body.decode()
    writer.close()
    return text


# --- sessions -------------------------------------------------------------------------------------------------------


async def test_a_session_is_opened_by_central_and_used_by_its_key(tmp_path: Path) -> None:
    """N-5."""
    async with support.world(tmp_path) as world:
        reply = await world.open_session()
        assert reply.status == 201
        opened = json.loads(reply.body)
        assert set(opened) == {"session_key", "expires_in_s"}
        assert reply.headers["cache-control"] == "no-store"
        assert (await world.call("GET", "/noop", key=opened["session_key"])).problem["code"] == "no_miner"
        assert opened["session_key"].encode() not in repr(vars(world.node.work)).encode()


async def test_what_is_wrong_with_a_session_request_is_said(tmp_path: Path) -> None:
    async with support.world(tmp_path) as world:

        async def post(body: bytes, *lines: str) -> dict[str, object]:
            return (await world.call("POST", "/session", *lines, body=body, key="")).problem

        assert (await post(b"not json"))["code"] == "bad_json"
        assert (await post(b"[]"))["code"] == "bad_json"
        assert (await post(b"[" * 60_000))["code"] == "bad_json"
        assert (await post(b"{}"))["status"] == 400
        assert (await post(b"x" * 65_537))["code"] == "body_too_large"
        chunk = b"ffff\r\n" + b"x" * 65_535 + b"\r\n"
        assert (await post(chunk * 2 + b"0\r\n\r\n", "Transfer-Encoding: chunked"))["code"] == "body_too_large"
        reply = await world.call("GET", "/session")
        assert (reply.status, reply.headers["allow"]) == (405, "POST")


LOOKED_AT = limits.WRONG_KEYS_PER_MINUTE + limits.DOUBTFUL_KEYS_PER_MINUTE


async def test_wrong_keys_are_limited_per_address_before_central_is_asked(tmp_path: Path) -> None:
    """N-5: Argon2id at Central is worth protecting, and who has a right key is not who guesses."""
    async with support.world(tmp_path) as world:
        guesses = range(LOOKED_AT + 40)
        replies = await asyncio.gather(*(world.open_session(key=f"cgn_wrong{number}") for number in guesses))
        statuses = Counter(reply.status for reply in replies)
        assert set(statuses) == {401, 429}
        asked = world.central.asked.count("session.open") - 1
        assert LOOKED_AT <= asked == statuses[401] < LOOKED_AT + 40  # some leak away while they are asked about
        assert next(reply for reply in replies if reply.status == 429).headers["retry-after"] == "1"
        assert (await world.open_session(key="cgn_wrong0")).status == 401  # known to be wrong: no question
        assert world.central.asked.count("session.open") == 1 + asked
        assert (await world.open_session()).status == 201  # the right key from that address, known to be right
        assert (await world.call("GET", "/noop")).status == 503  # an open session goes on
        miner = await world.miner().join()  # the miner endpoint counts for itself
        assert miner.closed is None


async def test_a_lost_session_is_no_wrong_key(tmp_path: Path) -> None:
    """N-5: a node that forgot its sessions answers 401 as often as it is asked, and opens new ones meanwhile."""
    async with support.world(tmp_path) as world:
        statuses = [(await world.call("GET", "/noop", key=f"cgs_{number:043d}")).status for number in range(60)]
        assert statuses == [401] * 60
        assert (await world.open_session()).status == 201
        assert (await world.miner().join()).closed is None


async def test_sessions_outlive_a_restart_and_revocations_too(tmp_path: Path) -> None:
    """N-5, C-10: a revocation told before the restart holds after it, and one made meanwhile is told after the hello."""
    async with support.world(tmp_path) as world:
        kept = world.session_key
        other = "ent_" + "z" * 20
        world.central.accounts[other] = dataclasses.replace(world.central.accounts[support.ACCOUNT], account_id=other)
        revoked = json.loads((await world.open_session(other)).body)["session_key"]
        await world.central.tell(link.TOPIC_REVOKE, link.Revoke((other,), ()).to_params())
        await until_status(world, revoked, 401)
    async with support.world(tmp_path, linked=False) as world:
        assert (await world.call("GET", "/noop", key=kept)).status == 503  # known, and no miner is there
        assert (await world.call("GET", "/noop", key=revoked)).status == 401
        await world.central.dial()
        await world.central.tell(link.TOPIC_REVOKE, link.Revoke((support.ACCOUNT,), ()).to_params())
        await until_status(world, kept, 401)
    async with support.world(tmp_path, linked=False) as world:
        assert (await world.call("GET", "/noop", key=kept)).status == 401


async def until_status(world: support.World, key: str, status: int) -> None:
    async with asyncio.timeout(10):
        while (await world.call("GET", "/noop", key=key)).status != status:
            await asyncio.sleep(0.02)


async def test_behind_a_proxy_each_client_has_its_own_count(tmp_path: Path) -> None:
    """N-5, N-6: whose address counts is what the proxy says; a stranger who writes the header itself changes nothing."""
    async with support.world(tmp_path, trusted_proxies=("127.0.0.0/8", "::1/128")) as world:

        async def wrong(number: int, *forwarded: str) -> int:
            body = json.dumps({"account_id": support.ACCOUNT, "api_key": f"cgn_{number}"}).encode()
            lines = [f"X-Forwarded-For: {', '.join(forwarded)}"]
            return (await world.call("POST", "/session", *lines, body=body, key="")).status

        # each time from "somewhere else", as the guesser would have it
        guesses = [wrong(number, f"192.0.2.{number}", "198.51.100.1") for number in range(LOOKED_AT + 20)]
        assert 429 in await asyncio.gather(*guesses)
        assert await wrong(1_000, "198.51.100.1", "203.0.113.5") == 401  # another client of the same proxy


async def test_a_session_ends_by_itself_and_by_revocation(tmp_path: Path) -> None:
    """N-5: revocation at Central reaches the node at once."""
    settings = support.config.WorkSettings(host="127.0.0.1", port=0, session_ttl_s=1)
    async with support.world(tmp_path, work=settings) as world:
        assert (await world.call("GET", "/noop")).status == 503
        await asyncio.sleep(1.1)
        assert (await world.call("GET", "/noop")).status == 401
        world.session_key = json.loads((await world.open_session()).body)["session_key"]
        miner = await world.miner().join()
        assert (await world.call("GET", "/noop")).status == 200
        await world.central.tell(link.TOPIC_REVOKE, link.Revoke((support.ACCOUNT,), (miner.miner_id,)).to_params())
        await until(lambda: miner.closed)
        assert miner.closed is not None
        assert miner.closed.code == 4403
        assert (await world.call("GET", "/noop")).status == 401


# --- Central --------------------------------------------------------------------------------------------------------


async def test_the_node_works_through_a_gap_of_the_link(tmp_path: Path) -> None:
    """C-1: known sessions and miners go on, also a miner that dials again; new sessions get 503 with Retry-After."""
    async with support.world(tmp_path) as world:
        miner = await world.miner().join()
        await world.central.hang_up()
        await until(lambda: not world.node.central.link_count)
        assert (await world.call("GET", "/noop")).status == 200
        reply = await world.open_session()
        assert (reply.problem["code"], reply.headers["retry-after"]) == ("central_unreachable", "5")
        await miner.leave()
        again = await world.miner().join()
        assert again.welcomed.is_set()
        stranger = await world.miner(3).join()
        assert stranger.closed is not None
        assert stranger.closed.code == 1013
        assert (await world.call("GET", "/noop")).status == 200
        await world.central.dial()
        assert (await world.open_session()).status == 201


async def test_a_central_that_does_not_answer_is_a_gap_too(tmp_path: Path) -> None:
    async with support.world(tmp_path) as world:
        one = world.node.central._links[-1]
        one._correlator._ask_timeout_ms = 200
        one._timer.cancel()
        one._timer = None
        world.central.silent = True
        assert (await world.open_session()).problem["code"] == "central_unreachable"


async def test_the_policy_is_there_after_a_restart_without_central(tmp_path: Path) -> None:
    async with support.world(tmp_path) as world:
        await world.miner().join()
        assert (await world.call("GET", "/noop")).status == 200
    async with support.world(tmp_path, linked=False) as world:
        assert (await world.call("GET", "/", endpoint="status", key="")).status == 200
        assert world.node.central.welcome is not None
        assert (await world.call("GET", "/noop", key="cgs_none")).status == 401
        assert (await world.open_session()).problem["code"] == "central_unreachable"


async def test_a_new_policy_is_in_force_at_once_and_an_old_one_changes_nothing(tmp_path: Path) -> None:
    async with support.world(tmp_path) as world:
        await world.miner().join()
        before = int((await world.call("GET", "/noop")).headers["cgn-fee-nano-eur"])
        params = support.policy(2).to_params()
        params["prices"]["kmips_hour_nano_eur"] = str(9 * 10**10)
        params["exchange_rate_nano_eur_per_cpu"] = str(10**9)
        await world.central.tell(link.TOPIC_POLICY, params)
        await until(lambda: world.node.work._policy().policy.version == 2)
        after = int((await world.call("GET", "/noop")).headers["cgn-fee-nano-eur"])
        assert after > before
        await world.central.tell(link.TOPIC_POLICY, support.policy(1).to_params())
        await world.central.tell(link.TOPIC_POLICY, {"version": 3})  # unreadable
        await world.central.tell("weather", {})
        await asyncio.sleep(0.05)
        assert world.node.work._policy().policy.version == 2
        assert world.node.central.link_count == 1


ABSURD = [
    ({"prices": {**support.policy().prices.to_params(), "kmips_hour_nano_eur": str(10**18)}}, "policy: prices must"),
    ({"tier_factor_ppm": {"2": 2**53 - 1}}, "policy.tier_factor_ppm: 2 must"),
    ({"exchange_rate_nano_eur_per_cpu": "1"}, "policy: exchange_rate_nano_eur_per_cpu must"),
]


@pytest.mark.parametrize(("changed", "named"), ABSURD, ids=["price", "factor", "rate"])
async def test_a_policy_whose_fees_have_no_room_in_a_row_is_refused(
    tmp_path: Path, changed: dict[str, object], named: str
) -> None:
    """N-21: told or in a welcome, the one before stays in force, requests go on, and health and metrics say so."""
    async with support.world(tmp_path) as world:
        await world.miner().join()
        before = (await world.call("GET", "/noop")).headers["cgn-fee-nano-eur"]

        async def warned(version: int) -> None:
            await until(lambda: world.node.central.refused_policy)
            health = await world.call("GET", "/health", endpoint="status")
            [warning] = json.loads(health.body)["warnings"]
            assert named in warning
            assert health.status == 200
            assert world.node.work._policy().policy.version == version
            metrics = await scraped(world)
            assert "\ncgn_node_central_policy_refused 1\n" in metrics
            reply = await world.call("GET", "/noop")
            assert (reply.status, reply.headers["cgn-fee-nano-eur"]) == (200, before)
            assert world.node.central.link_count == 1

        await world.central.tell(link.TOPIC_POLICY, support.policy(2).to_params() | changed)
        await warned(1)
        await world.central.tell(link.TOPIC_POLICY, support.policy(3).to_params())
        await until(lambda: not world.node.central.refused_policy)
        await world.central.hang_up()
        world.central.policy_changes = {"version": 4, **changed}
        await world.central.dial()
        await warned(3)
        assert (await world.open_session()).status == 201


async def test_only_the_pinned_certificate_opens_a_link(tmp_path: Path) -> None:
    """N-4: of this authority but not pinned; of another authority; none at all."""
    async with support.world(tmp_path) as world:
        url = f"wss://localhost:{world.ports['central']}{link_envelope.PATH}"
        authority = Authority.load_or_create(tmp_path / "authority", "test")
        other = Authority.create("other")
        (tmp_path / "other.pem").write_bytes(other.certificate_pem)

        def context(name: str, issuer: Authority) -> ssl.SSLContext:
            issuer.issue_client(name).save(tmp_path / f"{name}.crt", tmp_path / f"{name}.key")
            return client_context(
                tmp_path / "authority.pem", credential_paths=(tmp_path / f"{name}.crt", tmp_path / f"{name}.key")
            )

        with pytest.raises(InvalidStatus) as caught:
            await connect(url, ssl=context("unpinned", authority), subprotocols=[link_envelope.SUBPROTOCOL])
        assert caught.value.response.status_code == 403
        for tls in (context("foreign", other), world.client_tls):
            with pytest.raises((OSError, EOFError, WebSocketException)):
                await connect(url, ssl=tls, subprotocols=[link_envelope.SUBPROTOCOL])
        assert world.node.central.link_count == 1


@pytest.mark.parametrize("at", [0, 63])
async def test_a_pin_that_differs_in_one_digit_opens_no_link(tmp_path: Path, at: int) -> None:
    """N-4: the same certificate, and a setting with one wrong digit, the first or the last."""
    async with support.world(tmp_path, linked=False) as world:
        (pin,) = world.node.central._fingerprints
        world.node.central._fingerprints = (pin[:at] + ("0" if pin[at] != "0" else "1") + pin[at + 1 :],)
        with pytest.raises(InvalidStatus) as caught:
            await world.central.dial()
        assert caught.value.response.status_code == 403
        assert world.node.central.link_count == 0
        world.node.central._fingerprints = (pin,)
        await world.central.dial()
        await world.node.central.ready.wait()


# --- miners at the door ---------------------------------------------------------------------------------------------


async def test_a_miner_with_a_wrong_key_is_not_let_in(tmp_path: Path) -> None:
    async with support.world(tmp_path) as world:
        miner = await world.miner(api_key="cgn_wrong").join()
        assert miner.closed is not None
        assert (miner.closed.code, miner.welcomed.is_set()) == (4401, False)
        assert world.node.driver.by_number == {}
        await until(lambda: world.node.miners.counters["closed 4401"] == 1)


async def test_a_miner_that_connects_twice_replaces_itself(tmp_path: Path) -> None:
    async with support.world(tmp_path) as world:
        first = await world.miner(serve=support.never).join()
        await world.miner(1, serve=support.answer_with(b"other")).join()
        task = asyncio.create_task(world.call("GET", "/noop"))
        await until(lambda: first.opened)
        second = await world.miner(serve=support.answer_with(b"second")).join()
        await until(lambda: first.closed)
        assert first.closed is not None
        assert first.closed.code == 4409
        assert len(world.node.driver.by_number) == 2
        assert (await task).body == b"other"  # the same miner is never tried twice for one request
        assert second.closed is None


@pytest.mark.parametrize(
    ("tier", "sandbox", "code"), [("2", False, 4403), ("3", False, 4403), ("1", False, None), ("2", True, None)]
)
async def test_miners_without_containers_serve_tier_1_only(
    tmp_path: Path, tier: str, sandbox: bool, code: int | None
) -> None:
    """M-4, unless the node is a developer's own."""
    async with support.world(tmp_path, sandbox=sandbox) as world:
        world.central.tiers[support.miner_id(0)] = tier
        world.central.enterprise = support.ACCOUNT if tier == "1" else None
        miner = await world.miner(runner="process").join()
        if code is None:
            assert miner.welcomed.is_set()
            await asyncio.sleep(0.05)
            assert miner.closed is None
        else:
            await until(lambda: miner.closed)
            assert miner.closed is not None
            assert miner.closed.code == code
            assert (await world.call("GET", "/noop")).problem["code"] == "no_miner"


async def test_a_miner_without_any_dservice_of_the_policy_is_refused(tmp_path: Path) -> None:
    async with support.world(tmp_path) as world:
        miner = await world.miner(dservices=(messages.DServiceOffer("noop", "99"),)).join()
        assert miner.closed is not None
        assert miner.closed.code == 4403


@pytest.mark.parametrize(
    "said", [b"", b"\x00" * 8, b"\x11\x00\x00\x00\x00\x00\x00\x01", b"\x01\x00\x00\x02\x00\x00\x00\x00{}", b"x" * 9]
)
async def test_strangers_who_break_the_rules_are_closed(tmp_path: Path, said: bytes) -> None:
    async with support.world(tmp_path) as world:
        url = f"wss://localhost:{world.ports['miner']}/tunnel"
        async with connect(url, ssl=world.client_tls, subprotocols=[messages.PROTOCOL], **CONNECTION_OPTIONS) as raw:
            await raw.send(said)
            if said:
                await asyncio.wait_for(raw.wait_closed(), 3)
                assert raw.close_code == 4400
        for path, protocols, status in (("/elsewhere", [messages.PROTOCOL], 404), ("/tunnel", None, 400)):
            with pytest.raises(InvalidStatus) as caught:
                await connect(url.replace("/tunnel", path), ssl=world.client_tls, subprotocols=protocols)
            assert caught.value.response.status_code == status
        assert world.node.driver.by_number == {}


async def test_slots_and_goaway_of_a_miner_count(tmp_path: Path) -> None:
    async with support.world(tmp_path) as world:
        miner = await world.miner(slots=1).join()
        assert (await world.call("GET", "/noop")).status == 200
        miner.tunnel.send_slots(messages.Slots(0))
        miner.link.flush()
        await asyncio.sleep(0.05)
        problem = (await world.call("GET", "/noop", "CGN-Deadline-Ms: 200")).problem
        assert problem["status"] in (503, 504)
        miner.tunnel.send_slots(messages.Slots(2))
        miner.link.flush()
        await asyncio.sleep(0.05)
        assert (await world.call("GET", "/noop")).status == 200


# --- drain and status -----------------------------------------------------------------------------------------------


async def test_drain_finishes_what_runs_and_takes_nothing_new(tmp_path: Path) -> None:
    """N-18."""
    async with support.world(tmp_path) as world:
        go = asyncio.Event()

        async def serve(miner: support.ScriptedMiner, opened: support.tunnel.Opened) -> None:
            miner.acknowledge(opened.stream)
            await go.wait()
            await miner.answer(opened, [b"finished"])

        miner = await world.miner(serve=serve).join()
        task = asyncio.create_task(world.call("GET", "/noop"))
        await until(lambda: miner.opened)
        reader, writer = await world.connect()
        draining = asyncio.create_task(world.node.drain(5))
        await until(lambda: miner.goaway)
        assert await reader.read() == b""  # an idle connection is closed
        writer.close()
        with pytest.raises(OSError):
            await world.connect()
        assert json.loads((await world.call("GET", "/", endpoint="status", key="")).body)["state"] == "draining"
        go.set()
        assert (await task).body == b"finished"
        assert await draining
        await until(lambda: miner.closed)
        assert miner.closed is not None
        assert miner.closed.code == 4503


async def test_status_shows_public_facts_only(tmp_path: Path) -> None:
    """N-3."""
    async with support.world(tmp_path, geolocation="DE-HE") as world:
        await world.miner().join()
        await world.call("GET", "/noop")
        reply = await world.call("GET", "/status", endpoint="status", key="")
        shown = json.loads(reply.body)
        assert (shown["node_id"], shown["geolocation"], shown["state"]) == (support.public_id("n"), "DE-HE", "ok")
        (pool,) = [pool for pool in shown["pools"] if pool["miners"]]
        assert (pool["dservice"], pool["tier"], pool["slots"], pool["free_slots"]) == ("noop", "2", 8, 8)
        assert pool["latency_us"]["p50"] > 0
        for secret in (support.ACCOUNT, support.CONTRIBUTOR, support.miner_id(0), support.address("1"), "127.0.0.1"):
            assert secret not in reply.body.decode()
        assert (await world.call("GET", "/health", endpoint="status", key="")).status == 200
        assert (await world.call("GET", "/metrics", endpoint="status", key="")).status == 404
        assert (await world.call("POST", "/", endpoint="status", key="")).status == 405


async def test_metrics_are_on_a_listener_of_their_own(tmp_path: Path) -> None:
    async with support.world(tmp_path) as world:
        await world.miner().join()
        await world.call("GET", "/noop")
        text = await scraped(world)
        assert "# TYPE cgn_node_miners gauge\ncgn_node_miners 1\n" in text
        assert "cgn_node_rows_total 1\n" in text
        assert 'cgn_node_pool_slots{dservice="noop",tier="2",owner=""} 8' in text


async def test_strangers_that_come_and_go_fill_no_log(tmp_path: Path) -> None:
    """O-6: counted one by one, told of in one line; a miner that was known has its own."""
    lines: list[tuple[int, str, dict[str, object]]] = []
    async with support.world(tmp_path) as world:
        state = logs._State
        previous, state.sink = state.sink, lambda level, name, event, fields: lines.append((level, event, fields))
        try:
            for _ in range(30):
                await (await support.ScriptedMiner(world).dial_silently()).close()
            wrong = await world.miner(1, api_key="cgn_wrong").join()
            assert wrong.closed is not None
            known = await world.miner(0).join()
            await known.leave()
            await until(lambda: world.node.miners.strangers == 31)
            world.node.miners.tell_strangers()
            await until(lambda: any(event == "miner.left" for _, event, _ in lines))
        finally:
            state.sink = previous
    told = [(event, fields.get("count")) for level, event, fields in lines if level >= logs.INFO and "left" in event]
    assert sorted(told) == [("miner.left", None), ("miner.strangers_left", 31)]

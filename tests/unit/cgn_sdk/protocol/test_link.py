"""The link's messages and the machine that matches answers to questions (C-1, N-4)."""

import json
from dataclasses import replace
from typing import Any

import pytest
from cgn_sdk.protocol import link, link_envelope
from cgn_sdk.protocol.errors import Problem, ProblemError, ProtocolError
from cgn_sdk.protocol.link_envelope import Answer, Ask, Correlator, Expired, Refusal, Tell, decode, encode
from cgn_sdk.protocol.row import fee_nano_cpu
from hypothesis import given
from hypothesis import strategies as st

ENT = "ent_" + "a" * 20
CON = "con_" + "b" * 20
NOD = "nod_" + "c" * 20
MIN = "min_" + "d" * 20
USR = "usr_" + "e" * 20
PUB = "p" + "f" * 26
ADDRESS = "0x" + "1" * 40
PARTY = link.Party(PUB, ADDRESS, CON)
POLICY = link.Policy(
    version=3,
    network_id="testnet",
    dservices=(
        link.DServicePolicy(
            "mediagen",
            "0.1.0",
            "/mgen",
            link.Party(PUB, ADDRESS),
            700_000,
            100_000,
            ("2", "4b"),
            "",
            ("*", "*.example.org"),
            1_500,
        ),
    ),
    prices=link.Prices(1, 2, 3, 2**39),
    tier_factor_ppm={"1": 0, "4b": 1_000_000},
    exchange_rate_nano_eur_per_cpu=2**62,
)

MESSAGES = [
    (Ask(1, "node.hello", {}), '{"id":1,"ask":"node.hello","params":{}}'),
    (Answer(1, {}), '{"id":1,"answer":{}}'),
    (
        Refusal(1, Problem("forbidden")),
        '{"id":1,"problem":{"type":"urn:cgn:problem:forbidden","title":"This account may not do that","status":403,'
        '"code":"forbidden"}}',
    ),
    (
        Tell("revoke", {"account_ids": [], "miner_ids": []}),
        '{"tell":"revoke","params":{"account_ids":[],"miner_ids":[]}}',
    ),
]


@pytest.mark.parametrize(("message", "text"), MESSAGES)
def test_the_envelopes_have_the_bytes_of_the_docstrings(message: link_envelope.Message, text: str) -> None:
    assert encode(message) == text
    assert decode(text) == message


NO_ENVELOPE: dict[str, list[str | bytes]] = {
    "not JSON": ["", "{", '{"id":1,"answer":' + "[" * 50_000],
    "not a JSON object": ["[]", "null"],
    "neither ask, answer, problem nor tell": [
        "{}", '{"id":1}', '{"id":1,"answer":{},"problem":{}}', '{"tell":"policy","params":{},"id":1}',
    ],
    "id must be an integer from 1": [
        '{"id":0,"answer":{}}', '{"id":true,"answer":{}}', '{"id":"1","answer":{}}', '{"id":9007199254740992,"answer":{}}',
    ],
    "is not an integer": ['{"id":1.0,"answer":{}}', '{"id":1,"answer":{"a":1e3}}'],
    "more than 19 digits": ['{"id":' + "9" * 5000 + ',"answer":{}}'],
    "answer must be an object": ['{"id":1,"answer":[]}'],
    "a member stands there twice": ['{"id":1,"answer":{},"id":2}', '{"id":1,"answer":{"a":1,"a":2}}'],
    "NaN is not JSON": ['{"id":1,"answer":{"a":NaN}}'],
    "ask must be a word": [
        '{"id":1,"ask":"Node.Hello","params":{}}', '{"id":1,"ask":"","params":{}}', '{"id":1,"ask":"a.b.c","params":{}}',
    ],
    "params must be an object": ['{"id":1,"ask":"a","params":null}', '{"tell":"policy","params":[]}'],
    "maximum recursion depth": ['{"id":1,"answer":' + '{"a":' * 40_000 + "1" + "}" * 40_001],
    "a message of more than": [" " * (link_envelope.MESSAGE_MAX_BYTES + 1)],
    "text messages only": [b'{"id":1,"answer":{}}'],
}  # fmt: skip


@pytest.mark.parametrize(("rule", "text"), [(rule, text) for rule, texts in NO_ENVELOPE.items() for text in texts])
def test_what_is_no_envelope_is_a_protocol_error(rule: str, text: str | bytes) -> None:
    with pytest.raises(ProtocolError, match=rule):
        decode(text)


def test_a_message_that_would_be_too_long_is_not_made() -> None:
    with pytest.raises(ValueError, match="at most 262144"):
        encode(Answer(1, {"a": "x" * link_envelope.MESSAGE_MAX_BYTES}))
    with pytest.raises(ValueError, match="at most 262144"):
        encode(Answer(1, {"a": "\U0001f600" * (link_envelope.MESSAGE_MAX_BYTES // 3)}))


def test_a_foreign_problem_is_bounded() -> None:
    document = {"title": "x" * 10_000, "detail": "y" * 10_000, "status": 403} | {str(n): n for n in range(100)}
    refusal = decode(json.dumps({"id": 1, "problem": document}))
    assert isinstance(refusal, Refusal)
    assert len(refusal.problem.to_json()) < 2_000


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**17), 10**17) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
objects = st.dictionaries(st.text(max_size=10), json_values, max_size=4)
ids = st.integers(1, link_envelope.INTEGER_MAX)
words = st.from_regex(r"\A[a-z]{1,8}(\.[a-z]{1,8})?\Z")


@given(st.builds(Ask, ids, words, objects) | st.builds(Answer, ids, objects) | st.builds(Tell, words, objects))
def test_halves_of_the_codec_undo_each_other(message: link_envelope.Message) -> None:
    assert decode(encode(message)) == message


@given(st.text(max_size=300) | json_values.map(json.dumps) | objects.map(json.dumps))
def test_whatever_comes_is_a_message_or_a_protocol_error(text: str) -> None:
    try:
        message = decode(text)
    except ProtocolError:
        return
    assert decode(encode(message)) == message


READERS = [
    link.NodeHello,
    link.NodeWelcome,
    link.SessionOpen,
    link.SessionGrant,
    link.MinerVerify,
    link.MinerGrant,
    link.Policy,
    link.Revoke,
]
VALUES: list[Any] = [
    link.NodeHello(NOD, "k", "0.1", "DE"),
    link.NodeWelcome(PUB, PARTY, POLICY),
    link.SessionOpen(ENT, "k", USR),
    link.SessionOpen(ENT, "k"),
    link.SessionGrant(ENT, PUB, ADDRESS, PUB, ("1", "4a"), 30_000, 64),
    link.SessionGrant(ENT, PUB, ADDRESS, "", (), 30_000, 64),
    link.MinerVerify(CON, MIN, "k"),
    link.MinerGrant(MIN, PUB, "1", PARTY, ENT),
    link.MinerGrant(MIN, PUB, "4b", PARTY),
    link.MinerGrant(MIN, PUB, "3", PARTY, None, link.Machine(8, 20_000, 2**34)),
    POLICY,
    link.Revoke((ENT,), (MIN,)),
]


@pytest.mark.parametrize("value", VALUES)
def test_params_survive_the_wire(value: Any) -> None:
    answer = decode(encode(Answer(1, value.to_params())))
    assert isinstance(answer, Answer)
    assert type(value).from_params(answer.answer) == value
    assert type(value).from_params({**answer.answer, "said_by_a_newer_peer": 1}) == value


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place inside a JSON value."""
    found = [at] if at else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        found += places(inner, (*at, key))
    return found


def altered(value: Any, at: tuple[Any, ...], new: Any) -> Any:
    if not at:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[at[0]] = altered(value[at[0]], at[1:], new)
    return copy


@pytest.mark.parametrize("value", VALUES)
def test_every_member_of_a_wrong_type_is_refused_by_name(value: Any) -> None:
    """A bool, an object and an overlong text fit nowhere; the refusal is a Problem and never another exception."""
    params = value.to_params()
    for at in places(params):
        for wrong in (True, {"x": 1} if at[-1] != "tier_factor_ppm" else 5, "x" * 100_000, [["x"]], -1):
            with pytest.raises(ProblemError) as caught:
                type(value).from_params(altered(params, at, wrong))
            assert caught.value.problem.code == "bad_request"
            assert str(at[0]) in caught.value.problem.detail


@given(st.sampled_from(READERS), objects)
def test_whatever_params_come_they_are_read_or_refused(reader: Any, params: dict[str, Any]) -> None:
    try:
        value = reader.from_params(params)
    except ProblemError:
        return
    assert reader.from_params(value.to_params()) == value


@pytest.mark.parametrize(
    ("at", "wrong"),
    [
        (("dservices", 0, "developer_ppm"), 300_001),  # more than the rest of the fee
        (("dservices", 0, "contributor_ppm"), 1_000_001),
        (("dservices", 0, "route"), "mgen"),
        (("dservices", 0, "route"), "/mgen/../x y"),
        (("dservices", 0, "egress"), ["http://example.org"]),
        (("dservices", 0, "allowed_tiers"), ["5"]),
        (("prices", "gigabyte_nano_eur"), 5),
        (("prices", "gigabyte_nano_eur"), "05"),
        (("prices", "gigabyte_nano_eur"), "-5"),
        (("prices", "gigabyte_nano_eur"), str(2**63)),
        (("exchange_rate_nano_eur_per_cpu",), "0"),
        (("tier_factor_ppm", "1"), -1),
        (("tier_factor_ppm", "1"), 10_000_001),
    ],
)
def test_a_policy_that_would_misprice_is_refused(at: tuple[Any, ...], wrong: Any) -> None:
    with pytest.raises(ProblemError) as caught:
        link.Policy.from_params(altered(POLICY.to_params(), at, wrong))
    assert f"{at[-1]} must be" in caught.value.problem.detail


@pytest.mark.parametrize("price", ["kmips_hour", "tflop_hour", "gigabyte", "memory_gib_hour"])
@pytest.mark.parametrize("rate", [3, 10**9, 2**62])
def test_the_highest_fee_has_room_in_a_row(price: str, rate: int) -> None:
    """N-21: the highest price at which no request can cost 2^63 nano EUR or nano CPU is taken; one more is refused."""

    def params(nano_eur: int) -> dict[str, Any]:
        prices = {name: "0" for name in link.Prices.__slots__} | {f"{price}_nano_eur": str(nano_eur)}
        return {**POLICY.to_params(), "prices": prices, "exchange_rate_nano_eur_per_cpu": str(rate)}

    def is_taken(nano_eur: int) -> bool:
        try:
            link.Policy.from_params(params(nano_eur))
        except ProblemError as refused:
            assert "must be" in refused.problem.detail
            return False
        return True

    low, high = 0, 2**63 - 1
    assert is_taken(low)
    assert not is_taken(high)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if is_taken(middle) else (low, middle)
    fees = [replace(link.Prices(0, 0, 0, 0), **{f"{price}_nano_eur": at}).highest_fee for at in (low, high)]
    assert [max(fee, fee_nano_cpu(fee, rate)) < 2**63 for fee in fees] == [True, False]


def test_a_policy_with_one_route_twice_is_refused() -> None:
    params = POLICY.to_params()
    params["dservices"] *= 2
    with pytest.raises(ProblemError, match="each route once"):
        link.Policy.from_params(params)


def test_keys_do_not_show_in_logs() -> None:
    for value in (
        link.NodeHello(NOD, "s3cret", "1"),
        link.SessionOpen(ENT, "s3cret"),
        link.MinerVerify(CON, MIN, "s3cret"),
    ):
        assert "s3cret" not in repr(value)


def test_the_largest_policy_fits_a_message() -> None:
    host = ".".join(["x" * 63] * 2) + ".org"
    each = link.DServicePolicy("n" * 64, "1" * 64, "/r", PARTY, 1, 1, link.TIERS, "i" * 256, tuple([host] * 20))
    largest = link.Policy(1, "n", (each,) * 64, POLICY.prices, {}, 1)
    assert len(encode(Tell("policy", largest.to_params()))) < link_envelope.MESSAGE_MAX_BYTES


def test_a_long_revocation_leaves_in_parts() -> None:
    everyone = link.Revoke(tuple(f"{number}" for number in range(2_500)), ("m",))
    parts = list(everyone.parts())
    assert [len(part.account_ids) for part in parts] == [1000, 1000, 500]
    assert tuple(id for part in parts for id in part.account_ids) == everyone.account_ids
    assert [part.miner_ids for part in parts] == [("m",), (), ()]


# --- The machine ---


def ask(end: Correlator, now_ms: int = 0) -> tuple[int, str]:
    return end.ask("miner.verify", {"a": 1}, now_ms)


def test_answers_find_their_questions_in_any_order() -> None:
    node, central = Correlator(), Correlator()
    (first, text_1), (second, text_2) = ask(node), ask(node)
    for text in (text_1, text_2):
        assert central.receive(text, 0) == Ask(first if text is text_1 else second, "miner.verify", {"a": 1})
    assert node.receive(central.refuse(second, Problem("forbidden")), 5) == Refusal(second, Problem("forbidden"))
    assert node.receive(central.answer(first, {"b": 2}), 5) == Answer(first, {"b": 2})
    assert (node.waiting_count, central.owed_count, node.next_deadline()) == (0, 0, None)


def test_a_question_without_answer_expires_once_and_its_late_answer_is_nothing() -> None:
    end = Correlator(ask_timeout_ms=100)
    first, _ = ask(end, 0)
    second, _ = ask(end, 50)
    assert end.next_deadline() == 100
    assert end.expire(99) == []
    assert end.expire(100) == [Expired(first)]
    assert end.receive(encode(Answer(first, {})), 101) is None
    assert end.close() == [Expired(second)]
    assert end.close() == []


def test_an_answer_to_no_question_is_a_violation_and_a_second_answer_is_nothing() -> None:
    end = Correlator()
    id, _ = ask(end)
    assert end.receive(encode(Answer(id, {})), 0) == Answer(id, {})
    assert end.receive(encode(Answer(id, {})), 0) is None
    with pytest.raises(ProtocolError, match="never asked"):
        end.receive(encode(Answer(id + 1, {})), 0)


def test_questions_ascend() -> None:
    end = Correlator()
    end.receive(encode(Ask(5, "a", {})), 0)
    for id in (5, 4):
        with pytest.raises(ProtocolError, match="ids ascend"):
            end.receive(encode(Ask(id, "a", {})), 0)


def test_open_questions_are_bounded_at_both_ends() -> None:
    asker, answerer = Correlator(asks_max=2), Correlator(asks_max=2)
    for _ in range(2):
        answerer.receive(ask(asker)[1], 0)
    with pytest.raises(ProblemError) as caught:
        ask(asker)
    assert caught.value.problem.code == "overloaded"
    with pytest.raises(ProtocolError, match="more than 2"):
        answerer.receive(encode(Ask(3, "a", {})), 0)


def test_each_question_is_answered_once() -> None:
    end = Correlator()
    end.receive(encode(Ask(1, "a", {})), 0)
    end.answer(1, {})
    with pytest.raises(KeyError):
        end.answer(1, {})


@given(
    st.lists(st.tuples(st.sampled_from(["ask", "answer", "drop", "late", "tick"]), st.integers(0, 400)), max_size=60)
)
def test_every_question_ends_exactly_once(steps: list[tuple[str, int]]) -> None:
    """Under any order of asking, answering, losing, delaying and time, each question is answered or expires, once."""
    node, central = Correlator(ask_timeout_ms=500, asks_max=1000), Correlator(asks_max=1000)
    now, open_ids, delayed = 0, [], []  # type: ignore[var-annotated]
    ended: list[int] = []
    for step, number in steps:
        if step == "ask":
            id, text = ask(node, now)
            central.receive(text, now)
            open_ids.append(id)
        elif step in ("answer", "drop", "late") and open_ids:
            id = open_ids.pop(number % len(open_ids))
            text = central.answer(id, {})
            if step == "late":
                delayed.append(text)
            elif step == "answer" and node.receive(text, now) is not None:
                ended.append(id)
        elif step == "tick":
            now += number
            ended += [each.id for each in node.expire(now)]
            for text in delayed:
                answer = node.receive(text, now)
                ended += [answer.id] if isinstance(answer, Answer) else []
            delayed = []
    ended += [each.id for each in node.close()]
    assert sorted(ended) == list(range(1, len([step for step, _ in steps if step == "ask"]) + 1))

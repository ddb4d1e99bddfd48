"""Reading a seed: everything checked before anything is stored."""

import contextlib
import copy
from typing import Any

import pytest
from central_kit import ENT, KEYS, NOD, USR, make_seed
from cgn_sdk.protocol.link import Machine
from hypothesis import given
from hypothesis import strategies as st

from central_service.core.seed import SeedError, read_seed


def test_a_good_seed() -> None:
    seed = read_seed(make_seed())
    assert len(seed.accounts) == 11
    assert {each.id for each in seed.accounts if each.parent_id} == {USR}
    assert seed.accounts[0].allowed_tiers == ("2", "4b")
    assert [key.whole for account_id, key in seed.keys if account_id == ENT] == [KEYS[ENT]]
    assert seed.nodes[0].id == NOD
    assert KEYS[ENT] not in repr(seed)


@pytest.mark.parametrize(
    ("path", "value", "mistake"),
    [
        (("accounts", 0, "id"), "ent_1", "accounts[0].id: must be an account id"),
        (("accounts", 0, "adress"), "0x", "accounts[0]: no member 'adress'"),
        (("accounts", 0, "address"), "", "accounts[0].address: must be given"),
        (("accounts", 0, "api_keys"), ["cgn_x"], "accounts[0].api_keys[0]: is no API key"),
        (("accounts", 0, "password"), "short", "accounts[0].password: must have at least 12"),
        (("accounts", 4, "api_keys"), [KEYS[ENT]], "accounts[4].api_keys: this kind of account has no keys"),
        (("accounts", 1, "api_keys"), [KEYS[ENT]], "stands there twice"),
        (("accounts", 1, "id"), ENT, "accounts[1].id: stands there twice"),
        (("accounts", 10, "enterprise"), NOD, "accounts[10].enterprise: must be the id of an account of kind ent"),
        (("nodes", 0, "url"), "http://x/central", "nodes[0].url: must be an address"),
        (("nodes", 0, "fingerprint"), "AB", "nodes[0].fingerprint: must be a SHA-256"),
        (("miners", 0, "enterprise"), ENT, "miners[0].enterprise: must be given for tier 1, and only"),
        (("miners", 2, "enterprise"), "", "miners[2].enterprise: must be given for tier 1"),
        (
            ("miners", 0, "machine"),
            {"threads": 4},
            "miners[0].machine: cannot be read: machine: kmips_per_thread_milli",
        ),
        (("miners", 0, "machine"), 4, "miners[0].machine: cannot be read: machine: threads must be"),
        (("dservices", 0, "developer_ppm"), 300_001, "developer_ppm must be an integer from 0 to 300000"),
        (("dservices", 0, "route"), "mgen", "route must be a path"),
        (("policy", "prices", "gigabyte_nano_eur"), 3, "policy.prices.gigabyte_nano_eur: must be a string of decimal"),
        (("policy", "exchange_rate_nano_eur_per_cpu"), "0", "exchange_rate_nano_eur_per_cpu must be more than 0"),
        (("policy", "tier_factor_ppm"), {"7": 1}, "policy.tier_factor_ppm: must be an object from tier"),
        (("policy",), None, "policy"),
        (("more",), 1, "more: no such member"),
        (("accounts",), {}, "accounts: must be a list"),
        (("miners", 0), 5, "miners[0]: must be an object"),
    ],
)
def test_mistakes_are_named(path: tuple[Any, ...], value: Any, mistake: str) -> None:
    document = make_seed()
    place: Any = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(SeedError) as caught:
        read_seed(document)
    assert any(mistake in each for each in caught.value.mistakes), caught.value.mistakes
    assert KEYS[ENT] not in str(caught.value)


def test_what_a_miner_runs_on_is_registered_or_unknown() -> None:
    document = make_seed()
    document["miners"][0]["machine"] = {"threads": 8, "kmips_per_thread_milli": 20_000, "memory_bytes": 2**34}
    first, *others = read_seed(document).miners
    assert first.machine == Machine(8, 20_000, 2**34)
    assert {each.machine for each in others} == {None}


@pytest.mark.parametrize(
    ("table", "name", "high"),
    [
        ("accounts", "deadline_ms", 86_400_000),
        ("accounts", "concurrency", 100_000),
        ("dservices", "contributor_ppm", 1_000_000),
        ("dservices", "developer_ppm", 1_000_000),
        ("dservices", "cpus_milli", 4_096_000),
    ],
)
def test_whole_numbers_have_bounds(table: str, name: str, high: int) -> None:
    others = {"contributor_ppm": "developer_ppm", "developer_ppm": "contributor_ppm"}
    for value in (0, high):
        document = make_seed()
        document[table][0] |= {others.get(name, name): 0, name: value}
        assert getattr(getattr(read_seed(document), table)[0], name) == value
    for wrong in (-1, high + 1, True, 1.0, "1"):
        document = make_seed()
        document[table][0] |= {others.get(name, name): 0, name: wrong}
        with pytest.raises(SeedError, match=f"{table}.0..{name}: must be a whole number from 0 to {high}"):
            read_seed(document)


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [at]
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        found += places(inner, (*at, key))
    return found


PLACES = places(make_seed())


@given(
    st.sampled_from(PLACES),
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=40), st.just([]), st.just({}), st.just([[]])),
)
def test_whatever_a_seed_holds_it_is_read_or_refused(at: tuple[Any, ...], value: Any) -> None:
    document: Any = copy.deepcopy(make_seed())
    if not at:
        document = value
    else:
        place = document
        for step in at[:-1]:
            place = place[step]
        place[at[-1]] = value
    with contextlib.suppress(SeedError):
        assert read_seed(document).accounts

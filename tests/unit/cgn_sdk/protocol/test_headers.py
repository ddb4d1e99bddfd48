"""`CGN-*` headers: each option, each way to get it wrong, and bytes nobody meant (bad input: 400 naming the header)."""

import pytest
from cgn_sdk.protocol import limits
from cgn_sdk.protocol.errors import Problem
from cgn_sdk.protocol.headers import OPTIONS, TIERS, WorkOptions, parse
from hypothesis import given
from hypothesis import strategies as st


def test_the_example_of_the_module() -> None:
    headers = [("Host", "x"), ("CGN-Tier", "2, 3"), ("CGN-Deadline-Ms", "5000"), ("CGN-Meta-Campaign", "spring")]
    assert parse(headers) == WorkOptions(tiers=("2", "3"), deadline_ms=5_000, meta={"campaign": "spring"})


def test_nothing_asked() -> None:
    assert parse([("Accept", "*/*"), ("X-CGN-Tier", "9")]) == WorkOptions()


def test_every_option_in_any_case() -> None:
    headers = {
        "cgn-tier": "4a,1",
        "CGN-DEADLINE-MS": "1",
        "Cgn-Max-Fee-Nano-Eur": "0",
        "CGN-Match": " fastest\t",
        "CGN-Request-Id": "0123456789abcdef" * 2,
        "CGN-Min-Threads": "8",
        "CGN-Min-Kmips-Milli": "9000",
        "CGN-Min-Bandwidth-Bytes-S": "1000000",
        "CGN-Meta-Order-Id": "a b",
    }
    assert len(headers) == len(OPTIONS) + 1
    options = parse(headers.items())
    assert options == WorkOptions(
        ("4a", "1"), 1, 0, "fastest", "0123456789abcdef" * 2, 8, 9_000, 1_000_000, {"order-id": "a b"}
    )
    assert isinstance(options, WorkOptions)
    assert options.has_service_level


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CGN-Tier", ""),
        ("CGN-Tier", "5"),
        ("CGN-Tier", "4"),
        ("CGN-Tier", "2,2"),
        ("CGN-Tier", "2,"),
        ("CGN-Tier", "1,2,3,4a,4b,1"),
        ("CGN-Deadline-Ms", "0"),
        ("CGN-Deadline-Ms", "-1"),
        ("CGN-Deadline-Ms", "1.5"),
        ("CGN-Deadline-Ms", "1e3"),
        ("CGN-Deadline-Ms", "+5"),
        ("CGN-Deadline-Ms", "1_000"),
        ("CGN-Deadline-Ms", "٣"),
        ("CGN-Deadline-Ms", "9" * 5_000),
        ("CGN-Deadline-Ms", str(limits.DEADLINE_MAX_MS + 1)),
        ("CGN-Max-Fee-Nano-Eur", "NaN"),
        ("CGN-Max-Fee-Nano-Eur", str(limits.FEE_MAX_NANO_EUR + 1)),
        ("CGN-Match", "Fastest"),
        ("CGN-Match", "slowest"),
        ("CGN-Request-Id", "0" * 31),
        ("CGN-Request-Id", "A" * 32),
        ("CGN-Request-Id", "0" * 32 + "\n"),
        ("CGN-Min-Threads", "0"),
        ("CGN-Race", "3"),
        ("CGN-Teir", "2"),
        ("CGN-", "2"),
        ("CGN-Meta-", "x"),
        ("CGN-Meta--a", "x"),
        ("CGN-Meta-a_b", "x"),
        ("CGN-Meta-" + "a" * 65, "x"),
        ("CGN-Meta-a", "\x00"),
        ("CGN-Meta-a", "caf\xe9"),
        ("CGN-Meta-a", "x" * limits.REQUEST_META_MAX_CHARS),
    ],
)
def test_wrong_ones_are_named(name: str, value: str) -> None:
    problem = parse([("Accept", "*/*"), (name, value), ("CGN-Tier", "nonsense")])
    assert isinstance(problem, Problem)
    assert (problem.code, problem.status) == ("bad_header", 400)
    assert problem.extra["header"] == name[: limits.NAME_MAX_CHARS]
    assert name[: limits.NAME_MAX_CHARS] in problem.detail


@pytest.mark.parametrize("name", [*OPTIONS, "CGN-Meta-Same"])
def test_twice_is_once_too_often(name: str) -> None:
    """Which of the two should hold is nobody's guess to make."""
    good = {"CGN-Tier": "1", "CGN-Match": "fastest", "CGN-Request-Id": "0" * 32}.get(name, "5")
    assert isinstance(parse([(name, good)]), WorkOptions)
    problem = parse([(name, good), (name.upper(), good)])
    assert isinstance(problem, Problem)
    assert "twice" in problem.detail


def test_too_many_fields() -> None:
    fields = [(f"CGN-Meta-F{n}", "x") for n in range(limits.REQUEST_META_MAX_COUNT + 1)]
    assert isinstance(parse(fields[:-1]), WorkOptions)
    assert isinstance(parse(fields), Problem)


NAMES = st.sampled_from([*OPTIONS, "CGN-Meta-A", "CGN-Meta-B", "Accept", "CGN-Foo"]) | st.text(max_size=20).map(
    "CGN-".__add__
)
VALUES = st.text(max_size=40) | st.integers().map(str) | st.sampled_from([*TIERS, "1,2", "fastest", "0" * 32])


@given(st.lists(st.tuples(NAMES, VALUES), max_size=12))
def test_any_headers_give_options_within_bounds_or_a_problem(headers: list[tuple[str, str]]) -> None:
    """Fuzz: never an exception, never a value outside its bounds, every problem a sendable document."""
    options = parse(headers)
    if isinstance(options, Problem):
        assert options.status == 400
        assert Problem.from_json(options.to_json()) == options
        return
    assert options.tiers is None or (options.tiers and set(options.tiers) <= set(TIERS))
    assert options.deadline_ms is None or 1 <= options.deadline_ms <= limits.DEADLINE_MAX_MS
    assert options.max_fee_nano_eur is None or 0 <= options.max_fee_nano_eur <= limits.FEE_MAX_NANO_EUR
    assert options.match in ("immediate", "fastest")
    assert 0 <= options.min_threads <= limits.MIN_THREADS_MAX
    assert all(value.isascii() for value in options.meta.values())
    given_names = {name.lower() for name, _ in headers}
    assert all(f"cgn-meta-{name}" in given_names for name in options.meta)

"""How the queue shares a busy node between accounts (N-7), for any mix of arrivals."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from cgn_node.core.broker import Broker
from cgn_node.core.commands import Assign
from cgn_node.core.events import (
    AttemptFailed,
    AttemptFinished,
    MinerJoined,
    PolicyChanged,
    RequestArrived,
    RowStored,
    SlotsChanged,
)
from cgn_node.core.pricing import Fitness, Measured, Prices, Terms, Usage

TERMS = Terms(1, {"noop": ("2",)}, Prices(1, 1, 1, 1), {"2": 1_000_000})
FITNESS = Fitness(4, 9_000, 8 << 30)


def node(miners: int, slots: int) -> Broker:
    broker = Broker()
    broker.handle(PolicyChanged(TERMS), 0)
    for n in range(miners):
        broker.handle(MinerJoined(f"m{n}", n, "2", f"con_{n}", None, ("noop",), slots, FITNESS), 0)
    return broker


def arrive(broker: Broker, request: str, account: str) -> list[Assign]:
    given_ = broker.handle(RequestArrived(request, account, "noop", ("2",), 10**6), 0)
    return [command for command in given_ if isinstance(command, Assign)]


def finish(broker: Broker, assign: Assign) -> list[Assign]:
    event = AttemptFinished(assign.request, assign.attempt, assign.miner, Usage(), Measured(10**6, 0, 0))
    commands = broker.handle(event, 0)
    broker.handle(RowStored(assign.request), 0)
    return [command for command in commands if isinstance(command, Assign)]


@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=80), st.integers(1, 3), st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_accounts_that_wait_together_take_turns(arrivals: list[str], miners: int, slots: int) -> None:
    """Among accounts that all have something waiting, none gets ahead of another by more than a turn; and each account's
    requests go in the order they came."""
    broker = node(miners, slots)
    running: list[Assign] = []
    waiting: dict[str, list[str]] = {account: [] for account in "abcd"}
    for n, account in enumerate(arrivals):
        assigned = arrive(broker, f"{account}{n}", account)
        running += assigned
        if not assigned:
            waiting[account].append(f"{account}{n}")
    served: Counter[str] = Counter()
    while running:
        backlogged = [account for account, queue in waiting.items() if queue]
        for assign in finish(broker, running.pop(0)):
            account = assign.request[0]
            assert waiting[account].pop(0) == assign.request
            served[account] += 1
            running.append(assign)
        broker.check()
        if backlogged and all(waiting[account] for account in backlogged):
            shares = [
                served[account] - arrivals_at_once(arrivals, miners * slots)[account] * 0 for account in backlogged
            ]
            assert max(shares) - min(shares) <= 1 + miners * slots
    assert not any(waiting.values())


def arrivals_at_once(arrivals: list[str], slots: int) -> Counter[str]:
    return Counter(arrivals[:slots])


@given(st.integers(1, 200), st.integers(1, 3))
@settings(max_examples=30, deadline=None)
def test_a_newcomer_does_not_wait_for_a_flood(flood: int, slots: int) -> None:
    """Somebody else's backlog delays a newcomer's request by one turn, however long it is."""
    broker = node(1, slots)
    running = [assign for n in range(flood + slots) for assign in arrive(broker, f"f{n}", "flood")]
    assert arrive(broker, "newcomer", "new") == []
    started: list[Assign] = []
    for _ in range(2):
        now = finish(broker, running.pop(0))
        running += now
        started += now
    assert "newcomer" in [assign.request for assign in started]


@given(st.lists(st.integers(0, 3), min_size=1, max_size=12), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_what_comes_back_is_at_the_head_in_its_old_order(accounts: list[int], random: object) -> None:
    """N-10, N-11: whatever order the failures come in, the next free miner gets them in the order they were first
    assigned, before anything that has not been tried."""
    broker = node(1, len(accounts))
    broker.handle(MinerJoined("other", 99, "2", "con_o", None, ("noop",), 0, FITNESS), 0)
    first = [assign for n, a in enumerate(accounts) for assign in arrive(broker, f"r{n}", f"ent_{a}")]
    assert len(first) == len(accounts)
    for n in range(5):
        arrive(broker, f"fresh{n}", "ent_new")
    failing = list(first)
    random.shuffle(failing)  # type: ignore[attr-defined]
    started: list[Assign] = []
    for assign in failing:
        event = AttemptFailed(assign.request, assign.attempt, assign.miner, "dservice_crashed")
        started += [command for command in broker.handle(event, 0) if isinstance(command, Assign)]
    broker.check()
    joined = broker.handle(SlotsChanged("other", 99, 100), 0)
    again = [command.request for command in joined if isinstance(command, Assign) and command.attempt == 2]
    assert again == [assign.request for assign in first]
    requests = [command.request for command in joined if isinstance(command, Assign)]
    assert requests[: len(again)] == again

"""What holds between any two events of a broker. Costly: for tests and the simulation."""

from collections import Counter
from collections.abc import Mapping

from cgn_node.core.matching import choose
from cgn_node.core.miners import Miner
from cgn_node.core.register import Register
from cgn_node.core.requests import ASSIGNED, OPEN, RECORDING, SETTLING, WAITING, Attempt, Request


def check(register: Register, miners: Mapping[str, Miner]) -> None:
    """Raises AssertionError."""
    _check_counts(register)
    acknowledgements, deadlines = set(register.deadlines.acknowledgements), set(register.deadlines.ends)
    looks = set(register.deadlines.looks)
    for request in register.requests.values():
        _check_request(request, miners)
        assert (request in deadlines) == (request.state in OPEN)
        for attempt in request.attempts:
            assert attempt.acknowledged or attempt in acknowledgements
            assert attempt in acknowledgements or attempt in looks, "nothing would ever notice that its miner is silent"
        assert not request.grace_until_ms or request in looks, "nothing would ever wake this request"
    for miner in miners.values():
        _check_miner(miner, register)
    for pool in register.queues.pools.values():
        assert sum(offer.miner.slots for offer in pool.members.values()) == pool.slots
        assert len(list(pool.free)) + len(list(pool.full)) == len(pool.members)
    _check_queues(register)


def _check_counts(register: Register) -> None:
    requests = register.requests.values()
    states = Counter(request.state for request in requests)
    assert set(states) <= {WAITING, ASSIGNED, SETTLING, RECORDING}
    assert states[WAITING] == register.waiting == sum(register.depth.values())
    assert states[SETTLING] + states[RECORDING] == register.recording
    for share in register.shares.values():
        mine = [request for request in requests if request.share is share]
        assert share.live == len(mine) > 0
        assert share.waiting == sum(request.state is WAITING for request in mine) == sum(share.kinds.values())


def _check_request(request: Request, miners: Mapping[str, Miner]) -> None:
    assert len(request.attempts) == (request.state is ASSIGNED)
    for attempt in request.attempts:
        _check_attempt(attempt, miners)
    assert (request.state is SETTLING) == (request.settling is not None)
    assert request.waits_afresh == (request.state is WAITING and not request.tried)
    assert len(set(request.failed)) == len(request.failed) == len(request.codes)
    starving = request.state is WAITING and not request.queue.has_candidate(request.failed)
    assert starving == bool(request.grace_until_ms) == (request in request.queue.starving)


def _check_attempt(attempt: Attempt, miners: Mapping[str, Miner]) -> None:
    miner = attempt.miner
    assert attempt.is_live
    assert attempt.number <= attempt.request.tried
    assert miners[miner.id] is miner
    assert attempt.request.id in miner.running
    assert miner.id not in attempt.request.failed


def _check_miner(miner: Miner, register: Register) -> None:
    assert miner.busy == len(miner.running)
    for name in miner.running:
        assert any(attempt.miner is miner for attempt in register.requests[name].attempts)
    for dservice, offer in miner.offers.items():
        assert offer.pool.members[miner.id] is offer
        assert offer.pool.dservice == dservice
        ranking = offer.pool.free if miner.busy < miner.slots else offer.pool.full
        assert offer.ranking is ranking
        assert offer in ranking.ranks[offer.rank]


def _check_queues(register: Register) -> None:
    live = Counter(request.queue.demand for request in register.requests.values())
    for demand, queue in register.queues.by_demand.items():
        waiting = [request for _, request in queue.fresh if request.waits_afresh]
        assert len(waiting) == queue.waiting_fresh
        assert queue.retries == sorted(queue.retries, key=lambda request: request.key)
        assert queue.live == live[demand]
        for pool in queue.pools:
            assert (queue in register.queues.waiting[pool]) == bool(waiting or queue.retries)
        for request in [] if demand.is_patient else waiting + queue.retries:
            assert choose(queue, request, register.now_ms, 0) is None, "it waits although a slot is free"

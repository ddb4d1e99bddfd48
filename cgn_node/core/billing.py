"""What of a claim counts (N-20)."""

from cgn_node.core.pricing import Measured, Usage, clip
from cgn_node.core.requests import Attempt


def charge(
    attempt: Attempt, claimed: Usage, measured: Measured, now_ms: int
) -> tuple[Usage, tuple[str, ...], tuple[str, ...]]:
    """(what of a claim counts, signed or not; members of it that were cut down; those of which its machine cannot have
    used as much, as far as Central knows it or, where it does not, as its miner has described it). Notes what counts as
    used of the machine."""
    miner, tariff = attempt.miner, attempt.tariff
    usage, cut = clip(claimed, measured, tariff.fitness, tariff.cpus_milli)
    usage, shared = miner.bill(usage, now_ms)
    if not cut and not shared:
        return usage, (), ()
    _, impossible = clip(claimed, measured, miner.machine)
    if miner.is_registered:  # what all its requests together can have used is known, too
        impossible += tuple(name for name in shared if name not in impossible)
    return usage, (*cut, *(name for name in shared if name not in cut)), impossible

"""What one node may tune of its broker; reasons are in `limits`."""

from dataclasses import dataclass

from cgn_node.core import limits


@dataclass(frozen=True, slots=True)
class BrokerSettings:
    acknowledge_ms: int = limits.ACKNOWLEDGE_MS
    silence_ms: int = limits.SILENCE_MS
    quarantine_miners: int = limits.QUARANTINE_MINERS
    tier_queue_depth: int = limits.TIER_QUEUE_DEPTH
    account_queue_depth: int = limits.ACCOUNT_QUEUE_DEPTH
    account_kinds: int = limits.ACCOUNT_KINDS
    grace_ms: int = limits.GRACE_MS
    fastest_wait_ms: int = limits.FASTEST_WAIT_MS

"""Carries out a run's transactions: journal first, then the chain, until each is final (P-11).

The driver owns no decision about money. It is told steps (who calls what), and brings every one of them to an end:
final, failed (mined without effect) or lost (the nonce went to somebody else). A crash anywhere leaves the journal at a
step from which the same call goes on.

What it trusts: nothing an endpoint says once. A receipt counts when it stands on the chain as it is now,
`confirmations` deep, and says what the step expects. An error or time-out on broadcast is unknown, and is looked up
by hash.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from payouts import limits
from payouts.chain import Chain, ChainError, Fees, Payload, Receipt, Signer, bumped
from payouts.journal import Journal, Tx

ENDED = ("final", "failed", "lost")


class DriverError(Exception):
    """A step cannot be brought to an end now. The journal is as it was; the next run goes on from there."""


@dataclass(frozen=True, slots=True)
class Step:
    """One transaction to be made: what, by whom, and how to know that it happened."""

    name: str
    """Unique: `reserve:…`, `collect:<run>:<n>`, …"""
    signer: Signer
    payload: Payload
    check: Callable[[Receipt], str]
    """Returns what the receipt lacks, or the empty string."""
    repeatable: bool = True
    """Whether the contract itself refuses to do it twice, so that a further attempt under another nonce is safe."""


@dataclass(slots=True)
class _Watch:
    """When a transaction was last offered to the network, on the driver's clock."""

    since_s: float
    offered_s: float
    complaint: str = ""


@dataclass(slots=True)
class Driver:
    """Brings steps to an end. One per process; `tell` gets a line per thing that happened."""

    chain: Chain
    journal: Journal
    confirmations: int
    tell: Callable[[str], None]
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    settle_timeout_s: float = limits.SETTLE_TIMEOUT_S
    stuck_after_s: float = limits.STUCK_AFTER_S
    _watches: dict[int, _Watch] = field(default_factory=dict)

    def carry_out(self, run_id: int, steps: Iterable[Step]) -> dict[str, Tx]:
        """Brings all steps to an end and returns their transactions by name, final, failed or lost.

        A step that the journal knows goes on with what is stored there, whatever `payload` says now: what was decided
        before a crash stays decided. A repeatable step that failed or was lost is attempted again while the chain says
        that it would do something. Raises DriverError after `settle_timeout_s`, and when the chain says things of a
        final transaction that cannot be.
        """
        todo = {step.name: step for step in steps}
        done: dict[str, Tx] = {}
        deadline_s = self.clock() + self.settle_timeout_s
        wait_s = limits.POLL_INTERVAL_S
        trouble = ""
        while todo:
            moved = False
            for name, step in list(todo.items())[: limits.IN_FLIGHT_MAX]:
                try:
                    before = self.journal.tx(name)
                    tx = self._advance(run_id, step, before)
                except ChainError as error:
                    trouble = str(error)
                    continue
                moved |= before is None or (tx.tx, tx.state) != (before.tx, before.state)
                if tx.state in ENDED and tx == before:
                    done[name] = tx
                    del todo[name]
            if todo and self.clock() > deadline_s:
                waiting = ", ".join(sorted(todo)[:4])
                raise DriverError(
                    f"not final after {self.settle_timeout_s:.0f} s: {waiting}"
                    f"{f' (last trouble: {trouble})' if trouble else ''}; run again to go on with the same bytes"
                )
            if todo and not moved:
                self.sleep(wait_s)
                wait_s = min(2 * wait_s, limits.POLL_INTERVAL_MAX_S)
            else:
                wait_s = limits.POLL_INTERVAL_S
        return done

    def _advance(self, run_id: int, step: Step, tx: Tx | None) -> Tx:
        """Takes one transaction one step further, if the chain allows it."""
        if tx is None or (tx.state in ("failed", "lost") and self._may_repeat(step, tx)):
            return self.journal.plan_tx(
                run_id,
                step.name,
                sender=step.signer.address,
                recipient=step.payload.recipient,
                data=step.payload.data,
                gas=step.payload.gas,
            )
        if tx.state == "planned":
            return self._sign(step, tx)
        if tx.state == "signed":
            return self._broadcast(tx)
        if tx.state == "sent":
            return self._look(step, tx)
        if tx.state == "mined":
            return self._confirm(step, tx)
        return tx

    def _may_repeat(self, step: Step, tx: Tx) -> bool:
        if not step.repeatable or tx.attempt >= limits.ATTEMPTS_MAX:
            return False
        return not self.chain.simulate(step.signer.address, step.payload.recipient, step.payload.data).reverted

    def _sign(self, step: Step, tx: Tx) -> Tx:
        fees = self.chain.fees()
        payload = Payload(tx.recipient, tx.data, tx.gas)
        if step.signer.address != tx.sender:
            raise DriverError(f"{tx.step} was planned for {tx.sender}; the key now is of {step.signer.address}")
        return self.journal.sign(tx, self.chain.nonce(tx.sender), lambda nonce: step.signer.sign(payload, nonce, fees))

    def _broadcast(self, tx: Tx) -> Tx:
        self._offer(tx)
        return self.journal.sent(tx)

    def _offer(self, tx: Tx) -> None:
        """Sends the newest stored bytes. Whatever comes back is noted and otherwise ignored: look-ups decide."""
        self.journal.at("tx.broadcast.before")
        try:
            complaint = self.chain.broadcast(tx.versions[-1].raw)
        except ChainError as error:
            complaint = str(error)
        self.journal.at("tx.broadcast.after")
        now_s = self.clock()
        watch = self._watches.setdefault(tx.tx, _Watch(now_s, now_s))
        watch.offered_s, watch.complaint = now_s, complaint

    def _look(self, step: Step, tx: Tx) -> Tx:
        """A transaction that went out: mined, overtaken by another on its nonce, dropped, or stuck?"""
        for version in reversed(tx.versions):
            receipt = self.chain.receipt(version.tx_hash)
            if receipt is not None and self._stands(receipt):
                return self.journal.mined(
                    tx,
                    mined_hash=receipt.tx_hash,
                    block_number=receipt.block_number,
                    block_hash=receipt.block_hash,
                    gas_used=receipt.gas_used,
                )
        assert tx.nonce is not None
        deep = self.chain.head().number - self.confirmations + 1
        if deep >= 0 and self.chain.nonce(tx.sender, deep) > tx.nonce and not self._seen(tx):
            return self.journal.lost(tx, f"nonce {tx.nonce} was used by another transaction of {tx.sender}")
        now_s = self.clock()
        watch = self._watches.setdefault(tx.tx, _Watch(now_s, 0.0))
        if now_s - watch.since_s > self.stuck_after_s and len(tx.versions) <= limits.REPLACEMENTS_MAX:
            return self._replace(step, tx, watch)
        if now_s - watch.offered_s > limits.OFFER_AGAIN_S and not self.chain.is_known(tx.versions[-1].tx_hash):
            self._offer(tx)  # dropped from the pool: the same bytes again
        return tx

    def _seen(self, tx: Tx) -> bool:
        """Whether any version has a receipt: asked once more after the nonce was found used, since blocks go on."""
        return any(self.chain.receipt(version.tx_hash) is not None for version in tx.versions)

    def _replace(self, step: Step, tx: Tx, watch: _Watch) -> Tx:
        assert tx.nonce is not None
        fees: Fees = bumped(tx.versions[-1], self.chain.fees())
        version = step.signer.sign(Payload(tx.recipient, tx.data, tx.gas), tx.nonce, fees)
        tx = self.journal.replace(tx, version)
        watch.since_s = self.clock()
        self.tell(f"{tx.step}: offered again with a higher fee ({fees.max_fee} wei per gas)")
        self._offer(tx)
        return tx

    def _confirm(self, step: Step, tx: Tx) -> Tx:
        assert tx.mined_hash is not None
        assert tx.block_number is not None
        block = self.chain.block(tx.block_number)
        if block is None:
            return tx  # an endpoint that lags behind does not know the block yet: wait
        if block.block_hash != tx.block_hash:
            self.tell(f"{tx.step}: block {tx.block_number} is gone (reorganisation); the same bytes go out again")
            self._watches.pop(tx.tx, None)
            return self.journal.orphaned(tx)
        if self.chain.head().number - tx.block_number + 1 < self.confirmations:
            return tx
        receipt = self.chain.receipt(tx.mined_hash)
        if receipt is None or receipt.block_hash != tx.block_hash:
            return tx  # its block stands, so this is the endpoint's delay
        if not receipt.succeeded:
            return self.journal.failed(tx, "mined without effect (the contract refused it)")
        lacking = step.check(receipt)
        if lacking:
            raise DriverError(f"{tx.step}: transaction 0x{tx.mined_hash.hex()} is final, but {lacking}")
        self._watches.pop(tx.tx, None)
        return self.journal.final(tx)

    def _stands(self, receipt: Receipt) -> bool:
        """Whether the receipt's block is on the chain as the endpoint shows it now."""
        block = self.chain.block(receipt.block_number)
        return block is not None and block.block_hash == receipt.block_hash

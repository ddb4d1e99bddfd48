"""Carries out a run's transactions: journal first, then the chain, until each is final (P-11).

The driver owns no decision about money. It is told steps (who calls what), and brings every one of them to an end:
final, failed (mined without effect) or lost (the nonce went to somebody else, or the key is not ours any more). A crash
anywhere leaves the journal at a step from which the same call goes on.

What it trusts: nothing an endpoint says once.
- A receipt counts when it stands on the chain as it is now, `confirmations` deep, and says what the step expects.
- An error or time-out on broadcast is unknown, and is looked up by hash.
- A transaction is lost when its nonce is used, deep enough, and the endpoint knows none of its versions, look after
  look, over `LOST_BLOCKS` blocks. An index that is late says so once or twice.
- An end is no end for ever: `renew` looks at ended transactions again, and what a reorganisation took away goes out
  again, the same bytes.
- A nonce below ours that nobody uses (an endpoint once counted too high) is filled: by the bytes of ours that had it,
  else by a transaction without effect. The payload is never signed under a second nonce for it, so there are never two
  transactions for one intent.
- What a key signed that this run does not have (a collector that was replaced) is not waited for: it may have no ether,
  and nobody can offer more for it. It is lost, and its step is made anew with the key of now. Should the old bytes be
  mined all the same, either they come first and are found on the chain, or the contract refuses them.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

from cgn_chassis.backoff import Backoff
from payouts import limits
from payouts.chain import Chain, ChainError, Fees, Payload, Receipt, Signer, bumped
from payouts.journal import Journal, Tx

_POLLS = Backoff(limits.POLL_FIRST_MS, limits.POLL_MOST_MS)
ENDED = ("final", "failed", "lost")
UNDER_WAY = ("signed", "sent", "mined")
FILLER = "fill"
"""Step of a transaction whose only use is its nonce."""


class DriverError(Exception):
    """A step cannot be brought to an end now. The journal is as it was; the next run goes on from there."""


@dataclass(frozen=True, slots=True)
class Step:
    """One transaction to be made: what, by whom, and how to know that it happened."""

    name: str
    """Unique: `reserve:…`, `collect:<run>:<n>`, …"""
    signer: Signer | None
    """None: what is signed already is brought to its end, and nothing is signed."""
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
    missed: tuple[int, float] | None = None
    """Newest block and time when its nonce was first seen used while the endpoint knew none of its versions."""


@dataclass(frozen=True, slots=True)
class _Errand:
    """One transaction to be brought to its end: by the newest attempt at a step, or by its number in the journal."""

    step: Step
    find: Callable[[], Tx | None]


@dataclass(slots=True)
class Driver:
    """Brings steps to an end. One per process; `tell` gets a line per thing that happened."""

    chain: Chain
    journal: Journal
    confirmations: int
    tell: Callable[[str], None]
    accounts: frozenset[str]
    """Those whose keys this run has."""
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
        return self._drive(run_id, {step.name: _Errand(step, partial(self.journal.tx, step.name)) for step in steps})

    def renew(self, run_id: int) -> bool:
        """Looks at a run's transactions again, whatever came of them, and brings to an end what is not at one now.

        Final or failed, and its block has gone: the same bytes go out again. Lost, and it is mined after all: noted.
        Returns whether there was any such; then whoever concluded something from them has to look again.
        """
        changed = False
        stands: dict[tuple[int | None, bytes | None], bool] = {}
        for tx in self.journal.txs(run_id):
            if tx.state in ("final", "failed"):
                place = (tx.block_number, tx.block_hash)
                if place not in stands:
                    stands[place] = self._block_stands(tx)
                if stands[place]:
                    continue
                self._orphan(tx)
                changed = True
            elif tx.state == "lost" and (receipt := self._receipt(tx)) is not None:
                self._note_mined(tx, receipt)
                changed = True
        errands = {
            f"{tx.step} #{tx.attempt}": _Errand(
                Step(tx.step, None, Payload(tx.recipient, tx.data, tx.gas), _unasked, repeatable=False),
                partial(self.journal.tx_number, tx.tx),
            )
            for tx in self.journal.txs(run_id)
            if tx.state in UNDER_WAY and not tx.step.startswith(FILLER)
        }
        self._drive(run_id, errands)
        return changed or bool(errands)

    def _drive(self, run_id: int, todo: dict[str, _Errand]) -> dict[str, Tx]:
        done: dict[str, Tx] = {}
        deadline_s = self.clock() + self.settle_timeout_s
        looks = 0
        trouble = ""
        while todo:
            moved = False
            for name, errand in list(todo.items())[: limits.IN_FLIGHT_MAX]:
                try:
                    before = errand.find()
                    tx = self._advance(run_id, errand.step, before)
                except ChainError as error:
                    trouble = str(error)
                    continue
                moved |= before is None or (tx.tx, tx.state) != (before.tx, before.state)
                if tx.state in ENDED and tx == before:
                    done[name] = tx
                    del todo[name]
            if todo and self.clock() > deadline_s:
                raise DriverError(self._late(todo, trouble))
            if todo and not moved:
                looks += 1
                self.sleep(_POLLS.longest_ms(looks) / 1000)
            else:
                looks = 0
        return done

    def _late(self, todo: dict[str, _Errand], trouble: str) -> str:
        complaints = [watch.complaint for watch in self._watches.values() if watch.complaint]
        said = f" (last trouble: {trouble})" if trouble else ""
        said += f" (the endpoint said of a broadcast: {complaints[-1]})" if complaints else ""
        return (
            f"not final after {self.settle_timeout_s:.0f} s: {', '.join(sorted(todo)[:4])}"
            f"{said}; run again to go on with the same bytes"
        )

    def _advance(self, run_id: int, step: Step, tx: Tx | None) -> Tx:
        """Takes one transaction one step further, if the chain allows it."""
        if tx is None or (tx.state in ("failed", "lost") and self._may_repeat(step, tx)):
            return self._plan(run_id, step)
        if tx.state in ("planned", "signed", "sent") and not self._has_key(step, tx):
            return self._give_up(tx)
        if tx.state == "planned":
            return self._sign(step, tx)
        if tx.state == "signed":
            return self._broadcast(tx)
        if tx.state == "sent":
            return self._look(run_id, step, tx)
        if tx.state == "mined":
            return self._confirm(step, tx)
        return tx

    def _plan(self, run_id: int, step: Step) -> Tx:
        assert step.signer is not None
        return self.journal.plan_tx(
            run_id,
            step.name,
            sender=step.signer.address,
            recipient=step.payload.recipient,
            data=step.payload.data,
            gas=step.payload.gas,
        )

    def _may_repeat(self, step: Step, tx: Tx) -> bool:
        if not step.repeatable or step.signer is None or tx.attempt >= limits.ATTEMPTS_MAX:
            return False
        return not self.chain.simulate(step.signer.address, step.payload.recipient, step.payload.data).reverted

    def _has_key(self, step: Step, tx: Tx) -> bool:
        return tx.sender in self.accounts if step.signer is None else tx.sender == step.signer.address

    def _give_up(self, tx: Tx) -> Tx:
        """A transaction of a key that this run does not have: what it did, if it is mined; else it is lost."""
        receipt = self._receipt(tx)
        if receipt is None or tx.state == "signed":
            self.tell(f"{tx.step}: attempt {tx.attempt} was {tx.sender}'s, whose key this run does not have")
            tx = self.journal.lost(tx, f"the key of {tx.sender} is not at hand any more; not seen mined")
        return tx if receipt is None else self._note_mined(tx, receipt)

    def _sign(self, step: Step, tx: Tx, nonce: int | None = None) -> Tx:
        """Signs under the next nonce, or under the one given (which fills a gap)."""
        fees = self.chain.fees()
        payload = Payload(tx.recipient, tx.data, tx.gas)
        signer = step.signer
        assert signer is not None
        if nonce is None:
            nonce = max(self._count(tx.sender), self.journal.next_nonce(tx.sender))
        return self.journal.sign(tx, nonce, signer.sign(payload, nonce, fees))

    def _count(self, sender: str) -> int:
        """How many transactions of the sender are mined. More than ours explain is asked for again, and the lower
        answer counts: one too high would leave a gap that nobody fills, one too low costs a further attempt."""
        count = self.chain.nonce(sender)
        return min(count, self.chain.nonce(sender)) if count > self.journal.next_nonce(sender) else count

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

    def _look(self, run_id: int, step: Step, tx: Tx) -> Tx:
        """A transaction that went out: mined, overtaken by another on its nonce, waiting behind a gap, dropped, or
        stuck?"""
        receipt = self._receipt(tx)
        if receipt is not None:
            return self._note_mined(tx, receipt)
        now_s = self.clock()
        watch = self._watches.setdefault(tx.tx, _Watch(now_s, 0.0))
        if self._is_lost(tx, watch):
            return self.journal.lost(
                tx,
                f"nonce {tx.nonce} of {tx.sender} is used, and for {limits.LOST_BLOCKS} blocks the chain has known no "
                "transaction of ours under it",
            )
        if step.signer and now_s - watch.since_s > self.stuck_after_s and len(tx.versions) <= limits.REPLACEMENTS_MAX:
            return self._replace(step.signer, tx, watch)
        if now_s - watch.offered_s > limits.OFFER_AGAIN_S:
            if not self.chain.is_known(tx.versions[-1].tx_hash):
                self._offer(tx)  # dropped from the pool: the same bytes again
            watch.offered_s = now_s
            self._fill_gap(run_id, step, tx)
        return tx

    def _is_lost(self, tx: Tx, watch: _Watch) -> bool:
        """Whether the nonce is used, deep enough, and no version of the transaction has been known to the endpoint at
        any look since, over several blocks."""
        assert tx.nonce is not None
        head = self.chain.head().number
        deep = head - self.confirmations + 1
        if deep < 0 or self.chain.nonce(tx.sender, deep) <= tx.nonce or self._is_known(tx):
            watch.missed = None
            return False
        now_s = self.clock()
        first_block, first_s = watch.missed = watch.missed or (head, now_s)
        return head - first_block >= limits.LOST_BLOCKS and now_s - first_s >= limits.LOST_AFTER_S

    def _is_known(self, tx: Tx) -> bool:
        return any(self.chain.is_known(version.tx_hash) for version in tx.versions)

    def _fill_gap(self, run_id: int, step: Step, tx: Tx) -> None:
        """Nonces below the transaction's that nobody uses hold it up for ever: fills them."""
        assert tx.nonce is not None
        count = self.chain.nonce(tx.sender)
        ours = self.journal.txs_by_nonce(tx.sender, count, tx.nonce)
        for below in ours.values():  # of another step, or thought final: whoever owns it, its bytes are needed now
            if not self._is_known(below):
                self._offer(below)
        gap = tx.nonce - count - len(ours)
        if gap > limits.GAP_MAX:
            raise DriverError(
                f"{tx.step} is signed under nonce {tx.nonce} of {tx.sender}, and the chain has {count} of its "
                f"transactions: {gap} nonces between are unused. If another program uses this key, let it finish; "
                "else ask another endpoint"
            )
        if step.signer is None:
            return
        for nonce in sorted(set(range(count, tx.nonce)) - ours.keys()):
            self.tell(f"{tx.step}: nonce {nonce} below it is unused; filled by a transaction without effect")
            payload = Payload(tx.sender, b"", limits.TRANSFER_GAS)
            filler = Step(f"{FILLER}:{tx.sender}:{nonce}", step.signer, payload, _unasked, repeatable=False)
            self._broadcast(self._sign(filler, self._plan(run_id, filler), nonce))

    def _receipt(self, tx: Tx) -> Receipt | None:
        """The receipt of the version that is mined on the chain as it stands now."""
        for version in reversed(tx.versions):
            receipt = self.chain.receipt(version.tx_hash)
            if receipt is not None and self._stands(receipt):
                return receipt
        return None

    def _note_mined(self, tx: Tx, receipt: Receipt) -> Tx:
        return self.journal.mined(
            tx,
            mined_hash=receipt.tx_hash,
            block_number=receipt.block_number,
            block_hash=receipt.block_hash,
            gas_used=receipt.gas_used,
        )

    def _replace(self, signer: Signer, tx: Tx, watch: _Watch) -> Tx:
        assert tx.nonce is not None
        fees: Fees = bumped(tx.versions[-1], self.chain.fees())
        version = signer.sign(Payload(tx.recipient, tx.data, tx.gas), tx.nonce, fees)
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
            return self._orphan(tx)
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

    def _block_stands(self, tx: Tx) -> bool:
        assert tx.block_number is not None
        block = self.chain.block(tx.block_number)
        return block is not None and block.block_hash == tx.block_hash

    def _orphan(self, tx: Tx) -> Tx:
        self.tell(f"{tx.step}: block {tx.block_number} is gone (reorganisation); the same bytes go out again")
        self._watches.pop(tx.tx, None)
        return self.journal.orphaned(tx)

    def _stands(self, receipt: Receipt) -> bool:
        """Whether the receipt's block is on the chain as the endpoint shows it now."""
        block = self.chain.block(receipt.block_number)
        return block is not None and block.block_hash == receipt.block_hash


def _unasked(receipt: Receipt) -> str:
    """For what was checked when it was first final, or has no effect: whoever renews looks at the chain itself."""
    return ""

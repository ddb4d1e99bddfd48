"""The deployed token as a black box: a state machine over a real chain against a model in Python (P-1).

The model knows balances, allowances, reservations and what was settled, and predicts for every call whether it is taken
or which named error refuses it. Transactions go in raw, with the gas limit given, so that a refusal is a mined transaction
that must leave everything as it was.
"""

from collections import defaultdict
from typing import Any

import pytest
from cgn_sdk.keccak import keccak_256
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from payouts import deploy
from payouts.bindings import batches
from payouts.bindings.abi import Call
from payouts.deploy import Manifest
from payouts.rpc import Rpc, RpcError

pytestmark = pytest.mark.engine("anvil")
PEOPLE = tuple(f"0x{n:040x}" for n in range(0xA0, 0xA5))
ENTITIES = tuple(bytes([n]) * 16 + bytes(16) for n in range(1, 5))
BATCHES = tuple(keccak_256(b"batch %d" % n) for n in range(2))
ROLE_HOLDERS = ("collector", "payer", "pauser")
START = 1_000
AMOUNTS = st.one_of(
    st.integers(0, 40), st.integers(0, 2 * START), st.sampled_from([2**64, 2**96 - 1, 2**96, 2**256 - 1])
)
people = st.sampled_from(PEOPLE)
SUBSIDY = 5


class Chain:
    """A deployed token, and raw transactions from unlocked accounts."""

    def __init__(self, rpc: Rpc) -> None:
        self.rpc = rpc
        for name in deploy.ROLES:
            rpc("anvil_setBalance", self.account(name), hex(10**21))
        self.manifest: Manifest = deploy.deploy(rpc, deploy.development_key("admin"), deploy.development_plan())
        for who in (*PEOPLE, *(self.account(name) for name in deploy.ROLES)):
            rpc("anvil_setBalance", who, hex(10**21))
            rpc("anvil_impersonateAccount", who)
        for who in PEOPLE:
            assert self.send(self.account("admin"), self.manifest.faucet.give(who, START)) is None
        self.fresh = rpc("evm_snapshot")

    @staticmethod
    def account(name: str) -> str:
        return deploy.address_of(deploy.development_key(name))

    def reset(self) -> None:
        self.rpc("evm_revert", self.fresh)
        self.fresh = self.rpc("evm_snapshot")

    def send(self, sender: str, call: Call[Any]) -> str | None:
        """Mines the call. None when it was taken, else the name of the error that refused it."""
        message = {"from": sender, "to": call.to, "data": "0x" + call.data.hex(), "gas": hex(3_000_000)}
        refused = None
        try:
            self.rpc.ask(call, sender=sender)
        except RpcError as error:
            if error.revert is None:
                raise
            refused = error.revert.name
        receipt = self.rpc.wait_receipt(self.rpc("eth_sendTransaction", message))
        assert (int(receipt["status"], 16) == 1) == (refused is None)
        assert refused is None or receipt["logs"] == []
        return refused

    def now(self) -> int:
        return int(self.rpc("eth_getBlockByNumber", "latest", False)["timestamp"], 16)


@pytest.fixture(scope="module")
def chain(anvil_url: str) -> Chain:
    return Chain(Rpc(anvil_url))


class TokenMachine(RuleBasedStateMachine):
    chain: Chain

    @initialize()
    def begin(self) -> None:
        self.chain.reset()
        self.token = self.chain.manifest.token
        self.books = self.chain.rpc.ask(self.token.payouts_account())
        self.balances = {who: START for who in PEOPLE}
        self.allowances: dict[tuple[str, str], int] = defaultdict(int)
        self.held: dict[bytes, list[Any]] = {}
        self.collected = 0
        self.progress: dict[tuple[bytes, str], tuple[bytes, int]] = {}
        self.paused = False

    # --- what the model expects, in the order in which the contract looks

    def expect(self, sender: str, call: Call[Any], *checks: tuple[bool, str]) -> bool:
        """Sends the call; the first check that holds names the refusal. Returns whether it was taken."""
        wanted = next((name for refused, name in checks if refused), None)
        assert self.chain.send(sender, call) == wanted
        return wanted is None

    def bad_recipient(self, to: str) -> list[tuple[bool, str]]:
        return [
            (int(to, 16) == 0, "ERC20InvalidReceiver"),
            (to in (self.token.address, self.books), "ForbiddenRecipient"),
        ]

    @property
    def targets(self) -> tuple[str, ...]:
        return (*PEOPLE, "0x" + "0" * 40, self.token.address, self.books)

    @rule(sender=people, to=st.integers(0, 7), amount=AMOUNTS)
    def transfer(self, sender: str, to: int, amount: int) -> None:
        target = self.targets[to]
        if self.expect(
            sender,
            self.token.transfer(target, amount),
            (self.paused, "TokenPaused"),
            *self.bad_recipient(target),
            (amount > self.balances[sender], "ERC20InsufficientBalance"),
        ):
            self.balances[sender] -= amount
            self.balances[target] += amount

    @rule(owner=people, spender=st.integers(0, 7), amount=AMOUNTS)
    def approve(self, owner: str, spender: int, amount: int) -> None:
        target = self.targets[spender]
        if self.expect(owner, self.token.approve(target, amount), (int(target, 16) == 0, "ERC20InvalidSpender")):
            self.allowances[owner, target] = amount

    @rule(owner=people, spender=people, to=st.integers(0, 7), amount=AMOUNTS)
    def transfer_from(self, owner: str, spender: str, to: int, amount: int) -> None:
        target = self.targets[to]
        if self.expect(
            spender,
            self.token.transfer_from(owner, target, amount),
            (amount > self.allowances[owner, spender], "ERC20InsufficientAllowance"),
            (self.paused, "TokenPaused"),
            *self.bad_recipient(target),
            (amount > self.balances[owner], "ERC20InsufficientBalance"),
        ):
            self.allowances[owner, spender] -= amount
            self.balances[owner] -= amount
            self.balances[target] += amount

    @rule(owner=people, amount=AMOUNTS, number=st.integers(0, 5), by=st.sampled_from(ROLE_HOLDERS))
    def reserve(self, owner: str, amount: int, number: int, by: str) -> None:
        reservation = keccak_256(b"reservation %d" % number)
        until = self.chain.now() + 1000
        if self.expect(
            self.chain.account(by),
            self.token.reserve(owner, amount, reservation, until),
            (by != "collector", "AccessControlUnauthorizedAccount"),
            (self.paused, "TokenPaused"),
            (amount == 0, "ZeroAmount"),
            (reservation in self.held, "ReservationExists"),
            (amount > self.allowances[owner, self.token.address], "ERC20InsufficientAllowance"),
            (amount > self.balances[owner], "ERC20InsufficientBalance"),
        ):
            self.allowances[owner, self.token.address] -= amount
            self.balances[owner] -= amount
            self.held[reservation] = [owner, amount, until]

    @precondition(lambda self: not self.paused)
    @rule(owner=people, amount=st.integers(1, 60))
    def approve_and_reserve(self, owner: str, amount: int) -> None:
        """A step that gets somewhere."""
        number = len(self.held)
        if number < 6:
            assert self.chain.send(owner, self.token.approve(self.token.address, amount)) is None
            self.allowances[owner, self.token.address] = amount
            self.reserve(owner, amount, number, "collector")

    @rule(number=st.integers(0, 5), by=st.sampled_from(("collector", "anybody")))
    def release(self, number: int, by: str) -> None:
        reservation = keccak_256(b"reservation %d" % number)
        owner, amount, until = self.held.get(reservation, ("", 0, 0))
        sender = self.chain.account("collector") if by == "collector" else PEOPLE[0]
        early = by != "collector" and self.chain.now() < until - 2
        if self.expect(
            sender,
            self.token.release(reservation),
            (self.paused, "TokenPaused"),
            (amount == 0, "UnknownReservation"),
            (early, "ReservationOpen"),
        ):
            self.balances[owner] += amount
            self.held[reservation][1] = 0

    @rule(
        batch=st.sampled_from(BATCHES), number=st.integers(0, 5), amount=st.integers(1, 80),
        entity=st.sampled_from(ENTITIES), subsidy=st.booleans(),
    )  # fmt: skip
    def collect(self, batch: bytes, number: int, amount: int, entity: bytes, subsidy: bool) -> None:
        reservation = keccak_256(b"reservation %d" % number)
        owner, reserved, until = self.held.get(reservation, ("", 0, 0))
        role = SUBSIDY if subsidy else 0
        item = batches.Collection(entity, role, reservation, amount, b"x" * 32, b"m" * 32, 7)
        if self.expect(
            self.chain.account("collector"),
            batches.collect(self.token, batch, [item], keccak_256),
            (self.paused, "TokenPaused"),
            ((entity, role) <= self.progress.get((batch, "in"), (b"", 0)), "AlreadySettled"),
            (reserved == 0, "UnknownReservation"),
            (self.chain.now() >= until, "ReservationExpired"),
            (amount > reserved, "ReservationExceeded"),
        ):
            self.balances[owner] += reserved - amount
            self.held[reservation][1] = 0
            self.collected += amount
            self.progress[batch, "in"] = (entity, role)

    @rule(
        batch=st.sampled_from(BATCHES), entities=st.sets(st.sampled_from(ENTITIES), min_size=1), data=st.data(),
        role=st.integers(1, 4), share=st.integers(1, 30), wrong=st.sampled_from(("", "", "", "list", "total", "twice")),
    )  # fmt: skip
    def pay(self, batch: bytes, entities: set[bytes], data: Any, role: int, share: int, wrong: str) -> None:
        ordered = sorted(entities)
        items = [
            batches.Payout(entity, role, data.draw(people), share, b"x" * 32, b"m" * 32, 7)
            for entity in (ordered + ordered[:1] if wrong == "twice" else ordered)
        ]
        call = batches.pay(self.token, batch, items, keccak_256)
        if wrong == "list":
            last = call.data.rstrip(b"\0")[-1]
            call = Call(call.to, call.function, call.data.replace(b"x" * 32, b"y" * 32, 1), call.decode)
            assert last
        if wrong == "total":
            words = call.data[:36] + (share * len(items) + 1).to_bytes(32, "big") + call.data[68:]
            call = Call(call.to, call.function, words, call.decode)
        total = share * len(items)
        settled = self.progress.get((batch, "out"), (b"", 0))
        if self.expect(
            self.chain.account("payer"),
            call,
            (self.paused, "TokenPaused"),
            (wrong == "list", "ListMismatch"),
            ((ordered[0], role) <= settled, "AlreadySettled"),
            (wrong == "twice", "DuplicateInBatch"),
            (wrong == "total", "TotalMismatch"),
            (total > self.collected, "CollectedFundsExceeded"),
        ):
            for item in items:
                self.balances[item.account] += share
            self.collected -= total
            self.progress[batch, "out"] = (ordered[-1], role)

    @rule(on=st.booleans())
    def pause(self, on: bool) -> None:
        if on:
            taken = self.expect(self.chain.account("pauser"), self.token.pause(), (self.paused, "TokenPaused"))
        else:
            taken = self.expect(self.chain.account("admin"), self.token.unpause(), (not self.paused, "NotPaused"))
        if taken:
            self.paused = on

    @rule(seconds=st.sampled_from((1, 500, 2000)))
    def time_passes(self, seconds: int) -> None:
        self.chain.rpc("evm_increaseTime", seconds)
        self.chain.rpc("evm_mine")

    @invariant()
    def the_chain_is_the_model(self) -> None:
        if not hasattr(self, "token"):
            return
        ask = self.chain.rpc.ask
        assert {who: ask(self.token.balance_of(who)) for who in PEOPLE} == self.balances
        assert ask(self.token.balance_of(self.token.address)) == sum(item[1] for item in self.held.values())
        assert ask(self.token.balance_of(self.books)) == self.collected
        assert ask(self.token.total_supply()) == START * len(PEOPLE)

    def teardown(self) -> None:
        if not hasattr(self, "token"):
            return
        for (owner, spender), amount in self.allowances.items():
            assert self.chain.rpc.ask(self.token.allowance(owner, spender)) == amount
        for reservation, (owner, amount, until) in self.held.items():
            assert self.chain.rpc.ask(self.token.reservation(reservation)) == (owner, amount, until)


def test_the_token_does_what_the_model_says(chain: Chain) -> None:
    from hypothesis.stateful import run_state_machine_as_test

    machine = type("Machine", (TokenMachine,), {"chain": chain})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=25, stateful_step_count=40, deadline=None, derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )  # fmt: skip

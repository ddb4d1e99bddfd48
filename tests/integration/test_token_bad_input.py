"""Whatever is wrong with a call, the contracts refuse it by name and nothing stays of it (P-1 to P-4), on a real chain.

Every refused call is mined against all advice. Afterwards the storage of every contract must have the hash it had before, so that
nothing at all can have changed. Lists are made by hand here: our own encoder refuses most of them.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from cgn_sdk.keccak import keccak_256

from payouts import deploy
from payouts.bindings import abi, batches
from payouts.bindings.abi import Call
from payouts.bindings.errors import ERRORS
from payouts.deploy import Manifest
from payouts.rpc import Rpc

pytestmark = pytest.mark.engine("anvil")
CPU = 10**9
ZERO = "0x" + "0" * 40
PAYEE, OTHER_PAYEE = "0x" + "a1" * 20, "0x" + "b2" * 20
FIRST, SECOND, THIRD = (bytes([n]) * 16 for n in (1, 2, 3))
DAY, NEXT_DAY = b"a day".ljust(32, b"."), b"the next day".ljust(32, b".")
EVIDENCE = b"evidence".ljust(32, b".")
HUGE = (2**96 - 1, 2**96, 2**256 - 1)


def item(entity: bytes, account: str, amount: int, role: int) -> bytes:
    place = bytes.fromhex(account[2:])
    return bytes(7) + b"\x03" + b"x" * 32 + b"m" * 32 + place + amount.to_bytes(12, "big") + entity + bytes([role])


def payout(entity: bytes, account: str, amount: int, role: int = 1) -> bytes:
    return item(entity, account, amount, role)


def padded(entity: bytes) -> bytes:
    return entity + bytes(16)


def items(packed: bytes) -> list[bytes]:
    return [packed[at : at + 121] for at in range(0, len(packed), 121)]


class World:
    """A deployment in which a day was settled: 60 CPU of a reservation of 100 collected for FIRST, 10 CPU of them paid
    to SECOND. For the next day 100 CPU are reserved, for THIRD."""

    def __init__(self, url: str) -> None:
        self.rpc = Rpc(url)
        for name in (*deploy.ROLES, "enterprise", "stranger", "miner"):
            self.rpc("anvil_setBalance", self.account(name), hex(10**21))
            self.rpc("anvil_impersonateAccount", self.account(name))
        self.manifest: Manifest = deploy.deploy(self.rpc, deploy.development_key("admin"), deploy.development_plan())
        manifest = self.manifest
        self.token, self.master, self.ieo = manifest.token, manifest.master_account, manifest.ieo_token
        self.sale, self.prices, self.faucet = manifest.main_sale, manifest.resource_prices, manifest.faucet
        self.rpc("anvil_setBalance", self.faucet.address, hex(10**21))  # a minter
        self.rpc("anvil_impersonateAccount", self.faucet.address)
        self.books = manifest.accounts["payer"]
        self.payer = self.account("enterprise")
        self.today = self.rpc.ask(self.ieo.today())
        self.taken("admin", self.faucet.give(self.payer, 1_000 * CPU))
        self.taken("enterprise", self.token.approve(self.token.address, 500 * CPU))
        paid = payout(SECOND, PAYEE, 10 * CPU, 2)
        self.taken("collector", self.reserve(FIRST, 100 * CPU, DAY, 3600))
        self.taken("collector", self.begin(DAY, bytes(32), 1, 60 * CPU, 10 * CPU, keccak_256(paid)))
        self.taken("collector", self.token.collect(self.books, DAY, self.collection(FIRST, 60 * CPU)))
        self.taken("payer", self.token.pay(DAY, paid, []))
        self.taken("collector", self.reserve(THIRD, 100 * CPU, NEXT_DAY, 3600))
        self.taken("admin", self.ieo.announce_tranche(5 * 10**8, 200_000_000 * CPU, 1_000, [], []))

    @staticmethod
    def account(name: str) -> str:
        return name if name.startswith("0x") else deploy.address_of(deploy.development_key(name))

    def now(self) -> int:
        return int(self.rpc("eth_getBlockByNumber", "latest", False)["timestamp"], 16)

    def wait(self, seconds: int) -> None:
        self.rpc("evm_increaseTime", seconds)
        self.rpc("evm_mine")

    def collection(self, entity: bytes, amount: int, role: int = 0) -> bytes:
        return item(entity, self.payer, amount, role)

    def reserve(self, entity: bytes, amount: int, settlement: bytes, seconds: int = 600) -> Call[Any]:
        until = self.now() + seconds
        return self.token.reserve(self.books, self.payer, padded(entity), 0, amount, settlement, until)

    def release(self, entity: bytes = THIRD) -> Call[Any]:
        return self.token.release(self.books, self.payer, padded(entity), 0)

    def begin(
        self, settlement: bytes, previous: bytes, first: int, collections: int, payouts: int, root: bytes
    ) -> Call[Any]:
        return self.token.begin(self.books, settlement, previous, first, first + 9, collections, payouts, root)

    def pay(self, packed: bytes, *, committed: int | None = None) -> Call[Any]:
        """Begins the next settlement, which commits to this list, if that can be; the call that pays it."""
        said = sum(int.from_bytes(one[92:104], "big") for one in items(packed))
        total = min(max(said, 1), 50 * CPU) if committed is None else committed
        self.taken("collector", self.begin(NEXT_DAY, DAY, 11, 0, total, keccak_256(packed)))
        return self.token.pay(NEXT_DAY, packed, [])

    def collect(self, packed: bytes, *, committed: int = 500 * CPU) -> Call[Any]:
        """Begins the next settlement; the call that collects this list in it."""
        self.taken("collector", self.begin(NEXT_DAY, DAY, 11, committed, 0, bytes(32)))
        return self.token.collect(self.books, NEXT_DAY, packed)

    def grant_unlocked(self, wallet: str, amount: int, pool: int) -> Call[Any]:
        self.taken("granter", self.ieo.announce_unlocked(wallet, amount, pool))
        return self.ieo.grant_unlocked(wallet, amount, pool)

    def mined(self, sender: str, call: Call[Any], value: int = 0) -> dict[str, Any]:
        return self.rpc.wait_receipt(self.rpc("eth_sendTransaction", self.message(sender, call, value)))

    def message(self, sender: str, call: Call[Any], value: int) -> dict[str, str]:
        data = {"to": call.to, "data": "0x" + call.data.hex(), "value": hex(value)}
        return data | {"from": self.account(sender), "gas": hex(3_000_000)}

    def taken(self, sender: str, call: Call[Any], value: int = 0) -> None:
        assert int(self.mined(sender, call, value)["status"], 16) == 1, (sender, call)

    def state(self) -> dict[str, str]:
        """Hash of all that a contract stores, and the ether of the only one that has some."""
        hashes = {
            name: self.rpc("eth_getProof", item.address, [], "latest")["storageHash"]
            for name, item in self.manifest.contracts.items()
        }
        return hashes | {"ether": self.rpc("eth_getBalance", self.sale.address, "latest")}

    def refused(self, sender: str, call: Call[Any], value: int = 0) -> str:
        """The name of the error; nothing changed."""
        before = self.state()
        receipt = self.mined(sender, call, value)
        assert (int(receipt["status"], 16), receipt["logs"]) == (0, []), (sender, call)
        assert self.state() == before
        answer = self.rpc("debug_traceTransaction", receipt["transactionHash"], {"tracer": "callTracer"})
        revert = abi.decode_error(bytes.fromhex(answer.get("output", "0x")[2:]))
        assert revert is not None, (call, answer)
        return revert.name

    def balances(self, *accounts: str) -> list[int]:
        return [self.rpc.ask(self.token.balance_of(account)) for account in accounts]


@pytest.fixture(scope="module")
def whole_world(anvil_url: str) -> World:
    return World(anvil_url)


@pytest.fixture
def world(whole_world: World) -> Iterator[World]:
    taken = whole_world.rpc("evm_snapshot")
    yield whole_world
    whole_world.rpc("evm_revert", taken)


Case = tuple[str, Callable[[World], tuple[str, Call[Any]]], str]


def refuse(cases: list[Case]) -> Any:
    return pytest.mark.parametrize(
        ("make", "error"), [pytest.param(make, error, id=name) for name, make, error in cases]
    )


NOBODY: list[Case] = [
    ("transfer", lambda w: ("enterprise", w.token.transfer(ZERO, 1)), "ERC20InvalidReceiver"),
    ("approve", lambda w: ("enterprise", w.token.approve(ZERO, 1)), "ERC20InvalidSpender"),
    ("mint", lambda w: ("admin", w.faucet.give(ZERO, 1)), "ERC20InvalidReceiver"),
    (
        "reserve",
        lambda w: ("collector", w.token.reserve(w.books, ZERO, padded(FIRST), 0, 1, NEXT_DAY, w.now() + 9)),
        "ERC20InsufficientAllowance",
    ),
    ("pay", lambda w: ("payer", w.pay(payout(THIRD, ZERO, 1))), "ForbiddenRecipient"),
    (
        "pay, second",
        lambda w: ("payer", w.pay(payout(FIRST, PAYEE, 1) + payout(SECOND, ZERO, 1))),
        "ForbiddenRecipient",
    ),
    ("announce", lambda w: ("seizer", w.master.announce(ZERO, 1, EVIDENCE)), "ZeroAddress"),
    ("presale", lambda w: ("granter", w.ieo.grant_presale(ZERO, 0, 1, w.today)), "ERC20InvalidReceiver"),
    ("vesting", lambda w: ("granter", w.ieo.grant_vesting(ZERO, 1, w.today, 0, 360)), "ERC20InvalidReceiver"),
    ("unlocked", lambda w: ("granter", w.grant_unlocked(ZERO, 1, 0)), "ERC20InvalidReceiver"),
]


@refuse(NOBODY)
def test_the_zero_address(world: World, make: Callable[[World], tuple[str, Call[Any]]], error: str) -> None:
    assert world.refused(*make(world)) == error


BOOKS: list[Case] = [
    ("transfer", lambda w: ("enterprise", w.token.transfer(w.token.address, 1)), "ForbiddenRecipient"),
    ("transfer, payouts account", lambda w: ("enterprise", w.token.transfer(w.books, 1)), "ForbiddenRecipient"),
    ("mint", lambda w: ("admin", w.faucet.give(w.token.address, 1)), "ForbiddenRecipient"),
    ("pay", lambda w: ("payer", w.pay(payout(THIRD, w.token.address, 1))), "ForbiddenRecipient"),
    ("pay, payouts account", lambda w: ("payer", w.pay(payout(THIRD, w.books, 1))), "ForbiddenRecipient"),
    (
        "pay, second",
        lambda w: ("payer", w.pay(payout(FIRST, PAYEE, 1) + payout(SECOND, w.token.address, 1))),
        "ForbiddenRecipient",
    ),
    ("presale", lambda w: ("granter", w.ieo.grant_presale(w.ieo.address, 0, 1, w.today)), "ForbiddenWallet"),
    ("vesting", lambda w: ("granter", w.ieo.grant_vesting(w.ieo.address, 1, w.today, 0, 360)), "ForbiddenWallet"),
    ("unlocked", lambda w: ("granter", w.grant_unlocked(w.ieo.address, 1, 0)), "ForbiddenWallet"),
]


@refuse(BOOKS)
def test_the_contract_itself_as_payee(world: World, make: Callable[[World], tuple[str, Call[Any]]], error: str) -> None:
    assert world.refused(*make(world)) == error


def twice(w: World) -> bytes:
    return w.collection(THIRD, CPU) + w.collection(THIRD, CPU)


LISTS: list[Case] = [
    ("empty, pay", lambda w: ("payer", w.pay(b"")), "EmptyBatch"),
    ("empty, collect", lambda w: ("collector", w.collect(b"")), "EmptyBatch"),
    ("no id, pay", lambda w: ("payer", w.token.pay(bytes(32), payout(FIRST, PAYEE, 1), [])), "NotTheCurrent"),
    (
        "no id, collect",
        lambda w: ("collector", w.token.collect(w.books, bytes(32), w.collection(THIRD, 1))),
        "NotTheCurrent",
    ),
    ("no id, begin", lambda w: ("collector", w.begin(bytes(32), DAY, 11, 0, 0, bytes(32))), "ZeroId"),
    ("no id, reserve", lambda w: ("collector", w.reserve(FIRST, 1, bytes(32))), "ZeroId"),
    ("cut, pay", lambda w: ("payer", w.pay(payout(THIRD, PAYEE, 1)[:-1])), "MalformedList"),
    ("longer, collect", lambda w: ("collector", w.collect(w.collection(THIRD, 1) + b"!")), "MalformedList"),
    ("payee twice", lambda w: ("payer", w.pay(payout(FIRST, PAYEE, 1) * 2)), "DuplicateInBatch"),
    (
        "payee twice, other account",
        lambda w: ("payer", w.pay(payout(FIRST, PAYEE, 1) + payout(FIRST, OTHER_PAYEE, 2))),
        "DuplicateInBatch",
    ),
    (
        "payee twice, apart",
        lambda w: ("payer", w.pay(b"".join(payout(e, PAYEE, 1) for e in (FIRST, SECOND, FIRST)))),
        "NotAscending",
    ),
    ("payer twice", lambda w: ("collector", w.collect(twice(w))), "DuplicateInBatch"),
    (
        "another entity's reservation",
        lambda w: ("collector", w.collect(w.collection(FIRST, 1))),
        "UnknownReservation",
    ),
    (
        "a reservation in another role",
        lambda w: ("collector", w.collect(w.collection(THIRD, 1, 5))),
        "UnknownReservation",
    ),
    ("paid again", lambda w: ("payer", w.token.pay(DAY, payout(SECOND, PAYEE, 10 * CPU, 2), [])), "AlreadySettled"),
    ("another list", lambda w: ("payer", w.token.pay(DAY, payout(THIRD, PAYEE, 1), [])), "ListNotCommitted"),
    (
        "a proof too many",
        lambda w: ("payer", w.token.pay(DAY, payout(SECOND, PAYEE, 10 * CPU, 2), [bytes(32)])),
        "ListNotCommitted",
    ),
    (
        "another day's",
        lambda w: ("payer", w.token.pay(NEXT_DAY, payout(SECOND, PAYEE, 10 * CPU, 2), [])),
        "NotTheCurrent",
    ),
    (
        "collected again",
        lambda w: ("collector", w.token.collect(w.books, DAY, w.collection(FIRST, 1))),
        "AlreadySettled",
    ),
    ("total too low, pay", lambda w: ("payer", w.pay(payout(THIRD, PAYEE, 2), committed=1)), "CommitmentExceeded"),
    (
        "total too low, collect",
        lambda w: ("collector", w.collect(w.collection(THIRD, 2), committed=1)),
        "CommitmentExceeded",
    ),
    ("a payer's role, pay", lambda w: ("payer", w.pay(payout(THIRD, PAYEE, 1, 0))), "InvalidRole"),
    ("no role, pay", lambda w: ("payer", w.pay(payout(THIRD, PAYEE, 1, 255))), "InvalidRole"),
    ("a payee's role, collect", lambda w: ("collector", w.collect(w.collection(THIRD, 1, 3))), "InvalidRole"),
    (
        "more than there is",
        lambda w: ("collector", w.begin(NEXT_DAY, DAY, 11, 5, 50 * CPU + 6, b"r" * 32)),
        "CollectedFundsExceeded",
    ),
    (
        "payouts without a list",
        lambda w: ("collector", w.begin(NEXT_DAY, DAY, 11, 5, 5, bytes(32))),
        "ListNotCommitted",
    ),
    (
        "a list without payouts",
        lambda w: ("collector", w.begin(NEXT_DAY, DAY, 11, 5, 0, b"r" * 32)),
        "ListNotCommitted",
    ),
    ("no previous", lambda w: ("collector", w.begin(NEXT_DAY, bytes(32), 11, 0, 0, bytes(32))), "NotThePrevious"),
    ("the same day", lambda w: ("collector", w.begin(DAY, bytes(32), 1, 0, 0, bytes(32))), "NotThePrevious"),
    ("rows again", lambda w: ("collector", w.begin(NEXT_DAY, DAY, 1, 0, 0, bytes(32))), "NotTheNextRow"),
    ("rows left out", lambda w: ("collector", w.begin(NEXT_DAY, DAY, 12, 0, 0, bytes(32))), "NotTheNextRow"),
]


@refuse(LISTS)
def test_lists(world: World, make: Callable[[World], tuple[str, Call[Any]]], error: str) -> None:
    assert world.refused(*make(world)) == error


def test_each_entity_settles_once_for_ever(world: World) -> None:
    world.wait(400 * 86_400)
    assert world.refused("payer", world.token.pay(DAY, payout(SECOND, PAYEE, 10 * CPU, 2), [])) == "AlreadySettled"
    world.taken("payer", world.pay(payout(SECOND, PAYEE, 1)))  # of the next day
    again = world.token.pay(NEXT_DAY, payout(SECOND, PAYEE, 1), [])
    assert world.refused("payer", again) == "AlreadySettled"
    assert world.refused("payer", world.token.pay(DAY, payout(SECOND, PAYEE, 10 * CPU, 2), [])) == "NotTheCurrent"


AMOUNTS: list[Case] = [
    ("collect 0", lambda w: ("collector", w.collect(w.collection(THIRD, 0))), "ZeroAmount"),
    ("pay 0", lambda w: ("payer", w.pay(payout(THIRD, PAYEE, 0))), "ZeroAmount"),
    (
        "pay 0, second",
        lambda w: ("payer", w.pay(payout(FIRST, PAYEE, 1) + payout(SECOND, PAYEE, 0))),
        "ZeroAmount",
    ),
    ("mint 0", lambda w: ("admin", w.faucet.give(PAYEE, 0)), "ZeroAmount"),
    ("announce 0", lambda w: ("seizer", w.master.announce(PAYEE, 0, EVIDENCE)), "ZeroAmount"),
    ("presale 0", lambda w: ("granter", w.ieo.grant_presale(PAYEE, 0, 0, w.today)), "ZeroAmount"),
    ("vesting 0", lambda w: ("granter", w.ieo.grant_vesting(PAYEE, 0, w.today, 0, 360)), "ZeroAmount"),
    ("unlocked 0", lambda w: ("granter", w.ieo.announce_unlocked(PAYEE, 0, 0)), "ZeroAmount"),
    ("redeem 0", lambda w: ("miner", w.ieo.redeem(0)), "ZeroAmount"),
    ("price 0", lambda w: ("pricing", w.prices.set_coefficients(0, w.today + 1, 0, 0, 2**128)), "InvalidAmount"),
    (
        "price 2^96",
        lambda w: ("pricing", w.prices.set_coefficients(0, w.today + 1, 2**96, 0, 2**128)),
        "InvalidAmount",
    ),
    ("sale 0", lambda w: ("enterprise", w.sale.contribute()), "NothingSent"),
    (
        "collect 2^96 - 1",
        lambda w: ("collector", w.collect(w.collection(THIRD, 2**96 - 1))),
        "ReservationExceeded",
    ),
    ("pay 2^96 - 1", lambda w: ("payer", w.pay(payout(THIRD, PAYEE, 2**96 - 1))), "CommitmentExceeded"),
    (
        "pay 2^96 - 1, many",
        lambda w: ("payer", w.pay(b"".join(payout(bytes([n]) * 16, PAYEE, 2**96 - 1) for n in range(1, 99)))),
        "CommitmentExceeded",
    ),
    (
        "pay 2^96, as if it were 0",
        lambda w: ("payer", w.pay(b"".join(payout(e, PAYEE, 2**95) for e in (FIRST, SECOND)))),
        "CommitmentExceeded",
    ),
    ("top up 0", lambda w: ("treasury", top_up(w, 0)), "ZeroAmount"),
    ("top up of nothing", lambda w: ("treasury", top_up(w, 1)), "ERC20InsufficientBalance"),
    ("top up for another day", lambda w: ("treasury", top_up(w, 1, DAY)), "UnknownReservation"),
    ("burn 0", lambda w: ("enterprise", w.token.burn(0)), "ZeroAmount"),
    ("burn 2^256 - 1", lambda w: ("enterprise", w.token.burn(2**256 - 1)), "ERC20InsufficientBalance"),
    ("burn unannounced", lambda w: ("treasury", w.token.burn(1)), "BurnNotAnnounced"),
    ("burn without reason", lambda w: ("treasury", w.token.announce_burn(1, "")), "InvalidReason"),
    (
        "begin 2^256 - 1",
        lambda w: ("collector", w.begin(NEXT_DAY, DAY, 11, 2**256 - 1, 0, bytes(32))),
        "CapExceeded",
    ),
    (
        "begin, pay 2^256 - 1",
        lambda w: ("collector", w.begin(NEXT_DAY, DAY, 11, 1, 2**256 - 1, b"r" * 32)),
        "CollectedFundsExceeded",
    ),
]


def top_up(w: World, amount: int, day: bytes = NEXT_DAY) -> Call[Any]:
    return w.token.top_up(w.books, w.payer, padded(THIRD), 0, amount, day)


@refuse(AMOUNTS)
def test_amounts(world: World, make: Callable[[World], tuple[str, Call[Any]]], error: str) -> None:
    assert world.refused(*make(world)) == error


@pytest.mark.parametrize("amount", HUGE)
def test_amounts_beyond_what_there_can_be(world: World, amount: int) -> None:
    token, ieo = world.token, world.ieo
    reserve = world.reserve(FIRST, amount, NEXT_DAY)
    assert world.refused("collector", reserve) == "ERC20InsufficientAllowance"
    assert world.refused("enterprise", token.transfer(PAYEE, amount)) == "ERC20InsufficientBalance"
    assert world.refused("stranger", token.transfer_from(world.payer, PAYEE, amount)) == "ERC20InsufficientAllowance"
    assert world.refused(world.faucet.address, token.mint(PAYEE, amount)) == "CapExceeded"
    assert world.refused("admin", ieo.announce_tranche(1, amount, 0, [], [])) == "PresaleCapExceeded"
    assert world.refused("admin", ieo.announce_tranche(amount, 1, 0, [], [])) == "InvalidTranche"
    assert world.refused("admin", ieo.announce_tranche(1, 1, amount, [], [])) == "InvalidTranche"
    assert world.refused("admin", ieo.announce_tranche(1, 1, 0, [amount], [1])) == "InvalidTranche"
    assert world.refused("admin", ieo.announce_tranche(1, 1, 0, [1], [amount])) == "InvalidTranche"
    assert world.refused("granter", ieo.grant_presale(PAYEE, 0, amount, world.today)) == "TrancheExceeded"
    assert world.refused("granter", ieo.grant_presale(PAYEE, amount, 1, world.today)) == "InvalidTranche"
    assert world.refused("granter", ieo.grant_presale(PAYEE, 0, 1, amount)) == "DayOutOfBounds"
    assert world.refused("granter", ieo.grant_vesting(PAYEE, amount, world.today, 0, 360)) == "PoolExceeded"
    assert world.refused("granter", ieo.grant_vesting(PAYEE, 1, world.today, 0, amount)) == "InvalidSchedule"
    assert world.refused("granter", world.grant_unlocked(PAYEE, amount, 2)) == "PoolExceeded"
    assert world.refused("miner", ieo.redeem(amount)) == "NotUnlocked"
    assert world.refused("miner", world.sale.claim(amount, 0)) == "NotStarted"
    assert world.refused("miner", world.sale.refund(amount, 0)) == "PeriodNotVoid"
    world.taken("granter", ieo.grant_presale(PAYEE, 0, 1, world.today))
    world.taken("admin", world.sale.start())
    assert world.refused("miner", world.sale.claim(amount, 0)) == "PeriodRunning"
    assert world.refused("miner", world.sale.withdraw(amount)) == "PeriodRunning"
    world.taken(
        "enterprise", token.approve(token.address, amount)
    )  # an approval may say anything; funds have to be there
    assert world.refused("collector", reserve) == "ERC20InsufficientBalance"
    assert world.refused("granter", ieo.grant_extra_bonus(PAYEE, amount)) == "ExtraBonusCapExceeded"


def test_seizures_of_more_than_there_can_be(world: World) -> None:
    miner = world.account("miner")
    for amount in (2**96, 2**256 - 1):
        assert world.refused("seizer", world.master.announce(miner, amount, EVIDENCE)) == "AmountTooLarge"
    world.taken("admin", world.faucet.give(miner, 10))
    world.taken("miner", world.token.approve(world.master.address, 3))
    world.taken("seizer", world.master.announce(miner, 2**96 - 1, EVIDENCE))
    assert world.refused("seizer", world.master.execute(miner, EVIDENCE)) == "HoldRunning"
    world.wait(3600)
    world.taken("seizer", world.master.execute(miner, EVIDENCE))
    assert world.balances(miner, world.account("treasury")) == [7, 3]
    assert world.refused("seizer", world.master.execute(miner, EVIDENCE)) == "NothingAtStake"
    assert world.refused("seizer", world.master.announce(miner, 1, EVIDENCE)) == "EvidenceUsed"
    world.taken("miner", world.token.approve(world.master.address, 4))
    world.taken("seizer", world.master.execute(miner, EVIDENCE))  # the rest is still open
    assert world.balances(miner, world.account("treasury")) == [3, 7]
    world.wait(30 * 86_400)
    world.taken("miner", world.token.approve(world.master.address, 1))
    assert world.refused("seizer", world.master.execute(miner, EVIDENCE)) == "WindowOver"


def test_one_unit_moves_one_unit(world: World) -> None:
    token, miner = world.token, world.account("miner")
    payer, held, books, nobody = world.balances(world.payer, token.address, world.books, OTHER_PAYEE)
    assert nobody == 0
    world.taken("collector", world.reserve(FIRST, 2, NEXT_DAY))
    assert world.balances(world.payer, token.address) == [payer - 2, held + 2]
    paid = payout(FIRST, OTHER_PAYEE, 1)
    world.taken("collector", world.begin(NEXT_DAY, DAY, 11, 1, 1, keccak_256(paid)))
    world.taken("collector", token.collect(world.books, NEXT_DAY, world.collection(FIRST, 1)))
    assert world.balances(world.payer, token.address, world.books) == [payer - 1, held, books + 1]
    world.taken("payer", token.pay(NEXT_DAY, paid, []))
    assert world.balances(world.books, OTHER_PAYEE) == [books, 1]
    world.taken("enterprise", token.transfer(miner, 1))
    world.taken("miner", token.approve(world.master.address, 1))
    world.taken("seizer", world.master.announce(miner, 1, EVIDENCE))
    world.wait(3600)
    world.taken("seizer", world.master.execute(miner, EVIDENCE))
    assert world.balances(miner, world.account("treasury")) == [0, 1]
    world.taken("granter", world.grant_unlocked(miner, 1, 0))
    world.taken("miner", world.ieo.redeem(1))
    assert world.balances(miner) == [1]
    assert world.refused("miner", world.ieo.redeem(1)) == "NotUnlocked"


def test_an_expired_reservation_goes_back_and_nowhere_else(world: World) -> None:
    before = world.balances(world.payer)[0]
    same = world.reserve(THIRD, 1, NEXT_DAY)
    collect = world.collect(world.collection(THIRD, 1))
    assert world.refused("collector", same) == "ReservationExists"
    world.wait(3600)
    assert world.refused("collector", collect) == "ReservationExpired"
    assert world.refused("collector", same) == "InvalidExpiry"
    world.taken("stranger", world.release())
    assert world.balances(world.payer) == [before + 100 * CPU]
    assert world.refused("stranger", world.release()) == "UnknownReservation"
    assert world.refused("collector", collect) == "UnknownReservation"
    for seconds in (0, 8 * 86_400, 2**63):
        assert world.refused("collector", world.reserve(FIRST, 1, NEXT_DAY, seconds)) == "InvalidExpiry"
    world.taken("collector", world.reserve(THIRD, 1, NEXT_DAY))  # what has expired can be made again
    assert world.balances(world.payer) == [before + 100 * CPU - 1]


def test_a_reservation_stays_with_its_owner_until_it_expires(world: World) -> None:
    assert world.refused("enterprise", world.release()) == "ReservationOpen"


def test_a_withdrawn_approval_is_worth_nothing(world: World) -> None:
    miner = world.account("miner")
    world.taken("enterprise", world.token.approve(world.token.address, 0))
    assert world.refused("collector", world.reserve(FIRST, 1, NEXT_DAY)) == "ERC20InsufficientAllowance"
    world.taken("admin", world.faucet.give(miner, 10))
    world.taken("miner", world.token.approve(world.master.address, 10))
    world.taken("seizer", world.master.announce(miner, 5, EVIDENCE))
    world.wait(3600)
    world.taken("miner", world.token.approve(world.master.address, 0))
    assert world.refused("seizer", world.master.execute(miner, EVIDENCE)) == "NothingAtStake"


def test_a_paused_token_moves_nothing(world: World) -> None:
    token, miner = world.token, world.account("miner")
    world.taken("admin", world.faucet.give(miner, 10))
    world.taken("miner", token.approve(world.master.address, 10))
    world.taken("enterprise", token.approve(world.account("stranger"), 10))
    world.taken("seizer", world.master.announce(miner, 5, EVIDENCE))
    world.taken("granter", world.grant_unlocked(miner, 5, 0))
    world.wait(3000)
    collect, pay = world.collect(world.collection(THIRD, 1)), token.pay(NEXT_DAY, payout(FIRST, PAYEE, 1), [])
    world.taken("pauser", token.pause())
    for sender, call in (
        ("enterprise", token.transfer(PAYEE, 1)),
        ("stranger", token.transfer_from(world.payer, PAYEE, 1)),
        ("admin", world.faucet.give(PAYEE, 1)),
        ("enterprise", token.burn(1)),
        ("collector", world.reserve(FIRST, 1, NEXT_DAY)),
        ("collector", world.release()),
        ("collector", collect),
        ("collector", world.begin(b"!" * 32, NEXT_DAY, 21, 0, 0, bytes(32))),
        ("treasury", top_up(world, 1)),
        ("payer", pay),
        ("payer", token.return_to_payer(world.payer, padded(THIRD), 0)),
        ("miner", world.ieo.redeem(1)),
        ("pauser", token.pause()),
    ):
        assert world.refused(sender, call) == "TokenPaused", call
    world.wait(1000)
    assert world.refused("seizer", world.master.execute(miner, EVIDENCE)) == "TokenPaused"
    world.taken("stranger", world.release())  # what has expired is not frozen
    world.taken("enterprise", token.approve(world.account("stranger"), 0))  # at any time
    world.taken("admin", token.unpause())
    assert world.refused("admin", token.unpause()) == "NotPaused"
    world.taken("enterprise", token.transfer(PAYEE, 1))


@pytest.mark.parametrize("sender", ["stranger", *deploy.ROLES])
def test_calls_without_the_role(world: World, sender: str) -> None:
    token, master, ieo, sale, prices = world.token, world.master, world.ieo, world.sale, world.prices
    role, me = deploy.role_id("pauser"), world.account(sender)
    calls = {
        "collector": (
            world.reserve(FIRST, 1, NEXT_DAY), world.begin(NEXT_DAY, DAY, 11, 0, 0, bytes(32)),
            token.collect(world.books, DAY, world.collection(THIRD, 1)), token.abandon(world.books, DAY),
        ),
        "payer": (token.pay(DAY, payout(THIRD, me, 1), []), token.accept_account()),
        "pauser": (token.pause(),),
        "treasury": (top_up(world, 1), token.announce_burn(1, "why")),
        "admin": (
            token.unpause(), token.seal_minters(), token.announce_role(role, me), token.end_setup(),
            token.announce_account(me, world.payer, ZERO, bytes(32)), token.begin_default_admin_transfer(me),
            master.announce_role(deploy.role_id("seizer"), me), ieo.close(), sale.start(), sale.close(),
            ieo.announce_role(deploy.role_id("granter"), me), ieo.announce_tranche(1, 1, 0, [], []),
            prices.announce_role(deploy.role_id("pricing"), me),
        ),
        "seizer": (master.announce(world.payer, 1, EVIDENCE), master.execute(world.payer, EVIDENCE)),
        "operations": (master.withdraw(world.payer, EVIDENCE),),
        "granter": (
            ieo.grant_presale(me, 0, 1, world.today), ieo.grant_extra_bonus(me, 1),
            ieo.grant_vesting(me, 1, world.today, 0, 360), ieo.announce_unlocked(me, 1, 0), ieo.grant_unlocked(me, 1, 0),
        ),
        "pricing": (prices.set_coefficients(0, world.today + 1, 1, 0, 2**128),),
        "minter": (token.mint(me, 1),),
        "main_sale": (ieo.open_main_sale(), ieo.grant_main_sale(me, 1), ieo.end_main_sale(0)),
        "guardian": (
            token.cancel_role(role, me), token.cancel_account(me), token.dismiss_collector(world.books),
            ieo.cancel_role(role, me), ieo.cancel_unlocked(me, 1, 0), ieo.close_tranche(0),
        ),
    }  # fmt: skip
    names = {"collector": {"NotCollector"}, "guardian": {"NotGuardian"}, "payer": {"NotTheCurrent", "NothingAnnounced"}}
    for holder, refused in calls.items():
        may = {"guardian": ("admin", "pauser", "payer")}.get(holder, (holder,))
        for call in refused if sender not in may else ():
            assert world.refused(sender, call) in names.get(holder, {"AccessControlUnauthorizedAccount"}), call


@pytest.mark.parametrize("role", ["pauser", "treasury", "guardian", "minter"])
def test_no_role_without_its_announcement(world: World, role: str) -> None:
    """The admin too has to say so first; and minters are sealed."""
    token, me = world.token, world.account("admin")
    assert world.refused("admin", token.grant_role(deploy.role_id(role), me)) == "NothingAnnounced"
    if role == "minter":
        refused = world.refused("admin", token.announce_role(deploy.role_id(role), me))
        assert refused == "AccessControlUnauthorizedAccount"


# ---------------------------------------------------------------------------------------------------------- reentrancy


def passing_on(sale: str) -> str:
    """Code that calls the sale with what it is called with, ether and all."""
    return "365f5f37" + "5f5f365f34" + "73" + sale[2:] + "5af1" + "5000"


def intruder(sale: str, again: bytes) -> str:
    """Code of a buyer: passes on what it is called with; when ether comes, calls `again`, notes whether that was taken (word 0:
    1 no, 2 yes) and how the answer begins (word 1), and keeps the ether all the same."""
    first = passing_on(sale)
    code = "3615" + f"60{5 + len(first) // 2:02x}57" + first + "5b"
    for at in range(0, len(again), 32):
        code += "7f" + again[at : at + 32].ljust(32, b"\0").hex() + f"60{at:02x}52"
    code += f"60205f60{len(again):02x}5f5f" + "73" + sale[2:] + "5af1"
    return "0x" + code + "6001015f55" + "5f51600155" + "00"


@pytest.mark.parametrize("again", ["refund", "withdraw"])
def test_ether_that_is_sent_lets_nobody_in_again(world: World, again: str) -> None:
    """Ether sent by the sale is the only place where foreign code runs; whoever gets it calls the same entry again."""
    sale, rpc = world.sale, world.rpc
    repeat, error = (
        (sale.refund(0, 0), "AlreadyClaimed") if again == "refund" else (sale.withdraw(0), "NothingToWithdraw")
    )
    taker = "0x" + "e5" * 20 if again == "refund" else world.account("treasury")
    rpc("anvil_setCode", taker, intruder(sale.address, repeat.data))
    rpc("anvil_setBalance", taker, "0x0")
    world.taken("admin", sale.start())
    contribute = sale.contribute()
    world.taken("stranger", replace(contribute, to=taker if again == "refund" else sale.address), 500)
    if again == "refund":
        world.taken("enterprise", contribute, 700)
        world.taken("admin", sale.close())
    else:
        world.wait(29 * 3600)
        world.taken("enterprise", contribute, 700)
    world.taken("stranger", repeat)
    assert int(rpc("eth_getBalance", taker, "latest"), 16) == 500
    assert int(rpc("eth_getBalance", sale.address, "latest"), 16) == 700
    assert int(rpc("eth_getStorageAt", taker, "0x0", "latest"), 16) == 1, "the second call was taken"
    answer = rpc("eth_getStorageAt", taker, "0x1", "latest")[2:]
    assert ERRORS[answer[:8]][0] == error
    assert world.refused("stranger", repeat) == error


def test_a_buyer_that_takes_no_ether_changes_nothing(world: World) -> None:
    buyer = "0x" + "e6" * 20
    world.taken("admin", world.sale.start())
    contribute = world.sale.contribute()
    # without data an invalid instruction, so that ether is not taken
    world.rpc("anvil_setCode", buyer, "0x" + "36600557" + "fe5b" + passing_on(world.sale.address))
    world.taken("stranger", replace(contribute, to=buyer), 500)
    world.taken("admin", world.sale.close())
    assert world.refused("stranger", world.sale.refund(0, 0)) == "EtherNotSent"


# -------------------------------------------------------------------------------------------------------- our encoder


@pytest.mark.parametrize("amount", [0, -1, 2**96, 2**96 + 1, 2**256 - 1])
def test_the_encoder_refuses_what_no_list_can_say(world: World, amount: int) -> None:
    paid, collected = (batches.Item(FIRST + bytes(16), role, PAYEE, amount, b"x" * 32, b"m" * 32, 3) for role in (1, 0))
    with pytest.raises(batches.InvalidItem, match="is not 1 to 2\\^96 - 1"):
        batches.payout_lists([[paid]], keccak_256)
    with pytest.raises(batches.InvalidItem, match="is not 1 to 2\\^96 - 1"):
        batches.collect(world.token, world.books, DAY, [collected])


@pytest.mark.parametrize("amount", [1, 2**96 - 1])
def test_the_encoder_says_what_the_layout_says(world: World, amount: int) -> None:
    paid, collected = (batches.Item(FIRST + bytes(16), role, PAYEE, amount, b"x" * 32, b"m" * 32, 3) for role in (1, 0))
    committed = batches.payout_lists([[paid]], keccak_256)
    assert committed.root == keccak_256(payout(FIRST, PAYEE, amount))
    made = batches.pay(world.token, DAY, committed, 0)
    assert made.data == world.token.pay(DAY, payout(FIRST, PAYEE, amount), []).data
    made = batches.collect(world.token, world.books, DAY, [collected])
    assert made.data == world.token.collect(world.books, DAY, item(FIRST, PAYEE, amount, 0)).data

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
OPEN, CLOSED, UNUSED = (name.ljust(32, b".") for name in (b"open", b"closed", b"unused"))
EVIDENCE = b"evidence".ljust(32, b".")
HUGE = (2**96 - 1, 2**96, 2**256 - 1)


def payout(entity: bytes, account: str, amount: int, role: int = 1) -> bytes:
    place = bytes.fromhex(account[2:])
    return bytes(7) + b"\x03" + b"x" * 32 + b"m" * 32 + place + amount.to_bytes(12, "big") + entity + bytes([role])


def collection(entity: bytes, reservation: bytes, amount: int, role: int = 0) -> bytes:
    return (
        bytes(7) + b"\x03" + b"x" * 32 + b"m" * 32 + reservation + amount.to_bytes(12, "big") + entity + bytes([role])
    )


class World:
    """A deployment in which a day was collected (60 CPU of a reservation of 100) and one payee was paid (10 CPU of them)."""

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
        self.books = self.rpc.ask(self.token.payouts_account())
        self.payer = self.account("enterprise")
        self.today = self.rpc.ask(self.ieo.today())
        self.taken("admin", self.faucet.give(self.payer, 1_000 * CPU))
        self.taken("enterprise", self.token.approve(self.token.address, 500 * CPU))
        for reservation in (OPEN, CLOSED):
            self.taken("collector", self.token.reserve(self.payer, 100 * CPU, reservation, self.now() + 3600))
        self.taken("collector", self.collect(DAY, collection(SECOND, CLOSED, 60 * CPU)))
        self.taken("payer", self.pay(DAY, payout(SECOND, PAYEE, 10 * CPU, 2)))

    @staticmethod
    def account(name: str) -> str:
        return name if name.startswith("0x") else deploy.address_of(deploy.development_key(name))

    def now(self) -> int:
        return int(self.rpc("eth_getBlockByNumber", "latest", False)["timestamp"], 16)

    def wait(self, seconds: int) -> None:
        self.rpc("evm_increaseTime", seconds)
        self.rpc("evm_mine")

    def pay(
        self, batch: bytes, packed: bytes, *, total: int | None = None, commitment: bytes | None = None
    ) -> Call[Any]:
        said = sum(int.from_bytes(packed[at + 92 : at + 104], "big") for at in range(0, len(packed), 121))
        return self.token.pay(batch, said if total is None else total, commitment or keccak_256(packed), packed)

    def collect(
        self, batch: bytes, packed: bytes, *, total: int | None = None, commitment: bytes | None = None
    ) -> Call[Any]:
        said = sum(int.from_bytes(packed[at + 104 : at + 116], "big") for at in range(0, len(packed), 133))
        return self.token.collect(batch, said if total is None else total, commitment or keccak_256(packed), packed)

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
    ("reserve", lambda w: ("collector", w.token.reserve(ZERO, 1, UNUSED, w.now() + 9)), "ERC20InsufficientAllowance"),
    ("pay", lambda w: ("payer", w.pay(DAY, payout(THIRD, ZERO, 1))), "ForbiddenRecipient"),
    (
        "pay, second",
        lambda w: ("payer", w.pay(NEXT_DAY, payout(FIRST, PAYEE, 1) + payout(SECOND, ZERO, 1))),
        "ForbiddenRecipient",
    ),
    ("announce", lambda w: ("seizer", w.master.announce(ZERO, 1, EVIDENCE)), "ZeroAddress"),
    ("presale", lambda w: ("granter", w.ieo.grant_presale(ZERO, 1, 0, w.today)), "ERC20InvalidReceiver"),
    ("vesting", lambda w: ("granter", w.ieo.grant_vesting(ZERO, 1, w.today, 0, 9)), "ERC20InvalidReceiver"),
    ("unlocked", lambda w: ("granter", w.ieo.grant_unlocked(ZERO, 1, 0)), "ERC20InvalidReceiver"),
]


@refuse(NOBODY)
def test_the_zero_address(world: World, make: Callable[[World], tuple[str, Call[Any]]], error: str) -> None:
    assert world.refused(*make(world)) == error


BOOKS: list[Case] = [
    ("transfer", lambda w: ("enterprise", w.token.transfer(w.token.address, 1)), "ForbiddenRecipient"),
    ("transfer, payouts account", lambda w: ("enterprise", w.token.transfer(w.books, 1)), "ForbiddenRecipient"),
    ("mint", lambda w: ("admin", w.faucet.give(w.token.address, 1)), "ForbiddenRecipient"),
    ("pay", lambda w: ("payer", w.pay(DAY, payout(THIRD, w.token.address, 1))), "ForbiddenRecipient"),
    ("pay, payouts account", lambda w: ("payer", w.pay(DAY, payout(THIRD, w.books, 1))), "ForbiddenRecipient"),
    (
        "pay, second",
        lambda w: ("payer", w.pay(NEXT_DAY, payout(FIRST, PAYEE, 1) + payout(SECOND, w.token.address, 1))),
        "ForbiddenRecipient",
    ),
    ("presale", lambda w: ("granter", w.ieo.grant_presale(w.ieo.address, 1, 0, w.today)), "ForbiddenWallet"),
    ("vesting", lambda w: ("granter", w.ieo.grant_vesting(w.ieo.address, 1, w.today, 0, 9)), "ForbiddenWallet"),
    ("unlocked", lambda w: ("granter", w.ieo.grant_unlocked(w.ieo.address, 1, 0)), "ForbiddenWallet"),
]


@refuse(BOOKS)
def test_the_contract_itself_as_payee(world: World, make: Callable[[World], tuple[str, Call[Any]]], error: str) -> None:
    assert world.refused(*make(world)) == error


def twice(world: World) -> bytes:
    world.taken("collector", world.token.reserve(world.payer, CPU, UNUSED, world.now() + 60))
    return collection(FIRST, OPEN, CPU) + collection(FIRST, UNUSED, CPU)


LISTS: list[Case] = [
    ("empty, pay", lambda w: ("payer", w.pay(DAY, b"")), "EmptyBatch"),
    ("empty, collect", lambda w: ("collector", w.collect(DAY, b"")), "EmptyBatch"),
    ("no id, pay", lambda w: ("payer", w.pay(bytes(32), payout(FIRST, PAYEE, 1))), "ZeroId"),
    ("no id, collect", lambda w: ("collector", w.collect(bytes(32), collection(FIRST, OPEN, 1))), "ZeroId"),
    ("cut, pay", lambda w: ("payer", w.pay(DAY, payout(THIRD, PAYEE, 1)[:-1])), "MalformedList"),
    ("longer, collect", lambda w: ("collector", w.collect(DAY, collection(THIRD, OPEN, 1) + b"!")), "MalformedList"),
    (
        "payee twice",
        lambda w: ("payer", w.pay(NEXT_DAY, payout(FIRST, PAYEE, 1) + payout(FIRST, PAYEE, 1))),
        "DuplicateInBatch",
    ),
    (
        "payee twice, other account",
        lambda w: ("payer", w.pay(NEXT_DAY, payout(FIRST, PAYEE, 1) + payout(FIRST, OTHER_PAYEE, 2))),
        "DuplicateInBatch",
    ),
    (
        "payee twice, apart",
        lambda w: ("payer", w.pay(NEXT_DAY, b"".join(payout(e, PAYEE, 1) for e in (FIRST, SECOND, FIRST)))),
        "NotAscending",
    ),
    ("payer twice", lambda w: ("collector", w.collect(NEXT_DAY, twice(w))), "DuplicateInBatch"),
    (
        "one reservation twice",
        lambda w: ("collector", w.collect(NEXT_DAY, collection(FIRST, OPEN, 1) + collection(SECOND, OPEN, 1))),
        "UnknownReservation",
    ),
    ("id reused, pay", lambda w: ("payer", w.pay(DAY, payout(SECOND, PAYEE, 10 * CPU, 2))), "AlreadySettled"),
    ("id reused, pay, other amount", lambda w: ("payer", w.pay(DAY, payout(SECOND, PAYEE, 1, 2))), "AlreadySettled"),
    ("id reused, pay, entity below", lambda w: ("payer", w.pay(DAY, payout(FIRST, PAYEE, 1, 2))), "AlreadySettled"),
    ("id reused, collect", lambda w: ("collector", w.collect(DAY, collection(SECOND, OPEN, 1))), "AlreadySettled"),
    (
        "other commitment, pay",
        lambda w: ("payer", w.pay(DAY, payout(THIRD, PAYEE, 1), commitment=keccak_256(b"another list"))),
        "ListMismatch",
    ),
    (
        "other commitment, collect",
        lambda w: ("collector", w.collect(DAY, collection(THIRD, OPEN, 1), commitment=b"!" * 32)),
        "ListMismatch",
    ),
    ("total too high, pay", lambda w: ("payer", w.pay(DAY, payout(THIRD, PAYEE, 1), total=2)), "TotalMismatch"),
    ("total too low, pay", lambda w: ("payer", w.pay(DAY, payout(THIRD, PAYEE, 2), total=1)), "TotalMismatch"),
    ("total, pay", lambda w: ("payer", w.pay(DAY, payout(THIRD, PAYEE, 1), total=2**256 - 1)), "TotalMismatch"),
    (
        "total, collect",
        lambda w: ("collector", w.collect(DAY, collection(THIRD, OPEN, 1), total=2**256 - 1)),
        "TotalMismatch",
    ),
    ("a payer's role, pay", lambda w: ("payer", w.pay(DAY, payout(THIRD, PAYEE, 1, 0))), "InvalidRole"),
    ("no role, pay", lambda w: ("payer", w.pay(DAY, payout(THIRD, PAYEE, 1, 255))), "InvalidRole"),
    ("a payee's role, collect", lambda w: ("collector", w.collect(DAY, collection(THIRD, OPEN, 1, 3))), "InvalidRole"),
    (
        "more than was collected",
        lambda w: ("payer", w.pay(DAY, payout(THIRD, PAYEE, 50 * CPU + 1))),
        "CollectedFundsExceeded",
    ),
]


@refuse(LISTS)
def test_lists(world: World, make: Callable[[World], tuple[str, Call[Any]]], error: str) -> None:
    assert world.refused(*make(world)) == error


def test_each_entity_settles_once_for_ever_in_whatever_order_the_lists_come(world: World) -> None:
    world.taken("payer", world.pay(DAY, payout(THIRD, PAYEE, 1)))
    world.wait(400 * 86_400)
    for entity, role in ((SECOND, 2), (SECOND, 4), (THIRD, 1), (FIRST, 1)):
        assert world.refused("payer", world.pay(DAY, payout(entity, PAYEE, 1, role))) == "AlreadySettled"
    world.taken("payer", world.pay(NEXT_DAY, payout(FIRST, PAYEE, 1)))


AMOUNTS: list[Case] = [
    ("reserve 0", lambda w: ("collector", w.token.reserve(w.payer, 0, UNUSED, w.now() + 9)), "ZeroAmount"),
    ("collect 0", lambda w: ("collector", w.collect(DAY, collection(THIRD, OPEN, 0))), "ZeroAmount"),
    ("pay 0", lambda w: ("payer", w.pay(DAY, payout(THIRD, PAYEE, 0))), "ZeroAmount"),
    (
        "pay 0, second",
        lambda w: ("payer", w.pay(NEXT_DAY, payout(FIRST, PAYEE, 1) + payout(SECOND, PAYEE, 0))),
        "ZeroAmount",
    ),
    ("mint 0", lambda w: ("admin", w.faucet.give(PAYEE, 0)), "ZeroAmount"),
    ("announce 0", lambda w: ("seizer", w.master.announce(PAYEE, 0, EVIDENCE)), "ZeroAmount"),
    ("presale 0", lambda w: ("granter", w.ieo.grant_presale(PAYEE, 0, 0, w.today)), "ZeroAmount"),
    ("vesting 0", lambda w: ("granter", w.ieo.grant_vesting(PAYEE, 0, w.today, 0, 9)), "ZeroAmount"),
    ("unlocked 0", lambda w: ("granter", w.ieo.grant_unlocked(PAYEE, 0, 0)), "ZeroAmount"),
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
        lambda w: ("collector", w.collect(DAY, collection(THIRD, OPEN, 2**96 - 1))),
        "ReservationExceeded",
    ),
    ("pay 2^96 - 1", lambda w: ("payer", w.pay(DAY, payout(THIRD, PAYEE, 2**96 - 1))), "CollectedFundsExceeded"),
    (
        "pay 2^96 - 1, many",
        lambda w: ("payer", w.pay(NEXT_DAY, b"".join(payout(bytes([n]) * 16, PAYEE, 2**96 - 1) for n in range(1, 99)))),
        "CollectedFundsExceeded",
    ),
    (
        "pay 2^96, as if it were 0",
        lambda w: ("payer", w.pay(NEXT_DAY, b"".join(payout(e, PAYEE, 2**95) for e in (FIRST, SECOND)), total=0)),
        "TotalMismatch",
    ),
]


@refuse(AMOUNTS)
def test_amounts(world: World, make: Callable[[World], tuple[str, Call[Any]]], error: str) -> None:
    assert world.refused(*make(world)) == error


@pytest.mark.parametrize("amount", HUGE)
def test_amounts_beyond_what_there_can_be(world: World, amount: int) -> None:
    token, ieo = world.token, world.ieo
    reserve = token.reserve(world.payer, amount, UNUSED, world.now() + 600)
    assert world.refused("collector", reserve) == "ERC20InsufficientAllowance"
    assert world.refused("enterprise", token.transfer(PAYEE, amount)) == "ERC20InsufficientBalance"
    assert world.refused("stranger", token.transfer_from(world.payer, PAYEE, amount)) == "ERC20InsufficientAllowance"
    assert world.refused(world.faucet.address, token.mint(PAYEE, amount)) == "CapExceeded"
    assert world.refused("granter", ieo.grant_presale(PAYEE, amount, 0, world.today)) == "PresaleCapExceeded"
    assert world.refused("granter", ieo.grant_presale(PAYEE, 1, amount, world.today)) == "PoolExceeded"
    assert world.refused("granter", ieo.grant_vesting(PAYEE, amount, world.today, 0, 9)) == "PoolExceeded"
    assert world.refused("granter", ieo.grant_unlocked(PAYEE, amount, 2)) == "PoolExceeded"
    assert world.refused("miner", ieo.redeem(amount)) == "NotUnlocked"
    assert world.refused("miner", world.sale.claim(amount, 0)) == "NotStarted"
    assert world.refused("miner", world.sale.refund(amount, 0)) == "PeriodNotVoid"
    world.taken("granter", ieo.grant_presale(PAYEE, 1, 0, world.today))
    assert world.refused("granter", ieo.grant_bonus(PAYEE, amount, False)) == "PoolExceeded"
    world.taken("admin", world.sale.start())
    assert world.refused("miner", world.sale.claim(amount, 0)) == "PeriodRunning"
    assert world.refused("miner", world.sale.withdraw(amount)) == "PeriodRunning"
    world.taken(
        "enterprise", token.approve(token.address, amount)
    )  # an approval may say anything; funds have to be there
    assert world.refused("collector", reserve) == "ERC20InsufficientBalance"
    assert world.refused("granter", ieo.grant_bonus(PAYEE, amount, False)) == "MainSaleIsOpen"
    assert world.refused("granter", ieo.grant_bonus(PAYEE, amount, True)) == "ExtraBonusCapExceeded"


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
    assert world.refused("seizer", world.master.execute(miner, EVIDENCE)) == "NotAnnounced"
    assert world.refused("seizer", world.master.announce(miner, 1, EVIDENCE)) == "EvidenceUsed"


def test_one_unit_moves_one_unit(world: World) -> None:
    token, miner = world.token, world.account("miner")
    payer, held, books, nobody = world.balances(world.payer, token.address, world.books, OTHER_PAYEE)
    assert nobody == 0
    world.taken("collector", token.reserve(world.payer, 2, UNUSED, world.now() + 60))
    assert world.balances(world.payer, token.address) == [payer - 2, held + 2]
    world.taken("collector", world.collect(NEXT_DAY, collection(FIRST, UNUSED, 1)))
    assert world.balances(world.payer, token.address, world.books) == [payer - 1, held, books + 1]
    world.taken("payer", world.pay(NEXT_DAY, payout(FIRST, OTHER_PAYEE, 1)))
    assert world.balances(world.books, OTHER_PAYEE) == [books, 1]
    world.taken("enterprise", token.transfer(miner, 1))
    world.taken("miner", token.approve(world.master.address, 1))
    world.taken("seizer", world.master.announce(miner, 1, EVIDENCE))
    world.wait(3600)
    world.taken("seizer", world.master.execute(miner, EVIDENCE))
    assert world.balances(miner, world.account("treasury")) == [0, 1]
    world.taken("granter", world.ieo.grant_unlocked(miner, 1, 0))
    world.taken("miner", world.ieo.redeem(1))
    assert world.balances(miner) == [1]
    assert world.refused("miner", world.ieo.redeem(1)) == "NotUnlocked"


def test_an_expired_reservation_goes_back_and_nowhere_else(world: World) -> None:
    before = world.balances(world.payer)[0]
    world.wait(3600)
    assert world.refused("collector", world.collect(DAY, collection(THIRD, OPEN, 1))) == "ReservationExpired"
    world.taken("stranger", world.token.release(OPEN))
    assert world.balances(world.payer) == [before + 100 * CPU]
    assert world.refused("stranger", world.token.release(OPEN)) == "UnknownReservation"
    assert world.refused("collector", world.collect(DAY, collection(THIRD, OPEN, 1))) == "UnknownReservation"
    again = world.token.reserve(world.payer, 1, OPEN, world.now() + 600)
    assert world.refused("collector", again) == "ReservationExists"
    assert world.refused("collector", world.token.reserve(world.payer, 1, UNUSED, world.now())) == "InvalidExpiry"
    far = world.token.reserve(world.payer, 1, UNUSED, world.now() + 8 * 86_400)
    assert world.refused("collector", far) == "InvalidExpiry"
    assert world.refused("collector", world.token.reserve(world.payer, 1, UNUSED, 2**64 - 1)) == "InvalidExpiry"


def test_a_reservation_stays_with_its_owner_until_it_expires(world: World) -> None:
    assert world.refused("enterprise", world.token.release(OPEN)) == "ReservationOpen"


def test_a_withdrawn_approval_is_worth_nothing(world: World) -> None:
    miner = world.account("miner")
    world.taken("enterprise", world.token.approve(world.token.address, 0))
    assert (
        world.refused("collector", world.token.reserve(world.payer, 1, UNUSED, world.now() + 600))
        == "ERC20InsufficientAllowance"
    )
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
    world.taken("granter", world.ieo.grant_unlocked(miner, 5, 0))
    world.wait(3600)
    world.taken("pauser", token.pause())
    for sender, call in (
        ("enterprise", token.transfer(PAYEE, 1)),
        ("stranger", token.transfer_from(world.payer, PAYEE, 1)),
        ("admin", world.faucet.give(PAYEE, 1)),
        ("collector", token.reserve(world.payer, 1, UNUSED, world.now() + 600)),
        ("collector", token.release(OPEN)),
        ("collector", world.collect(NEXT_DAY, collection(FIRST, OPEN, 1))),
        ("payer", world.pay(NEXT_DAY, payout(FIRST, PAYEE, 1))),
        ("seizer", world.master.execute(miner, EVIDENCE)),
        ("miner", world.ieo.redeem(1)),
        ("pauser", token.pause()),
    ):
        assert world.refused(sender, call) == "TokenPaused", call
    world.taken("enterprise", token.approve(world.account("stranger"), 0))  # at any time
    world.taken("admin", token.unpause())
    assert world.refused("admin", token.unpause()) == "NotPaused"
    world.taken("enterprise", token.transfer(PAYEE, 1))


@pytest.mark.parametrize("sender", ["stranger", *deploy.ROLES])
def test_calls_without_the_role(world: World, sender: str) -> None:
    token, master, ieo, sale, prices = world.token, world.master, world.ieo, world.sale, world.prices
    role, me = deploy.role_id("payer"), world.account(sender)
    calls = {
        "collector": (
            token.reserve(world.payer, 1, UNUSED, world.now() + 60), world.collect(DAY, collection(THIRD, OPEN, 1)),
        ),
        "payer": (world.pay(DAY, payout(THIRD, me, 1)),),
        "pauser": (token.pause(),),
        "admin": (
            token.unpause(), token.seal_minters(), token.grant_role(role, me), token.begin_default_admin_transfer(me),
            master.grant_role(deploy.role_id("seizer"), me), ieo.close(), ieo.grant_role(deploy.role_id("granter"), me),
            sale.start(), sale.terminate(), prices.grant_role(deploy.role_id("pricing"), me),
        ),
        "seizer": (master.announce(world.payer, 1, EVIDENCE), master.execute(world.payer, EVIDENCE)),
        "operations": (master.withdraw(world.payer, EVIDENCE),),
        "granter": (
            ieo.grant_presale(me, 1, 0, world.today), ieo.grant_bonus(me, 1, True),
            ieo.grant_vesting(me, 1, world.today, 0, 9), ieo.grant_unlocked(me, 1, 0),
        ),
        "pricing": (prices.set_coefficients(0, world.today + 1, 1, 0, 2**128),),
        "minter": (token.mint(me, 1),),
        "main_sale": (ieo.open_main_sale(), ieo.grant_main_sale(me, 1)),
    }  # fmt: skip
    for holder, refused in calls.items():
        for call in refused if holder != sender else ():
            assert world.refused(sender, call) == "AccessControlUnauthorizedAccount", call


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
        world.taken("admin", sale.terminate())
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
    world.taken("admin", world.sale.terminate())
    assert world.refused("stranger", world.sale.refund(0, 0)) == "EtherNotSent"


# -------------------------------------------------------------------------------------------------------- our encoder


@pytest.mark.parametrize("amount", [0, -1, 2**96, 2**96 + 1, 2**256 - 1])
def test_the_encoder_refuses_what_no_list_can_say(world: World, amount: int) -> None:
    hashes = (b"x" * 32, b"m" * 32)
    pay = batches.Payout(FIRST + bytes(16), 1, PAYEE, amount, *hashes, 3)
    collect = batches.Collection(FIRST + bytes(16), 0, OPEN, amount, *hashes, 3)
    with pytest.raises(batches.InvalidItem, match="is not 1 to 2\\^96 - 1"):
        batches.pay(world.token, DAY, [pay], keccak_256)
    with pytest.raises(batches.InvalidItem, match="is not 1 to 2\\^96 - 1"):
        batches.collect(world.token, DAY, [collect], keccak_256)


@pytest.mark.parametrize("amount", [1, 2**96 - 1])
def test_the_encoder_says_what_the_layout_says(world: World, amount: int) -> None:
    hashes = (b"x" * 32, b"m" * 32)
    pay = batches.Payout(FIRST + bytes(16), 1, PAYEE, amount, *hashes, 3)
    collect = batches.Collection(FIRST + bytes(16), 0, OPEN, amount, *hashes, 3)
    made = batches.pay(world.token, DAY, [pay], keccak_256)
    assert made.data == world.pay(DAY, payout(FIRST, PAYEE, amount)).data
    made = batches.collect(world.token, DAY, [collect], keccak_256)
    assert made.data == world.collect(DAY, collection(FIRST, OPEN, amount)).data

"""What is expected of any ERC-20 with permit, on the deployed artefact (P-1): the well-known properties in our words.

Most are in the state machine too (tests/property/test_token_machine.py); here each has a name and its edge.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from cgn_sdk.keccak import keccak_256

from payouts import deploy, ethereum
from payouts.bindings import erc20
from payouts.bindings.abi import Call, Log
from payouts.bindings.utility_token import UtilityToken
from payouts.deploy import Manifest
from payouts.rpc import Rpc, RpcError

pytestmark = pytest.mark.engine("anvil")
HAVE = 1_000
ZERO = "0x" + "0" * 40
CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
OWNER_KEY = deploy.development_key("owner of the erc20 tests")
OWNER = deploy.address_of(OWNER_KEY)
OTHER = deploy.address_of(deploy.development_key("other"))
THIRD = deploy.address_of(deploy.development_key("third"))


class World:
    def __init__(self, url: str) -> None:
        self.rpc = Rpc(url)
        for name in deploy.ROLES:
            self.rpc("anvil_setBalance", deploy.address_of(deploy.development_key(name)), hex(10**21))
        self.manifest: Manifest = deploy.deploy(self.rpc, deploy.development_key("admin"), deploy.development_plan())
        self.token: UtilityToken = self.manifest.token
        for who in (OWNER, OTHER, THIRD):
            self.rpc("anvil_setBalance", who, hex(10**21))
            self.rpc("anvil_impersonateAccount", who)
        self.sent(OWNER, self.manifest.faucet.give(OWNER, HAVE))

    def sent(self, sender: str, call: Call[Any]) -> list[Log]:
        self.rpc.ask(call, sender=sender)
        message = {"from": sender, "to": call.to, "data": "0x" + call.data.hex(), "gas": hex(1_000_000)}
        receipt = self.rpc.wait_receipt(self.rpc("eth_sendTransaction", message))
        assert int(receipt["status"], 16) == 1
        return [
            Log(log["address"], tuple(bytes.fromhex(t[2:]) for t in log["topics"]), bytes.fromhex(log["data"][2:]))
            for log in receipt["logs"]
        ]

    def refused(self, sender: str, call: Call[Any]) -> str:
        """Mines it against all advice, sees that nothing changed, and returns the error's name."""
        before = self.everything()
        with pytest.raises(RpcError) as error:
            self.rpc.ask(call, sender=sender)
        message = {"from": sender, "to": call.to, "data": "0x" + call.data.hex(), "gas": hex(1_000_000)}
        receipt = self.rpc.wait_receipt(self.rpc("eth_sendTransaction", message))
        assert (int(receipt["status"], 16), receipt["logs"]) == (0, [])
        assert self.everything() == before
        assert error.value.revert is not None, error.value
        return error.value.revert.name

    def everything(self) -> list[int]:
        people = (OWNER, OTHER, THIRD)
        ask, token = self.rpc.ask, self.token
        return [
            *(ask(token.balance_of(who)) for who in people),
            *(ask(token.allowance(owner, spender)) for owner in people for spender in people),
            *(ask(token.nonces(who)) for who in people),
            ask(token.total_supply()),
        ]

    def balance(self, who: str) -> int:
        return self.rpc.ask(self.token.balance_of(who))


@pytest.fixture(scope="module")
def whole_world(anvil_url: str) -> World:
    return World(anvil_url)


@pytest.fixture
def world(whole_world: World) -> Iterator[World]:
    taken = whole_world.rpc("evm_snapshot")
    yield whole_world
    whole_world.rpc("evm_revert", taken)


def test_a_transfer_to_oneself_changes_nothing_and_is_logged(world: World) -> None:
    logs = world.sent(OWNER, world.token.transfer(OWNER, HAVE))
    assert world.balance(OWNER) == HAVE
    assert erc20.Transfer.decode(logs[0]) == erc20.Transfer(OWNER, OWNER, HAVE)
    assert world.refused(OWNER, world.token.transfer(OWNER, HAVE + 1)) == "ERC20InsufficientBalance"


@pytest.mark.parametrize("amount", [0, 1, HAVE])
def test_a_transfer_moves_exactly_that(world: World, amount: int) -> None:
    logs = world.sent(OWNER, world.token.transfer(OTHER, amount))
    assert (world.balance(OWNER), world.balance(OTHER)) == (HAVE - amount, amount)
    assert [erc20.Transfer.decode(log) for log in logs] == [erc20.Transfer(OWNER, OTHER, amount)]


@pytest.mark.parametrize("amount", [HAVE + 1, 2**96 - 1, 2**96, 2**255, 2**256 - 1])
def test_nobody_transfers_more_than_they_have(world: World, amount: int) -> None:
    assert world.refused(OWNER, world.token.transfer(OTHER, amount)) == "ERC20InsufficientBalance"


def test_nobody_transfers_to_zero(world: World) -> None:
    assert world.refused(OWNER, world.token.transfer(ZERO, 0)) == "ERC20InvalidReceiver"
    world.sent(OWNER, world.token.approve(OTHER, 5))
    assert world.refused(OTHER, world.token.transfer_from(OWNER, ZERO, 5)) == "ERC20InvalidReceiver"


def test_an_allowance_is_used_up_and_not_exceeded(world: World) -> None:
    logs = world.sent(OWNER, world.token.approve(OTHER, 10))
    assert [erc20.Approval.decode(log) for log in logs] == [erc20.Approval(OWNER, OTHER, 10)]
    assert world.refused(OTHER, world.token.transfer_from(OWNER, THIRD, 11)) == "ERC20InsufficientAllowance"
    world.sent(OTHER, world.token.transfer_from(OWNER, THIRD, 4))
    assert world.rpc.ask(world.token.allowance(OWNER, OTHER)) == 6
    world.sent(OTHER, world.token.transfer_from(OWNER, OTHER, 6))
    assert world.refused(OTHER, world.token.transfer_from(OWNER, OTHER, 1)) == "ERC20InsufficientAllowance"
    assert (world.balance(OWNER), world.balance(OTHER), world.balance(THIRD)) == (HAVE - 10, 6, 4)


def test_an_approval_replaces_the_one_before_and_can_be_withdrawn(world: World) -> None:
    world.sent(OWNER, world.token.approve(OTHER, 10))
    world.sent(OWNER, world.token.approve(OTHER, 3))
    assert world.rpc.ask(world.token.allowance(OWNER, OTHER)) == 3
    world.sent(OWNER, world.token.approve(OTHER, 0))
    assert world.refused(OTHER, world.token.transfer_from(OWNER, OTHER, 1)) == "ERC20InsufficientAllowance"


def test_the_largest_approval_is_not_unlimited(world: World) -> None:
    world.sent(OWNER, world.token.approve(OTHER, 2**256 - 1))
    world.sent(OTHER, world.token.transfer_from(OWNER, OTHER, 1))
    assert world.rpc.ask(world.token.allowance(OWNER, OTHER)) == 2**256 - 2
    assert world.refused(OTHER, world.token.transfer_from(OWNER, OTHER, 2**256 - 2)) == "ERC20InsufficientBalance"


def test_even_ones_own_tokens_need_an_allowance_in_transfer_from(world: World) -> None:
    assert world.refused(OWNER, world.token.transfer_from(OWNER, OTHER, 1)) == "ERC20InsufficientAllowance"


def test_nobody_approves_zero(world: World) -> None:
    assert world.refused(OWNER, world.token.approve(ZERO, 1)) == "ERC20InvalidSpender"


def test_approving_moves_nothing(world: World) -> None:
    world.sent(OWNER, world.token.approve(OTHER, HAVE * 2))
    assert (world.balance(OWNER), world.balance(OTHER)) == (HAVE, 0)


def test_supply_is_the_sum_of_balances(world: World) -> None:
    world.sent(OWNER, world.token.transfer(OTHER, 7))
    assert world.rpc.ask(world.token.total_supply()) == world.balance(OWNER) + world.balance(OTHER) == HAVE


# --- ERC-2612


def permit(world: World, *, key: bytes = OWNER_KEY, spender: str = OTHER, value: int = 5, **changed: Any) -> Call[None]:
    """A signed permit; `changed` may set nonce, deadline, chain_id, contract of what is signed, and `high_s`."""
    deadline = changed.get("deadline", 2**63)
    typed = {
        "types": {
            "EIP712Domain": [
                {"name": "name", "type": "string"}, {"name": "version", "type": "string"},
                {"name": "chainId", "type": "uint256"}, {"name": "verifyingContract", "type": "address"},
            ],
            "Permit": [
                {"name": "owner", "type": "address"}, {"name": "spender", "type": "address"},
                {"name": "value", "type": "uint256"}, {"name": "nonce", "type": "uint256"},
                {"name": "deadline", "type": "uint256"},
            ],
        },
        "primaryType": "Permit",
        "domain": {
            "name": "CPUcoin", "version": "1", "chainId": changed.get("chain_id", 31337),
            "verifyingContract": changed.get("contract", world.token.address),
        },
        "message": {
            "owner": OWNER, "spender": spender, "value": value, "nonce": changed.get("nonce", 0), "deadline": deadline,
        },
    }  # fmt: skip
    signed = ethereum.eth_account().Account.sign_typed_data(key, full_message=typed)
    v, r, s = signed.v, signed.r, signed.s
    if changed.get("high_s"):  # the same signature's other form
        v, s = 55 - v, CURVE_ORDER - s
    return world.token.permit(
        OWNER, spender, changed.get("sent_value", value), deadline, v, r.to_bytes(32, "big"), s.to_bytes(32, "big")
    )


def test_a_permit_approves_once(world: World) -> None:
    call = permit(world)
    logs = world.sent(THIRD, call)
    assert [erc20.Approval.decode(log) for log in logs] == [erc20.Approval(OWNER, OTHER, 5)]
    assert world.rpc.ask(world.token.allowance(OWNER, OTHER)) == 5
    assert world.rpc.ask(world.token.nonces(OWNER)) == 1
    assert world.refused(THIRD, call) == "InvalidSigner"  # replayed
    world.sent(THIRD, permit(world, value=9, nonce=1))
    assert world.rpc.ask(world.token.allowance(OWNER, OTHER)) == 9


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"chain_id": 1}, "InvalidSigner"),
        ({"contract": "0x" + "12" * 20}, "InvalidSigner"),
        ({"nonce": 1}, "InvalidSigner"),
        ({"sent_value": 6}, "InvalidSigner"),
        ({"key": b"\x01" * 32}, "InvalidSigner"),
        ({"deadline": 1}, "PermitExpired"),
        ({"high_s": True}, "ECDSAInvalidSignatureS"),
        ({"spender": ZERO}, "ERC20InvalidSpender"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else value,
)
def test_a_permit_that_is_not_exactly_right_approves_nothing(world: World, changed: dict[str, Any], error: str) -> None:
    assert world.refused(THIRD, permit(world, **changed)) == error


def test_a_signature_of_nobody_is_refused(world: World) -> None:
    for v in (0, 1, 26, 29, 255):
        call = world.token.permit(OWNER, OTHER, 5, 2**63, v, b"\x01" * 32, b"\x01" * 32)
        assert world.refused(THIRD, call) in ("ECDSAInvalidSignature", "InvalidSigner")
    call = world.token.permit(ZERO, OTHER, 5, 2**63, 27, b"\0" * 32, b"\0" * 32)
    assert world.refused(THIRD, call) == "ECDSAInvalidSignature"  # the zero address has signed nothing


def test_the_domain_is_the_chains(world: World) -> None:
    kind = keccak_256(b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)")
    parts = kind + keccak_256(b"CPUcoin") + keccak_256(b"1") + (31337).to_bytes(32, "big")
    expected = keccak_256(parts + bytes.fromhex(world.token.address[2:]).rjust(32, b"\0"))
    assert world.rpc.ask(world.token.domain_separator()) == expected

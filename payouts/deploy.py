"""Puts the contracts on a chain, and the manifest that says which contracts they are.

    deploy(rpc, key, plan) -> Manifest      needs ether on the key's account; about 20 transactions
    check(manifest, rpc)                    raises ManifestMismatch unless the chain holds exactly these contracts

Whoever signs for the network checks the manifest first: a wrong endpoint, a forked or reset chain or foreign code at an
address is found before a signature exists.
"""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from cgn_sdk.keccak import keccak_256
from cgn_sdk.protocol.settlement import entity_on_chain, is_exact_id

from payouts import ethereum
from payouts.bindings.abi import Call, artifact
from payouts.bindings.faucet import Faucet
from payouts.bindings.ieo_token import IeoToken
from payouts.bindings.main_sale import MainSale
from payouts.bindings.master_account import MasterAccount
from payouts.bindings.resource_prices import ResourcePrices
from payouts.bindings.roles import Roles
from payouts.bindings.utility_token import UtilityToken
from payouts.rpc import Rpc, RpcError

T = TypeVar("T")

DEVELOPMENT_CHAIN: Final = 31337
MANIFEST_VERSION: Final = 1
MAX_MANIFEST_BYTES: Final = 64 * 1024
MAX_PLAN_BYTES: Final = 64 * 1024
MAX_KEY_BYTES: Final = 256
"""A key has 64 hexadecimal digits; a file that is longer is another file."""
MAX_ADMIN_DELAY_S: Final = 365 * 86_400
"""Seconds. A longer delay is a slip of the pen, and could not be shortened sooner."""
MAX_HOLD_PERIOD_S: Final = 365 * 86_400
"""Seconds; the contract's own bound."""
ADDRESS: Final = re.compile(r"0x[0-9a-fA-F]{40}")
DECIMALS: Final = 9
NOBODY: Final = "0x" + "0" * 40
NO_NODE: Final = bytes(32)
"""For `announceAccount`: the account's node is as it was, or said later."""
CURVE_ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
"""Of secp256k1: private keys are below it."""
ROLES: Final = (
    "admin", "collector", "payer", "pauser", "seizer", "operations", "granter", "pricing", "treasury",
)  # fmt: skip
"""Who may do what, by the names that a plan and a manifest use; one account each. `payer` is the first node's payouts
account, `collector` who collects into it. All but the treasury (where seized stakes and the sale's proceeds go) can be
rotated with the contracts' roles and payouts accounts."""


class ManifestMismatch(Exception):
    """The chain is not what the manifest says; all differences are in `findings`."""

    def __init__(self, findings: list[str]) -> None:
        self.findings = findings
        super().__init__("; ".join(findings))


@dataclass(frozen=True, slots=True)
class Deployed:
    """One contract on the chain."""

    address: str
    code_hash: str
    """Keccak-256 of the code at the address, hexadecimal without 0x."""
    arguments: Mapping[str, str]
    """The constructor's, by name."""
    transaction: str
    block: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """What was deployed where. Addresses are lower-case with 0x."""

    chain_id: int
    contracts: Mapping[str, Deployed]
    accounts: Mapping[str, str]
    """By the names of ROLES."""

    @property
    def token(self) -> UtilityToken:
        return UtilityToken(self.contracts["UtilityToken"].address)

    @property
    def master_account(self) -> MasterAccount:
        """What miners approve as their stake."""
        return MasterAccount(self.contracts["MasterAccount"].address)

    @property
    def ieo_token(self) -> IeoToken:
        return IeoToken(self.contracts["IeoToken"].address)

    @property
    def main_sale(self) -> MainSale:
        return MainSale(self.contracts["MainSale"].address)

    @property
    def resource_prices(self) -> ResourcePrices:
        return ResourcePrices(self.contracts["ResourcePrices"].address)

    @property
    def faucet(self) -> Faucet:
        """On the development chain only (KeyError elsewhere)."""
        return Faucet(self.contracts["Faucet"].address)

    @property
    def first_block(self) -> int:
        """No event of these contracts is older."""
        return min(item.block for item in self.contracts.values())

    def to_json(self) -> str:
        members = {
            "version": MANIFEST_VERSION,
            "chain_id": self.chain_id,
            "accounts": dict(self.accounts),
            "contracts": {
                name: {
                    "address": item.address,
                    "code_hash": item.code_hash,
                    "arguments": dict(item.arguments),
                    "transaction": item.transaction,
                    "block": item.block,
                }
                for name, item in self.contracts.items()
            },
        }
        return json.dumps(members, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Manifest":
        """Raises ValueError, saying what is wrong."""
        if len(text) > MAX_MANIFEST_BYTES:
            raise ValueError(f"a manifest has at most {MAX_MANIFEST_BYTES} bytes")
        try:
            members = json.loads(text)
            if members["version"] != MANIFEST_VERSION:
                raise ValueError(f"manifest version {members['version']} is not {MANIFEST_VERSION}")
            contracts = {str(name): Deployed(**item) for name, item in members["contracts"].items()}
            return cls(int(members["chain_id"]), contracts, dict(members["accounts"]))
        except (KeyError, TypeError, AttributeError) as missing:
            raise ValueError(f"not a manifest of a deployment: {missing!r}") from missing

    @classmethod
    def load(cls, path: Path) -> "Manifest":
        """Raises OSError and ValueError."""
        return cls.from_json(path.read_text())

    def save(self, path: Path) -> None:
        """Whole or not at all, and on disk when it returns."""
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        with temporary.open("w") as file:
            file.write(self.to_json())
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a deployment is to be."""

    accounts: Mapping[str, str]
    """Address by the names of ROLES."""
    admin_delay_s: int = 2 * 86_400
    """Seconds between the announcement of a new admin and its acceptance."""
    hold_period_s: int = 14 * 86_400
    """Seconds between the announcement of a seizure and its execution."""
    faucet: bool = False
    """Development chain only; the contract refuses any other."""
    node: str = ""
    """Public id of the node whose rows the payouts account settles; empty: it is said later (announceAccount)."""

    def __post_init__(self) -> None:
        if not isinstance(self.accounts, Mapping):
            raise ValueError("the plan's accounts are an object: an address for each role")
        if missing := sorted(set(ROLES) - set(self.accounts)):
            raise ValueError(f"the plan names no account for {', '.join(missing)}")
        for role, account in self.accounts.items():
            if ADDRESS.fullmatch(str(account)) is None or int(account, 16) == 0:
                raise ValueError(f"the plan's {role}: {account} is no address")
        for name, longest_s in (("admin_delay_s", MAX_ADMIN_DELAY_S), ("hold_period_s", MAX_HOLD_PERIOD_S)):
            value = getattr(self, name)
            if type(value) is not int or not 0 <= value <= longest_s or (name == "hold_period_s" and value == 0):
                raise ValueError(f"the plan's {name}: {value!r} is not a number of seconds up to {longest_s}")
        if type(self.faucet) is not bool:
            raise ValueError(f"the plan's faucet: {self.faucet!r} is neither true nor false")
        if type(self.node) is not str or (self.node and not _is_public_id(self.node)):
            raise ValueError(f"the plan's node: {self.node!r:.60} is no public id: p and 26 characters of base32")

    @classmethod
    def from_json(cls, text: str) -> "Plan":
        """Reads what a person wrote. Raises ValueError, saying what is wrong."""
        if len(text) > MAX_PLAN_BYTES:
            raise ValueError(f"a plan has at most {MAX_PLAN_BYTES} bytes")
        try:
            members = json.loads(text)
        except (ValueError, RecursionError) as wrong:
            raise ValueError(f"the plan is not JSON: {wrong}") from wrong
        if not isinstance(members, dict):
            raise ValueError("the plan is a JSON object with accounts, admin_delay_s, hold_period_s, node")
        if unknown := sorted(set(members) - set(cls.__slots__)):
            raise ValueError(f"the plan has unknown members: {', '.join(unknown)}")
        if "accounts" not in members:
            raise ValueError("the plan lacks accounts: an address for each role")
        return cls(**members)


def _is_public_id(text: str) -> bool:
    try:
        return is_exact_id(text)
    except ValueError:
        return False


def development_key(name: str) -> bytes:
    """The private key of a role (or of any name) on the development chain. Everybody can compute it: worthless
    anywhere else, and `development_plan` is refused elsewhere."""
    return keccak_256(f"cgn development key: {name}".encode())


def development_plan() -> Plan:
    return Plan(
        {name: address_of(development_key(name)) for name in ROLES}, admin_delay_s=0, hold_period_s=3600, faucet=True
    )


def read_key(path: Path) -> bytes:
    """The private key in a file, as hexadecimal. Raises OSError and ValueError; neither shows what the file holds."""
    with path.open("rb") as file:
        digits = file.read(MAX_KEY_BYTES + 1).strip().removeprefix(b"0x")
    if re.fullmatch(rb"[0-9a-fA-F]{64}", digits) is None:
        raise ValueError(f"{path} holds no private key: 64 hexadecimal digits")
    key = bytes.fromhex(digits.decode())
    if not 0 < int.from_bytes(key, "big") < CURVE_ORDER:
        raise ValueError(f"{path} holds a number that is no private key")
    return key


def address_of(key: bytes) -> str:
    """The account of a private key."""
    from coincurve import PublicKey

    return "0x" + keccak_256(PublicKey.from_secret(key).format(compressed=False)[1:])[12:].hex()


def role_id(name: str) -> bytes:
    """`collector` -> the contract's COLLECTOR_ROLE."""
    return keccak_256(f"{name.upper()}_ROLE".encode())


@dataclass(slots=True)
class Sender:
    """Signs and sends one transaction after another from one account, and waits for each. For deployment and
    administration; money moves through the outbox of the payouts."""

    rpc: Rpc
    key: bytes = field(repr=False)

    @property
    def address(self) -> str:
        return address_of(self.key)

    def send(self, call: Call[T]) -> dict[str, Any]:
        """Returns the receipt. Raises RpcError when the contract refuses."""
        return self._send(call.to, call.data, call.function)

    def create(self, data: bytes) -> dict[str, Any]:
        return self._send(None, data, "constructor")

    def _send(self, to: str | None, data: bytes, what: str) -> dict[str, Any]:
        message: dict[str, Any] = {"from": self.address, "data": "0x" + data.hex()} | ({"to": to} if to else {})
        gas = self.rpc.integer("eth_estimateGas", message)
        base_fee = int(self.rpc("eth_getBlockByNumber", "latest", False)["baseFeePerGas"], 16)
        tip = self.rpc.integer("eth_maxPriorityFeePerGas")
        transaction = {
            "type": 2,
            "chainId": self.rpc.integer("eth_chainId"),
            "nonce": self.rpc.integer("eth_getTransactionCount", self.address, "pending"),
            "gas": gas + gas // 5,
            "maxFeePerGas": 2 * base_fee + tip,
            "maxPriorityFeePerGas": tip,
            "value": 0,
            "data": data,
        }
        if to:
            from eth_utils.address import to_checksum_address

            transaction["to"] = to_checksum_address(to)
        raw = ethereum.eth_account().Account.sign_transaction(transaction, self.key).raw_transaction
        receipt = self.rpc.wait_receipt(self.rpc("eth_sendRawTransaction", "0x" + raw.hex()))
        if int(receipt["status"], 16) != 1:
            raise RpcError(what, f"transaction {receipt['transactionHash']} failed")
        return receipt


def deploy(rpc: Rpc, key: bytes, plan: Plan) -> Manifest:
    """Deploys every contract, hands out the roles, seals the minters, and checks the result.

    The deployer is admin while it does so; at the end it gives the office to the plan's admin, who has to accept
    (`acceptDefaultAdminTransfer`) after the delay. Raises ValueError, RpcError, Unreachable.
    """
    chain_id = rpc.integer("eth_chainId")
    if plan.faucet and chain_id != DEVELOPMENT_CHAIN:
        raise ValueError(f"chain {chain_id} is not the development chain: no faucet, and no keys that everybody knows")
    sender = Sender(rpc, key)
    contracts: dict[str, Deployed] = {}

    def create(name: str, data: bytes, **arguments: object) -> str:
        receipt = sender.create(data)
        address = str(receipt["contractAddress"]).lower()
        contracts[name] = Deployed(
            address=address,
            code_hash=keccak_256(rpc.code(address)).hex(),
            arguments={argument: str(value) for argument, value in arguments.items()},
            transaction=receipt["transactionHash"],
            block=int(receipt["blockNumber"], 16),
        )
        return address

    admin, delay = sender.address, plan.admin_delay_s
    token = UtilityToken(create("UtilityToken", UtilityToken.deploy_data(admin, delay), admin=admin, admin_delay=delay))
    treasury, hold = plan.accounts["treasury"], plan.hold_period_s
    create(
        "MasterAccount",
        MasterAccount.deploy_data(admin, delay, token.address, treasury, hold),
        admin=admin, admin_delay=delay, token=token.address, treasury=treasury, hold_period=hold,
    )  # fmt: skip
    ieo = IeoToken(
        create(
            "IeoToken",
            IeoToken.deploy_data(admin, delay, token.address),
            admin=admin, admin_delay=delay, utility_token=token.address,
        )
    )  # fmt: skip
    create(
        "MainSale",
        MainSale.deploy_data(admin, delay, ieo.address, treasury),
        admin=admin, admin_delay=delay, ieo_token=ieo.address, treasury=treasury,
    )  # fmt: skip
    create("ResourcePrices", ResourcePrices.deploy_data(admin, delay), admin=admin, admin_delay=delay)
    if plan.faucet:
        create("Faucet", Faucet.deploy_data(token.address), token=token.address)
    manifest = Manifest(chain_id, contracts, dict(plan.accounts))
    _hand_over(sender, plan, manifest)
    check(manifest, rpc)
    return manifest


def _hand_over(sender: Sender, plan: Plan, manifest: Manifest) -> None:
    """Gives every office to whom the plan names, announces the payouts account, and closes the setup for good."""
    token, master, ieo = manifest.token, manifest.master_account, manifest.ieo_token
    sale, prices = manifest.main_sale, manifest.resource_prices
    contracts: tuple[Roles, ...] = (token, master, ieo, sale, prices)
    grants: list[tuple[Roles, str, str]] = [(token, role, plan.accounts[role]) for role in ("pauser", "treasury")]
    grants += [(contract, "guardian", plan.accounts["pauser"]) for contract in contracts]
    grants += [(token, "minter", ieo.address), (ieo, "main_sale", sale.address)]
    grants += [(master, role, plan.accounts[role]) for role in ("seizer", "operations")]
    grants += [(ieo, "granter", plan.accounts["granter"]), (prices, "pricing", plan.accounts["pricing"])]
    if plan.faucet:
        grants.append((token, "minter", manifest.faucet.address))
    for contract, role, account in grants:
        sender.send(contract.grant_role(role_id(role), account))
    sender.send(token.seal_minters())
    payouts_account = plan.accounts["payer"]
    node = entity_on_chain(plan.node) if plan.node else NO_NODE
    sender.send(token.announce_account(payouts_account, plan.accounts["collector"], NOBODY, node))
    for contract in contracts:
        sender.send(contract.end_setup())
    if plan.faucet and payouts_account == address_of(development_key("payer")):
        Sender(sender.rpc, development_key("payer")).send(token.accept_account())  # elsewhere its owner does that
    if plan.accounts["admin"] != sender.address:
        for contract in contracts:
            sender.send(contract.begin_default_admin_transfer(plan.accounts["admin"]))


def check(manifest: Manifest, rpc: Rpc) -> None:
    """Raises ManifestMismatch unless chain, code at every address and the token's unit are what the manifest says."""
    findings = []
    chain_id = rpc.integer("eth_chainId")
    if chain_id != manifest.chain_id:
        raise ManifestMismatch([f"the endpoint's chain is {chain_id}, the manifest's {manifest.chain_id}"])
    for name, item in manifest.contracts.items():
        code = rpc.code(item.address)
        if not code:
            findings.append(f"{name}: no contract at {item.address}")
        elif keccak_256(code).hex() != item.code_hash:
            findings.append(f"{name}: another contract is at {item.address}")
        elif not is_ours(name, code):
            findings.append(f"{name}: the code at {item.address} was not built from this version's sources")
    if not findings and (decimals := rpc.ask(manifest.token.decimals())) != DECIMALS:
        findings.append(f"the token counts in {decimals} decimals, not in {DECIMALS}")
    if not findings:
        contracts = (manifest.token, manifest.master_account, manifest.ieo_token, manifest.main_sale)
        for contract in (*contracts, manifest.resource_prices):
            if contract.address in {item.address for item in manifest.contracts.values()} and not rpc.ask(
                contract.setup_ended()
            ):
                findings.append(f"the roles of {contract.address} can still be given without delay (endSetup)")
    if findings:
        raise ManifestMismatch(findings)


def is_ours(name: str, code: bytes) -> bool:
    """Whether deployed code is the artefact's, whatever values its constructor put into the immutables' places."""
    built = artifact(name)
    expected = bytearray.fromhex(built["deployedBytecode"][2:])
    found = bytearray(code)
    if len(found) != len(expected):
        return False
    for offset, length in built["immutables"]:
        expected[offset : offset + length] = found[offset : offset + length] = bytes(length)
    return found == expected

"""Deploying the executor: everything that can be wrong is found before anything is sent.

``plan`` only reads. ``deploy`` runs the plan's first step, plans anew from what the chain then says, and so on: after
an interruption the same command goes on where it stopped.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

from ouro.chain.calls import get_balance, get_code, get_receipts
from ouro.chain.errors import ChainError, RpcError, TransportError
from ouro.chain.fees import highest_base_fee
from ouro.chain.quantity import parse_quantity
from ouro.chain.receipts import Receipt
from ouro.chain.rpc import Caller
from ouro.execution.builds import Build, DeployError, choose_build
from ouro.execution.create3 import (
    KEYLESS_COST_WEI,
    KEYLESS_GAS,
    KEYLESS_GAS_PRICE_WEI,
    KEYLESS_RAW,
    KEYLESS_SIGNER,
    PROXY,
    PROXY_CODE,
    address_of_salt,
    create_address,
    deploy_call,
    factory_artifact,
    factory_deployment,
    salt_of,
    shared_factory,
)
from ouro.execution.deploytx import DeployTx
from ouro.execution.reverts import classify_revert
from ouro.hashing import keccak
from ouro.types import Address, FeeBid, Hash

_ZERO = "0x" + "00" * 20
_BASE_FEE_BLOCKS = 10
"""Blocks for which the offered fee stays enough, however full they are."""

_DEFAULT_TIP_WEI = 10**9
_FACTORY_OVERHEAD_GAS = 150_000
"""Above a plain creation: the call itself, the salt's proxy, and the copies of the code."""

_TRANSFER_GAS = 100_000
"""Of the funding transfer: 21,000, and room for chains that charge their data here (Arbitrum)."""

_REFUSES_KEYLESS = ("replay-protected", "eip-155", "eip155", "unprotected", "chain id", "chainid")


class Signs(Protocol):
    """What signs for the deploying account."""

    def __call__(self, tx: DeployTx) -> tuple[bytes, Hash]: ...


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be deployed, by whom. ``factory`` None means the shared one.

    ``own_factory`` deploys a factory from the deployer's next nonce first: for chains that neither have nor take the
    deterministic-deployment proxy. Its address, and so the executor's, is another one then.
    """

    chain: str
    chain_id: int
    deployer: Address
    owner: Address
    operators: tuple[Address, ...]
    treasury: Address | None
    number: int
    fee_model: Literal["eip1559", "legacy"] = "eip1559"
    factory: Address | None = None
    own_factory: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """One transaction. ``raw`` is the presigned one, which is sent as it is.

    ``result`` is the address whose code must be ``code`` afterwards (None: any, or nothing to look at).
    """

    name: str
    to: Address | None
    value_wei: int
    gas_limit: int
    result: Address | None
    data: bytes = field(default=b"", repr=False)
    code: bytes | None = field(default=None, repr=False)
    raw: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class DeployPlan:
    """What would be sent, in order, and what it may cost at most."""

    wish: Wish
    build: Build
    factory: Address
    address: Address
    steps: tuple[Step, ...]
    fee: FeeBid
    base_fee_wei: int | None
    nonce: int
    balance_wei: int
    notes: tuple[str, ...]

    @property
    def salt(self) -> bytes:
        """Salt of the executor."""
        return salt_of(self.wish.deployer, self.wish.number)

    @property
    def gas(self) -> int:
        """Sum of the steps' limits."""
        return sum(step.gas_limit for step in self.steps)

    @property
    def max_cost_wei(self) -> int:
        """The most that leaves the deployer's account."""
        paid = sum(step.gas_limit for step in self.steps if step.raw is None)
        return paid * self.fee.max_fee_per_gas_wei + sum(step.value_wei for step in self.steps)

    @property
    def expected_cost_wei(self) -> int:
        """The same at today's base fee."""
        paid = sum(step.gas_limit for step in self.steps if step.raw is None)
        price = self.fee.max_fee_per_gas_wei
        if self.base_fee_wei is not None:
            price = min(price, self.base_fee_wei + self.fee.max_priority_fee_per_gas_wei)
        return paid * price + sum(step.value_wei for step in self.steps)


@dataclass(frozen=True, slots=True)
class Deployed:
    """A finished deployment and its receipts, one per step."""

    address: Address
    factory: Address
    build: Build
    receipts: tuple[Receipt, ...]


# ---------------------------------------------------------------------------------------------------------- plan


async def plan(node: Caller, wish: Wish) -> DeployPlan:
    """Everything checked, nothing sent. Raises ``DeployError`` in one line, ``ChainError`` from the node.

    The node's chain id must have been checked (``EndpointPool`` does it).
    """
    notes = _check_wish(wish)
    build = await choose_build(node)
    nonce = await _settled_nonce(node, wish)
    factory = _factory_address(wish, nonce)
    address = address_of_salt(factory, salt_of(wish.deployer, wish.number))
    await _check_empty(node, address)
    creation = build.deployment(wish.owner, wish.operators, wish.treasury)
    creation_gas = await _simulate_constructor(node, wish.deployer, creation)
    fee, base_fee = await _fee(node, wish.fee_model)
    before, overrides = await _steps_before(node, wish, factory, fee, base_fee)
    steps = (*before, await _executor_step(node, wish, factory, address, creation, creation_gas, overrides))
    notes += await _look_at_accounts(node, wish, address)
    if wish.own_factory or (wish.factory is not None and wish.factory != shared_factory()):
        notes.append("own factory: the address differs from the one on chains that have the shared factory")
    balance = await get_balance(node, wish.deployer)
    made = DeployPlan(wish, build, factory, address, steps, fee, base_fee, nonce, balance, tuple(notes))
    if balance < made.max_cost_wei:
        raise DeployError(
            f"{wish.deployer} holds {native(balance)}, up to {native(made.max_cost_wei)} is needed; "
            f"send it {native(made.max_cost_wei - balance)} more on {wish.chain}"
        )
    return made


def native(wei: int) -> str:
    """An exact amount of the native coin for people: all digits that are not zero."""
    whole, part = divmod(abs(wei), 10**18)
    digits = f"{part:018d}".rstrip("0")
    return f"{'-' if wei < 0 else ''}{whole}{'.' + digits if digits else ''} native"


def _check_wish(wish: Wish) -> list[str]:
    if int(wish.owner, 16) == 0:
        raise DeployError("owner: the zero address could never withdraw or stop anything; name an account")
    if len(set(wish.operators)) != len(wish.operators):
        raise DeployError("operators: one is named twice")
    if _ZERO in wish.operators:
        raise DeployError("operators: the zero address is none")
    if wish.own_factory and wish.factory is not None:
        raise DeployError("factory: either an existing one is named or an own one is made, not both")
    notes = [] if wish.operators else ["no operators: nobody can execute until the owner sets one"]
    if wish.owner == wish.deployer:
        notes.append("the owner is the deploying account: its key should be cold, offer the ownership to another")
    if wish.owner in wish.operators:
        notes.append("the owner is an operator too: a stolen operator key would own the contract")
    return notes


async def _settled_nonce(node: Caller, wish: Wish) -> int:
    latest, pending = [
        parse_quantity(await node.call("eth_getTransactionCount", [wish.deployer, tag]))
        for tag in ("latest", "pending")
    ]
    if pending > latest:
        raise DeployError(
            f"{wish.deployer} has {pending - latest} transactions that are not mined yet on {wish.chain}; "
            "wait for them or replace them, then repeat"
        )
    return latest


def _factory_address(wish: Wish, nonce: int) -> Address:
    if wish.own_factory:
        return create_address(wish.deployer, nonce)
    return wish.factory or shared_factory()


async def _check_empty(node: Caller, address: Address) -> None:
    if code := await get_code(node, address):
        raise DeployError(
            f"{address} has code already ({len(code)} bytes): it was deployed before; "
            "`ouro contract verify` compares it, another --salt gives another address"
        )


async def _simulate_constructor(node: Caller, sender: Address, creation: bytes) -> int:
    """Gas of a plain creation. Raises ``DeployError`` with the reason where the constructor reverts."""
    request = {"from": sender, "data": "0x" + creation.hex()}
    try:
        await node.call("eth_call", [request, "latest"])
        return parse_quantity(await node.call("eth_estimateGas", [request]))
    except RpcError as error:
        raise DeployError(f"the constructor does not run: {revert_reason(error)}") from None


def revert_reason(error: RpcError) -> str:
    """The revert's reason where the node gives its data, its own message otherwise."""
    data = error.data.get("data") if isinstance(error.data, dict) else error.data
    if isinstance(data, str) and data.startswith("0x") and len(data) > 2:
        try:
            return classify_revert(bytes.fromhex(data[2:]))[1]
        except ValueError:
            pass
    return error.message


async def _fee(node: Caller, model: str) -> tuple[FeeBid, int | None]:
    if model == "legacy":
        price = parse_quantity(await node.call("eth_gasPrice", []))
        return FeeBid(price, price, legacy=True), None
    head = await node.call("eth_getBlockByNumber", ["latest", False])
    if not isinstance(head, dict) or head.get("baseFeePerGas") is None:
        raise DeployError('the chain has no base fee; set fee_model = "legacy" in its configuration')
    base_fee = parse_quantity(head["baseFeePerGas"])
    try:
        tip = parse_quantity(await node.call("eth_maxPriorityFeePerGas", []))
    except RpcError:
        tip = _DEFAULT_TIP_WEI
    return FeeBid(highest_base_fee(base_fee, _BASE_FEE_BLOCKS) + tip, tip, legacy=False), base_fee


async def _steps_before(
    node: Caller, wish: Wish, factory: Address, fee: FeeBid, base_fee: int | None
) -> tuple[list[Step], dict[str, Any]]:
    """What has to exist before the executor, and the state that the later steps are estimated on."""
    frozen = factory_artifact()
    code = await get_code(node, factory)
    if code == frozen.runtime_code:
        return [], {}
    if code:
        raise DeployError(f"{factory} has other code than the factory; nothing can be deployed through it")
    overrides = {factory: {"code": "0x" + frozen.runtime_code.hex()}}
    if wish.own_factory:
        gas = await _estimate(node, wish.deployer, None, frozen.creation_code, {}, 0)
        return [Step("own factory", None, 0, gas, factory, frozen.creation_code, frozen.runtime_code)], overrides
    if wish.factory is not None and wish.factory != shared_factory():
        raise DeployError(f"there is no factory at {factory}")
    steps, proxy = await _proxy_steps(node, fee, base_fee)
    least = await _estimate(node, wish.deployer, None, frozen.creation_code, {}, 0)
    gas = await _estimate(node, wish.deployer, PROXY, factory_deployment(), proxy, least)
    steps.append(Step("factory", PROXY, 0, gas, factory, factory_deployment(), frozen.runtime_code))
    return steps, {**proxy, **overrides}


async def _proxy_steps(node: Caller, fee: FeeBid, base_fee: int | None) -> tuple[list[Step], dict[str, Any]]:
    code = await get_code(node, PROXY)
    if code == PROXY_CODE:
        return [], {}
    if code:
        raise DeployError(f"{PROXY} has other code than the deterministic-deployment proxy; use --own-factory")
    if parse_quantity(await node.call("eth_getTransactionCount", [KEYLESS_SIGNER, "latest"])):
        raise DeployError(
            f"the single-use account {KEYLESS_SIGNER} is used up on this chain and {PROXY} is empty; use --own-factory"
        )
    price = fee.max_fee_per_gas_wei if base_fee is None else base_fee
    if price > KEYLESS_GAS_PRICE_WEI:
        raise DeployError(
            f"gas costs {price / 1e9:.1f} gwei now, the presigned transaction that deploys {PROXY} pays "
            f"{KEYLESS_GAS_PRICE_WEI // 10**9}; wait for a lower price or use --own-factory"
        )
    steps = []
    if (held := await get_balance(node, KEYLESS_SIGNER)) < KEYLESS_COST_WEI:
        steps.append(Step("fund single-use account", KEYLESS_SIGNER, KEYLESS_COST_WEI - held, _TRANSFER_GAS, None))
    steps.append(
        Step("deterministic-deployment proxy", None, 0, KEYLESS_GAS, PROXY, code=PROXY_CODE, raw=KEYLESS_RAW)
    )
    return steps, {PROXY: {"code": "0x" + PROXY_CODE.hex()}}


async def _executor_step(
    node: Caller,
    wish: Wish,
    factory: Address,
    address: Address,
    creation: bytes,
    creation_gas: int,
    overrides: dict[str, Any],
) -> Step:
    data = deploy_call(salt_of(wish.deployer, wish.number), creation)
    gas = await _estimate(node, wish.deployer, factory, data, overrides, creation_gas)
    return Step("executor", factory, 0, gas, address, data)


async def _estimate(
    node: Caller, sender: Address, to: Address | None, data: bytes, overrides: dict[str, Any], least: int
) -> int:
    """Gas limit with a margin, on a state in which ``overrides`` exist already.

    A node that does not know overrides refuses them or, worse, ignores them and estimates a call to an empty account:
    then what a plain creation takes (``least``) and a fixed allowance are the figure.
    """
    request = {"from": sender, "data": "0x" + data.hex()} | ({} if to is None else {"to": to})
    params: list[Any] = [request, "latest", overrides] if overrides else [request]
    try:
        gas = parse_quantity(await node.call("eth_estimateGas", params))
    except RpcError as error:
        if not overrides:
            raise DeployError(f"the transaction would fail: {revert_reason(error)}") from None
        gas = 0
    if overrides and gas < least:
        gas = least + _FACTORY_OVERHEAD_GAS
    return gas * 115 // 100


async def _look_at_accounts(node: Caller, wish: Wish, address: Address) -> list[str]:
    notes = []
    for role, account in (("owner", wish.owner), ("treasury", wish.treasury or wish.owner)):
        has_code = bool(await get_code(node, account))
        nonce = parse_quantity(await node.call("eth_getTransactionCount", [account, "latest"]))
        if not has_code and nonce == 0:
            notes.append(
                f"{role} {account} has neither code nor transactions on {wish.chain}: "
                "a multisig must exist on this chain too, a plain account is fine"
            )
    if held := await get_balance(node, address):
        notes.append(
            f"{address} holds {native(held)} already; it will be the executor's, the owner can withdraw it"
        )
    return notes


# ---------------------------------------------------------------------------------------------------------- send


async def deploy(
    node: Caller,
    wish: Wish,
    sign: Signs,
    say: Callable[[str], None] = lambda _: None,
    timeout_s: float = 300.0,
) -> Deployed:
    """Plan, send, wait and check, step by step. Raises ``DeployError``; what was sent before stays and is reused."""
    receipts: list[Receipt] = []
    while True:
        made = await plan(node, wish)
        step = made.steps[0]
        receipts.append(await _run(node, made, step, sign, say, timeout_s))
        if step.result == made.address:
            return Deployed(made.address, made.factory, made.build, tuple(receipts))
        if step.name == "own factory":
            wish = replace(wish, factory=made.factory, own_factory=False)


async def _run(
    node: Caller, made: DeployPlan, step: Step, sign: Signs, say: Callable[[str], None], timeout_s: float
) -> Receipt:
    if step.value_wei and step.to == KEYLESS_SIGNER:
        await _ask_about_keyless(node)
    if step.raw is not None:
        raw, tx_hash = step.raw, "0x" + keccak(step.raw).hex()
    else:
        raw, tx_hash = sign(
            DeployTx(made.wish.chain_id, made.nonce, step.to, step.value_wei, step.gas_limit, made.fee, step.data)
        )
    await _send(node, raw, tx_hash, step)
    say(f"{step.name}: sent {tx_hash}")
    receipt = await wait_for_receipt(node, tx_hash, timeout_s)
    if receipt.status != 1:
        raise DeployError(
            f"{step.name}: {tx_hash} failed in block {receipt.block_number} after {receipt.gas_used} gas; nothing else was sent"
        )
    say(
        f"{step.name}: mined in block {receipt.block_number}, {receipt.gas_used} gas, {native(receipt.gas_cost_wei)}"
    )
    if step.result is not None:
        await _check_code(node, step, made.build if step.result == made.address else None)
    return receipt


async def _ask_about_keyless(node: Caller) -> None:
    """Before money goes to the single-use account: would this chain take its transaction?

    Sent without funds it is refused either way; the reason tells. (Where somebody has funded it, it just deploys.)
    """
    try:
        await node.call("eth_sendRawTransaction", ["0x" + KEYLESS_RAW.hex()])
    except RpcError as error:
        text = error.message.lower()
        if any(sign in text for sign in _REFUSES_KEYLESS):
            raise DeployError(
                "the node refuses transactions without chain id, so the shared factory can't be made through it: "
                f"try another endpoint, or --own-factory (another address) ({error.message})"
            ) from None


async def _send(node: Caller, raw: bytes, tx_hash: Hash, step: Step) -> None:
    try:
        await node.call("eth_sendRawTransaction", ["0x" + raw.hex()])
    except RpcError as error:
        if "already known" in error.message.lower() or "already imported" in error.message.lower():
            return
        raise DeployError(f"{step.name}: the node did not take the transaction ({error.message})") from None
    except TransportError as error:
        raise DeployError(
            f"{step.name}: the connection broke while sending ({error}); {tx_hash} may have been taken: "
            "look for it, then repeat the command"
        ) from None


async def wait_for_receipt(node: Caller, tx_hash: Hash, timeout_s: float) -> Receipt:
    """The receipt, once the transaction is in a block. Raises ``DeployError`` after ``timeout_s``."""
    deadline = time.monotonic() + timeout_s
    pause_s = 0.05
    while True:
        try:
            (receipt,) = await get_receipts(node, [tx_hash])
        except TransportError:
            receipt = None  # the transaction is out: only time decides, not a bad connection
        if receipt is not None:
            return receipt
        if time.monotonic() > deadline:
            raise DeployError(
                f"{tx_hash} is not mined after {timeout_s:.0f} s; it may still be: look for it, then repeat the command"
            )
        await asyncio.sleep(pause_s)
        pause_s = min(1.0, pause_s * 1.5)


async def _check_code(node: Caller, step: Step, build: Build | None) -> None:
    assert step.result is not None
    code = await get_code(node, step.result)
    if code == step.code or (build is not None and build.matches(code)):
        return
    raise DeployError(
        f"{step.name}: the code at {step.result} is not what was deployed ({len(code)} bytes); stop here"
    )


__all__ = [
    "ChainError", "DeployError", "DeployPlan", "Deployed", "Step", "Wish", "deploy", "native", "plan", "revert_reason",
    "wait_for_receipt",
]  # fmt: skip

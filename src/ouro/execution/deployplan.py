"""What a deployment would do and cost, and everything that speaks against it. Only reads."""

from dataclasses import dataclass, field
from typing import Any, Literal

from ouro.chain.calls import get_balance, get_code
from ouro.chain.errors import MalformedAnswer, RpcError
from ouro.chain.fees import highest_base_fee
from ouro.chain.quantity import parse_data, parse_quantity
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
from ouro.execution.reverts import classify_revert
from ouro.types import Address, FeeBid

_ZERO = "0x" + "00" * 20
_BASE_FEE_BLOCKS = 10
"""Blocks for which the offered fee stays enough, however full they are."""

_DEFAULT_TIP_WEI = 10**9
_MAX_TX_GAS = 2**24
"""Of one transaction (EIP-7825); an estimate beyond it is a mistake or a trap."""

_FACTORY_OVERHEAD_GAS = 150_000
"""Above a plain creation: the call itself, the salt's proxy, and the copies of the code."""

_TRANSFER_GAS = 100_000
"""Of the funding transfer: 21,000, and room for chains that charge their data here (Arbitrum)."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be deployed, by whom. ``factory`` None means the shared one.

    ``own_factory`` deploys a factory from the deployer's next nonce first: for chains that neither have nor take
    the deterministic-deployment proxy. Its address, and so the executor's, is another one then.
    ``max_fee_per_gas_wei`` bounds what a node can talk us into paying; ``tip_wei`` (on legacy chains the gas price)
    is the node's suggestion unless it is given.
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
    max_fee_per_gas_wei: int = 2_000 * 10**9
    tip_wei: int | None = None


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


async def plan(node: Caller, wish: Wish) -> DeployPlan:
    """Everything but the funds checked, nothing sent. Raises ``DeployError`` in one line, ``ChainError``.

    The node's chain id must have been checked (``EndpointPool`` does it).
    """
    notes = _check_wish(wish)
    build = await choose_build(node)
    nonce = await _settled_nonce(node, wish)
    factory = _factory_address(wish, nonce)
    address = address_of_salt(factory, salt_of(wish.deployer, wish.number))
    await _check_empty(node, address)
    creation = build.deployment(wish.owner, wish.operators, wish.treasury)
    creation_gas = await _simulate_constructor(node, wish.deployer, creation, build)
    fee, base_fee = await _fee(node, wish)
    if fee.max_fee_per_gas_wei > wish.max_fee_per_gas_wei:
        raise DeployError(
            f"gas would cost up to {fee.max_fee_per_gas_wei / 1e9:.3f} gwei, the limit is "
            f"{wish.max_fee_per_gas_wei / 1e9:.3f} gwei; wait, or raise the limit"
        )
    before, overrides = await _steps_before(node, wish, factory, fee, base_fee)
    steps = (*before, await _executor_step(node, wish, factory, address, creation, creation_gas, overrides))
    notes += await _look_at_accounts(node, wish, address)
    if wish.own_factory or (wish.factory is not None and wish.factory != shared_factory()):
        notes.append("own factory: the address differs from the one on chains that have the shared factory")
    balance = await get_balance(node, wish.deployer)
    return DeployPlan(wish, build, factory, address, steps, fee, base_fee, nonce, balance, tuple(notes))


def check_funds(made: DeployPlan) -> None:
    """Raise ``DeployError`` unless the deployer can pay for the whole plan at its highest price."""
    wish, missing = made.wish, made.max_cost_wei - made.balance_wei
    if missing > 0:
        raise DeployError(
            f"{wish.deployer} holds {native(made.balance_wei)}, up to {native(made.max_cost_wei)} is needed; "
            f"send it {native(missing)} more on {wish.chain}"
        )


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


async def _simulate_constructor(node: Caller, sender: Address, creation: bytes, build: Build) -> int:
    """Gas of a plain creation. Raises ``DeployError`` with the reason where the constructor reverts."""
    request = {"from": sender, "data": "0x" + creation.hex()}
    try:
        made = await node.call("eth_call", [request, "latest"])
        if not build.matches(_code_in(made)):
            raise DeployError(f"the chain makes other code of {build.name} than was compiled; it is not supported")
        return parse_quantity(await node.call("eth_estimateGas", [request]))
    except RpcError as error:
        raise DeployError(f"the constructor does not run: {revert_reason(error)}") from None


def _code_in(answer: Any) -> bytes:
    try:
        return bytes.fromhex(parse_data(answer)[2:])
    except ValueError as error:
        raise MalformedAnswer(f"eth_call: {error}") from None


def revert_reason(error: RpcError) -> str:
    """The revert's reason where the node gives its data, its own message otherwise."""
    data = error.data.get("data") if isinstance(error.data, dict) else error.data
    if isinstance(data, str) and data.startswith("0x") and len(data) > 2:
        try:
            return classify_revert(bytes.fromhex(data[2:]))[1]
        except ValueError:
            pass
    return error.message


async def _fee(node: Caller, wish: Wish) -> tuple[FeeBid, int | None]:
    if wish.fee_model == "legacy":
        price = wish.tip_wei
        if price is None:
            price = parse_quantity(await node.call("eth_gasPrice", []))
        return FeeBid(price, price, legacy=True), None
    head = await node.call("eth_getBlockByNumber", ["latest", False])
    if not isinstance(head, dict) or head.get("baseFeePerGas") is None:
        raise DeployError('the chain has no base fee; set fee_model = "legacy" in its configuration')
    base_fee = parse_quantity(head["baseFeePerGas"])
    tip = wish.tip_wei
    if tip is None:
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
            f"{PROXY} is empty and the single-use account {KEYLESS_SIGNER} that makes it is used up on this chain; "
            "use --own-factory"
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

    A node that does not know overrides refuses them or, worse, ignores them and estimates a call to an empty
    account: then what a plain creation takes (``least``) and a fixed allowance are the figure.
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
    if gas > _MAX_TX_GAS:
        raise DeployError(f"the node estimates {gas} gas for one transaction, above the {_MAX_TX_GAS} of any chain")
    return gas * 115 // 100


async def _look_at_accounts(node: Caller, wish: Wish, address: Address) -> list[str]:
    notes = []
    accounts = {wish.owner: "owner"} if wish.treasury is None else {wish.treasury: "treasury", wish.owner: "owner"}
    for account, role in accounts.items():
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

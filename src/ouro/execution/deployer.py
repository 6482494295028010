"""Deploying the executor: everything that can be wrong is found before anything is sent.

``deploy`` runs the first step of a plan, plans anew from what the chain then says, and so on: after an interruption
the same command goes on where it stopped.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from ouro.chain.calls import get_code, get_receipts
from ouro.chain.errors import RpcError, TransportError
from ouro.chain.quantity import parse_quantity
from ouro.chain.receipts import Receipt
from ouro.chain.rpc import Caller
from ouro.execution.builds import Build, DeployError
from ouro.execution.create3 import KEYLESS_RAW, KEYLESS_SIGNER
from ouro.execution.deployplan import DeployPlan, Step, Wish, check_funds, native, plan
from ouro.execution.deploytx import DeployTx
from ouro.hashing import keccak
from ouro.types import Address, Hash

__all__ = ["DeployError", "Deployed", "Wish", "check_funds", "deploy", "plan", "wait_for_receipt"]

_LACKS_MONEY = ("insufficient", "upfront cost", "funds", "balance")
"""What nodes say of a transaction that only lacks money."""

_SETTLE_S = 10.0


class Signs(Protocol):
    """What signs for the deploying account."""

    def __call__(self, tx: DeployTx) -> tuple[bytes, Hash]: ...


@dataclass(frozen=True, slots=True)
class Deployed:
    """A finished deployment and its receipts, one per step."""

    address: Address
    factory: Address
    build: Build
    receipts: tuple[Receipt, ...]


async def deploy(
    node: Caller,
    wish: Wish,
    sign: Signs,
    say: Callable[[str], None] = lambda _: None,
    timeout_s: float = 300.0,
) -> Deployed:
    """Plan, send, wait and check, step by step. Raises ``DeployError``; what was sent before is reused."""
    receipts: list[Receipt] = []
    allowed_wei: int | None = None
    while True:
        made = await plan(node, wish)
        check_funds(made)
        if allowed_wei is None:
            # Nodes suggest what was paid lately, and the presigned transaction pays 100 gwei: ask once, before it.
            allowed_wei = made.max_cost_wei
            wish = replace(wish, tip_wei=made.fee.max_priority_fee_per_gas_wei)
        elif made.max_cost_wei > allowed_wei:
            raise DeployError(
                f"gas has become dearer: up to {native(made.max_cost_wei)} is needed now, "
                f"{native(allowed_wei)} was planned; nothing more was sent, repeat to go on"
            )
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
    if receipt.status != 1 and not await _is_there(node, step):
        raise DeployError(
            f"{step.name}: {tx_hash} failed in block {receipt.block_number} ({receipt.gas_used} gas); "
            "nothing else was sent"
        )
    cost = native(receipt.gas_cost_wei)
    say(f"{step.name}: mined in block {receipt.block_number}, {receipt.gas_used} gas, {cost}")
    await _settled(node, made, step)
    return receipt


async def _is_there(node: Caller, step: Step) -> bool:
    """Whether somebody else made the same, so that ours failed: the shared contracts belong to everybody."""
    return step.result is not None and step.code is not None and await get_code(node, step.result) == step.code


async def _ask_about_keyless(node: Caller) -> None:
    """Before money goes to the single-use account: would this chain take its transaction?

    Sent without funds it is refused either way; the reason tells. (Where somebody has funded it, it just deploys.)
    """
    try:
        await node.call("eth_sendRawTransaction", ["0x" + KEYLESS_RAW.hex()])
    except RpcError as error:
        if not any(words in error.message.lower() for words in _LACKS_MONEY):
            raise DeployError(
                f"the node does not take transactions without chain id ({error.message}), which the shared factory "
                "needs: try another endpoint, or --own-factory, which gives another address"
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
                f"{tx_hash} is not mined after {timeout_s:.0f} s and may still be; look for it, then repeat"
            )
        await asyncio.sleep(pause_s)
        pause_s = min(1.0, pause_s * 1.5)


async def _settled(node: Caller, made: DeployPlan, step: Step) -> None:
    """The chain as this node shows it now has the step; endpoints behind one URL lag behind each other.

    Raises ``DeployError`` when other code than the step's is there.
    """
    account, nonce = (KEYLESS_SIGNER, 1) if step.raw is not None else (made.wish.deployer, made.nonce + 1)
    deadline = time.monotonic() + _SETTLE_S
    while True:
        seen = parse_quantity(await node.call("eth_getTransactionCount", [account, "latest"])) >= nonce
        code = b"" if step.result is None else await get_code(node, step.result)
        if seen and (step.result is None or code):
            break
        if time.monotonic() > deadline:
            raise DeployError(
                f"{step.name}: mined, but the node does not show it; check another endpoint, then repeat"
            )
        await asyncio.sleep(0.2)
    if step.result is None or code == step.code:
        return
    if step.result != made.address or not made.build.matches(code):
        raise DeployError(
            f"{step.name}: {step.result} has other code than was deployed ({len(code)} bytes); stop here"
        )

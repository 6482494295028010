"""The executor contract as the package ships it: code, constructor arguments, calls of its owner."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from eth_abi.abi import encode

from ouro.hashing import selector, topic
from ouro.types import Address

NATIVE: Address = "0x" + "00" * 20
"""What ``withdraw`` takes as the token of the native coin."""

SCRATCH_SLOTS = (
    0x6F75726F00,  # who may call back
    0x6F75726F10,  # V4's manager
    *range(0x6F75726F20, 0x6F75726F30),  # tokens
    *range(0x6F75726F40, 0x6F75726F50),  # what was held of them
)
"""Words that the storage build uses while a program runs. They rest non-zero: that decides what a write costs."""

TREASURY_SLOT = 2
OPERATORS_SLOT = 3
BRIBE_RECIPIENTS_SLOT = 5


@dataclass(frozen=True, slots=True)
class ExecutorArtifact:
    """The committed compilation of contracts/src/OuroExecutor.sol."""

    abi: list[dict[str, Any]]
    creation_code: bytes
    runtime_code: bytes
    compiler: str


@cache
def executor_artifact() -> ExecutorArtifact:
    """The contract from the package's own files. It has no immutables: on-chain code equals ``runtime_code``."""
    text = files("ouro.execution").joinpath("artifacts/OuroExecutor.json").read_text()
    raw = json.loads(text)
    code, runtime = (bytes.fromhex(raw[key].removeprefix("0x")) for key in ("bytecode", "deployed_bytecode"))
    return ExecutorArtifact(raw["abi"], code, runtime, raw["compiler"])


def event_topics() -> tuple[str, ...]:
    """First topics of everything that the executor logs: changes of roles, treasury and pause."""
    signatures = [
        f"{item['name']}({','.join(field['type'] for field in item['inputs'])})"
        for item in executor_artifact().abi
        if item["type"] == "event"
    ]
    return tuple(topic(signature) for signature in signatures)


def creation_code(owner: Address, operators: Sequence[Address], treasury: Address | None = None) -> bytes:
    """Data of the deploying transaction. Profit goes to ``treasury``, by default the owner."""
    arguments = encode(["address", "address", "address[]"], [owner, treasury or NATIVE, list(operators)])
    return executor_artifact().creation_code + arguments


def set_operator(operator: Address, allowed: bool) -> bytes:
    """Owner: let ``operator`` execute, or no longer."""
    return selector("setOperator(address,bool)") + encode(["address", "bool"], [operator, allowed])


def set_treasury(treasury: Address) -> bytes:
    """Owner: where profit goes from now on. The executor's own address keeps it there as inventory."""
    return selector("setTreasury(address)") + encode(["address"], [treasury])


def set_bribe_cap(share_ppm: int) -> bytes:
    """Owner: the largest share of a realised profit that a program may bid; zero at first."""
    return selector("setBribeCap(uint256)") + encode(["uint256"], [share_ppm])


def set_bribe_recipient(recipient: Address, allowed: bool) -> bytes:
    """Owner: let bribes go to ``recipient``, besides the block's own fee recipient."""
    return selector("setBribeRecipient(address,bool)") + encode(["address", "bool"], [recipient, allowed])


def offer_ownership(next_owner: Address) -> bytes:
    """Owner: first of the two steps; the other account has to accept."""
    return selector("offerOwnership(address)") + encode(["address"], [next_owner])


def accept_ownership() -> bytes:
    """The offered account: second step."""
    return selector("acceptOwnership()")


def pause() -> bytes:
    """Owner or operator: stop all executions."""
    return selector("pause()")


def unpause() -> bytes:
    """Owner: allow executions again."""
    return selector("unpause()")


def withdraw(token: Address, to: Address, amount_wei: int) -> bytes:
    """Owner: move out what was sent there by mistake; ``NATIVE`` for the native coin."""
    return selector("withdraw(address,address,uint256)") + encode(
        ["address", "address", "uint256"], [token, to, amount_wei]
    )

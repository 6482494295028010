"""What stands at the executor's address: code, roles, settings and balances, all at one block. Only reads."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError

from ouro.chain.calls import Block, eth_call_many, get_balance, get_code, probe_block_ref
from ouro.chain.errors import MalformedAnswer, RpcError
from ouro.chain.quantity import parse_hash, parse_quantity
from ouro.chain.rpc import Caller
from ouro.execution.builds import Build, build_of, builds
from ouro.hashing import keccak, selector
from ouro.types import Address


@dataclass(frozen=True, slots=True)
class Expected:
    """What the configuration says should be there. ``operators`` is the whole set."""

    owner: Address
    treasury: Address
    operators: tuple[Address, ...]
    paused: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """What is there. ``build`` None: the code is none of ours.

    ``settings`` are the contract's own getters by name; ``allowed`` says of each account asked about whether it may
    execute; ``held_wei`` are balances by token, ``None`` the native coin, without those that could not be read.
    """

    address: Address
    block_number: int
    code: bytes
    build: Build | None
    settings: dict[str, Any]
    allowed: dict[Address, bool]
    held_wei: dict[Address | None, int]
    unreadable: tuple[Address, ...]


async def look(node: Caller, address: Address, operators: Sequence[Address], tokens: Sequence[Address]) -> Found:
    """Read everything at the latest block. Raises ``ChainError``."""
    head = await node.call("eth_getBlockByNumber", ["latest", False])
    try:
        number, block_hash = parse_quantity(head["number"]), parse_hash(head["hash"])
    except (TypeError, KeyError, ValueError) as error:
        raise MalformedAnswer(f"eth_getBlockByNumber: {error!r}") from None
    block = await probe_block_ref(node, number, block_hash)
    code = await get_code(node, address, block)
    build = build_of(code)
    # Foreign code is never asked: its answers would look like ours.
    settings = await _settings(node, address, build, block) if build else {}
    allowed = await _allowed(node, address, operators, block) if build else {}
    held, unreadable = await _balances(node, address, tokens, block)
    held[None] = await get_balance(node, address, block)
    return Found(address, number, code, build, settings, allowed, held, tuple(unreadable))


def differences(found: Found, expected: Expected) -> list[str]:
    """One line for each thing that is not as expected; empty when all is."""
    if not found.code:
        return [f"code: there is none at {found.address}; deploy it, or correct executor in the configuration"]
    if found.build is None:
        return [f"code: {_foreign(found.code)}; do not use this contract"]
    problems = []
    for name, wanted in (("owner", expected.owner), ("treasury", expected.treasury), ("paused", expected.paused)):
        if found.settings.get(name) != wanted:
            problems.append(f"{name}: {shown(found.settings.get(name))}, expected {shown(wanted)}")
    if (pending := found.settings.get("pendingOwner")) and int(pending, 16):
        problems.append(f"pendingOwner: the ownership is offered to {pending}")
    problems += [
        f"operators: {account} may not execute" for account in expected.operators if not found.allowed[account]
    ]
    extra = set(found.settings.get("operators", ())) - set(expected.operators)
    problems += [f"operators: {account} may execute, but is not configured" for account in sorted(extra)]
    return problems


def lists_operators(build: Build) -> bool:
    """Whether the contract can name all its operators, so that an unknown one would show."""
    return any(item.get("name") == "operators" and not item["inputs"] for item in build.abi)


def shown(value: Any) -> str:
    """A setting for people."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ", ".join(shown(item) for item in value) or "none"
    return "unreadable" if value is None else str(value)


def _foreign(code: bytes) -> str:
    near = next((build for build in builds() if len(build.runtime_code) == len(code)), None)
    if near is not None:
        place = next(k for k, (a, b) in enumerate(zip(code, near.runtime_code, strict=True)) if a != b)
        return f"differs from {near.name} at byte {place}"
    ours = ", ".join(f"{build.name} {len(build.runtime_code)}" for build in builds())
    return f"{len(code)} bytes (keccak 0x{keccak(code).hex()[:16]}…) are none of our builds ({ours} bytes)"


async def _settings(node: Caller, address: Address, build: Build, block: Block) -> dict[str, Any]:
    getters = [
        item
        for item in build.abi
        if item.get("type") == "function" and item["stateMutability"] in ("view", "pure") and not item["inputs"]
    ]
    answers = await eth_call_many(node, [(address, selector(f"{item['name']}()")) for item in getters], block)
    settings: dict[str, Any] = {}
    for item, answer in zip(getters, answers, strict=True):
        if isinstance(answer, RpcError):
            raise MalformedAnswer(f"{item['name']}() of {address} can't be read: {answer.message}")
        types = [output["type"] for output in item["outputs"]]
        values = _decoded(types, answer, f"{item['name']}() of {address}")
        settings[item["name"]] = values[0] if len(values) == 1 else values
    return settings


async def _allowed(
    node: Caller, address: Address, operators: Sequence[Address], block: Block
) -> dict[Address, bool]:
    calls = [(address, selector("isOperator(address)") + encode(["address"], [account])) for account in operators]
    answers = await eth_call_many(node, calls, block) if calls else []
    allowed = {}
    for account, answer in zip(operators, answers, strict=True):
        if isinstance(answer, RpcError):
            raise MalformedAnswer(f"isOperator({account}) of {address} can't be read: {answer.message}")
        allowed[account] = _decoded(["bool"], answer, f"isOperator({account})")[0]
    return allowed


async def _balances(
    node: Caller, address: Address, tokens: Sequence[Address], block: Block
) -> tuple[dict[Address | None, int], list[Address]]:
    data = selector("balanceOf(address)") + encode(["address"], [address])
    answers = await eth_call_many(node, [(token, data) for token in tokens], block) if tokens else []
    held: dict[Address | None, int] = {}
    unreadable: list[Address] = []
    for token, answer in zip(tokens, answers, strict=True):
        # Tokens are strangers: one that fails is named and the others are shown.
        if isinstance(answer, RpcError) or len(answer) != 32:
            unreadable.append(token)
        else:
            held[token] = int.from_bytes(answer, "big")
    return held, unreadable


def _decoded(types: list[str], data: bytes, what: str) -> tuple[Any, ...]:
    try:
        return decode(types, data)
    except (DecodingError, OverflowError) as error:
        raise MalformedAnswer(f"{what}: {error}") from None

"""Plan → calldata of the executor contract, and back. The encoding is described in docs/executor.md.

A program is a header and a list of operations; one with a callback (``V3_SWAP``, ``V2_FLASH``) hands the rest of
the program to its pool, which hands it back inside the callback. So the list reads linearly and runs nested.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from ouro.execution.reverts import classify_revert
from ouro.types import Address, Hop

__all__ = [
    "EncodeError",
    "Kind",
    "Op",
    "Program",
    "classify_revert",
    "decode_program",
    "encode_plan",
    "encode_program",
    "operations",
]

MAX_HOPS = 6
MAX_AMOUNT_WEI = (1 << 112) - 1
"""Amounts take 14 bytes: what a V2 reserve can hold, so nothing tradable is above it."""
MAX_BLOCK_NUMBER = (1 << 40) - 1

_HEADER_BYTES = 39
_FAMILIES = {"uniswap_v2": False, "uniswap_v3": True}
_TO_EXECUTOR, _TO_NEXT_POOL, _TO_CALLER, _TO_EXPLICIT = range(4)


class EncodeError(ValueError):
    """A plan that the executor can't run; ``field`` names the offending part of it."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field


class Kind(IntEnum):
    """Operations of the executor; the numbers are its byte code."""

    TRANSFER = 0
    V2_SWAP = 1
    V2_FLASH = 2
    V3_SWAP = 3

    @property
    def calls_back(self) -> bool:
        """Whether the rest of the program runs inside this operation's callback."""
        return self in (Kind.V2_FLASH, Kind.V3_SWAP)


@dataclass(frozen=True, slots=True)
class Op:
    """One operation. ``pool`` is None for ``TRANSFER``; ``to`` is None where the executor itself receives.

    ``amount_wei`` goes in for ``V3_SWAP``, comes out for the V2 operations, moves for ``TRANSFER``.
    """

    kind: Kind
    pool: Address | None
    zero_for_one: bool
    amount_wei: int
    to: Address | None


@dataclass(frozen=True, slots=True)
class Program:
    """What one execution does. ``max_block_number`` None leaves the block unguarded."""

    max_block_number: int | None
    min_profit_wei: int
    profit_token: Address
    ops: tuple[Op, ...]


def encode_plan(
    hops: Sequence[Hop], profit_token: Address, min_profit_wei: int, max_block_number: int | None
) -> bytes:
    """Calldata that runs the cycle ``hops`` without capital and pays at least ``min_profit_wei`` to the treasury.

    The executor reverts after ``max_block_number``. Raises EncodeError naming the field of an impossible plan.
    """
    _check_hops(hops, profit_token)
    gain = hops[-1].amount_out_wei - hops[0].amount_in_wei
    if min_profit_wei > gain:
        raise EncodeError("min_profit_wei", f"{min_profit_wei} is above the plan's own profit of {gain}")
    return encode_program(Program(max_block_number, min_profit_wei, profit_token, operations(hops)))


def operations(hops: Sequence[Hop]) -> tuple[Op, ...]:
    """The nesting that needs no capital, for a checked cycle.

    Start where the final output comes from with the payment still owed: the last V3 hop with the V2 hops after it,
    or a flash swap of the last pair when all are V2. Then settle each debt by the V3 hop before it, whose output
    flows through the V2 hops between them straight into the creditor. The first pool is fed from the final output,
    which is here by then.
    """
    v3 = [k for k, hop in enumerate(hops) if _FAMILIES[hop.family]]
    last = len(hops) - 1
    debt = v3[-1] if v3 else last
    ops = [_first(hops[debt], _pool_after(hops, debt)), *_pairs(hops, debt + 1, last + 1)]
    for k in reversed(v3[:-1]):
        ops += [_v3(hops[k], hops[k + 1].pool), *_pairs(hops, k + 1, debt)]
        debt = k
    ops.append(Op(Kind.TRANSFER, None, False, hops[0].amount_in_wei, hops[0].pool.lower()))
    return (*ops, *_pairs(hops, 0, debt))


def _pool_after(hops: Sequence[Hop], k: int) -> Address | None:
    return hops[k + 1].pool if k + 1 < len(hops) else None


def _first(hop: Hop, to: Address | None) -> Op:
    if _FAMILIES[hop.family]:
        return _v3(hop, to)
    return Op(Kind.V2_FLASH, hop.pool.lower(), hop.i == 0, hop.amount_out_wei, None)


def _v3(hop: Hop, to: Address | None) -> Op:
    return Op(Kind.V3_SWAP, hop.pool.lower(), hop.i == 0, hop.amount_in_wei, to and to.lower())


def _pairs(hops: Sequence[Hop], start: int, stop: int) -> list[Op]:
    ops = []
    for k in range(start, stop):
        to = _pool_after(hops, k)
        ops.append(
            Op(Kind.V2_SWAP, hops[k].pool.lower(), hops[k].i == 0, hops[k].amount_out_wei, to and to.lower())
        )
    return ops


def encode_program(program: Program) -> bytes:
    """Bytes of ``program``, each recipient in its shortest form. Raises EncodeError."""
    if not program.ops:
        raise EncodeError("ops", "a program needs at least one operation")
    block = program.max_block_number
    if block is not None and not 0 < block <= MAX_BLOCK_NUMBER:
        raise EncodeError("max_block_number", f"{block} is not in 1 … 2^40-1")
    if not 0 <= program.min_profit_wei <= MAX_AMOUNT_WEI:
        raise EncodeError("min_profit_wei", f"{program.min_profit_wei} is not in 0 … 2^112-1")
    out = bytearray((block or 0).to_bytes(5, "big") + program.min_profit_wei.to_bytes(14, "big"))
    out += _address("profit_token", program.profit_token)
    caller: Address | None = None
    for k, op in enumerate(program.ops):
        following = program.ops[k + 1].pool if k + 1 < len(program.ops) else None
        out += _encode_op(f"ops[{k}]", op, following, caller)
        if op.kind.calls_back:
            caller = op.pool
    return bytes(out)


def _encode_op(where: str, op: Op, following: Address | None, caller: Address | None) -> bytes:
    if not 0 < op.amount_wei <= MAX_AMOUNT_WEI:
        raise EncodeError(f"{where}.amount_wei", f"{op.amount_wei} is not in 1 … 2^112-1")
    if (op.pool is None) != (op.kind is Kind.TRANSFER):
        raise EncodeError(f"{where}.pool", "a transfer names no pool, everything else does")
    if op.kind is Kind.V2_FLASH and op.to is not None:
        raise EncodeError(f"{where}.to", "a pair calls back whoever receives, so a flash swap pays the executor")
    if op.kind is Kind.TRANSFER and op.zero_for_one:
        raise EncodeError(f"{where}.zero_for_one", "a transfer has no direction")
    mode = _mode(op.to, following, caller)
    head = bytes([op.kind << 3 | mode << 1 | op.zero_for_one]) + op.amount_wei.to_bytes(14, "big")
    pool = b"" if op.pool is None else _address(f"{where}.pool", op.pool)
    return head + pool + (_address(f"{where}.to", op.to) if op.to and mode == _TO_EXPLICIT else b"")


def _mode(to: Address | None, following: Address | None, caller: Address | None) -> int:
    if to is None:
        return _TO_EXECUTOR
    if to == following:
        return _TO_NEXT_POOL
    return _TO_CALLER if to == caller else _TO_EXPLICIT


def decode_program(calldata: bytes) -> Program:
    """The inverse of ``encode_program``. Raises EncodeError where ``calldata`` is not a program."""
    if len(calldata) < _HEADER_BYTES:
        raise EncodeError("calldata", f"{len(calldata)} bytes are shorter than the header of {_HEADER_BYTES}")
    parts: list[tuple[Kind, Address | None, bool, int, int, Address | None]] = []
    pos = _HEADER_BYTES
    while pos < len(calldata):
        part, pos = _decode_op(calldata, pos, f"ops[{len(parts)}]")
        parts.append(part)
    ops, caller = [], None
    for k, (kind, pool, zero_for_one, amount, mode, explicit) in enumerate(parts):
        following = parts[k + 1][1] if k + 1 < len(parts) else None
        if mode == _TO_NEXT_POOL and following is None:
            raise EncodeError(f"ops[{k}].to", "says the next operation's pool, but there is none")
        if mode == _TO_CALLER and caller is None:
            raise EncodeError(f"ops[{k}].to", "says the caller outside of a callback")
        ops.append(Op(kind, pool, zero_for_one, amount, (None, following, caller, explicit)[mode]))
        caller = pool if kind.calls_back else caller
    block = int.from_bytes(calldata[:5], "big")
    profit_token = "0x" + calldata[19:39].hex()
    return Program(block or None, int.from_bytes(calldata[5:19], "big"), profit_token, tuple(ops))


def _decode_op(
    data: bytes, pos: int, where: str
) -> tuple[tuple[Kind, Address | None, bool, int, int, Address | None], int]:
    op = data[pos]
    try:
        kind = Kind(op >> 3)
    except ValueError:
        raise EncodeError(f"{where}.kind", f"{op >> 3} is no operation") from None
    mode = op >> 1 & 3
    amount_end = pos + 15
    pool_end = amount_end + (0 if kind is Kind.TRANSFER else 20)
    end = pool_end + (20 if mode == _TO_EXPLICIT else 0)
    if end > len(data):
        raise EncodeError(where, f"needs {end - pos} bytes, {len(data) - pos} are left")
    pool = "0x" + data[amount_end:pool_end].hex() if pool_end > amount_end else None
    explicit = "0x" + data[pool_end:end].hex() if end > pool_end else None
    amount = int.from_bytes(data[pos + 1 : amount_end], "big")
    return (kind, pool, bool(op & 1), amount, mode, explicit), end


def _address(where: str, value: Address) -> bytes:
    try:
        raw = bytes.fromhex(value.removeprefix("0x"))
    except ValueError:
        raw = b""
    if len(raw) != 20 or not any(raw):
        raise EncodeError(where, f"{value!r} is not an address")
    return raw


def _check_hops(hops: Sequence[Hop], profit_token: Address) -> None:
    if not 2 <= len(hops) <= MAX_HOPS:
        raise EncodeError("hops", f"{len(hops)} hops; the executor runs 2 to {MAX_HOPS}")
    for k, hop in enumerate(hops):
        _check_hop(f"hops[{k}]", hop)
        after = hops[(k + 1) % len(hops)]
        if hop.token_out.lower() != after.token_in.lower():
            raise EncodeError(
                f"hops[{k}].token_out", f"{hop.token_out} is not what the next hop takes, {after.token_in}"
            )
        if k + 1 < len(hops) and hop.amount_out_wei != after.amount_in_wei:
            raise EncodeError(
                f"hops[{k}].amount_out_wei", f"{hop.amount_out_wei}, but the next hop takes {after.amount_in_wei}"
            )
    if hops[0].token_in.lower() != profit_token.lower():
        raise EncodeError("profit_token", f"{profit_token} is not the cycle's first token {hops[0].token_in}")
    pools = [hop.pool.lower() for hop in hops]
    for k, pool in enumerate(pools):
        if pool in pools[:k]:
            raise EncodeError(f"hops[{k}].pool", f"{pool} is there twice; amounts were quoted on separate states")


def _check_hop(where: str, hop: Hop) -> None:
    if hop.family not in _FAMILIES:
        raise EncodeError(f"{where}.family", f"{hop.family!r} has no operation; known: {', '.join(_FAMILIES)}")
    if (hop.i, hop.j) not in ((0, 1), (1, 0)):
        raise EncodeError(f"{where}.i", f"({hop.i}, {hop.j}) is not a direction of a two-token pool")
    for name in ("pool", "token_in", "token_out"):
        _address(f"{where}.{name}", getattr(hop, name))
    if hop.token_in.lower() == hop.token_out.lower():
        raise EncodeError(f"{where}.token_out", "is the token that goes in")
    for name in ("amount_in_wei", "amount_out_wei"):
        amount = getattr(hop, name)
        if not 0 < amount <= MAX_AMOUNT_WEI:
            raise EncodeError(f"{where}.{name}", f"{amount} is not in 1 … 2^112-1")

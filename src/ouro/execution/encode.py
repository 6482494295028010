"""Plan → calldata of the executor contract. Cycles here; whole plans of many hops in ``encode_dag``.

``program`` has the operations and their bytes; docs/executor.md describes both.
"""

from collections.abc import Sequence

from ouro.execution.program import (
    MAX_AMOUNT_WEI,
    Bribe,
    EncodeError,
    Kind,
    Op,
    PoolKey,
    Program,
    address_bytes,
    decode_program,
    encode_program,
)
from ouro.execution.reverts import classify_revert
from ouro.execution.shapes import executable_families, shape_of
from ouro.protocols.steps import Shape
from ouro.types import Address, Hop

__all__ = [
    "MAX_AMOUNT_WEI",
    "Bribe",
    "EncodeError",
    "Kind",
    "Op",
    "PoolKey",
    "Program",
    "classify_revert",
    "decode_program",
    "encode_plan",
    "encode_program",
    "operations",
]

MAX_HOPS = 6

_SHAPES = frozenset((Shape.PAIR, Shape.CONCENTRATED))


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
    v3 = [k for k, hop in enumerate(hops) if shape_of(hop) is Shape.CONCENTRATED]
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
    if shape_of(hop) is Shape.CONCENTRATED:
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
    if shape_of(hop) not in _SHAPES:
        known = ", ".join(executable_families(_SHAPES))
        raise EncodeError(f"{where}.family", f"{hop.family!r} has no operation; known: {known}")
    if (hop.i, hop.j) not in ((0, 1), (1, 0)):
        raise EncodeError(f"{where}.i", f"({hop.i}, {hop.j}) is not a direction of a two-token pool")
    for name in ("pool", "token_in", "token_out"):
        address_bytes(f"{where}.{name}", getattr(hop, name))
    if hop.token_in.lower() == hop.token_out.lower():
        raise EncodeError(f"{where}.token_out", "is the token that goes in")
    for name in ("amount_in_wei", "amount_out_wei"):
        amount = getattr(hop, name)
        if not 0 < amount <= MAX_AMOUNT_WEI:
            raise EncodeError(f"{where}.{name}", f"{amount} is not in 1 … 2^112-1")

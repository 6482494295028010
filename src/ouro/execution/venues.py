"""Hops that give no credit: how their venue is paid and called, from the family's own description of the swap.

Either the venue pulls its input from the executor, by an approval that ends with the operation, or it holds it
before (``fed``), as pairs do.
"""

from dataclasses import dataclass

from ouro.execution.program import NATIVE, Dialect, EncodeError, Kind, Op
from ouro.protocols.steps import BinSwap, ExchangeCall, ExchangeSwap, SharesSwap, SwapStep, VaultSwap, WrapSwap
from ouro.types import Address, Hop

_DIALECTS = {
    ExchangeCall.INT128: Dialect.INT128,
    ExchangeCall.UINT256: Dialect.UINT256,
    ExchangeCall.INT128_UNDERLYING: Dialect.UNDERLYING,
    ExchangeCall.INT128_TO: Dialect.INT128_TO,
    ExchangeCall.UINT256_TO: Dialect.UINT256_TO,
    ExchangeCall.INT128_RECEIVED: Dialect.INT128_RECEIVED,
    ExchangeCall.UINT256_RECEIVED: Dialect.UINT256_RECEIVED,
    ExchangeCall.SADDLE: Dialect.UINT8,
}


@dataclass(frozen=True, slots=True)
class Venue:
    """One hop's operation without its recipient, and what has to be done before and after it.

    ``fed`` is the address that takes the input before the call; None where the call pulls it. ``names_receiver``:
    the output may go to another pool.
    """

    op: Op
    fed: Address | None
    names_receiver: bool
    before: tuple[Op, ...] = ()
    after: tuple[Op, ...] = ()


def venue_of(where: str, step: SwapStep, hop: Hop, wrapped_native: Address) -> Venue:
    """The operation of a hop through such a venue. Raises ``EncodeError`` naming what the executor can't do."""
    match step:
        case ExchangeSwap():
            return _exchange(where, step, hop, wrapped_native)
        case VaultSwap(version=2):
            op = Op(
                Kind.VAULT,
                step.vault.lower(),
                amount_wei=hop.amount_in_wei,
                token=hop.token_in,
                pool_id=step.pool,
                token_out=hop.token_out,
            )
            return Venue(op, None, names_receiver=True)
        case BinSwap():
            pool = step.pool.lower()
            return Venue(Op(Kind.BINS, pool, step.swap_for_y), pool, names_receiver=True)
        case SharesSwap():
            vault = step.vault.lower()
            op = Op(Kind.ERC4626, vault, not step.deposit, hop.amount_in_wei, None, hop.token_in)
            return Venue(op, None, names_receiver=True)
        case WrapSwap():
            return _wrap(where, step, hop)
    raise EncodeError(f"{where}.family", f"{hop.family!r} has no operation of this shape: {type(step).__name__}")


def _exchange(where: str, step: ExchangeSwap, hop: Hop, wrapped: Address) -> Venue:
    dialect = _DIALECTS.get(step.call)
    if dialect is None:
        raise EncodeError(f"{where}.family", f"{hop.family!r}: the executor has no {step.call}")
    if (step.native_in or step.native_out) and not wrapped:
        raise EncodeError("places.wrapped_native", "is needed where the native coin is paid or left")
    if step.native_in and dialect.is_prepaid:
        raise EncodeError(f"{where}.family", f"{hop.family!r}: the native coin can't be sent before {step.call}")
    token = None if dialect.is_prepaid else NATIVE if step.native_in else hop.token_in
    op = Op(
        Kind.EXCHANGE,
        step.pool.lower(),
        amount_wei=hop.amount_in_wei,
        token=token,
        dialect=dialect,
        coins=(step.i, step.j),
    )
    before = (Op(Kind.UNWRAP, amount_wei=hop.amount_in_wei, token=wrapped),) if step.native_in else ()
    after = (Op(Kind.WRAP, amount_wei=hop.amount_out_wei, token=wrapped),) if step.native_out else ()
    fed = step.pool.lower() if dialect.is_prepaid else None
    return Venue(op, fed, dialect.names_receiver and not step.native_out, before, after)


def _wrap(where: str, step: WrapSwap, hop: Hop) -> Venue:
    contract = step.contract.lower()
    unwraps = step.signature == "unwrap(uint256)"
    if step.native_in or not (unwraps or step.signature == "wrap(uint256)"):
        raise EncodeError(f"{where}.family", f"{hop.family!r}: the executor has no {step.signature}")
    if unwraps and contract != hop.token_in:
        raise EncodeError(f"{where}.pool", f"{contract} unwraps {hop.token_in}, which is not itself")
    return Venue(
        Op(Kind.SHARES, contract, unwraps, hop.amount_in_wei, None, hop.token_in), None, names_receiver=False
    )

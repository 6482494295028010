"""Reading Solidly pools (Velodrome V2, Aerodrome V1) at a pinned block: the pool's own words, fee and pause of its
factory."""

from collections.abc import Sequence

import msgspec

from ouro.chain.rpc import Caller
from ouro.hashing import selector
from ouro.market.creation import NewPool
from ouro.market.multicall import Read, read_many, uint_word
from ouro.market.reader import PinnedBlock
from ouro.market.shapes import Garbage, answer_words, require_tokens, unsigned
from ouro.protocols.solidly import SolidlyState
from ouro.types import Address

# The pools are minimal proxies: each call costs a delegation more.
_CALLS = (
    (selector("token0()"), 8_000),
    (selector("token1()"), 8_000),
    (selector("stable()"), 8_000),
    (selector("metadata()"), 25_000),
    (selector("getReserves()"), 12_000),
    (selector("reserve0CumulativeLast()"), 8_000),
    (selector("reserve1CumulativeLast()"), 8_000),
    (selector("factory()"), 8_000),
)
_GET_FEE = selector("getFee(address,bool)")
_IS_PAUSED = selector("isPaused()")


async def read(
    reader: Caller, multicall: Address, pools: Sequence[NewPool], block: PinnedBlock
) -> list[SolidlyState | Garbage]:
    """State or the reason why there is none, per pool in order."""
    reads: list[Read] = []
    for pool in pools:
        reads += [Read(pool.address, data, gas) for data, gas in _CALLS]
        reads += _fee_reads(pool.address, pool.stable, pool.factory)
    answers = await read_many(reader, multicall, reads, block)
    size = len(_CALLS) + 2
    return [_state(pool, answers[k * size : (k + 1) * size]) for k, pool in enumerate(pools)]


def fee_reads(state: SolidlyState, pool: NewPool) -> list[Read]:
    """The calls that tell again what no log of the pool tells: its fee, and whether its factory has paused."""
    return _fee_reads(state.address, state.stable, pool.factory)


def with_fee(state: SolidlyState, answers: Sequence[bytes | None]) -> SolidlyState:
    """The state with the answers of ``fee_reads``. Raises ``Garbage``."""
    fee_bps, paused = _told(answers)
    if (fee_bps, paused) == (state.fee_bps, state.paused):
        return state
    return msgspec.structs.replace(state, fee_bps=fee_bps, paused=paused)


def _fee_reads(pool: Address, stable: bool, factory: Address) -> list[Read]:
    data = _GET_FEE + uint_word(int(pool, 16)) + uint_word(int(stable))
    return [Read(factory, data, 20_000), Read(factory, _IS_PAUSED, 8_000)]


def _told(answers: Sequence[bytes | None]) -> tuple[int, bool]:
    fee, paused = (answer_words(a, 1, call)[0] for a, call in zip(answers, ("getFee()", "isPaused()"), strict=True))
    if fee >= 10_000:
        raise Garbage(f"the factory's fee for it is {fee} of 10000")
    return fee, bool(unsigned(paused, 1, "isPaused"))


def _state(pool: NewPool, answers: Sequence[bytes | None]) -> SolidlyState | Garbage:
    token0, token1, stable, metadata, reserves, cumulative0, cumulative1, factory = answers[: len(_CALLS)]
    try:
        require_tokens(token0, token1, (pool.token0, pool.token1))
        if answer_words(stable, 1, "stable()") != [int(pool.stable)]:
            raise Garbage("stable() is not what the factory announced")
        if answer_words(factory, 1, "factory()") != [int(pool.factory, 16)]:
            raise Garbage("factory() is not the factory that announced it")
        unit0, unit1 = answer_words(metadata, 7, "metadata()")[:2]
        reserve0, reserve1, timestamp = answer_words(reserves, 3, "getReserves()")
        fee_bps, paused = _told(answers[len(_CALLS) :])
        return SolidlyState(
            address=pool.address,
            tokens=(pool.token0, pool.token1),
            stable=pool.stable,
            unit0=unit0,
            unit1=unit1,
            reserve0=reserve0,
            reserve1=reserve1,
            fee_bps=fee_bps,
            paused=paused,
            block_timestamp_last=timestamp,
            reserve0_cumulative=answer_words(cumulative0, 1, "reserve0CumulativeLast()")[0],
            reserve1_cumulative=answer_words(cumulative1, 1, "reserve1CumulativeLast()")[0],
        )
    except Garbage as garbage:
        return garbage

"""Reading Uniswap-V2-type pairs at a pinned block; the fee of the kind that sets it per pair as well."""

from collections.abc import Sequence

import msgspec

from ouro.chain.rpc import Caller
from ouro.hashing import selector
from ouro.market.creation import NewPool
from ouro.market.multicall import Read, read_many
from ouro.market.reader import PinnedBlock
from ouro.market.shapes import Garbage, answer_words, require_tokens, unsigned
from ouro.protocols.swapr import SwaprState
from ouro.protocols.uniswap_v2 import UniswapV2State
from ouro.types import Address

_SWAP_FEE = selector("swapFee()")
_PPM_PER_BPS = 100

_CALLS = (
    (selector("token0()"), 4_000),
    (selector("token1()"), 4_000),
    (selector("getReserves()"), 5_000),
    (selector("price0CumulativeLast()"), 4_000),
    (selector("price1CumulativeLast()"), 4_000),
)


async def read(
    reader: Caller, multicall: Address, pools: Sequence[NewPool], block: PinnedBlock
) -> list[UniswapV2State | Garbage]:
    """State or the reason why there is none, per pool in order."""
    calls = [_calls(pool) for pool in pools]
    answers = iter(await read_many(reader, multicall, [read for reads in calls for read in reads], block))
    return [_state(pool, [next(answers) for _ in reads]) for pool, reads in zip(pools, calls, strict=True)]


def _calls(pool: NewPool) -> list[Read]:
    reads = [Read(pool.address, data, gas) for data, gas in _CALLS]
    return [*reads, Read(pool.address, _SWAP_FEE, 4_000)] if pool.family == "swapr" else reads


def fee_reads(state: UniswapV2State, pool: NewPool) -> list[Read]:
    """The call that tells a pair's own fee."""
    return [Read(state.address, _SWAP_FEE, 4_000)]


def with_fee(state: UniswapV2State, answers: Sequence[bytes | None]) -> UniswapV2State:
    """The state with the fee of ``fee_reads``. Raises ``Garbage``."""
    fee_ppm = _told_fee(answers[0])
    return state if fee_ppm == state.fee_ppm else msgspec.structs.replace(state, fee_ppm=fee_ppm)


def _told_fee(answer: bytes | None) -> int:
    return unsigned(answer_words(answer, 1, "swapFee()")[0], 32, "swapFee") * _PPM_PER_BPS


def _state(pool: NewPool, answers: Sequence[bytes | None]) -> UniswapV2State | Garbage:
    token0, token1, reserves, cumulative0, cumulative1 = answers[:5]
    own_fee = pool.family == "swapr"
    try:
        require_tokens(token0, token1, (pool.token0, pool.token1))
        reserve0, reserve1, timestamp = answer_words(reserves, 3, "getReserves()")
        return (SwaprState if own_fee else UniswapV2State)(
            address=pool.address,
            tokens=(pool.token0, pool.token1),
            reserve0=unsigned(reserve0, 112, "reserve0"),
            reserve1=unsigned(reserve1, 112, "reserve1"),
            fee_ppm=_told_fee(answers[5]) if own_fee else pool.fee_ppm,
            block_timestamp_last=unsigned(timestamp, 32, "blockTimestampLast"),
            price0_cumulative=answer_words(cumulative0, 1, "price0CumulativeLast()")[0],
            price1_cumulative=answer_words(cumulative1, 1, "price1CumulativeLast()")[0],
        )
    except Garbage as garbage:
        return garbage

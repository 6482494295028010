"""Reading Uniswap-V2-type pairs at a pinned block."""

from collections.abc import Sequence

from ouro.chain.rpc import Caller
from ouro.hashing import selector
from ouro.market.creation import NewPool
from ouro.market.multicall import Read, read_many
from ouro.market.reader import PinnedBlock
from ouro.market.shapes import Garbage, answer_words, require_tokens, unsigned
from ouro.protocols.uniswap_v2 import UniswapV2State
from ouro.types import Address

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
    reads = [Read(pool.address, data, gas) for pool in pools for data, gas in _CALLS]
    answers = await read_many(reader, multicall, reads, block)
    size = len(_CALLS)
    return [_state(pool, answers[k * size : (k + 1) * size]) for k, pool in enumerate(pools)]


def _state(pool: NewPool, answers: Sequence[bytes | None]) -> UniswapV2State | Garbage:
    token0, token1, reserves, cumulative0, cumulative1 = answers
    try:
        require_tokens(token0, token1, (pool.token0, pool.token1))
        reserve0, reserve1, timestamp = answer_words(reserves, 3, "getReserves()")
        return UniswapV2State(
            address=pool.address,
            tokens=(pool.token0, pool.token1),
            reserve0=unsigned(reserve0, 112, "reserve0"),
            reserve1=unsigned(reserve1, 112, "reserve1"),
            fee_ppm=pool.fee_ppm,
            block_timestamp_last=unsigned(timestamp, 32, "blockTimestampLast"),
            price0_cumulative=answer_words(cumulative0, 1, "price0CumulativeLast()")[0],
            price1_cumulative=answer_words(cumulative1, 1, "price1CumulativeLast()")[0],
        )
    except Garbage as garbage:
        return garbage

"""Reading Uniswap V3 pools and dialects: slot0, liquidity, last observation, the whole tick map.

In three rounds, because each asks for what the one before has found: head values; bitmap words and the observation;
the ticks whose bits are set.
"""

from dataclasses import dataclass
from typing import Any

from ouro.hashing import selector
from ouro.protocols.creation import NewPool
from ouro.protocols.reads import Garbage, Read, Script, answer_words, require_tokens, signed, uint_word, unsigned
from ouro.protocols.tick_maps import bitmap_reads, bitmap_ticks, tick_reads, tick_table
from ouro.protocols.v3_state import Observation
from ouro.types import Address

_HEAD_CALLS = (
    (selector("token0()"), 2_000),
    (selector("token1()"), 2_000),
    (selector("fee()"), 2_000),
    (selector("tickSpacing()"), 2_000),
    (selector("slot0()"), 6_000),
    (selector("liquidity()"), 4_000),
)
_FEE = selector("fee()")
_OBSERVATIONS = selector("observations(uint256)")
_TICK_BITMAP = selector("tickBitmap(int16)")
_TICKS = selector("ticks(int24)")
_OBSERVATION_GAS = 5_000
_TICK_GAS = 13_000
_MODULE_FEE_GAS = 60_000


@dataclass(frozen=True, slots=True)
class Getters:
    """How the getters of a dialect differ. ``fee_protocol_bits`` None: slot0 has no protocol fee.

    ``fee_told``: the pool's fee is what ``fee()`` says at the block, not what its factory announced.
    """

    fee_protocol_bits: int | None = 8
    tick_words: int = 8
    fee_told: bool = False


def fields(pool: NewPool, getters: Getters) -> Script[dict[str, Any]]:
    """Every field of the state but ``address`` and ``tokens``. Raises ``Garbage``."""
    answers = yield [Read(pool.address, data, gas) for data, gas in _HEAD_CALLS]
    token0, token1, fee, spacing, slot0, liquidity = answers
    require_tokens((token0, token1), pool.tokens)
    if not getters.fee_told:
        _require(fee, pool.fee_ppm, "fee()")
    _require(spacing, pool.tick_spacing, "tickSpacing()")
    head = _slot0(slot0, getters.fee_protocol_bits)
    found: dict[str, Any] = {
        "fee_ppm": told_fee(fee),
        "tick_spacing": pool.tick_spacing,
        "liquidity": unsigned(answer_words(liquidity, 1, "liquidity()")[0], 128, "liquidity"),
        **head,
    }
    if not head["sqrt_price_x96"]:
        return found
    latest = _OBSERVATIONS + uint_word(head["observation_index"])
    observation, *bitmap = yield [
        Read(pool.address, latest, _OBSERVATION_GAS),
        *bitmap_reads(pool.address, _TICK_BITMAP, pool.tick_spacing),
    ]
    found["observation"] = _observation(answer_words(observation, 4, "observations()"))
    ticks = bitmap_ticks(bitmap, pool.tick_spacing, "tickBitmap")
    answers = yield tick_reads(pool.address, _TICKS, ticks, _TICK_GAS)
    found["ticks"] = tick_table(ticks, answers, getters.tick_words)
    return found


def fee_again(pool: Address) -> Script[int]:
    """The fee of a dialect whose factory sets it."""
    [answer] = yield [Read(pool, _FEE, _MODULE_FEE_GAS)]
    return told_fee(answer)


def told_fee(answer: bytes | None) -> int:
    """What ``fee()`` says."""
    return unsigned(answer_words(answer, 1, "fee()")[0], 24, "fee")


def _require(answer: bytes | None, announced: int, call: str) -> None:
    [value] = answer_words(answer, 1, call)
    if value != announced:
        raise Garbage(f"{call} is {value}, the factory announced {announced}")


def _slot0(answer: bytes | None, fee_protocol_bits: int | None) -> dict[str, int]:
    found = answer_words(answer, 6 if fee_protocol_bits is None else 7, "slot0()")
    price, tick, index, cardinality, cardinality_next = found[:5]
    return {
        "sqrt_price_x96": unsigned(price, 160, "sqrtPriceX96"),
        "tick": signed(tick, 24, "tick"),
        "observation_index": unsigned(index, 16, "observationIndex"),
        "observation_cardinality": unsigned(cardinality, 16, "observationCardinality"),
        "observation_cardinality_next": unsigned(cardinality_next, 16, "observationCardinalityNext"),
        "fee_protocol": 0 if fee_protocol_bits is None else unsigned(found[5], fee_protocol_bits, "feeProtocol"),
    }


def _observation(found: list[int]) -> Observation:
    return Observation(
        timestamp=unsigned(found[0], 32, "observation.blockTimestamp"),
        tick_cumulative=signed(found[1], 56, "observation.tickCumulative"),
        seconds_per_liquidity_x128=unsigned(found[2], 160, "observation.secondsPerLiquidity"),
    )

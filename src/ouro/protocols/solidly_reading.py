"""Reading Solidly pools (Velodrome V2, Aerodrome V1): the pool's own words, fee and pause of its factory."""

from collections.abc import Sequence
from typing import Any

from ouro.hashing import selector
from ouro.protocols.creation import NewPool
from ouro.protocols.listings import PAIRS, POOLS, ListKind
from ouro.protocols.reads import Answers, Garbage, Read, Script, answer_words, require_tokens, uint_word, unsigned
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


def _told_curve(answers: Sequence[bytes | None]) -> dict[str, bool]:
    [flag] = answer_words(answers[0], 1, "stable()")
    if flag > 1:
        raise Garbage(f"stable() is {flag}, neither true nor false")
    return {"stable": bool(flag)}


LIST = ListKind((POOLS, PAIRS), (selector("stable()"),), _told_curve)
"""How factories list their pools."""


def fields(pool: NewPool) -> Script[dict[str, Any]]:
    """Every field of the state but ``address`` and ``tokens``, in one round. Raises ``Garbage``."""
    answers = yield [
        *(Read(pool.address, data, gas) for data, gas in _CALLS),
        *_factory_reads(pool.address, pool.stable, pool.factory),
    ]
    token0, token1, stable, metadata, reserves, cumulative0, cumulative1, factory = answers[: len(_CALLS)]
    require_tokens((token0, token1), pool.tokens)
    if answer_words(stable, 1, "stable()") != [int(pool.stable)]:
        raise Garbage("stable() is not what the factory announced")
    if answer_words(factory, 1, "factory()") != [int(pool.factory, 16)]:
        raise Garbage("factory() is not the factory that announced it")
    unit0, unit1 = answer_words(metadata, 7, "metadata()")[:2]
    reserve0, reserve1, timestamp = answer_words(reserves, 3, "getReserves()")
    fee_bps, paused = _terms(answers[len(_CALLS) :])
    return {
        "stable": pool.stable,
        "unit0": unit0,
        "unit1": unit1,
        "reserve0": reserve0,
        "reserve1": reserve1,
        "fee_bps": fee_bps,
        "paused": paused,
        "block_timestamp_last": timestamp,
        "reserve0_cumulative": answer_words(cumulative0, 1, "reserve0CumulativeLast()")[0],
        "reserve1_cumulative": answer_words(cumulative1, 1, "reserve1CumulativeLast()")[0],
    }


def terms(pool: Address, stable: bool, factory: Address) -> Script[tuple[int, bool]]:
    """Fee in 1/10,000 and pause: what no log of the pool tells."""
    answers = yield _factory_reads(pool, stable, factory)
    return _terms(answers)


def _factory_reads(pool: Address, stable: bool, factory: Address) -> list[Read]:
    data = _GET_FEE + uint_word(int(pool, 16)) + uint_word(int(stable))
    return [Read(factory, data, 20_000), Read(factory, _IS_PAUSED, 8_000)]


def _terms(answers: Answers) -> tuple[int, bool]:
    fee, paused = (answer_words(a, 1, call)[0] for a, call in zip(answers, ("getFee()", "isPaused()"), strict=True))
    if fee >= 10_000:
        raise Garbage(f"the factory's fee for it is {fee} of 10000")
    return fee, bool(unsigned(paused, 1, "isPaused"))

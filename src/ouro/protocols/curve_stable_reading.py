"""How StableSwap pools are found and read: getters of every generation, asked together; what answers is taken.

Curve's factories announce a pool without its address, or with the address alone; registries list them. A pool read
here must price as its own view does (``PROBES``): variants that round otherwise, lend their coins or tax them are
refused by that, not by a list of addresses.
"""

from collections.abc import Sequence
from typing import TypeVar

import msgspec

from ouro.hashing import selector
from ouro.protocols.base import QuoteError
from ouro.protocols.creation import Factory, NewPool
from ouro.protocols.curve_stable_math import EACH, PLUS_ONE, PRODUCT, exchange, scaled, view
from ouro.protocols.curve_stable_state import (
    MAX_A,
    MAX_BALANCE,
    MAX_RATE,
    CurveMetaState,
    SaddleState,
    StableState,
)
from ouro.protocols.reads import Answers, Garbage, Read, Script, answer_words, uint_word, unsigned, words
from ouro.types import Address

S = TypeVar("S", bound=StableState)
MAX_COINS = 8
PROBES = (10**6, 10**4, 3)
"""Shares of the first coin's balance whose quotes are compared with the pool's own view."""
M = TypeVar("M", bound=CurveMetaState)
_LISTED_AT_ONCE = 200
_GAS = 60_000
_RATES_GAS = 400_000


def call(target: Address, signature: str, *arguments: int, gas: int = _GAS) -> Read:
    """A getter with integer arguments."""
    return Read(target, selector(signature) + b"".join(uint_word(value) for value in arguments), gas)


def word_or(answer: bytes | None, otherwise: int | None) -> int | None:
    """The one word of an answer, or ``otherwise`` where there is none."""
    return int.from_bytes(answer) if answer is not None and len(answer) == 32 else otherwise


def _needed(answer: bytes | None, name: str, most: int) -> int:
    value = answer_words(answer, 1, name)[0]
    if value > most:
        raise Garbage(f"{name} = {value} is beyond {most}")
    return value


def _address(value: int) -> Address:
    return "0x" + unsigned(value, 160, "coin").to_bytes(20).hex()


def _either(answers: Answers, k: int) -> bytes | None:
    """The answer to one of two spellings of the same getter, which follow each other."""
    return answers[2 * k] if answers[2 * k] not in (None, b"") else answers[2 * k + 1]


def list_pools(dex: Factory, known: int, kind: str) -> Script[Sequence[NewPool]]:
    """Pools of a Curve factory (``pool_count``, ``pool_list``) from number ``known`` on."""
    [count] = yield [call(dex.factory, "pool_count()")]
    most = min(_needed(count, "pool_count()", 1 << 32), known + _LISTED_AT_ONCE)
    answers = yield [call(dex.factory, "pool_list(uint256)", k) for k in range(known, most)]
    found = (_address(answer_words(answer, 1, "pool_list(uint256)")[0]) for answer in answers)
    return [NewPool(dex.name, dex.family, address, (), 0, factory=dex.factory, kind=kind) for address in found]


_RAMP = ("initial_A()", "future_A()", "initial_A_time()", "future_A_time()")
_OTHERS = (
    *_RAMP,
    "fee()",
    "admin_fee()",
    "A()",
    "A_precise()",
    "is_killed()",
    "offpeg_fee_multiplier()",
    "lp_token()",
    "token()",
    "totalSupply()",
    "base_pool()",
    "BASE_POOL()",
)


def read_curve(kind: type[S], pool: NewPool) -> Script[S]:
    """A pool of Curve's own contracts. Two rounds, three for a meta-pool."""
    asked = [
        call(pool.address, f"{name}({index})", k)
        for name in ("coins", "balances")
        for k in range(MAX_COINS)
        for index in ("uint256", "int128")
    ]
    answers = yield [*asked, *(call(pool.address, name) for name in _OTHERS)]
    tokens: list[Address] = []
    for k in range(MAX_COINS):
        value = word_or(_either(answers, k), None)
        if not value:
            break
        tokens.append(_address(value))
    if len(tokens) < 2 or len(set(tokens)) != len(tokens):
        raise Garbage(f"the pool names {len(tokens)} coins")
    if pool.tokens and tuple(tokens) != tuple(pool.tokens):
        raise Garbage(f"its coins are {tokens}, the factory announced {list(pool.tokens)}")
    balances = tuple(_needed(_either(answers, MAX_COINS + k), "balances", MAX_BALANCE) for k in range(len(tokens)))
    rest = dict(zip(_OTHERS, answers[4 * MAX_COINS :], strict=True))
    ramp = [_needed(rest[name], name, MAX_A if k < 2 else 1 << 62) for k, name in enumerate(_RAMP)]
    lp = word_or(rest["lp_token()"], None) or word_or(rest["token()"], None)
    base = word_or(rest["base_pool()"], None) or word_or(rest["BASE_POOL()"], None)
    second = yield [
        *(call(token, "decimals()") for token in tokens),
        call(pool.address, "stored_rates()", gas=_RATES_GAS),
        call(_address(lp) if lp else pool.address, "totalSupply()"),
        *_base_reads(pool.address, _address(base) if base else pool.address),
    ]
    rates = _rates(kind, second, len(tokens))
    state = kind(
        address=pool.address,
        tokens=tuple(tokens),
        rates=rates,
        balances_wei=balances,
        initial_a=ramp[0],
        future_a=ramp[1],
        initial_a_time=ramp[2],
        future_a_time=ramp[3],
        fee=_needed(rest["fee()"], "fee()", 10**10),
        admin_fee=word_or(rest["admin_fee()"], 5 * 10**9) or 0,
        off_peg=word_or(rest["offpeg_fee_multiplier()"], 0) or 0,
        supply=word_or(second[len(tokens) + 1], 0) or 0,
        a_precision=100 if word_or(rest["A_precise()"], None) else 1,
        rounding=EACH,
        killed=bool(word_or(rest["is_killed()"], 0)),
    )
    if isinstance(state, CurveMetaState):
        if not base:
            raise Garbage("the pool names no base pool")
        state = with_base(msgspec.structs.replace(state, base=_address(base)), second[-3:])
    return (yield from _proven(state, word_or(rest["A_precise()"], None) or word_or(rest["A()"], None)))


def _base_reads(pool: Address, base: Address) -> list[Read]:
    return [
        call(pool, "base_virtual_price()"),
        call(pool, "base_cache_updated()"),
        call(base, "get_virtual_price()", gas=_RATES_GAS),
    ]


def with_base(state: M, answers: Answers) -> M:
    """A meta-pool with its base pool's virtual price, as the pool remembers it and as it is."""
    cached, updated, live = (word_or(answer, 0) or 0 for answer in answers)
    if not 0 < live <= MAX_RATE:
        raise Garbage("its base pool tells no virtual price")
    return msgspec.structs.replace(state, rates=(*state.rates[:-1], live), vp_cached=cached, vp_updated=updated)


def _rates(kind: type[StableState], answers: Answers, n: int) -> tuple[int, ...]:
    """``stored_rates`` (an array, dynamic in NG) where the pool has it, else those of the decimals."""
    told = words(answers[n] or b"")
    if len(told) == n + 2 and told[:2] == [32, n]:
        told = told[2:]
    if len(told) != n or kind is CurveMetaState:
        digits = [_needed(answers[k], "decimals()", 18) for k in range(n)]
        told = [10 ** (36 - one) for one in digits]
    for rate in told:
        if not 0 < rate <= MAX_RATE:
            raise Garbage(f"a rate of {rate}")
    return tuple(told)


def _proven(state: S, amp: int | None) -> Script[S]:
    """The state with the rounding that reproduces the pool's own view; ``amp`` is A at this block.

    An empty or stopped pool has nothing to compare: it is taken as it is.
    """
    if not all(state.balances_wei) or state.killed:
        return state
    if not amp:
        raise Garbage("the pool does not tell its A")
    amounts = [held for share in PROBES if (held := state.balances_wei[0] // share)]
    answers = yield [
        call(state.address, "get_dy(int128,int128,uint256)", 0, 1, held, gas=_RATES_GAS) for held in amounts
    ]
    told = [word_or(answer, None) for answer in answers]
    first = (PRODUCT, EACH, PLUS_ONE) if state.off_peg else (EACH, PRODUCT, PLUS_ONE)
    for rounding in first:
        tried = msgspec.structs.replace(state, rounding=rounding)
        if told == [_viewed(tried, amp, held) for held in amounts]:
            return tried
    raise Garbage("its get_dy is not that of a StableSwap pool known here: lending coins, or another fee")


def _viewed(state: StableState, amp: int, amount: int) -> int | None:
    xp = scaled(state.rates, state.balances_wei)
    try:
        if state.fee_after_conversion:
            return view(state.form, state.rates, xp, amp, state.fees, 0, 1, amount)
        return exchange(state.form, state.rates, xp, amp, state.fees, 0, 1, amount).out
    except QuoteError:
        return None


def refresh_curve(state: S) -> Script[S]:
    """Balances, rates and kill switch in one round (a meta-pool's base price too)."""
    n = len(state.tokens)
    meta = isinstance(state, CurveMetaState)
    base = state.base if isinstance(state, CurveMetaState) else ""
    answers = yield [
        *(call(state.address, f"balances({index})", k) for k in range(n) for index in ("uint256", "int128")),
        call(state.address, "is_killed()"),
        call(state.address, "stored_rates()", gas=_RATES_GAS),
        *(_base_reads(state.address, base or state.address) if meta else ()),
    ]
    balances = tuple(_needed(_either(answers, k), "balances", MAX_BALANCE) for k in range(n))
    told = words(answers[2 * n + 1] or b"")[-n:]
    rates = tuple(told) if len(told) == n and not meta else state.rates
    if not all(0 < rate <= MAX_RATE for rate in rates):
        raise Garbage(f"rates {rates}")
    killed = bool(word_or(answers[2 * n], 0))
    fresh = msgspec.structs.replace(state, balances_wei=balances, rates=rates, killed=killed)
    if isinstance(fresh, CurveMetaState):
        fresh = with_base(fresh, answers[-3:])
    return state if fresh == state else fresh


def read_saddle(pool: NewPool) -> Script[SaddleState]:
    """A pool of the Solidity port: ``swapStorage`` has all but coins and balances."""
    answers = yield [
        call(pool.address, "swapStorage()"),
        call(pool.address, "paused()"),
        *(call(pool.address, "getToken(uint8)", k) for k in range(MAX_COINS)),
        *(call(pool.address, "getTokenBalance(uint8)", k) for k in range(MAX_COINS)),
    ]
    found = answer_words(answers[0], 7, "swapStorage()")
    tokens = [_address(value) for answer in answers[2 : 2 + MAX_COINS] if (value := word_or(answer, None))]
    if len(tokens) < 2:
        raise Garbage(f"the pool names {len(tokens)} coins")
    second = yield [*(call(token, "decimals()") for token in tokens), call(_address(found[6]), "totalSupply()")]
    digits = [_needed(answer, "decimals()", 18) for answer in second[:-1]]
    balances = answers[2 + MAX_COINS : 2 + MAX_COINS + len(tokens)]
    return SaddleState(
        address=pool.address,
        tokens=tuple(tokens),
        rates=tuple(10 ** (36 - one) for one in digits),
        balances_wei=tuple(_needed(answer, "getTokenBalance", MAX_BALANCE) for answer in balances),
        initial_a=found[0],
        future_a=found[1],
        initial_a_time=found[2],
        future_a_time=found[3],
        fee=found[4],
        admin_fee=found[5],
        supply=_needed(second[-1], "totalSupply()", 1 << 255),
        killed=bool(word_or(answers[1], 0)),
    )


def refresh_saddle(state: SaddleState) -> Script[SaddleState]:
    """Balances and the pause in one round."""
    n = len(state.tokens)
    asked = [call(state.address, "getTokenBalance(uint8)", k) for k in range(n)]
    *answers, paused = yield [*asked, call(state.address, "paused()")]
    balances = tuple(_needed(answer, "getTokenBalance", MAX_BALANCE) for answer in answers)
    fresh = msgspec.structs.replace(state, balances_wei=balances, killed=bool(word_or(paused, 0)))
    return state if fresh == state else fresh

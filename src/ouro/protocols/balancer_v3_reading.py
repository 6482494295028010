"""Reading pools of Balancer's third Vault, and proving at the pool itself that its curve is the one we know.

Generations differ in rounding and least balances; so a pool's own ``onSwap`` is asked for a few swaps when the pool
is read, and one that answers otherwise than predicted, or has hooks on swaps, is refused.
"""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from eth_abi.abi import encode

from ouro.hashing import selector
from ouro.protocols.balancer_math import ONE
from ouro.protocols.balancer_v3_state import MAX_BALANCE, MAX_RATE, BalancerV3StableState, BalancerV3WeightedState
from ouro.protocols.balancer_v3_vault import Curve, settled
from ouro.protocols.base import QuoteError
from ouro.protocols.creation import NewPool
from ouro.protocols.probes import Probe
from ouro.protocols.reads import Garbage, Read, Script, account, answer_words, uint_word, unsigned, words
from ouro.types import Address

MAX_TOKENS = 8
_VAULT = selector("getVault()")
_WEIGHTS = selector("getNormalizedWeights()")
_LEAST = selector("getMinTokenBalances()")
_AMP = selector("getAmplificationState()")
_AMP_NOW = selector("getAmplificationParameter()")
_INFO = selector("getPoolTokenInfo(address)")
_CONFIG = selector("getPoolConfig(address)")
_HOOKS = selector("getHooksConfig(address)")
_RATES = selector("getPoolTokenRates(address)")
_PAUSED = selector("isPoolPaused(address)")
_VAULT_PAUSED = selector("isVaultPaused()")
_LEAST_TRADE = selector("getMinimumTradeAmount()")
_ON_SWAP = selector("onSwap((uint8,uint256,uint256[],uint256,uint256,address,bytes))")
_NOBODY = "0x" + "00" * 20
_GAS, _MUCH_GAS = 100_000, 1_000_000
_CONFIG_WORDS, _HOOK_WORDS = 13, 11
_DYNAMIC_FEE, _BEFORE_SWAP, _AFTER_SWAP = 3, 4, 5
_PROBED_PARTS = (1_000_000, 1_003, 7)
CurveOf = Callable[[Any, int], Curve]


def weighted(pool: NewPool, curve_of: CurveOf) -> Script[BalancerV3WeightedState]:
    """In four rounds."""
    answers = yield [Read(pool.address, data, _GAS) for data in (_VAULT, _WEIGHTS, _LEAST)]
    shared = yield from _shared(pool.address, account(answers[0], "getVault()"))
    n = len(shared["tokens"])
    state = BalancerV3WeightedState(
        weights=_numbers(answers[1], "getNormalizedWeights()", n),
        least_balances=_numbers(answers[2], "getMinTokenBalances()", n),
        **shared,
    )
    yield from _try(state, curve_of)
    return state


def stable(pool: NewPool, curve_of: CurveOf) -> Script[BalancerV3StableState]:
    """In four rounds."""
    answers = yield [Read(pool.address, data, _GAS) for data in (_VAULT, _AMP, _AMP_NOW)]
    shared = yield from _shared(pool.address, account(answers[0], "getVault()"))
    start, end, start_time, end_time, precision = answer_words(answers[1], 5, "getAmplificationState()")
    if precision != 1_000:
        raise Garbage(f"its amplification has the precision {precision}, 1000 is expected")
    state = BalancerV3StableState(
        amp_start=start, amp_end=end, amp_start_time=start_time, amp_end_time=end_time, **shared
    )
    now, _, _ = answer_words(answers[2], 3, "getAmplificationParameter()")
    yield from _try(msgspec.structs.replace(state, amp_end=now, amp_start_time=0, amp_end_time=0), curve_of)
    return state


def refreshed(state: Any) -> Script[Any]:
    """``state`` with the balances, rates, fees and pauses of now."""
    return _refreshed(state)


def _refreshed(state: Any) -> Script[Any]:
    answers = yield _vault_reads(state.address, state.manager)
    fresh = _told(answers, state.tokens)
    changed = {name: value for name, value in fresh.items() if getattr(state, name) != value}
    return msgspec.structs.replace(state, **changed) if changed else state


def _vault_reads(pool: Address, manager: Address) -> list[Read]:
    who = uint_word(int(pool, 16))
    calls = (_INFO + who, _CONFIG + who, _RATES + who, _PAUSED + who, _VAULT_PAUSED)
    return [Read(manager, data, _MUCH_GAS) for data in calls]


def _shared(pool: Address, manager: Address) -> Script[dict[str, Any]]:
    who = uint_word(int(pool, 16))
    answers = yield [
        *_vault_reads(pool, manager),
        Read(manager, _HOOKS + who, _MUCH_GAS),
        Read(manager, _LEAST_TRADE, _GAS),
    ]
    hooks = answer_words(answers[5], _HOOK_WORDS, "getHooksConfig()")
    if any(hooks[k] for k in (_DYNAMIC_FEE, _BEFORE_SWAP, _AFTER_SWAP)):
        raise Garbage(f"its hook 0x{hooks[-1]:040x} has a say in swaps")
    tokens = _tokens(answers[0])
    return {
        "address": pool,
        "manager": manager,
        "tokens": tokens,
        "least_trade": answer_words(answers[6], 1, "getMinimumTradeAmount()")[0],
        **_told(answers[:5], tokens),
    }


def _tokens(answer: bytes | None) -> tuple[Address, ...]:
    lists = _lists(answer, 4, "getPoolTokenInfo()", widths=(1, 3, 1, 1))
    return tuple("0x" + unsigned(word, 160, "token").to_bytes(20).hex() for word in lists[0])


def _told(answers: Sequence[bytes | None], tokens: tuple[Address, ...]) -> dict[str, Any]:
    """Everything that swaps, fees, rates and pauses change."""
    info = _lists(answers[0], 4, "getPoolTokenInfo()", widths=(1, 3, 1, 1))
    if [int(token, 16) for token in tokens] != info[0]:
        raise Garbage("getPoolTokenInfo() names other tokens than before")
    config = answer_words(answers[1], _CONFIG_WORDS, "getPoolConfig()")
    registered, initialized, _, rescued = config[9:]
    if not registered or not initialized:
        raise Garbage("the Vault does not know the pool, or it is empty yet")
    scaling, rates = _lists(answers[2], 2, "getPoolTokenRates()", widths=(1, 1))
    paused = answer_words(answers[3], 1, "isPoolPaused()")[0] or answer_words(answers[4], 1, "isVaultPaused()")[0]
    if len({len(info[2]), len(info[3]), len(info[1]) // 3, len(scaling), len(rates), len(tokens)}) != 1:
        raise Garbage("the Vault's lists have different lengths")
    if not all(0 < rate <= MAX_RATE for rate in rates):
        raise Garbage(f"rates of {rates} are none")
    if max(*info[2], *info[3]) > MAX_BALANCE:
        raise Garbage("its balances exceed 128 bits")
    return {
        "scaling": tuple(_scale(word) for word in scaling),
        "balances": tuple(info[2]),
        "last_live": tuple(info[3]),
        "rates": tuple(rates),
        "pays_yield": tuple(bool(info[1][3 * k] and info[1][3 * k + 2]) for k in range(len(tokens))),
        "swap_fee": config[4],
        "aggregate_swap_fee": config[5],
        "aggregate_yield_fee": config[6],
        "stopped": bool(paused),
        "rescued": bool(rescued),
    }


def _scale(word: int) -> int:
    if not 0 < word <= ONE:
        raise Garbage(f"a scaling factor of {word} is none")
    return word


def _lists(answer: bytes | None, count: int, call: str, widths: Sequence[int]) -> list[list[int]]:
    """Dynamic arrays that are the whole answer; ``widths`` are words per entry. Raises ``Garbage``."""
    if answer is None:
        raise Garbage(f"{call} reverts or takes an absurd amount of gas")
    told, found = words(answer), []
    for k in range(count):
        at = told[k] // 32 if len(told) > count else len(told)
        length = told[at] if at < len(told) else MAX_TOKENS + 1
        if not 2 <= length <= MAX_TOKENS or at + 1 + length * widths[k] > len(told):
            raise Garbage(f"{call} does not answer {count} short lists")
        found.append(told[at + 1 : at + 1 + length * widths[k]])
    return found


def _numbers(answer: bytes | None, call: str, n: int) -> tuple[int, ...]:
    [found] = _lists(answer, 1, call, widths=(1,))
    if len(found) != n:
        raise Garbage(f"{call} answers {len(found)} entries for {n} tokens")
    return tuple(found)


def probe(state: Any, curve: Curve, i: int, j: int, net: int) -> Probe:
    """A net input (18 decimals) as a question to the pool's ``onSwap``. Raises ``QuoteError``."""
    fresh = settled(state)
    expected = curve.out_given_in(fresh.last_live, i, j, net)
    asked = (0, net, list(fresh.last_live), i, j, _NOBODY, b"")
    data = _ON_SWAP + encode(["(uint8,uint256,uint256[],uint256,uint256,address,bytes)"], [asked])
    return Probe(Read(state.address, data, _MUCH_GAS), expected, f"{net} of token {i} for {j}")


def _try(state: Any, curve_of: CurveOf) -> Script[None]:
    """Raise ``Garbage`` unless the pool's curve is ours."""
    curve, n = curve_of(state, 0), len(state.tokens)
    probes = []
    for k, part in enumerate(_PROBED_PARTS):
        i, j = k % n, (k + 1) % n
        try:
            probes.append(probe(state, curve, i, j, state.last_live[i] // part))
        except QuoteError:
            continue  # too little is in it
    answers = yield [one.call for one in probes]
    for one, answer in zip(probes, answers, strict=True):
        if difference := one.difference(answer):
            raise Garbage(f"its curve is another than the known: {difference}")

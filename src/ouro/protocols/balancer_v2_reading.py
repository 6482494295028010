"""Reading pools of Balancer's second Vault: the pool tells its id, the Vault balances, tokens decimals."""

from collections.abc import Sequence
from typing import Any

import msgspec

from ouro.hashing import selector
from ouro.protocols import balancer_v2_vault as vault
from ouro.protocols.balancer_math import ONE
from ouro.protocols.balancer_stable_math import MAX_AMP, MIN_AMP
from ouro.protocols.balancer_v2_stable_state import MAX_RATE, NO_PROVIDER, BalancerV2StableState
from ouro.protocols.balancer_v2_weighted_state import BalancerV2WeightedState
from ouro.protocols.creation import NewPool
from ouro.protocols.reads import (
    Garbage,
    Read,
    Script,
    StorageRead,
    account,
    answer_words,
    uint_word,
    unsigned,
    words,
)
from ouro.types import Address

MAX_TOKENS = 50
_HEADER_WORDS = 3
_GETTERS = tuple(
    selector(call) for call in ("getPoolId()", "getVault()", "getSwapFeePercentage()", "getPausedState()")
)
_RECOVERY = selector("inRecoveryMode()")
_WEIGHTS = selector("getNormalizedWeights()")
_AMP = selector("getAmplificationParameter()")
_OWN_TOKEN = selector("getBptIndex()")
_PROVIDERS = selector("getRateProviders()")
_RATE = selector("getRate()")
_TOKEN_CACHE = selector("getTokenRateCache(address)")
_PAIR_CACHE = selector("getPriceRateCache(address)")
_POOL_TOKENS = selector("getPoolTokens(bytes32)")
_TOKEN_INFO = selector("getPoolTokenInfo(bytes32,address)")
_DECIMALS = selector("decimals()")
_PAUSED_STATE = selector("getPausedState()")
_GAS, _MUCH_GAS = 60_000, 300_000
_MAX_DECIMALS = 18
_RAMP_SLOTS = 32
_BEFORE = 1_600_000_000
_SHORTEST_RAMP, _LONGEST_RAMP = 86_400, 20 * 365 * 86_400
_U64 = (1 << 64) - 1


def weighted(pool: NewPool) -> Script[BalancerV2WeightedState]:
    """Getters of pool and Vault in three rounds."""
    getters = (*_GETTERS, _RECOVERY, _WEIGHTS)
    answers = yield [Read(pool.address, data, _GAS) for data in getters]
    shared = yield from _shared(pool, answers[:4], (vault.MINIMAL, vault.TWO_TOKEN))
    weights = _list(answers[5], "getNormalizedWeights()")
    if len(weights) != len(shared["tokens"]):
        raise Garbage(f"{len(weights)} weights of {len(shared['tokens'])} tokens")
    return BalancerV2WeightedState(weights=tuple(weights), exact_powers=answers[4] is not None, **shared)


def stable(pool: NewPool) -> Script[BalancerV2StableState]:
    """Getters of pool, Vault and rate providers in four rounds."""
    getters = (*_GETTERS, _RECOVERY, _AMP, _OWN_TOKEN, _PROVIDERS)
    answers = yield [Read(pool.address, data, _GAS) for data in getters]
    shared = yield from _shared(pool, answers[:4], (vault.GENERAL, vault.TWO_TOKEN))
    tokens: tuple[Address, ...] = shared["tokens"]
    amp, ramping, _ = answer_words(answers[5], 3, "getAmplificationParameter()")
    ramp = (yield from _ramp(pool.address, amp)) if ramping else (amp, amp, 0, 0)
    own = -1 if answers[6] is None else answer_words(answers[6], 1, "getBptIndex()")[0]
    providers = _providers(answers[7], len(tokens))
    caches = yield from _caches(pool.address, tokens, providers)
    fresh = yield from rates_now(providers)
    return BalancerV2StableState(
        amp_start=ramp[0],
        amp_end=ramp[1],
        amp_start_time=ramp[2],
        amp_end_time=ramp[3],
        rounds_up=answers[4] is None,
        own_token=own,
        rate_providers=providers,
        rates=tuple(rate for rate, _, _ in caches),
        rate_durations=tuple(duration for _, duration, _ in caches),
        rate_expires=tuple(expires for _, _, expires in caches),
        provider_rates=fresh,
        **shared,
    )


def _ramp(pool: Address, amp: int) -> Script[tuple[int, int, int, int]]:
    """(from, to, start, end) of an amplification on its way, which no getter tells: the pool's one word that holds
    four such numbers between which ``amp`` lies. Where it stands differs by generation."""
    answers = yield [StorageRead(pool, slot) for slot in range(_RAMP_SLOTS)]
    found = set()
    for answer in answers:
        if answer is None:
            raise Garbage("its amplification ramps and the node does not give the pool's words")
        value = int.from_bytes(answer)
        first, last, start, end = (value >> shift & _U64 for shift in (0, 64, 128, 192))
        sound = MIN_AMP <= min(first, last) <= amp <= max(first, last) <= MAX_AMP
        if sound and start > _BEFORE and _SHORTEST_RAMP <= end - start <= _LONGEST_RAMP:
            found.add((first, last, start, end))
    if len(found) != 1:
        raise Garbage(f"its amplification ramps and {len(found)} of its words tell how: it can be read when done")
    return found.pop()


def rates_now(providers: Sequence[Address]) -> Script[tuple[int, ...]]:
    """What each provider answers now; 0 where there is none, or where it does not answer."""
    asked = [provider for provider in providers if provider != NO_PROVIDER]
    answers = iter((yield [Read(provider, _RATE, _MUCH_GAS) for provider in asked]) if asked else ())
    found = []
    for provider in providers:
        answer = next(answers) if provider != NO_PROVIDER else None
        rate = words(answer)[0] if answer is not None and len(answer) == 32 else 0
        found.append(rate if rate <= MAX_RATE else 0)
    return tuple(found)


def refreshed(state: BalancerV2StableState) -> Script[BalancerV2StableState]:
    """``state`` with the providers' present answers."""
    fresh = yield from rates_now(state.rate_providers)
    return state if fresh == state.provider_rates else msgspec.structs.replace(state, provider_rates=fresh)


def _shared(pool: NewPool, answers: Sequence[bytes | None], kinds: tuple[int, ...]) -> Script[dict[str, Any]]:
    """The fields of every pool of the Vault."""
    [id_word] = answer_words(answers[0], 1, "getPoolId()")
    pool_id = f"0x{id_word:064x}"
    if pool_id[:42] != pool.address:
        raise Garbage(f"its id {pool_id} is another pool's")
    kind = vault.specialization(pool_id)
    if kind not in kinds:
        raise Garbage(f"the Vault keeps its balances in a way ({kind}) that its kind does not")
    manager = account(answers[1], "getVault()")
    [fee] = answer_words(answers[2], 1, "getSwapFeePercentage()")
    paused, _, pause_ends = answer_words(answers[3], 3, "getPausedState()")
    told, vault_paused = yield [
        Read(manager, _POOL_TOKENS + uint_word(id_word), _MUCH_GAS),
        Read(manager, _PAUSED_STATE, _GAS),
    ]
    if answer_words(vault_paused, 3, "the Vault's getPausedState()")[0]:
        raise Garbage("the whole Vault is paused")
    tokens = _tokens(told)
    infos = yield [
        read
        for token in tokens
        for read in (
            Read(manager, _TOKEN_INFO + uint_word(id_word) + uint_word(int(token, 16)), _GAS),
            Read(token, _DECIMALS, _GAS),
        )
    ]
    cash, managed, changed, scaling = [], [], [], []
    for k in range(len(tokens)):
        held, away, block, _ = answer_words(infos[2 * k], 4, "getPoolTokenInfo()")
        [decimals] = answer_words(infos[2 * k + 1], 1, "decimals()")
        if decimals > _MAX_DECIMALS:
            raise Garbage(f"{tokens[k]} has {decimals} decimals, the pool's arithmetic knows up to 18")
        cash.append(unsigned(held, 112, "cash"))
        managed.append(unsigned(away, 112, "managed"))
        changed.append(unsigned(block, 32, "lastChangeBlock"))
        scaling.append(10 ** (_MAX_DECIMALS - decimals))
    return {
        "address": pool.address,
        "manager": manager,
        "pool_id": pool_id,
        "tokens": tokens,
        "scaling": tuple(scaling),
        "cash": tuple(cash),
        "managed": tuple(managed),
        "changed_at": tuple(changed),
        "swap_fee": fee,
        "paused": bool(paused),
        "pause_ends": pause_ends,
    }


def _list(answer: bytes | None, call: str) -> list[int]:
    """A dynamic array as the whole answer. Raises ``Garbage``."""
    if answer is None:
        raise Garbage(f"{call} reverts or takes an absurd amount of gas")
    found = words(answer)
    if len(found) < 2 or found[0] != 32 or found[1] != len(found) - 2 or found[1] > MAX_TOKENS:
        raise Garbage(f"{call} does not answer a short list")
    return found[2:]


def _tokens(answer: bytes | None) -> tuple[Address, ...]:
    if answer is None:
        raise Garbage("the Vault knows no such pool: getPoolTokens() reverts")
    found = words(answer)
    n = found[_HEADER_WORDS] if len(found) > _HEADER_WORDS else 0
    if found[:1] != [32 * _HEADER_WORDS] or not 2 <= n <= MAX_TOKENS or len(found) != 5 + 2 * n:
        raise Garbage("getPoolTokens() does not answer two lists of tokens and balances")
    return tuple("0x" + unsigned(word, 160, "token").to_bytes(20).hex() for word in found[4 : 4 + n])


def _providers(answer: bytes | None, n: int) -> tuple[Address, ...]:
    if answer is None:
        return (NO_PROVIDER,) * n
    found = _list(answer, "getRateProviders()")
    if len(found) != n:
        raise Garbage(f"{len(found)} rate providers of {n} tokens")
    return tuple("0x" + unsigned(word, 160, "rate provider").to_bytes(20).hex() for word in found)


def _caches(
    pool: Address, tokens: Sequence[Address], providers: Sequence[Address]
) -> Script[list[tuple[int, int, int]]]:
    """(rate, seconds it is kept, when it expires) by token."""
    asked = [token for token, provider in zip(tokens, providers, strict=True) if provider != NO_PROVIDER]
    reads = [
        Read(pool, call + uint_word(int(token, 16)), _GAS)
        for token in asked
        for call in (_TOKEN_CACHE, _PAIR_CACHE)
    ]
    answers = (yield reads) if reads else []
    by_token = {}
    for k, token in enumerate(asked):
        found = words(answers[2 * k] or answers[2 * k + 1] or b"")
        if len(found) not in (3, 4) or not 0 < found[0] <= MAX_RATE:
            raise Garbage(f"the pool does not tell how it caches the rate of {token}")
        by_token[token] = (found[0], unsigned(found[-2], 64, "duration"), unsigned(found[-1], 64, "expires"))
    return [by_token.get(token, (ONE, 0, 0)) for token in tokens]

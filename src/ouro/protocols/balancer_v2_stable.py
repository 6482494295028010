"""Balancer V2 stable pools: stable (both generations), meta-stable and composable (three), two to five tokens.

Amounts are those of ``onSwap``: fee first, then 18 decimals times the token's rate, then the curve. Rates come from
providers through caches: a swap after a cache's expiry asks the provider and stores its answer. Amplification
ramps with time. The pool's own token, registered in composable pools, is left out of the curve; joins and exits by
swapping it are not quoted. Phantom pools (December 2021) are not meant: their swaps refuse where these do not.

Field sources: balances, fee, pause, amplification and cached rates ``from_logs``; what the providers answer now
(``provider_rates``) emits nothing: ``must_refresh``.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, TypeAlias

import msgspec

from ouro.hashing import topic
from ouro.protocols import balancer_stable_curve, balancer_v2_reading, jsonform
from ouro.protocols import balancer_v2_vault as vault
from ouro.protocols.balancer_math import ONE, checked, mul_down
from ouro.protocols.balancer_stable_math import (
    MAX_AMP,
    MIN_AMP,
    in_given_out,
    invariant,
    invariant_rounded,
    out_given_in,
)
from ouro.protocols.balancer_v2_family import VaultFamily
from ouro.protocols.balancer_v2_stable_state import MAX_RATE, NO_PROVIDER, BalancerV2StableState
from ouro.protocols.balancer_v2_vault import VaultDelta
from ouro.protocols.base import (
    BalanceChange,
    DecodeError,
    ExactHeader,
    Limits,
    Quote,
    QuoteError,
    Segments,
    Source,
    StorageWrite,
)
from ouro.protocols.creation import NewPool
from ouro.protocols.eventdata import data_words, in_range, topic_words, uint
from ouro.protocols.proof import Proof
from ouro.protocols.reads import Script
from ouro.types import BlockContext, Log

MAX_TOKENS = 6
GAS = 110_000
_U64 = (1 << 64) - 1
_U256 = (1 << 256) - 1

AMP_STARTED_TOPIC = topic("AmpUpdateStarted(uint256,uint256,uint256,uint256)")
AMP_STOPPED_TOPIC = topic("AmpUpdateStopped(uint256)")
RATE_BY_INDEX_TOPIC = topic("TokenRateCacheUpdated(uint256,uint256)")
RATE_BY_TOKEN_TOPIC = topic("TokenRateCacheUpdated(address,uint256)")
PAIR_RATE_TOPIC = topic("PriceRateCacheUpdated(address,uint256)")
DURATION_BY_INDEX_TOPIC = topic("TokenRateProviderSet(uint256,address,uint256)")
DURATION_BY_TOKEN_TOPIC = topic("TokenRateProviderSet(address,address,uint256)")
PAIR_DURATION_TOPIC = topic("PriceRateProviderSet(address,address,uint256)")
_RATES = (RATE_BY_INDEX_TOPIC, RATE_BY_TOKEN_TOPIC, PAIR_RATE_TOPIC)
_DURATIONS = (DURATION_BY_INDEX_TOPIC, DURATION_BY_TOKEN_TOPIC, PAIR_DURATION_TOPIC)


class AmpDelta(msgspec.Struct, frozen=True):
    """Amplification from one value at one time to another."""

    start: int
    end: int
    start_time: int
    end_time: int


class RateDelta(msgspec.Struct, frozen=True):
    """A cached rate at the block's time."""

    position: int
    rate: int
    timestamp: int


class DurationDelta(msgspec.Struct, frozen=True):
    """How long a token's rate is kept from now on."""

    position: int
    duration: int
    timestamp: int


StableDelta: TypeAlias = VaultDelta | AmpDelta | RateDelta | DurationDelta

_PLAIN = ("amp_start", "amp_end", "amp_start_time", "amp_end_time", "own_token", "as_of")
_LISTS = ("rates", "rate_durations", "rate_expires", "provider_rates")


class BalancerV2Stable(VaultFamily):
    """The family; stateless. Implements ``ouro.protocols.base.Family``."""

    name: ClassVar[str] = "balancer_v2_stable"
    proof: ClassVar[Proof] = Proof(350_000)
    least_gas: ClassVar[int] = GAS
    follows_clock: ClassVar[bool] = True
    topics: ClassVar[tuple[str, ...]] = (
        *vault.VAULT_TOPICS,
        vault.FEE_TOPIC,
        vault.PAUSE_TOPIC,
        AMP_STARTED_TOPIC,
        AMP_STOPPED_TOPIC,
        *_RATES,
        *_DURATIONS,
    )
    sources: ClassVar[Mapping[str, Source]] = {
        **dict.fromkeys(("address", "manager", "pool_id", "tokens", "scaling"), Source.FIXED),
        **dict.fromkeys(("rounds_up", "own_token", "rate_providers", "pause_ends"), Source.FIXED),
        **dict.fromkeys(("cash", "managed", "changed_at", "swap_fee", "paused"), Source.FROM_LOGS),
        **dict.fromkeys(("amp_start", "amp_end", "amp_start_time", "amp_end_time"), Source.FROM_LOGS),
        **dict.fromkeys(("rates", "rate_durations", "rate_expires"), Source.FROM_LOGS),
        "provider_rates": Source.MUST_REFRESH,
        "as_of": Source.FROM_TIME,
    }

    def read(self, pool: NewPool) -> Script[BalancerV2StableState]:
        """By getters of the pool, the Vault and the rate providers."""
        return balancer_v2_reading.stable(pool)

    def must_refresh(self, state: BalancerV2StableState) -> bool:
        """Only where a token has a rate provider."""
        return any(provider != NO_PROVIDER for provider in state.rate_providers)

    def refresh(self, state: BalancerV2StableState, pool: NewPool) -> Script[BalancerV2StableState]:
        """What the rate providers answer now."""
        return balancer_v2_reading.refreshed(state)

    def decode(self, state: BalancerV2StableState, log: Log, timestamp: int) -> StableDelta | None:
        """The Vault's logs; fee, pause, amplification and rates of the pool's contract."""
        if log.address.lower() != state.address or not log.topics:
            return vault.decode(state, log)
        kind = log.topics[0]
        if kind == AMP_STARTED_TOPIC:
            start, end, start_time, end_time = data_words(log, 4, "AmpUpdateStarted")
            times = uint(start_time, 64, "startTime"), uint(end_time, 64, "endTime")
            return AmpDelta(_amp(start), _amp(end), *times)
        if kind == AMP_STOPPED_TOPIC:
            (value,) = data_words(log, 1, "AmpUpdateStopped")
            return AmpDelta(_amp(value), value, 0, 0)
        if kind in _RATES:
            (where,) = topic_words(log, 1, "TokenRateCacheUpdated")
            (rate,) = data_words(log, 1, "TokenRateCacheUpdated")
            return RateDelta(_position(state, kind, where), in_range(rate, 1, MAX_RATE, "rate"), timestamp)
        if kind in _DURATIONS:
            where, _ = topic_words(log, 2, "TokenRateProviderSet")
            (duration,) = data_words(log, 1, "TokenRateProviderSet")
            return DurationDelta(_position(state, kind, where), uint(duration, 64, "cacheDuration"), timestamp)
        return vault.decode(state, log)

    def apply(self, state: BalancerV2StableState, delta: StableDelta) -> BalancerV2StableState:
        """The pool after ``delta``."""
        if isinstance(delta, AmpDelta):
            return msgspec.structs.replace(
                state,
                amp_start=delta.start,
                amp_end=delta.end,
                amp_start_time=delta.start_time,
                amp_end_time=delta.end_time,
            )
        if isinstance(delta, RateDelta):
            k = delta.position
            expires = delta.timestamp + state.rate_durations[k]
            return _replaced(state, k, rates=delta.rate, rate_expires=expires)
        if isinstance(delta, DurationDelta):
            k = delta.position
            expires = delta.timestamp + delta.duration
            return _replaced(state, k, rate_durations=delta.duration, rate_expires=expires)
        return vault.apply(state, delta)

    def at(self, state: BalancerV2StableState, timestamp: int) -> BalancerV2StableState:
        """The pool as the first swap of that time finds it: its amplification, and rates whose caches expired."""
        if state.as_of == timestamp:
            return state
        amp = amplification(state, timestamp)
        fresh = _cached(state, timestamp)
        return msgspec.structs.replace(
            fresh, amp_start=amp, amp_end=amp, amp_start_time=0, amp_end_time=0, as_of=timestamp
        )

    def time_key(self, state: BalancerV2StableState, context: BlockContext) -> Any:
        """Amplification and rates of that time. None where a rate has expired and nobody knows the next."""
        try:
            fresh = _cached(state, context.timestamp)
        except QuoteError:
            return None
        return amplification(fresh, context.timestamp), fresh.rates

    def quote_in(
        self, state: BalancerV2StableState, i: int, j: int, amount_in_wei: int, context: BlockContext
    ) -> Quote:
        """A swap given in."""
        fresh = _checked(state, i, j, amount_in_wei, context)
        factors = scaling_factors(fresh)
        balances = curve_balances(fresh, factors)
        net = mul_down(vault.net_of_fee(checked(amount_in_wei), fresh.swap_fee), factors[i])
        amp = amplification(fresh, context.timestamp)
        level = _invariant(fresh, amp, balances)
        out = out_given_in(amp, balances, _skip(fresh, i), _skip(fresh, j), net, level)
        amount_out = checked(out * ONE) // factors[j]
        after = vault.swapped(fresh, i, j, amount_in_wei, amount_out, context)
        return Quote(amount_in_wei, amount_out, GAS, after)

    def quote_out(
        self, state: BalancerV2StableState, i: int, j: int, amount_out_wei: int, context: BlockContext
    ) -> Quote:
        """A swap given out: what the contract asks, which may be a little more than the least input."""
        fresh = _checked(state, i, j, amount_out_wei, context)
        factors = scaling_factors(fresh)
        balances = curve_balances(fresh, factors)
        out = mul_down(checked(amount_out_wei), factors[j])
        amp = amplification(fresh, context.timestamp)
        level = _invariant(fresh, amp, balances)
        net = in_given_out(amp, balances, _skip(fresh, i), _skip(fresh, j), out, level)
        amount_in = vault.with_fee(-(-checked(net * ONE) // factors[i]), fresh.swap_fee)
        after = vault.swapped(fresh, i, j, amount_in, amount_out_wei, context)
        return Quote(amount_in, amount_out_wei, GAS, after)

    def spot_rate(self, state: BalancerV2StableState, i: int, j: int) -> float:
        """Marginal output per unit of input, fee included, with the amplification and rates of the last event."""
        vault.check_direction(state, i, j)
        if state.paused or state.own_token in (i, j):
            return 0.0
        factors = scaling_factors(state)
        balances = curve_balances(state, factors)
        if not all(balances):
            return 0.0
        amp = amplification(state, state.amp_start_time)
        try:
            rate = balancer_stable_curve.marginal(amp, balances, _skip(state, i), _skip(state, j))
        except QuoteError:
            return 0.0
        return rate * factors[i] / factors[j] * (1.0 - state.swap_fee / ONE)

    def limits(self, state: BalancerV2StableState, i: int, j: int, context: BlockContext) -> Limits:
        """Ten times all balances (beyond, nothing is left to buy), or less where cash or the Vault's words end."""
        vault.check_direction(state, i, j)
        try:
            fresh = _cached(state, context.timestamp)
        except QuoteError:
            return Limits(0, 0)
        factors = scaling_factors(fresh)
        most = 10 * sum(curve_balances(fresh, factors)) * ONE // factors[i]
        room = vault.MAX_BALANCE - state.cash[i] - state.managed[i]
        return vault.limits_below(self, state, i, j, min(most, room), context)

    def segments(self, state: BalancerV2StableState, i: int, j: int, context: BlockContext) -> Segments:
        """Pieces that share value and slope with the curve at their knots."""
        vault.check_direction(state, i, j)
        if state.own_token in (i, j) or vault.stopped(state, context.timestamp):
            return balancer_stable_curve.NOTHING
        try:
            fresh = _cached(state, context.timestamp)
        except QuoteError:
            return balancer_stable_curve.NOTHING
        factors = scaling_factors(fresh)
        balances = curve_balances(fresh, factors)
        return balancer_stable_curve.pieces_of(
            amplification(fresh, context.timestamp),
            balances,
            (_skip(fresh, i), _skip(fresh, j)),
            (factors[i], factors[j]),
            fresh.swap_fee,
        )

    def exact_header(self, state: BalancerV2StableState, i: int, j: int) -> ExactHeader | None:
        """For a pool without ramp and rate providers, or a state that ``at`` made; otherwise time decides."""
        vault.check_direction(state, i, j)
        timeless = state.amp_start == state.amp_end and not any(p != NO_PROVIDER for p in state.rate_providers)
        if state.paused or state.own_token in (i, j) or not (timeless or state.as_of):
            return None
        factors = scaling_factors(state)
        balances = curve_balances(state, factors)
        if not all(balances):
            return None
        room = vault.MAX_BALANCE - state.cash[i] - state.managed[i]
        amp = amplification(state, state.amp_end_time)
        try:
            level = _invariant(state, amp, balances)
        except QuoteError:
            return None
        return balancer_stable_curve.header(
            amp,
            balances,
            level,
            (_skip(state, i), _skip(state, j)),
            (factors[i], factors[j]),
            state.swap_fee,
            (room, state.cash[j]),
        )

    def storage_writes(
        self, state: BalancerV2StableState, delta: StableDelta
    ) -> tuple[StorageWrite | BalanceChange, ...]:
        """The Vault's words of the balances. The shadow re-reads the pool's own (fee, amplification, rates)."""
        return vault.balance_writes(state, self.apply(state, delta))

    def to_json(self, state: BalancerV2StableState) -> dict[str, Any]:
        """A tagged, JSON-safe form."""
        return {
            **vault.shared_to_json(state),
            **{name: getattr(state, name) for name in _PLAIN},
            **{name: vault.numbers_to_json(getattr(state, name)) for name in _LISTS},
            "rounds_up": state.rounds_up,
            "rate_providers": list(state.rate_providers),
        }

    def from_json(self, value: dict[str, Any]) -> BalancerV2StableState:
        """The inverse of ``to_json``. Raises ``ValueError`` naming the field."""
        found = jsonform.fields(value, self.name, BalancerV2StableState.__struct_fields__)
        shared = vault.shared_from_json(found, MAX_TOKENS, (vault.GENERAL, vault.TWO_TOKEN))
        n = len(shared["tokens"])

        def number(field: str, low: int, high: int) -> int:
            return jsonform.integer(found[field], field, low, high)

        providers = found["rate_providers"]
        if not isinstance(providers, list | tuple) or len(providers) != n:
            raise ValueError(f"rate_providers: a list of {n} addresses is expected, got {providers!r:.80}")
        own = number("own_token", -1, n - 1)
        if own >= 0 and shared["tokens"][own] != shared["address"]:
            raise ValueError(f"own_token: {own} is not the place of the pool among its tokens")
        return BalancerV2StableState(
            **shared,
            amp_start=number("amp_start", MIN_AMP, MAX_AMP),
            amp_end=number("amp_end", MIN_AMP, MAX_AMP),
            amp_start_time=number("amp_start_time", 0, _U64),
            amp_end_time=number("amp_end_time", 0, _U64),
            rounds_up=jsonform.boolean(found["rounds_up"], "rounds_up"),
            own_token=own,
            rate_providers=tuple(jsonform.address(p, f"rate_providers[{k}]") for k, p in enumerate(providers)),
            rates=vault.numbers(found["rates"], "rates", n, 1, MAX_RATE),
            rate_durations=vault.numbers(found["rate_durations"], "rate_durations", n, 0, _U64),
            rate_expires=vault.numbers(found["rate_expires"], "rate_expires", n, 0, 2 * _U64),
            provider_rates=vault.numbers(found["provider_rates"], "provider_rates", n, 0, _U256),
            as_of=number("as_of", 0, _U64),
        )


def amplification(state: BalancerV2StableState, timestamp: int) -> int:
    """``_getAmplificationParameter`` at a time, in thousandths."""
    start, end, since = state.amp_start, state.amp_end, state.amp_start_time
    if timestamp >= state.amp_end_time:
        return end
    span, gone = state.amp_end_time - since, max(timestamp - since, 0)
    change = abs(end - start) * gone // span
    return start + change if end > start else start - change


def scaling_factors(state: BalancerV2StableState) -> tuple[int, ...]:
    """Decimals and cached rate of each token as one factor with 18 decimals."""
    return tuple(scale * rate for scale, rate in zip(state.scaling, state.rates, strict=True))


def curve_balances(state: BalancerV2StableState, factors: tuple[int, ...]) -> tuple[int, ...]:
    """Balances in 18 decimals and at their rates, without the pool's own token."""
    return tuple(
        mul_down(state.cash[k] + state.managed[k], factor)
        for k, factor in enumerate(factors)
        if k != state.own_token
    )


def _skip(state: BalancerV2StableState, k: int) -> int:
    return k - 1 if 0 <= state.own_token < k else k


def _invariant(state: BalancerV2StableState, amp: int, balances: tuple[int, ...]) -> int:
    return invariant_rounded(amp, balances, True) if state.rounds_up else invariant(amp, balances)


def _checked(
    state: BalancerV2StableState, i: int, j: int, amount: int, context: BlockContext
) -> BalancerV2StableState:
    vault.check_swap(state, i, j, amount, context)
    if state.own_token in (i, j):
        raise QuoteError("joins and exits through the pool's own token are not quoted")
    if not all(
        cash + away
        for k, (cash, away) in enumerate(zip(state.cash, state.managed, strict=True))
        if k != state.own_token
    ):
        raise QuoteError("the pool is empty")
    return _cached(state, context.timestamp)


def _cached(state: BalancerV2StableState, timestamp: int) -> BalancerV2StableState:
    """The state with every expired rate replaced by its provider's answer. Raises ``QuoteError`` without one."""
    late = [
        k
        for k, provider in enumerate(state.rate_providers)
        if provider != NO_PROVIDER and timestamp > state.rate_expires[k]
    ]
    if not late or state.as_of == timestamp:
        return state
    rates, expires = list(state.rates), list(state.rate_expires)
    for k in late:
        if not 0 < state.provider_rates[k] <= MAX_RATE:
            raise QuoteError(f"the rate of {state.tokens[k]} has expired and its provider's answer is unknown")
        rates[k] = state.provider_rates[k]
        expires[k] = timestamp + state.rate_durations[k]
    return msgspec.structs.replace(state, rates=tuple(rates), rate_expires=tuple(expires))


def _replaced(state: BalancerV2StableState, k: int, **values: int) -> BalancerV2StableState:
    changed = {}
    for name, value in values.items():
        entries = list(getattr(state, name))
        entries[k] = value
        changed[name] = tuple(entries)
    return msgspec.structs.replace(state, **changed)


def _amp(value: int) -> int:
    return in_range(value, MIN_AMP, MAX_AMP, "amplification")


def _position(state: BalancerV2StableState, kind: str, where: int) -> int:
    if kind in (RATE_BY_INDEX_TOPIC, DURATION_BY_INDEX_TOPIC):
        return in_range(where, 0, len(state.tokens) - 1, "tokenIndex")
    token = f"0x{uint(where, 160, 'token'):040x}"
    if token not in state.tokens:
        raise DecodeError(f"rate of {token}, which is none of the tokens of {state.address}")
    return state.tokens.index(token)

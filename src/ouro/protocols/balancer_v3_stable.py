"""Balancer V3 stable pools of two to five tokens: ``StablePool.onSwap`` of the package's version 1.0.0.

Against V2: another order of divisions in the balance, and an end at an imbalance of ten thousand.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import msgspec
import numpy as np

from ouro.hashing import topic
from ouro.protocols import balancer_stable_curve, balancer_v3_reading, jsonform
from ouro.protocols import balancer_v3_state as states
from ouro.protocols import balancer_v3_vault as vault
from ouro.protocols.balancer_math import ONE, checked
from ouro.protocols.balancer_stable_math import AMP_PRECISION, MAX_ROUNDS, invariant
from ouro.protocols.balancer_v2_vault import check_direction
from ouro.protocols.balancer_v3_family import SHARED_SOURCES, VAULT_TOPICS, ThirdVault, V3Delta
from ouro.protocols.balancer_v3_state import BalancerV3StableState
from ouro.protocols.balancer_v3_vault import Curve
from ouro.protocols.base import Limits, QuoteError, Segments, Source
from ouro.protocols.creation import NewPool
from ouro.protocols.eventdata import data_words, in_range, uint
from ouro.protocols.proof import Proof
from ouro.protocols.reads import Script
from ouro.types import BlockContext, Log

GAS = 130_000
MAX_AMP = 50_000 * AMP_PRECISION
MAX_IMBALANCE = 10_000
_U32 = (1 << 32) - 1

AMP_STARTED_TOPIC = topic("AmpUpdateStarted(uint256,uint256,uint256,uint256)")
AMP_STOPPED_TOPIC = topic("AmpUpdateStopped(uint256)")


class AmpDelta(msgspec.Struct, frozen=True):
    """Amplification from one value at one time to another."""

    start: int
    end: int
    start_time: int
    end_time: int


class BalancerV3Stable(ThirdVault):
    """Stable pools; stateless."""

    name: ClassVar[str] = "balancer_v3_stable"
    proof: ClassVar[Proof] = Proof(150_000)
    topics: ClassVar[tuple[str, ...]] = (*VAULT_TOPICS, AMP_STARTED_TOPIC, AMP_STOPPED_TOPIC)
    gas: ClassVar[int] = GAS
    least_gas: ClassVar[int] = GAS
    most_tokens: ClassVar[int] = 5
    follows_clock: ClassVar[bool] = True
    sources: ClassVar[Mapping[str, Source]] = {
        **SHARED_SOURCES,
        **dict.fromkeys(("amp_start", "amp_end", "amp_start_time", "amp_end_time"), Source.FROM_LOGS),
    }

    def read(self, pool: NewPool) -> Script[BalancerV3StableState]:
        """By getters of pool and Vault, and three swaps of the curve."""
        return balancer_v3_reading.stable(pool, self.curve)

    def decode(self, state: Any, log: Log, timestamp: int) -> Any:
        """Besides the Vault's logs: the pool's own ones of amplification."""
        if log.address.lower() != state.address or not log.topics:
            return super().decode(state, log, timestamp)
        if log.topics[0] == AMP_STARTED_TOPIC:
            start, end, start_time, end_time = data_words(log, 4, "AmpUpdateStarted")
            times = uint(start_time, 32, "startTime"), uint(end_time, 32, "endTime")
            return AmpDelta(_amp(start), _amp(end), *times)
        if log.topics[0] == AMP_STOPPED_TOPIC:
            (value,) = data_words(log, 1, "AmpUpdateStopped")
            return AmpDelta(_amp(value), value, timestamp, timestamp)
        return None

    def apply(self, state: Any, delta: V3Delta | AmpDelta) -> Any:
        """The pool after ``delta``."""
        if not isinstance(delta, AmpDelta):
            return super().apply(state, delta)
        return msgspec.structs.replace(
            state,
            amp_start=delta.start,
            amp_end=delta.end,
            amp_start_time=delta.start_time,
            amp_end_time=delta.end_time,
        )

    def time_key(self, state: BalancerV3StableState, context: BlockContext) -> Any:
        """The amplification of that time."""
        return amplification(state, context.timestamp)

    def curve(self, state: BalancerV3StableState, timestamp: int) -> Curve:
        """``StablePool.onSwap``."""
        amp = amplification(state, timestamp)

        def out_given_in(balances: Sequence[int], i: int, j: int, net: int) -> int:
            level = _level(amp, balances)
            after = list(balances)
            after[i] = checked(after[i] + net)
            out = balances[j] - balance_at(amp, after, level, j) - 1
            if out < 0:
                raise QuoteError("the input buys less than nothing: the pool's rounding takes it")
            _balanced(balances, after[i], balances[j] - out)
            return out

        def in_given_out(balances: Sequence[int], i: int, j: int, out: int) -> int:
            if out > balances[j]:
                raise QuoteError("insufficient liquidity")
            level = _level(amp, balances)
            after = list(balances)
            after[j] -= out
            net = checked(balance_at(amp, after, level, i) - balances[i] + 1)
            _balanced(balances, balances[i] + net, after[j])
            return net

        return Curve(out_given_in, in_given_out)

    def spot_rate(self, state: BalancerV3StableState, i: int, j: int) -> float:
        """Marginal output per unit of input, fee included, with the amplification of the last event."""
        check_direction(state, i, j)
        if self.is_empty(state):
            return 0.0
        lives = [vault.live(state, k, balance) for k, balance in enumerate(state.balances)]
        try:
            rate = balancer_stable_curve.marginal(amplification(state, state.amp_start_time), lives, i, j)
        except QuoteError:
            return 0.0
        units = [state.scaling[k] * state.rates[k] for k in (i, j)]
        return rate * units[0] / units[1] * (1.0 - state.swap_fee / ONE)

    def limits(self, state: BalancerV3StableState, i: int, j: int, context: BlockContext) -> Limits:
        """Ten times all balances, or less where the imbalance, the Vault's words or the output end."""
        check_direction(state, i, j)
        lives = sum(vault.live(state, k, balance) for k, balance in enumerate(state.balances))
        most = 10 * lives * ONE // (state.scaling[i] * state.rates[i])
        return vault.most_below(self, state, i, j, most, context)

    def segments(self, state: BalancerV3StableState, i: int, j: int, context: BlockContext) -> Segments:
        """Pieces that share value and slope with the curve at their knots."""
        check_direction(state, i, j)
        most = self.limits(state, i, j, context).max_in_wei
        if self.is_empty(state) or not most:
            return balancer_stable_curve.NOTHING
        lives = [vault.live(state, k, balance) for k, balance in enumerate(state.balances)]
        factors = state.scaling[i] * state.rates[i], state.scaling[j] * state.rates[j]
        amp = amplification(state, context.timestamp)
        found = balancer_stable_curve.pieces_of(amp, lives, (i, j), factors, state.swap_fee)
        return _until(found, float(most))

    def to_json(self, state: BalancerV3StableState) -> dict[str, Any]:
        """A tagged, JSON-safe form."""
        names = ("amp_start", "amp_end", "amp_start_time", "amp_end_time")
        return {**states.to_json(state), **{name: getattr(state, name) for name in names}}

    def from_json(self, value: dict[str, Any]) -> BalancerV3StableState:
        """The inverse of ``to_json``. Raises ``ValueError`` naming the field."""
        found = jsonform.fields(value, self.name, BalancerV3StableState.__struct_fields__)

        def number(field: str, low: int, high: int) -> int:
            return jsonform.integer(found[field], field, low, high)

        return BalancerV3StableState(
            amp_start=number("amp_start", AMP_PRECISION, MAX_AMP),
            amp_end=number("amp_end", AMP_PRECISION, MAX_AMP),
            amp_start_time=number("amp_start_time", 0, _U32),
            amp_end_time=number("amp_end_time", 0, _U32),
            **states.from_json(found, self.most_tokens),
        )


def _until(segments: Segments, most: float) -> Segments:
    """The pieces up to an input."""
    kept, total = [], 0.0
    for piece in segments:
        kept.append(piece.copy())
        if total + piece[3] >= most:
            kept[-1][3] = most - total
            break
        total += piece[3]
    return np.array(kept) if kept else segments


def _amp(value: int) -> int:
    return in_range(value, AMP_PRECISION, MAX_AMP, "amplification")


def amplification(state: BalancerV3StableState, timestamp: int) -> int:
    """``_getAmplificationParameter`` at a time, in thousandths."""
    since = state.amp_start_time
    if timestamp >= state.amp_end_time or since >= state.amp_end_time:
        return state.amp_end
    change = abs(state.amp_end - state.amp_start) * max(timestamp - since, 0) // (state.amp_end_time - since)
    return state.amp_start + change if state.amp_end > state.amp_start else state.amp_start - change


def _level(amp: int, balances: Sequence[int]) -> int:
    if not all(balances):
        raise QuoteError("the pool is empty")
    return invariant(amp, balances)


def _balanced(balances: Sequence[int], new_in: int, new_out: int) -> None:
    """``ensureBalancesWithinMaxImbalanceRange``."""
    low, high = min(*balances, new_out), max(*balances, new_in)
    if not low or high // low >= MAX_IMBALANCE:
        raise QuoteError(f"a balance would be {MAX_IMBALANCE} times another")


def balance_at(amp: int, balances: Sequence[int], level: int, k: int) -> int:
    """``StableMath.computeBalance``: token ``k``'s balance for which the invariant is ``level``, rounded up."""
    n = len(balances)
    annual = amp * n
    product = checked(balances[0] * n)
    for balance in balances[1:]:
        product = _over(checked(checked(product * balance) * n), level)
    others = checked(sum(balances)) - balances[k]
    square = checked(level * level)
    c = checked(_over_up(checked(square * AMP_PRECISION), checked(annual * product)) * balances[k])
    b = checked(others + checked(level * AMP_PRECISION) // annual)
    found = _over_up(checked(square + c), checked(level + b))
    for _ in range(MAX_ROUNDS):
        before = found
        found = _over_up(checked(checked(found * found) + c), checked(2 * found + b - level))
        if abs(found - before) <= 1:
            return found
    raise QuoteError("the pool's balance does not converge")


def _over(a: int, b: int) -> int:
    if not b:
        raise QuoteError("division by zero in the pool's arithmetic")
    return a // b


def _over_up(a: int, b: int) -> int:
    return -(-a // b) if b else _over(a, b)

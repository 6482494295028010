"""Balancer V2 weighted pools of two to eight tokens (and more): x1^w1·x2^w2·… is constant, balances in the Vault.

Amounts are those of ``onSwap``: fee first (rounded up), then 18 decimals, then the power with its error margin. At
most 30 % of a balance goes in or out. The first pools (2021) raise every power by logarithms; later ones multiply
exponents 1, 2 and 4 out: ``exact_powers``. Protocol fees are settled at joins and exits and do not touch a swap.

Field sources: all ``from_logs`` of the Vault and the pool, or ``fixed``. A pause of the whole Vault, possible in
the months after its deployment, emits no log with a pool's id: pre-flight finds it.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from ouro.protocols import balancer_v2_reading, jsonform
from ouro.protocols import balancer_v2_vault as vault
from ouro.protocols.balancer_math import (
    ONE,
    checked,
    complement,
    div_down,
    div_up,
    mul_down,
    mul_up,
    pow_up,
)
from ouro.protocols.balancer_v2_family import VaultFamily
from ouro.protocols.balancer_v2_vault import VaultDelta
from ouro.protocols.balancer_v2_weighted_state import BalancerV2WeightedState
from ouro.protocols.base import (
    BalanceChange,
    ExactHeader,
    Limits,
    Quote,
    QuoteError,
    Segments,
    Source,
    StorageWrite,
)
from ouro.protocols.creation import NewPool
from ouro.protocols.curve_pieces import pieces
from ouro.protocols.headers import weighted_header
from ouro.protocols.proof import Proof
from ouro.protocols.reads import Script
from ouro.types import BlockContext, Log

MAX_RATIO = 3 * ONE // 10
MIN_WEIGHT = ONE // 100
MAX_TOKENS = 50
GAS = 75_000
_KNOTS = 40
_FALLS = (np.arange(_KNOTS + 1) / _KNOTS) ** 3
"""Where knots lie, as shares of the whole fall of the rate: denser near the present rate, because a small gap is
traded away by a small amount, which must be as exact."""


class BalancerV2Weighted(VaultFamily):
    """The family; stateless. Implements ``ouro.protocols.base.Family``."""

    name: ClassVar[str] = "balancer_v2_weighted"
    proof: ClassVar[Proof] = Proof(200_000)
    least_gas: ClassVar[int] = GAS
    topics: ClassVar[tuple[str, ...]] = (*vault.VAULT_TOPICS, vault.FEE_TOPIC, vault.PAUSE_TOPIC)
    sources: ClassVar[Mapping[str, Source]] = {
        **dict.fromkeys(("address", "manager", "pool_id", "tokens", "scaling", "weights"), Source.FIXED),
        **dict.fromkeys(("cash", "managed", "changed_at", "swap_fee", "paused"), Source.FROM_LOGS),
        **dict.fromkeys(("exact_powers", "pause_ends"), Source.FIXED),
    }

    def read(self, pool: NewPool) -> Script[BalancerV2WeightedState]:
        """By getters of the pool and the Vault."""
        return balancer_v2_reading.weighted(pool)

    def decode(self, state: BalancerV2WeightedState, log: Log, timestamp: int) -> VaultDelta | None:
        """Swaps, joins, exits and asset management of the Vault; fee and pause of the pool."""
        return vault.decode(state, log)

    def apply(self, state: BalancerV2WeightedState, delta: VaultDelta) -> BalancerV2WeightedState:
        """The pool after ``delta``."""
        return vault.apply(state, delta)

    def quote_in(
        self, state: BalancerV2WeightedState, i: int, j: int, amount_in_wei: int, context: BlockContext
    ) -> Quote:
        """A swap given in."""
        vault.check_swap(state, i, j, amount_in_wei, context)
        amount_out = _out_given_in(state, i, j, amount_in_wei)
        after = vault.swapped(state, i, j, amount_in_wei, amount_out, context)
        return Quote(amount_in_wei, amount_out, GAS, after)

    def quote_out(
        self, state: BalancerV2WeightedState, i: int, j: int, amount_out_wei: int, context: BlockContext
    ) -> Quote:
        """A swap given out: what the contract asks, which may be a little more than the least input."""
        vault.check_swap(state, i, j, amount_out_wei, context)
        amount_in = _in_given_out(state, i, j, amount_out_wei)
        after = vault.swapped(state, i, j, amount_in, amount_out_wei, context)
        return Quote(amount_in, amount_out_wei, GAS, after)

    def spot_rate(self, state: BalancerV2WeightedState, i: int, j: int) -> float:
        """Marginal output per unit of input, fee included."""
        vault.check_direction(state, i, j)
        balance_in, balance_out = _raw(state, i), _raw(state, j)
        if not balance_in or not balance_out or state.paused:
            return 0.0
        gamma = 1.0 - state.swap_fee / ONE
        return gamma * balance_out / balance_in * state.weights[i] / state.weights[j]

    def limits(self, state: BalancerV2WeightedState, i: int, j: int, context: BlockContext) -> Limits:
        """30 % of the balance, or less where the Vault's cash ends before."""
        vault.check_direction(state, i, j)
        return vault.limits_below(self, state, i, j, _most_in(state, i), context)

    def segments(self, state: BalancerV2WeightedState, i: int, j: int, context: BlockContext) -> Segments:
        """One piece for equal weights, else pieces that share value and slope with the curve at their knots."""
        vault.check_direction(state, i, j)
        balance_in, balance_out = _raw(state, i), _raw(state, j)
        most = _most_in(state, i)
        if not balance_in or not balance_out or most <= 0 or vault.stopped(state, context.timestamp):
            return np.empty((0, 4))
        weights = state.weights[i], state.weights[j]
        return weighted_pieces((balance_in, balance_out), weights, most, 1.0 - state.swap_fee / ONE)

    def exact_header(self, state: BalancerV2WeightedState, i: int, j: int) -> ExactHeader | None:
        """Fee, exponent and balances where they fit the kernel."""
        vault.check_direction(state, i, j)
        if state.paused:
            return None
        balance_in, balance_out = _scaled(state, i), _scaled(state, j)
        if not balance_in or not balance_out or max(balance_in, balance_out) >> 128:
            return None
        exponent = div_down(state.weights[i], state.weights[j])
        room = vault.MAX_BALANCE - _raw(state, i)
        return ExactHeader(
            weighted_header(
                state.swap_fee,
                exponent,
                state.exact_powers,
                (balance_in, balance_out),
                (state.scaling[i], state.scaling[j]),
                (room, state.cash[j]),
            )
        )

    def storage_writes(
        self, state: BalancerV2WeightedState, delta: VaultDelta
    ) -> tuple[StorageWrite | BalanceChange, ...]:
        """The Vault's words of the balances. Not the pool's own word of fee and pause, which the shadow re-reads.

        The Vault holds the tokens of all its pools: their Transfer logs tell its balances.
        """
        return vault.balance_writes(state, self.apply(state, delta))

    def to_json(self, state: BalancerV2WeightedState) -> dict[str, Any]:
        """A tagged, JSON-safe form."""
        weights = vault.numbers_to_json(state.weights)
        return {**vault.shared_to_json(state), "weights": weights, "exact_powers": state.exact_powers}

    def from_json(self, value: dict[str, Any]) -> BalancerV2WeightedState:
        """The inverse of ``to_json``. Raises ``ValueError`` naming the field."""
        found = jsonform.fields(value, self.name, BalancerV2WeightedState.__struct_fields__)
        shared = vault.shared_from_json(found, MAX_TOKENS, (vault.MINIMAL, vault.TWO_TOKEN))
        weights = vault.numbers(found["weights"], "weights", len(shared["tokens"]), MIN_WEIGHT, ONE)
        if sum(weights) != ONE:
            raise ValueError(f"weights: their sum must be {ONE}, got {sum(weights)}")
        exact_powers = jsonform.boolean(found["exact_powers"], "exact_powers")
        return BalancerV2WeightedState(weights=weights, exact_powers=exact_powers, **shared)


def weighted_pieces(balances: tuple[int, int], weights: tuple[int, int], most: int, gamma: float) -> Segments:
    """A weighted curve up to the input ``most``; ``gamma`` is what the fee leaves."""
    balance_in, balance_out = balances
    if weights[0] == weights[1]:
        return np.array([[balance_in, balance_out, gamma, most]], dtype=np.float64)
    exponent = weights[0] / weights[1]
    steepness = exponent + 1.0
    fall = -np.expm1(-steepness * np.log1p(most * gamma / balance_in))
    logs = -np.log1p(-fall * _FALLS) / steepness
    inputs = balance_in * np.expm1(logs)
    left = balance_out * np.exp(-exponent * logs)
    gains = left[:-1] * -np.expm1(-exponent * np.diff(logs))
    return pieces(inputs, gains, exponent * left / (balance_in + inputs), gamma)


def _raw(state: BalancerV2WeightedState, k: int) -> int:
    return state.cash[k] + state.managed[k]


def _scaled(state: BalancerV2WeightedState, k: int) -> int:
    return _raw(state, k) * state.scaling[k]


def _most_in(state: BalancerV2WeightedState, i: int) -> int:
    """The largest gross input that the ratio and the Vault's words allow."""
    net = mul_down(_scaled(state, i), MAX_RATIO) // state.scaling[i]
    return min(vault.most_with_net(net, state.swap_fee), vault.MAX_BALANCE - _raw(state, i))


def _out_given_in(state: BalancerV2WeightedState, i: int, j: int, amount_in: int) -> int:
    balance_in, balance_out = _scaled(state, i), _scaled(state, j)
    if not balance_in or not balance_out:
        raise QuoteError("the pool is empty")
    net = checked(vault.net_of_fee(checked(amount_in), state.swap_fee) * state.scaling[i])
    if net > mul_down(balance_in, MAX_RATIO):
        raise QuoteError("the input exceeds 30 % of the pool's balance")
    base = div_up(balance_in, balance_in + net)
    power = pow_up(base, div_down(state.weights[i], state.weights[j]), state.exact_powers)
    return mul_down(balance_out, complement(power)) // state.scaling[j]


def _in_given_out(state: BalancerV2WeightedState, i: int, j: int, amount_out: int) -> int:
    balance_in, balance_out = _scaled(state, i), _scaled(state, j)
    scaled_out = checked(amount_out * state.scaling[j])
    if scaled_out > mul_down(balance_out, MAX_RATIO):
        raise QuoteError("the output exceeds 30 % of the pool's balance")
    base = div_up(balance_out, balance_out - scaled_out)
    power = pow_up(base, div_up(state.weights[j], state.weights[i]), state.exact_powers)
    net = -(-mul_up(balance_in, checked(power - ONE)) // state.scaling[i])
    return vault.with_fee(net, state.swap_fee)

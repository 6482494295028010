"""Balancer V3 weighted pools of two to eight tokens: ``WeightedPool.onSwap`` of the package's version 1.0.0.

Against V2: the input's balance counts a unit more, and a swap leaves least balances.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from ouro.protocols import balancer_stable_curve, balancer_v3_reading, jsonform
from ouro.protocols import balancer_v3_state as states
from ouro.protocols import balancer_v3_vault as vault
from ouro.protocols.balancer_math import ONE, checked, complement, div_down, div_up, mul_down, mul_up, pow_up
from ouro.protocols.balancer_v2_vault import check_direction, numbers, numbers_to_json
from ouro.protocols.balancer_v2_weighted import MAX_RATIO, MIN_WEIGHT, weighted_pieces
from ouro.protocols.balancer_v3_family import SHARED_SOURCES, VAULT_TOPICS, ThirdVault
from ouro.protocols.balancer_v3_state import BalancerV3WeightedState
from ouro.protocols.balancer_v3_vault import Curve
from ouro.protocols.base import Limits, QuoteError, Segments, Source
from ouro.protocols.creation import NewPool
from ouro.protocols.proof import Proof
from ouro.protocols.reads import Script
from ouro.types import BlockContext

GAS = 110_000


class BalancerV3Weighted(ThirdVault):
    """Weighted pools; stateless."""

    name: ClassVar[str] = "balancer_v3_weighted"
    proof: ClassVar[Proof] = Proof(150_000)
    topics: ClassVar[tuple[str, ...]] = VAULT_TOPICS
    gas: ClassVar[int] = GAS
    least_gas: ClassVar[int] = GAS
    most_tokens: ClassVar[int] = 8
    sources: ClassVar[Mapping[str, Source]] = {
        **SHARED_SOURCES,
        **dict.fromkeys(("weights", "least_balances"), Source.FIXED),
    }

    def read(self, pool: NewPool) -> Script[BalancerV3WeightedState]:
        """By getters of pool and Vault, and three swaps of the curve."""
        return balancer_v3_reading.weighted(pool, self.curve)

    def curve(self, state: BalancerV3WeightedState, timestamp: int) -> Curve:
        """``WeightedPool.onSwap``."""

        def out_given_in(balances: Sequence[int], i: int, j: int, net: int) -> int:
            into, from_ = _guarded(state, balances, i), balances[j]
            if net > mul_down(into, MAX_RATIO):
                raise QuoteError("the input exceeds 30 % of the pool's balance")
            exponent = div_down(state.weights[i], state.weights[j])
            power = pow_up(div_up(into, into + net), exponent)
            return _left(state, j, from_, mul_down(from_, complement(power)))

        def in_given_out(balances: Sequence[int], i: int, j: int, out: int) -> int:
            into, from_ = _guarded(state, balances, i), balances[j]
            if out > mul_down(from_, MAX_RATIO):
                raise QuoteError("the output exceeds 30 % of the pool's balance")
            power = pow_up(div_up(from_, from_ - out), div_up(state.weights[j], state.weights[i]))
            _left(state, j, from_, out)
            return mul_up(into, checked(power - ONE))

        return Curve(out_given_in, in_given_out)

    def spot_rate(self, state: BalancerV3WeightedState, i: int, j: int) -> float:
        """Marginal output per unit of input, fee included."""
        check_direction(state, i, j)
        if self.is_empty(state):
            return 0.0
        gamma = 1.0 - state.swap_fee / ONE
        return gamma * state.balances[j] / state.balances[i] * state.weights[i] / state.weights[j]

    def limits(self, state: BalancerV3WeightedState, i: int, j: int, context: BlockContext) -> Limits:
        """30 % of the balance."""
        check_direction(state, i, j)
        return vault.most_below(self, state, i, j, self._most_in(state, i), context)

    def segments(self, state: BalancerV3WeightedState, i: int, j: int, context: BlockContext) -> Segments:
        """As V2's: rates change both sides of the curve alike."""
        check_direction(state, i, j)
        most = self._most_in(state, i)
        if self.is_empty(state) or not most:
            return balancer_stable_curve.NOTHING
        weights = state.weights[i], state.weights[j]
        return weighted_pieces((state.balances[i], state.balances[j]), weights, most, 1.0 - state.swap_fee / ONE)

    @staticmethod
    def _most_in(state: BalancerV3WeightedState, i: int) -> int:
        return state.balances[i] * MAX_RATIO // (ONE - state.swap_fee)

    def to_json(self, state: BalancerV3WeightedState) -> dict[str, Any]:
        """A tagged, JSON-safe form."""
        lists = {name: numbers_to_json(getattr(state, name)) for name in ("weights", "least_balances")}
        return {**states.to_json(state), **lists}

    def from_json(self, value: dict[str, Any]) -> BalancerV3WeightedState:
        """The inverse of ``to_json``. Raises ``ValueError`` naming the field."""
        found = jsonform.fields(value, self.name, BalancerV3WeightedState.__struct_fields__)
        shared = states.from_json(found, self.most_tokens)
        n = len(shared["tokens"])
        weights = numbers(found["weights"], "weights", n, MIN_WEIGHT, ONE)
        if sum(weights) != ONE:
            raise ValueError(f"weights: their sum must be {ONE}, got {sum(weights)}")
        least = numbers(found["least_balances"], "least_balances", n, 0, states.MAX_BALANCE)
        return BalancerV3WeightedState(weights=weights, least_balances=least, **shared)


def _guarded(state: BalancerV3WeightedState, balances: Sequence[int], i: int) -> int:
    into = balances[i] + 1
    if into < state.least_balances[i]:
        raise QuoteError("the pool has less of the input than it may")
    return into


def _left(state: BalancerV3WeightedState, j: int, balance: int, out: int) -> int:
    if balance - out < state.least_balances[j]:
        raise QuoteError("the swap would leave less of the output than the pool may have")
    return out

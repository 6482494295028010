"""The states of weighted and stable pools of Balancer's third Vault, and what both have in common."""

from typing import Any, ClassVar

import msgspec

from ouro.protocols import jsonform
from ouro.protocols.balancer_math import ONE
from ouro.protocols.balancer_v2_vault import numbers, numbers_to_json, token_list
from ouro.types import Address

MAX_BALANCE = (1 << 128) - 1
MAX_RATE = (1 << 128) - 1
MAX_TRADE = (1 << 128) - 1
_NUMBERS = ("scaling", "balances", "last_live", "rates")


class BalancerV3State(msgspec.Struct, frozen=True):
    """A pool. ``balances`` are in the tokens' units, ``last_live`` are 18 decimals at the rates of the last change.

    Fees have 18 decimals. ``pays_yield``: of whose rise in rate the Vault takes its share at the next change.
    ``stopped``: paused, or the whole Vault is. ``rescued`` (recovery mode): nothing is taken for the protocol.
    """

    family: ClassVar[str] = ""

    address: Address
    manager: Address
    tokens: tuple[Address, ...]
    scaling: tuple[int, ...]
    balances: tuple[int, ...]
    last_live: tuple[int, ...]
    rates: tuple[int, ...]
    pays_yield: tuple[bool, ...]
    swap_fee: int
    aggregate_swap_fee: int
    aggregate_yield_fee: int
    least_trade: int
    stopped: bool
    rescued: bool

    @property
    def fee_ppm(self) -> int:
        """The fee in parts per million."""
        return self.swap_fee // 10**12


class BalancerV3WeightedState(BalancerV3State, frozen=True):
    """Weights and the least balances (18 decimals) that a swap may leave."""

    family: ClassVar[str] = "balancer_v3_weighted"

    weights: tuple[int, ...]
    least_balances: tuple[int, ...]


class BalancerV3StableState(BalancerV3State, frozen=True):
    """The amplification in thousandths, from one value at one time to another."""

    family: ClassVar[str] = "balancer_v3_stable"

    amp_start: int
    amp_end: int
    amp_start_time: int
    amp_end_time: int


def to_json(state: Any) -> dict[str, Any]:
    """The fields that every pool of the Vault has."""
    return {
        "family": state.family,
        "address": state.address,
        "manager": state.manager,
        "tokens": list(state.tokens),
        **{name: numbers_to_json(getattr(state, name)) for name in _NUMBERS},
        "pays_yield": list(state.pays_yield),
        "swap_fee": str(state.swap_fee),
        "aggregate_swap_fee": str(state.aggregate_swap_fee),
        "aggregate_yield_fee": str(state.aggregate_yield_fee),
        "least_trade": str(state.least_trade),
        "stopped": state.stopped,
        "rescued": state.rescued,
    }


def from_json(found: dict[str, Any], most_tokens: int) -> dict[str, Any]:
    """The inverse, as keyword arguments. Raises ``ValueError`` naming the field."""
    tokens = token_list(found["tokens"], 2, most_tokens)
    n = len(tokens)
    scaling = numbers(found["scaling"], "scaling", n, 1, ONE)
    if any(10 ** (len(str(factor)) - 1) != factor for factor in scaling):
        raise ValueError("scaling: powers of ten are expected")
    yields = found["pays_yield"]
    if not isinstance(yields, list | tuple) or len(yields) != n:
        raise ValueError(f"pays_yield: a list of {n} booleans is expected, got {yields!r:.80}")
    return {
        "address": jsonform.address(found["address"], "address"),
        "manager": jsonform.address(found["manager"], "manager"),
        "tokens": tokens,
        "scaling": scaling,
        "balances": numbers(found["balances"], "balances", n, 0, MAX_BALANCE),
        "last_live": numbers(found["last_live"], "last_live", n, 0, MAX_BALANCE),
        "rates": numbers(found["rates"], "rates", n, 1, MAX_RATE),
        "pays_yield": tuple(jsonform.boolean(one, f"pays_yield[{k}]") for k, one in enumerate(yields)),
        "swap_fee": jsonform.integer(found["swap_fee"], "swap_fee", 0, ONE - 1),
        "aggregate_swap_fee": jsonform.integer(found["aggregate_swap_fee"], "aggregate_swap_fee", 0, ONE),
        "aggregate_yield_fee": jsonform.integer(found["aggregate_yield_fee"], "aggregate_yield_fee", 0, ONE),
        "least_trade": jsonform.integer(found["least_trade"], "least_trade", 0, MAX_TRADE),
        "stopped": jsonform.boolean(found["stopped"], "stopped"),
        "rescued": jsonform.boolean(found["rescued"], "rescued"),
    }

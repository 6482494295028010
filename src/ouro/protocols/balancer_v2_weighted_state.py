"""The state of a weighted pool of Balancer's second Vault."""

from typing import ClassVar

import msgspec

from ouro.types import Address


class BalancerV2WeightedState(msgspec.Struct, frozen=True):
    """A pool. Weights and fee have 18 decimals; ``scaling`` is 10^(18 - decimals) by token."""

    family: ClassVar[str] = "balancer_v2_weighted"

    address: Address
    manager: Address
    pool_id: str
    tokens: tuple[Address, ...]
    scaling: tuple[int, ...]
    weights: tuple[int, ...]
    cash: tuple[int, ...]
    managed: tuple[int, ...]
    changed_at: tuple[int, ...]
    swap_fee: int
    exact_powers: bool = True
    paused: bool = False
    pause_ends: int = 0

    @property
    def fee_ppm(self) -> int:
        """The fee in parts per million."""
        return self.swap_fee // 10**12

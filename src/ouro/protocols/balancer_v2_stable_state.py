"""The state of a stable pool of Balancer's second Vault."""

from typing import ClassVar

import msgspec

from ouro.types import Address

NO_PROVIDER: Address = "0x" + "00" * 20
MAX_RATE = (1 << 128) - 1


class BalancerV2StableState(msgspec.Struct, frozen=True):
    """A pool. ``own_token`` is the position of the pool's token among ``tokens``, -1 where it is not registered.

    ``rates`` are the cached ones, valid up to ``rate_expires`` and then for ``rate_durations`` more seconds; tokens
    without a provider have rate one. ``as_of`` is the time that ``at`` made the state for, 0 where logs did.
    """

    family: ClassVar[str] = "balancer_v2_stable"

    address: Address
    manager: Address
    pool_id: str
    tokens: tuple[Address, ...]
    scaling: tuple[int, ...]
    cash: tuple[int, ...]
    managed: tuple[int, ...]
    changed_at: tuple[int, ...]
    swap_fee: int
    amp_start: int
    amp_end: int
    amp_start_time: int
    amp_end_time: int
    rounds_up: bool
    own_token: int
    rate_providers: tuple[Address, ...]
    rates: tuple[int, ...]
    rate_durations: tuple[int, ...]
    rate_expires: tuple[int, ...]
    provider_rates: tuple[int, ...]
    paused: bool = False
    pause_ends: int = 0
    as_of: int = 0

    @property
    def fee_ppm(self) -> int:
        """The fee in parts per million."""
        return self.swap_fee // 10**12

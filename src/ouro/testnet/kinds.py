"""Every kind of pool that local chains have, and how it is handled."""

from collections.abc import Iterable

from ouro.testnet.deployment import Pool, Venue
from ouro.testnet.dialects import DIALECTS, Dialect
from ouro.testnet.share_dialect import Shares
from ouro.testnet.stable_dialect import Saddle
from ouro.testnet.vault_dialects import ComposableStable, Weighted
from ouro.types import Address

_KINDS: dict[str, Dialect] = {
    **DIALECTS,
    "balancer_v2_weighted": Weighted(),
    "balancer_v2_stable": ComposableStable(),
    "saddle": Saddle(),
    "erc4626": Shares(),
}
_NAMED_ONE_BY_ONE = frozenset(("saddle", "erc4626"))


def configured(venue: Venue, pools: Iterable[Pool]) -> list[tuple[str, Address]]:
    """(name, factory) of the DEXes that Ouro is told about: of pools that nobody lists, each is one."""
    if venue.kind in _NAMED_ONE_BY_ONE:
        own = [pool.address for pool in pools if pool.dex == venue.name]
        return [(f"{venue.name}_{k}" if k else venue.name, address) for k, address in enumerate(own)]
    return [(venue.name, venue.pool_factory or venue.factory)]


def dialect(kind: str) -> Dialect:
    """By ``Pool.kind``."""
    return _KINDS[kind]

"""Every kind of pool that local chains have, and how it is handled."""

from ouro.testnet.dialects import DIALECTS, Dialect
from ouro.testnet.stable_dialect import Saddle
from ouro.testnet.vault_dialects import ComposableStable, Weighted

_KINDS: dict[str, Dialect] = {
    **DIALECTS,
    "balancer_v2_weighted": Weighted(),
    "balancer_v2_stable": ComposableStable(),
    "saddle": Saddle(),
}


def dialect(kind: str) -> Dialect:
    """By ``Pool.kind``."""
    return _KINDS[kind]

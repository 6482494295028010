"""A block's logs, pool by pool: pools don't depend on one another, and within a block only the last reserves or
price of a pool can be traded on. Families say how logs of one pool are taken at once (``Family.fold``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ouro.protocols.base import Family
from ouro.types import Address, Log, PoolId


@dataclass(slots=True)
class Grouped:
    """A block's logs by pool id, in order; ``movers`` are the pools with the transaction that came first."""

    groups: dict[int, list[Log]] = field(default_factory=dict)
    movers: dict[PoolId, int] = field(default_factory=dict)
    unknown: list[Log] = field(default_factory=list)


def by_pool(logs: Sequence[Log], index: Mapping[PoolId, int], managers: Mapping[Address, Family]) -> Grouped:
    """``index`` names the pools' ids; of ``managers`` the family reads which pool a log names."""
    found = Grouped()
    groups = found.groups
    for log in logs:
        pool = log.address
        manager = managers.get(pool)
        if manager is not None:
            pool = manager.pool_named(log) or pool
        pool_id = index.get(pool)
        if pool_id is None:
            found.unknown.append(log)
        elif pool_id in groups:
            groups[pool_id].append(log)
        else:
            groups[pool_id] = [log]
            found.movers[pool] = log.tx_index
    return found

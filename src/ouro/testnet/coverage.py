"""Which kinds of pools the landed trades went through, per chain: the proof that each family really executes."""

from collections.abc import Iterable, Mapping
from typing import Any, get_args

from ouro.config.model import FamilyName
from ouro.ledger.records import AttemptRecord
from ouro.ledger.report import predicted_equals_executed
from ouro.testnet.compositions import profile_of
from ouro.testnet.deployment import Deployment
from ouro.testnet.profiles import NATIVE
from ouro.types import OutcomeKind, PoolId

Kinds = Mapping[str, Mapping[PoolId, str]]
"""Chain → pool → kind of pool, as a person would call it."""


def kinds_of(deployments: Iterable[Deployment]) -> Kinds:
    """What every seeded pool is that the engine is told of: its venue's contracts, and the curve or currency where
    those make a difference."""
    found: dict[str, dict[PoolId, str]] = {}
    for deployment in deployments:
        recorded = profile_of(deployment.chain).pools
        pools = found.setdefault(deployment.chain, {})
        for pool in deployment.pools:
            venue = deployment.venue(pool.dex)
            kind = venue.kind
            if venue.family not in get_args(FamilyName):
                continue
            if kind == "solidly":
                kind = "solidly_stable" if recorded[pool.recorded].stable else "solidly_volatile"
            elif kind == "uniswap_v4" and NATIVE in pool.tokens:
                kind = "uniswap_v4_native"
            pools[pool.address] = kind
    return found


def coverage(kinds: Kinds, records: Iterable[AttemptRecord]) -> dict[str, Any]:
    """Landed trades by kind and chain, and those whose amounts were predicted to the wei.

    ``{"kinds": {kind: {chain: {"landed": n, "predicted_equals_executed": n}}}, "kinds_without_landed": [...]}``; a
    chain is named under a kind when it has such pools. A trade counts once for each kind that it goes through.
    """
    table: dict[str, dict[str, dict[str, int]]] = {}
    for chain, pools in kinds.items():
        for kind in sorted(set(pools.values())):
            table.setdefault(kind, {})[chain] = {"landed": 0, "predicted_equals_executed": 0}
    for record in records:
        if not record.is_trade or record.plan is None or record.outcome is None:
            continue
        if record.outcome.kind is not OutcomeKind.LANDED:
            continue
        chain = record.attempt.chain
        exact = predicted_equals_executed(record)
        for kind in {kinds[chain][hop.pool] for hop in record.plan.hops}:
            cell = table[kind][chain]
            cell["landed"] += 1
            cell["predicted_equals_executed"] += exact
    missing = sorted(kind for kind, row in table.items() if not any(cell["landed"] for cell in row.values()))
    return {"kinds": dict(sorted(table.items())), "kinds_without_landed": missing}

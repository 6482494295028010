"""Proving a family against deployed contracts by ``eth_call``: quotes of ours against the pools' own views.

What no bytecode at hand can prove, any node can: for a list of pools, states are read at one block, quotes made for
amounts from next to nothing to most of the pool, and each is asked of the contract at the same block.
"""

import json
import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ouro.market.errors import SyncError
from ouro.protocols.base import Family, QuoteError
from ouro.protocols.creation import NewPool
from ouro.protocols.probes import Probe
from ouro.protocols.reads import Garbage, Script
from ouro.types import BlockContext

AMOUNTS = 16
"""Inputs tried per direction and pool."""


@dataclass(frozen=True, slots=True)
class PoolProof:
    """What was compared with one pool. ``problem``: why there was nothing to compare."""

    pool: str
    block_number: int
    cases: int = 0
    differences: tuple[str, ...] = ()
    problem: str = ""

    @property
    def sound(self) -> bool:
        """Something was compared and nothing differed."""
        return self.cases > 0 and not self.differences and not self.problem


def probes(family: Family, state: Any, context: BlockContext, rng: random.Random) -> Iterator[Probe]:
    """Comparisons for every direction of a pool; amounts lie evenly by their logarithm."""
    tokens = range(len(state.tokens))
    for i, j in ((i, j) for i in tokens for j in tokens if i != j):
        most = family.limits(state, i, j, context).max_in_wei
        for _ in range(AMOUNTS if most else 0):
            amount = max(int(most * 10 ** rng.uniform(-9, 0)), 1)
            try:
                probe = family.probe(state, i, j, amount, context)
            except QuoteError:
                continue  # what we refuse is no case
            if probe is not None:
                yield probe


def prove_pool(family: Family, pool: NewPool, context: BlockContext, seed: str) -> Script[PoolProof]:
    """Read the pool, then ask it for every quote. The script never raises: problems are part of the answer."""
    try:
        state = yield from family.read(pool)
        state = family.from_json(family.to_json(state))
        rng = random.Random(f"{seed}-{pool.address}")  # noqa: S311 - amounts to try, no secrets
        asked = list(probes(family, state, context, rng))
    except (Garbage, ValueError, QuoteError) as error:
        return PoolProof(pool.address, context.number, problem=str(error))
    if not asked:
        return PoolProof(
            pool.address, context.number, problem="the family has no view to compare, or the pool is empty"
        )
    answers = yield [probe.call for probe in asked]
    found = (probe.difference(answer) for probe, answer in zip(asked, answers, strict=True))
    return PoolProof(pool.address, context.number, len(asked), tuple(text for text in found if text))


def store(path: Path, chain_id: int, family: str, proofs: list[PoolProof]) -> None:
    """Add to the record of proofs at ``path`` (JSON): the newest result of each pool counts.

    Raises ``SyncError`` where the file is none of ours.
    """
    try:
        record: Any = json.loads(path.read_text()) if path.is_file() else {}
        pools = record.setdefault(family, {}).setdefault(str(chain_id), {})
    except (ValueError, AttributeError) as error:
        raise SyncError(f"{path} holds no proofs any more ({error}): move it away, nothing was added") from error
    pools.update({proof.pool: asdict(proof) for proof in proofs})
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    partial.write_text(json.dumps(record, indent=1, sort_keys=True))
    partial.replace(path)

"""What agents and rivals see of the pools: read from the node, as virtual constant-product reserves."""

from collections.abc import Sequence
from dataclasses import dataclass

from ouro.testnet.client import Client
from ouro.testnet.deployment import Pool
from ouro.testnet.dialects import Seen
from ouro.testnet.kinds import dialect
from ouro.testnet.profiles import EVEN_WEIGHTS


@dataclass(frozen=True, slots=True)
class PoolView:
    """A pool at a block. ``virtual`` are raw reserves; of a concentrated pool those of its current range, as floats
    are enough to decide with. ``reserves`` are the exact ones of a pair, zero for concentrated pools."""

    virtual: tuple[float, float]
    reserves: tuple[int, int] = (0, 0)

    @property
    def price(self) -> float:
        """Raw token1 per raw token0; 0.0 for an empty pool."""
        return self.virtual[1] / self.virtual[0] if self.virtual[0] else 0.0


def read_views(client: Client, pools: Sequence[Pool], block: str) -> list[PoolView]:
    """All ``pools`` at ``block`` (hex number or tag) in one request."""
    asked = [dialect(pool.kind).reads(pool) for pool in pools]
    calls = [("eth_call", [{"to": to, "data": data}, block]) for reads in asked for to, data in reads]
    answers = iter(client.batch(calls))
    return [
        _view(dialect(pool.kind).seen([next(answers) for _ in reads]))
        for pool, reads in zip(pools, asked, strict=True)
    ]


def _view(seen: Seen) -> PoolView:
    if seen.sqrt_price_x96:
        root, depth = seen.sqrt_price_x96 / 2**96, float(seen.liquidity)
        return PoolView((depth / root, depth * root))
    even = EVEN_WEIGHTS[0]
    virtual0, virtual1 = (reserve * even / w for reserve, w in zip(seen.reserves, seen.weights, strict=True))
    return PoolView((virtual0, virtual1), seen.reserves)

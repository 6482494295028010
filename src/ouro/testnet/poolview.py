"""What agents and rivals see of the pools: read from the node, as virtual constant-product reserves."""

from collections.abc import Sequence
from dataclasses import dataclass

from ouro.testnet.abi import call_data
from ouro.testnet.client import Client
from ouro.testnet.deployment import Pool

_GET_RESERVES = call_data("getReserves()")
_SLOT0 = call_data("slot0()")
_LIQUIDITY = call_data("liquidity()")
_Q96 = 2**96


@dataclass(frozen=True, slots=True)
class PoolView:
    """A pool at a block. ``virtual`` are raw reserves; of a V3 pool those of its current range, as floats are
    enough to decide with. ``reserves`` are the exact ones of a V2 pair, zero for V3."""

    virtual: tuple[float, float]
    reserves: tuple[int, int] = (0, 0)

    @property
    def price(self) -> float:
        """Raw token1 per raw token0; 0.0 for an empty pool."""
        return self.virtual[1] / self.virtual[0] if self.virtual[0] else 0.0


def read_views(client: Client, pools: Sequence[Pool], block: str) -> list[PoolView]:
    """All ``pools`` at ``block`` (hex number or tag) in one request."""
    calls = []
    for pool in pools:
        names = (_GET_RESERVES,) if pool.kind == "v2" else (_SLOT0, _LIQUIDITY)
        calls += [("eth_call", [{"to": pool.address, "data": data}, block]) for data in names]
    answers = iter(client.batch(calls))
    return [_v2(next(answers)) if pool.kind == "v2" else _v3(next(answers), next(answers)) for pool in pools]


def _v2(data: str) -> PoolView:
    reserve0, reserve1 = int(data[2:66], 16), int(data[66:130], 16)
    return PoolView((float(reserve0), float(reserve1)), (reserve0, reserve1))


def _v3(slot0: str, liquidity: str) -> PoolView:
    root, depth = int(slot0[2:66], 16) / _Q96, float(int(liquidity, 16))
    return PoolView((depth / root, depth * root)) if root else PoolView((0.0, 0.0))

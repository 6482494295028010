"""Pool states and per-block deltas from a node's logs, by the families' own code."""

from typing import Any

from world import Pool, World  # pyright: ignore[reportMissingImports]

from ouro.chain.rpc import connect
from ouro.protocols.registry import FAMILIES
from ouro.protocols.uniswap_v2 import UniswapV2State
from ouro.protocols.uniswap_v3 import UniswapV3State
from ouro.types import Log

SPACING = {500: 10, 3000: 60}


class Follower:
    """Pool states by address, advanced block by block from ``eth_getLogs``."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.states: dict[str, Any] = {pool.address: _empty(pool) for pool in world.pools.values()}
        self.number = -1
        self.history: dict[int, dict[str, Any]] = {}
        while self.number < self.head():
            self.advance()

    def head(self) -> int:
        """The node's last block."""
        return int(self.world.backend.rpc("eth_blockNumber"), 16)

    def advance(self) -> list[tuple[Any, Any, Any]]:
        """Take one block more; what ``ShadowEvm.apply`` wants to know of it."""
        self.number += 1
        rpc, tag = self.world.backend.rpc, hex(self.number)
        timestamp = int(rpc("eth_getBlockByNumber", tag, False)["timestamp"], 16)
        deltas = []
        for raw in rpc("eth_getLogs", {"fromBlock": tag, "toBlock": tag}):
            state = self.states.get(raw["address"].lower())
            if state is None:
                continue
            family = FAMILIES[state.family]
            delta = family.decode(state, _log(raw), timestamp)
            if delta is not None:
                deltas.append((family, state, delta))
                self.states[state.address] = family.apply(state, delta)
        self.history[self.number] = dict(self.states)
        return deltas

    def rewind(self, number: int) -> None:
        """Back to the states after block ``number``."""
        self.states, self.number = dict(self.history[number]), number

    async def reader(self) -> Any:
        """A connection as the engine has it."""
        return await connect(self.world.backend.url)


def _empty(pool: Pool) -> Any:
    if pool.family == "uniswap_v2":
        return UniswapV2State(pool.address, pool.tokens, 0, 0, pool.fee)
    return UniswapV3State(pool.address, pool.tokens, pool.fee, SPACING[pool.fee])


def _log(raw: dict[str, Any]) -> Log:
    return Log(
        raw["address"].lower(),
        tuple(raw["topics"]),
        raw["data"],
        int(raw["blockNumber"], 16),
        raw["blockHash"],
        raw["transactionHash"],
        int(raw["transactionIndex"], 16),
        int(raw["logIndex"], 16),
    )

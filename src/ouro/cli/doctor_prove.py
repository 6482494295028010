"""``ouro doctor --prove FAMILY --pools A,B``: are the quotes of a family those of the contracts on this node?"""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from ouro.config.model import ChainConfig
    from ouro.market.proving import PoolProof

PROOFS_FILE = "proofs.json"
_UNSOUND = 1
_SHOWN = 5


def prove(config: Path, family: str, pools: str) -> None:
    """Compare on every configured chain that has the pools, print and store it; exit code 1 on a difference."""
    import asyncio

    from ouro.config.load import load_config
    from ouro.market.proving import store
    from ouro.protocols.registry import FAMILIES

    if family not in FAMILIES:
        known = ", ".join(sorted(FAMILIES))
        raise typer.BadParameter(f"{family!r} is not a family; known: {known}", param_hint="--prove")
    addresses = [pool.strip().lower() for pool in pools.split(",") if pool.strip()]
    if not addresses:
        raise typer.BadParameter("name at least one pool", param_hint="--pools")
    loaded, sound = load_config(config), True
    for name, chain in loaded.chains.items():
        proofs = asyncio.run(_prove_on(name, chain, family, addresses))
        for proof in proofs:
            typer.echo(f"{name}: {_line(proof)}")
            for difference in proof.differences[:_SHOWN]:
                typer.echo(f"{name}:   {difference}")
        store(loaded.data_dir / PROOFS_FILE, chain.chain_id, family, proofs)
        sound &= all(proof.sound for proof in proofs)
    raise typer.Exit(0 if sound else _UNSOUND)


def _line(proof: "PoolProof") -> str:
    if proof.problem:
        return f"{proof.pool}: not compared: {proof.problem}"
    return f"{proof.pool}: {proof.cases} quotes at block {proof.block_number}, {len(proof.differences)} differences"


async def _prove_on(name: str, chain: "ChainConfig", family: str, addresses: list[str]) -> "list[PoolProof]":
    from ouro.chain.pool import EndpointPool
    from ouro.market.proving import PoolProof, prove_pool
    from ouro.market.reader import pin
    from ouro.market.scripts import run_scripts
    from ouro.protocols.creation import NewPool
    from ouro.protocols.registry import FAMILIES
    from ouro.types import BlockContext

    async with EndpointPool(chain.endpoints, chain.chain_id, name=name) as node:
        head = int(await node.call("eth_blockNumber", []), 16)
        block = await pin(node, head, chain.multicall)
        context = BlockContext(block.number, block.timestamp, block.base_fee_wei or 0)
        new = [NewPool(name, family, address, (), 0) for address in addresses]
        scripts = [prove_pool(FAMILIES[family], pool, context, "1") for pool in new]
        found = await run_scripts(node, chain.multicall, scripts, block)
    return [
        one if isinstance(one, PoolProof) else PoolProof(pool.address, context.number, problem=str(one))
        for pool, one in zip(new, found, strict=True)
    ]

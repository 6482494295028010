"""``ouro doctor --prove FAMILY --pools A,B``: are the quotes of a family those of the contracts on this node?"""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from ouro.config.model import ChainConfig
    from ouro.market.proving import PoolProof

PROOFS_FILE = "proofs.json"
_UNSOUND = 1
_SHOWN = 5
_ADDRESS_LENGTH = 42
_POOL = re.compile(r"0x[0-9a-f]{40}([0-9a-f]{24})?")


def prove(config: Path, family: str, pools: str) -> None:
    """Compare on every configured chain that has the pools, print and store it.

    Exit code 1 on a difference, where nothing could be compared, and for a pool that no chain has.
    """
    import asyncio

    from ouro.config.load import load_config
    from ouro.market.proving import store
    from ouro.protocols.registry import FAMILIES

    if family not in FAMILIES:
        known = ", ".join(sorted(FAMILIES))
        raise typer.BadParameter(f"{family!r} is not a family; known: {known}", param_hint="--prove")
    addresses = addresses_of(pools)
    loaded, sound = load_config(config), True
    missing = set(addresses)
    for name, chain in loaded.chains.items():
        proofs = asyncio.run(_prove_on(name, chain, family, addresses))
        for proof in proofs:
            typer.echo(f"{name}: {_line(proof)}")
            for difference in proof.differences[:_SHOWN]:
                typer.echo(f"{name}:   {difference}")
        missing -= {proof.pool for proof in proofs}
        store(loaded.data_dir / PROOFS_FILE, chain.chain_id, family, proofs)
        sound &= all(proof.sound for proof in proofs)
    for pool in sorted(missing):
        typer.echo(f"{pool}: not compared: no configured chain has code there")
    raise typer.Exit(0 if sound and not missing else _UNSOUND)


def addresses_of(pools: str) -> list[str]:
    """The pools named, without repetitions. Raises ``typer.BadParameter``."""
    named = list(dict.fromkeys(pool.strip().lower() for pool in pools.split(",") if pool.strip()))
    if not named:
        raise typer.BadParameter("name at least one pool", param_hint="--pools")
    for pool in named:
        if not _POOL.fullmatch(pool):
            raise typer.BadParameter(f"{pool!r} is not an address: 0x and 40 hex digits", param_hint="--pools")
    return named


def _line(proof: "PoolProof") -> str:
    if proof.problem:
        return f"{proof.pool}: not compared: {proof.problem}"
    return f"{proof.pool}: {proof.cases} quotes at block {proof.block_number}, {len(proof.differences)} differences"


async def _prove_on(name: str, chain: "ChainConfig", family: str, addresses: list[str]) -> "list[PoolProof]":
    """Of the pools that this chain has code of."""
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
        here = [pool for pool in addresses if await _has_code(node, pool, head)]
        new = [NewPool(name, family, address, (), 0) for address in here]
        scripts = [prove_pool(FAMILIES[family], pool, context, "1") for pool in new]
        found = await run_scripts(node, chain.multicall, scripts, block)
    return [
        one if isinstance(one, PoolProof) else PoolProof(pool.address, context.number, problem=str(one))
        for pool, one in zip(new, found, strict=True)
    ]


async def _has_code(node: Any, pool: str, number: int) -> bool:
    """Pools inside a manager are named by an id: whether they are there, their reading tells."""
    return len(pool) > _ADDRESS_LENGTH or len(await node.call("eth_getCode", [pool, hex(number)])) > len("0x")

"""``ouro doctor``: is the copy of the chain exact? Anyone can ask, at any time, against any node."""

from pathlib import Path
from typing import Annotated

import typer

_UNSOUND = 1


def register(app: typer.Typer) -> None:
    """Add the commands of this file to ``app``."""

    @app.command("doctor")
    def doctor(
        config: Annotated[Path, typer.Option("--config", "-c", help="Configuration (TOML).")] = Path("ouro.toml"),
        blocks: Annotated[int, typer.Option(min=0, help="Follow so many blocks by logs before comparing.")] = 5,
    ) -> None:
        """Load each chain, follow it by its logs, compare every pool with calls; exit code 1 on a difference."""
        import asyncio
        import logging

        from ouro.cli.logs import configure_logs
        from ouro.config.load import load_config

        configure_logs(logging.ERROR)
        loaded = load_config(config)
        differing = asyncio.run(_examine_all(loaded, blocks))
        raise typer.Exit(_UNSOUND if differing else 0)


async def _examine_all(config, blocks: int) -> int:  # noqa: ANN001 - late import keeps help instant
    return sum([await _examine(name, config.chains[name], blocks) for name in config.chains])


async def _examine(name: str, chain, blocks: int) -> int:  # noqa: ANN001
    from ouro.chain.feed import BlockFeed
    from ouro.chain.pool import EndpointPool
    from ouro.market.bootstrap import load_market
    from ouro.market.sync import verify
    from ouro.types import BlockUpdate, Rollback

    async with EndpointPool(chain.endpoints, chain.chain_id, name=name) as node:
        market, number, block_hash = await load_market(name, chain, node, None)
        feed = BlockFeed(name, node, market.topics, chain.reorg_ring_depth, start=(number, block_hash))
        wanted = number + chain.finality_depth + blocks
        try:
            async for event in feed:
                if isinstance(event, BlockUpdate):
                    market.apply(event)
                elif isinstance(event, Rollback):
                    market.rollback(event.to_number, event.to_hash)
                else:
                    typer.echo(f"{name}: the feed lost the thread: {event.reason}")
                    return 1
                if market.head is not None and market.head.number >= wanted and not feed.pending():
                    break
        finally:
            await feed.close()
        differences = await verify(market, node, chain.multicall)
    for difference in differences:
        typer.echo(f"{name}: {difference}")
    for pool, reason in market.rejected.items():
        typer.echo(f"{name}: left out {pool}: {reason}")
    head = market.head.number if market.head else number
    typer.echo(f"{name}: {len(market.states)} pools at block {head}, {len(differences)} differ from calls")
    return len(differences)

"""``ouro doctor``: is the copy of the chain exact? Anyone can ask, at any time, against any node."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ouro.cli.errors import exit_code, of_chain

if TYPE_CHECKING:
    from ouro.config.model import ChainConfig
    from ouro.types import Mode


def register(app: typer.Typer) -> None:
    """Add the commands of this file to ``app``."""

    @app.command("doctor")
    def doctor(
        config: Annotated[Path, typer.Option("--config", "-c", help="Configuration (TOML).")] = Path("ouro.toml"),
        blocks: Annotated[int, typer.Option(min=0, help="Follow so many blocks by logs before comparing.")] = 5,
        as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
        prove: Annotated[str, typer.Option(help="Compare this family's quotes with contracts, store that.")] = "",
        pools: Annotated[str, typer.Option(help="Addresses of pools for --prove, with commas.")] = "",
    ) -> None:
        """Load each chain, follow it by its logs, compare every pool with calls; exit code 1 on a difference,
        2 where a chain could not be compared."""
        if pools and not prove:
            raise typer.BadParameter("say with --prove of which family these pools are", param_hint="--pools")
        if prove:
            from ouro.cli.doctor_prove import prove as prove_family

            prove_family(config, prove, pools)
        import asyncio
        import json
        import logging
        from dataclasses import asdict

        from ouro.chain.errors import ChainError
        from ouro.cli.logs import configure_logs
        from ouro.config.load import load_config
        from ouro.market.errors import MarketError, SyncError

        configure_logs(logging.ERROR)
        loaded = load_config(config)
        findings: dict[str, _Finding] = {}
        for name, chain in loaded.chains.items():
            try:
                findings[name] = asyncio.run(_examine(name, chain, blocks, loaded.mode))
            except (ChainError, MarketError, SyncError) as error:
                if len(loaded.chains) == 1:
                    raise
                findings[name] = _Finding(0, 0, [], {}, str(error))  # the other chains are examined all the same
            if not as_json:
                _tell(name, findings[name])
        if as_json:
            typer.echo(json.dumps({"chains": {name: asdict(finding) for name, finding in findings.items()}}))
        different = sum(bool(finding.differences) for finding in findings.values())
        raise typer.Exit(exit_code(different, sum(bool(finding.problem) for finding in findings.values())))


@dataclass(frozen=True, slots=True)
class _Finding:
    """What was seen of one chain; ``problem`` says why it could not be followed to the end."""

    block_number: int
    pools: int
    differences: list[str]
    left_out: dict[str, str]
    problem: str = ""
    proofs: tuple[str, ...] = ()


def _tell(name: str, finding: _Finding) -> None:
    if finding.problem:
        typer.echo(of_chain(name, finding.problem))
        return
    for line in finding.proofs:
        typer.echo(f"{name}: {line}")
    for difference in finding.differences:
        typer.echo(f"{name}: {difference}")
    for pool, reason in finding.left_out.items():
        typer.echo(f"{name}: left out {pool}: {reason}")
    typer.echo(
        f"{name}: {finding.pools} pools at block {finding.block_number}, "
        f"{len(finding.differences)} differ from calls"
    )


async def _examine(name: str, chain: "ChainConfig", blocks: int, mode: "Mode") -> _Finding:
    from ouro.chain.feed import BlockFeed
    from ouro.chain.pool import EndpointPool
    from ouro.cli.config_check import proof_lines
    from ouro.engine.proofs import allowed_dexes
    from ouro.market.bootstrap import load_market
    from ouro.market.refresh import refresh_market
    from ouro.market.sync import verify
    from ouro.types import BlockUpdate, Rollback

    proofs = tuple(proof_lines(chain, mode))
    chain, _ = allowed_dexes(chain, mode)

    async with EndpointPool(chain.endpoints, chain.chain_id, name=name) as node:
        market, number, block_hash = await load_market(name, chain, node, None)
        feed = BlockFeed(name, node, market.topics, chain.reorg_ring_depth, start=(number, block_hash))
        wanted = number + chain.finality_depth + blocks
        problem = ""
        try:
            async for event in feed:
                if isinstance(event, BlockUpdate):
                    market.apply(event)
                elif isinstance(event, Rollback):
                    market.rollback(event.to_number, event.to_hash)
                else:
                    problem = f"the feed lost the thread: {event.reason}"
                    break
                if market.head is not None and market.head.number >= wanted and not feed.pending():
                    break
        finally:
            await feed.close()
        if not problem:
            await refresh_market(market, chain.multicall, node)
        differences = [] if problem else [str(item) for item in await verify(market, node, chain.multicall)]
    head = market.head.number if market.head else number
    left_out = {str(pool): str(reason) for pool, reason in market.rejected.items()}
    left_out |= {str(pool): held.reason for pool, held in market.quarantine.items()}
    return _Finding(head, len(market.states), differences, left_out, problem, proofs)

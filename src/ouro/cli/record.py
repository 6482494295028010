"""``ouro record`` and ``ouro replay``: what a chain delivered, kept and played again."""

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the commands of this file to ``app``."""

    @app.command("record")
    def record(
        output: Annotated[Path, typer.Argument(help="The recording to write.")],
        config: Annotated[Path, typer.Option("--config", "-c", help="The configuration (TOML).")] = Path(
            "ouro.toml"
        ),
        chain: Annotated[str | None, typer.Option(help="Which chain; needed where the file has several.")] = None,
        blocks: Annotated[int, typer.Option(min=1, help="How many blocks.")] = 100,
    ) -> None:
        """Record a chain of the configuration: its state, then every block as it comes. Sends nothing.

        Ctrl-C ends the recording; what has come by then is kept.
        """
        import asyncio

        from ouro.cli.logs import configure_logs
        from ouro.config.load import load_config

        loaded = load_config(config)
        from ouro.replay.recorder import chosen_chain, record_chain

        configure_logs()
        name = chosen_chain(loaded, chain)
        counts = asyncio.run(record_chain(loaded, name, output, blocks))
        typer.echo(f"{output}: {counts['blocks']} blocks and {counts['logs']} logs of {name}")

    @app.command("generate")
    def generate(
        output: Annotated[Path, typer.Argument(help="The recording to write.")],
        pools: Annotated[int, typer.Option(min=10)] = 1_000,
        blocks: Annotated[int, typer.Option(min=1)] = 100,
        logs: Annotated[int, typer.Option(min=0, help="Of each block.")] = 50,
        touched: Annotated[int, typer.Option(min=1, help="Pools that each block touches.")] = 10,
        seed: Annotated[int, typer.Option()] = 1,
        data: Annotated[Path | None, typer.Option(help="Folder of recorded snapshots; else seeded.")] = None,
    ) -> None:
        """Make up a recording: real contracts, seeded trades, at any scale."""
        from ouro.replay.generate import Scale
        from ouro.replay.generate import generate as make

        scale = Scale(pools=pools, blocks=blocks, logs=logs, touched=touched)
        operators = tuple(f"0x{0x51 + k:02x}" + "00" * 18 + "01" for k in range(4))
        make(output, scale, seed=seed, operators=operators, data=data)
        typer.echo(f"{output}: {blocks} blocks of {pools} pools")

    @app.command("replay")
    def replay(
        recording: Annotated[Path, typer.Argument(help="The recording to play.")],
        journal: Annotated[Path | None, typer.Option(help="Write every decision here, one JSON line each.")] = None,
        speed: Annotated[
            float | None, typer.Option(min=0.001, help="1 is as recorded; without it as fast as it goes.")
        ] = None,
        config: Annotated[
            Path | None, typer.Option("--config", "-c", help="Settings of this chain instead of the recorded ones.")
        ] = None,
    ) -> None:
        """Play a recording through the engine, on paper; the same recording gives the same decisions."""
        import asyncio
        import tempfile
        import time

        from ouro.config.load import load_config
        from ouro.replay.recording import Recording

        opened = Recording.open(recording)
        settings = None
        if config is not None:
            from ouro.replay.recorder import chosen_chain

            loaded = load_config(config)
            settings = loaded.chains[chosen_chain(loaded, opened.origin.chain)]
        from ouro.engine.journal import DecisionJournal
        from ouro.replay.feed import Pace
        from ouro.replay.session import play
        from ouro.strategies.warm import warm

        warm()
        decisions = DecisionJournal(journal)
        began = time.perf_counter()
        with tempfile.TemporaryDirectory(prefix="ouro replay ") as folder:
            played = asyncio.run(play(opened, Path(folder), config=settings, pace=Pace(speed), journal=decisions))
        seconds = time.perf_counter() - began
        decisions.close()
        typer.echo(
            f"{opened.blocks} blocks in {seconds:.1f} s ({opened.blocks / seconds:,.0f} a second): "
            f"{played.status.opportunities} opportunities, {decisions.transactions} paper trades, "
            f"journal {decisions.digest}"
        )
        if played.ended:
            typer.echo(f"ended early: {played.ended}")

"""``ouro config``: look at a configuration before anything starts."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ouro.config.model import ChainConfig
    from ouro.types import Mode


def register(app: typer.Typer) -> None:
    """Add the commands of this file to ``app``."""
    group = typer.Typer(help="Check and show the configuration.", no_args_is_help=True)
    app.add_typer(group, name="config")

    @group.command("check")
    def check(path: Annotated[Path, typer.Argument(help="The configuration (TOML).")] = Path("ouro.toml")) -> None:
        """Read the file and the OURO_* environment; every problem is one line naming its field."""
        from ouro.config.load import load_config

        config = load_config(path)
        chains = ", ".join(f"{name} ({chain.chain_id})" for name, chain in config.chains.items())
        typer.echo(f"{path}: fine; mode {config.mode.value}; chains {chains}")
        for name, chain in config.chains.items():
            limits = config.limits_of(name).model_dump(mode="json")
            typer.echo(f"{name}: limits: {', '.join(f'{key} {value}' for key, value in limits.items())}")
            for line in proof_lines(chain, config.mode):
                typer.echo(f"{name}: {line}")


def proof_lines(chain: "ChainConfig", mode: "Mode") -> list[str]:
    """Each factory with what proves its family, and why it is left out where it is."""
    from ouro.engine.proofs import why_off
    from ouro.protocols.registry import proof_of

    lines = []
    for dex in chain.dexes:
        reason = why_off(dex, mode)
        if reason is not None:
            lines.append(f"{dex.name}: off: {reason}")
            continue
        signed = f"; signed off by {dex.sign_off.by} on {dex.sign_off.date}" if dex.sign_off else ""
        lines.append(f"{dex.name}: {dex.family}, {proof_of(dex.family)}{signed}")
    return lines

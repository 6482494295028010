"""``ouro why``: the whole story of one opportunity, in plain words."""

from pathlib import Path
from typing import Annotated

import typer

from ouro.cli.errors import EXIT_NOTHING

_PROGRESS_FROM_BYTES = 32 << 20


def register(app: typer.Typer) -> None:
    """Add the commands of this file to ``app``."""

    @app.command("why")
    def why(
        name: Annotated[
            str, typer.Argument(metavar="ID", help="A plan, attempt or transaction, or how it begins.")
        ],
        config: Annotated[Path, typer.Option("--config", "-c", help="The configuration (TOML).")] = Path(
            "ouro.toml"
        ),
        show_open: Annotated[
            bool, typer.Option("--show-open", help="Also show what may still land, which others could take.")
        ] = False,
        as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
    ) -> None:
        """When it was seen, what it was worth, why it was refused or what became of it.

        Exit code 1 where nothing of that name is known.
        """
        import json

        from ouro.cli.progress import progress_bar
        from ouro.config.load import load_config
        from ouro.monitoring.story.build import Names, story
        from ouro.monitoring.story.find import NotFoundError, find
        from ouro.monitoring.story.words import tell

        loaded = load_config(config)
        try:
            with progress_bar("reading the audit trail", least=_PROGRESS_FROM_BYTES) as progress:
                found = find(loaded.ledger.url, loaded.data_dir, name, progress)
        except NotFoundError as error:
            typer.echo(f"ouro: {error}", err=True)
            raise typer.Exit(EXIT_NOTHING) from None
        symbols, decimals = token_names(loaded.data_dir, found.chain)
        chain = loaded.chains.get(found.chain)
        if chain is not None:
            symbols = {**symbols, chain.wrapped_native: "native"}
            decimals = {**decimals, chain.wrapped_native: 18}
        told = story(found, Names(symbols, decimals), show_open=show_open)
        typer.echo(json.dumps(told) if as_json else tell(told))


def token_names(data_dir: Path, chain: str) -> tuple[dict[str, str], dict[str, int]]:
    """Symbols and decimals of a chain's tokens, as the engine last wrote them; a symbol is what the token says of
    itself, so it is cut and stripped of what could play with a terminal."""
    from ouro.dashboard.files import EngineFiles

    files = EngineFiles(data_dir)
    files.refresh()
    named = {key: _harmless(text) for key, text in files.symbols.get(chain, {}).items()}
    return named, dict(files.decimals.get(chain, {}))


def _harmless(symbol: str) -> str:
    return "".join(letter for letter in symbol if letter.isprintable() and not letter.isspace())[:12]

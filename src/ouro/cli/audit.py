"""``ouro audit``: whether the record of what was decided is whole, and the checkpoint that proves it later."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ouro.cli.errors import EXIT_DIFFERENT

if TYPE_CHECKING:
    from ouro.audit.verify import AuditReport

FolderArgument = Annotated[
    Path | None, typer.Argument(help="Folder or file of the chains, by default the config's data_dir/audit.")
]
ConfigOption = Annotated[Path, typer.Option("--config", "-c", help="Configuration (TOML).")]
_FOLDER = "audit"


def register(app: typer.Typer) -> None:
    """Add the commands of this file to ``app``."""
    group = typer.Typer(help="The hash-chained record of every decision.", no_args_is_help=True)
    app.add_typer(group, name="audit")

    @group.command("verify")
    def verify_chains(
        folder: FolderArgument = None,
        config: ConfigOption = Path("ouro.toml"),
        checkpoint: Annotated[
            Path | None, typer.Option("--checkpoint", help="Exported before: shows a cut-off end, too.")
        ] = None,
        as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
    ) -> None:
        """Find any changed, removed or re-ordered record, offline; exit code 1 if there is one."""
        import json

        from ouro.audit import read_checkpoint, verify

        heads = None if checkpoint is None else read_checkpoint(checkpoint).heads
        report = verify(_folder(folder, config), heads)
        if as_json:
            typer.echo(json.dumps(report.as_json()))
        else:
            _tell(report, with_checkpoint=heads is not None)
        raise typer.Exit(0 if report.ok else EXIT_DIFFERENT)

    @group.command("checkpoint")
    def checkpoint(
        folder: FolderArgument = None,
        config: ConfigOption = Path("ouro.toml"),
        output: Annotated[Path | None, typer.Option("--output", "-o", help="A new file; else stdout.")] = None,
    ) -> None:
        """Verify all chains and export their heads; keep it where this machine can't change it."""
        from ouro.audit import take_checkpoint, write_checkpoint

        taken = take_checkpoint(_folder(folder, config))
        if output is None:
            typer.echo(taken.to_json(), nl=False)
            return
        write_checkpoint(taken, output)
        typer.echo(f"{output}: {len(taken.heads)} chains, digest {taken.digest}; keep a copy on another machine")


def _folder(folder: Path | None, config: Path) -> Path:
    from ouro.config.load import load_config

    return load_config(config).data_dir / _FOLDER if folder is None else folder


def _tell(report: "AuditReport", *, with_checkpoint: bool) -> None:
    for chain in report.chains:
        state = "BROKEN" if chain.problems else "whole"
        files = "file" if chain.files == 1 else "files"
        head = f", head {chain.sequence} {chain.hash}" if chain.records else ""
        typer.echo(f"{chain.writer}: {state}, {chain.records} records in {chain.files} {files}{head}")
    for problem in report.problems:
        typer.echo(f"{problem}", err=True)
    if report.ok and not with_checkpoint:
        typer.echo("a cut-off end shows against a checkpoint only: --checkpoint FILE (`ouro audit checkpoint`)")

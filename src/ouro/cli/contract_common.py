"""What the commands of ``ouro contract`` share: options, the chain that is meant, a connection to it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ouro.cli.errors import known_problem, of_chain

if TYPE_CHECKING:
    from ouro.chain.pool import EndpointPool
    from ouro.config.model import ChainConfig, OuroConfig

ConfigOption = Annotated[Path, typer.Option("--config", "-c", help="Configuration (TOML).")]
DEFAULT_CONFIG = Path("ouro.toml")


def load(config: Path) -> "OuroConfig":
    """The checked configuration."""
    import logging

    from ouro.cli.logs import configure_logs
    from ouro.config.load import load_config

    # What goes wrong is said once, by the command itself.
    configure_logs(logging.CRITICAL)
    return load_config(config)


def chain_of(loaded: "OuroConfig", name: str, config: Path) -> "ChainConfig":
    """Settings of the chain that a person named. Raises ``InputError`` with the names there are."""
    from ouro.execution.describe import InputError

    if name not in loaded.chains:
        raise InputError(f"--chain: no chain {name!r} in {config}; it has {', '.join(loaded.chains)}")
    return loaded.chains[name]


def names_of(loaded: "OuroConfig", chosen: list[str] | None, config: Path) -> list[str]:
    """The chosen chains, or all."""
    for name in chosen or ():
        chain_of(loaded, name, config)
    return chosen or list(loaded.chains)


def executor_of(name: str, settings: "ChainConfig", given: str | None) -> str:
    """The given address, or the configured one. Raises ``InputError`` where there is neither."""
    from ouro.execution.describe import InputError, read_address

    if given is not None:
        return read_address(given, "--executor")
    if settings.executor is None:
        raise InputError(f"chains.{name}: has no executor; deploy one, or pass --executor")
    return settings.executor


def node_of(name: str, settings: "ChainConfig") -> "EndpointPool":
    """The chain's endpoints; entering it checks the chain id."""
    from ouro.chain.pool import EndpointPool

    return EndpointPool(settings.endpoints, settings.chain_id, name=name)


@contextmanager
def reported(name: str) -> Iterator[list[str]]:
    """A chain that can't be asked is one line, and the others are asked all the same."""
    failed: list[str] = []
    try:
        yield failed
    except Exception as error:
        problem = known_problem(error)
        if problem is None:
            raise
        failed.append(problem)
        typer.echo(of_chain(name, problem), err=True)


async def report_differences(
    node: "EndpointPool",
    name: str,
    settings: "ChainConfig",
    address: str,
    owner: str,
    treasury: str,
    operators: tuple[str, ...],
    paused: bool,
) -> int:
    from ouro.execution.onchain import Expected, differences, lists_operators, look

    found = await look(node, address, operators, ())
    problems = differences(found, Expected(owner, treasury, operators, paused))
    for problem in problems:
        typer.echo(f"{name}: {problem}")
    if not problems and found.build is not None:
        whole = "" if lists_operators(found.build) else " (others can't be listed)"
        typer.echo(
            f"{name}: verified at block {found.block_number}: code is {found.build.name}, owner {owner}, "
            f"treasury {treasury}, {len(operators)} operators{whole}, {'paused' if paused else 'not paused'}"
        )
    return len(problems)

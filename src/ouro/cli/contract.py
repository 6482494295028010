"""``ouro contract``: deploy the executor, compare it with what was built, read it, and write its owner's calls."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ouro.cli.contract_common import (
    DEFAULT_CONFIG,
    ConfigOption,
    chain_of,
    executor_of,
    load,
    names_of,
    node_of,
    report_differences,
    reported,
)
from ouro.cli.contract_deploy import register_deploy
from ouro.cli.errors import exit_code

if TYPE_CHECKING:
    from ouro.config.model import ChainConfig
    from ouro.execution.onchain import Found

SomeChains = Annotated[list[str] | None, typer.Option("--chain", help="Only this chain (repeatable).")]
ExecutorOption = Annotated[str | None, typer.Option(help="The executor's address, if not the configured one.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this file to ``app``."""
    group = typer.Typer(help="Deploy, verify and read the executor contract.", no_args_is_help=True)
    app.add_typer(group, name="contract")
    register_deploy(group)
    _register_reads(group)
    _register_words(group)


def _register_reads(group: typer.Typer) -> None:
    @group.command("verify")
    def verify(
        config: ConfigOption = DEFAULT_CONFIG,
        chain: SomeChains = None,
        executor: ExecutorOption = None,
        treasury: Annotated[str | None, typer.Option(help="The expected treasury; by default the owner.")] = None,
        paused: Annotated[bool, typer.Option("--paused", help="Expect it to be paused.")] = False,
    ) -> None:
        """Is the code on the chain the one we built, with the configured roles? Exit code 1 if anything differs,
        2 if a chain could not be compared.
        """
        import asyncio

        from ouro.execution.describe import read_address

        loaded = load(config)
        expected = None if treasury is None else read_address(treasury, "--treasury")
        bad = unknown = 0
        for name in names_of(loaded, chain, config):
            with reported(name) as failed:
                settings = chain_of(loaded, name, config)
                bad += asyncio.run(_verify(name, settings, executor_of(name, settings, executor), expected, paused))
            unknown += bool(failed)
        raise typer.Exit(exit_code(bad, unknown))

    @group.command("status")
    def status(
        config: ConfigOption = DEFAULT_CONFIG, chain: SomeChains = None, executor: ExecutorOption = None
    ) -> None:
        """What stands there: build, roles, settings, and what rests in it; exit code 1 if it is none of ours."""
        import asyncio

        loaded = load(config)
        bad = unknown = 0
        for name in names_of(loaded, chain, config):
            with reported(name) as failed:
                settings = chain_of(loaded, name, config)
                bad += not asyncio.run(_status(name, settings, executor_of(name, settings, executor)))
            unknown += bool(failed)
        raise typer.Exit(exit_code(bad, unknown))


def _register_words(group: typer.Typer) -> None:
    @group.command("decode")
    def decode(
        data: Annotated[str, typer.Argument(help="Calldata in hex, or the hash of a transaction.")],
        config: ConfigOption = DEFAULT_CONFIG,
        chain: Annotated[str | None, typer.Option(help="Where to look for the transaction.")] = None,
    ) -> None:
        """Show calldata of the executor as a readable program, or as the call it is."""
        import asyncio

        from ouro.execution.describe import describe, read_bytes

        raw = read_bytes(data, "calldata")
        # A program is longer than a hash: its header alone has 39 bytes.
        if len(raw) == 32:
            raw = asyncio.run(_transaction_input("0x" + raw.hex(), config, chain))
        for line in describe(raw):
            typer.echo(line)

    @group.command("calldata")
    def calldata(
        action: Annotated[str, typer.Argument(help="Such as set-operator; 'list' shows all.")],
        arguments: Annotated[list[str] | None, typer.Argument(help="Its arguments; amounts in wei.")] = None,
        config: ConfigOption = DEFAULT_CONFIG,
        chain: Annotated[str | None, typer.Option(help="The chain whose executor is meant.")] = None,
        executor: ExecutorOption = None,
        check: Annotated[bool, typer.Option("--check", help="Simulate it as the owner on --chain.")] = False,
        as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
    ) -> None:
        """Write a call of the owner's as to and data, to be signed elsewhere: multisig, hardware wallet."""
        import asyncio
        import json

        from ouro.execution.describe import InputError, action_calldata, actions, describe, read_address

        if action == "list":
            for known in actions().values():
                typer.echo(known.usage)
            return
        chosen, data = action_calldata(action, arguments or [])
        if executor is not None and not check:
            to = read_address(executor, "--executor")
        elif chain is None:
            raise InputError("--chain: name the chain whose executor is meant, or pass --executor")
        else:
            settings = chain_of(load(config), chain, config)
            to = executor_of(chain, settings, executor)
            if check:
                asyncio.run(_simulate(chain, settings, to, data))
        if as_json:
            typer.echo(json.dumps({"to": to, "value": "0", "data": "0x" + data.hex()}))
            return
        typer.echo(f"to:    {to}\nvalue: 0\ndata:  0x{data.hex()}")
        typer.echo(f"means: {chosen.signature}; {'; '.join(line.strip() for line in describe(data)[1:])}")


async def _verify(name: str, settings: "ChainConfig", address: str, treasury: str | None, paused: bool) -> int:
    from ouro.execution.describe import InputError

    if settings.owner is None:
        raise InputError(f"chains.{name}: has no owner to compare with")
    wanted = treasury or settings.owner
    async with node_of(name, settings) as node:
        return await report_differences(
            node, name, settings, address, settings.owner, wanted, settings.operators, paused
        )


async def _status(name: str, settings: "ChainConfig", address: str) -> bool:
    """Show it; whether it is one of our builds."""
    from ouro.execution.onchain import look

    tokens = dict.fromkeys((settings.wrapped_native, *settings.start_tokens, *settings.stable_tokens))
    async with node_of(name, settings) as node:
        found = await look(node, address, settings.operators, tuple(tokens))
    for line in _status_lines(found):
        typer.echo(f"{name}: {line}")
    return found.build is not None


def _status_lines(found: "Found") -> Iterator[str]:
    from ouro.execution.deployplan import native
    from ouro.execution.onchain import shown

    yield f"{found.address} at block {found.block_number}"
    if found.build is None:
        yield f"code: {len(found.code)} bytes, none of our builds" if found.code else "code: none"
    else:
        yield f"code: {found.build.name}, equal to the artifact ({found.build.compiler})"
    for setting, value in found.settings.items():
        yield f"{setting}: {shown(value)}"
    for account, allowed in found.allowed.items():
        yield f"operator {account}: {'may execute' if allowed else 'MAY NOT execute'}"
    for token, held in found.held_wei.items():
        yield f"holds {native(held)}" if token is None else f"holds {held} wei of {token}"
    for token in found.unreadable:
        yield f"holds an unreadable amount of {token}: its balanceOf fails"


async def _transaction_input(tx_hash: str, config: Path, chain: str | None) -> bytes:
    from ouro.chain.calls import get_receipts
    from ouro.chain.errors import MalformedAnswer
    from ouro.chain.quantity import parse_address, parse_data
    from ouro.execution.describe import InputError

    loaded = load(config)
    for name in names_of(loaded, [chain] if chain else None, config):
        async with node_of(name, loaded.chains[name]) as node:
            found = await node.call("eth_getTransactionByHash", [tx_hash])
            if found is None:
                continue
            (receipt,) = await get_receipts(node, [tx_hash])
        try:
            data = parse_data(found["input"])
            sender = parse_address(found["from"])
            to = "a new contract" if found["to"] is None else parse_address(found["to"])
        except (TypeError, KeyError, ValueError) as error:
            raise MalformedAnswer(f"eth_getTransactionByHash: {error}") from None
        result = "is not mined yet"
        if receipt is not None:
            word = "succeeded" if receipt.status else "reverted"
            result = f"{word} in block {receipt.block_number}, {receipt.gas_used} gas"
        typer.echo(f"{name}: {tx_hash} from {sender} to {to} {result}")
        return bytes.fromhex(data[2:])
    raise InputError(f"{tx_hash}: no configured chain knows this transaction")


async def _simulate(name: str, settings: "ChainConfig", to: str, data: bytes) -> None:
    from ouro.chain.calls import eth_call, get_code
    from ouro.chain.errors import RpcError
    from ouro.execution.deployplan import revert_reason
    from ouro.execution.describe import InputError
    from ouro.execution.onchain import look

    async with node_of(name, settings) as node:
        if not await get_code(node, to):
            raise InputError(f"chains.{name}: there is no contract at {to}")
        owner = (await look(node, to, (), ())).settings.get("owner") or settings.owner
        try:
            await eth_call(node, to, data, "latest", owner)
        except RpcError as error:
            raise InputError(f"as the owner {owner} this would revert: {revert_reason(error)}") from None

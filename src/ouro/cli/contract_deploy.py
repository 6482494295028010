"""``ouro contract deploy``: shows what it would do, and does it on ``--send``."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ouro.cli.contract_common import DEFAULT_CONFIG, ConfigOption, chain_of, load, node_of, report_differences

if TYPE_CHECKING:
    from ouro.config.model import ChainConfig, OuroConfig
    from ouro.execution.deployplan import DeployPlan, Wish
    from ouro.signer.keys import KeyRing

KEY_ENV = "OURO_DEPLOYER_KEY"
PASSWORD_ENV = "OURO_DEPLOYER_PASSWORD"  # noqa: S105 - the name of the variable, not a password

_DIFFERENT = 1
_LONGEST_SEARCH_S = 86_400
_LONGEST_WAIT_S = 86_400
_MOST_GWEI = 10**9
"""A whole coin per unit of gas: what is above was meant in another unit."""


def register_deploy(group: typer.Typer) -> None:
    """Add ``deploy`` to ``group``."""

    @group.command("deploy")
    def deploy(
        chain: Annotated[str, typer.Option("--chain", help="The chain, by its name in the configuration.")],
        config: ConfigOption = DEFAULT_CONFIG,
        owner: Annotated[
            str | None, typer.Option(help="Cold account or multisig; else the configured one.")
        ] = None,
        operators: Annotated[
            list[str] | None, typer.Option(help="Accounts that may execute, by commas; else the configured ones.")
        ] = None,
        treasury: Annotated[str | None, typer.Option(help="Where profit goes; by default to the owner.")] = None,
        keystore: Annotated[
            Path | None, typer.Option(help=f"Encrypted key of the deploying account; password in {PASSWORD_ENV}.")
        ] = None,
        sender: Annotated[
            str | None, typer.Option("--from", help="The deploying account; enough for a dry run, without any key.")
        ] = None,
        salt: Annotated[
            str | None, typer.Option(help="Salt of the address (12 bytes); by default the owner's.")
        ] = None,
        mine: Annotated[
            float, typer.Option(min=0, max=_LONGEST_SEARCH_S, help="Search so many seconds for leading zeros.")
        ] = 0,
        factory: Annotated[str | None, typer.Option(help="A factory of ours that is not the shared one.")] = None,
        own_factory: Annotated[bool, typer.Option(help="First deploy a factory from the next nonce.")] = False,
        data: Annotated[
            bool, typer.Option("--data", help="Show each transaction, to be signed elsewhere.")
        ] = False,
        max_gas_price: Annotated[
            str | None, typer.Option(help="Gwei, such as 12.5; by default signer.max_fee_per_gas_wei.")
        ] = None,
        timeout_s: Annotated[
            float, typer.Option("--timeout", min=1, max=_LONGEST_WAIT_S, help="Seconds to wait per transaction.")
        ] = 300,
        send: Annotated[bool, typer.Option("--send", help="Do it; without this nothing is sent.")] = False,
    ) -> None:
        """Put the executor on a chain, at the same address everywhere. Shows it all; sends on --send."""
        import asyncio
        from dataclasses import replace

        from ouro.execution.describe import InputError, read_address

        loaded = load(config)
        settings = chain_of(loaded, chain, config)
        keys = None if sender is not None and not send else _deployer_keys(keystore)
        deployer = _pick(keys, None if sender is None else read_address(sender, "--from"))
        wish = _wish(loaded, chain, settings, deployer, owner, operators, treasury)
        made_in = None if factory is None else read_address(factory, "--factory")
        wish = replace(wish, factory=made_in, own_factory=own_factory)
        if max_gas_price is not None:
            wish = replace(wish, max_fee_per_gas_wei=_wei_of_gwei(max_gas_price))
        if salt is not None:
            wish = replace(wish, number=_number(salt))
        if not (math.isfinite(mine) and math.isfinite(timeout_s)):
            raise InputError("--mine, --timeout: a finite number of seconds is expected")
        if mine:
            if own_factory:
                raise InputError("--mine: needs a factory that exists; deploy with --own-factory first")
            wish = _mined(wish, mine)
        asyncio.run(_deploy(wish, settings, keys, send=send, data=data, timeout_s=timeout_s))


def _deployer_keys(keystore: Path | None) -> "KeyRing":
    """Never from the command line: other users of the machine can read a process's arguments."""
    import os

    from ouro.config.model import SignerConfig
    from ouro.signer.keys import RAW_KEYS_ENV, KeystoreError, load_keys

    if keystore is not None:
        return load_keys(SignerConfig(keystore=keystore.expanduser(), password_env=PASSWORD_ENV))
    if not os.environ.get(KEY_ENV):
        raise KeystoreError(
            f"no key of the deploying account: pass --keystore (password in {PASSWORD_ENV}), set {KEY_ENV} for "
            "development, or for a dry run pass --from"
        )
    try:
        return load_keys(SignerConfig(), {RAW_KEYS_ENV: os.environ[KEY_ENV]})
    except KeystoreError as error:
        raise KeystoreError(str(error).replace(RAW_KEYS_ENV, KEY_ENV)) from None


def _pick(keys: "KeyRing | None", wanted: str | None) -> str:
    from ouro.signer.keys import KeystoreError

    if keys is None:
        assert wanted is not None
        return wanted
    if wanted is None:
        if len(keys.addresses) != 1:
            raise KeystoreError(f"several keys: choose one by --from, of {', '.join(keys.addresses)}")
        return keys.addresses[0]
    if keys.get(wanted) is None:
        raise KeystoreError(f"--from {wanted}: its key is not there, only {', '.join(keys.addresses)}")
    return wanted


def _wish(
    loaded: "OuroConfig",
    name: str,
    settings: "ChainConfig",
    deployer: str,
    owner: str | None,
    operators: list[str] | None,
    treasury: str | None,
) -> "Wish":
    from ouro.execution.create3 import default_number
    from ouro.execution.deployplan import Wish
    from ouro.execution.describe import InputError, read_address

    named_owner = settings.owner if owner is None else read_address(owner, "--owner")
    if named_owner is None:
        raise InputError(f"--owner: none is given, and chains.{name} has no owner")
    words = [word for text in operators or [] for word in text.replace(",", " ").split()]
    return Wish(
        chain=name,
        chain_id=settings.chain_id,
        deployer=deployer,
        owner=named_owner,
        operators=tuple(read_address(word, "--operators") for word in words) or settings.operators,
        treasury=None if treasury is None else read_address(treasury, "--treasury"),
        number=default_number(named_owner),
        fee_model=settings.fee_model,
        max_fee_per_gas_wei=loaded.signer.max_fee_per_gas_wei,
    )


def _number(text: str) -> int:
    from ouro.execution.create3 import NUMBER_BYTES
    from ouro.execution.describe import InputError

    try:
        number = int(text, 0)
    except ValueError:
        number = -1
    if not 0 <= number < 1 << 8 * NUMBER_BYTES:
        raise InputError(f"--salt: {text[:80]!r} is not a number of at most {NUMBER_BYTES} bytes, as 123 or 0x…")
    return number


def _wei_of_gwei(text: str) -> int:
    """Exact: the price limits what is paid. Raises ``InputError``."""
    from decimal import Decimal, InvalidOperation

    from ouro.execution.describe import InputError

    try:
        gwei = Decimal(text)
    except InvalidOperation:
        gwei = Decimal("NaN")
    if not gwei.is_finite() or not 0 < gwei <= _MOST_GWEI or gwei * 10**9 % 1:
        raise InputError(
            f"--max-gas-price: {text[:60]!r} is not an amount of gwei above 0, up to {_MOST_GWEI:,}, with at most "
            "nine decimals, such as 12.5"
        )
    return int(gwei * 10**9)


def _mined(wish: "Wish", seconds: float) -> "Wish":
    from dataclasses import replace

    from ouro.execution.create3 import mine_number, shared_factory

    number, _ = mine_number(wish.deployer, wish.factory or shared_factory(), wish.number, seconds)
    return replace(wish, number=number)


async def _deploy(
    wish: "Wish", settings: "ChainConfig", keys: "KeyRing | None", *, send: bool, data: bool, timeout_s: float
) -> None:
    from ouro.execution import deployer
    from ouro.execution.deployplan import check_funds, native, plan
    from ouro.execution.deploytx import DeployTx, sign

    async with node_of(wish.chain, settings) as node:
        made = await plan(node, wish)
        if send:
            check_funds(made)
        _show_plan(made, settings)
        if data:
            _show_data(made)
        if not send:
            check_funds(made)
            typer.echo("dry run: nothing was sent; repeat with --send")
            return
        key = None if keys is None else keys.get(wish.deployer)
        assert key is not None

        def signed(tx: DeployTx) -> tuple[bytes, str]:
            return sign(tx, key)

        done = await deployer.deploy(node, wish, signed, typer.echo, timeout_s)
        differing = await report_differences(
            node, wish.chain, settings, done.address, wish.owner, wish.treasury or wish.owner, wish.operators, False
        )
    cost = sum(receipt.gas_cost_wei for receipt in done.receipts)
    typer.echo(f"{wish.chain}: executor at {done.address}, paid {native(cost)} for gas")
    typer.echo(f'put into [chains.{wish.chain}]: executor = "{done.address}"')
    if differing:
        raise typer.Exit(_DIFFERENT)


def _show_data(made: "DeployPlan") -> None:
    """For a hardware wallet or a multisig as the deploying account; the presigned one is sent as it is."""
    for step in made.steps:
        if step.raw is not None:
            typer.echo(f"{step.name}: raw 0x{step.raw.hex()}")
        else:
            typer.echo(f"{step.name}: to {step.to or 'none'} value {step.value_wei} data 0x{step.data.hex()}")


def _show_plan(made: "DeployPlan", settings: "ChainConfig") -> None:
    from ouro.execution.deployplan import native

    wish = made.wish
    typer.echo(f"chain:     {wish.chain} (chain id {wish.chain_id})")
    typer.echo(f"build:     {made.build.name} ({made.build.compiler})")
    typer.echo(f"deployer:  {wish.deployer}, holds {native(made.balance_wei)}, nonce {made.nonce}")
    typer.echo(f"owner:     {wish.owner}")
    typer.echo(f"treasury:  {wish.treasury or wish.owner}")
    typer.echo(f"operators: {', '.join(wish.operators) or 'none'}")
    typer.echo(f"salt:      {wish.number:#x}")
    typer.echo(f"factory:   {made.factory}")
    typer.echo(f"executor:  {made.address}")
    for step in made.steps:
        value = f" and {native(step.value_wei)}" if step.value_wei else ""
        typer.echo(f"step:      {step.name}, at most {step.gas_limit} gas{value}")
    typer.echo(f"gas price: at most {made.fee.max_fee_per_gas_wei / 1e9:.3f} gwei")
    typer.echo(f"cost:      about {native(made.expected_cost_wei)}, at most {native(made.max_cost_wei)}")
    for note in made.notes:
        typer.echo(f"note:      {note}")
    if settings.executor not in (None, made.address):
        typer.echo(f"note:      the configuration names another executor, {settings.executor}")

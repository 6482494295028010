"""``ouro keystore``: the encrypted file of the operators' keys, made and looked at without showing a key."""

from pathlib import Path
from typing import Annotated

import typer

_PASSWORD_ENV = "OURO_KEYSTORE_PASSWORD"  # noqa: S105 - the name of the variable, not a password
_LONG_PASSWORD = 24
"""Characters from which on a password is taken for a random one, which needs no slow key derivation."""
_TYPED_SCRYPT_N = 2**18
_MOST_PASSWORD_BYTES = 4_096

PathArgument = Annotated[Path, typer.Argument(help="The keystore, as signer.keystore names it.")]
EnvOption = Annotated[str, typer.Option("--password-env", help="Variable that holds the password, if it is set.")]
FileOption = Annotated[
    Path | None,
    typer.Option("--password-file", help="File whose first line is the password; /dev/fd/N works, too."),
]


def register(app: typer.Typer) -> None:
    """Add the commands of this file to ``app``."""
    group = typer.Typer(help="Make and look at the operators' keystore.", no_args_is_help=True)
    app.add_typer(group, name="keystore")

    @group.command("new")
    def new(
        path: PathArgument,
        count: Annotated[int, typer.Option(min=1, max=256, help="Keys, one for each operator.")] = 1,
        password_env: EnvOption = _PASSWORD_ENV,
        password_file: FileOption = None,
    ) -> None:
        """Write new random keys, encrypted, into a file that only you can read; prints their addresses.

        The password comes from the file, else from the variable, else from a prompt; never from an argument.
        An existing file is not touched.
        """
        import secrets

        from ouro.signer.keys import KeystoreError, write_keystore

        if path.exists() or path.is_symlink():
            raise KeystoreError(f"{path}: is there already, and its keys may hold funds; name another file")
        password = _password(password_env, password_file, confirm=True)
        keys = [secrets.token_bytes(32) for _ in range(count)]
        if len(password) >= _LONG_PASSWORD:
            made = write_keystore(path, keys, password)
        else:
            made = write_keystore(path, keys, password, _TYPED_SCRYPT_N)
        if _addresses(path, password) != tuple(sorted(made)):
            raise KeystoreError(f"{path}: does not read back what was written; do not use it")
        _tell(made)
        typer.echo(
            "put them into [chains.NAME]: operators = [...]; keep a copy of the file and its password", err=True
        )

    @group.command("show")
    def show(path: PathArgument, password_env: EnvOption = _PASSWORD_ENV, password_file: FileOption = None) -> None:
        """Open the keystore and print the addresses of its keys, never the keys."""
        from ouro.signer.keys import KeystoreError

        if not path.exists():
            raise KeystoreError(f"{path}: there is no such keystore; make one by `ouro keystore new`")
        _tell(_addresses(path, _password(password_env, password_file, confirm=False)))


def _tell(addresses: tuple[str, ...]) -> None:
    from ouro.hashing import checksummed

    for address in addresses:
        typer.echo(checksummed(address))


def _addresses(path: Path, password: str) -> tuple[str, ...]:
    from ouro.config.model import SignerConfig
    from ouro.signer.keys import load_keys

    given = "the password given"
    return load_keys(SignerConfig(keystore=path, password_env=given), {given: password}).addresses


def _password(variable: str, file: Path | None, *, confirm: bool) -> str:
    """Never from the command line: other users of the machine can read a process's arguments."""
    import os
    import sys

    from ouro.signer.keys import KeystoreError

    if file is not None:
        with file.open("rb") as stream:
            line = stream.readline(_MOST_PASSWORD_BYTES).rstrip(b"\r\n")
        try:
            password = line.decode()
        except UnicodeDecodeError:
            raise KeystoreError(f"{file}: its first line is no UTF-8 text") from None
        if not password:
            raise KeystoreError(f"{file}: its first line is empty; the password is expected there")
        return password
    if os.environ.get(variable):
        return os.environ[variable]
    if not sys.stdin.isatty():
        raise KeystoreError(f"no password: set {variable}, pass --password-file, or run this at a terminal")
    return typer.prompt("password of the keystore", hide_input=True, confirmation_prompt=confirm, err=True)

"""The private keys, from an encrypted keystore or (for development) from the environment. Never shown."""

import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import coincurve
from eth_keyfile.keyfile import create_keyfile_json, decode_keyfile_json

from ouro.config.model import SignerConfig
from ouro.hashing import keccak
from ouro.types import Address

RAW_KEYS_ENV = "OURO_OPERATOR_KEYS"
_INTERACTIVE_SCRYPT_N = 2**14


class KeystoreError(RuntimeError):
    """Keys can't be loaded; the message names file or variable, never a key or a password."""


def address_of(key: coincurve.PrivateKey) -> Address:
    """Account address of a private key."""
    return "0x" + keccak(key.public_key.format(compressed=False)[1:])[12:].hex()


class KeyRing:
    """Keys by address. Shows only the addresses, whatever prints it."""

    __slots__ = ("_keys",)

    def __init__(self, secrets: Iterable[bytes]) -> None:
        keys = [coincurve.PrivateKey(secret) for secret in secrets]
        self._keys = {address_of(key): key for key in keys}

    @property
    def addresses(self) -> tuple[Address, ...]:
        """All accounts, sorted."""
        return tuple(sorted(self._keys))

    def get(self, address: Address) -> coincurve.PrivateKey | None:
        """The key of ``address``, None when it is not here."""
        return self._keys.get(address)

    def __repr__(self) -> str:
        return f"KeyRing({', '.join(self.addresses)})"

    def __reduce__(self) -> str:
        raise TypeError("keys do not leave this process")


def write_keystore(
    path: Path, keys: Iterable[bytes], password: str, scrypt_n: int = _INTERACTIVE_SCRYPT_N
) -> tuple[Address, ...]:
    """Write ``keys`` (32 bytes each) encrypted into one file of mode 0600; returns their addresses in order.

    The default work factor opens in 0.1 s a key and wants a long random password; pass ``scrypt_n=2**18`` for one
    that people type. Raises KeystoreError when ``password`` is empty.
    """
    if not password:
        raise KeystoreError(f"{path}: a keystore needs a password")
    secrets = list(keys)
    stores = [
        create_keyfile_json(secret, password.encode(), kdf="scrypt", iterations=scrypt_n) for secret in secrets
    ]
    addresses = tuple(address_of(coincurve.PrivateKey(secret)) for secret in secrets)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".keystore-")
    with os.fdopen(handle, "w") as stream:
        json.dump({"keystores": stores}, stream)
        stream.flush()
        os.fsync(stream.fileno())  # before anybody sends funds to these addresses
    Path(temporary).replace(path)
    return addresses


def load_keys(config: SignerConfig, environ: Mapping[str, str] | None = None) -> KeyRing:
    """Keys of the configured keystore, or of OURO_OPERATOR_KEYS when none is configured.

    Raises KeystoreError saying which file or variable is wrong.
    """
    environ = os.environ if environ is None else environ
    if config.keystore is None:
        return KeyRing(_raw_keys(environ.get(RAW_KEYS_ENV, "")))
    password = environ.get(config.password_env)
    if not password:
        raise KeystoreError(f"{config.keystore}: its password is expected in the variable {config.password_env}")
    return KeyRing(_decrypt(store, where, password, config) for where, store in _keystores(config.keystore))


def _raw_keys(text: str) -> Iterator[bytes]:
    words = text.replace(",", " ").split()
    if not words:
        raise KeystoreError(f"no keys: set signer.keystore (or {RAW_KEYS_ENV} for development)")
    for position, word in enumerate(words, 1):
        try:
            secret = bytes.fromhex(word.removeprefix("0x"))
            coincurve.PrivateKey(secret)
        except ValueError:
            secret = b""
        if len(secret) != 32:
            raise KeystoreError(f"{RAW_KEYS_ENV}: entry {position} is not a private key of 64 hex digits")
        yield secret


def _keystores(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    files = sorted(p for p in path.iterdir() if p.is_file() and p.name[0] != ".") if path.is_dir() else [path]
    if not files:
        raise KeystoreError(f"{path}: no keystore file in this folder")
    for file in files:
        try:
            content = json.loads(file.read_text())
        except FileNotFoundError as error:
            raise KeystoreError(f"{file}: there is no such keystore") from error
        except (OSError, ValueError) as error:
            raise KeystoreError(f"{file}: not a readable keystore ({type(error).__name__})") from error
        stores = content.get("keystores", [content]) if isinstance(content, dict) else content
        if not isinstance(stores, list) or not all(isinstance(store, dict) for store in stores):
            raise KeystoreError(f"{file}: neither a keystore (version 3) nor a list of them")
        for position, store in enumerate(stores, 1):
            yield f"{file} (entry {position})", store


def _decrypt(store: dict[str, Any], where: str, password: str, config: SignerConfig) -> bytes:
    try:
        secret = decode_keyfile_json(store, password.encode())
        coincurve.PrivateKey(secret)
    except ValueError as error:
        # "MAC mismatch" means a wrong password; other texts of the library could quote the file's content.
        wrong = "the password does not open it" if "MAC" in str(error) else "damaged"
        raise KeystoreError(f"{where}: {wrong} (password from {config.password_env})") from None
    except (KeyError, TypeError, AttributeError, NotImplementedError):
        raise KeystoreError(f"{where}: not a keystore of version 3") from None
    return secret

"""Keys come in from a keystore or the environment, and never go out."""

import json
import pickle
import stat
from pathlib import Path

import pytest
from eth_account import Account

from ouro.config.model import SignerConfig
from ouro.signer.keys import RAW_KEYS_ENV, KeyRing, KeystoreError, load_keys, write_keystore

SECRETS = [bytes([7] * 32), bytes([8] * 32)]
ENV = {"OURO_KEYSTORE_PASSWORD": "secret words"}


def config(path: Path | None) -> SignerConfig:
    return SignerConfig(keystore=path)


def test_round_trip_in_one_private_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "keys.json"
    addresses = write_keystore(path, SECRETS, "secret words", scrypt_n=2)
    assert addresses == tuple(Account.from_key(secret).address.lower() for secret in SECRETS)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    ring = load_keys(config(path), ENV)
    assert ring.addresses == tuple(sorted(addresses))
    key = ring.get(addresses[0])
    assert key is not None
    assert key.secret == SECRETS[0]
    assert SECRETS[0].hex() not in path.read_text()


def test_folder_of_ordinary_keystores(tmp_path: Path) -> None:
    for position, secret in enumerate(SECRETS):
        store = Account.encrypt(secret, "secret words", kdf="pbkdf2", iterations=2)
        (tmp_path / f"UTC--{position}").write_text(json.dumps(store))
    (tmp_path / ".hidden").write_text("not a keystore")
    assert len(load_keys(config(tmp_path), ENV).addresses) == 2


def test_environment_for_development() -> None:
    text = f"0x{SECRETS[0].hex()}, {SECRETS[1].hex()}"
    assert len(load_keys(config(None), {RAW_KEYS_ENV: text}).addresses) == 2


@pytest.mark.parametrize("bad", ["0x12", "zz" * 32, "00" * 32, "ff" * 32, "11" * 33])
def test_bad_raw_key_is_named_by_place_not_by_value(bad: str) -> None:
    with pytest.raises(KeystoreError, match="entry 2 is not a private key") as caught:
        load_keys(config(None), {RAW_KEYS_ENV: f"{SECRETS[0].hex()} {bad}"})
    assert bad not in str(caught.value)


def test_nothing_configured() -> None:
    with pytest.raises(KeystoreError, match=r"set signer\.keystore"):
        load_keys(config(None), {})


def test_wrong_and_missing_password(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    write_keystore(path, SECRETS, "secret words", scrypt_n=2)
    with pytest.raises(KeystoreError, match=r"entry 1.*the password does not open it") as caught:
        load_keys(config(path), {"OURO_KEYSTORE_PASSWORD": "wrong words"})
    assert "wrong words" not in str(caught.value)
    with pytest.raises(KeystoreError, match="OURO_KEYSTORE_PASSWORD"):
        load_keys(config(path), {})
    with pytest.raises(KeystoreError, match="needs a password"):
        write_keystore(path, SECRETS, "")


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[1]",
        '"x"',
        "{}",
        '{"keystores": 3}',
        '{"version": 3}',
        '{"version": 3, "crypto": {}}',
        '{"version": 9, "crypto": {"kdf": "scrypt"}}',
    ],
)
def test_damaged_keystore_names_the_file(tmp_path: Path, content: str) -> None:
    path = tmp_path / "keys.json"
    path.write_text(content)
    with pytest.raises(KeystoreError, match=r"keys\.json"):
        load_keys(config(path), ENV)


def test_missing_file_and_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(KeystoreError, match="no such keystore"):
        load_keys(config(tmp_path / "none.json"), ENV)
    with pytest.raises(KeystoreError, match="no keystore file"):
        load_keys(config(tmp_path), ENV)


def test_keys_do_not_show_or_travel() -> None:
    ring = KeyRing(SECRETS)
    for secret in SECRETS:
        assert secret.hex() not in repr(ring) + str(ring)
    with pytest.raises(TypeError):
        pickle.dumps(ring)

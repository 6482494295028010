"""``ouro contract`` as a person meets it: words in, lines and exit codes out, on real nodes."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ouro.cli import main as entry
from ouro.execution.contract import creation_code, set_operator
from ouro.execution.create3 import default_number, deploy_call, salt_of
from ouro.execution.describe import InputError, action_calldata, actions, describe, read_address
from ouro.execution.encode import encode_plan
from ouro.hashing import keccak, selector
from ouro.signer.keys import write_keystore
from ouro.testnet.node import AnvilNode, NodeConfig
from ouro.types import Hop

pytestmark = pytest.mark.node

SECRET = keccak(b"the deployer of the command's tests")
PASSWORD = "correct horse battery staple"
OWNER, TREASURY, OPERATOR, OTHER = ("0x" + digit * 40 for digit in "abcd")
COIN = 10**18


@dataclass(frozen=True, slots=True)
class Said:
    """What one command printed, and its exit code."""

    code: int
    out: str
    err: str


Run = Callable[..., Said]


@pytest.fixture
def ouro(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command in this process; whatever it prints, the key and the password must not be in it."""

    def run(*words: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["ouro", "contract", *words])
        code = 0
        try:
            entry.main()
        except SystemExit as done:
            code = int(done.code or 0)
        out, err = capsys.readouterr()
        for secret in (SECRET.hex(), PASSWORD):
            assert secret not in out + err
        return Said(code, out, err)

    return run


@dataclass(slots=True)
class Place:
    """Two chains, a configuration of both, and a keystore, in a folder whose name has blanks."""

    folder: Path
    nodes: dict[str, AnvilNode]
    deployer: str

    @property
    def config(self) -> str:
        return str(self.folder / "ouro.toml")

    @property
    def keystore(self) -> str:
        return str(self.folder / "deployer.json")

    def write(self, executor: str | None = None, chain_ids: dict[str, int] | None = None) -> None:
        text = ""
        for name, node in self.nodes.items():
            ids = chain_ids or {}
            text += f"""
[chains.{name}]
chain_id = {ids.get(name, node.config.chain_id)}
profile = "local"
endpoints = ["{node.ws_url}"]
block_time_ms = 1000
wrapped_native = "0x{"11" * 20}"
multicall = "0x{"12" * 20}"
owner = "{OWNER}"
operators = ["{OPERATOR}"]
dexes = [{{name = "d", family = "uniswap_v2", factory = "0x{"13" * 20}", fee_ppm = 3000}}]
"""
            if executor is not None:
                text += f'executor = "{executor}"\n'
        Path(self.config).write_text(text)

    def rpc(self, name: str, method: str, *params: Any) -> Any:
        with self.nodes[name].client() as client:
            return client.call(method, *params)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    folder = tmp_path / "a folder"
    folder.mkdir()
    nodes = {
        name: AnvilNode(NodeConfig(chain_id), folder, name).start()
        for name, chain_id in (("one", 9_300_001), ("two", 9_300_250))
    }
    (deployer,) = write_keystore(folder / "deployer.json", [SECRET], PASSWORD)
    monkeypatch.setenv("OURO_DEPLOYER_PASSWORD", PASSWORD)
    monkeypatch.delenv("OURO_DEPLOYER_KEY", raising=False)
    made = Place(folder, nodes, deployer)
    made.write()
    for name in nodes:
        made.rpc(name, "anvil_setBalance", deployer, hex(COIN))
    yield made
    for node in nodes.values():
        node.close()


def deploy(ouro: Run, place: Place, chain: str, *words: str) -> Said:
    return ouro("deploy", "-c", place.config, "--chain", chain, "--keystore", place.keystore, *words)


def line(said: Said, label: str) -> str:
    return next(text for text in said.out.splitlines() if text.startswith(label)).removeprefix(label).strip()


def test_deploy_on_two_chains_then_verify_and_status(ouro: Run, place: Place) -> None:
    dry = deploy(ouro, place, "one")
    address = line(dry, "executor:")
    assert dry.code == 0
    assert dry.out.endswith("dry run: nothing was sent; repeat with --send\n")
    assert line(dry, "cost:").startswith("about 0.0")
    assert place.rpc("one", "eth_blockNumber") == "0x0"
    for chain in ("one", "two"):
        done = deploy(ouro, place, chain, "--send")
        assert done.code == 0
        assert f"{chain}: executor at {address}" in done.out
        assert f"{chain}: verified at block" in done.out
    assert "note:" not in ouro("status", "-c", place.config, "--executor", address).out
    place.write(executor=address)
    verified = ouro("verify", "-c", place.config)
    assert (verified.code, verified.out.count("verified at block")) == (0, 2)
    place.rpc("two", "anvil_setBalance", address, hex(5 * COIN))
    shown = ouro("status", "-c", place.config)
    assert f"one: owner: {OWNER}" in shown.out
    assert f"one: operator {OPERATOR}: may execute" in shown.out
    assert "two: holds 5 native" in shown.out
    assert "holds an unreadable amount of 0x1111" in shown.out

    place.rpc("two", "anvil_setCode", address, "0x00")
    changed = ouro("verify", "-c", place.config)
    assert changed.code == 1
    assert "one: verified" in changed.out
    assert "two: code: 1 bytes" in changed.out


def test_a_chain_that_is_down_does_not_hide_the_others(ouro: Run, place: Place) -> None:
    address = line(deploy(ouro, place, "one", "--send"), "executor:")
    place.write(executor=address)
    place.nodes["two"].kill()
    said = ouro("verify", "-c", place.config)
    assert said.code == 2
    assert "one: verified" in said.out
    assert said.err.startswith("two: ")
    assert "two: chain two: " not in said.err
    empty = ouro("status", "-c", place.config, "--chain", "one", "--executor", OTHER)
    assert (empty.code, "code: none" in empty.out) == (1, True)


def test_refusals_are_one_line_and_nothing_is_sent(
    ouro: Run, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*words: str, chain: str = "one") -> str:
        said = deploy(ouro, place, chain, *words, "--send")
        assert (said.code, said.out) == (2, "")
        assert said.err.startswith("ouro: ")
        assert said.err.count("\n") == 1
        return said.err

    assert "no chain 'tree'" in refused(chain="tree")
    assert "is not an address" in refused("--owner", "0x12")
    assert "wrong checksum" in refused("--owner", "0xD8dA6BF26964aF9D7eEd9e03E53415D37aA96045")
    assert "--salt" in refused("--salt", "0x" + "11" * 13)
    assert "--mine" in refused("--mine", "1", "--own-factory")
    assert "its key is not there" in refused("--from", OTHER)
    assert "the limit is 0.100 gwei" in refused("--max-gas-price", "0.1")
    place.write(chain_ids={"one": 1})
    assert "serves chain id 9300001, but 1 is configured" in refused()
    place.write()
    place.rpc("one", "anvil_setBalance", place.deployer, "0x0")
    assert f"{place.deployer} holds 0 native" in refused()
    monkeypatch.setenv("OURO_DEPLOYER_PASSWORD", "wrong")
    assert "the password does not open it" in refused()
    monkeypatch.delenv("OURO_DEPLOYER_PASSWORD")
    assert "OURO_DEPLOYER_PASSWORD" in refused()
    place.rpc("one", "anvil_setBalance", place.deployer, hex(COIN))
    assert place.rpc("one", "eth_blockNumber") == "0x0"


def test_deploying_again_is_refused(ouro: Run, place: Place) -> None:
    assert deploy(ouro, place, "one", "--send").code == 0
    again = deploy(ouro, place, "one")
    assert again.code == 2
    assert "has code already" in again.err


def test_dry_run_without_a_key_and_without_funds_shows_the_plan(ouro: Run, place: Place) -> None:
    said = ouro("deploy", "-c", place.config, "--chain", "one", "--from", OTHER)
    assert said.code == 2
    assert line(said, "deployer:").startswith(f"{OTHER}, holds 0 native")
    assert "send it" in said.err
    shown = ouro("deploy", "-c", place.config, "--chain", "one", "--from", place.deployer, "--data")
    assert f"executor: to {line(shown, 'factory:')} value 0 data 0x" in shown.out
    none = ouro("deploy", "-c", place.config, "--chain", "one", "--from", OTHER, "--send")
    assert "no key of the deploying account" in none.err


def test_mined_salt_is_shown_and_gives_the_same_address_on_the_other_chain(ouro: Run, place: Place) -> None:
    first = deploy(ouro, place, "one", "--mine", "0.5", "--treasury", TREASURY)
    assert line(first, "executor:").startswith("0x00")
    assert line(first, "treasury:") == TREASURY
    second = deploy(ouro, place, "two", "--salt", line(first, "salt:"), "--send")
    assert line(second, "executor:") == line(first, "executor:")
    assert second.code == 0


def test_key_from_the_environment_is_never_printed(
    ouro: Run, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["deploy", "-c", place.config, "--chain", "one", "--send"]
    for nonsense in (SECRET.hex() + "ff", "0x" + SECRET.hex()[:-1] + "g"):
        monkeypatch.setenv("OURO_DEPLOYER_KEY", nonsense)
        said = ouro(*words)
        assert said.code == 2
        assert "OURO_DEPLOYER_KEY: entry 1 is not a private key" in said.err
        assert SECRET.hex()[:16] not in said.out + said.err
    # In a process of its own, with all that it writes.
    done = subprocess.run(
        [sys.executable, "-m", "ouro.cli", "contract", *words],
        env={**os.environ, "OURO_DEPLOYER_KEY": "0x" + SECRET.hex()},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert SECRET.hex()[:16] not in done.stdout + done.stderr


def test_owner_calls_as_calldata(ouro: Run, place: Place) -> None:
    address = line(deploy(ouro, place, "one", "--send"), "executor:")
    place.write(executor=address)
    said = ouro("calldata", "set-operator", OTHER, "true", "-c", place.config, "--chain", "one", "--check")
    assert line(said, "to:") == address
    assert line(said, "data:") == "0x" + set_operator(OTHER, True).hex()
    assert f"operator: {OTHER}" in line(said, "means:")
    money = ouro("calldata", "withdraw", "native", OWNER, str(COIN), "--executor", address, "--json")
    call = json.loads(money.out)
    assert call["data"].startswith("0x" + selector("withdraw(address,address,uint256)").hex())
    # What is printed does what it says, sent as the owner.
    place.rpc("one", "anvil_setBalance", address, hex(COIN))
    place.rpc("one", "anvil_setBalance", OWNER, hex(COIN))
    place.rpc("one", "anvil_impersonateAccount", OWNER)
    with place.nodes["one"].client() as client:
        client.receipt(client.call("eth_sendTransaction", {"from": OWNER, **call, "value": "0x0"}))
    assert place.rpc("one", "eth_getBalance", address, "latest") == "0x0"
    listed = ouro("calldata", "list").out
    for name in ("accept-ownership", "offer-ownership", "pause", "set-treasury", "unpause", "withdraw"):
        assert f"\n{name}" in "\n" + listed


def test_owner_calls_that_would_fail_are_not_written(ouro: Run, place: Place) -> None:
    address = line(deploy(ouro, place, "one", "--send"), "executor:")
    place.write(executor=address)
    where = ("-c", place.config, "--chain", "one", "--check")
    for words, problem in (
        (("withdraw", "native", OWNER, "1"), "would revert: TransferFailed"),
        (("set-treasury", "0x" + "00" * 20), "would revert: ZeroAddress"),
        (("accept-ownership",), "would revert: NotOwner"),
        (("fly",), "'fly' is no action of the executor; known: accept-ownership"),
        (("pause", "now"), "usage: pause"),
        (("withdraw", "native", OWNER, "1.5"), "is not a whole number"),
        (("withdraw", "native", OWNER, str(2**256)), "is not a whole number"),
        (("set-operator", OWNER, "maybe"), "neither true nor false"),
    ):
        said = ouro("calldata", *words, *where)
        assert (said.code, said.out) == (2, "")
        assert problem in said.err


HOPS = (
    Hop("0x" + "a1" * 20, "uniswap_v3", "0x" + "01" * 20, "0x" + "02" * 20, 0, 1, 1000, 2000),
    Hop("0x" + "a2" * 20, "uniswap_v2", "0x" + "02" * 20, "0x" + "01" * 20, 1, 0, 2000, 1100),
)


def test_decode_program(ouro: Run) -> None:
    program = encode_plan(HOPS, "0x" + "01" * 20, 50, 123_456)
    said = ouro("decode", "0x" + program.hex())
    assert said.code == 0
    for words in (
        "max_block_number: 123456",
        "min_profit_wei: 50",
        "V3_SWAP",
        "V2_SWAP",
        "a1" * 20,
        "amount_wei=1000",
    ):
        assert words in said.out
    for nonsense in ("0xzz", "0x", program.hex()[:-2], "ff" * 60):
        wrong = ouro("decode", nonsense)
        assert (wrong.code, wrong.out) == (2, "")
        assert wrong.err.startswith("ouro: ")


def test_decode_transactions_of_the_chain(ouro: Run, place: Place) -> None:
    done = deploy(ouro, place, "two", "--send")
    sent = [text.split("sent ")[1] for text in done.out.splitlines() if text.startswith("executor: sent")]
    said = ouro("decode", sent[0], "-c", place.config)
    assert f"two: {sent[0]} from {place.deployer}" in said.out
    assert "succeeded in block 2" in said.out
    assert f"owner: {OWNER}" in said.out
    assert f"operators: {OPERATOR}" in said.out
    unknown = ouro("decode", "0x" + "77" * 32, "-c", place.config)
    assert "no configured chain knows this transaction" in unknown.err


def test_describe_names_calls_and_foreign_code() -> None:
    for name, arguments in (("pause", []), ("set-operator", [OTHER, "false"]), ("withdraw", [OTHER, OWNER, "7"])):
        action, data = action_calldata(name, arguments)
        said = "\n".join(describe(data))
        assert said.startswith(f"call {action.function}")
        assert all(argument in said for argument in arguments)
    salt = salt_of(OTHER, default_number(OWNER))
    assert f"  treasury: {TREASURY}" in describe(deploy_call(salt, creation_code(OWNER, [OPERATOR], TREASURY)))
    assert "no build of the executor" in describe(deploy_call(salt, b"\x60\x00"))[-1]
    with pytest.raises(InputError, match="arguments can't be read"):
        describe(set_operator(OTHER, True)[:-1])


def test_every_action_is_written_from_words() -> None:
    words = {"address": OTHER, "bool": "true", "uint256": "5"}
    for name, action in actions().items():
        _, data = action_calldata(name, [words[kind] for _, kind in action.inputs])
        assert data[:4] == selector(action.signature)


def test_addresses_with_wrong_checksum_are_refused() -> None:
    right = "0xd8dA6BF26964aF9D7eEd9e03E53415D37aA96045"
    assert read_address(right, "x") == right.lower()
    assert read_address("0x" + right[2:].upper(), "x") == right.lower()
    with pytest.raises(InputError, match="checksum"):
        read_address(right.replace("dA6", "da6"), "x")

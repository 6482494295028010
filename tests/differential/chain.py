"""The real pool contracts in pyrevm, moved by our driver contract; their logs come out as a feed gives them."""

from pathlib import Path
from typing import Any

import pyrevm
from eth_abi.abi import encode

from ouro.hashing import keccak
from ouro.testnet.abi import call_bytes
from ouro.testnet.artifacts import artifact, load_json
from ouro.types import Address, Log

ROOT = Path(__file__).resolve().parents[2]
SUPPLY = (1 << 256) - 1
GAS = 1 << 48


def account(name: str) -> Address:
    """An account nobody has the key of."""
    return "0x" + keccak(name.encode())[12:].hex()


OWNER = account("owner")


class Reverted(Exception):  # noqa: N818 - a fact, often the expected one
    """A call that reverted."""


class Chain:
    """One EVM with two tokens, a driver that holds their whole supply, and whatever factories are deployed."""

    def __init__(self, code_limit_bytes: int | None = None) -> None:
        self.timestamp = 1_700_000_000
        self._code_limit_bytes = code_limit_bytes
        self.number = 1
        self.evm = pyrevm.EVM(env=self._env(), gas_limit=GAS)
        self.evm.set_balance(OWNER, 10**24)
        token = load_json(ROOT / "src/ouro/testnet/artifacts_own/TestToken.json").bytecode
        code = token + encode(["string", "string", "uint8", "uint256"], ["T", "T", 18, SUPPLY])
        one, other = self.deploy(code), self.deploy(code)
        self.tokens = (min(one, other), max(one, other))
        driver = load_json(ROOT / "tests/differential/PoolDriver.json").bytecode
        self.driver = self.deploy(driver + encode(["address", "address"], self.tokens))
        for address in self.tokens:
            self.call(address, call_bytes("transfer(address,uint256)", self.driver, SUPPLY))

    def _env(self) -> pyrevm.Env:
        cfg = pyrevm.CfgEnv(limit_contract_code_size=self._code_limit_bytes)
        return pyrevm.Env(cfg=cfg, block=self._block())

    def _block(self) -> pyrevm.BlockEnv:
        return pyrevm.BlockEnv(number=self.number, timestamp=self.timestamp, gas_limit=GAS)

    def at(self, timestamp: int) -> None:
        """The following calls run in a new block at this time."""
        self.number += 1
        self.timestamp = timestamp
        self.evm.set_block_env(self._block())

    def deploy(self, code: bytes) -> Address:
        """Create a contract as the owner."""
        return str(self.evm.deploy(OWNER, code)).lower()

    def deploy_package(self, package: str, path: str, types: list[str], values: list[Any]) -> Address:
        """Create a contract of a protocol's own package."""
        return self.deploy(artifact(package, path).bytecode + encode(types, values))

    def call(self, to: Address, data: bytes, caller: Address = OWNER) -> bytes:
        """A call that keeps its effects. Raises ``Reverted``."""
        try:
            return bytes(self.evm.message_call(caller, to, calldata=data, gas=GAS))
        except RuntimeError as error:
            raise Reverted(str(error)[:300]) from error

    def ask(self, to: Address, data: bytes) -> bytes | None:
        """The answer of a call that leaves no trace; None where it reverts."""
        mark = self.evm.snapshot()
        try:
            return self.call(to, data)
        except Reverted:
            return None
        finally:
            self.evm.revert(mark)

    def drive(self, target: Address, data: bytes) -> bytes:
        """The driver calls ``target`` and pays what its callbacks ask for."""
        return self.call(self.driver, call_bytes("run(address,bytes)", target, data))

    def logs(self, address: Address) -> list[Log]:
        """Logs of the last call that ``address`` emitted."""
        found = []
        result = self.evm.result
        for k, log in enumerate(result.logs if result else ()):
            if log.address.lower() == address:
                topics = tuple("0x" + bytes.fromhex(t.removeprefix("0x")).hex() for t in log.topics)
                data = "0x" + bytes(log.data[1]).hex()  # pyrevm repeats the topics in data[0]
                found.append(Log(address, topics, data, self.number, "0x", "0x", 0, k))
        return found

    def slot(self, address: Address, slot: int) -> int:
        """A storage word."""
        return int(self.evm.storage(address, slot))

    def balance(self, token: Address, holder: Address) -> int:
        """An ERC-20 balance."""
        answer = self.evm.message_call(OWNER, token, calldata=call_bytes("balanceOf(address)", holder), gas=GAS)
        return int.from_bytes(bytes(answer))

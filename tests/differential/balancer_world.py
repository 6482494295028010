"""Balancer's second Vault from its own package in pyrevm: tokens, factories of every generation, calls, logs."""

import random
from typing import Any

from eth_abi.abi import decode, encode
from tests.differential import sources
from tests.differential.chain import GAS, OWNER, SUPPLY, Chain, Reverted
from tests.differential.mirror import Mirror

from ouro.hashing import keccak, topic
from ouro.protocols import balancer_v2_vault as vault
from ouro.protocols.base import StorageWrite
from ouro.protocols.creation import NewPool
from ouro.protocols.reads import StorageRead, play
from ouro.testnet.abi import call_bytes
from ouro.testnet.artifacts import Artifact, load_json
from ouro.types import Address, BlockContext, Log

PACKAGE = "@balancer-labs/v2-deployments"
ZERO: Address = "0x" + "00" * 20
DECIMALS = (18, 6, 18, 8, 0, 18, 2, 12)
SWAP = "swap((bytes32,uint8,address,address,uint256,bytes),(address,bool,address,bool),uint256,uint256)"
JOIN = "joinPool(bytes32,address,address,(address[],uint256[],bytes,bool))"
EXIT = "exitPool(bytes32,address,address,(address[],uint256[],bytes,bool))"
_POOL_CREATED = topic("PoolCreated(address)")
MAX_UINT = (1 << 256) - 1


def task(path: str) -> Artifact:
    """A contract of the package: ``task/Contract``."""
    folder, name = path.rsplit("/", 1)
    return sources.package_artifact(PACKAGE, f"dist/tasks/{folder}/artifact/{name}.json")


class BalancerChain(Chain):
    """One Vault, eight tokens of different decimals held by the owner, and the factories asked for."""

    def __init__(self, tokens: int = 8) -> None:
        super().__init__(code_limit_bytes=1 << 20)
        self.open(tokens)

    def open(self, tokens: int) -> None:
        """Deploy tokens and Vault."""
        code = load_json(sources.ROOT / "src/ouro/testnet/artifacts_own/TestToken.json").bytecode
        self.decimals: dict[Address, int] = {}
        for places in DECIMALS[:tokens]:
            arguments = encode(["string", "string", "uint8", "uint256"], ["T", "T", places, SUPPLY])
            self.decimals[self.deploy(code + arguments)] = places
        self.authorizer = self.deploy(
            task("20210418-authorizer/Authorizer").bytecode + encode(["address"], [OWNER])
        )
        types = ["address", "address", "uint256", "uint256"]
        arguments = encode(types, [self.authorizer, self.tokens[0], 90 * 86400, 30 * 86400])
        self.vault = self.deploy(task("20210418-vault/Vault").bytecode + arguments)
        provider = task("20220725-protocol-fee-percentages-provider/ProtocolFeePercentagesProvider").bytecode
        self.fees = self.deploy(provider + encode(["address", "uint256", "uint256"], [self.vault, 10**18, 10**18]))
        for token in self.decimals:
            self.call(token, call_bytes("approve(address,uint256)", self.vault, MAX_UINT))

    def factory(self, path: str) -> Address:
        """A pool factory, by the arguments that its constructor takes."""
        found = task(path)
        inputs = next(entry["inputs"] for entry in found.abi if entry["type"] == "constructor")
        values = {"vault": self.vault, "protocolFeeProvider": self.fees}
        arguments = encode([i["type"] for i in inputs], [values.get(i["name"], "v") for i in inputs])
        return self.deploy(found.bytecode + arguments)

    def created(self, factory: Address, data: bytes) -> tuple[Address, str]:
        """(address, id) of the pool that the call creates."""
        self.call(factory, data)
        log = next(log for log in self.logs(factory) if log.topics[0] == _POOL_CREATED)
        pool = "0x" + log.topics[1][-40:]
        return pool, "0x" + self.call(pool, call_bytes("getPoolId()")).hex()

    def all_logs(self) -> list[Log]:
        """Logs of the last call, whoever emitted them, in order."""
        found = []
        for k, log in enumerate(self.evm.result.logs if self.evm.result else ()):
            topics = tuple("0x" + bytes.fromhex(t.removeprefix("0x")).hex() for t in log.topics)
            data = "0x" + bytes(log.data[1]).hex()
            found.append(Log(log.address.lower(), topics, data, self.number, "0x", "0x", 0, k))
        return found

    def swap(self, pool_id: str, given_in: bool, token_in: Address, token_out: Address, amount: int) -> int:
        """``swap`` of the owner; the calculated amount. Raises ``Reverted``."""
        single = (bytes.fromhex(pool_id[2:]), 0 if given_in else 1, token_in, token_out, amount, b"")
        limit = 0 if given_in else MAX_UINT
        data = call_bytes(SWAP, single, (OWNER, False, OWNER, False), limit, MAX_UINT)
        return int.from_bytes(self.call(self.vault, data))

    def join(self, pool_id: str, tokens: tuple[Address, ...], data: bytes) -> None:
        """``joinPool`` of the owner."""
        request = (list(tokens), [MAX_UINT] * len(tokens), data, False)
        self.call(self.vault, call_bytes(JOIN, bytes.fromhex(pool_id[2:]), OWNER, OWNER, request))

    def leave(self, pool_id: str, tokens: tuple[Address, ...], data: bytes) -> None:
        """``exitPool`` of the owner."""
        request = (list(tokens), [0] * len(tokens), data, False)
        self.call(self.vault, call_bytes(EXIT, bytes.fromhex(pool_id[2:]), OWNER, OWNER, request))

    def allow(self, where: Address, signature: str) -> None:
        """Let the owner call what governance may."""
        action = self.call(where, call_bytes("getActionId(bytes4)", keccak(signature.encode())[:4]))
        self.call(self.authorizer, call_bytes("grantRole(bytes32,address)", action, OWNER))

    def paused_until(self, pool: Address) -> tuple[bool, int]:
        """(paused, end of the buffer period)."""
        paused, _, end = decode(["bool", "uint256", "uint256"], self.call(pool, call_bytes("getPausedState()")))
        return paused, end

    def read_anew(self, family: Any, state: Any) -> Any:
        """The pool as its family's reading script finds it through view calls."""

        def answer(ask: Any) -> bytes | None:
            if isinstance(ask, StorageRead):
                return self.slot(ask.target, ask.slot).to_bytes(32)
            mark = self.evm.snapshot()
            try:
                return self.call(ask.target, ask.data)
            except Reverted:
                return None
            finally:
                self.evm.revert(mark)

        found = play(family.read(NewPool("dex", family.name, state.address, (), 0)), answer)
        return family.from_json(family.to_json(found))

    def context(self) -> BlockContext:
        """The block that calls run in."""
        return BlockContext(self.number, self.timestamp, 0)


class VaultMirror(Mirror):
    """Follows a pool through logs of the Vault and of the pool's own contract."""

    chain: BalancerChain

    def __init__(self, chain: BalancerChain, family: Any, state: Any) -> None:
        super().__init__(chain, family, state)
        self.balances = {}  # the Vault holds the tokens of all its pools

    def follow(self) -> None:
        """Apply the logs of the chain's last call and compare what they wrote."""
        written = set()
        for log in self.chain.all_logs():
            mine = log.address == self.state.address
            if not mine and not (log.address == self.state.manager and vault.pool_of(log) == self.state.address):
                continue
            delta = self.family.decode(self.state, log, self.chain.timestamp)
            if delta is None:
                continue
            for write in self.family.storage_writes(self.state, delta):
                if isinstance(write, StorageWrite):
                    self.words[write.address, write.slot] = write.value
                    written.add((write.address, write.slot))
            self.state = self.family.apply(self.state, delta)
        self._compare_words(written)

    def expect_words(self, what: str, state: Any) -> None:
        """Every balance word of ``state`` is in the Vault."""
        for slot, word in vault.balance_words(state).items():
            self.expect(f"{what}: slot {slot:#x}", word, self.chain.slot(self.chain.vault, slot))


def amount_for(rng: random.Random, balance: int, most: float) -> int:
    """A random amount beside a balance: usually sensible, at times an edge."""
    if rng.random() < 0.1:
        return rng.choice([1, 2, 3, balance, 3 * balance // 10, 3 * balance // 10 + 1, 1 << 111, 1 << 200])
    return max(int(balance * 10 ** rng.uniform(-12, most)), 1)


__all__ = ["GAS", "BalancerChain", "Reverted", "VaultMirror", "amount_for", "task"]

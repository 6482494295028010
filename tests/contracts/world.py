"""Real protocol contracts with price gaps, in pyrevm or on a node: what the executor is tested against.

Tokens W, T1 … T5. One W buys 1000 T1 in the cheap pools, Tk trade 1:1 among each other, and 950 Tk (900 from T4 on)
buy one W back in the dear pools, so every cycle W → T1 → … → Tk → W gains, through V2 or V3 at each hop.
"""

import math
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import httpx
import pyrevm
from eth_abi.abi import decode, encode

from ouro.execution.access_list import AccessList, of_node
from ouro.execution.builds import Build, builds
from ouro.hashing import keccak, selector
from ouro.testnet.artifacts import artifact, load_json
from ouro.types import Address, Hop

ROOT = Path(__file__).resolve().parents[2]
TEST_TOKEN = load_json(ROOT / "src/ouro/testnet/artifacts_own/TestToken.json")
TRANSIENT = "OuroExecutor"
STORAGE = "OuroExecutorStorage"
BUILDS = (TRANSIENT, STORAGE)
TESTED = (TRANSIENT,) if os.environ.get("OURO_TEST_EXECUTOR") else BUILDS
"""A mutant takes the place of the first (conftest.py)."""
SPECS = {TRANSIENT: "Cancun", STORAGE: "London"}
"""The oldest rules that a build is made for."""
MAX_UINT = (1 << 256) - 1
SUPPLY = 10**30


def address_of(name: str) -> Address:
    """An account nobody has the key of."""
    return "0x" + keccak(name.encode())[12:].hex()


def calldata(signature: str, *values: Any) -> bytes:
    """ABI-encoded call; the argument types are taken from the signature."""
    inner = signature[signature.index("(") + 1 : -1]
    types, depth, start = [], 0, 0
    for k, letter in enumerate(inner + ","):
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            types.append(inner[start:k])
            start = k + 1
    return selector(signature) + encode([t for t in types if t], list(values))


class Reverted(Exception):  # noqa: N818 - it is a fact, and often the expected one
    """A call that reverted, with its payload."""

    def __init__(self, data: bytes, text: str = "") -> None:
        super().__init__(text or data.hex())
        self.data = data


class Backend(Protocol):
    """Where the contracts live."""

    def deploy(self, code: bytes, sender: Address) -> Address: ...
    def send(self, to: Address, data: bytes, sender: Address, value: int = 0) -> int: ...
    def call(self, to: Address, data: bytes, sender: Address | None = None) -> bytes: ...


class EvmBackend:
    """In-process, one EVM per world."""

    def __init__(self, spec_id: str = "Cancun") -> None:
        self.evm = pyrevm.EVM(spec_id=spec_id)
        self.set_block(100)

    def set_block(self, number: int, coinbase: Address = "0x" + "00" * 19 + "cb") -> None:
        block = pyrevm.BlockEnv(
            number=number, timestamp=1_700_000_000 + number, gas_limit=30_000_000, coinbase=coinbase
        )
        self.evm.set_block_env(block)

    def fund(self, account: Address) -> None:
        self.evm.set_balance(account, 10**24)

    def deploy(self, code: bytes, sender: Address) -> Address:
        return str(self.evm.deploy(sender, code)).lower()

    def send(self, to: Address, data: bytes, sender: Address, value: int = 0) -> int:
        checkpoint = self.evm.snapshot()
        try:
            self.evm.message_call(sender, to, data, value=value, gas=25_000_000)
        except RuntimeError as error:
            self.evm.revert(checkpoint)
            raise _reverted(str(error)) from None
        self.evm.commit()
        self.evm.reset_transient_storage()
        assert self.evm.result is not None
        return self.evm.result.gas_used

    def call(self, to: Address, data: bytes, sender: Address | None = None) -> bytes:
        checkpoint = self.evm.snapshot()
        try:
            return bytes(self.evm.message_call(sender or address_of("reader"), to, data, gas=25_000_000))
        except RuntimeError as error:
            raise _reverted(str(error)) from None
        finally:
            self.evm.revert(checkpoint)


def _reverted(text: str) -> Reverted:
    if "output: 0x" not in text:
        return Reverted(b"", text)
    return Reverted(bytes.fromhex(text.split("output: 0x")[1].split(" ")[0].rstrip("}")), text)


class NodeBackend:
    """An anvil of its own that mines each transaction at once."""

    def __init__(self, hardfork: str | None = None) -> None:
        """``hardfork`` None: the node's newest."""
        binary = ROOT / "node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil"
        rules = [] if hardfork is None else ["--hardfork", hardfork]
        # Its output goes to a file: a pipe that nobody drains would stop the node.
        self._output = tempfile.NamedTemporaryFile("w+")  # noqa: SIM115 - open as long as the node
        self.process = subprocess.Popen(
            [str(binary), "--port", "0", "--chain-id", "9300001", "--gas-limit", "60000000", *rules],
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )
        self.url = "http://" + self._listening()
        self.client = httpx.Client(timeout=60)

    def _listening(self) -> str:
        for _ in range(1000):
            found = re.search(r"Listening on (\S+)", Path(self._output.name).read_text())
            if found:
                return found.group(1)
            time.sleep(0.02)
        self.process.terminate()
        raise RuntimeError(f"anvil did not start: {Path(self._output.name).read_text()[-500:]}")

    def rpc(self, method: str, *params: Any) -> Any:
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
        answer = self.client.post(self.url, json=body).json()
        if "error" in answer:
            data = answer["error"].get("data")
            raise Reverted(bytes.fromhex(data[2:]) if isinstance(data, str) else b"", str(answer["error"]))
        return answer["result"]

    def close(self) -> None:
        self.client.close()
        self.process.terminate()
        self.process.wait(10)
        self._output.close()

    def fund(self, account: Address) -> None:
        self.rpc("anvil_setBalance", account, hex(10**24))
        self.rpc("anvil_impersonateAccount", account)

    def transact(self, transaction: dict[str, Any]) -> dict[str, Any]:
        """Send, wait for the receipt; reverted transactions give theirs too."""
        tx_hash = self.rpc("eth_sendTransaction", {"gas": hex(16_000_000), **transaction})
        for _ in range(400):
            receipt = self.rpc("eth_getTransactionReceipt", tx_hash)
            if receipt:
                return receipt
            time.sleep(0.005)
        raise RuntimeError(f"{tx_hash} was not mined")

    def deploy(self, code: bytes, sender: Address) -> Address:
        receipt = self.transact({"from": sender, "data": "0x" + code.hex()})
        assert receipt["status"] == "0x1", "deployment reverted"
        return receipt["contractAddress"].lower()

    def send(self, to: Address, data: bytes, sender: Address, value: int = 0, access_list: AccessList = ()) -> int:
        transaction: dict[str, Any] = {"from": sender, "to": to, "data": "0x" + data.hex(), "value": hex(value)}
        if access_list:
            transaction["accessList"] = [{"address": a, "storageKeys": list(slots)} for a, slots in access_list]
        receipt = self.transact(transaction)
        if receipt["status"] != "0x1":
            self.rpc("eth_call", transaction, "latest")
            raise Reverted(b"", "reverted in its block, not after it")
        return int(receipt["gasUsed"], 16)

    def access_list(self, to: Address, data: bytes, sender: Address) -> AccessList:
        """The list that pays, by the node's own answer."""
        transaction = {"from": sender, "to": to, "data": "0x" + data.hex()}
        return of_node(self.rpc("eth_createAccessList", transaction, "latest"), (to, sender))

    def call(self, to: Address, data: bytes, sender: Address | None = None) -> bytes:
        transaction = {"from": sender or address_of("reader"), "to": to, "data": "0x" + data.hex()}
        return bytes.fromhex(self.rpc("eth_call", transaction, "latest")[2:])


@dataclass(frozen=True)
class Pool:
    """A deployed pool; ``tokens`` in the contract's order, ``fee`` in ppm."""

    address: Address
    family: str
    tokens: tuple[Address, Address]
    fee: int


@dataclass
class World:
    """All contracts on one backend; pools by (token in, token out, "v2" | "v3")."""

    backend: Any
    build_name: str = TRANSIENT
    token_code: bytes = TEST_TOKEN.bytecode
    owner: Address = field(default_factory=lambda: address_of("owner"))
    treasury: Address = field(default_factory=lambda: address_of("treasury"))
    operator: Address = field(default_factory=lambda: address_of("operator"))
    stranger: Address = field(default_factory=lambda: address_of("stranger"))
    tokens: dict[str, Address] = field(default_factory=dict)
    pools: dict[tuple[str, str, str], Pool] = field(default_factory=dict)
    executor: Address = ""

    def read(self, to: Address, signature: str, returns: Sequence[str], *values: Any) -> tuple[Any, ...]:
        return decode(returns, self.backend.call(to, calldata(signature, *values)))

    def balance(self, token: Address, holder: Address) -> int:
        return self.read(token, "balanceOf(address)", ["uint256"], holder)[0]

    def transfer(self, token: Address, to: Address, amount: int) -> None:
        self.backend.send(token, calldata("transfer(address,uint256)", to, amount), self.owner)

    def build(self, last_token: int) -> "World":
        """Deploy everything for cycles of up to ``last_token`` + 1 hops."""
        for account in (self.owner, self.operator, self.stranger, self.treasury):
            self.backend.fund(account)
        self._deploy_base()
        for k in range(1, last_token + 1):
            arguments = encode(["string", "string", "uint8", "uint256"], [f"T{k}", f"T{k}", 18, SUPPLY])
            self.tokens[f"T{k}"] = self.backend.deploy(self.token_code + arguments, self.owner)
        for token in self.tokens.values():
            for spender in (self.npm, self.router):
                self.backend.send(token, calldata("approve(address,uint256)", spender, MAX_UINT), self.owner)
        self._both("W", "T1", 1000, 1, self.uniswap, 3000)
        for k in range(1, last_token):
            self._both(f"T{k}", f"T{k + 1}", 1, 1, self.uniswap, 3000)
        for k in range(1, last_token + 1):
            self._both(f"T{k}", "W", 1, 950 if k < 4 else 900, self.sushi, 500)
        # As in steady state: the treasury already has some of the profit token.
        self.transfer(self.tokens["W"], self.treasury, 1)
        return self

    def _deploy_base(self) -> None:
        deploy, owner = self.backend.deploy, self.owner
        self.tokens["W"] = deploy(artifact("@uniswap/v2-periphery", "build/WETH9.json").bytecode, owner)
        self.backend.send(self.tokens["W"], calldata("deposit()"), owner, 10**23)
        setter = encode(["address"], [owner])
        uniswap = artifact("@uniswap/v2-core", "build/UniswapV2Factory.json")
        sushi = artifact("@sushiswap/sushiswap", "deployments/arbitrum/UniswapV2Factory.json")
        self.uniswap = deploy(uniswap.bytecode + setter, owner)
        self.sushi = deploy(sushi.bytecode + setter, owner)
        factory = "artifacts/contracts/UniswapV3Factory.sol/UniswapV3Factory.json"
        self.v3_factory = deploy(artifact("@uniswap/v3-core", factory).bytecode, owner)
        manager = "artifacts/contracts/NonfungiblePositionManager.sol/NonfungiblePositionManager.json"
        arguments = encode(["address"] * 3, [self.v3_factory, self.tokens["W"], owner])
        self.npm = deploy(artifact("@uniswap/v3-periphery", manager).bytecode + arguments, owner)
        quoter = "artifacts/contracts/lens/QuoterV2.sol/QuoterV2.json"
        arguments = encode(["address"] * 2, [self.v3_factory, self.tokens["W"]])
        self.quoter = deploy(artifact("@uniswap/v3-periphery", quoter).bytecode + arguments, owner)
        router = "artifacts/contracts/SwapRouter.sol/SwapRouter.json"
        self.router = deploy(artifact("@uniswap/v3-periphery", router).bytecode + arguments, owner)
        self.executor = deploy(self.build_of.deployment(owner, [self.operator], self.treasury), owner)

    @property
    def build_of(self) -> Build:
        """The build of the executor that is tested here."""
        return next(build for build in builds() if build.name == self.build_name)

    def _both(self, a: str, b: str, b_amount: int, a_amount: int, factory: Address, fee: int) -> None:
        """One V2 and one V3 pool where ``a_amount`` of a is worth ``b_amount`` of b."""
        unit = 50 * 10**18 if "W" not in (a, b) else 10**18 // 10
        amounts = {a: a_amount * unit * 200, b: b_amount * unit * 200}
        t0, t1 = sorted((self.tokens[a], self.tokens[b]))
        names = {self.tokens[a]: a, self.tokens[b]: b}
        x, y = amounts[names[t0]], amounts[names[t1]]
        self.pools[a, b, "v2"] = self._v2(factory, t0, t1, x, y)
        self.pools[a, b, "v3"] = self._v3(t0, t1, x, y, fee)

    def _v2(self, factory: Address, t0: Address, t1: Address, x: int, y: int) -> Pool:
        self.backend.send(factory, calldata("createPair(address,address)", t0, t1), self.owner)
        (pair,) = self.read(factory, "getPair(address,address)", ["address"], t0, t1)
        self.transfer(t0, pair, x)
        self.transfer(t1, pair, y)
        self.backend.send(pair, calldata("mint(address)", self.owner), self.owner)
        return Pool(pair, "uniswap_v2", (t0, t1), 3000)

    def _v3(self, t0: Address, t1: Address, x: int, y: int, fee: int) -> Pool:
        price = math.isqrt((y << 192) // x)
        create = calldata("createAndInitializePoolIfNecessary(address,address,uint24,uint160)", t0, t1, fee, price)
        self.backend.send(self.npm, create, self.owner)
        (pool,) = self.read(self.v3_factory, "getPool(address,address,uint24)", ["address"], t0, t1, fee)
        grow = calldata("increaseObservationCardinalityNext(uint16)", 4)
        self.backend.send(pool, grow, self.owner)
        centre = int(math.log(y / x) / math.log(1.0001)) // 60 * 60
        for width in (887220, 6000, 600):
            low, high = max(-887220, centre - width), min(887220, centre + width)
            position = (t0, t1, fee, low, high, x, y, 0, 0, self.owner, 1 << 40)
            kinds = "(address,address,uint24,int24,int24,uint256,uint256,uint256,uint256,address,uint256)"
            self.backend.send(self.npm, calldata(f"mint({kinds})", position), self.owner)
        return Pool(pool, "uniswap_v3", (t0, t1), fee)

    def quote(self, pool: Pool, token_in: Address, amount_in: int) -> int:
        """Exact output by the protocols' own code (V3) or the routers' formula (V2)."""
        zero = token_in == pool.tokens[0]
        if pool.family == "uniswap_v2":
            reserves = self.read(pool.address, "getReserves()", ["uint112", "uint112", "uint32"])
            r_in, r_out = (reserves[0], reserves[1]) if zero else (reserves[1], reserves[0])
            return amount_in * 997 * r_out // (r_in * 1000 + amount_in * 997)
        request = (token_in, pool.tokens[zero], amount_in, pool.fee, 0)
        signature = "quoteExactInputSingle((address,address,uint256,uint24,uint160))"
        return self.read(self.quoter, signature, ["uint256", "uint160", "uint32", "uint256"], request)[0]

    def hops(self, kinds: Sequence[str], amount_in: int) -> tuple[Hop, ...]:
        """The cycle W → T1 → … → W through pools of these kinds, exactly quoted."""
        names = ["W", *(f"T{k}" for k in range(1, len(kinds))), "W"]
        hops, amount = [], amount_in
        for k, kind in enumerate(kinds):
            pool = self.pools[names[k], names[k + 1], kind]
            token_in, token_out = self.tokens[names[k]], self.tokens[names[k + 1]]
            out = self.quote(pool, token_in, amount)
            i = pool.tokens.index(token_in)
            hops.append(Hop(pool.address, pool.family, token_in, token_out, i, 1 - i, amount, out))
            amount = out
        return tuple(hops)

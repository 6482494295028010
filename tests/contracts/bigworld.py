"""``World`` with Uniswap V4, lenders and pools of the native coin."""

import math
from dataclasses import dataclass, field
from typing import Any

from aave import AaveMarket
from packages import morpho_code, test_artifact
from world import MAX_UINT, Pool, World, calldata, encode

from ouro.execution.encode_dag import Places
from ouro.execution.program import NATIVE, PoolKey
from ouro.hashing import keccak
from ouro.types import Address, Hop

_KEY = "(address,address,uint24,int24,address)"
_V4 = "@uniswap/v4-core"
_BALANCER = "@balancer-labs/v2-deployments"
_TASKS = "dist/tasks/20210418-"
MIN_LIMIT, MAX_LIMIT = 4295128740, 1461446703485210103287273052203988822378723970341


def v4_id(key: PoolKey) -> str:
    """The id of a V4 pool: the hash of its key."""
    values = [key.currency0, key.currency1, key.fee_ppm, key.tick_spacing, key.hooks]
    return "0x" + keccak(encode(["address", "address", "uint24", "int24", "address"], values)).hex()


@dataclass
class BigWorld(World):
    """V4 pools are found under (token, token, "v4"); "ETH" is the native coin."""

    manager: Address = ""
    keys: dict[str, PoolKey] = field(default_factory=dict)

    def build(self, last_token: int) -> "BigWorld":
        super().build(last_token)
        self.tokens["ETH"] = NATIVE
        deploy, owner = self.backend.deploy, self.owner
        manager = test_artifact(_V4, "out/PoolManager.sol/PoolManager.json").bytecode
        self.manager = deploy(manager + encode(["address"], [owner]), owner)
        argument = encode(["address"], [self.manager])
        name = "PoolModifyLiquidityTest"
        self.liquidity = deploy(test_artifact(_V4, f"out/{name}.sol/{name}.json").bytecode + argument, owner)
        name = "PoolSwapTest"
        self.swapper = deploy(test_artifact(_V4, f"out/{name}.sol/{name}.json").bytecode + argument, owner)
        for token in list(self.tokens.values()):
            for spender in (self.liquidity, self.swapper):
                if token != NATIVE:
                    self.backend.send(token, calldata("approve(address,uint256)", spender, MAX_UINT), owner)
        self._v4("W", "T1", 1, 1000)
        self._v4("ETH", "T1", 1, 1000)
        for k in range(1, last_token):
            self._v4(f"T{k}", f"T{k + 1}", 1, 1)
        for k in range(1, last_token + 1):
            self._v4(f"T{k}", "W", 950, 1)
            self._v4(f"T{k}", "ETH", 950, 1, 500)
        self._lenders()
        return self

    def _v4(self, a: str, b: str, a_amount: int, b_amount: int, fee: int = 3000) -> None:
        unit = 50 * 10**18 if not {"W", "ETH"} & {a, b} else 10**18 // 10
        amounts = {self.tokens[a]: a_amount * unit * 200, self.tokens[b]: b_amount * unit * 200}
        t0, t1 = sorted((self.tokens[a], self.tokens[b]))
        x, y = amounts[t0], amounts[t1]
        # The two directions of W and T1 are two pools with two prices.
        spacing = 60 if (a in ("W", "ETH")) else 10
        key = PoolKey(t0, t1, fee, spacing)
        values = (t0, t1, fee, spacing, NATIVE)
        price = math.isqrt((y << 192) // x)
        self.backend.send(self.manager, calldata(f"initialize({_KEY},uint160)", values, price), self.owner)
        signature = f"modifyLiquidity({_KEY},(int24,int24,int256,bytes32),bytes)"
        position = (-887220, 887220, math.isqrt(x * y), bytes(32))
        value = x + 1 if t0 == NATIVE else 0
        self.backend.send(self.liquidity, calldata(signature, values, position, b""), self.owner, value)
        self.keys[v4_id(key)] = key
        self.pools[a, b, "v4"] = Pool(v4_id(key), "uniswap_v4", (t0, t1), fee)

    def _lenders(self) -> None:
        deploy, owner = self.backend.deploy, self.owner
        authorizer = test_artifact(_BALANCER, f"{_TASKS}authorizer/artifact/Authorizer.json").bytecode
        authority = deploy(authorizer + encode(["address"], [owner]), owner)
        vault = test_artifact(_BALANCER, f"{_TASKS}vault/artifact/Vault.json").bytecode
        arguments = encode(["address", "address", "uint256", "uint256"], [authority, self.tokens["W"], 0, 0])
        self.vault = deploy(vault + arguments, owner)
        self.morpho = deploy(morpho_code() + encode(["address"], [owner]), owner)
        for lender in (self.vault, self.morpho):
            for name in ("W", "T1"):
                self.transfer(self.tokens[name], lender, 10**20)
        market = AaveMarket(
            lambda code: deploy(code, owner),
            lambda to, data: self.backend.send(to, data, owner),
            lambda to, signature: self.read(to, signature, ["address"])[0],
            owner,
        )
        market.offer([self.tokens["W"], self.tokens["T1"]], 10**20)
        self.aave = market.pool

    @property
    def places(self) -> Places:
        return Places(self.manager, self.keys, self.tokens["W"])

    def quote(self, pool: Pool, token_in: Address, amount_in: int) -> int:
        if pool.family != "uniswap_v4":
            return super().quote(pool, token_in, amount_in)
        key = self.keys[pool.address]
        zero = token_in == pool.tokens[0]
        values = (key.currency0, key.currency1, key.fee_ppm, key.tick_spacing, key.hooks)
        swap = (zero, -amount_in, MIN_LIMIT if zero else MAX_LIMIT)
        signature = f"swap({_KEY},(bool,int256,uint160),(bool,bool),bytes)"
        data = calldata(signature, values, swap, (False, False), b"")
        value = amount_in if token_in == NATIVE else 0
        delta = int.from_bytes(self.call_paying(self.swapper, data, value)[:32], "big")
        high, low = delta >> 128, delta & (1 << 128) - 1
        return low if zero else high

    def call_paying(self, to: Address, data: bytes, value: int) -> bytes:
        evm: Any = getattr(self.backend, "evm", None)
        if evm is None:
            transaction = {"from": self.owner, "to": to, "data": "0x" + data.hex(), "value": hex(value)}
            return bytes.fromhex(self.backend.rpc("eth_call", transaction, "latest")[2:])
        checkpoint = evm.snapshot()
        try:
            return bytes(evm.message_call(self.owner, to, data, value=value, gas=25_000_000))
        finally:
            evm.revert(checkpoint)
            evm.reset_transient_storage()

    def hop(self, a: str, b: str, kind: str, amount: int) -> Hop:
        """One exactly quoted hop."""
        pool = self.pools[a, b, kind]
        token_in, token_out = self.tokens[a], self.tokens[b]
        i = pool.tokens.index(token_in)
        out = self.quote(pool, token_in, amount)
        return Hop(pool.address, pool.family, token_in, token_out, i, 1 - i, amount, out)

    def path(self, amount: int, *legs: tuple[str, str, str]) -> tuple[Hop, ...]:
        """Hops one after the other, each on the output of the one before."""
        hops = []
        for leg in legs:
            hops.append(self.hop(*leg, amount))
            amount = hops[-1].amount_out_wei
        return tuple(hops)

"""``World`` with pools of the other families: their own contracts, as the differential tests build them.

Each family has a cheap pool (W, T1) and a dear one (T1, W), in factories of their own.
"""

import math
from dataclasses import dataclass
from typing import Any

import rlp
from tests.differential import sources
from world import Pool, World, address_of, calldata, decode, encode

from ouro.hashing import keccak
from ouro.protocols.registry import FAMILIES as REGISTERED
from ouro.protocols.steps import Shape
from ouro.types import Address, Hop

FAMILIES = ("solidly", "swapr", "pancakeswap_v3", "slipstream", "algebra_integral")
MIN_LIMIT, MAX_LIMIT = 4295128740, 1461446703485210103287273052203988822378723970341
_ALGEBRA = "@cryptoalgebra/integral-core"
_PANCAKE = "@pancakeswap/v3-core"
_DEPTH = 20 * 10**18
_LIQUIDITY_TICKS = 60_000


@dataclass
class FamilyWorld(World):
    """Pools are found under (token in, token out, family)."""

    driver: Address = ""

    def build(self, last_token: int) -> "FamilyWorld":
        super().build(last_token)
        t0, t1 = sorted((self.tokens["W"], self.tokens["T1"]))
        self.pair = (t0, t1)
        self.driver = self.deploy(sources.own("FamilyDriver").bytecode, ("address", t0), ("address", t1))
        for token, amount in ((self.tokens["W"], 10**22), (self.tokens["T1"], 10**26)):
            self.transfer(token, self.driver, amount)
        for family in FAMILIES:
            for legs, price in ((("W", "T1"), 1000), (("T1", "W"), 950)):
                pool = getattr(self, f"_{family}")(price)
                self.pools[(*legs, family)] = Pool(pool, family, self.pair, 0)
        return self

    def deploy(self, code: bytes, *arguments: tuple[str, Any]) -> Address:
        kinds, values = [kind for kind, _ in arguments], [value for _, value in arguments]
        return self.backend.deploy(code + encode(kinds, values), self.owner)

    def drive(self, target: Address, data: bytes) -> None:
        """The driver calls, and pays what callbacks ask for."""
        self.backend.send(self.driver, calldata("run(address,bytes)", target, data), self.owner)

    def amounts(self, price: int) -> tuple[int, int]:
        """What a pool holds, token 0 first, when one W is worth ``price`` T1."""
        first = self.pair[0] == self.tokens["W"]
        return (_DEPTH, _DEPTH * price) if first else (_DEPTH * price, _DEPTH)

    def _paired(self, pool: Address, price: int) -> Address:
        for token, amount in zip(self.pair, self.amounts(price), strict=True):
            self.drive(token, calldata("transfer(address,uint256)", pool, amount))
        self.drive(pool, calldata("mint(address)", self.owner))
        return pool

    def _solidly(self, price: int) -> Address:
        code = sources.aerodrome()
        implementation = self.deploy(code["Pool"].bytecode)
        factory = self.deploy(code["PoolFactory"].bytecode, ("address", implementation))
        self.backend.send(factory, calldata("createPool(address,address,bool)", *self.pair, False), self.owner)
        (pool,) = self.read(factory, "getPool(address,address,bool)", ["address"], *self.pair, False)
        return self._paired(pool, price)

    def _swapr(self, price: int) -> Address:
        factory = self.deploy(
            sources.package_artifact("@swapr/core", "build/DXswapFactory.json").bytecode, ("address", self.owner)
        )
        self.backend.send(factory, calldata("createPair(address,address)", *self.pair), self.owner)
        (pool,) = self.read(factory, "getPair(address,address)", ["address"], *self.pair)
        self.backend.send(factory, calldata("setSwapFee(address,uint32)", pool, 25), self.owner)
        return self._paired(pool, price)

    def _price(self, price: int) -> tuple[int, int]:
        """Square root in Q96, and the tick below."""
        x, y = self.amounts(price)
        return math.isqrt((y << 192) // x), math.floor(math.log(y / x) / math.log(1.0001))

    def _minted(self, pool: Address, price: int, spacing: int, algebra: bool = False) -> Address:
        tick = self._price(price)[1]
        low, high = ((tick + way * _LIQUIDITY_TICKS) // spacing * spacing for way in (-1, 1))
        liquidity = math.isqrt(math.prod(self.amounts(price)))
        who = (self.driver, self.driver) if algebra else (self.driver,)
        kinds = ",".join(["address"] * len(who))
        mint = calldata(f"mint({kinds},int24,int24,uint128,bytes)", *who, low, high, liquidity, b"")
        self.drive(pool, mint)
        return pool

    def _pancakeswap_v3(self, price: int) -> Address:
        def code(name: str) -> bytes:
            return sources.package_artifact(_PANCAKE, f"artifacts/contracts/{name}.sol/{name}.json").bytecode

        pool_code = code("PancakeV3Pool")
        # its runtime is the pool's creation code: PUSH3 size, DUP1, PUSH1 12, PUSH1 0, CODECOPY, PUSH1 0, RETURN
        head = bytes.fromhex("62" + len(pool_code).to_bytes(3).hex() + "80600d6000396000f3")
        deployer = self.deploy(sources.own("PancakeDeployer").bytecode, ("address", self.deploy(head + pool_code)))
        factory = self.deploy(code("PancakeV3Factory"), ("address", deployer))
        self.backend.send(factory, calldata("createPool(address,address,uint24)", *self.pair, 500), self.owner)
        (pool,) = self.read(factory, "getPool(address,address,uint24)", ["address"], *self.pair, 500)
        self.backend.send(pool, calldata("initialize(uint160)", self._price(price)[0]), self.owner)
        return self._minted(pool, price, 10)

    def _slipstream(self, price: int) -> Address:
        code = sources.slipstream()
        stub = self.deploy(sources.own("SlipstreamStub").bytecode)
        implementation = self.deploy(code["CLPool"].bytecode)
        places = [("address", each) for each in (stub, stub, implementation)]
        factory = self.deploy(code["CLFactory"].bytecode, *places)
        create = calldata("createPool(address,address,int24,uint160)", *self.pair, 50, self._price(price)[0])
        self.backend.send(factory, create, self.owner)
        (pool,) = self.read(factory, "getPool(address,address,int24)", ["address"], *self.pair, 50)
        return self._minted(pool, price, 50)

    def _algebra_integral(self, price: int) -> Address:
        def code(name: str) -> bytes:
            return sources.package_artifact(_ALGEBRA, f"artifacts/contracts/{name}.sol/{name}.json").bytecode

        sender = address_of(f"deployer of Algebra {price}")
        self.backend.fund(sender)
        # Factory and deployer know each other's address in advance.
        expected = keccak(rlp.encode([bytes.fromhex(sender[2:]), 1]))[12:]
        factory = self.backend.deploy(code("AlgebraFactory") + encode(["address"], ["0x" + expected.hex()]), sender)
        deployer = self.backend.deploy(code("AlgebraPoolDeployer") + encode(["address"], [factory]), sender)
        assert deployer == "0x" + expected.hex()
        vaults = self.deploy(code("AlgebraVaultFactoryStub"), ("address", self.owner))
        self.backend.send(factory, calldata("setVaultFactory(address)", vaults), sender)
        self.backend.send(factory, calldata("createPool(address,address,bytes)", *self.pair, b""), self.owner)
        (pool,) = self.read(factory, "poolByPair(address,address)", ["address"], *self.pair)
        self.backend.send(pool, calldata("initialize(uint160)", self._price(price)[0]), self.owner)
        return self._minted(pool, price, 60, algebra=True)

    def quote(self, pool: Pool, token_in: Address, amount_in: int) -> int:
        if pool.family not in FAMILIES:
            return super().quote(pool, token_in, amount_in)
        zero = token_in == pool.tokens[0]
        if pool.family == "solidly":
            signature = "getAmountOut(uint256,address)"
            return self.read(pool.address, signature, ["uint256"], amount_in, token_in)[0]
        if REGISTERED[pool.family].shape is Shape.PAIR:
            reserves = self.read(pool.address, "getReserves()", ["uint112", "uint112", "uint32"])
            r_in, r_out = (reserves[0], reserves[1]) if zero else (reserves[1], reserves[0])
            net = amount_in * 9975
            return net * r_out // (r_in * 10_000 + net)
        limit = MIN_LIMIT if zero else MAX_LIMIT
        data = calldata("swap(address,bool,int256,uint160,bytes)", self.driver, zero, amount_in, limit, b"")
        answer = self.backend.call(self.driver, calldata("run(address,bytes)", pool.address, data))
        return -decode(["int256", "int256"], answer)[1 if zero else 0]

    def cycle(self, kinds: tuple[str, str], amount: int) -> tuple[Hop, Hop]:
        """W → T1 → W through pools of these kinds, exactly quoted."""
        hops = []
        for leg, kind in zip((("W", "T1"), ("T1", "W")), kinds, strict=True):
            pool = self.pools[(*leg, kind)]
            token_in, token_out = self.tokens[leg[0]], self.tokens[leg[1]]
            i = pool.tokens.index(token_in)
            out = self.quote(pool, token_in, amount)
            hops.append(Hop(pool.address, pool.family, token_in, token_out, i, 1 - i, amount, out))
            amount = out
        return hops[0], hops[1]

"""``BigWorld`` with venues that take their input by an approval or beforehand.

StableSwap (the Solidity port), Balancer V2 and an ERC-4626 vault by their own bytecode; Curve's other names,
Liquidity Book, wstETH and Balancer V3 as doubles.

Pools are found under (token in, token out, kind). S are shares of the vault of T1, X wrapped T1; both sell for W.
"""

from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from aave import linked
from bigworld import BigWorld
from packages import own_code, test_artifact
from tests.differential import sources
from world import MAX_UINT, Pool, calldata, decode, encode

from ouro.execution.program import Dialect, Kind, Op, Program
from ouro.hashing import keccak
from ouro.types import Address

HERE = Path(__file__).parent
_BALANCER = "@balancer-labs/v2-deployments"
_FEES = "dist/tasks/20220725-protocol-fee-percentages-provider/artifact/ProtocolFeePercentagesProvider.json"
_CONNEXT = "@connext/smart-contracts"
_HELPERS = "artifacts/contracts/core/connext"
UNIT = 10**18
PER_SHARE = 11 * 10**17
WORTH = {("W", "T1"): 1000 * UNIT, ("T1", "W"): UNIT // 950}
"""What the doubles give for 1e18 of the first."""


def shares_code() -> bytes:
    """Creation code of OpenZeppelin's ERC-4626."""
    roots = {"": HERE, "@openzeppelin/contracts/": sources.package_dir("@openzeppelin/contracts")}
    return sources.compiled(roots, {"Shares": "Shares.sol"}, None, "cancun")["Shares"].bytecode


@dataclass
class VenueWorld(BigWorld):
    """Kinds: "saddle", "exchange", "weighted", "bins", "shares", "wrapped", "books"."""

    pool_ids: dict[Address, str] = field(default_factory=dict)

    def build(self, last_token: int = 2) -> "VenueWorld":
        super().build(last_token)
        self._saddle()
        self._weighted()
        self._doubles()
        self._shares()
        return self

    def made(self, code: bytes, *arguments: tuple[str, Any]) -> Address:
        kinds, values = [kind for kind, _ in arguments], [value for _, value in arguments]
        return self.backend.deploy(code + encode(kinds, values), self.owner)

    def do(self, to: Address, signature: str, *values: Any) -> None:
        self.backend.send(to, calldata(signature, *values), self.owner)

    def approve(self, name: str, spender: Address) -> None:
        self.do(self.tokens[name], "approve(address,uint256)", spender, MAX_UINT)

    def _saddle(self) -> None:
        def code(path: str) -> Any:
            return test_artifact(_CONNEXT, f"{_HELPERS}/{path}")

        library = self.made(code("libraries/SwapUtilsExternal.sol/SwapUtilsExternal.json").bytecode)
        shares = self.made(code("helpers/LPToken.sol/LPToken.json").bytecode)
        pool = self.made(linked(code("helpers/StableSwap.sol/StableSwap.json"), {"SwapUtilsExternal": library}))
        pair = [self.tokens["T1"], self.tokens["T2"]]
        signature = "initialize(address[],uint8[],string,string,uint256,uint256,uint256,address)"
        self.do(pool, signature, pair, [18, 18], "S", "S", 200, 4 * 10**6, 0, shares)
        for name in ("T1", "T2"):
            self.approve(name, pool)
        self.do(pool, "addLiquidity(uint256[],uint256,uint256)", [10**23, 2 * 10**23], 0, MAX_UINT)
        for legs in (("T1", "T2"), ("T2", "T1")):
            self.pools[(*legs, "saddle")] = Pool(pool, "saddle", (pair[0], pair[1]), 0)

    def _weighted(self) -> None:
        provider = (
            "dist/tasks/20220725-protocol-fee-percentages-provider/artifact/ProtocolFeePercentagesProvider.json"
        )
        fees = self.made(
            test_artifact(_BALANCER, provider).bytecode,
            ("address", self.vault), ("uint256", UNIT), ("uint256", UNIT),
        )  # fmt: skip
        code = test_artifact(_BALANCER, "dist/tasks/20230206-weighted-pool-v3/artifact/WeightedPoolFactory.json")
        factory = self.made(
            code.bytecode, ("address", self.vault), ("address", fees), ("string", "f"), ("string", "p")
        )
        for name in ("W", "T1"):
            self.approve(name, self.vault)
        for legs, price in ((("W", "T1"), 1000), (("T1", "W"), 950)):
            self._weighted_pool(factory, legs, price)

    def _weighted_pool(self, factory: Address, legs: tuple[str, str], price: int) -> None:
        tokens = sorted((self.tokens["W"], self.tokens["T1"]))
        amounts = [20 * UNIT if token == self.tokens["W"] else 20 * UNIT * price for token in tokens]
        create = calldata(
            "create(string,string,address[],uint256[],address[],uint256,address)",
            "B", "B", tokens, [UNIT // 2] * 2, ["0x" + "00" * 20] * 2, 3 * 10**15, self.owner,
        )  # fmt: skip
        (pool,) = decode(["address"], self.backend.call(factory, create, self.owner))
        self.backend.send(factory, create, self.owner)
        pool = pool.lower()
        (pool_id,) = self.read(pool, "getPoolId()", ["bytes32"])
        request = (tokens, amounts, encode(["uint256", "uint256[]"], [0, amounts]), False)
        join = "joinPool(bytes32,address,address,(address[],uint256[],bytes,bool))"
        self.do(self.vault, join, pool_id, self.owner, self.owner, request)
        self.pool_ids[pool] = "0x" + pool_id.hex()
        self.pools[(*legs, "weighted")] = Pool(pool, "weighted", (tokens[0], tokens[1]), 3000)

    def _doubles(self) -> None:
        w, t1 = self.tokens["W"], self.tokens["T1"]
        coins = [w, t1, self.tokens["ETH"]]
        exchange = self.made(own_code("Venues.sol", "Exchange"), ("address[]", coins))
        for (i, j), rate in {
            (0, 1): 1000 * UNIT,
            (1, 0): UNIT // 950,
            (2, 1): 1000 * UNIT,
            (1, 2): UNIT // 950,
        }.items():
            self.do(exchange, "setRate(uint256,uint256,uint256)", i, j, rate)
        self.backend.send(exchange, b"", self.owner, 10**20)
        books = self.made(own_code("Venues.sol", "BooksVault"))
        for venue in (exchange, books):
            self.transfer(w, venue, 10**20)
            self.transfer(t1, venue, 10**23)
        self.do(exchange, "store()")
        pool = "0x" + keccak(b"pool in the books")[12:].hex()
        for a, b in WORTH:
            bins = self.made(
                own_code("Venues.sol", "BinPair"),
                ("address", self.tokens[a]), ("address", self.tokens[b]), ("uint256", WORTH[a, b]),
            )  # fmt: skip
            self.transfer(w, bins, 10**20)
            self.transfer(t1, bins, 10**23)
            self.do(bins, "store()")
            self.do(
                books, "setRate(address,address,address,uint256)", pool, self.tokens[a], self.tokens[b], WORTH[a, b]
            )
            self.pools[a, b, "bins"] = Pool(bins, "bins", (self.tokens[a], self.tokens[b]), 0)
            self.pools[a, b, "exchange"] = Pool(exchange, "exchange", (w, t1), 0)
            self.pools[a, b, "books"] = Pool(pool, "books", (self.tokens[a], self.tokens[b]), 0)
        for token in (w, t1):
            self.do(books, "store(address)", token)
        self.books = books

    def _shares(self) -> None:
        t1 = self.tokens["T1"]
        self.tokens["S"] = self.made(shares_code(), ("address", t1))
        self.tokens["X"] = self.made(
            own_code("Venues.sol", "WrappedShares"), ("address", t1), ("uint256", PER_SHARE)
        )
        for name in ("S", "X"):
            self.approve("T1", self.tokens[name])
        # A share is worth more than its asset by now, and no round number.
        self.do(self.tokens["S"], "deposit(uint256,address)", 10**24, self.owner)
        self.transfer(t1, self.tokens["S"], 10**23 + 7)
        self.do(self.tokens["X"], "wrap(uint256)", 10**24)
        for name in ("S", "X"):
            unit, token = 10**18, self.tokens[name]
            low, high = sorted((token, self.tokens["W"]))
            for legs, price, factory in (((name, "W"), 850, self.sushi), (("W", name), 950, self.uniswap)):
                held = {token: 20 * price * unit, self.tokens["W"]: 20 * unit}
                self.pools[(*legs, "v2")] = self._v2(factory, low, high, held[low], held[high])
            self.pools["T1", name, "shares" if name == "S" else "wrapped"] = Pool(token, name, (t1, token), 0)
            self.pools[name, "T1", "shares" if name == "S" else "wrapped"] = Pool(token, name, (t1, token), 0)

    # ------------------------------------------------------------------------------------------- quotes, operations

    def out(self, a: str, b: str, kind: str, amount: int) -> int:
        """What the venue's own code gives."""
        pool = self.pools[a, b, kind]
        if kind == "saddle":
            i = pool.tokens.index(self.tokens[a])
            return self.read(pool.address, "calculateSwap(uint8,uint8,uint256)", ["uint256"], i, 1 - i, amount)[0]
        if kind == "weighted":
            return self._vault_quote(pool, self.tokens[a], amount)
        if kind in ("exchange", "books"):
            return amount * WORTH[a, b] // UNIT
        if kind == "bins":
            return amount * WORTH[a, b] // UNIT
        if kind == "shares":
            name = "previewDeposit(uint256)" if a == "T1" else "previewRedeem(uint256)"
            return self.read(pool.address, name, ["uint256"], amount)[0]
        if kind == "wrapped":
            return amount * UNIT // PER_SHARE if a == "T1" else amount * PER_SHARE // UNIT
        return self.quote(pool, self.tokens[a], amount)

    def _vault_quote(self, pool: Pool, token_in: Address, amount: int) -> int:
        i = pool.tokens.index(token_in)
        steps = [(bytes.fromhex(self.pool_ids[pool.address][2:]), i, 1 - i, amount, b"")]
        kinds = "(uint8,(bytes32,uint256,uint256,uint256,bytes)[],address[],(address,bool,address,bool))"
        funds = (self.owner, False, self.owner, False)
        data = calldata(f"queryBatchSwap{kinds}", 0, steps, list(pool.tokens), funds)
        return -decode(["int256[]"], self.backend.call(self.vault, data))[0][1 - i]

    def on_credit(
        self,
        path: tuple[str, ...],
        venue: tuple[str, Dialect],
        amount: int,
        last: tuple[str, Dialect] | None = None,
    ) -> Program:
        """W → T1 in the V3 pool on credit, then the venue, then ``last``; the V3 pool is paid at the end."""
        pool, token = self.pools["W", "T1", "v3"], self.tokens["W"]
        middle = self.quote(pool, token, amount)
        ops = [Op(Kind.V3_SWAP, pool.address, token == pool.tokens[0], amount)]
        for legs, (kind, dialect) in zip(pairwise(path[1:]), (venue, last or venue), strict=False):
            ops += self.swap_ops(*legs, kind, middle, dialect)
            middle = self.out(*legs, kind, middle)
        ops.append(Op(Kind.TRANSFER, amount_wei=amount, to=pool.address))
        tokens = tuple(dict.fromkeys(self.tokens[name] for name in path if name != "W"))
        return Program(10**6, middle - amount, token, tuple(ops), tokens=tokens)

    def in_books(self, amount: int) -> Program:
        """W → T1 → W inside Balancer V3's vault: only the profit leaves it."""
        w, t1, pool = self.tokens["W"], self.tokens["T1"], self.pools["W", "T1", "books"].address
        gain = self.out("T1", "W", "books", self.out("W", "T1", "books", amount)) - amount
        ops = (
            Op(Kind.UNLOCK, self.books, True),
            Op(Kind.VAULT_SWAP, pool, amount_wei=amount, token=w, token_out=t1),
            Op(Kind.VAULT_SWAP, pool, token=t1, token_out=w),
            Op(Kind.TAKE, None, True, gain, token=w),
        )
        return Program(10**6, gain, w, ops)

    def swap_ops(self, a: str, b: str, kind: str, amount: int, dialect: Dialect = Dialect.INT128) -> tuple[Op, ...]:
        """What trades ``amount`` that is here for what comes here."""
        pool, token_in, token_out = self.pools[a, b, kind], self.tokens[a], self.tokens[b]
        pay = Op(Kind.SEND, amount_wei=amount, to=pool.address, token=token_in)
        if token_in == self.tokens["W"]:
            pay = Op(Kind.TRANSFER, amount_wei=amount, to=pool.address)
        if kind in ("saddle", "exchange"):
            dialect = Dialect.UINT8 if kind == "saddle" else dialect
            coins = (0, 1) if token_in == pool.tokens[0] else (1, 0)
            token = None if dialect.is_prepaid else token_in
            swap = Op(Kind.EXCHANGE, pool.address, amount_wei=amount, token=token, dialect=dialect, coins=coins)
            return (pay, swap) if dialect.is_prepaid else (swap,)
        if kind == "weighted":
            name = self.pool_ids[pool.address]
            return (Op(Kind.VAULT, self.vault, False, amount, None, token_in, pool_id=name, token_out=token_out),)
        if kind == "bins":
            return pay, Op(Kind.BINS, pool.address, token_in == pool.tokens[0])
        if kind in ("shares", "wrapped"):
            which = Kind.ERC4626 if kind == "shares" else Kind.SHARES
            return (Op(which, pool.address, b == "T1", amount, None, token_in),)
        if kind == "v2":
            out = self.out(a, b, kind, amount)
            return pay, Op(Kind.V2_SWAP, pool.address, token_in == pool.tokens[0], out)
        raise ValueError(kind)

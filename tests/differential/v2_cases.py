"""Random pairs of Uniswap V2, SushiSwap and a PancakeSwap-type fork against our quotes and storage words."""

import random
from dataclasses import dataclass

from eth_abi.abi import decode, encode
from tests.differential import sources
from tests.differential.chain import OWNER, Chain, Reverted
from tests.differential.mirror import Mirror

from ouro.protocols.base import QuoteError
from ouro.protocols.swapr import Swapr, SwaprState
from ouro.protocols.uniswap_v2 import MAX_RESERVE, UniswapV2, UniswapV2State
from ouro.testnet.abi import call_bytes
from ouro.types import Address, BlockContext

SUSHI = "@sushiswap/sushiswap"


@dataclass(frozen=True)
class Dex:
    """A factory, its pairs' fee, and a router where the package has a matching one."""

    name: str
    fee_ppm: int
    factory: Address
    router: Address | None


@dataclass
class Tally:
    """What was compared."""

    cases: int = 0
    refused: int = 0
    words: int = 0
    scenarios: int = 0


class V2World:
    """Three factories and one pair each."""

    def __init__(self) -> None:
        self.chain = chain = Chain()
        deploy = chain.deploy_package
        uniswap = deploy("@uniswap/v2-core", "build/UniswapV2Factory.json", ["address"], [OWNER])
        sushi = deploy(SUSHI, "deployments/arbitrum/UniswapV2Factory.json", ["address"], [OWNER])
        pancake = deploy("@pancakeswap-libs/pancake-swap-core", "build/PancakeFactory.json", ["address"], [OWNER])
        both = ["address", "address"]
        router = deploy("@uniswap/v2-periphery", "build/UniswapV2Router02.json", both, [uniswap, OWNER])
        sushi_router = deploy(SUSHI, "deployments/arbitrum/UniswapV2Router02.json", both, [sushi, OWNER])
        self.dexes = (
            Dex("uniswap", 3000, uniswap, router),
            Dex("sushiswap", 3000, sushi, sushi_router),
            Dex("pancakeswap 20 bps", 2000, pancake, None),
        )
        self.pairs: dict[str, Address] = {}
        for dex in self.dexes:
            answer = chain.call(dex.factory, call_bytes("createPair(address,address)", *chain.tokens))
            self.pairs[dex.name] = "0x" + answer[-20:].hex()
        self.tally = Tally()

    def mirror(self, rng: random.Random, dex: Dex, pair: Address) -> Mirror:
        """The empty pair as its logs will fill it."""
        return Mirror(self.chain, UniswapV2(), UniswapV2State(pair, self.chain.tokens, 0, 0, dex.fee_ppm))

    def scenario(self, rng: random.Random, cases: int) -> None:
        """Reserves from nothing by transfer and sync, some steps of time, then ``cases`` swaps, each undone."""
        mark, time_before = self.chain.evm.snapshot(), self.chain.timestamp
        dex = rng.choice(self.dexes)
        pair = self.pairs[dex.name]
        mirror = self.mirror(rng, dex, pair)
        play = _Play(self.chain, mirror, dex, rng)
        play.fill()
        for _ in range(cases):
            self.tally.refused += play.case()
        mirror.compare_all()
        self.tally.cases += cases
        self.tally.words += mirror.compared
        self.tally.scenarios += 1
        self.chain.evm.revert(mark)
        self.chain.at(time_before)


class SwaprWorld(V2World):
    """Pairs of one factory whose fee its setter changes."""

    def __init__(self) -> None:
        self.chain = Chain()
        code = sources.package_artifact("@swapr/core", "build/DXswapFactory.json").bytecode
        factory = self.chain.deploy(code + encode(["address"], [OWNER]))
        self.dexes = (Dex("swapr", 2500, factory, None),)
        answer = self.chain.call(factory, call_bytes("createPair(address,address)", *self.chain.tokens))
        self.pairs = {"swapr": "0x" + answer[-20:].hex()}
        self.tally = Tally()

    def mirror(self, rng: random.Random, dex: Dex, pair: Address) -> Mirror:
        fee_bps = rng.choice([25, 0, 1, 30, 333, 1000])
        self.chain.call(dex.factory, call_bytes("setSwapFee(address,uint32)", pair, fee_bps))
        return Mirror(self.chain, Swapr(), SwaprState(pair, self.chain.tokens, 0, 0, fee_bps * 100))


class _Play:
    def __init__(self, chain: Chain, mirror: Mirror, dex: Dex, rng: random.Random) -> None:
        self.chain, self.mirror, self.dex, self.rng = chain, mirror, dex, rng

    @property
    def state(self) -> UniswapV2State:
        return self.mirror.state

    def fill(self) -> None:
        """Two or three syncs at different times, so that the price accumulators run."""
        top = self.rng.choice([12, 60, 90, 111.9])
        for _ in range(self.rng.randint(1, 3)):
            for token in self.chain.tokens:
                held = self.chain.balance(token, self.state.address)
                more = min(int(2 ** self.rng.uniform(0, top)), MAX_RESERVE - held)
                self.chain.drive(token, call_bytes("transfer(address,uint256)", self.state.address, more))
            self.chain.at(self.chain.timestamp + self.rng.choice([0, 1, 13, self.rng.randint(0, 1 << 33)]))
            self.chain.drive(self.state.address, call_bytes("sync()"))
            self.mirror.follow()

    def case(self) -> bool:
        """One quote against router and pair; True where the pair can't give it."""
        i = self.rng.randint(0, 1)
        return self._exact_out(i) if self.rng.random() < 0.4 else self._exact_in(i)

    def _context(self) -> BlockContext:
        return BlockContext(self.chain.number, self.chain.timestamp, 0)

    def _reserves(self, i: int) -> tuple[int, int]:
        pair = (self.state.reserve0, self.state.reserve1)
        return pair[i], pair[1 - i]

    def _exact_in(self, i: int) -> bool:
        reserve_in, reserve_out = self._reserves(i)
        room = MAX_RESERVE - reserve_in
        amount = self.rng.choice(
            [1, 2, room - 1, room, room + 1, reserve_in, int(2 ** self.rng.uniform(0, 113))]
            + [int(reserve_in * 2 ** self.rng.uniform(-40, 8))] * 8
        )
        if amount < 1:
            return True
        try:
            quote = self.mirror.family.quote_in(self.state, i, 1 - i, amount, self._context())
        except QuoteError as error:
            # neither one unit nor the partial output may be available for this input
            self._expect_swap(f"in {amount}: {error}", i, amount, max(error.partial_out, 1), False)
            return True
        if self.dex.router:
            names = "getAmountOut(uint256,uint256,uint256)"
            answer = self.chain.call(self.dex.router, call_bytes(names, amount, reserve_in, reserve_out))
            self.mirror.expect(f"getAmountOut({amount})", quote.amount_out_wei, decode(["uint256"], answer)[0])
        self._expect_swap("the quote", i, amount, quote.amount_out_wei, True, quote.next_state)
        self._expect_swap("one unit more", i, amount, quote.amount_out_wei + 1, False)
        return False

    def _exact_out(self, i: int) -> bool:
        reserve_in, reserve_out = self._reserves(i)
        amount = self.rng.choice(
            [1, 2, reserve_out - 1, reserve_out, reserve_out + 1]
            + [int(reserve_out * self.rng.random() ** 3)] * 4
            + [int(reserve_out * 2 ** self.rng.uniform(-60, -1))] * 4
        )
        if amount < 1:
            return True
        try:
            quote = self.mirror.family.quote_out(self.state, i, 1 - i, amount, self._context())
        except QuoteError as error:
            room = MAX_RESERVE - reserve_in
            self._expect_swap(f"out {amount}: {error}", i, max(room, 1), amount, False)
            return True
        if self.dex.router:
            names = "getAmountIn(uint256,uint256,uint256)"
            answer = self.chain.call(self.dex.router, call_bytes(names, amount, reserve_in, reserve_out))
            self.mirror.expect(f"getAmountIn({amount})", quote.amount_in_wei, decode(["uint256"], answer)[0])
        self._expect_swap("the quote out", i, quote.amount_in_wei, amount, True, quote.next_state)
        if quote.amount_in_wei > 2:
            self._expect_swap("two units less", i, quote.amount_in_wei - 2, amount, False)
        return False

    def _expect_swap(
        self, what: str, i: int, paid: int, taken: int, accepted: bool, after: UniswapV2State | None = None
    ) -> None:
        """Swap in the pair, undo it; ``after`` is compared with the state that the pair's logs lead to."""
        mark = self.chain.evm.snapshot()
        ins, outs = ((paid, 0), (0, taken)) if i == 0 else ((0, paid), (taken, 0))
        signature = "pairSwap(address,uint256,uint256,uint256,uint256)"
        try:
            self.chain.call(self.chain.driver, call_bytes(signature, self.state.address, *ins, *outs))
            done = True
        except Reverted:
            done = False
        self.mirror.expect(f"{what}: {paid} of token {i} for {taken}", accepted, done)
        if done and after is not None:
            kept = self.mirror.state, dict(self.mirror.words), dict(self.mirror.balances)
            self.mirror.follow()
            self.mirror.compare_all()
            self.mirror.expect(f"state after {what}", after, self.mirror.state)
            self.mirror.state, self.mirror.words, self.mirror.balances = kept
        self.chain.evm.revert(mark)

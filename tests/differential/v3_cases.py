"""Random Uniswap V3 pools and swaps against the real factory and pool."""

import random
from dataclasses import dataclass

from eth_abi.abi import decode, encode
from tests.differential.chain import OWNER, Chain, Reverted
from tests.differential.mirror import Mirror

from ouro.protocols import v3_math, v3_storage
from ouro.protocols.base import QuoteError
from ouro.protocols.uniswap_v3 import UniswapV3
from ouro.protocols.v3_state import UniswapV3State, moved
from ouro.protocols.v3_swap import MAX_LIMIT, MIN_LIMIT, SwapResult, swap
from ouro.protocols.v3_ticks import WORD_BITS
from ouro.testnet.abi import call_bytes

FEE_TIERS = {500: 10, 3000: 60, 10_000: 200, 100: 1, 0: 2, 25: 5, 2500: 50, 999_999: 16_383, 70_000: 1000}
_BUILT_IN = (500, 3000, 10_000)
_MAX_INT = (1 << 255) - 1
ACTIONS = 25


@dataclass
class Tally:
    """What was compared."""

    cases: int = 0
    reverts: int = 0
    actions: int = 0
    words: int = 0
    ticks_crossed: int = 0
    word_edges_passed: int = 0
    scenarios: int = 0


class V3World:
    """The factory with more fee tiers than it is born with."""

    def __init__(self) -> None:
        self.chain = Chain()
        self.factory = self.chain.deploy_package(
            "@uniswap/v3-core", "artifacts/contracts/UniswapV3Factory.sol/UniswapV3Factory.json", [], []
        )
        for fee, spacing in FEE_TIERS.items():
            if fee not in _BUILT_IN:
                self.chain.call(self.factory, call_bytes("enableFeeAmount(uint24,int24)", fee, spacing))
        self.tally = Tally()

    def open_pool(self, rng: random.Random) -> "Play":
        """A new pool with a price and a few positions."""
        fee = rng.choice(list(FEE_TIERS))
        answer = self.chain.call(
            self.factory, call_bytes("createPool(address,address,uint24)", *self.chain.tokens, fee)
        )
        pool = "0x" + answer[-20:].hex()
        mirror = Mirror(self.chain, UniswapV3(), UniswapV3State(pool, self.chain.tokens, fee, FEE_TIERS[fee]))
        play = Play(self.chain, mirror, rng, self.tally)
        play.initialise()
        return play

    def scenario(self, rng: random.Random, cases: int, actions: int = ACTIONS) -> None:
        """A new pool, random actions on it (followed by logs), then ``cases`` swaps undone after each."""
        mark = self.chain.evm.snapshot()
        time_before = self.chain.timestamp
        play = self.open_pool(rng)
        mirror = play.mirror
        for _ in range(actions):
            play.act()
        mirror.compare_all(except_slots=play.crossed_slots())
        play.compare_ticks()
        mirror.expect("json", mirror.family.from_json(mirror.family.to_json(mirror.state)), mirror.state)
        for _ in range(cases):
            self.tally.reverts += play.case()
        self.tally.cases += cases
        self.tally.actions += actions + 1
        self.tally.words += mirror.compared
        self.tally.scenarios += 1
        self.chain.evm.revert(mark)
        self.chain.at(time_before)


class Play:
    """Random actions on one pool."""

    def __init__(self, chain: Chain, mirror: Mirror, rng: random.Random, tally: Tally) -> None:
        self.chain, self.mirror, self.rng, self.tally = chain, mirror, rng, tally
        self.positions: dict[tuple[int, int], int] = {}
        self.touched: set[int] = set()

    @property
    def state(self) -> UniswapV3State:
        return self.mirror.state

    @property
    def pool(self) -> str:
        return self.state.address

    def initialise(self) -> None:
        """The first price and some positions."""
        self._do(self.pool, call_bytes("initialize(uint160)", self.first_price()), owner=True)
        for _ in range(self.rng.randint(1, 5)):
            self._mint()

    def first_price(self) -> int:
        """Anywhere, on a tick or between two."""
        rng = self.rng
        span = rng.choice([10, 3000, 300_000, v3_math.MAX_TICK - 1])
        tick = rng.randint(-span, span)
        price = v3_math.sqrt_ratio_at_tick(tick)
        if rng.random() < 0.7:
            price = rng.randrange(price, v3_math.sqrt_ratio_at_tick(tick + 1))
        return price

    def act(self) -> None:
        rng = self.rng
        if rng.random() < 0.6:
            self.chain.at(self.chain.timestamp + rng.choice([1, 1, 12, 3600, rng.randint(1, 1 << 33)]))
        action = rng.choices(
            [self._mint, self._burn, self._swap, self._flash, self._collect, self._protocol, self._grow],
            [4, 3, 8, 1, 1, 1, 1],
        )[0]
        action()

    def _do(self, target: str, data: bytes, owner: bool = False) -> bool:
        try:
            if owner:
                self.chain.call(target, data)
            else:
                self.chain.drive(target, data)
        except Reverted:
            return False
        self.mirror.follow()
        return True

    def _range(self) -> tuple[int, int]:
        rng, spacing = self.rng, self.state.tick_spacing
        top = v3_math.MAX_TICK // spacing
        here = self.state.tick // spacing
        kind = rng.random()
        if kind < 0.15:
            return -top * spacing, top * spacing
        if kind < 0.3:  # word edges
            here = here // WORD_BITS * WORD_BITS + rng.choice([-1, 0, WORD_BITS - 1, WORD_BITS])
        elif kind < 0.5:  # far away, with a gap between
            here += rng.randint(-2000, 2000)
        elif kind < 0.6 and self.positions:  # beside or on a tick that exists
            here = rng.choice(rng.choice(list(self.positions))) // spacing
        width = rng.choice([1, 1, 2, 5, 40, 300])
        lower = min(max(here + rng.randint(-width, width), -top), top - 1)
        upper = min(max(lower + rng.randint(1, 2 * width), lower + 1), top)
        return lower * spacing, upper * spacing

    def _mint(self) -> None:
        lower, upper = self._range()
        amount = int(2 ** self.rng.uniform(0, self.rng.choice([20, 64, 90, 106])))
        signature = "mint(address,int24,int24,uint128,bytes)"
        if self._do(self.pool, call_bytes(signature, self.chain.driver, lower, upper, amount, b"")):
            self.touched |= {lower, upper}
            self.positions[lower, upper] = self.positions.get((lower, upper), 0) + amount

    def _burn(self) -> None:
        if not self.positions:
            return
        key = self.rng.choice(list(self.positions))
        owned = self.positions[key]
        amount = self.rng.choice([0, owned, owned, self.rng.randint(0, owned)])
        if self._do(self.pool, call_bytes("burn(int24,int24,uint128)", *key, amount)):
            self.positions[key] -= amount
            if not self.positions[key]:
                del self.positions[key]

    def _swap(self) -> None:
        zero_for_one, amount, limit = self._swap_arguments()
        self._do(self.pool, self._swap_call(zero_for_one, amount, limit))

    def _flash(self) -> None:
        loans = [self.rng.randint(0, self.chain.balance(token, self.pool)) for token in self.state.tokens]
        tips = [self.rng.choice([0, 1, 12_345]) for _ in loans]
        data = encode(["uint256"] * 4, [*loans, *tips])
        self._do(self.pool, call_bytes("flash(address,uint256,uint256,bytes)", self.chain.driver, *loans, data))

    def _collect(self) -> None:
        if self.positions:
            key = self.rng.choice(list(self.positions))
            most = (1 << 128) - 1
            signature = "collect(address,int24,int24,uint128,uint128)"
            self._do(self.pool, call_bytes(signature, self.chain.driver, *key, most, most))

    def _protocol(self) -> None:
        if self.rng.random() < 0.3:
            most = (1 << 128) - 1
            data = call_bytes("collectProtocol(address,uint128,uint128)", OWNER, most, most)
        else:
            data = call_bytes("setFeeProtocol(uint8,uint8)", *self.rng.choices([0, 4, 7, 10], k=2))
        self._do(self.pool, data, owner=True)  # the factory's owner is the caller

    def _grow(self) -> None:
        size = self.state.observation_cardinality_next + self.rng.randint(1, 4)
        self._do(self.pool, call_bytes("increaseObservationCardinalityNext(uint16)", size))

    def _edge_price(self, zero_for_one: bool) -> int:
        """The price of a tick or word edge ahead, or a neighbour of it."""
        state, rng, spacing = self.state, self.rng, self.state.tick_spacing
        word = WORD_BITS * spacing
        ahead = [t for t in state.ticks if (t <= state.tick if zero_for_one else t > state.tick)]
        if ahead and rng.random() < 0.6:
            tick = rng.choice(ahead)
        else:
            words = rng.randint(0, 3)
            base = state.tick // word
            tick = (base - words) * word if zero_for_one else (base + words + 1) * word - spacing
        tick = min(max(tick, v3_math.MIN_TICK), v3_math.MAX_TICK)
        price = v3_math.sqrt_ratio_at_tick(tick) + rng.choice([-1, 0, 0, 0, 1])
        return min(max(price, MIN_LIMIT), MAX_LIMIT)

    def _swap_arguments(self) -> tuple[bool, int, int]:
        rng = self.rng
        zero_for_one = rng.random() < 0.5
        none = MIN_LIMIT if zero_for_one else MAX_LIMIT
        limit = none
        if rng.random() < 0.4:
            limit = self._edge_price(zero_for_one)
        elif rng.random() < 0.1:
            limit = int(2 ** rng.uniform(32, 160))
        kind = rng.random()
        if kind < 0.08:
            amount = rng.choice([1, 2, 3, _MAX_INT, 1 << 128, 0])
        elif kind < 0.4:
            amount = self._amount_to_edge(zero_for_one, rng)
        else:
            amount = int(2 ** rng.uniform(0, rng.choice([30, 70, 100, 130])))
        if kind >= 0.4 or kind < 0.08:
            amount = amount if rng.random() < 0.5 else -amount
        return zero_for_one, amount, limit

    def _amount_to_edge(self, zero_for_one: bool, rng: random.Random) -> int:
        """Exactly what it takes to reach an edge ahead, or one unit beside it; in or out."""
        exact_in = rng.random() < 0.5
        try:
            limit = self._edge_price(zero_for_one)
            result = self._ours(zero_for_one, _MAX_INT if exact_in else -_MAX_INT, limit)
        except QuoteError:
            return 1
        beside = rng.choice([-1, 0, 0, 1])
        return result.amount_in_wei + beside if exact_in else -(result.amount_out_wei + beside)

    def _swap_call(self, zero_for_one: bool, amount: int, limit: int) -> bytes:
        signature = "swap(address,bool,int256,uint160,bytes)"
        return call_bytes(signature, self.chain.driver, zero_for_one, amount, limit, b"")

    def _theirs(self, zero_for_one: bool, amount: int, limit: int) -> tuple[int, int]:
        """What the pool's balances change by."""
        return decode(
            ["int256", "int256"], self.chain.drive(self.pool, self._swap_call(zero_for_one, amount, limit))
        )

    def _out_of_model(self, error: str, ours: SwapResult | QuoteError) -> bool:
        """Whether a revert comes from bookkeeping that a state does not hold."""
        return False

    def _ours(self, zero_for_one: bool, amount: int, limit: int) -> SwapResult:
        return swap(self.state, zero_for_one, amount, limit)

    def case(self) -> bool:
        """One swap, compared with the contract and undone; True where both refuse it."""
        zero_for_one, amount, limit = self._swap_arguments()
        what = f"swap(zero_for_one={zero_for_one}, amount={amount}, limit={limit})"
        mark = self.chain.evm.snapshot()
        try:
            theirs: tuple[int, int] | str = self._theirs(zero_for_one, amount, limit)
        except Reverted as error:
            theirs = str(error)
        try:
            ours: SwapResult | QuoteError = self._ours(zero_for_one, amount, limit)
        except QuoteError as error:
            ours = error
        if isinstance(ours, QuoteError) or isinstance(theirs, str):
            refused = isinstance(ours, QuoteError), isinstance(theirs, str)
            if isinstance(theirs, str) and self._out_of_model(theirs, ours):
                self.chain.evm.revert(mark)
                return True
            self.mirror.expect(f"{what} refused: {ours!r} / {theirs!r}", refused[0], refused[1])
        else:
            amounts = (ours.amount_in_wei, -ours.amount_out_wei)
            self.mirror.expect(what, amounts if zero_for_one else amounts[::-1], theirs)
            self._compare_after(what, ours)
            self.tally.ticks_crossed += ours.ticks_crossed
            self.tally.word_edges_passed += ours.words_passed
        self.chain.evm.revert(mark)
        return isinstance(theirs, str)

    def _compare_after(self, what: str, ours: SwapResult) -> None:
        after = moved(self.state, ours.sqrt_price_x96, ours.tick, ours.liquidity, self.chain.timestamp)
        expect, slot = self.mirror.expect, self.chain.slot
        layout = self.state.layout
        for where, word in v3_storage.slot0_words(after).items():
            expect(f"slot0 after {what}", word, slot(self.pool, where))
        expect(f"liquidity after {what}", v3_storage.liquidity_word(after), slot(self.pool, layout.liquidity))
        word = layout.observations + after.observation_index
        expect(f"observation after {what}", v3_storage.observation_word(after), slot(self.pool, word))

    def crossed_slots(self) -> set[int]:
        """Words of ticks that crossings change and logs do not tell (fee growth, the oracle's share)."""
        bases = [v3_storage.mapping_slot(tick, self.state.layout.ticks) for tick in self.touched]
        return {base + k for base in bases for k in range(1, self.state.layout.tick_words)}

    def compare_ticks(self) -> None:
        """Every tick and bitmap word that the state says exists."""
        state, slot = self.state, self.chain.slot
        for tick, (gross, net) in state.ticks.items():
            word = slot(self.pool, v3_storage.mapping_slot(tick, self.state.layout.ticks))
            self.mirror.expect(f"tick {tick}", gross | (net & (1 << 128) - 1) << 128, word)
        for index in {tick // state.tick_spacing // WORD_BITS for tick in state.ticks}:
            word = slot(self.pool, v3_storage.mapping_slot(index, state.layout.bitmap))
            self.mirror.expect(f"bitmap {index}", state.ticks.bitmap_word(index, state.tick_spacing), word)

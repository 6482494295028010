"""Random pools of Algebra's adaptive-fee generation on the real factory, pool and data storage; time passes."""

import random
from dataclasses import dataclass

import msgspec
from eth_abi.abi import encode
from tests.differential import sources
from tests.differential.chain import OWNER, Chain
from tests.differential.dialect_cases import family_driver
from tests.differential.mirror import Mirror
from tests.differential.v3_cases import Play, Tally, V3World

from ouro.hashing import keccak
from ouro.protocols import algebra_state
from ouro.protocols.algebra_adaptive import AlgebraAdaptive, after_swap
from ouro.protocols.algebra_oracle import WINDOW_S, FeeConfig
from ouro.protocols.algebra_state import AlgebraAdaptiveState
from ouro.protocols.base import QuoteError
from ouro.protocols.v3_storage import mapping_slot
from ouro.protocols.v3_swap import SwapResult, default_limit, swap
from ouro.protocols.v3_ticks import WORD_BITS
from ouro.testnet.abi import call_bytes
from ouro.testnet.artifacts import Artifact, ArtifactError
from ouro.types import BlockContext

_FAMILY = AlgebraAdaptive()
# The package's artifacts are the released sources, but built with the counters of a coverage tool: 60 KB a pool.
# The factory holds the hash of the released pool code (QuickSwap V3's), by which it foresees pool addresses.
_CODE_LIMIT_BYTES = 1 << 17
_RELEASED_POOL_HASH = bytes.fromhex("6ec6c9c8091d160c0aa74b2b14ba9c1717e95093bd3ac085cee99a49aab294a4")
_TIMES_S = [1, 1, 12, 60, 3600, WINDOW_S - 1, WINDOW_S, WINDOW_S + 1, 2 * WINDOW_S, 10**6]
_CONFIG = "changeFeeConfiguration((uint16,uint16,uint32,uint32,uint16,uint16,uint32,uint16,uint16))"


@dataclass
class AdaptiveTally(Tally):
    """``new_fees``: swaps whose fee differed from the stored one; ``timepoints``: entries when cases were tried."""

    new_fees: int = 0
    timepoints: int = 0


class AdaptivePlay(Play):
    """Positions, swaps, community fees, fee configurations; every swap at a time of its own."""

    state: AlgebraAdaptiveState  # type: ignore[assignment]
    tally: AdaptiveTally

    def act(self) -> None:
        rng = self.rng
        if rng.random() < 0.7:
            self.chain.at(self.chain.timestamp + rng.choice([*_TIMES_S, rng.randint(1, 2 * WINDOW_S)]))
        actions = [self._mint, self._burn, self._swap, self._flash, self._collect, self._protocol, self._grow]
        rng.choices(actions, [4, 3, 12, 1, 1, 1, 1])[0]()

    def _mint(self) -> None:
        lower, upper = self._range()
        amount = int(2 ** self.rng.uniform(0, self.rng.choice([20, 64, 90, 106])))
        driver = self.chain.driver
        signature = "mint(address,address,int24,int24,uint128,bytes)"
        if self._do(self.pool, call_bytes(signature, driver, driver, lower, upper, amount, b"")):
            self.touched |= {lower, upper}
            self.positions[lower, upper] = self.positions.get((lower, upper), 0) + amount

    def _protocol(self) -> None:
        data = call_bytes("setCommunityFee(uint8,uint8)", *self.rng.choices([0, 1, 100, 250], k=2))
        self._do(self.pool, data, owner=True)

    def _grow(self) -> None:
        """Another fee configuration; the operator does not tell the pool, so it is read again."""
        config = random_config(self.rng)
        self.chain.call(self.state.operator, call_bytes(_CONFIG, msgspec.structs.astuple(config)))
        self.mirror.state = msgspec.structs.replace(self.state, fee_config=config)

    def _now(self) -> AlgebraAdaptiveState:
        return _FAMILY.at(self.state, self.chain.timestamp)

    def _ours(self, zero_for_one: bool, amount: int, limit: int) -> SwapResult:
        return swap(self._now(), zero_for_one, amount, limit)

    def case(self) -> bool:
        """At the time of the last action or later; a time step alone changes the fee."""
        before, rng = self.chain.timestamp, self.rng
        self.chain.at(before + rng.choice([0, *_TIMES_S, rng.randint(1, 2 * WINDOW_S), 10**8]))
        self.tally.new_fees += self._now().fee_ppm != self.state.fee_ppm
        self.tally.timepoints += len(self.state.timepoints)
        refused = super().case()
        self.chain.at(before)
        return refused

    def _compare_after(self, what: str, ours: SwapResult) -> None:
        now = self._now()
        zero_for_one = ours.sqrt_price_x96 < now.sqrt_price_x96 or (
            ours.sqrt_price_x96 == now.sqrt_price_x96 and what.startswith("swap(zero_for_one=True")
        )
        after = after_swap(now, zero_for_one, ours)
        for where, word in algebra_state.words(after).items():
            self.mirror.expect(f"slot {where} after {what}", word, self.chain.slot(self.pool, where))
        for where, word in algebra_state.timepoint_words(after).items():
            self.mirror.expect(f"entry {where} after {what}", word, self.chain.slot(after.operator, where))
        if not ours.remaining_wei and ours.amount_in_wei > 0:
            context = BlockContext(self.chain.number, self.chain.timestamp, 0)
            i, j = (0, 1) if zero_for_one else (1, 0)
            try:
                quote = _FAMILY.quote_in(self.state, i, j, ours.amount_in_wei, context)
            except QuoteError:
                return  # an input that reached the price limit and not more
            if swap(now, zero_for_one, ours.amount_in_wei, default_limit(zero_for_one)) == ours:
                self.mirror.expect(f"quote of {what}", (ours.amount_out_wei, after), quote_tuple(quote))

    def crossed_slots(self) -> set[int]:
        bases = [mapping_slot(tick, algebra_state.TICKS_SLOT) for tick in self.touched]
        return {base + k for base in bases for k in (1, 2, 3)}

    def compare_ticks(self) -> None:
        state, slot = self.state, self.chain.slot
        for tick, (gross, net) in state.ticks.items():
            word = slot(self.pool, mapping_slot(tick, algebra_state.TICKS_SLOT))
            self.mirror.expect(f"tick {tick}", gross | (net & (1 << 128) - 1) << 128, word)
        for index in {tick // state.tick_spacing // WORD_BITS for tick in state.ticks}:
            word = slot(self.pool, mapping_slot(index, algebra_state.BITMAP_SLOT))
            self.mirror.expect(f"bitmap {index}", state.ticks.bitmap_word(index, state.tick_spacing), word)
        config = algebra_state.fee_config_of(slot(state.operator, algebra_state.FEE_CONFIG_SLOT))
        self.mirror.expect("fee configuration", state.fee_config, config)
        for k, entry in enumerate(state.timepoints):
            place = 2 * (state.timepoint_index - len(state.timepoints) + 1 + k)
            found = algebra_state.timepoint_of(slot(state.operator, place), slot(state.operator, place + 1))
            self.mirror.expect(f"timepoint {k}", entry, found)


def quote_tuple(quote: object) -> tuple[int, object]:
    return quote.amount_out_wei, quote.next_state  # type: ignore[attr-defined]


def random_config(rng: random.Random) -> FeeConfig:
    """Any configuration that the operator takes; half of them react to what tests do."""
    if rng.random() < 0.3:
        return FeeConfig()
    alpha1, alpha2, base = rng.randint(0, 20_000), rng.randint(0, 30_000), rng.randint(0, 15_000)
    beta1, beta2 = (int(2 ** rng.uniform(0, rng.choice([10, 20, 31]))) for _ in range(2))
    gamma1, gamma2, volume_gamma = (int(2 ** rng.uniform(0, 15.9)) for _ in range(3))
    volume_beta = rng.choice([0, 1000, rng.randint(0, (1 << 32) - 1)])
    return FeeConfig(alpha1, alpha2, beta1, beta2, gamma1, gamma2, volume_beta, volume_gamma, base)


class AlgebraAdaptiveWorld(V3World):
    """Factory and deployer know each other's address in advance."""

    def __init__(self) -> None:
        self.chain = chain = Chain(_CODE_LIMIT_BYTES)
        family_driver(chain)
        deployer = chain.deploy(_package("AlgebraPoolDeployer").bytecode)
        factory = _package("AlgebraFactory").bytecode
        if factory.count(_RELEASED_POOL_HASH) != 1:
            raise ArtifactError("@cryptoalgebra/core: the factory does not know the released pool's hash")
        factory = factory.replace(_RELEASED_POOL_HASH, keccak(_package("AlgebraPool").bytecode))
        self.factory = chain.deploy(factory + encode(["address", "address"], [deployer, OWNER]))
        chain.call(deployer, call_bytes("setFactory(address)", self.factory))
        self.tally = AdaptiveTally()

    def open_pool(self, rng: random.Random) -> Play:
        chain = self.chain
        if rng.random() < 0.3:  # 32-bit times overflow during the scenario
            chain.at((1 << 32) - rng.randint(1, 5 * WINDOW_S))
        config = random_config(rng)
        signature = "setBaseFeeConfiguration(uint16,uint16,uint32,uint32,uint16,uint16,uint32,uint16,uint16)"
        chain.call(self.factory, call_bytes(signature, *msgspec.structs.astuple(config)))
        pool = "0x" + chain.call(self.factory, call_bytes("createPool(address,address)", *chain.tokens))[-20:].hex()
        operator = "0x" + chain.call(pool, call_bytes("dataStorageOperator()"))[-20:].hex()
        state = AlgebraAdaptiveState(pool, chain.tokens, operator, fee_config=config)
        mirror = Mirror(chain, _FAMILY, state)
        mirror.balances = {}  # community fees leave without an event of the pool
        play = AdaptivePlay(chain, mirror, rng, self.tally)
        play.initialise()
        return play


def _package(name: str) -> Artifact:
    return sources.package_artifact("@cryptoalgebra/core", f"artifacts/contracts/{name}.sol/{name}.json")

"""Random Algebra Integral pools on the real factory and pool."""

import random
from contextlib import suppress
from dataclasses import dataclass

import msgspec
import rlp
from eth_abi.abi import encode
from tests.differential import sources
from tests.differential.chain import OWNER, Chain, Reverted
from tests.differential.dialect_cases import family_driver
from tests.differential.mirror import Mirror
from tests.differential.v3_cases import Play, Tally, V3World

from ouro.hashing import keccak
from ouro.protocols import algebra_integral
from ouro.protocols.algebra_integral import AlgebraIntegral, AlgebraIntegralState
from ouro.protocols.base import QuoteError
from ouro.protocols.v3_storage import mapping_slot
from ouro.protocols.v3_swap import SwapResult, swap
from ouro.testnet.abi import call_bytes
from ouro.testnet.artifacts import Artifact
from ouro.types import Address

_FAMILY = AlgebraIntegral()
_UNDERFLOW = "4e487b71" + "11".rjust(64, "0")  # Panic(0x11)


@dataclass
class AlgebraTally(Tally):
    """``unbookable``: swaps that the pool's own accounting refused for want of dust."""

    unbookable: int = 0


class AlgebraPlay(Play):
    """Positions, swaps, fees, spacings, community fees and idle plugins."""

    state: AlgebraIntegralState  # type: ignore[assignment]
    tally: "AlgebraTally"

    def _mint(self) -> None:
        lower, upper = self._range()
        amount = int(2 ** self.rng.uniform(0, self.rng.choice([20, 64, 90, 106])))
        driver = self.chain.driver
        signature = "mint(address,address,int24,int24,uint128,bytes)"
        if self._do(self.pool, call_bytes(signature, driver, driver, lower, upper, amount, b"")):
            self.touched |= {lower, upper}
            self.positions[lower, upper] = self.positions.get((lower, upper), 0) + amount

    def _burn(self) -> None:
        if not self.positions:
            return
        key = self.rng.choice(list(self.positions))
        held = self.positions[key]
        amount = held if self.rng.random() < 0.5 else self.rng.randint(0, held)
        if self._do(self.pool, call_bytes("burn(int24,int24,uint128,bytes)", *key, amount, b"")):
            self.positions[key] -= amount
            if not self.positions[key]:
                del self.positions[key]

    def _protocol(self) -> None:
        data = call_bytes("setCommunityFee(uint16)", self.rng.choice([0, 1, 150, 1000]))
        self._do(self.pool, data, owner=True)

    def _grow(self) -> None:
        """Fee, spacing, or a plugin that is not asked about swaps."""
        kind = self.rng.random()
        if kind < 0.6:
            data = call_bytes("setFee(uint16)", self.rng.choice([0, 1, 777, 10_000, 50_000, 65_535]))
        elif kind < 0.9:
            data = call_bytes("setTickSpacing(int24)", self.rng.choice([1, 7, 60, 500]))
        else:
            data = call_bytes("setPlugin(address)", OWNER)
        self._do(self.pool, data, owner=True)

    def _out_of_model(self, error: str, ours: SwapResult | QuoteError) -> bool:
        """The pool books reserves in 128 bits: dust, less the community's share, or sums near the end don't fit."""
        large = isinstance(ours, SwapResult) and max(ours.amount_in_wei, ours.amount_out_wei) >> 120
        found = bool(large) or (self.state.community_fee > 0 and _UNDERFLOW in error)
        self.tally.unbookable += found
        return found

    def _ours(self, zero_for_one: bool, amount: int, limit: int) -> SwapResult:
        if amount == -(1 << 255):
            raise QuoteError("this family refuses the least integer")
        return swap(self.state, zero_for_one, amount, limit)

    def _compare_after(self, what: str, ours: SwapResult) -> None:
        after = msgspec.structs.replace(
            self.state, sqrt_price_x96=ours.sqrt_price_x96, tick=ours.tick, liquidity=ours.liquidity
        )
        for where, word in algebra_integral.global_words(after).items():
            self.mirror.expect(f"slot {where} after {what}", word, self.chain.slot(self.pool, where))

    def crossed_slots(self) -> set[int]:
        bases = [mapping_slot(tick, algebra_integral.TICKS_SLOT) for tick in self.touched]
        return {base + k for base in bases for k in (2, 3)}

    def compare_ticks(self) -> None:
        for tick in (*self.state.ticks, -887272, 887272):
            words = {
                **algebra_integral._tick_words(self.state, tick),
                **algebra_integral._tree_words(self.state, tick),
            }
            for where, word in words.items():
                self.mirror.expect(f"tick {tick} slot {where}", word, self.chain.slot(self.pool, where))

    def with_plugin_asked(self) -> None:
        """A plugin that is asked about swaps: refused with its name."""
        asked = msgspec.structs.replace(self.state, plugin=OWNER, plugin_config=1)
        try:
            _FAMILY.quote_in(asked, 0, 1, 1000, None)  # type: ignore[arg-type]
        except QuoteError as error:
            self.mirror.expect("the reason names the plugin", True, OWNER in error.reason)
        else:
            self.mirror.expect("a plugin on swaps is refused", True, False)


class AlgebraIntegralWorld(V3World):
    """Factory and deployer know each other's address in advance."""

    def __init__(self) -> None:
        self.chain = chain = Chain()
        family_driver(chain)
        nonce = chain.evm.basic(OWNER).nonce
        factory = _package("AlgebraFactory").bytecode
        self.factory = chain.deploy(factory + encode(["address"], [_created(OWNER, nonce + 1)]))
        chain.deploy(_package("AlgebraPoolDeployer").bytecode + encode(["address"], [self.factory]))
        vaults = _package("AlgebraVaultFactoryStub").bytecode + encode(["address"], [OWNER])
        chain.call(self.factory, call_bytes("setVaultFactory(address)", chain.deploy(vaults)))
        self.tally = AlgebraTally()

    def open_pool(self, rng: random.Random) -> Play:
        spacing, fee = rng.choice([1, 7, 60, 500]), rng.choice([0, 100, 500, 50_000])
        for signature, value in (("setDefaultTickspacing(int24)", spacing), ("setDefaultFee(uint16)", fee)):
            with suppress(Reverted):  # the factory refuses to set what is set already
                self.chain.call(self.factory, call_bytes(signature, value))
        data = call_bytes("createPool(address,address,bytes)", *self.chain.tokens, b"")
        pool = "0x" + self.chain.call(self.factory, data)[-20:].hex()
        mirror = Mirror(self.chain, _FAMILY, AlgebraIntegralState(pool, self.chain.tokens, spacing))
        mirror.balances = {}  # community fees leave without an event of the pool
        play = AlgebraPlay(self.chain, mirror, rng, self.tally)
        play.initialise()
        play.with_plugin_asked()
        return play


def _package(name: str) -> Artifact:
    return sources.package_artifact("@cryptoalgebra/integral-core", f"artifacts/contracts/{name}.sol/{name}.json")


def _created(sender: Address, nonce: int) -> Address:
    return "0x" + keccak(rlp.encode([bytes.fromhex(sender[2:]), nonce]))[12:].hex()

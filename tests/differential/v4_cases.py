"""Random Uniswap V4 pools in the real manager: ERC-20 and native, fixed and dynamic fees, protocol fees."""

import random

import msgspec
from eth_abi.abi import decode, encode
from tests.differential import sources
from tests.differential.chain import OWNER, Chain, account
from tests.differential.dialect_cases import family_driver
from tests.differential.mirror import Mirror
from tests.differential.v3_cases import Play, Tally, V3World

from ouro.protocols import uniswap_v4
from ouro.protocols.base import QuoteError
from ouro.protocols.uniswap_v4 import DYNAMIC_FEE_FLAG, NATIVE, UniswapV4, UniswapV4State, pool_id, swap_fee_ppm
from ouro.protocols.v3_storage import mapping_slot
from ouro.protocols.v3_swap import SwapResult, swap
from ouro.protocols.v3_ticks import WORD_BITS
from ouro.testnet.abi import call_bytes
from ouro.types import Address

_KEY = "(address,address,uint24,int24,address)"
_FEES = (0, 100, 500, 3000, 10_000, 250_000, 999_000, DYNAMIC_FEE_FLAG)
_SPACINGS = (1, 10, 60, 200, 7, 32_767)
_INT128_END = 1 << 127
HOOK = "0x" + (int(account("hook"), 16) >> 14 << 14).to_bytes(20).hex()
"""An address without flags: it may set a dynamic fee and is never called."""


class V4Play(Play):
    """The actions of a V3 pool as calls inside the manager's lock."""

    state: UniswapV4State  # type: ignore[assignment]

    @property
    def manager(self) -> Address:
        return self.state.manager

    @property
    def key(self) -> tuple[str, str, int, int, str]:
        state = self.state
        return (*state.tokens, state.key_fee, state.tick_spacing, state.hooks)

    def _locked(self, call: bytes) -> bytes:
        return call_bytes("locked(address,address,address,bytes)", self.manager, *self.state.tokens, call)

    def open(self) -> None:
        """The first price, fees, some positions."""
        data = call_bytes(f"initialize({_KEY},uint160)", self.key, self.first_price())
        self._do(self.manager, data, owner=True)
        if self.rng.random() < 0.5:
            self._protocol()
        self._refresh_fee()
        for _ in range(self.rng.randint(1, 5)):
            self._mint()

    def _change(self, lower: int, upper: int, change: int) -> bool:
        signature = f"modifyLiquidity({_KEY},(int24,int24,int256,bytes32),bytes)"
        call = call_bytes(signature, self.key, (lower, upper, change, bytes(32)), b"")
        return self._do(self.chain.driver, self._locked(call), owner=True)

    def _mint(self) -> None:
        lower, upper = self._range()
        amount = int(2 ** self.rng.uniform(0, self.rng.choice([20, 64, 90, 106])))
        if self._change(lower, upper, amount):
            self.touched |= {lower, upper}
            self.positions[lower, upper] = self.positions.get((lower, upper), 0) + amount

    def _burn(self) -> None:
        if not self.positions:
            return
        key = self.rng.choice(list(self.positions))
        held = self.positions[key]
        amount = held if self.rng.random() < 0.5 else self.rng.randint(0, held)
        if self._change(*key, -amount):
            self.positions[key] -= amount
            if not self.positions[key]:
                del self.positions[key]

    def _collect(self) -> None:
        if self.positions:
            self._change(*self.rng.choice(list(self.positions)), 0)

    def _swap(self) -> None:
        zero_for_one, amount, limit = self._swap_arguments()
        self._do(self.chain.driver, self._locked(self._swap_call(zero_for_one, amount, limit)), owner=True)

    def _flash(self) -> None:
        """A donation: it changes fee growth and nothing that a swap sees."""
        call = call_bytes(
            f"donate({_KEY},uint256,uint256,bytes)", self.key, 12_345, self.rng.randint(0, 1 << 60), b""
        )
        self._do(self.chain.driver, self._locked(call), owner=True)

    def _protocol(self) -> None:
        fee0, fee1 = self.rng.choices([0, 1, 250, 1000], k=2)
        data = call_bytes(f"setProtocolFee({_KEY},uint24)", self.key, fee0 | fee1 << 12)
        self._do(self.manager, data, owner=True)

    def _grow(self) -> None:
        self._refresh_fee()

    def _refresh_fee(self) -> None:
        """The hook sets a dynamic fee, which no event tells; a re-read of slot0 does."""
        if self.state.key_fee != DYNAMIC_FEE_FLAG:
            return
        fee = self.rng.choice([0, 1, 777, 30_000, 999_000])
        data = call_bytes(f"updateDynamicLPFee({_KEY},uint24)", self.key, fee)
        self.chain.call(self.manager, data, caller=HOOK)
        self.mirror.state = msgspec.structs.replace(self.state, lp_fee_ppm=fee)
        self.mirror.words.pop((self.mirror.emitter, self._base()), None)  # predicted with the old fee

    def _swap_call(self, zero_for_one: bool, amount: int, limit: int) -> bytes:
        amount = max(-amount, 1 - (1 << 255))  # exact input is negative here
        return call_bytes(f"swap({_KEY},(bool,int256,uint160),bytes)", self.key, (zero_for_one, amount, limit), b"")

    def _theirs(self, zero_for_one: bool, amount: int, limit: int) -> tuple[int, int]:
        answer = self.chain.call(self.chain.driver, self._locked(self._swap_call(zero_for_one, amount, limit)))
        packed = decode(["int256"], decode(["bytes"], answer)[0])[0]
        low = packed & (1 << 128) - 1
        return -(packed >> 128), -(low - (1 << 128) if low >> 127 else low)

    def _ours(self, zero_for_one: bool, amount: int, limit: int) -> SwapResult:
        result = swap(self.state, zero_for_one, amount, limit, swap_fee_ppm(self.state, zero_for_one))
        if max(result.amount_in_wei, result.amount_out_wei) >= _INT128_END:
            raise QuoteError("the amounts do not fit int128")
        return result

    def _base(self) -> int:
        return uniswap_v4.base_slot(self.state)

    def _compare_after(self, what: str, ours: SwapResult) -> None:
        after = uniswap_v4._moved(self.state, ours.sqrt_price_x96, ours.tick, ours.liquidity)
        expect, slot = self.mirror.expect, self.chain.slot
        base = self._base()
        expect(f"slot0 after {what}", uniswap_v4.slot0_word(after), slot(self.manager, base))
        expect(f"liquidity after {what}", ours.liquidity, slot(self.manager, base + 3))

    def crossed_slots(self) -> set[int]:
        bases = [mapping_slot(tick, self._base() + 4) for tick in self.touched]
        return {base + k for base in bases for k in (1, 2)}

    def compare_ticks(self) -> None:
        state, slot = self.state, self.chain.slot
        for tick, (gross, net) in state.ticks.items():
            word = slot(self.manager, mapping_slot(tick, self._base() + 4))
            self.mirror.expect(f"tick {tick}", gross | (net & (1 << 128) - 1) << 128, word)
        for index in {tick // state.tick_spacing // WORD_BITS for tick in state.ticks}:
            word = slot(self.manager, mapping_slot(index, self._base() + 5))
            self.mirror.expect(f"bitmap {index}", state.ticks.bitmap_word(index, state.tick_spacing), word)


class V4World(V3World):
    """The real PoolManager of the package."""

    def __init__(self) -> None:
        self.chain = chain = Chain()
        family_driver(chain)
        chain.evm.set_balance(chain.driver, 1 << 140)
        code = sources.package_artifact("@uniswap/v4-core", "out/PoolManager.sol/PoolManager.json")
        self.manager = chain.deploy(code.bytecode + encode(["address"], [OWNER]))
        chain.call(self.manager, call_bytes("setProtocolFeeController(address)", OWNER))
        self.tally = Tally()

    def open_pool(self, rng: random.Random) -> Play:
        tokens = (NATIVE, self.chain.tokens[1]) if rng.random() < 0.3 else self.chain.tokens
        fee, spacing = rng.choice(_FEES), rng.choice(_SPACINGS)
        hooks = HOOK if fee == DYNAMIC_FEE_FLAG else NATIVE
        identity = pool_id(tokens, fee, spacing, hooks)
        lp_fee = 0 if fee == DYNAMIC_FEE_FLAG else fee
        state = UniswapV4State(identity, self.manager, tokens, fee, spacing, hooks, lp_fee)
        mirror = Mirror(self.chain, UniswapV4(), state)
        mirror.balances = {}  # shared by all pools of the manager
        play = V4Play(self.chain, mirror, rng, self.tally)
        play.open()
        return play

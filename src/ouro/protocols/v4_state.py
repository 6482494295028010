"""The state of a Uniswap V4 pool, key and fees, why it may be refused, where the manager keeps its words."""

from collections.abc import Iterator
from functools import lru_cache
from typing import ClassVar

import msgspec

from ouro.hashing import keccak
from ouro.protocols.storage import U256, mapping_slot
from ouro.protocols.tick_maps import tick_slots
from ouro.protocols.v3_math import PPM
from ouro.protocols.v3_ticks import EMPTY_TICKS, TickTable
from ouro.types import Address

NATIVE: Address = "0x" + "00" * 20
DYNAMIC_FEE_FLAG = 0x800000
MAX_TICK_SPACING = 32_767
POOLS_SLOT = 6
LIQUIDITY, _TICKS, _BITMAP, TICK_WORDS = 3, 4, 5, 3
_MANAGER_SLOTS = range(8)
_PROTOCOL_FEES_SLOT = 1
_U24 = (1 << 24) - 1

SWAP_HOOKS = {
    1 << 7: "beforeSwap",
    1 << 6: "afterSwap",
    1 << 3: "beforeSwapReturnDelta",
    1 << 2: "afterSwapReturnDelta",
}


class UniswapV4State(msgspec.Struct, frozen=True):
    """A pool. ``key_fee`` is the pool key's (the dynamic flag or the LP fee), ``lp_fee_ppm`` what slot0 has now.

    ``protocol_fee`` is slot0's packed pair: 12 bits for token0 in, 12 above for token1 in.
    """

    family: ClassVar[str] = "uniswap_v4"
    word_edges: ClassVar[bool] = True

    address: Address
    manager: Address
    tokens: tuple[Address, Address]
    key_fee: int
    tick_spacing: int
    hooks: Address
    lp_fee_ppm: int
    protocol_fee: int = 0
    sqrt_price_x96: int = 0
    tick: int = 0
    liquidity: int = 0
    ticks: TickTable = EMPTY_TICKS

    @property
    def fee_ppm(self) -> int:
        """The dearer direction's fee; a swap uses ``swap_fee_ppm``."""
        return max(swap_fee_ppm(self, True), swap_fee_ppm(self, False))


def pool_id(tokens: tuple[Address, Address], key_fee: int, tick_spacing: int, hooks: Address) -> str:
    """keccak of the abi-encoded pool key, as 0x-hex."""
    words = (int(tokens[0], 16), int(tokens[1], 16), key_fee, tick_spacing, int(hooks, 16))
    return "0x" + keccak(b"".join(word.to_bytes(32) for word in words)).hex()


def swap_fee_ppm(state: UniswapV4State, zero_for_one: bool) -> int:
    """``ProtocolFeeLibrary.calculateSwapFee`` of the direction."""
    protocol = state.protocol_fee & 0xFFF if zero_for_one else state.protocol_fee >> 12
    return protocol + state.lp_fee_ppm - protocol * state.lp_fee_ppm // PPM


def refusal(state: UniswapV4State) -> str | None:
    """Why a pool can't be quoted, for people; None where it can."""
    flags = [name for bit, name in SWAP_HOOKS.items() if int(state.hooks, 16) & bit]
    if flags:
        return (
            f"its hook {state.hooks} acts on swaps ({', '.join(flags)}): fee or amounts may differ from the curve's"
        )
    if state.fee_ppm >= PPM:
        return "its fee takes the whole input"
    return None


def slot0_word(state: UniswapV4State) -> int:
    """Slot0 packed."""
    price, tick = state.sqrt_price_x96, state.tick & _U24
    return price | tick << 160 | state.protocol_fee << 184 | (state.lp_fee_ppm << 208 if price else 0)


@lru_cache(maxsize=1 << 14)
def pool_slot(pool: str) -> int:
    """Where a manager keeps the words of the pool with this id."""
    return int.from_bytes(keccak(bytes.fromhex(pool[2:]) + POOLS_SLOT.to_bytes(32)))


def base_slot(state: UniswapV4State) -> int:
    """Where the manager keeps a pool's words; slot0 is the first."""
    return pool_slot(state.address)


def tick_slot(state: UniswapV4State, tick: int) -> int:
    """The first word of a tick: gross and net liquidity."""
    return mapping_slot(tick, base_slot(state) + _TICKS)


def bitmap_slot(state: UniswapV4State, word: int) -> int:
    """A word of the tick bitmap."""
    return mapping_slot(word, base_slot(state) + _BITMAP)


def swap_slots(state: UniswapV4State) -> Iterator[int]:
    """Words of the manager that a swap may touch: its own, protocol fees, the pool's with whole ticks."""
    base = base_slot(state)
    yield from _MANAGER_SLOTS
    yield from (mapping_slot(int(token, 16), _PROTOCOL_FEES_SLOT) for token in state.tokens)
    yield from ((base + word) & U256 for word in range(LIQUIDITY + 1))
    yield from _map_slots(state, range(TICK_WORDS))


def slots_from_logs(state: UniswapV4State) -> Iterator[int]:
    """Slot0, liquidity, the first word of each tick, the bitmap."""
    base = base_slot(state)
    yield from (base, (base + LIQUIDITY) & U256)
    yield from _map_slots(state, (0,))


def _map_slots(state: UniswapV4State, words: "range | tuple[int, ...]") -> Iterator[int]:
    yield from tick_slots(state.ticks, base_slot(state) + _TICKS, words)
    for word in sorted({tick // state.tick_spacing >> 8 for tick in state.ticks}):
        yield bitmap_slot(state, word)

"""Reading Uniswap V4 pools at a pinned block, out of the manager's storage by ``extsload``.

Pools whose hook acts on swaps are refused before their ticks are read: what a hook does can't be known.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec

from ouro.chain.rpc import Caller
from ouro.hashing import selector
from ouro.market.creation import NewPool
from ouro.market.multicall import Read, read_many, uint_word, words
from ouro.market.reader import PinnedBlock
from ouro.market.shapes import Garbage, set_bits
from ouro.market.sync_v3 import bitmap_words
from ouro.protocols import uniswap_v4
from ouro.protocols.uniswap_v4 import DYNAMIC_FEE_FLAG, UniswapV4State
from ouro.protocols.v3_ticks import TickTable
from ouro.types import Address

_EXTSLOAD = selector("extsload(bytes32[])")
_SLOTS_AT_ONCE = 250
_GAS_PER_SLOT = 3_000
_GAS_PER_CALL = 5_000
_U24, _U128, _U160, _U256 = (1 << 24) - 1, (1 << 128) - 1, (1 << 160) - 1, (1 << 256) - 1


@dataclass(slots=True)
class _Draft:
    state: UniswapV4State
    places: list[int] = field(default_factory=list)
    garbage: Garbage | None = None


async def read(
    reader: Caller, multicall: Address, pools: Sequence[NewPool], block: PinnedBlock
) -> list[UniswapV4State | Garbage]:
    """State or the reason why there is none, per pool in order."""
    drafts = [_Draft(_announced(pool)) for pool in pools]
    for draft in drafts:
        if reason := uniswap_v4.refusal(draft.state):
            draft.garbage = Garbage(reason)
    await _load(reader, multicall, drafts, block, _head_slots, _take_head)
    await _load(reader, multicall, drafts, block, _bitmap_slots, _take_bitmap)
    await _load(reader, multicall, drafts, block, _tick_slots, _take_ticks)
    return [draft.garbage or draft.state for draft in drafts]


def _announced(pool: NewPool) -> UniswapV4State:
    """A pool by its key alone."""
    fixed = 0 if pool.fee_ppm == DYNAMIC_FEE_FLAG else pool.fee_ppm
    return UniswapV4State(
        pool.address, pool.factory, (pool.token0, pool.token1), pool.fee_ppm, pool.tick_spacing, pool.hooks, fixed
    )


def _extsload(manager: Address, slots: Sequence[int]) -> Read:
    data = _EXTSLOAD + uint_word(32) + uint_word(len(slots)) + b"".join(map(uint_word, slots))
    return Read(manager, data, _GAS_PER_CALL + _GAS_PER_SLOT * len(slots))


def _loaded(answer: bytes | None, count: int) -> list[int]:
    found = words(answer or b"")
    if len(found) != count + 2 or found[0] != 32 or found[1] != count:
        raise Garbage(f"the manager's extsload does not answer with {count} words")
    return found[2:]


async def _load(
    reader: Caller,
    multicall: Address,
    drafts: Sequence[_Draft],
    block: PinnedBlock,
    ask: Callable[[_Draft], list[int]],
    take: Callable[[_Draft, list[int]], None],
) -> None:
    """Read the slots that ``ask`` names for each sound draft and give ``take`` their words."""
    sound = [draft for draft in drafts if draft.garbage is None]
    portions = [
        [slots[k : k + _SLOTS_AT_ONCE] for k in range(0, len(slots), _SLOTS_AT_ONCE)]
        for slots in (ask(draft) for draft in sound)
    ]
    reads = [_extsload(d.state.manager, part) for d, parts in zip(sound, portions, strict=True) for part in parts]
    answers = iter(await read_many(reader, multicall, reads, block))
    for draft, parts in zip(sound, portions, strict=True):
        found = [(part, next(answers)) for part in parts]
        try:
            take(draft, [word for part, answer in found for word in _loaded(answer, len(part))])
        except Garbage as garbage:
            draft.garbage = garbage


def _head_slots(draft: _Draft) -> list[int]:
    base = uniswap_v4.base_slot(draft.state)
    return [base, (base + uniswap_v4.LIQUIDITY) & _U256]


def _take_head(draft: _Draft, found: list[int]) -> None:
    slot0, liquidity = found
    if not slot0 & _U160:
        raise Garbage("the manager has no such pool: it is not initialised")
    if liquidity >> 128:
        raise Garbage(f"liquidity = {liquidity} does not fit uint128")
    tick = slot0 >> 160 & _U24
    draft.state = msgspec.structs.replace(
        draft.state,
        sqrt_price_x96=slot0 & _U160,
        tick=tick - (1 << 24) if tick >> 23 else tick,
        protocol_fee=slot0 >> 184 & _U24,
        lp_fee_ppm=slot0 >> 208 & _U24,
        liquidity=liquidity,
    )


def _bitmap_slots(draft: _Draft) -> list[int]:
    return [uniswap_v4.bitmap_slot(draft.state, word) for word in bitmap_words(draft.state.tick_spacing)]


def _take_bitmap(draft: _Draft, found: list[int]) -> None:
    spacing = draft.state.tick_spacing
    draft.places = [
        (word * 256 + bit) * spacing
        for word, bits in zip(bitmap_words(spacing), found, strict=True)
        for bit in set_bits(bits)
    ]


def _tick_slots(draft: _Draft) -> list[int]:
    return [uniswap_v4.tick_slot(draft.state, tick) for tick in draft.places]


def _take_ticks(draft: _Draft, found: list[int]) -> None:
    ticks = {}
    for tick, word in zip(draft.places, found, strict=True):
        net = word >> 128
        ticks[tick] = (word & _U128, net - (1 << 128) if net >> 127 else net)
    draft.state = msgspec.structs.replace(draft.state, ticks=TickTable(ticks))


def fee_reads(state: UniswapV4State, pool: NewPool) -> list[Read]:
    """Slot0, which has the fee that a hook may have set."""
    return [_extsload(state.manager, [uniswap_v4.base_slot(state)])]


def with_fee(state: UniswapV4State, answers: Sequence[bytes | None]) -> UniswapV4State:
    """The state with the fee of ``fee_reads``. Raises ``Garbage``."""
    fee_ppm = _loaded(answers[0], 1)[0] >> 208 & _U24
    return state if fee_ppm == state.lp_fee_ppm else msgspec.structs.replace(state, lp_fee_ppm=fee_ppm)

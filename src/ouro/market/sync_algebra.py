"""Reading Algebra Integral pools at a pinned block: global state, plugin, and the ticks by the tree over them.

Four rounds, because each asks for what the one before has found: head values; the tree's second layer; its leaves;
the ticks whose bits are set.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from ouro.chain.rpc import Caller
from ouro.hashing import selector
from ouro.market.creation import NewPool
from ouro.market.multicall import Read, read_many, uint_word
from ouro.market.reader import PinnedBlock
from ouro.market.shapes import Garbage, answer_words, require_tokens, set_bits, signed, unsigned
from ouro.protocols.algebra_integral import SECOND_LAYER_OFFSET, AlgebraIntegralState
from ouro.protocols.v3_ticks import TickTable
from ouro.types import Address

_HEAD_CALLS = (
    (selector("token0()"), 4_000),
    (selector("token1()"), 4_000),
    (selector("tickSpacing()"), 4_000),
    (selector("globalState()"), 6_000),
    (selector("liquidity()"), 4_000),
    (selector("plugin()"), 4_000),
    (selector("tickTreeRoot()"), 4_000),
)
_SECOND_LAYER = selector("tickTreeSecondLayer(int16)")
_TICK_TABLE = selector("tickTable(int16)")
_TICKS = selector("ticks(int24)")
_WORD_GAS = 5_000
_TICK_GAS = 12_000


@dataclass(slots=True)
class _Draft:
    pool: NewPool
    head: list[int] = field(default_factory=list)
    spacing: int = 0
    liquidity: int = 0
    plugin: Address = ""
    places: list[int] = field(default_factory=list)
    """Where the round in hand goes on: nodes, then leaves, then ticks."""
    ticks: dict[int, tuple[int, int]] = field(default_factory=dict)
    garbage: Garbage | None = None


async def read(
    reader: Caller, multicall: Address, pools: Sequence[NewPool], block: PinnedBlock
) -> list[AlgebraIntegralState | Garbage]:
    """State or the reason why there is none, per pool in order."""
    drafts = [_Draft(pool) for pool in pools]
    answers = iter(
        await read_many(
            reader, multicall, [Read(d.pool.address, data, gas) for d in drafts for data, gas in _HEAD_CALLS], block
        )
    )
    for draft in drafts:
        _take_head(draft, [next(answers) for _ in _HEAD_CALLS])
    await _descend(reader, multicall, drafts, block, _SECOND_LAYER, "tickTreeSecondLayer", SECOND_LAYER_OFFSET)
    await _descend(reader, multicall, drafts, block, _TICK_TABLE, "tickTable", 0)
    await _read_ticks(reader, multicall, [draft for draft in drafts if draft.garbage is None], block)
    return [_state(draft) for draft in drafts]


def _take_head(draft: _Draft, answers: Sequence[bytes | None]) -> None:
    token0, token1, spacing, head, liquidity, plugin, root = answers
    try:
        require_tokens(token0, token1, (draft.pool.token0, draft.pool.token1))
        draft.spacing = signed(answer_words(spacing, 1, "tickSpacing()")[0], 24, "tickSpacing")
        price, tick, fee, config, community, _ = answer_words(head, 6, "globalState()")
        draft.head = [
            unsigned(price, 160, "price"),
            signed(tick, 24, "tick"),
            unsigned(fee, 16, "fee"),
            unsigned(config, 8, "pluginConfig"),
            unsigned(community, 16, "communityFee"),
        ]
        draft.liquidity = unsigned(answer_words(liquidity, 1, "liquidity()")[0], 128, "liquidity")
        place = unsigned(answer_words(plugin, 1, "plugin()")[0], 160, "plugin")
        draft.plugin = "0x" + place.to_bytes(20).hex()
        draft.places = set_bits(unsigned(answer_words(root, 1, "tickTreeRoot()")[0], 32, "tickTreeRoot"))
    except Garbage as garbage:
        draft.garbage = garbage


async def _descend(
    reader: Caller,
    multicall: Address,
    drafts: Sequence[_Draft],
    block: PinnedBlock,
    call: bytes,
    name: str,
    offset: int,
) -> None:
    """One layer down: the words at ``places``, and where their bits lead."""
    drafts = [draft for draft in drafts if draft.garbage is None]
    reads = [Read(d.pool.address, call + uint_word(place), _WORD_GAS) for d in drafts for place in d.places]
    answers = iter(await read_many(reader, multicall, reads, block))
    for draft in drafts:
        found = [(place, next(answers)) for place in draft.places]
        try:
            draft.places = [
                (place << 8) + bit - offset
                for place, answer in found
                for bit in set_bits(answer_words(answer, 1, f"{name}({place})")[0])
            ]
        except Garbage as garbage:
            draft.garbage = garbage


async def _read_ticks(reader: Caller, multicall: Address, drafts: Sequence[_Draft], block: PinnedBlock) -> None:
    reads = [Read(d.pool.address, _TICKS + uint_word(tick), _TICK_GAS) for d in drafts for tick in d.places]
    answers = iter(await read_many(reader, multicall, reads, block))
    for draft in drafts:
        found = [(tick, next(answers)) for tick in draft.places]
        try:
            for tick, answer in found:
                total, delta = answer_words(answer, 6, f"ticks({tick})")[:2]
                draft.ticks[tick] = (total, signed(delta, 128, f"ticks({tick}).liquidityDelta"))
        except Garbage as garbage:
            draft.garbage = garbage


def _state(draft: _Draft) -> AlgebraIntegralState | Garbage:
    if draft.garbage is not None:
        return draft.garbage
    price, tick, fee, config, community = draft.head
    return AlgebraIntegralState(
        address=draft.pool.address,
        tokens=(draft.pool.token0, draft.pool.token1),
        tick_spacing=draft.spacing,
        fee_ppm=fee,
        plugin=draft.plugin,
        plugin_config=config,
        community_fee=community,
        sqrt_price_x96=price,
        tick=tick,
        liquidity=draft.liquidity,
        ticks=TickTable(draft.ticks),
    )

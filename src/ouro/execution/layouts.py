"""Which storage words of pools swaps read, by family: the contracts' own layouts.

A place is a contract and a slot: pools inside a manager have their words there. What a swap reads in other
contracts (a factory's fee, a fee module) is found by asking the node what a view call of the same path reads.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from ouro.hashing import keccak, selector
from ouro.protocols import algebra_integral, algebra_state, solidly, uniswap_v2, uniswap_v4, v3_storage
from ouro.protocols.base import home_of
from ouro.protocols.v3_math import MAX_TICK, MIN_TICK
from ouro.protocols.v3_storage import mapping_slot
from ouro.types import Address

Place: TypeAlias = tuple[Address, int]

V2_SLOTS = range(14)
V2_FROM_LOGS = frozenset((6, 7, 8, 9, 10, 12))
MAX_OBSERVATIONS = 64
"""Entries of a V3 oracle ring that are loaded around the current one. Others read as zero, which changes no
amount; a swap that writes one is then estimated 15 000 gas too high."""

_SOLIDLY_SLOTS = range(32)
_ALGEBRA_SLOTS = range(16)
_MANAGER_SLOTS = range(8)
_PROTOCOL_FEES_SLOT = 1
_GUARD_SLOT = 0x9B779B17422D0DF92223018B32B4D1FA46E071723D6817E2486D003BECC55F00
"""ERC-7201 place of OpenZeppelin's reentrancy guard."""
_RING_SIZE = 65_535
_TICK_WORDS = 4
_U256 = (1 << 256) - 1
_CLONE_HEAD, _CLONE_TAIL = bytes.fromhex("363d3d373d3d3d363d73"), bytes.fromhex("5af43d82803e903d91602b57fd5bf3")

CONCENTRATED = frozenset(("uniswap_v3", "pancakeswap_v3", "slipstream"))
BALANCES_NOT_TOLD = frozenset(("uniswap_v4", "algebra_integral", "algebra_adaptive"))
"""Families whose logs do not give the token balances of the contract that holds them."""
DRIFTING = BALANCES_NOT_TOLD | {"solidly"}
"""Families of whose pools something has to be read again after they moved."""


@dataclass(frozen=True, slots=True)
class ViewCall:
    """A call that reads what a swap reads in contracts beside the pool; ``sender`` where it matters."""

    to: Address
    data: bytes
    sender: Address | None = None


def pool_places(state: Any) -> list[Place]:
    """Words that a swap may touch in the pool's own contract, without a V3 oracle ring (see ``ring_places``)."""
    return [(home_of(state), slot) for slot in _slots(state)] + _data_storage_places(state)


def _data_storage_places(state: Any) -> list[Place]:
    """What a swap reads in the contract that an adaptive fee comes from: entries, the next places, the settings.

    Entries that left the window read as missing in the copy; the contract's search passes over such.
    """
    if state.family != "algebra_adaptive":
        return []
    size, last = algebra_state.RING, state.timepoint_index
    held = [(last - back) % size for back in range(len(state.timepoints))]
    entries = dict.fromkeys((*held, 0, (last + 1) % size, (last + 2) % size))
    slots = [algebra_state.TIMEPOINTS_SLOT + 2 * entry + word for entry in entries for word in (0, 1)]
    return [(state.operator, slot) for slot in (*slots, algebra_state.FEE_CONFIG_SLOT)]


def _slots(state: Any) -> Iterator[int]:
    if state.family in ("uniswap_v2", "swapr"):
        yield from V2_SLOTS
    elif state.family in CONCENTRATED:
        yield from range(state.layout.observations)
        yield from _bitmap_slots(state)
        yield from _tick_slots(state, range(state.layout.tick_words))
        if state.layout.fee_word:  # the pool of PancakeSwap's farms
            yield state.layout.observations + _RING_SIZE
    elif state.family == "solidly":
        yield from _SOLIDLY_SLOTS
        yield _GUARD_SLOT
    elif state.family == "algebra_integral":
        yield from _ALGEBRA_SLOTS
        yield from _algebra_slots(state, all_words=True)
    elif state.family == "algebra_adaptive":
        yield from range(algebra_state.TICKS_SLOT)
        yield from _adaptive_slots(state, range(_TICK_WORDS))
    elif state.family == "uniswap_v4":
        base = uniswap_v4.base_slot(state)
        yield from _MANAGER_SLOTS
        yield from (mapping_slot(int(token, 16), _PROTOCOL_FEES_SLOT) for token in state.tokens)
        yield from ((base + word) & _U256 for word in range(uniswap_v4.LIQUIDITY + 1))
        yield from _v4_slots(state, range(uniswap_v4.TICK_WORDS))
    else:
        raise ValueError(f"{state.address}: no storage layout for family {state.family!r}")


def places_from_logs(state: Any) -> list[Place]:
    """The words that events keep exact. Fee growth and a tick's outside values, for example, are not: they change
    no amount."""
    if state.family in ("uniswap_v2", "swapr"):
        slots = list(V2_FROM_LOGS)
    elif state.family in CONCENTRATED:
        slots = [*v3_storage.slot0_words(state), state.layout.liquidity]
        slots += [*_bitmap_slots(state), *_tick_slots(state, (0,))]
    elif state.family == "solidly":
        slots = list(range(solidly.RESERVE0_SLOT, solidly.CUMULATIVE1_SLOT + 1))
    elif state.family == "algebra_integral":
        slots = [*algebra_integral.global_words(state), *_algebra_slots(state, all_words=False)]
    elif state.family == "algebra_adaptive":
        slots = [*algebra_state.words(state), *_adaptive_slots(state, range(1))]
        entry = algebra_state.timepoint_words(state) if len(state.timepoints) else {}
        return [(state.address, slot) for slot in slots] + [(state.operator, slot) for slot in entry]
    else:
        base = uniswap_v4.base_slot(state)
        slots = [base, (base + uniswap_v4.LIQUIDITY) & _U256, *_v4_slots(state, range(1))]
    return [(home_of(state), slot) for slot in slots]


def known_words(state: Any) -> Mapping[Place, int]:
    """Words whose value follows from the state: where they differ, the contract is not laid out as its family."""
    if state.family in ("uniswap_v2", "swapr"):
        words = {uniswap_v2.RESERVES_SLOT: uniswap_v2.reserves_word(state)}
    elif state.family in CONCENTRATED:
        words = {**v3_storage.slot0_words(state), state.layout.liquidity: v3_storage.liquidity_word(state)}
    elif state.family == "solidly":
        words = {solidly.RESERVE0_SLOT: state.reserve0, solidly.RESERVE1_SLOT: state.reserve1}
    elif state.family == "algebra_integral":
        words = algebra_integral.global_words(state)
    elif state.family == "algebra_adaptive":
        words = algebra_state.words(state)
    else:
        base = uniswap_v4.base_slot(state)
        words = {base: uniswap_v4.slot0_word(state), (base + uniswap_v4.LIQUIDITY) & _U256: state.liquidity}
    return {(home_of(state), slot): value for slot, value in words.items()}


def drifting_places(state: Any) -> list[Place]:
    """Words that swaps move, that no event tells, and on which a later swap may fail or its gas depends: they are
    read again after a move."""
    told = set(places_from_logs(state))
    if state.family == "algebra_integral":  # its own book of reserves
        return [place for slot in _ALGEBRA_SLOTS if (place := (state.address, slot)) not in told]
    if state.family == "algebra_adaptive":  # fee growth, the farm, and settings that the pool does not tell
        slots = [slot for slot in range(algebra_state.TICKS_SLOT) if (state.address, slot) not in told]
        return [(state.operator, algebra_state.FEE_CONFIG_SLOT), *((state.address, slot) for slot in slots)]
    if state.family == "solidly":  # fee indices, the number of observations
        return [place for slot in _SOLIDLY_SLOTS if (place := (state.address, slot)) not in told]
    return []


def ring_places(state: Any, words: Mapping[Place, int]) -> list[Place]:
    """The current entry of an oracle ring and those that follow it; of Solidly, the last observation."""
    if state.family in CONCENTRATED:
        slot0 = words.get((state.address, state.layout.slot0), 0)
        return [(state.address, slot) for slot in observation_slots(slot0, state.layout.observations)]
    if state.family == "solidly":
        length = solidly.RESERVE0_SLOT - 3
        count = words.get((state.address, length), 0)
        first = int.from_bytes(keccak(length.to_bytes(32, "big"))) + 3 * (count - 1)
        return [(state.address, (first + word) & _U256) for word in range(6)] if count else []
    return []


def observation_slots(slot0: int, first: int = 8) -> tuple[int, ...]:
    """Slots of a V3 ring that starts at ``first``: the current entry and those that follow it."""
    index, cardinality = slot0 >> 184 & 0xFFFF, slot0 >> 200 & 0xFFFF
    size = max(cardinality, slot0 >> 216 & 0xFFFF, 1)
    return tuple(first + (index + k) % size for k in range(min(size, MAX_OBSERVATIONS)))


def view_calls(state: Any, words: Mapping[Place, int]) -> list[ViewCall]:
    """Calls whose accesses outside the pool a swap makes as well: factories, fee modules, farms."""
    pool = state.address
    if state.family == "solidly":
        factory = _account(words.get((pool, solidly.RESERVE0_SLOT - 4), 0))
        amount_out = (
            selector("getAmountOut(uint256,address)") + _word(state.unit0) + _word(int(state.tokens[0], 16))
        )
        return [ViewCall(pool, amount_out), ViewCall(factory, selector("isPaused()"))]
    if state.family == "algebra_adaptive":
        farm = words.get((pool, algebra_state.LIQUIDITY_SLOT + 1), 0) >> 32
        beside = [
            ViewCall(state.operator, selector("feeConfig()")),
            ViewCall(state.factory, selector("vaultAddress()")),
        ]
        now = selector("increaseCumulative(uint32)") + _word((1 << 32) - 1)
        return [*beside, ViewCall(_account(farm), now, pool)] if farm else beside
    if state.family == "slipstream":
        return [ViewCall(pool, selector("fee()")), ViewCall(pool, selector("unstakedFee()"))]
    if state.family == "pancakeswap_v3":
        farm = words.get((pool, state.layout.observations + _RING_SIZE), 0)
        if farm:
            reward = selector("accumulateReward(uint32)") + _word((1 << 32) - 1)
            return [ViewCall(_account(farm), reward, pool)]
    return []


def fee_holder(state: Any, words: Mapping[Place, int]) -> Address | None:
    """Who else is paid by a swap: the fee contract of a Solidly pool."""
    if state.family != "solidly":
        return None
    return _account(words.get((state.address, solidly.RESERVE0_SLOT - 5), 0))


def clone_target(code: bytes) -> Address | None:
    """What a minimal proxy (EIP-1167) delegates to; None for other code."""
    if len(code) == 45 and code.startswith(_CLONE_HEAD) and code.endswith(_CLONE_TAIL):
        return "0x" + code[10:30].hex()
    return None


def paid_fee_place(state: Any, delta: Any) -> Place | None:
    """The fee-growth word that a V3 swap made non-zero. Its value is not in the event, but overwriting zero would
    cost 17 100 gas more than overwriting anything else."""
    if state.family not in CONCENTRATED or not hasattr(delta, "sqrt_price_x96") or not hasattr(delta, "amount0"):
        return None
    first = state.layout.slot0 + (2 if state.layout.fee_word else 1)
    return state.address, first if delta.amount0 > 0 else first + 1


def _adaptive_slots(state: Any, words: range) -> Iterator[int]:
    for tick in state.ticks:
        base = mapping_slot(tick, algebra_state.TICKS_SLOT)
        yield from ((base + word) & _U256 for word in words)
    for word in sorted({tick // state.tick_spacing >> 8 for tick in state.ticks}):
        yield mapping_slot(word, algebra_state.BITMAP_SLOT)


def _bitmap_slots(state: Any) -> Iterator[int]:
    words = {tick // state.tick_spacing >> 8 for tick in state.ticks}
    return (mapping_slot(word, state.layout.bitmap) for word in sorted(words))


def _tick_slots(state: Any, words: range | tuple[int, ...]) -> Iterator[int]:
    for tick in state.ticks:
        base = mapping_slot(tick, state.layout.ticks)
        yield from ((base + word) & _U256 for word in words)


def _v4_slots(state: Any, words: range) -> Iterator[int]:
    for tick in state.ticks:
        first = uniswap_v4.tick_slot(state, tick)
        yield from ((first + word) & _U256 for word in words)
    for word in sorted({tick // state.tick_spacing >> 8 for tick in state.ticks}):
        yield uniswap_v4.bitmap_slot(state, word)


def _algebra_slots(state: Any, *, all_words: bool) -> Iterator[int]:
    for tick in (*state.ticks, MIN_TICK, MAX_TICK):
        base = mapping_slot(tick, algebra_integral.TICKS_SLOT)
        yield from ((base + word) & _U256 for word in range(algebra_integral.TICK_WORDS if all_words else 2))
    leaves = {tick >> 8 for tick in state.ticks}
    yield from (mapping_slot(leaf, algebra_integral.LEAFS_SLOT) for leaf in sorted(leaves))
    nodes = {(leaf + algebra_integral.SECOND_LAYER_OFFSET) >> 8 for leaf in leaves}
    yield from (mapping_slot(node, algebra_integral.SECOND_LAYER_SLOT) for node in sorted(nodes))


def _word(value: int) -> bytes:
    return value.to_bytes(32, "big")


def _account(word: int) -> Address:
    return "0x" + (word & (1 << 160) - 1).to_bytes(20, "big").hex()

"""Solidly and its descendants (Velodrome, Aerodrome V1, Equalizer, …): volatile and stable pools, fee per pool.

A swap pays the fee out of the pool first (``floor(in·fee/10^4)``, to a fee contract), then asks that the curve's
invariant of the balances is not below that of the reserves. ``quote_in`` gives ``getAmountOut``, lowered by units
where the pool's own check would refuse it.

Field sources: reserves and accumulators ``from_logs``; fee and pause are set at the factory, of which only some
changes emit events, so they are ``must_refresh``.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import msgspec
import numpy as np

from ouro.hashing import keccak, selector, topic
from ouro.protocols import jsonform, solidly_reading
from ouro.protocols.base import (
    BalanceChange,
    DecodeError,
    ExactHeader,
    Family,
    Limits,
    Quote,
    QuoteError,
    Segments,
    Source,
    StorageWrite,
)
from ouro.protocols.creation import Announcement, CreationReader, Factory, NewPool, address_of
from ouro.protocols.eventdata import data_words, require_address
from ouro.protocols.headers import MAX_SCALED_BITS, STABLE, VOLATILE, packed_header
from ouro.protocols.listings import FactoryList, Listing
from ouro.protocols.proof import Proof
from ouro.protocols.reads import Script, uint_word
from ouro.protocols.solidly_math import BPS, UNIT, invariant, solve_y, stable_out, volatile_out
from ouro.protocols.steps import PairSwap, Shape
from ouro.protocols.storage import Place, ViewCall, account_in
from ouro.protocols.swapevents import in_and_out
from ouro.types import Address, BlockContext, Hop, Log

_U256 = (1 << 256) - 1
MAX_RESERVE = (1 << 128) - 1
"""Beyond this a stable pool's cubes overflow anyway; hostile values are refused early."""

STABLE_POOL_CREATED = topic("PoolCreated(address,address,bool,address,uint256)")
STABLE_PAIR_CREATED = topic("PairCreated(address,address,bool,address,uint256)")
SWAP_TOPIC = topic("Swap(address,address,uint256,uint256,uint256,uint256)")
SYNC_TOPIC = topic("Sync(uint256,uint256)")

# Storage of Aerodrome's Pool (OpenZeppelin 5 ERC20Permit below it).
_OWN_SLOTS = range(32)
_GUARD_SLOT = 0x9B779B17422D0DF92223018B32B4D1FA46E071723D6817E2486D003BECC55F00
"""ERC-7201 place of OpenZeppelin's reentrancy guard."""
FEES_SLOT, FACTORY_SLOT, OBSERVATIONS_SLOT = 13, 14, 15
_FROM_LOGS_SLOTS = range(18, 23)
RESERVE0_SLOT = 18
RESERVE1_SLOT = 19
TIMESTAMP_SLOT = 20
CUMULATIVE0_SLOT = 21
CUMULATIVE1_SLOT = 22

VOLATILE_GAS = 105_000
STABLE_GAS = VOLATILE_GAS + 6_300  # the swap checks the invariant and does not iterate; by receipts
_MOST_LOWERED = 4
_GRID = 40


class SolidlyState(msgspec.Struct, frozen=True):
    """A pool. ``unit*`` are 10^decimals as the pool recorded them; ``fee_bps`` is the factory's for this pool."""

    family: ClassVar[str] = "solidly"

    address: Address
    tokens: tuple[Address, Address]
    stable: bool
    unit0: int
    unit1: int
    reserve0: int
    reserve1: int
    fee_bps: int
    paused: bool = False
    block_timestamp_last: int = 0
    reserve0_cumulative: int = 0
    reserve1_cumulative: int = 0

    @property
    def fee_ppm(self) -> int:
        """The fee in parts per million."""
        return self.fee_bps * 100


class SyncDelta(msgspec.Struct, frozen=True):
    """Reserves after a swap, mint, burn or sync, and the time of the block that changed them."""

    reserve0: int
    reserve1: int
    timestamp: int


def _announced(event: Announcement) -> NewPool:
    flag = int(event.topics[3], 16)
    if flag > 1:
        raise DecodeError(f"stable is {flag}, neither true nor false")
    return event.pool(address_of(event.words[0], "pool"), event.indexed_pair(), stable=bool(flag))


class Solidly(Family):
    """The family; stateless."""

    name: ClassVar[str] = "solidly"
    proof: ClassVar[Proof] = Proof(100_000)
    creations: ClassVar[Mapping[str, CreationReader]] = {
        STABLE_POOL_CREATED: _announced,
        STABLE_PAIR_CREATED: _announced,
    }
    shape: ClassVar[Shape] = Shape.PAIR
    trial: ClassVar[str] = "solidly"
    least_gas: ClassVar[int] = VOLATILE_GAS
    drifts: ClassVar[bool] = True
    topics: ClassVar[tuple[str, ...]] = (SYNC_TOPIC,)
    sources: ClassVar[Mapping[str, Source]] = {
        "address": Source.FIXED,
        "tokens": Source.FIXED,
        "stable": Source.FIXED,
        "unit0": Source.FIXED,
        "unit1": Source.FIXED,
        "reserve0": Source.FROM_LOGS,
        "reserve1": Source.FROM_LOGS,
        "fee_bps": Source.MUST_REFRESH,
        "paused": Source.MUST_REFRESH,
        "block_timestamp_last": Source.FROM_LOGS,
        "reserve0_cumulative": Source.FROM_LOGS,
        "reserve1_cumulative": Source.FROM_LOGS,
    }

    def listing(self, dex: Factory, tokens: Sequence[Address]) -> Listing:
        """Its list of pools, in one of two dialects."""
        return FactoryList(dex, solidly_reading.LIST)

    def read(self, pool: NewPool) -> Script[SolidlyState]:
        """The pool's words, fee and pause of its factory, in one round."""
        found = yield from solidly_reading.fields(pool)
        return SolidlyState(address=pool.address, tokens=(pool.tokens[0], pool.tokens[1]), **found)

    def refresh(self, state: SolidlyState, pool: NewPool) -> Script[SolidlyState]:
        """Fee and pause again."""
        fee_bps, paused = yield from solidly_reading.terms(state.address, state.stable, pool.factory)
        if (fee_bps, paused) == (state.fee_bps, state.paused):
            return state
        return msgspec.structs.replace(state, fee_bps=fee_bps, paused=paused)

    def decode(self, state: SolidlyState, log: Log, timestamp: int) -> SyncDelta | None:
        """Sync only: every other event of a pool comes with one."""
        require_address(log, state.address)
        if not log.topics or log.topics[0] != SYNC_TOPIC:
            return None
        reserve0, reserve1 = data_words(log, 2, "Sync")
        return SyncDelta(reserve0, reserve1, timestamp)

    def apply(self, state: SolidlyState, delta: SyncDelta) -> SolidlyState:
        """The pool after ``delta``."""
        return _updated(state, delta.reserve0, delta.reserve1, delta.timestamp)

    def quote_in(self, state: SolidlyState, i: int, j: int, amount_in_wei: int, context: BlockContext) -> Quote:
        """``getAmountOut``, less the units that the pool's own check would refuse."""
        _check(state, i, j, amount_in_wei)
        return _quote(state, i, amount_in_wei, _amount_out(state, i, amount_in_wei), context)

    def quote_out(self, state: SolidlyState, i: int, j: int, amount_out_wei: int, context: BlockContext) -> Quote:
        """The least input for which ``quote_in`` gives at least this output; the pool then pays exactly it."""
        _check(state, i, j, amount_out_wei)
        reserve_out = state.reserve1 if i == 0 else state.reserve0
        if amount_out_wei >= reserve_out:
            raise QuoteError("insufficient liquidity", 0, 0)
        return _quote(state, i, _amount_in(state, i, amount_out_wei), amount_out_wei, context)

    def spot_rate(self, state: SolidlyState, i: int, j: int) -> float:
        """Marginal output per unit of input, fee included."""
        _direction(i, j)
        x, y, scale = _floats(state, i)
        if not x or not y or state.paused:
            return 0.0
        return _marginal(state.stable, x, y) * scale * (BPS - state.fee_bps) / BPS

    def limits(self, state: SolidlyState, i: int, j: int, context: BlockContext) -> Limits:
        """Ten times the reserve: beyond it a stable pool may not converge, and nothing is left to buy."""
        _direction(i, j)
        reserve_in = state.reserve0 if i == 0 else state.reserve1
        try:
            quote = self.quote_in(state, i, j, 10 * reserve_in, context)
        except QuoteError:
            return Limits(0, 0)
        return Limits(quote.amount_in_wei, quote.amount_out_wei)

    def segments(self, state: SolidlyState, i: int, j: int, context: BlockContext) -> Segments:
        """One piece of a volatile pool; a stable one as pieces that meet its curve at their ends."""
        _direction(i, j)
        reserve_in, reserve_out = _oriented(state, i)
        if not reserve_in or not reserve_out or state.paused:
            return np.empty((0, 4))
        gamma = (BPS - state.fee_bps) / BPS
        if not state.stable:
            return np.array([[reserve_in, reserve_out, gamma, np.inf]], dtype=np.float64)
        return _stable_segments(state, i, gamma)

    def exact_header(self, state: SolidlyState, i: int, j: int) -> ExactHeader | None:
        """Fee, reserves and, of a stable pool, its invariant and scaled reserves where they fit the kernel."""
        _direction(i, j)
        reserve_in, reserve_out = _oriented(state, i)
        if not reserve_in or not reserve_out or state.paused:
            return None
        if not state.stable:
            return ExactHeader(packed_header(VOLATILE, state.fee_bps, reserve_in, reserve_out))
        unit_in, unit_out = _units(state, i)
        x, y = reserve_in * UNIT // unit_in, reserve_out * UNIT // unit_out
        if max(x, y) >> MAX_SCALED_BITS or max(unit_in, unit_out) >> 63:
            return None
        units = unit_in | unit_out << 64
        k = invariant(x, y)
        return ExactHeader(packed_header(STABLE, state.fee_bps, reserve_in, reserve_out, units, k, x, y))

    def storage_writes(self, state: SolidlyState, delta: SyncDelta) -> tuple[StorageWrite | BalanceChange, ...]:
        """Reserves, time and accumulators; the pool's balances equal its reserves after a sync.

        Not derived, because a swap pays the same without it: observations, fee indices and what LPs may claim.
        """
        after = _updated(state, delta.reserve0, delta.reserve1, delta.timestamp)
        words = (
            (RESERVE0_SLOT, state.reserve0, after.reserve0),
            (RESERVE1_SLOT, state.reserve1, after.reserve1),
            (TIMESTAMP_SLOT, state.block_timestamp_last, after.block_timestamp_last),
            (CUMULATIVE0_SLOT, state.reserve0_cumulative, after.reserve0_cumulative),
            (CUMULATIVE1_SLOT, state.reserve1_cumulative, after.reserve1_cumulative),
        )
        writes: list[StorageWrite | BalanceChange] = [
            StorageWrite(state.address, slot, new) for slot, old, new in words if old != new
        ]
        changes = (after.reserve0 - state.reserve0, after.reserve1 - state.reserve1)
        writes += [
            BalanceChange(token, state.address, change)
            for token, change in zip(state.tokens, changes, strict=True)
            if change
        ]
        return tuple(writes)

    def places(self, state: SolidlyState) -> Iterable[Place]:
        """The pool's own words and its guard; observations are in ``ring_places``."""
        return [(state.address, slot) for slot in (*_OWN_SLOTS, _GUARD_SLOT)]

    def places_from_logs(self, state: SolidlyState) -> Iterable[Place]:
        """Reserves, time, accumulators."""
        return [(state.address, slot) for slot in _FROM_LOGS_SLOTS]

    def known_words(self, state: SolidlyState) -> Mapping[Place, int]:
        """The reserves."""
        return {(state.address, RESERVE0_SLOT): state.reserve0, (state.address, RESERVE1_SLOT): state.reserve1}

    def drifting_places(self, state: SolidlyState) -> Iterable[Place]:
        """Fee indices, the number of observations."""
        return [(state.address, slot) for slot in _OWN_SLOTS if slot not in _FROM_LOGS_SLOTS]

    def ring_places(self, state: SolidlyState, words: Mapping[Place, int]) -> Iterable[Place]:
        """The last observation and the one to come."""
        count = words.get((state.address, OBSERVATIONS_SLOT), 0)
        first = int.from_bytes(keccak(OBSERVATIONS_SLOT.to_bytes(32))) + 3 * (count - 1)
        return [(state.address, (first + word) & _U256) for word in range(6)] if count else []

    def view_calls(self, state: SolidlyState, words: Mapping[Place, int]) -> Sequence[ViewCall]:
        """Fee and pause of the factory."""
        factory = account_in(words.get((state.address, FACTORY_SLOT), 0))
        amount_out = _GET_AMOUNT_OUT + uint_word(state.unit0) + uint_word(int(state.tokens[0], 16))
        return [ViewCall(state.address, amount_out), ViewCall(factory, _IS_PAUSED)]

    def other_holders(self, state: SolidlyState, words: Mapping[Place, int]) -> Sequence[Address]:
        """The contract that fees are paid to."""
        return [account_in(words.get((state.address, FEES_SLOT), 0))]

    def encode_swap(self, state: SolidlyState, i: int, j: int) -> PairSwap:
        """As a Uniswap V2 pair."""
        _direction(i, j)
        return PairSwap(state.address, i == 0)

    def swapped(self, hop: Hop, log: Log) -> tuple[int, int] | None:
        """Inputs and outputs are in the event."""
        return in_and_out(log, SWAP_TOPIC, hop.i, hop.j) if log.address == hop.pool else None

    def to_json(self, state: SolidlyState) -> dict[str, Any]:
        """A tagged, JSON-safe form."""
        numbers = ("unit0", "unit1", "reserve0", "reserve1", "reserve0_cumulative", "reserve1_cumulative")
        return {
            "family": self.name,
            "address": state.address,
            "tokens": list(state.tokens),
            "stable": state.stable,
            "fee_bps": state.fee_bps,
            "paused": state.paused,
            "block_timestamp_last": state.block_timestamp_last,
            **{name: str(getattr(state, name)) for name in numbers},
        }

    def from_json(self, value: dict[str, Any]) -> SolidlyState:
        """The inverse of ``to_json``. Raises ``ValueError`` naming the field."""
        found = jsonform.fields(value, self.name, SolidlyState.__struct_fields__)

        def number(field: str, low: int, high: int) -> int:
            return jsonform.integer(found[field], field, low, high)

        return SolidlyState(
            address=jsonform.address(found["address"], "address"),
            tokens=jsonform.token_pair(found["tokens"]),
            stable=jsonform.boolean(found["stable"], "stable"),
            unit0=number("unit0", 1, 10**36),
            unit1=number("unit1", 1, 10**36),
            reserve0=number("reserve0", 0, MAX_RESERVE),
            reserve1=number("reserve1", 0, MAX_RESERVE),
            fee_bps=number("fee_bps", 0, BPS - 1),
            paused=jsonform.boolean(found["paused"], "paused"),
            block_timestamp_last=number("block_timestamp_last", 0, _U256),
            reserve0_cumulative=number("reserve0_cumulative", 0, _U256),
            reserve1_cumulative=number("reserve1_cumulative", 0, _U256),
        )


_GET_AMOUNT_OUT, _IS_PAUSED = selector("getAmountOut(uint256,address)"), selector("isPaused()")


def _direction(i: int, j: int) -> None:
    if (i, j) not in ((0, 1), (1, 0)):
        raise QuoteError(f"a pool has tokens 0 and 1, not {i} and {j}")


def _check(state: SolidlyState, i: int, j: int, amount: int) -> None:
    _direction(i, j)
    if amount <= 0:
        raise QuoteError(f"the amount must be positive, got {amount}")
    if state.paused:
        raise QuoteError("the factory has paused its pools")
    if not state.reserve0 or not state.reserve1:
        raise QuoteError("the pool is empty")


def _oriented(state: SolidlyState, i: int) -> tuple[int, int]:
    return (state.reserve0, state.reserve1) if i == 0 else (state.reserve1, state.reserve0)


def _units(state: SolidlyState, i: int) -> tuple[int, int]:
    return (state.unit0, state.unit1) if i == 0 else (state.unit1, state.unit0)


def _updated(state: SolidlyState, reserve0: int, reserve1: int, timestamp: int) -> SolidlyState:
    """The pool's ``_update``: accumulate the old reserves over the time they stood, then store the new ones."""
    elapsed = timestamp - state.block_timestamp_last
    cumulative0, cumulative1 = state.reserve0_cumulative, state.reserve1_cumulative
    if elapsed > 0 and state.reserve0 and state.reserve1:
        cumulative0 += state.reserve0 * elapsed
        cumulative1 += state.reserve1 * elapsed
    return SolidlyState(
        state.address,
        state.tokens,
        state.stable,
        state.unit0,
        state.unit1,
        reserve0,
        reserve1,
        state.fee_bps,
        state.paused,
        timestamp,
        cumulative0,
        cumulative1,
    )


def _net(amount_in: int, fee_bps: int) -> int:
    return amount_in - amount_in * fee_bps // BPS


def _curve_out(state: SolidlyState, i: int, amount_in: int) -> int:
    reserve_in, reserve_out = _oriented(state, i)
    net = _net(amount_in, state.fee_bps)
    if state.stable:
        return stable_out(net, reserve_in, reserve_out, *_units(state, i))
    return volatile_out(net, reserve_in, reserve_out)


def _accepted(state: SolidlyState, i: int, amount_in: int, amount_out: int) -> bool:
    """The pool's last check: the invariant of the balances after the fee left is not below the reserves'."""
    reserve_in, reserve_out = _oriented(state, i)
    after_in, after_out = reserve_in + _net(amount_in, state.fee_bps), reserve_out - amount_out
    if not state.stable:
        return after_in * after_out >= reserve_in * reserve_out
    unit_in, unit_out = _units(state, i)
    before = invariant(reserve_in * UNIT // unit_in, reserve_out * UNIT // unit_out)
    return invariant(after_in * UNIT // unit_in, after_out * UNIT // unit_out) >= before


def _amount_out(state: SolidlyState, i: int, amount_in: int) -> int:
    amount_out = _curve_out(state, i, amount_in)
    if amount_out >= (state.reserve1 if i == 0 else state.reserve0):
        raise QuoteError("insufficient liquidity")
    for lowered in range(_MOST_LOWERED):
        if amount_out - lowered <= 0:
            break
        if _accepted(state, i, amount_in, amount_out - lowered):
            return amount_out - lowered
    raise QuoteError("insufficient output amount: the input buys less than one unit")


def _gross(net: int, fee_bps: int) -> int:
    """The least input of which ``net`` is left after the fee."""
    amount = net * BPS // (BPS - fee_bps)
    while amount > 0 and _net(amount - 1, fee_bps) >= net:
        amount -= 1
    while _net(amount, fee_bps) < net:
        amount += 1
    return amount


def _amount_in(state: SolidlyState, i: int, amount_out: int) -> int:
    reserve_in, reserve_out = _oriented(state, i)
    if not state.stable:
        return _gross(-(-amount_out * reserve_in // (reserve_out - amount_out)), state.fee_bps)
    unit_in, unit_out = _units(state, i)
    x, y = reserve_in * UNIT // unit_in, reserve_out * UNIT // unit_out
    left = (reserve_out - amount_out) * UNIT // unit_out
    if not left:
        raise QuoteError("insufficient liquidity")
    needed = solve_y(left, invariant(x, y), x) - x
    guess = _gross(max(needed * unit_in // UNIT, 1), state.fee_bps)
    return _least(state, i, amount_out, guess)


def _least(state: SolidlyState, i: int, amount_out: int, guess: int) -> int:
    """The least input that the pool accepts for this output, near ``guess``: its check is monotone in the input."""
    step = 1
    low, high = max(guess - 1, 0), guess
    while not _accepted(state, i, high, amount_out):
        low, high, step = high, high + step, step * 2
    step = 1
    while low > 0 and _accepted(state, i, low, amount_out):
        high, low, step = low, max(low - step, 0), step * 2
    while high - low > 1:
        middle = (low + high) // 2
        if _accepted(state, i, middle, amount_out):
            high = middle
        else:
            low = middle
    return high


def _quote(state: SolidlyState, i: int, amount_in: int, amount_out: int, context: BlockContext) -> Quote:
    net = _net(amount_in, state.fee_bps)
    change0, change1 = (net, -amount_out) if i == 0 else (-amount_out, net)
    after = _updated(state, state.reserve0 + change0, state.reserve1 + change1, context.timestamp)
    return Quote(amount_in, amount_out, STABLE_GAS if state.stable else VOLATILE_GAS, after)


def _floats(state: SolidlyState, i: int) -> tuple[float, float, float]:
    """Reserves in whole tokens, and units of the output token per unit of the input token."""
    reserve_in, reserve_out = _oriented(state, i)
    unit_in, unit_out = _units(state, i)
    return reserve_in / unit_in, reserve_out / unit_out, unit_out / unit_in


def _marginal(stable: bool, x: float, y: float) -> float:
    if not stable:
        return y / x
    return y * (3 * x * x + y * y) / (x * (x * x + 3 * y * y))


def _float_y(x: float, k: float, y: float) -> float:
    for _ in range(MAX_FLOAT_ROUNDS):
        change = (x * y * (x * x + y * y) - k) / (x * (x * x + 3 * y * y))
        y -= change
        if abs(change) <= 1e-15 * y:
            break
    return y


MAX_FLOAT_ROUNDS = 64


def _stable_segments(state: SolidlyState, i: int, gamma: float) -> Segments:
    """Pieces with the curve's own rate at their start and its amount at their end; the last one has no end."""
    x, y, _ = _floats(state, i)
    unit_in, unit_out = _units(state, i)
    k = x * y * (x * x + y * y)
    rows = []
    done, here = 0.0, y
    for end in np.geomspace(1e-3 * min(x, y), 20.0 * max(x, y), _GRID):
        there = _float_y(x + end, k, here)
        width, gained = end - done, here - there
        rate = _marginal(True, x + done, here)
        excess = rate * width - gained
        if not (there > 0 and gained > 0):
            break
        r_in = gained * width / excess if excess > 1e-9 * gained else 1e9 * width
        rows.append((r_in * unit_in, rate * r_in * unit_out, gamma, width * unit_in / gamma))
        done, here = end, there
    if rows:
        rows[-1] = (*rows[-1][:3], np.inf)
    return np.array(rows, dtype=np.float64).reshape(-1, 4)

"""Uniswap V2 and its forks: x·y = k, one fee per DEX.

The pair accepts a swap when ``(balance·D - amount_in·n)`` of both sides multiply to at least ``r0·r1·D²``, with
n/D = 3/1000 in the original and 2/1000 or 25/10000 in forks. Solved for the output with one input, the largest
accepted integer is ``floor(in·(D-n)·r_out / (r_in·D + in·(D-n)))``, which is the routers' ``getAmountOut``; n/D
enters only as a ratio, so parts per million give the same integers as any fork's own denominator.

Field sources: reserves, timestamp and price accumulators ``from_logs`` (every change of them emits ``Sync``).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import msgspec
import numpy as np

from ouro.hashing import selector, topic
from ouro.protocols import jsonform
from ouro.protocols.base import (
    BalanceChange,
    ExactHeader,
    Family,
    Folded,
    Limits,
    Quote,
    QuoteError,
    Segments,
    Source,
    StorageWrite,
)
from ouro.protocols.creation import Announcement, CreationReader, Factory, NewPool, address_of
from ouro.protocols.eventdata import data_words, require_address, uint
from ouro.protocols.headers import CONSTANT_PRODUCT, packed_header
from ouro.protocols.listings import PAIRS, FactoryList, Listing, ListKind
from ouro.protocols.proof import Proof
from ouro.protocols.reads import Answers, Read, Script, answer_words, require_tokens, unsigned
from ouro.protocols.steps import PairSwap, Shape
from ouro.protocols.storage import Place
from ouro.protocols.swapevents import in_and_out
from ouro.types import Address, BlockContext, Hop, Log

PPM = 1_000_000
MAX_RESERVE = (1 << 112) - 1
_U32 = (1 << 32) - 1
_U256 = (1 << 256) - 1

RESERVES_SLOT = 8
PRICE0_CUMULATIVE_SLOT = 9
PRICE1_CUMULATIVE_SLOT = 10

STORAGE_SLOTS = range(14)
FROM_LOGS_SLOTS = (6, 7, 8, 9, 10, 12)
"""token0, token1, reserves, two price accumulators, lock: Uniswap's layout, which its forks kept."""

PAIR_CREATED = topic("PairCreated(address,address,address,uint256)")
PAIR_LIST = ListKind((PAIRS,))

_SYNC_CHARS, _U112_ZEROS = 2 + 128, "0" * (64 - 28)
SYNC_TOPIC = topic("Sync(uint112,uint112)")
SWAP_TOPIC = topic("Swap(address,uint256,uint256,uint256,uint256,address)")

PAIR_CALLS = (
    (selector("token0()"), 4_000),
    (selector("token1()"), 4_000),
    (selector("getReserves()"), 5_000),
    (selector("price0CumulativeLast()"), 4_000),
    (selector("price1CumulativeLast()"), 4_000),
)

SWAP_GAS = 49_500
"""Estimate for ranking: ``pair.swap`` and the transfer into it, cold, plain tokens; see docs/protocols.md."""


class UniswapV2State(msgspec.Struct, frozen=True):
    """A pair. ``price*_cumulative`` are the pair's UQ112x112 accumulators modulo 2^256.

    They and ``block_timestamp_last`` only matter for ``storage_writes``; leave them at zero where nobody needs it.
    """

    family: ClassVar[str] = "uniswap_v2"

    address: Address
    tokens: tuple[Address, Address]
    reserve0: int
    reserve1: int
    fee_ppm: int
    block_timestamp_last: int = 0
    price0_cumulative: int = 0
    price1_cumulative: int = 0


class SyncDelta(msgspec.Struct, frozen=True):
    """Reserves after a swap, mint, burn, sync or skim, and the time of the block that changed them."""

    reserve0: int
    reserve1: int
    timestamp: int


def _updated(state: UniswapV2State, reserve0: int, reserve1: int, timestamp: int) -> UniswapV2State:
    """The pair's ``_update``: accumulate the old price over the time it stood, then store the new reserves."""
    now = timestamp & _U32
    elapsed = (now - state.block_timestamp_last) & _U32
    cumulative0, cumulative1 = state.price0_cumulative, state.price1_cumulative
    if elapsed and state.reserve0 and state.reserve1:
        cumulative0 = (cumulative0 + (state.reserve1 << 112) // state.reserve0 * elapsed) & _U256
        cumulative1 = (cumulative1 + (state.reserve0 << 112) // state.reserve1 * elapsed) & _U256
    return type(state)(
        state.address, state.tokens, reserve0, reserve1, state.fee_ppm, now, cumulative0, cumulative1
    )


def reserves_word(state: UniswapV2State) -> int:
    """Reserves and time packed, as the pair stores them."""
    return state.reserve0 | state.reserve1 << 112 | state.block_timestamp_last << 224


def _check_direction(i: int, j: int) -> None:
    if (i, j) not in ((0, 1), (1, 0)):
        raise QuoteError(f"a pair has tokens 0 and 1, not {i} and {j}")


def _announced(event: Announcement) -> NewPool:
    """The fee is the factory's: a configured one, because the pair does not tell it."""
    pair = address_of(event.words[0], "pair")
    return event.pool(pair, event.indexed_pair(), fee_ppm=event.dex.fee_ppm or 0)


class UniswapV2(Family):
    """The family; stateless. Dialects inherit from it."""

    name: ClassVar[str] = "uniswap_v2"
    kind: ClassVar[type[UniswapV2State]] = UniswapV2State
    proof: ClassVar[Proof] = Proof(100_000)
    creations: ClassVar[Mapping[str, CreationReader]] = {PAIR_CREATED: _announced}
    shape: ClassVar[Shape] = Shape.PAIR
    trial: ClassVar[str] = "pair"
    folds: ClassVar[bool] = True
    least_gas: ClassVar[int] = SWAP_GAS
    topics: ClassVar[tuple[str, ...]] = (SYNC_TOPIC,)
    sources: ClassVar[Mapping[str, Source]] = {
        "address": Source.FIXED,
        "tokens": Source.FIXED,
        "reserve0": Source.FROM_LOGS,
        "reserve1": Source.FROM_LOGS,
        "fee_ppm": Source.FIXED,
        "block_timestamp_last": Source.FROM_LOGS,
        "price0_cumulative": Source.FROM_LOGS,
        "price1_cumulative": Source.FROM_LOGS,
    }

    def listing(self, dex: Factory, tokens: Sequence[Address]) -> Listing:
        """Its list of pairs."""
        return FactoryList(dex, PAIR_LIST)

    def read(self, pool: NewPool) -> Script[UniswapV2State]:
        """Tokens, reserves and accumulators in one round; the fee is what the dex is configured with."""
        answers = yield [Read(pool.address, data, gas) for data, gas in PAIR_CALLS]
        return self.state_of(pool, answers, pool.fee_ppm)

    def state_of(self, pool: NewPool, answers: Answers, fee_ppm: int) -> UniswapV2State:
        """The state of the answers that every pair gives, with a fee from elsewhere. Raises ``Garbage``."""
        token0, token1, reserves, cumulative0, cumulative1 = answers
        require_tokens((token0, token1), pool.tokens)
        reserve0, reserve1, timestamp = answer_words(reserves, 3, "getReserves()")
        return self.kind(
            address=pool.address,
            tokens=(pool.tokens[0], pool.tokens[1]),
            reserve0=unsigned(reserve0, 112, "reserve0"),
            reserve1=unsigned(reserve1, 112, "reserve1"),
            fee_ppm=fee_ppm,
            block_timestamp_last=unsigned(timestamp, 32, "blockTimestampLast"),
            price0_cumulative=answer_words(cumulative0, 1, "price0CumulativeLast()")[0],
            price1_cumulative=answer_words(cumulative1, 1, "price1CumulativeLast()")[0],
        )

    def decode(self, state: UniswapV2State, log: Log, timestamp: int) -> SyncDelta | None:
        """Sync only: every other event of a pair is followed by one."""
        require_address(log, state.address)
        if not log.topics or log.topics[0] != SYNC_TOPIC:
            return None
        reserve0, reserve1 = data_words(log, 2, "Sync")
        return SyncDelta(uint(reserve0, 112, "reserve0"), uint(reserve1, 112, "reserve1"), timestamp)

    def apply(self, state: UniswapV2State, delta: SyncDelta) -> UniswapV2State:
        """The pair after ``delta``."""
        return _updated(state, delta.reserve0, delta.reserve1, delta.timestamp)

    def fold(self, state: UniswapV2State, logs: Sequence[Log], timestamp: int) -> Folded | None:
        """The last ``Sync`` is all that matters: each replaces the reserves, and the accumulators move with the
        block's first alone, because no time passes within a block."""
        for log in logs:
            data = log.data
            if (
                log.topics[0] != SYNC_TOPIC
                or len(data) != _SYNC_CHARS
                or not data.startswith(_U112_ZEROS, 2)
                or not data.startswith(_U112_ZEROS, 66)
            ):
                return None
        delta = self.decode(state, logs[-1], timestamp)
        return None if delta is None else (self.apply(state, delta), [(state, delta)])

    def quote_in(self, state: UniswapV2State, i: int, j: int, amount_in_wei: int, context: BlockContext) -> Quote:
        """The largest output the pair accepts for this input."""
        _check_direction(i, j)
        reserve_in, reserve_out = _oriented(state, i)
        if amount_in_wei <= 0:
            raise QuoteError(f"amount in must be positive, got {amount_in_wei}")
        if not reserve_in or not reserve_out:
            raise QuoteError("the pair is empty")
        room = MAX_RESERVE - reserve_in
        if amount_in_wei > room:
            most = _amount_out(reserve_in, reserve_out, room, state.fee_ppm)
            raise QuoteError("the balance would overflow uint112", room, most)
        amount_out = _amount_out(reserve_in, reserve_out, amount_in_wei, state.fee_ppm)
        if not amount_out:
            raise QuoteError("insufficient output amount: the input buys less than one unit")
        return _quote(state, i, amount_in_wei, amount_out, context)

    def quote_out(self, state: UniswapV2State, i: int, j: int, amount_out_wei: int, context: BlockContext) -> Quote:
        """The routers' ``getAmountIn``: the quotient plus one, also where the division leaves no remainder."""
        _check_direction(i, j)
        reserve_in, reserve_out = _oriented(state, i)
        if amount_out_wei <= 0:
            raise QuoteError(f"amount out must be positive, got {amount_out_wei}")
        if not reserve_in or not reserve_out:
            raise QuoteError("the pair is empty")
        room = MAX_RESERVE - reserve_in
        kept_ppm = PPM - state.fee_ppm
        amount_in = room + 1
        if amount_out_wei < reserve_out:
            amount_in = reserve_in * amount_out_wei * PPM // ((reserve_out - amount_out_wei) * kept_ppm) + 1
        if amount_in > room:
            most = _amount_out(reserve_in, reserve_out, room, state.fee_ppm)
            raise QuoteError("insufficient liquidity", room, most)
        return _quote(state, i, amount_in, amount_out_wei, context)

    def spot_rate(self, state: UniswapV2State, i: int, j: int) -> float:
        """Marginal output per unit of input, fee included."""
        _check_direction(i, j)
        reserve_in, reserve_out = _oriented(state, i)
        if not reserve_in or not reserve_out:
            return 0.0
        return reserve_out / reserve_in * ((PPM - state.fee_ppm) / PPM)

    def limits(self, state: UniswapV2State, i: int, j: int, context: BlockContext) -> Limits:
        """What fits below the largest balance a pair can record."""
        _check_direction(i, j)
        reserve_in, reserve_out = _oriented(state, i)
        if not reserve_in or not reserve_out:
            return Limits(0, 0)
        room = MAX_RESERVE - reserve_in
        return Limits(room, _amount_out(reserve_in, reserve_out, room, state.fee_ppm))

    def segments(self, state: UniswapV2State, i: int, j: int, context: BlockContext) -> Segments:
        """One piece that never ends."""
        _check_direction(i, j)
        reserve_in, reserve_out = _oriented(state, i)
        if not reserve_in or not reserve_out:
            return np.empty((0, 4))
        return np.array([[reserve_in, reserve_out, (PPM - state.fee_ppm) / PPM, np.inf]])

    def exact_header(self, state: UniswapV2State, i: int, j: int) -> ExactHeader | None:
        """Fee and reserves in the direction of travel."""
        _check_direction(i, j)
        reserve_in, reserve_out = _oriented(state, i)
        if not reserve_in or not reserve_out:
            return None
        return ExactHeader(packed_header(CONSTANT_PRODUCT, state.fee_ppm, reserve_in, reserve_out))

    def storage_writes(self, state: UniswapV2State, delta: SyncDelta) -> tuple[StorageWrite | BalanceChange, ...]:
        """Reserves, price accumulators and the pair's token balances (which equal the reserves after a sync)."""
        after = _updated(state, delta.reserve0, delta.reserve1, delta.timestamp)
        writes: list[StorageWrite | BalanceChange] = [
            StorageWrite(state.address, RESERVES_SLOT, reserves_word(after))
        ]
        if after.price0_cumulative != state.price0_cumulative:
            writes.append(StorageWrite(state.address, PRICE0_CUMULATIVE_SLOT, after.price0_cumulative))
        if after.price1_cumulative != state.price1_cumulative:
            writes.append(StorageWrite(state.address, PRICE1_CUMULATIVE_SLOT, after.price1_cumulative))
        changes = (after.reserve0 - state.reserve0, after.reserve1 - state.reserve1)
        writes += [
            BalanceChange(token, state.address, change)
            for token, change in zip(state.tokens, changes, strict=True)
            if change
        ]
        return tuple(writes)

    def places(self, state: UniswapV2State) -> Iterable[Place]:
        """The whole pair."""
        return [(state.address, slot) for slot in STORAGE_SLOTS]

    def places_from_logs(self, state: UniswapV2State) -> Iterable[Place]:
        """Without kLast, the total supply and the liquidity tokens, which no swap reads."""
        return [(state.address, slot) for slot in FROM_LOGS_SLOTS]

    def known_words(self, state: UniswapV2State) -> Mapping[Place, int]:
        """The packed reserves."""
        return {(state.address, RESERVES_SLOT): reserves_word(state)}

    def swap_places(self, state: UniswapV2State, i: int, j: int) -> Iterable[Place]:
        """Tokens, reserves, accumulators and lock, whatever the amount."""
        return self.places_from_logs(state)

    def encode_swap(self, state: UniswapV2State, i: int, j: int) -> PairSwap:
        """A pair's swap, by exact output."""
        _check_direction(i, j)
        return PairSwap(state.address, i == 0)

    def swapped(self, hop: Hop, log: Log) -> tuple[int, int] | None:
        """Inputs and outputs are in the event."""
        return in_and_out(log, SWAP_TOPIC, hop.i, hop.j) if log.address == hop.pool else None

    def to_json(self, state: UniswapV2State) -> dict[str, Any]:
        """A tagged, JSON-safe form."""
        return {
            "family": self.name,
            "address": state.address,
            "tokens": list(state.tokens),
            "reserve0": str(state.reserve0),
            "reserve1": str(state.reserve1),
            "fee_ppm": state.fee_ppm,
            "block_timestamp_last": state.block_timestamp_last,
            "price0_cumulative": str(state.price0_cumulative),
            "price1_cumulative": str(state.price1_cumulative),
        }

    def from_json(self, value: dict[str, Any]) -> UniswapV2State:
        """The inverse of ``to_json``. Raises ``ValueError`` naming the field."""
        found = jsonform.fields(value, self.name, UniswapV2State.__struct_fields__)
        return self.kind(
            address=jsonform.address(found["address"], "address"),
            tokens=jsonform.token_pair(found["tokens"]),
            reserve0=jsonform.integer(found["reserve0"], "reserve0", 0, MAX_RESERVE),
            reserve1=jsonform.integer(found["reserve1"], "reserve1", 0, MAX_RESERVE),
            fee_ppm=jsonform.integer(found["fee_ppm"], "fee_ppm", 0, PPM - 1),
            block_timestamp_last=jsonform.integer(found["block_timestamp_last"], "block_timestamp_last", 0, _U32),
            price0_cumulative=jsonform.integer(found["price0_cumulative"], "price0_cumulative", 0, _U256),
            price1_cumulative=jsonform.integer(found["price1_cumulative"], "price1_cumulative", 0, _U256),
        )


def _oriented(state: UniswapV2State, i: int) -> tuple[int, int]:
    return (state.reserve0, state.reserve1) if i == 0 else (state.reserve1, state.reserve0)


def _amount_out(reserve_in: int, reserve_out: int, amount_in: int, fee_ppm: int) -> int:
    kept = amount_in * (PPM - fee_ppm)
    return kept * reserve_out // (reserve_in * PPM + kept)


def _quote(state: UniswapV2State, i: int, amount_in: int, amount_out: int, context: BlockContext) -> Quote:
    change0, change1 = (amount_in, -amount_out) if i == 0 else (-amount_out, amount_in)
    after = _updated(state, state.reserve0 + change0, state.reserve1 + change1, context.timestamp)
    return Quote(amount_in, amount_out, SWAP_GAS, after)

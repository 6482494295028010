"""LFJ's Liquidity Book (v2.1, v2.2): constant-sum bins, a fee that grows with each bin crossed and fades in time.

Field sources: everything comes with logs (a swap logs each bin it goes through); the references that the executing
block's first swap will take are a function of its time. Hooks on swaps (v2.2) are refused.
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, ClassVar

import msgspec
import numpy as np

from ouro.hashing import selector, topic
from ouro.protocols import liquidity_book_state as book_state
from ouro.protocols.base import (
    DecodeError,
    ExactHeader,
    Limits,
    Quote,
    QuoteError,
    Segments,
    Source,
)
from ouro.protocols.creation import Announcement, CreationReader, NewPool, address_of
from ouro.protocols.eventdata import require_address
from ouro.protocols.kernels.bins import BIN_ROW, BINS
from ouro.protocols.kernels.concentrated import HEADER
from ouro.protocols.liquidity_book_math import (
    FEE_UNIT,
    MAX_AMOUNT,
    BinStep,
    Filled,
    Volatility,
    at_time,
    filled,
    in_bin,
    least_within,
    steps,
    within,
)
from ouro.protocols.liquidity_book_state import BookDelta, LiquidityBookState
from ouro.protocols.probes import Probe
from ouro.protocols.reads import Garbage, Read, Script, answer_words, uint_word, unsigned, words
from ouro.protocols.steps import BinSwap, Shape
from ouro.protocols.storage import Place, ViewCall
from ouro.protocols.swapevents import event_words, plausible
from ouro.protocols.unknown_layout import UnknownLayout
from ouro.types import BlockContext, Hop, Log

PAIR_CREATED = topic("LBPairCreated(address,address,uint256,address,uint256)")
SWAP_HOOKS = 0b11 << 160
"""beforeSwap and afterSwap in the hooks word."""
_VIEW = "getSwapOut(uint128,bool)"
SWAP_GAS = 75_000
BIN_GAS = 23_000
"""Of the first bin with all that surrounds it, and of every further one."""
_WINDOWS = (64, 512, 4096)
_MOST_ROWS = 256
_LINEAR = 1e12  # a piece so wide that it is straight to the last digits of a float


def _announced(event: Announcement) -> NewPool:
    tokens = event.indexed_pair()
    if tokens[0] == tokens[1]:
        raise DecodeError(f"both tokens are {tokens[0]}")
    return event.pool(address_of(event.words[0], "LBPair"), tokens)


class LiquidityBook(UnknownLayout):
    """The family; stateless."""

    name: ClassVar[str] = "liquidity_book"
    topics: ClassVar[tuple[str, ...]] = (
        book_state.SWAP,
        book_state.DEPOSITED,
        book_state.WITHDRAWN,
        book_state.COMPOSITION,
        book_state.FLASH_LOAN,
        book_state.FEES_SET,
        book_state.FORCED_DECAY,
        book_state.HOOKS_SET,
    )
    sources: ClassVar[Mapping[str, Source]] = {
        **dict.fromkeys(("address", "tokens", "bin_step"), Source.FIXED),
        **dict.fromkeys(("active_id", "bins", "fees", "volatility", "hooks"), Source.FROM_LOGS),
        "as_of": Source.FROM_TIME,
    }
    shape: ClassVar[Shape] = Shape.BINS
    least_gas: ClassVar[int] = SWAP_GAS
    balances_told: ClassVar[bool] = False
    drifts: ClassVar[bool] = True
    follows_clock: ClassVar[bool] = True

    # ------------------------------------------------------------------------------------------- finding, reading

    creations: ClassVar[Mapping[str, CreationReader]] = {PAIR_CREATED: _announced}

    def read(self, pool: NewPool) -> Script[LiquidityBookState]:
        """Parameters in one round, then bins around the active one until they hold all reserves."""
        answers = yield [_call(pool.address, name) for name in _GETTERS]
        active, step, token_x, token_y = (answer_words(answers[k], 1, _GETTERS[k])[0] for k in range(4))
        fees = answer_words(answers[4], 7, _GETTERS[4])
        volatility = answer_words(answers[5], 4, _GETTERS[5])
        held, owed = (answer_words(answers[k], 2, _GETTERS[k]) for k in (6, 7))
        hooks = words(answers[8] or b"")
        tokens = tuple("0x" + unsigned(token, 160, "token").to_bytes(20).hex() for token in (token_x, token_y))
        if pool.tokens and tokens != tuple(pool.tokens):
            raise Garbage(f"its tokens are {tokens}, the factory announced {pool.tokens}")
        bins = yield from _read_bins(
            pool.address, unsigned(active, 24, "activeId"), (held[0] - owed[0], held[1] - owed[1])
        )
        return LiquidityBookState(
            address=pool.address,
            tokens=(tokens[0], tokens[1]),
            bin_step=unsigned(step, 16, "binStep"),
            active_id=active,
            bins=bins,
            fees=book_state.FeeParameters(*fees),
            volatility=Volatility(*volatility),
            hooks=hooks[0] if len(hooks) == 1 else 0,
        )

    # --------------------------------------------------------------------------------------------------- following

    def decode(self, state: LiquidityBookState, log: Log, timestamp: int) -> BookDelta | None:
        """The delta of a log of the pair."""
        require_address(log, state.address)
        return book_state.decoded(log, timestamp)

    def apply(self, state: LiquidityBookState, delta: BookDelta) -> LiquidityBookState:
        """The pair after ``delta``."""
        return book_state.applied(state, delta)

    def at(self, state: LiquidityBookState, timestamp: int) -> LiquidityBookState:
        """The pair with the references that the first swap at this time takes."""
        if state.as_of == timestamp:
            return state
        fresh = at_time(state.fees, state.volatility, state.active_id, timestamp)
        return msgspec.structs.replace(state, volatility=fresh, as_of=timestamp)

    # ----------------------------------------------------------------------------------------------------- quoting

    def quote_in(
        self, state: LiquidityBookState, i: int, j: int, amount_in_wei: int, context: BlockContext
    ) -> Quote:
        """``getSwapOut`` where all of the input is taken."""
        now = _ready(self, state, i, j, amount_in_wei, context)
        if amount_in_wei > MAX_AMOUNT:
            raise QuoteError("the amount would leave 128 bits")
        left, out, parts = amount_in_wei, 0, []
        for step in _steps(now, i == 0):
            taken = min(left, step.gross)
            got = step.out if taken == step.gross else within(step, taken, i == 0)
            parts.append(filled(step, taken, got, state.fees.protocol_share))
            left, out = left - taken, out + got
            if not left:
                break
        if left:
            raise QuoteError("the liquidity ends", amount_in_wei - left, out)
        if not out:
            raise QuoteError("the input buys less than one unit")
        return Quote(amount_in_wei, out, SWAP_GAS + BIN_GAS * (len(parts) - 1), _after(now, parts, i == 0))

    def quote_out(
        self, state: LiquidityBookState, i: int, j: int, amount_out_wei: int, context: BlockContext
    ) -> Quote:
        """The least input for which the pair gives at least this output."""
        now = _ready(self, state, i, j, amount_out_wei, context)
        left, needed = amount_out_wei, 0
        for step in _steps(now, i == 0):
            if left <= step.out:
                return self.quote_in(state, i, j, needed + least_within(step, left, i == 0), context)
            left, needed = left - step.out, needed + step.gross
        raise QuoteError("the liquidity ends", needed, amount_out_wei - left)

    def time_key(self, state: LiquidityBookState, context: BlockContext) -> Any:
        """The references that the first swap of the block takes."""
        return self.at(state, context.timestamp).volatility._replace(updated=0)

    def probe(
        self, state: LiquidityBookState, i: int, j: int, amount_in_wei: int, context: BlockContext
    ) -> Probe | None:
        """``getSwapOut``: what is left of the input, the output, the fee."""
        expected = self.quote_in(state, i, j, amount_in_wei, context).amount_out_wei
        data = _call(state.address, _VIEW, amount_in_wei, int(i == 0)).data
        return Probe(Read(state.address, data, 2_000_000), expected, f"{_VIEW} {amount_in_wei} {i == 0}", 1)

    def spot_rate(self, state: LiquidityBookState, i: int, j: int) -> float:
        """Marginal output per unit of input, fee included, at ``as_of`` or at the time of the last swap."""
        _direction(i, j)
        if state.hooks & SWAP_HOOKS:
            return 0.0
        try:
            for step in _steps(self.at(state, state.as_of or state.volatility.updated), i == 0):
                return _rate(step, i == 0)
        except QuoteError:  # a fee that the pair itself refuses
            return 0.0
        return 0.0

    def limits(self, state: LiquidityBookState, i: int, j: int, context: BlockContext) -> Limits:
        """All that the bins take."""
        _direction(i, j)
        if state.hooks & SWAP_HOOKS:
            return Limits(0, 0)
        most_in, most_out = 0, 0
        try:
            for step in _steps(self.at(state, context.timestamp), i == 0):
                if most_in + step.gross > MAX_AMOUNT:
                    break
                most_in, most_out = most_in + step.gross, most_out + step.out
        except QuoteError:  # a bin that the pair itself can't price ends the way
            pass
        return Limits(most_in, most_out)

    def segments(self, state: LiquidityBookState, i: int, j: int, context: BlockContext) -> Segments:
        """A straight piece per bin."""
        _direction(i, j)
        rows = []
        if not state.hooks & SWAP_HOOKS:
            try:
                for step in _steps(self.at(state, context.timestamp), i == 0):
                    wide = _LINEAR * step.gross
                    rows.append((wide, wide * _rate(step, i == 0), 1.0, float(step.gross)))
            except QuoteError:
                pass
        return np.array(rows, dtype=np.float64).reshape(-1, 4)

    def exact_header(self, state: LiquidityBookState, i: int, j: int) -> ExactHeader | None:
        """The bins' table of one block: for a state that ``at`` made."""
        _direction(i, j)
        if not state.as_of or state.hooks & SWAP_HOOKS:
            return None
        return _header(state, i == 0)

    # ------------------------------------------------------------------------------------------ storage, executing

    def view_calls(self, state: LiquidityBookState, words: Mapping[Place, int]) -> Sequence[ViewCall]:
        """``getSwapOut`` in both directions touches what a swap does."""
        data = (_call(state.address, _VIEW, 10**6, way).data for way in (0, 1))
        return tuple(ViewCall(state.address, one) for one in data)

    def encode_swap(self, state: LiquidityBookState, i: int, j: int) -> BinSwap:
        """``swap(swapForY, to)`` after a transfer."""
        _direction(i, j)
        return BinSwap(state.address, i == 0)

    def swapped(self, hop: Hop, log: Log) -> tuple[int, int] | None:
        """One bin's part of a swap in the hop's direction, fees included."""
        part = _part(hop, log)
        return plausible(part[1], part[2]) if part is not None else None

    def realised(self, hop: Hop, logs: Sequence[Log]) -> tuple[int | None, int | None] | None:
        """The sum over the bins of one swap: each bin that it goes through has an event of its own.

        One swap goes one way and through each bin once; anything else is more than one swap, or none of ours.
        """
        here = [log for log in logs if log.address == hop.pool and log.topics and log.topics[0] == book_state.SWAP]
        parts = [_part(hop, log) for log in here]
        told = [part for part in parts if part is not None]
        step = -1 if hop.i == 0 else 1
        if len(told) != len(parts) or any((b[0] - a[0]) * step <= 0 for a, b in pairwise(told)):
            return None
        return plausible(sum(part[1] for part in told), sum(part[2] for part in told))

    def to_json(self, state: LiquidityBookState) -> dict[str, Any]:
        """A tagged, JSON-safe form."""
        return book_state.to_json(state)

    def from_json(self, value: dict[str, Any]) -> LiquidityBookState:
        """The inverse of ``to_json``. Raises ``ValueError`` naming the field."""
        return book_state.from_json(value)


_GETTERS = (
    "getActiveId()",
    "getBinStep()",
    "getTokenX()",
    "getTokenY()",
    "getStaticFeeParameters()",
    "getVariableFeeParameters()",
    "getReserves()",
    "getProtocolFees()",
    "getLBHooksParameters()",
)


def _call(pair: str, signature: str, *arguments: int) -> Read:
    return Read(pair, selector(signature) + b"".join(uint_word(value) for value in arguments), 60_000)


def _read_bins(pair: str, active_id: int, reserves: tuple[int, int]) -> Script[book_state.Bins]:
    """Bins in growing windows around the active one, until their sums are the pair's reserves."""
    entries: dict[int, tuple[int, int]] = {}
    low = high = active_id
    for window in _WINDOWS:
        first, last = max(active_id - window, 0), min(active_id + window, book_state.MAX_ID)
        wanted = [k for k in range(first, last + 1) if not (entries or low != high) or k < low or k > high]
        answers = yield [_call(pair, "getBin(uint24)", k) for k in wanted]
        for bin_id, answer in zip(wanted, answers, strict=True):
            x, y = answer_words(answer, 2, "getBin(uint24)")
            if x or y:
                entries[bin_id] = unsigned(x, 128, "binReserveX"), unsigned(y, 128, "binReserveY")
        low, high = first, last
        if tuple(sum(held[k] for held in entries.values()) for k in (0, 1)) == reserves:
            return book_state.Bins(entries)
    raise Garbage(f"its bins lie further than {_WINDOWS[-1]} from the active one")


def _part(hop: Hop, log: Log) -> tuple[int, int, int] | None:
    """(bin, input with fees, output) of a bin's event in the hop's direction, else None."""
    if log.address != hop.pool or not log.topics or log.topics[0] != book_state.SWAP:
        return None
    found = event_words(log)
    if len(found) != 6:
        return None
    paid, got, protocol = (book_state.unpacked(found[k]) for k in (1, 2, 5))
    if paid[hop.j] or protocol[hop.j] or got[hop.i]:
        return None
    return found[0], paid[hop.i] + protocol[hop.i], got[hop.j]


def _direction(i: int, j: int) -> None:
    if (i, j) not in ((0, 1), (1, 0)):
        raise QuoteError(f"a pair has tokens 0 and 1, not {i} and {j}")


def _ready(
    family: LiquidityBook, state: LiquidityBookState, i: int, j: int, amount: int, context: BlockContext
) -> LiquidityBookState:
    _direction(i, j)
    if amount <= 0:
        raise QuoteError(f"the amount must be positive, got {amount}")
    if state.hooks & SWAP_HOOKS:
        raise QuoteError("the pair's hooks take part in swaps")
    return family.at(state, context.timestamp)


def _steps(state: LiquidityBookState, swap_for_y: bool) -> Iterable[BinStep]:
    path = state.bins.path(state.active_id, swap_for_y)
    return steps(state.bins, path, state.fees, state.volatility, state.bin_step, swap_for_y)


def _rate(step: BinStep, swap_for_y: bool) -> float:
    price = step.price / 2.0**128
    return (price if swap_for_y else 1.0 / price) * (1.0 - step.fee / FEE_UNIT)


def _after(state: LiquidityBookState, parts: Sequence[Filled], swap_for_y: bool) -> LiquidityBookState:
    """The pair after a swap: the protocol's share leaves the bins."""
    changes = {}
    for part in parts:
        kept = part.gross - part.protocol_fee
        changes[part.bin_id] = (kept, -part.out) if swap_for_y else (-part.out, kept)
    last = parts[-1].bin_id
    volatility = in_bin(state.fees, state.volatility, last)
    return msgspec.structs.replace(
        state, bins=state.bins.changed(changes), active_id=last, volatility=volatility, as_of=0
    )


def _header(state: LiquidityBookState, swap_for_y: bool) -> ExactHeader | None:
    """The table of the first bins on the way; beyond them only Python quotes."""
    rows: list[bytes] = []
    gross, out, complete = 0, 0, True
    try:
        for step in _steps(state, swap_for_y):
            if len(rows) == _MOST_ROWS or gross + step.gross > MAX_AMOUNT:
                complete = False
                break
            sums = gross.to_bytes(32, "little") + out.to_bytes(32, "little")
            end = step.out.to_bytes(16, "little") + struct.pack("<2Q", step.fee, 0)
            rows.append(sums + step.price.to_bytes(32, "little") + end)
            gross, out = gross + step.gross, out + step.out
    except QuoteError:
        complete = False
    if not rows:
        return None
    rows.append(gross.to_bytes(32, "little") + out.to_bytes(32, "little") + bytes(64))
    table = np.frombuffer(bytearray(b"".join(rows)), dtype=np.uint64)
    assert len(table) == BIN_ROW * len(rows)
    head = struct.pack("<5Q", BINS, table.ctypes.data, len(rows) - 1, swap_for_y, complete)
    return ExactHeader(head.ljust(8 * HEADER, b"\0"), table)

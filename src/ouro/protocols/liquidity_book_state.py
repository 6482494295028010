"""Liquidity Book pairs as values: bins, fee parameters, JSON form, and what a log does to them."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, ClassVar

import msgspec

from ouro.hashing import topic
from ouro.protocols import jsonform
from ouro.protocols.base import DecodeError
from ouro.protocols.curve_stable_events import dynamic_words
from ouro.protocols.eventdata import data_words, uint
from ouro.protocols.liquidity_book_math import (
    BPS,
    MAX_AMOUNT,
    MAX_ID,
    FeeParameters,
    Volatility,
    at_time,
    in_bin,
)
from ouro.types import Address, Log

SWAP = topic("Swap(address,address,uint24,bytes32,bytes32,uint24,bytes32,bytes32)")
DEPOSITED = topic("DepositedToBins(address,address,uint256[],bytes32[])")
WITHDRAWN = topic("WithdrawnFromBins(address,address,uint256[],bytes32[])")
COMPOSITION = topic("CompositionFees(address,uint24,bytes32,bytes32)")
FLASH_LOAN = topic("FlashLoan(address,address,uint24,bytes32,bytes32,bytes32)")
FEES_SET = topic("StaticFeeParametersSet(address,uint16,uint16,uint16,uint16,uint24,uint16,uint24)")
FORCED_DECAY = topic("ForcedDecay(address,uint24,uint24)")
HOOKS_SET = topic("HooksParametersSet(address,bytes32)")
NO_FEES = FeeParameters(0, 0, 0, 0, 0, 0, 0)
NO_VOLATILITY = Volatility(0, 0, 0, 0)
_FEE_BITS = (16, 12, 12, 14, 24, 14, 20)
_VOLATILITY_BITS = (20, 20, 24, 40)


class Bins(Mapping[int, tuple[int, int]]):
    """Reserves (X, Y) by bin id, without empty bins; never changed in place."""

    def __init__(self, entries: Mapping[int, tuple[int, int]]) -> None:
        self._entries = {bin_id: entries[bin_id] for bin_id in sorted(entries) if any(entries[bin_id])}

    def __getitem__(self, bin_id: int) -> tuple[int, int]:
        return self._entries[bin_id]

    def __iter__(self) -> Iterator[int]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Bins) and self._entries == other._entries

    def __hash__(self) -> int:
        return hash(tuple(self._entries.items()))

    def __repr__(self) -> str:
        return f"Bins({self._entries})"

    @cached_property
    def ids(self) -> tuple[int, ...]:
        """Ascending."""
        return tuple(self._entries)

    def path(self, active_id: int, swap_for_y: bool) -> Iterator[int]:
        """The active bin, then those that a swap goes on to: downwards where X goes in."""
        yield active_id
        if swap_for_y:
            yield from reversed(self.ids[: bisect_left(self.ids, active_id)])
        else:
            yield from self.ids[bisect_right(self.ids, active_id) :]

    def changed(self, changes: Mapping[int, tuple[int, int]]) -> "Bins":
        """With reserves changed by these amounts. Raises ``DecodeError`` below zero or beyond 128 bits."""
        entries = dict(self._entries)
        for bin_id, (by_x, by_y) in changes.items():
            x, y = entries.get(bin_id, (0, 0))
            if not (0 <= x + by_x <= MAX_AMOUNT and 0 <= y + by_y <= MAX_AMOUNT):
                raise DecodeError(f"bin {bin_id} has {x} and {y}, the log changes them by {by_x} and {by_y}")
            entries[bin_id] = x + by_x, y + by_y
        return Bins(entries)


EMPTY_BINS = Bins({})


class LiquidityBookState(msgspec.Struct, frozen=True):
    """A pair; ``tokens`` are X and Y. ``hooks`` is the packed word of v2.2, 0 without.

    ``as_of``: the time that ``at`` made the state for (its references are that block's), 0 where logs did.
    """

    family: ClassVar[str] = "liquidity_book"

    address: Address
    tokens: tuple[Address, Address]
    bin_step: int
    active_id: int
    bins: Bins = EMPTY_BINS
    fees: FeeParameters = NO_FEES
    volatility: Volatility = NO_VOLATILITY
    hooks: int = 0
    as_of: int = 0


class BinsDelta(msgspec.Struct, frozen=True):
    """Reserves by bin changed: a deposit, a withdrawal, a flash loan's fee."""

    changes: tuple[tuple[int, int, int], ...]


class SwapDelta(msgspec.Struct, frozen=True):
    """One bin's part of a swap: what stayed in the bin, what left it, and the accumulator there."""

    bin_id: int
    x: int
    y: int
    accumulator: int
    timestamp: int


class CompositionDelta(msgspec.Struct, frozen=True):
    """A deposit swapped inside the active bin: the volatility was brought up to date."""

    timestamp: int


class FeesDelta(msgspec.Struct, frozen=True):
    """New fee parameters."""

    fees: FeeParameters


class DecayDelta(msgspec.Struct, frozen=True):
    """The factory let the volatility decay. (The event tells the values before it.)"""


class HooksDelta(msgspec.Struct, frozen=True):
    """New hooks."""

    hooks: int


BookDelta = BinsDelta | SwapDelta | CompositionDelta | FeesDelta | DecayDelta | HooksDelta


def unpacked(word: int) -> tuple[int, int]:
    """X in the lower half, Y in the upper."""
    return word & MAX_AMOUNT, word >> 128


def decoded(log: Log, timestamp: int) -> BookDelta | None:
    """The delta of a log of the pair. Raises ``DecodeError``."""
    first = log.topics[0] if log.topics else ""
    if first == SWAP:
        bin_id, paid, got, accumulator, _, _ = data_words(log, 6, "Swap")
        (x_in, y_in), (x_out, y_out) = unpacked(paid), unpacked(got)
        return SwapDelta(
            uint(bin_id, 24, "id"), x_in - x_out, y_in - y_out, uint(accumulator, 24, "accumulator"), timestamp
        )
    if first in (DEPOSITED, WITHDRAWN):
        return _bins_delta(log, 1 if first == DEPOSITED else -1)
    if first == COMPOSITION:
        return CompositionDelta(timestamp)
    if first == FLASH_LOAN:
        bin_id, _, total, protocol = data_words(log, 4, "FlashLoan")
        (x, y), (protocol_x, protocol_y) = unpacked(total), unpacked(protocol)
        return BinsDelta(((uint(bin_id, 24, "id"), x - protocol_x, y - protocol_y),))
    if first == FEES_SET:
        words = data_words(log, 7, "StaticFeeParametersSet")
        return FeesDelta(
            FeeParameters(*(uint(word, bits, "fee") for word, bits in zip(words, _FEE_BITS, strict=True)))
        )
    if first == FORCED_DECAY:
        return DecayDelta()
    if first == HOOKS_SET:
        return HooksDelta(data_words(log, 1, "HooksParametersSet")[0])
    return None


def _bins_delta(log: Log, sign: int) -> BinsDelta:
    words = dynamic_words(log, "liquidity")
    count = (len(words) - 4) // 2
    if len(words) < 4 or words[:2] != (64, 96 + 32 * count) or words[2] != count or words[3 + count] != count:
        raise DecodeError(f"a liquidity event of {log.address} is not two arrays of one length")
    ids, amounts = words[3 : 3 + count], words[4 + count :]
    changes = []
    for bin_id, word in zip(ids, amounts, strict=True):
        x, y = unpacked(word)
        changes.append((uint(bin_id, 24, "id"), sign * x, sign * y))
    return BinsDelta(tuple(changes))


def applied(state: LiquidityBookState, delta: BookDelta) -> LiquidityBookState:
    """The pair after a log. Raises ``DecodeError`` where the log contradicts the state."""
    replace = msgspec.structs.replace
    if isinstance(delta, SwapDelta):
        bins = state.bins.changed({delta.bin_id: (delta.x, delta.y)})
        return replace(state, bins=bins, active_id=delta.bin_id, volatility=_after_swap(state, delta), as_of=0)
    if isinstance(delta, BinsDelta):
        bins = state.bins
        for bin_id, x, y in delta.changes:  # a bin may be there twice
            bins = bins.changed({bin_id: (x, y)})
        return replace(state, bins=bins, as_of=0)
    if isinstance(delta, CompositionDelta):
        fresh = at_time(state.fees, state.volatility, state.active_id, delta.timestamp)
        return replace(state, volatility=in_bin(state.fees, fresh, state.active_id), as_of=0)
    if isinstance(delta, FeesDelta):
        return replace(state, fees=delta.fees, as_of=0)
    if isinstance(delta, DecayDelta):
        kept = state.volatility.accumulator * state.fees.reduction_factor // BPS
        decayed = state.volatility._replace(reference=kept, id_reference=state.active_id)
        return replace(state, volatility=decayed, as_of=0)
    return replace(state, hooks=delta.hooks, as_of=0)


def _after_swap(state: LiquidityBookState, delta: SwapDelta) -> Volatility:
    """The event's accumulator tells whether this bin began a swap (the references move) or went on with one."""
    begun = at_time(state.fees, state.volatility, state.active_id, delta.timestamp)
    for volatility in (begun, state.volatility._replace(updated=delta.timestamp)):
        reached = in_bin(state.fees, volatility, delta.bin_id)
        if reached.accumulator == delta.accumulator:
            return reached
    raise DecodeError(
        f"bin {delta.bin_id}: the event's volatility is {delta.accumulator}, the state's {begun.accumulator}"
    )


def to_json(state: LiquidityBookState) -> dict[str, Any]:
    """A tagged, JSON-safe form."""
    return {
        "family": state.family,
        "address": state.address,
        "tokens": list(state.tokens),
        "bin_step": state.bin_step,
        "active_id": state.active_id,
        "bins": [[bin_id, str(x), str(y)] for bin_id, (x, y) in state.bins.items()],
        "fees": list(state.fees),
        "volatility": list(state.volatility),
        "hooks": str(state.hooks),
        "as_of": state.as_of,
    }


def _tuple(value: Any, field: str, bits: tuple[int, ...]) -> tuple[int, ...]:
    if not isinstance(value, list | tuple) or len(value) != len(bits):
        raise ValueError(f"{field}: a list of {len(bits)} integers is expected, got {value!r:.80}")
    return tuple(
        jsonform.integer(one, f"{field}[{k}]", 0, (1 << width) - 1)
        for k, (one, width) in enumerate(zip(value, bits, strict=True))
    )


def from_json(value: dict[str, Any]) -> LiquidityBookState:
    """The inverse of ``to_json``. Raises ``ValueError`` naming the field."""
    found = jsonform.fields(value, LiquidityBookState.family, LiquidityBookState.__struct_fields__)
    tokens = found["tokens"]
    if not isinstance(tokens, list | tuple) or len(tokens) != 2:
        raise ValueError(f"tokens: a list of two addresses is expected, got {tokens!r:.80}")
    x, y = (jsonform.address(token, f"tokens[{k}]") for k, token in enumerate(tokens))
    if x == y:
        raise ValueError(f"tokens: {x} is there twice")
    rows = found["bins"]
    if not isinstance(rows, list | tuple):
        raise ValueError(f"bins: a list is expected, got {rows!r:.80}")
    parsed = [_tuple(row, f"bins[{k}]", (24, 128, 128)) for k, row in enumerate(rows)]
    entries = {bin_id: (in_x, in_y) for bin_id, in_x, in_y in parsed}
    if len(entries) != len(parsed) or not all(map(any, entries.values())):
        raise ValueError("bins: each has reserves and is there once")
    return LiquidityBookState(
        address=jsonform.address(found["address"], "address"),
        tokens=(x, y),
        bin_step=jsonform.integer(found["bin_step"], "bin_step", 1, 10_000),
        active_id=jsonform.integer(found["active_id"], "active_id", 0, MAX_ID),
        bins=Bins(entries),
        fees=FeeParameters(*_tuple(found["fees"], "fees", _FEE_BITS)),
        volatility=Volatility(*_tuple(found["volatility"], "volatility", _VOLATILITY_BITS)),
        hooks=jsonform.integer(found["hooks"], "hooks", 0, (1 << 256) - 1),
        as_of=jsonform.integer(found["as_of"], "as_of", 0, (1 << 63) - 1),
    )

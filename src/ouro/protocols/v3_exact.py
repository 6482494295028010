"""Swaps of concentrated pools by compiled prefix sums: what ``v3_swap.swap`` gives, in O(log ticks).

``ExactTables`` belongs to one set of initialised ticks and makes what is asked of it when it is asked: a table per
direction, fee and spacing (``kernels.concentrated``), and the header of the last state it was used with.
"""

import ctypes
import struct
import threading
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple, TypeAlias, cast

import numpy as np
import numpy.typing as npt
from numba import cfunc, types

from ouro.protocols import headers
from ouro.protocols.kernels import concentrated
from ouro.protocols.kernels.concentrated import CONCENTRATED, EXHAUSTED, HEADER, ROW
from ouro.protocols.v3_math import (
    MAX_LIQUIDITY,
    MAX_SQRT_RATIO,
    MIN_SQRT_RATIO,
    sqrt_ratio_at_tick,
    tick_at_sqrt_ratio,
)

Limbs: TypeAlias = npt.NDArray[np.uint64]

_FRAME_LIMBS = 52
_ARGUMENT_BYTES = 29 * 8  # header, kind, amount
_LIMB_BYTES = 8


@cfunc(types.void(types.uint64), cache=True)
def _swap_frame(frame):  # noqa: ANN001, ANN202 - typed by the decorator
    concentrated.swap_frame(frame)


@cfunc(types.void(types.uint64), cache=True)
def _prepare(header):  # noqa: ANN001, ANN202 - typed by the decorator
    concentrated.prepare(header)


# Through PYFUNCTYPE the interpreter's lock is kept: a call is shorter than handing it over.
_void_of_address = ctypes.PYFUNCTYPE(None, ctypes.c_uint64)
_call_swap: Any = cast("Any", _void_of_address)(_swap_frame.address)
_call_prepare: Any = cast("Any", _void_of_address)(_prepare.address)


class _Frame(threading.local):
    """A thread's own place for arguments and results."""

    def __init__(self) -> None:
        self.limbs = np.zeros(_FRAME_LIMBS, dtype=np.uint64)
        self.view = self.limbs.data.cast("B")
        self.address = self.limbs.ctypes.data


_frame = _Frame()


def to_limbs(value: int, count: int) -> Limbs:
    """A non-negative integer as little-endian limbs."""
    return np.frombuffer(value.to_bytes(count * _LIMB_BYTES, "little"), dtype=np.uint64)


class DirectionTable:
    """The compiled table of one direction; ``rows`` has shape (steps + 1, ROW) and must outlive its headers."""

    __slots__ = ("address", "rows", "steps")

    def __init__(
        self,
        ticks: npt.NDArray[np.int64],
        nets: Limbs,
        spacing: int,
        fee_ppm: int,
        zero_for_one: bool,
        word_edges: bool,
    ) -> None:
        limit = to_limbs(MIN_SQRT_RATIO + 1 if zero_for_one else MAX_SQRT_RATIO - 1, 3)
        count = concentrated.count_rows(ticks, nets, spacing, word_edges, zero_for_one)
        self.rows = np.zeros((count + 1, ROW), dtype=np.uint64)
        self.address = self.rows.ctypes.data
        self.steps = concentrated.fill_rows(
            ticks, nets, spacing, word_edges, fee_ppm, zero_for_one, limit.ctypes.data, self.address
        )

    def up_to(self, header: bytes, zero_for_one: bool, limit: int) -> "Reached":
        """Everything up to the last edge that is not beyond ``limit``, from the state of ``header``."""
        first = _integer(header, 3, 1)
        limit_tick = tick_at_sqrt_ratio(limit)
        edge_ticks = self.rows[: self.steps, 11].view(np.int64)
        if zero_for_one:
            lowest = limit_tick if sqrt_ratio_at_tick(limit_tick) == limit else limit_tick + 1
            last = int(np.searchsorted(-edge_ticks, -lowest, side="right"))
        else:
            last = int(np.searchsorted(edge_ticks, limit_tick, side="right"))
        if last <= first:
            tick = int.from_bytes(header[88:96], "little", signed=True)
            return Reached(0, 0, _integer(header, 8, 3), tick, _integer(header, 6, 2), 0, 0)
        after, start, edge = (self.rows[k].tobytes() for k in (last, first + 1, last - 1))
        tick = int(edge_ticks[last - 1])
        return Reached(
            _integer(header, 12, 4) + _integer(after, 0, 4) - _integer(start, 0, 4),
            _integer(header, 16, 4) + _integer(after, 4, 4) - _integer(start, 4, 4),
            _integer(edge, 8, 3),
            tick - 1 if zero_for_one else tick,
            _integer(after, 12, 2),
            last - first,
            _integer(after, 14, 1) - int(self.rows[first, 14]),
        )


def _integer(limbs: bytes, index: int, count: int) -> int:
    return int.from_bytes(limbs[index * _LIMB_BYTES : (index + count) * _LIMB_BYTES], "little")


class Reached(NamedTuple):
    """Where a swap is after the last edge within a limit, and what the steps to it took and gave.

    ``passed`` edges lie before, ``crossed`` of them are initialised ticks.
    """

    total_in: int
    total_out: int
    sqrt_price_x96: int
    tick: int
    liquidity: int
    passed: int
    crossed: int


class Header(NamedTuple):
    """The ``HEADER`` limbs of a state, with the table they point to: who holds the one holds the other."""

    limbs: bytes
    table: DirectionTable


class ExactTables:
    """Compiled tables of one immutable set of ticks."""

    __slots__ = ("_active", "_headers", "_nets", "_sorted", "_sound", "_tables", "_ticks")

    def __init__(self, sorted_ticks: Sequence[int], entries: Mapping[int, tuple[int, int]]) -> None:
        self._sorted = sorted_ticks
        self._active = (0, *accumulate(entries[tick][1] for tick in sorted_ticks))
        self._sound = not self._active[-1] and min(self._active) >= 0 and max(self._active) <= MAX_LIQUIDITY
        self._ticks = np.array(sorted_ticks, dtype=np.int64)
        raw = b"".join(entries[tick][1].to_bytes(16, "little", signed=True) for tick in sorted_ticks)
        self._nets = np.frombuffer(raw, dtype=np.uint64).reshape(-1, 2)
        self._tables: dict[tuple[bool, int, int, bool], DirectionTable] = {}
        self._headers: dict[bool, tuple[tuple[int, int, int, int, int, bool], Header]] = {}

    def table(self, zero_for_one: bool, spacing: int, fee_ppm: int, word_edges: bool = True) -> DirectionTable:
        """The table of a direction, made on first use."""
        key = (zero_for_one, spacing, fee_ppm, word_edges)
        found = self._tables.get(key)
        if found is None:
            if len(self._tables) >= 8:  # fees that change leave old tables behind
                self._tables.clear()
                self._headers.clear()
            found = DirectionTable(self._ticks, self._nets, spacing, fee_ppm, zero_for_one, word_edges)
            self._tables[key] = found
        return found

    def header(
        self,
        zero_for_one: bool,
        price: int,
        tick: int,
        liquidity: int,
        spacing: int,
        fee_ppm: int,
        word_edges: bool = True,
    ) -> Header | None:
        """The header of a state, kept until another state asks; None where they contradict each other."""
        key = (price, tick, liquidity, spacing, fee_ppm, word_edges)
        known = self._headers.get(zero_for_one)
        if known is not None and known[0] == key:
            return known[1]
        if not self._agrees(tick, liquidity):
            return None
        table = self.table(zero_for_one, spacing, fee_ppm, word_edges)
        frame = _frame
        frame.view[: HEADER * _LIMB_BYTES] = b"".join(
            (
                headers.tagged(CONCENTRATED, fee_ppm, 10**6).to_bytes(8, "little"),
                table.address.to_bytes(8, "little"),
                table.steps.to_bytes(16, "little"),
                fee_ppm.to_bytes(8, "little"),
                int(zero_for_one).to_bytes(8, "little"),
                liquidity.to_bytes(16, "little"),
                price.to_bytes(24, "little"),
                tick.to_bytes(8, "little", signed=True),
                bytes((HEADER - 12) * _LIMB_BYTES),
            )
        )
        _call_prepare(frame.address)
        made = Header(bytes(frame.view[: HEADER * _LIMB_BYTES]), table)
        self._headers[zero_for_one] = (key, made)
        return made

    def _agrees(self, tick: int, liquidity: int) -> bool:
        return self._sound and self._active[bisect_right(self._sorted, tick)] == liquidity


class Swapped(NamedTuple):
    """``swap_frame``'s answer. ``left`` is of the amount asked for, ``other`` the opposite amount."""

    status: int
    left: int
    other: int
    passed: int
    crossed: int
    sqrt_price_x96: int
    tick: int
    liquidity: int


_UNPACK_RESULT = struct.Struct("<Q32s32sQQ24sq16s").unpack_from
_RESULT_OFFSET = 32 * _LIMB_BYTES
_INPUT, _OUTPUT = (1).to_bytes(8, "little"), (0).to_bytes(8, "little")


def run(header: bytes, amount: int, exact_in: bool) -> Swapped:
    """A swap of ``0 < amount < 2^255`` from the state of ``header``."""
    frame = _frame
    view = frame.view
    view[:_ARGUMENT_BYTES] = header + (_INPUT if exact_in else _OUTPUT) + amount.to_bytes(32, "little")
    _call_swap(frame.address)
    status, left, other, passed, crossed, price, tick, liquidity = _UNPACK_RESULT(view, _RESULT_OFFSET)
    integer = int.from_bytes
    return Swapped(
        status,
        integer(left, "little"),
        integer(other, "little"),
        passed,
        crossed,
        integer(price, "little"),
        tick,
        integer(liquidity, "little"),
    )


def output(header: bytes, amount: int) -> int | None:
    """The output alone of an exact input, None where the liquidity ends first: the shortest way from Python."""
    frame = _frame
    view = frame.view
    view[:_ARGUMENT_BYTES] = header + _INPUT + amount.to_bytes(32, "little")
    _call_swap(frame.address)
    if view[_RESULT_OFFSET] == EXHAUSTED:
        return None
    return int.from_bytes(view[_RESULT_OFFSET + 40 : _RESULT_OFFSET + 72], "little")

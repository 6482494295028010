"""The initialised ticks of a concentrated pool: an immutable table that swaps share and mints replace."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from itertools import accumulate

import numpy as np
import numpy.typing as npt

from ouro.protocols.base import DecodeError
from ouro.protocols.kernels.ranges import directed_rows
from ouro.protocols.v3_exact import ExactTables
from ouro.protocols.v3_math import MAX_LIQUIDITY, MAX_TICK, MIN_TICK, PPM, Q96, sqrt_ratio_at_tick

WORD_BITS = 256


class TickTable(Mapping[int, tuple[int, int]]):
    """Tick → (gross, net) liquidity, sorted; never changed after it is made.

    ``sorted_ticks`` ascend. Gross is always positive: a tick without liquidity is not initialised.
    """

    __slots__ = ("_active", "_directed", "_entries", "_exact", "_ranges", "sorted_ticks")

    def __init__(self, entries: Mapping[int, tuple[int, int]]) -> None:
        self._entries = dict(entries)
        self.sorted_ticks = tuple(sorted(self._entries))
        self._active: tuple[int, ...] | None = None
        self._directed: dict[tuple[bool, int], DirectedSegments] = {}
        self._exact: ExactTables | None = None
        self._ranges: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]] | None = None

    def __getitem__(self, tick: int) -> tuple[int, int]:
        return self._entries[tick]

    def __iter__(self) -> Iterator[int]:
        return iter(self.sorted_ticks)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, tick: object) -> bool:
        return tick in self._entries

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TickTable) and self._entries == other._entries

    def __hash__(self) -> int:
        return hash(frozenset(self._entries.items()))

    def __repr__(self) -> str:
        return f"TickTable({len(self)} ticks)"

    def active_liquidity(self, tick: int) -> int:
        """In-range liquidity at ``tick``: the nets of every tick at or below it."""
        if self._active is None:
            self._active = (0, *accumulate(self._entries[t][1] for t in self.sorted_ticks))
        return self._active[bisect_right(self.sorted_ticks, tick)]

    def with_position(self, lower: int, upper: int, change: int) -> "TickTable":
        """The table after liquidity ``change`` between two ticks. Raises ``DecodeError`` on what can't be."""
        entries = dict(self._entries)
        for tick, net_change in ((lower, change), (upper, -change)):
            gross, net = entries.get(tick, (0, 0))
            gross, net = gross + change, net + net_change
            if not 0 <= gross <= MAX_LIQUIDITY or abs(net) > gross:
                raise DecodeError(f"tick {tick}: liquidity {change:+} leaves gross {gross} and net {net}")
            if gross:
                entries[tick] = (gross, net)
            else:
                entries.pop(tick, None)
        return TickTable(entries)

    def next_within_word(self, tick: int, spacing: int, lte: bool) -> tuple[int, bool]:
        """``TickBitmap.nextInitializedTickWithinOneWord``, clamped to the tick range as ``swap`` does."""
        ticks = self.sorted_ticks
        if lte:
            edge = max((tick // spacing >> 8 << 8) * spacing, MIN_TICK)
            k = bisect_right(ticks, tick) - 1
            if k >= 0 and ticks[k] >= edge:
                return ticks[k], True
            return edge, False
        edge = min((((tick // spacing + 1) >> 8 << 8) + WORD_BITS - 1) * spacing, MAX_TICK)
        k = bisect_right(ticks, tick)
        if k < len(ticks) and ticks[k] <= edge:
            return ticks[k], True
        return edge, False

    def next_initialised(self, tick: int, lte: bool) -> int | None:
        """The nearest initialised tick at or below ``tick`` (``lte``) or above it; None where there is none."""
        k = bisect_right(self.sorted_ticks, tick) - (1 if lte else 0)
        return self.sorted_ticks[k] if 0 <= k < len(self.sorted_ticks) else None

    def bitmap_word(self, word: int, spacing: int) -> int:
        """The bitmap word ``word`` (256 compressed ticks) as the contract stores it."""
        first, end = word * WORD_BITS * spacing, (word + 1) * WORD_BITS * spacing
        low, high = bisect_left(self.sorted_ticks, first), bisect_left(self.sorted_ticks, end)
        return sum(1 << (tick // spacing - word * WORD_BITS) for tick in self.sorted_ticks[low:high])

    @property
    def ranges(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Roots of the prices at the ticks, and the liquidity from each tick to the next, as floats."""
        if self._ranges is None:
            roots = np.array([sqrt_ratio_at_tick(tick) / Q96 for tick in self.sorted_ticks], dtype=np.float64)
            if self._active is None:
                self.active_liquidity(0)
            assert self._active is not None
            self._ranges = roots, np.array(self._active[1:-1], dtype=np.float64)
        return self._ranges

    @property
    def exact(self) -> ExactTables:
        """The compiled tables of these ticks, made on first use."""
        if self._exact is None:
            self._exact = ExactTables(self.sorted_ticks, self._entries)
        return self._exact

    def directed(self, zero_for_one: bool, fee_ppm: int) -> "DirectedSegments":
        """The whole ranges between ticks in the direction of travel, computed once per table."""
        key = (zero_for_one, fee_ppm)
        found = self._directed.get(key)
        if found is None:
            found = self._directed[key] = DirectedSegments(self, zero_for_one, fee_ppm)
        return found


EMPTY_TICKS = TickTable({})


class DirectedSegments:
    """Complete ranges of a table in one direction, without the empty ones.

    ``rows`` has them in the order of travel; ``start[k]`` is the first row after crossing ``sorted_ticks[k]``.
    """

    __slots__ = ("rows", "sqrt_floats", "start")

    def __init__(self, table: TickTable, zero_for_one: bool, fee_ppm: int) -> None:
        self.sqrt_floats, liquidity = table.ranges
        self.rows, start = directed_rows(self.sqrt_floats, liquidity, (PPM - fee_ppm) / PPM, zero_for_one)
        self.start = start.tolist()

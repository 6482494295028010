"""The data storage of Algebra's adaptive-fee generation: a ring of entries, and the fee that follows from them.

Once per block time, before anything else moves, a pool writes what happened since the last entry: how far the tick
strayed from its average of a day (volatility) and how much was traded per unit of liquidity. The fee until the next
entry is a sum of two sigmoids of a day's volatility, damped by a sigmoid of a day's volume.

Formulas as in the contracts (``DataStorage``, ``AdaptiveFee`` and ``DataStorageOperator`` of Algebra 1.0),
truncation and wrap-around included. Times are 32-bit seconds and compared as ages, so that they may overflow.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

U32 = (1 << 32) - 1
WINDOW_S = 24 * 60 * 60
RING = 1 << 16
MAX_VOLUME_PER_LIQUIDITY = 100_000 << 64
_CHUNK = 256
_U88, _U128, _U144, _U160 = (1 << 88) - 1, (1 << 128) - 1, (1 << 144) - 1, (1 << 160) - 1
_U16 = (1 << 16) - 1
_SQRT_STEPS = 7
_VOLATILITY_PERIOD_S = 15


class FeeConfig(msgspec.Struct, frozen=True):
    """How the fee follows volatility and volume; fees (``alpha``, ``base_fee``) in ppm, the rest without unit."""

    alpha1: int = 2900
    alpha2: int = 12_000
    beta1: int = 360
    beta2: int = 60_000
    gamma1: int = 59
    gamma2: int = 8500
    volume_beta: int = 0
    volume_gamma: int = 10
    base_fee: int = 100


class Timepoint(NamedTuple):
    """An entry: its time, four sums since the pool's first price, and the average tick of the day before it."""

    timestamp: int
    tick_cumulative: int = 0
    seconds_per_liquidity_x128: int = 0
    volatility_cumulative: int = 0
    average_tick: int = 0
    volume_per_liquidity_cumulative: int = 0


class Timepoints:
    """The entries that a fee can still depend on, oldest first; never changed after it is made.

    In chunks, so that the next table shares all but the last of them. Entries that left the day's window are
    dropped in whole chunks (one at or before its start is always kept), as are those that the ring overwrote.
    """

    __slots__ = ("_chunks", "_fee", "_length", "_skipped")

    def __init__(self, entries: Iterable[Timepoint] = ()) -> None:
        rows = tuple(entries)[-RING:]
        self._chunks = tuple(rows[k : k + _CHUNK] for k in range(0, len(rows), _CHUNK))
        self._skipped = 0
        self._length = len(rows)
        self._fee: tuple[object, object] | None = None

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, k: int) -> Timepoint:
        k += self._skipped + (self._length if k < 0 else 0)
        return self._chunks[k // _CHUNK][k % _CHUNK]

    def __iter__(self) -> Iterator[Timepoint]:
        return (self[k] for k in range(self._length))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Timepoints) and self.needed() == other.needed()

    def __hash__(self) -> int:
        return hash(self[-1] if self._length else None)

    def __repr__(self) -> str:
        return f"Timepoints({self._length} entries)"

    def needed(self) -> tuple[Timepoint, ...]:
        """The entries that a fee from now on can depend on: back to one that left the window; at least two."""
        last = self._length - 1
        low, high = 0, max(last - 1, 0)  # the last entry that is old enough, 0 where none is
        while low < high:
            middle = (low + high + 1) // 2
            if older(self[middle], self[last].timestamp):
                low = middle
            else:
                high = middle - 1
        return tuple(self[k] for k in range(low, self._length))

    def appended(self, entry: Timepoint) -> "Timepoints":
        """The table after one more entry."""
        made = Timepoints.__new__(Timepoints)
        chunks, skipped, length = self._chunks, self._skipped, self._length + 1
        if chunks and len(chunks[-1]) < _CHUNK:
            chunks = (*chunks[:-1], (*chunks[-1], entry))
        else:
            chunks = (*chunks, (entry,))
        if length > RING:
            skipped, length = skipped + 1, length - 1
        while len(chunks) > 2 and (skipped >= _CHUNK or older(chunks[1][0], entry.timestamp)):
            length -= max(_CHUNK - skipped, 0)
            chunks, skipped = chunks[1:], max(skipped - _CHUNK, 0)
        made._chunks, made._skipped, made._length, made._fee = chunks, skipped, length, None
        return made

    def remembered(self, key: object) -> object | None:
        """What ``remember`` kept for ``key``, the last one only."""
        found = self._fee
        return found[1] if found is not None and found[0] == key else None

    def remember(self, key: object, value: object) -> None:
        """Keep a value that depends on these entries and ``key`` alone (a cache: no part of the value)."""
        self._fee = (key, value)


NO_TIMEPOINTS = Timepoints()


def written(points: Timepoints, timestamp: int, tick: int, liquidity: int, volume_per_liquidity: int) -> Timepoints:
    """``DataStorage.write`` at a time that has no entry yet: the pool stood at ``tick`` since the last one."""
    last = points[-1]
    average = _int(_average_tick(points, timestamp, tick), 24)
    before = tick
    if len(points) > 1:
        previous = points[-2]
        moved = _int(last.tick_cumulative - previous.tick_cumulative, 56)
        before = _int(_truncated(moved, (last.timestamp - previous.timestamp) & U32), 24)
    elapsed = (timestamp - last.timestamp) & U32
    volatility = _volatility(elapsed, before, tick, last.average_tick, average)
    seconds = last.seconds_per_liquidity_x128 + (elapsed << 128) // (liquidity or 1)
    entry = Timepoint(
        timestamp,
        _int(last.tick_cumulative + tick * elapsed, 56),
        seconds & _U160,
        (last.volatility_cumulative + volatility) & _U88,
        average,
        (last.volume_per_liquidity_cumulative + volume_per_liquidity) & _U144,
    )
    return points.appended(entry)


def fee_ppm(points: Timepoints, config: FeeConfig) -> int:
    """``DataStorageOperator.getFee`` in the block of the last entry."""
    volatility, volume = _averages(points)
    both = sigmoid(volatility // _VOLATILITY_PERIOD_S, config.gamma1, config.alpha1, config.beta1)
    both += sigmoid(volatility // _VOLATILITY_PERIOD_S, config.gamma2, config.alpha2, config.beta2)
    damped = sigmoid(volume, config.volume_gamma, min(both, _U16), config.volume_beta)
    return (config.base_fee + damped) & _U16


def sigmoid(x: int, gamma: int, alpha: int, beta: int) -> int:
    """``alpha / (1 + e^((beta - x) / gamma))`` by eight terms of the series, rounded down."""
    distance = abs(x - beta)
    if distance >= 6 * gamma:
        return alpha if x > beta else 0
    unit = gamma**8
    grown = _exponential(distance, gamma, unit)
    return alpha * grown // (unit + grown) if x > beta else alpha * unit // (unit + grown)


def volume_per_liquidity(liquidity: int, amount0: int, amount1: int) -> int:
    """A swap's geometric mean of amounts per unit of the liquidity after it, 64 binary digits, capped."""
    volume = _sqrt(abs(amount0)) * _sqrt(abs(amount1))
    shifted = ((1 << 256) - 1 if volume >= 1 << 192 else volume << 64) // (liquidity or 1)
    return min(shifted, MAX_VOLUME_PER_LIQUIDITY)


def older(entry: Timepoint, now: int) -> bool:
    """Whether an entry stands at or before the start of the window that ends ``now``."""
    return (now - entry.timestamp) & U32 >= WINDOW_S


def _average_tick(points: Timepoints, now: int, tick: int) -> int:
    """Of the day before ``now`` as far as entries reach; of the last stretch if all are older."""
    last, oldest = points[-1], points[0]
    if not older(oldest, now):
        if last.timestamp == oldest.timestamp:
            return tick
        start = oldest
    elif older(last, now):
        if len(points) == 1:
            return tick
        start = points[-2]
    else:
        cumulative = _at(points, now, WINDOW_S).tick_cumulative
        moved = _int(last.tick_cumulative - cumulative, 56)
        return _truncated(moved, (last.timestamp - now + WINDOW_S) & U32)
    moved = _int(last.tick_cumulative - start.tick_cumulative, 56)
    return _truncated(moved, (last.timestamp - start.timestamp) & U32)


def _averages(points: Timepoints) -> tuple[int, int]:
    """Volatility per second and volume per liquidity of the day before the last entry, or since the first."""
    last = points[-1]
    now = last.timestamp
    start, elapsed = points[0], (now - points[0].timestamp) & U32
    if older(start, now):
        start, elapsed = _at(points, now, WINDOW_S), WINDOW_S
    if not elapsed:
        return 0, 0
    volume = (last.volume_per_liquidity_cumulative - start.volume_per_liquidity_cumulative) & _U144
    return ((last.volatility_cumulative - start.volatility_cumulative) & _U88) // elapsed, volume >> 57


def _at(points: Timepoints, now: int, seconds_ago: int) -> Timepoint:
    """The entry of that time, or one between its two neighbours; the oldest must not be younger."""
    low, high = 0, len(points) - 1  # the last entry with at least that age
    while low < high:
        middle = (low + high + 1) // 2
        if (now - points[middle].timestamp) & U32 >= seconds_ago:
            low = middle
        else:
            high = middle - 1
    before = points[low]
    part = (now - seconds_ago - before.timestamp) & U32
    if not part or low == len(points) - 1:
        return before
    after = points[low + 1]
    whole = (after.timestamp - before.timestamp) & U32
    moved = _truncated(_int(after.tick_cumulative - before.tick_cumulative, 56), whole) * part
    volatility = ((after.volatility_cumulative - before.volatility_cumulative) & _U88) // whole * part
    volume = (after.volume_per_liquidity_cumulative - before.volume_per_liquidity_cumulative) & _U144
    return before._replace(
        tick_cumulative=_int(before.tick_cumulative + moved, 56),
        volatility_cumulative=(before.volatility_cumulative + volatility) & _U88,
        volume_per_liquidity_cumulative=(before.volume_per_liquidity_cumulative + volume // whole * part) & _U144,
    )


def _volatility(elapsed: int, tick0: int, tick1: int, average0: int, average1: int) -> int:
    """Sum of squared distances, second by second, between two lines: the tick's and its average's."""
    slope = (tick1 - tick0) - (average1 - average0)
    offset = (tick0 - average0) * elapsed
    sequence = elapsed * (elapsed + 1)
    squares = sequence * (2 * elapsed + 1)
    total = slope * slope * squares + 6 * offset * slope * sequence + 6 * elapsed * offset * offset
    return total // (6 * elapsed * elapsed) & _U88


def _exponential(x: int, gamma: int, unit: int) -> int:
    """``e^(x / gamma)`` in units of ``gamma^8``."""
    total, term, power = unit, 1, unit
    for factorial in (1, 2, 6, 24, 120, 720):
        power //= gamma
        term *= x
        total += term * power // factorial
    term *= x
    return total + term * gamma // 5040 + term * x // 40_320


def _sqrt(x: int) -> int:
    """``Sqrt.sqrtAbs``: seven Newton steps from a power of two, the lesser of the last two bounds."""
    if not x:
        return 0
    rest, root = x, 1
    for bits in (128, 64, 32, 16, 8, 4):
        if rest >> bits:
            rest >>= bits
            root <<= bits // 2
    if rest >= 8:
        root <<= 1
    for _ in range(_SQRT_STEPS):
        root = (root + x // root) >> 1
    return min(root, x // root)


def _truncated(value: int, by: int) -> int:
    """Division towards zero."""
    return value // by if value >= 0 else -(-value // by)


def _int(value: int, bits: int) -> int:
    """Two's complement of ``bits``."""
    half = 1 << bits - 1
    return (value + half & (1 << bits) - 1) - half

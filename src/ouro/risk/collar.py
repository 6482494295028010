"""The price collar: what a hop trades at against what others say.

Others are the pools of the same pair that are not part of the question (their median), or the owner's feed. Floats:
the collar is a fence against nonsense, not a price that anything is paid by.
"""

import math
import time
from pathlib import Path
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from ouro.config.risk import CollarConfig, RiskConfig
from ouro.risk.limits import Reason, References
from ouro.types import Address, Hop, Plan

NATIVE = "0x" + "00" * 20
_MOST_POOLS = 3
_SEGMENT = 4
"""Numbers a segment."""


class Market(Protocol):
    """What the references read of a market's arrays."""

    edge_pool: npt.NDArray[np.int32]
    edge_token_in: npt.NDArray[np.int32]
    edge_token_out: npt.NDArray[np.int32]
    seg_start: npt.NDArray[np.int64]
    seg_count: npt.NDArray[np.int32]
    segs: npt.NDArray[np.float64]
    enabled: npt.NDArray[np.bool_]

    @property
    def n_edges(self) -> int: ...
    @property
    def token_index(self) -> dict[Address, int]: ...


class PoolReferences:
    """Marginal prices of the other pools of a pair, as the arrays have them now (see ``References``)."""

    def __init__(
        self,
        arrays: Market,
        pool_index: "dict[str, int]",
        feed: "FeedFile | None" = None,
        wrapped_native: Address = NATIVE,
    ) -> None:
        self._wrapped = wrapped_native
        self._arrays, self._pool_index, self._feed = arrays, pool_index, feed
        self._known = -1
        self._of_segs: object = None
        self._edges: dict[tuple[Address, Address], list[tuple[int, int]]] = {}

    def rate(self, hop: Hop) -> float | None:
        """See ``References.rate``."""
        arrays = self._arrays
        if arrays.n_edges != self._known or arrays.segs is not self._of_segs:
            self._index()
        found: list[float] = []
        token_in, token_out = hop.token_in, hop.token_out
        if NATIVE in (token_in, token_out):
            # The arrays have the native coin of managed pools as its wrapped form.
            token_in = self._wrapped if token_in == NATIVE else token_in
            token_out = self._wrapped if token_out == NATIVE else token_out
        edges = self._edges.get((token_in, token_out))
        if edges is not None:
            own = self._pool_index.get(hop.pool, -1)
            enabled, counts, starts, segs = self._enabled, self._counts, self._starts, self._segs
            for edge, pool in edges:
                if pool != own and enabled[pool] and counts[edge]:
                    start = starts[edge] * _SEGMENT
                    found.append(segs[start + 1] / segs[start])
                    if len(found) >= _MOST_POOLS:
                        break
        if found:
            return _median(found)
        return self._feed.rate(hop) if self._feed is not None else None

    def _index(self) -> None:
        """After the arrays have grown. Views of memory give single items faster than arrays do."""
        arrays, self._edges = self._arrays, {}
        self._known, self._of_segs = arrays.n_edges, arrays.segs
        self._enabled, self._counts = arrays.enabled.data, arrays.seg_count.data
        self._starts, self._segs = arrays.seg_start.data, arrays.segs.reshape(-1).data
        tokens = {number: token for token, number in arrays.token_index.items()}
        columns = (arrays.edge_token_in, arrays.edge_token_out, arrays.edge_pool)
        pairs = zip(*(column[: self._known].tolist() for column in columns), strict=True)
        for edge, (token_in, token_out, pool) in enumerate(pairs):
            self._edges.setdefault((tokens[token_in], tokens[token_out]), []).append((edge, pool))


def _median(values: list[float]) -> float:
    values.sort()
    middle = len(values) // 2
    return values[middle] if len(values) % 2 else (values[middle - 1] + values[middle]) / 2.0


class _HasMarket(Protocol):
    """The part of ``ouro.engine.chain_state.ChainState`` that has prices."""

    @property
    def market(self) -> Any: ...
    @property
    def config(self) -> Any: ...


_made: "WeakKeyDictionary[object, PoolReferences]" = WeakKeyDictionary()


def references_of(state: _HasMarket) -> PoolReferences:
    """The references of a chain's state, made once."""
    known = _made.get(state)
    if known is None:
        collar: CollarConfig = (state.config.risk or RiskConfig()).collar
        feed = None if collar.feed_file is None else FeedFile(collar.feed_file, collar.feed_stale_ms)
        market, native = state.market, state.config.wrapped_native
        known = _made[state] = PoolReferences(market.arrays, market.pool_index, feed, native)
    return known


class FeedFile:
    """Prices that somebody else writes into a file: ``token native_wei_per_unit_e18 unix_ms`` a line."""

    def __init__(self, path: Path, stale_ms: int) -> None:
        self._path, self._stale_ms = path, stale_ms
        self._stamp: tuple[int, int] = (0, 0)
        self._prices: dict[Address, tuple[int, int]] = {}

    def rate(self, hop: Hop) -> float | None:
        """See ``References.rate``; None for a price that is missing, old or malformed."""
        self._refresh()
        oldest = time.time_ns() // 1_000_000 - self._stale_ms
        one, other = self._prices.get(hop.token_in), self._prices.get(hop.token_out)
        if one is None or other is None or min(one[1], other[1]) < oldest:
            return None
        return one[0] / other[0]

    def _refresh(self) -> None:
        try:
            stat = self._path.stat()
            if (stat.st_mtime_ns, stat.st_size) == self._stamp:
                return
            self._stamp = (stat.st_mtime_ns, stat.st_size)
            lines = self._path.read_text().splitlines()
        except (OSError, UnicodeDecodeError):
            self._prices = {}
            return
        prices: dict[Address, tuple[int, int]] = {}
        for line in lines:
            words = line.split()
            if len(words) == 3 and words[1].isdecimal() and words[2].isdecimal() and int(words[1]) > 0:
                prices[words[0].lower()] = (int(words[1]), int(words[2]))
        self._prices = prices


def collar_problem(plan: Plan, references: References | None, config: CollarConfig) -> tuple[Reason, str] | None:
    """The first hop whose price is outside the collar, or has no reference where one is asked for."""
    if config.state == "off":
        return None
    for position, hop in enumerate(plan.hops):
        reference = None if references is None else references.rate(hop)
        if reference is None or not math.isfinite(reference) or reference <= 0:
            if config.unreferenced == "refuse":
                return Reason.NO_REFERENCE, f"hop {position}: nobody else prices the pair of pool {hop.pool}"
            continue
        rate = hop.amount_out_wei / hop.amount_in_wei
        deviation_ppm = (max(rate / reference, reference / rate) - 1.0) * 1e6
        if deviation_ppm > config.max_deviation_ppm:
            return Reason.COLLAR, (
                f"hop {position}: pool {hop.pool} gives {rate:.6g} for one, others {reference:.6g}: "
                f"{deviation_ppm:.0f} ppm apart, the collar is {config.max_deviation_ppm}"
            )
    return None

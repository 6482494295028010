"""Sums over trades: exact, in integers, kept up to date trade by trade."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from ouro.dashboard.trades import Trade

WEI_PER_COIN = 10**18
_CURVE_POINTS = 600

DECIDED_AGAINST = frozenset({"not_encodable", "quote_failed", "not_profitable", "send_rule", "expected_value"})
"""Refusals that say an opportunity was none after costs."""

FAILED_LATE = ("preflight_", "signer_", "no_free_operator", "journal", "withheld", "fenced")
"""Beginnings of the reasons of refusals that come after the gate has approved."""


@dataclass(frozen=True, slots=True)
class Filter:
    """What of the books is looked at; None and 0 are everything."""

    chain: str | None = None
    strategy: str | None = None
    since_ms: int = 0

    def admits(self, trade: Trade) -> bool:
        """Whether ``trade`` is part of it."""
        return (
            (self.chain is None or trade.chain == self.chain)
            and (self.strategy is None or trade.strategy == self.strategy)
            and trade.at_ms >= self.since_ms
        )


@dataclass(slots=True)
class ChainTotals:
    """Sums of one chain in native wei. Cancels count in gas, not as attempts (as in ``ouro report``)."""

    attempts: int = 0
    sent: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    gross_wei: int = 0
    gas_wei: int = 0
    expected_landed_wei: int = 0
    landed_net_wei: int = 0

    @property
    def net_wei(self) -> int:
        """Profit minus gas."""
        return self.gross_wei - self.gas_wei

    def add(self, trade: Trade, sign: int = 1) -> None:
        """Count ``trade``, or with ``sign`` -1 no longer."""
        self.gas_wei += sign * trade.gas_wei
        if not trade.is_trade:
            return
        self.attempts += sign
        self.sent += sign * trade.was_sent
        self.gross_wei += sign * trade.gross_wei
        self.outcomes[trade.outcome] += sign
        if trade.landed:
            self.expected_landed_wei += sign * trade.expected_wei
            self.landed_net_wei += sign * trade.net_wei


@dataclass(slots=True)
class Totals:
    """Sums by chain and by strategy, and every final result in order of time, for the curve of the equity."""

    chains: dict[str, ChainTotals] = field(default_factory=lambda: defaultdict(ChainTotals))
    strategies: dict[tuple[str, str], ChainTotals] = field(default_factory=lambda: defaultdict(ChainTotals))
    lost_because: Counter[tuple[str, str]] = field(default_factory=Counter)
    results: list[tuple[int, str, int]] = field(default_factory=list)
    _unsorted: bool = False

    def add(self, trade: Trade) -> None:
        """Count ``trade``."""
        self._count(trade, 1)
        if trade.is_final:
            if self.results and trade.at_ms < self.results[-1][0]:
                self._unsorted = True
            self.results.append((trade.at_ms, trade.chain, trade.net_wei))

    def remove(self, trade: Trade) -> None:
        """Take back what ``trade`` counted for."""
        self._count(trade, -1)
        if trade.is_final:
            self.results.remove((trade.at_ms, trade.chain, trade.net_wei))

    def _count(self, trade: Trade, sign: int) -> None:
        self.chains[trade.chain].add(trade, sign)
        if trade.is_trade:
            self.strategies[trade.chain, trade.strategy].add(trade, sign)
            if trade.is_final and not trade.landed:
                self.lost_because[trade.outcome, trade.reason] += sign

    def ordered(self) -> list[tuple[int, str, int]]:
        """Final results (when, chain, net wei), oldest first."""
        if self._unsorted:
            self.results.sort(key=lambda item: item[0])
            self._unsorted = False
        return self.results

    def outcomes(self) -> Counter[str]:
        """Of all chains."""
        merged: Counter[str] = Counter()
        for chain in self.chains.values():
            merged.update(chain.outcomes)
        return merged


def usd(amount_wei: int, price_usd: float | None) -> Decimal | None:
    """The worth of native wei, to the last digit that the price has; None without a price."""
    return None if price_usd is None else Decimal(amount_wei) / WEI_PER_COIN * Decimal(price_usd)


def net_usd(totals: Totals, prices: Mapping[str, float]) -> Decimal | None:
    """Net profit over all chains; None while a chain with a result has no price."""
    parts = [usd(chain.net_wei, prices.get(name)) for name, chain in totals.chains.items() if chain.net_wei]
    if any(part is None for part in parts):
        return None
    return sum((part for part in parts if part is not None), Decimal(0))


@dataclass(frozen=True, slots=True)
class Point:
    """The equity after one result, in USD since the beginning of what is looked at."""

    at_ms: int
    equity: float
    drawdown: float


def curve(results: Sequence[tuple[int, str, int]], prices: Mapping[str, float]) -> list[Point]:
    """Equity and drawdown over time; at most some hundred points, of which none hides a peak or a trough.

    Long series are cut into buckets, and of each its first, lowest, highest and last point is kept.
    """
    equity = peak = 0.0
    points: list[Point] = []
    for at_ms, chain, net_wei in results:
        equity += net_wei / WEI_PER_COIN * prices.get(chain, 0.0)
        peak = max(peak, equity)
        points.append(Point(at_ms, equity, equity - peak))
    if len(points) <= _CURVE_POINTS:
        return points
    size = -(-len(points) * 4 // _CURVE_POINTS)
    kept: list[Point] = []
    for start in range(0, len(points), size):
        part = points[start : start + size]
        corners = {
            0,
            len(part) - 1,
            min(range(len(part)), key=lambda at: part[at].drawdown),
            max(range(len(part)), key=lambda at: part[at].equity),
        }
        kept += [part[at] for at in sorted(corners)]
    return kept


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the funnel: how many came here, and why the others of the step before did not."""

    name: str
    count: int
    lost: tuple[tuple[str, int], ...]


def funnel(seen: int, refused: Mapping[str, int], totals: Totals) -> list[Step]:
    """Seen → profitable → approved → sent → landed, each with the reasons of what was lost on the way to it.

    Counted from the end: what was sent was approved, what the gate refused had been worth something.
    """
    late = {reason: count for reason, count in refused.items() if reason.startswith(FAILED_LATE)}
    early = {reason: count for reason, count in refused.items() if reason in DECIDED_AGAINST}
    gate = {reason: count for reason, count in refused.items() if reason not in late and reason not in early}
    outcomes = totals.outcomes()
    attempts = sum(chain.attempts for chain in totals.chains.values())
    sent = sum(chain.sent for chain in totals.chains.values())
    landed = outcomes["landed"]
    approved = attempts + sum(late.values())
    profitable = approved + sum(gate.values())
    seen = max(seen, profitable)
    if seen > profitable and seen - profitable > sum(early.values()):
        early["not pursued"] = seen - profitable - sum(early.values())
    if attempts > sent:
        late["not sent"] = attempts - sent
    failed = {kind: count for kind, count in outcomes.items() if kind != "landed"}
    return [
        Step("seen", seen, ()),
        Step("profitable", profitable, _ranked(early)),
        Step("approved", approved, _ranked(gate)),
        Step("sent", sent, _ranked(late)),
        Step("landed", landed, _ranked(failed)),
    ]


def _ranked(reasons: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(((name, n) for name, n in reasons.items() if n > 0), key=lambda item: (-item[1], item[0])))


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts between ``edges_ms[k]`` and ``edges_ms[k+1]``, and exact quantiles."""

    edges_ms: tuple[float, ...]
    counts: tuple[int, ...]
    p50_ms: float | None
    p99_ms: float | None
    samples: int


_EDGES_MS = tuple(round(10 ** (exponent / 6 - 1), 3) for exponent in range(25))
"""0.1 ms to 1 s, six to a decade."""


def histogram(samples_us: Iterable[int]) -> Histogram:
    """Latencies on a logarithmic scale."""
    ordered = sorted(samples_us)
    counts = [0] * (len(_EDGES_MS) - 1)
    at = 0
    for value in ordered:
        while at < len(counts) - 1 and value / 1_000 >= _EDGES_MS[at + 1]:
            at += 1
        counts[at] += 1
    return Histogram(_EDGES_MS, tuple(counts), _quantile(ordered, 50), _quantile(ordered, 99), len(ordered))


def _quantile(ordered: Sequence[int], percent: int) -> float | None:
    if not ordered:
        return None
    return ordered[-(-percent * len(ordered) // 100) - 1] / 1_000

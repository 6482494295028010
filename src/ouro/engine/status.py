"""What a person may see of a running engine: plain values, copied out of the loop, never read back by it."""

from collections import Counter, deque
from dataclasses import dataclass, field

from ouro.types import OutcomeKind

RECENT_TRADES = 64
LATENCY_WINDOW = 2_048


@dataclass(frozen=True, slots=True)
class TradeLine:
    """A settled attempt in short."""

    block_number: int | None
    kind: OutcomeKind
    route: str
    net_wei: int


@dataclass(slots=True)
class LatencyWindow:
    """The last block-to-event times of one stage, in milliseconds."""

    samples_ms: deque[float] = field(default_factory=lambda: deque(maxlen=LATENCY_WINDOW))
    total: int = 0
    """How many there ever were, the forgotten ones too."""

    def add(self, value_ms: float) -> None:
        """Remember one time."""
        self.samples_ms.append(value_ms)
        self.total += 1

    def quantile(self, q: float) -> float | None:
        """Nearest-rank quantile; None without samples."""
        if not self.samples_ms:
            return None
        ordered = sorted(self.samples_ms)
        # The smallest value that at least this share does not exceed; integers, so that no rounding moves the rank.
        rank = -(-round(q * 1_000_000) * len(ordered) // 1_000_000)
        return ordered[max(rank, 1) - 1]


@dataclass(slots=True)
class ChainStatus:
    """One chain as its engine last saw it. ``last_block_ns`` is a ``time.monotonic_ns`` reading."""

    chain: str
    state: str = "starting"
    detail: str = ""
    freshness: str = "stale"
    block_number: int | None = None
    last_block_ns: int | None = None
    pools: int = 0
    cycles: int = 0
    blocks: int = 0
    blocks_decided: int = 0
    superseded: int = 0
    priced: bool = False
    opportunities: int = 0
    open_attempts: int = 0
    net_wei: int = 0
    best: str = ""
    best_pools: tuple[str, ...] = ()
    outcomes: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    trades: deque[TradeLine] = field(default_factory=lambda: deque(maxlen=RECENT_TRADES))
    decided: LatencyWindow = field(default_factory=LatencyWindow)
    sent: LatencyWindow = field(default_factory=LatencyWindow)

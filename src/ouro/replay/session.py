"""One recording, once through the engine."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ouro.config.gate import GateConfig
from ouro.config.model import ChainConfig, LedgerConfig, OuroConfig, RiskConfig, SignerConfig
from ouro.engine.chain_engine import ChainEngine, SessionOver
from ouro.engine.journal import DecisionJournal
from ouro.engine.stages import TimesListener
from ouro.engine.status import ChainStatus
from ouro.engine.world import Shared
from ouro.execution.lanes import Lane
from ouro.ledger.ledger import Ledger
from ouro.monitoring.metrics import AnyMetrics, NullMetrics
from ouro.replay.clock import ReplayClock
from ouro.replay.feed import Pace, ReplayOver
from ouro.replay.ledger import CountingLedger
from ouro.replay.recording import Recording
from ouro.replay.world import ReplayWorld
from ouro.risk.gate import RiskGate
from ouro.signer.client import SignerClient
from ouro.types import Mode

_COIN = 10**18
LIMITS = RiskConfig(max_notional_wei=10**6 * _COIN, max_gas_cost_wei=_COIN, max_daily_loss_wei=10**4 * _COIN)
"""So wide that a replay is judged by what is found, not by what an owner would risk."""


@dataclass(slots=True)
class Played:
    """What came of it."""

    status: ChainStatus
    counters: Mapping[str, int]
    ended: str = ""
    market: Mapping[str, int] = field(default_factory=dict)


def config_for(
    recording: Recording,
    data_dir: Path,
    mode: Mode = Mode.PAPER,
    risk: RiskConfig = LIMITS,
    chain: ChainConfig | None = None,
) -> OuroConfig:
    """The configuration of a replay, with everything that it may write in ``data_dir``."""
    return OuroConfig(
        mode=mode,
        data_dir=data_dir,
        ledger=LedgerConfig(url=f"sqlite:///{data_dir / 'replay.db'}"),
        signer=SignerConfig(
            socket=data_dir / "signer.sock",
            halt_file=data_dir / "halt",
            max_transactions_per_minute=10**6,
            gate=GateConfig(max_open_attempts=10**6),
        ),
        risk=risk.model_copy(update={"kill_file": data_dir / "kill"}),
        chains={recording.origin.chain: chain or recording.origin.config},
    )


async def play(
    recording: Recording,
    data_dir: Path,
    *,
    config: ChainConfig | None = None,
    mode: Mode = Mode.PAPER,
    risk: RiskConfig = LIMITS,
    pace: Pace | None = None,
    wire: bool = False,
    journal: DecisionJournal | None = None,
    timed: TimesListener | None = None,
    ledger: Ledger | None = None,
    signer: SignerClient | None = None,
    lane: Lane | None = None,
    metrics: AnyMetrics | None = None,
) -> Played:
    """Play ``recording`` to its end, or to a re-sync that it has.

    ``config`` is by default the recording's own. Without ``ledger`` nothing is booked; with ``signer`` and ``lane``
    what is approved is signed and handed over. Raises what the engine raises for a recording that contradicts
    itself.
    """
    origin = recording.origin
    chosen = config or origin.config
    clock = ReplayClock(origin.head.timestamp)
    whole = config_for(recording, data_dir, mode, risk, chosen)
    books = ledger or CountingLedger()
    gate = RiskGate(whole.risk, mode, [origin.chain], clock_ms=clock.wall_ms)
    shared = Shared(
        whole, books, signer or SignerClient(whole.signer.socket), gate, metrics=metrics or NullMetrics()
    )
    world = ReplayWorld(recording, chosen, books, clock, mode=mode, pace=pace, wire=wire, signer=signer, lane=lane)
    engine = ChainEngine(origin.chain, shared, world=world, journal=journal, timed=timed)
    engine.open(since_ns=-(1 << 62))  # a recorded clock may have gone back
    played = Played(engine.status, {})
    try:
        await engine.run_session()
    except ReplayOver:
        pass
    except SessionOver as over:
        played.ended = str(over)
    finally:
        if journal is not None:
            journal.flush()
    feed = world.feed_in_use
    played.counters = {**(feed.counters if feed is not None else {}), "clock_stood_still": clock.went_back}
    if world.state is not None:
        played.market = dict(world.state.market.counters)
    return played

"""Where an engine's blocks come from and its transactions go: the one place where live and replay differ."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from ouro.capital.guard import CapitalGuard
from ouro.chain.accounts import NonceBook
from ouro.chain.errors import RpcError
from ouro.chain.feed import BlockFeed
from ouro.chain.pool import EndpointPool
from ouro.chain.transactions import TransactionReader
from ouro.config.model import ChainConfig, OuroConfig
from ouro.engine.audit_trail import AuditTrail
from ouro.engine.bookkeeping import ChainBooks, OutcomeListener, owned_accounts, record_openings
from ouro.engine.chain_state import ChainState
from ouro.engine.lease_keeper import LeaseKeeper
from ouro.engine.recovery import close_paper, recover
from ouro.engine.trading import LiveTrader, PaperTrader, RefusalSink, Trader
from ouro.engine.upkeep import Upkeep
from ouro.execution.lanes import PublicLane
from ouro.execution.settlement import Ours
from ouro.execution.submit import Submitter
from ouro.execution.tracker import Tracker
from ouro.ledger.ledger import Ledger
from ouro.market.creation import NewPool
from ouro.monitoring.metrics import AnyMetrics, NullMetrics
from ouro.risk.gate import RiskGate
from ouro.risk.watch import TankWatch
from ouro.signer.client import SignerClient
from ouro.stopfile import stop_file_problem
from ouro.types import Attempt, BlockUpdate, FeedEvent, Mode


@dataclass(frozen=True, slots=True)
class Shared:
    """What all chains of one engine have in common."""

    config: OuroConfig
    ledger: Ledger
    signer: SignerClient
    risk: RiskGate
    audit: AuditTrail | None = None
    capital: CapitalGuard | None = None
    metrics: AnyMetrics = field(default_factory=NullMetrics)
    leases: LeaseKeeper | None = None
    """Where outcomes are reported to the signer; None where nothing is signed."""


class Feed(Protocol):
    """The events of a chain, in order."""

    def __aiter__(self) -> AsyncIterator[FeedEvent]: ...

    async def __anext__(self) -> FeedEvent: ...

    def pending(self) -> int:
        """How many newer ones are known already; the state is decided on when there are none."""
        ...

    async def close(self) -> None: ...


class Housekeeping(Protocol):
    """What is done between blocks."""

    def start(self) -> None: ...
    def born(self, pools: tuple[NewPool, ...]) -> None: ...
    async def refresh(self) -> None: ...
    async def tend(self) -> None: ...
    async def close(self) -> None: ...


class World(Protocol):
    """A chain as an engine's session meets it. ``in_step``: each block is settled before the next is taken, so that
    what is decided does not depend on how fast anything ran."""

    in_step: bool

    def node(self) -> AbstractAsyncContextManager[Any]:
        """The connection of a session."""
        ...

    async def load(self, node: Any, progress: Callable[[str], None]) -> ChainState: ...
    def feed(self, node: Any, state: ChainState) -> Feed: ...
    def housekeeping(self, node: Any, state: ChainState) -> Housekeeping: ...
    async def trader(
        self, node: Any, state: ChainState, listener: OutcomeListener, refuse: RefusalSink
    ) -> Trader | None:
        """None where nothing may be sent."""
        ...


def _halted(shared: Shared, chain: str, strategy: str) -> str:
    """What stops ``strategy`` on ``chain`` now, whoever ordered it; empty when nothing does."""
    risk = shared.risk
    return (
        risk.kill_file_problem(chain)
        or risk.control_problem(chain, strategy)
        or stop_file_problem(shared.config.signer.halt_file)
    )


class LiveWorld:
    """A configured chain by its nodes."""

    in_step = False

    def __init__(self, name: str, shared: Shared) -> None:
        self._name = name
        self._shared = shared
        self._config: ChainConfig = shared.config.chains[name]

    def node(self) -> EndpointPool:
        """See ``World.node``."""
        return EndpointPool(self._config.endpoints, self._config.chain_id, name=self._name)

    async def load(self, node: EndpointPool, progress: Callable[[str], None]) -> ChainState:
        """See ``World.load``."""
        config = self._shared.config
        return await ChainState.load(self._name, self._config, node, config.data_dir, progress, config.mode)

    def feed(self, node: EndpointPool, state: ChainState) -> BlockFeed:
        """See ``World.feed``."""
        start = (state.head_number, state.head_hash)
        return BlockFeed(self._name, node, state.topics, self._config.reorg_ring_depth, start=start)

    def housekeeping(self, node: EndpointPool, state: ChainState) -> Upkeep:
        """See ``World.housekeeping``."""
        return Upkeep(state, node, self._shared.config.data_dir, self._shared.config.mode)

    async def trader(
        self, node: EndpointPool, state: ChainState, listener: OutcomeListener, refuse: RefusalSink
    ) -> Trader | None:
        """See ``World.trader``."""
        shared, config, name = self._shared, self._config, self._name
        mode, ledger = shared.config.mode, shared.ledger
        if mode is Mode.OBSERVE or state.shadow is None:
            return None
        books = ChainBooks(config, ledger, listener, on_chain=mode is Mode.LIVE)
        if mode is Mode.PAPER:
            await close_paper(name, ledger, books)
            return PaperTrader(state, books, refuse)
        await record_openings(name, config, ledger, node, state.head_number, state.market.arrays.tokens)
        nonces = NonceBook(config.operators)
        submitter = Submitter(
            name,
            config,
            shared.signer,
            books,
            PublicLane(node, RpcError),
            halted=lambda strategy: _halted(shared, name, strategy),
        )

        async def cancel(attempt: Attempt, head: BlockUpdate, known: bool) -> Attempt | None:
            return await submitter.cancel(attempt, head.number, trader.cancel_fee(head), known=known)

        tracker = Tracker(
            TransactionReader(node),
            books,
            cancel,
            Ours(owned_accounts(config), frozenset(config.start_tokens), config.wrapped_native),
            state.touched_in,
            state.is_canonical,
            config.finality_depth,
            config.reorg_ring_depth,
        )
        trader = LiveTrader(state, submitter, tracker, nonces, books, refuse, shared.risk.admit_account)
        trader.after_settling = TankWatch(shared.risk, name, config, node, shared.config.limits_of(name).gas_tank)
        await recover(
            name,
            node,
            ledger,
            books,
            tracker,
            nonces,
            submitter,
            state.head_number,
            config.reorg_ring_depth,
            may_send=not (shared.risk.kill_file_problem(name) or shared.risk.control_problem(name)),
        )
        state.bidder.learn(ledger.books.attempts(chain=name, limit=config.send.memory))
        for attempt in tracker.open_attempts:
            plan = tracker.plan_of(attempt.attempt_id)
            shared.risk.on_attempt(attempt, plan)
            if shared.capital is not None and plan is not None:
                shared.capital.hold(plan)
        if shared.leases is not None:
            await shared.leases.recovered(name)
        return trader

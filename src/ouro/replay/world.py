"""The world of a replay: state, feed and lane from a recording, where the live one has nodes."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from ouro.chain.accounts import NonceBook
from ouro.config.model import ChainConfig
from ouro.engine.bookkeeping import ChainBooks, OutcomeListener
from ouro.engine.chain_state import ChainState
from ouro.engine.trading import LiveTrader, PaperTrader, RefusalSink, Trader
from ouro.engine.world import Feed
from ouro.execution.image import shadow_from
from ouro.execution.lanes import Lane
from ouro.execution.settlement import Ours, PoolsTouched, ReceiptView, never_included
from ouro.execution.submit import Signer, Submitter
from ouro.execution.tracker import Settled, Tracker
from ouro.ledger.ledger import Ledger
from ouro.market.creation import NewPool
from ouro.market.freshness import ChainFreshness
from ouro.market.market import Market
from ouro.protocols.registry import FAMILIES
from ouro.replay.clock import ReplayClock
from ouro.replay.feed import Pace, ReplayFeed
from ouro.replay.reads import Reads, RecordedNode
from ouro.replay.recording import Origin, Recording
from ouro.replay.wire import ALL_AHEAD, WireFeed
from ouro.types import Address, Attempt, BlockUpdate, Mode, OutcomeKind


def market_from(origin: Origin, config: ChainConfig) -> Market:
    """A started market at the recording's first state."""
    named = {dex.family for dex in config.dexes}
    market = Market(
        origin.chain,
        {name: family for name, family in FAMILIES.items() if name in named},
        ring_depth=config.reorg_ring_depth,
        block_time_ms=config.block_time_ms,
        factories={dex.factory: dex for dex in config.dexes},
        base_fee_after=origin.fees.next_base_fee,
        wrapped_native=config.wrapped_native,
    )
    market.tokens.update(origin.tokens)
    market.announced.update(origin.announced)
    market.start(origin.head, [state for state in origin.states.values() if state.family in named])
    return market


def state_from(origin: Origin, config: ChainConfig, clock: ReplayClock) -> ChainState:
    """What the engine knows before the first event; its freshness goes by the recording's clock."""
    market = market_from(origin, config)
    shadow = None
    if origin.image is not None:
        shadow = shadow_from(
            origin.image, origin.chain, config.chain_id, config.reorg_ring_depth, market.states.values()
        )
    state = ChainState(origin.chain, config, market, origin.fees, shadow)
    state.freshness = ChainFreshness(config.freshness, clock.ns, clock.wall_s)
    return state


class ReplayWorld:
    """Plays ``recording`` to one session of an engine.

    ``wire``: as the bytes of a node through ``BlockFeed``, else as events. With ``signer`` and ``lane`` plans are
    signed and handed over for real, and none is ever included; otherwise they are executed on paper.
    """

    def __init__(
        self,
        recording: Recording,
        config: ChainConfig,
        ledger: Ledger,
        clock: ReplayClock,
        *,
        mode: Mode = Mode.PAPER,
        pace: Pace | None = None,
        wire: bool = False,
        signer: Signer | None = None,
        lane: Lane | None = None,
    ) -> None:
        self._recording, self._config, self._ledger, self._clock = recording, config, ledger, clock
        self._mode, self._pace, self._wire = mode, pace or Pace(), wire
        self._signer, self._lane = signer, lane
        self.in_step = self._pace.free
        self.feed_in_use: ReplayFeed | WireFeed | None = None
        self.state: ChainState | None = None

    @asynccontextmanager
    async def node(self) -> AsyncIterator[None]:
        """There is none."""
        yield None

    async def load(self, node: Any, progress: Callable[[str], None]) -> ChainState:
        """See ``World.load``."""
        del node
        progress(f"{self._recording.origin.chain}: {len(self._recording.origin.states)} pools of the recording")
        self.state = state_from(self._recording.origin, self._config, self._clock)
        return self.state

    def feed(self, node: Any, state: ChainState) -> Feed:
        """See ``World.feed``."""
        del node
        if self._wire:
            self.feed_in_use = WireFeed(self._recording, state.topics, self._pace, self._clock)
        else:
            self.feed_in_use = ReplayFeed(self._recording, self._pace, self._clock)
        return self.feed_in_use

    def housekeeping(self, node: Any, state: ChainState) -> "ReplayUpkeep":
        """See ``World.housekeeping``."""
        del node
        return ReplayUpkeep(state, self.feed_in_use, self._recording.node)

    async def trader(
        self, node: Any, state: ChainState, listener: OutcomeListener, refuse: RefusalSink
    ) -> Trader | None:
        """See ``World.trader``."""
        del node
        if self._mode is Mode.OBSERVE or state.shadow is None:
            return None
        books = ChainBooks(self._config, self._ledger, listener, on_chain=False)
        if self._signer is None or self._lane is None:
            return PaperTrader(state, books, refuse)
        nonces = NonceBook(self._config.operators, max_in_flight=2)
        for operator in self._config.operators:
            nonces.observe(operator, 0, 0)
        submitter = Submitter(state.name, self._config, self._signer, books, self._lane)
        return LiveTrader(state, submitter, NobodyIncludes(state, books), nonces, books, refuse)


class ReplayUpkeep:
    """What was read when the recording was made is given again. Where nothing was, pools that were born stay
    unknown and what no log tells stays unread."""

    def __init__(self, state: ChainState, feed: ReplayFeed | WireFeed | None, node: RecordedNode) -> None:
        self._state, self._feed, self._node = state, feed, node
        self._reads = Reads(state, node, searching=True)
        self.born_pools = 0

    def start(self) -> None:
        """The first bytes are ready before they are due."""
        if isinstance(self._feed, WireFeed):
            self._feed.prepare(ALL_AHEAD)

    def born(self, pools: tuple[NewPool, ...]) -> None:
        """They join with the next ``tend`` at a block where the recorder read some."""
        self.born_pools += len(pools)
        self._reads.born(pools)

    async def refresh(self) -> None:
        """As recorded at this block."""
        if self._node.stand_at(self._state.head_hash):
            await self._reads.refresh()

    async def tend(self) -> None:
        """As recorded at this block; the executor's words stay what they were where nobody read them."""
        if self._node.stand_at(self._state.head_hash):
            await self._reads.tend()
        self._state.executor_stirred = False
        if isinstance(self._feed, WireFeed):
            self._feed.prepare()

    async def close(self) -> None:
        """Nothing to end."""


class _NoChain:
    async def receipts(self, hashes: Sequence[str]) -> Sequence[ReceiptView | None]:
        return [None for _ in hashes]

    async def nonces(self, operators: Sequence[Address]) -> Sequence[int]:
        return [0 for _ in operators]

    async def knows(self, hashes: Sequence[str]) -> Sequence[bool]:
        return [False for _ in hashes]


async def _never(attempt: Attempt, head: BlockUpdate, known: bool) -> None:
    """Nothing is cancelled where nothing is included."""
    del attempt, head, known


class NobodyIncludes(Tracker):
    """Follows attempts of a replay: a recorded chain includes none, so each expires after its last block."""

    def __init__(self, state: ChainState, books: ChainBooks) -> None:
        def touched_in(number: int) -> PoolsTouched | None:
            return state.touched_in(number)

        config = state.config
        ours = Ours(frozenset(), frozenset(config.start_tokens))
        super().__init__(
            _NoChain(),
            books,
            _never,
            ours,
            touched_in,
            state.is_canonical,
            config.finality_depth,
            config.reorg_ring_depth,
        )

    async def on_block(self, head: BlockUpdate) -> Settled:
        """Everything whose last block has come is over."""
        settled = Settled()
        over = [t for t in self._tracked.values() if head.number >= t.attempt.max_block_number]
        for tracked in over:
            attempt: Attempt = tracked.attempt
            outcome = never_included(attempt, OutcomeKind.EXPIRED, "a recorded chain includes nothing new")
            self._books.outcome(attempt, tracked.plan, outcome)
            settled.outcomes.append((attempt, outcome))
            del self._tracked[attempt.attempt_id]
        return settled

"""Everything one chain's engine knows, moved block by block: market, shadow EVM, search, prices, freshness."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from ouro.chain.errors import ChainError
from ouro.chain.fees import FeeModel
from ouro.chain.rpc import Caller
from ouro.config.model import ChainConfig
from ouro.engine.proofs import allowed_dexes
from ouro.execution.capital import loan_sources
from ouro.execution.contract import event_topics
from ouro.execution.shadow import ShadowError, ShadowEvm
from ouro.market.bootstrap import load_market
from ouro.market.errors import SyncError
from ouro.market.freshness import ChainFreshness
from ouro.market.journal import ApplyResult
from ouro.market.market import Market
from ouro.market.prices import PoolPrices
from ouro.market.refresh import refresh_market
from ouro.protocols.registry import FAMILIES
from ouro.risk.send_rule import Bidder
from ouro.search.finder import Finder
from ouro.strategies.cyclic import CyclicStrategy
from ouro.types import BlockUpdate, Hash, Mode, PoolId, Rollback

log = structlog.get_logger(__name__)

_CYCLES_SHOWN_LIMIT = 5_000_000
REVALUE_EVERY_BLOCKS = 8
"""Prices order candidates and value profits in other tokens; of 10,000 pools they take milliseconds."""


@dataclass(slots=True)
class RecentBlock:
    """What is remembered of an applied block: its hash, and which pools its transactions moved, first one first."""

    number: int
    hash: Hash
    touched: Mapping[PoolId, int] = field(default_factory=dict)


class ChainState:
    """One chain at one block. Synchronous but for ``load``; nothing in here talks to a lane or a ledger."""

    def __init__(
        self,
        name: str,
        config: ChainConfig,
        market: Market,
        fees: FeeModel,
        shadow: ShadowEvm | None,
    ) -> None:
        self.name = name
        self.config = config
        self.market = market
        self.fees = fees
        self.shadow = shadow
        self.loans = () if shadow is None else shadow.lenders
        self.base_number = self.head_number
        self.executor_stirred = False
        self.bidder = Bidder(config.send, config.bid)
        self.prices = PoolPrices(market, config)
        self.freshness = ChainFreshness(config.freshness)
        self.recent: deque[RecentBlock] = deque(maxlen=config.reorg_ring_depth)
        self.touched: set[int] = set(range(market.arrays.n_pools))
        self._moved: set[int] = set()
        self._valued_at = self.head_number
        self.unadmitted: Mapping[PoolId, str] = {}
        self.prices.refresh()
        budget = config.search_memory_mb << 20
        self.finder = Finder(market.arrays, self._start_ids(), config.max_hops, budget_bytes=budget)
        self.strategy = CyclicStrategy(market)
        self.cycles = self.finder.count_cycles(_CYCLES_SHOWN_LIMIT)
        self.revalue()

    @classmethod
    async def load(
        cls,
        name: str,
        config: ChainConfig,
        node: Caller,
        data_dir: Path,
        progress: Callable[[str], None],
        mode: Mode = Mode.OBSERVE,
    ) -> "ChainState":
        """Discovery, state, shadow: exact at one recent block. Raises ``SyncError`` or ``ShadowError``.

        Factories of families that are not proven are left out, with a warning, unless the configuration wants them.
        """
        config, left_out = allowed_dexes(config, mode)
        for dex, reason in left_out.items():
            log.warning("dex_left_out", chain=name, dex=dex, reason=reason)
        fees = await FeeModel(config.fee_model).refreshed(node)
        market, number, _ = await load_market(
            name, config, node, data_dir, progress, base_fee_after=fees.next_base_fee
        )
        market.rejected.update(left_out)
        shadow = None
        if config.executor is not None:
            paid = () if config.bribe.recipient is None else (config.bribe.recipient,)
            shadow = ShadowEvm(name, config.chain_id, ring_depth=config.reorg_ring_depth, bribe_recipients=paid)
            await shadow.load(
                node,
                market.states.values(),
                executor=config.executor,
                operators=config.operators,
                block_number=number,
            )
            await shadow.add_lenders(node, loan_sources(config), config.operators)
            for address, reason in shadow.faults.items():
                log.warning("not_simulated", chain=name, address=address, reason=reason)
        return cls(name, config, market, fees, shadow)

    @property
    def head_number(self) -> int:
        """Number of the block that everything here is at."""
        assert self.market.head is not None
        return self.market.head.number

    @property
    def head_hash(self) -> Hash:
        """Its hash."""
        assert self.market.head is not None
        return self.market.head.hash

    def apply(self, update: BlockUpdate) -> ApplyResult:
        """Go on to ``update``. Raises ``MarketError`` or ``ShadowError`` when the state can't be continued."""
        result = self.market.apply(update)
        if self.shadow is not None:
            self.shadow.apply(update.number, result.deltas)
        executor = self.config.executor
        if any(entry.address == executor for entry in update.logs):
            # Its owner paused it, or changed operators or treasury: what the shadow has of it is old.
            self.executor_stirred = True
        self.recent.append(RecentBlock(update.number, update.hash, result.movers))
        touched = result.touched.tolist()
        self.touched.update(touched, result.drifted.tolist())
        if self.shadow is not None:
            self._moved.update(k for k in touched if FAMILIES[self._state_at(k).family].drifts)
        self.freshness.seen(update.received_ns, update.timestamp)
        return result

    def catch_up(self) -> None:
        """What ``apply`` left for after the decision."""
        if self.shadow is not None:
            self.shadow.catch_up()

    @property
    def topics(self) -> tuple[str, ...]:
        """First topics of every log that the engine wants: pools', factories', and the executor's own."""
        return (*self.market.topics, *event_topics())

    async def refresh(self, node: Caller) -> None:
        """Read at the head what no log tells: fees and pauses, and what the shadow needs of pools that moved.

        Never fails: a pool whose fields could not be read is not tradable until they are.
        """
        try:
            changed = await refresh_market(self.market, self.config.multicall, node)
            self.touched.update(changed.tolist())
            if self.shadow is not None:
                moved = [self._state_at(pool) for pool in self._moved]
                if moved:
                    await self.shadow.reread(node, moved)
                self._moved.clear()
                if changed.size:
                    await self.shadow.add(node, [self._state_at(int(k)) for k in changed], again=True)
        except (ChainError, SyncError, ShadowError) as error:
            log.warning("refresh_failed", chain=self.name, error=str(error))

    @property
    def unconfirmed(self) -> frozenset[PoolId]:
        """Pools that must not be traded at this block: what no log tells was not read at it, or a token of theirs
        has not been admitted yet."""
        return frozenset((*self.unadmitted, *self.market.to_confirm))

    @property
    def wants_refresh(self) -> bool:
        """Whether there is anything for ``refresh`` to read."""
        return bool(self._moved or self.market.to_confirm)

    def _state_at(self, pool_id: int) -> Any:
        return self.market.states[self.market.addresses[pool_id]]

    async def reread_executor(self, node: Caller) -> None:
        """Its roles, treasury and pause as they are now. Raises ``ShadowError`` or chain errors."""
        if self.shadow is not None:
            await self.shadow.reload_executor(node, self.config.operators)
        self.executor_stirred = False

    def rollback(self, event: Rollback) -> None:
        """Back to the common ancestor. Raises ``MarketError`` or ``ShadowError`` when that is too far."""
        touched = self.market.rollback(event.to_number, event.to_hash)
        self.executor_stirred = True  # an orphaned block may have changed it
        if self.shadow is not None:
            self.shadow.rollback(event.to_number)
        while self.recent and self.recent[-1].number > event.to_number:
            self.recent.pop()
        self._valued_at = min(self._valued_at, event.to_number)
        self.touched.update(touched.tolist())

    def take_touched(self) -> list[int]:
        """Pools to look at now; they count as looked at from here on."""
        touched, self.touched = sorted(self.touched), set()
        return touched

    def carry(self, pool_ids: Iterable[int]) -> None:
        """Look at these again with the next block."""
        self.touched.update(pool_ids)

    def revalue_if_due(self) -> bool:
        """``revalue`` every few blocks, counted, so that a replay does it at the same ones; whether it was done."""
        if self.head_number < self._valued_at + REVALUE_EVERY_BLOCKS:
            return False
        self.revalue()
        return True

    def revalue(self) -> None:
        """Take new prices into the ordering of candidates."""
        self._valued_at = self.head_number
        self.prices.refresh()
        values: dict[int, float] = {}
        for token in self.config.start_tokens:
            token_id = self.market.arrays.token_index.get(token)
            scale = 10**24
            value = self.prices.value_in_native(token, scale) / scale
            if token_id is not None and value > 0:
                values[token_id] = value
        self.finder.set_unit_values(values)
        self.strategy.set_unit_values(values)

    def rebuild_search(self) -> None:
        """After pools were added."""
        self.finder.rebuild(self.market.arrays)
        self.cycles = self.finder.count_cycles(_CYCLES_SHOWN_LIMIT)

    def touched_in(self, number: int) -> Mapping[PoolId, int] | None:
        """Pools moved in block ``number`` and by which transaction index first; None if it is forgotten."""
        block = self._block(number)
        return None if block is None else block.touched

    def is_canonical(self, number: int, block_hash: Hash) -> bool:
        """Whether the engine stands on this block: it applied it, or it is too deep to be anything but final."""
        if number <= self.base_number or (self.recent and number < self.recent[0].number):
            return True
        block = self._block(number)
        return block is not None and block.hash == block_hash

    def _block(self, number: int) -> RecentBlock | None:
        return next((block for block in reversed(self.recent) if block.number == number), None)

    def _start_ids(self) -> list[int]:
        index = self.market.arrays.token_index
        return [index[token] for token in self.config.start_tokens if token in index]

"""The pools of one chain, exactly as they are after its last block: applied from logs, rolled back on reorgs.

Synchronous and without I/O. States are immutable values, so that the journal of a block is the dictionary of the
states that it replaced, and rolling back is O(pools touched). An update is applied wholly or not at all; a log that
can't be decoded takes only its own pool out (quarantine).
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ouro.chain.fees import next_base_fee
from ouro.config.model import DexConfig
from ouro.hashing import topic
from ouro.market.arrays import MarketArrays
from ouro.market.creation import creation_topics, decode_creation
from ouro.market.errors import MarketError, Remedy
from ouro.market.fold import by_pool
from ouro.market.journal import ApplyResult, Draft, Head, PoolDelta, Quarantine, Record, head_of
from ouro.market.tokens import TokenInfo
from ouro.market.venues import NATIVE, pool_of
from ouro.protocols.base import Family, home_of
from ouro.protocols.creation import NewPool
from ouro.types import Address, BlockContext, BlockUpdate, Hash, Log, PoolId

UPGRADE_TOPICS = frozenset((topic("Upgraded(address)"), topic("BeaconUpgraded(address)")))
"""By these a proxy says that it runs other code from now on (ERC-1967)."""


def _ethereum_base_fee(update: BlockUpdate) -> int:
    return 0 if update.base_fee_wei is None else next_base_fee(update)


def _pool_ids(ids: Iterable[int]) -> npt.NDArray[np.int32]:
    return np.array(sorted(ids), dtype=np.int32)


def _time_key(family: Any, state: Any, context: BlockContext) -> Any:
    """What of a pool's prices follows from the executing block's time; None where its state can't say."""
    try:
        return family.time_key(state, context)
    except Exception:  # whatever a hostile history provokes, its pieces will tell
        return None


class Market:
    """One chain's pools. ``families`` by name; ``factories`` by address, whose creation logs are reported.

    ``ring_depth`` is how many blocks can be rolled back. ``base_fee_after`` gives the base fee of the block after
    an update (wei), for families whose curve depends on it. ``wrapped_native`` is the token that stands for the
    native coin where a pool trades that: the search sees one token, the executor wraps and unwraps.
    """

    def __init__(
        self,
        chain: str,
        families: Mapping[str, Family],
        *,
        ring_depth: int = 64,
        block_time_ms: int = 1_000,
        factories: Mapping[Address, DexConfig] | None = None,
        base_fee_after: Callable[[BlockUpdate], int] | None = None,
        wrapped_native: Address = NATIVE,
    ) -> None:
        self.chain = chain
        self.families = dict(families)
        self.factories = dict(factories or {})
        self.arrays = MarketArrays()
        self.states: dict[PoolId, Any] = {}
        self.pool_index: dict[PoolId, int] = {}
        self.addresses: list[PoolId] = []
        self.announced: dict[PoolId, NewPool] = {}
        self.quarantine: dict[PoolId, Quarantine] = {}
        self.rejected: dict[PoolId, str] = {}
        self.told: dict[PoolId, Hash] = {}
        self._misses: Counter[PoolId] = Counter()
        self.tokens: dict[Address, TokenInfo] = {}
        self.counters: Counter[str] = Counter()
        self.head: Head | None = None
        self._pool_family: list[Family] = []
        self._time_keys: dict[int, Any] = {}
        """What the pieces of pools whose prices follow the clock were made for, by pool id; see ``_drifted``."""
        self._native = wrapped_native
        self._managers = {
            factory: self.families[dex.family]
            for factory, dex in self.factories.items()
            if dex.family in self.families and self.families[dex.family].managed
        }
        self._topics = {name: frozenset(family.topics) for name, family in self.families.items()}
        self._base: Head | None = None
        self._ring: deque[Record] = deque()
        self._ring_depth = ring_depth
        self._late: dict[int, int] = {}
        self._block_time_s = max(1, round(block_time_ms / 1_000))
        self._next_base_fee = base_fee_after or _ethereum_base_fee
        self._context = BlockContext(0, 0, 0)

    # -- reading -------------------------------------------------------------------------------------------

    @property
    def topics(self) -> tuple[str, ...]:
        """First topics of every log that the market wants, pool creation included."""
        wanted = {topic for topics in self._topics.values() for topic in topics}
        born = {topic for dex in self.factories.values() for topic in creation_topics(dex.family)}
        return tuple(sorted(wanted | born | UPGRADE_TOPICS))

    @property
    def context(self) -> BlockContext:
        """The block after the head, as far as it is known: where a trade would execute."""
        return self._context

    def pool_of(self, log: Log) -> PoolId:
        """The pool that a log would be of: its emitter, or for a manager the pool that its first topic names."""
        return pool_of(log, self._managers)

    def family_of(self, pool: PoolId) -> Family:
        """The family that reads ``pool``. Raises ``KeyError`` for an unknown pool."""
        return self._pool_family[self.pool_index[pool]]

    def usable(self, pool: PoolId) -> bool:
        """Whether this pool's state is known to be what its logs say."""
        return pool in self.states and pool not in self.quarantine

    def tradable(self, pool: PoolId) -> bool:
        """Whether a trade may be built on it: what no log tells has been read at the head as well."""
        return self.usable(pool) and self.is_confirmed(pool)

    @property
    def to_confirm(self) -> list[PoolId]:
        """Usable pools with fields that were not read at the head; ``refresh.refresh_market`` reads them."""
        head = self.head.hash if self.head else ""
        return [pool for pool, told in self.told.items() if told != head and pool not in self.quarantine]

    def is_confirmed(self, pool: PoolId) -> bool:
        """Whether the fields that no log tells were read at the head; True where a pool has none."""
        told = self.told.get(pool)
        return told is None or (self.head is not None and told == self.head.hash)

    # -- pools ---------------------------------------------------------------------------------------------

    def start(self, head: Head, states: Iterable[Any]) -> npt.NDArray[np.int32]:
        """Begin at ``head`` with pool states that were read at it. Returns the pool ids."""
        if self.head is not None:
            raise MarketError(f"{self.chain}: the market has already started", Remedy.RESYNC)
        self.head = head
        self._base = head
        self._context = BlockContext(head.number + 1, head.timestamp + self._block_time_s, head.base_fee_wei or 0)
        ids = self._register(list(states), head.hash)
        self._write_arrays(ids)
        return _pool_ids(ids)

    def install(self, states: Iterable[Any], number: int, block_hash: Hash) -> npt.NDArray[np.int32]:
        """Add pools, or put right ones that are known, from states read at a block that is still in the ring.

        The logs of the blocks since then are replayed for these pools, so a read may lag the feed; the feed has to
        watch by topic, or watch these addresses already. Ends their quarantine. Returns the touched pool ids.
        Raises ``MarketError`` when the block isn't in the ring; nothing is changed then.
        """
        records = self._records_after(number, block_hash)
        ids = self._register(list(states), block_hash)
        replayed = set(ids)
        for pool_id in ids:
            self._forget_history(pool_id, number)
        for record in records:
            self._replay(record, replayed)
        self._write_arrays(ids)
        return _pool_ids(ids)

    def _records_after(self, number: int, block_hash: Hash) -> list[Record]:
        if self.head is None or self._base is None:
            raise MarketError(f"{self.chain}: the market has not started", Remedy.RESYNC)
        if (self._base.number, self._base.hash) == (number, block_hash):
            return list(self._ring)
        for k, record in enumerate(self._ring):
            if (record.update.number, record.update.hash) == (number, block_hash):
                return list(self._ring)[k + 1 :]
        raise MarketError(
            f"{self.chain}: states read at block {number} {block_hash} can't be joined: not among the last blocks "
            f"{self._base.number}..{self.head.number}",
            Remedy.RESYNC,
        )

    def confirm(self, states: Mapping[PoolId, Any], block_hash: Hash) -> npt.NDArray[np.int32]:
        """Take over fields that were read at the head; a rollback brings the old ones back. Returns changed pools.

        ``states`` are the pools' states with the fields as read. Raises ``MarketError``, with nothing changed,
        when the head has moved on since.
        """
        if self.head is None or self.head.hash != block_hash:
            raise MarketError(f"{self.chain}: fields were read at {block_hash}, the head moved on", Remedy.IGNORE)
        changed: list[int] = []
        for pool, state in states.items():
            self.told[pool] = block_hash
            self._misses.pop(pool, None)
            if state == self.states[pool]:
                continue
            pool_id = self.pool_index[pool]
            if self._ring:
                self._ring[-1].previous.setdefault(pool_id, self.states[pool])
            self.states[pool] = state
            changed.append(pool_id)
        self._write_arrays(changed)
        return _pool_ids(changed)

    def missed(self, pools: Iterable[PoolId], most: int) -> list[PoolId]:
        """Count pools that did not answer; returns those that did not for the ``most``-th time in a row."""
        self._misses.update(pools)
        return [pool for pool in pools if self._misses[pool] >= most]

    def _searched(self, tokens: tuple[Address, ...]) -> tuple[Address, ...]:
        """Token list for the search, where native and wrapped coin are one."""
        return tuple(self._native if token == NATIVE else token for token in tokens)

    def _register(self, states: list[Any], block_hash: Hash) -> list[int]:
        by_address: dict[PoolId, Any] = {}
        for state in states:
            if len(set(self._searched(state.tokens))) < len(state.tokens):
                self.rejected[state.address] = "it trades the native coin for its own wrapper, one to one elsewhere"
            else:
                by_address[state.address] = state
        for state in by_address.values():
            if state.family not in self.families:
                raise ValueError(f"{self.chain}: pool {state.address} is of the unknown family {state.family!r}")
        fresh = [state for address, state in by_address.items() if address not in self.pool_index]
        for pool_id, state in zip(
            self.arrays.add_pools([self._searched(s.tokens) for s in fresh]), fresh, strict=True
        ):
            self.pool_index[state.address] = pool_id
            self.addresses.append(state.address)
            self._pool_family.append(self.families[state.family])
        for address, state in by_address.items():
            self.states[address] = state
            family = self.families[state.family]
            if family.managed:
                self._managers[home_of(state)] = family
            if family.must_refresh(state):
                self.told[address] = block_hash
            self.quarantine.pop(address, None)
            self._misses.pop(address, None)
            self.rejected.pop(address, None)
        return [self.pool_index[address] for address in by_address]

    def _forget_history(self, pool_id: int, number: int) -> None:
        """What the ring knows of a pool up to block ``number`` is not trusted any more."""
        for record in self._ring:
            record.previous.pop(pool_id, None)
        self._late[pool_id] = number

    def _replay(self, record: Record, pools: set[int]) -> None:
        draft = Draft()
        for log in record.update.logs:
            pool = self.pool_of(log)
            pool_id = self.pool_index.get(pool)
            if pool_id in pools and pool not in self.quarantine:
                self._draft_log(draft, pool_id, log, record.update.timestamp)
        self._commit_states(draft, record)

    def set_quarantine(self, pool: PoolId, reason: str, *, final: bool = False) -> None:
        """Take a pool out of use until ``install`` brings it back, ``final``: for good; a rollback does not."""
        self.quarantine[pool] = Quarantine(reason, self.head.number if self.head else 0, None, final)
        self.counters["quarantined"] += 1
        self.arrays.disable(self.pool_index[pool])

    # -- blocks --------------------------------------------------------------------------------------------

    def apply(self, update: BlockUpdate) -> ApplyResult:
        """Go on to the state after ``update``.

        Raises ``MarketError``, with nothing changed, when the update doesn't continue the head.
        """
        self._check(update)
        context = self._context_after(update)
        draft = Draft()
        movers = self._draft_block(draft, update)
        record = Record(update)
        self._commit_states(draft, record)
        self._advance(record, context)
        touched = draft.states.keys() | draft.faults.keys()
        self._write_arrays(touched)
        drifted = self._drifted()
        self._write_arrays(drifted)
        self.counters["blocks"] += 1
        self.counters["unknown_logs"] += draft.unknown_logs
        return ApplyResult(
            touched=_pool_ids(touched),
            deltas=tuple(draft.deltas),
            unknown_logs=draft.unknown_logs,
            quarantined=tuple((self.addresses[pool_id], why) for pool_id, why in draft.faults.items()),
            new_pools=tuple(draft.new_pools),
            drifted=_pool_ids(drifted),
            movers=movers,
        )

    def rollback(self, to_number: int, to_hash: Hash) -> npt.NDArray[np.int32]:
        """Back to a block that is still in the ring. Returns the touched pool ids.

        Raises ``MarketError`` (remedy: re-sync), with nothing changed, when that block isn't known here.
        """
        dropped = self._records_after(to_number, to_hash)
        touched: set[int] = set()
        for record in reversed(dropped):
            self._ring.pop()
            touched |= record.previous.keys()
            for pool_id, state in record.previous.items():
                address = self.addresses[pool_id]
                self.states[address] = state
                held = self.quarantine.get(address)
                if held is not None and held.block_hash == record.update.hash:
                    del self.quarantine[address]
        touched |= self._quarantine_late(to_number)
        if dropped:
            self._step_back(dropped[0].update)
            self.counters["rolled_back_blocks"] += len(dropped)
        self._write_arrays(touched)
        drifted = self._drifted()
        self._write_arrays(drifted)
        return _pool_ids(touched.union(drifted))

    def foresee(self) -> Iterator[None]:
        """Have ready what pools whose prices follow the clock will be at the next block, if that is on time.

        Yields after each pool, so that the caller can do it bit by bit between two blocks.
        """
        timestamp = self._context.timestamp + self._block_time_s
        context = BlockContext(self._context.number + 1, timestamp, self._context.base_fee_wei)
        for pool_id in list(self._time_keys):
            _time_key(self._pool_family[pool_id], self.states[self.addresses[pool_id]], context)
            yield

    def finalised(self, depth: int) -> tuple[Head, dict[PoolId, Any]] | None:
        """The states ``depth`` blocks below the head, without pools in quarantine; None when the ring is shorter.

        Pools that joined later than that block are left out: their state there isn't known.
        """
        if self._base is None or self.head is None or depth > len(self._ring):
            return None
        newer = list(self._ring)[len(self._ring) - depth :]
        states = dict(self.states)
        for record in reversed(newer):
            for pool_id, state in record.previous.items():
                states[self.addresses[pool_id]] = state
        head = self.head
        if newer:
            head = head_of(self._ring[-depth - 1].update) if depth < len(self._ring) else self._base
        for address in self.quarantine:
            states.pop(address, None)
        for pool_id, joined in self._late.items():
            if joined > head.number:
                states.pop(self.addresses[pool_id], None)
        return head, states

    # -- inside --------------------------------------------------------------------------------------------

    def _check(self, update: BlockUpdate) -> None:
        name = f"{self.chain}: block {update.number} {update.hash}"
        if update.chain != self.chain:
            raise MarketError(f"{name} is of chain {update.chain!r}", Remedy.FIX_FEED)
        if self.head is None:
            raise MarketError(f"{name} came before the market has started", Remedy.RESYNC)
        if self.head.hash == update.hash or any(record.update.hash == update.hash for record in self._ring):
            raise MarketError(f"{name} was applied before", Remedy.IGNORE)
        if update.number != self.head.number + 1:
            raise MarketError(f"{name} does not follow block {self.head.number}", Remedy.RESYNC)
        if update.parent_hash != self.head.hash:
            raise MarketError(
                f"{name} has parent {update.parent_hash}, the head is {self.head.hash}: a rollback is missing",
                Remedy.RESYNC,
            )
        last = -1
        for log in update.logs:
            if log.block_hash != update.hash or log.block_number != update.number:
                raise MarketError(
                    f"{name} carries a log of block {log.block_number} {log.block_hash}", Remedy.FIX_FEED
                )
            if log.log_index <= last:
                what = "twice" if log.log_index == last else "out of order"
                raise MarketError(f"{name} carries log {log.log_index} {what}", Remedy.FIX_FEED)
            last = log.log_index

    def _draft_block(self, draft: Draft, update: BlockUpdate) -> dict[PoolId, int]:
        """Every log of the block into ``draft``; returns the known pools with the transaction that came first.

        Pools don't depend on one another, so the logs are taken pool by pool, unless one changes contracts.
        """
        found = by_pool(update.logs, self.pool_index, self._managers)
        if any(log.topics and log.topics[0] in UPGRADE_TOPICS for log in update.logs):
            for log in update.logs:
                self._draft(draft, log, update.timestamp)
            return found.movers
        for log in found.unknown:
            self._draft_unknown(draft, log)
        for pool_id, own in found.groups.items():
            self._draft_pool(draft, pool_id, own, update.timestamp)
        return found.movers

    def _draft_pool(self, draft: Draft, pool_id: int, logs: list[Log], timestamp: int) -> None:
        """The logs of one pool, folded where its family allows it and nothing about them is odd."""
        pool, family = self.addresses[pool_id], self._pool_family[pool_id]
        if pool in self.quarantine:
            self.counters["quarantined_logs"] += len(logs)
            return
        if family.folds:
            wanted = self._topics[family.name]
            own = [log for log in logs if log.topics and log.topics[0] in wanted]
            if not own:
                return
            try:
                folded = family.fold(self.states[pool], own, timestamp)
            except Exception:  # one by one it is found out which, and why
                folded = None
            if folded is not None:
                draft.states[pool_id], led = folded
                draft.deltas += [PoolDelta(family, *step) for step in led]
                return
        for log in logs:
            if pool_id in draft.faults:
                self.counters["quarantined_logs"] += 1
            else:
                self._draft_log(draft, pool_id, log, timestamp)

    def _draft(self, draft: Draft, log: Log, timestamp: int) -> None:
        if log.topics and log.topics[0] in UPGRADE_TOPICS:
            self._draft_upgrade(draft, log.address)
            return
        pool = self.pool_of(log)
        pool_id = self.pool_index.get(pool)
        if pool_id is None:
            self._draft_unknown(draft, log)
        elif pool in self.quarantine or pool_id in draft.faults:
            self.counters["quarantined_logs"] += 1
        else:
            self._draft_log(draft, pool_id, log, timestamp)

    def _draft_upgrade(self, draft: Draft, contract: Address) -> None:
        """Nothing is known of the new code: its pools are out until the market is loaded anew."""
        for pool, state in self.states.items():
            if contract == home_of(state):
                what = "its contract"
            elif contract in state.tokens:
                what = f"the contract of its token {contract}"
            else:
                continue
            draft.faults[self.pool_index[pool]] = f"{what} changed its implementation"
            draft.final.add(self.pool_index[pool])

    def _draft_unknown(self, draft: Draft, log: Log) -> None:
        dex = self.factories.get(log.address)
        created = decode_creation(log, dex) if dex is not None else None
        if created is None:
            draft.unknown_logs += 1
        else:
            draft.new_pools.append(created)

    def _draft_log(self, draft: Draft, pool_id: int, log: Log, timestamp: int) -> None:
        family = self._pool_family[pool_id]
        if pool_id in draft.faults or not log.topics or log.topics[0] not in self._topics[family.name]:
            return
        state = draft.states.get(pool_id)
        if state is None:
            state = self.states[self.addresses[pool_id]]
        try:
            delta = family.decode(state, log, timestamp)
            if delta is None:
                return
            draft.states[pool_id] = family.apply(state, delta)
        except Exception as error:  # whatever a hostile log provokes, it may cost its own pool only
            where = f"log {log.log_index} of block {log.block_number}, tx {log.tx_hash}"
            draft.faults[pool_id] = f"{where}: {type(error).__name__}: {error}"
            return
        draft.deltas.append(PoolDelta(family, state, delta))

    def _commit_states(self, draft: Draft, record: Record) -> None:
        for pool_id in draft.states.keys() | draft.faults.keys():
            record.previous[pool_id] = self.states[self.addresses[pool_id]]
        for pool_id, state in draft.states.items():
            # a pool whose log failed keeps the last state that is known to be right
            if pool_id not in draft.faults:
                self.states[self.addresses[pool_id]] = state
        for pool_id, reason in draft.faults.items():
            where = record.update
            final = pool_id in draft.final
            self.quarantine[self.addresses[pool_id]] = Quarantine(reason, where.number, where.hash, final)
            self.counters["quarantined"] += 1
        if draft.faults:
            draft.deltas = [d for d in draft.deltas if self.pool_index[d.state.address] not in draft.faults]

    def _advance(self, record: Record, context: BlockContext) -> None:
        self._ring.append(record)
        while len(self._ring) > self._ring_depth:
            self._base = head_of(self._ring.popleft().update)
        if self._late and self._base is not None:
            known_from = self._base.number
            self._late = {pool: joined for pool, joined in self._late.items() if joined > known_from}
        self.head, self._context = head_of(record.update), context

    def _context_after(self, update: BlockUpdate) -> BlockContext:
        timestamp = update.timestamp + self._block_time_s
        return BlockContext(update.number + 1, timestamp, self._next_base_fee(update))

    def _step_back(self, first_dropped: BlockUpdate) -> None:
        if self._ring:
            last = self._ring[-1].update
            self.head, self._context = head_of(last), self._context_after(last)
            return
        self.head = self._base
        # the siblings of the dropped block have its base fee: it follows from their common parent
        self._context = BlockContext(first_dropped.number, first_dropped.timestamp, first_dropped.base_fee_wei or 0)

    def _quarantine_late(self, to_number: int) -> set[int]:
        """Pools that joined above ``to_number`` have no state there."""
        late = {pool_id for pool_id, joined in self._late.items() if joined > to_number}
        for pool_id in late:
            reason = f"its state was read at block {self._late[pool_id]}, which was rolled back"
            self.quarantine[self.addresses[pool_id]] = Quarantine(reason, to_number, None)
        return late

    def _drifted(self) -> list[int]:
        """Pools whose pieces are others now for no other reason than that the executing block's time is another."""
        found = []
        for pool_id, known in self._time_keys.items():
            address = self.addresses[pool_id]
            if address not in self.quarantine:
                key = _time_key(self._pool_family[pool_id], self.states[address], self._context)
                if key != known:
                    found.append(pool_id)
        return found

    def _write_arrays(self, pool_ids: Iterable[int]) -> None:
        """Segments of these pools. One that can't be expressed is out of the search, its state stays exact."""
        arrays = self.arrays
        for pool_id in pool_ids:
            address = self.addresses[pool_id]
            if address in self.quarantine:
                arrays.disable(pool_id)
                continue
            state, family = self.states[address], self._pool_family[pool_id]
            if family.follows_clock:
                self._time_keys[pool_id] = _time_key(family, state, self._context)
            try:
                segments = [
                    family.segments(state, int(arrays.edge_i[e]), int(arrays.edge_j[e]), self._context)
                    for e in arrays.edges_of(pool_id)
                ]
                arrays.update(pool_id, segments)
            except Exception:  # float conversion of absurd reserves may overflow: the search does without the pool
                self.counters["unsearchable"] += 1
                arrays.disable(pool_id)

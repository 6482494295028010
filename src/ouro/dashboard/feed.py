"""One reader for all pages: what is new in the books and in the engine's files, twice a second, kept in memory."""

import asyncio
from array import array
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, takewhile
from typing import Any

from ouro.capital.stages import ChainStage, StageStore, stage_path
from ouro.config.model import OuroConfig
from ouro.dashboard.files import EngineFiles
from ouro.dashboard.reading import BooksReader, Counted, Holding, Run, TradeStory
from ouro.dashboard.totals import Filter, Histogram, Point, Totals, curve, histogram
from ouro.dashboard.trades import Trade
from ouro.ledger.database import ledger_name
from ouro.ledger.errors import LedgerError

EVERY_S = 0.5
_KEPT_FILTERS = 32
_CHANGES_KEPT = 2_000
_LONGEST_OPEN_MS = 3_600_000
"""Attempts settle within so long of their journaling; one that takes longer may be missing from a gauge."""
NATIVE_TOKEN = "0x" + "00" * 20
_EMPTY = Counted({}, {}, {}, {}, {}, {})


@dataclass(slots=True)
class Picture:
    """What is known now. ``problem`` is why the books can't be read, in words for people; empty when they can."""

    loading: bool = True
    problem: str = ""
    counted: Counted = _EMPTY
    run: Run | None = None
    latencies_us: "dict[str, array[int]]" = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Reading:
    news: list[Trade]
    counted: Counted
    run: Run | None
    latencies_us: "dict[str, array[int]]"


class Feed:
    """The books and the engine's files in memory. Lives on one event loop; only the reading is on a thread."""

    def __init__(self, config: OuroConfig, *, every_s: float = EVERY_S) -> None:
        self.config = config
        self.files = EngineFiles(config.data_dir)
        self.picture = Picture()
        self.version = 0
        self._every_s = every_s
        self._stages = StageStore(stage_path(config.data_dir), _only_looks)
        self._trades: dict[str, Trade] = {}
        self._order: list[Trade] = []
        self._open: set[str] = set()
        self._changes: list[tuple[int, Trade]] = []
        self._totals: OrderedDict[Filter, Totals] = OrderedDict()
        self._histograms: dict[str | None, tuple[int, Histogram]] = {}
        self._curves: dict[Filter, tuple[int, list[Point]]] = {}
        self._reader: BooksReader | None = None

    async def run(self) -> None:
        """Read for ever; ends by cancellation."""
        try:
            while True:
                await self.read()
                await asyncio.sleep(self._every_s)
        finally:
            if self._reader is not None:
                self._reader.close()

    async def read(self) -> None:
        """Take in what is new. Trouble with the books becomes ``picture.problem`` and is tried again."""
        try:
            changed, reading = await asyncio.to_thread(self._read)
        except LedgerError as error:
            old = self.picture
            self.picture = Picture(False, str(error), old.counted, old.run, old.latencies_us)
            self.version += old != self.picture
            return
        changed |= self._take(reading.news)
        picture = Picture(False, "", reading.counted, reading.run, reading.latencies_us)
        changed |= picture != self.picture
        self.picture = picture
        self.version += changed

    def _read(self) -> tuple[bool, _Reading]:
        changed = self.files.refresh()
        try:
            if self._reader is None:
                self._reader = BooksReader(self.config.ledger.url)
            reader = self._reader
            return changed, _Reading(reader.news(), reader.counted(), reader.latest_run(), reader.decided_us())
        except LedgerError:
            if self._reader is not None:
                self._reader.close()
                self._reader = None
            raise

    def _take(self, news: Sequence[Trade]) -> bool:
        changed = False
        for trade in news:
            old = self._trades.get(trade.attempt_id)
            if old == trade:
                continue
            changed = True
            self._trades[trade.attempt_id] = trade
            (self._open.discard if trade.is_final else self._open.add)(trade.attempt_id)
            if old is None:
                self._order.append(trade)
            for wanted, totals in self._totals.items():
                if old is not None and wanted.admits(old):
                    totals.remove(old)
                if wanted.admits(trade):
                    totals.add(trade)
            self._changes.append((self.version + 1, trade))
        if changed:
            ordered = (self._trades[each.attempt_id] for each in self._order)
            self._order = sorted(ordered, key=lambda each: (each.journaled_at_ms, each.attempt_id))
            del self._changes[:-_CHANGES_KEPT]
        return changed

    def totals(self, wanted: Filter) -> Totals:
        """Sums over what ``wanted`` admits; made once, then kept up to date."""
        totals = self._totals.get(wanted)
        if totals is None:
            totals = Totals()
            for trade in self._order:
                if wanted.admits(trade):
                    totals.add(trade)
            self._totals[wanted] = totals
            if len(self._totals) > _KEPT_FILTERS:
                self._totals.popitem(last=False)
        self._totals.move_to_end(wanted)
        return totals

    def trades(self, wanted: Filter, *, outcome: str | None = None) -> list[Trade]:
        """What ``wanted`` admits, newest first."""
        return [
            trade
            for trade in reversed(self._order)
            if wanted.admits(trade) and (outcome is None or trade.outcome == outcome)
        ]

    def newest(self, wanted: Filter, limit: int) -> list[Trade]:
        """The latest ``limit`` of what ``wanted`` admits, newest first."""
        return list(islice((trade for trade in reversed(self._order) if wanted.admits(trade)), limit))

    def open_trades(self) -> list[Trade]:
        """Attempts without a final outcome."""
        return [self._trades[name] for name in self._open]

    def changes_since(self, version: int) -> list[Trade] | None:
        """Trades that changed after ``version``, oldest first; None when that is too long ago to tell."""
        if len(self._changes) >= _CHANGES_KEPT and self._changes[0][0] > version + 1:
            return None
        return [trade for at, trade in self._changes if at > version]

    def story(self, attempt_id: str) -> TradeStory | None:
        """Everything about one attempt, read now; off the loop, please. Raises ``LedgerError``."""
        reader = BooksReader(self.config.ledger.url)
        try:
            return reader.story(attempt_id)
        finally:
            reader.close()

    def holdings(self) -> list[Holding]:
        """What the books say is held, read now; off the loop, please. Raises ``LedgerError``."""
        reader = BooksReader(self.config.ledger.url)
        try:
            return reader.holdings(self.chain_names())
        finally:
            reader.close()

    @property
    def ledger_name(self) -> str:
        """What people call the books; no password in it."""
        return ledger_name(self.config.ledger.url)

    def count_trades(self) -> int:
        """Attempts of all kinds."""
        return len(self._trades)

    def decimals(self, chain: str, token: str) -> int | None:
        """Of a token's unit; None where nobody told."""
        config = self.config.chains.get(chain)
        if token == NATIVE_TOKEN or (config is not None and token == config.wrapped_native):
            return 18
        return self.files.decimals.get(chain, {}).get(token)

    def histogram(self, chain: str | None) -> Histogram:
        """Decision latencies of one chain or of all."""
        latencies = [values for name, values in self.picture.latencies_us.items() if chain in (None, name)]
        size = sum(map(len, latencies))
        known = self._histograms.get(chain)
        if known is None or known[0] != size:
            known = (size, histogram([value for values in latencies for value in values]))
            self._histograms[chain] = known
        return known[1]

    def curve(self, wanted: Filter) -> list[Point]:
        """Equity and drawdown of what ``wanted`` admits; made once for each state of the books."""
        known = self._curves.get(wanted)
        if known is None or known[0] != self.version:
            known = (self.version, curve(self.totals(wanted).ordered(), self.picture.counted.native_usd))
            self._curves[wanted] = known
            if len(self._curves) > _KEPT_FILTERS:
                self._curves.pop(next(iter(self._curves)))
        return known[1]

    def booked_since(self, since_ms: int) -> list[Trade]:
        """Trades that count at or after ``since_ms``, newest first, without looking at much older ones."""
        begin = since_ms - _LONGEST_OPEN_MS
        recent = takewhile(lambda trade: trade.journaled_at_ms >= begin, reversed(self._order))
        return [trade for trade in recent if trade.at_ms >= since_ms]

    def token(self, chain: str, token: str) -> str:
        """What people call a token; its short address where nobody told."""
        config = self.config.chains.get(chain)
        if token == NATIVE_TOKEN or (config is not None and token == config.wrapped_native):
            return self.coin(chain)
        return self.files.symbols.get(chain, {}).get(token) or short(token)

    def coin(self, chain: str) -> str:
        """What the native coin of a chain is called: by the configuration, else just that."""
        return self.config.dashboard.coins.get(chain, "native")

    def stage(self, chain: str) -> ChainStage | None:
        """Where a chain stands among the stages of growth; None where they are off."""
        return self._stages.of(chain) if self.config.capital.stages.state == "on" else None

    def chain_names(self) -> list[str]:
        """Chains of the configuration, then those that only the books know."""
        others = sorted({*self.picture.counted.blocks, *self.files.chains} - {*self.config.chains})
        return [*self.config.chains, *others]


def _only_looks(kind: str, body: Mapping[str, Any]) -> None:
    raise AssertionError(f"the page changes no stage ({kind})")


def short(text: str) -> str:
    """The ends of an address or hash."""
    return f"{text[:6]}…{text[-4:]}" if len(text) > 12 else text

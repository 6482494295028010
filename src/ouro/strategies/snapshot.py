"""Pool snapshots (CSV, plain or gzip) read into exact states; every row that can't be used is named with its
reason.

Columns: ``chain_id, dex, kind (v2|v3), pool, token0, token1, fee_ppm, reserve0, reserve1, sqrt_price_x96, tick,
tick_spacing, liquidity``; others are ignored. A v3 row has no tick map, only the liquidity that is in range, so the
pool is known inside its current tick-spacing bucket and nowhere else; such pools are flagged.
"""

import csv
import gzip
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from ouro.protocols.uniswap_v2 import MAX_RESERVE, PPM, UniswapV2State
from ouro.protocols.v3_math import MAX_LIQUIDITY, MAX_SQRT_RATIO, MAX_TICK, MIN_SQRT_RATIO, MIN_TICK
from ouro.protocols.v3_math import sqrt_ratio_at_tick as ratio_at
from ouro.protocols.v3_state import MAX_TICK_SPACING, UniswapV3State
from ouro.protocols.v3_ticks import TickTable
from ouro.types import Address

REQUIRED_COLUMNS = ("chain_id", "kind", "pool", "token0", "token1")
DEFAULT_FEE_PPM = 3_000
SPACING_OF_FEE_PPM = {100: 1, 500: 10, 2_500: 50, 3_000: 60, 10_000: 200}
MAX_LINE_BYTES = 1 << 16
_GZIP_MAGIC = b"\x1f\x8b"
_ADDRESS = re.compile(r"0x[0-9a-f]{40}")
_INTEGER = re.compile(r"-?[0-9]{1,80}")
_ROW_BYTES = 1_200
"""What a row takes in memory at most, measured: a state, its strings and its place in the graph."""


class SnapshotError(ValueError):
    """The file as a whole can't be used; says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that was left out. ``line`` counts from 1, the header included; ``kind`` is the reason without its
    particulars, so that rows can be counted by it."""

    line: int
    pool: str
    reason: str
    kind: str


BytesFile = IO[bytes] | gzip.GzipFile
SnapshotState = UniswapV2State | UniswapV3State


@dataclass(slots=True)
class Snapshot:
    """The usable pools of one chain. ``bucket_only``: v3 pools known only inside their current bucket."""

    chain_id: int
    states: list[SnapshotState] = field(default_factory=list)
    bad_rows: list[BadRow] = field(default_factory=list)
    bucket_only: set[Address] = field(default_factory=set)
    dates: dict[str, int] = field(default_factory=dict)
    default_fees: int = 0


class _RowError(ValueError):
    """Why a row can't be used; ``kind`` is the same without particulars, where it has any."""

    def __init__(self, reason: str, kind: str = "") -> None:
        super().__init__(reason)
        self.kind = kind or reason


def read_snapshot(
    path: Path,
    *,
    fee_ppm: int = DEFAULT_FEE_PPM,
    chain_id: int | None = None,
    date: str | None = None,
    budget_bytes: int = 1 << 31,
) -> Snapshot:
    """Read ``path``. ``fee_ppm`` is for rows without one; ``date`` keeps the rows of one ``snapshot_date``.

    Without ``chain_id`` the chain of most usable rows is taken. Raises ``SnapshotError`` where the file is no
    snapshot, has no rows at all (of ``date``), or more of them than ``budget_bytes`` hold, ``OSError`` where it
    can't be read.
    """
    if not 0 <= fee_ppm < PPM:
        raise SnapshotError(f"--fee-ppm {fee_ppm}: from 0 to 999,999 makes sense")
    reading = _Reading(fee_ppm, date, chain_id)
    try:
        with _opened(path) as file:
            for line, row in _rows(file, path, reading.bad_rows):
                reading.take(row, line)
                if reading.count * _ROW_BYTES > budget_bytes:
                    raise SnapshotError(
                        f"{path}: more than {reading.count:,} pools don't fit into {budget_bytes:,} bytes: "
                        "raise the memory budget or split the file"
                    )
    except (EOFError, gzip.BadGzipFile, zlib.error, UnicodeDecodeError) as error:
        raise SnapshotError(f"{path}: the file is damaged or no text: {error}") from error
    if date is not None and not reading.read:
        dates = _some(sorted(reading.dates))
        raise SnapshotError(f"{path}: no row has the date {date}; there are {dates or 'no dates at all'}")
    if not reading.read and not reading.bad_rows:
        raise SnapshotError(f"{path}: there are no rows under the header")
    return reading.snapshot()


def _some(words: list[str], limit: int = 12) -> str:
    return ", ".join(words[:limit]) + (f" and {len(words) - limit:,} more" if len(words) > limit else "")


@dataclass(slots=True)
class _Row:
    """A usable row."""

    line: int
    state: SnapshotState
    date: str
    default_fee: bool


@dataclass(slots=True)
class _Reading:
    """Rows chain by chain: which chain is meant is known only when all have been read.

    With ``chain_id`` those of others are never kept.
    """

    fee_ppm: int
    date: str | None
    chain_id: int | None
    rows: dict[int, dict[Address, _Row]] = field(default_factory=dict)
    bad_rows: list[BadRow] = field(default_factory=list)
    dates: Counter[str] = field(default_factory=Counter)
    count: int = 0
    read: int = 0

    def take(self, row: dict[str, str], line: int) -> None:
        pool, when = row["pool"].lower(), row.get("snapshot_date", "")
        if when:
            self.dates[when] += 1
        if self.date is not None and when != self.date:
            return
        self.read += 1
        try:
            chain = _integer(row, "chain_id", 1, 1 << 63)
            if self.chain_id is not None and chain != self.chain_id:
                raise _other_chain(chain, self.chain_id)
            if not _ADDRESS.fullmatch(pool):
                raise _RowError("pool is no address")
            known = self.rows.get(chain, {}).get(pool)
            if known is not None:
                raise _RowError(
                    f"the pool was on line {known.line} already", "the pool was on an earlier line already"
                )
            state = _state(row, pool, self.fee_ppm)
        except _RowError as error:
            self.bad_rows.append(BadRow(line, pool or "?", str(error), error.kind))
            return
        self.rows.setdefault(chain, {})[pool] = _Row(line, state, when, not row.get("fee_ppm", ""))
        self.count += 1

    def snapshot(self) -> Snapshot:
        # of equally many rows, the chain that came first
        chain = self.chain_id or max(self.rows, key=lambda number: len(self.rows[number]), default=0)
        made = Snapshot(chain)
        for pool, row in self.rows.pop(chain, {}).items():
            made.states.append(row.state)
            if isinstance(row.state, UniswapV3State):
                made.bucket_only.add(pool)
            if row.date:
                made.dates[row.date] = made.dates.get(row.date, 0) + 1
            made.default_fees += row.default_fee
        for other, rows in self.rows.items():
            error = _other_chain(other, chain)
            self.bad_rows += [BadRow(row.line, pool, str(error), error.kind) for pool, row in rows.items()]
        made.bad_rows = sorted(self.bad_rows, key=lambda bad: bad.line)
        return made


def _other_chain(chain: int, scanned: int) -> _RowError:
    return _RowError(f"of chain {chain}, while chain {scanned} is scanned")


def _opened(path: Path) -> BytesFile:
    with path.open("rb") as file:
        packed = file.read(2) == _GZIP_MAGIC
    return gzip.open(path, "rb") if packed else path.open("rb")


def _lines(file: BytesFile, bad_rows: list[BadRow]) -> Iterator[str]:
    """Lines of bounded length; a longer one is left out, whatever its size."""
    number = 0
    while chunk := file.readline(MAX_LINE_BYTES):
        number += 1
        if len(chunk) == MAX_LINE_BYTES and not chunk.endswith(b"\n"):
            while (rest := file.readline(MAX_LINE_BYTES)) and not rest.endswith(b"\n"):
                pass
            reason = f"the line is longer than {MAX_LINE_BYTES:,} bytes"
            bad_rows.append(BadRow(number, "?", reason, reason))
            yield "\n"
            continue
        yield chunk.decode("utf-8", "replace").replace("\0", "")


def _rows(file: BytesFile, path: Path, bad_rows: list[BadRow]) -> Iterator[tuple[int, dict[str, str]]]:
    # one physical line is one row: a stray quote must not swallow the rest of the file
    lines = _lines(file, bad_rows)
    header = _cells(next(lines, ""))
    names = [name.strip().lower().lstrip("\ufeff") for name in header or []]
    missing = [name for name in REQUIRED_COLUMNS if name not in names]
    if missing:
        raise SnapshotError(
            f"{path}: no pool snapshot, column{'s' if len(missing) > 1 else ''} {', '.join(missing)} missing"
        )
    for line, text in enumerate(lines, start=2):
        if not text.strip():
            continue
        cells = _cells(text)
        if cells is None or len(cells) != len(names):
            count = "no" if cells is None else str(len(cells))
            kind = f"not as many readable fields as the header, {len(names)}"
            bad_rows.append(BadRow(line, "?", f"{count} readable fields, the header has {len(names)}", kind))
            continue
        yield line, dict(zip(names, (cell.strip() for cell in cells), strict=True))


def _cells(text: str) -> list[str] | None:
    try:
        return next(csv.reader(iter([text])), [])
    except csv.Error:
        return None


def _state(row: dict[str, str], pool: Address, fee_ppm: int) -> SnapshotState:
    tokens = row["token0"].lower(), row["token1"].lower()
    for name, token in zip(("token0", "token1"), tokens, strict=True):
        if not _ADDRESS.fullmatch(token):
            raise _RowError(f"{name} is no address: {token!r:.60}", f"{name} is no address")
    if tokens[0] == tokens[1]:
        raise _RowError("both tokens are the same")
    if int(tokens[0], 16) > int(tokens[1], 16):
        raise _RowError(
            "wrong token order: a pool's token0 has the lower address, so it's unknown whose reserve0 is"
        )
    fee = _integer(row, "fee_ppm", 0, PPM - 1) if row.get("fee_ppm", "") else fee_ppm
    kind = row["kind"].lower()
    if kind == "v2":
        return _pair(row, pool, tokens, fee)
    if kind == "v3":
        return _concentrated(row, pool, tokens, fee)
    raise _RowError(f"kind {kind!r:.40} is neither v2 nor v3", "kind is neither v2 nor v3")


def _pair(row: dict[str, str], pool: Address, tokens: tuple[str, str], fee_ppm: int) -> UniswapV2State:
    reserves = [_integer(row, name, 0, MAX_RESERVE) for name in ("reserve0", "reserve1")]
    if not all(reserves):
        raise _RowError("a reserve is zero: nothing to trade")
    return UniswapV2State(pool, tokens, reserves[0], reserves[1], fee_ppm)


def _concentrated(row: dict[str, str], pool: Address, tokens: tuple[str, str], fee_ppm: int) -> UniswapV3State:
    price = _integer(row, "sqrt_price_x96", MIN_SQRT_RATIO, MAX_SQRT_RATIO - 1)
    tick = _integer(row, "tick", MIN_TICK - 1, MAX_TICK)
    liquidity = _integer(row, "liquidity", 0, MAX_LIQUIDITY)
    if not liquidity:
        raise _RowError("no liquidity in range: nothing to trade")
    if row.get("tick_spacing", ""):
        spacing = _integer(row, "tick_spacing", 1, MAX_TICK_SPACING)
    elif fee_ppm in SPACING_OF_FEE_PPM:
        spacing = SPACING_OF_FEE_PPM[fee_ppm]
    else:
        raise _RowError(f"no tick_spacing, and fee_ppm {fee_ppm} doesn't tell it", "no tick_spacing")
    # a downward swap that stops exactly on a tick stores tick - 1
    if not ratio_at(max(tick, MIN_TICK)) <= price <= ratio_at(min(tick + 1, MAX_TICK)):
        raise _RowError(
            f"tick {tick} doesn't belong to sqrt_price_x96 {price}", "tick doesn't belong to sqrt_price_x96"
        )
    lower = tick // spacing * spacing
    upper = lower + spacing
    if lower < MIN_TICK or upper > MAX_TICK:
        raise _RowError("the price is at the very end of the tick range")
    ticks = TickTable({lower: (liquidity, liquidity), upper: (liquidity, -liquidity)})
    return UniswapV3State(pool, tokens, fee_ppm, spacing, price, tick, liquidity, ticks)


def _integer(row: dict[str, str], name: str, low: int, high: int) -> int:
    text = row.get(name, "")
    if not _INTEGER.fullmatch(text):
        raise _RowError(f"{name} is no integer: {text!r:.60}", f"{name} is no integer")
    value = int(text)
    if not low <= value <= high:
        raise _RowError(f"{name} is {value}, outside {low} to {high}", f"{name} is outside {low} to {high}")
    return value


def count_reasons(rows: Iterable[BadRow]) -> dict[str, int]:
    """How many rows were left out for which kind of reason, most first."""
    counts = Counter(row.kind for row in rows)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

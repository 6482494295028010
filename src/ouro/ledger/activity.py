"""What is counted rather than booked (refusals, blocks, latencies, prices), written in sums."""

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Table, update
from sqlalchemy.dialects import postgresql, sqlite

from ouro.ledger import schema

_CHUNK_BLOCKS = 4096


def _upsert(
    connection: Connection, table: Table, values: Mapping[str, Any], add: set[str], replace: set[str]
) -> None:
    build = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    statement = build(table).values(**values)
    changes: dict[str, Any] = {name: table.c[name] + statement.excluded[name] for name in add}
    changes |= {name: statement.excluded[name] for name in replace}
    keys = [column.name for column in table.primary_key]
    connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=changes))


@dataclass(frozen=True, slots=True)
class AddRefusals:
    """Refusals of one kind within one hour, with the samples worth keeping: (at_ms, plan_id, detail)."""

    session_id: str
    chain: str
    reason: str
    hour: int
    times: int
    samples: Sequence[tuple[int, str, str]]

    def apply(self, connection: Connection) -> None:
        """Add to the hour's row."""
        key = {"session_id": self.session_id, "chain": self.chain, "reason": self.reason}
        _upsert(connection, schema.refusals, {**key, "hour": self.hour, "times": self.times}, {"times"}, set())
        for at_ms, plan_id, detail in self.samples:
            row = {**key, "at_ms": at_ms, "plan_id": plan_id, "detail": detail}
            connection.execute(schema.refusal_samples.insert().values(**row))


@dataclass(frozen=True, slots=True)
class PurgeSamples:
    """The retention rule: old samples go; counts and money records never do."""

    before_ms: int

    def apply(self, connection: Connection) -> None:
        """Delete them."""
        table = schema.refusal_samples
        connection.execute(table.delete().where(table.c.at_ms < self.before_ms))


@dataclass(slots=True)
class LatencyLog:
    """All decision latencies of a chain in this session; rewrites only the chunk that is still filling."""

    session_id: str
    chain: str
    values_us: "array[int]" = field(default_factory=lambda: array("I"))
    first_chunk: int = 0

    def apply(self, connection: Connection) -> None:
        """Write what is in memory."""
        for start in range(0, len(self.values_us), _CHUNK_BLOCKS):
            part = self.values_us[start : start + _CHUNK_BLOCKS]
            values = {
                "session_id": self.session_id,
                "chain": self.chain,
                "chunk": self.first_chunk + start // _CHUNK_BLOCKS,
                "decided_us": part.tobytes(),
            }
            _upsert(connection, schema.latency_chunks, values, set(), {"decided_us"})

    def forget_full_chunks(self) -> None:
        """After a commit: what can't change any more need not stay in memory."""
        full = len(self.values_us) // _CHUNK_BLOCKS
        if full:
            del self.values_us[: full * _CHUNK_BLOCKS]
            self.first_chunk += full


@dataclass(frozen=True, slots=True)
class AddBlocks:
    """Counters of blocks since the last write; gauges are those of the last block."""

    session_id: str
    chain: str
    at_ms: int
    blocks: int
    blocks_decided: int
    opportunities: int
    pools: int
    cycles: int
    last_block: int

    def apply(self, connection: Connection) -> None:
        """Add them, and note that the session is alive."""
        values = {name: getattr(self, name) for name in self.__slots__ if name != "at_ms"}
        counters = {"blocks", "blocks_decided", "opportunities"}
        _upsert(connection, schema.chain_stats, values, counters, {"pools", "cycles", "last_block"})
        table = schema.sessions
        mine = table.c.session_id == self.session_id
        connection.execute(update(table).where(mine).values(last_seen_ms=self.at_ms))


@dataclass(frozen=True, slots=True)
class SetPrice:
    """What a native coin is worth in USD (decimal text), and who says so."""

    session_id: str
    chain: str
    native_usd: str
    source: str

    def apply(self, connection: Connection) -> None:
        """Write it to the session's row of the chain."""
        values = {
            "session_id": self.session_id,
            "chain": self.chain,
            "native_usd": self.native_usd,
            "native_usd_source": self.source,
        }
        zeros = dict.fromkeys(("blocks", "blocks_decided", "opportunities", "pools", "cycles", "last_block"), 0)
        _upsert(connection, schema.chain_stats, values | zeros, set(), {"native_usd", "native_usd_source"})

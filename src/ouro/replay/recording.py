"""A recording as a whole: the state it begins at, then the events in order. Self-contained: no node is needed."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ouro import __version__
from ouro.chain.fees import FeeModel, FeeParams
from ouro.config.model import ChainConfig
from ouro.execution.image import ShadowImage
from ouro.execution.slots import BalanceSlot
from ouro.market.journal import Head
from ouro.market.tokens import TokenInfo
from ouro.protocols.creation import NewPool
from ouro.protocols.registry import FAMILIES
from ouro.replay.chunks import CODES, END, EVENTS, HEADER, STATES, WORDS, ChunkWriter, read_chunks
from ouro.replay.errors import RecordingError
from ouro.replay.events import (
    hexed,
    number_bytes,
    pack_answers,
    pack_event,
    raw,
    unpack_answers,
    unpack_event,
)
from ouro.replay.reads import RecordedNode
from ouro.types import Address, BlockUpdate, FeedEvent, Hash, PoolId

_STATES_PER_CHUNK, _ACCOUNTS_PER_CHUNK, _EVENTS_PER_CHUNK = 500, 500, 64
_ENDPOINT = "replay:"


@dataclass(slots=True)
class Origin:
    """What the engine knew before the first event: exact at ``head``.

    ``config`` is the chain's configuration without its endpoints, which may hold keys. ``rejected`` pools were seen
    and left out. ``image`` is None where there was no executor. ``announced``: how to read pools of which some
    fields are read at every block.
    """

    chain: str
    config: ChainConfig
    head: Head
    fees: FeeModel
    states: Mapping[PoolId, Any]
    tokens: Mapping[Address, TokenInfo] = field(default_factory=dict)
    image: ShadowImage | None = None
    source: str = "node"
    announced: Mapping[PoolId, NewPool] = field(default_factory=dict)


class RecordingWriter:
    """Writes a recording event by event; ``finish`` puts it in its place."""

    def __init__(self, path: Path, origin: Origin) -> None:
        self._chunks = ChunkWriter(path)
        self._chain = origin.chain
        self._waiting: list[Any] = []
        self._origin_ns: int | None = None
        self.counts = {"events": 0, "blocks": 0, "logs": 0, "answers": 0}
        try:
            self._begin(origin)
        except BaseException:
            self._chunks.abandon()
            raise

    def _begin(self, origin: Origin) -> None:
        self._chunks.put(HEADER, _header(origin))
        records = [FAMILIES[state.family].to_json(state) for state in origin.states.values()]
        for page in _pages(records, _STATES_PER_CHUNK):
            self._chunks.put(STATES, page)
        if origin.image is None:
            return
        for page in _pages(list(origin.image.accounts.items()), _ACCOUNTS_PER_CHUNK):
            packed = [[raw(who), code, number_bytes(balance)] for who, (code, balance) in page]
            self._chunks.put(CODES, packed)
        for page in _pages(list(origin.image.words.items()), _ACCOUNTS_PER_CHUNK):
            self._chunks.put(WORDS, [_packed_words(who, words) for who, words in page])

    def add(self, event: FeedEvent) -> None:
        """One more event."""
        if isinstance(event, BlockUpdate):
            if self._origin_ns is None:
                self._origin_ns = event.received_ns
            self.counts["blocks"] += 1
            self.counts["logs"] += len(event.logs)
        self.counts["events"] += 1
        self._waiting.append(pack_event(event, self._origin_ns or 0))
        if len(self._waiting) >= _EVENTS_PER_CHUNK:
            self.flush()

    def add_answers(self, block_hash: Hash, answers: Mapping[bytes, bytes]) -> None:
        """What the node answered at the block that is added next."""
        if answers:
            self.counts["answers"] += len(answers)
            self._waiting.append(pack_answers(block_hash, answers))

    def flush(self) -> None:
        """Write what waits."""
        waiting, self._waiting = self._waiting, []
        if waiting:
            self._chunks.put(EVENTS, waiting)
            self._chunks.flush()

    def finish(self) -> Path:
        """Close the file and put it in its place."""
        self.flush()
        return self._chunks.finish(self.counts)

    def abandon(self) -> None:
        """Close and remove what was written."""
        self._chunks.abandon()


class Recording:
    """A checked file. ``origin`` is in memory; events are read from the file as they are played, and so is what
    ``node`` then answers."""

    def __init__(self, path: Path, origin: Origin, counts: Mapping[str, int]) -> None:
        self.path, self.origin = path, origin
        self.node = RecordedNode()
        self.blocks, self.logs, self.event_count = counts["blocks"], counts["logs"], counts["events"]

    @classmethod
    def open(cls, path: Path) -> "Recording":
        """Read and check the whole file. Raises ``RecordingError`` naming file and place, ``OSError``."""
        loader = _Loader(path)
        for offset, kind, value in read_chunks(path):
            try:
                loader.take(kind, value)
            except RecordingError as error:
                raise RecordingError(f"{path}: byte {offset}: {error}") from error
            except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
                raise RecordingError(
                    f"{path}: byte {offset}: malformed chunk: {type(error).__name__}: {error}"
                ) from error
        return cls(path, loader.origin(), loader.counts)

    def events(self, origin_ns: int = 0) -> Iterator[FeedEvent]:
        """The events in order; receipt times count from ``origin_ns``."""
        for _, kind, value in read_chunks(self.path):
            if kind == EVENTS:
                for record in value:
                    answers = unpack_answers(record)
                    if answers is not None:
                        self.node.learn(*answers)
                        continue
                    yield unpack_event(record, self.origin.chain, origin_ns)


class _Loader:
    """Gathers a recording chunk by chunk."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._header: dict[str, Any] | None = None
        self._states: dict[PoolId, Any] = {}
        self._accounts: dict[Address, tuple[bytes, int]] = {}
        self._words: dict[Address, dict[int, int]] = {}
        self.counts: dict[str, int] = {}
        self._seen = {"events": 0, "blocks": 0, "logs": 0}

    def take(self, kind: bytes, value: Any) -> None:
        """One chunk. Raises ``RecordingError`` or what malformed values raise."""
        if (self._header is None) != (kind == HEADER):
            raise RecordingError("the header must come first, and once")
        if kind == HEADER:
            self._header = dict(value)
        elif kind == STATES:
            for record in value:
                family = FAMILIES.get(record["family"])
                if family is None:
                    raise RecordingError(f"a pool of the unknown family {record['family']!r}")
                state = family.from_json(record)
                self._states[state.address] = state
        elif kind == CODES:
            self._accounts |= {hexed(who): (code, int.from_bytes(wei, "big")) for who, code, wei in value}
        elif kind == WORDS:
            self._words |= {hexed(who): _unpacked_words(packed) for who, packed in value}
        elif kind == EVENTS:
            self._check_events(value)
        elif kind == END:
            self.counts = {name: int(value[name]) for name in ("events", "blocks", "logs")}
            if self.counts != self._seen:
                raise RecordingError(f"the closing chunk counts {self.counts}, the file has {self._seen}")

    def _check_events(self, records: Iterable[Any]) -> None:
        for record in records:
            if unpack_answers(record) is not None:
                continue
            event = unpack_event(record, "")
            self._seen["events"] += 1
            if isinstance(event, BlockUpdate):
                self._seen["blocks"] += 1
                self._seen["logs"] += len(event.logs)

    def origin(self) -> Origin:
        """What the recording begins at."""
        header = self._header
        if header is None:
            raise RecordingError(f"{self._path}: no header")
        try:
            return _origin(header, self._states, self._accounts, self._words)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            words = _first_line(error)
            raise RecordingError(f"{self._path}: malformed header: {type(error).__name__}: {words}") from error


def _first_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        problem = error.errors(include_url=False, include_input=False)[0]
        return f"config {'.'.join(map(str, problem['loc']))}: {problem['msg']}"
    return str(error).splitlines()[0] if str(error) else ""


def _header(origin: Origin) -> dict[str, Any]:
    image, head = origin.image, origin.head
    shadow = None
    if image is not None:
        shadow = {
            "number": image.number,
            "executor": image.executor,
            "treasury": image.treasury,
            "slots": [[token, s.style, number_bytes(s.position)] for token, s in image.balance_slots.items()],
            "faults": dict(image.faults),
            "pools": list(image.pools),
        }
    fees = origin.fees
    params = fees.params
    gas_price = None if fees.gas_price_wei is None else str(fees.gas_price_wei)
    return {
        "made_by": f"ouro {__version__}",
        "source": origin.source,
        "chain": origin.chain,
        "config": origin.config.model_dump(mode="json", exclude={"endpoints"}),
        "head": [
            head.number,
            head.hash,
            head.timestamp,
            None if head.base_fee_wei is None else str(head.base_fee_wei),
        ],
        "fees": [fees.kind, params.change_denominator, params.elasticity, str(params.min_base_fee_wei), gas_price],
        "tokens": [[info.address, info.symbol, info.decimals] for info in origin.tokens.values()],
        "shadow": shadow,
        "announced": [asdict(pool) for pool in origin.announced.values()],
    }


def _origin(
    header: dict[str, Any],
    states: Mapping[PoolId, Any],
    accounts: dict[Address, tuple[bytes, int]],
    words: dict[Address, dict[int, int]],
) -> Origin:
    number, block_hash, timestamp, base_fee = header["head"]
    kind, denominator, elasticity, least, gas_price = header["fees"]
    image = None
    if (found := header["shadow"]) is not None:
        image = ShadowImage(found["number"], found["executor"], found["treasury"])
        image.balance_slots = {
            token: BalanceSlot(style, int.from_bytes(place, "big")) for token, style, place in found["slots"]
        }
        image.faults, image.pools = dict(found["faults"]), list(found["pools"])
        image.accounts, image.words = accounts, words
    return Origin(
        chain=header["chain"],
        config=ChainConfig.model_validate({**header["config"], "endpoints": [_ENDPOINT]}),
        head=Head(number, block_hash, timestamp, None if base_fee is None else int(base_fee)),
        fees=FeeModel(
            kind,
            FeeParams(denominator, elasticity, int(least)),
            None if gas_price is None else int(gas_price),
        ),
        states=states,
        tokens={row[0]: TokenInfo(row[0], row[1], row[2]) for row in header["tokens"]},
        image=image,
        source=header["source"],
        announced={
            row["address"]: NewPool(**{**row, "tokens": tuple(row["tokens"])})
            for row in header.get("announced", ())
        },
    )


def _packed_words(who: Address, words: Mapping[int, int]) -> list[Any]:
    joined = b"".join([slot.to_bytes(32, "big") + value.to_bytes(32, "big") for slot, value in words.items()])
    return [raw(who), joined]


def _unpacked_words(packed: bytes) -> dict[int, int]:
    if len(packed) % 64:
        raise RecordingError("storage words are not whole")
    return {
        int.from_bytes(packed[k : k + 32], "big"): int.from_bytes(packed[k + 32 : k + 64], "big")
        for k in range(0, len(packed), 64)
    }


def _pages(items: list[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]

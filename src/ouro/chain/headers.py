"""Block headers as nodes send them, checked, and the ring of recent ones that reorgs are found with."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ouro.chain.quantity import parse_data, parse_hash, parse_quantity
from ouro.types import BlockUpdate, Hash, Log

_BLOOM_HEX_CHARS = 2 + 512


@dataclass(frozen=True, slots=True)
class Header:
    """The fields that are used. ``bloom`` is None where the chain has none."""

    number: int
    hash: Hash
    parent_hash: Hash
    timestamp: int
    base_fee_wei: int | None
    gas_used: int
    gas_limit: int
    bloom: int | None

    def to_update(self, chain: str, logs: tuple[Log, ...], received_ns: int) -> BlockUpdate:
        """The event for this block with its logs."""
        return BlockUpdate(
            chain=chain,
            number=self.number,
            hash=self.hash,
            parent_hash=self.parent_hash,
            timestamp=self.timestamp,
            base_fee_wei=self.base_fee_wei,
            gas_used=self.gas_used,
            gas_limit=self.gas_limit,
            logs=logs,
            received_ns=received_ns,
        )


def parse_header(value: Any) -> Header:
    """A header from ``newHeads`` or ``eth_getBlockBy*``. Raises ``ValueError`` naming the field."""
    if not isinstance(value, dict):
        raise ValueError("block header is not an object")
    field = ""
    try:
        field = "number"
        number = parse_quantity(value.get(field))
        field = "hash"
        block_hash = parse_hash(value.get(field))
        field = "parentHash"
        parent_hash = parse_hash(value.get(field))
        field = "timestamp"
        timestamp = parse_quantity(value.get(field))
        field = "gasUsed"
        gas_used = parse_quantity(value.get(field))
        field = "gasLimit"
        gas_limit = parse_quantity(value.get(field))
        field = "baseFeePerGas"
        base_fee = value.get(field)
        base_fee_wei = None if base_fee is None else parse_quantity(base_fee)
        field = "logsBloom"
        bloom = _parse_bloom(value.get(field))
    except ValueError as error:
        raise ValueError(f"block header field {field}: {error}") from None
    if block_hash == parent_hash:
        raise ValueError("block header field parentHash: equals its own hash")
    return Header(number, block_hash, parent_hash, timestamp, base_fee_wei, gas_used, gas_limit, bloom)


def _parse_bloom(value: Any) -> int | None:
    if value is None:
        return None
    if len(parse_data(value)) != _BLOOM_HEX_CHARS:
        raise ValueError("not 256 bytes")
    return int(value, 16)


class HeadRing:
    """The last ``depth`` canonical blocks, each the parent of the next. The oldest may be known by hash only."""

    def __init__(self, depth: int) -> None:
        if depth < 1:
            raise ValueError(f"ring depth {depth}: at least 1 is needed")
        self._depth = depth
        self._hashes: list[Hash] = []
        self._numbers: dict[Hash, int] = {}
        self._first = 0

    def __bool__(self) -> bool:
        return bool(self._hashes)

    def __contains__(self, block_hash: Hash) -> bool:
        return block_hash in self._numbers

    def __iter__(self) -> Iterator[tuple[int, Hash]]:
        return ((self._first + k, block_hash) for k, block_hash in enumerate(self._hashes))

    @property
    def tip(self) -> tuple[int, Hash]:
        """Number and hash of the newest block. Raises ``IndexError`` when empty."""
        return self._first + len(self._hashes) - 1, self._hashes[-1]

    @property
    def oldest_number(self) -> int:
        """Number of the oldest block held."""
        return self._first

    def number_of(self, block_hash: Hash) -> int:
        """Number of a block held. Raises ``KeyError``."""
        return self._numbers[block_hash]

    def reset(self, number: int, block_hash: Hash) -> None:
        """Forget everything; start from this block."""
        self.clear()
        self._first = number
        self._hashes.append(block_hash)
        self._numbers[block_hash] = number

    def clear(self) -> None:
        """Forget everything."""
        self._hashes.clear()
        self._numbers.clear()

    def extend(self, header: Header) -> None:
        """Add the child of the tip. Raises ``ValueError`` if it isn't."""
        number, tip_hash = self.tip
        if header.parent_hash != tip_hash or header.number != number + 1:
            raise ValueError(f"block {header.number} {header.hash} does not follow {number} {tip_hash}")
        self._hashes.append(header.hash)
        self._numbers[header.hash] = header.number
        # One more than the depth: the parent of the deepest block that can be rolled back has to be known.
        if len(self._hashes) > self._depth + 1:
            del self._numbers[self._hashes.pop(0)]
            self._first += 1

    def cut(self, number: int) -> tuple[Hash, ...]:
        """Drop every block above ``number``; their hashes, newest first."""
        keep = number - self._first + 1
        if not 1 <= keep <= len(self._hashes):
            raise ValueError(f"block {number} is not in the ring")
        dropped = tuple(reversed(self._hashes[keep:]))
        del self._hashes[keep:]
        for block_hash in dropped:
            del self._numbers[block_hash]
        return dropped

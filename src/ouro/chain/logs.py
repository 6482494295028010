"""Logs of one block: checked field by field, in order, and the bloom filter that says when there are none."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ouro.chain.headers import Header
from ouro.chain.quantity import parse_address, parse_data, parse_hash, parse_quantity
from ouro.hashing import keccak
from ouro.types import Log

_MAX_TOPICS = 4
_SATURATED_BITS = 1_500  # of 2048: such a bloom agrees with nearly everything and proves nothing


def parse_log(value: Any) -> Log:
    """One log as the node sent it. Raises ``ValueError`` naming the field."""
    if not isinstance(value, dict):
        raise ValueError("log is not an object")
    if value.get("removed") is True:
        raise ValueError("log field removed: true for a block that was asked for by hash")
    name = ""
    try:
        name = "address"
        address = parse_address(value.get(name))
        name = "topics"
        topics = _parse_topics(value.get(name))
        name = "data"
        data = parse_data(value.get(name))
        name = "blockNumber"
        block_number = parse_quantity(value.get(name))
        name = "blockHash"
        block_hash = parse_hash(value.get(name))
        name = "transactionHash"
        tx_hash = parse_hash(value.get(name))
        name = "transactionIndex"
        tx_index = parse_quantity(value.get(name))
        name = "logIndex"
        log_index = parse_quantity(value.get(name))
    except ValueError as error:
        raise ValueError(f"log field {name}: {error}") from None
    return Log(address, topics, data, block_number, block_hash, tx_hash, tx_index, log_index)


def _parse_topics(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > _MAX_TOPICS:
        raise ValueError(f"a list of at most {_MAX_TOPICS} is expected")
    return tuple(parse_hash(item) for item in value)


@dataclass(slots=True)
class LogCheck:
    """The logs of one block after checking; ``faults`` is empty when they can be trusted."""

    logs: tuple[Log, ...]
    faults: list[str] = field(default_factory=list)
    notes: Counter[str] = field(default_factory=Counter)


def check_logs(answer: Any, header: Header, watched: frozenset[str]) -> LogCheck:
    """Parse the answer to ``eth_getLogs`` for ``header``.

    Faults (the answer contradicts itself or the header) call for another read; notes (an exact repetition, a wrong
    order, a topic that nobody asked for) are put right and only counted.
    """
    if not isinstance(answer, list):
        return LogCheck((), ["eth_getLogs answered no list"])
    check = LogCheck(())
    by_index: dict[int, Log] = {}
    last = -1
    for item in answer:
        try:
            log = parse_log(item)
        except ValueError as error:
            check.faults.append(str(error))
            continue
        if log.block_hash != header.hash or log.block_number != header.number:
            check.faults.append(f"log of block {log.block_number} {log.block_hash} in the answer for {header.hash}")
        elif watched and (not log.topics or log.topics[0] not in watched):
            check.notes["unwatched_log"] += 1
        elif log.log_index in by_index:
            if by_index[log.log_index] == log:
                check.notes["duplicate_log"] += 1
            else:
                check.faults.append(f"two different logs with index {log.log_index}")
        else:
            if log.log_index < last:
                check.notes["log_out_of_order"] += 1
            last = log.log_index
            by_index[log.log_index] = log
    check.logs = tuple(by_index[index] for index in sorted(by_index))
    if any(a.tx_index > b.tx_index for a, b in zip(check.logs, check.logs[1:], strict=False)):
        check.faults.append("log order contradicts transaction order")
    return check


def bloom_mask(value: bytes) -> int:
    """The three bits that ``value`` sets in a 2048-bit logs bloom (Yellow Paper, 4.4.1)."""
    digest = keccak(value)
    mask = 0
    for offset in (0, 2, 4):
        mask |= 1 << (int.from_bytes(digest[offset : offset + 2], "big") & 2047)
    return mask


class BloomGuard:
    """Says when a block can't hold a watched topic, once this node has shown that it fills blooms honestly.

    Some chains send all-zero or all-one blooms, so nothing is skipped before a block with logs agreed with its
    bloom, and never again after one that did not.
    """

    def __init__(self, topics: Iterable[str]) -> None:
        self._masks = {topic: bloom_mask(bytes.fromhex(topic[2:])) for topic in topics}
        self._proven = False
        self._broken = False

    @property
    def trusted(self) -> bool:
        """True while blooms may be relied on."""
        return self._proven and not self._broken

    def forget(self) -> None:
        """Another node: prove it anew."""
        self._proven = self._broken = False

    def may_hold_logs(self, header: Header) -> bool:
        """False only if the bloom rules out every watched topic and blooms are trusted."""
        return not self.trusted or self.matches(header)

    def matches(self, header: Header) -> bool:
        """True unless the bloom rules out every watched topic."""
        bloom = header.bloom
        if bloom is None or not self._masks:
            return True
        return any(bloom & mask == mask for mask in self._masks.values())

    def expects_logs(self, header: Header) -> bool:
        """True if the bloom names a watched topic, is not saturated, and blooms were never caught lying."""
        return (
            not self._broken
            and bool(self._masks)
            and header.bloom is not None
            and header.bloom.bit_count() < _SATURATED_BITS
            and self.matches(header)
        )

    def learn(self, header: Header, logs: tuple[Log, ...]) -> bool:
        """Compare a block's logs with its bloom; False if they contradict each other."""
        if not logs or not self._masks:
            return True
        bloom = header.bloom
        seen = {log.topics[0] for log in logs if log.topics}
        if bloom is None or any(bloom & self._masks[topic] != self._masks[topic] for topic in seen):
            self._broken = True
            return bloom is None
        if bloom.bit_count() < _SATURATED_BITS:
            self._proven = True
        return True

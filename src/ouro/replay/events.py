"""Feed events as compact records: bytes instead of hex, what the block says not repeated in its logs.

A block is ``[0, number, hash, parent, timestamp, base fee, gas used, gas limit, received ns, logs]``, a log
``[address, topics, data, transaction hash, transaction index, log index]``; a rollback ``[1, number, hash,
dropped]``, a re-sync ``[2, reason]``, and before a block at which the node was asked something ``[3, hash, [[key,
answer], ...]]``. Big integers are bytes, big-endian. ``received`` counts from the first
block.
"""

from collections.abc import Mapping
from typing import Any

from ouro.types import BlockUpdate, FeedEvent, Log, Resync, Rollback

BLOCK, ROLLBACK, RESYNC, ANSWERS = 0, 1, 2, 3


def raw(text: str) -> bytes:
    """Bytes of 0x-hex."""
    return bytes.fromhex(text[2:])


def hexed(value: bytes) -> str:
    """0x-hex of bytes."""
    return "0x" + value.hex()


def number_bytes(value: int) -> bytes:
    """Big-endian, as short as it goes."""
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


def pack_event(event: FeedEvent, origin_ns: int) -> list[Any]:
    """``event`` as a record; receipt times are relative to ``origin_ns``."""
    match event:
        case BlockUpdate():
            base_fee = event.base_fee_wei
            return [
                BLOCK,
                event.number,
                raw(event.hash),
                raw(event.parent_hash),
                event.timestamp,
                None if base_fee is None else number_bytes(base_fee),
                event.gas_used,
                event.gas_limit,
                event.received_ns - origin_ns,
                [pack_log(log) for log in event.logs],
            ]
        case Rollback():
            return [ROLLBACK, event.to_number, raw(event.to_hash), [raw(dropped) for dropped in event.dropped]]
        case Resync():
            return [RESYNC, event.reason]


def pack_log(log: Log) -> list[Any]:
    """One log without what its block says."""
    return [
        raw(log.address),
        [raw(topic) for topic in log.topics],
        raw(log.data),
        raw(log.tx_hash),
        log.tx_index,
        log.log_index,
    ]


def pack_answers(block_hash: str, answers: Mapping[bytes, bytes]) -> list[Any]:
    """What a node answered at a block, as a record that stands before the block's."""
    return [ANSWERS, raw(block_hash), [[key, answer] for key, answer in answers.items()]]


def unpack_answers(record: Any) -> tuple[str, dict[bytes, bytes]] | None:
    """The block and its answers; None for a record of something else. Raises ``ValueError``."""
    try:
        if record[0] != ANSWERS:
            return None
        _, block_hash, entries = record
        return hexed(block_hash), {bytes(key): bytes(answer) for key, answer in entries}
    except (TypeError, ValueError, IndexError, KeyError, AttributeError) as error:
        raise ValueError(f"not a node's answers: {type(error).__name__}: {error}") from error


def unpack_event(record: Any, chain: str, origin_ns: int = 0) -> FeedEvent:
    """The event again, byte for byte. Raises ``ValueError`` for what is no record."""
    try:
        kind = record[0]
        if kind == BLOCK:
            _, number, block_hash, parent, timestamp, base_fee, gas_used, gas_limit, received, logs = record
            text = hexed(block_hash)
            return BlockUpdate(
                chain,
                number,
                text,
                hexed(parent),
                timestamp,
                None if base_fee is None else int.from_bytes(base_fee, "big"),
                gas_used,
                gas_limit,
                tuple([_log(entry, number, text) for entry in logs]),
                origin_ns + received,
            )
        if kind == ROLLBACK:
            _, number, block_hash, dropped = record
            return Rollback(chain, number, hexed(block_hash), tuple(hexed(each) for each in dropped))
        if kind == RESYNC:
            return Resync(chain, str(record[1]))
    except (TypeError, ValueError, IndexError, AttributeError) as error:
        raise ValueError(f"not an event: {type(error).__name__}: {error}") from error
    raise ValueError(f"an event of the unknown kind {kind!r}")


def _log(entry: Any, number: int, block_hash: str) -> Log:
    address, topics, data, tx_hash, tx_index, log_index = entry
    return Log(
        hexed(address),
        tuple([hexed(topic) for topic in topics]),
        hexed(data),
        number,
        block_hash,
        hexed(tx_hash),
        tx_index,
        log_index,
    )

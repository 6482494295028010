"""Executed amounts from Swap events. Receipts are hostile as well: what does not fit is no swap."""

from ouro.types import Log

_WORD = 64
_HALF = 1 << 255


def event_words(log: Log) -> list[int]:
    """Whole words of a log's data; a ragged end is left out."""
    return [int(log.data[k : k + _WORD], 16) for k in range(2, len(log.data) - _WORD + 1, _WORD)]


def plausible(amount_in_wei: int, amount_out_wei: int) -> tuple[int, int] | None:
    """Both amounts where both are positive, else None."""
    return (amount_in_wei, amount_out_wei) if 0 < amount_in_wei < _HALF and 0 < amount_out_wei < _HALF else None


def in_and_out(log: Log, topic: str, i: int, j: int) -> tuple[int, int] | None:
    """Of an event with the inputs of both tokens, then the outputs of both."""
    words = event_words(log) if log.topics and log.topics[0] == topic else []
    return plausible(words[i], words[2 + j]) if len(words) == 4 else None


def balance_changes(log: Log, topic: str, count: int, i: int, j: int) -> tuple[int, int] | None:
    """Of an event of ``count`` words that begins with the pool's balance changes: negative (two's complement) went
    out."""
    words = event_words(log) if log.topics and log.topics[0] == topic else []
    return plausible(words[i], (1 << 256) - words[j]) if len(words) == count else None

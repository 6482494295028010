"""How much of a period a chain was watched."""

from collections.abc import Sequence

Span = tuple[int, int]
"""From and to, unix milliseconds."""


def covered_ms(spans: Sequence[Span], from_ms: int, until_ms: int) -> tuple[int, int]:
    """(time in any of the spans, time since the first of them began), both within the period.

    What was before the first run ever is not counted as down: ``spans`` must hold the first one. A run that ended
    by being killed counts up to its last sign of life.
    """
    if not spans:
        return 0, 0
    begin = max(from_ms, min(start for start, _ in spans))
    covered, reached = 0, begin
    for start, end in sorted(spans):
        start, end = max(start, reached), min(end, until_ms)
        if end > start:
            covered, reached = covered + end - start, end
    return covered, max(0, until_ms - begin)

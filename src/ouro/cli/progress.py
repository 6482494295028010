"""A bar on stderr for what takes long, where somebody watches."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar(text: str, *, least: int = 0) -> Iterator[Callable[[int, int], None]]:
    """``report(done, whole)``, drawn on a terminal when the whole is at least ``least``; nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda done, whole: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    with Progress(*columns, TimeRemainingColumn(), console=Console(file=sys.stderr), transient=True) as bars:
        task = None

        def report(done: int, whole: int) -> None:
            nonlocal task
            if whole < least:
                return
            if task is None:
                task = bars.add_task(text, total=whole)
            bars.update(task, completed=done)

        yield report

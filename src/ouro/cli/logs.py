"""Structured logs on stderr: one JSON object per line, so that machines and people can read them."""

import logging
import sys
from typing import Any, TextIO, cast

import structlog


class _Stderr:
    """Whatever stderr is at the moment of writing: loggers are kept for good, redirections are not."""

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stderr, name)


def configure_logs(level: int = logging.INFO, *, file: TextIO | None = None) -> None:
    """Call once per process, before anything logs. ``file`` is where they go instead of stderr."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(file=file or cast("TextIO", _Stderr())),
        cache_logger_on_first_use=True,
    )

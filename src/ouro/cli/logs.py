"""Structured logs on stderr: one JSON object per line for machines, aligned and coloured for people; no secrets.

Every line that is about a block, or about what came of it, has ``trace``: chain and number of the block, with which
the names of its plans begin. So one search finds a trade's whole way from the block to the receipt.
"""

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, Literal, TextIO, cast

import structlog

from ouro.config.redact import redact_text

LogForm = Literal["json", "console"]

_SECRET_NAMES = re.compile(
    r"password|passphrase|secret|(?:auth|access|bot)_?token|api_?key|private_?key|mnemonic|raw_tx|authorization|cookie"
)
_LONG_HEX = re.compile(r"(?:0x)?[0-9a-fA-F]{130,}")
"""Longer than a hash or an address, and than two of them: calldata or a signed transaction."""

_HIDDEN = "…"
_LONGEST_TEXT = 4_000
_DEEPEST = 4


class _Stderr:
    """Whatever stderr is at the moment of writing: loggers are kept for good, redirections are not."""

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stderr, name)


class _Forward(logging.Handler):
    """What libraries and the ledger's thread tell the standard logging goes the same way."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log ``record``; never raises."""
        try:
            structlog.get_logger(record.name).log(record.levelno, record.getMessage(), logger=record.name)
        except Exception:
            self.handleError(record)


def configure_logs(level: int = logging.INFO, *, file: TextIO | None = None, form: LogForm | None = None) -> None:
    """Call once per process, before anything logs. ``file`` is where they go instead of stderr, ``form`` how; JSON
    by default."""
    stream = file or cast("TextIO", _Stderr())
    people = form == "console"
    shape: list[Any] = [structlog.processors.JSONRenderer()]
    if people:
        shape = [structlog.dev.ConsoleRenderer(colors=file is None and sys.stderr.isatty(), sort_keys=False)]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S.%f" if people else "iso", utc=True),
            structlog.processors.format_exc_info,
            without_secrets,
            *shape,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(file=stream),
        cache_logger_on_first_use=True,
    )
    root = logging.getLogger()
    for known in [handler for handler in root.handlers if isinstance(handler, _Forward)]:
        root.removeHandler(known)
    root.addHandler(_Forward(max(level, logging.WARNING)))


def without_secrets(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A processor: addresses of endpoints lose what may be a key, fields with telling names their value, and bytes
    of transactions all but their length."""
    del logger, method
    for name, value in event.items():
        event[name] = _HIDDEN if _SECRET_NAMES.search(name.lower()) and value else _clean(value, _DEEPEST)
    return event


def _clean(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return _clean_text(value)
    if value is None or isinstance(value, int | float):
        return value
    if isinstance(value, bytes | bytearray):
        return f"{len(value)} bytes"
    if depth == 0:
        return _HIDDEN
    if isinstance(value, Mapping):
        return {
            str(key): _HIDDEN if _SECRET_NAMES.search(str(key).lower()) and item else _clean(item, depth - 1)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(item, depth - 1) for item in value]
    return _clean_text(str(value))


def _clean_text(text: str) -> str:
    if "://" in text:
        text = redact_text(text)
    if len(text) > 128:
        text = _LONG_HEX.sub(lambda match: f"{match.group()[:10]}…({len(match.group())} characters)", text)
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}…"

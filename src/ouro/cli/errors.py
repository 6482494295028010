"""Which exceptions are messages for people."""

import errno
import importlib

EXIT_BAD_INPUT = 2

_KNOWN = (
    ("ouro.config.load", "ConfigError"),
    ("ouro.chain.errors", "ChainError"),
    ("ouro.ledger.errors", "LedgerError"),
    ("ouro.market.errors", "MarketError"),
    ("ouro.market.errors", "SyncError"),
    ("ouro.testnet.demo", "DemoError"),
    ("ouro.signer.client", "SignerError"),
    ("ouro.signer.keys", "KeystoreError"),
    ("ouro.testnet.node", "NodeStartError"),
    ("ouro.testnet.artifacts", "ArtifactError"),
    ("ouro.engine.errors", "EngineError"),
    ("ouro.execution.builds", "DeployError"),
    ("ouro.replay.errors", "RecordingError"),
    ("ouro.execution.describe", "InputError"),
    ("ouro.execution.encode", "EncodeError"),
)
_OS_PROBLEMS = frozenset(
    {
        errno.ENOENT,
        errno.EACCES,
        errno.EPERM,
        errno.ENOSPC,
        errno.EROFS,
        errno.EEXIST,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.ENAMETOOLONG,
    }
)


def known_problem(error: BaseException) -> str | None:
    """The text to show for ``error``, or None if it is a bug and deserves its traceback."""
    for module, name in _KNOWN:
        if isinstance(error, getattr(importlib.import_module(module), name)):
            return str(error)
    if isinstance(error, OSError) and error.errno in _OS_PROBLEMS:
        return str(error)
    return None

"""Which exceptions are messages for people."""

import errno
import importlib

EXIT_DIFFERENT = 1
EXIT_NOTHING = 1
"""What was asked for is not there."""
EXIT_BAD_INPUT = 2
"""Also where something could not be compared."""


def exit_code(different: int, unknown: int) -> int:
    """What was compared and differs weighs more than what could not be compared."""
    if different:
        return EXIT_DIFFERENT
    return EXIT_BAD_INPUT if unknown else 0


def of_chain(name: str, text: str) -> str:
    """``name: text`` with the chain named once."""
    return f"{name}: {text.removeprefix(f'chain {name}: ')}"


_KNOWN = (
    ("ouro.config.load", "ConfigError"),
    ("ouro.audit.errors", "AuditError"),
    ("ouro.capital.errors", "CapitalError"),
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
    ("ouro.control.errors", "ControlError"),
    ("ouro.execution.builds", "DeployError"),
    ("ouro.replay.errors", "RecordingError"),
    ("ouro.execution.describe", "InputError"),
    ("ouro.execution.encode", "EncodeError"),
    ("ouro.monitoring.trades", "FilterError"),
    ("ouro.dashboard.addresses", "DashboardError"),
)
_OS_ADVICE = {
    errno.ENOENT: "check the path",
    errno.EACCES: "check its permissions",
    errno.EPERM: "check its permissions",
    errno.ENOSPC: "make room",
    errno.EROFS: "name a folder that can be written",
    errno.EEXIST: "remove it or name another",
    errno.ENOTDIR: "check the path",
    errno.EISDIR: "name a file",
    errno.ENAMETOOLONG: "name a shorter path",
}


def known_problem(error: BaseException) -> str | None:
    """The text to show for ``error``, or None if it is a bug and deserves its traceback."""
    for module, name in _KNOWN:
        if isinstance(error, getattr(importlib.import_module(module), name)):
            # A configuration may have several problems: each line says whose it is.
            return "\nouro: ".join(str(error).splitlines()) if name == "ConfigError" else str(error)
    if isinstance(error, OSError) and error.errno in _OS_ADVICE:
        return file_problem(error)
    return None


def file_problem(error: OSError) -> str:
    """Which file, what is wrong with it, what to do."""
    wrong = (error.strerror or str(error)).lower()
    todo = _OS_ADVICE.get(error.errno or 0, "")
    where = f"{error.filename}: " if error.filename is not None else ""
    return f"{where}{wrong}{f'; {todo}' if todo else ''}"

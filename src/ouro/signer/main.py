"""The signing process."""

import asyncio
import ctypes
import resource
import sys
from pathlib import Path

from ouro.audit import AuditChain, AuditError
from ouro.config.model import OuroConfig
from ouro.signer.keys import KeyRing, KeystoreError, load_keys
from ouro.signer.requestlog import LogError, RequestLog
from ouro.signer.server import SignerServer
from ouro.signer.service import SignerService
from ouro.signer.unixsocket import SocketError, listen

_PR_SET_DUMPABLE = 4


def request_log_path(config: OuroConfig) -> Path:
    """Where the signer remembers what it signed."""
    return config.data_dir / "signer.jsonl"


def run_signer(config: OuroConfig) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code. Start-up problems are told on stderr, one line."""
    _hide_memory()
    try:
        keys = load_keys(config.signer)
        _check_operators(config, keys)
        log = RequestLog(request_log_path(config), config.signer.gate.log_rotate_bytes)
        try:
            service = SignerService(config, keys, log)
            with AuditChain.open(config.data_dir / "audit", writer="signer") as audit:

                def anchor(event: str, head: str) -> None:
                    audit.append("signer_log", {"event": event, "head": head})

                log.anchor = anchor
                anchor("start", log.head)
                asyncio.run(_serve(config, service, keys))
                anchor("end", log.head)
        finally:
            log.close()
    except (KeystoreError, LogError, SocketError, AuditError) as error:
        print(f"signer: {error}", file=sys.stderr, flush=True)
        return 2
    return 0


async def _serve(config: OuroConfig, service: SignerService, keys: KeyRing) -> None:
    listener = listen(config.signer.socket)
    try:
        print(
            f"signer: {len(keys.addresses)} keys, listening on {config.signer.socket}", file=sys.stderr, flush=True
        )
        await SignerServer(service, listener).run()
    finally:
        listener.close()
        config.signer.socket.unlink(missing_ok=True)


def _check_operators(config: OuroConfig, keys: KeyRing) -> None:
    for name, chain in config.chains.items():
        missing = [operator for operator in chain.operators if keys.get(operator) is None]
        if missing:
            raise KeystoreError(f"chains.{name}.operators: no key of {', '.join(missing)} in the keystore")


def _hide_memory() -> None:
    """No core dumps, and no reading of this process's memory by others of the same user."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)

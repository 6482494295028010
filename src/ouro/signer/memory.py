"""What was signed for which nonce, and the log that makes it survive a kill.

Two different transactions with one nonce mean that Ouro no longer knows what it sent: either may land. So a nonce
is signed for one payload, and afterwards only for cancels that pay more. Repeating a payload is harmless (the
signature is the same) and is how a lost answer is recovered.
"""

import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from ouro.signer.messages import Refusal, SignRequest
from ouro.types import AttemptKind

NONCE_WINDOW = 10_000


class LogEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of the request log. ``digest`` identifies the payload; there are no signed bytes in it."""

    at_ns: int
    decision: str
    chain: str = ""
    chain_id: int = 0
    operator: str = ""
    kind: str = ""
    nonce: int = -1
    max_fee_per_gas_wei: int = 0
    digest: str = ""
    tx_hash: str = ""
    reason: str = ""
    detail: str = ""


class LogError(RuntimeError):
    """The request log can't be used; the message names the file."""


class RequestLog:
    """Append-only JSON lines, locked by one process; a line is in the file before its answer leaves."""

    def __init__(self, path: Path) -> None:
        """Open and lock. Raises LogError when another signer holds it or the folder can't be written."""
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise LogError(f"{path}: can't be opened ({error.strerror})") from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._fd)
            raise LogError(f"{path}: another signer is running on it; stop that one first") from error

    def replay(self) -> Iterator[LogEntry]:
        """All entries from the start. An unfinished last line (its answer never left) is cut off first."""
        self._cut_unfinished_line()
        decoder = msgspec.json.Decoder(LogEntry)
        with self.path.open("rb") as stream:
            for number, line in enumerate(stream, 1):
                try:
                    yield decoder.decode(line)
                except msgspec.MsgspecError as error:
                    hint = "restore it from a backup; without it a nonce could be signed twice"
                    raise LogError(f"{self.path}: line {number} is damaged ({error}); {hint}") from error

    def _cut_unfinished_line(self) -> None:
        end = os.fstat(self._fd).st_size
        keep = end
        while keep > 0:
            start = max(0, keep - 65_536)
            block = os.pread(self._fd, keep - start, start)
            newline = block.rfind(b"\n")
            if newline >= 0:
                keep = start + newline + 1
                break
            keep = start
        if keep != end:
            os.ftruncate(self._fd, keep)

    def append(self, entry: LogEntry) -> None:
        """Write one line. Raises LogError when it is not wholly in the file (disk full); nothing is left then.

        No fsync: the page cache survives the death of the process; on the death of the machine the
        engine's journal and the chain's own nonce remain.
        """
        line = msgspec.json.encode(entry) + b"\n"
        before = os.fstat(self._fd).st_size
        try:
            written = os.write(self._fd, line)
        except OSError as error:
            raise LogError(f"{self.path}: can't be written ({error.strerror})") from error
        if written != len(line):
            os.ftruncate(self._fd, before)
            raise LogError(f"{self.path}: can't be written (disk full?)")

    def close(self) -> None:
        """Release file and lock."""
        os.close(self._fd)


@dataclass(slots=True)
class _Signed:
    digests: set[str] = field(default_factory=set)
    highest_fee_wei: int = 0


class NonceMemory:
    """What has been signed for each (chain id, operator, nonce), within a window below the highest nonce."""

    def __init__(self) -> None:
        self._accounts: dict[tuple[int, str], dict[int, _Signed]] = {}
        self._highest: dict[tuple[int, str], int] = {}

    def is_repeat(self, request: SignRequest, digest: str) -> bool:
        """This very payload has been signed before."""
        known = self._accounts.get((request.chain_id, request.operator), {}).get(request.nonce)
        return known is not None and digest in known.digests

    def check(self, request: SignRequest) -> Refusal | None:
        """None when a new payload may be signed for the nonce of ``request``."""
        account = (request.chain_id, request.operator)
        where = f"nonce {request.nonce} of {request.operator} on {request.chain}"
        if request.nonce <= self._highest.get(account, -1) - NONCE_WINDOW:
            return Refusal("nonce_too_old", f"{where} is more than {NONCE_WINDOW} below the highest signed")
        known = self._accounts.get(account, {}).get(request.nonce)
        if known is None:
            return None
        if request.kind is not AttemptKind.CANCEL:
            return Refusal(
                "nonce_used", f"{where} is signed for another transaction; rebroadcast or cancel that one"
            )
        if request.max_fee_per_gas_wei <= known.highest_fee_wei:
            needed = f"a cancel has to offer more than {known.highest_fee_wei} wei per gas"
            return Refusal("cancel_fee_too_low", f"{where}: {needed}, not {request.max_fee_per_gas_wei}")
        return None

    def record(self, account: tuple[int, str], nonce: int, digest: str, fee_wei: int) -> None:
        """Remember a signature."""
        nonces = self._accounts.setdefault(account, {})
        known = nonces.setdefault(nonce, _Signed())
        known.digests.add(digest)
        known.highest_fee_wei = max(known.highest_fee_wei, fee_wei)
        self._highest[account] = max(nonce, self._highest.get(account, -1))
        if len(nonces) > 2 * NONCE_WINDOW:
            lowest = self._highest[account] - NONCE_WINDOW
            self._accounts[account] = {n: signed for n, signed in nonces.items() if n > lowest}

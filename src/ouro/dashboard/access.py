"""Who may halt: a password (argon2) in a locked file, sessions in memory, attempts by the minute."""

import hashlib
import hmac
import os
import secrets
import stat
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ouro.dashboard.addresses import DashboardError

PASSWORD_FILE = Path("dashboard") / "password"
_LEAST_CHARACTERS = 10
_MOST_CHARACTERS = 1_024
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_SESSIONS_KEPT = 100


def set_password(data_dir: Path, password: str) -> Path:
    """Keep the hash of ``password``; the file is only its owner's. Raises ``DashboardError``."""
    from argon2 import PasswordHasher

    if len(password) < _LEAST_CHARACTERS:
        raise DashboardError(f"password: {len(password)} characters are too few, {_LEAST_CHARACTERS} are needed")
    if len(password) > _MOST_CHARACTERS:
        raise DashboardError(f"password: more than {_MOST_CHARACTERS} characters")
    path = data_dir / PASSWORD_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".password.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(PasswordHasher().hash(password) + "\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    return path


class Password:
    """Checks what is typed against the file, which is read each time: a changed password holds at once."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / PASSWORD_FILE

    def problem(self) -> str:
        """Why nobody can log in, empty when one can."""
        try:
            mode = self._path.stat().st_mode
        except FileNotFoundError:
            return "No password is set: run `ouro dashboard password` on the machine, then log in here."
        except OSError as error:
            return f"The password's file can't be read: {error.strerror}."
        if mode & _OTHERS:
            return f"{self._path} may be read by others: run chmod 600 on it, and set another password."
        return ""

    def fits(self, typed: str) -> bool:
        """Takes some tens of milliseconds of CPU on purpose: call it off the loop."""
        from argon2 import PasswordHasher
        from argon2.exceptions import InvalidHashError, VerificationError

        if self.problem() or len(typed) > _MOST_CHARACTERS:
            return False
        try:
            return PasswordHasher().verify(self._path.read_text().strip(), typed)
        except (OSError, VerificationError, InvalidHashError):
            return False


@dataclass(slots=True)
class Session:
    """Somebody who has logged in. ``csrf`` is in every form of theirs."""

    name: str
    csrf: str
    used_s: float


class Sessions:
    """Logins, known by the hash of their cookie; they end after ``idle_s`` without use, and with this process."""

    def __init__(self, idle_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._idle_s, self._clock = idle_s, clock
        self._sessions: dict[str, Session] = {}

    def begin(self, name: str) -> tuple[str, Session]:
        """The cookie's value, which is not kept, and the session."""
        token = secrets.token_urlsafe(32)
        self._forget_old()
        session = Session(name, secrets.token_urlsafe(32), self._clock())
        self._sessions[_digest(token)] = session
        while len(self._sessions) > _SESSIONS_KEPT:
            self._sessions.pop(next(iter(self._sessions)))
        return token, session

    def of(self, token: str | None) -> Session | None:
        """Whose cookie it is."""
        self._forget_old()
        session = self._sessions.get(_digest(token)) if token else None
        if session is not None:
            session.used_s = self._clock()
        return session

    def end(self, token: str | None) -> None:
        """Log out."""
        if token:
            self._sessions.pop(_digest(token), None)

    def _forget_old(self) -> None:
        before = self._clock() - self._idle_s
        self._sessions = {key: each for key, each in self._sessions.items() if each.used_s >= before}


def same(one: str, other: str) -> bool:
    """Comparison that takes as long whatever differs."""
    return hmac.compare_digest(one.encode(), other.encode())


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


@dataclass(slots=True)
class Throttle:
    """At most ``most`` events per ``within_s`` and key, and ten times that over all keys."""

    most: int
    within_s: float
    clock: Callable[[], float] = time.monotonic
    _events: dict[str, deque[float]] = field(default_factory=dict)
    _everybody: deque[float] = field(default_factory=deque)

    def admits(self, key: str) -> bool:
        """Count one more; whether it is within the limits."""
        now = self.clock()
        mine = self._events.setdefault(key, deque())
        for events in (mine, self._everybody):
            while events and now - events[0] > self.within_s:
                events.popleft()
        if len(mine) >= self.most or len(self._everybody) >= 10 * self.most:
            return False
        mine.append(now)
        self._everybody.append(now)
        if len(self._events) > 1_000:
            self._events = {name: events for name, events in self._events.items() if events}
        return True

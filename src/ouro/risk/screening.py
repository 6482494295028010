"""Addresses that are not traded with: a list in a file, known by its hash and its date."""

import hashlib
import json
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ouro.config.risk import ScreeningConfig
from ouro.types import Plan

_ADDRESS = re.compile(r"0x(?:[0-9a-f]{40}|[0-9a-f]{64})")
_DAY_S = 86_400


class ScreeningError(Exception):
    """The list can't be used; the text says which file and why."""


@dataclass(frozen=True, slots=True)
class Screening:
    """A list that was read: addresses in lower case, where it is from, its date and hash."""

    denied: frozenset[str]
    allowed: frozenset[str] | None
    file: str
    as_of: str
    sha256: str

    def problem(self, addresses: Iterable[str]) -> str:
        """Which of them must not be touched, empty where none."""
        for address in addresses:
            if address in self.denied:
                return f"{address} is denied by {self.file} of {self.as_of}"
            if self.allowed is not None and address not in self.allowed:
                return f"{address} is not allowed by {self.file} of {self.as_of}"
        return ""

    def plan_problem(self, plan: Plan) -> str:
        """The same of everything that a plan touches."""
        denied, allowed = self.denied, self.allowed
        for hop in plan.hops:
            # Inlined: this is on the way of every order.
            if allowed is None and hop.pool not in denied and hop.token_in not in denied:
                continue
            wrong = self.problem((hop.pool, hop.token_in))
            if wrong:
                return wrong
        return self.problem((plan.profit_token, plan.hops[-1].token_out))


def load_screening(config: ScreeningConfig, now_s: float | None = None) -> Screening | None:
    """The configured list, None where none is configured.

    The file is JSON: ``{"as_of": "2026-11-20", "deny": ["0x…"], "allow": ["0x…"]}``. Raises ``ScreeningError``
    for one that can't be read, is not what was pinned, too old, from the future, or malformed.
    """
    if config.file is None:
        return None
    content = _read(config.file)
    digest = hashlib.sha256(content).hexdigest()
    if config.sha256 is not None and digest != config.sha256:
        raise ScreeningError(
            f"screening.sha256: {config.file} has {digest}, not {config.sha256}: look at what changed, then pin it"
        )
    try:
        values = json.loads(content)
    except ValueError as error:
        raise ScreeningError(f"screening.file: {config.file} is not JSON ({error})") from None
    if not isinstance(values, dict) or set(values) - {"as_of", "deny", "allow", "source"}:
        raise ScreeningError(f"screening.file: {config.file} is no table of as_of, deny, allow and source alone")
    as_of = _checked_date(config, values.get("as_of"), time.time() if now_s is None else now_s)
    denied = _addresses(config.file, "deny", values.get("deny", []))
    allowed = None
    if config.mode == "allow_only":
        allowed = _addresses(config.file, "allow", values.get("allow"))
        both = denied & allowed
        if both:
            raise ScreeningError(f"screening.file: {config.file} denies and allows {min(both)}")
    return Screening(denied, allowed, str(config.file), as_of, digest)


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ScreeningError(f"screening.file: {file} can't be read ({error.strerror})") from None


def _checked_date(config: ScreeningConfig, as_of: Any, now_s: float) -> str:
    try:
        dated = datetime.fromisoformat(str(as_of)).replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise ScreeningError(
            f'screening.file: {config.file}: as_of {as_of!r} is no date (write "2026-11-20")'
        ) from None
    days = (now_s - dated) / _DAY_S
    if days > config.max_age_days:
        raise ScreeningError(
            f"screening.max_age_days: {config.file} is of {as_of}, {int(days)} days old; {config.max_age_days} are "
            "allowed: fetch the list anew"
        )
    if days < -1:
        raise ScreeningError(f"screening.file: {config.file} is of {as_of}, which is yet to come")
    return str(as_of)


def _addresses(file: Path, name: str, values: Any) -> frozenset[str]:
    if not isinstance(values, list):
        raise ScreeningError(f"screening.file: {file}: {name} is no list")
    found = set()
    for position, value in enumerate(values):
        lower = value.lower() if isinstance(value, str) else ""
        if not _ADDRESS.fullmatch(lower):
            raise ScreeningError(f"screening.file: {file}: {name}[{position}] {value!r} is no address or pool id")
        found.add(lower)
    return frozenset(found)

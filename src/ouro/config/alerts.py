"""The part of the configuration about telling people: where alerts go, and when not."""

import re
from datetime import time
from pathlib import Path
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")

Severity = Literal["info", "warning", "critical"]
SEVERITIES: tuple[Severity, ...] = ("info", "warning", "critical")


def parse_hours(text: str) -> tuple[time, time] | None:
    """Begin and end of ``22:00-07:00``; None for "none". Raises ``ValueError`` that names the form."""
    if text == "none":
        return None
    match = _HOURS.fullmatch(text)
    if match is None:
        raise ValueError(f'{text!r} are no hours: "22:00-07:00" is the form, or "none"')
    hours = [int(part) for part in match.groups()]
    return time(hours[0], hours[1]), time(hours[2], hours[3])


def _check_hours(text: str) -> str:
    parse_hours(text)
    return text


def _check_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{name!r} is no time zone: a name like Europe/Berlin or UTC is expected") from None
    return name


class Destination(BaseModel):
    """Somebody to tell, by an Apprise address (Slack, Telegram, PagerDuty, e-mail, webhook, …).

    The address holds a secret, so it is not in this file: it is the first line of ``url_file``, or in the
    environment variable ``url_env``; both are read at each delivery. ``least``: less severe alerts are not sent.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,40}$")]
    url_env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None
    url_file: Path | None = None
    least: Severity = "warning"

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.url_env is None) == (self.url_file is None):
            raise ValueError(f"destination {self.name!r}: exactly one of url_env and url_file is needed")
        return self


class AlertsConfig(BaseModel):
    """Alerts to people. Without ``destinations`` nobody is told, and no process runs for it.

    ``quiet_hours`` (in ``zone``): only critical alerts are sent; the others wait for their end. ``group_ms``: what
    is raised within that time goes out as one message; critical alerts do not wait. ``repeat_minutes``: an alert
    that still stands is sent again after so long. ``gas_reserve_trades``: fewer worst-case transactions that the
    poorest operator of a chain can pay are told.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    destinations: tuple[Destination, ...] = ()
    quiet_hours: Annotated[str, AfterValidator(_check_hours)] = "none"
    zone: Annotated[str, AfterValidator(_check_zone)] = "UTC"
    group_ms: Annotated[int, Field(ge=0, le=60_000)] = 1_000
    repeat_minutes: Annotated[int, Field(gt=0)] = 240
    gas_reserve_trades: Annotated[int, Field(gt=0)] = 20

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [destination.name for destination in self.destinations]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"destinations: the name {twice[0]!r} is there twice")
        return self

"""Numbers as people read them: with units, a real minus sign, and never more digits than are true."""

from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal

from markupsafe import escape

from ouro.dashboard.totals import WEI_PER_COIN

NONE = "–"
_MINUS = "−"
_CENT = Decimal("0.01")


def signed(text: str, *, plus: bool) -> str:
    """``text`` of a number with a typographic sign."""
    if text.startswith("-"):
        return _MINUS + text[1:]
    return f"+{text}" if plus else text


def usd(amount: Decimal | float | None, *, plus: bool = False) -> str:
    """Dollars to the cent (half even, as ``ouro report`` rounds)."""
    if amount is None:
        return NONE
    cents = Decimal(amount).quantize(_CENT, ROUND_HALF_EVEN)
    if cents == 0:
        cents = abs(cents)
    sign = _MINUS if cents < 0 else ("+" if plus and cents > 0 else "")
    return f"{sign}${abs(cents):,.2f}"


def coin(wei: int | None, name: str, *, digits: int = 6, plus: bool = False) -> str:
    """Native wei as coins with their name."""
    if wei is None:
        return NONE
    value = (Decimal(wei) / WEI_PER_COIN).quantize(Decimal(1).scaleb(-digits))
    if value == 0:
        value = abs(value)
    return f"{signed(f'{value:,f}', plus=plus and value > 0)} {name}"


def amount(raw: int, decimals: int | None, name: str) -> str:
    """A token's amount in its own unit, with as many digits as matter; raw where nobody tells the unit."""
    if decimals is None:
        return f"{raw:,} units of {name}"
    value = Decimal(raw).scaleb(-decimals)
    digits = 2 if abs(value) >= 1_000 else 6 if abs(value) >= Decimal("0.001") else 10
    text = f"{value:,.{digits}f}"
    return f"{signed(text, plus=False)} {name}"


def count(number: int | None) -> str:
    """A whole number."""
    return NONE if number is None else signed(f"{number:,}", plus=False)


def share(part: int, whole: int) -> str:
    """Per cent."""
    return NONE if whole <= 0 else f"{100 * part / whole:.1f} %"


def milliseconds(value: float | None) -> str:
    """Latency with the digits that it deserves."""
    if value is None:
        return NONE
    if value < 10:
        return f"{value:.2f} ms"
    return f"{value:.1f} ms" if value < 1_000 else f"{value / 1_000:.2f} s"


def micros(value: int | None) -> str:
    """Microseconds as milliseconds."""
    return milliseconds(None if value is None else value / 1_000)


def age(value_ms: int | None) -> str:
    """How long ago, in one unit."""
    if value_ms is None:
        return NONE
    seconds = value_ms / 1_000
    if seconds < 10:
        return f"{seconds:.1f} s"
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def utc(at_ms: int) -> str:
    """A moment in UTC."""
    return f"{datetime.fromtimestamp(at_ms / 1_000, UTC):%Y-%m-%d %H:%M:%S} UTC"


def moment(at_ms: int | None, *, style: str = "time") -> str:
    """A moment as HTML: the browser shows it in the reader's zone, UTC is on hover; ``style`` is time or full."""
    if at_ms is None:
        return NONE
    iso = f"{datetime.fromtimestamp(at_ms / 1_000, UTC):%Y-%m-%dT%H:%M:%S}.{at_ms % 1_000:03d}Z"
    return f'<time datetime="{iso}" data-style="{style}" title="{utc(at_ms)}">{utc(at_ms)}</time>'


def tone(number: int | float | Decimal | None) -> str:
    """The class of a gain or a loss."""
    if number is None or number == 0:
        return "flat"
    return "gain" if number > 0 else "loss"


def esc(text: object) -> str:
    """Safe inside HTML, in text and in quoted attributes."""
    return str(escape(text))

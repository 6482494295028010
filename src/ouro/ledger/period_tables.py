"""A period's report as plain tables, which every format shows the same way."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ouro.ledger.render import coins

_DASH = "–"
_PARTS = (
    ("gross spread", "gross_spread_wei", 1),
    ("loan fees", "flash_fee_wei", -1),
    ("bribes", "bribe_wei", -1),
    ("gas, execution (L2)", "gas_l2_wei", -1),
    ("gas, data (L1)", "gas_l1_wei", -1),
    ("bids (priority fees)", "bid_wei", -1),
    ("failed attempts", "failed_attempts_wei", -1),
    ("inventory mark", "inventory_mark_wei", 1),
    ("residual", "residual_wei", 1),
    ("net", "net_wei", 1),
)
_EFFICIENCY = ("attempts", "landed", "lost", "reverted", "expired", "dropped")


@dataclass(frozen=True, slots=True)
class TextTable:
    """A table of texts. ``note`` says what it rests on."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


def title_of(report: Mapping[str, Any]) -> str:
    """What the whole is called."""
    basis = "" if report["basis"] == "live" else ", on paper"
    return f"Ouro: {report['period']['name']} (UTC){basis}"


def tables_of(report: Mapping[str, Any]) -> list[TextTable]:
    """All tables, in reading order."""
    return [
        _attribution(report),
        _efficiency(report),
        _groups("By strategy", report["strategies"]),
        _groups("By token", report["tokens"]),
        _bills(report),
        _phases(report),
        _limits(report),
        _halts(report),
        _refusals(report),
        _checks(report),
    ]


def _attribution(report: Mapping[str, Any]) -> TextTable:
    chains: Mapping[str, Any] = report["chains"]
    rows = [(label, *(coins(sign * values[key]) for values in chains.values())) for label, key, sign in _PARTS]
    rows.append(("net, USD", *(usd(values["net_usd_cents"]) for values in chains.values())))
    return TextTable(
        "Profit and loss",
        ("native coin", *chains),
        tuple(rows),
        "Double entry of every transaction; the residual is what nothing explains and has to be 0.",
    )


def _efficiency(report: Mapping[str, Any]) -> TextTable:
    chains: Mapping[str, Any] = report["chains"]
    rows: list[tuple[str, ...]] = [
        (name, *(f"{values[name]:,}" for values in chains.values())) for name in _EFFICIENCY
    ]
    rows += [
        ("success", *(percent(values["success_ppm"]) for values in chains.values())),
        ("success, 95 % lower bound", *(percent(values["success_lower_95_ppm"]) for values in chains.values())),
        ("attempts per success", *(_ratio(values["attempts_per_success_ppm"]) for values in chains.values())),
        ("cost per success (native)", *(_coins(values["cost_per_success_wei"]) for values in chains.values())),
        ("execution p50 / p99, ms", *(_execution(values) for values in chains.values())),
        ("uptime", *(percent(values["uptime_ppm"], 3) for values in chains.values())),
        ("drawdown", *(percent(values["drawdown_ppm"]) for values in chains.values())),
    ]
    return TextTable("Attempts and efficiency", ("", *chains), tuple(rows))


def _groups(title: str, groups: Sequence[Mapping[str, Any]]) -> TextTable:
    rows = tuple(
        (
            group["chain"],
            group["name"],
            f"{group['attempts']:,}",
            f"{group['landed']:,}",
            percent(group["success_ppm"]),
            coins(group["gross_spread_wei"]),
            coins(group["failed_attempts_wei"]),
            coins(group["net_wei"]),
        )
        for group in groups
    )
    headings = ("chain", title.removeprefix("By "), "attempts", "landed", "success", "gross", "failed cost", "net")
    return TextTable(title, headings, rows)


def _bills(report: Mapping[str, Any]) -> TextTable:
    money = report["money"]
    rows = [
        (bill["name"], bill["kind"], bill["chain"] or "all", usd(bill["usd_cents_per_month"]), _charge(bill))
        for bill in report["bills"]
    ]
    rows += [
        ("trading result", "", "", "", usd(money["trading_usd_cents"])),
        ("bills", "", "", "", usd(-money["bills_usd_cents"])),
        ("net profit", "", "", "", usd(money["net_usd_cents"])),
    ]
    note = "" if report["bills"] else "No bills in the configuration: name them in [[costs.items]]."
    return TextTable(
        "Net profit after bills, USD", ("", "kind", "chain", "a month", "this period"), tuple(rows), note
    )


def _charge(bill: Mapping[str, Any]) -> str:
    return usd(-bill["charged_usd_cents"])


def _phases(report: Mapping[str, Any]) -> TextTable:
    shown = (
        ("success", "success_ppm", percent, "> "),
        ("execution p99, ms", "execution_ms", _number, "< "),
        ("uptime", "uptime_ppm", lambda value: percent(value, 3), "> "),
        ("drawdown", "drawdown_ppm", percent, "< "),
    )
    rows: list[tuple[str, ...]] = []
    for row in report["phases"]:
        for label, key, form, sign in shown:
            item = row["targets"][key]
            rows.append(
                (row["phase"], label, sign + form(item["target"]), form(item["measured"]), _met(item["met"]))
            )
        item = row["targets"]["monthly_profit_usd_cents"]
        band = "no target set"
        if item["target"] is not None:
            low, high = item["target"]
            band = f"from {usd(low)}" + (f" to {usd(high)}" if high is not None else "")
        rows.append((row["phase"], "net profit a month, USD", band, usd(item["measured"]), _met(item["met"])))
    return TextTable(
        "Targets of the operation",
        ("phase", "target", "wanted", "measured", "met"),
        tuple(rows),
        "The worst chain counts. Profit is scaled to thirty days; of a short period that says little.",
    )


def _limits(report: Mapping[str, Any]) -> TextTable:
    rows = tuple(
        (
            use["chain"],
            use["limit"],
            _amount(use["used"], use),
            _amount(use["maximum"], use),
            percent(use["used_ppm"]),
        )
        for use in report["limits"]
    )
    return TextTable("Limits used", ("chain", "limit", "most used", "limit is", "share"), rows)


def _amount(value: int, use: Mapping[str, Any]) -> str:
    return coins(value) if use["unit"] == "native_wei" else f"{value:,}"


def _halts(report: Mapping[str, Any]) -> TextTable:
    rows: list[tuple[str, ...]] = []
    for event in report["halts"]:
        halts = [halt for halt in event.get("halts", ()) if isinstance(halt, Mapping)] or [{}]
        rows += [
            (
                when(event.get("at_ms")),
                str(event.get("event", "")),
                str(halt.get("source", "")),
                str(halt.get("chain") or "all"),
                str(halt.get("mode", "")),
                str(event.get("by", "")),
                str(event.get("why", "")),
            )
            for halt in halts
        ]
    note = "" if rows else "Nothing was halted."
    headings = ("when (UTC)", "event", "source", "chain", "mode", "by", "why")
    return TextTable("Breakers and halts", headings, tuple(rows), note)


def _refusals(report: Mapping[str, Any]) -> TextTable:
    counts = [(chain, reason, n) for chain, reasons in report["refusals"].items() for reason, n in reasons.items()]
    rows = tuple((chain, reason, f"{n:,}") for chain, reason, n in sorted(counts, key=lambda item: -item[2]))
    return TextTable("Refused", ("chain", "reason", "times"), rows)


def _checks(report: Mapping[str, Any]) -> TextTable:
    rows = tuple(
        (
            chain,
            f"{sums['comparisons']:,}",
            f"{sums['broken']:,}",
            f"{sums['max_abs_difference_wei']} wei",
            f"{sum(1 for item in report['unexplained']):,}",
        )
        for chain, sums in report["reconciliation"].items()
    )
    note = "" if rows else "Books and chain were not compared in this period."
    headings = ("chain", "comparisons kept", "with differences", "largest", "unexplained postings")
    return TextTable("Books against chain", headings, rows, note)


def usd(cents: int | None) -> str:
    """Dollars and cents; a dash without a price."""
    if cents is None:
        return _DASH
    sign, cents = ("-", -cents) if cents < 0 else ("", cents)
    return f"{sign}{cents // 100:,}.{cents % 100:02d}"


def percent(ppm: int | None, digits: int = 2) -> str:
    """Parts per million as per cent, rounded down."""
    if ppm is None:
        return _DASH
    scale = 10 ** (4 - digits)
    whole = ppm // scale
    return f"{whole // 10**digits}.{whole % 10**digits:0{digits}d} %"


def when(at_ms: Any) -> str:
    """A time of day, UTC."""
    from datetime import UTC, datetime

    if not isinstance(at_ms, int):
        return _DASH
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%m-%d %H:%M:%S")


def _met(met: bool | None) -> str:
    return _DASH if met is None else "yes" if met else "NO"


def _number(value: float | None) -> str:
    return _DASH if value is None else f"{value:,.1f}"


def _ratio(ppm: int | None) -> str:
    return _DASH if ppm is None else f"{ppm / 1_000_000:.2f}"


def _coins(amount_wei: int | None) -> str:
    return _DASH if amount_wei is None else coins(amount_wei)


def _execution(values: Mapping[str, Any]) -> str:
    times = values["execution_ms"]
    return f"{_number(times['p50'])} / {_number(times['p99'])}"

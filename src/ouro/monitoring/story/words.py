"""The story in plain words."""

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

_COIN = Decimal(10**18)


def tell(told: dict[str, Any]) -> str:
    """What `build.story` found, for people."""
    return "\n".join([*_head(told), *_worth(told), *_route(told), *_refused(told), *_attempts(told), *_money(told)])


def when(at_ms: int | None) -> str:
    """A moment in UTC."""
    if at_ms is None:
        return "at a time that nobody noted"
    return f"{datetime.fromtimestamp(at_ms / 1_000, UTC):%Y-%m-%d %H:%M:%S}.{at_ms % 1_000:03d} UTC"


def coins(wei: int, *, plus: bool = False) -> str:
    """Native wei as coins, exact; no digits that say nothing."""
    text = f"{Decimal(wei) / _COIN:{'+' if plus else ''}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def amount(wei: int, decimals: int | None, symbol: str, address: str) -> str:
    """An amount of a token: in its own unit where that is known, exact."""
    name = symbol or f"{address[:10]}…"
    if decimals is None:
        return f"{wei:,} units of {name}"
    text = f"{Decimal(wei).scaleb(-decimals):,f}"
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text} {name}"


_VERDICTS = {
    "landed": "landed",
    "lost": "was sent and lost to somebody else",
    "reverted": "was sent and reverted",
    "expired": "was sent and never included",
    "dropped": "was sent and forgotten by the node",
    "open": "is under way",
    "refused": "was refused",
    "approved": "was approved; what followed is in no record",
    "found": "was found; what followed is in no record",
}


def _head(told: dict[str, Any]) -> Iterator[str]:
    yield f"{told['id']} {_VERDICTS[told['verdict']]}."
    seen = told["seen"]
    block = "" if seen["block"] is None else f", on block {seen['block']} of {told['chain']}"
    yield f"Seen {when(seen['at_ms'])}{block}."


def _worth(told: dict[str, Any]) -> Iterator[str]:
    worth = told["worth"]
    if isinstance(worth, str):
        yield f"Worth: {worth}."
    elif worth is None:
        yield "What it was worth is in no record (the audit trail of that time is not here)."
    elif "value_native_wei" in worth:
        profit = amount(
            worth["gross_profit_wei"], worth["profit_decimals"], worth["profit_symbol"], worth["profit_token"]
        )
        yield (
            f"Worth {profit} = {coins(worth['value_native_wei'])} coins before costs; "
            f"{coins(worth['expected_net_native_wei'], plus=True)} were expected after gas and bid "
            f"({worth['expected_gas']:,} gas at up to {Decimal(worth['max_fee_per_gas_wei']) / 10**9:f} gwei)."
        )
    else:
        yield (
            f"Worth {worth['gross_profit_wei']:,} units of its start token before costs; "
            f"{coins(worth['expected_net_native_wei'] or 0, plus=True)} coins were expected after gas and bid."
        )


def _route(told: dict[str, Any]) -> Iterator[str]:
    hops = told["hops"]
    if isinstance(hops, str):
        yield f"Route: {hops}."
        return
    if hops:
        yield "Route:"
    for place, hop in enumerate(hops, 1):
        if "token_in" not in hop:
            yield f"  {place}. pool {hop['pool']}" + (
                f": {hop['planned_in_wei']:,} → {hop['planned_out_wei']:,} units" if "planned_in_wei" in hop else ""
            )
            continue
        into = amount(hop["planned_in_wei"], hop["decimals_in"], hop["symbol_in"], hop["token_in"])
        out = amount(hop["planned_out_wei"], hop["decimals_out"], hop["symbol_out"], hop["token_out"])
        yield f"  {place}. {into} → {out}  ({hop['family']}, pool {hop['pool']})"
        if "realised_out_wei" in hop and (
            (hop["realised_in_wei"], hop["realised_out_wei"]) != (hop["planned_in_wei"], hop["planned_out_wei"])
        ):
            into = amount(hop["realised_in_wei"], hop["decimals_in"], hop["symbol_in"], hop["token_in"])
            out = amount(hop["realised_out_wei"], hop["decimals_out"], hop["symbol_out"], hop["token_out"])
            yield f"     in fact {into} → {out}"


def _refused(told: dict[str, Any]) -> Iterator[str]:
    for item in told["refused"]:
        detail = f" ({item['detail']})" if item["detail"] else ""
        yield f"Refused {when(item['at_ms'])}: {item['meaning']}{detail}  [{item['reason']}]"


def _attempts(told: dict[str, Any]) -> Iterator[str]:
    for item in told["attempts"]:
        what = "Sent" if item["kind"] == "trade" else "Its nonce was taken back"
        yield f"{what} by lane {item['lane']}, transaction {item['tx_hash']}:"
        yield f"  journaled {when(item['journaled_at_ms'])}, good until block {item['max_block']}"
        times = {name: us for name, us in item["since_socket_us"].items() if us is not None}
        if times:
            yield "  after the block's bytes: " + ", ".join(
                f"{name} {us / 1_000:.1f} ms" for name, us in times.items()
            )
        for lost in item["withdrawn"]:
            yield f"  withdrawn ({lost['outcome']}): {lost['reason'] or 'its block was orphaned'}"
        outcome = item["outcome"]
        if outcome is None:
            yield "  what became of it is not known yet"
            continue
        place = "" if outcome["block"] is None else f" in block {outcome['block']}"
        reason = f": {outcome['reason']}" if outcome["reason"] else ""
        yield f"  {outcome['meaning']}{place}{reason}"
        if outcome["as_predicted"] is not None:
            yield f"  {'exactly as simulated, to the wei' if outcome['as_predicted'] else 'not as simulated'}"
        if outcome["gas_used"]:
            against = f" ({outcome['gas_expected']:,} expected)" if outcome["gas_expected"] else ""
            yield f"  gas {outcome['gas_used']:,}{against}"


def _money(told: dict[str, Any]) -> Iterator[str]:
    steps = told["waterfall_native_wei"]
    if isinstance(steps, str) or not steps:
        return
    yield "Money, in coins:"
    width = max(len(coins(step["wei"], plus=True)) for step in steps)
    for step in steps:
        yield f"  {step['step']:<24}{coins(step['wei'], plus=True):>{width}}"

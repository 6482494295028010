"""Whether all is well, in one word and one sentence, and how much of each limit is used."""

from collections.abc import Sequence
from dataclasses import dataclass

from ouro.dashboard.feed import Feed
from ouro.dashboard.files import ChainNow
from ouro.dashboard.trades import OPEN
from ouro.dashboard.units import age, coin, count
from ouro.types import Mode, OutcomeKind

_HOUR_MS, _DAY_MS = 3_600_000, 86_400_000
_FAILED = (OutcomeKind.LOST.value, OutcomeKind.REVERTED.value)


@dataclass(frozen=True, slots=True)
class Health:
    """``level`` is ok, warn, bad or idle; ``word`` and ``sentence`` are for people."""

    level: str
    word: str
    sentence: str


def health(feed: Feed, halted: Sequence[str], now_ms: int) -> Health:
    """The first thing that is wrong, the worst first."""
    picture = feed.picture
    if picture.loading:
        return Health("idle", "Loading", "Reading the books")
    if picture.problem:
        return Health("bad", "Books unreadable", picture.problem)
    chains = {name: feed.files.chains[name] for name in feed.chain_names() if name in feed.files.chains}
    alive = {name: chain for name, chain in chains.items() if chain.alive(now_ms)}
    if not alive:
        return Health("idle", "Engine not running", _last_seen(feed, chains, now_ms))
    if halted:
        return Health("bad", "Halted", "; ".join(halted))
    gone = sorted(set(chains) - set(alive))
    stale = sorted(name for name, chain in alive.items() if chain.values.get("freshness") == "stale")
    if gone or stale:
        parts = [f"{name} has no engine" for name in gone]
        parts += [
            f"{name} is stale ({alive[name].values.get('detail') or alive[name].values.get('state')})"
            for name in stale
        ]
        return Health("bad", "Not all chains trade", "; ".join(parts))
    delayed = sorted(name for name, chain in alive.items() if chain.values.get("freshness") == "delayed")
    if delayed:
        return Health("warn", "Delayed", f"Blocks of {', '.join(delayed)} come late")
    full = [gauge for gauge in gauges(feed, now_ms) if gauge.share >= 1]
    if full:
        return Health("warn", "At a limit", f"{full[0].chain}: {full[0].name} {full[0].text}")
    mode = next(iter(alive.values())).values.get("mode", "")
    return Health("ok", "Healthy", f"{len(alive)} {'chain' if len(alive) == 1 else 'chains'} current, mode {mode}")


def _last_seen(feed: Feed, chains: dict[str, ChainNow], now_ms: int) -> str:
    seen = [chain.at_ms for chain in chains.values()]
    if feed.picture.run is not None:
        seen.append(feed.picture.run.last_seen_ms)
    if not seen:
        return "No session in the books yet; start one with `ouro run`"
    return f"Last seen {age(now_ms - max(seen))} ago; what follows is from the books"


@dataclass(frozen=True, slots=True)
class Gauge:
    """How much of a limit is used. ``share`` may exceed 1."""

    chain: str
    name: str
    share: float
    text: str
    limit: str


def gauges(feed: Feed, now_ms: int) -> list[Gauge]:
    """The limits of every configured chain, from the books: today is the UTC day, the hour the last 60 minutes."""
    result: list[Gauge] = []
    last_hour = feed.booked_since(now_ms - _HOUR_MS)
    today = feed.booked_since(now_ms - now_ms % _DAY_MS)
    for name in feed.config.chains:
        limits = feed.config.limits_of(name)
        mine = [trade for trade in today if trade.chain == name]
        loss = max(0, -sum(trade.net_wei for trade in mine if trade.is_final))
        hour = [trade for trade in last_hour if trade.chain == name and trade.is_final and trade.is_trade]
        wasted = sum(trade.gas_wei for trade in hour if trade.outcome in _FAILED)
        reverts = sum(trade.outcome == OutcomeKind.REVERTED.value for trade in hour)
        opened = sum(1 for trade in feed.open_trades() if trade.chain == name and trade.outcome == OPEN)
        unit = feed.coin(name)
        result += [
            _money(name, "Loss today", loss, limits.max_daily_loss_wei, unit),
            Gauge(
                name,
                "Open attempts",
                opened / limits.max_open_attempts,
                count(opened),
                count(limits.max_open_attempts),
            ),
            Gauge(
                name,
                "Reverts, last hour",
                reverts / limits.max_reverts_per_hour,
                count(reverts),
                count(limits.max_reverts_per_hour),
            ),
            _money(name, "Wasted gas, last hour", wasted, limits.max_wasted_gas_per_hour_wei, unit),
        ]
    return result


def _money(chain: str, name: str, used_wei: int, limit_wei: int, unit: str) -> Gauge:
    return Gauge(chain, name, used_wei / limit_wei, coin(used_wei, unit, digits=4), coin(limit_wei, unit, digits=4))


def sends(feed: Feed) -> bool:
    """Whether the latest session may send transactions."""
    return feed.picture.run is not None and feed.picture.run.mode == Mode.LIVE.value

"""One look at an instance: from books, halts, pictures and metrics; no process is asked."""

import time
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ouro.config.model import OuroConfig
from ouro.control import ControlError, ControlStore, blocks_trades, control_folder
from ouro.dashboard.files import ChainNow, EngineFiles
from ouro.ledger.books import Books
from ouro.ledger.errors import LedgerError
from ouro.ledger.report import summary
from ouro.monitoring.alerts.store import AlertStore, alerts_file
from ouro.monitoring.endpoint import served_at
from ouro.monitoring.read import Snapshot, read_metrics

_SESSIONS_LOOKED_AT = 50
_REASONS_SHOWN = 5
_FEW_TRADES = 20

HEALTHY, ATTENTION, STOPPED = "healthy", "attention", "stopped"


def overview(config: OuroConfig, now_ms: int | None = None) -> dict[str, Any]:
    """Everything that `ouro status` shows, JSON-safe. What can't be read is a problem to show, never an exception.

    ``verdict``: healthy, attention (``problems`` says why), or stopped (no engine of a configured chain runs).
    """
    now = time.time_ns() // 1_000_000 if now_ms is None else now_ms
    problems: list[str] = []
    files = EngineFiles(config.data_dir)
    files.refresh()
    seen = _metrics(config.data_dir, problems)
    halts = _halts(config, problems)
    booked = _booked(config, problems)
    chains = {}
    for name in config.chains:
        picture = files.chains.get(name)
        chain = _chain(name, picture, seen, now) | booked["chains"].get(name, {"session": None})
        chain["halted_by"] = [halt["describe"] for halt in halts if halt["chain"] in (None, name)]
        chains[name] = chain
    running = [name for name, chain in chains.items() if chain["alive"]]
    problems += [problem for name in running for problem in _problems_of(name, chains[name])]
    problems += [f"{name}: no engine runs it" for name in chains if running and name not in running]
    problems += [halt["describe"] for halt in halts]
    alerts = _alerts(config.data_dir, problems)
    return {
        "verdict": STOPPED if not running else ATTENTION if problems else HEALTHY,
        "problems": list(dict.fromkeys(problems)),
        "mode": config.mode.value,
        "at_ms": now,
        "running": running,
        "metrics": served_at(config.data_dir),
        "ledger": booked["name"],
        "chains": chains,
        "halts": halts,
        "alerts": alerts,
        "net_usd": _total_usd(chains),
    }


def _chain(name: str, picture: ChainNow | None, seen: Snapshot, now_ms: int) -> dict[str, Any]:
    values = picture.values if picture is not None else {}
    alive = picture is not None and picture.alive(now_ms)
    up = seen.by("ouro_rpc_up", "endpoint", chain=name)
    reserve = seen.value("ouro_gas_reserve_trades", chain=name)
    sent_s = seen.quantile("ouro_stage_seconds", 0.99, chain=name, stage="sent")
    return {
        "alive": alive,
        "state": values.get("state", "never ran") if alive or picture is None else "stopped",
        "detail": values.get("detail", "") if alive else "",
        "freshness": values.get("freshness", "stale") if alive else "stale",
        "block": values.get("block_number"),
        "block_age_ms": picture.block_age_ms(now_ms) if picture is not None else None,
        "pools": values.get("pools", 0),
        "cycles": values.get("cycles", 0),
        "open_attempts": values.get("open_attempts", 0),
        "endpoints_up": [int(up[key]) for key in sorted(up, key=int)] if alive else [],
        "gas_reserve_trades": round(reserve, 1) if reserve is not None and alive else None,
        "limits_used": {
            key: round(share, 4) for key, share in seen.by("ouro_limit_used_ratio", "limit", chain=name).items()
        }
        if alive
        else {},
        "sent_p99_ms": None if sent_s is None else round(1_000 * sent_s, 2),
    }


def _problems_of(name: str, chain: dict[str, Any]) -> list[str]:
    found = []
    if chain["state"] not in ("running", "finishing"):
        found.append(f"{name} is {chain['state']}: {chain['detail'] or 'it has not said why'}")
    elif chain["freshness"] != "ready":
        found.append(f"{name} is {chain['freshness']}: nothing newer than block {chain['block']}")
    if chain["endpoints_up"] and not all(chain["endpoints_up"]):
        down = [str(place) for place, up in enumerate(chain["endpoints_up"]) if not up]
        found.append(f"{name}: endpoint {', '.join(down)} of {len(chain['endpoints_up'])} is down (counted from 0)")
    reserve = chain["gas_reserve_trades"]
    if reserve is not None and reserve < _FEW_TRADES:
        found.append(f"{name}: an operator can pay {reserve} more transactions at worst; send native coins to it")
    found += [
        f"{name}: {share:.0%} of the limit {limit} is used"
        for limit, share in chain["limits_used"].items()
        if share > 0.8 and limit != "open_attempts"
    ]
    difference = chain.get("books_differ_wei")
    if difference:
        found.append(f"{name}: books and chain differ by {difference} wei; `ouro reconcile` names the balances")
    return found


def _metrics(data_dir: Path, problems: list[str]) -> Snapshot:
    try:
        return read_metrics(data_dir)
    except Exception as error:  # whatever a damaged file makes the library raise
        problems.append(f"metrics can't be read: {type(error).__name__}: {error}")
        return Snapshot()


def _halts(config: OuroConfig, problems: list[str]) -> list[dict[str, Any]]:
    try:
        halts = ControlStore(control_folder(config.data_dir)).all()
    except ControlError as error:
        problems.append(str(error))
        return []
    return [
        {**asdict(halt), "describe": halt.describe(), "stops": blocks_trades((halt,)) is not None} for halt in halts
    ]


def _booked(config: OuroConfig, problems: list[str]) -> dict[str, Any]:
    """Figures of each chain's latest session: where chains have a process each, they have a session each."""
    found: dict[str, Any] = {"name": "", "chains": {}}
    try:
        with closing(Books.open(config.ledger.url)) as books:
            found["name"] = books.name
            checks = books.last_reconciliations()
            for run in books.sessions()[: -_SESSIONS_LOOKED_AT - 1 : -1]:
                new = books.activity(run.session_id).keys() - found["chains"].keys()
                if not new:
                    continue
                figures = summary(books, run.session_id)["chains"]
                for name in new:
                    found["chains"][name] = _figures(figures[name]) | {
                        "session": run.session_id,
                        "started_at_ms": run.started_at_ms,
                    }
                if config.chains.keys() <= found["chains"].keys():
                    break
            for name, check in checks.items():
                if name in found["chains"]:
                    found["chains"][name]["books_differ_wei"] = check.max_abs_difference_wei
    except LedgerError as error:
        problems.append(str(error))
    return found


def _figures(chain: dict[str, Any]) -> dict[str, Any]:
    refused = sorted(chain["refused"].items(), key=lambda item: -item[1])
    return {
        "blocks": chain["blocks"],
        "opportunities": chain["opportunities"],
        "attempts": chain["attempts"],
        "landed": chain["landed"],
        "success_rate": chain["success_rate"],
        "net_profit_wei": chain["net_profit_wei"],
        "net_profit_usd": chain["net_profit_usd"],
        "gas_spent_wei": chain["gas_spent_wei"],
        "refused": dict(refused[:_REASONS_SHOWN]),
        "refused_total": sum(chain["refused"].values()),
    }


def _alerts(data_dir: Path, problems: list[str]) -> dict[str, int]:
    path = alerts_file(data_dir)
    if not path.is_file():
        return {"standing": 0, "undelivered": 0}
    try:
        kept = AlertStore(path).list(standing=True, limit=1_000)
    except Exception as error:
        problems.append(f"alerts can't be read: {error}")
        return {"standing": 0, "undelivered": 0}
    undelivered = sum(any(item.error for item in told) for _, told in kept)
    if undelivered:
        problems.append(f"{undelivered} alerts could not be delivered: `ouro alerts list` says why")
    return {"standing": len(kept), "undelivered": undelivered}


def _total_usd(chains: dict[str, dict[str, Any]]) -> float | None:
    known = [chain["net_profit_usd"] for chain in chains.values() if chain.get("net_profit_usd") is not None]
    return sum(known) if known else None

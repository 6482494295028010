"""``ouro halt``, ``ouro resume``, ``ouro halts``: stop trading from outside of every trading process."""

import json
import logging
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

STRATEGIES = ("cross_dex", "triangular", "n_hop", "netted")
_SIGNER_ANSWERS_MS = 1_000

ConfigOption = Annotated[Path, typer.Option("--config", "-c", help="The configuration (TOML).")]
DataDirOption = Annotated[
    Path | None, typer.Option(help="The data folder itself, where the configuration can't be read.")
]
ByOption = Annotated[str, typer.Option(help="Your name.")]
WhyOption = Annotated[str, typer.Option(help="The reason, for the audit chain.")]
ChainOption = Annotated[str | None, typer.Option(help="Only this chain.")]
StrategyOption = Annotated[str | None, typer.Option(help=f"Only this strategy: {', '.join(STRATEGIES)}.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]
_CONFIG = Path("ouro.toml")


def register(app: typer.Typer) -> None:
    """Add the commands of this file to ``app``."""

    @app.command("halt")
    def halt(
        by: ByOption,
        why: WhyOption,
        config: ConfigOption = _CONFIG,
        data_dir: DataDirOption = None,
        chain: ChainOption = None,
        strategy: StrategyOption = None,
        reduce_only: Annotated[
            bool, typer.Option("--reduce-only", help="Only forbid what adds risk; cancels and ways home stay open.")
        ] = False,
        leave_open: Annotated[
            bool, typer.Option("--leave-open", help="Do not take back transactions that are under way.")
        ] = False,
        repair: Annotated[
            bool, typer.Option("--repair", help="Begin a damaged store of halts anew, everything halted.")
        ] = False,
        as_json: JsonOption = False,
    ) -> None:
        """Stop trading now: nothing is approved, signed or sent any more. Works when the engine hangs, too.

        Transactions under way are taken back by their nonces where that is still possible. Lifted by `ouro resume`.
        """
        store, settings = _store(config, data_dir, chain, strategy)
        began = time.monotonic()
        if repair:
            store.repair(by=by, why=why)
        mode: Literal["stop", "reduce_only"] = "reduce_only" if reduce_only else "stop"
        written = store.halt(
            by=by,
            why=why,
            chain=chain,
            strategy=strategy,
            mode=mode,
            open_attempts="leave" if leave_open else "cancel",
        )
        durable_ms = (time.monotonic() - began) * 1_000
        _append_audit(store.folder.parent, "halt", {"halt": asdict(written)})
        signer = _signer_says(settings, began)
        told = {"halt": asdict(written), "durable_ms": round(durable_ms, 1), "signer": signer}
        if as_json:
            print(json.dumps(told))
            return
        print(f"halted {written.describe()}  [{written.id}]")
        print(f"signer: {signer['state']}" + (f" after {signer['after_ms']} ms" if "after_ms" in signer else ""))

    @app.command("resume")
    def resume(
        by: ByOption,
        why: WhyOption,
        config: ConfigOption = _CONFIG,
        data_dir: DataDirOption = None,
        chain: ChainOption = None,
        strategy: StrategyOption = None,
        halt_id: Annotated[str | None, typer.Option("--id", help="Only the halt with this id.")] = None,
        as_json: JsonOption = False,
    ) -> None:
        """Lift halts, in your name and with your reason: those that you describe, without a description all."""
        from ouro.control import Scope

        store, _ = _store(config, data_dir, None, None)
        lifted = store.resume(Scope(chain, strategy, halt_id), by=by, why=why)
        entries = [asdict(entry) for entry in lifted]
        _append_audit(store.folder.parent, "resume", {"by": by, "why": why, "halts": entries})
        left = [asdict(entry) for entry in store.all()]
        if as_json:
            print(json.dumps({"lifted": entries, "in_force": left}))
            return
        for entry in lifted:
            print(f"lifted {entry.describe()}")
        for entry in store.all():
            print(f"still in force: {entry.describe()}")

    @app.command("halts")
    def halts(
        config: ConfigOption = _CONFIG,
        data_dir: DataDirOption = None,
        history: Annotated[bool, typer.Option("--history", help="All that ever was, oldest first.")] = False,
        as_json: JsonOption = False,
    ) -> None:
        """What is halted now."""
        store, _ = _store(config, data_dir, None, None)
        if history:
            _show([{**event} for event in store.history()], as_json, _history_line)
        else:
            _show([asdict(entry) for entry in store.all()], as_json, _halt_line)


def _show(entries: Sequence[dict[str, Any]], as_json: bool, line: Any) -> None:
    if as_json:
        print(json.dumps(list(entries)))
    elif not entries:
        print("nothing is halted")
    for entry in () if as_json else entries:
        print(line(entry))


def _halt_line(entry: dict[str, Any]) -> str:
    from ouro.control import Halt

    return f"{_utc(entry['at_ms'])}  {Halt(**entry).describe()}  [{entry['id']}]"


def _history_line(event: dict[str, Any]) -> str:
    from ouro.control import Halt

    reached = "; ".join(Halt(**entry).scope_text for entry in event["halts"])
    return f"{_utc(event['at_ms'])}  {event['event']} {reached} by {event['by']}: {event['why']}"


def _utc(at_ms: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at_ms / 1_000)) + "Z"


def _store(config: Path, data_dir: Path | None, chain: str | None, strategy: str | None) -> tuple[Any, Any]:
    """The store, and the configuration if it was read. Names that there are not are refused."""
    from ouro.cli.logs import configure_logs
    from ouro.config.load import load_config
    from ouro.control import ControlError, ControlStore, control_folder

    configure_logs(logging.ERROR)  # what the store would log is what these commands say
    if strategy is not None and strategy not in STRATEGIES:
        raise ControlError(f"strategy: there is no {strategy!r}; there are {', '.join(STRATEGIES)}")
    if data_dir is not None:
        _check_folder(data_dir, chain)
        return ControlStore(control_folder(data_dir)), None
    loaded = load_config(config)
    if chain is not None and chain not in loaded.chains:
        raise ControlError(f"chain: there is no {chain!r} in {config}; it has {', '.join(loaded.chains)}")
    return ControlStore(control_folder(loaded.data_dir)), loaded


def _check_folder(data_dir: Path, chain: str | None) -> None:
    """A halt written where nobody looks would stop nothing and say that it did."""
    from ouro.control import ControlError

    marks = ("audit", "control", "status", "processes.json", "engine-*.lock")
    if not any(any(data_dir.glob(mark)) for mark in marks):
        raise ControlError(f"data-dir: {data_dir} is no data folder of Ouro; name the one of the running engine")
    known = {path.stem.removeprefix("engine-") for path in data_dir.glob("engine-*.lock")}
    if chain is not None and known and chain not in known:
        raise ControlError(f"chain: there is no {chain!r} in {data_dir}; it has {', '.join(sorted(known))}")


def _signer_says(settings: Any, began: float) -> dict[str, Any]:
    """Whether the signer knows, by asking it: from then on nothing new can be signed, whatever an engine does."""
    if settings is None:
        return {"state": "not asked, for want of a configuration; it looks at the halts before each signature"}
    if not settings.signer.socket.exists():
        return {"state": "not running, so nothing is signed"}
    import asyncio

    from ouro.signer.client import SignerClient, SignerError

    async def ask() -> bool:
        client = SignerClient(settings.signer.socket, timeout_ms=_SIGNER_ANSWERS_MS)
        try:
            return (await client.ping()).halted
        finally:
            await client.close()

    try:
        halted = asyncio.run(ask())
    except SignerError as error:
        print(f"ouro: the signer does not answer, so it signs nothing now: {error}", file=sys.stderr)
        return {"state": "does not answer"}
    after_ms = round((time.monotonic() - began) * 1_000)
    return {"state": "refuses" if halted else "looks before each signature", "after_ms": after_ms}


def _append_audit(data_dir: Path, kind: str, body: dict[str, Any]) -> None:
    """Into the audit chain. What was done stands whether or not that works; if not, it is said loudly."""
    from ouro.audit import AuditError, note

    try:
        note(data_dir / "audit", kind, body)
    except AuditError as error:
        print(f"ouro: done, but not in the audit chain: {error}", file=sys.stderr)

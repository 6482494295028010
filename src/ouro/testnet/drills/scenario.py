"""One scenario: a fault, a seed, and what is found afterwards in books, halts, audit chain and on the chain."""

import asyncio
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ouro.audit import verify
from ouro.chain.pool import EndpointPool
from ouro.config.risk import GasTankConfig
from ouro.ledger.books import net_native_wei
from ouro.ledger.reconcile import reconcile
from ouro.ledger.records import AttemptRecord
from ouro.testnet.drills.faults import KINDS, TRADE, Fault
from ouro.testnet.drills.ground import AUDIT_FOLDER, CAPITAL_WEI, CHAIN, LARGEST_LOSS_WEI, Ground, Run, running

LIMIT_PPM = 50_000


@dataclass(slots=True)
class Result:
    """What a scenario was and what came of it. ``failed`` has to be empty."""

    kind: str
    seed: int
    breakers: str
    sent: int = 0
    landed: int = 0
    lost: int = 0
    reverted: int = 0
    drawdown_ppm: int = 0
    largest_loss_wei: int = 0
    tripped: list[str] = field(default_factory=list)
    refused: dict[str, int] = field(default_factory=dict)
    sends_after_halt: int = 0
    difference_wei: int = 0
    audit_ok: bool = False
    silence_ms: int | None = None
    seconds: float = 0.0
    failed: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """For the report."""
        return asdict(self)


async def play(place: Ground, kind: str, seed: int, folder: Path, breakers: str = "on") -> Result:
    """Carry out one scenario. What goes wrong with the drill itself is in ``failed``, too."""
    fault, began = KINDS[kind], time.monotonic()
    result = Result(kind, seed, breakers)
    changes: dict[str, Any] = {}
    if "gas_tank" in fault.settings:
        changes["gas_tank"] = GasTankConfig.model_validate(fault.settings["gas_tank"])
    try:
        async with running(place, folder, seed, breakers, **changes) as run:
            await _blocks(run, fault)
            await _mend(run)
            await run.finish()
            await _judge(run, fault, result)
        report = await asyncio.to_thread(verify, run.config.data_dir / AUDIT_FOLDER)
        result.audit_ok = report.ok
        _conclude(fault, result)
    except Exception as error:  # a drill that breaks is a result
        result.failed.append(f"{type(error).__name__}: {error}")
    result.seconds = round(time.monotonic() - began, 2)
    return result


async def _blocks(run: Run, fault: Fault) -> None:
    for block in range(1, fault.blocks + 1):
        await run.stir()
        await fault.each(run, block)
        await run.mine()
        await _put_right(run)


async def _put_right(run: Run) -> None:
    """Code that a fault replaced for one block is what it was."""
    broken: dict[str, str] = run.notes.get("mend", {})
    for address, code in broken.items():
        await run.call("anvil_setCode", address, code)
    broken.clear()


async def _mend(run: Run) -> None:
    """What a fault left broken outside of us is whole again, so that what is under way can end."""
    await _put_right(run)
    held = run.notes.pop("held", None)
    if held is not None:
        held.close()
    with suppress(FileNotFoundError):
        run.config.signer.halt_file.unlink()


async def _judge(run: Run, fault: Fault, result: Result) -> None:
    records = await asyncio.to_thread(lambda: run.ledger.books.attempts(chain=CHAIN))
    trades = [record for record in records if record.attempt.kind is TRADE]
    result.sent = len(trades)
    kinds = [record.outcome.kind.value for record in trades if record.outcome is not None]
    result.landed, result.lost, result.reverted = (kinds.count(name) for name in ("landed", "lost", "reverted"))
    result.drawdown_ppm = drawdown_ppm(records)
    result.largest_loss_wei = max((-net_native_wei(record) for record in records), default=0)
    result.refused = dict(run.engine.status.refused)
    history = run.control.history() if "stopped" not in run.notes else []
    halts = [halt for event in history if event["event"] == "halt" for halt in event["halts"]]
    result.tripped = sorted({halt["source"].removeprefix("breaker:") + f" ({halt['mode']})" for halt in halts})
    stops = [halt["at_ms"] for halt in halts if halt["mode"] != "throttle" and halt["chain"] in (None, CHAIN)]
    if stops:
        first = min(stops)
        late = [record.journaled_at_ms for record in trades if record.journaled_at_ms > first]
        result.sends_after_halt = len(late)
        result.silence_ms = max((at - first for at in late), default=0)
    async with EndpointPool(run.config.chains[CHAIN].endpoints, run.config.chains[CHAIN].chain_id) as node:
        number = int(await node.call("eth_blockNumber", []), 16)
        found = await reconcile(run.ledger.books, CHAIN, node, number)
    result.difference_wei = found.max_abs_difference_wei
    over = [record for record in trades if record.plan and _worst(record) > LARGEST_LOSS_WEI]
    if over:
        result.failed.append(f"{len(over)} trades could cost more than the cap of {LARGEST_LOSS_WEI} wei")
    if fault.name == "second_engine" and run.notes.get("fenced") != "lease_held":
        result.failed.append(f"the second engine was answered {run.notes.get('fenced')!r}")


def _worst(record: AttemptRecord) -> int:
    plan = record.plan
    return 0 if plan is None else plan.gas_limit * plan.fee.max_fee_per_gas_wei


def drawdown_ppm(records: list[AttemptRecord]) -> int:
    """The deepest fall of net equity from its peak, in ppm of the peak, over the outcomes in order."""
    net = peak = worst = 0
    for record in sorted(records, key=lambda item: (item.outcome_at_ms or 0, item.attempt.attempt_id)):
        net += net_native_wei(record)
        peak = max(peak, net)
        worst = max(worst, (peak - net) * 1_000_000 // (CAPITAL_WEI + peak))
    return worst


def _conclude(fault: Fault, result: Result) -> None:
    failed = result.failed
    if not result.audit_ok:
        failed.append("the audit chain does not verify")
    if bool(result.difference_wei) != fault.mismatch:
        failed.append(f"books and chain differ by {result.difference_wei} wei")
    if result.breakers == "off":
        if fault.losing and result.drawdown_ppm <= LIMIT_PPM:
            failed.append(f"without breakers it lost only {result.drawdown_ppm} ppm: it proves nothing")
        return
    if result.drawdown_ppm >= LIMIT_PPM:
        failed.append(f"the drawdown reached {result.drawdown_ppm} ppm")
    if result.sends_after_halt:
        failed.append(f"{result.sends_after_halt} trades were journaled after the halt")
    names = {name.split(" ")[0] for name in result.tripped}
    if fault.expect_breakers and not names & set(fault.expect_breakers):
        failed.append(f"none of the breakers {', '.join(fault.expect_breakers)} tripped")
    if fault.expect_refused and not set(result.refused) & set(fault.expect_refused):
        failed.append(f"nothing was refused for {', '.join(fault.expect_refused)}")
    if fault.name == "calm" and (not result.landed or result.tripped):
        failed.append(f"in calm, {result.landed} landed and {', '.join(result.tripped) or 'nothing'} tripped")

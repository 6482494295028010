"""One engine process: the shared parts, one task per chain, an orderly end."""

import asyncio
import fcntl
import hashlib
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import structlog

from ouro import __version__
from ouro.chain.errors import ChainError
from ouro.chain.pool import EndpointPool
from ouro.config.model import OuroConfig
from ouro.control import ControlError, ControlStore, control_folder
from ouro.engine.audit_trail import AuditTrail
from ouro.engine.capital_hooks import keep_stages, open_guard
from ouro.engine.chain_engine import ChainEngine
from ouro.engine.chosen import chosen_chains
from ouro.engine.errors import EngineError
from ouro.engine.lease_keeper import LeaseKeeper
from ouro.engine.proofs import allowed_dexes
from ouro.engine.status import ChainStatus
from ouro.engine.world import Shared
from ouro.ledger.ledger import Ledger
from ouro.ledger.reconcile import reconcile
from ouro.monitoring.hooks import engine_sampler, open_metrics
from ouro.monitoring.metrics import AnyMetrics
from ouro.monitoring.sampler import sampled
from ouro.risk.build import build_gate, restore_from_books
from ouro.signer.client import SignerClient
from ouro.strategies.warm import warm
from ouro.types import Mode

log = structlog.get_logger(__name__)

DRAIN_TIMEOUT_S = 60.0
SIGNER_STARTS_MS = 120_000
BOOKS_LOCKED_S = 45.0
"""Another chain's process may hang in the middle of writing the common books. Attempts are durable without them, so
trading goes on until the supervisor has killed that one (``Patience.silent_running_s``)."""

StatusListener = Callable[[Sequence[ChainStatus]], None]


async def run_engine(
    config: OuroConfig,
    *,
    blocks: int | None = None,
    chains: Sequence[str] = (),
    listener: StatusListener | None = None,
    announce: Callable[[str], None] = lambda text: None,
    lock_patience_s: float = 0.0,
) -> None:
    """Run for ``blocks`` blocks on each chain, or until SIGTERM/SIGINT; then finish what is under way.

    A second signal does not wait for that: the journal has what is open, and the next start follows it.

    ``announce`` is told what the start waits for; an engine that is just ending is waited for ``lock_patience_s``.
    SIGUSR1 halts the chains of this process. Raises ``EngineError``, ``LedgerError`` or ``SignerError`` when
    it can't begin.
    """
    names = chosen_chains(config, chains)
    for name in names:
        allowed_dexes(config.chains[name], config.mode)  # nothing left to watch is told before anything starts
    config.data_dir.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        for name in names:
            held.enter_context(_only_engine(config, name, lock_patience_s))
        await _run_session(config, names, blocks, listener, announce)


@contextmanager
def _only_engine(config: OuroConfig, chain: str, patience_s: float) -> Iterator[None]:
    """Two engines on one chain would fight for the same nonces, each with the whole of the limits."""
    path = config.data_dir / f"engine-{chain}.lock"
    deadline = time.monotonic() + patience_s
    with path.open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise EngineError(
                        f"another engine runs {chain} with {config.data_dir}: stop that one first"
                    ) from None
                time.sleep(0.05)
        yield


@contextmanager
def _one_compiler() -> Iterator[None]:
    """Of several processes that start at once, one compiles the kernels and the others load what it kept."""
    folder = os.environ.get("NUMBA_CACHE_DIR")
    if not folder:
        yield
        return
    # Machine code is kept by the place of its source: another checkout compiles for itself.
    done = Path(folder) / f"warm-{hashlib.sha256(__file__.encode()).hexdigest()[:16]}"
    if done.exists():
        yield
        return
    with locked(Path(folder) / "warm.lock"):
        yield
    done.touch()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Only one process at a time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


async def _run_session(
    config: OuroConfig,
    names: Sequence[str],
    blocks: int | None,
    listener: StatusListener | None,
    announce: Callable[[str], None],
) -> None:
    # One at a time: what dead processes left is in the books before another one reads its chain's part of them.
    with locked(config.data_dir / "opening.lock"):
        ledger = Ledger.open(
            config.ledger.url,
            refusal_samples=config.ledger.refusal_samples,
            retention_days=config.ledger.retention_days,
            ahead=config.data_dir / "ahead",
            give_up_s=BOOKS_LOCKED_S,
        )
    audit: AuditTrail | None = None
    signer = SignerClient(config.signer.socket, timeout_ms=config.signer.request_timeout_ms)
    leases: LeaseKeeper | None = None
    try:
        if config.mode is Mode.LIVE:
            if not config.signer.socket.exists():
                announce(f"waiting for the signer at {config.signer.socket}; start it by `ouro signer`")
            await signer.wait_ready(SIGNER_STARTS_MS)
            leases = LeaseKeeper(signer, ledger, names, config.signer.gate.lease_ms)
            await leases.acquire()
        announce("compiling kernels; instant but for the first time")
        with _one_compiler():
            warm()
        about = {"mode": config.mode.value, "config_hash": _fingerprint(config)}
        session = ledger.start_session(**about, code_version=__version__)
        audit = AuditTrail.open(config.data_dir, names, {**about, "session_id": session})
        control = ControlStore(control_folder(config.data_dir))
        risk = build_gate(config, names, control)
        restore_from_books(risk, ledger.books, config.mode, control.history())
        metrics = open_metrics(config, names)
        guard = open_guard(config, ledger.books, audit.record)
        shared = Shared(config, ledger, signer, risk, audit=audit, capital=guard, metrics=metrics, leases=leases)
        engines = [ChainEngine(name, shared, blocks) for name in names]
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, _halt_by_signal, control, names)
        beside = [keep_stages(config, names, ledger.books, audit.record), *([leases.run()] if leases else [])]
        async with _beside(beside):
            await sampled(engine_sampler(shared, engines), _run_all(engines, listener))
            await _reconcile_all(engines, ledger, metrics)
        if leases is not None:
            await leases.finish()
    finally:
        await signer.close()
        await asyncio.to_thread(_close, ledger, audit)


def _close(ledger: Ledger, audit: AuditTrail | None) -> None:
    try:
        if audit is not None:
            audit.close()
    finally:
        ledger.close()


@asynccontextmanager
async def _beside(work: Sequence[Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """``work`` goes on while the body runs, and not longer."""
    tasks = [asyncio.create_task(each) for each in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _halt_by_signal(control: ControlStore, names: Sequence[str]) -> None:
    for name in names:
        try:
            control.halt_by_signal(name, f"the engine of {name}")
        except ControlError as error:
            log.critical("halt_failed", chain=name, error=str(error), detail="stopping instead")
            os.kill(os.getpid(), signal.SIGTERM)


async def _run_all(engines: Sequence[ChainEngine], listener: StatusListener | None) -> None:
    stop, at_once = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, lambda: (at_once if stop.is_set() else stop).set())
    tasks: list[asyncio.Task[Any]] = [
        asyncio.create_task(_keep_running(engine), name=engine.name) for engine in engines
    ]
    opening = asyncio.create_task(_open_when_loaded(engines))
    view = asyncio.create_task(_show(engines, listener)) if listener else None
    drained = asyncio.create_task(_all_drained(engines))
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({drained, stopping}, return_when=asyncio.FIRST_COMPLETED)
        for engine in engines:
            engine.stop_deciding()
        if not drained.done():
            log.info("draining", open=sum(engine.status.open_attempts for engine in engines))
            hurried = asyncio.create_task(at_once.wait())
            await asyncio.wait({drained, hurried}, timeout=DRAIN_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
            hurried.cancel()
        if not drained.done():
            late = [engine.name for engine in engines if not engine.drained.is_set()]
            log.warning(
                "not_drained", chains=late, detail="the journal has what is open; the next start follows it"
            )
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
        running = [*tasks, opening, stopping, drained, *([view] if view else [])]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _keep_running(engine: ChainEngine) -> None:
    """A chain's loop ends by cancellation only; what gets past its own nets (a compiled panic) restarts it."""
    while True:
        try:
            await engine.run()
        except (asyncio.CancelledError, KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            log.critical("engine_task_died", chain=engine.name, error=f"{type(error).__name__}: {error}")
            await asyncio.sleep(1.0)


async def _open_when_loaded(engines: Sequence[ChainEngine]) -> None:
    """Loading a chain holds up the loop that they share, so none trades before each has loaded, or failed to."""
    for engine in engines:
        await engine.attempted.wait()
    for engine in engines:
        engine.open()


async def _all_drained(engines: Sequence[ChainEngine]) -> None:
    for engine in engines:
        await engine.drained.wait()


async def _reconcile_all(engines: Sequence[ChainEngine], ledger: Ledger, metrics: AnyMetrics) -> None:
    await asyncio.to_thread(ledger.flush)
    for engine in engines:
        number = engine.status.block_number
        if number is None:
            continue
        try:
            async with EndpointPool(engine.config.endpoints, engine.config.chain_id, name=engine.name) as node:
                result = await reconcile(ledger.books, engine.name, node, number)
        except ChainError as error:
            log.warning("not_reconciled", chain=engine.name, error=str(error))
            continue
        ledger.record_reconciliation(engine.name, result)
        metrics.set("ouro_reconciliation_difference_native", result.max_abs_difference_wei / 10**18, engine.name)
        unread = any(difference.actual_wei is None for difference in result.differences)
        if engine.drained.is_set() and not unread:  # what is still under way differs rightly so
            engine.risk.on_reconciled(engine.name, result.max_abs_difference_wei)
        for difference in result.differences:
            log.error("books_differ", chain=engine.name, **difference.as_json())


async def _show(engines: Sequence[ChainEngine], listener: StatusListener) -> None:
    while True:
        listener([engine.status for engine in engines])
        await asyncio.sleep(0.25)


def _fingerprint(config: OuroConfig) -> str:
    """What identifies the settings of a session; endpoints may hold keys and are left out."""
    text = config.model_dump_json(exclude={"chains": {"__all__": {"endpoints"}}})
    return hashlib.sha256(text.encode()).hexdigest()

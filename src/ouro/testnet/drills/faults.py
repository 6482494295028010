"""The faults, each a few steps around the blocks of a run.

``each`` is called when the engine has decided and sent, before the next block is mined: what it puts into the pool
or into the state is what our transactions meet. Expectations name what has to be seen afterwards.
"""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from ouro.signer.client import SignerClient, SignerError, SignerRefused
from ouro.testnet.client import NodeError
from ouro.testnet.drills.ground import CHAIN, Run
from ouro.types import AttemptKind

Step = Callable[[Run, int], Awaitable[None]]
_REVERTS = "0x5f5ffd"
"""A contract that always reverts: PUSH0 PUSH0 REVERT."""


async def nothing(_run: Run, _block: int) -> None:
    """No fault."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A kind of fault. ``losing``: without breakers it must cost more than 5 % of the risk capital.

    ``expect_breakers``: one of them has to trip (none given: none needs to); ``expect_refused``: one of these
    reasons has to be counted; ``stops``: nothing is sent after the halt that it makes; ``mismatch``: somebody else
    moved our money, so the books must differ and say so.
    """

    name: str
    says: str
    each: Step = nothing
    blocks: int = 8
    losing: bool = False
    expect_breakers: tuple[str, ...] = ()
    expect_refused: tuple[str, ...] = ()
    mismatch: bool = False
    settings: dict[str, Any] = field(default_factory=dict)


async def _overtake(run: Run, _block: int) -> None:
    """A rival copies each of our trades and pays more for being first."""
    rival = run.ground.chain.rivals[0]
    for tx in await run.pending():
        price = int(tx["maxFeePerGas"], 16) * 3
        copy = {
            "from": rival["account"], "to": rival["executor"], "data": tx["input"], "gas": tx["gas"],
            "maxFeePerGas": hex(price), "maxPriorityFeePerGas": hex(price // 2),
        }  # fmt: skip
        try:
            await run.call("eth_sendTransaction", copy)
        except NodeError:
            continue


def _breaking(pick: Callable[[Run, dict[str, Any]], str | None]) -> Step:
    """The code of something that each trade needs reverts in the block of the trade, and is right after it."""

    async def each(run: Run, _block: int) -> None:
        broken: dict[str, str] = run.notes.setdefault("broken", {})
        for address, code in broken.items():
            await run.call("anvil_setCode", address, code)
        broken.clear()
        for tx in await run.pending():
            address = pick(run, tx)
            if address is not None and address not in broken:
                broken[address] = await run.call("eth_getCode", address, "latest")
                await run.call("anvil_setCode", address, _REVERTS)
        run.notes["mend"] = broken

    return each


def _plan_of(run: Run, tx: dict[str, Any]) -> Any:
    return next(
        (r.plan for r in run.ledger.books.unresolved(CHAIN) if r.attempt.tx_hash == tx["hash"] and r.plan), None
    )


def _a_token(run: Run, tx: dict[str, Any]) -> str | None:
    plan = _plan_of(run, tx)
    native = run.config.chains[CHAIN].wrapped_native
    return None if plan is None else next((hop.token_out for hop in plan.hops if hop.token_out != native), None)


def _a_pool(run: Run, tx: dict[str, Any]) -> str | None:
    plan = _plan_of(run, tx)
    return None if plan is None else next((pool for pool in plan.pools if len(pool) == 42), None)


def _the_executor(run: Run, _tx: dict[str, Any]) -> str | None:
    return run.config.chains[CHAIN].executor


async def _drop(run: Run, _block: int) -> None:
    """The node forgets what it took."""
    for tx in await run.pending():
        await run.call("anvil_dropTransaction", tx["hash"])


async def _gas_spike(run: Run, block: int) -> None:
    """The next block is twenty times as dear, so that what was sent does not fit."""
    if block % 3 == 1:
        await run.call("anvil_setNextBlockBaseFeePerGas", hex(10**12))


async def _reorg(run: Run, block: int) -> None:
    """The last two blocks are replaced by empty ones, with what landed in them."""
    if block in (3, 5):
        await run.call("anvil_reorg", 2, [])


async def _deep_reorg(run: Run, block: int) -> None:
    if block == 6:
        for _ in range(6):
            await run.mine()
        await run.call("anvil_reorg", 9, [])


async def _freeze(run: Run, block: int) -> None:
    """The node answers nothing for a while, with its connections open."""
    if block in (2, 5):
        run.ground.chain.node.freeze()
        await asyncio.sleep(0.3)
        run.ground.chain.node.thaw()


async def _kill_file(run: Run, block: int) -> None:
    if block == 3:
        run.config.risk.kill_file.touch()
        run.notes["stopped"] = True


async def _person(run: Run, block: int) -> None:
    if block == 3:
        await asyncio.to_thread(lambda: run.control.halt(by="Drill Master", why="the drill says stop", chain=CHAIN))


async def _reduce_only(run: Run, block: int) -> None:
    if block == 3:
        await asyncio.to_thread(
            lambda: run.control.halt(by="Drill Master", why="bring it home", chain=CHAIN, mode="reduce_only")
        )


async def _damaged_control(run: Run, block: int) -> None:
    if block == 3:
        await asyncio.to_thread(
            lambda: run.control.halt(by="Drill Master", why="so that there is a file", chain="x")
        )
        for path in (run.config.data_dir / "control").iterdir():
            if path.suffix == ".json":
                path.write_bytes(b"\x00 not what was written")
        run.notes["stopped"] = True


async def _signer_gone(run: Run, block: int) -> None:
    if block == 3 and run.server is not None:
        run.server.stop()


async def _signer_halt_file(run: Run, block: int) -> None:
    if block == 3:
        run.config.signer.halt_file.touch()


async def _second_engine(run: Run, block: int) -> None:
    """Another process wants the lease of the chain that this one holds."""
    if block == 3:
        other = SignerClient(run.config.signer.socket, timeout_ms=5_000)
        try:
            await other.acquire(CHAIN)
            run.notes["fenced"] = "the second one got the lease"
        except SignerRefused as refusal:
            run.notes["fenced"] = refusal.reason
        except SignerError as error:
            run.notes["fenced"] = str(error)
        finally:
            await other.close()


async def _locked_books(run: Run, block: int) -> None:
    """Another program holds the database for two blocks."""
    path = run.config.ledger.url.removeprefix("sqlite:///")
    if block == 3:
        held = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        held.execute("PRAGMA busy_timeout = 2000")
        held.execute("BEGIN IMMEDIATE")
        run.notes["held"] = held
    elif block == 5 and "held" in run.notes:
        run.notes["held"].execute("ROLLBACK")
        run.notes.pop("held").close()


async def _stolen_key(run: Run, block: int) -> None:
    """Somebody with an operator's key sends its coins away."""
    if block == 3:
        thief, victim = run.ground.chain.rivals[0]["account"], sorted(run.operators)[0]
        await run.call("anvil_impersonateAccount", victim)
        await run.call(
            "eth_sendTransaction",
            {"from": victim, "to": thief, "value": hex(10**18), "gas": hex(21_000), "maxFeePerGas": hex(10**13),
             "maxPriorityFeePerGas": hex(10**12)},
        )  # fmt: skip
        await run.call("anvil_stopImpersonatingAccount", victim)


async def _empty_tanks(run: Run, block: int) -> None:
    """Every operator's coins are gone but for a speck: nothing may be tried that can't be paid."""
    if block == 3:
        for operator in run.operators:
            run.gate.on_balance(CHAIN, operator, 10**9)


async def _simulated_difference(run: Run, block: int) -> None:
    """Books and chain are reported to differ."""
    if block == 3:
        run.gate.on_reconciled(CHAIN, 1)


async def _nodes_differ(run: Run, block: int) -> None:
    if block == 3:
        run.gate.on_nodes_disagree(CHAIN, "one endpoint says 5 of a reserve, the others 6")


KINDS: dict[str, Fault] = {
    fault.name: fault
    for fault in (
        Fault("calm", "no fault: trades land, nothing trips"),
        Fault(
            "rival_always_wins",
            "every trade is copied by a rival that comes first",
            _overtake,
            24,
            losing=True,
            expect_breakers=("drawdown", "loss_rate"),
        ),
        Fault(
            "token_starts_failing",
            "a token of each trade refuses transfers in its block",
            _breaking(_a_token),
            24,
            losing=True,
            expect_breakers=("reverts", "drawdown", "loss_rate"),
        ),
        Fault(
            "pool_upgraded",
            "a pool's code is another in the trade's block",
            _breaking(_a_pool),
            24,
            losing=True,
            expect_breakers=("reverts", "drawdown", "loss_rate"),
        ),
        Fault(
            "mixed_versions",
            "the executor on chain is not the one that is simulated",
            _breaking(_the_executor),
            24,
            expect_breakers=("reverts", "drawdown", "loss_rate"),
        ),
        Fault("forgetful_node", "the node drops each of our transactions", _drop, 10),
        Fault("gas_spike", "blocks become far dearer than what was sent", _gas_spike, 9),
        Fault("reorg", "blocks with landed trades are replaced", _reorg, 8),
        Fault("deep_reorg", "nine blocks are replaced at once", _deep_reorg, 9, expect_breakers=("reorg",)),
        Fault("frozen_node", "the node does not answer for a while", _freeze, 7),
        Fault("kill_file", "somebody writes the kill file", _kill_file, 7, expect_refused=("kill_file",)),
        Fault("halt_by_person", "a person halts the chain", _person, 7, expect_refused=("chain_halted",)),
        Fault("reduce_only", "a person allows only what reduces", _reduce_only, 7, expect_refused=("reduce_only",)),
        Fault(
            "damaged_halts", "the store of halts is damaged", _damaged_control, 7, expect_refused=("chain_halted",)
        ),
        Fault(
            "signer_gone",
            "the signer's process ends",
            _signer_gone,
            7,
            expect_refused=("signer_not_reached", "signer_unavailable"),
        ),
        Fault(
            "signer_halt_file",
            "the signer's own halt file",
            _signer_halt_file,
            7,
            expect_refused=("signer_halted",),
        ),
        Fault("second_engine", "a second process asks for the same keys", _second_engine, 7),
        Fault("locked_books", "another program locks the database", _locked_books, 8),
        Fault(
            "stolen_key",
            "an operator's key is used by somebody else",
            _stolen_key,
            8,
            mismatch=True,
            expect_breakers=("ledger",),
        ),
        Fault(
            "dry_tanks",
            "no operator can pay for gas",
            _empty_tanks,
            6,
            expect_refused=("gas_tank",),
            settings={
                "gas_tank": {
                    "stop_below_wei": 10**15,
                    "refill_below_wei": 10**16,
                    "refill_to_wei": 10**17,
                    "every_blocks": 10**6,
                }
            },
        ),
        Fault(
            "books_differ", "a reconciliation finds one wei", _simulated_difference, 7, expect_breakers=("ledger",)
        ),
        Fault(
            "nodes_disagree", "two endpoints contradict each other", _nodes_differ, 7, expect_breakers=("nodes",)
        ),
    )
}

TRADE = AttemptKind.TRADE

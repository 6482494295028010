"""The token probe: a token is bought, moved and sold in an EVM before its pools are traded.

``probe_token`` tries one token in one of its pools, with the real code and storage of both, at a pinned block.
``TokenBook`` keeps what was seen. The hooks for the market and the engine are ``admit`` (probe what is new) and
``quarantine_refused`` (take the pools of refused tokens out; to be called after anything that ends a quarantine).

A trial shows what a token does now to a stranger. A tax that the owner switches on later, or a blacklist that names
our executor, is only told by the flags, by the trial's date, and in the end by pre-flight.
"""

import asyncio
import secrets
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

import orjson

from ouro.chain.rpc import Caller
from ouro.market.errors import SnapshotError
from ouro.market.probe.bridge import ReadBridge
from ouro.market.probe.script import Job
from ouro.market.reader import PinnedBlock
from ouro.market.sealed import read_sealed, write_sealed
from ouro.protocols.base import PoolState, home_of
from ouro.protocols.registry import FAMILIES
from ouro.protocols.v4_state import NATIVE
from ouro.types import Address, Hash

KIND, VERSION = "ouro-tokens", 1
TIMEOUT_S = 60.0
MAX_READS = 4000
MAX_TRIALS_AT_ONCE = 2

_CHEAPEST = ("pair", "solidly", "ticks", "holder")


class Verdict(StrEnum):
    """admitted: nothing odd was seen. refused: do not trade its pools. unknown: the trial could not be made."""

    ADMITTED = "admitted"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class TokenReport:
    """What a trial saw. Taxes are None where the trial did not come that far.

    ``flags``: ``no_return_value``, ``fee_on_transfer``, ``rebasing``, ``calls_back``, ``no_transfer_from``,
    ``transfers_only`` (not through a swap), and what its functions show it could do: ``pausable``, ``blacklist``,
    ``mintable``, ``hooks``, ``proxy``.
    """

    token: Address
    pool: Address
    verdict: Verdict
    reason: str
    block_number: int
    block_hash: Hash
    buy_tax_ppm: int | None = None
    transfer_tax_ppm: int | None = None
    sell_tax_ppm: int | None = None
    flags: tuple[str, ...] = ()


class Quarantines(Protocol):
    """What is needed of a market."""

    states: dict[Address, Any]
    quarantine: dict[Address, Any]

    def set_quarantine(self, pool: Address, reason: str) -> None: ...


async def probe_token(
    reader: Caller,
    token: Address,
    state: PoolState,
    block: PinnedBlock,
    chain_id: int,
    *,
    timeout_s: float = TIMEOUT_S,
    max_reads: int = MAX_READS,
    spec_id: str = "Cancun",
) -> TokenReport:
    """Try ``token`` in the pool of ``state``. Never raises for what token, pool or node do: the verdict tells."""
    token = token.lower()
    base = next((other for other in state.tokens if other != token), None)
    holder = home_of(state)
    kind = _trial(state) if base is not None else "holder"
    job = Job(
        token,
        base or token,
        holder,
        kind,
        chain_id,
        block.number,
        block.timestamp,
        block.base_fee_wei or 0,
        spec_id,
        secrets.token_hex(16),  # a token can't know our accounts in advance
    )
    async with ReadBridge(reader, block.tag, chain_id, block.number, max_reads) as bridge:
        seen = await _in_its_own_process(job, bridge, timeout_s)
    found: dict[str, Any] = {name: seen.get(name) for name in ("buy_tax_ppm", "transfer_tax_ppm", "sell_tax_ppm")}
    refused, unknown = str(seen.get("refused") or ""), str(seen.get("unknown") or "")
    if bridge.fault and not refused:
        unknown = unknown or bridge.fault
    verdict = Verdict.REFUSED if refused else Verdict.UNKNOWN if unknown else Verdict.ADMITTED
    flags = tuple(sorted(str(flag) for flag in seen.get("flags") or ()))
    reason = refused or unknown
    return TokenReport(token, state.address, verdict, reason, block.number, block.hash, **found, flags=flags)


async def _in_its_own_process(job: Job, bridge: ReadBridge, timeout_s: float) -> dict[str, Any]:
    order = orjson.dumps({"job": asdict(job), "url": bridge.url})
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "ouro.market.probe.worker",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(timeout_s):
            output, _ = await process.communicate(order)
    except TimeoutError:
        return {"unknown": f"the trial took longer than {timeout_s:g} s"}
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    try:
        seen = orjson.loads(output)
    except orjson.JSONDecodeError:
        return {"unknown": f"the trial's process ended with {process.returncode}: {bridge.fault or 'no answer'}"}
    return seen if isinstance(seen, dict) else {"unknown": "the trial's answer is malformed"}


class TokenBook:
    """Reports by token, kept in a file. ``trusted`` tokens (named by the operator) are never probed nor refused."""

    def __init__(self, trusted: Iterable[Address] = ()) -> None:
        self.reports: dict[Address, TokenReport] = {}
        self.trusted = frozenset((NATIVE, *(token.lower() for token in trusted)))

    def refusal(self, tokens: Iterable[Address]) -> str | None:
        """Why a pool of these tokens must not be traded; None where nothing speaks against it."""
        for token in tokens:
            report = self.reports.get(token)
            if report and report.verdict is Verdict.REFUSED and token not in self.trusted:
                return f"token {token}: {report.reason} (block {report.block_number})"
        return None

    def is_admitted(self, token: Address) -> bool:
        """Whether its pools may be traded: tried without anything odd, or trusted."""
        report = self.reports.get(token)
        return token in self.trusted or (report is not None and report.verdict is Verdict.ADMITTED)

    def waits_for(self, tokens: Iterable[Address]) -> str | None:
        """Why a pool of these tokens has to wait; None where each is admitted."""
        for token in tokens:
            if not self.is_admitted(token):
                report = self.reports.get(token)
                why = "not been tried yet" if report is None else f"not been admitted yet: {report.reason}"
                return f"token {token} has {why}"
        return None

    def missing(self, tokens: Iterable[Address]) -> list[Address]:
        """Tokens that no trial gave a verdict on."""
        seen = (token for token in dict.fromkeys(tokens) if token not in self.trusted)
        return [t for t in seen if t not in self.reports or self.reports[t].verdict is Verdict.UNKNOWN]

    def add(self, report: TokenReport) -> None:
        """Keep a report. An unknown one does not take the place of a verdict."""
        known = self.reports.get(report.token)
        if known is None or report.verdict is not Verdict.UNKNOWN or known.verdict is Verdict.UNKNOWN:
            self.reports[report.token] = report

    async def save(self, path: Path, chain_id: int) -> None:
        """Write all reports, sealed."""
        rows = [asdict(report) for report in self.reports.values()]
        await asyncio.to_thread(write_sealed, path, KIND, VERSION, {"chain_id": chain_id}, rows)

    async def load(self, path: Path, chain_id: int) -> None:
        """Read them back. Raises ``SnapshotError`` for a damaged file or another chain's, ``FileNotFoundError``."""
        header, rows = await asyncio.to_thread(read_sealed, path, KIND, VERSION)
        if header.get("chain_id") != chain_id:
            raise SnapshotError(f"{path}: of chain id {header.get('chain_id')}, {chain_id} is wanted")
        try:
            found = [_report(row) for row in rows]
        except (TypeError, ValueError, KeyError) as error:
            raise SnapshotError(f"{path}: malformed report: {type(error).__name__}: {error}") from error
        for report in found:
            self.add(report)


def tokens_path(data_dir: Path, chain_name: str) -> Path:
    """Where a chain's reports are kept."""
    return data_dir / "market" / f"{chain_name}.tokens.gz"


async def admit(
    reader: Caller,
    states: Mapping[Address, PoolState],
    book: TokenBook,
    block: PinnedBlock,
    chain_id: int,
    *,
    skip: Collection[Address] = (),
    heard: Callable[[TokenReport], None] = lambda _: None,
    spec_id: str = "Cancun",
    pools_per_token: int = 3,
) -> list[TokenReport]:
    """Probe every token of ``states`` without a verdict, in its pools in turn until one gives it. What is new.

    Tokens that most pools wait for come first; ``heard`` gets each report as it comes, ``skip`` are not tried now.
    """
    pools: dict[Address, list[PoolState]] = {}
    for state in states.values():
        for token in state.tokens:
            pools.setdefault(token, []).append(state)
    gate = asyncio.Semaphore(MAX_TRIALS_AT_ONCE)

    async def one(token: Address) -> TokenReport | None:
        report = None
        async with gate:
            for state in _best_first(token, pools[token], book)[:pools_per_token]:
                report = await probe_token(reader, token, state, block, chain_id, spec_id=spec_id)
                if report.verdict is not Verdict.UNKNOWN:
                    break
        if report is not None:
            book.add(report)
            heard(report)
        return report

    wanted = [token for token in book.missing(pools) if token not in skip]
    wanted.sort(key=lambda token: -len(pools[token]))
    return [report for report in await asyncio.gather(*map(one, wanted)) if report is not None]


def quarantine_refused(market: Quarantines, book: TokenBook) -> list[Address]:
    """Take every pool of a refused token out, with the reason. The pools that were not out yet."""
    found = []
    for address, state in market.states.items():
        reason = book.refusal(state.tokens)
        if reason is not None and address not in market.quarantine:
            market.set_quarantine(address, reason)
            found.append(address)
    return found


def _best_first(token: Address, states: Sequence[PoolState], book: TokenBook) -> list[PoolState]:
    """Pools against tokens that are vouched for come first, since another's fault is not told from this one's; then
    those whose swap costs the trial least, and last those where it can only transfer."""

    def order(state: PoolState) -> tuple[bool, int]:
        vouched = any(book.is_admitted(other) for other in state.tokens if other != token)
        return not vouched, _CHEAPEST.index(_trial(state))

    return sorted(states, key=order)


def _trial(state: PoolState) -> str:
    family = FAMILIES.get(state.family)
    return family.trial if family is not None else "holder"


def _report(row: dict[str, Any]) -> TokenReport:
    plain = {**row, "verdict": Verdict(row["verdict"]), "flags": tuple(str(flag) for flag in row["flags"])}
    return TokenReport(**plain)

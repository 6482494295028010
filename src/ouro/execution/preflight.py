"""Pre-flight: the real calldata against the real executor bytecode on the shadow of the chain."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ouro.execution.access_list import AccessList, of_plan, saved_gas
from ouro.execution.evmdb import CallResult, Session
from ouro.execution.program import PARENT_BYTES, parent_guard_at
from ouro.execution.reading import BALANCE_OF
from ouro.execution.reverts import RevertKind, classify_revert
from ouro.execution.shadow import ShadowEvm
from ouro.execution.swaplogs import realised
from ouro.types import Address, BlockContext, Hop, Log

RUN_GAS = 15_000_000
GAS_LIMIT_MARGIN_PPM = 1_200_000
"""Above the peak before refunds: every nested call keeps back 1/64, and a price that moved may cross more ticks."""

_READ_GAS = 1_000_000
_NON_ZERO_BYTE_GAS = 12
"""What a byte of calldata costs more when it isn't zero."""


@dataclass(frozen=True, slots=True)
class PreflightResult:
    """What the transaction would do in that block.

    ``gas_used`` is what its receipt would say; ``gas_limit`` what to allow. ``amounts_wei`` are the hop inputs and
    the last output by the pools' events, empty without hops or when it failed. ``revert_kind`` is None when ``ok``.
    """

    ok: bool
    realised_profit_wei: int
    gas_used: int
    gas_limit: int
    revert_kind: RevertKind | None
    revert_reason: str
    amounts_wei: tuple[int, ...]
    logs: tuple[Log, ...]


class Preflight:
    """Runs plans on a ``ShadowEvm``; nothing of a run stays."""

    def __init__(self, shadow: ShadowEvm) -> None:
        self._shadow = shadow
        self._balances: dict[Address, tuple[tuple[int, int], int | None]] = {}

    def run(
        self,
        calldata: bytes,
        operator: Address,
        context: BlockContext,
        hops: Sequence[Hop] = (),
        gas: int = RUN_GAS,
    ) -> PreflightResult:
        """Execute ``calldata`` as ``operator`` in the block ``context``, with ``gas`` as the limit.

        Profit is the change of the treasury's balance of the profit token, by the token's own ``balanceOf``.
        """
        shadow = self._shadow
        if problem := shadow.supports(hop.pool for hop in hops):
            return _refused(problem)
        if hops:
            shadow.bring_up([*(hop.pool for hop in hops), *(source.lender for source in shadow.lenders)])
        else:
            shadow.catch_up()
        if len(calldata) < 39:
            return _refused(f"{len(calldata)} bytes of calldata are no program")
        token = "0x" + calldata[19:39].hex()
        before = self._treasury_balance(token, context)
        with shadow.database.session(context) as session:
            calldata, difference = _on_known_parent(calldata, session.parent_hash(context.number))
            result = session.run(operator, shadow.executor, calldata, gas)
            after = _balance(session, token, shadow.treasury) if result.ok else None
        if not result.ok:
            return _failed(result)
        if before is None or after is None:
            return _refused(f"the treasury's balance of {token} can't be read")
        limit = result.gas_peak * GAS_LIMIT_MARGIN_PPM // 1_000_000
        amounts = realised(hops, result.logs)
        used = result.gas_used + difference
        return PreflightResult(True, after - before, used, limit, None, "", amounts, result.logs)

    def run_listed(
        self,
        calldata: bytes,
        operator: Address,
        context: BlockContext,
        hops: Sequence[Hop],
        states: Mapping[Address, Any],
    ) -> tuple[AccessList, PreflightResult]:
        """``run`` for a transaction with the access list of these hops, which is empty where it would save nothing.

        The limit stays that of the run without one: it is enough, and the list is paid before the first call.

        The gas is computed from the list, not metered: pyrevm loads listed words past its journal, where a revert
        does not reach them, so they would stay, warm and stale.
        """
        shadow = self._shadow
        plain = self.run(calldata, operator, context, hops)
        if not plain.ok:
            return (), plain
        token = "0x" + calldata[19:39].hex()
        listed = of_plan(hops, states, shadow.balance_slots, shadow.executor, shadow.treasury, token)
        saved = saved_gas(listed, (shadow.executor, operator))
        if saved <= 0:
            return (), plain
        return listed, replace(plain, gas_used=plain.gas_used - saved)

    def _treasury_balance(self, token: Address, context: BlockContext) -> int | None:
        """What the treasury has: asked once a block, no plan changes it."""
        now = self._shadow.number, self._shadow.readings
        known = self._balances.get(token)
        if known is not None and known[0] == now:
            return known[1]
        with self._shadow.database.session(context) as session:
            balance = _balance(session, token, self._shadow.treasury)
        self._balances[token] = now, balance
        return balance


def _on_known_parent(calldata: bytes, parent_hash: bytes) -> tuple[bytes, int]:
    """The EVM here invents the hashes of blocks: a guard is asked for the one that it has.

    Which block the trade is made for, the caller knows. With what the real bytes cost more.
    """
    at = parent_guard_at(calldata)
    if at is None:
        return calldata, 0
    real, invented = calldata[at : at + PARENT_BYTES], parent_hash[:PARENT_BYTES]
    difference = (invented.count(0) - real.count(0)) * _NON_ZERO_BYTE_GAS
    return calldata[:at] + invented + calldata[at + PARENT_BYTES :], difference


def _balance(session: Session, token: Address, holder: Address) -> int | None:
    result = session.run(holder, token, BALANCE_OF + bytes(12) + bytes.fromhex(holder[2:]), _READ_GAS)
    return int.from_bytes(result.output[:32], "big") if result.ok and len(result.output) >= 32 else None


def _failed(result: CallResult) -> PreflightResult:
    kind, reason = ("bug", result.halt) if result.halt else classify_revert(result.output)
    return PreflightResult(False, 0, result.gas_used, 0, kind, reason, (), ())


def _refused(problem: str) -> PreflightResult:
    return PreflightResult(False, 0, 0, 0, "bug", problem, (), ())

"""From a request to an answer: halts, lease, limits, memory, signature, log. No sockets here."""

import json
import logging
import os
import time
from typing import Any

from ouro.config.model import OuroConfig
from ouro.control import ControlStore, blocks_trades, control_folder
from ouro.signer.budget import Budget, Reservation, gas_gwei, usd_micro
from ouro.signer.caps import Caps
from ouro.signer.keys import KeyRing
from ouro.signer.leases import Leases
from ouro.signer.memory import NonceMemory
from ouro.signer.messages import (
    Addresses,
    AddressesRequest,
    Answer,
    BudgetLeft,
    HeartbeatRequest,
    LeaseGranted,
    LeaseholderRequest,
    LeaseRequest,
    Outstanding,
    OutstandingRequest,
    PingRequest,
    Pong,
    Refusal,
    Request,
    SettledRequest,
    SignedTransaction,
    SignRequest,
)
from ouro.signer.requestlog import STATE, LogEntry, LogError, RequestLog
from ouro.signer.spending import Spending
from ouro.signer.transactions import EncodingError, UnsignedTransaction
from ouro.stopfile import stop_file_problem
from ouro.types import AttemptKind

SIGNED, REPEATED, REFUSED = "signed", "repeated", "refused"
LEASED, SETTLED, REOPENED = "leased", "settled", "reopened"
DROPPED = "dropped"

logger = logging.getLogger(__name__)


class SignerService:
    """Holds the keys and decides. One at a time: all state is only touched by `answer` and `hung_up`."""

    def __init__(self, config: OuroConfig, keys: KeyRing, log: RequestLog) -> None:
        """Rebuild the memory from ``log``. Raises LogError when it is damaged."""
        self._keys = keys
        self._log = log
        self._known_chains = frozenset(config.chains)
        self._halt_file = config.signer.halt_file
        self._control = ControlStore(control_folder(config.data_dir))
        self._caps = Caps(config)
        self._spending = Spending(config.signer)
        self._budget = Budget(config.signer.gate)
        self._leases = Leases(config.signer.gate.lease_ms)
        self._memory = NonceMemory()
        now_ns = time.time_ns()
        for entry in log.replay():
            self._remember(entry, now_ns)
        log.carry = self._state
        self._drop_unknown_chains(now_ns)

    def _drop_unknown_chains(self, now_ns: int) -> None:
        """What was in flight on a chain that is not in the configuration any more would take up room for ever.

        Told at each start until it is out of the log: a chain that comes back has it in flight again.
        """
        for tx_hash, held in self._budget.drop_unknown(self._known_chains):
            reason = (
                f"chain {held.chain} is not in the configuration; its trade is not counted as in flight any more"
            )
            logger.warning("signer: %s: %s", tx_hash, reason)
            self._log.append(LogEntry(now_ns, DROPPED, chain=held.chain, tx_hash=tx_hash, detail=reason))

    def answer(self, request: Request, connection: int = 0) -> Answer:
        """The answer to any request; never raises for what a peer can send. ``connection`` tells peers apart."""
        try:
            match request:
                case PingRequest():
                    return Pong(os.getpid(), self._all_halted())
                case AddressesRequest():
                    return Addresses(self._keys.addresses)
                case SignRequest():
                    return self._sign(request, connection)
                case LeaseRequest():
                    return self._lease(request, connection)
                case HeartbeatRequest() | SettledRequest() | OutstandingRequest():
                    return self._of_holder(request, connection)
        except LogError as error:
            return Refusal("log", str(error))

    def hung_up(self, connection: int) -> None:
        """A peer is gone: its leases may be taken at once."""
        self._leases.hung_up(connection)

    def refuse_frame(self, problem: str) -> Refusal:
        """Answer to bytes that are no request."""
        refusal = Refusal("malformed", problem)
        try:
            self._log.append(LogEntry(time.time_ns(), REFUSED, reason=refusal.reason, detail=problem))
        except LogError as error:
            return Refusal("log", str(error))
        return refusal

    # ---------------------------------------------------------------------------------------------- signing

    def _sign(self, request: SignRequest, connection: int) -> SignedTransaction | Refusal:
        now_ns = time.time_ns()
        if halted := self._halted(request):
            return self._refuse(request, now_ns, Refusal("halted", halted))
        try:
            unsigned = UnsignedTransaction(request)
        except EncodingError as error:
            return self._refuse(request, now_ns, Refusal("malformed", str(error)))
        if refusal := self._caps.check(request):
            return self._refuse(request, now_ns, refusal)
        if refusal := self._leases.check(request.chain, request.epoch, connection, now_ns):
            return self._refuse(request, now_ns, refusal)
        key = self._keys.get(request.operator)
        if key is None:
            missing = Refusal("no_key", f"the signer holds no key of {request.operator}")
            return self._refuse(request, now_ns, missing)
        digest = unsigned.digest.hex()
        if self._memory.is_repeat(request, digest):
            signed = unsigned.sign(key)
            self._log.append(_entry(request, now_ns, REPEATED, digest=digest, tx_hash=signed.tx_hash))
            return signed
        wanted = self._budget.reservation(request, now_ns) if request.kind is AttemptKind.TRADE else None
        refusal = self._memory.check(request) or self._spending.check(request, now_ns)
        if refusal is None and wanted is not None:
            refusal = self._budget.check(request, wanted)
        if refusal is not None:
            return self._refuse(request, now_ns, refusal)
        signed = unsigned.sign(key)
        entry = _entry(request, now_ns, SIGNED, digest=digest, tx_hash=signed.tx_hash)
        self._log.append(entry)
        self._remember(entry, now_ns)
        return signed

    def _halted(self, request: SignRequest) -> str:
        """Why nothing like ``request`` is signed now. A halt lets cancels through: they take back what is open."""
        if problem := stop_file_problem(self._halt_file):
            return f"halt file {problem}"
        if request.kind is AttemptKind.CANCEL:
            return ""
        halt = blocks_trades(self._control.in_force(request.chain, request.strategy))
        return "" if halt is None else halt.describe()

    def _all_halted(self) -> bool:
        return bool(stop_file_problem(self._halt_file) or blocks_trades(self._control.in_force()))

    def _refuse(self, request: SignRequest, now_ns: int, refusal: Refusal) -> Refusal:
        self._log.append(_entry(request, now_ns, REFUSED, reason=refusal.reason, detail=refusal.detail))
        return refusal

    # ---------------------------------------------------------------------------------- leases and budgets

    def _lease(self, request: LeaseRequest, connection: int) -> LeaseGranted | Refusal:
        now_ns = time.time_ns()
        before = self._leases.current(request.chain)
        known_epoch = 0 if before is None else before.epoch
        if request.chain in self._known_chains:
            lease = self._leases.acquire(request.chain, request.holder[:80], connection, now_ns)
        else:
            lease = Refusal("unknown_chain", f"chain {request.chain[:40]!r} is not in the configuration")
        if isinstance(lease, Refusal):
            self._log.append(
                LogEntry(now_ns, REFUSED, chain=request.chain[:40], reason=lease.reason, detail=lease.detail)
            )
            return lease
        if lease.epoch != known_epoch:
            entry = LogEntry(now_ns, LEASED, chain=request.chain, epoch=lease.epoch, holder=lease.holder)
            try:
                self._log.append(entry, durable=True)
            except LogError:
                self._leases.undo(request.chain, before)
                raise
        return LeaseGranted(request.chain, lease.epoch)

    def _of_holder(self, request: LeaseholderRequest, connection: int) -> Answer:
        now_ns = time.time_ns()
        if refusal := self._leases.check(request.chain, request.epoch, connection, now_ns):
            return refusal
        if isinstance(request, OutstandingRequest):
            return Outstanding(
                self._budget.outstanding(request.chain, now_ns - max(0, request.min_age_ms) * 1_000_000)
            )
        if isinstance(request, SettledRequest):
            self._settle(request, now_ns)
        left = self._budget.left(now_ns)
        return BudgetLeft(left.open_attempts, left.notional_usd_micro, left.gas_usd_micro, left.loss_usd_micro)

    def _settle(self, request: SettledRequest, now_ns: int) -> None:
        for tx_hash, net_gwei in request.settled:
            if self._budget.settle(request.chain, tx_hash, net_gwei, now_ns):
                entry = LogEntry(now_ns, SETTLED, chain=request.chain, tx_hash=tx_hash, net_gwei=net_gwei)
                self._log.append(entry)
        for tx_hash in request.reopened:
            if self._budget.reopen(request.chain, tx_hash, now_ns):
                self._log.append(LogEntry(now_ns, REOPENED, chain=request.chain, tx_hash=tx_hash))

    # ----------------------------------------------------------------------------------------------- memory

    def _remember(self, entry: LogEntry, now_ns: int) -> None:
        match entry.decision:
            case "signed":
                account = (entry.chain_id, entry.operator)
                self._memory.record(account, entry.nonce, entry.digest, entry.max_fee_per_gas_wei)
                self._spending.record(entry.chain, entry.at_ns, entry.gas_gwei)
                # What was signed before there were leases is not known to be settled, nor that it isn't.
                if entry.kind == AttemptKind.TRADE.value and entry.epoch:
                    gas = usd_micro(entry.gas_gwei, entry.native_usd_micro)
                    held = Reservation(entry.chain, entry.notional_usd_micro, gas, entry.at_ns)
                    self._budget.reserve(entry.tx_hash, held, entry.native_usd_micro)
            case "settled":
                self._budget.settle(entry.chain, entry.tx_hash, entry.net_gwei, entry.at_ns)
            case "reopened":
                self._budget.reopen(entry.chain, entry.tx_hash, entry.at_ns)
            case "leased":
                self._leases.restore(entry.chain, entry.epoch, entry.holder, now_ns)
            case "state":
                self._load(json.loads(entry.detail), now_ns)

    def _state(self) -> LogEntry:
        leases = {chain: [lease.epoch, lease.holder] for chain, lease in self._leases.all().items()}
        state = {
            "nonces": self._memory.dump(),
            "spending": self._spending.dump(),
            "budget": self._budget.dump(),
            "leases": leases,
        }
        return LogEntry(time.time_ns(), STATE, detail=json.dumps(state))

    def _load(self, state: dict[str, Any], now_ns: int) -> None:
        self._memory.load(state["nonces"])
        self._spending.load(state["spending"])
        self._budget.load(state["budget"])
        for chain, (epoch, holder) in state["leases"].items():
            self._leases.restore(chain, epoch, holder, now_ns)


def _entry(request: SignRequest, at_ns: int, decision: str, **fields: Any) -> LogEntry:
    return LogEntry(
        at_ns=at_ns,
        decision=decision,
        chain=request.chain[:40],
        chain_id=request.chain_id,
        operator=request.operator[:50],
        kind=request.kind.value,
        nonce=request.nonce,
        max_fee_per_gas_wei=request.max_fee_per_gas_wei,
        gas_gwei=gas_gwei(request) if decision == SIGNED else 0,
        notional_usd_micro=usd_micro(request.notional_gwei, request.native_usd_micro) if decision == SIGNED else 0,
        native_usd_micro=request.native_usd_micro,
        epoch=request.epoch,
        strategy=request.strategy[:40],
        **fields,
    )

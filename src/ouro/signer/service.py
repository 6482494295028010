"""From a request to an answer: limits, memory, signature, log. No sockets here."""

import os
import time

from ouro.config.model import OuroConfig
from ouro.control import ControlStore, blocks_trades, control_folder
from ouro.signer.caps import Caps, RateLimit
from ouro.signer.keys import KeyRing
from ouro.signer.memory import LogEntry, LogError, NonceMemory, RequestLog
from ouro.signer.messages import (
    Addresses,
    AddressesRequest,
    Answer,
    PingRequest,
    Pong,
    Refusal,
    Request,
    SignedTransaction,
    SignRequest,
)
from ouro.signer.transactions import EncodingError, UnsignedTransaction
from ouro.stopfile import stop_file_problem
from ouro.types import AttemptKind

SIGNED, REPEATED, REFUSED = "signed", "repeated", "refused"


class SignerService:
    """Holds the keys and decides. One at a time: all state is only touched by `answer`."""

    def __init__(self, config: OuroConfig, keys: KeyRing, log: RequestLog) -> None:
        """Rebuild the memory from ``log``. Raises LogError when it is damaged."""
        self._keys = keys
        self._log = log
        self._halt_file = config.signer.halt_file
        self._control = ControlStore(control_folder(config.data_dir))
        self._caps = Caps(config)
        self._rate = RateLimit(config.signer.max_transactions_per_minute)
        self._memory = NonceMemory()
        for entry in log.replay():
            if entry.decision == SIGNED:
                account = (entry.chain_id, entry.operator)
                self._memory.record(account, entry.nonce, entry.digest, entry.max_fee_per_gas_wei)
                self._rate.record(entry.at_ns)
        self._rate.check(time.time_ns())

    def answer(self, request: Request) -> Answer:
        """The answer to any request; never raises for what a peer can send."""
        match request:
            case PingRequest():
                return Pong(os.getpid(), self._all_halted())
            case AddressesRequest():
                return Addresses(self._keys.addresses)
            case SignRequest():
                try:
                    return self._sign(request)
                except LogError as error:
                    return Refusal("log", str(error))

    def refuse_frame(self, problem: str) -> Refusal:
        """Answer to bytes that are no request."""
        refusal = Refusal("malformed", problem)
        try:
            self._log.append(LogEntry(time.time_ns(), REFUSED, reason=refusal.reason, detail=problem))
        except LogError as error:
            return Refusal("log", str(error))
        return refusal

    def _sign(self, request: SignRequest) -> SignedTransaction | Refusal:
        now_ns = time.time_ns()
        if halted := self._halted(request):
            return self._refuse(request, now_ns, Refusal("halted", halted))
        try:
            unsigned = UnsignedTransaction(request)
        except EncodingError as error:
            return self._refuse(request, now_ns, Refusal("malformed", str(error)))
        if refusal := self._caps.check(request):
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
        if refusal := self._memory.check(request) or self._rate.check(now_ns):
            return self._refuse(request, now_ns, refusal)
        signed = unsigned.sign(key)
        self._log.append(_entry(request, now_ns, SIGNED, digest=digest, tx_hash=signed.tx_hash))
        account = (request.chain_id, request.operator)
        self._memory.record(account, request.nonce, digest, request.max_fee_per_gas_wei)
        self._rate.record(now_ns)
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


def _entry(request: SignRequest, at_ns: int, decision: str, **fields: str) -> LogEntry:
    return LogEntry(
        at_ns=at_ns,
        decision=decision,
        chain=request.chain[:40],
        chain_id=request.chain_id,
        operator=request.operator[:50],
        kind=request.kind.value,
        nonce=request.nonce,
        max_fee_per_gas_wei=request.max_fee_per_gas_wei,
        **fields,
    )

"""Counts and gas of what was signed, per minute and UTC day, over all chains and for each. Pure: no clock."""

from collections import deque
from dataclasses import dataclass, field

from ouro.config.gate import ChainCaps
from ouro.config.model import SignerConfig
from ouro.signer.budget import gas_gwei
from ouro.signer.messages import Refusal, SignRequest

_MINUTE_NS = 60 * 10**9
_DAY_NS = 1_440 * _MINUTE_NS
_WEI_PER_GWEI = 10**9


@dataclass(slots=True)
class _Window:
    """Signatures of the last 60 seconds and of the day."""

    minute: deque[tuple[int, int]] = field(default_factory=deque)
    minute_gwei: int = 0
    day: int = 0
    day_count: int = 0
    day_gwei: int = 0

    def advance(self, now_ns: int) -> None:
        while self.minute and now_ns - self.minute[0][0] >= _MINUTE_NS:
            self.minute_gwei -= self.minute.popleft()[1]
        if now_ns // _DAY_NS > self.day:
            self.day, self.day_count, self.day_gwei = now_ns // _DAY_NS, 0, 0

    def add(self, at_ns: int, gwei: int) -> None:
        self.advance(at_ns)
        self.minute.append((at_ns, gwei))
        self.minute_gwei += gwei
        self.day_count += 1
        self.day_gwei += gwei


class Spending:
    """Checks what is asked for against what was signed already."""

    def __init__(self, config: SignerConfig) -> None:
        self._per_minute = config.max_transactions_per_minute
        self._per_day = config.gate.max_transactions_per_day
        self._caps = config.gate.chains
        self._all = _Window()
        self._chains: dict[str, _Window] = {}

    def check(self, request: SignRequest, now_ns: int) -> Refusal | None:
        """None when one more transaction, with the gas of ``request``, may be signed now."""
        self._all.advance(now_ns)
        if len(self._all.minute) >= self._per_minute:
            return _over("rate", self._per_minute, "transactions a minute", "max_transactions_per_minute")
        if self._all.day_count >= self._per_day:
            return _over("rate_day", self._per_day, "transactions a day", "gate.max_transactions_per_day")
        caps = self._caps.get(request.chain)
        return None if caps is None else self._check_chain(request, caps, now_ns)

    def record(self, chain: str, at_ns: int, gwei: int) -> None:
        """Count one signature."""
        self._all.add(at_ns, gwei)
        self._chains.setdefault(chain, _Window()).add(at_ns, gwei)

    def dump(self) -> dict[str, object]:
        """Everything that has to survive a change of the log's file."""
        return {
            name: [list(window.minute), window.day, window.day_count, window.day_gwei]
            for name, window in (("", self._all), *self._chains.items())
        }

    def load(self, state: dict[str, object]) -> None:
        """What ``dump`` gave."""
        for name, facts in state.items():
            assert isinstance(facts, list)
            minute, day, count, gwei = facts
            window = _Window(deque((at_ns, spent) for at_ns, spent in minute), 0, day, count, gwei)
            window.minute_gwei = sum(spent for _, spent in window.minute)
            if name:
                self._chains[name] = window
            else:
                self._all = window

    def _check_chain(self, request: SignRequest, caps: ChainCaps, now_ns: int) -> Refusal | None:
        window = self._chains.setdefault(request.chain, _Window())
        window.advance(now_ns)
        gwei, where = gas_gwei(request), f"gate.chains.{request.chain}"
        for reason, name, used, limit_wei in (
            ("gas_cost", "max_gas_cost_per_transaction_wei", 0, caps.max_gas_cost_per_transaction_wei),
            ("gas_minute", "max_gas_cost_per_minute_wei", window.minute_gwei, caps.max_gas_cost_per_minute_wei),
            ("gas_day", "max_gas_cost_per_day_wei", window.day_gwei, caps.max_gas_cost_per_day_wei),
        ):
            if limit_wei is not None and (used + gwei) * _WEI_PER_GWEI > limit_wei:
                asked = f"its gas of up to {gwei} gwei, beside {used} gwei signed already"
                return Refusal(reason, f"{asked}, is above {limit_wei} wei (signer.{where}.{name})")
        for reason, name, count, limit in (
            ("rate", "max_transactions_per_minute", len(window.minute), caps.max_transactions_per_minute),
            ("rate_day", "max_transactions_per_day", window.day_count, caps.max_transactions_per_day),
        ):
            if limit is not None and count >= limit:
                return _over(reason, limit, f"transactions on {request.chain}", f"{where}.{name}")
        return None


def _over(reason: str, limit: int, unit: str, name: str) -> Refusal:
    return Refusal(reason, f"{limit} {unit} are allowed (signer.{name})")

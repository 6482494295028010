"""The configured rules (``[[risk.limits]]``) of one chain, counted with what is in flight.

A plan's *facts* are what the rules measure of it. An approval holds its worst case in every meter that it concerns;
the final outcome replaces that by what happened. All amounts are native wei or counts, exact.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ouro.config.risk import LimitRule
from ouro.risk.limits import Reason, notional_native_wei, worst_loss_wei
from ouro.risk.meters import Entry, Meter
from ouro.types import Address, Outcome, OutcomeKind, Plan

_REASONS = {
    "notional": Reason.RULE_NOTIONAL,
    "gas": Reason.RULE_GAS,
    "bid": Reason.RULE_BID,
    "loss": Reason.RULE_LOSS,
    "open": Reason.RULE_OPEN,
    "messages": Reason.RULE_MESSAGES,
    "inventory": Reason.RULE_INVENTORY,
    "concentration": Reason.RULE_CONCENTRATION,
}
_INCLUDED = (OutcomeKind.LANDED, OutcomeKind.LOST, OutcomeKind.REVERTED)
_MOST_KEYS = 20_000
FULL_PPM = 1_000_000


@dataclass(frozen=True, slots=True)
class Facts:
    """What the rules measure of a plan; tokens and pools each once."""

    notional_wei: int
    gas_wei: int
    bid_wei: int
    strategy: str
    tokens: tuple[Address, ...]
    pools: tuple[str, ...]

    def amount(self, measure: str) -> int:
        """The worst case of a measure, before it is known what happened."""
        if measure in ("notional", "concentration"):
            return self.notional_wei
        if measure in ("gas", "loss"):
            return self.gas_wei
        return self.bid_wei if measure == "bid" else 1


def facts_of(plan: Plan) -> Facts:
    """For plans that passed the checks of sanity."""
    tip = plan.fee.max_fee_per_gas_wei if plan.fee.legacy else plan.fee.max_priority_fee_per_gas_wei
    bribe = -(-plan.bribe_wei * plan.value_native_wei // plan.gross_profit_wei)
    tokens = dict.fromkeys(token for hop in plan.hops for token in (hop.token_in, hop.token_out))
    return Facts(
        notional_native_wei(plan),
        worst_loss_wei(plan),
        plan.gas_limit * tip + bribe,
        plan.strategy,
        tuple(tokens),
        plan.pools,
    )


@dataclass(slots=True, eq=False)
class Rule:
    """One rule with its meters by key."""

    config: LimitRule
    measure: str = ""
    meters: dict[str, Meter] = field(default_factory=dict)
    whole: Meter | None = None
    """Of ``concentration``: everything, of which a key has its share."""

    def __post_init__(self) -> None:
        self.measure = self.config.measure
        if self.measure == "concentration":
            self.whole = Meter(self.config.window_ms)

    def keys(self, facts: Facts, account: Address | None) -> Sequence[str]:
        """On which of its meters a plan counts."""
        scope, only = self.config.scope, self.config.only
        if scope in ("chain", "all"):
            return ("",)
        if scope == "strategy":
            keys: Sequence[str] = (facts.strategy,)
        elif scope == "token":
            keys = facts.tokens
        elif scope == "pool":
            keys = facts.pools
        else:
            keys = () if account is None else (account,)
        return keys if only is None else tuple(key for key in keys if key == only)

    def meter(self, key: str) -> Meter:
        """The meter of a key."""
        meter = self.meters.get(key)
        if meter is None:
            if len(self.meters) >= _MOST_KEYS:
                self._forget()
            meter = self.meters[key] = Meter(self.config.window_ms)
        return meter

    def _forget(self) -> None:
        self.meters = {key: meter for key, meter in self.meters.items() if meter.held or meter.total}

    def problem(self, facts: Facts, account: Address | None, now_ms: int, scale_ppm: int) -> str:
        """Why the plan would break it, empty when it would not."""
        config = self.config
        maximum = config.maximum
        if self.measure == "concentration":
            return self._too_concentrated(facts, account, now_ms)
        if scale_ppm != FULL_PPM:
            maximum = (
                max(1, maximum * scale_ppm // FULL_PPM)
                if self.measure == "open"
                else (maximum * scale_ppm // FULL_PPM)
            )
        amount = facts.amount(self.measure) if self.measure != "inventory" else 0
        for key in self.keys(facts, account):
            meter = self.meters.get(key)
            used = 0 if meter is None or (not config.window_ms and not self._standing) else meter.used(now_ms)
            if used + amount > maximum:
                return (
                    f"{self.measure} per {config.per} of {config.scope} {key}".rstrip()
                    + f": {used} used (in flight included) and {amount} asked, the limit is {maximum}"
                )
        return ""

    @property
    def _standing(self) -> bool:
        return self.measure in ("open", "inventory")

    def _too_concentrated(self, facts: Facts, account: Address | None, now_ms: int) -> str:
        assert self.whole is not None
        asked = facts.notional_wei
        total = self.whole.used(now_ms) + asked
        if total <= self.config.from_wei:
            return ""
        share = self.config.maximum
        for key in self.keys(facts, account):
            meter = self.meters.get(key)
            used = asked + (meter.used(now_ms) if meter is not None else 0)
            if used * FULL_PPM > share * total:
                return (
                    f"{self.config.scope} {key} would have {used} of {total} wei traded in an {self.config.per}, "
                    f"the limit is {share} ppm"
                )
        return ""


@dataclass(slots=True, eq=False)
class _Holding:
    facts: Facts
    meters: list[tuple[str, Meter, int]]
    """(measure, meter, what it holds in it)"""


@dataclass(slots=True, eq=False)
class Rulebook:
    """The rules of one chain. ``scope`` "all" is not here (see ``ouro.risk.budget``)."""

    rules: tuple[Rule, ...] = ()
    _holdings: dict[str, _Holding] = field(default_factory=dict)
    _finals: dict[str, list[tuple[Meter, Entry]]] = field(default_factory=dict)
    _of_accounts: tuple[Rule, ...] = ()
    _of_plans: tuple[Rule, ...] = ()

    @classmethod
    def of(cls, configs: Iterable[LimitRule]) -> "Rulebook":
        """From the configuration."""
        return cls(tuple(Rule(config) for config in configs if config.scope != "all"))

    def __post_init__(self) -> None:
        self._of_accounts = tuple(rule for rule in self.rules if rule.config.scope == "account")
        self._of_plans = tuple(rule for rule in self.rules if rule.config.scope != "account")

    def problem(self, facts: Facts, now_ms: int, scale_ppm: int = FULL_PPM) -> tuple[Reason, str] | None:
        """The first rule that the plan would break, but for those of accounts."""
        for rule in self._of_plans:
            wrong = rule.problem(facts, None, now_ms, scale_ppm)
            if wrong:
                return _REASONS[rule.measure], wrong
        return None

    def account_problem(
        self, plan_id: str, account: Address, now_ms: int, scale_ppm: int = FULL_PPM
    ) -> tuple[Reason, str] | None:
        """The same of the account that would send an approved plan; what passes counts on it from now on."""
        holding = self._holdings.get(plan_id)
        if holding is None or not self._of_accounts:
            return None
        for rule in self._of_accounts:
            wrong = rule.problem(holding.facts, account, now_ms, scale_ppm)
            if wrong:
                return _REASONS[rule.measure], wrong
        for rule in self._of_accounts:
            self._hold(rule, holding, account, now_ms)
        return None

    def hold(self, plan_id: str, facts: Facts, now_ms: int, account: Address | None = None) -> None:
        """Count an approval (or, after a restart, what an earlier process approved) as in flight."""
        if not self.rules or plan_id in self._holdings:
            return
        holding = self._holdings[plan_id] = _Holding(facts, [])
        for rule in self.rules if account is not None else self._of_plans:
            self._hold(rule, holding, account, now_ms)

    @staticmethod
    def _hold(rule: Rule, holding: _Holding, account: Address | None, now_ms: int) -> None:
        facts, measure = holding.facts, rule.measure
        if measure == "inventory" or (rule.config.per == "trade" and measure != "open"):
            return
        amount = facts.amount(measure)
        if measure == "messages":
            for key in rule.keys(facts, account):
                rule.meter(key).add(now_ms, 1)
            return
        meters = [rule.meter(key) for key in rule.keys(facts, account)]
        if rule.whole is not None:
            meters.append(rule.whole)
        for meter in meters:
            meter.held += amount
            holding.meters.append((measure, meter, amount))

    def release(self, plan_id: str) -> None:
        """It was not sent: nothing of it counts, but for the message."""
        holding = self._holdings.pop(plan_id, None)
        for _, meter, amount in holding.meters if holding is not None else ():
            meter.held -= amount

    def settle(self, plan_id: str, attempt_id: str, outcome: Outcome, net_wei: int, now_ms: int) -> None:
        """Final: what was held becomes what happened."""
        holding = self._holdings.pop(plan_id, None)
        if holding is None:
            return
        finals: list[tuple[Meter, Entry]] = []
        for measure, meter, amount in holding.meters:
            meter.held -= amount
            happened = _happened(measure, amount, outcome, net_wei)
            if happened > 0 and meter.window_ms:
                finals.append((meter, meter.add(now_ms, happened)))
        if finals:
            self._finals[attempt_id] = finals
            if len(self._finals) > _MOST_KEYS:
                del self._finals[next(iter(self._finals))]

    def withdraw(self, attempt_id: str) -> None:
        """The outcome does not hold any more; whoever is in flight again has to be held again."""
        for meter, entry in self._finals.pop(attempt_id, ()):
            meter.withdraw(entry)

    def set_inventory(self, token: Address, value_wei: int) -> None:
        """What the hot accounts hold of ``token``, in native wei."""
        for rule in self.rules:
            if rule.measure != "inventory":
                continue
            key = token if rule.config.scope == "token" else ""
            meter = rule.meter(key)
            if key:
                meter.held = value_wei
            else:
                by_token = rule.meters.setdefault("of " + token, Meter(0))
                meter.held += value_wei - by_token.held
                by_token.held = value_wei


def _happened(measure: str, held: int, outcome: Outcome, net_wei: int) -> int:
    """What of a held amount is used up by an outcome."""
    if measure == "gas":
        return outcome.gas_cost_wei
    if measure == "loss":
        return max(0, -net_wei)
    if measure == "open":
        return 0
    if measure == "bid":
        return held if outcome.kind in _INCLUDED else 0
    return held  # sent orders count whatever became of them

"""The configured rules (``[[risk.limits]]``) of one chain, counted with what is in flight.

A plan's *facts* are what the rules measure of it. An approval holds its worst case in every meter that it concerns;
the final outcome replaces that by what happened. All amounts are native wei or counts, exact.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

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


class Facts(NamedTuple):
    """What the rules measure of a plan: the worst case of each measure, and the keys of each scope, each once."""

    amounts: Mapping[str, int]
    keys: Mapping[str, tuple[str, ...]]

    @property
    def notional_wei(self) -> int:
        """Of the whole plan."""
        return self.amounts["notional"]

    def amount(self, measure: str) -> int:
        """The worst case of a measure, before it is known what happened."""
        return self.amounts[measure]


_WHOLE = ("",)


def facts_of(plan: Plan) -> Facts:
    """For plans that passed the checks of sanity."""
    fee = plan.fee
    tip = fee.max_fee_per_gas_wei if fee.legacy else fee.max_priority_fee_per_gas_wei
    bribe = -(-plan.bribe_wei * plan.value_native_wei // plan.gross_profit_wei) if plan.bribe_wei else 0
    notional, gas = notional_native_wei(plan), worst_loss_wei(plan)
    tokens: dict[str, None] = {}
    for hop in plan.hops:
        tokens[hop.token_in] = tokens[hop.token_out] = None
    return Facts(
        {
            "notional": notional,
            "concentration": notional,
            "gas": gas,
            "loss": gas,
            "bid": plan.gas_limit * tip + bribe,
            "open": 1,
            "messages": 1,
            "inventory": 0,
        },
        {
            "all": _WHOLE,
            "chain": _WHOLE,
            "strategy": (plan.strategy,),
            "token": tuple(tokens),
            "pool": plan.pools,
        },
    )


class Rule:
    """One rule with its meters by key."""

    __slots__ = (
        "config", "maximum", "measure", "meters", "only", "per_trade", "scope", "standing", "whole", "window_ms",
    )  # fmt: skip

    def __init__(self, config: LimitRule) -> None:
        self.config = config
        self.measure, self.scope, self.only = config.measure, config.scope, config.only
        self.maximum, self.window_ms = config.maximum, config.window_ms
        self.standing = self.measure in ("open", "inventory")
        self.per_trade = not config.window_ms and not self.standing
        self.meters: dict[str, Meter] = {}
        self.whole = Meter(self.window_ms) if self.measure == "concentration" else None
        """Of ``concentration``: everything, of which a key has its share."""

    def keys(self, facts: Facts, account: Address | None) -> tuple[str, ...]:
        """On which of its meters a plan counts."""
        if self.scope == "account":
            keys: tuple[str, ...] = () if account is None else (account,)
        else:
            keys = facts.keys[self.scope]
        return keys if self.only is None else tuple(key for key in keys if key == self.only)

    def meter(self, key: str) -> Meter:
        """The meter of a key."""
        meter = self.meters.get(key)
        if meter is None:
            if len(self.meters) >= _MOST_KEYS:
                self.meters = {name: known for name, known in self.meters.items() if known.held or known.total}
            meter = self.meters[key] = Meter(self.window_ms)
        return meter

    def scaled(self, scale_ppm: int) -> int:
        """What is left of it while a breaker throttles; one order at a time stays possible."""
        if scale_ppm == FULL_PPM or self.whole is not None:
            return self.maximum
        return max(int(self.standing), self.maximum * scale_ppm // FULL_PPM)

    def too_much(self, key: str, used: int, amount: int, maximum: int) -> tuple[Reason, str]:
        """The refusal."""
        named = f"{self.measure} per {self.config.per} of {self.scope} {key}".rstrip()
        detail = f"{named}: {used} used (in flight included) and {amount} asked, the limit is {maximum}"
        return _REASONS[self.measure], detail

    def too_concentrated(self, keys: Iterable[str], asked: int, now_ms: int) -> tuple[Reason, str] | None:
        """Whether one key would have too large a share of everything."""
        assert self.whole is not None
        total = self.whole.used(now_ms) + asked
        if total <= self.config.from_wei:
            return None
        for key in keys:
            used = asked + self.meter(key).used(now_ms)
            if used * FULL_PPM > self.maximum * total:
                return Reason.RULE_CONCENTRATION, (
                    f"{self.scope} {key} would have {used} of {total} wei per {self.config.per}, the limit is "
                    f"{self.maximum} ppm"
                )
        return None


_Held = tuple[str, Meter, int]
"""(measure, meter, what is held in it)"""


@dataclass(slots=True, eq=False)
class _Holding:
    facts: Facts
    meters: list[_Held]


class Rulebook:
    """The rules of one chain. ``scope`` "all" is not here (see ``ouro.risk.budget``)."""

    def __init__(self, rules: Iterable[Rule] = ()) -> None:
        self.rules = tuple(rules)
        self._of_accounts = tuple(rule for rule in self.rules if rule.scope == "account")
        self._of_plans = tuple(rule for rule in self.rules if rule.scope != "account")
        self._holdings: dict[str, _Holding] = {}
        self._finals: dict[str, list[tuple[Meter, Entry]]] = {}
        self._asked: tuple[Facts, list[_Held]] | None = None

    @classmethod
    def of(cls, configs: Iterable[LimitRule]) -> "Rulebook":
        """From the configuration."""
        return cls(Rule(config) for config in configs if config.scope != "all")

    def problem(self, facts: Facts, now_ms: int, scale_ppm: int = FULL_PPM) -> tuple[Reason, str] | None:
        """The first rule that the plan would break, but for those of accounts."""
        asked: list[_Held] = []
        wrong = self._examine(self._of_plans, facts, None, now_ms, scale_ppm, asked)
        self._asked = None if wrong else (facts, asked)
        return wrong

    @staticmethod
    def _examine(
        rules: Iterable[Rule],
        facts: Facts,
        account: Address | None,
        now_ms: int,
        scale_ppm: int,
        asked: list[_Held],
    ) -> tuple[Reason, str] | None:
        """The first rule that would be broken; ``asked`` gets every meter that it would count in."""
        amounts = facts.amounts
        for rule in rules:
            measure, amount = rule.measure, amounts[rule.measure]
            maximum = rule.maximum if scale_ppm == FULL_PPM else rule.scaled(scale_ppm)
            if rule.per_trade:
                if amount > maximum and rule.keys(facts, account):
                    return rule.too_much("", 0, amount, maximum)
                continue
            keys = rule.keys(facts, account)
            if rule.whole is not None:
                wrong = rule.too_concentrated(keys, amount, now_ms)
                if wrong is not None:
                    return wrong
                asked.append((measure, rule.whole, amount))
                maximum = 1 << 256
            oldest, meters = now_ms - rule.window_ms, rule.meters
            for key in keys:
                meter = meters.get(key) or rule.meter(key)
                entries = meter.entries
                if entries and entries[0].at_ms <= oldest:
                    meter.used(now_ms)
                used = meter.held + meter.total
                if used + amount > maximum:
                    return rule.too_much(key, used, amount, maximum)
                asked.append((measure, meter, amount))
        return None

    def account_problem(
        self, plan_id: str, account: Address, now_ms: int, scale_ppm: int = FULL_PPM
    ) -> tuple[Reason, str] | None:
        """The same of the account that would send an approved plan; what passes counts on it from now on."""
        holding = self._holdings.get(plan_id)
        if holding is None or not self._of_accounts:
            return None
        asked: list[_Held] = []
        wrong = self._examine(self._of_accounts, holding.facts, account, now_ms, scale_ppm, asked)
        if wrong is None:
            _hold(holding, asked, now_ms)
        return wrong

    def hold(self, plan_id: str, facts: Facts, now_ms: int, account: Address | None = None) -> None:
        """Count an approval (or, after a restart, what an earlier process approved) as in flight."""
        if not self.rules or plan_id in self._holdings:
            return
        holding = self._holdings[plan_id] = _Holding(facts, [])
        asked, self._asked = self._asked, None
        if asked is not None and asked[0] is facts and account is None:
            _hold(holding, asked[1], now_ms)
            return
        rules = self._of_plans if account is None else self.rules
        found: list[_Held] = []
        for rule in rules:
            if rule.per_trade:
                continue
            if rule.whole is not None:
                found.append((rule.measure, rule.whole, facts.amounts[rule.measure]))
            found += [(rule.measure, rule.meter(k), facts.amounts[rule.measure]) for k in rule.keys(facts, account)]
        _hold(holding, found, now_ms)

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


def _hold(holding: _Holding, asked: Iterable[_Held], now_ms: int) -> None:
    held = holding.meters
    for item in asked:
        measure, meter, amount = item
        if measure == "messages":
            meter.add(now_ms, 1)
        elif amount:
            meter.held += amount
            held.append(item)


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

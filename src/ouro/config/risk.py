"""The sections of risk: hard limits, rules by scope and time, collar, screening, gas tanks, breakers, send rule."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ouro.config.fields import ConfigAddress, NonNegativeInt, PositiveInt, Ppm, Section

Measure = Literal["notional", "gas", "bid", "loss", "open", "messages", "inventory", "concentration"]
Scope = Literal["all", "chain", "strategy", "token", "pool", "account"]
Per = Literal["trade", "second", "minute", "hour", "day"]

WINDOW_MS: dict[str, int] = {"second": 1_000, "minute": 60_000, "hour": 3_600_000, "day": 86_400_000}
_MONEY = ("notional", "gas", "bid", "loss", "inventory")
_UNITS = ("max_wei", "max_usd_cents", "max_count", "max_share_ppm")


class LimitRule(Section):
    """One limit: of what, on what, in how long.

    ``notional`` is the value traded, ``gas`` what gas may cost, ``bid`` tip and bribe, ``loss`` what failed trades
    cost (in flight: what they may cost), ``open`` approvals without a final outcome, ``messages`` approvals,
    ``inventory`` what hot accounts hold, ``concentration`` the share of a token, pool or strategy in the chain's
    notional. In-flight amounts count in each. ``second`` to ``day`` are rolling windows; ``only`` is the one
    strategy, token, pool or account that is meant, each of them without it.

    Money is ``max_wei`` of the chain's native coin; over ``all`` chains, whose coins differ, ``max_usd_cents``.
    ``open`` and ``messages`` are counted (``max_count``); ``concentration`` is ``max_share_ppm`` once
    ``from_wei`` have been traded.
    """

    measure: Measure
    scope: Scope = "chain"
    per: Per = "trade"
    only: str | None = None
    max_wei: PositiveInt | None = None
    max_usd_cents: PositiveInt | None = None
    max_count: PositiveInt | None = None
    max_share_ppm: Ppm | None = None
    from_wei: NonNegativeInt = 0

    @model_validator(mode="after")
    def _has_its_unit(self) -> Self:
        wanted = self._wanted_unit()
        given = [unit for unit in _UNITS if getattr(self, unit) is not None]
        if given != [wanted]:
            has = f"it has {', '.join(given)}" if given else "it has none"
            raise ValueError(f"{wanted} is the unit of measure {self.measure!r} over scope {self.scope!r}; {has}")
        if self.measure == "messages" and self.per == "trade":
            raise ValueError("per: messages are counted in a time; choose second, minute, hour or day")
        if self.measure in ("open", "inventory") and self.per != "trade":
            raise ValueError(f"per: {self.measure} is what there is at a moment; leave per out")
        if self.measure == "concentration" and (
            self.scope not in ("strategy", "token", "pool") or self.per not in ("hour", "day")
        ):
            raise ValueError('measure "concentration" needs scope strategy, token or pool, and per hour or day')
        if self.measure == "inventory" and self.scope not in ("chain", "token"):
            raise ValueError('measure "inventory" needs scope chain or token')
        if self.only is not None and self.scope in ("all", "chain"):
            raise ValueError(f"only: scope {self.scope!r} has nothing to choose from; remove it")
        if self.only is not None and self.scope in ("token", "pool", "account"):
            object.__setattr__(self, "only", self.only.lower())
        if self.from_wei and self.measure != "concentration":
            raise ValueError("from_wei: is for measure concentration only")
        return self

    def _wanted_unit(self) -> str:
        if self.measure in _MONEY:
            return "max_usd_cents" if self.scope == "all" else "max_wei"
        return "max_share_ppm" if self.measure == "concentration" else "max_count"

    @property
    def maximum(self) -> int:
        """The limit in its unit."""
        return next(value for unit in _UNITS if (value := getattr(self, unit)) is not None)

    @property
    def window_ms(self) -> int:
        """How long it looks back; 0 for a single trade."""
        return WINDOW_MS.get(self.per, 0)


class CollarConfig(Section):
    """How far a hop's price may be from what the other pools of its pair say (their median), or from a feed file.

    ``max_deviation_ppm`` either way (1,000,000: twice, or half as much); ``unreferenced`` says what becomes of a
    hop for which there is neither. ``feed_file`` has lines of ``token native_wei_per_unit_e18 unix_ms``; older
    lines than ``feed_stale_ms`` don't count.
    """

    state: Literal["on", "off"] = "on"
    max_deviation_ppm: PositiveInt = 1_000_000
    unreferenced: Literal["allow", "refuse"] = "allow"
    feed_file: Path | None = None
    feed_stale_ms: PositiveInt = 60_000


class ScreeningConfig(Section):
    """A list of addresses: nothing is traded with or paid to what it denies, or, with ``allow_only``, to anything
    that it does not allow. ``sha256`` pins its content; older than ``max_age_days`` it counts as unreadable."""

    file: Path | None = None
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    max_age_days: PositiveInt = 30
    mode: Literal["deny", "allow_only"] = "deny"


class GasTankConfig(Section):
    """Native balance of each operator: below ``refill_below_wei`` a refill up to ``refill_to_wei`` is proposed,
    below ``stop_below_wei`` (or what a trade may cost) the operator is not used."""

    refill_below_wei: NonNegativeInt = 0
    refill_to_wei: NonNegativeInt = 0
    stop_below_wei: NonNegativeInt = 0
    every_blocks: PositiveInt = 8

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.refill_to_wei < self.refill_below_wei:
            raise ValueError(
                f"refill_to_wei ({self.refill_to_wei}) is below refill_below_wei ({self.refill_below_wei}): "
                "a refilled tank would be refilled again"
            )
        if self.stop_below_wei > self.refill_below_wei > 0:
            raise ValueError(
                f"stop_below_wei ({self.stop_below_wei}) is above refill_below_wei ({self.refill_below_wei}): "
                "it would stop before a refill is proposed"
            )
        return self


class DrawdownConfig(Section):
    """Tiers of the drawdown of net equity (risk capital plus results), in ppm of its peak. ``limit_ppm`` is what
    is never reached: with everything in flight lost, too, a plan has to stay below it."""

    state: Literal["on", "off"] = "on"
    throttle_ppm: Ppm = 20_000
    reduce_only_ppm: Ppm = 35_000
    halt_ppm: Ppm = 45_000
    limit_ppm: Ppm = 50_000
    heal_ms: PositiveInt = 600_000

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        tiers = (self.throttle_ppm, self.reduce_only_ppm, self.halt_ppm, self.limit_ppm)
        if list(tiers) != sorted(set(tiers)):
            raise ValueError(
                f"throttle_ppm {tiers[0]}, reduce_only_ppm {tiers[1]}, halt_ppm {tiers[2]} and limit_ppm "
                f"{tiers[3]} must ascend"
            )
        return self


class _Breaker(Section):
    """What every breaker has: whether it is on, what it does, and how long a throttle lasts before it heals."""

    state: Literal["on", "off"] = "on"
    mode: Literal["stop", "reduce_only", "throttle"] = "stop"
    heal_ms: PositiveInt = 300_000


class LossRateConfig(_Breaker):
    """Losses (not netted with gains) of ``window_ms``, in ppm of the risk capital."""

    window_ms: PositiveInt = 3_600_000
    max_loss_ppm: Ppm = 30_000


class RevertsConfig(_Breaker):
    """Reverts that no rival explains; competitive misses are not counted."""

    window_ms: PositiveInt = 3_600_000
    max_reverts: PositiveInt = 3


class SimulationConfig(_Breaker):
    """Landed trades whose profit differs from the prediction by more than ``tolerance_ppm``."""

    window_ms: PositiveInt = 3_600_000
    tolerance_ppm: NonNegativeInt = 0
    max_differences: PositiveInt = 2


class GasErrorConfig(_Breaker):
    """Landed trades that used more gas than ``tolerance_ppm`` above the estimate."""

    mode: Literal["stop", "reduce_only", "throttle"] = "throttle"
    window_ms: PositiveInt = 3_600_000
    tolerance_ppm: PositiveInt = 500_000
    max_errors: PositiveInt = 5


class NodesConfig(_Breaker):
    """Nodes that contradict each other about a touched pool, and sources that go stale again and again."""

    window_ms: PositiveInt = 600_000
    max_disagreements: PositiveInt = 1
    max_stale: PositiveInt = 20


class ReorgConfig(_Breaker):
    """A reorg of at least ``min_depth`` blocks."""

    mode: Literal["stop", "reduce_only", "throttle"] = "throttle"
    min_depth: PositiveInt = 8


class LatencyConfig(_Breaker):
    """More than ``burnt_ppm`` of the last ``blocks`` were decided later than ``objective_ms``."""

    mode: Literal["stop", "reduce_only", "throttle"] = "throttle"
    objective_ms: PositiveInt = 1_000
    blocks: PositiveInt = 100
    burnt_ppm: Ppm = 500_000


class RepeatConfig(_Breaker):
    """A runaway loop: one path approved ``max_same_path`` times in ``window_ms`` without a landing between, or
    ``max_approvals`` approvals of a chain."""

    window_ms: PositiveInt = 60_000
    max_same_path: PositiveInt = 30
    max_approvals: PositiveInt = 1_200


class ClockConfig(_Breaker):
    """The clock jumps by more than ``max_jump_ms`` against the monotonic one, or blocks claim times further than
    ``max_skew_ms`` from it."""

    max_jump_ms: PositiveInt = 5_000
    max_skew_ms: PositiveInt = 3_600_000


class LedgerConfigOfRisk(_Breaker):
    """Books and chain differ by more than ``max_difference_wei``."""

    max_difference_wei: NonNegativeInt = 0


class BreakersConfig(Section):
    """The breakers by name. ``throttle_ppm``: what is left of every limit while one throttles."""

    throttle_ppm: Ppm = 250_000
    drawdown: DrawdownConfig = DrawdownConfig()
    loss_rate: LossRateConfig = LossRateConfig()
    reverts: RevertsConfig = RevertsConfig()
    simulation: SimulationConfig = SimulationConfig()
    gas_error: GasErrorConfig = GasErrorConfig()
    nodes: NodesConfig = NodesConfig()
    reorg: ReorgConfig = ReorgConfig()
    latency: LatencyConfig = LatencyConfig()
    repeat: RepeatConfig = RepeatConfig()
    clock: ClockConfig = ClockConfig()
    ledger: LedgerConfigOfRisk = LedgerConfigOfRisk()


class SendConfig(Section):
    """How a bid is chosen: ``fixed`` is ``bid.share_ppm`` of the value; ``expected_value`` takes, of the shares in
    ``shares_ppm``, the one with the best p·(v − b − c_success) − (1 − p)·c_fail − c_occupied, and sends only where
    that is positive.

    p of each share is Beta(``prior_wins`` + landed, ``prior_losses`` + missed) of the ledger. ``occupied_wei`` is
    what a held nonce and its pools cost for a block; ``fail_gas_ppm`` what of the gas a failed trade pays before
    there is data.
    """

    bids: Literal["fixed", "expected_value"] = "fixed"
    shares_ppm: Annotated[tuple[Ppm, ...], Field(min_length=1)] = (
        50_000,
        100_000,
        250_000,
        500_000,
        750_000,
        900_000,
    )
    prior_wins: PositiveInt = 1
    prior_losses: PositiveInt = 1
    fail_gas_ppm: Ppm = 300_000
    occupied_wei: NonNegativeInt = 0
    memory: PositiveInt = 2_000

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        if list(self.shares_ppm) != sorted(set(self.shares_ppm)):
            raise ValueError("shares_ppm must ascend, each once")
        return self


class RiskConfig(Section):
    """Hard limits on what may be sent, per chain; amounts in its native wei. A chain may have limits of its own.

    ``max_reverts_per_hour`` counts reverts that no rival explains; wasted gas is what failed trades paid.
    ``capital_wei`` is the risk capital that drawdown is measured on, by default ``max_gas_cost_wei`` fifty times.
    """

    max_notional_wei: PositiveInt = 50 * 10**18
    max_gas_cost_wei: PositiveInt = 10**17
    max_open_attempts: PositiveInt = 8
    max_daily_loss_wei: PositiveInt = 10**18
    min_net_profit_wei: NonNegativeInt = 0
    max_reverts_per_hour: PositiveInt = 3
    max_wasted_gas_per_hour_wei: PositiveInt = 3 * 10**17
    capital_wei: PositiveInt | None = None
    kill_file: Path = Path("kill")
    """While it exists nothing is approved. A chain's own stops that chain; the common one stops them all."""
    limits: tuple[LimitRule, ...] = ()
    collar: CollarConfig = CollarConfig()
    screening: ScreeningConfig = ScreeningConfig()
    gas_tank: GasTankConfig = GasTankConfig()
    breakers: BreakersConfig = BreakersConfig()

    @property
    def risk_capital_wei(self) -> int:
        """What drawdown is measured on."""
        return self.capital_wei or 50 * self.max_gas_cost_wei

    def with_own(self, own: "RiskConfig") -> "RiskConfig":
        """These limits, but for what ``own`` sets itself: a limit that a chain leaves out is not loosened."""
        return self.model_copy(update={name: getattr(own, name) for name in own.model_fields_set})

    @model_validator(mode="after")
    def _no_contradictions(self) -> Self:
        for earlier, rule in _pairs(self.limits):
            if rule == earlier:
                raise ValueError(f"limits: {_named(rule)} stands there twice")
            if _same_but_time(earlier, rule):
                if earlier.per == rule.per:
                    raise ValueError(
                        f"limits: {_named(rule)} is set to {earlier.maximum} and to {rule.maximum}; which one?"
                    )
                short, long = sorted((earlier, rule), key=lambda each: each.window_ms)
                if short.maximum > long.maximum:
                    raise ValueError(
                        f"limits: {_named(short)} may be {short.maximum}, but {_named(long)} only {long.maximum}: "
                        "the longer time can't hold less than the shorter"
                    )
        return self


def _pairs(rules: tuple[LimitRule, ...]) -> list[tuple[LimitRule, LimitRule]]:
    return [(rules[i], rules[j]) for j in range(len(rules)) for i in range(j)]


def _same_but_time(one: LimitRule, other: LimitRule) -> bool:
    return (one.measure, one.scope, one.only) == (other.measure, other.scope, other.only) and (
        one.measure != "concentration" or one.per == other.per
    )


def _named(rule: LimitRule) -> str:
    only = f" {rule.only}" if rule.only else ""
    return f"{rule.measure} per {rule.per} of {rule.scope}{only}"


__all__ = [
    "BreakersConfig",
    "CollarConfig",
    "ConfigAddress",
    "GasTankConfig",
    "LimitRule",
    "RiskConfig",
    "ScreeningConfig",
    "SendConfig",
]

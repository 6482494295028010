"""Capital: how budgets are made from realised returns, and the stages by which the operation grows."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ouro.config.fields import NonNegativeInt, PositiveInt, Ppm, Section

Share = Annotated[int, Field(ge=0, le=1_000_000)]
StageName = Literal["observe", "paper", "canary", "limited", "full"]
STAGES: tuple[StageName, ...] = ("observe", "paper", "canary", "limited", "full")


class BudgetConfig(Section):
    """Budgets per chain, strategy and token: what may be at risk at once, today's losses included.

    Of ``capital_usd_cents``; chosen to grow fastest while the chance to fall below ``alpha_ppm`` of the start
    within ``horizon_periods`` stays at most ``beta_ppm``. ``shrink_periods`` is how many periods without profit
    are added to what was earned; ``explore_ppm`` of the capital is left to what has no history yet.
    """

    state: Literal["on", "off"] = "off"
    capital_usd_cents: NonNegativeInt = 0
    period_minutes: PositiveInt = 60
    lookback_days: PositiveInt = 30
    min_periods: PositiveInt = 10
    shrink_periods: NonNegativeInt = 30
    alpha_ppm: Annotated[int, Field(gt=0, lt=1_000_000)] = 950_000
    beta_ppm: Annotated[int, Field(gt=0, lt=1_000_000)] = 100_000
    horizon_periods: PositiveInt = 100
    paths: PositiveInt = 2_000
    max_chain_ppm: Ppm = 500_000
    max_strategy_ppm: Ppm = 500_000
    max_token_ppm: Ppm = 500_000
    cvar_level_ppm: Annotated[int, Field(gt=0, lt=1_000_000)] = 950_000
    cvar_loss_ppm: Ppm = 100_000
    stress_ppm: Annotated[int, Field(gt=0, lt=1_000_000)] = 10_000
    stress_loss_ppm: Ppm = 500_000
    explore_ppm: Share = 10_000
    floor_ppm: Annotated[int, Field(ge=0, lt=1_000_000)] = 950_000

    @model_validator(mode="after")
    def _has_capital(self) -> Self:
        if self.state == "on" and not self.capital_usd_cents:
            raise ValueError('capital_usd_cents: needed where state is "on": what may be lost in all, in US cents')
        return self


class StageCaps(Section):
    """What a stage leaves of the limits of risk; ``sends`` "no" means that nothing is sent in mode live."""

    sends: Literal["yes", "no"] = "yes"
    notional_ppm: Share = 1_000_000
    daily_loss_ppm: Share = 1_000_000
    max_open_attempts: NonNegativeInt | None = None
    max_trades_per_day: NonNegativeInt | None = None


class StageGates(Section):
    """What has to be reached in a stage before the next is proposed. ``success_ppm`` is asked of the exact 95 %
    lower bound (Clopper-Pearson), not of the rate."""

    min_hours: NonNegativeInt = 24
    min_trades: NonNegativeInt = 0
    success_ppm: Share = 0
    max_drawdown_ppm: Ppm = 50_000
    uptime_ppm: Share = 990_000
    min_reconciliations: NonNegativeInt = 0


class StageConfig(Section):
    """One stage: its caps, the gates out of it, and when it is fallen out of.

    Below ``demote_success_ppm`` with certainty (95 % upper bound), or above ``demote_drawdown_ppm``, the stage
    before it is taken; a ledger that does not agree with the chain sends it to paper.
    """

    caps: StageCaps = StageCaps()
    gates: StageGates = StageGates()
    demote_success_ppm: Share = 0
    demote_drawdown_ppm: Ppm = 50_000


class StagesConfig(Section):
    """The stages of every chain. Off: the limits of risk alone hold."""

    state: Literal["on", "off"] = "off"
    evaluate_every_s: PositiveInt = 60
    observe: StageConfig = StageConfig(
        caps=StageCaps(sends="no"), gates=StageGates(min_hours=1, uptime_ppm=900_000)
    )
    paper: StageConfig = StageConfig(
        caps=StageCaps(sends="no"), gates=StageGates(min_trades=100, success_ppm=600_000, uptime_ppm=990_000)
    )
    canary: StageConfig = StageConfig(
        caps=StageCaps(notional_ppm=10_000, daily_loss_ppm=50_000, max_open_attempts=1, max_trades_per_day=200),
        gates=StageGates(
            min_hours=72, min_trades=200, success_ppm=700_000, uptime_ppm=995_000, min_reconciliations=1
        ),
        demote_success_ppm=500_000,
        demote_drawdown_ppm=20_000,
    )
    limited: StageConfig = StageConfig(
        caps=StageCaps(notional_ppm=250_000, daily_loss_ppm=250_000, max_open_attempts=4),
        gates=StageGates(
            min_hours=168, min_trades=1_000, success_ppm=800_000, uptime_ppm=995_000, min_reconciliations=1
        ),
        demote_success_ppm=600_000,
        demote_drawdown_ppm=35_000,
    )
    full: StageConfig = StageConfig(demote_success_ppm=700_000, demote_drawdown_ppm=45_000)

    def of(self, stage: StageName) -> StageConfig:
        """The settings of a stage."""
        return getattr(self, stage)

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        for name in ("observe", "paper"):
            if self.of(name).caps.sends == "yes":
                raise ValueError(f'{name}.caps.sends: must be "no", or it would not be {name}')
        for lower, upper in (("canary", "limited"), ("limited", "full")):
            for field in ("notional_ppm", "daily_loss_ppm"):
                low, high = getattr(self.of(lower).caps, field), getattr(self.of(upper).caps, field)
                if low > high:
                    raise ValueError(f"{lower}.caps.{field} ({low}) is above {upper}.caps.{field} ({high})")
        return self


class CapitalConfig(Section):
    """See `BudgetConfig` and `StagesConfig`."""

    budgets: BudgetConfig = BudgetConfig()
    stages: StagesConfig = StagesConfig()

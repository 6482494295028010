"""``[signer.gate]``: what the signing process enforces by itself, over all chains and their processes."""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

_Positive = Annotated[int, Field(gt=0)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ChainCaps(_Section):
    """Hard caps on one chain; gas at its highest price, in the chain's native wei. What is left out has no cap."""

    max_gas_cost_per_transaction_wei: _Positive | None = None
    max_gas_cost_per_minute_wei: _Positive | None = None
    max_gas_cost_per_day_wei: _Positive | None = None
    max_transactions_per_minute: _Positive | None = None
    max_transactions_per_day: _Positive | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        for small, large in (
            ("max_gas_cost_per_transaction_wei", "max_gas_cost_per_minute_wei"),
            ("max_gas_cost_per_minute_wei", "max_gas_cost_per_day_wei"),
            ("max_transactions_per_minute", "max_transactions_per_day"),
        ):
            low, high = getattr(self, small), getattr(self, large)
            if low is not None and high is not None and low > high:
                raise ValueError(f"{small} ({low}) is above {large} ({high}), so it could never be reached")
        return self


class GateConfig(_Section):
    """Limits over all chains together. USD limits need a price with each request and refuse what has none.

    ``max_open_*`` count what is in flight, from signature to final outcome, whichever process holds it;
    ``max_daily_loss_usd`` is today's realised loss plus all gas in flight (UTC).
    """

    max_open_attempts: _Positive = 64
    max_open_notional_usd: _Positive | None = None
    max_open_gas_usd: _Positive | None = None
    max_daily_loss_usd: _Positive | None = None
    max_transactions_per_day: _Positive = 2_000_000
    lease_ms: Annotated[int, Field(ge=500)] = 10_000
    """A chain's holder that is silent for so long may be replaced; what it sends later is refused."""
    log_rotate_bytes: Annotated[int, Field(ge=100_000)] = 64_000_000
    chains: dict[str, ChainCaps] = {}

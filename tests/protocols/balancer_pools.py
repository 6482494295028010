"""Random but possible pools of Balancer's Vault, for the property tests."""

from hypothesis import strategies as st
from tests.protocols.pools import CONTEXT

from ouro.protocols.balancer_math import ONE
from ouro.protocols.balancer_v2_stable_state import NO_PROVIDER, BalancerV2StableState
from ouro.protocols.balancer_v2_weighted_state import BalancerV2WeightedState

POOL = "0x" + "5" * 40
VAULT = "0x" + "b" * 40
TOKENS = tuple("0x" + f"{k}" * 40 for k in "1234678f")
fees = st.sampled_from([10**12, 4 * 10**14, 3 * 10**15, 10**17])
scalings = st.sampled_from([1, 1, 10**12, 10**10, 10**18])


def _shared(draw: st.DrawFn, n: int, kind: int, wholes: list[int]) -> dict[str, object]:
    scaling = tuple(draw(scalings) for _ in range(n))
    held = tuple(max(whole // factor, 1) for whole, factor in zip(wholes, scaling, strict=True))
    away = tuple(draw(st.sampled_from([0, 0, amount // 3])) for amount in held)
    return {
        "address": POOL,
        "manager": VAULT,
        "pool_id": f"{POOL}{kind:04x}{7:020x}",
        "tokens": TOKENS[:n],
        "scaling": scaling,
        "cash": tuple(amount - gone for amount, gone in zip(held, away, strict=True)),
        "managed": away,
        "changed_at": (0,) * n,
        "swap_fee": draw(fees),
        "paused": False,
        "pause_ends": 0,
    }


@st.composite
def weighted_pools(draw: st.DrawFn) -> BalancerV2WeightedState:
    """Two to eight tokens of any weights from a hundredth, any balances."""
    n = draw(st.sampled_from([2, 2, 3, 8]))
    parts = [draw(st.sampled_from([1, 1, 2, 4]) | st.integers(1, 10)) for _ in range(n)]
    weights = [ONE * part // sum(parts) for part in parts]
    weights[0] += ONE - sum(weights)
    wholes = [draw(st.integers(10**6, 10**27)) for _ in range(n)]
    shared = _shared(draw, n, 2 if n == 2 and draw(st.booleans()) else 1, wholes)
    return BalancerV2WeightedState(weights=tuple(weights), exact_powers=draw(st.booleans()), **shared)  # type: ignore[arg-type]


@st.composite
def stable_pools(draw: st.DrawFn) -> BalancerV2StableState:
    """Two to five tokens within a factor of a hundred, ramps, rates before and after their caches' expiry."""
    n = draw(st.integers(2, 5))
    depth = draw(st.integers(10**21, 10**27))
    wholes = [depth * draw(st.integers(1, 100)) // 10 for _ in range(n)]
    now = CONTEXT.timestamp
    amps = [draw(st.integers(1, 5000)) * 1000 for _ in range(2)]
    start = now - draw(st.integers(0, 90_000))
    with_rate = [draw(st.booleans()) for _ in range(n)]
    rates = tuple(draw(st.integers(ONE // 2, 2 * ONE)) if has else ONE for has in with_rate)
    return BalancerV2StableState(
        amp_start=amps[0],
        amp_end=amps[1],
        amp_start_time=start,
        amp_end_time=start + draw(st.integers(86_400, 10**6)),
        rounds_up=draw(st.booleans()),
        own_token=-1,
        rate_providers=tuple(VAULT if has else NO_PROVIDER for has in with_rate),
        rates=rates,
        rate_durations=tuple(60 if has else 0 for has in with_rate),
        rate_expires=tuple(now + draw(st.integers(-60, 60)) if has else 0 for has in with_rate),
        provider_rates=tuple(
            rate + rate // 10_000 if has else 0 for has, rate in zip(with_rate, rates, strict=True)
        ),
        **_shared(draw, n, 0, wholes),  # type: ignore[arg-type]
    )

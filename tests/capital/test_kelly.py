"""The golden instance of risk-constrained Kelly, and what its constraints promise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ouro.capital.drawdown import calibrate, grossman_zhou_ppm, simulate
from ouro.capital.errors import CapitalError
from ouro.capital.kelly import Cvar, Group, log_growth, solve

ALPHA, BETA = 0.7, 0.1


@pytest.fixture(scope="module")
def instance() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Twenty bets, the last without risk, a hundred scenarios (Busseti, Ryu, Boyd, section 6)."""
    random = np.random.RandomState(0)
    weights = random.uniform(size=100)
    weights /= weights.sum()
    returns = random.uniform(0.7, 1.3, size=(20, 100))
    for _ in range(30):
        for outlier in (0.1, 2.5):
            row = random.choice(20)
            returns[row, random.choice(100)] = outlier
    returns[-1] = 1.0
    sample = np.random.RandomState(0).choice(100, size=10_000 * 100, p=weights).reshape(10_000, 100)
    return returns, weights, sample


@pytest.mark.parametrize(
    ("lam", "growth", "risk"),
    [(0.0, 0.062, 0.398), (np.log(BETA) / np.log(ALPHA), 0.043, 0.073), (5.5, 0.047, 0.099)],
)
def test_published_figures(instance: tuple[np.ndarray, ...], lam: float, growth: float, risk: float) -> None:
    returns, weights, sample = instance
    found = simulate(returns, solve(returns, weights, float(lam)), sample, ALPHA)
    assert found[0] == pytest.approx(growth, abs=6e-4)
    assert found[1] == pytest.approx(risk, abs=1.5e-3)


def test_calibrated_growth_at_a_tenth_of_risk(instance: tuple[np.ndarray, ...]) -> None:
    returns, weights, sample = instance
    lam, shares = calibrate(
        lambda value: solve(returns, weights, value),
        lambda chosen: simulate(returns, chosen, sample, ALPHA)[1],
        alpha=ALPHA,
        beta=BETA,
    )
    growth, risk = simulate(returns, shares, sample, ALPHA)
    assert growth >= 0.0473
    assert risk <= 0.100
    assert 0 < lam < 6.456


def small(seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.RandomState(seed)
    returns = random.uniform(0.5, 1.7, size=(4, 12))
    returns[-1] = 1.0
    weights = np.full(12, 1 / 12)
    return returns, weights


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), lam=st.floats(0.1, 20), share=st.floats(0.05, 1.0), loss=st.floats(0.01, 0.5))
def test_every_constraint_holds(seed: int, lam: float, share: float, loss: float) -> None:
    returns, weights = small(seed)
    groups, cvar = (Group("first", (0, 1), share),), Cvar(0.75, loss)
    shares = solve(returns, weights, lam, groups=groups, cvar=cvar)
    assert shares.min() >= 0
    assert shares.sum() == pytest.approx(1)
    assert shares[:2].sum() <= share + 1e-6
    losses = np.sort(1 - shares @ returns)[::-1]
    assert losses[:3].mean() <= loss + 1e-6  # the worst quarter of twelve
    assert (weights * (shares @ returns) ** -lam).sum() <= 1 + 1e-5
    assert log_growth(returns, weights, shares) >= -1e-7  # nothing at all is always allowed


def test_the_same_problem_has_the_same_answer() -> None:
    returns, weights = small(3)
    assert (solve(returns, weights, 2.0) == solve(returns, weights, 2.0)).all()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda r, w: (r, w[:-1], 1.0), "one weight a scenario"),
        (lambda r, w: (-r, w, 1.0), "from 0"),
        (lambda r, w: (r, 2 * w, 1.0), "add up to 1"),
        (lambda r, w: (r, w, -1.0), "lambda"),
        (lambda r, w: (r[:-1], w, 1.0), "without risk"),
    ],
)
def test_bad_problems_are_told(change, said: str) -> None:  # noqa: ANN001
    returns, weights = small(0)
    with pytest.raises(CapitalError, match=said):
        solve(*change(returns, weights))


@given(equity=st.integers(-(10**20), 10**21), peak=st.integers(1, 10**21), floor=st.integers(0, 999_999))
def test_the_multiplier_is_a_share_and_ends_at_the_floor(equity: int, peak: int, floor: int) -> None:
    part = grossman_zhou_ppm(equity, peak, floor)
    assert 0 <= part <= 1_000_000
    if equity >= peak:
        assert part == (1_000_000 if equity > 0 else 0)
    if equity * 1_000_000 <= floor * peak and equity < peak:
        assert part == 0


def test_the_multiplier_by_hand() -> None:
    assert grossman_zhou_ppm(97_500, 100_000, 950_000) == 512_820  # (0.975 − 0.95) / (0.05 · 0.975)
    with pytest.raises(CapitalError, match="floor_ppm"):
        grossman_zhou_ppm(1, 1, 1_000_000)

"""From scenarios to integer budgets. The same books, configuration and prices give the same file, byte for byte."""

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from ouro.capital.budgets import Budget, BudgetFile
from ouro.capital.drawdown import calibrate, simulate
from ouro.capital.errors import CapitalError
from ouro.capital.kelly import Cvar, Floats, Group, solve
from ouro.capital.returns import Arm, Scenarios
from ouro.config.capital import BudgetConfig

_PPM = 1_000_000
_BILLION = 1_000_000_000
_COIN = 10**18
ANY = "*"


def allocate(
    scenarios: Scenarios, config: BudgetConfig, native_usd: Mapping[str, float], *, multiplier_ppm: int, now_ms: int
) -> BudgetFile:
    """Budgets of the arms that have a history, and one for exploring per chain that has a price.

    ``multiplier_ppm`` is what the drawdown leaves of every budget (`grossman_zhou_ppm`). Raises `CapitalError`.
    """
    missing = sorted({arm.chain for arm in scenarios.arms} - {name for name, usd in native_usd.items() if usd > 0})
    if missing:
        raise CapitalError(
            f"chain {missing[0]}: its native coin has no USD price in the books; run the engine first"
        )
    shares = _shares(scenarios, config) if scenarios.arms else np.ones(1)
    budgets = [
        Budget(
            arm.chain, arm.strategy, arm.token, _wei(int(share * _BILLION), config, native_usd, arm, multiplier_ppm)
        )
        for arm, share in zip(scenarios.arms, shares, strict=False)
    ]
    for chain, usd in sorted(native_usd.items()):
        if usd > 0:
            explore = config.explore_ppm * (_BILLION // _PPM)
            arm = Arm(chain, ANY, ANY)
            budgets.append(Budget(chain, ANY, ANY, _wei(explore, config, native_usd, arm, multiplier_ppm)))
    digest = hashlib.sha256(
        scenarios.returns.tobytes() + scenarios.weights.tobytes() + config.model_dump_json().encode()
    ).hexdigest()
    return BudgetFile(now_ms, digest, multiplier_ppm, tuple(budgets))


def _shares(scenarios: Scenarios, config: BudgetConfig) -> Floats:
    groups = [
        *_groups(scenarios.arms, "chain", config.max_chain_ppm),
        *_groups(scenarios.arms, "strategy", config.max_strategy_ppm),
        *_groups(scenarios.arms, "token", config.max_token_ppm),
    ]
    cvar = Cvar(config.cvar_level_ppm / _PPM, config.cvar_loss_ppm / _PPM)
    returns, weights = scenarios.returns, scenarios.weights
    # A fixed seed: what the simulation says must not depend on when it is asked.
    sample = np.random.Generator(np.random.PCG64(1)).choice(
        len(weights), size=(config.paths, config.horizon_periods), p=weights
    )
    alpha, beta = config.alpha_ppm / _PPM, config.beta_ppm / _PPM
    _, shares = calibrate(
        lambda lam: solve(returns, weights, lam, groups=groups, cvar=cvar),
        lambda chosen: simulate(returns, chosen, sample, alpha)[1],
        alpha=alpha,
        beta=beta,
    )
    return shares


def _groups(arms: Sequence[Arm], field: str, share_ppm: int) -> list[Group]:
    members: dict[str, list[int]] = defaultdict(list)
    for i, arm in enumerate(arms):
        # A token's address means another token on another chain.
        name = f"{arm.chain}:{arm.token}" if field == "token" else getattr(arm, field)
        members[name].append(i)
    return [Group(f"{field} {name}", tuple(each), share_ppm / _PPM) for name, each in sorted(members.items())]


def _wei(
    share_ppb: int, config: BudgetConfig, native_usd: Mapping[str, float], arm: Arm, multiplier_ppm: int
) -> int:
    """Exact integers from here on; rounded down."""
    numerator, denominator = native_usd[arm.chain].as_integer_ratio()
    cents_ppb = config.capital_usd_cents * share_ppb
    return cents_ppb * multiplier_ppm * _COIN * denominator // (_BILLION * _PPM * 100 * numerator)

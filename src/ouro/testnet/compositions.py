"""Further local chains, each with the venues that a real chain has, for ``ouro demo --chains``.

Only two chains' pools are recorded in this repository. The pools here are modelled on them: a pair has the price
of its deepest recorded pool and a share of its depth. A chain borrows from one of the two recordings (``lends``:
symbols there → symbols here), its coin's price included: amounts are plausible, not historical.
"""

import math
from dataclasses import dataclass
from functools import cache

from ouro.testnet.profiles import (
    EVEN_WEIGHTS,
    NATIVE,
    PAIR_KINDS,
    PROFILES,
    SUSHISWAP_V2,
    UNISWAP_V3,
    ChainProfile,
    RecordedPool,
    Shares,
    VenueProfile,
    load_pools,
)

_Q96 = 1 << 96


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """A pool to model: ``share`` of the deepest recorded pool of ``pair`` (symbols here, in any order).

    ``native`` makes it a pool of the native coin instead of its wrapped form (Uniswap V4). ``weights`` are per cent
    of the value, in the order of ``pair``.
    """

    venue: str
    pair: tuple[str, str]
    fee_ppm: int
    share: float
    tick_spacing: int = 0
    stable: bool = False
    native: bool = False
    weights: tuple[int, int] = EVEN_WEIGHTS


@dataclass(frozen=True, slots=True)
class ComposedProfile(ChainProfile):
    """A chain whose pools are modelled after ``plans`` on the recording of another."""

    recording: str = ""
    lends: tuple[tuple[str, str], ...] = ()
    plans: tuple[PoolPlan, ...] = ()

    @property
    def pools(self) -> tuple[RecordedPool, ...]:
        """The modelled pools, in the order of the plans."""
        return _modelled(self)


_CAMELOT = VenueProfile("camelot", "algebra_integral", "algebra_integral", None)
_SWAPR = VenueProfile("swapr", "swapr", "swapr", 2_500)
_AERODROME = VenueProfile("aerodrome", "solidly", "solidly", None)
_SLIPSTREAM = VenueProfile("slipstream", "slipstream", "slipstream", None)
_UNISWAP_V4 = VenueProfile("uniswap_v4", "uniswap_v4", "uniswap_v4", None)
_PANCAKE_V2 = VenueProfile("pancake_v2", "pancake_v2", "uniswap_v2", 2_000)
_PANCAKE_V3 = VenueProfile("pancakeswap_v3", "pancakeswap_v3", "pancakeswap_v3", None)
_BSCSWAP = VenueProfile("bscswap", "bscswap", "uniswap_v2", 3_000)
_THENA = VenueProfile("thena", "solidly", "solidly", None)
_THENA_FUSION = VenueProfile("thena_fusion", "algebra_adaptive", "algebra_adaptive", None)
_TRADER_JOE = VenueProfile("trader_joe", "trader_joe", "uniswap_v2", 3_000)

_BALANCER = VenueProfile("balancer", "balancer_v2_weighted", "balancer_v2_weighted", None)
_BALANCER_STABLE = VenueProfile("balancer_stable", "balancer_v2_stable", "balancer_v2_stable", None)
_SADDLE = VenueProfile("saddle", "saddle", "saddle", None)
_VAULT = VenueProfile("vUSDC", "erc4626", "erc4626", None)

_VAULT_USDC = Shares(
    symbol="vUSDC",
    asset="0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48",
    address="0xb4" + "17" * 19,
    decimals=18,
    offset=12,
    deposited=50_000_000 * 10**6,
    earned=2_345_678 * 10**6,
)
"""The asset is that of the recording that lends its pools; the address orders the share between it and the coin."""

_ARBITRUM = (
    PoolPlan("uniswap_v3", ("WETH", "USDC"), 500, 0.10, 10),
    PoolPlan("uniswap_v3", ("WETH", "USDT"), 3_000, 0.10, 60),
    PoolPlan("uniswap_v3", ("WBTC", "WETH"), 3_000, 0.05, 60),
    PoolPlan("sushiswap_v2", ("WETH", "USDC"), 3_000, 0.02),
    PoolPlan("sushiswap_v2", ("WETH", "USDT"), 3_000, 0.02),
    PoolPlan("camelot", ("WETH", "USDC"), 500, 0.05, 60),
    PoolPlan("camelot", ("WETH", "USDT"), 500, 0.05, 60),
    PoolPlan("camelot", ("WBTC", "WETH"), 500, 0.03, 60),
    PoolPlan("swapr", ("WETH", "USDC"), 2_500, 0.02),
    PoolPlan("swapr", ("WETH", "USDT"), 2_500, 0.02),
    PoolPlan("balancer", ("WETH", "USDC"), 2_500, 0.04, weights=(80, 20)),
    PoolPlan("balancer", ("WBTC", "WETH"), 2_500, 0.04),
    PoolPlan("balancer_stable", ("USDC", "USDT"), 100, 0.00002, stable=True),
)
_BASE = (
    PoolPlan("uniswap_v3", ("WETH", "USDC"), 500, 0.10, 10),
    PoolPlan("uniswap_v3", ("WETH", "USDT"), 3_000, 0.10, 60),
    PoolPlan("aerodrome", ("WETH", "USDC"), 3_000, 0.02),
    PoolPlan("aerodrome", ("WETH", "USDT"), 3_000, 0.02),
    PoolPlan("aerodrome", ("USDC", "USDT"), 500, 0.00002, stable=True),
    PoolPlan("slipstream", ("WETH", "USDC"), 500, 0.05, 100),
    PoolPlan("slipstream", ("WETH", "USDT"), 3_000, 0.05, 200),
    PoolPlan("uniswap_v4", ("WETH", "USDC"), 500, 0.05, 10),
    PoolPlan("uniswap_v4", ("WETH", "USDT"), 3_000, 0.05, 60, native=True),
    PoolPlan("uniswap_v4", ("WETH", "USDC"), 3_000, 0.05, 60, native=True),
    PoolPlan("vUSDC", ("USDC", "vUSDC"), 0, 1.0),
    PoolPlan("uniswap_v3", ("WETH", "vUSDC"), 500, 0.05, 10),
    PoolPlan("aerodrome", ("USDC", "vUSDC"), 500, 0.02),
)
_BSC = (
    PoolPlan("pancake_v2", ("WBNB", "USDC"), 2_000, 0.8),
    PoolPlan("pancake_v2", ("WBNB", "USDT"), 2_000, 0.8),
    PoolPlan("pancake_v2", ("WBNB", "ETH"), 2_000, 0.8),
    PoolPlan("pancakeswap_v3", ("WBNB", "USDC"), 500, 1.0, 10),
    PoolPlan("pancakeswap_v3", ("WBNB", "USDT"), 2_500, 1.0, 50),
    PoolPlan("pancakeswap_v3", ("WBNB", "ETH"), 2_500, 1.0, 50),
    PoolPlan("bscswap", ("WBNB", "USDC"), 3_000, 0.5),
    PoolPlan("bscswap", ("WBNB", "USDT"), 3_000, 0.5),
    PoolPlan("thena", ("WBNB", "USDC"), 3_000, 0.6),
    PoolPlan("thena", ("USDC", "USDT"), 500, 1.0, stable=True),
    PoolPlan("thena_fusion", ("WBNB", "USDC"), 100, 1.0, 60),
    PoolPlan("thena_fusion", ("WBNB", "ETH"), 100, 1.0, 60),
)
_AVALANCHE = (
    PoolPlan("trader_joe", ("WAVAX", "USDC"), 3_000, 0.8),
    PoolPlan("trader_joe", ("WAVAX", "USDT"), 3_000, 0.8),
    PoolPlan("trader_joe", ("WAVAX", "ETH"), 3_000, 0.8),
    PoolPlan("sushiswap_v2", ("WAVAX", "USDC"), 3_000, 0.5),
    PoolPlan("sushiswap_v2", ("WAVAX", "ETH"), 3_000, 0.5),
    PoolPlan("uniswap_v3", ("WAVAX", "USDC"), 500, 1.0, 10),
    PoolPlan("uniswap_v3", ("WAVAX", "USDT"), 3_000, 1.0, 60),
    PoolPlan("uniswap_v4", ("WAVAX", "USDC"), 500, 1.0, 10, native=True),
    PoolPlan("uniswap_v4", ("WAVAX", "USDT"), 500, 1.0, 10),
    PoolPlan("saddle", ("USDC", "USDT"), 100, 1.0, stable=True),
)

COMPOSED: dict[str, ComposedProfile] = {
    profile.name: profile
    for profile in (
        ComposedProfile(
            name="arbitrum",
            chain_id=9_342_161,
            block_time_s=1.0,
            native_symbol="WETH",
            stable_symbols=("USDC", "USDT"),
            venues=(UNISWAP_V3, SUSHISWAP_V2, _CAMELOT, _SWAPR, _BALANCER, _BALANCER_STABLE),
            base_fee_wei=1_000_000_000,
            recording="ethereum",
            plans=_ARBITRUM,
        ),
        ComposedProfile(
            name="base",
            chain_id=9_308_453,
            block_time_s=1.0,
            native_symbol="WETH",
            stable_symbols=("USDC", "USDT"),
            venues=(UNISWAP_V3, _AERODROME, _SLIPSTREAM, _UNISWAP_V4, _VAULT),
            base_fee_wei=1_000_000_000,
            recording="ethereum",
            plans=_BASE,
            shares=(_VAULT_USDC,),
        ),
        ComposedProfile(
            name="bsc",
            chain_id=9_300_056,
            block_time_s=1.0,
            native_symbol="WBNB",
            stable_symbols=("USDC", "USDT"),
            venues=(_PANCAKE_V2, _PANCAKE_V3, _BSCSWAP, _THENA, _THENA_FUSION),
            base_fee_wei=1_000_000_000,
            recording="fantom",
            lends=(("WFTM", "WBNB"), ("fUSDT", "USDT")),
            plans=_BSC,
        ),
        ComposedProfile(
            name="avalanche",
            chain_id=9_343_114,
            block_time_s=1.0,
            native_symbol="WAVAX",
            stable_symbols=("USDC", "USDT"),
            venues=(_TRADER_JOE, SUSHISWAP_V2, UNISWAP_V3, _UNISWAP_V4, _SADDLE),
            base_fee_wei=1_000_000_000,
            recording="fantom",
            lends=(("WFTM", "WAVAX"), ("fUSDT", "USDT")),
            plans=_AVALANCHE,
        ),
    )
}


def profile_of(name: str) -> ChainProfile:
    """Any local chain's profile. Raises ``KeyError``."""
    return PROFILES[name] if name in PROFILES else COMPOSED[name]


def all_names() -> tuple[str, ...]:
    """Every local chain there is."""
    return (*PROFILES, *COMPOSED)


def recording_of(profile: ChainProfile) -> str:
    """Whose recorded pools, and thereby coin price, the chain has."""
    return profile.recording if isinstance(profile, ComposedProfile) else profile.name


@cache
def _modelled(profile: ComposedProfile) -> tuple[RecordedPool, ...]:
    venues = {venue.name: venue for venue in profile.venues}
    return tuple(_model(profile, plan, venues[plan.venue]) for plan in profile.plans)


def _model(profile: ComposedProfile, plan: PoolPlan, venue: VenueProfile) -> RecordedPool:
    source, names = _deepest(profile, plan.pair)
    root, depth = _price_and_depth(source)
    liquidity = int(depth * plan.share)
    tokens, symbols, decimals = source.tokens, names, source.decimals
    if plan.native:
        at = names.index(profile.native_symbol)
        if at == 1:  # the native coin is always the lower one
            root = (1 << 192) // root
        other = 1 - at
        tokens = (NATIVE, source.tokens[other])
        symbols = (profile.native_symbol[1:], names[other])
        decimals = (18, source.decimals[other])
    first, second = plan.weights
    weights = (first, second) if plan.pair == symbols else (second, first)
    kind = {"uniswap_v2": "v2", "uniswap_v3": "v3", "swapr": "v2"}.get(venue.family, venue.family)
    pair = kind in PAIR_KINDS
    return RecordedPool(
        dex=plan.venue,
        kind=kind,
        fee_ppm=plan.fee_ppm,
        tokens=tokens,
        symbols=symbols,
        decimals=decimals,
        reserves=_reserves_of(plan, source, liquidity, root, kind, weights) if pair else (0, 0),
        weights=weights,
        sqrt_price_x96=0 if pair else root,
        tick=0 if pair else math.floor(2 * math.log(root / _Q96) / math.log(1.0001)),
        tick_spacing=plan.tick_spacing,
        liquidity=0 if pair else liquidity,
        stable=plan.stable,
    )


def _reserves_of(
    plan: PoolPlan, source: RecordedPool, liquidity: int, root: int, kind: str, weights: tuple[int, int]
) -> tuple[int, int]:
    if kind == "erc4626":  # the vault's totals, to the wei
        return source.reserves
    return _weighted(_reserves(liquidity, root, source.decimals, plan.stable), weights)


def _weighted(reserves: tuple[int, int], weights: tuple[int, int]) -> tuple[int, int]:
    """Balances that have the price of these reserves when the value is shared out by ``weights``."""
    first, second = (r * w // even for r, w, even in zip(reserves, weights, EVEN_WEIGHTS, strict=True))
    return first, second


def _reserves(liquidity: int, root: int, decimals: tuple[int, int], stable: bool) -> tuple[int, int]:
    if not stable:
        return (liquidity << 96) // root, liquidity * root >> 96
    # a stable pool takes its first deposit at par only
    whole = math.isqrt(liquidity**2 // 10 ** sum(decimals))
    return whole * 10 ** decimals[0], whole * 10 ** decimals[1]


def _deepest(profile: ComposedProfile, pair: tuple[str, str]) -> tuple[RecordedPool, tuple[str, str]]:
    """The recorded pool of the pair with most liquidity, and what its tokens are called here.

    Of a vault's shares: the vault itself, or the pool of the asset at the vault's rate.
    """
    for shares in profile.shares:
        if shares.symbol in pair:
            other = pair[0] if pair[1] == shares.symbol else pair[1]
            return _of_shares(profile, shares, other)
    lent = dict(profile.lends)
    found: list[tuple[RecordedPool, tuple[str, str]]] = []
    for recorded in load_pools(profile.recording):
        first, second = (lent.get(symbol, symbol) for symbol in recorded.symbols)
        found.append((recorded, (first, second)))
    chosen = [(recorded, names) for recorded, names in found if set(names) == set(pair)]
    if not chosen:
        raise ValueError(f"{profile.name}: no pool of {pair[0]}/{pair[1]} is recorded for {profile.recording}")
    return max(chosen, key=lambda entry: _price_and_depth(entry[0])[1])


def _of_shares(profile: ComposedProfile, shares: Shares, other: str) -> tuple[RecordedPool, tuple[str, str]]:
    """A pair of shares and ``other``, as deep as that of their asset."""
    asset = next(
        (token, symbol, digits)
        for pool in load_pools(profile.recording)
        for token, symbol, digits in zip(pool.tokens, pool.symbols, pool.decimals, strict=True)
        if token == shares.asset
    )
    entries: list[tuple[str, str, int, int]] = [(shares.address, shares.symbol, shares.decimals, shares.supply)]
    if other == asset[1]:
        entries.append((*asset, shares.assets))
    else:
        source, names = _deepest(profile, (asset[1], other))
        root, depth = _price_and_depth(source)
        amounts = ((depth << 96) // root, depth * root >> 96)
        at = names.index(other)
        entries.append((source.tokens[at], other, source.decimals[at], amounts[at]))
        entries[0] = (*entries[0][:3], amounts[1 - at] * shares.supply // shares.assets)
    tokens, symbols, decimals, reserves = zip(*sorted(entries), strict=True)
    return RecordedPool("", "v2", 0, tokens, symbols, decimals, reserves, 0, 0, 0, 0), symbols


def _price_and_depth(recorded: RecordedPool) -> tuple[int, int]:
    """Square root of the price (X96) and liquidity, of a pair as of a full range."""
    if not recorded.is_pair:
        return recorded.sqrt_price_x96, recorded.liquidity
    reserve0, reserve1 = recorded.reserves
    return math.isqrt((reserve1 << 192) // reserve0), math.isqrt(reserve0 * reserve1)

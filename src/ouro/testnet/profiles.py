"""What each local chain is modelled on: private chain id, rhythm, venues, and recorded pools to start from.

The names are those of real chains and lend composition only: the chain ids belong to no public chain, so nothing
signed here is valid anywhere else.
"""

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

_DATA_DIR = Path(__file__).parent / "data"
NATIVE = "0x" + "00" * 20
"""The native coin as a pool's token (Uniswap V4)."""

PAIR_KINDS = ("v2", "solidly", "balancer_v2_weighted", "balancer_v2_stable", "saddle", "erc4626")
EVEN_WEIGHTS = (50, 50)


@dataclass(frozen=True, slots=True)
class RecordedPool:
    """A pool as recorded, raw integers: ``reserves`` of a pair; price, tick and in-range liquidity else.

    ``kind`` is the dialect that it speaks: v2 and v3 (Uniswap's and its exact forks), or a family's name.
    """

    dex: str
    kind: str
    fee_ppm: int
    tokens: tuple[str, str]
    symbols: tuple[str, str]
    decimals: tuple[int, int]
    reserves: tuple[int, int]
    sqrt_price_x96: int
    tick: int
    tick_spacing: int
    liquidity: int
    stable: bool = False
    weights: tuple[int, int] = EVEN_WEIGHTS
    """Per cent of the value that lies in each token."""

    @property
    def is_pair(self) -> bool:
        """Whether it has reserves of its own, instead of liquidity in ranges."""
        return self.kind in PAIR_KINDS

    @property
    def label(self) -> str:
        """For people."""
        curve = " stable" if self.stable else ""
        return f"{self.dex} {self.symbols[0]}/{self.symbols[1]}{curve} {self.fee_ppm} ppm"


@dataclass(frozen=True, slots=True)
class RecordedToken:
    """A token of the excerpt; ``recorded_address`` orders the tokens within pairs.

    ``share_of`` is set for the shares of a vault.
    """

    symbol: str
    decimals: int
    recorded_address: str
    share_of: "Shares | None" = None


@dataclass(frozen=True, slots=True)
class Shares:
    """An ERC-4626 vault whose shares are a token: ``assets`` (raw) back ``supply`` shares at the start.

    ``asset`` and ``address`` are those of the record; a unit of the asset begins as ``10**offset`` shares.
    """

    symbol: str
    asset: str
    address: str
    decimals: int
    offset: int
    deposited: int
    earned: int

    @property
    def assets(self) -> int:
        """What the vault holds at the start."""
        return self.deposited + self.earned

    @property
    def supply(self) -> int:
        """Its shares at the start: the first deposit's."""
        return self.deposited * 10**self.offset


@dataclass(frozen=True, slots=True)
class VenueProfile:
    """A DEX to deploy. ``kind``: which real contracts; ``fee_ppm`` is None where each pool has its own."""

    name: str
    kind: str
    family: str
    fee_ppm: int | None


@dataclass(frozen=True, slots=True)
class ChainProfile:
    """Composition of one local chain. ``fee_model``: how Ouro is told to pay for gas there."""

    name: str
    chain_id: int
    block_time_s: float
    native_symbol: str
    stable_symbols: tuple[str, ...]
    venues: tuple[VenueProfile, ...]
    base_fee_wei: int
    fee_model: Literal["eip1559", "legacy"] = "eip1559"
    shares: tuple[Shares, ...] = ()

    @property
    def pools(self) -> tuple[RecordedPool, ...]:
        """The recorded pools, in file order."""
        return load_pools(self.name)

    @property
    def tokens(self) -> tuple[RecordedToken, ...]:
        """Distinct tokens of the pools, by recorded address."""
        found: dict[str, RecordedToken] = {}
        vaults = {shares.address: shares for shares in self.shares}
        for pool in self.pools:
            for k in (0, 1):
                if pool.tokens[k] != NATIVE:
                    token = pool.tokens[k]
                    found[token] = RecordedToken(pool.symbols[k], pool.decimals[k], token, vaults.get(token))
        return tuple(found[address] for address in sorted(found))


_UNISWAP_V2 = VenueProfile("uniswap_v2", "uniswap_v2", "uniswap_v2", 3_000)
SUSHISWAP_V2 = VenueProfile("sushiswap_v2", "sushiswap_v2", "uniswap_v2", 3_000)
_PANCAKE_V2 = VenueProfile("pancake_v2", "pancake_v2", "uniswap_v2", 2_000)
UNISWAP_V3 = VenueProfile("uniswap_v3", "uniswap_v3", "uniswap_v3", None)

PROFILES: dict[str, ChainProfile] = {
    "ethereum": ChainProfile(
        name="ethereum",
        chain_id=9_300_001,
        block_time_s=1.0,
        native_symbol="WETH",
        stable_symbols=("USDC", "USDT", "DAI"),
        venues=(_UNISWAP_V2, SUSHISWAP_V2, UNISWAP_V3),
        base_fee_wei=1_000_000_000,
    ),
    "fantom": ChainProfile(
        name="fantom",
        chain_id=9_300_250,
        block_time_s=0.5,
        native_symbol="WFTM",
        stable_symbols=("USDC", "fUSDT", "DAI"),
        venues=(_UNISWAP_V2, _PANCAKE_V2, UNISWAP_V3),
        base_fee_wei=1_000_000_000,
        fee_model="legacy",
    ),
}


@cache
def load_pools(name: str) -> tuple[RecordedPool, ...]:
    """Read ``data/pools_NAME.csv``; its first line tells the origin. Raises ``ValueError`` naming file and row."""
    path = _DATA_DIR / f"pools_{name}.csv"
    with path.open(newline="") as stream:
        origin = stream.readline()
        if not origin.startswith("# "):
            raise ValueError(f"{path}: the first line must tell the origin of the data")
        pools = []
        for number, row in enumerate(csv.DictReader(stream), start=3):
            try:
                pools.append(_pool(row))
            except (KeyError, ValueError) as error:
                raise ValueError(f"{path}, line {number}: {error!r}") from error
    return tuple(pools)


def _pool(row: dict[str, str]) -> RecordedPool:
    def number(column: str) -> int:
        return int(row[column] or 0)

    return RecordedPool(
        dex=row["dex"],
        kind=row["kind"],
        fee_ppm=number("fee_ppm"),
        tokens=(row["token0"], row["token1"]),
        symbols=(row["symbol0"], row["symbol1"]),
        decimals=(number("decimals0"), number("decimals1")),
        reserves=(number("reserve0"), number("reserve1")),
        sqrt_price_x96=number("sqrt_price_x96"),
        tick=number("tick"),
        tick_spacing=number("tick_spacing"),
        liquidity=number("liquidity"),
    )

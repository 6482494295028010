"""Developer's tool: cut the committed pool excerpts out of the recorded snapshots.

``python -m ouro.testnet.excerpt FOLDER`` reads FOLDER/pools_v2v3_ethereum_2023-05-17_b17282k.csv.gz and
FOLDER/pools_v2_fantom_2022-07-09.csv.gz and rewrites ``data/pools_*.csv`` of this package. Not needed to run Ouro.
"""

import argparse
import csv
import gzip
import math
from collections.abc import Iterable
from pathlib import Path

Row = dict[str, str]

COLUMNS: tuple[str, ...] = (
    "dex", "kind", "fee_ppm", "token0", "token1", "symbol0", "symbol1", "decimals0", "decimals1", "reserve0",
    "reserve1", "sqrt_price_x96", "tick", "tick_spacing", "liquidity", "source_dex", "source_pool", "state",
)  # fmt: skip
MAX_PRICE_DEVIATION = 0.05
DATA_DIR = Path(__file__).parent / "data"

ETHEREUM_FILE = "pools_v2v3_ethereum_2023-05-17_b17282k.csv.gz"
ETHEREUM_ORIGIN = (
    "Recorded Ethereum pools, blocks 17,280,030-17,282,025 (2023-05-17). Source: bancorprotocol/fastlane-bot, blob "
    "614a9d204212 (MIT, (c) 2023 Bancor); excerpt, columns renamed."
)
ETHEREUM_USD = "0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48"
ETHEREUM_TOKENS = {
    "WETH": "0xc02aaa39b223fe8d0a0e5c4f27ead9083c756cc2",
    "USDC": ETHEREUM_USD,
    "USDT": "0xdac17f958d2ee523a2206206994597c13d831ec7",
    "DAI": "0x6b175474e89094c44da98b954eedeac495271d0f",
    "WBTC": "0x2260fac5e5542a773aa44fbcfedf7c193bc2c599",
    "LINK": "0x514910771af9ca656af840dff83e8264ecf986ca",
    "UNI": "0x1f9840a85d5af5bf1d1762f925bdaddc4201f984",
    "CRV": "0xd533a949740bb3306d119cc777fa900ba034cd52",
    "LDO": "0x5a98fcbea516cf06857215779fd812ca3bef1b32",
    "SNX": "0xc011a73ee8576fb46f5e1c5751ca3b9fe0af2a6f",
    "FXS": "0x3432b6a60d23ca0dfca7761b7ab56459d9c964d0",
    "AAVE": "0x7fc66500c84a76ad7e9c93437bfc5ac33e2ddae9",
}
ETHEREUM_MIN_USD = 190_000.0

FANTOM_FILE = "pools_v2_fantom_2022-07-09.csv.gz"
FANTOM_ORIGIN = (
    "Recorded Fantom pools, snapshot of 2022-07-09. Source: Peter-Brad/uniswap-skim-v2, commit b12a1ff6106d "
    "(Unlicense, public domain); excerpt. dex names the local venue that lends the recorded reserves (source_dex) "
    "its rules; uniswap_v3 rows are modelled: the price and sqrt(reserve0*reserve1) of the deepest recorded pool."
)
FANTOM_USD = "0x04068da6c83afcfa0e13ba15a6696662335d5b75"
FANTOM_TOKENS = {
    "WFTM": "0x21be370d5312f44cb42ce377bc9b8a0cef1a4c83",
    "USDC": FANTOM_USD,
    "fUSDT": "0x049d68029688eabf473097a2fc38ef61633a3c7a",
    "DAI": "0x8d11ec38a3eb5e956b052f67da8bdc9bef8abf3e",
    "ETH": "0x74b23882a30290451a17c44f4f05243b6b58c76d",
    "BTC": "0x321162cd933e2be498cd2267a90534a804051b11",
    "MIM": "0x82f0b8b456c1a451378467398982d4834b6829c1",
    "miMATIC": "0xfb98b335551a418cd0737375a2ea0ded62ea213b",
    "TOMB": "0x6c021ae822bea943b2e66552bde1d2696a53fbb7",
    "TSHARE": "0x4cdf39285d7ca8eb3f090fda0c069ba5f4145b37",
}
FANTOM_MIN_USD = 30_000.0
FANTOM_VENUES = {
    "uniswap_v2": ("3000", {"tomb", "knight", "morpheus", "yoshi"}),
    "pancake_v2": ("2000", {"protofi", "wigoswap", "soul"}),
}
FANTOM_V3_TIERS = {
    ("WFTM", "USDC"): (500, 3000),
    ("USDC", "fUSDT"): (500,),
    ("USDC", "DAI"): (500,),
    ("ETH", "BTC"): (3000,),
    ("WFTM", "fUSDT"): (3000,),
    ("USDC", "ETH"): (3000,),
}
TICK_SPACINGS = {100: 1, 500: 10, 3000: 60, 10000: 200}


def main() -> None:
    """Regenerate both excerpts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    DATA_DIR.mkdir(exist_ok=True)
    _write("pools_ethereum.csv", ETHEREUM_ORIGIN, ethereum(_read(folder / ETHEREUM_FILE)))
    _write("pools_fantom.csv", FANTOM_ORIGIN, fantom(_read(folder / FANTOM_FILE)))


def ethereum(rows: Iterable[Row]) -> list[Row]:
    """The liquid, consistent pools among the chosen tokens, one per venue, pair and fee."""
    chosen = _among(rows, ETHEREUM_TOKENS)
    usd = usd_prices(chosen, ETHEREUM_USD)
    kept = [row for row in chosen if _is_sane(row, usd, ETHEREUM_MIN_USD)]
    return [_shape(row, row["dex"], row["fee_ppm"], row["state_block"]) for row in _sorted(kept)]


def fantom(rows: Iterable[Row]) -> list[Row]:
    """The deepest recorded pool per pair for each local V2 venue, and V3 pools modelled on the deepest of all."""
    chosen = _among((row for row in rows if row["snapshot_date"] == "2022-07-09"), FANTOM_TOKENS)
    usd = usd_prices(chosen, FANTOM_USD)
    kept = [row for row in chosen if _is_sane(row, usd, FANTOM_MIN_USD)]
    found: list[Row] = []
    for venue, (fee_ppm, sources) in FANTOM_VENUES.items():
        deepest = _deepest_per_pair((row for row in kept if row["dex"] in sources), usd)
        found += [_shape(row, venue, fee_ppm, row["snapshot_date"]) for row in deepest.values()]
    for pair, row in _deepest_per_pair(kept, usd).items():
        for tiers_of, tiers in FANTOM_V3_TIERS.items():
            if pair == frozenset(tiers_of):
                found += [_modelled_v3(row, fee_ppm) for fee_ppm in tiers]
    return _sorted(found)


def usd_prices(rows: list[Row], usd_token: str) -> dict[str, float]:
    """USD per whole token, each from its deepest pool against a token already priced, from the stable outwards."""
    usd = {usd_token: 1.0}
    for _ in range(3):
        best: dict[str, tuple[float, float]] = {}
        for row in rows:
            amounts = _amounts(row)
            if min(amounts) <= 0:
                continue
            for near, far in ((0, 1), (1, 0)):
                known, unknown = row[f"token{near}"].lower(), row[f"token{far}"].lower()
                if known in usd and unknown not in usd:
                    value = amounts[near] * usd[known]
                    best[unknown] = max(best.get(unknown, (0.0, 0.0)), (value, value / amounts[far]))
        usd |= {token: price for token, (_, price) in best.items()}
    return usd


def _among(rows: Iterable[Row], tokens: dict[str, str]) -> list[Row]:
    addresses = set(tokens.values())
    return [row for row in rows if {row["token0"].lower(), row["token1"].lower()} <= addresses]


def _amounts(row: Row) -> tuple[float, float]:
    """Whole tokens in the pool; of a V3 pool the virtual ones at its price."""
    if row["kind"] == "v2":
        raw = float(row["reserve0"]), float(row["reserve1"])
    else:
        root, liquidity = float(row["sqrt_price_x96"]) / 2**96, float(row["liquidity"])
        raw = (liquidity / root, liquidity * root) if root else (0.0, 0.0)
    return raw[0] / 10 ** int(row["decimals0"]), raw[1] / 10 ** int(row["decimals1"])


def _values(row: Row, usd: dict[str, float]) -> tuple[float, float]:
    amount0, amount1 = _amounts(row)
    return amount0 * usd[row["token0"].lower()], amount1 * usd[row["token1"].lower()]


def _is_sane(row: Row, usd: dict[str, float], min_usd: float) -> bool:
    if row["token0"].lower() not in usd or row["token1"].lower() not in usd:
        return False
    value0, value1 = _values(row, usd)
    deep_enough = min(value0, value1) * 2 >= min_usd
    return deep_enough and abs(value0 / value1 - 1) <= MAX_PRICE_DEVIATION


def _deepest_per_pair(rows: Iterable[Row], usd: dict[str, float]) -> dict[frozenset[str], Row]:
    deepest: dict[frozenset[str], Row] = {}
    for row in rows:
        pair = frozenset((row["symbol0"], row["symbol1"]))
        if pair not in deepest or min(_values(row, usd)) > min(_values(deepest[pair], usd)):
            deepest[pair] = row
    return deepest


def _modelled_v3(row: Row, fee_ppm: int) -> Row:
    reserve0, reserve1 = int(row["reserve0"]), int(row["reserve1"])
    root_x96 = math.isqrt((reserve1 << 192) // reserve0)
    shaped = _shape(row, "uniswap_v3", str(fee_ppm), row["snapshot_date"])
    return shaped | {
        "kind": "v3",
        "reserve0": "",
        "reserve1": "",
        "sqrt_price_x96": str(root_x96),
        "tick": str(math.floor(2 * math.log(root_x96 / 2**96) / math.log(1.0001))),
        "tick_spacing": str(TICK_SPACINGS[fee_ppm]),
        "liquidity": str(math.isqrt(reserve0 * reserve1)),
    }


def _shape(row: Row, dex: str, fee_ppm: str, state: str) -> Row:
    shaped = {column: row.get(column, "") for column in COLUMNS}
    lower = {key: row[key].lower() for key in ("token0", "token1")}
    if row["kind"] == "v3":
        shaped["tick_spacing"] = str(TICK_SPACINGS[int(fee_ppm)])
    return shaped | lower | {
        "dex": dex, "fee_ppm": fee_ppm, "source_dex": row["dex"], "source_pool": row["pool"].lower(),
        "state": state,
    }  # fmt: skip


def _sorted(rows: list[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: (row["dex"], row["token0"], row["token1"], int(row["fee_ppm"])))


def _read(path: Path) -> list[Row]:
    with gzip.open(path, "rt", newline="") as stream:
        return list(csv.DictReader(stream))


def _write(name: str, origin: str, rows: list[Row]) -> None:
    with (DATA_DIR / name).open("w", newline="") as stream:
        stream.write(f"# {origin}\n")
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    print(f"{name}: {len(rows)} pools")


if __name__ == "__main__":
    main()

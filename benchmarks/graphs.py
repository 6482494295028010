"""Markets to measure on: recorded topologies where the data folder is there, and seeded ones."""

import csv
import gzip
import os
import platform
from pathlib import Path

import numpy as np

from ouro.search.arrays import StaticArrays, build_arrays, constant_product

SNAPSHOT = "local_only/pools/pools_v2_ethereum_2020-10-03.csv.gz"
REGISTRY = "open/pools/pair_registry_v2_7chains_2021-10.csv.gz"
FEE = 0.997


def data_folder() -> Path | None:
    """The recorded data: OURO_SHARED_DATA, or ``shared/data`` beside the checkout; None where there is none."""
    configured = os.environ.get("OURO_SHARED_DATA")
    folder = Path(configured) if configured else Path(__file__).resolve().parents[2] / "shared" / "data"
    return folder if folder.is_dir() else None


def machine() -> str:
    """One line that says what the figures were measured on."""
    model = platform.processor() or "unknown processor"
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    except OSError:
        pass
    return f"{model}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"


def random_market(n_tokens: int, n_pools: int, seed: int, noise: float = 0.001) -> StaticArrays:
    """Pools between popular tokens (Zipf), at prices that differ by ``noise`` from one another."""
    rng = np.random.default_rng(seed)
    popularity = 1.0 / np.arange(1, n_tokens + 1)
    popularity /= popularity.sum()
    price = rng.lognormal(0, 2, n_tokens)
    pools = []
    # drawn at once: one draw by weight costs as much as the whole list of tokens
    drawn = rng.choice(n_tokens, (3 * n_pools + 100, 2), p=popularity)
    drawn = drawn[drawn[:, 0] != drawn[:, 1]][:n_pools]
    for a, b in drawn.tolist():
        depth = float(rng.lognormal(12, 2))
        reserve_b = depth / float(price[b]) * float(rng.lognormal(0, noise))
        pools.append(constant_product(a, b, depth / float(price[a]), reserve_b, FEE))
    return build_arrays(pools)


def complete_market(n_tokens: int, parallel: int) -> StaticArrays:
    """Every pair of tokens with ``parallel`` equal pools."""
    return build_arrays(
        [
            constant_product(a, b, 1e6, 1e6, FEE)
            for a in range(n_tokens)
            for b in range(a + 1, n_tokens)
            for _ in range(parallel)
        ]
    )


def deepest_pairs(n_pools: int = 10_000, balanced: bool = True) -> tuple[StaticArrays, np.ndarray] | None:
    """G10k: the deepest pairs of the 2020-10-03 snapshot by value against the hub, and each pool's depth.

    Values spread from the token of highest degree along the deepest pairs. ``balanced`` keeps topology and depth
    but sets every price to the token's value, with 0.1 % of noise: a market that others keep in line.
    Otherwise the recorded reserves are taken, gaps of the recording included. None without the data folder.
    """
    folder = data_folder()
    if folder is None or not (folder / SNAPSHOT).is_file():
        return None
    with gzip.open(folder / SNAPSHOT, "rt", newline="") as file:
        rows = [row for row in csv.DictReader(file) if float(row["reserve0"]) > 0 and float(row["reserve1"]) > 0]
    names = sorted({row[key].lower() for row in rows for key in ("token0", "token1")})
    ids = {name: number for number, name in enumerate(names)}
    tokens = np.array([[ids[row["token0"].lower()], ids[row["token1"].lower()]] for row in rows])
    reserves = np.array([[float(row["reserve0"]), float(row["reserve1"])] for row in rows])
    value = _token_values(tokens, reserves, len(names))
    depth = np.minimum(value[tokens[:, 0]] * reserves[:, 0], value[tokens[:, 1]] * reserves[:, 1])
    order = np.argsort(-depth, kind="stable")[:n_pools]
    tokens, reserves, depth = tokens[order], reserves[order], depth[order]
    if balanced:
        noise = np.random.default_rng(1).lognormal(0, 0.001, len(order))
        known = np.asarray(value > 0)
        usable = np.all(known[tokens], axis=1)
        safe = np.where(known, value, 1.0)
        flat = np.column_stack([depth / safe[tokens[:, 0]], depth * noise / safe[tokens[:, 1]]])
        reserves = np.where(usable[:, None], flat, reserves)
    pools = [
        constant_product(int(a), int(b), float(r0), float(r1), FEE)
        for (a, b), (r0, r1) in zip(tokens, reserves, strict=True)
    ]
    return build_arrays(pools), depth


def _token_values(tokens: np.ndarray, reserves: np.ndarray, n_tokens: int) -> np.ndarray:
    """Value of one smallest unit in units of the hub token: each token by its deepest pair with a valued one."""
    value = np.zeros(n_tokens)
    hub = int(np.bincount(tokens.ravel(), minlength=n_tokens).argmax())
    value[hub] = 1.0
    for _ in range(6):
        best = np.zeros(n_tokens)
        fresh = value.copy()
        for (a, b), (r0, r1) in zip(tokens, reserves, strict=True):
            for here, there, r_here, r_there in ((a, b, r0, r1), (b, a, r1, r0)):
                if value[here] > 0 and value[there] == 0 and value[here] * r_here > best[there]:
                    best[there] = value[here] * r_here
                    fresh[there] = value[here] * r_here / r_there
        if (fresh == value).all():
            break
        value = fresh
    return value


def registry_market() -> StaticArrays | None:
    """All pairs of the 2021-10 registry as one graph, with made-up depths at prices within 0.1 %."""
    folder = data_folder()
    if folder is None or not (folder / REGISTRY).is_file():
        return None
    with gzip.open(folder / REGISTRY, "rt", newline="") as file:
        rows = list(csv.DictReader(file))
    names: dict[str, int] = {}
    rng = np.random.default_rng(1)
    pools = []
    for row in rows:
        chain = row.get("chain_id", "")
        a, b = (names.setdefault(f"{chain}:{row[key].lower()}", len(names)) for key in ("token0", "token1"))
        depth = rng.lognormal(10, 2)
        pools.append(constant_product(a, b, depth, depth * rng.lognormal(0, 0.001), FEE))
    return build_arrays(pools)


def busiest_tokens(arrays: StaticArrays, count: int) -> list[int]:
    """The tokens of highest degree."""
    degree = np.bincount(arrays.edge_token_in)
    return [int(token) for token in np.argsort(-degree, kind="stable")[:count]]

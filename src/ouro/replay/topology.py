"""Which pools a generated recording has: a recorded snapshot's tokens, pairs and depths, or seeded ones like them.

Of Ethereum's V2 pools of 2020-10-03 (10,839 with reserves, 9,142 tokens) 82 % of the pairs are with the hub, 9 %
with one of three stable coins, the rest with less popular tokens; nine tokens in ten are in one pair only. The
seeded topology draws by these shares. Depths are lognormal, as the recorded ones nearly are.
"""

import csv
import gzip
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ouro.hashing import keccak
from ouro.types import Address

SNAPSHOT = "local_only/pools/pools_v2_ethereum_2020-10-03.csv.gz"
HUB: Address = "0xc02aaa39b223fe8d0a0e5c4f27ead9083c756cc2"
COIN_WEI = 10**18
V3_SHARE = 0.2
"""Of the pools; they stand beside the deepest V2 pairs, as they do on Ethereum."""

_V3_FEES = ((500, 10), (3_000, 60), (10_000, 200))
_HUB_SHARE, _STABLE_SHARE = 0.82, 0.09
_NEW_TOKEN_SHARE = 0.85
_RESERVE_RANGE = (1e5, 2.0**110)
_DEEPEST_WEI = 1e6 * COIN_WEI
"""No pair was deeper: beyond it somebody invented a token and a price."""
_DUST_WEI = 0.05 * COIN_WEI
_VALUE_ROUNDS = 6


@dataclass(frozen=True, slots=True)
class PoolSpec:
    """A pool to be: sorted tokens, what one side is worth in native wei, and for V3 the spacing of its ticks."""

    address: Address
    tokens: tuple[Address, Address]
    depth_wei: float
    fee_ppm: int
    tick_spacing: int = 0

    @property
    def concentrated(self) -> bool:
        """Whether it is a V3 pool."""
        return self.tick_spacing > 0


@dataclass(frozen=True, slots=True)
class Topology:
    """Pools in the order of their ids, and what one smallest unit of each token is worth in native wei."""

    pools: tuple[PoolSpec, ...]
    values: dict[Address, float]
    hub: Address
    source: str

    def start_tokens(self, count: int = 5) -> tuple[Address, ...]:
        """The hub, then the tokens in most pools."""
        degree: dict[Address, int] = {}
        for pool in self.pools:
            for token in pool.tokens:
                degree[token] = degree.get(token, 0) + 1
        ranked = sorted(degree, key=lambda token: (token != self.hub, -degree[token], token))
        return tuple(ranked[:count])


@dataclass(frozen=True, slots=True)
class _Pair:
    address: Address
    tokens: tuple[Address, Address]
    depth_wei: float


def topology(n_pools: int, seed: int, data: Path | None = None) -> Topology:
    """``n_pools`` pools: of the snapshot under ``data`` where it is there and large enough, else seeded."""
    n_concentrated = int(n_pools * V3_SHARE)
    n_pairs = n_pools - n_concentrated
    path = data / SNAPSHOT if data is not None else None
    if path is not None and path.is_file():
        pairs, values = _recorded(path)
        pairs, values = _filled_up(pairs, values)
        source, hub = path.name, HUB
    else:
        pairs, values, hub = _seeded(n_pairs, seed)
        source = f"seed {seed}"
    pairs = _usable(pairs, values)[:n_pairs]
    if len(pairs) < n_pairs:
        raise ValueError(f"{n_pairs} pairs are wanted, {source} has {len(pairs)} that can be used")
    pools = [PoolSpec(pair.address, pair.tokens, pair.depth_wei, 3_000) for pair in pairs]
    pools += _concentrated(pairs, n_concentrated)
    return Topology(tuple(pools), values, hub, source)


def _concentrated(pairs: list[_Pair], count: int) -> list[PoolSpec]:
    found: list[PoolSpec] = []
    for fee_ppm, spacing in sorted(_V3_FEES, key=lambda each: each[0] != 3_000):
        for pair in pairs[: -(-count // 2)]:
            if len(found) == count:
                return found
            address = "0x" + keccak(f"{pair.address}|{fee_ppm}".encode())[12:].hex()
            found.append(PoolSpec(address, pair.tokens, pair.depth_wei, fee_ppm, spacing))
    return found


def _usable(pairs: list[_Pair], values: dict[Address, float]) -> list[_Pair]:
    """Those whose reserves at the tokens' values fit a pair, deepest first."""
    low, high = _RESERVE_RANGE
    # shares of a pair are traded in other pairs: here a contract is a pool or a token
    addresses = {pair.address for pair in pairs}
    kept = [
        pair
        for pair in pairs
        if addresses.isdisjoint(pair.tokens)
        and pair.depth_wei <= _DEEPEST_WEI
        and all(values.get(token, 0.0) > 0.0 for token in pair.tokens)
        and all(low <= pair.depth_wei / values[token] <= high for token in pair.tokens)
    ]
    return sorted(kept, key=lambda pair: (-pair.depth_wei, pair.address))


def _filled_up(pairs: list[_Pair], values: dict[Address, float]) -> tuple[list[_Pair], dict[Address, float]]:
    """Six pairs in ten were left with dust: they keep their place in the graph and get a little depth each, and a
    token that is in no better pair a price at which its reserve is a number."""
    deep = {token for pair in pairs if pair.depth_wei >= _DUST_WEI for token in pair.tokens}
    kept, priced = [], dict(values)
    for pair in pairs:
        if pair.depth_wei >= _DUST_WEI:
            kept.append(pair)
            continue
        depth = _DUST_WEI * (1.0 + int(pair.address[-4:], 16) / 0x1000)
        for token in pair.tokens:
            if token not in deep:
                deep.add(token)
                priced[token] = depth / COIN_WEI
        kept.append(_Pair(pair.address, pair.tokens, depth))
    return kept, priced


def _recorded(path: Path) -> tuple[list[_Pair], dict[Address, float]]:
    names: dict[str, int] = {}
    addresses: list[str] = []
    ends: list[tuple[int, int]] = []
    held: list[tuple[float, float]] = []
    with gzip.open(path, "rt", newline="") as file:
        for row in csv.DictReader(file):
            reserves = float(row["reserve0"]), float(row["reserve1"])
            if min(reserves) <= 0:
                continue
            addresses.append(row["pool"].lower())
            ends.append(
                (
                    names.setdefault(row["token0"].lower(), len(names)),
                    names.setdefault(row["token1"].lower(), len(names)),
                )
            )
            held.append(reserves)
    tokens, reserves = np.array(ends), np.array(held)
    value = _values(tokens, reserves, len(names), names[HUB])
    depth = np.minimum(value[tokens[:, 0]] * reserves[:, 0], value[tokens[:, 1]] * reserves[:, 1])
    known = list(names)
    pairs = [
        _Pair(address, (known[a], known[b]), float(worth))
        for address, (a, b), worth in zip(addresses, ends, depth, strict=True)
        if worth > 0
    ]
    return pairs, {name: float(value[k]) for name, k in names.items()}


def _values(
    tokens: npt.NDArray[np.int64], reserves: npt.NDArray[np.float64], n_tokens: int, hub: int
) -> npt.NDArray[np.float64]:
    """Native wei per smallest unit, spread from the hub along the deepest pair with a token that has a value."""
    value = np.zeros(n_tokens)
    value[hub] = 1.0
    here = np.concatenate((tokens[:, 0], tokens[:, 1]))
    there = np.concatenate((tokens[:, 1], tokens[:, 0]))
    held_here = np.concatenate((reserves[:, 0], reserves[:, 1]))
    held_there = np.concatenate((reserves[:, 1], reserves[:, 0]))
    for _ in range(_VALUE_ROUNDS):
        open_ends = np.flatnonzero((value[here] > 0) & (value[there] == 0))
        if not open_ends.size:
            break
        worth = value[here[open_ends]] * held_here[open_ends]
        for k in open_ends[np.argsort(worth, kind="stable")]:  # the deepest comes last and stays
            value[there[k]] = value[here[k]] * held_here[k] / held_there[k]
    return value


def _seeded(count: int, seed: int) -> tuple[list[_Pair], dict[Address, float], Address]:
    rng = np.random.default_rng([seed, 1])

    def named(kind: str, k: int) -> Address:
        return "0x" + keccak(f"{kind}|{seed}|{k}".encode())[12:].hex()

    hub = named("hub", 0)
    hubs = [hub, *(named("stable", k) for k in range(3))]
    values: dict[Address, float] = {hub: 1.0}
    # a coin is worth 3,000 of three stable coins with 6, 18 and 6 decimals
    values |= {hubs[1]: 1e18 / 3e9, hubs[2]: 1.0 / 3_000, hubs[3]: 1e18 / 3e9}
    tokens: list[Address] = []
    pairs: dict[tuple[Address, Address, int], _Pair] = {}
    while len(pairs) < count:
        kind = rng.random()
        quote = hub if kind < _HUB_SHARE else hubs[1 + int(rng.integers(3))]
        if kind >= _HUB_SHARE + _STABLE_SHARE and len(tokens) > 10:
            quote = tokens[int(len(tokens) * rng.random() ** 2)]
        if len(tokens) < 5 or rng.random() < _NEW_TOKEN_SHARE:
            base = named("token", len(tokens))
            values[base] = float(rng.lognormal(-4.0, 2.0))
            tokens.append(base)
        else:
            base = tokens[int(len(tokens) * rng.random() ** 2)]
        if base == quote:
            continue
        ends = (base, quote) if base < quote else (quote, base)
        k = sum((*ends, copy) in pairs for copy in range(3))
        depth = float(COIN_WEI * rng.lognormal(1.5, 2.2))
        pairs[(*ends, k)] = _Pair(named("pair", len(pairs)), ends, depth)
    return list(pairs.values()), values, hub

"""Prices from the watched pools themselves: the source named ``pools``. Floats, for reporting and ranking only.

A token's price in the native coin is the median, weighted by depth, over the pools that sell it for an already
priced token. Depth is what comes out while the price moves by 2 %, and never counts for more than the depth with
which the other token is priced itself: a pool of two worthless tokens has no say, however large its reserves are.
"""

from fractions import Fraction
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ouro.config.model import ChainConfig
from ouro.market.arrays import MarketArrays
from ouro.market.market import Market
from ouro.types import Address, Hash

NATIVE_DECIMALS = 18
_PRICE_MOVE = 0.02
_MIN_DEPTH_NATIVE_WEI = 1e14
_ROUNDS = 6

Floats = npt.NDArray[np.float64]


class EdgeDepths(NamedTuple):
    """Per edge: marginal price (out per in, wei per wei, without fee) and wei out per 2 % move; 0 where closed."""

    price: Floats
    depth_out: Floats


def edge_depths(arrays: MarketArrays) -> EdgeDepths:
    """Price and depth of every edge, from its segments."""
    price, depth = np.zeros(arrays.n_edges), np.zeros(arrays.n_edges)
    open_edges = np.flatnonzero((arrays.seg_count > 0) & arrays.enabled[arrays.edge_pool])
    if not open_edges.size:
        return EdgeDepths(price, depth)
    counts = arrays.seg_count[open_edges].astype(np.int64)
    firsts = np.concatenate(([0], np.cumsum(counts)[:-1]))
    rows = arrays.segs[np.repeat(arrays.seg_start[open_edges] - firsts, counts) + np.arange(counts.sum())]
    r_in, r_out, gamma, cap_in = rows.T
    start_price = (r_out / r_in)[firsts]
    end_price = np.repeat(start_price * (1.0 - _PRICE_MOVE), counts)
    # within a segment the marginal price after the net input y is r_in·r_out / (r_in + y)²
    net_in = np.clip(np.sqrt(r_in) * np.sqrt(r_out / end_price) - r_in, 0.0, gamma * cap_in)
    price[open_edges] = start_price
    depth[open_edges] = np.add.reduceat(r_out * (net_in / (r_in + net_in)), firsts)
    return EdgeDepths(price, depth)


def weighted_median(values: Floats, weights: Floats) -> float:
    """The value at which half of the weight is reached. ``values`` must not be empty, ``weights`` positive."""
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(reached, reached[-1] / 2.0)])


def _weighted_medians(
    groups: npt.NDArray[np.int32], starts: npt.NDArray[np.int64], values: Floats, weights: Floats
) -> Floats:
    """``weighted_median`` of each group at once; ``groups`` ascend, ``starts`` are where each begins."""
    order = np.lexsort((values, groups))
    reached = np.cumsum(weights[order])
    before = np.concatenate(([0.0], reached[starts[1:] - 1]))
    ends = np.append(starts[1:], len(values))
    half = before + (reached[ends - 1] - before) / 2.0
    # the sums over all groups ascend, so one search finds every group's middle; rounding may not leave the group
    middle = np.clip(np.searchsorted(reached, half), starts, ends - 1)
    return values[order][middle]


class PoolPrices:
    """Prices of one chain's tokens. ``refresh`` when the market has moved; everything else reads the last table."""

    name = "pools"

    def __init__(self, market: Market, config: ChainConfig) -> None:
        self._market = market
        self._native = config.wrapped_native
        self._stables = tuple(config.stable_tokens)
        self._block_hash: Hash | None = None
        self._price_native: Floats = np.zeros(0)
        self._native_usd: float | None = None

    def refresh(self) -> None:
        """Compute the table for the market's head, unless it is there. Off the hot path: milliseconds."""
        head = self._market.head
        if head is None or head.hash == self._block_hash:
            return
        arrays = self._market.arrays
        depths = edge_depths(arrays)
        self._price_native = self._in_native(arrays, depths)
        self._native_usd = self._usd_of_native(arrays, depths)
        self._block_hash = head.hash

    def _in_native(self, arrays: MarketArrays, depths: EdgeDepths) -> Floats:
        """Native wei per token wei, by token id; 0 where unknown."""
        price, support = np.zeros(arrays.n_tokens), np.zeros(arrays.n_tokens)
        native = arrays.token_index.get(self._native)
        if native is None:
            return price
        price[native], support[native] = 1.0, np.inf
        usable = np.flatnonzero((depths.depth_out > 0) & (arrays.edge_token_in != native))
        token, other = arrays.edge_token_in[usable], arrays.edge_token_out[usable]
        for _ in range(_ROUNDS):
            values = depths.price[usable] * price[other]
            weights = np.minimum(depths.depth_out[usable] * price[other], support[other])
            heard = np.flatnonzero((weights >= _MIN_DEPTH_NATIVE_WEI) & np.isfinite(values) & (values > 0))
            fresh_price, fresh_support = np.zeros_like(price), np.zeros_like(support)
            fresh_price[native], fresh_support[native] = 1.0, np.inf
            order = heard[np.argsort(token[heard], kind="stable")]
            tokens, starts = np.unique(token[order], return_index=True)
            if len(tokens):
                fresh_price[tokens] = _weighted_medians(token[order], starts, values[order], weights[order])
                # the widest path, not the sum: tokens that only quote each other can't add to their weight
                fresh_support[tokens] = np.maximum.reduceat(weights[order], starts)
            price, support = fresh_price, fresh_support
        return price

    def _usd_of_native(self, arrays: MarketArrays, depths: EdgeDepths) -> float | None:
        native = arrays.token_index.get(self._native)
        values: list[float] = []
        weights: list[float] = []
        for stable in self._stables:
            token, info = arrays.token_index.get(stable), self._market.tokens.get(stable)
            if native is None or token is None or info is None or info.decimals is None:
                continue
            chosen = np.flatnonzero(
                (arrays.edge_token_in == native) & (arrays.edge_token_out == token) & (depths.depth_out > 0)
            )
            values += (depths.price[chosen] * 10.0 ** (NATIVE_DECIMALS - info.decimals)).tolist()
            weights += (depths.depth_out[chosen] / 10.0**info.decimals).tolist()
        return weighted_median(np.array(values), np.array(weights)) if values else None

    def native_usd(self) -> float | None:
        """USD per native coin, from its pools against the stable tokens; None where there are none."""
        return self._native_usd

    def usd(self, token: Address) -> float | None:
        """USD per whole token; stable tokens count as one. None where unknown."""
        if token in self._stables:
            return 1.0
        info = self._market.tokens.get(token)
        decimals = NATIVE_DECIMALS if token == self._native else (info.decimals if info else None)
        rate = self._rate(token)
        if self._native_usd is None or decimals is None or not rate:
            return None
        return rate * 10.0 ** (decimals - NATIVE_DECIMALS) * self._native_usd

    def native_wei_usd(self, amount_wei: int) -> float | None:
        """USD value of an amount of the native coin."""
        if self._native_usd is None:
            return None
        return amount_wei / 10**NATIVE_DECIMALS * self._native_usd

    def value_in_native(self, token: Address, amount_wei: int) -> int:
        """Native wei that ``amount_wei`` of a token is worth, rounded down; exact for the wrapped native coin.

        0 where the token has no price: what can't be valued is not counted on. Negative amounts round away from 0.
        """
        if token == self._native:
            return amount_wei
        value = Fraction(self._rate(token)) * amount_wei
        return value.numerator // value.denominator

    def _rate(self, token: Address) -> float:
        token_id = self._market.arrays.token_index.get(token)
        if token == self._native:
            return 1.0
        if token_id is None or token_id >= self._price_native.shape[0]:
            return 0.0
        return float(self._price_native[token_id])

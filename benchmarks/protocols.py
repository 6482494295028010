"""Speed of exact quotes: ``python -m benchmarks.protocols``. One core, best of several rounds, inputs always vary.

Times are those of the thread on its core, so that a loaded machine tells about the same. Every batch is compared
with the families' own quotes before it is timed: a wrong integer ends the run.

The concentrated pool is WBTC/WETH 0.3 % with 458 initialised ticks, recorded at block 24,407,242, where
``OURO_SHARED_DATA`` names the folder that has it, else a made one of the same size. Last column: the best peer.
"""

import gzip
import json
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ouro.protocols import v3_exact
from ouro.protocols.balancer_math import ONE
from ouro.protocols.balancer_v2_stable_state import NO_PROVIDER, BalancerV2StableState
from ouro.protocols.balancer_v2_weighted_state import BalancerV2WeightedState
from ouro.protocols.base import QuoteError
from ouro.protocols.curve_crypto_math import UNIT, newton_d
from ouro.protocols.curve_crypto_state import Fees, Rebalancing, TwocryptoState, half_value
from ouro.protocols.curve_stable import CurveStable
from ouro.protocols.curve_stable_state import CurveStableNGState, CurveStableState, StableState
from ouro.protocols.curve_tricrypto_math import newton_d as newton_d3
from ouro.protocols.curve_tricrypto_state import TricryptoState, value
from ouro.protocols.kernels import book as kernels
from ouro.protocols.liquidity_book import LiquidityBook
from ouro.protocols.liquidity_book_math import CENTRE, FeeParameters, Volatility
from ouro.protocols.liquidity_book_state import Bins, LiquidityBookState
from ouro.protocols.quotes import DONE, QuoteBook, from_limbs, to_limb_rows
from ouro.protocols.registry import FAMILIES
from ouro.protocols.solidly import SolidlyState
from ouro.protocols.uniswap_v2 import UniswapV2State
from ouro.protocols.v3_math import sqrt_ratio_at_tick, tick_at_sqrt_ratio
from ouro.protocols.v3_state import UniswapV3State
from ouro.protocols.v3_swap import default_limit, swap, walk
from ouro.protocols.v3_ticks import EMPTY_TICKS, TickTable
from ouro.types import BlockContext

CONTEXT = BlockContext(1, 1_700_000_000, 0)
TOKENS = ("0x" + "1" * 40, "0x" + "2" * 40)
POOL = "0x" + "a" * 40
VAULT = "0x" + "b" * 40
ROUNDS = 9
BATCH = 4096
CHECKED = 256
_RECORDED = "open/exact_vectors/state__1__uniswap_v3_wbtc_weth_block_24407242.json.gz"


def best_us(work: Callable[[], object], calls: int) -> float:
    """Microseconds per call of the fastest round."""
    best = float("inf")
    for _ in range(ROUNDS):
        started = time.thread_time()
        work()
        best = min(best, time.thread_time() - started)
    return best / calls * 1e6


def say(what: str, value: float, peer: str = "", goal: float = 0.0) -> None:
    """One line of the table; a goal is met or missed."""
    told = f"goal {goal:g}: {'met' if value <= goal else 'MISSED'}" if goal else ""
    print(f"{what:<58} {value:9.3f} µs  {told:<14} {peer}", flush=True)


def concentrated() -> UniswapV3State:
    """The recorded pool, or a made one."""
    path = Path(os.environ.get("OURO_SHARED_DATA", "/nonexistent")) / _RECORDED
    if path.is_file():
        recorded = json.loads(gzip.decompress(path.read_bytes()))
        found = recorded["scalars"]
        ticks = TickTable({int(t): (gross, net) for t, (gross, net, _) in recorded["tick_data"].items()})
        price, tick, liquidity = found["sqrt_price_x96"], found["tick"], found["liquidity"]
        return UniswapV3State(POOL, TOKENS, found["fee"], found["tick_spacing"], price, tick, liquidity, ticks)
    rng, ticks, liquidity = random.Random(7), EMPTY_TICKS, 0
    for _ in range(260):
        lower = rng.randint(-400, 380) * 60
        upper = lower + rng.randint(1, 300) * 60
        amount = rng.randint(10**15, 10**18)
        ticks = ticks.with_position(lower, upper, amount)
        liquidity += amount if lower <= 30 < upper else 0
    price = sqrt_ratio_at_tick(30) + 12_345
    return UniswapV3State(POOL, TOKENS, 3000, 60, price, tick_at_sqrt_ratio(price), liquidity, ticks)


def amount_across(state: UniswapV3State, zero_for_one: bool, crossed: int) -> int:
    """An input that crosses about so many ticks."""
    low, high = 1, 10**40
    while high - low > 1 + low // 1000:
        middle = (low + high) // 2
        result = swap(state, zero_for_one, middle, default_limit(zero_for_one))
        if result.ticks_crossed > crossed or result.remaining_wei:
            high = middle
        else:
            low = middle
    return low


def batched(family: str, states: list[object], amounts: list[int], calls: int = BATCH) -> float:
    """Microseconds per quote through a book of these states."""
    book = QuoteBook(len(states))
    for edge, state in enumerate(states):
        book.set(edge, FAMILIES[family].exact_header(state, 0, 1))
    edges = np.arange(calls, dtype=np.int32) % len(states)
    rows = to_limb_rows(amounts)
    outs, statuses = np.zeros_like(rows), np.zeros(calls, dtype=np.int8)
    kernels.quote_many(book.headers, edges, rows, outs, statuses)
    check(family, states, amounts, from_limbs(outs), statuses.tolist())
    return best_us(lambda: kernels.quote_many(book.headers, edges, rows, outs, statuses), calls)


def check(family: str, states: list[object], amounts: list[int], outs: list[int], statuses: list[int]) -> None:
    """Raise ``AssertionError`` unless the batch gives what the family does, to the last unit."""
    for k in range(0, len(amounts), max(len(amounts) // CHECKED, 1)):
        state = states[k % len(states)]
        try:
            expected = FAMILIES[family].quote_in(state, 0, 1, amounts[k], CONTEXT).amount_out_wei
        except QuoteError:
            expected = 0
        ours = outs[k] if statuses[k] == DONE else 0
        if ours != expected:
            raise AssertionError(f"{family}: {ours} for {amounts[k]}, the family says {expected} of {state!r:.300}")


def bench_pairs(rng: random.Random) -> None:
    """Uniswap V2 and Solidly."""
    pairs = [
        UniswapV2State(POOL, TOKENS, rng.randint(10**18, 10**27), rng.randint(10**9, 10**27), 3000)
        for _ in range(512)
    ]
    amounts = [rng.randint(10**12, 10**24) for _ in range(BATCH)]
    say("V2 exact-in, batched", batched("uniswap_v2", list(pairs), amounts), "0.32 (Rust)")
    family, pair = FAMILIES["uniswap_v2"], pairs[0]
    work = [min(amount, 10**20) for amount in amounts]
    say(
        "V2 exact-in, one call, with the next state",
        best_us(lambda: [family.quote_in(pair, 0, 1, amount, CONTEXT) for amount in work], BATCH),
        "0.32-0.56",
    )
    stables = [
        SolidlyState(POOL, TOKENS, True, 10**18, 10**6, w := rng.randint(10**22, 10**25), w // 10**12, 5)
        for _ in range(512)
    ]
    amounts = [rng.randint(10**16, 10**22) for _ in range(BATCH)]
    say("Solidly stable 18/6 exact-in, batched", batched("solidly", list(stables), amounts), "2.1 (Rust)")
    family, stable = FAMILIES["solidly"], stables[0]
    say(
        "Solidly stable 18/6, one call, with the next state",
        best_us(lambda: [family.quote_in(stable, 0, 1, amount, CONTEXT) for amount in amounts], BATCH),
        "2.1",
    )


def three_pool(rng: random.Random, ng: bool = False) -> StableState:
    """DAI, USDC and USDT in random proportions."""
    kind = CurveStableNGState if ng else CurveStableState
    tokens = (*TOKENS, "0x" + "3" * 40)
    held = (rng.randint(10**25, 10**26), rng.randint(10**13, 10**14), rng.randint(10**13, 10**14))
    rates = (10**18, 10**30, 10**30)
    a = 400_000 if ng else 4000
    off_peg = 2 * 10**10 if ng else 0
    return kind(
        POOL,
        tokens,
        rates,
        held,
        a,
        a,
        0,
        0,
        1_500_000,
        5 * 10**9,
        off_peg,
        10**26,
        100 if ng else 1,
        2 if ng else 0,
    )


def bench_stableswap(rng: random.Random) -> None:
    """Curve's 3-pool, NG with the off-peg fee, and what the search is given."""
    amounts = [rng.randint(10**18, 10**24) for _ in range(BATCH)]
    pools = [three_pool(rng) for _ in range(256)]
    say("Curve 3-pool exchange, batched", batched("curve_stable", list(pools), amounts), "10 (Rust)", 3)
    ng = [three_pool(rng, ng=True) for _ in range(256)]
    say("Curve NG 3 coins with off-peg fee, batched", batched("curve_stable_ng", list(ng), amounts), "10")
    family: Any = CurveStable()
    pool = pools[0]
    some = amounts[:256]
    say(
        "Curve 3-pool, one call, with the next state",
        best_us(lambda: [family.quote_in(pool, 0, 1, amount, CONTEXT) for amount in some], len(some)),
        "10",
    )
    say("Curve 3-pool, pieces for search", best_us(lambda: family.segments(pool, 0, 1, CONTEXT), 1))


def bench_crypto(rng: random.Random) -> None:
    """Pools of two and three coins around moving prices."""
    twos = [two_coins(rng) for _ in range(256)]
    threes = [three_coins(rng) for _ in range(256)]
    for name, family, states in (("two", "twocrypto", twos), ("three", "tricrypto", threes)):
        pools: list[Any] = list(states)
        amounts = [int(pools[k % 256].balances_wei[0] * 10 ** rng.uniform(-4, -0.3)) for k in range(BATCH)]
        say(f"Cryptoswap of {name} coins, batched", batched(family, pools, amounts))
        one, some = pools[0], amounts[:64]
        quotes: Any = FAMILIES[family]
        calls = best_us(lambda: [quotes.quote_in(one, 0, 1, a, CONTEXT) for a in some], 64)  # noqa: B023
        say(f"Cryptoswap of {name} coins, one call, with the next state", calls)
        pieces = best_us(lambda: [quotes.segments(s, 0, 1, CONTEXT) for s in pools[:16]], 16)  # noqa: B023
        say(f"Cryptoswap of {name} coins, pieces for search", pieces)


def two_coins(rng: random.Random) -> TwocryptoState:
    """Dollars and something at 2,500, more or less in balance."""
    scale, deep = 2500 * UNIT, rng.randint(10**23, 10**25)
    held = deep, int(deep / 2500 * rng.uniform(0.5, 1.5))
    curve = (400_000, 145 * 10**12)
    d = newton_d(*curve, (held[0], held[1] * 2500))
    return TwocryptoState(
        POOL, TOKENS, (1, 1), held, curve, curve, 0, 0, d, scale, scale, scale, CONTEXT.timestamp - 60, UNIT,
        UNIT - 10**9, half_value(d, scale), Fees(26 * 10**6, 45 * 10**6, 23 * 10**13),
        Rebalancing(2 * 10**12, 146 * 10**12, 866),
    )  # fmt: skip


def three_coins(rng: random.Random) -> TricryptoState:
    """Dollars and two others, more or less in balance."""
    scales, deep = (60_000 * UNIT, 2500 * UNIT), rng.randint(10**23, 10**25)
    held = deep, int(deep / 60_000 * rng.uniform(0.5, 1.5)), int(deep / 2500 * rng.uniform(0.5, 1.5))
    curve = (1_707_629, 11_809_167_828_997)
    d = newton_d3(*curve, (held[0], held[1] * 60_000, held[2] * 2500))
    return TricryptoState(
        POOL, (*TOKENS, "0x" + "3" * 40), (1, 1, 1), held, curve, curve, 0, 0, d, scales, scales, scales,
        CONTEXT.timestamp - 60, UNIT, UNIT - 10**9, value(d, scales), Fees(3 * 10**6, 3 * 10**7, 5 * 10**14),
        Rebalancing(2 * 10**12, 49 * 10**13, 866),
    )  # fmt: skip


def bench_bins(rng: random.Random) -> None:
    """A pair of 50 bins a side."""
    family = LiquidityBook()
    entries = {CENTRE + k: (rng.randint(10**20, 10**21), 0) for k in range(1, 51)}
    entries.update({CENTRE - k: (0, rng.randint(10**20, 10**21)) for k in range(1, 51)})
    entries[CENTRE] = (10**20, 10**20)
    fees = FeeParameters(8000, 30, 600, 5000, 40_000, 1000, 350_000)
    state = LiquidityBookState(POOL, TOKENS, 20, CENTRE, Bins(entries), fees, Volatility(0, 0, CENTRE, 0))
    most = family.limits(state, 0, 1, CONTEXT).max_in_wei
    amounts = [rng.randint(1, most) for _ in range(BATCH)]
    ready = family.at(state, CONTEXT.timestamp)
    say("Liquidity Book anywhere in 50 bins, batched", batched("liquidity_book", [ready], amounts), goal=1)
    some = amounts[:128]
    say(
        "Liquidity Book anywhere in 50 bins, one call, next state",
        best_us(lambda: [family.quote_in(state, 0, 1, amount, CONTEXT) for amount in some], len(some)),
    )
    say("Liquidity Book, table of one block and direction", best_us(lambda: family.exact_header(ready, 0, 1), 1))


def bench_balancer(rng: random.Random) -> None:
    """Weighted pools of any weights and sizes, stable pools of two and three tokens."""
    half, zeros = ONE // 2, (0, 0)
    identity = POOL + "0002" + "0" * 20
    for name, percents in (("50/50", [50]), ("any weights", list(range(5, 96)))):
        weighted = []
        for _ in range(512):
            weight = rng.choice(percents) * ONE // 100
            balances = (rng.randint(10**20, 10**25), rng.randint(10**20, 10**25))
            weights = (weight, ONE - weight) if percents != [50] else (half, half)
            scaling = rng.choice([(1, 1), (1, 10**12)])
            raw = (balances[0] // scaling[0], balances[1] // scaling[1])
            weighted.append(
                BalancerV2WeightedState(
                    POOL, VAULT, identity, TOKENS, scaling, weights, raw, zeros, zeros, 3 * 10**15, name != "50/50"
                )
            )
        # every state its own share of the balance, from a millionth to the limit
        amounts = [int(weighted[k % 512].cash[0] * 10 ** rng.uniform(-6, -0.55)) for k in range(BATCH)]
        label = f"Balancer weighted {name} exact-in"
        say(f"{label}, batched", batched("balancer_v2_weighted", list(weighted), amounts), "2.1 (Rust)", 1)
        family, pool = FAMILIES["balancer_v2_weighted"], weighted[0]
        some = [int(pool.cash[0] * 10 ** rng.uniform(-6, -0.55)) for _ in range(512)]
        calls = best_us(lambda: [family.quote_in(pool, 0, 1, amount, CONTEXT) for amount in some], 512)  # noqa: B023
        say(f"{label}, one call, with the next state", calls, "1.2-2.1")
    for n in (2, 3):
        stables = [stable_pool(rng, n) for _ in range(512)]
        amounts = [int(stables[k % 512].cash[0] * 10 ** rng.uniform(-6, -0.3)) for k in range(BATCH)]
        label = f"Balancer stable, {n} tokens, exact-in"
        say(f"{label}, batched", batched("balancer_v2_stable", list(stables), amounts))
        family = FAMILIES["balancer_v2_stable"]
        work = list(zip(stables[:64], amounts[:64], strict=True))
        calls = best_us(lambda: [family.quote_in(s, 0, 1, a, CONTEXT) for s, a in work], 64)  # noqa: B023
        say(f"{label}, one call, with the next state", calls)
        pieces = best_us(lambda: [family.segments(s, 0, 1, CONTEXT) for s, _ in work], 64)  # noqa: B023
        say(f"Balancer stable, {n} tokens, pieces for the search", pieces)


def stable_pool(rng: random.Random, n: int) -> BalancerV2StableState:
    """Near balance, A of 50 to 2,000."""
    tokens = tuple(f"0x{k:040x}" for k in range(1, n + 1))
    depth = rng.randint(10**22, 10**26)
    amp = rng.randint(50, 2000) * 1000
    zeros = (0,) * n
    return BalancerV2StableState(
        address=POOL,
        manager=VAULT,
        pool_id=POOL + "0000" + "0" * 20,
        tokens=tokens,
        scaling=(1,) * n,
        cash=tuple(int(depth * rng.uniform(0.5, 2)) for _ in range(n)),
        managed=zeros,
        changed_at=zeros,
        swap_fee=4 * 10**14,
        amp_start=amp,
        amp_end=amp,
        amp_start_time=0,
        amp_end_time=0,
        rounds_up=False,
        own_token=-1,
        rate_providers=(NO_PROVIDER,) * n,
        rates=(ONE,) * n,
        rate_durations=zeros,
        rate_expires=zeros,
        provider_rates=zeros,
    )


def bench_concentrated(rng: random.Random) -> None:
    """A pool with hundreds of ticks, near and far."""
    state = concentrated()
    print(f"concentrated pool: {len(state.ticks)} initialised ticks")
    for crossed, peer in ((0, "3.3 (Rust)"), (5, "4.5"), (30, ""), (123, "60")):
        bench_distance(state, amount_across(state, True, crossed), peer, rng)
    most = amount_across(state, True, 123)
    anywhere = [int(most * rng.random() ** 3) + 1 for _ in range(BATCH)]
    rates = [random_price(state, rng) for _ in range(64)]
    say(
        "V3 exact-in anywhere up to 123 ticks, 64 prices, batched",
        batched("uniswap_v3", list(rates), anywhere),
        "60",
    )
    bench_tables(state, rng)


def random_price(state: UniswapV3State, rng: random.Random) -> UniswapV3State:
    """The pool after a random swap."""
    amount = int(amount_across(state, True, 40) * rng.random()) + 1
    after = FAMILIES["uniswap_v3"].quote_in(state, 0, 1, amount, CONTEXT).next_state
    assert isinstance(after, UniswapV3State)
    return after


def bench_distance(state: UniswapV3State, most: int, peer: str, rng: random.Random) -> None:
    """Inputs of up to ``most``, in every way to ask."""
    family, limit = FAMILIES["uniswap_v3"], default_limit(True)
    name = f"V3 exact-in across {swap(state, True, most, limit).ticks_crossed} ticks"
    amounts = [most - rng.randrange(most // 10_000 + 1) for _ in range(BATCH)]
    some, few = amounts[:512], amounts[:32]
    say(f"{name}, batched", batched("uniswap_v3", [state], amounts), peer)
    header = family.exact_header(state, 0, 1)
    assert header is not None
    limbs = header.limbs
    say(f"{name}, output alone", best_us(lambda: [v3_exact.output(limbs, a) for a in some], 512), peer)
    say(f"{name}, swap", best_us(lambda: [swap(state, True, a, limit) for a in some], 512), peer)
    say(
        f"{name}, quote with next state",
        best_us(lambda: [family.quote_in(state, 0, 1, a, CONTEXT) for a in some], 512),
        peer,
    )
    say(f"{name}, Python walk", best_us(lambda: [walk(state, True, a, limit, state.fee_ppm) for a in few], 32))


def bench_tables(state: UniswapV3State, rng: random.Random) -> None:
    """What a swap and a mint cost the tables."""
    tables = state.ticks.exact
    prices = [state.sqrt_price_x96 - rng.randrange(10**6) for _ in range(512)]

    def after_swaps() -> None:
        for price in prices:
            tables.header(True, price, state.tick, state.liquidity, state.tick_spacing, state.fee_ppm)

    say("table update after a swap (one direction)", best_us(after_swaps, 512), "target 5")
    entries = dict(state.ticks)

    def after_mint() -> None:
        fresh = TickTable(entries).exact
        for zero_for_one in (True, False):
            fresh.table(zero_for_one, state.tick_spacing, state.fee_ppm)

    say("both tables after a mint", best_us(after_mint, 1))


def bench_ticks(rng: random.Random) -> None:
    """tick → sqrt price."""
    ticks = np.array([rng.randint(-300_000, 300_000) for _ in range(BATCH)], dtype=np.int64)
    prices = np.zeros((BATCH, 4), dtype=np.uint64)
    kernels.sqrt_ratios(ticks, prices)
    say(
        "tick to sqrt price, batched",
        best_us(lambda: kernels.sqrt_ratios(ticks, prices), BATCH),
        "0.28-0.41 (Rust)",
    )


def main() -> None:
    """Entry point."""
    rng = random.Random(1)
    bench_pairs(rng)
    bench_stableswap(rng)
    bench_crypto(rng)
    bench_bins(rng)
    bench_balancer(rng)
    bench_concentrated(rng)
    bench_ticks(rng)


if __name__ == "__main__":
    main()

"""Recorded mainnet pools and swaps: what executed there is what our quotes allow; skipped where they are absent."""

import csv
import gzip
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ouro.protocols.base import QuoteError
from ouro.protocols.registry import FAMILIES
from ouro.protocols.uniswap_v2 import UniswapV2State
from ouro.protocols.v3_math import MAX_SQRT_RATIO, sqrt_ratio_at_tick
from ouro.protocols.v3_state import UniswapV3State, check_state
from ouro.protocols.v3_swap import default_limit, swap, walk
from ouro.protocols.v3_ticks import TickTable
from ouro.types import BlockContext

CONTEXT = BlockContext(number=1, timestamp=1, base_fee_wei=0)
POOL, TOKENS = "0x" + "a" * 40, ("0x" + "1" * 40, "0x" + "2" * 40)
FEES_PPM = {"Lowest": 100, "Low": 500, "MediumLow": 2500, "Medium": 3000, "High": 10_000}
SPACINGS = {100: 1, 500: 10, 3000: 60, 10_000: 200}


def load(shared_data: Path, name: str) -> Any:
    with gzip.open(shared_data / "open" / f"{name}.json.gz") as stream:
        return json.load(stream)


def test_executed_v2_swaps_are_within_our_quotes(shared_data: Path) -> None:
    """Reserves before and after each swap were read in its trace: nobody got more than the quote for what he paid.

    Most ask for exactly the quote. Pairs of other factories are among them: a lower fee than 0.3 % shows as more.
    """
    family, executed, equal, more = FAMILIES["uniswap_v2"], 0, 0, 0
    with gzip.open(shared_data / "open/mev_blocks/decoded_v2_swaps.csv.gz", "rt", newline="") as stream:
        for row in csv.DictReader(stream):
            outs = int(row["amount0_out"]), int(row["amount1_out"])
            if row["reverted"] != "0" or not row["pre_reserve0"] or not row["post_reserve0"] or 0 not in outs:
                continue
            before = int(row["pre_reserve0"]), int(row["pre_reserve1"])
            after = int(row["post_reserve0"]), int(row["post_reserve1"])
            i, j = (0, 1) if outs[1] else (1, 0)
            paid, got = after[i] - before[i], outs[j]
            if paid <= 0 or not got or after[j] != before[j] - got:
                continue  # paid in the token that was taken, or the token's own arithmetic
            state = UniswapV2State(POOL, TOKENS, *before, 3000)
            executed += 1
            most = family.quote_in(state, i, j, paid, CONTEXT).amount_out_wei
            equal += got == most
            more += got > most
            if got <= most:
                assert family.quote_out(state, i, j, got, CONTEXT).amount_in_wei <= paid
    assert executed > 400
    assert more <= 2
    assert equal > executed * 0.9


def _answer(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    try:
        return function(*arguments)
    except QuoteError as error:
        return str(error)


def test_full_tick_maps_of_mainnet(shared_data: Path) -> None:
    """Prices of every tick, and swaps through up to 1,415 ticks: tables against the plain walk."""
    rng, ticks_seen, swaps = random.Random(7), 0, 0
    for entry in load(shared_data, "pools/tycho_v3_full_ticks_ethereum_2026-01"):
        if entry["state"]["protocol"] != "UniswapV3State":
            continue
        found = entry["state"]["state"]
        rows = found["ticks"]["ticks"]
        for row in rows:
            assert int(row["sqrt_price"], 16) == sqrt_ratio_at_tick(row["index"])
        ticks = TickTable({row["index"]: (abs(row["net_liquidity"]) or 1, row["net_liquidity"]) for row in rows})
        fee, spacing = FEES_PPM[found["fee"]], found["ticks"]["tick_spacing"]
        price = int(found["sqrt_price"], 16)
        state = UniswapV3State(POOL, TOKENS, fee, spacing, price, found["tick"], found["liquidity"], ticks)
        if sum(net for _, net in ticks.values()):
            continue  # the recording is cut
        check_state(state)
        ticks_seen += len(rows)
        for _ in range(12):
            zero_for_one, exact_in = rng.random() < 0.5, rng.random() < 0.5
            amount = int(10 ** rng.uniform(0, 27)) * (1 if exact_in else -1)
            arguments = (state, zero_for_one, amount, default_limit(zero_for_one))
            assert _answer(swap, arguments) == _answer(walk, (*arguments, fee))
            swaps += 1
    assert ticks_seen > 1000
    assert swaps > 50


def test_recorded_bitmaps_are_those_of_the_ticks(shared_data: Path) -> None:
    fees = {
        pool["pool_address"]: pool["fee"]
        for pool in load(shared_data, "exact_vectors/uniswap__v3__first_200_uniswap_v3_pools")
    }
    maps = load(shared_data, "exact_vectors/uniswap__v3__mainnet_v3_liquidity_snapshot_block_21_369_870")
    words = 0
    for address, recorded in maps.items():
        if address not in fees or "tick_data" not in recorded:
            continue
        rows = recorded["tick_data"].items()
        ticks = TickTable(
            {
                int(tick): (int(row["liquidity_gross"]), int(row["liquidity_net"]))
                for tick, row in rows
                if int(row["liquidity_gross"])
            }
        )
        for word, row in recorded["tick_bitmap"].items():
            assert ticks.bitmap_word(int(word), SPACINGS[fees[address]]) == int(row["bitmap"]), (address, word)
            words += 1
        assert not sum(net for _, net in ticks.values())
    assert words == 9


def test_last_swaps_left_prices_that_the_maths_allow(shared_data: Path) -> None:
    """The newest Swap event of 769 pools: its price is one that exists, its amounts have opposite signs."""
    rows = 0
    with gzip.open(
        shared_data / "open/pools/pools_v3_last_swap_ethereum_b17394k-17396k.csv.gz", "rt", newline=""
    ) as stream:
        for row in csv.DictReader(stream):
            amounts = int(row["amount0"]), int(row["amount1"])
            assert amounts[0] * amounts[1] <= 0
            assert 4295128739 <= int(row["sqrt_price_x96"]) < MAX_SQRT_RATIO
            rows += 1
    assert rows == 769

"""Answers of deployed contracts, recorded on mainnet; skipped where the data folder is absent."""

import csv
import gzip
import json
import random
from pathlib import Path
from typing import Any

import pytest

from ouro.protocols.base import QuoteError
from ouro.protocols.registry import FAMILIES
from ouro.protocols.solidly import SolidlyState
from ouro.protocols.uniswap_v2 import UniswapV2State
from ouro.protocols.uniswap_v4 import pool_id
from ouro.protocols.v3_math import sqrt_ratio_at_tick, tick_at_sqrt_ratio
from ouro.protocols.v3_state import UniswapV3State, check_state
from ouro.protocols.v3_swap import default_limit, swap, walk
from ouro.protocols.v3_ticks import TickTable
from ouro.types import BlockContext

CONTEXT = BlockContext(number=1, timestamp=1, base_fee_wei=0)
TOKENS = ("0x" + "1" * 40, "0x" + "2" * 40)


def load(shared_data: Path, name: str) -> Any:
    with gzip.open(shared_data / "open" / "exact_vectors" / f"{name}.json.gz") as stream:
        return json.load(stream)


@pytest.fixture(scope="module")
def wbtc_weth(shared_data: Path) -> UniswapV3State:
    recorded = load(shared_data, "state__1__uniswap_v3_wbtc_weth_block_24407242")
    scalars = recorded["scalars"]
    state = UniswapV3State(
        address=recorded["pool"].lower(),
        tokens=TOKENS,
        fee_ppm=scalars["fee"],
        tick_spacing=scalars["tick_spacing"],
        sqrt_price_x96=scalars["sqrt_price_x96"],
        tick=scalars["tick"],
        liquidity=scalars["liquidity"],
        ticks=TickTable({int(t): (gross, net) for t, (gross, net, _) in recorded["tick_data"].items()}),
    )
    check_state(state)
    return state


def test_v3_quoter_answers(shared_data: Path, wbtc_weth: UniswapV3State) -> None:
    """The quoter answers with the partial amount where liquidity ends; ours come as an error's partial."""
    entries = load(
        shared_data, "golden__uniswap__v3__test_uniswap_v3_onchain_parity__test_cached_calculations_v3_wbtc_weth"
    )
    family = FAMILIES["uniswap_v3"]
    equal = 0
    for key, recorded in entries["entries"].items():
        _, function, path, amount = key.split("|")
        i, j = (0, 1) if path == "WBTC->WETH" else (1, 0)
        exact_in = function == "quoteExactInputSingle"
        quote = family.quote_in if exact_in else family.quote_out
        try:
            result = quote(wbtc_weth, i, j, int(amount), CONTEXT)
            answer = result.amount_out_wei if exact_in else result.amount_in_wei
        except QuoteError as error:
            answer = error.partial_out if exact_in else error.partial_in
        assert answer == recorded["value"], key
        equal += 1
    assert equal == 80


def test_v2_router_answers(shared_data: Path) -> None:
    recorded = load(shared_data, "state__8453__pancakeswap_v2_weth_usdbc_block_46875151")
    state = UniswapV2State(
        recorded["pool"].lower(),
        TOKENS,
        recorded["reserves_token0"],
        recorded["reserves_token1"],
        recorded["fee_numer"] * 1_000_000 // recorded["fee_denom"],
    )
    name = "golden__pancakeswap__test_pancakeswap_v2_onchain_parity__test_pancakeswap_v2_router_get_amounts_out"
    entries = load(shared_data, name)["entries"]
    for key, answer in entries.items():
        _, _, path, amount = key.split("|")
        i = 0 if path == "WETH->USDbC" else 1
        try:
            ours = FAMILIES["uniswap_v2"].quote_in(state, i, 1 - i, int(amount), CONTEXT).amount_out_wei
        except QuoteError as error:  # the router quotes outputs of 0, the pair refuses to swap for them
            ours = error.partial_out
        assert ours == answer["value"], key
    assert len(entries) > 10


def test_recorded_full_state_is_consistent(shared_data: Path) -> None:
    recorded = load(shared_data, "golden__uniswap__v3__wbtc_weth__17600000")
    data = recorded["tick_data"].items()
    table = TickTable({int(tick): (entry["liquidity_gross"], entry["liquidity_net"]) for tick, entry in data})
    for word, entry in recorded["tick_bitmap"].items():
        assert table.bitmap_word(int(word), 60) == int(entry["bitmap"])
    assert recorded["tick"] == tick_at_sqrt_ratio(recorded["sqrt_price_x96"])


def test_ticks_of_recorded_prices(shared_data: Path) -> None:
    """Thousands of slot0 values: the tick belongs to the price (one lower after a downward stop on a tick)."""
    rows = 0
    for path in sorted((shared_data / "open" / "pools").glob("pools_v3_*.csv.gz")):
        with gzip.open(path, "rt", newline="") as stream:
            for row in csv.DictReader(stream):
                price, tick = int(row["sqrt_price_x96"]), int(row["tick"])
                computed = tick_at_sqrt_ratio(price)
                assert tick == computed or (tick == computed - 1 and sqrt_ratio_at_tick(computed) == price)
                rows += 1
    assert rows > 3000


def test_aerodrome_volatile_answers(shared_data: Path) -> None:
    recorded = load(shared_data, "state__8453__aerodrome_v2_tbtc_weth_volatile_block_46875151")
    entries = load(
        shared_data,
        "golden__aerodrome__test_aerodrome_v2_onchain_parity__test_aerodrome_v2_volatile_get_amount_out",
    )["entries"]
    state = SolidlyState(
        recorded["pool"].lower(),
        TOKENS,
        recorded["stable"],
        10 ** recorded["token0"]["decimals"],
        10 ** recorded["token1"]["decimals"],
        recorded["reserves_token0"],
        recorded["reserves_token1"],
        recorded["fee_raw"],
    )
    equal = 0
    for key, answer in entries.items():
        _, _, path, amount = key.split("|")
        i, j = (0, 1) if path.startswith(recorded["token0"]["symbol"]) else (1, 0)
        try:
            out = FAMILIES["solidly"].quote_in(state, i, j, int(amount), CONTEXT).amount_out_wei
        except QuoteError:
            out = 0
        assert out == answer["value"], key
        equal += 1
    assert equal >= 20


def test_v4_pool_ids(shared_data: Path) -> None:
    """Ids that the deployed manager gave are ours of the same keys."""
    pools = load(shared_data, "uniswap__v4__first_200_uniswap_v4_pools")
    for pool in pools:
        tokens = (pool["token0"].lower(), pool["token1"].lower())
        assert pool_id(tokens, pool["fee"], pool["tick_spacing"], pool["hooks"].lower()) == pool["pool_id"]
    assert len(pools) >= 100


def test_v4_mainnet_tick_maps(shared_data: Path) -> None:
    """Every recorded tick map (prices are not recorded: some are tried) quotes by tables as by the plain walk."""
    maps = load(shared_data, "uniswap__v4__mainnet_v4_liquidity_snapshot")
    spacings = {
        pool["pool_id"]: pool["tick_spacing"]
        for pool in load(shared_data, "uniswap__v4__first_200_uniswap_v4_pools")
    }
    rng, compared = random.Random(1), 0
    for identity, recorded in maps.items():
        spacing = spacings.get(identity)
        if spacing is None:
            continue
        entries = {
            int(tick): (row["liquidity_gross"], row["liquidity_net"])
            for tick, row in recorded["tick_data"].items()
            if row["liquidity_gross"]
        }
        if not entries or sum(net for _, net in entries.values()):
            continue
        ticks = TickTable(entries)
        for _ in range(3):
            tick = rng.choice(ticks.sorted_ticks) + rng.randint(-spacing, spacing)
            tick = min(max(tick, -887_000), 887_000)
            price, liquidity = sqrt_ratio_at_tick(tick) + 1, ticks.active_liquidity(tick)
            state = UniswapV3State("0x" + "a" * 40, TOKENS, 3000, spacing, price, tick, liquidity, ticks)
            amount = int(10 ** rng.uniform(0, 30)) * rng.choice([1, -1])
            zero_for_one = rng.random() < 0.5
            arguments = (state, zero_for_one, amount, default_limit(zero_for_one))
            assert swap(*arguments) == walk(*arguments, 3000)
            compared += 1
    assert compared > 50

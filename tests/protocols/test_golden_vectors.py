"""Answers of deployed contracts, recorded on mainnet; skipped where the data folder is absent."""

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from ouro.protocols.base import QuoteError
from ouro.protocols.registry import FAMILIES
from ouro.protocols.uniswap_v2 import UniswapV2State
from ouro.protocols.v3_math import sqrt_ratio_at_tick, tick_at_sqrt_ratio
from ouro.protocols.v3_state import UniswapV3State, check_state
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

"""Prices, floors and names of plans, exact to the wei."""

from dataclasses import replace

import pytest
from execution_examples import DAI, POOL_A, POOL_B, WETH, chain_config, opportunity, plan_context
from hypothesis import given
from hypothesis import strategies as st

from ouro.chain.fees import FeeModel
from ouro.config.model import BidConfig
from ouro.execution.encode import EncodeError, decode_program
from ouro.execution.planner import (
    FIRST_WRITES_GAS,
    expected_gas,
    plan_id_of,
    plan_of,
    priority_fee_wei,
)
from ouro.strategies.gas import TRANSACTION_GAS
from ouro.types import Cycle, Edge

GWEI = 10**9
WEI = st.integers(0, 10**24)


@pytest.mark.parametrize(
    ("value_wei", "gas", "expected"),
    [
        (0, 200_000, 1 * GWEI),
        (10**16, 200_000, 5 * GWEI),  # a tenth of 10^16 over 200,000 gas
        (10**16 + 1_999_999, 200_000, 5 * GWEI),
        (10**16 + 2_000_000, 200_000, 5 * GWEI + 1),
        (10**24, 200_000, 500 * GWEI),
        (-(10**18), 200_000, 1 * GWEI),
    ],
)
def test_the_tip_is_the_share_of_the_value_within_its_bounds(value_wei: int, gas: int, expected: int) -> None:
    assert priority_fee_wei(BidConfig(), value_wei, gas) == expected


@given(WEI, st.integers(21_000, 10**7), st.integers(0, 10**6), WEI, st.integers(1, 10**24))
def test_the_tip_never_offers_more_than_its_share_above_the_minimum(
    value_wei: int, gas: int, share_ppm: int, least: int, most: int
) -> None:
    least, most = min(least, most), max(least, most)
    bid = BidConfig(share_ppm=share_ppm, min_priority_fee_wei=least, max_priority_fee_wei=most)
    tip = priority_fee_wei(bid, value_wei, gas)
    assert least <= tip <= most
    assert tip == least or (least < tip <= most and tip * gas * 10**6 <= value_wei * share_ppm)


@given(
    st.integers(1, 10**20),
    st.integers(-(10**20), 10**22),
    st.integers(0, 10**12),
    st.integers(50_000, 2 * 10**6),
    st.booleans(),
)
def test_the_floor_is_the_least_that_pays_for_landing(
    gross_wei: int, value_wei: int, base_fee_wei: int, gas: int, legacy: bool
) -> None:
    model = FeeModel("legacy", gas_price_wei=base_fee_wei) if legacy else FeeModel()
    context = plan_context(base_fee_wei, model, value_in_native=lambda _token, _wei: value_wei)
    made = plan_of(opportunity(gross_wei, gas), chain_config(), context, "public")

    price = made.fee.max_fee_per_gas_wei if legacy else base_fee_wei + made.fee.max_priority_fee_per_gas_wei
    cost = made.expected_gas * price
    assert made.expected_net_native_wei == value_wei - cost
    assert 1 <= made.min_profit_wei <= gross_wei
    if value_wei <= 0:
        assert made.min_profit_wei == gross_wei
    else:
        # Its worth covers the cost, unless the whole profit doesn't; one unit less would not.
        assert made.min_profit_wei * value_wei >= cost * gross_wei or made.min_profit_wei == gross_wei
        assert made.min_profit_wei == 1 or (made.min_profit_wei - 1) * value_wei < cost * gross_wei
    assert decode_program(made.calldata).min_profit_wei == made.min_profit_wei


def test_a_profit_in_another_token_is_bid_for_in_the_native_coin() -> None:
    """2,000 units of a six-decimal stable are one coin."""
    cycle = Cycle((Edge(POOL_A, 1, 0), Edge(POOL_B, 0, 1)), (DAI, WETH, DAI))
    found = opportunity(20_000_000, cycle=cycle, amounts_wei=(10**9, 5 * 10**17, 10**9 + 20_000_000))
    asked: list[tuple[str, int]] = []

    def value(token: str, wei: int) -> int:
        asked.append((token, wei))
        return wei * 10**18 // (2_000 * 10**6)

    made = plan_of(found, chain_config(), plan_context(value_in_native=value), "public")
    assert asked == [(DAI, 20_000_000)]
    assert made.value_native_wei == 10**16
    assert made.profit_token == DAI
    tip = 10**15 // made.expected_gas
    cost = made.expected_gas * (GWEI + tip)
    assert made.fee.max_priority_fee_per_gas_wei == tip
    assert made.min_profit_wei == -(-20_000_000 * cost // 10**16)
    assert decode_program(made.calldata).profit_token == DAI


def test_fees_of_both_kinds_of_chain() -> None:
    config = chain_config()
    dynamic = plan_of(opportunity(), config, plan_context(7 * GWEI), "public").fee
    assert dynamic.max_fee_per_gas_wei == 7 * GWEI + dynamic.max_priority_fee_per_gas_wei
    legacy = plan_of(opportunity(), config, plan_context(7 * GWEI, FeeModel("legacy")), "public").fee
    assert legacy.legacy
    assert legacy.max_fee_per_gas_wei == legacy.max_priority_fee_per_gas_wei == dynamic.max_fee_per_gas_wei


def test_gas_is_that_of_the_transaction_and_of_its_swaps() -> None:
    two = opportunity(gas=100_000)
    assert expected_gas(two) == TRANSACTION_GAS + 100_000
    made = plan_of(two, chain_config(), plan_context(), "public")
    assert made.expected_gas == expected_gas(two)
    assert made.gas_limit == 2 * made.expected_gas + 2 * FIRST_WRITES_GAS
    assert len(made.calldata) <= 64 + 2 * 48


def test_the_deadline_follows_the_configured_patience() -> None:
    for blocks in (1, 3):
        made = plan_of(opportunity(), chain_config(inclusion_blocks=blocks), plan_context(), "public")
        assert made.max_block_number == decode_program(made.calldata).max_block_number == 10 + blocks


def test_names_are_the_same_for_the_same_path_at_the_same_block_and_for_nothing_else() -> None:
    found = opportunity()
    turned = Cycle((Edge(POOL_A, 1, 0), Edge(POOL_B, 0, 1)), (DAI, WETH, DAI))
    swapped = Cycle(tuple(reversed(found.cycle.edges)), found.cycle.tokens)
    others = [
        replace(found, block_hash="0x" + "11" * 32),
        replace(found, chain="fantom"),
        replace(found, cycle=turned),
        replace(found, cycle=swapped),
    ]
    names = [plan_id_of(each) for each in (found, *others)]
    assert len(set(names)) == len(names)
    assert plan_id_of(opportunity(gross_wei=5)) == names[0]
    assert names[0].startswith("ethereum-10-")


def test_a_path_that_the_executor_cannot_run_is_refused_by_name() -> None:
    context = plan_context(families={POOL_A: "uniswap_v2", POOL_B: "curve"})
    with pytest.raises(EncodeError, match="family"):
        plan_of(opportunity(), chain_config(), context, "public")


def test_late_by_time_where_block_numbers_are_the_parents() -> None:
    """Arbitrum: no block number in the program, but the last second of the last block that counts."""
    for blocks, patience_s in ((1, 0), (3, 24)):
        config = chain_config(inclusion_blocks=blocks, late_by="time", block_time_ms=12_000)
        context = plan_context()
        made = plan_of(opportunity(), config, context, "public")
        program = decode_program(made.calldata)
        assert program.max_block_number is None
        assert program.deadline == context.execution_block.timestamp + patience_s
        assert made.max_block_number == 10 + blocks
        plain = decode_program(plan_of(opportunity(), chain_config(), context, "public").calldata)
        assert program.ops == plain.ops

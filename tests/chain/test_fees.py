"""Base fees to the wei, by the rule and by a real node."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ouro.chain.fees import (
    FeeModel,
    FeeParams,
    base_fee_after,
    effective_gas_price,
    highest_base_fee,
    next_base_fee,
)
from ouro.chain.headers import parse_header
from ouro.chain.rpc import connect
from ouro.testnet.node import AnvilNode, NodeConfig
from ouro.types import BlockUpdate, FeeBid


def update(base_fee_wei: int | None, gas_used: int = 0, gas_limit: int = 30_000_000) -> BlockUpdate:
    return BlockUpdate("x", 1, "0x1", "0x0", 0, base_fee_wei, gas_used, gas_limit, (), 0)


# The examples of EIP-1559's reference tests (target 10 M, base fee 1 gwei).
@pytest.mark.parametrize(
    ("gas_used", "expected"),
    [
        (10_000_000, 1_000_000_000),
        (9_000_000, 987_500_000),
        (11_000_000, 1_012_500_000),
        (20_000_000, 1_125_000_000),
    ],
)
def test_rule(gas_used: int, expected: int) -> None:
    assert next_base_fee(update(1_000_000_000, gas_used, 20_000_000)) == expected


def test_rule_at_the_bottom() -> None:
    assert base_fee_after(7, 0, 30_000_000) == 7
    assert base_fee_after(0, 15_000_001, 30_000_000) == 1
    assert base_fee_after(8, 0, 30_000_000, FeeParams(min_base_fee_wei=8)) == 8
    with pytest.raises(ValueError, match="no gas target"):
        base_fee_after(1, 0, 1)
    with pytest.raises(ValueError, match="no base fee"):
        next_base_fee(update(None))


@given(st.integers(0, 10**15), st.integers(10**6, 10**9), st.integers(2, 300), st.integers(2, 8))
def test_no_block_goes_above_the_highest(
    base_fee_wei: int, gas_limit: int, denominator: int, elasticity: int
) -> None:
    params = FeeParams(denominator, elasticity)
    full = base_fee_after(base_fee_wei, gas_limit // elasticity * elasticity, gas_limit, params)
    assert full == highest_base_fee(base_fee_wei, 1, params)
    assert base_fee_after(base_fee_wei, gas_limit // elasticity, gas_limit, params) == base_fee_wei


def test_bids() -> None:
    model = FeeModel()
    assert model.bid_fee(100, 7) == FeeBid(107, 7, legacy=False)
    assert model.bid_fee(80, 7, blocks=2) == FeeBid(97, 7, legacy=False)
    assert FeeModel("legacy").bid_fee(100, 7) == FeeBid(107, 107, legacy=True)
    assert effective_gas_price(FeeBid(107, 7, legacy=False), 95) == 102
    assert effective_gas_price(FeeBid(107, 7, legacy=False), 103) == 107
    assert effective_gas_price(FeeBid(107, 107, legacy=True), 95) == 107
    with pytest.raises(ValueError, match="makes no sense"):
        model.bid_fee(100, -1)


def test_legacy_price_without_base_fee() -> None:
    with pytest.raises(ValueError, match="neither base fee nor gas price"):
        FeeModel("legacy").next_base_fee(update(None))
    assert FeeModel("legacy", gas_price_wei=5).next_base_fee(update(None)) == 5
    assert FeeModel("legacy", gas_price_wei=5).next_base_fee(update(80, 15_000_000)) == 80


@pytest.mark.node
async def test_sixty_blocks_of_a_real_node_to_the_wei(tmp_path: Path) -> None:
    # A small limit, so that plain transfers fill blocks and the fee moves both ways.
    config = NodeConfig(chain_id=9_300_781, gas_limit=210_000)
    with AnvilNode(config, tmp_path) as anvil:
        node = await connect(anvil.ws_url)
        sender = (await node.call("eth_accounts", []))[0]
        await node.call("evm_setAutomine", [False])
        seen = set()
        predicted = None
        for height in range(60):
            for _ in range(height * 7 % 11):
                await node.call("eth_sendTransaction", [{"from": sender, "to": sender, "gas": "0x5208"}])
            await node.call("evm_mine", [])
            header = parse_header(await node.call("eth_getBlockByNumber", ["latest", False]))
            assert predicted in (None, header.base_fee_wei)
            predicted = next_base_fee(header.to_update("x", (), 0))
            seen.add((predicted > (header.base_fee_wei or 0)) - (predicted < (header.base_fee_wei or 0)))
        assert seen >= {-1, 1}
        model = await FeeModel("legacy").refreshed(node)
        assert model.gas_price_wei is not None
        assert model.gas_price_wei > 0
        assert await FeeModel().refreshed(node) == FeeModel()
        await node.close()

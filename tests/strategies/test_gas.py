"""The gas that the optimum counts with, against receipts of the executor's transactions."""

import json
from pathlib import Path

import pytest

from ouro.protocols.uniswap_v2 import SWAP_GAS
from ouro.protocols.uniswap_v3 import BASE_GAS
from ouro.strategies.gas import LEAST_HOP_GAS, TRANSACTION_GAS

RECEIPTS = json.loads((Path(__file__).resolve().parents[2] / "contracts" / "gas.json").read_text())
SHAPES = {
    "V2-V2": (2, 0),
    "V2-V3": (1, 1),
    "V3-V2": (1, 1),
    "V3-V3": (0, 2),
    "3xV2": (3, 0),
    "3xV3": (0, 3),
    "6xV3": (0, 6),
}


@pytest.mark.parametrize("name", SHAPES)
def test_within_a_few_per_cent_of_receipts(name: str) -> None:
    pairs, concentrated = SHAPES[name]
    modelled = TRANSACTION_GAS + pairs * SWAP_GAS + concentrated * BASE_GAS
    assert modelled == pytest.approx(RECEIPTS[name], rel=0.04)


def test_the_bound_is_below_every_receipt() -> None:
    hops = {**{name: sum(shape) for name, shape in SHAPES.items()}, "V4-V4": 2, "5 mixed": 5}
    for name, count in hops.items():
        assert TRANSACTION_GAS + count * LEAST_HOP_GAS <= RECEIPTS[name] * 1.001

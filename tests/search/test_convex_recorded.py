"""Whole recorded markets, worthless tokens and gaps of the recording included, are certified."""

import numpy as np
import pytest
from benchmarks.convex import NATIVE
from benchmarks.convex_market import SNAPSHOTS, load_states, market_of
from benchmarks.graphs import data_folder

from ouro.search.convex import certify, network_of_arrays, solve


@pytest.mark.parametrize("name", ["ethereum 2020-10-03", "ethereum 2023-07-18"])
def test_a_whole_market_is_certified(name: str) -> None:
    folder = data_folder()
    if folder is None or not (folder / SNAPSHOTS[name]).is_file():
        pytest.skip("shared/data is absent")
    states, _ = load_states(folder / SNAPSHOTS[name])
    market = market_of(states)
    network = network_of_arrays(market.arrays, len(market.arrays.tokens))
    prices = np.zeros(network.n_tokens)
    prices[market.arrays.token_index[NATIVE[name.split()[0]]]] = 1.0
    certificate = certify(solve(network, prices))
    assert certificate.stranded == 0
    assert abs(certificate.gap) <= 1e-8
    assert (certificate.net >= 0.0).all()

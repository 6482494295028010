"""Balancer V2 pools: recorded answers, batches against single quotes, pieces against the curve, logs, refusals."""

import gzip
import json
import re
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from eth_abi.abi import encode
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.protocols.balancer_pools import POOL, VAULT, stable_pools, weighted_pools
from tests.protocols.pools import CONTEXT

from ouro.hashing import topic
from ouro.protocols import balancer_v2_vault
from ouro.protocols.balancer_math import ONE, pow_down, pow_up
from ouro.protocols.balancer_v2_stable import BalancerV2Stable
from ouro.protocols.balancer_v2_stable_state import NO_PROVIDER, BalancerV2StableState
from ouro.protocols.balancer_v2_weighted import BalancerV2Weighted
from ouro.protocols.balancer_v2_weighted_state import BalancerV2WeightedState
from ouro.protocols.base import DecodeError, QuoteError, amount_to_rate
from ouro.protocols.quotes import DONE, QuoteBook, from_limbs, to_limb_rows
from ouro.protocols.registry import FAMILIES
from ouro.types import Log

WEIGHTED, STABLE = BalancerV2Weighted(), BalancerV2Stable()
pools = st.one_of(weighted_pools(), stable_pools())


def _read(path: Path) -> Any:
    return json.loads(gzip.decompress(path.read_bytes()))


@pytest.mark.parametrize("name", ["usdc_weth", "weth_bal", "weth_rpl"])
def test_recorded_answers_of_the_mainnet_vault(name: str, shared_data: Path) -> None:
    vectors = shared_data / "open/exact_vectors"
    found = _read(vectors / f"state__1__balancer_weighted_{name}.json.gz")
    n = len(found["tokens"])
    numerator, denominator = found["fee"].split("/")
    state = BalancerV2WeightedState(
        address=found["address"].lower(),
        manager=found["vault"].lower(),
        pool_id=found["pool_id"],
        tokens=tuple(token["address"].lower() for token in found["tokens"]),
        scaling=tuple(10 ** (18 - token["decimals"]) for token in found["tokens"]),
        weights=tuple(found["weights"]),
        cash=tuple(found["balances"]),
        managed=(0,) * n,
        changed_at=(0,) * n,
        swap_fee=int(numerator) * ONE // int(denominator),
        exact_powers=found["pow_version"] != "v1",
    )
    assert WEIGHTED.from_json(WEIGHTED.to_json(state)) == state
    places = {token["symbol"]: k for k, token in enumerate(found["tokens"])}
    (golden,) = vectors.glob(f"golden__balancer__*_{name}_query_swap.json.gz")
    entries = _read(golden)["entries"]
    assert len(entries) == 18
    for key, answer in entries.items():
        _, _, kind, direction, amount = key.split("|")
        token_in, token_out = direction.split("->")
        i, j = places[token_in], places[token_out]
        assert kind == "GIVEN_IN"
        assert WEIGHTED.quote_in(state, i, j, int(amount), CONTEXT).amount_out_wei == answer["value"], key


@settings(max_examples=300)
@given(st.integers(1, 10 * ONE), st.integers(1, 20 * ONE))
def test_powers_enclose_the_true_value(x: int, y: int) -> None:
    import decimal

    try:
        low, high = pow_down(x, y), pow_up(x, y)
    except QuoteError:
        return
    with decimal.localcontext(decimal.Context(prec=80)):
        true = (decimal.Decimal(x) / ONE) ** (decimal.Decimal(y) / ONE) * ONE
        assert low <= true <= high
    assert high - low <= 10 + 5 * high // 10**14


@settings(max_examples=150)
@given(pools, st.data(), st.lists(st.floats(1e-12, 1.5) | st.floats(1e-9, 1e-3), min_size=1, max_size=8))
def test_batches_are_the_single_quotes(state: Any, data: st.DataObject, shares: list[float]) -> None:
    family = FAMILIES[state.family]
    if isinstance(state, BalancerV2StableState):
        state = STABLE.at(state, CONTEXT.timestamp)
    n = len(state.tokens)
    i = data.draw(st.integers(0, n - 1))
    j = (i + data.draw(st.integers(1, n - 1))) % n
    book = QuoteBook(1)
    book.set_pool(family, state, [(0, i, j)])
    amounts = [max(int((state.cash[i] + state.managed[i]) * share), 1) for share in shares]
    outs, statuses = book.quote_many(np.zeros(len(amounts), dtype=np.int32), to_limb_rows(amounts))
    for amount, out, status in zip(amounts, from_limbs(outs), statuses, strict=True):
        try:
            expected = family.quote_in(state, i, j, amount, CONTEXT).amount_out_wei
        except QuoteError:
            assert status != DONE
            continue
        assert (status, out) == (DONE, expected)


@settings(max_examples=150)
@given(pools, st.data(), st.floats(1e-9, 0.25))
def test_exact_out_buys_what_it_says(state: Any, data: st.DataObject, share: float) -> None:
    """What a given output costs buys at least that output; a round trip in many tokens never profits."""
    family = FAMILIES[state.family]
    n = len(state.tokens)
    i = data.draw(st.integers(0, n - 1))
    j = (i + data.draw(st.integers(1, n - 1))) % n
    amount = max(int(state.cash[j] * share), 1)
    try:
        asked = family.quote_out(state, i, j, amount, CONTEXT)
        bought = family.quote_in(state, i, j, asked.amount_in_wei, CONTEXT)
    except QuoteError:
        return
    assert bought.amount_out_wei >= amount - _noise(state, j, amount)
    assert asked.next_state.cash[j] == state.cash[j] - amount
    assert asked.next_state.changed_at[i] == CONTEXT.number


def _noise(state: Any, j: int, amount: int) -> int:
    """Weighted pools add an error margin to a power on both ways; a stable curve is solved to a unit of 18
    decimals, which a balance of another size and the rates multiply."""
    if isinstance(state, BalancerV2WeightedState):
        return 2 + (state.cash[j] + state.managed[j]) // 10**13
    return 10**6


@settings(max_examples=100)
@given(pools, st.data(), st.floats(1e-6, 0.29))
def test_pieces_are_near_the_exact_quote(state: Any, data: st.DataObject, share: float) -> None:
    """Beyond what whole units of a coarse token allow, pieces and curve agree between the knots too."""
    family = FAMILIES[state.family]
    n = len(state.tokens)
    i = data.draw(st.integers(0, n - 1))
    j = (i + data.draw(st.integers(1, n - 1))) % n
    amount = int(state.cash[i] * share)
    try:
        exact = family.quote_in(state, i, j, amount, CONTEXT).amount_out_wei
    except QuoteError:
        return
    if min(amount, exact) < 10**9:
        return
    rows = family.segments(state, i, j, CONTEXT)
    assert (rows[:-1, 1] / rows[:-1, 0] >= rows[1:, 1] / rows[1:, 0] * (1 - 1e-6)).all()
    left, out = float(amount), 0.0
    for r_in, r_out, gamma, cap in rows.tolist():
        taken = min(left, cap)
        out += gamma * taken * r_out / (r_in + gamma * taken)
        left -= taken
    assert out == pytest.approx(exact, rel=1e-3)


@pytest.mark.parametrize("percent", [1, 20, 35, 80, 99])
@pytest.mark.parametrize("gap", [1e-4, 1e-3, 1e-2, 0.1])
def test_weighted_pieces_lead_to_the_optimum(percent: int, gap: float) -> None:
    """Money left on the table by the pieces' optimum against an outside price, relative to the best: 1e-8."""
    tokens = ("0x" + "1" * 40, "0x" + "2" * 40)
    weights = (percent * ONE // 100, ONE - percent * ONE // 100)
    balances = (10**28, 3 * 10**27)
    state = BalancerV2WeightedState(
        POOL, VAULT, POOL + "0002" + "0" * 20, tokens, (1, 1), weights, balances, (0, 0), (0, 0), 3 * 10**15
    )
    rate = WEIGHTED.spot_rate(state, 0, 1) * (1 - gap)
    price = int(rate * 10**30)

    def profit(amount: int) -> int:
        return WEIGHTED.quote_in(state, 0, 1, amount, CONTEXT).amount_out_wei * 10**30 - price * amount

    found = int(amount_to_rate(WEIGHTED.segments(state, 0, 1, CONTEXT), rate))
    low, high = found - found // 50, found + found // 50
    high = min(high, WEIGHTED.limits(state, 0, 1, CONTEXT).max_in_wei)
    for _ in range(60):
        third = (high - low) // 3
        low, high = (low + third, high) if profit(low + third) < profit(high - third) else (low, high - third)
    best = profit((low + high) // 2)
    assert best > 0
    step = balances[1] // ONE * 10**30  # the contract's power has 18 decimals: its curve is a staircase
    assert profit(min(found, high)) >= best - best // 10**8 - 4 * step


def _log(emitter: str, signature: str, indexed: list[int], types: list[str], values: list[Any]) -> Log:
    words = tuple("0x" + (value & (1 << 256) - 1).to_bytes(32).hex() for value in indexed)
    return Log(emitter, (topic(signature), *words), "0x" + encode(types, values).hex(), 9, "0x", "0x", 0, 0)


def _small(cash: tuple[int, int] = (1000, 2000)) -> BalancerV2WeightedState:
    tokens = ("0x" + "1" * 40, "0x" + "2" * 40)
    half = ONE // 2
    return BalancerV2WeightedState(
        POOL, VAULT, POOL + "0002" + "0" * 20, tokens, (1, 1), (half, half), cash, (0, 0), (0, 0), 10**15
    )


def _after(state: BalancerV2WeightedState, log: Log) -> BalancerV2WeightedState:
    delta = WEIGHTED.decode(state, log, 1)
    assert delta is not None
    return WEIGHTED.apply(state, delta)


def test_asset_managers_move_cash_and_report_gains() -> None:
    state = _small()
    signature = "PoolBalanceManaged(bytes32,address,address,int256,int256)"
    indexed = [int(state.pool_id, 16), 7, int(state.tokens[1], 16)]
    taken = _log(VAULT, signature, indexed, ["int256", "int256"], [-500, 500])
    after = _after(state, taken)
    assert (after.cash, after.managed, after.changed_at) == ((1000, 1500), (0, 500), (0, 0))
    gain = _log(VAULT, signature, indexed, ["int256", "int256"], [0, 25])
    after = _after(after, gain)
    assert (after.cash, after.managed, after.changed_at) == ((1000, 1500), (0, 525), (9, 9))
    lost = _log(VAULT, signature, indexed, ["int256", "int256"], [0, -526])
    with pytest.raises(DecodeError, match="manage -1"):
        _after(after, lost)
    empty = msgspec.structs.replace(state, cash=(1000, 10), managed=(0, 1990))
    with pytest.raises(QuoteError, match="cash"):
        WEIGHTED.quote_in(empty, 0, 1, 100, CONTEXT)
    limits = WEIGHTED.limits(empty, 0, 1, CONTEXT)
    assert 0 < limits.max_out_wei <= 10


def test_logs_that_contradict_the_pool_are_refused() -> None:
    state = _small()
    swap = "Swap(bytes32,address,address,uint256,uint256)"
    pool, first, second = int(state.pool_id, 16), int(state.tokens[0], 16), int(state.tokens[1], 16)
    words = ["uint256", "uint256"]
    with pytest.raises(DecodeError, match="none of its tokens"):
        WEIGHTED.decode(state, _log(VAULT, swap, [pool, first, 7], words, [1, 1]), 1)
    with pytest.raises(DecodeError, match="hold -1"):
        _after(state, _log(VAULT, swap, [pool, first, second], words, [1, 2001]))
    assert WEIGHTED.decode(state, _log(VAULT, swap, [pool + 1, first, second], words, [1, 1]), 1) is None
    changed = "PoolBalanceChanged(bytes32,address,address[],int256[],uint256[])"
    types = ["address[]", "int256[]", "uint256[]"]
    join = _log(VAULT, changed, [pool, 7], types, [list(state.tokens), [100, -50], [1, 2]])
    assert _after(state, join).cash == (1099, 1948)
    other = _log(VAULT, changed, [pool, 7], types, [list(state.tokens[::-1]), [100, -50], [1, 2]])
    with pytest.raises(DecodeError, match="other tokens"):
        WEIGHTED.decode(state, other, 1)
    short = _log(VAULT, changed, [pool, 7], types, [list(state.tokens), [100], [1, 2, 3]])
    with pytest.raises(DecodeError, match="three lists"):
        WEIGHTED.decode(state, short, 1)
    with pytest.raises(DecodeError, match="was given to"):
        WEIGHTED.decode(state, _log("0x" + "9" * 40, swap, [pool, first, second], words, [1, 1]), 1)
    fee = _log(POOL, "SwapFeePercentageChanged(uint256)", [], ["uint256"], [ONE])
    with pytest.raises(DecodeError, match="swapFeePercentage"):
        WEIGHTED.decode(state, fee, 1)


def test_a_pause_ends_with_its_buffer_period() -> None:
    state = msgspec.structs.replace(_small((10**20, 10**20)), paused=True, pause_ends=CONTEXT.timestamp)
    with pytest.raises(QuoteError, match="paused"):
        WEIGHTED.quote_in(state, 0, 1, 1000, CONTEXT)
    later = msgspec.structs.replace(state, pause_ends=CONTEXT.timestamp - 1)
    assert WEIGHTED.quote_in(later, 0, 1, 1000, CONTEXT).amount_out_wei


@settings(max_examples=40)
@given(stable_pools())
def test_an_expired_rate_without_an_answer_is_refused(state: BalancerV2StableState) -> None:
    n = len(state.tokens)
    late = [
        k for k in range(n) if state.rate_providers[k] != NO_PROVIDER and state.rate_expires[k] < CONTEXT.timestamp
    ]
    silent = msgspec.structs.replace(state, provider_rates=(0,) * n)
    if not late:
        assert STABLE.at(silent, CONTEXT.timestamp).rates == state.rates
        return
    with pytest.raises(QuoteError, match="expired"):
        STABLE.quote_in(silent, 0, 1, 10**6, CONTEXT)
    assert not len(STABLE.segments(silent, 0, 1, CONTEXT))
    fresh = STABLE.at(state, CONTEXT.timestamp)
    assert all(fresh.rates[k] == state.provider_rates[k] for k in late)
    assert balancer_v2_vault.stopped(fresh, CONTEXT.timestamp) is False


def test_states_from_files_are_checked() -> None:
    value = WEIGHTED.to_json(_small())
    for change, field in (
        ({"pool_id": "0x" + "9" * 64}, "pool_id"),
        ({"weights": [str(ONE), str(ONE)]}, "weights"),
        ({"scaling": ["3", "1"]}, "scaling"),
        ({"tokens": value["tokens"][::-1]}, "tokens"),
        ({"cash": ["1"]}, "cash"),
        ({"managed": [str((1 << 112) - 1), "0"]}, "managed"),
        ({"swap_fee": str(ONE)}, "swap_fee"),
    ):
        with pytest.raises(ValueError, match=re.escape(field)):
            WEIGHTED.from_json({**value, **change})

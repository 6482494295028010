"""Pools of Balancer's third Vault: what holds for any state. The contract itself is asked by `make balancer-v3`."""

import json
from typing import Any

import msgspec
import pytest
from eth_abi.abi import encode
from hypothesis import given, settings
from hypothesis import strategies as st

from ouro.hashing import selector
from ouro.protocols.balancer_math import ONE
from ouro.protocols.balancer_v3_family import SWAP_TOPIC
from ouro.protocols.balancer_v3_state import BalancerV3StableState, BalancerV3WeightedState
from ouro.protocols.balancer_v3_weighted import BalancerV3Weighted
from ouro.protocols.base import DecodeError, QuoteError, Source
from ouro.protocols.creation import NewPool
from ouro.protocols.reads import Garbage, Read, play
from ouro.protocols.registry import FAMILIES
from ouro.types import BlockContext, Hop, Log

POOL, VAULT = "0x" + "b3" * 20, "0x" + "ba" * 20
CONTEXT = BlockContext(100, 1_800_000_000, 0)
WEIGHTED: Any = BalancerV3Weighted()


def _shared(draw: st.DrawFn, n: int, wholes: list[int]) -> dict[str, Any]:
    decimals = [draw(st.sampled_from([18, 18, 6, 8])) for _ in range(n)]
    scaling = [10 ** (18 - places) for places in decimals]
    balances = tuple(max(whole // unit, 10**6) for whole, unit in zip(wholes, scaling, strict=True))
    rates = tuple(draw(st.just(ONE) | st.integers(ONE // 2, 2 * ONE)) for _ in range(n))
    risen = draw(st.integers(0, 10**15))
    lives = (b * s * r // ONE for b, s, r in zip(balances, scaling, rates, strict=True))
    return {
        "address": POOL,
        "manager": VAULT,
        "tokens": tuple("0x" + f"{k + 1:040x}" for k in range(n)),
        "scaling": tuple(scaling),
        "balances": balances,
        "last_live": tuple(live - live * risen // ONE for live in lives),
        "rates": rates,
        "pays_yield": tuple(draw(st.booleans()) for _ in range(n)),
        "swap_fee": draw(st.integers(10, 10**6)) * 10**11,
        "aggregate_swap_fee": draw(st.sampled_from([0, ONE // 2, ONE // 10])),
        "aggregate_yield_fee": draw(st.sampled_from([0, ONE // 10])),
        "least_trade": 10**6,
        "stopped": False,
        "rescued": draw(st.booleans()),
    }


@st.composite
def weighted_pools(draw: st.DrawFn) -> BalancerV3WeightedState:
    n = draw(st.sampled_from([2, 2, 3, 8]))
    parts = [draw(st.integers(1, 10)) for _ in range(n)]
    weights = [ONE * part // sum(parts) for part in parts]
    weights[0] += ONE - sum(weights)
    wholes = [draw(st.integers(10**18, 10**27)) for _ in range(n)]
    shared = _shared(draw, n, wholes)
    least = tuple(max(10**6, unit) for unit in shared["scaling"])
    return BalancerV3WeightedState(weights=tuple(weights), least_balances=least, **shared)


@st.composite
def stable_pools(draw: st.DrawFn) -> BalancerV3StableState:
    n = draw(st.integers(2, 5))
    depth = draw(st.integers(10**21, 10**27))
    wholes = [depth * draw(st.integers(1, 100)) // 10 for _ in range(n)]
    amps = [draw(st.integers(1, 50_000)) * 1000 for _ in range(2)]
    start = CONTEXT.timestamp - draw(st.integers(0, 90_000))
    end = start + draw(st.integers(0, 10**6))
    return BalancerV3StableState(
        amp_start=amps[0], amp_end=amps[1], amp_start_time=start, amp_end_time=end, **_shared(draw, n, wholes)
    )


either = weighted_pools() | stable_pools()


def test_every_field_has_a_source() -> None:
    for kind in (BalancerV3WeightedState, BalancerV3StableState):
        family = FAMILIES[kind.family]
        assert set(family.sources) == set(kind.__struct_fields__)
        assert all(isinstance(source, Source) for source in family.sources.values())


@settings(max_examples=40)
@given(either)
def test_json_round_trip_and_only_its_own(state: Any) -> None:
    value = json.loads(json.dumps(FAMILIES[state.family].to_json(state)))
    assert FAMILIES[state.family].from_json(value) == state
    for name, family in FAMILIES.items():
        if name != state.family:
            with pytest.raises(ValueError, match="family"):
                family.from_json(value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tokens", ["0x" + "11" * 20]), ("scaling", ["3", "1"]), ("balances", ["1"]), ("rates", ["0", "1"]),
        ("pays_yield", [1, 0]), ("swap_fee", str(ONE)), ("weights", [str(ONE), str(ONE)]), ("stopped", "no"),
        ("least_balances", ["-1", "1"]), ("last_live", [str(1 << 128), "1"]), ("manager", "0x12"),
    ],
)  # fmt: skip
def test_hostile_states_are_refused(field: str, value: Any) -> None:
    good = WEIGHTED.to_json(pool())
    assert WEIGHTED.from_json(good) == pool()
    with pytest.raises(ValueError, match=field):
        WEIGHTED.from_json({**good, field: value})


def pool(**changes: Any) -> BalancerV3WeightedState:
    made = BalancerV3WeightedState(
        address=POOL, manager=VAULT, tokens=("0x" + "11" * 20, "0x" + "22" * 20), scaling=(1, 1),
        balances=(10**24, 10**24), last_live=(10**24, 10**24), rates=(ONE, ONE), pays_yield=(False, False),
        swap_fee=10**15, aggregate_swap_fee=ONE // 2, aggregate_yield_fee=0, least_trade=10**6, stopped=False,
        rescued=False, weights=(ONE // 2, ONE // 2), least_balances=(10**6, 10**6),
    )  # fmt: skip
    return msgspec.structs.replace(made, **changes)


@settings(max_examples=80)
@given(either, st.booleans(), st.integers(1, 10**24))
def test_more_never_buys_less_and_nothing_is_free(state: Any, forward: bool, amount: int) -> None:
    family = FAMILIES[state.family]
    i, j = (0, 1) if forward else (1, 0)
    try:
        there = family.quote_in(state, i, j, amount, CONTEXT)
        more = family.quote_in(state, i, j, amount + amount // 3 + 1, CONTEXT)
        back = family.quote_in(there.next_state, j, i, there.amount_out_wei, CONTEXT)
    except QuoteError:
        return
    slack = 0 if state.family == "balancer_v3_weighted" else 10**6  # the iteration's last units
    assert more.amount_out_wei >= there.amount_out_wei - slack
    assert back.amount_out_wei <= amount + slack


@settings(max_examples=40)
@given(either, st.booleans())
def test_limits_are_what_can_be_traded(state: Any, forward: bool) -> None:
    family = FAMILIES[state.family]
    i, j = (0, 1) if forward else (1, 0)
    limits = family.limits(state, i, j, CONTEXT)
    if limits.max_out_wei:
        assert family.quote_in(state, i, j, limits.max_in_wei, CONTEXT).amount_out_wei == limits.max_out_wei


@settings(max_examples=40)
@given(either, st.booleans(), st.floats(0.001, 0.99))
def test_segments_are_near_the_exact_quote(state: Any, forward: bool, share: float) -> None:
    family = FAMILIES[state.family]
    i, j = (0, 1) if forward else (1, 0)
    amount = int(family.limits(state, i, j, CONTEXT).max_in_wei * share)
    try:
        exact = family.quote_in(state, i, j, amount, CONTEXT).amount_out_wei
    except QuoteError:
        return
    if exact < 10**6:
        return
    left, out = float(amount), 0.0
    for r_in, r_out, gamma, cap in family.segments(state, i, j, CONTEXT).tolist():
        taken = min(left, cap)
        out += gamma * taken * r_out / (r_in + gamma * taken)
        left -= taken
    assert out == pytest.approx(exact, rel=2e-2)


def test_the_protocols_share_leaves_the_pool() -> None:
    amount = 10**21
    quote = WEIGHTED.quote_in(pool(), 0, 1, amount, CONTEXT)
    fee = amount // 1000
    assert quote.next_state.balances == (10**24 + amount - fee // 2, 10**24 - quote.amount_out_wei)
    rescued = WEIGHTED.quote_in(pool(rescued=True), 0, 1, amount, CONTEXT)
    assert rescued.amount_out_wei == quote.amount_out_wei
    assert rescued.next_state.balances[0] == 10**24 + amount


def test_refusals_say_why() -> None:
    for changes, amount, reason in (
        ({"stopped": True}, 10**18, "paused"),
        ({}, 10, "nothing below"),
        ({}, 0, "positive"),
        ({}, 4 * 10**23, "30 %"),
        ({"least_balances": (10**6, 10**24 - 5)}, 10**18, "less of the output"),
    ):
        with pytest.raises(QuoteError, match=reason):
            WEIGHTED.quote_in(pool(**changes), 0, 1, amount, CONTEXT)
    with pytest.raises(QuoteError, match="tokens 0 to 1"):
        WEIGHTED.quote_in(pool(), 0, 2, 10**18, CONTEXT)


def swap_log(state: Any, amount_in: int, amount_out: int, fee: int, **changes: Any) -> Log:
    topics = (SWAP_TOPIC, *("0x" + one[2:].rjust(64, "0") for one in (state.address, *state.tokens[:2])))
    data = "0x" + encode(["uint256"] * 4, [amount_in, amount_out, state.swap_fee, fee]).hex()
    fields = {"address": VAULT, "topics": topics, "data": data, **changes}
    return Log(**fields, block_number=1, block_hash="0x", tx_hash="0x", tx_index=0, log_index=0)


def test_logs_lead_to_the_quotes_state() -> None:
    state, amount = pool(), 10**21
    quote = WEIGHTED.quote_in(state, 0, 1, amount, CONTEXT)
    log = swap_log(state, amount, quote.amount_out_wei, amount // 1000)
    assert WEIGHTED.pool_named(log) == POOL
    assert WEIGHTED.apply(state, WEIGHTED.decode(state, log, 0)) == quote.next_state
    hop = Hop(POOL, state.family, state.tokens[0], state.tokens[1], 0, 1, amount, quote.amount_out_wei)
    assert WEIGHTED.swapped(hop, log) == (amount, quote.amount_out_wei)
    for bad in (swap_log(state, amount, 2 * 10**24, 0), swap_log(state, 1 << 130, 1, 0)):
        with pytest.raises(DecodeError):
            WEIGHTED.apply(state, WEIGHTED.decode(state, bad, 0))
    with pytest.raises(DecodeError, match="was given"):
        WEIGHTED.decode(state, swap_log(state, 1, 1, 0, address="0x" + "77" * 20), 0)


def contract(state: BalancerV3WeightedState, **answers: Any) -> Any:
    """What a pool and its Vault answer; ``answers`` replaces some, by function."""
    tokens = list(state.tokens)
    n = len(tokens)
    infos = [(0, "0x" + "00" * 20, False)] * n
    good: dict[str, bytes] = {
        "getVault()": encode(["address"], [VAULT]),
        "getNormalizedWeights()": encode(["uint256[]"], [state.weights]),
        "getMinTokenBalances()": encode(["uint256[]"], [state.least_balances]),
        "getPoolTokenInfo(address)": encode(
            ["address[]", "(uint8,address,bool)[]", "uint256[]", "uint256[]"],
            [tokens, infos, state.balances, state.last_live],
        ),
        "getPoolConfig(address)": encode(
            ["uint256"] * 13, [0] * 4 + [state.swap_fee, state.aggregate_swap_fee, 0, 0, 0, 1, 1, 0, 0]
        ),
        "getHooksConfig(address)": encode(["uint256"] * 11, [0] * 11),
        "getPoolTokenRates(address)": encode(["uint256[]"] * 2, [state.scaling, state.rates]),
        "isPoolPaused(address)": encode(["bool"], [False]),
        "isVaultPaused()": encode(["bool"], [False]),
        "getMinimumTradeAmount()": encode(["uint256"], [state.least_trade]),
    }
    table = {selector(name): answers.get(name.partition("(")[0], value) for name, value in good.items()}

    def answer(ask: Any) -> bytes | None:
        assert isinstance(ask, Read)
        if ask.data[:4] in table:
            return table[ask.data[:4]]
        if "onSwap" in answers:
            return answers["onSwap"]
        words = [int.from_bytes(ask.data[k : k + 32]) for k in range(4, len(ask.data) - 31, 32)]
        net, i, j = words[2], words[4], words[5]
        return WEIGHTED.curve(state, 0).out_given_in(state.last_live, i, j, net).to_bytes(32)

    return answer


def test_a_pool_is_read_and_its_curve_is_tried() -> None:
    state = pool()
    new = NewPool("dex", state.family, POOL, (), 0)
    assert play(WEIGHTED.read(new), contract(state)) == state
    hooked = encode(["uint256"] * 11, [0, 0, 0, 0, 1, *[0] * 5, 7])
    lists = encode(["uint256[]"], [[ONE // 2, ONE // 4, ONE // 4]])
    for name, answer, reason in (
        ("onSwap", (1).to_bytes(32), "its curve is another"),
        ("onSwap", None, "its curve is another"),
        ("getHooksConfig", hooked, "has a say in swaps"),
        ("getPoolConfig", encode(["uint256"] * 13, [0] * 13), "does not know the pool"),
        ("getNormalizedWeights", lists, "3 entries for 2 tokens"),
        ("getMinTokenBalances", None, "reverts"),
        ("getPoolTokenInfo", b"\xff" * 320, "short lists"),
        ("getPoolTokenRates", encode(["uint256[]"] * 2, [[1, 1], [0, ONE]]), "are none"),
        ("getPoolTokenRates", encode(["uint256[]"] * 2, [[1, 1], [ONE] * 3]), "different lengths"),
        ("getVault", b"", "0 bytes"),
    ):
        with pytest.raises(Garbage, match=reason):
            play(WEIGHTED.read(new), contract(state, **{name: answer}))

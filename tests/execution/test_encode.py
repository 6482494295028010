"""Plans as programs, and what can't be one."""

from dataclasses import replace

import pytest
from eth_abi.abi import encode
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ouro.execution.encode import (
    MAX_AMOUNT_WEI,
    Bribe,
    EncodeError,
    Kind,
    Op,
    PoolKey,
    Program,
    classify_revert,
    decode_program,
    encode_plan,
    encode_program,
    operations,
)
from ouro.execution.program import MAX_BLOCK_NUMBER, MAX_DEADLINE, NATIVE, Dialect
from ouro.hashing import selector
from ouro.types import Hop


def address(number: int) -> str:
    return "0x" + number.to_bytes(20, "big").hex()


def cycle(families: tuple[str, ...], amounts: tuple[int, ...]) -> tuple[Hop, ...]:
    n = len(families)
    return tuple(
        Hop(
            address(100 + k),
            family,
            address(1 + k),
            address(1 + (k + 1) % n),
            k % 2,
            1 - k % 2,
            amounts[k],
            amounts[k + 1],
        )
        for k, family in enumerate(families)
    )


addresses = st.binary(min_size=20, max_size=20).filter(any).map(lambda raw: "0x" + raw.hex())
amounts = st.integers(1, MAX_AMOUNT_WEI)
NO_POOL = (Kind.TRANSFER, Kind.SEND, Kind.RECEIVED, Kind.V4_SWAP, Kind.TAKE, Kind.SETTLE, Kind.SYNC, Kind.SETTLED)
RECIPIENT = (
    Kind.TRANSFER, Kind.V2_SWAP, Kind.V3_SWAP, Kind.SEND, Kind.V2_IN, Kind.TAKE,
    Kind.VAULT, Kind.BINS, Kind.ERC4626,
)  # fmt: skip
DIRECTION = (
    Kind.V2_SWAP, Kind.V2_FLASH, Kind.V3_SWAP, Kind.V2_IN, Kind.V4_SWAP, Kind.GUARD_V2, Kind.LOAN_V3, Kind.GUARD_V3,
    Kind.UNLOCK, Kind.TAKE, Kind.BINS,
)  # fmt: skip


@st.composite
def keys(draw: st.DrawFn) -> PoolKey:
    low, high = sorted(draw(st.lists(addresses, min_size=2, max_size=2, unique=True)))
    hooks = draw(st.just(NATIVE) | addresses)
    low = draw(st.sampled_from([low, NATIVE]))
    return PoolKey(low, high, draw(st.integers(0, 2**24 - 1)), draw(st.integers(1, 32_767)), hooks)


@st.composite
def exchanges(draw: st.DrawFn, listed: tuple[str, ...]) -> Op:
    dialect = draw(st.sampled_from(Dialect))
    i, j = draw(st.lists(st.integers(0, 15), min_size=2, max_size=2, unique=True))
    token = None if dialect.is_prepaid else draw(st.sampled_from(listed))
    to = draw(st.none() | addresses) if dialect.names_receiver else None
    return Op(Kind.EXCHANGE, draw(addresses), False, draw(amounts), to, token, dialect=dialect, coins=(i, j))


@st.composite
def vault_swaps(draw: st.DrawFn, kind: Kind, erc20: st.SearchStrategy[str]) -> Op:
    pool, out = draw(addresses), draw(addresses)
    if kind is Kind.VAULT_SWAP:
        return Op(kind, pool, False, draw(amounts), None, draw(addresses), token_out=out)
    pool_id = "0x" + draw(st.binary(min_size=32, max_size=32).filter(any)).hex()
    return Op(
        kind, pool, False, draw(amounts), draw(st.none() | addresses), draw(erc20), pool_id=pool_id, token_out=out
    )


@st.composite
def ops(draw: st.DrawFn, listed: tuple[str, ...]) -> Op:
    """Any single operation that the encoder takes; amounts fixed, so that no register is asked for."""
    kind = draw(st.sampled_from(Kind))
    erc20 = st.sampled_from([token for token in listed if token != NATIVE])
    if kind is Kind.EXCHANGE:
        return draw(exchanges(listed))
    if kind in (Kind.VAULT, Kind.VAULT_SWAP):
        return draw(vault_swaps(kind, erc20))
    if kind in (Kind.ERC4626, Kind.SHARES):
        token, burns = draw(erc20), draw(st.booleans())
        to = draw(st.none() | addresses) if kind is Kind.ERC4626 else None
        return Op(kind, token if burns else draw(addresses), burns, draw(amounts), to, token)
    if kind is Kind.SETTLE and draw(st.booleans()):
        return Op(kind, None, True, draw(amounts), None, draw(erc20))
    token = None
    if kind in (Kind.TAKE, Kind.SYNC):
        token = draw(addresses | st.just(NATIVE))
    elif kind in (Kind.SETTLE, Kind.RECEIVED):
        token = draw(st.sampled_from(listed))
    elif kind in (Kind.SEND, Kind.LOAN_BALANCER, Kind.LOAN_AAVE, Kind.LOAN_MORPHO, Kind.WRAP, Kind.UNWRAP):
        token = draw(erc20)
    fee = {Kind.V2_IN: st.integers(0, 999_999), Kind.LOAN_AAVE: st.integers(0, MAX_AMOUNT_WEI)}
    return Op(
        kind,
        None if kind in (*NO_POOL, Kind.WRAP, Kind.UNWRAP) else draw(addresses),
        kind in DIRECTION and draw(st.booleans()),
        0 if kind in (Kind.UNLOCK, Kind.SYNC, Kind.SETTLED, Kind.BINS) else draw(amounts),
        draw(st.none() | addresses) if kind in RECIPIENT else None,
        token,
        draw(fee.get(kind, st.just(0))),
        draw(keys()) if kind is Kind.V4_SWAP else None,
    )


@st.composite
def programs(draw: st.DrawFn) -> Program:
    """Header with every mixture of guards, and one to nine operations."""
    profit, *more = draw(st.lists(addresses, min_size=1, max_size=5, unique=True))
    listed = (profit, NATIVE, *more)
    bribes = st.builds(Bribe, st.integers(0, 10**6), st.none() | addresses, st.booleans())
    return Program(
        draw(st.none() | st.integers(1, MAX_BLOCK_NUMBER)),
        draw(st.integers(0, MAX_AMOUNT_WEI)),
        profit,
        tuple(draw(st.lists(ops(listed), min_size=1, max_size=9))),
        draw(st.none() | st.integers(1, MAX_DEADLINE)),
        draw(st.none() | st.binary(min_size=8, max_size=8)),
        draw(st.none() | bribes),
        listed[1:],
        draw(st.booleans()),
    )


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(programs())
def test_any_program_survives_the_round_trip(program: Program) -> None:
    assert decode_program(encode_program(program)) == program


@given(
    st.lists(st.sampled_from(["uniswap_v2", "uniswap_v3"]), min_size=2, max_size=6),
    st.lists(amounts, min_size=7, max_size=7),
)
def test_every_cycle_pays_each_pool_once(families: list[str], values: list[int]) -> None:
    """Follow the money: each hop is one operation, and what it puts out goes to the next pool, in the end to us."""
    hops = cycle(tuple(families), tuple(values))
    made = operations(hops)
    assert decode_program(encode_program(Program(1, 0, hops[0].token_in, made))).ops == made
    by_pool = {op.pool: op for op in made if op.pool}
    assert len(by_pool) == len(hops) == len(made) - 1
    for hop, after in zip(hops, (*hops[1:], None), strict=True):
        assert by_pool[hop.pool].to == (after.pool if after else None)
        expected = hop.amount_in_wei if hop.family == "uniswap_v3" else hop.amount_out_wei
        assert by_pool[hop.pool].amount_wei == expected
        assert by_pool[hop.pool].zero_for_one == (hop.i == 0)
    (payment,) = [op for op in made if op.kind is Kind.TRANSFER]
    assert (payment.to, payment.amount_wei) == (hops[0].pool, hops[0].amount_in_wei)


@given(st.binary(max_size=200))
def test_foreign_bytes_are_refused_or_decoded(data: bytes) -> None:
    try:
        program = decode_program(data)
    except EncodeError:
        return
    assert len(program.ops) * 15 <= len(data)


def test_two_pairs_take_124_bytes() -> None:
    hops = cycle(("uniswap_v2", "uniswap_v2"), (10, 20, 30))
    assert len(encode_plan(hops, hops[0].token_in, 20, 7)) == 124


GOOD = cycle(("uniswap_v2", "uniswap_v3", "uniswap_v2"), (10, 20, 30, 40))


@pytest.mark.parametrize(
    ("hop", "change", "field"),
    [
        (1, {"amount_in_wei": 21}, "hops[0].amount_out_wei"),
        (2, {"amount_out_wei": 0}, "hops[2].amount_out_wei"),
        (0, {"amount_in_wei": -1}, "hops[0].amount_in_wei"),
        (0, {"amount_in_wei": 1 << 112}, "hops[0].amount_in_wei"),
        (1, {"token_in": address(9)}, "hops[0].token_out"),
        (2, {"token_out": address(9)}, "hops[2].token_out"),
        (2, {"pool": address(100)}, "hops[2].pool"),
        (1, {"family": "curve"}, "hops[1].family"),
        (1, {"i": 1, "j": 1}, "hops[1].i"),
        (1, {"i": 2, "j": 0}, "hops[1].i"),
        (1, {"pool": "0x12"}, "hops[1].pool"),
        (1, {"pool": "0x" + "00" * 20}, "hops[1].pool"),
        (1, {"pool": "0x" + "zz" * 20}, "hops[1].pool"),
    ],
)
def test_impossible_hops_name_the_field(hop: int, change: dict[str, object], field: str) -> None:
    hops = [replace(h, **change) if k == hop else h for k, h in enumerate(GOOD)]
    with pytest.raises(EncodeError) as caught:
        encode_plan(hops, GOOD[0].token_in, 1, 5)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("hops", "token", "floor", "block", "field"),
    [
        (GOOD[:1], address(1), 1, 5, "hops"),
        (cycle(("uniswap_v2",) * 7, tuple(range(1, 9))), address(1), 1, 5, "hops"),
        (GOOD, address(2), 1, 5, "profit_token"),
        (GOOD, address(1), 31, 5, "min_profit_wei"),
        (GOOD, address(1), -1, 5, "min_profit_wei"),
        (GOOD, address(1), 1, 0, "max_block_number"),
        (GOOD, address(1), 1, 1 << 40, "max_block_number"),
    ],
)
def test_impossible_plans_name_the_field(
    hops: tuple[Hop, ...], token: str, floor: int, block: int, field: str
) -> None:
    with pytest.raises(EncodeError) as caught:
        encode_plan(hops, token, floor, block)
    assert caught.value.field == field


def error_string(text: str) -> bytes:
    return selector("Error(string)") + encode(["string"], [text])


@pytest.mark.parametrize(
    ("data", "kind", "reason"),
    [
        (selector("Late()"), "competitive", "Late"),
        (
            selector("Shortfall(uint256,uint256)") + encode(["uint256"] * 2, [3, 9]),
            "competitive",
            "Shortfall(got=3, want=9)",
        ),
        (error_string("UniswapV2: K"), "competitive", "UniswapV2: K"),
        (error_string("Pancake: K"), "competitive", "Pancake: K"),
        (error_string("UniswapV2: INSUFFICIENT_LIQUIDITY"), "competitive", "UniswapV2: INSUFFICIENT_LIQUIDITY"),
        (error_string("IIA"), "competitive", "IIA"),
        (error_string("UniswapV2: LOCKED"), "bug", "UniswapV2: LOCKED"),
        (error_string("OK"), "bug", "OK"),
        (selector("BadCallback()"), "bug", "BadCallback"),
        (selector("Panic(uint256)") + encode(["uint256"], [17]), "bug", "Panic(0x11)"),
        (b"", "bug", "no reason given"),
        (b"\x01\x02\x03", "bug", "0x010203"),
        (selector("Error(string)") + b"\xff" * 40, "bug", None),
        (selector("Shortfall(uint256,uint256)"), "bug", None),
    ],
)
def test_reverts_are_told_apart(data: bytes, kind: str, reason: str | None) -> None:
    got = classify_revert(data)
    assert got[0] == kind
    assert reason is None or got[1] == reason


@given(st.binary(max_size=300))
def test_no_payload_breaks_the_classifier(data: bytes) -> None:
    kind, reason = classify_revert(data)
    assert kind in ("competitive", "bug")
    assert reason.isascii()

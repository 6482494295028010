"""Executed amounts of hops whose pools tell them in several events, or in none."""

import random

import pytest
from execution_examples import EXECUTOR, POOL_A, POOL_B, STRANGER, v2_swap, words
from hypothesis import given
from hypothesis import strategies as st
from tests.protocols.pools import CONTEXT
from tests.protocols.test_liquidity_book import sample as book

from ouro.execution.swaplogs import realised
from ouro.hashing import topic
from ouro.protocols.liquidity_book import LiquidityBook
from ouro.protocols.liquidity_book_state import SWAP
from ouro.types import Hop, Log

BASE, WRAPPER, OTHER = ("0x" + digits * 20 for digits in ("d1", "e2", "f3"))
NOBODY = "0x" + "00" * 20
TRANSFER = topic("Transfer(address,address,uint256)")


def _moved(token: str, source: str, to: str, amount: int) -> Log:
    ends = tuple("0x" + end[2:].rjust(64, "0") for end in (source, to))
    return Log(token, (TRANSFER, *ends), words(amount), 1, "0x", "0x", 0, 0)


def _wrap(amount_in: int, amount_out: int) -> Hop:
    return Hop(WRAPPER, "wrapped_staked", BASE, WRAPPER, 0, 1, amount_in, amount_out)


def _unwrap(amount_in: int, amount_out: int) -> Hop:
    return Hop(WRAPPER, "wrapped_staked", WRAPPER, BASE, 1, 0, amount_in, amount_out)


def _pair(pool: str, token_in: str, token_out: str) -> Hop:
    return Hop(pool, "uniswap_v2", token_in, token_out, 0, 1, 1, 1)


WRAPPED = (_moved(BASE, EXECUTOR, WRAPPER, 1000), _moved(WRAPPER, NOBODY, EXECUTOR, 870))
UNWRAPPED = (_moved(WRAPPER, EXECUTOR, NOBODY, 870), _moved(BASE, WRAPPER, EXECUTOR, 1000))


def test_wrapping_is_told_by_both_tokens_transfers() -> None:
    assert realised([_wrap(1, 1)], WRAPPED) == (1000, 870)
    hops = [_pair(POOL_A, OTHER, BASE), _wrap(1, 1), _pair(POOL_B, WRAPPER, OTHER)]
    logs = (v2_swap(POOL_A, (500, 0), (0, 1000)), *WRAPPED, v2_swap(POOL_B, (870, 0), (0, 520)))
    assert realised(hops, logs) == (500, 1000, 870, 520)
    strangers = (_moved(BASE, EXECUTOR, STRANGER, 7), _moved(OTHER, EXECUTOR, WRAPPER, 7))
    assert realised(hops, (*strangers, *logs)) == (500, 1000, 870, 520)


def test_what_unwrapping_paid_is_told_by_the_hop_after_it() -> None:
    """Shares are whole: the event says what was asked for, a unit more than what arrived."""
    hops = [_pair(POOL_A, OTHER, WRAPPER), _unwrap(1, 1), _pair(POOL_B, BASE, OTHER)]
    logs = (v2_swap(POOL_A, (500, 0), (0, 870)), *UNWRAPPED, v2_swap(POOL_B, (999, 0), (0, 520)))
    assert realised(hops, logs) == (500, 870, 999, 520)
    # nothing tells it where it is the last one
    assert realised(hops[:2], logs) == ()


@pytest.mark.parametrize("missing", range(4))
def test_a_conversion_that_is_not_told_whole_is_not_claimed(missing: int) -> None:
    logs = [*WRAPPED, *UNWRAPPED]
    hop = _wrap(1, 1) if missing < 2 else _unwrap(1, 1)
    following = _pair(POOL_B, WRAPPER if missing < 2 else BASE, OTHER)
    swap = v2_swap(POOL_B, (870 if missing < 2 else 999, 0), (0, 520))
    del logs[missing]
    assert realised([hop, following], (*logs, swap)) == ()
    assert realised([hop, following], (*WRAPPED, *UNWRAPPED, WRAPPED[0], UNWRAPPED[0], swap)) == ()


def _bin(state_pool: str, bin_id: int, i: int, paid: int, got: int, protocol: int) -> Log:
    """One bin's Swap event: amounts of both tokens in the halves of a word."""
    amounts = [value << 128 * side for value, side in ((paid - protocol, i), (got, 1 - i))]
    data = words(bin_id, *amounts, 0, 0, protocol << 128 * i)
    sender = "0x" + EXECUTOR[2:].rjust(64, "0")
    return Log(state_pool, (SWAP, sender, sender), data, 1, "0x", "0x", 0, 0)


@given(st.lists(st.tuples(st.integers(1, 2**100), st.integers(0, 2**100)), min_size=1, max_size=60), st.booleans())
def test_a_swap_through_many_bins_is_their_sum(parts: list[tuple[int, int]], forward: bool) -> None:
    i, step = (0, -1) if forward else (1, 1)
    hop = Hop(POOL_A, "liquidity_book", BASE, OTHER, i, 1 - i, 1, 1)
    start = 1 << 23
    logs = [_bin(POOL_A, start + step * k, i, paid, got, paid // 7) for k, (paid, got) in enumerate(parts)]
    total = sum(paid for paid, _ in parts), sum(got for _, got in parts)
    assert realised([hop], logs) == (total if total[1] else ())
    # somebody else's pool says nothing, a second swap of this one makes it two
    assert realised([hop], [*logs, _bin(POOL_B, start, i, 5, 5, 0)]) == (total if total[1] else ())
    assert realised([hop], [*logs, logs[0]]) == ()
    assert realised([hop], [*logs, _bin(POOL_A, start - step, 1 - i, 5, 5, 0)]) == ()
    assert realised([hop], []) == ()


def test_the_events_of_a_quoted_swap_sum_up_to_it() -> None:
    family, state, rng = LiquidityBook(), book(), random.Random(3)
    for i, j in ((0, 1), (1, 0)):
        most = family.limits(state, i, j, CONTEXT).max_in_wei
        for _ in range(20):
            amount = rng.randint(most // 50, most)
            quote = family.quote_in(state, i, j, amount, CONTEXT)
            hop = Hop(
                state.address, family.name, state.tokens[i], state.tokens[j], i, j, amount, quote.amount_out_wei
            )
            logs = book_logs(state, quote.next_state, i, amount, quote.amount_out_wei)
            assert len(logs) > 1
            assert realised([hop], logs) == (amount, quote.amount_out_wei)


def book_logs(before: object, after: object, i: int, amount: int, out: int) -> list[Log]:
    """The bins' events of a swap, the input split as the bins kept it and the protocol took it."""
    from ouro.protocols.liquidity_book_state import LiquidityBookState

    assert isinstance(before, LiquidityBookState)
    assert isinstance(after, LiquidityBookState)
    step = -1 if i == 0 else 1
    found, kept, given = [], 0, 0
    for bin_id in range(before.active_id, after.active_id + step, step):
        old, new = before.bins.get(bin_id, (0, 0)), after.bins.get(bin_id, (0, 0))
        if old != new:
            found.append((bin_id, new[i] - old[i], old[1 - i] - new[1 - i]))
            kept, given = kept + new[i] - old[i], given + old[1 - i] - new[1 - i]
    assert given == out
    share = amount - kept
    # the protocol's shares, all told with the first bin here
    return [
        _bin(before.address, bin_id, i, taken + (share if k == 0 else 0), got, share if k == 0 else 0)
        for k, (bin_id, taken, got) in enumerate(found)
    ]

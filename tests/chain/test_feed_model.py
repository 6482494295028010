"""The feed against a chain that the test shapes: any history of reorgs, gaps, lies ends in the canonical view."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from chain_model import OTHER, SWAP, SYNC, ModelNode, NodeRefusal, View, until
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ouro.chain.endpoint import EndpointSettings
from ouro.chain.feed import BlockFeed, FeedSettings
from ouro.chain.pool import EndpointPool
from ouro.types import BlockUpdate, Resync, Rollback

WATCHED = [SYNC, SWAP]
FAST = EndpointSettings(timeout_ms=5_000, backoff_first_ms=2, backoff_most_ms=20)
PATIENT = FeedSettings(stall_ms=60_000, lag_grace_ms=50)


@asynccontextmanager
async def following(
    *nodes: ModelNode, ring_depth: int = 6, start: tuple[int, str] | None = None, how: FeedSettings = PATIENT
) -> AsyncIterator[BlockFeed]:
    async with EndpointPool([node.url for node in nodes], nodes[0].chain_id, FAST) as pool:
        feed = BlockFeed("model", pool, WATCHED, ring_depth, start, how)
        try:
            yield feed
        finally:
            await feed.close()


async def next_event(feed: BlockFeed) -> Any:
    async with asyncio.timeout(30):
        return await anext(feed)


async def fold_until(feed: BlockFeed, view: View, block_hash: str) -> None:
    while view.tip[1] != block_hash:
        view.fold(await next_event(feed))


async def begin(feed: BlockFeed, node: ModelNode) -> View:
    """A view that stands on the block before the first one delivered."""
    first = await next_event(feed)
    assert isinstance(first, BlockUpdate)
    view = View(first.number - 1, first.parent_hash)
    view.fold(first)
    await until(lambda: node.subscribers > 0)
    return view


async def test_blocks_carry_only_watched_logs_in_order(model_node: ModelNode) -> None:
    async with following(model_node) as feed:
        view = await begin(feed, model_node)
        blocks = await model_node.mine(3, [SYNC, OTHER, SWAP, SYNC])
        await fold_until(feed, view, blocks[-1].hash)
        assert [len(block.logs) for block in view.blocks[-3:]] == [3, 3, 3]
        assert view.same_as(model_node.chain, WATCHED)


async def test_start_after_an_old_block_delivers_everything_since(model_node: ModelNode) -> None:
    model_node.chain.mine(150, [SYNC])
    base = model_node.chain.canonical[10]
    async with following(model_node, start=(base.number, base.hash)) as feed:
        view = View(base.number, base.hash)
        await fold_until(feed, view, model_node.chain.tip.hash)
        assert view.same_as(model_node.chain, WATCHED)


async def test_start_on_an_orphan_is_a_resync_that_can_be_recovered_from(model_node: ModelNode) -> None:
    orphan = model_node.chain.mine(1)[0]
    model_node.chain.cut(1)
    model_node.chain.mine(3)
    async with following(model_node, start=(orphan.number, orphan.hash)) as feed:
        event = await next_event(feed)
        assert isinstance(event, Resync)
        assert "no ancestor" in event.reason
        base = model_node.chain.canonical[0]
        feed.start_after(base.number, base.hash)
        view = View(base.number, base.hash)
        await fold_until(feed, view, model_node.chain.tip.hash)
        assert view.same_as(model_node.chain, WATCHED)


async def test_a_gap_beyond_the_bound_is_a_resync(model_node: ModelNode) -> None:
    async with following(model_node, how=FeedSettings(stall_ms=60_000, max_gap_blocks=5)) as feed:
        await begin(feed, model_node)
        model_node.chain.mine(9)
        await model_node.announce(model_node.chain.tip.header)
        event = await next_event(feed)
        assert isinstance(event, Resync)
        assert "8 blocks were missed" in event.reason
        following_event = await next_event(feed)
        assert isinstance(following_event, BlockUpdate)
        assert following_event.hash == model_node.chain.tip.hash


async def test_a_reorg_within_the_ring_rolls_back_and_one_beyond_resyncs(model_node: ModelNode) -> None:
    async with following(model_node, ring_depth=6) as feed:
        view = await begin(feed, model_node)
        await model_node.mine(12, [SYNC])
        await fold_until(feed, view, model_node.chain.tip.hash)
        model_node.chain.cut(6)
        await model_node.mine(7, [SWAP])
        await fold_until(feed, view, model_node.chain.tip.hash)
        assert len(view.rollbacks) == 1
        assert len(view.rollbacks[0].dropped) == 6
        assert view.same_as(model_node.chain, WATCHED)
        model_node.chain.cut(7)
        model_node.chain.mine(8)
        await model_node.announce(model_node.chain.tip.header)
        event = await next_event(feed)
        assert isinstance(event, Resync)


async def test_heads_of_dead_branches_and_repeated_heads_change_nothing(model_node: ModelNode) -> None:
    async with following(model_node) as feed:
        view = await begin(feed, model_node)
        dead = model_node.chain.mine(1, [SYNC])[0]
        model_node.chain.cut(1)
        blocks = await model_node.mine(3, [SYNC])
        await fold_until(feed, view, blocks[-1].hash)
        for header in (dead.header, blocks[0].header, blocks[2].header, blocks[1].header):
            await model_node.announce(header)
        last = (await model_node.mine(1, [SYNC]))[0]
        await fold_until(feed, view, last.hash)
        assert view.rollbacks == []
        assert feed.counters["stale_head"] >= 1
        assert feed.counters["duplicate_head"] >= 3


async def test_malformed_heads_are_counted_and_the_chain_is_asked_instead(model_node: ModelNode) -> None:
    async with following(model_node) as feed:
        view = await begin(feed, model_node)
        for nonsense in (None, 7, [], {}, {"number": "0x1"}, {"number": 5, "hash": "0xzz"}):
            await model_node.announce(nonsense)
        header = dict(model_node.chain.mine(1, [SYNC])[0].header)
        header["gasLimit"] = "0x" + "f" * 80
        await model_node.announce(header)
        await fold_until(feed, view, model_node.chain.tip.hash)
        await until(lambda: feed.counters["bad_head"] == 7)
        assert view.same_as(model_node.chain, WATCHED)


async def test_an_invented_head_with_a_huge_number_is_not_believed(model_node: ModelNode) -> None:
    async with following(model_node) as feed:
        view = await begin(feed, model_node)
        await model_node.announce({**model_node.chain.tip.header, "number": hex(2**200), "hash": "0x" + "ab" * 32})
        await model_node.mine(1, [SYNC])
        await fold_until(feed, view, model_node.chain.tip.hash)
        assert view.resyncs == []


def wrong_hash(logs: list[dict[str, Any]]) -> Any:
    return [{**log, "blockHash": "0x" + "cd" * 32} for log in logs]


def missing_field(logs: list[dict[str, Any]]) -> Any:
    return [{key: value for key, value in log.items() if key != "data"} for log in logs]


def conflicting(logs: list[dict[str, Any]]) -> Any:
    return [*logs, *({**log, "data": "0x01"} for log in logs)]


def removed_flag(logs: list[dict[str, Any]]) -> Any:
    return [{**log, "removed": True} for log in logs]


def wrong_number(logs: list[dict[str, Any]]) -> Any:
    return [{**log, "blockNumber": "0x7777"} for log in logs]


def refused(logs: list[dict[str, Any]]) -> Any:
    raise NodeRefusal(-32000, "unknown block")


SPOILERS = [
    wrong_hash,
    missing_field,
    conflicting,
    removed_flag,
    wrong_number,
    refused,
    lambda _: [],
    lambda _: "no",
]


def spoil_logs(node: ModelNode, how: Any, times: int) -> None:
    left = times

    def spoil(method: str, _params: list[Any], result: Any) -> Any:
        nonlocal left
        if method == "eth_getLogs" and result and left > 0:
            left -= 1
            return how(result)
        return result

    node.spoil = spoil


@pytest.mark.parametrize("how", SPOILERS)
async def test_logs_that_contradict_the_block_are_read_again(model_node: ModelNode, how: Any) -> None:
    async with following(model_node) as feed:
        view = await begin(feed, model_node)
        spoil_logs(model_node, how, 1)
        await model_node.mine(1, [SYNC, SWAP])
        await fold_until(feed, view, model_node.chain.tip.hash)
        assert view.same_as(model_node.chain, WATCHED)
        assert feed.counters["logs_refetched"] == 1


async def test_repeated_and_shuffled_logs_are_put_right(model_node: ModelNode) -> None:
    async with following(model_node) as feed:
        view = await begin(feed, model_node)
        spoil_logs(model_node, lambda logs: [*reversed(logs), logs[0]], 1)
        await model_node.mine(1, [SYNC, SWAP, SYNC])
        await fold_until(feed, view, model_node.chain.tip.hash)
        assert view.same_as(model_node.chain, WATCHED)
        assert feed.counters["duplicate_log"] == 1
        assert feed.counters["log_out_of_order"] >= 1
        assert feed.counters["logs_refetched"] == 0


async def test_a_node_that_goes_on_lying_is_left_for_another(model_node: ModelNode) -> None:
    spoil_logs(model_node, wrong_hash, 1_000_000)
    async with ModelNode(model_node.chain_id, model_node.chain) as honest, following(model_node, honest) as feed:
        view = await begin(feed, model_node)
        model_node.chain.mine(1, [SYNC])
        await model_node.announce(model_node.chain.tip.header)
        await fold_until(feed, view, model_node.chain.tip.hash)
        assert view.same_as(model_node.chain, WATCHED)
        assert feed.counters["contradiction"] >= 1


async def test_the_only_node_lying_for_ever_surfaces_as_resync(model_node: ModelNode) -> None:
    async with following(model_node) as feed:
        await begin(feed, model_node)
        spoil_logs(model_node, missing_field, 1_000_000)
        await model_node.mine(1, [SYNC])
        event = await next_event(feed)
        assert isinstance(event, Resync)
        assert "log field data" in event.reason


async def test_blooms_save_reads_only_after_they_proved_honest(model_node: ModelNode) -> None:
    async with following(model_node) as feed:
        view = await begin(feed, model_node)
        await model_node.mine(1, [OTHER])
        await model_node.mine(1, [SYNC])
        await fold_until(feed, view, model_node.chain.tip.hash)
        assert feed.counters["bloom_skip"] == 0
        before = model_node.calls.count("eth_getLogs")
        await model_node.mine(3, [OTHER])
        await model_node.mine(1, [SWAP])
        await fold_until(feed, view, model_node.chain.tip.hash)
        assert feed.counters["bloom_skip"] >= 2
        assert model_node.calls.count("eth_getLogs") <= before + 2
        assert view.same_as(model_node.chain, WATCHED)


async def test_a_chain_with_empty_blooms_loses_no_log() -> None:
    async with ModelNode(5) as node:
        node.chain.__init__(honest_bloom=False)
        async with following(node) as feed:
            view = await begin(feed, node)
            for _ in range(4):
                await node.mine(1, [SYNC])
                await fold_until(feed, view, node.chain.tip.hash)
            assert view.same_as(node.chain, WATCHED)
            assert feed.counters["bloom_skip"] == 0


async def test_silence_makes_the_feed_look_and_find_unannounced_blocks(model_node: ModelNode) -> None:
    async with following(model_node, how=FeedSettings(stall_ms=50)) as feed:
        view = await begin(feed, model_node)
        model_node.chain.mine(2, [SYNC])
        await fold_until(feed, view, model_node.chain.tip.hash)
        assert view.same_as(model_node.chain, WATCHED)
        assert feed.counters["stall"] >= 1


async def test_garbage_on_the_wire_costs_one_connection(model_node: ModelNode) -> None:
    async with following(model_node) as feed:
        view = await begin(feed, model_node)
        for text in ("{", '[1, "x", null]', '{"id": "77", "result": 1}', '{"method": "eth_subscription"}'):
            await model_node.send_raw(text)
        model_node.chain.mine(2, [SYNC])
        await until(lambda: model_node.subscribers > 0)
        await model_node.announce(model_node.chain.tip.header)
        await fold_until(feed, view, model_node.chain.tip.hash)
        assert view.same_as(model_node.chain, WATCHED)


async def test_pending_counts_what_waits(model_node: ModelNode) -> None:
    async with following(model_node) as feed:
        view = await begin(feed, model_node)
        assert feed.pending() == 0
        blocks = await model_node.mine(3, [SYNC])
        view.fold(await next_event(feed))
        await until(lambda: feed.pending() >= 2)
        await fold_until(feed, view, blocks[-1].hash)
        assert feed.pending() == 0


steps = st.one_of(
    st.tuples(st.just("mine"), st.integers(1, 3), st.lists(st.sampled_from([SYNC, SWAP, OTHER]), max_size=4)),
    st.tuples(st.just("unannounced"), st.integers(1, 4), st.just([SYNC])),
    st.tuples(st.just("reorg"), st.integers(1, 8), st.integers(0, 8)),
    st.tuples(st.just("backwards"), st.integers(2, 4), st.just([SWAP])),
    st.tuples(st.just("repeat"), st.integers(1, 5), st.just(None)),
    st.tuples(st.just("disconnect"), st.just(0), st.just(None)),
    st.tuples(st.just("spoil"), st.integers(1, 4), st.integers(0, len(SPOILERS) - 3)),
    st.tuples(st.just("settle"), st.just(0), st.just(None)),
)


async def play(node: ModelNode, step: tuple[str, int, Any]) -> None:
    kind, count, extra = step
    chain = node.chain
    match kind:
        case "mine":
            await node.mine(count, extra)
        case "unannounced":
            chain.mine(count, extra)
        case "reorg":
            chain.cut(count)
            await node.mine(extra, [SWAP])
        case "backwards":
            for block in reversed(chain.mine(count, extra)):
                await node.announce(block.header)
        case "repeat":
            for block in chain.canonical[-count:]:
                await node.announce(block.header)
        case "disconnect":
            await node.disconnect()
        case "spoil":
            spoil_logs(node, SPOILERS[extra], count)
        case "settle":
            await asyncio.sleep(0.01)


async def run_history(history: list[tuple[str, int, Any]]) -> None:
    async with ModelNode(5) as node:
        node.chain.mine(3, [SYNC])
        base = node.chain.canonical[0]
        async with following(node, start=(base.number, base.hash)) as feed:
            view = View(base.number, base.hash)

            async def consume() -> None:
                while True:
                    event = await anext(feed)
                    view.fold(event)
                    if isinstance(event, Resync):
                        block = node.chain.canonical[max(0, len(node.chain.canonical) - 3)]
                        view.reset(block.number, block.hash)
                        feed.start_after(block.number, block.hash)

            consumer = asyncio.create_task(consume())
            for step in history:
                await play(node, step)
            node.spoil = None
            async with asyncio.timeout(30):
                while view.tip[1] != node.chain.tip.hash and not consumer.done():
                    if node.subscribers:
                        await node.announce(node.chain.mine(1, [SYNC])[0].header)
                    await asyncio.sleep(0.02)
            if consumer.done():
                consumer.result()
            consumer.cancel()
            assert view.same_as(node.chain, WATCHED)
            assert all(isinstance(rollback, Rollback) for rollback in view.rollbacks)


@given(st.lists(steps, max_size=12))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
def test_any_history_ends_in_the_canonical_view(history: list[tuple[str, int, Any]]) -> None:
    asyncio.run(run_history(history))

"""The pool: health, failover, reconnecting, endpoints that must not be used."""

import asyncio
import contextlib
from typing import Any

import pytest
from chain_model import ModelNode, NodeRefusal, until

from ouro.chain.endpoint import EndpointSettings, EndpointState
from ouro.chain.errors import NotARead, RpcError, TransportError, WrongChain
from ouro.chain.pool import EndpointPool

DEAD = "ws://127.0.0.1:1/some-key-123456"
FAST = EndpointSettings(
    timeout_ms=2_000, backoff_first_ms=2, backoff_most_ms=20, wrong_chain_recheck_ms=20, probe_ms=20
)


async def test_a_dead_endpoint_blocks_nobody(model_node: ModelNode) -> None:
    async with EndpointPool([DEAD, model_node.url], model_node.chain_id, FAST) as pool:
        assert await pool.call("eth_blockNumber", []) == "0x0"
        dead, good = pool.status()
        assert (dead.state, dead.current) == (EndpointState.DOWN, False)
        assert "can't connect" in dead.reason
        assert "some-key" not in dead.reason + dead.label
        assert (good.state, good.current) == (EndpointState.READY, True)
        assert good.latency_ms is not None


async def test_all_dead_names_every_endpoint_and_goes_on_trying(model_node: ModelNode) -> None:
    pool = EndpointPool([DEAD, "/nowhere.ipc"], 1, FAST, name="ethereum")
    with pytest.raises(TransportError) as caught:
        await pool.start()
    for piece in ("chain ethereum", "ws://127.0.0.1:1", "/nowhere.ipc"):
        assert piece in str(caught.value)
    with pytest.raises(TransportError, match="no healthy endpoint"):
        await pool.call("eth_blockNumber", [])
    with pytest.raises(TransportError, match="no healthy endpoint"):
        await pool.wait_ready(20)
    await pool.close()


async def test_before_start_it_says_so() -> None:
    with pytest.raises(TransportError, match="not started"):
        await EndpointPool([DEAD], 1).call("eth_blockNumber", [])
    with pytest.raises(ValueError, match="at least one endpoint"):
        EndpointPool([], 1, name="fantom")


async def test_a_wrong_chain_is_set_aside_until_it_is_right(model_node: ModelNode) -> None:
    async with ModelNode(4) as other:
        with pytest.raises(WrongChain, match="serves chain id 4, but 9 is configured"):
            await EndpointPool([other.url], 9, FAST).start()
        async with EndpointPool([other.url, model_node.url], model_node.chain_id, FAST) as pool:
            assert pool.status()[0].state is EndpointState.WRONG_CHAIN
            assert pool.transport.label == pool.status()[1].label
            other.chain_id = model_node.chain_id
            await until(lambda: pool.status()[0].state is EndpointState.READY)


async def test_reads_move_on_and_come_back_after_a_reconnect(model_node: ModelNode) -> None:
    async with (
        ModelNode(model_node.chain_id) as second,
        EndpointPool([model_node.url, second.url], model_node.chain_id, FAST) as pool,
    ):
        await until(lambda: all(status.state is EndpointState.READY for status in pool.status()))
        second.chain.mine(5)
        model_node.mute = True
        assert await pool.call("eth_blockNumber", []) == "0x5"
        assert pool.status()[1].current
        assert await pool.batch([("eth_blockNumber", [])]) == ["0x5"]
        model_node.mute = False
        await until(lambda: pool.status()[0].state is EndpointState.READY)
        await second.disconnect()
        answers = {await pool.call("eth_blockNumber", []) for _ in range(3)}
        assert answers <= {"0x0", "0x5"}
        await until(lambda: all(status.state is EndpointState.READY for status in pool.status()))


async def test_sends_are_never_repeated_at_another_endpoint(model_node: ModelNode) -> None:
    async with (
        ModelNode(model_node.chain_id) as second,
        EndpointPool([model_node.url, second.url], model_node.chain_id, FAST) as pool,
    ):
        await until(lambda: all(status.state is EndpointState.READY for status in pool.status()))
        model_node.mute = True
        with pytest.raises(TransportError):
            await pool.call("eth_sendRawTransaction", ["0x02"], timeout_ms=30)
        assert "eth_sendRawTransaction" not in second.calls
        with pytest.raises(NotARead):
            await pool.batch([("eth_sendRawTransaction", ["0x02"])])


async def test_errors_of_the_node_are_answers_not_failures(model_node: ModelNode) -> None:
    async with EndpointPool([model_node.url], model_node.chain_id, FAST) as pool:
        with pytest.raises(RpcError):
            await pool.call("eth_nonsense", [])
        assert pool.status()[0].errors == 0


async def test_rate_limits_pause_an_endpoint_without_reconnecting(model_node: ModelNode) -> None:
    def spoil(method: str, _params: list[Any], result: Any) -> Any:
        if method == "eth_blockNumber":
            raise NodeRefusal(-32005, "limit exceeded")
        return result

    quiet = EndpointSettings(timeout_ms=20_000, backoff_first_ms=2, probe_ms=60_000)
    async with (
        ModelNode(model_node.chain_id) as second,
        EndpointPool([model_node.url, second.url], model_node.chain_id, quiet) as pool,
    ):
        await until(lambda: all(status.state is EndpointState.READY for status in pool.status()))
        second.chain.mine(1)
        model_node.spoil = spoil
        assert await pool.call("eth_blockNumber", []) == "0x1"
        first = pool.status()[0]
        assert (first.state, first.errors, first.current) == (EndpointState.READY, 1, False)


async def test_repeated_time_outs_make_a_new_connection(model_node: ModelNode) -> None:
    quiet = EndpointSettings(timeout_ms=20_000, backoff_first_ms=2, probe_ms=60_000)
    async with EndpointPool([model_node.url], model_node.chain_id, quiet) as pool:
        endpoint = pool.transport
        model_node.mute = True
        for _ in range(3):
            with pytest.raises(TransportError):
                await pool.call("eth_blockNumber", [], timeout_ms=10)
        model_node.mute = False
        await pool.wait_ready(60_000)
        assert await pool.call("eth_blockNumber", []) == "0x0"
        assert endpoint.connections == 2


async def test_a_lagging_endpoint_is_chosen_last(model_node: ModelNode) -> None:
    async with ModelNode(model_node.chain_id) as second, ModelNode(model_node.chain_id) as third:
        urls = [model_node.url, second.url, third.url]
        async with EndpointPool(urls, model_node.chain_id, FAST) as pool:
            second.chain.mine(50)
            third.chain.mine(50)
            await until(lambda: [status.head_number for status in pool.status()] == [0, 50, 50])
            pool.failover(pool.transport, "whichever was ready first")
            pool.failover(pool.transport, "and once more")
            for _ in range(3):
                await pool.transport.drop("cut by the test")
                assert pool.transport.label != pool.status()[0].label
                await until(lambda: all(status.state is EndpointState.READY for status in pool.status()))
                await until(lambda: [status.head_number for status in pool.status()] == [0, 50, 50])


async def test_subscriptions_end_with_their_endpoint(model_node: ModelNode) -> None:
    async with EndpointPool([model_node.url], model_node.chain_id, FAST) as pool:
        heads = await pool.subscribe("newHeads")
        await model_node.mine()
        assert (await anext(heads))[1]["number"] == "0x1"
        await model_node.disconnect()
        with pytest.raises(TransportError):
            await anext(heads)
        await pool.wait_ready(60_000)
        await pool.subscribe("newHeads")


async def test_close_ends_open_calls(model_node: ModelNode) -> None:
    pool = EndpointPool([model_node.url], model_node.chain_id, EndpointSettings(timeout_ms=60_000))
    await pool.start()
    model_node.mute = True
    call = asyncio.create_task(pool.call("eth_blockNumber", []))
    await asyncio.sleep(0.01)
    await pool.close()
    with contextlib.suppress(TimeoutError), pytest.raises(TransportError):
        await asyncio.wait_for(call, 30)

"""The feed on real nodes: order, logs, reorgs, roll-backs, restarts, over WebSocket, IPC and HTTP."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from chain_model import View, until

from ouro.chain.endpoint import EndpointSettings
from ouro.chain.feed import BlockFeed, FeedSettings
from ouro.chain.pool import EndpointPool
from ouro.testnet.node import AnvilNode, NodeConfig
from ouro.types import BlockUpdate, Resync, Rollback

pytestmark = pytest.mark.node

TOPIC = "0x" + "11" * 32
FAST = EndpointSettings(timeout_ms=10_000, backoff_first_ms=10, backoff_most_ms=100)
HOW = FeedSettings(poll_ms=10, stall_ms=60_000, lag_grace_ms=50)

# PUSH32 TOPIC, PUSH0, PUSH0, LOG1, STOP: emits one log without data at every call.
EMITTER = bytes.fromhex("7f" + TOPIC[2:] + "5f5fa100")


def init_code(runtime: bytes) -> str:
    """Creation code that returns ``runtime``."""
    return "0x" + bytes([0x60, len(runtime), 0x80, 0x60, 0x09, 0x5F, 0x39, 0x5F, 0xF3]).hex() + runtime.hex()


class Chain:
    """An anvil node with an emitter on it."""

    def __init__(self, node: AnvilNode, pool: EndpointPool) -> None:
        self.node = node
        self.pool = pool
        self.account = ""
        self.emitter = ""

    async def deploy(self) -> None:
        self.account = (await self.pool.call("eth_accounts", []))[0]
        tx = await self._send({"from": self.account, "data": init_code(EMITTER), "gas": "0x50000"})
        self.emitter = (await self.pool.call("eth_getTransactionReceipt", [tx]))["contractAddress"]

    async def emit(self, count: int = 1) -> None:
        """``count`` blocks with one log each."""
        for _ in range(count):
            await self._send({"from": self.account, "to": self.emitter, "gas": "0x50000"})

    async def mine(self, count: int = 1) -> None:
        """Empty blocks."""
        for _ in range(count):
            await self.pool.call("evm_mine", [])

    async def _send(self, transaction: dict[str, Any]) -> str:
        """Send until it is mined.

        Anvil clears a mined block's nonces from its pool a moment after the block is visible. When a reorg falls
        into that moment, a new transaction with a re-used nonce is thrown away with them: it has to be sent again.
        """
        async with asyncio.timeout(60):
            while True:
                tx = await self.pool.call("eth_sendTransaction", [transaction])
                while await self.pool.call("eth_getTransactionByHash", [tx]) is not None:
                    if await self.pool.call("eth_getTransactionReceipt", [tx]) is not None:
                        return tx
                    await asyncio.sleep(0.001)  # automine runs a moment later

    async def tip(self) -> str:
        return (await self.pool.call("eth_getBlockByNumber", ["latest", False]))["hash"]

    async def canonical(self, base: int) -> list[tuple[str, int]]:
        """Hash and number of watched logs of every block after ``base``."""
        result = []
        top = int(await self.pool.call("eth_blockNumber", []), 16)
        for number in range(base + 1, top + 1):
            block = await self.pool.call("eth_getBlockByNumber", [hex(number), False])
            logs = await self.pool.call("eth_getLogs", [{"blockHash": block["hash"], "topics": [TOPIC]}])
            result.append((block["hash"], len(logs)))
        return result


async def reconnected(pool: EndpointPool) -> None:
    """The node was exchanged while the loop stood still, so the loss has to be noticed first."""
    await until(lambda: pool.status()[0].state != "ready")
    await pool.wait_ready(30_000)


def url_of(node: AnvilNode, kind: str) -> str:
    return {"ws": node.ws_url, "http": node.http_url, "ipc": str(node.ipc_path)}[kind]


@asynccontextmanager
async def following(
    node: AnvilNode, kind: str = "ws", ring_depth: int = 32
) -> AsyncIterator[tuple[Chain, BlockFeed, View]]:
    """A feed that stands on the emitter's block, and the view of its consumer."""
    async with EndpointPool([url_of(node, kind)], node.config.chain_id, FAST) as pool:
        chain = Chain(node, pool)
        await chain.deploy()
        block = await pool.call("eth_getBlockByNumber", ["latest", False])
        start = (int(block["number"], 16), block["hash"])
        feed = BlockFeed("local", pool, [TOPIC], ring_depth, start, HOW)
        try:
            yield chain, feed, View(*start)
        finally:
            await feed.close()


async def fold_until(feed: BlockFeed, view: View, block_hash: str) -> None:
    async with asyncio.timeout(60):
        while view.tip[1] != block_hash:
            view.fold(await anext(feed))


async def assert_canonical(chain: Chain, feed: BlockFeed, view: View) -> None:
    await fold_until(feed, view, await chain.tip())
    assert [(block.hash, len(block.logs)) for block in view.blocks] == await chain.canonical(view.base_number)


@pytest.mark.parametrize("kind", ["ws", "ipc", "http"])
async def test_every_block_once_with_its_logs(anvil: AnvilNode, kind: str) -> None:
    async with following(anvil, kind) as (chain, feed, view):
        await chain.emit(3)
        await chain.mine(2)
        await chain.emit(1)
        await assert_canonical(chain, feed, view)
        log = view.blocks[-1].logs[0]
        assert (log.address, log.topics, log.log_index) == (chain.emitter, (TOPIC,), 0)
        assert view.blocks[-1].base_fee_wei is not None
        assert view.rollbacks == []


@pytest.mark.parametrize("kind", ["ws", "http"])
async def test_reorg_rolls_back_to_the_common_ancestor(anvil: AnvilNode, kind: str) -> None:
    async with following(anvil, kind) as (chain, feed, view):
        await chain.emit(6)
        await assert_canonical(chain, feed, view)
        ancestor = view.blocks[-4]
        await chain.pool.call("anvil_reorg", [3, []])
        await assert_canonical(chain, feed, view)
        assert [(r.to_number, r.to_hash, len(r.dropped)) for r in view.rollbacks] == [
            (ancestor.number, ancestor.hash, 3)
        ]
        await chain.emit(1)
        await assert_canonical(chain, feed, view)
        assert view.blocks[-1].logs


async def test_reorgs_while_nobody_reads_are_delivered_in_order(anvil: AnvilNode) -> None:
    async with following(anvil) as (chain, feed, view):
        await chain.emit(5)
        await assert_canonical(chain, feed, view)
        for depth in (1, 4, 2, 5):
            await chain.pool.call("anvil_reorg", [depth, []])
            await chain.emit(2)
        await assert_canonical(chain, feed, view)
        assert len(view.rollbacks) >= 1


async def test_a_shortened_chain_is_noticed_with_its_next_block(anvil: AnvilNode) -> None:
    async with following(anvil) as (chain, feed, view):
        await chain.emit(5)
        await assert_canonical(chain, feed, view)
        await chain.pool.call("anvil_rollback", [3])
        await chain.mine(1)
        await assert_canonical(chain, feed, view)
        assert [len(rollback.dropped) for rollback in view.rollbacks] == [3]


async def test_polling_notices_a_shortened_chain_without_a_new_block(anvil: AnvilNode) -> None:
    async with following(anvil, "http") as (chain, feed, view):
        await chain.emit(5)
        await assert_canonical(chain, feed, view)
        await chain.pool.call("anvil_rollback", [2])
        await assert_canonical(chain, feed, view)
        assert [len(rollback.dropped) for rollback in view.rollbacks] == [2]


async def test_reorg_deeper_than_the_ring_is_a_resync(anvil: AnvilNode) -> None:
    async with following(anvil, ring_depth=4) as (chain, feed, view):
        await chain.emit(8)
        await assert_canonical(chain, feed, view)
        await chain.pool.call("anvil_reorg", [6, []])
        async with asyncio.timeout(60):
            event = await anext(feed)
        assert isinstance(event, Resync)
        tip = await chain.pool.call("eth_getBlockByNumber", ["latest", False])
        feed.start_after(int(tip["number"], 16), tip["hash"])
        view.reset(int(tip["number"], 16), tip["hash"])
        await chain.emit(2)
        await assert_canonical(chain, feed, view)


async def test_node_restarted_with_its_state_goes_on(anvil: AnvilNode) -> None:
    async with following(anvil) as (chain, feed, view):
        await chain.emit(3)
        await assert_canonical(chain, feed, view)
        anvil.restart()
        await reconnected(chain.pool)
        await chain.emit(2)
        await assert_canonical(chain, feed, view)
        assert view.rollbacks == []
        assert view.resyncs == []


async def test_node_killed_and_restarted_with_an_older_state_rolls_back(tmp_path: Path) -> None:
    with AnvilNode(NodeConfig(chain_id=9_300_778), tmp_path) as node:
        async with following(node) as (chain, feed, view):
            await chain.emit(2)
            await assert_canonical(chain, feed, view)
            node.restart()  # writes the state
            await reconnected(chain.pool)
            await chain.emit(3)
            await assert_canonical(chain, feed, view)
            known = view.tip[0]
            node.kill()
            await until(lambda: chain.pool.status()[0].state != "ready")
            node.start()
            await chain.pool.wait_ready(30_000)
            async with asyncio.timeout(30):
                event = await anext(feed)
            assert isinstance(event, Rollback)
            assert event.to_number == known - 3
            view.fold(event)
            await chain.emit(1)
            await assert_canonical(chain, feed, view)


async def test_a_fresh_chain_behind_the_same_address_is_a_resync(tmp_path: Path) -> None:
    with AnvilNode(NodeConfig(chain_id=9_300_779), tmp_path) as node:
        async with following(node) as (chain, feed, view):
            await chain.emit(2)
            await assert_canonical(chain, feed, view)
            node.kill()
            node.state_path.unlink(missing_ok=True)
            node.start()
            async with asyncio.timeout(30):
                event = await anext(feed)
            assert isinstance(event, Resync)
            assert isinstance(await asyncio.wait_for(anext(feed), 30), BlockUpdate)


async def test_endpoints_of_one_node_take_over_without_a_loss(anvil: AnvilNode) -> None:
    urls = [anvil.ws_url, str(anvil.ipc_path), anvil.http_url]
    async with EndpointPool(urls, anvil.config.chain_id, FAST) as pool:
        await until(lambda: all(status.state == "ready" for status in pool.status()))
        chain = Chain(anvil, pool)
        await chain.deploy()
        block = await pool.call("eth_getBlockByNumber", ["latest", False])
        feed = BlockFeed("local", pool, [TOPIC], 32, (int(block["number"], 16), block["hash"]), HOW)
        view = View(int(block["number"], 16), block["hash"])
        for _ in range(3):
            await chain.emit(2)
            await assert_canonical(chain, feed, view)
            await pool.transport.drop("cut by the test")
            await chain.emit(1)
        await assert_canonical(chain, feed, view)
        assert pool.failovers >= 3
        assert view.rollbacks == []
        assert view.resyncs == []
        await feed.close()


async def test_a_node_with_another_history_takes_over_only_by_resync(tmp_path: Path) -> None:
    config = NodeConfig(chain_id=9_300_780)
    with AnvilNode(config, tmp_path / "a") as first, AnvilNode(config, tmp_path / "b") as second:
        for node, seconds, blocks in ((first, 1_000, "0x3"), (second, 2_000, "0x4")):
            with node.client() as client:
                client.call("evm_increaseTime", seconds)
                client.call("anvil_mine", blocks)
        async with EndpointPool([first.ws_url, second.ws_url], config.chain_id, FAST) as pool:
            feed = BlockFeed("local", pool, [TOPIC], 2, None, HOW)
            assert isinstance(await anext(feed), BlockUpdate)
            used, other = (0, 1) if pool.status()[0].current else (1, 0)
            (first, second)[used].kill()
            async with asyncio.timeout(30):
                assert isinstance(await anext(feed), Resync)
            assert pool.status()[other].current
            await feed.close()

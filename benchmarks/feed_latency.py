"""How long a block takes from its head at the socket to a complete ``BlockUpdate`` in the consumer's hands.

    python benchmarks/feed_latency.py [blocks] [logs per block]

A second pass measures, on the same connection, when a ``logs`` subscription had delivered the last log,
to keep the choice of reading logs by block hash an informed one. Local anvil, so network time is nearly none.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path

from ouro.chain.endpoint import EndpointSettings
from ouro.chain.feed import BlockFeed
from ouro.chain.pool import EndpointPool
from ouro.testnet.node import AnvilNode, NodeConfig
from ouro.types import BlockUpdate

TOPIC = "0x" + "11" * 32


def emitter(logs: int) -> str:
    """Creation code of a contract that emits ``logs`` events of 32 data bytes, like ``Sync``, at every call."""
    one = bytes.fromhex("7f" + TOPIC[2:] + "60205fa1")
    runtime = one * logs + b"\x00"
    return "0x61" + len(runtime).to_bytes(2, "big").hex() + "80600a5f395ff3" + runtime.hex()


def show(name: str, values_ms: list[float]) -> None:
    ordered = sorted(values_ms)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    print(f"  {name:<34} p50 {statistics.median(ordered):6.2f}  p99 {p99:6.2f}  max {ordered[-1]:6.2f} ms")


async def measure(node: AnvilNode, url: str, contract: str, blocks: int, compare: bool) -> None:
    async with EndpointPool([url], node.config.chain_id, EndpointSettings()) as pool:
        sender = (await pool.call("eth_accounts", []))[0]
        block = await pool.call("eth_getBlockByNumber", ["latest", False])
        feed = BlockFeed("bench", pool, [TOPIC], 64, (int(block["number"], 16), block["hash"]))
        first = asyncio.create_task(anext(feed))
        await asyncio.sleep(0.1)
        pushes = await pool.subscribe("logs", {"topics": [[TOPIC]]}) if compare else None
        complete, taken, by_subscription = [], [], []
        for _ in range(blocks):
            await pool.call("eth_sendTransaction", [{"from": sender, "to": contract, "gas": "0x1c00000"}])
            update = await first
            taken_ns = time.monotonic_ns()
            assert isinstance(update, BlockUpdate)
            complete.append(feed.clock.latency_ms)
            taken.append((taken_ns - update.received_ns) / 1e6)
            last_ns = 0
            if pushes is not None:
                for _ in update.logs:
                    last_ns = (await pushes.__anext__())[0]
            by_subscription.append((last_ns - update.received_ns) / 1e6)
            first = asyncio.create_task(anext(feed))
            await asyncio.sleep(0.02)
        first.cancel()
        await feed.close()
        if compare:
            show("head -> last log by subscription", by_subscription)
            return
        show("head at socket -> block complete", complete)
        show("head at socket -> consumer has it", taken)


def deploy(node: AnvilNode, logs: int) -> str:
    """Address of a new emitter."""
    with node.client() as client:
        sender = client.call("eth_accounts")[0]
        tx = client.call("eth_sendTransaction", {"from": sender, "data": emitter(logs), "gas": "0x1c00000"})
        while (receipt := client.call("eth_getTransactionReceipt", tx)) is None:
            time.sleep(0.01)
        return receipt["contractAddress"]


async def main(blocks: int, logs: int) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        AnvilNode(NodeConfig(chain_id=9_300_790), Path(folder)) as node,
    ):
        contract = deploy(node, logs)
        for kind, url in (("WebSocket", node.ws_url), ("IPC", str(node.ipc_path))):
            print(f"{kind}, {blocks} blocks of {logs} logs")
            await measure(node, url, contract, blocks, compare=False)
            await measure(node, url, contract, blocks, compare=True)


if __name__ == "__main__":
    arguments = [int(argument) for argument in sys.argv[1:]]
    asyncio.run(main(*(arguments + [200, 20][len(arguments) :])))

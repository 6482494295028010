"""A chain held in memory and a WebSocket node that serves it, truthfully unless told otherwise."""

import asyncio
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import orjson
from websockets.asyncio.server import Server, ServerConnection, serve

from ouro.chain.logs import bloom_mask
from ouro.hashing import keccak, topic
from ouro.types import BlockUpdate, FeedEvent, Log, Resync, Rollback

SYNC = topic("Sync(uint112,uint112)")
SWAP = topic("Swap(address,uint256,uint256,uint256,uint256,address)")
OTHER = topic("Transfer(address,address,uint256)")
ZERO_HASH = "0x" + "00" * 32


async def until(condition: Callable[[], bool], timeout_s: float = 30) -> None:
    """Wait for something that happens in another task."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.001)


def _hex_hash(text: str) -> str:
    return "0x" + keccak(text.encode()).hex()


@dataclass
class ModelBlock:
    """A header and its logs, as JSON."""

    header: dict[str, Any]
    logs: list[dict[str, Any]]

    @property
    def hash(self) -> str:
        return self.header["hash"]

    @property
    def number(self) -> int:
        return int(self.header["number"], 16)


class ModelChain:
    """Blocks by hash and the canonical branch, genesis first."""

    def __init__(self, honest_bloom: bool = True) -> None:
        self._serial = itertools.count()
        self._honest_bloom = honest_bloom
        self.by_hash: dict[str, ModelBlock] = {}
        self.canonical: list[ModelBlock] = []
        self.mine(1)

    @property
    def tip(self) -> ModelBlock:
        return self.canonical[-1]

    def mine(self, count: int, topics: Sequence[str] = ()) -> list[ModelBlock]:
        """Append ``count`` blocks, each with one log for every one of ``topics``."""
        return [self._append(topics) for _ in range(count)]

    def cut(self, depth: int) -> None:
        """Drop blocks from the canonical branch, never the genesis. They stay known by hash."""
        keep = max(1, len(self.canonical) - depth)
        del self.canonical[keep:]

    def _append(self, topics: Sequence[str]) -> ModelBlock:
        number = len(self.canonical)
        block_hash = _hex_hash(f"block {next(self._serial)}")
        logs = [self._log(block_hash, number, index, name) for index, name in enumerate(topics)]
        bloom = 0
        for log in logs:
            bloom |= bloom_mask(bytes.fromhex(log["address"][2:])) | bloom_mask(bytes.fromhex(log["topics"][0][2:]))
        header = {
            "number": hex(number),
            "hash": block_hash,
            "parentHash": self.canonical[-1].hash if self.canonical else ZERO_HASH,
            "timestamp": hex(1_700_000_000 + number),
            "baseFeePerGas": hex(10**9),
            "gasUsed": hex(21_000 * len(logs)),
            "gasLimit": hex(30_000_000),
            "logsBloom": f"0x{bloom if self._honest_bloom else 0:0512x}",
        }
        block = ModelBlock(header, logs)
        self.by_hash[block_hash] = block
        self.canonical.append(block)
        return block

    def _log(self, block_hash: str, number: int, index: int, name: str) -> dict[str, Any]:
        return {
            "address": "0x" + keccak(f"pool {index}".encode())[:20].hex(),
            "topics": [name],
            "data": "0x" + keccak(f"{block_hash} {index}".encode()).hex(),
            "blockHash": block_hash,
            "blockNumber": hex(number),
            "transactionHash": _hex_hash(f"tx {block_hash} {index // 2}"),
            "transactionIndex": hex(index // 2),
            "logIndex": hex(index),
            "removed": False,
        }


Spoiler = Callable[[str, list[Any], Any], Any]


@dataclass
class ModelNode:
    """Serves ``chain`` on a free loopback port. ``spoil`` sees every result and may return another (or raise)."""

    chain_id: int
    chain: ModelChain = field(default_factory=ModelChain)
    spoil: Spoiler | None = None
    hidden: set[str] = field(default_factory=set)
    calls: list[str] = field(default_factory=list)
    mute: bool = False
    refuse_batches: bool = False
    _server: Server | None = None
    _subscribers: dict[str, ServerConnection] = field(default_factory=dict)
    _ids: Any = field(default_factory=itertools.count)

    async def __aenter__(self) -> Self:
        self._server = await serve(self._serve, "127.0.0.1", 0, compression=None, max_size=None)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"ws://127.0.0.1:{next(iter(self._server.sockets)).getsockname()[1]}"

    @property
    def subscribers(self) -> int:
        return len(self._subscribers)

    async def announce(self, header: Any) -> None:
        """Push anything as a new head."""
        for subscription, connection in list(self._subscribers.items()):
            await self.push(connection, subscription, header)

    async def push(self, connection: ServerConnection, subscription: str, result: Any) -> None:
        params = {"subscription": subscription, "result": result}
        await connection.send(
            orjson.dumps({"jsonrpc": "2.0", "method": "eth_subscription", "params": params}).decode()
        )

    async def mine(self, count: int = 1, topics: Sequence[str] = ()) -> list[ModelBlock]:
        """Mine and announce."""
        blocks = self.chain.mine(count, topics)
        for block in blocks:
            await self.announce(block.header)
        return blocks

    async def send_raw(self, text: str) -> None:
        """Bytes of any kind to every subscriber."""
        for connection in list(self._subscribers.values()):
            await connection.send(text)

    async def disconnect(self) -> None:
        """Cut every connection without a closing handshake."""
        assert self._server is not None
        for connection in list(self._server.connections):
            connection.transport.abort()
        await until(lambda: not self._subscribers)

    async def _serve(self, connection: ServerConnection) -> None:
        try:
            async for message in connection:
                request = orjson.loads(message)
                if self.mute:
                    continue
                if isinstance(request, list) and self.refuse_batches:
                    answer: Any = {"id": None, "error": {"code": -32600, "message": "batch too large"}}
                elif isinstance(request, list):
                    answer = [self._answer(connection, item) for item in request]
                else:
                    answer = self._answer(connection, request)
                await connection.send(orjson.dumps(answer).decode())
        finally:
            for subscription in [key for key, owner in self._subscribers.items() if owner is connection]:
                del self._subscribers[subscription]

    def _answer(self, connection: ServerConnection, request: dict[str, Any]) -> dict[str, Any]:
        method, params = request["method"], request["params"]
        self.calls.append(method)
        try:
            result = self._result(connection, method, params)
            if self.spoil is not None:
                result = self.spoil(method, params, result)
        except NodeRefusal as refusal:
            return {"jsonrpc": "2.0", "id": request["id"], "error": {"code": refusal.code, "message": str(refusal)}}
        return {"jsonrpc": "2.0", "id": request["id"], "result": result}

    def _result(self, connection: ServerConnection, method: str, params: list[Any]) -> Any:
        chain = self.chain
        match method:
            case "eth_chainId":
                return hex(self.chain_id)
            case "eth_blockNumber":
                return hex(chain.tip.number)
            case "eth_subscribe":
                subscription = hex(next(self._ids))
                self._subscribers[subscription] = connection
                return subscription
            case "eth_unsubscribe":
                return self._subscribers.pop(params[0], None) is not None
            case "eth_getBlockByNumber":
                number = chain.tip.number if params[0] == "latest" else int(params[0], 16)
                return chain.canonical[number].header if number < len(chain.canonical) else None
            case "eth_getBlockByHash":
                block = self._known(params[0])
                return block.header if block else None
            case "eth_getLogs":
                block = self._known(params[0]["blockHash"])
                if block is None:
                    raise NodeRefusal(-32000, "unknown block")
                topics = params[0]["topics"]
                return [log for log in block.logs if not topics or log["topics"][0] in topics[0]]
        raise NodeRefusal(-32601, f"the method {method} does not exist")

    def _known(self, block_hash: str) -> ModelBlock | None:
        return None if block_hash in self.hidden else self.chain.by_hash.get(block_hash)


class NodeRefusal(Exception):  # noqa: N818 - what the node does
    """A JSON-RPC error answer."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass
class View:
    """What a consumer believes the chain to be, folded from the feed's events; asserts every rule on the way."""

    base_number: int
    base_hash: str
    blocks: list[BlockUpdate] = field(default_factory=list)
    rollbacks: list[Rollback] = field(default_factory=list)
    resyncs: list[Resync] = field(default_factory=list)

    @property
    def tip(self) -> tuple[int, str]:
        return (self.blocks[-1].number, self.blocks[-1].hash) if self.blocks else (self.base_number, self.base_hash)

    def fold(self, event: FeedEvent) -> None:
        match event:
            case BlockUpdate():
                assert (event.number - 1, event.parent_hash) == self.tip
                assert all(log.block_hash == event.hash and log.block_number == event.number for log in event.logs)
                assert [log.log_index for log in event.logs] == sorted({log.log_index for log in event.logs})
                assert event.received_ns > 0
                self.blocks.append(event)
            case Rollback():
                dropped = []
                while self.tip[1] != event.to_hash:
                    dropped.append(self.blocks.pop().hash)
                assert self.tip == (event.to_number, event.to_hash)
                assert event.dropped == tuple(dropped) != ()
                self.rollbacks.append(event)
            case Resync():
                self.resyncs.append(event)

    def reset(self, number: int, block_hash: str) -> None:
        self.base_number, self.base_hash, self.blocks = number, block_hash, []

    def same_as(self, chain: ModelChain, watched: Sequence[str]) -> bool:
        """True if this is the canonical chain after the base, with all and only the watched logs."""
        expected = [
            (block.hash, tuple(log["data"] for log in block.logs if log["topics"][0] in watched))
            for block in chain.canonical[self.base_number + 1 :]
        ]
        return expected == [(block.hash, tuple(log.data for log in block.logs)) for block in self.blocks]


def log_data(logs: tuple[Log, ...]) -> list[str]:
    """The payloads, in order."""
    return [log.data for log in logs]

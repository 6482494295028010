"""Transports against real nodes and against servers that answer nonsense."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import orjson
import pytest
from chain_model import ModelNode

from ouro.chain.errors import (
    CallTimeout,
    MalformedAnswer,
    NotARead,
    RateLimited,
    RpcError,
    TransportError,
    WrongChain,
)
from ouro.chain.ipc import JsonFramer
from ouro.chain.redact import endpoint_label, scrub, url_secrets
from ouro.chain.rpc import Transport, connect
from ouro.chain.websocket import WebSocketTransport
from ouro.testnet.node import AnvilNode

KEY = "s3cr3t-api-key-0123456789"
RAW_TX = "0x02f8" + "ab" * 120


def endpoint(node: AnvilNode, kind: str) -> str:
    return {
        "ws": node.ws_url,
        "http": node.http_url,
        "ipc": str(node.ipc_path),
        "ipc_url": f"ipc://{node.ipc_path}",
    }[kind]


@pytest.mark.node
@pytest.mark.parametrize("kind", ["ws", "http", "ipc", "ipc_url"])
async def test_one_interface_over_every_transport(anvil: AnvilNode, kind: str) -> None:
    node = await connect(endpoint(anvil, kind), chain_id=anvil.config.chain_id)
    assert await node.call("eth_blockNumber", []) == "0x0"
    with pytest.raises(RpcError) as caught:
        await node.call("eth_nonsense", [])
    assert caught.value.method == "eth_nonsense"
    calls: list[tuple[str, list[Any]]] = [("eth_getBalance", [f"0x{n:040x}", "latest"]) for n in range(250)]
    calls[7] = ("eth_getBalance", ["no address", "latest"])
    answers = await node.batch(calls)
    assert isinstance(answers[7], RpcError)
    assert [answer for k, answer in enumerate(answers) if k != 7] == ["0x0"] * 249
    assert await node.batch([]) == []
    await node.close()
    with pytest.raises(TransportError, match="closed by us"):
        await node.call("eth_blockNumber", [])


@pytest.mark.node
@pytest.mark.parametrize("kind", ["ws", "ipc"])
async def test_subscription_delivers_heads_in_order_until_closed(anvil: AnvilNode, kind: str) -> None:
    node = await connect(endpoint(anvil, kind))
    heads = await node.subscribe("newHeads")
    for _ in range(3):
        await node.call("evm_mine", [])
    got = [await anext(heads) for _ in range(3)]
    assert [head["number"] for _, head in got] == ["0x1", "0x2", "0x3"]
    assert sorted(ns for ns, _ in got) == [ns for ns, _ in got]
    await heads.close()
    with pytest.raises(TransportError, match="was closed"):
        await anext(heads)
    with pytest.raises(RpcError):
        await node.subscribe("no such kind")
    await node.close()


@pytest.mark.node
@pytest.mark.parametrize("kind", ["ws", "http", "ipc"])
async def test_wrong_chain_names_the_endpoint_and_both_ids(anvil: AnvilNode, kind: str) -> None:
    with pytest.raises(WrongChain) as caught:
        await connect(endpoint(anvil, kind), chain_id=1)
    assert (caught.value.expected, caught.value.got) == (1, anvil.config.chain_id)
    assert "chain id 9300777, but 1 is configured" in str(caught.value)


@pytest.mark.node
@pytest.mark.parametrize("kind", ["ws", "ipc"])
async def test_killed_node_ends_calls_and_subscriptions(anvil: AnvilNode, kind: str) -> None:
    node = await connect(endpoint(anvil, kind))
    heads = await node.subscribe("newHeads")
    anvil.kill()
    with pytest.raises(TransportError, match="connection lost"):
        await anext(heads)
    assert node.closed
    with pytest.raises(TransportError, match="connection lost"):
        await node.call("eth_blockNumber", [])


@pytest.mark.parametrize(
    "method", ["eth_sendRawTransaction", "eth_sendTransaction", "eth_sign", "personal_unlockAccount"]
)
async def test_sends_are_refused_in_batches(model_node: ModelNode, method: str) -> None:
    node = await connect(model_node.url)
    with pytest.raises(NotARead, match=f"{method} can't be batched"):
        await node.batch([("eth_blockNumber", []), (method, [RAW_TX])])
    assert method not in model_node.calls
    await node.close()


async def test_big_integers_are_refused_by_name(model_node: ModelNode) -> None:
    node = await connect(model_node.url)
    with pytest.raises(ValueError, match="eth_call: parameters"):
        await node.call("eth_call", [2**256])
    await node.close()


@pytest.mark.parametrize(
    "url",
    [
        f"ws://127.0.0.1:1/v3/{KEY}",
        f"ws://user:{KEY}@127.0.0.1:1",
        f"http://127.0.0.1:1/{KEY}?token={KEY}",
        f"https://user:{KEY}@127.0.0.1:1/",
        f"ftp://127.0.0.1/{KEY}",
        f"ws://127.0.0.1:99999999/{KEY}",
        f"ws://[{KEY}",
    ],
)
async def test_unreachable_endpoints_fail_without_showing_keys(url: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), pytest.raises((TransportError, ValueError)) as caught:
        await connect(url, timeout_ms=2_000, chain_id=1)
    assert KEY not in str(caught.value)
    assert KEY not in repr(caught.value.__cause__)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert KEY not in caplog.text


async def test_missing_socket_names_the_path() -> None:
    with pytest.raises(TransportError, match=r"/nowhere/node\.ipc: can't connect"):
        await connect("/nowhere/node.ipc")


def test_labels_and_scrubbing() -> None:
    url = f"wss://me:{KEY}@Node.example:8546/ws/v3/{KEY}?k={KEY}"
    assert endpoint_label(url) == "wss://…@node.example:8546/…"
    assert endpoint_label("http://127.0.0.1:8545") == "http://127.0.0.1:8545"
    assert endpoint_label("ipc:///run/geth.ipc") == "ipc:///run/geth.ipc"
    assert KEY not in scrub(f"failed at {url} with {KEY}", url_secrets(url))
    assert scrub(f"bad transaction {RAW_TX}", (), [RAW_TX]) == "bad transaction …"


def test_rpc_errors_keep_revert_data_but_no_parameters() -> None:
    error = RpcError(3, "execution reverted", "0x08c379a0", "eth_call")
    assert str(error) == "eth_call: node answered error 3: execution reverted"
    assert error.data == "0x08c379a0"


def framed(data: bytes, sizes: int) -> list[bytes]:
    framer = JsonFramer(1_000_000)
    return [value for k in range(0, len(data), sizes) for value in framer.feed(data[k : k + sizes])]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 10_000])
@pytest.mark.parametrize("glue", [b"", b"\n", b" \r\n\t"])
def test_framer_finds_values_however_they_are_cut(size: int, glue: bytes) -> None:
    values = [b'{"a":"}]\\"{["}', b"[1,[2,{}]]", b'{"id":1,"result":"\\\\"}', b"{}", '{"ü":"…"}'.encode()]
    assert framed(glue.join([*values, b""]), size) == values


def test_framer_refuses_nonsense_and_floods() -> None:
    with pytest.raises(ValueError, match="not a JSON object"):
        JsonFramer(100).feed(b"hello")
    framer = JsonFramer(100)
    with pytest.raises(ValueError, match="more than 100 bytes"):
        framer.feed(b'{"a":"' + b"x" * 200)


Handler = Callable[[bytes], Awaitable[bytes]]


@contextlib.asynccontextmanager
async def http_server(handle: Handler) -> AsyncIterator[str]:
    """A loopback HTTP server; ``handle`` gets the body and returns the whole raw answer."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    int(line[15:]) for line in head.lower().split(b"\r\n") if line[:15] == b"content-length:"
                )
                writer.write(await handle(await reader.readexactly(length)))
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/{KEY}"


def http_answer(body: bytes, status: str = "200 OK", headers: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n{headers}\r\n".encode() + body


def always(answer: bytes) -> Handler:
    async def handle(_: bytes) -> bytes:
        return answer

    return handle


async def failing_call(answer: bytes, **options: Any) -> Exception:
    async with http_server(always(answer)) as url:
        node = await connect(url, timeout_ms=2_000, **options)
        with pytest.raises((TransportError, RpcError)) as caught:
            await node.call("eth_blockNumber", [])
        await node.close()
        assert KEY not in str(caught.value)
        return caught.value


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b"7", b"null", b'{"id":1}', b'{"id":99,"result":"0x1"}', b"[" * 100_000, b"\xff\xfe"],
)
async def test_malformed_http_answers_are_errors(body: bytes) -> None:
    assert isinstance(await failing_call(http_answer(body)), MalformedAnswer)


async def test_oversized_answers_are_cut_off() -> None:
    error = await failing_call(http_answer(b'{"id":1,"result":"' + b"0" * 5_000 + b'"}'), max_message_bytes=1_000)
    assert isinstance(error, MalformedAnswer)
    assert "larger than 1000 bytes" in str(error)


async def test_http_statuses() -> None:
    limited = await failing_call(http_answer(b"slow down", "429 Too Many Requests", "retry-after: 7\r\n"))
    assert isinstance(limited, RateLimited)
    assert limited.retry_after_ms == 7_000
    down = await failing_call(http_answer(b"oops", "503 Service Unavailable"))
    assert "HTTP 503" in str(down)
    odd = await failing_call(http_answer(b'{"id":null,"error":{"code":-32000,"message":"busy"}}', "500 Oops"))
    assert isinstance(odd, RpcError)
    strange = await failing_call(http_answer(b'{"id":1,"error":"text instead of an object"}'))
    assert isinstance(strange, RpcError)


async def test_raw_transactions_never_come_back_in_errors() -> None:
    body = orjson.dumps({"id": 1, "error": {"code": -32000, "message": f"invalid transaction {RAW_TX} at {KEY}"}})
    async with http_server(always(http_answer(body))) as url:
        node = await connect(url)
        with pytest.raises(RpcError) as caught:
            await node.call("eth_sendRawTransaction", [RAW_TX])
        await node.close()
    assert RAW_TX[2:] not in str(caught.value)
    assert KEY not in str(caught.value)


async def test_http_batch_answers_are_matched_by_id() -> None:
    async def reverse(body: bytes) -> bytes:
        answers = [{"id": item["id"], "result": item["method"]} for item in orjson.loads(body)]
        return http_answer(orjson.dumps(answers[::-1]))

    async def lose_one(body: bytes) -> bytes:
        return http_answer(orjson.dumps([{"id": item["id"], "result": 1} for item in orjson.loads(body)[1:]]))

    async with http_server(reverse) as url:
        node = await connect(url, batch_size=2)
        assert await node.batch([("a", []), ("b", []), ("c", [])]) == ["a", "b", "c"]
        await node.close()
    async with http_server(lose_one) as url:
        node = await connect(url)
        with pytest.raises(MalformedAnswer, match=r"lacks a \(number 1\)"):
            await node.batch([("a", []), ("b", [])])
        await node.close()
    async with http_server(
        always(http_answer(b'{"id":null,"error":{"code":-32600,"message":"too large"}}'))
    ) as url:
        node = await connect(url)
        assert [str(answer) for answer in await node.batch([("a", []), ("b", [])])] == [
            "a: node answered error -32600: too large",
            "b: node answered error -32600: too large",
        ]
        await node.close()


async def silent_call(node: Transport) -> None:
    with pytest.raises(CallTimeout, match="within 50 ms"):
        await node.call("eth_blockNumber", [], timeout_ms=50)


async def test_a_silent_node_costs_the_time_out_and_no_more(model_node: ModelNode) -> None:
    async def never(_: bytes) -> bytes:
        await asyncio.Event().wait()
        return b""

    async with http_server(never) as url:
        node = await connect(url)
        await silent_call(node)
        await node.close()
    node = await connect(model_node.url)
    model_node.mute = True
    await silent_call(node)
    model_node.mute = False
    assert await node.call("eth_blockNumber", []) == "0x0"
    await node.close()


async def test_a_refused_batch_without_ids_fails_every_call_of_it(model_node: ModelNode) -> None:
    model_node.refuse_batches = True
    node = await connect(model_node.url)
    answers = await node.batch([("eth_blockNumber", []), ("eth_chainId", [])])
    assert [answer.code for answer in answers if isinstance(answer, RpcError)] == [-32600, -32600]
    await node.close()


async def test_oversized_websocket_messages_close_the_connection(model_node: ModelNode) -> None:
    node = await connect(model_node.url, max_message_bytes=2_000)
    model_node.spoil = lambda *_: "0x" + "00" * 5_000
    with pytest.raises(TransportError, match="1009"):
        await node.call("eth_blockNumber", [])
    assert node.closed


async def test_a_call_between_end_of_stream_and_lost_connection_is_a_transport_error(model_node: ModelNode) -> None:
    """The loop tells of these in two steps, and calls are made in between."""
    transport = await connect(model_node.url)
    assert isinstance(transport, WebSocketTransport)
    transport.eof_received()
    with pytest.raises(TransportError, match="connection lost"):
        await transport.call("eth_blockNumber", [])
    await transport.close()

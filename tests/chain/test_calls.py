"""State at one block, Multicall3 and receipts, on a real node and against malformed answers."""

import contextlib
from collections.abc import Sequence
from typing import Any

import pytest
from eth_abi.abi import decode, encode
from hypothesis import given
from hypothesis import strategies as st

from ouro.chain.calls import (
    BlockRef,
    eth_call,
    eth_call_many,
    get_balance,
    get_code,
    get_receipts,
    get_storage,
    multicall,
    probe_block_ref,
)
from ouro.chain.errors import MalformedAnswer, RpcError
from ouro.chain.headers import parse_header
from ouro.chain.multicall import decode_aggregate3, encode_aggregate3
from ouro.chain.receipts import parse_receipt
from ouro.chain.rpc import Transport, connect
from ouro.chain.transactions import TransactionReader
from ouro.chain.walk import VanishedError
from ouro.testnet.artifacts import artifact, fetch
from ouro.testnet.node import AnvilNode

TOPIC = "0x" + "11" * 32
# Logs TOPIC, stores the number of the block in slot 0 and returns it.
RUNTIME = bytes.fromhex("7f" + TOPIC[2:] + "5f5fa1435f555f545f5260205ff3")
REVERTS = bytes.fromhex("7f" + "ab" * 32 + "5f5260205ffd")
INIT = bytes([0x60, 0, 0x80, 0x60, 0x09, 0x5F, 0x39, 0x5F, 0xF3])


async def send(node: Transport, **transaction: str) -> dict[str, Any]:
    sender = (await node.call("eth_accounts", []))[0]
    tx = await node.call("eth_sendTransaction", [{"from": sender, "gas": "0x2dc6c0", **transaction}])
    while (receipt := await node.call("eth_getTransactionReceipt", [tx])) is None:
        pass
    return receipt


async def deploy(node: Transport, runtime: bytes) -> str:
    init = INIT[:1] + bytes([len(runtime)]) + INIT[2:]
    return (await send(node, data="0x" + (init + runtime).hex()))["contractAddress"]


async def head(node: Transport) -> BlockRef:
    header = parse_header(await node.call("eth_getBlockByNumber", ["latest", False]))
    return await probe_block_ref(node, header.number, header.hash)


@pytest.mark.node
async def test_state_is_read_at_exactly_that_block(anvil: AnvilNode) -> None:
    node = await connect(anvil.ws_url)
    contract = await deploy(node, RUNTIME)
    reverting = await deploy(node, REVERTS)
    await send(node, to=contract)
    first = await head(node)
    assert first.by_hash
    await send(node, to=contract)
    second = await head(node)
    numbers = [await get_storage(node, [(contract, 0)], block) for block in (first, second)]
    assert numbers == [[first.number], [second.number]]
    by_number = BlockRef(first.number, first.hash, by_hash=False)
    assert await get_storage(node, [(contract, 0)], by_number) == [first.number]
    assert await get_code(node, contract, first) == RUNTIME
    assert await get_code(node, "0x" + "77" * 20) == b""
    assert await get_balance(node, contract, first) == 0
    assert int.from_bytes(await eth_call(node, contract, b"", first), "big") == first.number
    with pytest.raises(RpcError) as caught:
        await eth_call(node, reverting, b"", first)
    assert caught.value.data == "0x" + "ab" * 32
    answers = await eth_call_many(node, [(contract, b""), (reverting, b"")], second)
    assert isinstance(answers[1], RpcError)
    assert answers[0] == second.number.to_bytes(32, "big")
    await node.call("anvil_reorg", [2, []])
    with pytest.raises(RpcError):
        await get_balance(node, contract, second)
    with pytest.raises(VanishedError):
        await get_balance(node, contract, BlockRef(second.number, second.hash, by_hash=False))
    await node.close()


@pytest.mark.node
async def test_multicall_on_the_real_contract(anvil: AnvilNode) -> None:
    node = await connect(anvil.ws_url)
    fetch()
    code = artifact("@across-protocol/contracts", "dist/evm/artifacts/Multicall3.sol/Multicall3.json").bytecode
    address = (await send(node, data="0x" + code.hex()))["contractAddress"]
    contract, reverting = await deploy(node, RUNTIME), await deploy(node, REVERTS)
    block = await head(node)
    calls = [(contract, b""), (reverting, b"\x01\x02"), ("0x" + "77" * 20, b""), (contract, b"")]
    number = block.number.to_bytes(32, "big")
    for chunk in (1, 3, 500):
        assert await multicall(node, address, calls, block, chunk) == [number, None, b"", number]
    assert await multicall(node, address, [], block) == []
    await node.close()


@pytest.mark.node
async def test_receipts_of_success_revert_and_nothing(anvil: AnvilNode) -> None:
    node = await connect(anvil.ws_url)
    contract, reverting = await deploy(node, RUNTIME), await deploy(node, REVERTS)
    good, bad = await send(node, to=contract), await send(node, to=reverting)
    missing = "0x" + "99" * 32
    receipts = await get_receipts(node, [good["transactionHash"], bad["transactionHash"], missing])
    assert [receipt and receipt.status for receipt in receipts] == [1, 0, None]
    first = receipts[0]
    assert first is not None
    assert [(log.address, log.topics) for log in first.logs] == [(contract, (TOPIC,))]
    assert first.gas_cost_wei == int(good["gasUsed"], 16) * int(good["effectiveGasPrice"], 16)
    reader = TransactionReader(node)
    assert await reader.knows([good["transactionHash"], missing]) == [True, False]
    assert await reader.nonces([good["from"], missing[:42]]) == [4, 0]
    assert await reader.receipts([missing]) == [None]
    await node.close()


RECEIPT: dict[str, Any] = {
    "transactionHash": "0x" + "01" * 32,
    "blockHash": "0x" + "02" * 32,
    "blockNumber": "0x10",
    "transactionIndex": "0x0",
    "status": "0x1",
    "gasUsed": "0x5208",
    "effectiveGasPrice": "0x7",
    "contractAddress": None,
    "logs": [],
}


def test_receipt_fields_are_checked_by_name() -> None:
    parsed = parse_receipt(RECEIPT)
    assert parsed is not None
    assert (parsed.gas_cost_wei, parsed.block_number) == (147_000, 16)
    assert parse_receipt(None) is None
    assert parse_receipt({**RECEIPT, "blockHash": None}) is None
    for field in ("status", "gasUsed", "effectiveGasPrice", "transactionHash", "logs"):
        with pytest.raises(ValueError, match=f"receipt field {field}"):
            parse_receipt({**RECEIPT, field: 5})
    with pytest.raises(ValueError, match="0 or 1 is expected"):
        parse_receipt({**RECEIPT, "status": "0x2"})
    with pytest.raises(ValueError, match="was asked for"):
        parse_receipt(RECEIPT, "0x" + "03" * 32)
    with pytest.raises(ValueError, match="not an object"):
        parse_receipt([])


addresses = st.binary(min_size=20, max_size=20).map(lambda raw: "0x" + raw.hex())


@given(st.lists(st.tuples(addresses, st.binary(max_size=70)), max_size=6))
def test_multicall_encoding_is_the_abi(calls: Sequence[tuple[str, bytes]]) -> None:
    encoded = encode_aggregate3(calls)
    assert encoded[:4].hex() == "82ad56cb"
    expected = [(target, True, data) for target, data in calls]
    assert list(decode(["(address,bool,bytes)[]"], encoded[4:])[0]) == expected


@given(st.lists(st.tuples(st.booleans(), st.binary(max_size=70)), max_size=6))
def test_multicall_decoding_is_the_abi(results: Sequence[tuple[bool, bytes]]) -> None:
    data = encode(["(bool,bytes)[]"], [results])
    assert decode_aggregate3(data, len(results)) == [out if success else None for success, out in results]


@given(st.binary(max_size=400), st.integers(0, 5))
def test_multicall_answers_of_any_kind_do_no_harm(data: bytes, count: int) -> None:
    with contextlib.suppress(ValueError):
        assert len(decode_aggregate3(data, count)) == count


async def test_no_multicall_at_the_address_is_named(anvil: AnvilNode) -> None:
    node = await connect(anvil.ws_url)
    with pytest.raises(MalformedAnswer, match="Multicall3 at 0x7777"):
        await multicall(node, "0x" + "77" * 20, [("0x" + "11" * 20, b"")], "latest")
    await node.close()

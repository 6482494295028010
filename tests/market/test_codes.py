"""Contracts whose code is exchanged without a word: on a node, with every kind of proxy that pools use."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ouro.chain.errors import RpcError
from ouro.chain.rpc import Transport
from ouro.config.model import ChainConfig
from ouro.hashing import keccak
from ouro.market.bootstrap import load_market
from ouro.market.codeguard import guarded, quarantine_changed
from ouro.market.codes import CodeBook, Knowledge, Print, codes_path, read_prints
from ouro.market.errors import SnapshotError
from ouro.market.market import Market
from ouro.market.reader import read_block
from ouro.market.upkeep import repair_pools
from ouro.testnet.client import Client
from ouro.testnet.deployment import Deployment

from .localchain import Traffic
from .streams import address, word

IMPLEMENTATION = f"0x{int.from_bytes(keccak(b'eip1967.proxy.implementation')) - 1:064x}"
BEACON = f"0x{int.from_bytes(keccak(b'eip1967.proxy.beacon')) - 1:064x}"
LEGACY = "0x" + keccak(b"org.zeppelinos.proxy.implementation").hex()
ANSWERS_SLOT_0 = "0x60005460005260206000f3"
ONE, OTHER = "0x600160005260206000f3", "0x600260005260206000f3"


def proxy(slot: str) -> str:
    """Runtime code that delegates everything to what ``slot`` names."""
    call = f"36600060003760006000366000 7f{slot[2:]} 545af4".replace(" ", "")
    return f"0x{call}3d600060003e603e573d6000fd5b3d6000f3"


def clone(target: str, arguments: str = "") -> str:
    return f"0x363d3d373d3d3d363d73{target[2:]}5af43d82803e903d91602b57fd5bf3{arguments}"


class Counting:
    """Passes on, counts requests, and may refuse calls without a target as some providers do."""

    def __init__(self, inner: Transport, *, creates: bool = True) -> None:
        self.inner, self.creates, self.requests = inner, creates, 0

    async def call(self, method: str, params: list[Any], timeout_ms: int | None = None) -> Any:
        self.requests += 1
        if method == "eth_call" and "to" not in params[0] and not self.creates:
            raise RpcError(-32602, "missing field to")
        return await self.inner.call(method, params, timeout_ms)

    async def batch(self, calls: Sequence[tuple[str, list[Any]]], timeout_ms: int | None = None) -> list[Any]:
        self.requests += 1
        return await self.inner.batch(calls, timeout_ms)


def hash_of(code: str) -> str:
    return "0x" + keccak(bytes.fromhex(code[2:])).hex()


def point(client: Client, contract: str, slot: str, target: str) -> None:
    client.call("anvil_setStorageAt", contract, slot, "0x" + word(int(target, 16)))


@pytest.mark.node
@pytest.mark.parametrize("creates", [True, False])
async def test_what_stands_behind_every_kind_of_contract(
    creates: bool, traffic: Traffic, config: ChainConfig, reader: Transport, client: Client
) -> None:
    one, other, beacon = (address(k, "target") for k in range(3))
    codes = {
        one: ONE,
        other: OTHER,
        beacon: ANSWERS_SLOT_0,
        address(1, "clone"): clone(one),
        address(2, "clone"): clone(other, "dead" * 40),
        address(1, "proxy"): proxy(IMPLEMENTATION),
        address(2, "proxy"): proxy(BEACON),
        address(3, "proxy"): proxy(LEGACY),
        address(4, "proxy"): proxy(IMPLEMENTATION),
        address(5, "clone"): clone(address(1, "nowhere")),
    }
    for contract, code in codes.items():
        client.call("anvil_setCode", contract, code)
    point(client, beacon, "0x" + word(0), other)
    point(client, address(1, "proxy"), IMPLEMENTATION, one)
    point(client, address(2, "proxy"), BEACON, beacon)
    point(client, address(3, "proxy"), LEGACY, other)
    traffic.mine()
    targets = {
        address(1, "clone"): one,
        address(2, "clone"): other,
        address(1, "proxy"): one,
        address(2, "proxy"): other,
        address(3, "proxy"): other,
        address(5, "clone"): address(1, "nowhere"),
    }
    node = Counting(reader, creates=creates)
    nothing = address(1, "nothing")
    pool = traffic.deployment.pools[0].address
    block = await read_block(reader, "latest")
    found = await read_prints(node, config.multicall, [*codes, nothing, pool], block, Knowledge())
    assert found.pop(nothing) == Print("")
    assert found.pop(pool) == Print(hash_of(client.call("eth_getCode", pool, "latest")))
    for contract, print_now in found.items():
        target = targets.get(contract, "")
        behind = hash_of(codes[target]) if target in codes else ""
        assert print_now == Print(hash_of(codes[contract]), target, behind), contract


@pytest.mark.node
async def test_a_thousand_clones_cost_a_few_requests(
    traffic: Traffic, config: ChainConfig, reader: Transport, client: Client
) -> None:
    target = address(1, "many's target")
    client.call("anvil_setCode", target, ONE)
    many = [address(k, "of many") for k in range(1_000)]
    for contract in many:
        client.call("anvil_setCode", contract, clone(target))
    traffic.mine()
    node, known = Counting(reader), Knowledge()
    block = await read_block(reader, "latest")
    found = await read_prints(node, config.multicall, many, block, known)
    assert set(found.values()) == {Print(hash_of(clone(target)), target, hash_of(ONE))}
    assert node.requests <= 5  # three times hashes, one code, one target
    client.call("anvil_setCode", target, OTHER)
    traffic.mine()
    node.requests = 0
    again = await read_prints(node, config.multicall, many, await read_block(reader, "latest"), known)
    assert set(again.values()) == {Print(hash_of(clone(target)), target, hash_of(OTHER))}
    assert node.requests <= 4


def make_upgradeable(client: Client, pool: str, implementation: str) -> None:
    """The pool becomes a proxy in front of its own code, on its own storage."""
    client.call("anvil_setCode", implementation, client.call("eth_getCode", pool, "latest"))
    client.call("anvil_setCode", pool, proxy(IMPLEMENTATION))
    point(client, pool, IMPLEMENTATION, implementation)


@pytest.mark.node
async def test_a_changed_pool_is_out_until_the_operator_accepts_its_code(
    traffic: Traffic,
    deployment: Deployment,
    config: ChainConfig,
    reader: Transport,
    client: Client,
    data_dir: Path,
) -> None:
    def settle() -> None:
        for _ in range(config.finality_depth + 1):
            traffic.mine()

    async def start(**more: Any) -> Market:
        changed = config.model_copy(update=more)
        return (await load_market("ethereum", changed, reader, data_dir))[0]

    upgradeable, gone, replaced = [pool.address for pool in deployment.pools if pool.kind == "v2"][:3]
    make_upgradeable(client, upgradeable, address(1, "implementation"))
    settle()
    market = await start()
    assert market.quarantine == {}
    assert market.tradable(upgradeable)
    kept = {pool: client.call("eth_getCode", pool, "latest") for pool in (gone, replaced)}

    # the same functions in another contract, a pool that is no more, a pool with other code in its place
    client.call("anvil_setCode", address(2, "implementation"), kept[gone] + "00")
    point(client, upgradeable, IMPLEMENTATION, address(2, "implementation"))
    client.call("anvil_setCode", gone, "0x")
    client.call("anvil_setCode", replaced, kept[replaced] + "00")
    settle()
    book, block = CodeBook(), await read_block(reader, "latest")
    book.load(codes_path(data_dir, "ethereum"), config.chain_id)
    changed = await book.check(reader, config.multicall, guarded(market.states.values()), block)
    assert set(changed) == {upgradeable, gone, replaced}
    assert set(quarantine_changed(market, changed)) == set(changed)
    assert quarantine_changed(market, changed) == []
    assert not (await repair_pools(market, config, reader)).size
    assert not any(market.usable(pool) for pool in changed)

    client.call("anvil_setCode", gone, kept[gone])  # made again as it was
    settle()
    market = await start()
    assert market.quarantine.keys() == {upgradeable, replaced}
    reasons = {pool: held.reason for pool, held in market.quarantine.items()}
    assert f"delegates to {address(2, 'implementation')}" in reasons[upgradeable]
    assert "has other code than before" in reasons[replaced]
    assert all(held.final for held in market.quarantine.values())
    digests = {pool: reason.split('= "')[1].split('"')[0] for pool, reason in reasons.items()}

    market = await start(accepted_code={replaced: digests[upgradeable]})
    assert market.quarantine.keys() == {upgradeable, replaced}
    market = await start(accepted_code={upgradeable: digests[upgradeable]})
    assert market.quarantine.keys() == {replaced}
    assert (await start()).quarantine.keys() == {replaced}  # accepted once and for all

    token = next(token.address for token in deployment.tokens if token.address in market.states[replaced].tokens)
    client.call("anvil_setCode", token, client.call("eth_getCode", token, "latest") + "00")
    settle()
    market = await start(accepted_code={replaced: digests[replaced]})
    hit = {pool for pool, state in market.states.items() if token in state.tokens}
    assert market.quarantine.keys() == hit
    assert all(f"its token {token} has other code" in held.reason for held in market.quarantine.values())


def test_a_damaged_or_foreign_book_is_not_used(tmp_path: Path) -> None:
    book, path = CodeBook(), codes_path(tmp_path / "with blanks", "c")
    assert book.compare({"0x1": Print("0xa"), "0x2": Print("")}) == {}
    assert book.prints.keys() == {"0x1"}
    book.save(path, 5)
    again = CodeBook()
    again.load(path, 5)
    assert again.prints == book.prints
    assert set(again.compare({"0x1": Print("0xb"), "0x2": Print("0xc")})) == {"0x1"}
    assert again.prints == {"0x1": Print("0xa"), "0x2": Print("0xc")}
    with pytest.raises(SnapshotError, match="chain id"):
        again.load(path, 6)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(SnapshotError):
        again.load(path, 5)

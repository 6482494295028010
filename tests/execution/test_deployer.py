"""Deployment on real nodes: one address everywhere, nobody else can take it, and every refusal sends nothing."""

import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import coincurve
import pytest
from eth_account import Account

from ouro.chain.errors import RpcError, WrongChain
from ouro.chain.pool import EndpointPool
from ouro.execution import create3
from ouro.execution.builds import DeployError, builds, choose_build, missing_opcodes
from ouro.execution.contract import set_operator
from ouro.execution.create3 import PROXY, address_of_salt, deploy_call, salt_of, shared_factory
from ouro.execution.deployer import Deployed, deploy
from ouro.execution.deployplan import Wish, check_funds, plan
from ouro.execution.deploytx import DeployTx, sign
from ouro.execution.onchain import Expected, differences, look
from ouro.hashing import keccak, selector
from ouro.testnet.client import Client
from ouro.testnet.node import AnvilNode, NodeConfig
from ouro.types import Address, FeeBid

pytestmark = pytest.mark.node

KEY = coincurve.PrivateKey(keccak(b"a deployer of these tests"))
DEPLOYER: Address = Account.from_key(KEY.secret).address.lower()
OWNER, TREASURY, OPERATOR, STRANGER = ("0x" + digit * 40 for digit in "abcd")
COIN = 10**18

MakeNode = Callable[..., AnvilNode]


@pytest.fixture
def make_node(tmp_path: Path) -> Iterator[MakeNode]:
    nodes: list[AnvilNode] = []

    def make(chain_id: int = 9_300_001, funds: int = COIN, **config: Any) -> AnvilNode:
        node = AnvilNode(NodeConfig(chain_id=chain_id, **config), tmp_path / f"node{len(nodes)}").start()
        nodes.append(node)
        rpc(node, "anvil_setBalance", DEPLOYER, hex(funds))
        return node

    yield make
    for node in nodes:
        node.close()


def rpc(node: AnvilNode, method: str, *params: Any) -> Any:
    with node.client() as client:
        return client.call(method, *params)


def mined(node: AnvilNode, request: dict[str, Any]) -> dict[str, Any]:
    """The receipt; a node that mines at once still answers before it has."""
    with node.client() as client:
        tx_hash = client.call("eth_sendTransaction", request)
        for _ in range(1_000):
            if (receipt := client.call("eth_getTransactionReceipt", tx_hash)) is not None:
                return receipt
            time.sleep(0.01)
    raise AssertionError(f"{tx_hash} was not mined")


def wish(chain_id: int = 9_300_001, **changes: Any) -> Wish:
    plain = Wish("local", chain_id, DEPLOYER, OWNER, (OPERATOR,), TREASURY, create3.default_number(OWNER))
    return replace(plain, **changes)


def signer(tx: DeployTx) -> tuple[bytes, str]:
    return sign(tx, KEY)


@asynccontextmanager
async def pool(node: AnvilNode) -> AsyncIterator[EndpointPool]:
    async with EndpointPool([node.http_url], node.config.chain_id) as endpoints:
        yield endpoints


async def run(node: AnvilNode, wanted: Wish) -> Deployed:
    async with pool(node) as endpoints:
        return await deploy(endpoints, wanted, signer, timeout_s=60)


async def refusal(node: AnvilNode, wanted: Wish) -> str:
    """The one line of a refused deployment that has changed nothing."""
    before = rpc(node, "eth_blockNumber"), rpc(node, "eth_getTransactionCount", DEPLOYER, "pending")
    with pytest.raises(DeployError) as caught:
        await run(node, wanted)
    assert (rpc(node, "eth_blockNumber"), rpc(node, "eth_getTransactionCount", DEPLOYER, "pending")) == before
    assert "\n" not in str(caught.value)
    return str(caught.value)


def without_proxy(node: AnvilNode) -> AnvilNode:
    rpc(node, "anvil_setCode", PROXY, "0x")
    rpc(node, "anvil_setNonce", PROXY, "0x0")
    return node


# ------------------------------------------------------------------------------------------------- deployment


@pytest.mark.parametrize("hardfork", ["london", "shanghai"])
async def test_same_address_on_chains_that_differ_in_everything(make_node: MakeNode, hardfork: str) -> None:
    """Chain id, hard fork, build, owner's past, way to the factory, fees."""
    modern = await run(make_node(), wish())
    old_node = without_proxy(make_node(9_300_250, hardfork=hardfork))
    rpc(old_node, "anvil_setNonce", DEPLOYER, "0x11")
    old = await run(old_node, wish(9_300_250, fee_model="legacy"))
    assert (
        modern.address
        == old.address
        == (await run(make_node(9_300_002, block_time_s=0.2), wish(9_300_002))).address
    )
    assert (modern.build.name, old.build.name) == ("OuroExecutor", "OuroExecutorStorage")
    assert old.factory == modern.factory == shared_factory()
    assert len(old.receipts) == 4  # funding, proxy, factory, executor
    async with pool(old_node) as endpoints:
        found = await look(endpoints, old.address, (OPERATOR,), ())
        assert differences(found, Expected(OWNER, TREASURY, (OPERATOR,))) == []


async def test_estimates_are_enough_and_not_far_off(make_node: MakeNode) -> None:
    node = without_proxy(make_node())
    async with pool(node) as endpoints:
        made = await plan(endpoints, wish())
        done = await deploy(endpoints, wish(), signer)
    # Although a node suggests the 99 gwei of the presigned transaction right after it.
    funding, _, *ours = done.receipts
    assert max(paid.effective_gas_price for paid in (funding, *ours)) <= made.fee.max_fee_per_gas_wei
    spent = COIN - int(rpc(node, "eth_getBalance", DEPLOYER, "latest"), 16)
    assert spent <= made.max_cost_wei
    assert [step.name for step in made.steps] == [
        "fund single-use account", "deterministic-deployment proxy", "factory", "executor",
    ]  # fmt: skip
    used = [receipt.gas_used for receipt in done.receipts]
    assert all(gas <= step.gas_limit for gas, step in zip(used, made.steps, strict=True))
    assert made.steps[-1].gas_limit < used[-1] * 13 // 10


async def test_another_owner_or_deployer_or_salt_is_another_address(make_node: MakeNode) -> None:
    node = make_node()
    async with pool(node) as endpoints:
        addresses = {
            (await plan(endpoints, wanted)).address
            for wanted in (
                wish(),
                wish(owner=STRANGER, number=create3.default_number(STRANGER)),
                wish(deployer=STRANGER),
                wish(number=1),
            )
        }
        assert len(addresses) == 4
        same = {
            (await plan(endpoints, wanted)).address
            for wanted in (wish(operators=()), wish(treasury=None), wish(treasury=STRANGER))
        }
    assert len(same) == 1


async def test_an_interrupted_deployment_goes_on(make_node: MakeNode) -> None:
    node = without_proxy(make_node())

    def stop_at_the_last(tx: DeployTx) -> tuple[bytes, str]:
        if tx.to == shared_factory():
            raise KeyboardInterrupt
        return signer(tx)

    async with pool(node) as endpoints:
        with pytest.raises(KeyboardInterrupt):
            await deploy(endpoints, wish(), stop_at_the_last)
        done = await deploy(endpoints, wish(), signer)
    assert len(done.receipts) == 1


async def test_nobody_else_can_take_the_address(make_node: MakeNode) -> None:
    node = make_node()
    first = await run(node, wish(number=99))  # the factory is there now
    evil = bytes.fromhex("6001600c60003960016000f3" + "ff")
    address = address_of_salt(first.factory, salt_of(DEPLOYER, 7))
    thief = rpc(node, "eth_accounts")[0]
    call = {"from": thief, "to": first.factory, "data": "0x" + deploy_call(salt_of(DEPLOYER, 7), evil).hex()}
    async with pool(node) as endpoints:
        with pytest.raises(RpcError) as caught:
            await endpoints.call("eth_call", [call, "latest"])
        assert caught.value.data == "0x" + selector("NotYourSalt()").hex()
        # The thief copies the pending transaction as it is, and is mined first.
        made = await plan(endpoints, wish(number=7))
        copied = {"from": thief, "to": made.steps[0].to, "data": "0x" + made.steps[0].data.hex(), "gas": "0x500000"}
        assert mined(node, copied)["status"] == "0x0"
        assert rpc(node, "eth_getCode", address, "latest") == "0x"
        assert (await deploy(endpoints, wish(number=7), signer)).address == address
    # The thief's own salt of the same number leads elsewhere.
    assert address_of_salt(first.factory, salt_of(thief.lower(), 7)) != address


async def test_somebody_else_making_the_shared_factory_first_is_fine(make_node: MakeNode) -> None:
    node = make_node()

    def overtaken(tx: DeployTx) -> tuple[bytes, str]:
        if tx.to == PROXY:
            stranger = rpc(node, "eth_accounts")[0]
            mined(node, {"from": stranger, "to": PROXY, "data": "0x" + tx.data.hex()})
        return signer(tx)

    async with pool(node) as endpoints:
        done = await deploy(endpoints, wish(), overtaken)
    assert [receipt.status for receipt in done.receipts] == [0, 1]


async def test_factory_refuses_a_used_salt_and_a_failing_constructor(make_node: MakeNode) -> None:
    node = make_node()
    done = await run(node, wish())
    for code, error in ((b"\x00", "SaltUsed()"), (bytes.fromhex("60006000fd"), "ConstructorFailed()")):
        number = wish().number + (error != "SaltUsed()")
        call = {
            "from": DEPLOYER,
            "to": done.factory,
            "data": "0x" + deploy_call(salt_of(DEPLOYER, number), code).hex(),
        }
        async with pool(node) as endpoints:
            with pytest.raises(RpcError) as caught:
                await endpoints.call("eth_call", [call, "latest"])
        assert caught.value.data == "0x" + selector(error).hex()


async def test_factory_predicts_what_we_predict(make_node: MakeNode) -> None:
    node = make_node()
    done = await run(node, wish())
    for salt in (salt_of(DEPLOYER, 3), keccak(b"any"), bytes(32), b"\xff" * 32):
        answer = rpc(
            node,
            "eth_call",
            {"to": done.factory, "data": "0x" + (selector("addressOf(bytes32)") + salt).hex()},
            "latest",
        )
        assert "0x" + answer[26:] == address_of_salt(done.factory, salt)


async def test_own_factory_where_the_shared_one_is_impossible(make_node: MakeNode) -> None:
    node = without_proxy(make_node())
    done = await run(node, wish(own_factory=True))
    assert done.factory == create3.create_address(DEPLOYER, 0)
    assert done.address != address_of_salt(shared_factory(), salt_of(DEPLOYER, wish().number))
    again = await run(node, wish(factory=done.factory, number=1))
    assert again.address == address_of_salt(done.factory, salt_of(DEPLOYER, 1))
    async with pool(node) as endpoints:
        assert "own factory" in (await plan(endpoints, wish(factory=done.factory, number=2))).notes[-1]


# ------------------------------------------------------------------------------------------------- refusals


async def test_deploying_again_is_refused(make_node: MakeNode) -> None:
    node = make_node()
    done = await run(node, wish())
    said = await refusal(node, wish())
    assert done.address in said
    assert "code already" in said


async def test_without_funds_is_refused(make_node: MakeNode) -> None:
    node = make_node(funds=10**15)
    said = await refusal(node, wish())
    assert DEPLOYER in said
    assert "holds 0.001 native" in said
    async with pool(node) as endpoints:
        made = await plan(endpoints, wish())  # the plan itself is shown
        with pytest.raises(DeployError):
            check_funds(made)
        rpc(node, "anvil_setBalance", DEPLOYER, hex(made.max_cost_wei))
        check_funds(await plan(endpoints, wish()))


async def test_wrong_chain_id_is_refused(make_node: MakeNode) -> None:
    node = make_node(9_300_001)
    with pytest.raises(WrongChain, match="serves chain id 9300001, but 1 is configured"):
        async with EndpointPool([node.http_url], 1):
            pass


async def test_hard_fork_without_the_opcodes_is_refused(make_node: MakeNode) -> None:
    node = make_node(hardfork="shanghai")
    async with pool(node) as endpoints:
        with pytest.raises(DeployError, match=r"too old: OuroExecutor needs TLOAD \(cancun\), TSTORE \(cancun\)"):
            await choose_build(endpoints, builds()[:1])
        assert await missing_opcodes(endpoints, [0x5F]) == []
    async with pool(make_node(hardfork="london")) as endpoints:
        assert await missing_opcodes(endpoints, [0x5F, 0x48, 0x5E]) == ["MCOPY (cancun)", "PUSH0 (shanghai)"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"owner": "0x" + "00" * 20}, "owner: the zero address"),
        ({"operators": (OPERATOR, OPERATOR)}, "named twice"),
        ({"operators": ("0x" + "00" * 20,)}, "zero address is none"),
        ({"operators": tuple(f"0x{k:040x}" for k in range(1, 34))}, "TooMany"),
        ({"fee_model": "eip1559", "max_fee_per_gas_wei": 1}, "the limit is 0.000 gwei"),
        ({"factory": STRANGER}, f"no factory at {STRANGER}"),
        ({"factory": PROXY}, "other code than the factory"),
        ({"factory": STRANGER, "own_factory": True}, "not both"),
    ],
)
async def test_bad_wishes_are_refused(make_node: MakeNode, changes: dict[str, Any], words: str) -> None:
    assert words in await refusal(make_node(), wish(**changes))


async def test_unmined_transactions_are_waited_for(make_node: MakeNode) -> None:
    node = make_node()
    rpc(node, "evm_setAutomine", False)
    raw, _ = signer(DeployTx(9_300_001, 0, OWNER, 1, 21_000, FeeBid(5 * 10**9, 1, legacy=False), b""))
    rpc(node, "eth_sendRawTransaction", "0x" + raw.hex())
    assert "1 transactions that are not mined yet" in await refusal(node, wish())


async def test_keyless_transaction_that_can_not_be_mined_is_not_paid_for(make_node: MakeNode) -> None:
    dear = without_proxy(make_node(base_fee_wei=200 * 10**9))
    assert "pays 100" in await refusal(dear, wish())
    used_up = without_proxy(make_node())
    rpc(used_up, "anvil_setNonce", create3.KEYLESS_SIGNER, "0x1")
    assert "used up" in await refusal(used_up, wish())
    foreign = make_node()
    rpc(foreign, "anvil_setCode", PROXY, "0x00")
    assert "other code than the deterministic-deployment proxy" in await refusal(foreign, wish())


async def test_gas_that_becomes_dearer_stops_before_the_next_step(make_node: MakeNode) -> None:
    node = make_node()

    def dearer_after(tx: DeployTx) -> tuple[bytes, str]:
        rpc(node, "anvil_setNextBlockBaseFeePerGas", hex(tx.fee.max_fee_per_gas_wei - 10**9))
        return signer(tx)

    async with pool(node) as endpoints:
        with pytest.raises(DeployError, match="gas has become dearer"):
            await deploy(endpoints, wish(own_factory=False), dearer_after)
    assert rpc(node, "eth_getTransactionCount", DEPLOYER, "latest") == "0x1"


class _Refusing:
    """A node in front of a real one that takes no transaction without chain id, as many providers do."""

    def __init__(self, node: Any) -> None:
        self._node = node

    async def call(self, method: str, params: list[Any], timeout_ms: int | None = None) -> Any:
        if method == "eth_sendRawTransaction" and params == ["0x" + create3.KEYLESS_RAW.hex()]:
            raise RpcError(-32000, "only replay-protected (EIP-155) transactions allowed over RPC", None, method)
        return await self._node.call(method, params, timeout_ms)

    async def batch(self, calls: Any, timeout_ms: int | None = None) -> list[Any]:
        return await self._node.batch(calls, timeout_ms)


class _Other(_Refusing):
    """A chain that compiles what it is given, as zkSync does."""

    async def call(self, method: str, params: list[Any], timeout_ms: int | None = None) -> Any:
        answer = await self._node.call(method, params, timeout_ms)
        return answer[:-2] + "ff" if method == "eth_call" and len(answer) > 1000 else answer


async def test_a_chain_that_makes_other_code_is_refused(make_node: MakeNode) -> None:
    async with pool(make_node()) as endpoints:
        with pytest.raises(DeployError, match="other code"):
            await plan(_Other(endpoints), wish())


class _NoOverrides(_Refusing):
    """A node that ignores state overrides: estimates then see an empty account."""

    async def call(self, method: str, params: list[Any], timeout_ms: int | None = None) -> Any:
        return await self._node.call(method, params[:2] if method == "eth_estimateGas" else params, timeout_ms)


async def test_replay_protection_at_the_node_is_found_before_money_is_spent(make_node: MakeNode) -> None:
    node = without_proxy(make_node())
    async with pool(node) as endpoints:
        with pytest.raises(DeployError, match="without chain id"):
            await deploy(_Refusing(endpoints), wish(), signer)
    assert int(rpc(node, "eth_getBalance", DEPLOYER, "latest"), 16) == COIN


async def test_gas_is_not_underestimated_where_overrides_are_ignored(make_node: MakeNode) -> None:
    async with pool(without_proxy(make_node())) as endpoints:
        node = _NoOverrides(endpoints)
        made = await plan(node, wish())
        done = await deploy(node, wish(), signer)
    used = [receipt.gas_used for receipt in done.receipts]
    assert all(gas <= step.gas_limit for gas, step in zip(used, made.steps, strict=True))


async def test_what_is_never_mined_is_told_after_a_while(make_node: MakeNode) -> None:
    node = make_node()
    rpc(node, "evm_setAutomine", False)
    async with pool(node) as endpoints:
        with pytest.raises(DeployError, match="is not mined after 1 s"):
            await deploy(endpoints, wish(), signer, timeout_s=1)


# ------------------------------------------------------------------------------------------------- verify


async def test_verify_finds_what_differs(make_node: MakeNode) -> None:
    node = make_node()
    done = await run(node, wish())
    expected = Expected(OWNER, TREASURY, (OPERATOR,))

    async def problems(wanted: Expected = expected) -> list[str]:
        async with pool(node) as endpoints:
            return differences(await look(endpoints, done.address, wanted.operators, ()), wanted)

    assert await problems() == []
    assert (await problems(replace(expected, treasury=OWNER))) == [f"treasury: {TREASURY}, expected {OWNER}"]
    assert (await problems(replace(expected, operators=(OPERATOR, STRANGER)))) == [
        f"operators: {STRANGER} may not execute"
    ]
    _as_owner(node, done.address, set_operator(STRANGER, True))
    _as_owner(node, done.address, selector("pause()"))
    assert await problems() == [
        "paused: true, expected false",
        f"operators: {STRANGER} may execute, but is not configured",
    ]
    code = bytearray(done.build.runtime_code)
    code[1000] ^= 1
    rpc(node, "anvil_setCode", done.address, "0x" + code.hex())
    assert await problems() == ["code: differs from OuroExecutor at byte 1000; do not use this contract"]
    rpc(node, "anvil_setCode", done.address, "0x6001")
    assert "none of our builds" in (await problems())[0]
    rpc(node, "anvil_setCode", done.address, "0x")
    assert "there is none" in (await problems())[0]


async def test_a_token_that_fails_is_named_and_the_rest_is_read(make_node: MakeNode) -> None:
    node = make_node()
    done = await run(node, wish())
    rpc(node, "anvil_setBalance", done.address, "0x7")
    rpc(node, "anvil_setCode", STRANGER, "0x60006000fd")
    rpc(node, "anvil_setCode", OPERATOR, "0x602a60005260206000f3")
    async with pool(node) as endpoints:
        found = await look(endpoints, done.address, (), (STRANGER, OPERATOR, OWNER))
    assert found.held_wei == {OPERATOR: 42, None: 7}
    assert found.unreadable == (STRANGER, OWNER)


def _as_owner(node: AnvilNode, to: Address, data: bytes) -> None:
    client: Client
    with node.client() as client:
        client.call("anvil_setBalance", OWNER, hex(COIN))
        client.call("anvil_impersonateAccount", OWNER)
        sent = client.call("eth_sendTransaction", {"from": OWNER, "to": to, "data": "0x" + data.hex()})
        client.receipt(sent)

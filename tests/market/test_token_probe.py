"""Tokens that do what honest ones don't, in real pools on a local node: the probe must see each of them."""

import asyncio
import dataclasses
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from eth_abi.abi import encode
from tests.differential import sources

from ouro.chain.errors import RpcError
from ouro.chain.rpc import connect
from ouro.market.errors import SnapshotError
from ouro.market.reader import PinnedBlock, pin, read_block
from ouro.market.token_probe import (
    TokenBook,
    TokenReport,
    Verdict,
    admit,
    probe_token,
    quarantine_refused,
    tokens_path,
)
from ouro.testnet.abi import call_data, create_address
from ouro.testnet.artifacts import artifact, fetch
from ouro.testnet.client import Client
from ouro.testnet.node import AnvilNode, NodeConfig

HERE = Path(__file__).resolve().parent
CHAIN_ID = 9_300_777
SUPPLY = 10**30
LIQUIDITY = 10**24


@dataclass(frozen=True)
class PoolState:
    """What the probe needs of a state."""

    family: str
    address: str
    tokens: tuple[str, ...]


@dataclass(frozen=True)
class Managed(PoolState):
    """A pool inside a manager that holds its tokens."""

    manager: str = ""


class Town:
    """A node with factories, a base token, and odd tokens in pools."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.me = client.call("eth_accounts")[0].lower()
        fetch()
        code = sources.compiled({"": HERE / "tokens"}, {"OddToken": "OddToken.sol"}, None, "cancun")
        self._token_code = code["OddToken"].bytecode
        self.base = self.token(0)
        v2 = artifact("@uniswap/v2-core", "build/UniswapV2Factory.json").bytecode
        self.v2 = self.deploy(v2 + encode(["address"], [self.me]))
        v3 = artifact("@uniswap/v3-core", "artifacts/contracts/UniswapV3Factory.sol/UniswapV3Factory.json")
        self.v3 = self.deploy(v3.bytecode)

    def deploy(self, code: bytes) -> str:
        made = create_address(self.me, self.client.nonce(self.me))
        self._mined({"data": "0x" + code.hex()})
        return made

    def send(self, to: str, signature: str, *arguments: Any) -> None:
        self._mined({"to": to, "data": call_data(signature, *arguments)})

    def _mined(self, fields: dict[str, str]) -> None:
        request = {"from": self.me, "gas": hex(12_000_000), **fields}
        self.client.receipt(self.client.call("eth_sendTransaction", request))

    def read(self, to: str, signature: str, *arguments: Any) -> str:
        return "0x" + self.client.read(to, call_data(signature, *arguments))[-40:]

    def token(self, mode: int) -> str:
        return self.deploy(self._token_code + encode(["uint8", "uint256"], [mode, SUPPLY]))

    def pair(self, mode: int) -> tuple[str, PoolState]:
        token = self.token(mode)
        self.send(self.v2, "createPair(address,address)", token, self.base)
        pair = self.read(self.v2, "getPair(address,address)", token, self.base)
        for one in (token, self.base):
            self.send(one, "transfer(address,uint256)", pair, LIQUIDITY)
        self.send(pair, "mint(address)", self.me)
        self.send(token, "setPool(address)", pair)
        return token, PoolState("uniswap_v2", pair, (min(token, self.base), max(token, self.base)))

    def ticks(self, mode: int) -> tuple[str, PoolState]:
        token = self.token(mode)
        tokens = (min(token, self.base), max(token, self.base))
        self.send(self.v3, "createPool(address,address,uint24)", *tokens, 3000)
        pool = self.read(self.v3, "getPool(address,address,uint24)", *tokens, 3000)
        self.send(pool, "initialize(uint160)", 1 << 96)
        driver = self.deploy(sources.own("FamilyDriver").bytecode + encode(["address", "address"], tokens))
        self.send(token, "befriend(address)", driver)
        for one in tokens:
            self.send(one, "transfer(address,uint256)", driver, LIQUIDITY)
        mint = call_data("mint(address,int24,int24,uint128,bytes)", driver, -6000, 6000, 10**22, b"")
        self.send(driver, "run(address,bytes)", pool, bytes.fromhex(mint[2:]))
        self.send(token, "setPool(address)", pool)
        return token, PoolState("uniswap_v3", pool, tokens)

    def pass_time(self, seconds: int) -> None:
        """The node's clock moves on, and a block carries it."""
        self.client.call("evm_increaseTime", seconds)
        self.client.call("evm_mine")

    def probe(self, token: str, state: Any, **options: Any) -> TokenReport:
        async def ask() -> TokenReport:
            reader = await connect(self.client.url, chain_id=CHAIN_ID)
            try:
                block = await pin(reader, self.client.block_number(), token)
                return await probe_token(reader, token, state, block, CHAIN_ID, **options)
            finally:
                await reader.close()

        return asyncio.run(ask())


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    config = NodeConfig(chain_id=CHAIN_ID)
    with AnvilNode(config, tmp_path_factory.mktemp("probe node")) as node, node.client() as client:
        yield Town(client)


PLAIN, FEE, SELL_FEE, HONEYPOT, REBASES, BLACKLIST, PAUSED, FALSE_BUT_MOVES, NOTHING, REENTERS = range(10)
HOOK, LOOPS, GIVES_MORE, CHARGES_SENDER, FALSE_AND_STAYS, EVERYONE_RICH, BUY_FEE, ROUNDS = range(10, 18)
TERMINAL_TEXT, GROWS_ONCE_TRADED = 18, 19


@pytest.mark.parametrize("make", ["pair", "ticks"])
def test_an_honest_token_is_admitted(town: Town, make: str) -> None:
    token, state = getattr(town, make)(PLAIN)
    report = town.probe(token, state)
    assert (report.verdict, report.reason) == (Verdict.ADMITTED, "")
    assert (report.buy_tax_ppm, report.transfer_tax_ppm, report.sell_tax_ppm) == (0, 0, 0)
    assert report.block_number == town.client.block_number()
    assert {"pausable", "blacklist"} <= set(report.flags)  # it has paused() and isBlacklisted(address)
    assert not {"fee_on_transfer", "rebasing", "calls_back", "no_transfer_from"} & set(report.flags)


@pytest.mark.parametrize(
    ("mode", "reason", "taxes"),
    [
        (FEE, "takes 10000 ppm of a purchase", (10_000, None, None)),
        (BUY_FEE, "takes 10000 ppm of a purchase", (10_000, None, None)),
        (SELL_FEE, "takes 10000 ppm of a sale", (0, 0, 10_000)),
        (HONEYPOT, "can't be sent to .*not today", (0, 0, None)),
        (REBASES, "change with time", (None, None, None)),
        (BLACKLIST, "buying it through .* reverts: UniswapV2: TRANSFER_FAILED", (None, None, None)),
        (PAUSED, "it is paused", (None, None, None)),
        (FALSE_BUT_MOVES, "reverts: UniswapV2: TRANSFER_FAILED", (None, None, None)),
        (FALSE_AND_STAYS, "reverts: UniswapV2: TRANSFER_FAILED", (None, None, None)),
        (REENTERS, "moves the pool: it is re-entered", (0, 0, None)),
        (LOOPS, "can't be sent to", (0, 0, None)),
        (GIVES_MORE, "more than was sent", (None, None, None)),
        (CHARGES_SENDER, "takes .* from its sender", (0, 0, None)),
        (EVERYONE_RICH, "never held it has a balance", (None, None, None)),
        (ROUNDS, "takes 1 ppm of a purchase", (1, None, None)),
        (HOOK, "calls the accounts", (0, 0, 0)),
    ],
)
def test_odd_tokens_in_a_pair_are_refused(
    town: Town, mode: int, reason: str, taxes: tuple[int | None, int | None, int | None]
) -> None:
    token, state = town.pair(mode)
    report = town.probe(token, state)
    assert report.verdict is Verdict.REFUSED
    assert re.search(reason, report.reason), report
    assert (report.buy_tax_ppm, report.transfer_tax_ppm, report.sell_tax_ppm) == taxes
    assert ("fee_on_transfer" in report.flags) == (mode in (FEE, BUY_FEE, SELL_FEE, ROUNDS))
    assert ("rebasing" in report.flags) == (mode == REBASES)


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        (FEE, "takes 10000 ppm of a purchase"),
        (SELL_FEE, "selling it through .* reverts: IIA"),
        (HONEYPOT, "selling it through .* reverts: not today"),
        (REBASES, "change with time"),
        (PAUSED, "it is paused"),
        (FALSE_AND_STAYS, "buying it through .* reverts: TF"),
    ],
)
def test_odd_tokens_in_a_pool_with_ticks_are_refused(town: Town, mode: int, reason: str) -> None:
    token, state = town.ticks(mode)
    report = town.probe(token, state)
    assert report.verdict is Verdict.REFUSED
    assert re.search(reason, report.reason), report


@pytest.mark.parametrize("make", ["pair", "ticks"])
@pytest.mark.parametrize("age_s", [1, 2, 3_600, 400 * 24 * 3_600])
def test_a_rebase_is_told_as_one_at_any_age_of_the_token(town: Town, make: str, age_s: int) -> None:
    token, state = getattr(town, make)(REBASES)
    town.pass_time(age_s)
    report = town.probe(token, state)
    assert (report.verdict, report.reason) == (Verdict.REFUSED, "balances change with time")
    assert report.flags == ("blacklist", "pausable", "rebasing")


def test_a_token_that_starts_to_grow_with_its_first_trade_is_refused(town: Town) -> None:
    token, state = town.pair(GROWS_ONCE_TRADED)
    report = town.probe(token, state)
    assert (report.verdict, report.reason) == (Verdict.REFUSED, "balances change with time")
    assert (report.buy_tax_ppm, report.transfer_tax_ppm, report.sell_tax_ppm) == (0, 0, 0)


def test_an_old_token_is_seen_like_a_new_one(town: Town) -> None:
    token, state = town.pair(PLAIN)
    young = town.probe(token, state)
    town.pass_time(3 * 365 * 24 * 3_600)
    old = town.probe(token, state)
    assert dataclasses.replace(old, block_number=young.block_number, block_hash=young.block_hash) == young


def test_a_token_that_returns_nothing_is_told_and_admitted(town: Town) -> None:
    token, state = town.pair(NOTHING)
    report = town.probe(token, state)
    assert report.verdict is Verdict.ADMITTED
    assert "no_return_value" in report.flags


def test_a_revert_can_not_write_to_the_terminal(town: Town) -> None:
    token, state = town.pair(TERMINAL_TEXT)
    reason = town.probe(token, state).reason
    assert reason.isprintable()
    assert "evil" in reason
    assert reason.isascii()


def test_where_no_swap_can_be_driven_transfers_are_tried(town: Town) -> None:
    token, state = town.pair(PLAIN)
    report = town.probe(token, Managed("uniswap_v4", "0x" + "9" * 64, state.tokens, state.address))
    assert report.verdict is Verdict.ADMITTED
    assert "transfers_only" in report.flags
    taxed, other = town.pair(SELL_FEE)
    report = town.probe(taxed, Managed("uniswap_v4", "0x" + "9" * 64, other.tokens, other.address))
    assert (report.verdict, report.sell_tax_ppm) == (Verdict.REFUSED, 10_000)


def test_what_is_not_the_token_s_fault_is_unknown(town: Town) -> None:
    token, state = town.pair(PLAIN)
    assert town.probe(token, state, max_reads=5).verdict is Verdict.UNKNOWN
    assert "longer than" in town.probe(token, state, timeout_s=0.01).reason
    empty = dataclasses.replace(state, address="0x" + "5" * 40)
    report = town.probe(token, empty)
    assert report.verdict is Verdict.UNKNOWN
    assert "too little" in report.reason
    nothing = "0x" + "6" * 40
    assert "no code" in town.probe(nothing, dataclasses.replace(state, tokens=(nothing, town.base))).reason


class DeadNode:
    """Answers nothing."""

    async def call(self, method: str, params: list[Any], timeout_ms: int | None = None) -> Any:
        raise RpcError(-32000, "gone", None)

    async def batch(self, calls: Any, timeout_ms: int | None = None) -> list[Any]:
        raise RpcError(-32000, "gone", None)


def test_a_node_that_does_not_answer_gives_no_verdict() -> None:
    block = PinnedBlock(7, "0x" + "1" * 64, 1_700_000_000, 0, "0x7")
    token, base = "0x" + "1" * 40, "0x" + "2" * 40
    state: Any = PoolState("uniswap_v2", "0x" + "3" * 40, (token, base))
    report = asyncio.run(probe_token(DeadNode(), token, state, block, 1, timeout_s=20))
    assert report.verdict is Verdict.UNKNOWN
    assert report.reason


class Shelf:
    """What ``quarantine_refused`` needs of a market."""

    def __init__(self, states: dict[str, Any]) -> None:
        self.states = states
        self.quarantine: dict[str, Any] = {}

    def set_quarantine(self, pool: str, reason: str) -> None:
        self.quarantine[pool] = reason


def test_pools_of_refused_tokens_are_taken_out_and_the_book_is_kept(town: Town, tmp_path: Path) -> None:
    good, good_state = town.pair(PLAIN)
    bad, bad_state = town.pair(HONEYPOT)
    states: dict[str, Any] = {state.address: state for state in (good_state, bad_state)}
    book, market = TokenBook(), Shelf(states)

    async def probe_all() -> list[TokenReport]:
        reader = await connect(town.client.url, chain_id=CHAIN_ID)
        try:
            return await admit(reader, states, book, await read_block(reader, "latest"), CHAIN_ID)
        finally:
            await reader.close()

    reports = {report.token: report for report in asyncio.run(probe_all())}
    assert {token: report.verdict.value for token, report in reports.items()} == {
        good: "admitted",
        town.base: "admitted",
        bad: "refused",
    }
    assert asyncio.run(probe_all()) == []  # everything has its verdict
    assert quarantine_refused(market, book) == [bad_state.address]
    assert "not today" in market.quarantine[bad_state.address]
    assert quarantine_refused(market, book) == []
    assert quarantine_refused(Shelf(states), trusting(book, bad)) == []

    path = tokens_path(tmp_path / "with blank", "somechain")
    asyncio.run(book.save(path, CHAIN_ID))
    again = TokenBook()
    asyncio.run(again.load(path, CHAIN_ID))
    assert again.reports == book.reports
    with pytest.raises(SnapshotError, match="chain id"):
        asyncio.run(TokenBook().load(path, 1))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(SnapshotError):
        asyncio.run(TokenBook().load(path, CHAIN_ID))


def trusting(book: TokenBook, token: str) -> TokenBook:
    made = TokenBook([token])
    made.reports = book.reports
    return made


def test_the_native_coin_is_no_token() -> None:
    native, token = "0x" + "00" * 20, "0x" + "1" * 40
    assert TokenBook().missing([native, token]) == [token]
    assert TokenBook().refusal([native]) is None


def test_an_unknown_result_does_not_replace_a_verdict() -> None:
    report = TokenReport("0x1", "0x2", Verdict.REFUSED, "why", 5, "0x")
    book = TokenBook()
    book.add(report)
    book.add(dataclasses.replace(report, verdict=Verdict.UNKNOWN, block_number=6))
    assert book.refusal(["0x1"]) == "token 0x1: why (block 5)"
    book.add(dataclasses.replace(report, verdict=Verdict.ADMITTED, block_number=7))
    assert book.refusal(["0x1"]) is None


def test_the_committed_prober_is_its_source() -> None:
    folder = HERE.parents[1] / "src/ouro/market/probe"
    text = (folder / "Prober.sol").read_bytes()
    digest = hashlib.sha256(f"Prober.sol\0{len(text)}\0".encode() + text).hexdigest()
    assert json.loads((folder / "Prober.json").read_text())["source_sha256"] == digest

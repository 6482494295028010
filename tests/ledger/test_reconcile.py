"""Books against a real node, and against nodes that answer nonsense."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from eth_abi.abi import encode
from ledger_examples import OPERATOR, OWNER, PROFIT, WETH, book, journal, landed

from ouro.chain.rpc import connect
from ouro.hashing import selector
from ouro.ledger.entries import balance_entries
from ouro.ledger.ledger import Ledger
from ouro.ledger.reconcile import Difference, reconcile
from ouro.testnet.client import Client
from ouro.testnet.node import AnvilNode, NodeConfig
from ouro.types import Attempt, AttemptKind, Outcome, OutcomeKind, Transfer

TOKEN_JSON = Path(__file__).parents[2] / "src/ouro/testnet/artifacts_own/TestToken.json"
CHAIN = "ethereum"
COLD = "0x" + "c0" * 20


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    with AnvilNode(NodeConfig(chain_id=9_300_778, historical_states=True), tmp_path / "node") as node:
        yield node.client()


def send(client: Client, **transaction: str) -> dict[str, Any]:
    return client.receipt(client.call("eth_sendTransaction", transaction))


def transfer_data(to: str, amount: int) -> str:
    return "0x" + (selector("transfer(address,uint256)") + encode(["address", "uint256"], [to, amount])).hex()


def paid(client: Client, ledger: Ledger, owned: set[str], sender: str, token: str, amount: int, name: str) -> None:
    """A token payment from ``sender`` to the cold account, booked from its receipt as a landed trade is."""
    receipt = send(client, **{"from": sender, "to": token, "data": transfer_data(COLD, amount)})
    tx_hash, number = receipt["transactionHash"], int(receipt["blockNumber"], 16)
    attempt = Attempt(name, "p", CHAIN, AttemptKind.TRADE, sender, int(name), tx_hash, b"raw", "public", number)
    ledger.journal_attempt(attempt, None).result(30)
    gas = int(receipt["gasUsed"], 16)
    outcome = Outcome(
        name,
        OutcomeKind.LANDED,
        number,
        receipt["blockHash"],
        gas,
        gas * int(receipt["effectiveGasPrice"], 16),
        0,
        (),
        (Transfer(token, sender, COLD, amount),),
        "",
    )
    ledger.record_outcome(outcome, balance_entries(outcome, sender, owned))


@pytest.mark.node
async def test_equal_to_the_wei_on_a_real_chain_and_any_wei_is_noticed(client: Client, ledger: Ledger) -> None:
    accounts: list[str] = client.call("eth_accounts")
    operator, stranger = accounts[:2]
    artifact = json.loads(TOKEN_JSON.read_text())
    arguments = encode(["string", "string", "uint8", "uint256"], ["T", "T", 18, 2**255])
    code = "0x" + artifact["bytecode"].removeprefix("0x") + arguments.hex()
    token = send(client, **{"from": operator, "data": code})["contractAddress"].lower()
    owned = {operator, COLD}
    start = client.block_number()
    for account in sorted(owned):
        ledger.record_opening(CHAIN, account, None, start, client.balance(account))
        balance = int(client.read(token, "0x70a08231" + account[2:].rjust(64, "0")), 16)
        ledger.record_opening(CHAIN, account, token, start, balance)
    paid(client, ledger, owned, operator, token, 10**18 + 1, "1")
    between = client.block_number()
    paid(client, ledger, owned, operator, token, 2**200, "2")
    end = client.block_number()
    ledger.flush()

    node = await connect(client.url, chain_id=9_300_778)
    try:
        for number in (between, end):
            result = await reconcile(ledger.books, CHAIN, node, number)
            assert (result.balances_checked, result.differences) == (4, ())
        send(client, **{"from": stranger, "to": COLD, "value": "0x1"})
        result = await reconcile(ledger.books, CHAIN, node, end + 1)
        assert result.differences == (Difference(COLD, None, 0, 1),)
        assert result.max_abs_difference_wei == 1
    finally:
        await node.close()
    ledger.record_reconciliation(CHAIN, result)
    ledger.flush()
    [last] = ledger.books.last_reconciliations().values()
    assert (last.block_number, last.max_abs_difference_wei) == (end + 1, 1)
    assert last.differences[0]["account"] == COLD
    assert last.balances_checked == result.balances_checked > 0


class Answering:
    """A node that gives prepared answers."""

    def __init__(self, answers: Sequence[Any]) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, list[Any]]] = []

    async def batch(self, calls: Sequence[tuple[str, list[Any]]]) -> list[Any]:
        self.asked += calls
        return [self.answers.pop(0) for _ in calls]


WORD = "0x" + f"{PROFIT:064x}"


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (RuntimeError("pruned"), "the node answered: pruned"),
        ("0x", "no balance"),
        (WORD + "00", "no balance"),
        (hex(PROFIT + 2**256), "no balance"),
        ("0x" + "z" * 64, "no hex number"),
        (None, "no hex string"),
        (PROFIT, "no hex string"),
    ],
)
async def test_an_unreadable_balance_is_a_difference(ledger: Ledger, answer: Any, problem: str) -> None:
    journal(ledger)
    ledger.record_opening(CHAIN, OPERATOR, None, 10, 10**18)
    book(ledger, landed())
    ledger.flush()
    node = Answering([hex(10**18 - 3 * 10**15 - 1), answer])
    result = await reconcile(ledger.books, CHAIN, node, 11)
    (difference,) = result.differences
    assert (difference.account, difference.token, difference.actual_wei) == (OWNER, WETH, None)
    assert problem in difference.problem
    assert result.max_abs_difference_wei == PROFIT
    assert [method for method, _ in node.asked] == ["eth_getBalance", "eth_call"]
    assert node.asked[1][1] == [{"to": WETH, "data": "0x70a08231" + OWNER[2:].rjust(64, "0")}, "0xb"]


async def test_entries_above_the_block_do_not_count(ledger: Ledger) -> None:
    journal(ledger)
    for account, token in ((OPERATOR, None), (OWNER, WETH)):
        ledger.record_opening(CHAIN, account, token, 5, 10**18)
    book(ledger, landed(block=11))
    ledger.flush()
    opened = Answering([hex(10**18), "0x" + f"{10**18:064x}"])
    assert (await reconcile(ledger.books, CHAIN, opened, 10)).differences == ()


async def test_many_balances_go_in_several_batches(ledger: Ledger) -> None:
    for number in range(120):
        ledger.record_opening(CHAIN, f"0x{number:040x}", None, 5, number)
    ledger.flush()
    node = Answering([hex(number) for number in range(120)])
    result = await reconcile(ledger.books, CHAIN, node, 5)
    assert (result.balances_checked, result.differences) == (120, ())

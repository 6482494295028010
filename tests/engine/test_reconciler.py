"""Books against chain while running: what stays different is told, what a moment explains is not."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from ouro.chain.errors import TransportError
from ouro.engine.reconciler import Reconciler
from ouro.ledger.ledger import Ledger
from ouro.ledger.reconcile import Reconciliation
from ouro.types import BlockUpdate

ACCOUNT = "0x" + "11" * 20


class Node:
    """Answers with one balance."""

    def __init__(self) -> None:
        self.balance: int | str = 100
        self.asked, self.down = 0, False

    async def batch(self, calls: Sequence[tuple[str, list[Any]]]) -> list[Any]:
        if self.down:
            raise TransportError("down")
        self.asked += len(calls)
        return [hex(self.balance) if isinstance(self.balance, int) else self.balance] * len(calls)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    books = Ledger.open(f"sqlite:///{tmp_path}/ledger.db", interval_s=0.02)
    books.start_session(mode="live", config_hash="c", code_version="v")
    books.record_opening("ethereum", ACCOUNT, None, 1, 100)
    yield books
    books.close()


def block(number: int) -> BlockUpdate:
    return BlockUpdate("ethereum", number, f"0x{number:064x}", "0x" + "aa" * 32, 1, 7, 0, 0, (), 0)


async def test_differences_that_stay_are_told(ledger: Ledger) -> None:
    told: list[Reconciliation] = []
    node = Node()
    reconciler = Reconciler(
        "ethereum", ledger, node, every_blocks=3, final_depth=5, listener=lambda _, result: told.append(result)
    )
    await reconciler.settled(block(10))
    assert [result.max_abs_difference_wei for result in told] == [0]
    await reconciler.settled(block(12))
    assert node.asked == 1  # not due
    node.balance = 99
    await reconciler.settled(block(13))
    assert len(told) == 1  # perhaps a reorg
    await reconciler.settled(block(14))
    assert told[-1].max_abs_difference_wei == 1
    ledger.flush()
    assert ledger.books.last_reconciliations()["ethereum"].max_abs_difference_wei == 1
    node.balance = 100
    await reconciler.settled(block(17))
    assert told[-1].differences == ()


async def test_a_difference_of_a_moment_is_not_told(ledger: Ledger) -> None:
    told: list[Reconciliation] = []
    node = Node()
    reconciler = Reconciler(
        "ethereum", ledger, node, every_blocks=1, final_depth=5, listener=lambda _, result: told.append(result)
    )
    node.balance = 90
    await reconciler.settled(block(10))
    node.balance = 100
    await reconciler.settled(block(11))
    assert [result.max_abs_difference_wei for result in told] == [0]


async def test_one_comparison_at_a_time_beside_the_loop(ledger: Ledger) -> None:
    told: list[Reconciliation] = []
    node = Node()
    reconciler = Reconciler(
        "ethereum", ledger, node, every_blocks=1, final_depth=5, listener=lambda _, result: told.append(result)
    )
    reconciler.due(block(10))
    reconciler.due(block(11))  # passed over: the first has not ended
    assert reconciler._task is not None
    await reconciler._task
    assert [result.block_number for result in told] == [10]
    reconciler.due(block(12))
    await reconciler.close()
    assert len(told) == 1


async def test_a_node_that_is_down_is_asked_again(ledger: Ledger) -> None:
    told: list[Reconciliation] = []
    node = Node()
    reconciler = Reconciler(
        "ethereum", ledger, node, every_blocks=1, final_depth=5, listener=lambda _, result: told.append(result)
    )
    node.down = True
    await reconciler.settled(block(10))
    assert told == []
    node.down = False
    node.balance = "the state is pruned"
    await reconciler.settled(block(11))
    await reconciler.settled(block(12))
    assert told == []
    node.balance = 100
    await reconciler.settled(block(13))
    assert len(told) == 1

"""Books against chain: opening balance plus entries must be the balance, to the wei."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ouro.hashing import selector
from ouro.ledger.books import Books, Position
from ouro.ledger.errors import LedgerError
from ouro.types import Address

_BALANCE_OF = "0x" + selector("balanceOf(address)").hex()
# Providers bound the calls of one batch; this many is accepted by all known ones.
_BATCH_CALLS = 50
_WORD_HEX_CHARS = 64


class Reader(Protocol):
    """What is needed of a node (`ouro.chain`'s Transport and EndpointPool have it)."""

    async def batch(self, calls: Sequence[tuple[str, list[Any]]]) -> list[Any]:
        """Results or exceptions, in order."""
        ...


@dataclass(frozen=True, slots=True)
class Difference:
    """A balance that is not what the books say. ``token`` None is the native coin; ``actual`` None: unreadable."""

    account: Address
    token: Address | None
    expected_wei: int
    actual_wei: int | None
    problem: str = ""

    @property
    def difference_wei(self) -> int:
        """Chain minus books; an unreadable balance counts as empty."""
        return (self.actual_wei or 0) - self.expected_wei

    def as_json(self) -> dict[str, Any]:
        """For the books."""
        return {
            "account": self.account,
            "token": self.token,
            "expected_wei": self.expected_wei,
            "actual_wei": self.actual_wei,
            "problem": self.problem,
        }


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """Result of one comparison; the books agree with the chain if there are no differences."""

    block_number: int
    balances_checked: int
    differences: tuple[Difference, ...]

    @property
    def max_abs_difference_wei(self) -> int:
        """Largest absolute difference over all balances; 0 when the books agree."""
        return max((abs(item.difference_wei) for item in self.differences), default=0)


async def reconcile(books: Books, chain: str, reader: Reader, block_number: int) -> Reconciliation:
    """Compare every opened or booked balance of ``chain`` with the node's answer at ``block_number``.

    Entries above that block do not count. Flush the ledger first, and choose a block at which no attempt is in
    flight: what landed there without its outcome being booked shows as a difference, and rightly so.
    """
    return await compare(chain, books.positions(chain, block_number), reader, block_number)


async def compare(chain: str, positions: Sequence[Position], reader: Reader, block_number: int) -> Reconciliation:
    """Compare ``positions`` with the node's answers at ``block_number``."""
    calls = [_call(position, block_number) for position in positions]
    answers: list[Any] = []
    for start in range(0, len(calls), _BATCH_CALLS):
        answers += await reader.batch(calls[start : start + _BATCH_CALLS])
    if len(answers) != len(positions):
        raise LedgerError(f"reconciling {chain}: asked for {len(positions)} balances, got {len(answers)} answers")
    differences = [_compare(position, answer) for position, answer in zip(positions, answers, strict=True)]
    found = tuple(difference for difference in differences if difference is not None)
    return Reconciliation(block_number, len(positions), found)


def _call(position: Position, block_number: int) -> tuple[str, list[Any]]:
    block = hex(block_number)
    if position.token is None:
        return "eth_getBalance", [position.account, block]
    data = _BALANCE_OF + position.account[2:].rjust(_WORD_HEX_CHARS, "0")
    return "eth_call", [{"to": position.token, "data": data}, block]


def _compare(position: Position, answer: Any) -> Difference | None:
    actual_wei, problem = _amount(answer, is_call=position.token is not None)
    if actual_wei == position.expected_wei and not problem:
        return None
    return Difference(position.account, position.token, position.expected_wei, actual_wei, problem)


def _amount(answer: Any, *, is_call: bool) -> tuple[int | None, str]:
    if isinstance(answer, BaseException):
        return None, f"the node answered: {answer}"
    if not isinstance(answer, str) or not answer.startswith("0x"):
        return None, "the node's answer is no hex string"
    # A token without code answers "0x"; more than a word is an answer to another question.
    if len(answer) == 2 or len(answer) > 2 + _WORD_HEX_CHARS or (is_call and len(answer) != 2 + _WORD_HEX_CHARS):
        return None, "the node's answer is no balance"
    try:
        return int(answer, 16), ""
    except ValueError:
        return None, "the node's answer is no hex number"

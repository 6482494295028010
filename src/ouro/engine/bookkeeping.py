"""Between one chain's execution and the shared books: what tracker and submitter need of the ledger and of risk."""

import asyncio
from collections.abc import Callable, Collection
from typing import Any

from ouro.chain.calls import eth_call_many
from ouro.chain.errors import MalformedAnswer, RpcError
from ouro.chain.quantity import parse_quantity
from ouro.chain.rpc import Caller
from ouro.config.model import ChainConfig
from ouro.hashing import selector
from ouro.ledger.entries import balance_entries
from ouro.ledger.ledger import Ledger
from ouro.types import Address, Attempt, Outcome, Plan

_BALANCE_OF = selector("balanceOf(address)")
_WORD_BYTES = 32
_STRAY_TOKENS_LIMIT = 500
"""Up to so many tokens, balances that we never trade in are watched, too."""

OutcomeListener = Callable[[Attempt, Plan | None, Outcome | None], None]
"""Told of each outcome, and with None when an outcome is withdrawn."""


def owned_accounts(config: ChainConfig) -> frozenset[Address]:
    """Every account and contract whose balances are ours."""
    return frozenset(account for account in (config.executor, config.owner, *config.operators) if account)


class ChainBooks:
    """The journal and the books of one chain."""

    def __init__(self, config: ChainConfig, ledger: Ledger, listener: OutcomeListener, *, on_chain: bool) -> None:
        """``on_chain`` is False on paper, where outcomes move no balance."""
        self._on_chain = on_chain
        self._owned = owned_accounts(config)
        self._ledger = ledger
        self._listener = listener

    async def attempt(self, attempt: Attempt, plan: Plan | None, decided_us: int | None, signed_us: int) -> None:
        """Durable when it returns. Raises ``LedgerError`` when it is not, and then it is not in the books."""
        future = self._ledger.journal_attempt(
            attempt, plan, decided_us=decided_us, signed_us=signed_us if plan else None
        )
        await asyncio.wrap_future(future)

    def prepare(self, plan: Plan) -> None:
        """An attempt of ``plan`` is coming."""
        self._ledger.prepare(plan)

    def sent(self, attempt_id: str, sent_us: int | None) -> None:
        """A lane took the bytes."""
        self._ledger.mark_sent(attempt_id, sent_us=sent_us)

    def outcome(self, attempt: Attempt, plan: Plan | None, outcome: Outcome) -> None:
        """Book an outcome with its balance entries."""
        entries = balance_entries(outcome, attempt.operator, self._owned) if self._on_chain else ()
        self._ledger.record_outcome(outcome, entries)
        self._listener(attempt, plan, outcome)

    def reversed(self, attempt: Attempt, reason: str) -> None:
        """Withdraw an outcome whose block was orphaned."""
        self._ledger.reverse_outcome(attempt.attempt_id, reason)
        self._listener(attempt, None, None)


async def record_openings(
    chain: str, config: ChainConfig, ledger: Ledger, node: Caller, number: int, tokens: Collection[Address]
) -> None:
    """Balances of everything owned at the end of block ``number``; accounts that have an opening keep it.

    Of ``tokens`` (those of the watched pools) executor and owner are opened, so that a stray unit shows; every
    account is opened for native coin and start tokens. A token that gives no balance is left out unless it is a
    start token. Raises ``MalformedAnswer`` or ``RpcError``.
    """
    known = {(opening.account, opening.token) for opening in ledger.books.openings(chain)}
    accounts = sorted(owned_accounts(config))
    native = [who for who in accounts if (who, None) not in known]
    answers = await node.batch([("eth_getBalance", [who, hex(number)]) for who in native])
    for who, answer in zip(native, answers, strict=True):
        ledger.record_opening(chain, who, None, number, _quantity(answer, "eth_getBalance"))
    wanted = [(who, token) for token in config.start_tokens for who in accounts]
    if len(tokens) <= _STRAY_TOKENS_LIMIT:
        keepers = [who for who in (config.executor, config.owner) if who]
        wanted += [(who, token) for token in tokens if token not in config.start_tokens for who in keepers]
    missing = [place for place in wanted if place not in known]
    calls = [(token, _BALANCE_OF + bytes.fromhex(who[2:]).rjust(32, b"\0")) for who, token in missing]
    balances = await eth_call_many(node, calls, hex(number))
    for (who, token), balance in zip(missing, balances, strict=True):
        if isinstance(balance, bytes) and len(balance) == _WORD_BYTES:
            ledger.record_opening(chain, who, token, number, int.from_bytes(balance, "big"))
        elif token in config.start_tokens:
            raise MalformedAnswer(f"{chain}: start token {token} gives no balance of {who}")


def _quantity(answer: Any, method: str) -> int:
    if isinstance(answer, RpcError):
        raise answer
    try:
        return parse_quantity(answer)
    except ValueError as error:
        raise MalformedAnswer(f"{method}: {error}") from None

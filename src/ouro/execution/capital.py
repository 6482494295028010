"""Whose capital a plan runs on: nobody's where its pools give credit, else the cheapest loan, by cost.

A loan costs its fee in the lent token and gas. What the owner left in the executor (inventory) costs neither; a
program may use it, because it is only compared at the end.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from ouro.config.model import ChainConfig
from ouro.execution.shapes import GIVES_CREDIT, shape_of
from ouro.types import Address, Hop

_MILLION = 1_000_000


class LoanKind(StrEnum):
    """Where capital comes from."""

    INVENTORY = "inventory"
    V4 = "uniswap_v4"
    BALANCER = "balancer_v2"
    MORPHO = "morpho"
    AAVE = "aave_v3"
    V3_FLASH = "uniswap_v3_flash"


LOAN_GAS: dict[LoanKind, int] = {
    LoanKind.INVENTORY: 0,
    LoanKind.V4: 60_000,
    LoanKind.BALANCER: 85_000,
    LoanKind.MORPHO: 88_000,
    LoanKind.AAVE: 150_000,
    LoanKind.V3_FLASH: 63_000,
}
"""Gas that a loan adds to a plan, rounded up from receipts of empty loans without a transaction's base cost."""


_LOCKED_WHILE_LENDING = frozenset((LoanKind.V3_FLASH, LoanKind.BALANCER))


@dataclass(frozen=True, slots=True)
class LoanSource:
    """A lender on a chain: for ``token``, up to ``available_wei``, for ``fee_ppm`` of the amount.

    ``token_index`` is the token's place in a V3 pool (0 or 1).
    """

    kind: LoanKind
    lender: Address
    token: Address
    available_wei: int
    fee_ppm: int = 0
    token_index: int = 0

    def fee_wei(self, amount_wei: int) -> int:
        """Aave rounds half up, V3 pools round up; the others take nothing."""
        if self.kind is LoanKind.AAVE:
            bps = self.fee_ppm // 100
            return (amount_wei * bps + 5_000) // 10_000
        return -(-amount_wei * self.fee_ppm // _MILLION)


@dataclass(frozen=True, slots=True)
class Loan:
    """What a plan borrows. ``fee_wei`` has to be earned on top."""

    kind: LoanKind
    lender: Address
    token: Address
    amount_wei: int
    fee_wei: int = 0
    token_index: int = 0


def loan_sources(config: ChainConfig) -> tuple[LoanSource, ...]:
    """The lenders of a chain's configuration."""
    return tuple(
        LoanSource(
            LoanKind(loan.kind),
            loan.lender or config.executor or "",
            loan.token,
            loan.max_wei,
            loan.fee_ppm,
            loan.token_index,
        )
        for loan in config.loans
    )


def needs_capital(hops: Sequence[Hop]) -> bool:
    """Whether no hop can be had on credit first. With one, the outputs pay for everything in the end."""
    return not any(shape_of(hop) in GIVES_CREDIT for hop in hops)


def cost_wei(source: LoanSource, amount_wei: int, gas_price_in_token_ppm: int) -> int:
    """Fee and gas of borrowing, in the lent token; a gas unit costs ``gas_price_in_token_ppm`` millionths of it."""
    return source.fee_wei(amount_wei) + -(-LOAN_GAS[source.kind] * gas_price_in_token_ppm // _MILLION)


def cheapest_loan(
    sources: Iterable[LoanSource],
    token: Address,
    amount_wei: int,
    gas_price_in_token_ppm: int,
    pools: Iterable[Address] = (),
) -> Loan | None:
    """The cheapest source that has the amount; None if nobody has. Ties go to the name that sorts first.

    ``pools`` are the plan's own, and the vaults that they are in: a V3 pool is locked while it lends, and so is
    Balancer V2's vault, so they can't be both.
    """
    busy = {pool.lower() for pool in pools}
    fitting = [
        source
        for source in sources
        if source.token.lower() == token.lower()
        and source.available_wei >= amount_wei
        and not (source.kind in _LOCKED_WHILE_LENDING and source.lender.lower() in busy)
    ]
    if not fitting:
        return None
    best = min(
        fitting, key=lambda s: (cost_wei(s, amount_wei, gas_price_in_token_ppm), s.kind.value, s.lender.lower())
    )
    return Loan(best.kind, best.lender, best.token, amount_wei, best.fee_wei(amount_wei), best.token_index)

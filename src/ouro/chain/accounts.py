"""Which operator account sends next, and with which nonce: kept locally, compared with the chain now and then."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from ouro.chain.errors import MalformedAnswer, RpcError
from ouro.chain.quantity import parse_quantity
from ouro.chain.rpc import Caller
from ouro.types import Address


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to use one nonce once."""

    operator: Address
    nonce: int


@dataclass(frozen=True, slots=True)
class NonceReport:
    """What a comparison with the chain found for one operator.

    consumed: nonces in flight that the chain has used by now. reopened: nonces that were used and are not any more
    (reorg). missing: in flight and sent, but the node holds no such transaction: rebroadcast or cancel. foreign:
    nonces used by somebody else with this key, which must never happen.
    """

    operator: Address
    latest: int
    pending: int
    consumed: tuple[int, ...]
    reopened: tuple[int, ...]
    missing: tuple[int, ...]
    foreign: tuple[int, ...]


@dataclass(slots=True)
class _Account:
    operator: Address
    next_nonce: int = 0
    confirmed: int = 0
    known: bool = False
    last_used: int = 0
    leased: set[int] = field(default_factory=set)
    sent: set[int] = field(default_factory=set)
    gaps: set[int] = field(default_factory=set)

    @property
    def in_flight(self) -> int:
        return len(self.leased) + len(self.sent)


class NonceBook:
    """Nonces of the operators of one chain. Pure bookkeeping, one thread; ``resync`` alone talks to a node.

    An account gives out nothing before its first ``resync`` or ``observe``. Afterwards a stuck nonce occupies only
    its own account: ``acquire`` picks the free one that rested longest. ``max_in_flight`` above one lets an account
    queue transactions behind each other.
    """

    def __init__(self, operators: Sequence[Address], max_in_flight: int = 1) -> None:
        if max_in_flight < 1:
            raise ValueError(f"max_in_flight {max_in_flight}: at least 1 is needed")
        self._accounts = {operator.lower(): _Account(operator.lower()) for operator in operators}
        self._max_in_flight = max_in_flight
        self._clock = 0

    @property
    def operators(self) -> tuple[Address, ...]:
        """All operators, in the order given."""
        return tuple(self._accounts)

    def free(self) -> int:
        """How many leases could be given now."""
        return sum(
            max(0, self._max_in_flight - account.in_flight) for account in self._accounts.values() if account.known
        )

    def in_flight(self, operator: Address) -> tuple[int, ...]:
        """Nonces leased or sent and not confirmed, ascending."""
        account = self._account(operator)
        return tuple(sorted(account.leased | account.sent))

    def acquire(self) -> Lease | None:
        """The next nonce of a free account, or None if all are busy."""
        usable = [a for a in self._accounts.values() if a.known and a.in_flight < self._max_in_flight]
        if not usable:
            return None
        account = min(usable, key=lambda a: (a.in_flight, a.last_used))
        self._clock += 1
        account.last_used = self._clock
        if account.gaps:
            nonce = min(account.gaps)
            account.gaps.discard(nonce)
        else:
            nonce = account.next_nonce
            account.next_nonce += 1
        account.leased.add(nonce)
        return Lease(account.operator, nonce)

    def sent(self, lease: Lease) -> None:
        """Signed bytes with this nonce may be out in the world: from here only the chain frees it."""
        account = self._account(lease.operator)
        if lease.nonce in account.leased:
            account.leased.discard(lease.nonce)
            account.sent.add(lease.nonce)
        elif lease.nonce not in account.sent:
            raise ValueError(f"nonce {lease.nonce} of {lease.operator} was not acquired")

    def released_unused(self, lease: Lease) -> None:
        """Nothing with this nonce was signed: it goes to the next ``acquire``."""
        account = self._account(lease.operator)
        if lease.nonce not in account.leased:
            raise ValueError(f"nonce {lease.nonce} of {lease.operator} is not held unused: it can't be given back")
        account.leased.discard(lease.nonce)
        account.gaps.add(lease.nonce)
        self._close_gaps(account)

    def confirmed(self, operator: Address, nonce: int) -> None:
        """A transaction with this nonce is in a block; every lower nonce is used then, too."""
        account = self._account(operator)
        account.confirmed = max(account.confirmed, nonce + 1)
        self._drop_below(account, account.confirmed)
        account.next_nonce = max(account.next_nonce, account.confirmed)

    def reopened(self, operator: Address, nonce: int) -> None:
        """A reorg took the block away: the nonce is in flight again, and so are later ones that were used."""
        account = self._account(operator)
        account.sent |= set(range(nonce, account.confirmed)) - account.leased
        account.confirmed = min(account.confirmed, nonce)

    def restore(self, operator: Address, nonce: int) -> None:
        """After a restart: the journal holds a signed transaction with this nonce that has no final outcome."""
        account = self._account(operator)
        if nonce < account.confirmed:
            return
        account.gaps.discard(nonce)
        account.sent.add(nonce)
        account.gaps |= set(range(account.next_nonce, nonce)) - account.sent - account.leased
        account.next_nonce = max(account.next_nonce, nonce + 1)

    def observe(self, operator: Address, latest: int, pending: int) -> NonceReport:
        """Compare with the node's transaction counts (``latest`` block, and ``pending`` pool included)."""
        account = self._account(operator)
        pending = max(pending, latest)
        held = account.leased | account.sent
        reopened: tuple[int, ...] = ()
        foreign: tuple[int, ...] = ()
        if account.known:
            if latest < account.confirmed:
                reopened = tuple(range(latest, account.confirmed))
                self.reopened(operator, latest)
            foreign = tuple(
                sorted(set(range(max(latest, account.next_nonce), pending)) | self._alien(account, latest))
            )
        consumed = tuple(sorted(nonce for nonce in held if nonce < latest))
        account.confirmed = latest
        self._drop_below(account, latest)
        # Unknown transactions in the pool occupy their nonces until the chain has used them.
        account.sent |= set(range(max(latest, account.next_nonce), pending))
        account.next_nonce = max(account.next_nonce, pending)
        account.known = True
        self._close_gaps(account)
        missing = tuple(sorted(nonce for nonce in account.sent if nonce >= pending))
        return NonceReport(account.operator, latest, pending, consumed, reopened, missing, foreign)

    async def resync(self, node: Caller) -> list[NonceReport]:
        """Read every operator's counts in one batch and ``observe`` them."""
        operators = self.operators
        requests = [
            ("eth_getTransactionCount", [operator, tag]) for operator in operators for tag in ("latest", "pending")
        ]
        counts = [_count(answer) for answer in await node.batch(requests)]
        return [
            self.observe(operator, counts[2 * index], counts[2 * index + 1])
            for index, operator in enumerate(operators)
        ]

    def _account(self, operator: Address) -> _Account:
        account = self._accounts.get(operator.lower())
        if account is None:
            raise KeyError(f"{operator} is not an operator of this chain")
        return account

    @staticmethod
    def _alien(account: _Account, latest: int) -> set[int]:
        """Nonces used on the chain that we never signed for: never given out, given back, or only leased."""
        beyond = set(range(account.next_nonce, latest))
        return beyond | {nonce for nonce in account.gaps | account.leased if nonce < latest}

    @staticmethod
    def _drop_below(account: _Account, confirmed: int) -> None:
        for group in (account.leased, account.sent, account.gaps):
            group.difference_update([nonce for nonce in group if nonce < confirmed])

    @staticmethod
    def _close_gaps(account: _Account) -> None:
        while account.next_nonce - 1 in account.gaps:
            account.next_nonce -= 1
            account.gaps.discard(account.next_nonce)


def _count(answer: object) -> int:
    if isinstance(answer, RpcError):
        raise answer
    try:
        return parse_quantity(answer)
    except ValueError as error:
        raise MalformedAnswer(f"eth_getTransactionCount: {error}") from None

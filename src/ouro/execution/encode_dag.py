"""A plan of many hops → one program: several cycles, amounts split and merged, without capital where pools give
credit.

Uniswap V3 pools and V2 pairs pay out before they are paid, a V4 manager keeps books until its unlock ends. So any
set of hops whose outputs cover its inputs can run: first whatever comes on credit, then what that pays for, debts
last. Where one hop's output is exactly what another takes, it goes from pool to pool.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

from ouro.execution.capital import Loan, LoanKind
from ouro.execution.program import (
    MAX_AMOUNT_WEI,
    NATIVE,
    Bribe,
    EncodeError,
    Kind,
    Op,
    PoolKey,
    Program,
    address_bytes,
    encode_program,
)
from ouro.execution.shapes import EXECUTABLE, executable_families, shape_of
from ouro.execution.venues import Venue, venue_of
from ouro.protocols.steps import Shape, SwapStep, VaultSwap
from ouro.types import Address, Hop

MAX_DAG_HOPS = 32


@dataclass(frozen=True, slots=True)
class Places:
    """What a plan's pools do not tell themselves.

    ``v4_keys`` maps what hops through managed pools have as their pool to the key inside ``v4_manager``; the
    native coin is the zero address in those hops. ``wrapped_native`` is needed where it has to be changed into its
    token or back. ``steps`` describes the swaps of hops through anything but pairs and concentrated pools.
    """

    v4_manager: Address | None = None
    v4_keys: Mapping[str, PoolKey] = field(default_factory=dict)
    wrapped_native: Address | None = None
    steps: Mapping[str, SwapStep] = field(default_factory=dict)


class CapitalError(EncodeError):
    """Nobody gives the plan's inputs on credit: it needs ``amount_wei`` of ``token`` before it can begin."""

    def __init__(self, token: Address, amount_wei: int) -> None:
        super().__init__("loan", f"{amount_wei} of {token} is needed to begin, and no pool gives it on credit")
        self.token = token
        self.amount_wei = amount_wei


@dataclass(frozen=True, slots=True)
class Guards:
    """When the program refuses to run, and what it pays for being included."""

    max_block_number: int | None = None
    deadline: int | None = None
    parent_hash: bytes | None = None
    probe: Op | None = None
    """``GUARD_V2`` or ``GUARD_V3`` of one pool, run first: shows for little gas that the state has moved."""
    bribe: Bribe | None = None


def encode_dag(
    hops: Sequence[Hop],
    profit_token: Address,
    min_profit_wei: int,
    guards: Guards | None = None,
    places: Places | None = None,
    loan: Loan | None = None,
) -> bytes:
    """Calldata that runs all ``hops`` in one transaction and pays at least ``min_profit_wei`` to the treasury.

    Hops may share tokens in any way as long as, of every token, no more goes in than comes out. What is left of the
    profit token is the profit; nothing may be left of any other. Raises EncodeError naming the field of an
    impossible plan.
    """
    return encode_program(dag_program(hops, profit_token, min_profit_wei, guards, places, loan))


def dag_program(
    hops: Sequence[Hop],
    profit_token: Address,
    min_profit_wei: int,
    guards: Guards | None = None,
    places: Places | None = None,
    loan: Loan | None = None,
) -> Program:
    """What ``encode_dag`` encodes."""
    guards, places = guards or Guards(), places or Places()
    lowered = [_lower(f"hops[{k}]", hop, places) for k, hop in enumerate(hops)]
    profit_token = profit_token.lower()
    _check(lowered, profit_token, min_profit_wei, places, loan)
    schedule = _Schedule(lowered, profit_token, places)
    ops = schedule.run(loan)
    if guards.probe is not None:
        if guards.probe.kind not in (Kind.GUARD_V2, Kind.GUARD_V3):
            raise EncodeError("guards.probe", f"{guards.probe.kind.name} is not a guard")
        ops = [guards.probe, *ops]
    return Program(
        max_block_number=guards.max_block_number,
        min_profit_wei=min_profit_wei,
        profit_token=profit_token,
        ops=tuple(ops),
        deadline=guards.deadline,
        parent_hash=guards.parent_hash,
        bribe=guards.bribe,
        tokens=_moved_tokens(ops, profit_token),
    )


def _moved_tokens(ops: Sequence[Op], profit_token: Address) -> tuple[Address, ...]:
    """Tokens that operations take by their place in the list; wrapping also spends the native coin."""
    tokens: list[Address] = []
    for op in ops:
        wanted = [] if op.token is None or op.kind in (Kind.TAKE, Kind.SYNC) else [op.token]
        if op.kind is Kind.WRAP:
            wanted.append(NATIVE)
        tokens += [token for token in wanted if token != profit_token and token not in tokens]
    return tuple(tokens)


# --------------------------------------------------------------------------------------------------------- checking


def _lower(where: str, hop: Hop, places: Places) -> Hop:
    if shape_of(hop) not in EXECUTABLE:
        known = ", ".join(executable_families())
        raise EncodeError(f"{where}.family", f"{hop.family!r} has no operation; known: {known}")
    shape = shape_of(hop)
    v4 = shape is Shape.MANAGED
    if shape in _OF_TWO and (hop.i, hop.j) not in ((0, 1), (1, 0)):
        raise EncodeError(f"{where}.i", f"({hop.i}, {hop.j}) is not a direction of a two-token pool")
    inside = shape in (Shape.MANAGED, Shape.VAULT)
    for name in ("token_in", "token_out") if inside else ("pool", "token_in", "token_out"):
        value = getattr(hop, name)
        if not ((v4 or shape is Shape.EXCHANGE) and value == NATIVE):
            address_bytes(f"{where}.{name}", value)
    if shape not in _KNOWN_BY_POOL and hop.pool not in places.steps:
        raise EncodeError(f"{where}.pool", f"{hop.pool} has no description in places.steps")
    for name in ("amount_in_wei", "amount_out_wei"):
        if not 0 < getattr(hop, name) <= MAX_AMOUNT_WEI:
            raise EncodeError(f"{where}.{name}", f"{getattr(hop, name)} is not in 1 … 2^112-1")
    wrapped = (places.wrapped_native or "").lower()
    wraps = wrapped if shape is Shape.EXCHANGE and wrapped else NATIVE  # these are unwrapped and wrapped on the way
    low = Hop(
        hop.pool.lower(),
        hop.family,
        wraps if hop.token_in == NATIVE else hop.token_in.lower(),
        wraps if hop.token_out == NATIVE else hop.token_out.lower(),
        hop.i,
        hop.j,
        hop.amount_in_wei,
        hop.amount_out_wei,
    )
    if low.token_in == low.token_out:
        raise EncodeError(f"{where}.token_out", "is the token that goes in")
    if v4:
        _check_key(where, low, places)
    return low


_OF_TWO = frozenset((Shape.PAIR, Shape.CONCENTRATED, Shape.MANAGED, Shape.BINS, Shape.ERC4626, Shape.WRAP))
_KNOWN_BY_POOL = frozenset((Shape.PAIR, Shape.CONCENTRATED, Shape.MANAGED))


def _check_key(where: str, hop: Hop, places: Places) -> None:
    if places.v4_manager is None:
        raise EncodeError("places.v4_manager", f"is needed for hops of family {hop.family}")
    key = places.v4_keys.get(hop.pool)
    if key is None:
        raise EncodeError(f"{where}.pool", f"{hop.pool} has no key in places.v4_keys")
    pair = (key.currency0.lower(), key.currency1.lower())
    if (pair[hop.i], pair[hop.j]) != (hop.token_in, hop.token_out):
        raise EncodeError(
            f"{where}.token_in", f"the pool's key has {pair}, the hop {hop.token_in} → {hop.token_out}"
        )


def _check(
    hops: Sequence[Hop], profit_token: Address, min_profit_wei: int, places: Places, loan: Loan | None
) -> None:
    if not 1 < len(hops) <= MAX_DAG_HOPS:
        raise EncodeError("hops", f"{len(hops)} hops; a plan has 2 to {MAX_DAG_HOPS}")
    pools = [hop.pool for hop in hops]
    for k, pool in enumerate(pools):
        if pool in pools[:k]:
            raise EncodeError(f"hops[{k}].pool", f"{pool} is there twice; amounts were quoted on separate states")
    left: Counter[Address] = Counter()
    wrapped = (places.wrapped_native or "").lower()

    def unit(token: Address) -> Address:
        return wrapped if token == NATIVE and wrapped else token

    for hop in hops:
        left[unit(hop.token_out)] += hop.amount_out_wei
        left[unit(hop.token_in)] -= hop.amount_in_wei
    if loan is not None:
        if not 0 < loan.amount_wei <= MAX_AMOUNT_WEI:
            raise EncodeError("loan.amount_wei", f"{loan.amount_wei} is not in 1 … 2^112-1")
        left[loan.token.lower()] -= loan.fee_wei
    for token, amount in left.items():
        if token == NATIVE:
            raise EncodeError("places.wrapped_native", "is needed where the native coin is paid or left")
        if token != profit_token and amount:
            problem = f"{-amount} more goes in than comes out" if amount < 0 else f"{amount} would be left here"
            raise EncodeError("hops", f"token {token}: {problem}")
    gain = left[profit_token]
    if profit_token not in left:
        raise EncodeError("profit_token", f"no hop touches {profit_token}")
    if min_profit_wei > gain:
        raise EncodeError("min_profit_wei", f"{min_profit_wei} is above the plan's own profit of {gain}")


# ------------------------------------------------------------------------------------------------------- scheduling


class _Book(Enum):
    """In whose books a debt stands."""

    V4 = False
    BALANCER = True


@dataclass(slots=True)
class _Debt:
    """What a pool, a lender or (``book``) a manager waits for."""

    to: Address
    token: Address
    amount_wei: int
    book: _Book | None = None


class _Schedule:
    """Orders one plan's operations. ``here`` is what the executor holds of each token at that point."""

    def __init__(self, hops: Sequence[Hop], profit_token: Address, places: Places) -> None:
        self.profit_token = profit_token
        self.places = places
        self.manager = (places.v4_manager or "").lower()
        self.wrapped = (places.wrapped_native or "").lower()
        self.v4 = [hop for hop in hops if shape_of(hop) is Shape.MANAGED]
        ordered = _in_order(hops, profit_token)
        self.v3 = [hop for hop in ordered if shape_of(hop) is Shape.CONCENTRATED]
        self.venues = {
            hop.pool: venue_of(f"hops[{hops.index(hop)}]", step, hop, self.wrapped)
            for hop in ordered
            if (step := places.steps.get(hop.pool)) is not None
            and shape_of(hop) is not Shape.MANAGED
            and not _has_books(step)
        }
        self.in_vault = [hop for hop in hops if _has_books(places.steps.get(hop.pool))]
        self.v2 = [hop for hop in ordered if shape_of(hop) is Shape.PAIR or hop.pool in self.venues]
        self.unopened = {hop.pool for hop in self.v3}
        self.here: Counter[Address] = Counter()
        self.ops: list[Op] = []
        self.debts: list[_Debt] = []
        self.prepaid: Counter[Address] = Counter()
        self.target = _direct([*self.v3, *self.v2], profit_token, self.venues)

    def run(self, loan: Loan | None) -> list[Op]:
        """All operations, from the first credit to the last payment."""
        if loan is not None:
            self._borrow(loan)
        self._books(loan if loan is not None and loan.kind is LoanKind.V4 else None)
        self._vault_books()
        for hop in reversed(self.v3):
            self.unopened.discard(hop.pool)
            self._swap(Op(Kind.V3_SWAP, hop.pool, hop.i == 0, hop.amount_in_wei, self._recipient(hop)), hop)
            self._owe(hop)
            self._prepaid_pairs()
        self._pairs()
        self._pay()
        return self.ops

    def _borrow(self, loan: Loan) -> None:
        token, lender = loan.token.lower(), loan.lender.lower()
        if loan.kind is LoanKind.INVENTORY:
            self.here[token] += loan.amount_wei
            return
        if loan.kind is LoanKind.V4:
            if not self.manager:
                raise EncodeError("places.v4_manager", "is needed for a loan of Uniswap V4")
            return
        kind = {
            LoanKind.BALANCER: Kind.LOAN_BALANCER,
            LoanKind.MORPHO: Kind.LOAN_MORPHO,
            LoanKind.AAVE: Kind.LOAN_AAVE,
            LoanKind.V3_FLASH: Kind.LOAN_V3,
        }[loan.kind]
        flash = kind is Kind.LOAN_V3
        self.ops.append(
            Op(
                kind,
                lender,
                flash and loan.token_index == 1,
                loan.amount_wei,
                token=None if flash else token,
                fee=loan.fee_wei if kind is Kind.LOAN_AAVE else 0,
            )
        )
        self.here[token] += loan.amount_wei
        if kind in (Kind.LOAN_BALANCER, Kind.LOAN_V3):
            self.debts.append(_Debt(lender, token, loan.amount_wei + loan.fee_wei))
        else:  # pulled back from here: only has to stay
            self.here[token] -= 0

    def _books(self, borrowed: Loan | None) -> None:
        """The V4 swaps, whose order does not matter, and what their sums leave to take and to pay."""
        if not self.v4 and borrowed is None:
            return
        self.ops.append(Op(Kind.UNLOCK, self.manager))
        net: Counter[Address] = Counter()
        for hop in _in_order(self.v4, self.profit_token):
            key = self.places.v4_keys[hop.pool]
            key = PoolKey(
                key.currency0.lower(), key.currency1.lower(), key.fee_ppm, key.tick_spacing, key.hooks.lower()
            )
            self.ops.append(Op(Kind.V4_SWAP, None, hop.i == 0, hop.amount_in_wei, key=key))
            net[hop.token_in] -= hop.amount_in_wei
            net[hop.token_out] += hop.amount_out_wei
        if borrowed is not None and not self.v4:
            token = borrowed.token.lower()
            self._take(token, borrowed.amount_wei, _Book.V4)
            self.debts.append(_Debt(self.manager, token, borrowed.amount_wei, _Book.V4))
        self._net(net, self.manager, _Book.V4)

    def _vault_books(self) -> None:
        """The same in Balancer V3's vault."""
        if not self.in_vault:
            return
        steps = [self.places.steps[hop.pool] for hop in self.in_vault]
        vaults = {step.vault.lower() for step in steps if isinstance(step, VaultSwap)}
        if len(vaults) > 1:
            raise EncodeError("hops", f"pools of {len(vaults)} vaults; the executor opens the books of one")
        vault = vaults.pop()
        self.ops.append(Op(Kind.UNLOCK, vault, True))
        net: Counter[Address] = Counter()
        for hop in _in_order(self.in_vault, self.profit_token):
            self.ops.append(
                Op(
                    Kind.VAULT_SWAP,
                    hop.pool,
                    amount_wei=hop.amount_in_wei,
                    token=hop.token_in,
                    token_out=hop.token_out,
                )
            )
            net[hop.token_in] -= hop.amount_in_wei
            net[hop.token_out] += hop.amount_out_wei
        self._net(net, vault, _Book.BALANCER)

    def _net(self, net: Counter[Address], manager: Address, book: _Book) -> None:
        for token, amount in net.items():
            if amount > 0:
                self._take(token, amount, book)
            elif amount < 0:
                self.debts.append(_Debt(manager, token, -amount, book))

    def _take(self, token: Address, amount: int, book: _Book) -> None:
        """From the manager to whoever takes exactly this, else here."""
        for hop in self.v2:
            fits = hop.token_in == token and hop.amount_in_wei == amount and not self._is_target(hop)
            if fits and self._is_fed(hop):
                self.ops.append(Op(Kind.TAKE, None, book.value, amount, hop.pool, token))
                self.prepaid[hop.pool] += amount
                return
        self.ops.append(Op(Kind.TAKE, None, book.value, amount, token=token))
        self.here[token] += amount
        if token == NATIVE:
            self._wrap(self.here[NATIVE])

    def _is_target(self, hop: Hop) -> bool:
        return any(target == hop.pool for target in self.target.values())

    def _recipient(self, hop: Hop) -> Address | None:
        """The pool that takes exactly this output, or the manager's debt of exactly this, else here."""
        pool = self.target.get(hop.pool)
        if pool is not None and pool not in self.unopened:
            return pool
        for debt in self.debts:
            owed = (debt.token, debt.amount_wei) == (hop.token_out, hop.amount_out_wei)
            if debt.book is _Book.V4 and owed and hop.pool not in self.venues:
                return debt.to
        return None

    def _swap(self, op: Op, hop: Hop) -> None:
        """Add the operation and book what it puts out."""
        if op.to is not None and op.to == self.manager:
            self.ops += [Op(Kind.SYNC, token=hop.token_out), op, Op(Kind.SETTLED)]
            self._settle_debt(op.to, hop)
            return
        self.ops.append(op)
        if op.to is None:
            self.here[hop.token_out] += hop.amount_out_wei
        else:
            self._settle_debt(op.to, hop)

    def _settle_debt(self, to: Address, hop: Hop) -> None:
        for debt in self.debts:
            if (debt.to, debt.token) == (to, hop.token_out):
                debt.amount_wei -= hop.amount_out_wei
                self.debts = [d for d in self.debts if d.amount_wei]
                return
        self.prepaid[to] += hop.amount_out_wei

    def _owe(self, hop: Hop) -> None:
        self.debts.append(_Debt(hop.pool, hop.token_in, hop.amount_in_wei - self.prepaid.pop(hop.pool, 0)))
        self.debts = [debt for debt in self.debts if debt.amount_wei]

    def _prepaid_pairs(self) -> None:
        """Swap the pairs that others have paid already, unless they pay a pool that has not asked for it yet: V3
        pools count only what comes while they wait."""

        def is_ready(hop: Hop) -> bool:
            fed = self._is_fed(hop) and not self._missing(hop)
            return fed and self.target.get(hop.pool) not in self.unopened

        while ready := next(filter(is_ready, self.v2), None):
            self._swap_pair(ready)

    def _pairs(self) -> None:
        """Swap pairs as they can be paid; where none can, take the last one's output on credit."""
        while self.v2:
            ready = next((hop for hop in self.v2 if self._affordable(hop)), None)
            if ready is not None:
                self._feed(ready)
                self._swap_pair(ready)
                continue
            last = next((hop for hop in reversed(self.v2) if hop.pool not in self.venues), None)
            if last is None:
                raise self._capital_missing()
            self.v2.remove(last)
            self.target.pop(last.pool, None)
            self._swap(Op(Kind.V2_FLASH, last.pool, last.i == 0, last.amount_out_wei), last)
            self._owe(last)

    def _capital_missing(self) -> CapitalError:
        """What the hops that are left would need of the token that they begin with."""
        begins = [hop for hop in self.v2 if hop.token_in == self.profit_token] or self.v2[:1]
        token = begins[0].token_in
        return CapitalError(token, sum(self._missing(hop) for hop in begins) - self.here[token])

    def _is_fed(self, hop: Hop) -> bool:
        """Whether the input has to lie at the pool before the swap."""
        venue = self.venues.get(hop.pool)
        return venue is None or venue.fed is not None

    def _swap_at_venue(self, hop: Hop, venue: Venue) -> None:
        self.v2.remove(hop)
        self.ops += venue.before
        if venue.fed is None:
            self.here[hop.token_in] -= hop.amount_in_wei
        to = self._recipient(hop) if venue.names_receiver else None
        self._swap(replace(venue.op, to=to), hop)
        self.ops += venue.after

    def _swap_pair(self, hop: Hop) -> None:
        venue = self.venues.get(hop.pool)
        if venue is not None:
            self._swap_at_venue(hop, venue)
            return
        self.v2.remove(hop)
        self._swap(Op(Kind.V2_SWAP, hop.pool, hop.i == 0, hop.amount_out_wei, self._recipient(hop)), hop)

    def _missing(self, hop: Hop) -> int:
        return hop.amount_in_wei - self.prepaid[hop.pool]

    def _affordable(self, hop: Hop) -> bool:
        missing = self._missing(hop)
        if self._is_target(hop) and missing:  # others will bring it
            return False
        return self.here[hop.token_in] >= missing

    def _feed(self, hop: Hop) -> None:
        missing = self._missing(hop)
        if missing and self._is_fed(hop):
            self._send(hop.token_in, missing, hop.pool)

    def _send(self, token: Address, amount: int, to: Address) -> None:
        if token == self.profit_token:
            self.ops.append(Op(Kind.TRANSFER, amount_wei=amount, to=to))
        else:
            self.ops.append(Op(Kind.SEND, amount_wei=amount, to=to, token=token))
        self.here[token] -= amount

    def _pay(self) -> None:
        for debt in self.debts:
            short = debt.amount_wei - self.here[debt.token]
            if short > 0 and debt.token == NATIVE:
                self.ops.append(Op(Kind.UNWRAP, token=self.wrapped, amount_wei=short))
                self.here[self.wrapped] -= short
                self.here[NATIVE] += short
            if debt.book is not None:
                self.ops.append(Op(Kind.SETTLE, None, debt.book.value, debt.amount_wei, token=debt.token))
                self.here[debt.token] -= debt.amount_wei
            else:
                self._send(debt.token, debt.amount_wei, debt.to)

    def _wrap(self, amount: int) -> None:
        self.ops.append(Op(Kind.WRAP, token=self.wrapped, amount_wei=amount))
        self.here[NATIVE] -= amount
        self.here[self.wrapped] += amount


def _in_order(hops: Sequence[Hop], profit_token: Address) -> list[Hop]:
    """Producers before their consumers, the profit token's hops first; where tokens run in a ring, as given."""
    left, ordered = list(hops), []
    while left:
        made = {hop.token_out for hop in left if hop.token_out != profit_token}
        ready = [hop for hop in left if hop.token_in not in made] or left[:1]
        # One at a time keeps each path together, as the plan has it.
        ordered.append(ready[0])
        left.remove(ready[0])
    return ordered


def _has_books(step: SwapStep | None) -> bool:
    """Balancer V3's vault keeps books, as Uniswap V4's manager does."""
    return isinstance(step, VaultSwap) and step.version == 3


def _direct(hops: Sequence[Hop], profit_token: Address, venues: Mapping[str, Venue]) -> dict[Address, Address]:
    """Which pool's output goes straight into which pool, by amounts that are exactly equal (of one, or of all).

    What pulls its input takes it from the executor, and what names no receiver pays it.
    """
    can_take = {hop.pool for hop in hops if hop.pool not in venues or venues[hop.pool].fed is not None}
    can_send = {hop.pool for hop in hops if hop.pool not in venues or venues[hop.pool].names_receiver}
    target: dict[Address, Address] = {}
    for token in {hop.token_out for hop in hops} - {profit_token}:
        makers = [hop for hop in hops if hop.token_out == token]
        takers = [hop for hop in hops if hop.token_in == token]
        sends = all(hop.pool in can_send for hop in makers) and all(hop.pool in can_take for hop in takers)
        if len(takers) == 1 and sends and sum(hop.amount_out_wei for hop in makers) == takers[0].amount_in_wei:
            target |= dict.fromkeys((hop.pool for hop in makers), takers[0].pool)
            continue
        for maker in makers:
            if maker.pool not in can_send:
                continue
            fits = (hop for hop in takers if hop.pool in can_take and hop.amount_in_wei == maker.amount_out_wei)
            taker = next((hop for hop in fits if hop.pool not in target.values()), None)
            if taker is not None:
                target[maker.pool] = taker.pool
    return target

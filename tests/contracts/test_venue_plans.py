"""Whole plans through venues that give no credit: order, direct payments, loans where nobody lends, to the wei."""

from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from packages import available
from venueworld import VenueWorld
from world import TESTED, EvmBackend

from ouro.execution.capital import Loan, LoanKind, LoanSource, cheapest_loan, needs_capital
from ouro.execution.encode_dag import CapitalError, Guards, Places, dag_program, encode_dag
from ouro.execution.program import NATIVE, EncodeError, Kind, decode_program, encode_program
from ouro.protocols.registry import FAMILIES
from ouro.protocols.steps import (
    BinSwap,
    ExchangeCall,
    ExchangeSwap,
    Shape,
    SharesSwap,
    SwapStep,
    VaultSwap,
    WrapSwap,
)
from ouro.types import Hop

AMOUNT = 10**16
SHAPES = {
    "saddle": Shape.EXCHANGE, "exchange": Shape.EXCHANGE, "weighted": Shape.VAULT, "books": Shape.VAULT,
    "bins": Shape.BINS, "shares": Shape.ERC4626, "wrapped": Shape.WRAP,
}  # fmt: skip
LENDING = ("v2", "v3", "v4", "books")
VENUES = ("exchange", "weighted", "bins")
LOANS = (LoanKind.INVENTORY, LoanKind.V4, LoanKind.BALANCER, LoanKind.MORPHO, LoanKind.AAVE, LoanKind.V3_FLASH)


@pytest.fixture(scope="module", params=TESTED)
def built(request: pytest.FixtureRequest) -> VenueWorld:
    if not available():
        pytest.skip("the tests' own contract packages are not fetched: run `make contract-tests` once")
    return VenueWorld(EvmBackend(), request.param).build()


@pytest.fixture
def world(built: VenueWorld, monkeypatch: pytest.MonkeyPatch) -> Iterator[VenueWorld]:
    for kind, shape in SHAPES.items():
        monkeypatch.setitem(FAMILIES, f"test_{kind}", SimpleNamespace(shape=shape, managed=False))  # pyright: ignore[reportArgumentType]
    evm = built.backend.evm
    checkpoint = evm.snapshot()
    yield built
    evm.revert(checkpoint)
    evm.reset_transient_storage()


def step_of(world: VenueWorld, a: str, b: str, kind: str, call: ExchangeCall) -> SwapStep:
    pool, token_in, token_out = world.pools[a, b, kind], world.tokens[a], world.tokens[b]
    i = pool.tokens.index(token_in)
    match kind:
        case "saddle":
            return ExchangeSwap(pool.address, ExchangeCall.SADDLE, i, 1 - i, token_in, token_out)
        case "exchange":
            return ExchangeSwap(pool.address, call, i, 1 - i, token_in, token_out)
        case "weighted":
            return VaultSwap(world.vault, world.pool_ids[pool.address], 2, token_in, token_out)
        case "books":
            return VaultSwap(world.books, pool.address, 3, token_in, token_out)
        case "bins":
            return BinSwap(pool.address, i == 0)
        case "shares":
            return SharesSwap(pool.address, world.tokens["T1"], a == "T1")
    return WrapSwap(pool.address, "wrap(uint256)" if a == "T1" else "unwrap(uint256)", token_in, token_out)


class Path:
    """Hops one after the other, each on the output of the one before."""

    def __init__(
        self,
        world: VenueWorld,
        *legs: tuple[str, str, str],
        call: ExchangeCall = ExchangeCall.INT128,
        amount: int = AMOUNT,
    ) -> None:
        self.world, hops, steps = world, [], {}
        for a, b, kind in legs:
            if kind not in SHAPES:
                hops.append(world.hop(a, b, kind, amount))
            else:
                pool = world.pools[a, b, kind]
                i = pool.tokens.index(world.tokens[a])
                out = world.out(a, b, kind, amount)
                hops.append(
                    Hop(pool.address, f"test_{kind}", world.tokens[a], world.tokens[b], i, 1 - i, amount, out)
                )
                steps[pool.address] = step_of(world, a, b, kind, call)
            amount = hops[-1].amount_out_wei
        self.hops = tuple(hops)
        self.places = Places(world.manager, world.keys, world.tokens["W"], steps)
        self.gain = hops[-1].amount_out_wei - hops[0].amount_in_wei

    def run(self, loan: Loan | None = None) -> bytes:
        world, token = self.world, self.world.tokens["W"]
        gain = self.gain - (loan.fee_wei if loan else 0)
        data = encode_dag(self.hops, token, gain, Guards(100), self.places, loan)
        assert encode_program(decode_program(data)) == data
        before = world.balance(token, world.treasury)
        held = {name: world.balance(t, world.executor) for name, t in world.tokens.items() if t != NATIVE}
        world.backend.send(world.executor, data, world.operator)
        assert world.balance(token, world.treasury) - before == gain
        assert held == {name: world.balance(t, world.executor) for name, t in world.tokens.items() if t != NATIVE}
        return data


@pytest.mark.parametrize("venue", [*VENUES, "books"])
@pytest.mark.parametrize("lending", LENDING)
@pytest.mark.parametrize("first", [True, False])
def test_a_pool_that_lends_pays_for_the_venue(world: VenueWorld, lending: str, venue: str, first: bool) -> None:
    """Whichever comes first in the path."""
    if lending == venue:
        return  # one pool twice
    kinds = (lending, venue) if first else (venue, lending)
    path = Path(world, ("W", "T1", kinds[0]), ("T1", "W", kinds[1]))
    assert path.gain > 0
    path.run()


@pytest.mark.parametrize("call", ExchangeCall)
@pytest.mark.parametrize("lending", ["v2", "v3", "v4"])
def test_every_call_of_an_exchange(world: VenueWorld, lending: str, call: ExchangeCall) -> None:
    Path(world, ("W", "T1", lending), ("T1", "W", "exchange"), call=call).run()
    Path(world, ("W", "T1", "exchange"), ("T1", "W", lending), call=call).run()


@pytest.mark.parametrize("name", ["S", "X"])
def test_deposits_and_redemptions_in_a_path(world: VenueWorld, name: str) -> None:
    kind = "shares" if name == "S" else "wrapped"
    for entry in ("v2", "v3", "v4", "weighted", "bins"):
        Path(world, ("W", "T1", entry), ("T1", name, kind), (name, "W", "v2")).run()
        Path(world, ("W", name, "v2"), (name, "T1", kind), ("T1", "W", entry)).run()


def test_four_hops_of_four_kinds(world: VenueWorld) -> None:
    Path(world, ("W", "T1", "weighted"), ("T1", "T2", "saddle"), ("T2", "W", "v2")).run()
    Path(world, ("W", "T1", "bins"), ("T1", "T2", "saddle"), ("T2", "W", "v3")).run()
    Path(world, ("W", "T1", "books"), ("T1", "T2", "saddle"), ("T2", "W", "v2")).run()


def test_two_cycles_and_a_merge(world: VenueWorld) -> None:
    """Two venues feed one pair; a second cycle of its own beside them."""
    w = world
    a, b = Path(w, ("W", "T1", "weighted")), Path(w, ("W", "T1", "bins"), amount=2 * AMOUNT)
    middle = a.hops[0].amount_out_wei + b.hops[0].amount_out_wei
    back = w.hop("T1", "W", "v2", middle)
    hops = (a.hops[0], b.hops[0], back)
    path = Path(w, ("W", "T1", "v3"), ("T1", "W", "v3"))
    path.hops = (*hops, *path.hops)
    path.places = Places(w.manager, w.keys, w.tokens["W"], {**a.places.steps, **b.places.steps})
    path.gain += back.amount_out_wei - 3 * AMOUNT
    path.run()


def test_outputs_go_straight_on_where_they_can(world: VenueWorld) -> None:
    """A vault pays the pair that comes next; what pulls its input gets it here."""
    data = Path(world, ("W", "T1", "weighted"), ("T1", "W", "v2")).run()
    (vault,) = [op for op in decode_program(data).ops if op.kind is Kind.VAULT]
    assert vault.to == world.pools["T1", "W", "v2"].address
    data = Path(world, ("W", "T1", "v3"), ("T1", "W", "exchange"), call=ExchangeCall.INT128_RECEIVED).run()
    (opened,) = [op for op in decode_program(data).ops if op.kind is Kind.V3_SWAP]
    assert opened.to == world.pools["T1", "W", "exchange"].address


def sources(world: VenueWorld, amount: int) -> dict[LoanKind, LoanSource]:
    token, pool = world.tokens["W"], world.pools["W", "T1", "v3"]
    lender = {
        LoanKind.INVENTORY: world.executor, LoanKind.V4: world.manager, LoanKind.BALANCER: world.vault,
        LoanKind.MORPHO: world.morpho, LoanKind.AAVE: world.aave, LoanKind.V3_FLASH: pool.address,
    }  # fmt: skip
    fee = {LoanKind.AAVE: 500, LoanKind.V3_FLASH: 3000}
    index = pool.tokens.index(token)
    return {
        kind: LoanSource(
            kind, lender[kind], token, amount, fee.get(kind, 0), index if kind is LoanKind.V3_FLASH else 0
        )
        for kind in LOANS
    }


@pytest.mark.parametrize("kind", LOANS)
@pytest.mark.parametrize("venues", [("bins", "exchange"), ("exchange", "bins"), ("weighted", "exchange")])
def test_where_nobody_lends_a_loan_pays(world: VenueWorld, venues: tuple[str, str], kind: LoanKind) -> None:
    path = Path(world, ("W", "T1", venues[0]), ("T1", "W", venues[1]))
    assert needs_capital(path.hops)
    with pytest.raises(CapitalError) as caught:
        dag_program(path.hops, world.tokens["W"], 1, None, path.places)
    assert (caught.value.token, caught.value.amount_wei) == (world.tokens["W"], AMOUNT)
    if kind is LoanKind.INVENTORY:
        world.transfer(world.tokens["W"], world.executor, 2 * AMOUNT)
    busy = [hop.pool for hop in path.hops] + ([world.vault] if "weighted" in venues else [])
    loan = cheapest_loan([sources(world, AMOUNT)[kind]], world.tokens["W"], AMOUNT, 0, busy)
    if kind is LoanKind.BALANCER and "weighted" in venues:
        assert loan is None, "its vault can't lend while it swaps"
        return
    assert loan is not None
    path.run(loan)


def test_what_is_missing_in_the_description(world: VenueWorld) -> None:
    path = Path(world, ("W", "T1", "v2"), ("T1", "W", "bins"))
    with pytest.raises(EncodeError, match="no description"):
        encode_dag(path.hops, world.tokens["W"], 1, None, Places(None, {}, world.tokens["W"]))
    wrong = WrapSwap(path.hops[1].pool, "submit(address)", path.hops[1].token_in, path.hops[1].token_out)
    with pytest.raises(EncodeError, match="submit"):
        encode_dag(path.hops, world.tokens["W"], 1, None, Places(steps={path.hops[1].pool: wrong}))

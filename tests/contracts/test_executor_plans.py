"""Plans of many hops through the real protocols: splits, merges, V4, native coin, loans, bribes, guards."""

from dataclasses import replace

import pytest
from bigworld import BigWorld
from world import Reverted, address_of

from ouro.execution import contract
from ouro.execution.capital import Loan, LoanKind
from ouro.execution.encode import encode_plan
from ouro.execution.encode_dag import Guards, dag_program, encode_dag
from ouro.execution.program import (
    NATIVE,
    Bribe,
    EncodeError,
    Kind,
    Op,
    Program,
    decode_program,
    encode_program,
)
from ouro.execution.reverts import classify_revert
from ouro.types import Hop

UNIT = 10**16
KINDS = ("v2", "v3", "v4")


def gain_of(world: BigWorld, hops: tuple[Hop, ...]) -> int:
    ours = {world.tokens["W"], NATIVE}
    return sum(h.amount_out_wei * (h.token_out in ours) - h.amount_in_wei * (h.token_in in ours) for h in hops)


def run(world: BigWorld, hops: tuple[Hop, ...], loan: Loan | None = None, guards: Guards | None = None) -> bytes:
    """Execute, and check that the treasury gets exactly the plan's profit and nothing rests."""
    token = world.tokens["W"]
    gain = gain_of(world, hops) - (loan.fee_wei if loan else 0)
    data = encode_dag(hops, token, gain, guards, world.places, loan)
    assert encode_program(decode_program(data)) == data
    before = world.balance(token, world.treasury)
    held = {name: held_of(world, name) for name in world.tokens}
    world.backend.send(world.executor, data, world.operator)
    assert world.balance(token, world.treasury) - before == gain
    assert {name: held_of(world, name) for name in world.tokens} == held
    return data


def held_of(world: BigWorld, name: str) -> int:
    if name == "ETH":
        return world.backend.evm.get_balance(world.executor)
    return world.balance(world.tokens[name], world.executor)


def reason_of(world: BigWorld, data: bytes, sender: str | None = None) -> tuple[str, str]:
    with pytest.raises(Reverted) as caught:
        world.backend.send(world.executor, data, sender or world.operator)
    return classify_revert(caught.value.data)


def split(world: BigWorld, first: str, second: str, last: str) -> tuple[Hop, ...]:
    """W → T1 through two pools, merged into one back."""
    a, b = world.hop("W", "T1", first, UNIT), world.hop("W", "T1", second, 2 * UNIT)
    back = world.hop("T1", "W", last, a.amount_out_wei + b.amount_out_wei)
    return a, b, back


class TestShapes:
    @pytest.mark.parametrize("kinds", [(a, b) for a in KINDS for b in KINDS], ids="-".join)
    def test_two_hops(self, big_world: BigWorld, kinds: tuple[str, str]) -> None:
        run(big_world, big_world.path(UNIT, ("W", "T1", kinds[0]), ("T1", "W", kinds[1])))

    @pytest.mark.parametrize("kinds", [(a, b, c) for a in KINDS for b in KINDS for c in KINDS], ids="-".join)
    def test_three_hops(self, big_world: BigWorld, kinds: tuple[str, str, str]) -> None:
        legs = zip(("W", "T1", "T2"), ("T1", "T2", "W"), kinds, strict=True)
        run(big_world, big_world.path(UNIT, *legs))

    @pytest.mark.parametrize("n", [4, 5, 6])
    def test_long_cycles_of_all_families(self, big_world: BigWorld, n: int) -> None:
        names = ["W", *(f"T{k}" for k in range(1, n)), "W"]
        for shift in range(3):
            legs = [(names[k], names[k + 1], KINDS[(k + shift) % 3]) for k in range(n)]
            run(big_world, big_world.path(UNIT, *legs))

    @pytest.mark.parametrize("first", KINDS)
    @pytest.mark.parametrize("second", KINDS)
    @pytest.mark.parametrize("last", KINDS)
    def test_split_and_merge(self, big_world: BigWorld, first: str, second: str, last: str) -> None:
        if first != second:
            run(big_world, split(big_world, first, second, last))

    @pytest.mark.parametrize("one", KINDS)
    @pytest.mark.parametrize("two", KINDS)
    def test_one_output_into_two_pools(self, big_world: BigWorld, one: str, two: str) -> None:
        if one == two:
            return
        make = big_world.hop("W", "T1", "v3", 2 * UNIT)
        part = make.amount_out_wei // 3
        hops = (
            make,
            big_world.hop("T1", "W", one, part),
            big_world.hop("T1", "W", two, make.amount_out_wei - part),
        )
        run(big_world, hops)

    def test_two_cycles_at_once(self, big_world: BigWorld) -> None:
        for kinds in (("v2", "v2", "v3", "v3"), ("v3", "v2", "v2", "v3"), ("v4", "v2", "v3", "v4")):
            first = big_world.path(UNIT, ("W", "T1", kinds[0]), ("T1", "W", kinds[1]))
            legs = ("W", "T1", kinds[2]), ("T1", "T2", "v2"), ("T2", "W", kinds[3])
            run(big_world, (*first, *big_world.path(UNIT, *legs)))

    def test_network_of_nine_hops(self, big_world: BigWorld) -> None:
        w = big_world
        a, b, c = (w.hop("W", "T1", kind, UNIT) for kind in KINDS)
        total = a.amount_out_wei + b.amount_out_wei + c.amount_out_wei
        x = w.hop("T1", "T2", "v2", total // 2)
        y = w.hop("T1", "T2", "v3", total // 4)
        z = w.hop("T1", "W", "v4", total - total // 2 - total // 4)
        merged = x.amount_out_wei + y.amount_out_wei
        p = w.hop("T2", "W", "v3", merged // 2)
        q = w.hop("T2", "T3", "v4", merged - merged // 2)
        run(w, (a, b, c, x, y, z, p, q, w.hop("T3", "W", "v2", q.amount_out_wei)))

    @pytest.mark.parametrize("kind", ["v2", "v3", "v4"])
    def test_native_coin(self, big_world: BigWorld, kind: str) -> None:
        w = big_world
        run(w, w.path(UNIT, ("W", "T1", kind), ("T1", "ETH", "v4")))
        run(w, w.path(UNIT, ("ETH", "T1", "v4"), ("T1", "W", kind)))
        run(w, w.path(UNIT, ("ETH", "T1", "v4"), ("T1", "T2", kind), ("T2", "ETH", "v4")))

    @pytest.mark.parametrize("shape", [("v2", "v2"), ("v2", "v3"), ("v3", "v2"), ("v3", "v3", "v2"), ("v2",) * 4])
    def test_a_cycle_is_the_same_program(self, big_world: BigWorld, shape: tuple[str, ...]) -> None:
        hops = big_world.hops(shape, UNIT)
        assert encode_dag(hops, big_world.tokens["W"], 1, Guards(7)) == encode_plan(
            hops, big_world.tokens["W"], 1, 7
        )


class TestLoans:
    def source(self, world: BigWorld, kind: LoanKind, amount: int) -> Loan:
        pool = world.pools["T2", "W", "v3"]
        lender = {
            LoanKind.V4: world.manager,
            LoanKind.BALANCER: world.vault,
            LoanKind.MORPHO: world.morpho,
            LoanKind.AAVE: world.aave,
            LoanKind.V3_FLASH: pool.address,
            LoanKind.INVENTORY: world.executor,
        }[kind]
        fee = {LoanKind.AAVE: (amount * 5 + 5000) // 10000, LoanKind.V3_FLASH: -(-amount * pool.fee // 10**6)}
        index = pool.tokens.index(world.tokens["W"])
        return Loan(kind, lender, world.tokens["W"], amount, fee.get(kind, 0), index)

    @pytest.mark.parametrize("kind", list(LoanKind))
    @pytest.mark.parametrize("shape", [("v2", "v2"), ("v3", "v2"), ("v4", "v2")], ids="-".join)
    def test_every_lender(self, big_world: BigWorld, kind: LoanKind, shape: tuple[str, str]) -> None:
        if kind is LoanKind.INVENTORY:
            big_world.transfer(big_world.tokens["W"], big_world.executor, 5 * UNIT)
        hops = big_world.path(UNIT, ("W", "T1", shape[0]), ("T1", "W", shape[1]))
        run(big_world, hops, self.source(big_world, kind, UNIT))
        for lender in (big_world.aave, big_world.morpho):
            signature = "allowance(address,address)"
            assert big_world.read(big_world.tokens["W"], signature, ["uint256"], big_world.executor, lender) == (0,)

    def test_a_foreign_loan_does_not_start_anything(self, big_world: BigWorld) -> None:
        """Anybody may make a lender call the executor."""
        w = big_world
        signature = "flashLoan(address,address[],uint256[],bytes)"
        from world import calldata

        data = calldata(signature, w.executor, [w.tokens["W"]], [1], b"\x00" * 60)
        with pytest.raises(Reverted):
            w.backend.send(w.vault, data, w.stranger)


class TestReferences:
    def test_register_moves_whatever_came(self, big_world: BigWorld) -> None:
        """W → T1 on V3 to here; all that came goes into the pair, whose output follows from its reserves."""
        w = big_world
        w.transfer(w.tokens["T1"], w.executor, 777)
        hops = w.path(UNIT, ("W", "T1", "v3"), ("T1", "W", "v2"))
        pair = w.pools["T1", "W", "v2"]
        ops = (
            Op(Kind.V3_SWAP, hops[0].pool, hops[0].i == 0, UNIT),
            Op(Kind.RECEIVED, token=w.tokens["T1"]),
            Op(Kind.SEND, token=w.tokens["T1"], to=pair.address),
            Op(Kind.V2_IN, pair.address, hops[1].i == 0, 0, fee=3000),
            Op(Kind.TRANSFER, amount_wei=UNIT, to=hops[0].pool),
        )
        before = w.balance(w.tokens["W"], w.treasury)
        # Somebody trades before us: fixed amounts would fail, these follow.
        rival = w.path(10**12, ("W", "T1", "v3"), ("T1", "W", "v2"))
        run(w, rival)
        between = w.balance(w.tokens["W"], w.treasury)
        data = encode_program(Program(None, 1, w.tokens["W"], ops, tokens=(w.tokens["T1"],), held=True))
        w.backend.send(w.executor, data, w.operator)
        gain = w.balance(w.tokens["W"], w.treasury) - between
        planned = hops[1].amount_out_wei - UNIT
        assert before < between
        assert 0 < gain < planned
        assert w.balance(w.tokens["T1"], w.executor) == 777

    def test_received_keeps_a_part_back(self, big_world: BigWorld) -> None:
        w = big_world
        hops = w.path(UNIT, ("W", "T1", "v3"), ("T1", "W", "v2"))
        pair = w.pools["T1", "W", "v2"]
        ops = (
            Op(Kind.V3_SWAP, hops[0].pool, hops[0].i == 0, UNIT),
            Op(Kind.RECEIVED, token=w.tokens["T1"], amount_wei=hops[1].amount_in_wei + 1),
        )
        data = encode_program(Program(None, 0, w.tokens["W"], ops, tokens=(w.tokens["T1"],), held=True))
        assert reason_of(w, data) == ("competitive", "Late")
        assert pair.family == "uniswap_v2"

    def test_v4_register_follows_the_swap(self, big_world: BigWorld) -> None:
        w = big_world
        first, second = w.path(UNIT, ("W", "T1", "v4"), ("T1", "W", "v4"))
        gain = second.amount_out_wei - UNIT
        ops = (
            Op(Kind.UNLOCK, w.manager),
            Op(Kind.V4_SWAP, None, first.i == 0, UNIT, key=w.keys[first.pool]),
            Op(Kind.V4_SWAP, None, second.i == 0, 0, key=w.keys[second.pool]),
            Op(Kind.TAKE, token=w.tokens["W"], amount_wei=gain),
        )
        w.backend.send(w.executor, encode_program(Program(None, gain, w.tokens["W"], ops)), w.operator)


class TestGuards:
    def test_deadline(self, big_world: BigWorld) -> None:
        w = big_world
        hops = w.hops(("v2", "v3"), UNIT)
        now = 1_700_000_100
        assert reason_of(w, encode_dag(hops, w.tokens["W"], 1, Guards(deadline=now - 1))) == (
            "competitive",
            "Late",
        )
        run(w, hops, guards=Guards(deadline=now, max_block_number=100))

    def test_parent_hash(self, big_world: BigWorld) -> None:
        w = big_world
        hops = w.hops(("v2", "v3"), UNIT)
        assert reason_of(w, encode_dag(hops, w.tokens["W"], 1, Guards(parent_hash=b"\x01" * 8)))[1] == "Late"

    @pytest.mark.parametrize("kind", ["v2", "v3"])
    def test_probe(self, big_world: BigWorld, kind: str) -> None:
        """The state has moved: a probe says so for a fraction of the gas."""
        w = big_world
        hops = w.path(UNIT, ("W", "T1", kind), ("T1", "W", "v2"))
        pool = hops[0].pool
        if kind == "v2":
            value = w.read(pool, "getReserves()", ["uint112", "uint112", "uint32"])[1]
            probe = Op(Kind.GUARD_V2, pool, True, value)
        else:
            price = w.read(pool, "slot0()", ["uint160"])[0]
            probe = Op(Kind.GUARD_V3, pool, False, price & (1 << 112) - 1)
        data = run(w, hops, guards=Guards(probe=probe))
        assert reason_of(w, data) == ("competitive", "Late")


class TestBribes:
    def bribed(self, world: BigWorld, bribe: Bribe, floor: int = 1) -> tuple[bytes, int]:
        hops = world.path(UNIT, ("W", "T1", "v2"), ("T1", "W", "v3"))
        return encode_dag(hops, world.tokens["W"], floor, Guards(bribe=bribe)), gain_of(world, hops)

    def test_share_of_the_realised_profit_to_the_builder(self, big_world: BigWorld) -> None:
        w = big_world
        w.backend.send(w.executor, contract.set_bribe_cap(900_000), w.owner)
        builder = address_of("builder")
        w.backend.set_block(100, builder)
        data, gain = self.bribed(w, Bribe(800_000))
        before = w.balance(w.tokens["W"], w.treasury)
        w.backend.send(w.executor, data, w.operator)
        paid = gain * 800_000 // 10**6
        assert w.backend.evm.get_balance(builder) == paid
        assert w.balance(w.tokens["W"], w.treasury) - before == gain - paid
        assert held_of(w, "W") == held_of(w, "ETH") == 0

    @pytest.mark.parametrize("in_tokens", [False, True])
    def test_listed_recipients_only(self, big_world: BigWorld, in_tokens: bool) -> None:
        w = big_world
        w.backend.send(w.executor, contract.set_bribe_cap(500_000), w.owner)
        someone = address_of("someone listed")
        data, gain = self.bribed(w, Bribe(500_000, someone, in_tokens))
        assert reason_of(w, data) == ("bug", "BribeRefused")
        w.backend.send(w.executor, contract.set_bribe_recipient(someone, True), w.owner)
        w.backend.send(w.executor, data, w.operator)
        got = w.balance(w.tokens["W"], someone) if in_tokens else w.backend.evm.get_balance(someone)
        assert got == gain // 2

    def test_never_above_the_owners_cap(self, big_world: BigWorld) -> None:
        w = big_world
        assert reason_of(w, self.bribed(w, Bribe(1))[0]) == ("bug", "BribeRefused")
        w.backend.send(w.executor, contract.set_bribe_cap(100), w.owner)
        assert reason_of(w, self.bribed(w, Bribe(101))[0]) == ("bug", "BribeRefused")

    def test_profit_floor_holds_after_the_bribe(self, big_world: BigWorld) -> None:
        w = big_world
        w.backend.send(w.executor, contract.set_bribe_cap(500_000), w.owner)
        _, gain = self.bribed(w, Bribe(1))
        data, _ = self.bribed(w, Bribe(500_000), gain)
        left = gain - gain // 2
        assert reason_of(w, data) == ("competitive", f"Shortfall(got={left}, want={gain})")


class TestImpossible:
    def test_fields(self, big_world: BigWorld) -> None:
        w = big_world
        token = w.tokens["W"]
        hops = w.path(UNIT, ("W", "T1", "v2"), ("T1", "W", "v4"))
        cases = [
            (hops[:1], {}, "hops"),
            ((hops[0], replace(hops[1], amount_in_wei=hops[1].amount_in_wei + 1)), {}, "hops"),
            ((hops[0], replace(hops[1], amount_in_wei=hops[1].amount_in_wei - 1)), {}, "hops"),
            ((hops[0], replace(hops[1], pool="0x" + "11" * 32)), {}, "hops[1].pool"),
            ((hops[0], replace(hops[0])), {}, "hops[1].pool"),
            ((replace(hops[0], family="curve"), hops[1]), {}, "hops[0].family"),
            (hops, {"min_profit_wei": gain_of(w, hops) + 1}, "min_profit_wei"),
            (hops, {"profit_token": w.tokens["T5"]}, "hops"),
            (hops, {"guards": Guards(deadline=0)}, "deadline"),
            (hops, {"guards": Guards(parent_hash=b"1")}, "parent_hash"),
            (hops, {"guards": Guards(probe=Op(Kind.UNLOCK, w.manager))}, "guards.probe"),
            (hops, {"guards": Guards(bribe=Bribe(1_000_001))}, "bribe.share_ppm"),
            (hops, {"loan": Loan(LoanKind.V4, w.manager, token, 0)}, "loan.amount_wei"),
        ]
        for plan, change, field in cases:
            arguments = {"profit_token": token, "min_profit_wei": 1, "places": w.places, **change}
            with pytest.raises(EncodeError) as caught:
                encode_dag(plan, **arguments)
            assert caught.value.field == field

    def test_v4_needs_to_know_its_manager(self, big_world: BigWorld) -> None:
        hops = big_world.path(UNIT, ("W", "T1", "v2"), ("T1", "W", "v4"))
        with pytest.raises(EncodeError) as caught:
            dag_program(hops, big_world.tokens["W"], 1)
        assert caught.value.field == "places.v4_manager"

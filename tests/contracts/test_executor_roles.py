"""Settings, roles, refusals one by one: each check of the contract has a test that fails without it."""

import pytest
from bigworld import BigWorld
from packages import own_code
from world import Reverted, World, address_of, calldata, encode

from ouro.execution import contract
from ouro.execution.encode import encode_plan
from ouro.execution.encode_dag import Guards, encode_dag
from ouro.execution.program import NATIVE, Bribe, Kind, Op, Program, encode_program
from ouro.execution.reverts import classify_revert

UNIT = 10**16


def reason(world: World, data: bytes, sender: str, to: str | None = None) -> str:
    with pytest.raises(Reverted) as caught:
        world.backend.send(to or world.executor, data, sender)
    return classify_revert(caught.value.data)[1]


def raw(world: World, *ops: bytes, tokens: tuple[str, ...] = ()) -> bytes:
    """A program of hand-made operations."""
    header = encode_program(Program(None, 0, world.tokens["W"], (Op(Kind.SETTLED),), tokens=tokens))
    return header[:-15] + b"".join(ops)


def op(kind: int, amount: int, rest: bytes = b"", mode: int = 0) -> bytes:
    return bytes([kind << 3 | mode << 1]) + amount.to_bytes(14, "big") + rest


def hexed(address: str) -> bytes:
    return bytes.fromhex(address[2:])


class TestSettings:
    def test_zero_addresses(self, world: World) -> None:
        for data in (
            contract.set_operator(NATIVE, True),
            contract.set_treasury(NATIVE),
            contract.set_bribe_recipient(NATIVE, True),
            contract.withdraw(world.tokens["W"], NATIVE, 0),
        ):
            assert reason(world, data, world.owner) == "ZeroAddress"

    def test_constructor_needs_an_owner(self, world: World) -> None:
        with pytest.raises(RuntimeError, match="d92e233d"):
            world.backend.deploy(world.build_of.deployment(NATIVE, [], None), world.stranger)

    def test_no_more_than_thirty_two_operators(self, world: World) -> None:
        for k in range(31):
            world.backend.send(world.executor, contract.set_operator(address_of(f"op{k}"), True), world.owner)
        assert reason(world, contract.set_operator(address_of("one more"), True), world.owner) == "TooMany"
        # Known ones may be set again, and taking one away makes room.
        world.backend.send(world.executor, contract.set_operator(address_of("op3"), True), world.owner)
        world.backend.send(world.executor, contract.set_operator(address_of("op7"), False), world.owner)
        world.backend.send(world.executor, contract.set_operator(address_of("one more"), True), world.owner)
        (listed,) = world.read(world.executor, "operators()", ["address[]"])
        expected = {world.operator, address_of("one more"), *(address_of(f"op{k}") for k in range(31) if k != 7)}
        assert set(listed) == expected
        assert len(listed) == 32

    def test_cap_is_at_most_everything(self, world: World) -> None:
        assert reason(world, contract.set_bribe_cap(10**6 + 1), world.owner) == "BribeRefused"
        world.backend.send(world.executor, contract.set_bribe_cap(10**6), world.owner)
        world.backend.send(world.executor, contract.pause(), world.owner)
        assert world.read(world.executor, "bribeCapPpm()", ["uint256"]) == (10**6,)
        assert world.read(world.executor, "paused()", ["bool"]) == (True,)
        assert world.read(world.executor, "treasury()", ["address"]) == (world.treasury,)
        world.backend.send(world.executor, contract.unpause(), world.owner)
        assert world.read(world.executor, "bribeCapPpm()", ["uint256"]) == (10**6,)

    def test_a_new_treasury_is_paid(self, world: World) -> None:
        place = address_of("another treasury")
        world.backend.send(world.executor, contract.set_treasury(place), world.owner)
        hops = world.hops(("v2", "v2"), UNIT)
        world.backend.send(world.executor, encode_plan(hops, world.tokens["W"], 1, None), world.operator)
        assert world.balance(world.tokens["W"], place) == hops[-1].amount_out_wei - UNIT

    def test_the_executor_as_treasury_keeps_the_profit_as_inventory(self, world: World) -> None:
        world.backend.send(world.executor, contract.set_treasury(world.executor), world.owner)
        hops = world.hops(("v2", "v2"), UNIT)
        world.backend.send(world.executor, encode_plan(hops, world.tokens["W"], 1, None), world.operator)
        gain = hops[-1].amount_out_wei - UNIT
        assert world.balance(world.tokens["W"], world.executor) == gain
        stolen = encode_program(
            Program(None, 0, world.tokens["W"], (Op(Kind.TRANSFER, amount_wei=1, to=world.operator),))
        )
        assert reason(world, stolen, world.operator).startswith("Shortfall")

    def test_inventory_is_not_sent_around(self, world: World) -> None:
        """To itself would be a transfer for nothing, which some tokens charge or refuse."""
        world.backend.send(world.executor, contract.set_treasury(world.executor), world.owner)
        data = encode_plan(world.hops(("v2", "v2"), 10**17), world.tokens["W"], 1, 100)
        world.backend.send(world.executor, data, world.operator)
        own = bytes.fromhex(world.executor[2:])
        assert not [
            log
            for log in world.backend.evm.result.logs
            if str(log.address).lower() == world.tokens["W"]
            and [bytes.fromhex(str(t).removeprefix("0x"))[12:] for t in log.topics[1:]] == [own, own]
        ]

    def test_an_accepted_offer_is_over(self, world: World) -> None:
        world.backend.send(world.executor, contract.offer_ownership(world.stranger), world.owner)
        assert world.read(world.executor, "pendingOwner()", ["address"]) == (world.stranger,)
        world.backend.send(world.executor, contract.accept_ownership(), world.stranger)
        assert world.read(world.executor, "pendingOwner()", ["address"]) == (NATIVE,)

    def test_owner_functions_for_recipients(self, world: World) -> None:
        for data in (contract.set_bribe_cap(1), contract.set_bribe_recipient(world.stranger, True)):
            assert reason(world, data, world.operator) == "NotOwner"


class TestPrograms:
    def test_other_versions(self, world: World) -> None:
        data = b"\x20" + raw(world, op(Kind.SETTLED, 0))[1:]
        assert reason(world, data, world.operator) == "BadProgram"

    def test_operation_that_ends_beyond_the_program(self, world: World) -> None:
        assert reason(world, raw(world, op(Kind.V2_SWAP, 1, bytes(19))), world.operator) == "BadProgram"

    @pytest.mark.parametrize("index", [1, 2, 15, 16, 32, 255])
    def test_what_is_not_listed_can_not_be_moved(self, world: World, index: int) -> None:
        world.transfer(world.tokens["T1"], world.executor, 5)
        data = raw(world, op(Kind.SEND, 1, bytes([index]) + hexed(world.stranger), 3))
        assert reason(world, data, world.operator) == "BadProgram"

    @pytest.mark.parametrize("kind", range(21, 32))
    def test_operations_that_do_not_exist(self, world: World, kind: int) -> None:
        assert reason(world, raw(world, op(kind, 1)), world.operator) == "BadProgram"

    @pytest.mark.parametrize("index", [1, 2, 15])
    def test_native_coin_that_is_not_listed_can_not_be_spent(self, world: World, index: int) -> None:
        """An empty place of the list must not be taken for the native coin, whose address is zero."""
        world.backend.evm.set_balance(world.executor, 10)
        data = raw(world, op(Kind.SETTLE, 1, bytes([index])))
        assert reason(world, data, world.operator) == "BadProgram"
        data = raw(world, op(Kind.WRAP, 1, b"\x00" + bytes([index])))
        assert reason(world, data, world.operator) == "BadProgram"

    def test_what_was_held_is_no_token(self, world: World) -> None:
        """A token of the attacker's claims a balance that, as a word, would list the token he wants."""
        token = world.tokens["T1"]
        world.transfer(token, world.executor, 5)
        fake = world.backend.deploy(own_code("FakeToken.sol", "FakeToken"), world.stranger)
        claim = 1 << 160 | int(token, 16)
        give = calldata("swap(uint256,uint256,address,bytes)", 0, claim, world.executor, b"")
        world.backend.send(fake, give, world.stranger)
        header = encode_program(Program(None, 0, fake, (Op(Kind.SETTLED),), held=True))[:-15]
        data = header + op(Kind.SEND, 5, bytes([32]) + hexed(world.stranger), 3)
        assert reason(world, data, world.operator) == "BadProgram"
        assert world.balance(token, world.executor) == 5

    def test_too_long_a_list(self, world: World) -> None:
        header = bytearray(raw(world, op(Kind.SETTLED, 0))[:39])
        header[0] = 8
        data = bytes(header) + bytes([16]) + hexed(world.tokens["T1"]) * 16 + op(Kind.SETTLED, 0)
        assert reason(world, data, world.operator) == "BadProgram"

    @pytest.mark.parametrize("kind", [Kind.SEND, Kind.UNWRAP])
    def test_the_native_coin_is_no_token(self, world: World, kind: Kind) -> None:
        world.backend.evm.set_balance(world.executor, 10)
        data = raw(world, op(kind, 1, b"\x01"), tokens=(NATIVE,))
        assert reason(world, data, world.operator) == "BadProgram"

    def test_wrapping_needs_the_native_coin_on_the_list(self, world: World) -> None:
        world.backend.evm.set_balance(world.executor, 10)
        data = raw(world, op(Kind.WRAP, 1, b"\x00\x01"), tokens=(world.tokens["T1"],))
        assert reason(world, data, world.operator) == "BadProgram"

    def test_native_coin_can_not_be_spent(self, world: World) -> None:
        """Settling outside of any unlock sends it nowhere; the list gives it away."""
        world.backend.evm.set_balance(world.executor, 10)
        data = raw(world, op(Kind.SETTLE, 1, b"\x01"), tokens=(NATIVE,))
        assert reason(world, data, world.operator) == f"BalanceFell({NATIVE})"

    @pytest.mark.parametrize("amount", [1, 5])
    def test_listed_tokens_may_not_fall(self, world: World, amount: int) -> None:
        token = world.tokens["T1"]
        world.transfer(token, world.executor, 5)
        data = raw(world, op(Kind.SEND, amount, b"\x01" + hexed(world.stranger), 3), tokens=(token,))
        assert reason(world, data, world.operator) == f"BalanceFell({token})"

    def test_nothing_received(self, world: World) -> None:
        token = world.tokens["T1"]
        assert reason(world, raw(world, op(Kind.RECEIVED, 0, b"\x01"), tokens=(token,)), world.operator) == "Late"

    def test_guards_of_prices(self, world: World) -> None:
        pair, pool = world.pools["W", "T1", "v2"].address, world.pools["W", "T1", "v3"].address
        for kind, place in ((Kind.GUARD_V2, pair), (Kind.GUARD_V3, pool)):
            assert reason(world, raw(world, op(kind, 1, hexed(place))), world.operator) == "Late"
            # An account that does not answer like a pool.
            wrong = raw(world, op(kind, 1, hexed(world.stranger)))
            assert reason(world, wrong, world.operator) == "BadProgram"

    def test_profit_token_that_can_not_be_read(self, world: World) -> None:
        data = encode_program(Program(None, 0, world.stranger, (Op(Kind.SETTLED),)))
        assert reason(world, data, world.operator) == "BalanceUnreadable"


@pytest.mark.parametrize("kind", [Kind.LOAN_AAVE, Kind.LOAN_MORPHO])
def test_a_lender_that_pulls_nothing_keeps_no_approval(world: World, kind: Kind) -> None:
    token = world.tokens["T1"]
    arguments = encode(["address"] * 3, [world.executor, world.tokens["W"], token])
    lender = world.backend.deploy(own_code("Actor.sol", "Actor") + arguments, world.stranger)
    world.backend.send(lender, calldata("configure(uint8,uint8,bytes)", 1, 1, b""), world.stranger)
    fee = bytes(14) if kind is Kind.LOAN_AAVE else b""
    data = raw(world, op(kind, 5, hexed(lender) + b"\x01" + fee), op(Kind.SETTLED, 0), tokens=(token,))
    world.backend.send(world.executor, data, world.operator)
    assert world.read(lender, "calls()", ["uint256"]) == (1,)
    assert world.read(token, "allowance(address,address)", ["uint256"], world.executor, lender) == (0,)


class TestOneTransaction:
    """Several programs in one transaction, by an operator that is a contract."""

    def batch(self, world: World) -> str:
        made = world.backend.deploy(own_code("Actor.sol", "Batch"), world.stranger)
        world.backend.send(world.executor, contract.set_operator(made, True), world.owner)
        return made

    def run(self, world: World, batch: str, *programs: bytes) -> None:
        data = calldata("run(address,bytes[])", world.executor, list(programs))
        world.backend.send(batch, data, world.stranger)

    def test_a_list_does_not_outlive_its_program(self, world: World) -> None:
        """Else the second program could move what only the first one had listed and compared."""
        token = world.tokens["T1"]
        world.transfer(token, world.executor, 5)
        batch = self.batch(world)
        first = raw(world, op(Kind.SETTLED, 0), tokens=(token,))
        second = raw(world, op(Kind.SEND, 5, b"\x01" + hexed(world.stranger), 3))
        self.run(world, batch, first, first)
        data = calldata("run(address,bytes[])", world.executor, [first, second])
        assert reason(world, data, world.stranger, batch) == "BadProgram"
        assert world.balance(token, world.executor) == 5

    def test_what_was_held_does_not_outlive_its_program(self, big_world: BigWorld) -> None:
        w = big_world
        token = w.tokens["T1"]
        w.transfer(token, w.executor, 5)
        batch = self.batch(w)
        listed = encode_program(Program(None, 0, w.tokens["W"], (Op(Kind.SETTLED),), tokens=(token,), held=True))
        uses = raw(w, op(Kind.RECEIVED, 0, b"\x01"), tokens=(token,))
        self.run(w, batch, listed, uses)

    def test_a_manager_does_not_outlive_its_unlock(self, big_world: BigWorld) -> None:
        w = big_world
        batch = self.batch(w)
        amount = (5).to_bytes(14, "big")
        lend = raw(
            w,
            op(Kind.UNLOCK, 0, hexed(w.manager)),
            bytes([Kind.TAKE << 3]) + amount + hexed(w.tokens["W"]),
            bytes([Kind.SETTLE << 3]) + amount + b"\x00",
        )
        outside = raw(w, op(Kind.TAKE, 5, hexed(w.tokens["W"])))
        self.run(w, batch, lend, outside)


class TestBribes:
    def test_a_recipient_that_burns_gas_gets_little_of_it(self, big_world: BigWorld) -> None:
        w = big_world
        burner = w.backend.deploy(own_code("Actor.sol", "Burner"), w.stranger)
        w.backend.send(w.executor, contract.set_bribe_cap(10**6), w.owner)
        w.backend.set_block(100, burner)
        hops = w.path(UNIT, ("W", "T1", "v2"), ("T1", "W", "v2"))
        data = encode_dag(hops, w.tokens["W"], 0, Guards(bribe=Bribe(500_000)))
        with pytest.raises(Reverted) as caught:
            w.backend.send(w.executor, data, w.operator)
        assert classify_revert(caught.value.data)[1] == "BribeRefused"
        used = int(str(caught.value).split("gas_used: ")[1].split(",")[0])
        assert used < 400_000

    def test_a_profit_token_that_does_not_unwrap_spends_no_native_coin(self, big_world: BigWorld) -> None:
        """A stolen operator invents a token with a huge profit, to have the held coin paid to itself as a bribe."""
        w = big_world
        w.backend.evm.set_balance(w.executor, 10**18)
        w.backend.send(w.executor, contract.set_bribe_cap(10**6), w.owner)
        builder = address_of("builder of its own")
        w.backend.set_block(100, builder)
        fake = w.backend.deploy(own_code("FakeToken.sol", "FakeToken"), w.stranger)
        program = Program(None, 0, fake, (Op(Kind.V2_SWAP, fake, True, 10**17),), bribe=Bribe(10**6))
        assert reason(w, encode_program(program), w.operator) == "BribeRefused"
        assert w.backend.evm.get_balance(builder) == 0

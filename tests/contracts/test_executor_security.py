"""What callers, pools and tokens may not do."""

import pytest
from eth_abi.abi import encode
from hostile import hostile_code
from world import Reverted, World, address_of, calldata

from ouro.execution import contract
from ouro.execution.encode import Kind, Op, Program, classify_revert, encode_plan, encode_program, operations
from ouro.hashing import selector

ACTS = ("Nothing", "SilentPool", "AlteredData", "TwiceV3", "ForgedV2", "Relay", "Reenter", "Honest", "Gift")


def reason_of(world: World, data: bytes, sender: str | None = None) -> tuple[str, str]:
    """How the executor refuses ``data``."""
    with pytest.raises(Reverted) as caught:
        world.backend.send(world.executor, data, sender or world.operator)
    return classify_revert(caught.value.data)


def good_plan(world: World, shape: tuple[str, ...] = ("v2", "v3")) -> bytes:
    return encode_plan(world.hops(shape, 10**17), world.tokens["W"], 1, 100)


def deploy_hostile(world: World, act: str = "Nothing", payload: bytes = b"") -> str:
    pool = world.backend.deploy(hostile_code(), world.stranger)
    configure(world, pool, act, payload)
    return pool


def configure(world: World, pool: str, act: str, payload: bytes = b"") -> None:
    data = calldata("configure(uint8,address,bytes)", ACTS.index(act), world.executor, payload)
    world.backend.send(pool, data, world.stranger)


def program(world: World, *ops: Op, min_profit: int = 0, token: str | None = None) -> bytes:
    return encode_program(Program(100, min_profit, token or world.tokens["W"], ops))


def v3(pool: str, to: str | None = None) -> Op:
    return Op(Kind.V3_SWAP, pool, True, 1, to)


def transfer(amount: int, to: str) -> Op:
    return Op(Kind.TRANSFER, None, False, amount, to)


class TestWhoMayCall:
    def test_only_operators_execute(self, world: World) -> None:
        for caller in (world.stranger, world.owner, world.treasury):
            assert reason_of(world, good_plan(world), caller) == ("bug", "NotOperator")

    def test_removed_operator(self, world: World) -> None:
        world.backend.send(world.executor, contract.set_operator(world.operator, False), world.owner)
        assert reason_of(world, good_plan(world)) == ("bug", "NotOperator")

    def test_pause_by_either_unpause_by_owner(self, world: World) -> None:
        for pauser in (world.owner, world.operator):
            world.backend.send(world.executor, contract.pause(), pauser)
            assert reason_of(world, good_plan(world)) == ("bug", "IsPaused")
            assert reason_of(world, contract.unpause(), world.operator) == ("bug", "NotOwner")
            world.backend.send(world.executor, contract.unpause(), world.owner)
        assert reason_of(world, contract.pause(), world.stranger) == ("bug", "NotOperator")

    @pytest.mark.parametrize("who", ["operator", "stranger", "treasury"])
    def test_owner_calls_are_the_owners(self, world: World, who: str) -> None:
        caller = getattr(world, who)
        for data in (
            contract.set_operator(caller, True),
            contract.set_treasury(caller),
            contract.offer_ownership(caller),
            contract.withdraw(world.tokens["W"], caller, 0),
            contract.withdraw(contract.NATIVE, caller, 0),
            contract.accept_ownership(),
        ):
            assert reason_of(world, data, caller) == ("bug", "NotOwner")

    def test_ownership_takes_two_steps(self, world: World) -> None:
        world.backend.send(world.executor, contract.offer_ownership(world.stranger), world.owner)
        world.backend.send(world.executor, contract.set_treasury(world.treasury), world.owner)
        world.backend.send(world.executor, contract.accept_ownership(), world.stranger)
        assert reason_of(world, contract.pause(), world.owner) == ("bug", "NotOperator")
        assert world.read(world.executor, "owner()", ["address"]) == (world.stranger,)
        assert reason_of(world, contract.accept_ownership(), world.owner) == ("bug", "NotOwner")

    def test_owner_withdraws_tokens_and_native(self, world: World) -> None:
        world.transfer(world.tokens["T1"], world.executor, 77)
        world.backend.evm.set_balance(world.executor, 55)
        someone = address_of("someone")
        world.backend.send(world.executor, contract.withdraw(world.tokens["T1"], someone, 77), world.owner)
        world.backend.send(world.executor, contract.withdraw(contract.NATIVE, someone, 55), world.owner)
        assert world.balance(world.tokens["T1"], someone) == 77
        assert world.backend.evm.get_balance(someone) == 55
        data = contract.withdraw(world.tokens["T1"], someone, 1)
        assert reason_of(world, data, world.owner) == ("bug", "TransferFailed")

    def test_native_coin_is_refused(self, world: World) -> None:
        with pytest.raises(Reverted):
            world.backend.send(world.executor, b"", world.owner, value=1)

    def test_treasury_defaults_to_the_owner(self, world: World) -> None:
        made = world.backend.deploy(world.build_of.deployment(world.owner, [], None), world.stranger)
        assert world.read(made, "treasury()", ["address"]) == (world.owner,)
        code = world.backend.evm.get_code(made).rstrip(b"\x00")
        assert code == world.build_of.runtime_code.rstrip(b"\x00")


class TestGuards:
    def test_late(self, world: World) -> None:
        data = good_plan(world)
        world.backend.set_block(101)
        assert reason_of(world, data) == ("competitive", "Late")

    def test_shortfall_names_both_amounts(self, world: World) -> None:
        hops = world.hops(("v2", "v2"), 10**17)
        gain = hops[-1].amount_out_wei - hops[0].amount_in_wei
        data = program(world, *operations(hops), min_profit=gain + 1)
        assert reason_of(world, data) == ("competitive", f"Shortfall(got={gain}, want={gain + 1})")

    @pytest.mark.parametrize("shape", [("v2", "v2"), ("v3", "v2"), ("v2", "v3"), ("v3", "v3")])
    def test_a_beaten_plan_is_a_competitive_miss(self, world: World, shape: tuple[str, ...]) -> None:
        data = good_plan(world, shape)
        rival = encode_plan(world.hops(shape, 3 * 10**17), world.tokens["W"], 1, 100)
        world.backend.send(world.executor, rival, world.operator)
        assert reason_of(world, data)[0] == "competitive"

    @pytest.mark.parametrize("broken", [b"\x28", b"\xf8" + bytes(34), bytes(14), b"\x08" + bytes(20)])
    def test_nonsense_programs_revert(self, world: World, broken: bytes) -> None:
        header = good_plan(world)[:39]
        assert reason_of(world, header + broken) == ("bug", "BadProgram")

    def test_short_calldata(self, world: World) -> None:
        assert reason_of(world, b"\x00" * 39) == ("bug", "BalanceUnreadable")

    def test_own_functions_are_not_taken_for_programs(self) -> None:
        """Programs start with five flag bits."""
        functions = [entry for entry in contract.executor_artifact().abi if entry["type"] == "function"]
        for entry in functions:
            signature = f"{entry['name']}({','.join(i['type'] for i in entry['inputs'])})"
            assert selector(signature)[0] >= 0x20


class TestCallbacks:
    def test_nobody_calls_back_outside_an_execution(self, world: World) -> None:
        for signature, values in (
            ("uniswapV3SwapCallback(int256,int256,bytes)", (1, 1, good_plan(world)[39:])),
            ("uniswapV2Call(address,uint256,uint256,bytes)", (world.executor, 1, 1, good_plan(world)[39:])),
            ("anything(address,uint256,uint256,bytes)", (world.executor, 1, 1, b"")),
        ):
            data = calldata(signature, *values)
            assert reason_of(world, data, world.stranger)[0] == "bug"
            assert reason_of(world, data, world.pools["W", "T1", "v3"].address)[0] == "bug"

    def test_a_pair_that_somebody_else_asked_is_not_obeyed(self, world: World) -> None:
        pair = world.pools["W", "T1", "v2"].address
        data = calldata("swap(uint256,uint256,address,bytes)", 1, 0, world.executor, good_plan(world)[39:])
        with pytest.raises(Reverted):
            world.backend.send(pair, data, world.stranger)

    @pytest.mark.parametrize(
        ("act", "reason"),
        [
            ("SilentPool", "CallbackSkipped"),
            ("AlteredData", "BadCallback"),
            ("ForgedV2", "BadCallback"),
            ("Relay", "BadCallback"),
            ("TwiceV3", "BadProgram"),
        ],
    )
    def test_lying_v3_pool(self, world: World, act: str, reason: str) -> None:
        pool = deploy_hostile(world, act)
        # Something to steal, so that an accepted forgery would show.
        world.transfer(world.tokens["W"], world.executor, 1000)
        data = program(world, v3(pool), transfer(1, world.executor))
        assert reason_of(world, data) == ("bug", reason)

    def test_pair_that_names_another_sender(self, world: World) -> None:
        pool = deploy_hostile(world)
        flash = Op(Kind.V2_FLASH, pool, True, 1, None)
        world.transfer(world.tokens["W"], world.executor, 1000)
        data = program(world, flash, transfer(1, world.executor))
        assert reason_of(world, data) == ("bug", "BadCallback")
        configure(world, pool, "Honest")
        world.backend.send(world.executor, data, world.operator)

    def test_pool_that_sends_a_program(self, world: World) -> None:
        pool = deploy_hostile(world, "Reenter", good_plan(world))
        assert reason_of(world, program(world, v3(pool)))[1] == "BadCallback"

    def test_operator_that_is_a_contract_can_not_nest_programs(self, world: World) -> None:
        """A delegated operator account (EIP-7702) re-enters from a V2 swap, where no callback is expected."""
        delegated = deploy_hostile(world, "Reenter", good_plan(world))
        world.backend.send(world.executor, contract.set_operator(delegated, True), world.owner)
        data = program(world, Op(Kind.V2_SWAP, delegated, True, 1, None))
        assert reason_of(world, data) == ("bug", "Reentered")


class TestStolenOperator:
    """Someone with an operator's key writes any program."""

    def test_can_not_move_what_is_here(self, world: World) -> None:
        world.transfer(world.tokens["W"], world.executor, 10**18)
        data = program(world, transfer(10**18, world.operator))
        assert reason_of(world, data) == ("competitive", "Shortfall(got=0, want=0)")

    @pytest.mark.parametrize("taken", [1, 10**18 - 1])
    def test_can_not_move_a_part_of_what_is_here(self, world: World, taken: int) -> None:
        world.transfer(world.tokens["W"], world.executor, 10**18)
        assert reason_of(world, program(world, transfer(taken, world.operator)))[0] == "competitive"
        assert world.balance(world.tokens["W"], world.executor) == 10**18

    def test_can_not_move_one_token_while_another_is_checked(self, world: World) -> None:
        """A transfer has no token of its own: it moves the token that is checked."""
        world.transfer(world.tokens["T1"], world.executor, 10**18)
        hops = world.hops(("v2", "v2"), 10**17)
        stolen = program(world, *operations(hops), transfer(10**18, world.operator))
        before = world.balance(world.tokens["T1"], world.executor)
        with pytest.raises(Reverted):
            world.backend.send(world.executor, stolen, world.operator)
        assert world.balance(world.tokens["T1"], world.executor) == before

    def test_can_not_use_a_fake_profit_token_for_a_real_one(self, world: World) -> None:
        fake = deploy_hostile(world)
        world.transfer(world.tokens["W"], world.executor, 10**18)
        for lies, refuses in ((True, False), (False, False)):
            world.backend.send(
                fake, calldata("configureToken(bool,bool,uint256)", lies, refuses, 0), world.stranger
            )
            world.backend.send(fake, calldata("mint(address,uint256)", world.executor, 5), world.stranger)
            with pytest.raises(Reverted):
                world.backend.send(
                    world.executor,
                    program(world, transfer(5, world.operator), token=fake, min_profit=1),
                    world.operator,
                )
        assert world.balance(world.tokens["W"], world.executor) == 10**18

    def test_can_not_send_native_coin(self, world: World) -> None:
        world.backend.evm.set_balance(world.executor, 10**18)
        world.backend.send(world.executor, good_plan(world), world.operator)
        assert world.backend.evm.get_balance(world.executor) == 10**18

    def test_no_allowance_is_ever_given(self, world: World) -> None:
        world.backend.send(world.executor, good_plan(world), world.operator)
        for token in world.tokens.values():
            for spender in (world.operator, *(pool.address for pool in world.pools.values())):
                allowed = world.read(token, "allowance(address,address)", ["uint256"], world.executor, spender)
                assert allowed == (0,)


class TestTokens:
    def test_profit_token_that_returns_false(self, world: World) -> None:
        token = deploy_hostile(world)
        world.backend.send(token, calldata("mint(address,uint256)", world.executor, 5), world.stranger)
        world.backend.send(token, calldata("configureToken(bool,bool,uint256)", False, True, 0), world.stranger)
        data = program(world, transfer(5, world.stranger), token=token)
        assert reason_of(world, data) == ("bug", "TransferFailed")

    @pytest.mark.parametrize("refuses", [True, False])
    def test_a_payout_that_is_refused_undoes_everything(self, world: World, refuses: bool) -> None:
        token = deploy_hostile(world, "Gift")
        world.backend.send(token, calldata("configureToken(bool,bool,uint256)", False, refuses, 0), world.stranger)
        data = program(world, Op(Kind.V2_SWAP, token, True, 1, None), token=token, min_profit=5)
        if refuses:
            assert reason_of(world, data) == ("bug", "TransferFailed")
        else:
            world.backend.send(world.executor, data, world.operator)
            assert world.balance(token, world.treasury) == 5

    def test_profit_token_without_code(self, world: World) -> None:
        data = program(world, transfer(5, world.stranger), token=address_of("nothing here"))
        assert reason_of(world, data) == ("bug", "BalanceUnreadable")

    def test_text_of_hostile_reverts_is_escaped_and_cut(self) -> None:
        text = "\x1b[31m\n" + "A" * 5000
        kind, reason = classify_revert(selector("Error(string)") + encode(["string"], [text]))
        assert kind == "bug"
        assert len(reason) < 1300
        assert "\x1b" not in reason
        assert "\n" not in reason

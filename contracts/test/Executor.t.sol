// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {World, IExecutor, IERC20} from "./World.sol";
import {Actor, IToken} from "../src/Actor.sol";

/// @notice Unit and fuzz tests of the shipped bytecode against the protocols' own bytecode.
contract ExecutorTest is World {
    function setUp() public {
        build();
    }

    // ---------------------------------------------------------------------------------------------- profit, to the wei

    function testFuzz_pairs_pay_exactly_the_prediction(uint256 amount) public {
        amount = bound(amount, 1e12, 2e18);
        (bytes memory program, uint256 gain) = pairCycle(amount);
        uint256 before = weth.balanceOf(treasury);
        execute(program);
        assertEq(weth.balanceOf(treasury) - before, gain);
        assertEq(weth.balanceOf(address(executor)), 0);
    }

    function testFuzz_v3_pays_what_is_here_and_not_less_than_asked(uint256 amount, uint112 floor) public {
        amount = bound(amount, 1e12, 2e18);
        uint256 before = weth.balanceOf(treasury);
        (bool ok,) = attempt(operator, v3Cycle(amount, floor));
        uint256 got = weth.balanceOf(treasury) - before;
        if (ok) assertGe(got, floor);
        else assertEq(got, 0);
        assertEq(weth.balanceOf(address(executor)), 0);
    }

    function testFuzz_v4_cycle(uint256 amount) public {
        amount = bound(amount, 1e12, 1e18);
        uint256 before = weth.balanceOf(treasury);
        execute(v4Loan(amount));
        assertEq(weth.balanceOf(treasury), before);
        assertEq(weth.balanceOf(address(executor)), 0);
    }

    // --------------------------------------------------------------------------------------------------- who may call

    function testFuzz_only_operators_start(address caller, uint8 flags, bytes32 head, uint64 more, bytes calldata rest)
        public
    {
        vm.assume(caller != operator && caller != address(vm));
        (bool ok,) = attempt(caller, abi.encodePacked(flags & 31, head, more, rest));
        assertFalse(ok);
    }

    function testFuzz_callbacks_outside_an_execution_revert(address caller, bytes4 name, bytes calldata rest) public {
        vm.assume(caller != operator && uint8(name[0]) >= 32 && !isOwnFunction(name));
        (bool ok,) = attempt(caller, abi.encodePacked(name, rest));
        assertFalse(ok);
    }

    function testFuzz_real_pools_asked_by_others_are_refused(bytes calldata rest) public {
        vm.assume(rest.length > 0);
        vm.expectRevert();
        pairs[0].swap(1, 0, address(executor), rest);
    }

    function testFuzz_owner_functions(address caller, address target, uint256 number) public {
        vm.assume(caller != owner && caller != operator && caller != address(0));
        vm.startPrank(caller);
        vm.expectRevert(IExecutor.NotOwner.selector);
        executor.setOperator(target, true);
        vm.expectRevert(IExecutor.NotOwner.selector);
        executor.setTreasury(target);
        vm.expectRevert(IExecutor.NotOwner.selector);
        executor.setBribeCap(number);
        vm.expectRevert(IExecutor.NotOwner.selector);
        executor.setBribeRecipient(target, true);
        vm.expectRevert(IExecutor.NotOwner.selector);
        executor.offerOwnership(target);
        vm.expectRevert(IExecutor.NotOwner.selector);
        executor.acceptOwnership();
        vm.expectRevert(IExecutor.NotOwner.selector);
        executor.withdraw(address(weth), target, number);
        vm.expectRevert(IExecutor.NotOwner.selector);
        executor.unpause();
        vm.expectRevert(IExecutor.NotOperator.selector);
        executor.pause();
    }

    function testFuzz_settings_reach_every_operator(address[6] calldata more, uint256 removed, uint256 cap) public {
        vm.startPrank(owner);
        for (uint256 k = 0; k < 6; ++k) {
            vm.assume(more[k] != address(0));
            executor.setOperator(more[k], true);
        }
        vm.assume(more[removed % 6] != operator);
        executor.setOperator(more[removed % 6], false);
        executor.setTreasury(address(0xbeef));
        executor.setBribeCap(cap % 1_000_001);
        executor.pause();
        vm.stopPrank();
        address[] memory list = executor.operators();
        for (uint256 k = 0; k < list.length; ++k) {
            assertTrue(executor.isOperator(list[k]));
            (bool ok, bytes memory out) = attempt(list[k], v3Cycle(1e15, 0));
            assertFalse(ok);
            assertEq(bytes4(out), IExecutor.IsPaused.selector);
        }
        assertFalse(executor.isOperator(more[removed % 6]));
        vm.prank(owner);
        executor.unpause();
        (bool fine,) = attempt(operator, v3Cycle(1e15, 0));
        assertTrue(fine);
        assertGt(weth.balanceOf(address(0xbeef)), 0);
    }

    function testFuzz_native_coin_is_not_accepted(address sender, uint96 amount) public {
        vm.assume(sender != address(executor) && uint160(sender) > 0xffff);
        vm.deal(sender, amount);
        vm.prank(sender);
        (bool ok,) = address(executor).call{value: amount}("");
        assertFalse(ok);
    }

    // ---------------------------------------------------------------------------------- a stolen operator takes nothing

    function testFuzz_any_bytes_of_an_operator_take_nothing(bytes calldata program) public {
        fill();
        attempt(operator, program);
        checkNothingLost();
    }

    function testFuzz_any_operations_of_an_operator_take_nothing(uint256[8] calldata seeds) public {
        fill();
        attempt(operator, randomProgram(seeds));
        checkNothingLost();
    }

    function testFuzz_bribes_stay_below_the_cap(uint24 share, uint24 cap, uint256 amount) public {
        cap = uint24(bound(cap, 0, 1_000_000));
        vm.prank(owner);
        executor.setBribeCap(cap);
        amount = bound(amount, 1e15, 2e18);
        vm.coinbase(address(0xb111de4));
        (bytes memory cycle, uint256 gain) = pairCycle(amount);
        bytes memory tail = new bytes(cycle.length - 39);
        for (uint256 k = 0; k < tail.length; ++k) {
            tail[k] = cycle[39 + k];
        }
        bytes memory program =
            abi.encodePacked(uint8(4), bytes18(0), address(weth), share, uint8(0), address(0), tail);
        uint256 before = weth.balanceOf(treasury);
        (bool ok,) = attempt(operator, program);
        assertEq(ok, share <= cap);
        uint256 paid = ok ? gain * share / 1e6 : 0;
        assertEq(address(0xb111de4).balance, paid);
        assertEq(weth.balanceOf(treasury) - before, ok ? gain - paid : 0);
    }
}

/// @notice Everybody calls everything, in any order; the money stays.
contract ExecutorInvariants is World {
    function setUp() public {
        build();
        fill();
        targetContract(address(this));
        bytes4[] memory selectors = new bytes4[](6);
        selectors[0] = this.stolenKey.selector;
        selectors[1] = this.rawBytes.selector;
        selectors[2] = this.honestTrade.selector;
        selectors[3] = this.strangerCalls.selector;
        selectors[4] = this.marketMoves.selector;
        selectors[5] = this.actorChanges.selector;
        targetSelector(FuzzSelector(address(this), selectors));
    }

    function stolenKey(uint256[8] calldata seeds) external {
        attempt(operator, randomProgram(seeds));
    }

    function rawBytes(bytes calldata program) external {
        attempt(operator, program);
    }

    function honestTrade(uint256 amount) external {
        (bytes memory program,) = pairCycle(bound(amount, 1e12, 1e18));
        attempt(operator, program);
    }

    function strangerCalls(address who, bytes calldata data) external {
        if (who != owner && who != operator) attempt(who, data);
    }

    function marketMoves(uint256 amount, bool up) external {
        trade(bound(amount, 1e12, 1e18), up);
    }

    function actorChanges(uint8 first, uint8 later, uint256[8] calldata seeds) external {
        actor.configure(Actor.Act(first % 9), Actor.Act(later % 9), randomProgram(seeds));
    }

    function invariant_nothing_is_lost() external view {
        checkNothingLost();
    }
}

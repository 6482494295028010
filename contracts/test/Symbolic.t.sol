// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {ExecutorRoles} from "../src/ExecutorRoles.sol";
import {OuroExecutor} from "../src/OuroExecutor.sol";
import {TestToken} from "../src/TestToken.sol";

interface SymbolicVm {
    function assume(bool) external;
    function prank(address) external;
}

/// @notice Properties for all inputs, by halmos (`make audit`); forge does not run `check_` functions.
contract SymbolicTest {
    SymbolicVm constant vm = SymbolicVm(address(uint160(uint256(keccak256("hevm cheat code")))));
    OuroExecutor executor;
    TestToken token;
    address constant OWNER = address(0xa1);
    address constant OPERATOR = address(0xa2);
    address constant TREASURY = address(0xa3);

    function setUp() public {
        address[] memory operators = new address[](1);
        operators[0] = OPERATOR;
        executor = new OuroExecutor(OWNER, TREASURY, operators);
        token = new TestToken("T", "T", 18, 1e30);
        token.transfer(address(executor), 1e18);
    }

    /// @dev Nobody but the owner changes a setting or moves anything by a function.
    function check_owner_functions(address caller, address target, uint256 number, bool flag) public {
        vm.assume(caller != OWNER && caller != OPERATOR && caller != address(0));
        bytes[8] memory calls = [
            abi.encodeCall(ExecutorRoles.setOperator, (target, flag)),
            abi.encodeCall(ExecutorRoles.setTreasury, (target)),
            abi.encodeCall(ExecutorRoles.setBribeCap, (number)),
            abi.encodeCall(ExecutorRoles.setBribeRecipient, (target, flag)),
            abi.encodeCall(ExecutorRoles.offerOwnership, (target)),
            abi.encodeCall(ExecutorRoles.acceptOwnership, ()),
            abi.encodeCall(ExecutorRoles.unpause, ()),
            abi.encodeCall(ExecutorRoles.withdraw, (address(token), target, number))
        ];
        for (uint256 k = 0; k < calls.length; ++k) {
            vm.prank(caller);
            (bool ok,) = address(executor).call(calls[k]);
            assert(!ok);
        }
        vm.prank(caller);
        (bool paused,) = address(executor).call(abi.encodeCall(ExecutorRoles.pause, ()));
        assert(!paused);
    }

    /// @dev An operator's key gives pause and nothing else of these.
    function check_operator_is_no_owner(address target, uint256 number) public {
        vm.prank(OPERATOR);
        (bool ok,) = address(executor).call(abi.encodeCall(ExecutorRoles.withdraw, (address(token), target, number)));
        assert(!ok);
        vm.prank(OPERATOR);
        (ok,) = address(executor).call(abi.encodeCall(ExecutorRoles.setTreasury, (target)));
        assert(!ok);
    }

    /// @dev No program of a stranger runs, whatever its header says.
    function check_strangers_start_nothing(address caller, uint32 maxBlock, uint112 floor, uint112 amount, address to)
        public
    {
        vm.assume(caller != OPERATOR);
        bytes memory program =
            abi.encodePacked(uint8(0), maxBlock, floor, address(token), uint8(6), amount, to);
        vm.prank(caller);
        (bool ok,) = address(executor).call(program);
        assert(!ok);
    }

    /// @dev A transfer by an operator, of any amount to anybody, leaves the executor with no less.
    function check_operator_takes_nothing(uint112 floor, uint112 amount, address to) public {
        vm.assume(to != address(executor));
        uint256 before = token.balanceOf(address(executor));
        bytes memory program =
            abi.encodePacked(uint8(0), uint32(0), floor, address(token), uint8(6), amount, to);
        vm.prank(OPERATOR);
        (bool ok,) = address(executor).call(program);
        assert(token.balanceOf(address(executor)) >= before);
        if (ok) assert(floor == 0);
    }

    /// @dev The same for a token that is listed beside the profit token.
    function check_operator_takes_no_listed_token(uint112 amount, address to, address profit) public {
        vm.assume(to != address(executor) && profit == address(token));
        TestToken other = new TestToken("O", "O", 18, 1e30);
        other.transfer(address(executor), 1e18);
        uint256 before = other.balanceOf(address(executor));
        bytes memory program = abi.encodePacked(
            uint8(8), uint32(0), uint112(0), address(token), uint8(1), address(other),
            abi.encodePacked(uint8(4 << 3 | 6), amount, uint8(1), to)
        );
        vm.prank(OPERATOR);
        (bool ok,) = address(executor).call(program);
        ok;
        assert(other.balanceOf(address(executor)) >= before);
    }
}

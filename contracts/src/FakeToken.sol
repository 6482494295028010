// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @notice A token of an attacker: claims any balance, and to unwrap without paying. For tests only.
contract FakeToken {
    mapping(address => uint256) public balanceOf;

    /// @dev Called as a pair: out of nothing there is profit.
    function swap(uint256, uint256 amount, address to, bytes calldata) external {
        balanceOf[to] += amount == 0 ? 1e17 : amount;
    }

    function withdraw(uint256 amount) external {
        balanceOf[msg.sender] -= amount;
    }

    function transfer(address to, uint256 amount) external returns (bool) {
        balanceOf[msg.sender] -= amount;
        balanceOf[to] += amount;
        return true;
    }
}

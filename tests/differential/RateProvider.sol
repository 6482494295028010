// SPDX-License-Identifier: MIT
pragma solidity ^0.8.0;

/// @notice A rate provider whose answer the test sets.
contract RateProvider {
    uint256 public getRate;

    function setRate(uint256 rate) external {
        getRate = rate;
    }
}

// SPDX-License-Identifier: MIT
pragma solidity ^0.8.0;

import {ERC20, ERC4626} from "solmate/tokens/ERC4626.sol";

/// @notice Solmate's vault, which leaves the total to whoever inherits.
contract PlainVault is ERC4626 {
    constructor(address underlying) ERC4626(ERC20(underlying), "V", "V") {}

    function totalAssets() public view override returns (uint256) {
        return asset.balanceOf(address(this));
    }
}

// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {ERC20, ERC4626, IERC20} from "@openzeppelin/contracts/token/ERC20/extensions/ERC4626.sol";

/// @notice OpenZeppelin's vault with a chosen offset.
contract OffsetVault is ERC4626 {
    uint8 private immutable OFFSET;

    constructor(address underlying, uint8 offset) ERC20("V", "V") ERC4626(IERC20(underlying)) {
        OFFSET = offset;
    }

    function _decimalsOffset() internal view override returns (uint8) {
        return OFFSET;
    }
}

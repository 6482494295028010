// SPDX-License-Identifier: MIT
pragma solidity ^0.8.26;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC4626} from "@openzeppelin/contracts/token/ERC20/extensions/ERC4626.sol";

/// @notice OpenZeppelin's vault as it is; nothing of it is overridden.
contract Shares is ERC4626 {
    constructor(ERC20 asset_) ERC20("Shares", "S") ERC4626(asset_) {}
}

// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

interface IERC20Like {
    function transfer(address to, uint256 amount) external returns (bool);
    function transferFrom(address from, address to, uint256 amount) external returns (bool);
}

interface IAaveReceiver {
    function executeOperation(address asset, uint256 amount, uint256 premium, address initiator, bytes calldata params)
        external
        returns (bool);
}

/// @notice Lends as Aave V3's `flashLoanSimple` does: 5 basis points rounded half up, pulled back after the callback, which
/// has to return true. For tests only.
contract AaveLender {
    function flashLoanSimple(address receiver, address asset, uint256 amount, bytes calldata params, uint16) external {
        uint256 premium = (amount * 5 + 5000) / 10000;
        IERC20Like(asset).transfer(receiver, amount);
        require(IAaveReceiver(receiver).executeOperation(asset, amount, premium, msg.sender, params), "13");
        require(IERC20Like(asset).transferFrom(receiver, address(this), amount + premium));
    }
}

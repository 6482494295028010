// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

interface IToken {
    function transfer(address to, uint256 amount) external returns (bool);
}

interface IThirdVault {
    function unlock(bytes calldata data) external returns (bytes memory);
    function getTokenDelta(address token) external view returns (int256);
    function settle(address token, uint256 amountHint) external returns (uint256);
    function sendTo(address token, address to, uint256 amount) external;
}

/// @notice Lets one account do everything.
contract OwnersAuthorizer {
    address private immutable OWNER = msg.sender;

    function canPerform(bytes32, address account, address) external view returns (bool) {
        return account == OWNER;
    }
}

/// @notice Calls the Vault inside its unlock and settles what is owed either way, from and to its own purse.
contract VaultDriver {
    function run(IThirdVault vault, bytes[] calldata calls, address[] calldata tokens) external returns (bytes[] memory) {
        return abi.decode(vault.unlock(abi.encodeCall(this.inside, (calls, tokens))), (bytes[]));
    }

    function inside(bytes[] calldata calls, address[] calldata tokens) external returns (bytes[] memory answers) {
        IThirdVault vault = IThirdVault(msg.sender);
        answers = new bytes[](calls.length);
        for (uint256 k = 0; k < calls.length; ++k) {
            bool ok;
            (ok, answers[k]) = address(vault).call(calls[k]);
            if (!ok) {
                bytes memory reason = answers[k];
                assembly {
                    revert(add(reason, 0x20), mload(reason))
                }
            }
        }
        for (uint256 k = 0; k < tokens.length; ++k) {
            int256 delta = vault.getTokenDelta(tokens[k]);
            if (delta > 0) {
                IToken(tokens[k]).transfer(address(vault), uint256(delta));
                vault.settle(tokens[k], uint256(delta));
            } else if (delta < 0) {
                vault.sendTo(tokens[k], address(this), uint256(-delta));
            }
        }
    }
}

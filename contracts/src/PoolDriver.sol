// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

interface IToken {
    function transfer(address to, uint256 value) external returns (bool);
}

interface IPair {
    function swap(uint256 amount0Out, uint256 amount1Out, address to, bytes calldata data) external;
}

/// @notice Test-only: drives pools directly, without routers, and pays whatever their callbacks ask for.
contract PoolDriver {
    address private immutable TOKEN0;
    address private immutable TOKEN1;

    constructor(address token0, address token1) {
        TOKEN0 = token0;
        TOKEN1 = token1;
    }

    /// @notice Call `target` with `data`; answers and reverts are passed through unchanged.
    function run(address target, bytes calldata data) external {
        (bool done,) = target.call(data);
        assembly ("memory-safe") {
            returndatacopy(0, 0, returndatasize())
            if done { return(0, returndatasize()) }
            revert(0, returndatasize())
        }
    }

    /// @notice Pay a V2 pair first, then take the outputs.
    function pairSwap(address pair, uint256 in0, uint256 in1, uint256 out0, uint256 out1) external {
        _pay(TOKEN0, pair, in0);
        _pay(TOKEN1, pair, in1);
        IPair(pair).swap(out0, out1, address(this), "");
    }

    function uniswapV3SwapCallback(int256 amount0, int256 amount1, bytes calldata) external {
        if (amount0 > 0) _pay(TOKEN0, msg.sender, uint256(amount0));
        if (amount1 > 0) _pay(TOKEN1, msg.sender, uint256(amount1));
    }

    function uniswapV3MintCallback(uint256 amount0, uint256 amount1, bytes calldata) external {
        _pay(TOKEN0, msg.sender, amount0);
        _pay(TOKEN1, msg.sender, amount1);
    }

    /// @notice `data`: borrowed amounts and tips, abi-encoded; repays loan, fee and tip.
    function uniswapV3FlashCallback(uint256 fee0, uint256 fee1, bytes calldata data) external {
        (uint256 loan0, uint256 loan1, uint256 tip0, uint256 tip1) =
            abi.decode(data, (uint256, uint256, uint256, uint256));
        _pay(TOKEN0, msg.sender, loan0 + fee0 + tip0);
        _pay(TOKEN1, msg.sender, loan1 + fee1 + tip1);
    }

    function _pay(address token, address to, uint256 value) private {
        if (value > 0) IToken(token).transfer(to, value);
    }
}

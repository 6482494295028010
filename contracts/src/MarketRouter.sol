// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

interface IToken {
    function transfer(address to, uint256 value) external returns (bool);
}

interface IPool {
    function token0() external view returns (address);
    function token1() external view returns (address);
    function getAmountOut(uint256 amountIn, address tokenIn) external view returns (uint256);
    function swap(uint256 amount0Out, uint256 amount1Out, address to, bytes calldata data) external;
}

interface IManager {
    function unlock(bytes calldata data) external returns (bytes memory);
    function sync(address currency) external;
    function settle() external payable returns (uint256);
    function take(address currency, address to, uint256 amount) external;
}

/// @notice The purse of a local chain's market agents: trades with pools of every family and adds liquidity, from its own
/// tokens and for its own account. Anybody may use it and any pool may charge it: never deploy it where money is worth
/// something.
contract MarketRouter {
    receive() external payable {}

    /// @notice Call `target` and pay whatever its callbacks ask for; answers and reverts are passed through.
    function run(address target, bytes calldata data) external {
        (bool done,) = target.call(data);
        assembly ("memory-safe") {
            returndatacopy(0, 0, returndatasize())
            if done { return(0, returndatasize()) }
            revert(0, returndatasize())
        }
    }

    /// @notice Swap in a pool that quotes by itself and wants to be paid first (Solidly).
    function pairSwap(address pool, address tokenIn, uint256 amountIn) external {
        uint256 out = IPool(pool).getAmountOut(amountIn, tokenIn);
        require(IToken(tokenIn).transfer(pool, amountIn), "transfer");
        bool first = tokenIn == IPool(pool).token0();
        IPool(pool).swap(first ? 0 : out, first ? out : 0, address(this), "");
    }

    /// @notice One call of a Uniswap V4 manager inside its lock; debts are paid and credits taken afterwards.
    function locked(address manager, address currency0, address currency1, bytes calldata call) external {
        IManager(manager).unlock(abi.encode(currency0, currency1, call));
    }

    function unlockCallback(bytes calldata data) external returns (bytes memory) {
        (address currency0, address currency1, bytes memory call) = abi.decode(data, (address, address, bytes));
        (bool done, bytes memory answer) = msg.sender.call(call);
        if (!done) {
            assembly ("memory-safe") { revert(add(answer, 32), mload(answer)) }
        }
        _settle(currency0);
        _settle(currency1);
        return "";
    }

    /// @notice Callbacks of concentrated pools, whatever their names: positive amounts are owed, in the pool's tokens.
    fallback(bytes calldata input) external returns (bytes memory) {
        (int256 amount0, int256 amount1) = abi.decode(input[4:], (int256, int256));
        if (amount0 > 0) _pay(IPool(msg.sender).token0(), amount0);
        if (amount1 > 0) _pay(IPool(msg.sender).token1(), amount1);
        return "";
    }

    function _pay(address token, int256 amount) private {
        require(IToken(token).transfer(msg.sender, uint256(amount)), "transfer");
    }

    /// @dev What is owed or due is read from the manager's transient storage, as its own library does.
    function _settle(address currency) private {
        bytes32 slot = keccak256(abi.encode(address(this), currency));
        (bool done, bytes memory answer) = msg.sender.staticcall(abi.encodeWithSignature("exttload(bytes32)", slot));
        require(done, "exttload");
        int256 delta = abi.decode(answer, (int256));
        if (delta > 0) {
            IManager(msg.sender).take(currency, address(this), uint256(delta));
        } else if (delta < 0 && currency == address(0)) {
            IManager(msg.sender).settle{value: uint256(-delta)}();
        } else if (delta < 0) {
            IManager(msg.sender).sync(currency);
            _pay(currency, -delta);
            IManager(msg.sender).settle();
        }
    }
}

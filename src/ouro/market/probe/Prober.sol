// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @notice Trades for the token probe, in a simulation only: it never exists on a chain and is open to whoever sends.
contract Prober {
    address private token0;
    address private token1;
    address private pool;
    uint256 private intrusions;
    address private intruder;

    function setup(address first, address second, address market) external {
        (token0, token1, pool) = (first, second, market);
    }

    /// @dev Only the sender of the transaction: a token that calls back must not make us act.
    function run(address target, bytes calldata data) external returns (bool done, bytes memory answer) {
        require(msg.sender == tx.origin, "origin");
        (done, answer) = target.call(data);
    }

    /// @notice How often somebody else than the pool called, and who did last.
    function seen() external view returns (uint256, address) {
        return (intrusions, intruder);
    }

    /// @dev The pool's callback, whatever its name, starts with the two amounts that it wants (where positive).
    fallback(bytes calldata input) external payable returns (bytes memory) {
        if (msg.sender != pool) {
            ++intrusions;
            intruder = msg.sender;
            return "";
        }
        (int256 amount0, int256 amount1) = abi.decode(input[4:], (int256, int256));
        if (amount0 > 0) _pay(token0, uint256(amount0));
        if (amount1 > 0) _pay(token1, uint256(amount1));
        return "";
    }

    receive() external payable {}

    function _pay(address token, uint256 amount) private {
        (bool done, bytes memory answer) =
            token.call(abi.encodeWithSignature("transfer(address,uint256)", pool, amount));
        if (!done) {
            assembly ("memory-safe") { revert(add(answer, 32), mload(answer)) }
        }
    }
}

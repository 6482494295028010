// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

// Test-only. Drives pools of every family directly, without routers, and pays whatever their callbacks ask for.

interface IToken {
    function transfer(address to, uint256 value) external returns (bool);
}

struct PoolKey {
    address currency0;
    address currency1;
    uint24 fee;
    int24 tickSpacing;
    address hooks;
}

interface IManager {
    function unlock(bytes calldata data) external returns (bytes memory);
    function sync(address currency) external;
    function settle() external payable returns (uint256);
    function take(address currency, address to, uint256 amount) external;
}

contract FamilyDriver {
    address private immutable TOKEN0;
    address private immutable TOKEN1;

    constructor(address token0, address token1) payable {
        TOKEN0 = token0;
        TOKEN1 = token1;
    }

    receive() external payable {}

    function run(address target, bytes calldata data) external payable {
        (bool done,) = target.call(data);
        _answer(done);
    }

    /// @notice Callbacks of concentrated pools: (int256,int256,bytes) asks for the positive amounts, as does
    /// (uint256,uint256,bytes); flash callbacks carry loans and tips in their data.
    fallback(bytes calldata input) external payable returns (bytes memory) {
        (uint256 amount0, uint256 amount1, bytes memory data) = abi.decode(input[4:], (uint256, uint256, bytes));
        if (data.length == 128) {
            (uint256 loan0, uint256 loan1, uint256 tip0, uint256 tip1) =
                abi.decode(data, (uint256, uint256, uint256, uint256));
            (amount0, amount1) = (amount0 + loan0 + tip0, amount1 + loan1 + tip1);
        }
        if (int256(amount0) > 0) _pay(TOKEN0, msg.sender, amount0);
        if (int256(amount1) > 0) _pay(TOKEN1, msg.sender, amount1);
        return "";
    }

    /// @notice One call of a V4 pool manager inside its lock, settled afterwards; answers what the call answered.
    function locked(address manager, address currency0, address currency1, bytes calldata call)
        external
        payable
        returns (bytes memory)
    {
        return IManager(manager).unlock(abi.encode(currency0, currency1, call));
    }

    function unlockCallback(bytes calldata data) external returns (bytes memory) {
        (address currency0, address currency1, bytes memory call) = abi.decode(data, (address, address, bytes));
        (bool done, bytes memory answer) = msg.sender.call(call);
        if (!done) {
            assembly ("memory-safe") { revert(add(answer, 32), mload(answer)) }
        }
        _settle(currency0);
        _settle(currency1);
        return answer;
    }

    function _settle(address currency) private {
        bytes32 key;
        assembly ("memory-safe") {
            mstore(0, address())
            mstore(32, currency)
            key := keccak256(0, 64)
        }
        (bool done, bytes memory answer) = msg.sender.staticcall(abi.encodeWithSignature("exttload(bytes32)", key));
        require(done, "exttload");
        int256 owed = abi.decode(answer, (int256));
        if (owed > 0) {
            IManager(msg.sender).take(currency, address(this), uint256(owed));
        } else if (owed < 0) {
            if (currency == address(0)) {
                IManager(msg.sender).settle{value: uint256(-owed)}();
            } else {
                IManager(msg.sender).sync(currency);
                _pay(currency, msg.sender, uint256(-owed));
                IManager(msg.sender).settle();
            }
        }
    }

    function _pay(address token, address to, uint256 value) private {
        if (value > 0) IToken(token).transfer(to, value);
    }

    function _answer(bool done) private pure {
        assembly ("memory-safe") {
            returndatacopy(0, 0, returndatasize())
            if done { return(0, returndatasize()) }
            revert(0, returndatasize())
        }
    }
}

/// @notice The deployer that PancakeSwap V3's package lacks: creates the real pool code kept in a data contract.
contract PancakeDeployer {
    struct Parameters {
        address factory;
        address token0;
        address token1;
        uint24 fee;
        int24 tickSpacing;
    }

    Parameters public parameters;
    address private immutable CODE;

    constructor(address code) {
        CODE = code;
    }

    function deploy(address factory, address token0, address token1, uint24 fee, int24 tickSpacing)
        external
        returns (address pool)
    {
        parameters = Parameters(factory, token0, token1, fee, tickSpacing);
        bytes memory code = CODE.code;
        bytes32 salt = keccak256(abi.encode(token0, token1, fee));
        assembly ("memory-safe") { pool := create2(0, add(code, 32), mload(code), salt) }
        require(pool != address(0), "create2");
        delete parameters;
    }
}

/// @notice What a Slipstream factory and its pools ask of voter, registries and gauges.
contract SlipstreamStub {
    function factoryRegistry() external view returns (address) { return address(this); }
    function getPool(address, address, bool) external pure returns (address) { return address(0); }
    function getPool(address, address, int24) external pure returns (address) { return address(0); }
    function getPair(address, address, bool) external pure returns (address) { return address(0); }
    function isPool(address) external pure returns (bool) { return false; }
    function isPair(address) external pure returns (bool) { return false; }
    function isPoolFactoryApproved(address) external pure returns (bool) { return true; }
    function gauges(address) external pure returns (address) { return address(0); }
    function isAlive(address) external pure returns (bool) { return true; }
}

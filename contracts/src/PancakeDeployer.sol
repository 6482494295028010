// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @notice The pool deployer that PancakeSwap V3's package lacks, for local chains: creates the package's own pool code,
/// which a data contract keeps, where the factory expects it.
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

// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @notice What a Slipstream factory and its pools ask of voter, registries and gauges, for local chains: there are none.
contract SlipstreamStub {
    function factoryRegistry() external view returns (address) {
        return address(this);
    }

    function getPool(address, address, bool) external pure returns (address) {
        return address(0);
    }

    function getPool(address, address, int24) external pure returns (address) {
        return address(0);
    }

    function getPair(address, address, bool) external pure returns (address) {
        return address(0);
    }

    function isPool(address) external pure returns (bool) {
        return false;
    }

    function isPair(address) external pure returns (bool) {
        return false;
    }

    function isPoolFactoryApproved(address) external pure returns (bool) {
        return true;
    }

    function gauges(address) external pure returns (address) {
        return address(0);
    }

    function isAlive(address) external pure returns (bool) {
        return true;
    }
}

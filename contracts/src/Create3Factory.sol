// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @title Deploys a contract at an address that does not depend on its code.
/// @notice The address comes from this factory's own address and a salt: `create2` makes a proxy whose code is always the
/// same, and the proxy's first `create` makes the contract. So one address serves every chain, whichever build of the
/// executor a chain's hard fork needs. The factory itself is `create2`d by the deterministic-deployment proxy that the
/// chains share, so that it has the same address everywhere too; docs/deploying.md has the derivation.
/// @dev This source and its compiler settings are frozen: one changed byte moves the factory, and with it every address.
contract Create3Factory {
    error NotYourSalt();
    error SaltUsed();
    error ConstructorFailed();

    event Deployed(address indexed deployer, bytes32 indexed salt, address deployed);

    // Creation code of the proxy: returns 363d3d37363d34f0, which creates a contract from its calldata.
    uint256 private constant PROXY = 0x67363d3d37363d34f03d5260086018f3;
    bytes32 private constant PROXY_HASH = keccak256(hex"67363d3d37363d34f03d5260086018f3");

    /// @notice Deploys `creationCode` at `addressOf(salt)`. The first 20 bytes of `salt` must be the caller: nobody else can
    /// take an address on another chain, or here by copying a pending transaction. The other 12 bytes are free.
    function deploy(bytes32 salt, bytes calldata creationCode) external returns (address deployed) {
        if (address(bytes20(salt)) != msg.sender) revert NotYourSalt();
        deployed = addressOf(salt);
        address proxy;
        assembly ("memory-safe") {
            mstore(0, PROXY)
            // The 16 bytes of code are the low half of the word.
            proxy := create2(0, 16, 16, salt)
        }
        if (proxy == address(0)) revert SaltUsed();
        // The proxy tells nothing: whether the constructor ran shows in the code that is there.
        (bool ok,) = proxy.call(creationCode);
        if (!ok || deployed.code.length == 0) revert ConstructorFailed();
        emit Deployed(msg.sender, salt, deployed);
    }

    /// @notice Where `deploy` puts the contract of `salt`.
    function addressOf(bytes32 salt) public view returns (address target) {
        bytes32 proxyHash = PROXY_HASH;
        assembly ("memory-safe") {
            // EIP-1014: 0xff ‖ this ‖ salt ‖ hash of the proxy's creation code, 85 bytes.
            let m := mload(0x40)
            mstore(add(m, 0x40), proxyHash)
            mstore(add(m, 0x20), salt)
            mstore(m, or(shl(160, 0xff), address()))
            // RLP of [proxy, 1], the proxy's first creation: d6 94 ‖ proxy ‖ 01, 23 bytes.
            mstore(0x14, keccak256(add(m, 0x0b), 0x55))
            mstore(0, 0xd694)
            mstore8(0x34, 0x01)
            target := and(keccak256(0x1e, 0x17), 0xffffffffffffffffffffffffffffffffffffffff)
        }
    }
}

// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @notice What the executor has to survive: a pool and a token that misbehave on demand. For tests only.
contract Hostile {
    enum Act {
        Nothing,
        SilentPool, // takes the call, never calls back
        AlteredData, // calls back with one byte of the program changed
        TwiceV3, // calls back properly, then once more
        ForgedV2, // answers a V3 swap with a V2-shaped callback
        Relay, // lets another contract call back
        Reenter, // sends a program of its own instead of calling back
        Honest, // plays a V3 pool that pays nothing and asks for nothing
        Gift // gives the executor 5 of itself when swapped as a pair
    }

    Act public act;
    address public executor;
    bytes public payload;
    mapping(address => uint256) public balanceOf;
    bool public lies;
    bool public refuses;
    uint256 public answer;

    function configure(Act act_, address executor_, bytes calldata payload_) external {
        act = act_;
        executor = executor_;
        payload = payload_;
    }

    function configureToken(bool lies_, bool refuses_, uint256 answer_) external {
        lies = lies_;
        refuses = refuses_;
        answer = answer_;
    }

    // V3 pool
    function swap(address, bool, int256, uint160, bytes calldata data) external returns (int256, int256) {
        if (act == Act.SilentPool || act == Act.Nothing) return (0, 0);
        if (act == Act.Reenter) {
            _call(executor, payload);
        } else if (act == Act.AlteredData) {
            bytes memory altered = data;
            altered[altered.length - 1] ^= 0x01;
            _callback(altered);
        } else if (act == Act.ForgedV2) {
            _call(
                executor,
                abi.encodeWithSignature("uniswapV2Call(address,uint256,uint256,bytes)", executor, 0, 0, data)
            );
        } else if (act == Act.Relay) {
            Relay relay = new Relay();
            relay.forward(
                executor, abi.encodeWithSignature("uniswapV3SwapCallback(int256,int256,bytes)", 0, 0, data)
            );
        } else {
            _callback(data);
            if (act == Act.TwiceV3) _callback(data);
        }
        return (0, 0);
    }

    // V2 pair: calls back in the name of somebody else
    function swap(uint256, uint256, address, bytes calldata data) external {
        if (act == Act.Reenter) _call(executor, payload);
        if (act == Act.Gift) balanceOf[executor] += 5;
        if (data.length == 0) return;
        address claimed = act == Act.Honest ? executor : address(this);
        _call(executor, abi.encodeWithSignature("joeCall(address,uint256,uint256,bytes)", claimed, 0, 0, data));
    }

    // Token
    function transfer(address to, uint256 value) external returns (bool) {
        if (refuses) return false;
        if (lies) return true;
        balanceOf[msg.sender] -= value;
        balanceOf[to] += value;
        if (payload.length != 0) _call(executor, payload);
        return true;
    }

    function mint(address to, uint256 value) external {
        balanceOf[to] += value;
    }

    function _callback(bytes memory data) private {
        _call(executor, abi.encodeWithSignature("uniswapV3SwapCallback(int256,int256,bytes)", 0, 0, data));
    }

    function _call(address to, bytes memory data) private {
        (bool ok, bytes memory out) = to.call(data);
        if (!ok) {
            assembly {
                revert(add(out, 0x20), mload(out))
            }
        }
    }
}

contract Relay {
    function forward(address to, bytes calldata data) external {
        (bool ok, bytes memory out) = to.call(data);
        if (!ok) {
            assembly {
                revert(add(out, 0x20), mload(out))
            }
        }
    }
}

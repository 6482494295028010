// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

interface IToken {
    function transfer(address to, uint256 amount) external returns (bool);
    function transferFrom(address from, address to, uint256 amount) external returns (bool);
}

/// @notice Plays pool, pair, manager and lender of every kind, badly: what it does when called is set before. It catches the
/// reverts of its own tricks, so that the transaction goes on. For tests only; tests/contracts/model.py is its twin.
contract Actor {
    enum Act {
        Ignore, // does not call back
        Honest, // calls back once with what it was given
        Twice, // then once more
        Altered, // first with other bytes
        Relay, // first through another contract
        Reenter, // first sends a program of its own
        Pull, // first takes what it is allowed to
        Pay, // first gives the executor one unit of the profit token
        Shape // first in the shape of another protocol
    }

    uint256 private constant RAW = 11;
    address public immutable executor;
    IToken public immutable profitToken;
    IToken public immutable other;
    Act public first;
    Act public later;
    uint256 public calls;
    bytes public program;

    constructor(address executor_, IToken profitToken_, IToken other_) {
        executor = executor_;
        profitToken = profitToken_;
        other = other_;
    }

    function configure(Act first_, Act later_, bytes calldata program_) external {
        first = first_;
        later = later_;
        program = program_;
        calls = 0;
    }

    receive() external payable {}

    fallback() external payable {
        Act act = calls++ == 0 ? first : later;
        (uint256 shape, bytes memory data) = _asked();
        if (act == Act.Ignore) return;
        if (act == Act.Reenter) _try(executor, program);
        if (act == Act.Pull) {
            _try(address(other), abi.encodeCall(IToken.transferFrom, (executor, address(this), 1)));
        }
        if (act == Act.Pay) _try(address(profitToken), abi.encodeCall(IToken.transfer, (executor, 1)));
        if (shape == 0) {
            // A V4 manager answers a swap: one of each currency comes out.
            if (msg.sig == 0xf3cd914c) {
                assembly {
                    mstore(0, 0x100000000000000000000000000000001)
                    return(0, 0x20)
                }
            }
            // And so does a Balancer V3 vault.
            if (msg.sig == 0x2bfb780c) {
                assembly {
                    mstore(0, 1)
                    return(0, 0x20)
                }
            }
            return;
        }
        if (act == Act.Altered) _try(executor, _answer(shape, abi.encodePacked(data, hex"00")));
        if (act == Act.Relay) {
            ActorRelay relay = new ActorRelay();
            _try(address(relay), abi.encodeCall(ActorRelay.forward, (executor, _answer(shape, data))));
        }
        if (act == Act.Shape) _try(executor, _answer(shape == 3 ? 4 : 3, data));
        (bool ok, bytes memory out) = executor.call(_answer(shape, data));
        if (!ok) {
            assembly {
                revert(add(out, 0x20), mload(out))
            }
        }
        if (act == Act.Twice) _try(executor, _answer(shape, data));
    }

    /// @dev Which callback the call asks for (its number is the place of its bytes argument), and the bytes.
    function _asked() private pure returns (uint256 shape, bytes memory data) {
        if (msg.sig == 0x022c0d9f) {
            (,,, data) = abi.decode(msg.data[4:], (uint256, uint256, address, bytes));
            return (data.length == 0 ? 0 : 4, data);
        }
        if (msg.sig == 0x128acb08) {
            (,,,, data) = abi.decode(msg.data[4:], (address, bool, int256, uint160, bytes));
            return (3, data);
        }
        if (msg.sig == 0x490e6cbc) {
            (,,, data) = abi.decode(msg.data[4:], (address, uint256, uint256, bytes));
            return (3, data);
        }
        if (msg.sig == 0x42b0b77c) {
            (,,, data,) = abi.decode(msg.data[4:], (address, address, uint256, bytes, uint16));
            return (5, data);
        }
        if (msg.sig == 0xe0232b42) {
            (,, data) = abi.decode(msg.data[4:], (address, uint256, bytes));
            return (2, data);
        }
        if (msg.sig == 0x48c89491) {
            data = abi.decode(msg.data[4:], (bytes));
            // Balancer V3: the bytes are the callback. No operation begins with four zeros, so they show which it is.
            if (data.length < 0x44 || bytes4(data) != 0) return (1, data);
            uint256 size = data.length - 0x44;
            assembly {
                data := add(data, 0x44)
                mstore(data, size)
            }
            return (RAW, data);
        }
        if (msg.sig == 0x5c38449e) {
            (,,, data) = abi.decode(msg.data[4:], (address, address[], uint256[], bytes));
            return (10, data);
        }
        return (0, "");
    }

    function _answer(uint256 shape, bytes memory data) private view returns (bytes memory) {
        if (shape == 4) {
            return abi.encodeWithSignature("uniswapV2Call(address,uint256,uint256,bytes)", executor, 0, 0, data);
        }
        if (shape == 5) {
            return abi.encodeWithSignature(
                "executeOperation(address,uint256,uint256,address,bytes)", other, 1, 0, executor, data
            );
        }
        if (shape == 2) return abi.encodeWithSignature("onMorphoFlashLoan(uint256,bytes)", 1, data);
        if (shape == RAW) return abi.encodePacked(bytes4(0), uint256(0x20), data.length, data);
        if (shape == 1) return abi.encodeWithSignature("unlockCallback(bytes)", data);
        if (shape == 10) {
            address[] memory tokens = new address[](1);
            uint256[] memory amounts = new uint256[](1);
            return abi.encodeWithSignature(
                "receiveFlashLoan(address[],uint256[],uint256[],bytes)", tokens, amounts, amounts, data
            );
        }
        return abi.encodeWithSignature("uniswapV3SwapCallback(int256,int256,bytes)", 0, 0, data);
    }

    function _try(address to, bytes memory data) private {
        (bool ok,) = to.call(data);
        ok;
    }
}

contract ActorRelay {
    function forward(address to, bytes calldata data) external {
        (bool ok, bytes memory out) = to.call(data);
        if (!ok) {
            assembly {
                revert(add(out, 0x20), mload(out))
            }
        }
    }
}

/// @notice Several calls in one transaction.
contract Batch {
    function run(address to, bytes[] calldata data) external {
        for (uint256 k = 0; k < data.length; ++k) {
            (bool ok, bytes memory out) = to.call(data[k]);
            if (!ok) {
                assembly {
                    revert(add(out, 0x20), mload(out))
                }
            }
        }
    }
}

/// @notice A fee recipient that burns all gas it is given.
contract Burner {
    receive() external payable {
        while (true) {}
    }
}

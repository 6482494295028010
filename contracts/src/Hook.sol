// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

interface IBooks {
    function take(address currency, address to, uint256 amount) external;
    function sync(address currency) external;
    function settle() external payable returns (uint256);
}

/// @notice A Uniswap V4 hook that misbehaves on demand. It catches the reverts of its tricks on the executor, so that the swap
/// goes on. For tests only; its code is put at an address whose low bits announce beforeSwap, afterSwap and its delta.
contract Hook {
    enum Act {
        Nothing,
        Reenter, // sends a program of its own to the executor
        CallBack, // plays the manager and calls the executor back with that program's operations
        Take, // takes from the manager and does not pay
        Skim, // keeps a part of what the swap puts out
        Settle, // syncs and settles, so that the executor's payments might count for the hook
        Refuse // reverts
    }

    Act public act;
    address public executor;
    IBooks public books;
    address public currency;
    bytes public payload;
    uint256 public tricks;

    function configure(Act act_, address executor_, IBooks books_, address currency_, bytes calldata payload_) external {
        act = act_;
        executor = executor_;
        books = books_;
        currency = currency_;
        payload = payload_;
    }

    fallback() external {
        int256 kept = 0;
        if (act == Act.Refuse) revert("no");
        if (act == Act.Reenter) _try(payload);
        if (act == Act.CallBack) _try(abi.encodeWithSignature("unlockCallback(bytes)", payload));
        if (act == Act.Take) books.take(currency, address(this), 1);
        if (act == Act.Settle) {
            books.sync(currency);
            books.settle();
        }
        if (act == Act.Skim && msg.sig == 0xb47b2fb1) {
            books.take(currency, address(this), 1000);
            kept = 1000;
        }
        bytes4 name = msg.sig;
        if (name == 0x575e24b4) {
            // beforeSwap: no delta, no fee of its own
            assembly {
                mstore(0, name)
                mstore(0x20, 0)
                mstore(0x40, 0)
                return(0, 0x60)
            }
        }
        assembly {
            mstore(0, name)
            mstore(0x20, kept)
            return(0, 0x40)
        }
    }

    function _try(bytes memory data) private {
        (bool ok,) = executor.call(data);
        if (ok) ++tricks;
    }
}

// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @notice A token that pools hold and that misbehaves on demand, as tokens on public chains do. For tests only.
contract BadToken {
    enum Mode {
        Normal,
        ReturnsFalse, // and moves nothing
        ReturnsNothing, // like USDT
        Fee, // one per cent is burnt
        Blacklist, // nothing to or from the executor
        DoublesBalances, // balanceOf lies
        HidesBalances, // balanceOf of the executor is zero
        Reenters, // sends a program to the executor with every transfer
        CallsBack, // the same as a V3 callback
        Refuses, // reverts
        GoesSilent, // answers balanceOf with nothing once something has moved
        TellsNoAllowance // answers allowance with nothing
    }

    Mode public mode;
    address public executor;
    bytes public payload;
    uint256 public tricks;
    bool private _silent;
    mapping(address => uint256) private _balances;
    mapping(address => mapping(address => uint256)) private _allowed;

    constructor(uint256 supply) {
        _balances[msg.sender] = supply;
    }

    function configure(Mode mode_, address executor_, bytes calldata payload_) external {
        mode = mode_;
        executor = executor_;
        payload = payload_;
        _silent = false;
    }

    function balanceOf(address who) external view returns (uint256) {
        if (_silent) {
            assembly {
                return(0, 0)
            }
        }
        if (mode == Mode.DoublesBalances) return 2 * _balances[who];
        if (mode == Mode.HidesBalances && who == executor) return 0;
        return _balances[who];
    }

    function allowance(address from, address spender) external view returns (uint256) {
        if (mode == Mode.TellsNoAllowance) {
            assembly {
                return(0, 0)
            }
        }
        return _allowed[from][spender];
    }

    /// @dev Like USDT: only from zero or to zero.
    function approve(address spender, uint256 amount) external {
        require(mode != Mode.Refuses, "refused");
        require(amount == 0 || _allowed[msg.sender][spender] == 0, "allowed already");
        if (mode != Mode.ReturnsFalse) _allowed[msg.sender][spender] = amount;
        _answer(mode != Mode.ReturnsFalse);
    }

    function transfer(address to, uint256 amount) external {
        _answer(_move(msg.sender, to, amount));
    }

    function transferFrom(address from, address to, uint256 amount) external {
        _allowed[from][msg.sender] -= amount;
        _answer(_move(from, to, amount));
    }

    function _move(address from, address to, uint256 amount) private returns (bool) {
        require(mode != Mode.Refuses, "refused");
        if (mode == Mode.Blacklist) require(from != executor && to != executor, "blacklisted");
        if (mode == Mode.ReturnsFalse) return false;
        if (mode == Mode.Reenters || mode == Mode.CallsBack) {
            bytes memory data = payload;
            if (mode == Mode.CallsBack) {
                data = abi.encodeWithSignature("uniswapV3SwapCallback(int256,int256,bytes)", 1, 1, data);
            }
            (bool ok,) = executor.call(data);
            if (ok) ++tricks;
        }
        if (mode == Mode.GoesSilent) _silent = true;
        _balances[from] -= amount;
        _balances[to] += mode == Mode.Fee ? amount - amount / 100 : amount;
        return true;
    }

    function _answer(bool done) private view {
        if (mode == Mode.ReturnsNothing) return;
        assembly {
            mstore(0, done)
            return(0, 0x20)
        }
    }
}

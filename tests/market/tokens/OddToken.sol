// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

// Test-only: tokens that do what honest ones don't. `mode` says which; the owner is always treated well.

interface ISync {
    function sync() external;
}

interface IHook {
    function tokensReceived(address from, uint256 value) external;
}

contract OddToken {
    uint8 public immutable mode;
    uint256 public totalSupply;
    address public owner = msg.sender;
    address public pool;
    uint256 private immutable BORN = block.timestamp;
    mapping(address => uint256) private _held;
    mapping(address => mapping(address => uint256)) public allowance;
    mapping(address => bool) public isBlacklisted;
    bool public paused;
    mapping(address => bool) private _friend;

    uint8 constant PLAIN = 0;
    uint8 constant FEE = 1;
    uint8 constant SELL_FEE = 2;
    uint8 constant HONEYPOT = 3;
    uint8 constant REBASES = 4;
    uint8 constant BLACKLIST = 5;
    uint8 constant PAUSED = 6;
    uint8 constant FALSE_BUT_MOVES = 7;
    uint8 constant NOTHING = 8;
    uint8 constant REENTERS = 9;
    uint8 constant HOOK = 10;
    uint8 constant LOOPS = 11;
    uint8 constant GIVES_MORE = 12;
    uint8 constant CHARGES_SENDER = 13;
    uint8 constant FALSE_AND_STAYS = 14;
    uint8 constant EVERYONE_RICH = 15;
    uint8 constant BUY_FEE = 16;
    uint8 constant ROUNDS = 17;
    uint8 constant TERMINAL_TEXT = 18;
    uint8 constant GROWS_ONCE_TRADED = 19;
    uint256 private _traded;

    constructor(uint8 mode_, uint256 supply) {
        mode = mode_;
        totalSupply = supply;
        _held[msg.sender] = supply;
    }

    function befriend(address who) external {
        require(msg.sender == owner, "owner");
        _friend[who] = true;
    }

    function setPool(address pool_) external {
        require(msg.sender == owner, "owner");
        pool = pool_;
        if (mode == BLACKLIST) isBlacklisted[pool_] = true;
        if (mode == PAUSED) paused = true;
    }

    function balanceOf(address who) external view returns (uint256) {
        if (mode == EVERYONE_RICH && _held[who] == 0) return 10 ** 18;
        if (mode == REBASES) return _held[who] * (365 days + block.timestamp - BORN) / 365 days;
        if (mode == GROWS_ONCE_TRADED && _traded != 0) {
            return _held[who] * (365 days + block.timestamp - _traded) / 365 days;
        }
        return _held[who];
    }

    function approve(address spender, uint256 value) external returns (bool) {
        allowance[msg.sender][spender] = value;
        return true;
    }

    function transfer(address to, uint256 value) external returns (bool) {
        return _transfer(msg.sender, to, value);
    }

    function transferFrom(address from, address to, uint256 value) external returns (bool) {
        allowance[from][msg.sender] -= value;
        return _transfer(from, to, value);
    }

    function _transfer(address from, address to, uint256 value) private returns (bool) {
        bool ours = from == owner || to == owner || _friend[from] || _friend[to];
        uint256 credit = value;
        uint256 debit = value;
        if (!ours) {
            require(!paused, "Pausable: paused");
            require(!isBlacklisted[from] && !isBlacklisted[to], "blacklisted");
            if (mode == HONEYPOT) require(to != pool, "not today");
            if (mode == TERMINAL_TEXT && to == pool) revert(unicode"\u001b[2J\u202eevil");
            if (mode == LOOPS && to == pool) while (true) ++totalSupply;
            if (mode == FEE || (mode == SELL_FEE && to == pool) || (mode == BUY_FEE && from == pool)) {
                credit -= value / 100;
            }
            if (mode == GIVES_MORE) credit += value / 50;
            if (mode == CHARGES_SENDER && from != pool) debit += 1;
            if (mode == ROUNDS && value > 1) credit -= 1;
            if (mode == REENTERS && to == pool) ISync(pool).sync();
            if (mode == FALSE_AND_STAYS) return false;
            if (mode == GROWS_ONCE_TRADED && _traded == 0) _traded = block.timestamp;
        }
        _held[from] -= debit;
        _held[to] += credit;
        if (mode == HOOK && !ours && to.code.length > 0 && to != pool) IHook(to).tokensReceived(from, value);
        if (mode == NOTHING) assembly { return(0, 0) }
        return mode != FALSE_BUT_MOVES || ours;
    }
}


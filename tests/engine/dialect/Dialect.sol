// SPDX-License-Identifier: MIT
pragma solidity ^0.8.20;

/// A pair of the Uniswap V2 kind that shares no name with it: another creation event, fee, callback, events and layout.

interface IToken {
    function balanceOf(address) external view returns (uint256);
    function transfer(address, uint256) external returns (bool);
}

interface ICallee {
    function dialectCall(address sender, uint256 amount0, uint256 amount1, bytes calldata data) external;
}

contract DialectFactory {
    mapping(address => mapping(address => address)) public pairOf;

    event Born(address indexed pair, address indexed token0, address indexed token1, uint32 feeBps);

    function create(address a, address b, uint32 feeBps) external returns (address pair) {
        (address low, address high) = a < b ? (a, b) : (b, a);
        require(low != address(0) && low != high && pairOf[low][high] == address(0));
        pair = address(new DialectPair(low, high, feeBps));
        pairOf[low][high] = pair;
        emit Born(pair, low, high, feeBps);
    }

    function setFee(DialectPair pair, uint32 feeBps) external {
        pair.setFee(feeBps);
    }
}

contract DialectPair {
    address public immutable factory = msg.sender;
    bool private busy;
    address public base;
    address public quote;
    uint32 private feeBps;
    uint112 private reserveBase;
    uint112 private reserveQuote;

    event Balances(uint32 feeBps, uint112 reserveBase, uint112 reserveQuote);
    event FeeChanged(uint32 feeBps);
    event Trade(address indexed sender, uint256[2] paid, uint256[2] got, uint32 feeBps, address indexed to);

    constructor(address base_, address quote_, uint32 feeBps_) {
        (base, quote) = (base_, quote_);
        set(feeBps_);
    }

    function state() external view returns (uint32, uint112, uint112) {
        return (feeBps, reserveBase, reserveQuote);
    }

    function setFee(uint32 feeBps_) external {
        require(msg.sender == factory);
        set(feeBps_);
        emit FeeChanged(feeBps_);
    }

    function set(uint32 feeBps_) private {
        require(feeBps_ <= 1_000);
        feeBps = feeBps_;
    }

    /// What was sent here becomes liquidity.
    function settle() public {
        uint256 balanceBase = IToken(base).balanceOf(address(this));
        uint256 balanceQuote = IToken(quote).balanceOf(address(this));
        require(balanceBase <= type(uint112).max && balanceQuote <= type(uint112).max);
        (reserveBase, reserveQuote) = (uint112(balanceBase), uint112(balanceQuote));
        emit Balances(feeBps, reserveBase, reserveQuote);
    }

    function swap(uint256 outBase, uint256 outQuote, address to, bytes calldata data) external {
        require(!busy && outBase + outQuote > 0);
        busy = true;
        (uint256 oldBase, uint256 oldQuote) = (reserveBase, reserveQuote);
        require(outBase < oldBase && outQuote < oldQuote && to != base && to != quote);
        if (outBase > 0) require(IToken(base).transfer(to, outBase));
        if (outQuote > 0) require(IToken(quote).transfer(to, outQuote));
        if (data.length > 0) ICallee(to).dialectCall(msg.sender, outBase, outQuote, data);
        settle();
        uint256 paidBase = paid(reserveBase, oldBase, outBase);
        uint256 paidQuote = paid(reserveQuote, oldQuote, outQuote);
        require(paidBase + paidQuote > 0);
        uint256 left = (reserveBase * 1e4 - paidBase * feeBps) * (reserveQuote * 1e4 - paidQuote * feeBps);
        require(left >= oldBase * oldQuote * 1e8, "K");
        emit Trade(msg.sender, [paidBase, paidQuote], [outBase, outQuote], feeBps, to);
        busy = false;
    }

    function paid(uint256 now_, uint256 old, uint256 out) private pure returns (uint256) {
        return now_ > old - out ? now_ - (old - out) : 0;
    }
}

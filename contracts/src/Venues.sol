// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

interface IVenueToken {
    function balanceOf(address who) external view returns (uint256);
    function transfer(address to, uint256 amount) external returns (bool);
    function transferFrom(address from, address to, uint256 amount) external returns (bool);
}

/// @notice What the doubles below have in common: they trade at a fixed rate, and can be told to cheat. For tests only.
abstract contract Venue {
    enum Act {
        Honest,
        Short, // pays one unit less than the rate says
        Nothing, // takes and pays nothing
        Half, // takes half of what it may and pays all
        Greedy, // asks for one unit more than it may take
        Reenter, // sends a program of its own, then trades
        TakeOnly, // takes and pays nothing back
        Later // takes nothing now; whoever calls `collect` later takes it
    }

    uint256 internal constant UNIT = 1e18;
    Act public act;
    address public victim;
    bytes public payload;
    uint256 public tricks;

    function configure(Act act_, address victim_, bytes calldata payload_) external {
        act = act_;
        victim = victim_;
        payload = payload_;
    }

    /// @dev Takes what is left of an approval.
    function collect(IVenueToken token, uint256 amount) external {
        token.transferFrom(victim, address(this), amount);
        ++tricks;
    }

    function _trick() internal {
        if (act != Act.Reenter) return;
        (bool ok,) = victim.call(payload);
        if (ok) ++tricks;
    }

    function _pulled(IVenueToken token, uint256 amount) internal {
        if (act == Act.Nothing || act == Act.Later) return;
        uint256 taken = act == Act.Half ? amount / 2 : act == Act.Greedy ? amount + 1 : amount;
        _call(token, abi.encodeCall(token.transferFrom, (msg.sender, address(this), taken)));
    }

    /// @dev Tokens may return nothing.
    function _call(IVenueToken token, bytes memory data) private {
        (bool ok, bytes memory out) = address(token).call(data);
        require(ok && (out.length == 0 || abi.decode(out, (bool))), "token");
    }

    function _paid(IVenueToken token, address to, uint256 amount) internal {
        if (act == Act.Nothing || act == Act.TakeOnly || act == Act.Later) return;
        _call(token, abi.encodeCall(token.transfer, (to, act == Act.Short ? amount - 1 : amount)));
    }
}

/// @notice Every name under which Curve's pools swap. `i` → `j` gives `amount * rate[i][j] / 1e18`.
contract Exchange is Venue {
    IVenueToken[] public coins;
    mapping(uint256 => mapping(uint256 => uint256)) public rate;
    mapping(uint256 => uint256) public kept;
    bool public silent;

    constructor(IVenueToken[] memory coins_) {
        coins = coins_;
    }

    receive() external payable {}

    function setRate(uint256 i, uint256 j, uint256 value) external {
        rate[i][j] = value;
    }

    function setSilent(bool value) external {
        silent = value;
    }

    function store() external {
        for (uint256 k = 0; k < coins.length; ++k) {
            if (address(coins[k]) != address(0)) kept[k] = coins[k].balanceOf(address(this));
        }
    }

    function exchange(int128 i, int128 j, uint256 dx, uint256 minDy) external payable returns (uint256) {
        return _exchange(uint256(uint128(i)), uint256(uint128(j)), dx, minDy, msg.sender);
    }

    function exchange(uint256 i, uint256 j, uint256 dx, uint256 minDy) external payable returns (uint256) {
        return _exchange(i, j, dx, minDy, msg.sender);
    }

    function exchange_underlying(int128 i, int128 j, uint256 dx, uint256 minDy) external returns (uint256) {
        return _exchange(uint256(uint128(i)), uint256(uint128(j)), dx, minDy, msg.sender);
    }

    function swap(uint8 i, uint8 j, uint256 dx, uint256 minDy, uint256 deadline) external returns (uint256) {
        require(block.timestamp <= deadline, "deadline");
        return _exchange(i, j, dx, minDy, msg.sender);
    }

    function exchange(int128 i, int128 j, uint256 dx, uint256 minDy, address to) external returns (uint256) {
        return _exchange(uint256(uint128(i)), uint256(uint128(j)), dx, minDy, to);
    }

    function exchange(uint256 i, uint256 j, uint256 dx, uint256 minDy, address to) external returns (uint256) {
        return _exchange(i, j, dx, minDy, to);
    }

    function exchange_received(int128 i, int128 j, uint256 dx, uint256 minDy, address to) external returns (uint256) {
        return _received(uint256(uint128(i)), uint256(uint128(j)), dx, minDy, to);
    }

    function exchange_received(uint256 i, uint256 j, uint256 dx, uint256 minDy, address to)
        external
        returns (uint256)
    {
        return _received(i, j, dx, minDy, to);
    }

    function _exchange(uint256 i, uint256 j, uint256 dx, uint256 minDy, address to) private returns (uint256 dy) {
        _trick();
        if (address(coins[i]) == address(0)) require(msg.value == dx, "value");
        else _pulled(coins[i], dx);
        return _give(i, j, dx, minDy, to);
    }

    function _received(uint256 i, uint256 j, uint256 dx, uint256 minDy, address to) private returns (uint256) {
        _trick();
        require(coins[i].balanceOf(address(this)) - kept[i] >= dx, "not received");
        return _give(i, j, dx, minDy, to);
    }

    function _give(uint256 i, uint256 j, uint256 dx, uint256 minDy, address to) private returns (uint256 dy) {
        dy = dx * rate[i][j] / UNIT;
        require(dy >= minDy, "fewer coins than expected");
        if (address(coins[j]) == address(0)) {
            (bool ok,) = to.call{value: dy}("");
            require(ok, "native");
        } else {
            _paid(coins[j], to, dy);
            kept[j] = coins[j].balanceOf(address(this));
        }
        if (address(coins[i]) != address(0)) kept[i] = coins[i].balanceOf(address(this));
        if (silent) {
            assembly {
                return(0, 0)
            }
        }
    }
}

/// @notice Takes any call, and of what it was allowed to take as much as it is told to; gives nothing.
contract LazyVenue is Venue {
    IVenueToken public immutable token;

    constructor(IVenueToken token_) {
        token = token_;
    }

    fallback() external {
        if (act == Act.Half) _pulled(token, 2);
    }
}

/// @notice A Liquidity Book pair at one price, as far as a swap sees it.
contract BinPair is Venue {
    IVenueToken public immutable tokenX;
    IVenueToken public immutable tokenY;
    uint256 public immutable price; // Y for 1e18 of X
    uint256 private _x;
    uint256 private _y;

    constructor(IVenueToken x, IVenueToken y, uint256 price_) {
        tokenX = x;
        tokenY = y;
        price = price_;
    }

    function store() public {
        _x = tokenX.balanceOf(address(this));
        _y = tokenY.balanceOf(address(this));
    }

    function swap(bool swapForY, address to) external returns (bytes32) {
        _trick();
        if (swapForY) {
            uint256 came = tokenX.balanceOf(address(this)) - _x;
            require(came != 0, "insufficient amount in");
            _paid(tokenY, to, came * price / UNIT);
        } else {
            uint256 came = tokenY.balanceOf(address(this)) - _y;
            require(came != 0, "insufficient amount in");
            _paid(tokenX, to, came * UNIT / price);
        }
        store();
        return 0;
    }
}

/// @notice A wrapper of a token at a rate, with the calls of wstETH; a token itself.
contract WrappedShares is Venue {
    IVenueToken public immutable inner;
    uint256 public immutable perShare;
    mapping(address => uint256) public balanceOf;
    mapping(address => mapping(address => uint256)) public allowance;

    constructor(IVenueToken inner_, uint256 perShare_) {
        inner = inner_;
        perShare = perShare_;
    }

    function wrap(uint256 amount) external returns (uint256 shares) {
        _trick();
        shares = amount * UNIT / perShare;
        _pulled(inner, amount);
        if (act == Act.Nothing || act == Act.TakeOnly) return shares;
        balanceOf[msg.sender] += act == Act.Short ? shares - 1 : shares;
    }

    function unwrap(uint256 shares) external returns (uint256 amount) {
        _trick();
        amount = shares * perShare / UNIT;
        balanceOf[msg.sender] -= shares;
        _paid(inner, msg.sender, amount);
    }

    function approve(address spender, uint256 amount) external returns (bool) {
        allowance[msg.sender][spender] = amount;
        return true;
    }

    function transfer(address to, uint256 amount) external returns (bool) {
        balanceOf[msg.sender] -= amount;
        balanceOf[to] += amount;
        return true;
    }

    function transferFrom(address from, address to, uint256 amount) external returns (bool) {
        allowance[from][msg.sender] -= amount;
        balanceOf[from] -= amount;
        balanceOf[to] += amount;
        return true;
    }
}

/// @notice Balancer V3's vault as far as a swap sees it: books that must be even when its unlock ends. Rates by pool and
/// direction; `Lie` in `payload` is not needed: a vault that lies can only be short.
contract BooksVault is Venue {
    struct SwapParams {
        uint8 kind;
        address pool;
        address tokenIn;
        address tokenOut;
        uint256 amountGivenRaw;
        uint256 limitRaw;
        bytes userData;
    }

    mapping(address => mapping(address => mapping(address => uint256))) public rate;
    mapping(address => int256) public owed;
    mapping(address => uint256) public reserves;
    int256 public open;
    bool public unlocked;
    uint256 public callbacks = 1;
    bool public altered;

    function setRate(address pool, address tokenIn, address tokenOut, uint256 value) external {
        rate[pool][tokenIn][tokenOut] = value;
    }

    function setCallbacks(uint256 count, bool altered_) external {
        callbacks = count;
        altered = altered_;
    }

    function store(IVenueToken token) external {
        reserves[address(token)] = token.balanceOf(address(this));
    }

    function unlock(bytes calldata data) external returns (bytes memory out) {
        unlocked = true;
        _trick();
        for (uint256 k = 0; k < callbacks; ++k) {
            bytes memory sent = data;
            if (altered) sent[sent.length - 1] ^= 0x01;
            bool ok;
            (ok, out) = msg.sender.call(sent);
            if (!ok) {
                assembly {
                    revert(add(out, 0x20), mload(out))
                }
            }
        }
        require(open == 0, "BalanceNotSettled");
        unlocked = false;
    }

    function swap(SwapParams calldata p) external returns (uint256, uint256, uint256 out) {
        require(unlocked && p.kind == 0, "VaultIsNotUnlocked");
        _trick();
        out = p.amountGivenRaw * rate[p.pool][p.tokenIn][p.tokenOut] / UNIT;
        require(out >= p.limitRaw, "SwapLimit");
        _account(p.tokenIn, int256(p.amountGivenRaw));
        _account(p.tokenOut, -int256(act == Act.Short ? out - 1 : out));
        return (out, p.amountGivenRaw, out);
    }

    function sendTo(IVenueToken token, address to, uint256 amount) external {
        require(unlocked, "VaultIsNotUnlocked");
        _trick();
        _account(address(token), int256(amount));
        if (act != Act.TakeOnly) token.transfer(to, amount);
        reserves[address(token)] = token.balanceOf(address(this));
    }

    function settle(IVenueToken token, uint256 hint) external returns (uint256 credit) {
        require(unlocked, "VaultIsNotUnlocked");
        uint256 now_ = token.balanceOf(address(this));
        credit = now_ - reserves[address(token)];
        reserves[address(token)] = now_;
        if (credit > hint) credit = hint;
        _account(address(token), -int256(credit));
    }

    /// @dev Positive: the caller owes.
    function _account(address token, int256 change) private {
        int256 before = owed[token];
        int256 next = before + change;
        if (before == 0 && next != 0) ++open;
        if (before != 0 && next == 0) --open;
        owed[token] = next;
    }
}

// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @title Who may do what with the executor: the owner (cold key), the operators (hot keys), and the settings of both.
/// @notice No word here is transient, so both builds of the executor share this file as it is.
abstract contract ExecutorRoles {
    // Competitive misses: the state moved before the transaction ran.
    error Late();
    error Shortfall(uint256 got, uint256 want);
    // Everything below means a wrong program, a hostile pool or token, or a wrong caller.
    error NotOperator();
    error NotOwner();
    error IsPaused();
    error Reentered();
    error BadCallback();
    error CallbackSkipped();
    error BadProgram();
    error TransferFailed();
    error BalanceUnreadable();
    error BalanceFell(address token);
    error BribeRefused();
    error ZeroAddress();
    error TooMany();

    event OwnershipOffered(address indexed owner, address indexed pending);
    event OwnershipTaken(address indexed owner);
    event OperatorSet(address indexed operator, bool allowed);
    event TreasurySet(address indexed treasury);
    event BribeCapSet(uint256 ppm);
    event BribeRecipientSet(address indexed recipient, bool allowed);
    event PauseSet(bool paused, address indexed by);
    event Withdrawn(address indexed token, address indexed to, uint256 amount);

    address public owner;
    address public pendingOwner;
    // treasury (160 bits), paused (8), bribe cap in ppm (24): the settings that an execution needs.
    uint256 private _settings;
    // Zero, or OPERATOR with a copy of the settings: an execution reads one cold word instead of two (2100 gas).
    mapping(address => uint256) internal _words;
    address[] private _operators;
    mapping(address => bool) public isBribeRecipient;

    uint256 internal constant PAUSED = 1 << 160;
    uint256 internal constant CAP_AT = 168;
    uint256 private constant OPERATOR = 1 << 255;
    uint256 internal constant MILLION = 1_000_000;
    uint256 public constant MAX_OPERATORS = 32;

    constructor(address owner_, address treasury_, address[] memory operators_) {
        if (owner_ == address(0)) revert ZeroAddress();
        owner = owner_;
        emit OwnershipTaken(owner_);
        _settings = uint160(treasury_ == address(0) ? owner_ : treasury_);
        emit TreasurySet(treasury());
        for (uint256 k = 0; k < operators_.length; ++k) {
            _setOperator(operators_[k], true);
        }
    }

    modifier onlyOwner() {
        if (msg.sender != owner) revert NotOwner();
        _;
    }

    // ------------------------------------------------------------------------------------------ roles, money of the owner

    function treasury() public view returns (address) {
        return address(uint160(_settings));
    }

    function paused() external view returns (bool) {
        return _settings & PAUSED != 0;
    }

    /// @notice The largest share of a realised profit, in parts per million, that a program may bid.
    function bribeCapPpm() external view returns (uint256) {
        return (_settings >> CAP_AT) & 0xffffff;
    }

    function isOperator(address account) public view returns (bool) {
        return _words[account] != 0;
    }

    function operators() external view returns (address[] memory) {
        return _operators;
    }

    function offerOwnership(address next) external onlyOwner {
        pendingOwner = next;
        emit OwnershipOffered(msg.sender, next);
    }

    function acceptOwnership() external {
        if (msg.sender != pendingOwner) revert NotOwner();
        owner = msg.sender;
        pendingOwner = address(0);
        emit OwnershipTaken(msg.sender);
    }

    function setOperator(address operator, bool allowed) external onlyOwner {
        _setOperator(operator, allowed);
    }

    /// @notice Where profit goes. The executor itself means: keep it here as inventory.
    function setTreasury(address next) external onlyOwner {
        if (next == address(0)) revert ZeroAddress();
        _change((_settings & ~uint256(type(uint160).max)) | uint160(next));
        emit TreasurySet(next);
    }

    function setBribeCap(uint256 ppm) external onlyOwner {
        if (ppm > MILLION) revert BribeRefused();
        _change((_settings & ~(uint256(0xffffff) << CAP_AT)) | (ppm << CAP_AT));
        emit BribeCapSet(ppm);
    }

    /// @notice Who, besides the block's own fee recipient, may be paid a bribe.
    function setBribeRecipient(address recipient, bool allowed) external onlyOwner {
        if (recipient == address(0)) revert ZeroAddress();
        isBribeRecipient[recipient] = allowed;
        emit BribeRecipientSet(recipient, allowed);
    }

    /// @notice Either role may stop trading; only the owner may start it again.
    function pause() external {
        if (msg.sender != owner && !isOperator(msg.sender)) revert NotOperator();
        _change(_settings | PAUSED);
        emit PauseSet(true, msg.sender);
    }

    function unpause() external onlyOwner {
        _change(_settings & ~PAUSED);
        emit PauseSet(false, msg.sender);
    }

    /// @notice Moves out what was sent here by mistake, or the inventory. The zero address means the native coin.
    function withdraw(address token, address to, uint256 amount) external onlyOwner {
        if (to == address(0)) revert ZeroAddress();
        bool ok;
        if (token == address(0)) (ok,) = to.call{value: amount}("");
        else ok = _transfer(token, to, amount);
        if (!ok) revert TransferFailed();
        emit Withdrawn(token, to, amount);
    }

    function _setOperator(address operator, bool allowed) private {
        if (operator == address(0)) revert ZeroAddress();
        if (allowed && !isOperator(operator)) {
            if (_operators.length == MAX_OPERATORS) revert TooMany();
            _operators.push(operator);
        } else if (!allowed && isOperator(operator)) {
            uint256 last = _operators.length - 1;
            for (uint256 k = 0; k < last; ++k) {
                if (_operators[k] == operator) _operators[k] = _operators[last];
            }
            _operators.pop();
        }
        _words[operator] = allowed ? OPERATOR | _settings : 0;
        emit OperatorSet(operator, allowed);
    }

    /// @dev Every operator's word holds a copy.
    function _change(uint256 settings) private {
        _settings = settings;
        for (uint256 k = 0; k < _operators.length; ++k) {
            _words[_operators[k]] = OPERATOR | settings;
        }
    }

    function _balance(address token) internal view returns (uint256 amount) {
        bool ok;
        assembly ("memory-safe") {
            mstore(0, 0x70a0823100000000000000000000000000000000000000000000000000000000)
            mstore(4, address())
            ok := staticcall(gas(), token, 0, 0x24, 0, 0x20)
            ok := and(ok, gt(returndatasize(), 31))
            amount := mload(0)
        }
        if (!ok) revert BalanceUnreadable();
    }

    /// @dev True if the token says so, or says nothing and exists.
    function _transfer(address token, address to, uint256 amount) internal returns (bool ok) {
        assembly ("memory-safe") {
            let m := mload(0x40)
            mstore(m, 0xa9059cbb00000000000000000000000000000000000000000000000000000000)
            mstore(add(m, 0x04), to)
            mstore(add(m, 0x24), amount)
            ok := call(gas(), token, 0, m, 0x44, 0, 0x20)
            switch returndatasize()
            case 0 { ok := and(ok, gt(extcodesize(token), 0)) }
            default { ok := and(ok, and(gt(returndatasize(), 31), eq(mload(0), 1))) }
        }
    }
}

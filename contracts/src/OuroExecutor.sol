// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @title Ouro's executor: runs one arbitrage cycle atomically, without capital of its own.
/// @notice An operator (hot key) sends a packed byte program as raw calldata; docs/executor.md has the encoding. The whole
/// gain in the profit token goes to the treasury that only the owner (cold key) can set. Nothing rests here, no approval is
/// ever given, no native coin is ever sent by a program, and a program can transfer no token but the profit token, whose
/// balance must not fall: a stolen operator key therefore finds nothing to take.
contract OuroExecutor {
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
    error ZeroAddress();

    event OwnershipOffered(address indexed owner, address indexed pending);
    event OwnershipTaken(address indexed owner);
    event OperatorSet(address indexed operator, bool allowed);
    event TreasurySet(address indexed treasury);
    event PauseSet(bool paused, address indexed by);
    event Withdrawn(address indexed token, address indexed to, uint256 amount);

    address public owner;
    address public pendingOwner;
    // One slot: every execution needs both, and a cold slot costs 2100 gas.
    address public treasury;
    bool public paused;
    mapping(address => bool) public isOperator;

    // Transient slots. 0: who may call back, with what (see _run); zero when nobody may. 1: the profit token while a program
    // runs, which is also the lock against a second program in the same call tree.
    uint256 private constant EXPECTED = 0;
    uint256 private constant RUNNING = 1;

    constructor(address owner_, address treasury_, address[] memory operators) {
        if (owner_ == address(0)) revert ZeroAddress();
        owner = owner_;
        treasury = treasury_ == address(0) ? owner_ : treasury_;
        emit OwnershipTaken(owner_);
        emit TreasurySet(treasury);
        for (uint256 k = 0; k < operators.length; ++k) {
            isOperator[operators[k]] = true;
            emit OperatorSet(operators[k], true);
        }
    }

    modifier onlyOwner() {
        if (msg.sender != owner) revert NotOwner();
        _;
    }

    // ------------------------------------------------------------------------------------------ roles, money of the owner

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
        if (operator == address(0)) revert ZeroAddress();
        isOperator[operator] = allowed;
        emit OperatorSet(operator, allowed);
    }

    function setTreasury(address next) external onlyOwner {
        if (next == address(0)) revert ZeroAddress();
        treasury = next;
        emit TreasurySet(next);
    }

    /// @notice Either role may stop trading; only the owner may start it again.
    function pause() external {
        if (msg.sender != owner && !isOperator[msg.sender]) revert NotOperator();
        paused = true;
        emit PauseSet(true, msg.sender);
    }

    function unpause() external onlyOwner {
        paused = false;
        emit PauseSet(false, msg.sender);
    }

    /// @notice Moves out what was sent here by mistake. The zero address means the native coin.
    function withdraw(address token, address to, uint256 amount) external onlyOwner {
        if (to == address(0)) revert ZeroAddress();
        bool ok;
        if (token == address(0)) (ok,) = to.call{value: amount}("");
        else ok = _transfer(token, to, amount);
        if (!ok) revert TransferFailed();
        emit Withdrawn(token, to, amount);
    }

    // ------------------------------------------------------------------------------------------ programs and callbacks

    /// @dev Not payable. Any selector is a callback while one is expected, otherwise the calldata is a program. The names of
    /// callbacks differ among forks (uniswapV2Call, pancakeCall, joeCall, uniswapV3SwapCallback …); their shapes do not.
    fallback() external {
        uint256 expected;
        assembly ("memory-safe") {
            expected := tload(EXPECTED)
        }
        if (expected == 0) _start();
        else _resume(expected);
    }

    /// @dev Header: maxBlock(5, zero for none) minProfit(14) profitToken(20), then the operations.
    function _start() private {
        uint256 maxBlock;
        uint256 minProfit;
        address token;
        assembly ("memory-safe") {
            let head := calldataload(0)
            maxBlock := shr(216, head)
            minProfit := and(shr(104, head), 0xffffffffffffffffffffffffffff)
            token := shr(96, calldataload(19))
        }
        if (maxBlock != 0 && block.number > maxBlock) revert Late();
        if (!isOperator[msg.sender]) revert NotOperator();
        if (paused) revert IsPaused();
        address to = treasury;

        uint256 running;
        assembly ("memory-safe") {
            running := tload(RUNNING)
        }
        if (running != 0) revert Reentered();
        uint256 held = _balance(token);
        assembly ("memory-safe") {
            tstore(RUNNING, token)
        }

        _run(39, msg.data.length);

        // The balance may not fall even where no profit is asked for: a stolen operator key asks for none.
        uint256 got = _balance(token);
        if (got < held + minProfit) revert Shortfall(got > held ? got - held : 0, minProfit);
        unchecked {
            got -= held;
        }
        if (got != 0 && !_transfer(token, to, got)) revert TransferFailed();
        // Cleared, not left to the end of the transaction: one transaction may hold two programs.
        assembly ("memory-safe") {
            tstore(RUNNING, 0)
        }
    }

    /// @dev A callback continues the program with exactly the bytes that were handed to exactly this caller. The amounts
    /// that it claims are ignored: what is paid is in the program, what came is in the balances.
    function _resume(uint256 expected) private {
        uint256 pos;
        uint256 end;
        bool authentic;
        assembly ("memory-safe") {
            // The low byte of the word says where this shape of callback keeps the length of its bytes argument.
            let at := and(expected, 0xff)
            let size := calldataload(at)
            pos := add(at, 0x20)
            end := add(pos, size)
            // A foreign size is not copied: it would only burn gas.
            if lt(size, calldatasize()) {
                let m := mload(0x40)
                mstore(m, caller())
                calldatacopy(add(m, 0x20), pos, size)
                authentic := eq(or(and(keccak256(m, add(size, 0x20)), not(0xff)), at), expected)
                // V2 pairs tell who asked for the swap: nobody but us.
                if eq(at, 0x84) { authentic := and(authentic, eq(calldataload(4), address())) }
                tstore(EXPECTED, 0)
            }
        }
        if (!authentic) revert BadCallback();
        _run(pos, end);
    }

    /// @dev Runs operations from calldata [pos, end). Each begins with op(1) amount(14); all but TRANSFER have pool(20) next.
    /// op = kind << 3 | mode << 1 | zeroForOne. mode says who receives: 0 this contract, 1 the pool of the next operation,
    /// 2 the caller (inside a callback: the pool that waits for its payment), 3 an address(20) that follows.
    ///
    /// In assembly because the operations are packed bytes and each ABI-encoded call is built in place, once. Memory: only
    /// beyond the free pointer, which isn't moved; every operation builds its call anew.
    function _run(uint256 pos, uint256 end) private {
        bytes4 badProgram = BadProgram.selector;
        bytes4 skipped = CallbackSkipped.selector;
        bytes4 shortfall = Shortfall.selector;
        bytes4 failed = TransferFailed.selector;
        assembly ("memory-safe") {
            function fail(code) {
                mstore(0, code)
                revert(0, 4)
            }
            // The payload of a failed call passes through byte for byte: it says whether we were late or wrong.
            function invoke(target, at, size) {
                if iszero(call(gas(), target, 0, at, size, 0, 0)) {
                    returndatacopy(at, 0, returndatasize())
                    revert(at, returndatasize())
                }
            }
            // Binds the rest of the program to the pool that will hand it back. `at` is where the length of the bytes
            // argument belongs; that word holds the pool while the hash is taken, so pool and data lie side by side.
            function expect(pool, at, next, size, shape) {
                calldatacopy(add(at, 0x20), next, size)
                mstore(at, pool)
                tstore(EXPECTED, or(and(keccak256(at, add(size, 0x20)), not(0xff)), shape))
                mstore(at, size)
            }

            let m := mload(0x40)
            for {} lt(pos, end) {} {
                let word := calldataload(pos)
                let op := byte(0, word)
                let kind := shr(3, op)
                let amount := and(shr(136, word), 0xffffffffffffffffffffffffffff)
                let pool := shr(96, calldataload(add(pos, 15)))
                let next := add(pos, 35)
                if iszero(kind) { next := add(pos, 15) }

                let to := address()
                switch and(shr(1, op), 3)
                case 1 { to := shr(96, calldataload(add(next, 15))) }
                case 2 { to := caller() }
                case 3 {
                    to := shr(96, calldataload(next))
                    next := add(next, 20)
                }
                if gt(next, end) { fail(badProgram) }

                switch kind
                // V2SWAP: the pair already holds its input; empty data, so it does not call back.
                case 1 {
                    mstore(m, 0x022c0d9f00000000000000000000000000000000000000000000000000000000)
                    mstore(add(m, 0x04), 0)
                    mstore(add(m, 0x24), 0)
                    mstore(add(add(m, 0x04), shl(5, and(op, 1))), amount)
                    mstore(add(m, 0x44), to)
                    mstore(add(m, 0x64), 0x80)
                    mstore(add(m, 0x84), 0)
                    invoke(pool, m, 0xa4)
                    pos := next
                }
                // V3SWAP: exact input; the pool pays out, then calls back with the rest of the program.
                case 3 {
                    let size := sub(end, next)
                    mstore(m, 0x128acb0800000000000000000000000000000000000000000000000000000000)
                    mstore(add(m, 0x04), to)
                    mstore(add(m, 0x24), and(op, 1))
                    mstore(add(m, 0x44), amount)
                    // No price limit: MAX_SQRT_RATIO - 1 upwards, MIN_SQRT_RATIO + 1 downwards.
                    mstore(add(m, 0x64), 0xfffd8963efd1fc6a506488495d951d5263988d25)
                    if and(op, 1) { mstore(add(m, 0x64), 4295128740) }
                    mstore(add(m, 0x84), 0xa0)
                    expect(pool, add(m, 0xa4), next, size, 0x64)
                    invoke(pool, m, add(0xc4, size))
                    if tload(EXPECTED) { fail(skipped) }
                    pos := end
                }
                // TRANSFER of the profit token, the only token a program can move from here.
                case 0 {
                    mstore(m, 0xa9059cbb00000000000000000000000000000000000000000000000000000000)
                    mstore(add(m, 0x04), to)
                    mstore(add(m, 0x24), amount)
                    let token := tload(RUNNING)
                    let ok := call(gas(), token, 0, m, 0x44, 0, 0x20)
                    // Tokens may return true or nothing.
                    if ok { ok := or(iszero(returndatasize()), and(gt(returndatasize(), 31), eq(mload(0), 1))) }
                    if iszero(ok) {
                        // Too little came from the pools before: we were late. Otherwise the token refuses.
                        mstore(0, 0x70a0823100000000000000000000000000000000000000000000000000000000)
                        mstore(4, address())
                        if and(staticcall(gas(), token, 0, 0x24, 0, 0x20), gt(returndatasize(), 31)) {
                            let held := mload(0)
                            if lt(held, amount) {
                                mstore(m, shortfall)
                                mstore(add(m, 0x04), held)
                                mstore(add(m, 0x24), amount)
                                revert(m, 0x44)
                            }
                        }
                        fail(failed)
                    }
                    pos := next
                }
                // V2FLASH: pays out here first, then calls back with the rest of the program, which brings the input.
                case 2 {
                    let size := sub(end, next)
                    mstore(m, 0x022c0d9f00000000000000000000000000000000000000000000000000000000)
                    mstore(add(m, 0x04), 0)
                    mstore(add(m, 0x24), 0)
                    mstore(add(add(m, 0x04), shl(5, and(op, 1))), amount)
                    // A pair calls back whoever receives: only we can.
                    mstore(add(m, 0x44), address())
                    mstore(add(m, 0x64), 0x80)
                    expect(pool, add(m, 0x84), next, size, 0x84)
                    invoke(pool, m, add(0xa4, size))
                    if tload(EXPECTED) { fail(skipped) }
                    pos := end
                }
                default { fail(badProgram) }
            }
        }
    }

    function _balance(address token) private view returns (uint256 amount) {
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
    function _transfer(address token, address to, uint256 amount) private returns (bool ok) {
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

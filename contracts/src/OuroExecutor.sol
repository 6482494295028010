// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {ExecutorRoles} from "./ExecutorRoles.sol";

/// @title Ouro's executor: runs one plan of swaps atomically, on credit of the pools or on a loan.
/// @notice An operator (hot key) sends a packed byte program as raw calldata; docs/executor.md has the encoding. The whole
/// gain in the profit token goes to the treasury that only the owner (cold key) can set. A program can move only tokens that
/// it lists; the balance of every listed token is compared with what it was before, and may not have fallen. No approval
/// outlives the operation that gives it. A stolen operator key therefore finds nothing to take.
contract OuroExecutor is ExecutorRoles {
    uint256 private constant BRIBE_GAS = 50_000;

    // What a program's first byte announces beyond block, profit and profit token. 0x20 and above: another version.
    uint256 private constant HAS_DEADLINE = 1;
    uint256 private constant HAS_PARENT = 2;
    uint256 private constant HAS_BRIBE = 4;
    uint256 private constant HAS_TOKENS = 8;
    uint256 private constant HAS_HELD = 16;
    uint256 private constant MAX_TOKENS = 16;

    // Transient slots, far from the storage slots: the build for chains without transient storage (compile.py rewrites
    // every tload and tstore) uses the same numbers. All of them are zero again at the end of each program.
    // Who may call back, with what (see _run); zero when nobody may.
    uint256 private constant EXPECTED = 0x6f75726f00;
    // The Uniswap V4 pool manager, inside its unlock; one further on, the Balancer V3 vault inside its own.
    uint256 private constant MANAGER = 0x6f75726f10;
    // From here on: the listed tokens, each with the LISTED bit. The first is the profit token, which is also the lock
    // against a second program in the same call tree.
    uint256 private constant TOKENS = 0x6f75726f20;
    // From here on: what was held of the listed tokens before, if the program asks to know.
    uint256 private constant HELD = 0x6f75726f40;
    uint256 private constant LISTED = 1 << 160;
    // What of a hash goes into EXPECTED: the shape takes the low byte, and the storage build needs the top bit.
    uint256 private constant HASHED = (1 << 255) - 256;
    // What exchanges are called, four bytes each: exchange with places as int128 and as uint256, exchange_underlying,
    // swap(uint8,uint8,…); with a receiver, exchange as int128 and as uint256, and exchange_received likewise.
    uint256 private constant EXCHANGES = 0x3df021245b41b908a6417ed691695586ddc1f59da64833a0afb43012767691e7;

    constructor(address owner_, address treasury_, address[] memory operators_)
        ExecutorRoles(owner_, treasury_, operators_)
    {}

    /// @dev Native coin comes in while a program unwraps or takes it, never else.
    receive() external payable {
        uint256 running;
        assembly ("memory-safe") {
            running := tload(TOKENS)
        }
        if (running == 0) revert BadCallback();
    }

    // ------------------------------------------------------------------------------------------ programs and callbacks

    /// @dev Not payable. Any selector is a callback while one is expected, otherwise the calldata is a program. The names of
    /// callbacks differ among forks (uniswapV2Call, pancakeCall, joeCall, uniswapV3SwapCallback …); their shapes do not.
    fallback() external {
        uint256 expected;
        assembly ("memory-safe") {
            expected := tload(EXPECTED)
        }
        if (expected == 0) {
            _start();
            return;
        }
        _resume(expected);
        assembly ("memory-safe") {
            // Uniswap V4 (1) wants bytes back, Aave (5) wants true; the others do not look.
            switch and(expected, 0xff)
            case 1 {
                mstore(0, 0x20)
                mstore(0x20, 0)
                return(0, 0x40)
            }
            case 5 {
                mstore(0, 1)
                return(0, 0x20)
            }
        }
    }

    /// @dev Header: flags(1) maxBlock(4, zero for none) minProfit(14) profitToken(20); by flags deadline(5) parentHash(8)
    /// bribe(24) tokens(1 + 20 each); then the operations.
    function _start() private {
        uint256 flags;
        uint256 maxBlock;
        uint256 minProfit;
        address token;
        assembly ("memory-safe") {
            let head := calldataload(0)
            flags := shr(248, head)
            maxBlock := and(shr(216, head), 0xffffffff)
            minProfit := and(shr(104, head), 0xffffffffffffffffffffffffffff)
            token := shr(96, calldataload(19))
        }
        if (maxBlock != 0 && block.number > maxBlock) revert Late();
        uint256 pos = 39;
        if (flags != 0) pos = _guards(flags);
        uint256 word = _words[msg.sender];
        if (word == 0) revert NotOperator();
        if (word & PAUSED != 0) revert IsPaused();

        uint256 running;
        assembly ("memory-safe") {
            running := tload(TOKENS)
        }
        if (running != 0) revert Reentered();
        uint256 held = _balance(token);
        assembly ("memory-safe") {
            tstore(TOKENS, or(LISTED, token))
        }
        if (flags < HAS_TOKENS) {
            _run(pos, msg.data.length);
            _settle(flags, word, token, held, minProfit);
        } else {
            uint256[] memory before;
            (before, pos) = _list(flags, pos, held);
            _run(pos, msg.data.length);
            _settle(flags, word, token, held, minProfit);
            _compare(before);
        }
        // Cleared, not left to the end of the transaction: one transaction may hold two programs.
        assembly ("memory-safe") {
            tstore(TOKENS, 0)
        }
    }

    /// @dev The optional checks that need no storage. Returns where the list of tokens, or the first operation, begins.
    function _guards(uint256 flags) private view returns (uint256 pos) {
        if (flags > 31) revert BadProgram();
        pos = 39;
        if (flags & HAS_DEADLINE != 0) {
            uint256 deadline;
            assembly ("memory-safe") {
                deadline := shr(216, calldataload(pos))
                pos := add(pos, 5)
            }
            if (block.timestamp > deadline) revert Late();
        }
        if (flags & HAS_PARENT != 0) {
            uint256 parent;
            assembly ("memory-safe") {
                parent := shr(192, calldataload(pos))
                pos := add(pos, 8)
            }
            if (uint256(blockhash(block.number - 1)) >> 192 != parent) revert Late();
        }
        if (flags & HAS_BRIBE != 0) pos += 24;
    }

    /// @dev Reads the list of further tokens and what is held of each; index 0 is the profit token.
    function _list(uint256 flags, uint256 pos, uint256 held) private returns (uint256[] memory before, uint256) {
        uint256 count = 0;
        if (flags & HAS_TOKENS != 0) {
            assembly ("memory-safe") {
                count := byte(0, calldataload(pos))
                pos := add(pos, 1)
            }
            if (count >= MAX_TOKENS) revert BadProgram();
        }
        before = new uint256[](count + 1);
        before[0] = held;
        for (uint256 k = 1; k <= count; ++k) {
            address token;
            assembly ("memory-safe") {
                token := shr(96, calldataload(pos))
                pos := add(pos, 20)
                tstore(add(TOKENS, k), or(LISTED, token))
            }
            before[k] = token == address(0) ? address(this).balance : _balance(token);
        }
        if (flags & HAS_HELD != 0) {
            for (uint256 k = 0; k <= count; ++k) {
                uint256 amount = before[k];
                assembly ("memory-safe") {
                    tstore(add(HELD, k), amount)
                }
            }
        }
        return (before, pos);
    }

    /// @dev No listed token's balance may have fallen. The last thing that reads anything: after all payments.
    function _compare(uint256[] memory before) private {
        for (uint256 k = 0; k < before.length; ++k) {
            address token;
            assembly ("memory-safe") {
                token := tload(add(TOKENS, k))
                tstore(add(TOKENS, k), 0)
                tstore(add(HELD, k), 0)
            }
            uint256 now_ = token == address(0) ? address(this).balance : _balance(token);
            if (now_ < before[k]) revert BalanceFell(token);
        }
    }

    /// @dev The gain is what the balance says, never what anybody claims. It may not be negative even where no profit is
    /// asked for: a stolen operator key asks for none.
    function _settle(uint256 flags, uint256 word, address token, uint256 held, uint256 minProfit) private {
        uint256 got = _balance(token);
        if (got < held) revert Shortfall(0, minProfit);
        unchecked {
            got -= held;
        }
        if (flags & HAS_BRIBE != 0) got -= _bribe(flags, word, token, got);
        if (got < minProfit) revert Shortfall(got, minProfit);
        address to = address(uint160(word));
        if (got != 0 && to != address(this) && !_transfer(token, to, got)) revert TransferFailed();
    }

    /// @dev share(3) kind(1) recipient(20): kind bit 0: to the recipient, who is on the owner's list, else to the block's fee
    /// recipient; bit 1: as tokens, else unwrapped. The native balance tells whether the token really unwraps.
    function _bribe(uint256 flags, uint256 word, address token, uint256 gain) private returns (uint256 amount) {
        uint256 packed;
        uint256 pos = 39 + (flags & HAS_DEADLINE) * 5 + (flags & HAS_PARENT) * 4;
        assembly ("memory-safe") {
            packed := shr(64, calldataload(pos))
        }
        uint256 share = packed >> 168;
        if (share > (word >> CAP_AT) & 0xffffff) revert BribeRefused();
        amount = gain * share / MILLION;
        if (amount == 0) return 0;
        address to = block.coinbase;
        if (packed & (1 << 160) != 0) {
            to = address(uint160(packed));
            if (!isBribeRecipient[to]) revert BribeRefused();
        }
        if (packed & (2 << 160) != 0) {
            if (!_transfer(token, to, amount)) revert BribeRefused();
            return amount;
        }
        uint256 before = address(this).balance;
        (bool ok,) = token.call(abi.encodeWithSelector(0x2e1a7d4d, amount));
        // Bounded gas: the recipient is the builder, who may burn what it gets.
        if (ok) (ok,) = to.call{value: amount, gas: BRIBE_GAS}("");
        if (!ok || address(this).balance < before) revert BribeRefused();
    }

    /// @dev A callback continues the program with exactly the bytes that were handed to exactly this caller. The amounts
    /// that it claims are ignored: what is paid is in the program, what came is in the balances.
    function _resume(uint256 expected) private {
        uint256 pos;
        uint256 end;
        bool authentic;
        assembly ("memory-safe") {
            // The low byte of the word says which argument is the offset of the bytes that come back; their length comes
            // first. All shapes that we ask for have them at one place only.
            let shape := and(expected, 0xff)
            let at := add(4, shl(5, shape))
            let size := calldataload(at)
            pos := add(at, 0x20)
            end := add(pos, size)
            // A foreign size is not copied: it would only burn gas.
            if lt(size, calldatasize()) {
                let m := mload(0x40)
                mstore(m, caller())
                calldatacopy(add(m, 0x20), pos, size)
                authentic := eq(or(and(keccak256(m, add(size, 0x20)), HASHED), shape), expected)
                // V2 pairs (4) and Aave (5) tell who asked: nobody but us.
                if eq(shape, 4) { authentic := and(authentic, eq(calldataload(4), address())) }
                if eq(shape, 5) { authentic := and(authentic, eq(calldataload(0x64), address())) }
                tstore(EXPECTED, 0)
            }
        }
        if (!authentic) revert BadCallback();
        _run(pos, end);
    }

    /// @dev Runs operations from calldata [pos, end). Each begins with op(1) amount(14); docs/executor.md says what follows.
    /// op = kind << 3 | mode << 1 | zeroForOne. mode says who receives: 0 this contract, 1 the pool of the next operation,
    /// 2 the caller (inside a callback: the pool that waits for its payment), 3 an address(20) that follows. Amount zero
    /// stands for the register: the last result of RECEIVED, V2_IN or V4_SWAP in this callback.
    ///
    /// In assembly because the operations are packed bytes and each ABI-encoded call is built in place, once. Memory: only
    /// beyond the free pointer, which isn't moved; every operation builds its call anew.
    function _run(uint256 pos, uint256 end) private {
        assembly ("memory-safe") {
            function fail(code) {
                mstore(0, shl(224, code))
                revert(0, 4)
            }
            // The payload of a failed call passes through byte for byte: it says whether we were late or wrong.
            function invoke(target, value, at, size) {
                if iszero(call(gas(), target, value, at, size, 0, 0)) {
                    returndatacopy(at, 0, returndatasize())
                    revert(at, returndatasize())
                }
            }
            // Binds the rest of the program to the pool that will hand it back. `at` is where the length of the bytes
            // argument belongs; that word holds the pool while the hash is taken, so pool and data lie side by side.
            // Then calls, and makes sure that the callback came.
            function lend(pool, m, at, next, size, shape) {
                calldatacopy(add(at, 0x20), next, size)
                mstore(at, pool)
                tstore(EXPECTED, or(and(keccak256(at, add(size, 0x20)), HASHED), shape))
                mstore(at, size)
                invoke(pool, 0, m, sub(add(add(at, 0x20), size), m))
                if tload(EXPECTED) { fail(0x4b520fc3) } // CallbackSkipped
            }
            // Yul evaluates arguments from the last to the first: the call before the size of what it returned.
            function balance_(token) -> amount {
                mstore(0, 0x70a0823100000000000000000000000000000000000000000000000000000000)
                mstore(4, address())
                if iszero(and(gt(returndatasize(), 31), staticcall(gas(), token, 0, 0x24, 0, 0x20))) {
                    fail(0x1afa0fef) // BalanceUnreadable
                }
                amount := mload(0)
            }
            // Tokens may return true or nothing. All tokens that get here have answered balanceOf: they have code.
            function accepted(token, at, size) -> ok {
                ok := call(gas(), token, 0, at, size, 0, 0x20)
                if ok { ok := or(iszero(returndatasize()), and(gt(returndatasize(), 31), eq(mload(0), 1))) }
            }
            function send(token, m, to, amount) {
                mstore(m, 0xa9059cbb00000000000000000000000000000000000000000000000000000000)
                mstore(add(m, 0x04), to)
                mstore(add(m, 0x24), amount)
                if iszero(accepted(token, m, 0x44)) {
                    // Too little came from the pools before: we were late. Otherwise the token refuses.
                    let held := balance_(token)
                    if lt(held, amount) {
                        mstore(m, 0xb4e2002f00000000000000000000000000000000000000000000000000000000) // Shortfall
                        mstore(add(m, 0x04), held)
                        mstore(add(m, 0x24), amount)
                        revert(m, 0x44)
                    }
                    fail(0x90b8ec18) // TransferFailed
                }
            }
            function approve_(token, m, spender, amount) {
                mstore(m, 0x095ea7b300000000000000000000000000000000000000000000000000000000)
                mstore(add(m, 0x04), spender)
                mstore(add(m, 0x24), amount)
                if iszero(accepted(token, m, 0x44)) { fail(0x90b8ec18) } // TransferFailed
            }
            // Ends an approval of which the spender may have left something. Who does not answer gets the zero as well.
            function revoke(token, m, spender) {
                mstore(m, 0xdd62ed3e00000000000000000000000000000000000000000000000000000000)
                mstore(add(m, 0x04), address())
                mstore(add(m, 0x24), spender)
                let known := and(gt(returndatasize(), 31), staticcall(gas(), token, m, 0x44, 0, 0x20))
                if iszero(and(known, iszero(mload(0)))) { approve_(token, m, spender, 0) }
            }
            // The token of a list index, its LISTED bit taken off. What isn't on the list can't be moved.
            function listed(index) -> token {
                token := tload(add(TOKENS, index))
                if or(gt(index, 15), iszero(token)) { fail(0x763c9dd0) } // BadProgram
                token := xor(token, LISTED)
            }
            function erc20(index) -> token {
                token := listed(index)
                if iszero(token) { fail(0x763c9dd0) } // BadProgram
            }
            function pairCall(m, zeroForOne, amount, to) {
                mstore(m, 0x022c0d9f00000000000000000000000000000000000000000000000000000000)
                mstore(add(m, 0x04), 0)
                mstore(add(m, 0x24), 0)
                mstore(add(add(m, 0x04), shl(5, zeroForOne)), amount)
                mstore(add(m, 0x44), to)
                mstore(add(m, 0x64), 0x80)
            }
            // No price limit: MAX_SQRT_RATIO - 1 upwards, MIN_SQRT_RATIO + 1 downwards.
            function priceLimit(zeroForOne) -> limit {
                limit := 0xfffd8963efd1fc6a506488495d951d5263988d25
                if zeroForOne { limit := 4295128740 }
            }
            function reserves(pool) {
                mstore(0, 0x0902f1ac00000000000000000000000000000000000000000000000000000000)
                if iszero(and(gt(returndatasize(), 63), staticcall(gas(), pool, 0, 4, 0, 0x40))) {
                    fail(0x763c9dd0) // BadProgram
                }
            }
            // Memory 0 and 0x20 hold the reserves. Fee in parts per million; the same floor as the pairs' routers.
            function pairOut(zeroForOne, amount, fee) -> out {
                let rIn := mload(shl(5, iszero(zeroForOne)))
                let rOut := mload(shl(5, zeroForOne))
                let net := mul(amount, sub(1000000, fee))
                out := div(mul(net, rOut), add(mul(rIn, 1000000), net))
            }
            function v4swap(m, zeroForOne, amount, pos_, hooks) -> out {
                mstore(m, 0xf3cd914c00000000000000000000000000000000000000000000000000000000)
                mstore(add(m, 0x04), shr(96, calldataload(add(pos_, 15))))
                mstore(add(m, 0x24), shr(96, calldataload(add(pos_, 35))))
                let small := calldataload(add(pos_, 55))
                mstore(add(m, 0x44), shr(232, small))
                mstore(add(m, 0x64), and(shr(208, small), 0xffffff))
                mstore(add(m, 0x84), hooks)
                mstore(add(m, 0xa4), zeroForOne)
                mstore(add(m, 0xc4), sub(0, amount))
                mstore(add(m, 0xe4), priceLimit(zeroForOne))
                mstore(add(m, 0x104), 0x120)
                mstore(add(m, 0x124), 0)
                let manager := tload(MANAGER)
                invoke(manager, 0, m, 0x144)
                returndatacopy(0, 0, 0x20)
                // BalanceDelta: amount0 in the high half, amount1 in the low one; what comes out is positive.
                out := mload(0)
                switch zeroForOne
                case 0 { out := sar(128, out) }
                default { out := signextend(15, out) }
                if slt(out, 0) { fail(0x86ceaa08) } // Late
            }
            function sync(m, currency) {
                mstore(m, 0xa584119400000000000000000000000000000000000000000000000000000000)
                mstore(add(m, 0x04), currency)
                invoke(tload(MANAGER), 0, m, 0x24)
            }
            function settle(m, value) {
                mstore(m, 0x11da60b400000000000000000000000000000000000000000000000000000000)
                invoke(tload(MANAGER), value, m, 4)
            }

            let r := 0
            let m := mload(0x40)
            for {} lt(pos, end) {} {
                let op := calldataload(pos)
                let amount := and(shr(136, op), 0xffffffffffffffffffffffffffff)
                op := byte(0, op)
                let pool := shr(96, calldataload(add(pos, 15)))
                // Lengths of the kinds 0 … 26, a byte each.
                let next := add(pos, byte(shr(3, op), 0x0f23232310261023233d2310230f2423322411102326582324244b0000000000))
                let to := address()
                switch and(shr(1, op), 3)
                case 1 { to := shr(96, calldataload(add(next, 15))) }
                case 2 { to := caller() }
                case 3 {
                    to := shr(96, calldataload(next))
                    next := add(next, 20)
                }
                if gt(next, end) { fail(0x763c9dd0) } // BadProgram
                if iszero(amount) { if iszero(or(eq(shr(3, op), 6), eq(shr(3, op), 7))) { amount := r } }

                switch shr(3, op)
                // V2_SWAP: the pair already holds its input; empty data, so it does not call back.
                case 1 {
                    pairCall(m, and(op, 1), amount, to)
                    mstore(add(m, 0x84), 0)
                    invoke(pool, 0, m, 0xa4)
                }
                // V3_SWAP: exact input; the pool pays out, then calls back with the rest of the program.
                case 3 {
                    mstore(m, 0x128acb0800000000000000000000000000000000000000000000000000000000)
                    mstore(add(m, 0x04), to)
                    mstore(add(m, 0x24), and(op, 1))
                    mstore(add(m, 0x44), amount)
                    mstore(add(m, 0x64), priceLimit(and(op, 1)))
                    mstore(add(m, 0x84), 0xa0)
                    lend(pool, m, add(m, 0xa4), next, sub(end, next), 3)
                    next := end
                }
                // TRANSFER of the profit token.
                case 0 { send(xor(tload(TOKENS), LISTED), m, to, amount) }
                // V2_FLASH: pays out here first, then calls back with the rest of the program, which brings the input.
                case 2 {
                    // A pair calls back whoever receives: only we can.
                    pairCall(m, and(op, 1), amount, address())
                    lend(pool, m, add(m, 0x84), next, sub(end, next), 4)
                    next := end
                }
                // SEND: a transfer of any listed token.
                case 4 { send(erc20(byte(0, calldataload(add(pos, 15)))), m, to, amount) }
                // V2_IN: like V2_SWAP, by the input; the output is computed from the reserves.
                case 5 {
                    reserves(pool)
                    r := pairOut(and(op, 1), amount, shr(232, calldataload(add(pos, 35))))
                    pairCall(m, and(op, 1), r, to)
                    mstore(add(m, 0x84), 0)
                    invoke(pool, 0, m, 0xa4)
                }
                // RECEIVED: what came of a listed token so far, less the amount, into the register.
                case 6 {
                    let index := byte(0, calldataload(add(pos, 15)))
                    r := listed(index)
                    switch r
                    case 0 { r := selfbalance() }
                    default { r := balance_(r) }
                    r := sub(sub(r, tload(add(HELD, index))), amount)
                    // Nothing there, or less than nothing.
                    if or(iszero(r), shr(112, r)) { fail(0x86ceaa08) } // Late
                }
                // GUARD_V2: a pair's reserve 0 (or 1) is what it was.
                case 7 {
                    reserves(pool)
                    if sub(amount, mload(shl(5, and(op, 1)))) { fail(0x86ceaa08) } // Late
                }
                // UNLOCK of a Uniswap V4 manager; the rest of the program runs inside. zeroForOne: of a Balancer V3 vault,
                // which calls back with nothing but the bytes that it gets. So they are the whole callback.
                case 8 {
                    let place := add(MANAGER, and(op, 1))
                    let at := add(m, 0x24)
                    tstore(place, pool)
                    mstore(m, 0x48c8949100000000000000000000000000000000000000000000000000000000)
                    mstore(add(m, 0x04), 0x20)
                    if and(op, 1) {
                        mstore(at, add(0x44, sub(end, next)))
                        mstore(add(m, 0x44), 0)
                        mstore(add(m, 0x48), 0x20)
                        at := add(m, 0x68)
                    }
                    lend(pool, m, at, next, sub(end, next), 1)
                    tstore(place, 0)
                    next := end
                }
                // V4_SWAP: exact input; only the manager's books change. mode 3: the pool has hooks.
                case 9 {
                    if iszero(and(op, 6)) { to := 0 }
                    r := v4swap(m, and(op, 1), amount, pos, to)
                }
                // TAKE a currency from the manager; zeroForOne: from the Balancer V3 vault.
                case 10 {
                    mstore(m, 0x0b0d9c0900000000000000000000000000000000000000000000000000000000)
                    if and(op, 1) { mstore(m, 0xae63932900000000000000000000000000000000000000000000000000000000) }
                    mstore(add(m, 0x04), pool)
                    mstore(add(m, 0x24), to)
                    mstore(add(m, 0x44), amount)
                    invoke(tload(add(MANAGER, and(op, 1))), 0, m, 0x64)
                }
                // SETTLE: pay the manager in a listed token or the native coin; zeroForOne: the Balancer V3 vault, in a token.
                case 11 {
                    let token := listed(byte(0, calldataload(add(pos, 15))))
                    if and(op, 1) {
                        let vault := tload(add(MANAGER, 1))
                        send(token, m, vault, amount)
                        mstore(m, 0x15afd40900000000000000000000000000000000000000000000000000000000)
                        mstore(add(m, 0x04), token)
                        mstore(add(m, 0x24), amount)
                        invoke(vault, 0, m, 0x44)
                        pos := next
                        continue
                    }
                    if token {
                        sync(m, token)
                        send(token, m, tload(MANAGER), amount)
                        amount := 0
                    }
                    settle(m, amount)
                }
                // SYNC … SETTLED: what pools send straight to the manager in between counts as our payment.
                case 12 { sync(m, pool) }
                case 13 { settle(m, 0) }
                // LOAN_BALANCER: no fee, paid back by a transfer within the rest of the program.
                case 14 {
                    mstore(m, 0x5c38449e00000000000000000000000000000000000000000000000000000000)
                    mstore(add(m, 0x04), address())
                    mstore(add(m, 0x24), 0x80)
                    mstore(add(m, 0x44), 0xc0)
                    mstore(add(m, 0x64), 0x100)
                    mstore(add(m, 0x84), 1)
                    mstore(add(m, 0xa4), erc20(byte(0, calldataload(add(pos, 35)))))
                    mstore(add(m, 0xc4), 1)
                    mstore(add(m, 0xe4), amount)
                    lend(pool, m, add(m, 0x104), next, sub(end, next), 10)
                    next := end
                }
                // LOAN_V3: the pool's fee, paid back by a transfer.
                case 15 {
                    mstore(m, 0x490e6cbc00000000000000000000000000000000000000000000000000000000)
                    mstore(add(m, 0x04), address())
                    mstore(add(m, 0x24), 0)
                    mstore(add(m, 0x44), 0)
                    mstore(add(add(m, 0x24), shl(5, and(op, 1))), amount)
                    mstore(add(m, 0x64), 0x80)
                    lend(pool, m, add(m, 0x84), next, sub(end, next), 3)
                    next := end
                }
                // LOAN_AAVE: pulled back with its fee, by an approval that ends with this operation.
                case 16 {
                    let token := erc20(byte(0, calldataload(add(pos, 35))))
                    approve_(token, m, pool, add(amount, shr(144, calldataload(add(pos, 36)))))
                    mstore(m, 0x42b0b77c00000000000000000000000000000000000000000000000000000000)
                    mstore(add(m, 0x04), address())
                    mstore(add(m, 0x24), token)
                    mstore(add(m, 0x44), amount)
                    mstore(add(m, 0x64), 0xa0)
                    mstore(add(m, 0x84), 0)
                    lend(pool, m, add(m, 0xa4), next, sub(end, next), 5)
                    approve_(token, m, pool, 0)
                    next := end
                }
                // LOAN_MORPHO: the same without a fee.
                case 17 {
                    let token := erc20(byte(0, calldataload(add(pos, 35))))
                    approve_(token, m, pool, amount)
                    mstore(m, 0xe0232b4200000000000000000000000000000000000000000000000000000000)
                    mstore(add(m, 0x04), token)
                    mstore(add(m, 0x24), amount)
                    mstore(add(m, 0x44), 0x60)
                    lend(pool, m, add(m, 0x64), next, sub(end, next), 2)
                    approve_(token, m, pool, 0)
                    next := end
                }
                // WRAP: native coin into a listed token; the native coin has to be listed too.
                case 18 {
                    let both := calldataload(add(pos, 15))
                    if listed(byte(1, both)) { fail(0x763c9dd0) } // BadProgram
                    mstore(m, 0xd0e30db000000000000000000000000000000000000000000000000000000000)
                    invoke(erc20(byte(0, both)), amount, m, 4)
                }
                // UNWRAP
                case 19 {
                    mstore(m, 0x2e1a7d4d00000000000000000000000000000000000000000000000000000000)
                    mstore(add(m, 0x04), amount)
                    invoke(erc20(byte(0, calldataload(add(pos, 15)))), 0, m, 0x24)
                }
                // GUARD_V3: the low 112 bits of a pool's price are what they were. It is the first word of slot0, in
                // Algebra (zeroForOne) of globalState.
                case 20 {
                    mstore(0, 0x3850c7bd00000000000000000000000000000000000000000000000000000000)
                    if and(op, 1) { mstore(0, 0xe76c01e400000000000000000000000000000000000000000000000000000000) }
                    if iszero(and(gt(returndatasize(), 31), staticcall(gas(), pool, 0, 4, 0, 0x20))) {
                        fail(0x763c9dd0) // BadProgram
                    }
                    if sub(amount, and(mload(0), 0xffffffffffffffffffffffffffff)) { fail(0x86ceaa08) } // Late
                }
                // EXCHANGE: from here, by an approval of exactly this. Dialects 0 to 3 pay whoever calls; 6 and 7 swap what
                // the pool has received before, without an approval.
                case 21 {
                    let tail := calldataload(add(pos, 35))
                    let token := listed(byte(0, tail))
                    let dialect := byte(1, tail)
                    let name := shl(224, shr(224, shl(shl(5, dialect), EXCHANGES)))
                    if iszero(name) { fail(0x763c9dd0) } // BadProgram
                    let approves := lt(dialect, 6)
                    let value := 0
                    if approves {
                        switch token
                        case 0 { value := amount }
                        default { approve_(token, m, pool, amount) }
                    }
                    mstore(m, name)
                    let places := byte(2, tail)
                    mstore(add(m, 0x04), shr(4, places))
                    mstore(add(m, 0x24), and(places, 15))
                    mstore(add(m, 0x44), amount)
                    mstore(add(m, 0x64), 0)
                    // Where the others name who receives, swap(uint8,uint8,…) has a deadline: any address is far off.
                    mstore(add(m, 0x84), to)
                    invoke(pool, value, m, add(0x84, shl(5, gt(dialect, 2))))
                    if mul(approves, token) { revoke(token, m, pool) }
                }
                // VAULT: a swap of given input in Balancer V2's vault, which pulls it by an approval of exactly this.
                case 22 {
                    let token := erc20(byte(0, calldataload(add(pos, 67))))
                    approve_(token, m, pool, amount)
                    mstore(m, 0x52bbbe2900000000000000000000000000000000000000000000000000000000)
                    mstore(add(m, 0x04), 0xe0)
                    mstore(add(m, 0x24), address())
                    mstore(add(m, 0x44), 0)
                    mstore(add(m, 0x64), to)
                    mstore(add(m, 0x84), 0)
                    mstore(add(m, 0xa4), 0)
                    mstore(add(m, 0xc4), not(0))
                    mstore(add(m, 0xe4), calldataload(add(pos, 35)))
                    mstore(add(m, 0x104), 0)
                    mstore(add(m, 0x124), token)
                    mstore(add(m, 0x144), shr(96, calldataload(add(pos, 68))))
                    mstore(add(m, 0x164), amount)
                    mstore(add(m, 0x184), 0xc0)
                    mstore(add(m, 0x1a4), 0)
                    invoke(pool, 0, m, 0x1c4)
                    revoke(token, m, pool)
                }
                // BINS: a Liquidity Book pair that already holds its input; it sees itself how much that is.
                case 23 {
                    mstore(m, 0x53c059a000000000000000000000000000000000000000000000000000000000)
                    mstore(add(m, 0x04), and(op, 1))
                    mstore(add(m, 0x24), to)
                    invoke(pool, 0, m, 0x44)
                }
                // ERC4626: deposit into the vault; zeroForOne: redeem shares, which are the listed token itself, so that
                // what isn't on the list can't be burnt either.
                case 24 {
                    let token := erc20(byte(0, calldataload(add(pos, 35))))
                    let burns := and(op, 1)
                    if burns { pool := token }
                    if iszero(burns) { approve_(token, m, pool, amount) }
                    mstore(m, 0x6e553f6500000000000000000000000000000000000000000000000000000000)
                    if burns { mstore(m, 0xba08765200000000000000000000000000000000000000000000000000000000) }
                    mstore(add(m, 0x04), amount)
                    mstore(add(m, 0x24), to)
                    mstore(add(m, 0x44), address())
                    invoke(pool, 0, m, add(0x44, shl(5, burns)))
                    if iszero(burns) { revoke(token, m, pool) }
                }
                // SHARES: wrap(uint256) of wstETH and its like; zeroForOne: unwrap(uint256).
                case 25 {
                    let token := erc20(byte(0, calldataload(add(pos, 35))))
                    let burns := and(op, 1)
                    if burns { pool := token }
                    if iszero(burns) { approve_(token, m, pool, amount) }
                    mstore(m, 0xea598cb000000000000000000000000000000000000000000000000000000000)
                    if burns { mstore(m, 0xde0e9a3e00000000000000000000000000000000000000000000000000000000) }
                    mstore(add(m, 0x04), amount)
                    invoke(pool, 0, m, 0x24)
                    if iszero(burns) { revoke(token, m, pool) }
                }
                // VAULT_SWAP: exact input in the books of Balancer V3's vault.
                case 26 {
                    mstore(m, 0x2bfb780c00000000000000000000000000000000000000000000000000000000)
                    mstore(add(m, 0x04), 0x20)
                    mstore(add(m, 0x24), 0)
                    mstore(add(m, 0x44), pool)
                    mstore(add(m, 0x64), shr(96, calldataload(add(pos, 35))))
                    mstore(add(m, 0x84), shr(96, calldataload(add(pos, 55))))
                    mstore(add(m, 0xa4), amount)
                    mstore(add(m, 0xc4), 0)
                    mstore(add(m, 0xe4), 0xe0)
                    mstore(add(m, 0x104), 0)
                    let vault := tload(add(MANAGER, 1))
                    invoke(vault, 0, m, 0x124)
                    // What was calculated from the input: the output.
                    returndatacopy(0, 0, 0x20)
                    r := mload(0)
                }
                default { fail(0x763c9dd0) } // BadProgram
                pos := next
            }
        }
    }
}

// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Test} from "forge-std/Test.sol";
import {TestToken} from "../src/TestToken.sol";
import {Actor, IToken} from "../src/Actor.sol";

interface IERC20 {
    function balanceOf(address) external view returns (uint256);
    function allowance(address, address) external view returns (uint256);
    function transfer(address, uint256) external returns (bool);
    function approve(address, uint256) external returns (bool);
    function deposit() external payable;
}

interface IFactory {
    function createPair(address, address) external returns (address);
    function createPool(address, address, uint24) external returns (address);
}

interface IPair {
    function swap(uint256, uint256, address, bytes calldata) external;
    function mint(address) external returns (uint256);
    function getReserves() external view returns (uint112, uint112, uint32);
    function token0() external view returns (address);
}

interface IPool {
    function initialize(uint160) external;
    function mint(address, int24, int24, uint128, bytes calldata) external returns (uint256, uint256);
}

interface IExecutor {
    error NotOwner();
    error NotOperator();
    error IsPaused();

    function setOperator(address, bool) external;
    function setTreasury(address) external;
    function setBribeCap(uint256) external;
    function setBribeRecipient(address, bool) external;
    function offerOwnership(address) external;
    function acceptOwnership() external;
    function withdraw(address, address, uint256) external;
    function pause() external;
    function unpause() external;
    function isOperator(address) external view returns (bool);
    function operators() external view returns (address[] memory);
}

/// @notice Two pairs and a V3 pool of wrapped native and a token at three prices, Uniswap V4's manager, and the executor as it
/// ships. All bytecode comes from files.
abstract contract World is Test {
    IExecutor executor;
    IERC20 weth;
    IERC20 token;
    IPair[2] pairs;
    IPool pool;
    address manager;
    Actor actor;
    address owner = address(0xa1);
    address operator = address(0xa2);
    address treasury = address(0xa3);
    uint256 heldWeth;
    uint256 heldToken;
    uint256 heldNative;
    uint256 paidOut;

    function build() internal {
        vm.deal(address(this), 1e24);
        weth = IERC20(make("@uniswap/v2-periphery@1.1.0-beta.0/build/WETH9.json", ".bytecode", ""));
        weth.deposit{value: 1e23}();
        token = IERC20(address(new TestToken("T", "T", 18, 1e30)));
        bytes memory me = abi.encode(address(this));
        string memory sushi = "@sushiswap/sushiswap@0.1.1/deployments/arbitrum/UniswapV2Factory.json";
        pairs[0] = pairOf(make("@uniswap/v2-core@1.0.1/build/UniswapV2Factory.json", ".bytecode", me), 1000);
        pairs[1] = pairOf(make(sushi, ".bytecode", me), 950);
        string memory v3 = "@uniswap/v3-core@1.0.1/artifacts/contracts/UniswapV3Factory.sol/UniswapV3Factory.json";
        pool = IPool(IFactory(make(v3, ".bytecode", "")).createPool(address(weth), address(token), 3000));
        // 975 tokens for a wrapped native coin: between the pairs.
        pool.initialize(
            address(weth) < address(token)
                ? 2473898581591818962563535461920
                : 2537331878555711756475420986
        );
        pool.mint(address(this), -887220, 887220, 1e21, "");
        manager = make("@uniswap/v4-core@1.0.2/out/PoolManager.sol/PoolManager.json", ".bytecode.object", me);
        weth.transfer(manager, 1e20);
        address[] memory operators = new address[](1);
        operators[0] = operator;
        string memory build_ = vm.envOr("OURO_BUILD", string("OuroExecutor"));
        string memory shipped = vm.readFile(string.concat("../src/ouro/execution/artifacts/", build_, ".json"));
        executor = IExecutor(
            create(
                abi.encodePacked(
                    vm.parseBytes(vm.parseJsonString(shipped, ".bytecode")), abi.encode(owner, treasury, operators)
                )
            )
        );
        actor = new Actor(address(executor), IToken(address(weth)), IToken(address(token)));
        weth.transfer(address(actor), 1e18);
        vm.roll(100);
        vm.warp(1_700_000_000);
    }

    /// @dev Something to steal.
    function fill() internal {
        heldWeth = 5e18;
        heldToken = 7e18;
        heldNative = 3e18;
        weth.transfer(address(executor), heldWeth);
        token.transfer(address(executor), heldToken);
        vm.deal(address(executor), heldNative);
    }

    function checkNothingLost() internal view {
        assertGe(weth.balanceOf(address(executor)), heldWeth);
        assertGe(token.balanceOf(address(executor)), heldToken);
        assertGe(address(executor).balance, heldNative);
        address[9] memory spenders = [
            operator,
            address(actor),
            address(pairs[0]),
            address(pairs[1]),
            address(pool),
            manager,
            address(weth),
            address(token),
            address(executor)
        ];
        for (uint256 k = 0; k < 9; ++k) {
            assertEq(weth.allowance(address(executor), spenders[k]), 0);
            assertEq(token.allowance(address(executor), spenders[k]), 0);
        }
    }

    function uniswapV3MintCallback(uint256 amount0, uint256 amount1, bytes calldata) external {
        bool first = address(weth) < address(token);
        weth.transfer(msg.sender, first ? amount0 : amount1);
        token.transfer(msg.sender, first ? amount1 : amount0);
    }

    function make(string memory path, string memory key, bytes memory arguments) internal returns (address) {
        string memory json = vm.readFile(string.concat("../.cache/contracts/", path));
        string memory code = vm.parseJsonString(json, key);
        if (bytes(code)[1] != "x") code = string.concat("0x", code);
        return create(abi.encodePacked(vm.parseBytes(code), arguments));
    }

    function create(bytes memory code) internal returns (address made) {
        assembly {
            made := create(0, add(code, 0x20), mload(code))
        }
        require(made != address(0), "not deployed");
    }

    function pairOf(address factory, uint256 price) internal returns (IPair pair) {
        pair = IPair(IFactory(factory).createPair(address(weth), address(token)));
        weth.transfer(address(pair), 100e18);
        token.transfer(address(pair), 100e18 * price);
        pair.mint(address(this));
    }

    function attempt(address caller, bytes memory data) internal returns (bool ok, bytes memory out) {
        vm.prank(caller);
        (ok, out) = address(executor).call(data);
    }

    function execute(bytes memory program) internal {
        (bool ok, bytes memory out) = attempt(operator, program);
        if (!ok) {
            assembly {
                revert(add(out, 0x20), mload(out))
            }
        }
    }

    function header(uint112 floor) internal view returns (bytes memory) {
        return abi.encodePacked(uint8(0), uint32(0), floor, address(weth));
    }

    function quote(IPair pair, address tokenIn, uint256 amount) internal view returns (uint256) {
        (uint256 a, uint256 b,) = pair.getReserves();
        if (pair.token0() != tokenIn) (a, b) = (b, a);
        return amount * 997 * b / (a * 1000 + amount * 997);
    }

    function op(uint8 kind, uint8 mode, bool zeroForOne) internal pure returns (uint8) {
        return kind << 3 | mode << 1 | (zeroForOne ? 1 : 0);
    }

    /// @dev Wrapped native into pair 0, tokens back through pair 1: flash the second, pay the first.
    function pairCycle(uint256 amount) internal view returns (bytes memory, uint256 gain) {
        uint256 middle = quote(pairs[0], address(weth), amount);
        uint256 back = quote(pairs[1], address(token), middle);
        bool up = address(weth) < address(token);
        if (back <= amount) return (header(0), 0);
        gain = back - amount;
        return (
            abi.encodePacked(
                header(uint112(gain)),
                abi.encodePacked(op(2, 0, !up), uint112(back), address(pairs[1])),
                abi.encodePacked(op(0, 1, false), uint112(amount)),
                abi.encodePacked(op(1, 2, up), uint112(middle), address(pairs[0]))
            ),
            gain
        );
    }

    /// @dev Wrapped native into pair 0, tokens back through the V3 pool, all amounts as they come.
    function v3Cycle(uint256 amount, uint112 floor) internal view returns (bytes memory) {
        uint256 middle = quote(pairs[0], address(weth), amount);
        bool up = address(weth) < address(token);
        return abi.encodePacked(
            header(floor),
            abi.encodePacked(op(3, 0, !up), uint112(middle), address(pool)),
            abi.encodePacked(op(0, 1, false), uint112(amount)),
            abi.encodePacked(op(1, 2, up), uint112(middle), address(pairs[0]))
        );
    }

    /// @dev Borrow from the manager and give back.
    function v4Loan(uint256 amount) internal view returns (bytes memory) {
        return abi.encodePacked(
            header(0),
            abi.encodePacked(op(8, 0, false), uint112(0), manager),
            abi.encodePacked(op(10, 0, false), uint112(amount), address(weth)),
            abi.encodePacked(op(11, 0, false), uint112(amount), uint8(0))
        );
    }

    function trade(uint256 amount, bool up) internal {
        address tokenIn = up ? address(weth) : address(token);
        uint256 out = quote(pairs[0], tokenIn, amount);
        IERC20(tokenIn).transfer(address(pairs[0]), amount);
        bool zero = pairs[0].token0() == tokenIn;
        pairs[0].swap(zero ? 0 : out, zero ? out : 0, address(this), "");
    }

    /// @dev Well-formed operations on real pools, tokens, the actor and the executor itself; everything is listed.
    function randomProgram(uint256[8] memory seeds) internal view returns (bytes memory program) {
        program = abi.encodePacked(
            uint8(8 + 16 * (seeds[0] & 1)), bytes18(0), address(weth), uint8(2), address(token), address(0)
        );
        uint256 count = 1 + (seeds[0] >> 8) % 8;
        for (uint256 k = 0; k < count; ++k) {
            program = bytes.concat(program, randomOp(seeds[k]));
        }
    }

    function randomOp(uint256 seed) internal view returns (bytes memory) {
        uint8 kind = uint8(seed % 27);
        uint8 mode = uint8((seed >> 16) % 4);
        address target = somebody(seed >> 24);
        address to = mode == 3 ? somebody(seed >> 32) : address(0);
        uint112[6] memory amounts = [uint112(0), 1, 1e15, 3e18, 5e18, 7e18];
        uint112 amount = amounts[(seed >> 40) % 6];
        uint8 index = uint8((seed >> 48) % 4);
        bytes memory tail = mode == 3 ? abi.encodePacked(to) : bytes("");
        bytes memory head = abi.encodePacked(op(kind, mode, (seed >> 56) & 1 == 1), amount);
        if (kind == 0 || kind == 13) return bytes.concat(head, tail);
        if (kind == 4 || kind == 6 || kind == 11 || kind == 19) return abi.encodePacked(head, index, tail);
        if (kind == 5) return abi.encodePacked(head, target, uint24(3000), tail);
        if (kind == 9) return abi.encodePacked(head, address(0), target, uint24(3000), uint24(60), tail);
        if (kind == 14 || kind == 17) return abi.encodePacked(head, target, index, tail);
        if (kind == 16) return abi.encodePacked(head, target, index, uint112(0), tail);
        if (kind == 18) return abi.encodePacked(head, index, uint8((seed >> 64) % 4), tail);
        if (kind > 20) return abi.encodePacked(head, venueTail(kind, seed, target, index), tail);
        return abi.encodePacked(head, target, tail);
    }

    /// @dev What follows op and amount where a venue pulls its input, or has it already.
    function venueTail(uint8 kind, uint256 seed, address target, uint8 index) internal view returns (bytes memory) {
        address other = somebody(seed >> 80);
        if (kind == 21) {
            return abi.encodePacked(target, index, uint8((seed >> 88) % 9), uint8(seed >> 96));
        }
        if (kind == 22) return abi.encodePacked(target, bytes32(seed), index, other);
        if (kind == 26) return abi.encodePacked(target, address(token), other);
        if (kind == 23) return abi.encodePacked(target);
        return abi.encodePacked(target, index);
    }

    function somebody(uint256 seed) internal view returns (address) {
        address[9] memory all = [
            address(actor),
            address(actor),
            address(pairs[0]),
            address(pairs[1]),
            address(pool),
            manager,
            address(weth),
            address(token),
            address(executor)
        ];
        return all[seed % 9];
    }

    function isOwnFunction(bytes4 name) internal pure returns (bool) {
        string[18] memory own = [
            "owner()",
            "pendingOwner()",
            "treasury()",
            "paused()",
            "bribeCapPpm()",
            "isOperator(address)",
            "isBribeRecipient(address)",
            "operators()",
            "MAX_OPERATORS()",
            "offerOwnership(address)",
            "acceptOwnership()",
            "setOperator(address,bool)",
            "setTreasury(address)",
            "setBribeCap(uint256)",
            "setBribeRecipient(address,bool)",
            "pause()",
            "unpause()",
            "withdraw(address,address,uint256)"
        ];
        for (uint256 k = 0; k < own.length; ++k) {
            if (bytes4(keccak256(bytes(own[k]))) == name) return true;
        }
        return false;
    }
}

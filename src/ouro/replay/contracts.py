"""The chain that a generated recording pretends to be read from: the protocols' real bytecode with storage that
says what the pools' states say, so that plans run in the shadow EVM as they would on a node."""

import json
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyrevm
from eth_abi.abi import encode

from ouro.execution.contract import OPERATORS_SLOT, TREASURY_SLOT, executor_artifact
from ouro.execution.image import ShadowImage
from ouro.execution.slots import BalanceSlot
from ouro.hashing import keccak, selector
from ouro.protocols import uniswap_v2, v3_storage
from ouro.protocols.uniswap_v2 import UniswapV2State
from ouro.protocols.uniswap_v3 import UniswapV3State
from ouro.protocols.v3_storage import mapping_slot
from ouro.types import Address

_TOKEN_FILE = Path(__file__).parents[1] / "testnet" / "artifacts_own" / "TestToken.json"
_TOKEN_BALANCES, _WETH_BALANCES = BalanceSlot("solidity", 2), BalanceSlot("solidity", 3)
_OPERATOR = 1 << 255
_DEPLOYER, _SAMPLE0, _SAMPLE1 = ("0x" + pair * 20 for pair in ("d1", "a3", "c7"))
_COIN_WEI = 10**18
_U128 = (1 << 128) - 1
SPARE = 2
"""Pools hold so many times what their price says: positions out of range and fees owed."""


def image(
    states: Iterable[Any],
    *,
    number: int,
    wrapped_native: Address,
    executor: Address,
    owner: Address,
    operators: Sequence[Address],
) -> ShadowImage:
    """The shadow of a chain with these pools, whose profits go to ``owner``."""
    made = ShadowImage(number, executor, owner)
    made.accounts[executor] = (executor_artifact().runtime_code, 0)
    made.words[executor] = {0: int(owner, 16), 1: 0, TREASURY_SLOT: int(owner, 16)}
    for operator in operators:
        made.accounts[operator] = (b"", 10**24)
        made.words[executor][_mapped(operator, OPERATORS_SLOT)] = _OPERATOR | int(owner, 16)
    for state in states:
        made.pools.append(state.address)
        if isinstance(state, UniswapV2State):
            _add_pair(made, state)
        else:
            _add_concentrated(made, state)
        for token, amount in zip(state.tokens, reserves_of(state), strict=True):
            place = _WETH_BALANCES if token == wrapped_native else _TOKEN_BALANCES
            made.balance_slots[token] = place
            made.words.setdefault(token, {})[place.slot(state.address)] = amount
    weth, plain = _wrapped_code(), _token_code()
    for token, place in made.balance_slots.items():
        made.accounts[token] = (weth if token == wrapped_native else plain, 0)
        # As in steady state: the treasury already has some.
        made.words[token][place.slot(owner)] = 1
    return made


def reserves_of(state: Any) -> tuple[int, int]:
    """Token balances of a pool: a pair's reserves, of a V3 pool what its price and ticks ask for, and some more."""
    if isinstance(state, UniswapV2State):
        return state.reserve0, state.reserve1
    return SPARE * _held(state, True) + _COIN_WEI, SPARE * _held(state, False) + _COIN_WEI


def _held(state: UniswapV3State, first: bool) -> int:
    """Amount of one token in all ranges at once, from the sum over the ranges between ticks."""
    total, active, ticks = 0.0, 0, state.ticks.sorted_ticks
    price = state.sqrt_price_x96 / 2**96
    for low, high in pairwise(ticks):
        active += state.ticks[low][1]
        below, above = 1.0001 ** (low / 2), 1.0001 ** (high / 2)
        if first and above > price:
            start = max(below, price)
            total += active * (above - start) / (above * start)
        elif not first and below < price:
            total += active * (min(above, price) - below)
    return int(total)


def _add_pair(made: ShadowImage, state: UniswapV2State) -> None:
    made.accounts[state.address] = (_pair_code(), 0)
    made.words[state.address] = {
        0: _COIN_WEI,
        6: int(state.tokens[0], 16),
        7: int(state.tokens[1], 16),
        uniswap_v2.RESERVES_SLOT: uniswap_v2.reserves_word(state),
        uniswap_v2.PRICE0_CUMULATIVE_SLOT: state.price0_cumulative,
        uniswap_v2.PRICE1_CUMULATIVE_SLOT: state.price1_cumulative,
        12: 1,
    }


def _add_concentrated(made: ShadowImage, state: UniswapV3State) -> None:
    made.accounts[state.address] = (pool_code(state.address, state.tokens, state.fee_ppm), 0)
    layout = state.layout
    words = {
        **v3_storage.slot0_words(state),
        1: 1,
        2: 1,
        layout.liquidity: v3_storage.liquidity_word(state),
        layout.observations + state.observation_index: v3_storage.observation_word(state),
    }
    for tick, (gross, net) in state.ticks.items():
        base = mapping_slot(tick, layout.ticks)
        words |= {base: gross | (net & _U128) << 128, base + 3: 1 << 248}
    for word in {tick // state.tick_spacing >> 8 for tick in state.ticks}:
        words[mapping_slot(word, layout.bitmap)] = state.ticks.bitmap_word(word, state.tick_spacing)
    made.words[state.address] = words


def _mapped(account: Address, slot: int) -> int:
    return int.from_bytes(keccak(bytes(12) + bytes.fromhex(account[2:]) + slot.to_bytes(32, "big")), "big")


@lru_cache(maxsize=1)
def _pair_code() -> bytes:
    # Imported here: only generating needs the protocols' packages.
    from ouro.testnet.artifacts import artifact

    code = artifact("@uniswap/v2-core", "build/UniswapV2Pair.json").deployed_bytecode
    assert code
    return code


@lru_cache(maxsize=1)
def _wrapped_code() -> bytes:
    from ouro.testnet.artifacts import artifact

    code = artifact("@uniswap/v2-periphery", "build/WETH9.json").deployed_bytecode
    assert code
    return code


@lru_cache(maxsize=1)
def _token_code() -> bytes:
    return bytes.fromhex(json.loads(_TOKEN_FILE.read_text())["deployed_bytecode"].removeprefix("0x"))


@lru_cache(maxsize=8)
def _pool_template(fee_ppm: int) -> tuple[bytes, Address]:
    """A pool as Uniswap's own factory makes it, between two sample tokens; its address is among its immutables."""
    from ouro.testnet.artifacts import artifact

    factory_file = "artifacts/contracts/UniswapV3Factory.sol/UniswapV3Factory.json"
    evm = pyrevm.EVM(spec_id="Cancun")
    evm.insert_account_info(_DEPLOYER, pyrevm.AccountInfo(balance=10**24))  # pyright: ignore[reportCallIssue]
    factory = evm.deploy(_DEPLOYER, artifact("@uniswap/v3-core", factory_file).bytecode)
    arguments = encode(["address", "address", "uint24"], [_SAMPLE0, _SAMPLE1, fee_ppm])
    answer = evm.message_call(_DEPLOYER, factory, selector("createPool(address,address,uint24)") + arguments)
    pool = "0x" + bytes(answer)[12:32].hex()
    code = evm.basic(pool).code
    assert code
    return bytes(code), pool


def pool_code(address: Address, tokens: Sequence[Address], fee_ppm: int) -> bytes:
    """Bytecode of a V3 pool at ``address``: its immutables are the only 32-byte words with these addresses."""
    code, sample = _pool_template(fee_ppm)
    for old, new in zip((_SAMPLE0, _SAMPLE1, sample), (*tokens, address), strict=True):
        code = code.replace(_padded(old), _padded(new))
    return code


def _padded(address: Address) -> bytes:
    return bytes(12) + bytes.fromhex(address[2:])

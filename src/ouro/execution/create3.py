"""Where contracts will be: addresses that depend on who deploys and on a salt, never on the code.

Three links, each fixed by the one before:

1. the deterministic-deployment proxy, at the same address on all chains because its deploying transaction was
   signed by nobody (the signature is made up, the sender follows from it) and has no chain id;
2. our factory (contracts/src/Create3Factory.sol), which that proxy makes by CREATE2 (EIP-1014) from frozen code;
3. the executor: the factory makes a tiny proxy by CREATE2 from the salt, and the proxy's first CREATE is the
   executor.

A salt is the deploying account (20 bytes, enforced by the factory) and a number (12 bytes).
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import sha3
from eth_abi.abi import encode

from ouro.hashing import keccak, selector
from ouro.signer.transactions import rlp_encode
from ouro.types import Address

PROXY: Address = "0x4e59b44847b379578588920ca78fbf26c0b4956c"
"""The deterministic-deployment proxy: calldata is a salt of 32 bytes and creation code, which it CREATE2s."""

PROXY_CODE = bytes.fromhex(
    "7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffe03601600081602082378035828234f5801515603957"
    "8182fd5b8082525050506014600cf3"
)
KEYLESS_SIGNER: Address = "0x3fab184622dc19b6109349b94811493bf2a45362"
KEYLESS_GAS_PRICE_WEI = 100 * 10**9
KEYLESS_GAS = 100_000
KEYLESS_COST_WEI = KEYLESS_GAS_PRICE_WEI * KEYLESS_GAS
"""What the single-use account must hold, to the wei: its transaction can't be changed."""

KEYLESS_RAW = bytes.fromhex(
    "f8a58085174876e800830186a08080b853604580600e600039806000f350fe"
    + PROXY_CODE.hex() + "1ba0" + "22" * 32 + "a0" + "22" * 32
)  # fmt: skip
"""The transaction that deploys ``PROXY``: nonce 0, no chain id, r and s made up."""

NUMBER_BYTES = 12
_FACTORY_SALT = bytes(32)
_INNER_PROXY_HASH = keccak(bytes.fromhex("67363d3d37363d34f03d5260086018f3"))


@dataclass(frozen=True, slots=True)
class Factory:
    """The committed compilation of contracts/src/Create3Factory.sol."""

    creation_code: bytes
    runtime_code: bytes


@cache
def factory_artifact() -> Factory:
    """The factory from the package's own files."""
    raw = json.loads(files("ouro.execution").joinpath("artifacts/Create3Factory.json").read_text())
    code, runtime = (bytes.fromhex(raw[key].removeprefix("0x")) for key in ("bytecode", "deployed_bytecode"))
    return Factory(code, runtime)


def create_address(sender: Address, nonce: int) -> Address:
    """Where the CREATE number ``nonce`` of ``sender`` puts its contract (Yellow Paper, 7)."""
    return "0x" + keccak(rlp_encode([bytes.fromhex(sender[2:]), nonce]))[12:].hex()


def create2_address(creator: Address, salt: bytes, creation_hash: bytes) -> Address:
    """Where ``creator``'s CREATE2 puts code of this hash (EIP-1014)."""
    return "0x" + keccak(b"\xff" + bytes.fromhex(creator[2:]) + salt + creation_hash)[12:].hex()


@cache
def shared_factory() -> Address:
    """The factory's address on every chain that has, or takes, ``PROXY``."""
    return create2_address(PROXY, _FACTORY_SALT, keccak(factory_artifact().creation_code))


def factory_deployment() -> bytes:
    """Calldata for ``PROXY`` that makes the factory."""
    return _FACTORY_SALT + factory_artifact().creation_code


def salt_of(deployer: Address, number: int) -> bytes:
    """The salt that only ``deployer`` can use. Raises ``ValueError`` where ``number`` takes over 12 bytes."""
    if not 0 <= number < 1 << 8 * NUMBER_BYTES:
        raise ValueError(f"salt {number} does not fit into {NUMBER_BYTES} bytes")
    return bytes.fromhex(deployer[2:]) + number.to_bytes(NUMBER_BYTES, "big")


def default_number(owner: Address) -> int:
    """A salt number of this owner's: the same on all chains, another for another owner."""
    return int.from_bytes(keccak(b"ouro executor of " + bytes.fromhex(owner[2:]))[:NUMBER_BYTES], "big")


def address_of_salt(factory: Address, salt: bytes) -> Address:
    """Where ``factory`` puts the contract of ``salt``, whatever its code."""
    return create_address(create2_address(factory, salt, _INNER_PROXY_HASH), 1)


def deploy_call(salt: bytes, creation_code: bytes) -> bytes:
    """Calldata for the factory."""
    return selector("deploy(bytes32,bytes)") + encode(["bytes32", "bytes"], [salt, creation_code])


def mine_number(
    deployer: Address, factory: Address, start: int, seconds: float, clock: Callable[[], float] = time.monotonic
) -> tuple[int, Address]:
    """The salt number, counting up from ``start`` for ``seconds``, whose address is lowest (most leading zeros).

    Each leading zero byte saves 12 gas wherever the address stands in calldata, and takes 256 times the search.
    """
    prefix = b"\xff" + bytes.fromhex(factory[2:]) + bytes.fromhex(deployer[2:])
    modulus = 1 << 8 * NUMBER_BYTES
    hashed = sha3.keccak_256
    best, best_number, number = b"\xff" * 20, start, start
    deadline = clock() + seconds
    while True:
        # The clock costs as much as a hash: asked once in a while.
        for _ in range(512):
            word = number.to_bytes(NUMBER_BYTES, "big")
            inner = hashed(prefix + word + _INNER_PROXY_HASH).digest()[12:]
            found = hashed(b"\xd6\x94" + inner + b"\x01").digest()[12:]
            if found < best:
                best, best_number = found, number
            number = (number + 1) % modulus
        if clock() >= deadline:
            return best_number, "0x" + best.hex()

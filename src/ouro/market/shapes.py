"""Reading the answers of pools: each is hostile until it has the expected shape."""

from ouro.market.multicall import words
from ouro.types import Address


class Garbage(Exception):  # noqa: N818 - it is the contract's, and used as a value too
    """An answer that a contract of this kind does not give."""


def answer_words(answer: bytes | None, count: int, call: str) -> list[int]:
    """Exactly ``count`` words. Raises ``Garbage`` naming the call."""
    if answer is None:
        raise Garbage(f"{call} reverts or takes an absurd amount of gas")
    if len(answer) != 32 * count:
        raise Garbage(f"{call} answers {len(answer)} bytes, {32 * count} are expected")
    return words(answer)


def unsigned(word: int, bits: int, name: str) -> int:
    """A word that fits ``bits``."""
    if word >> bits:
        raise Garbage(f"{name} = {word} does not fit uint{bits}")
    return word


def signed(word: int, bits: int, name: str) -> int:
    """A sign-extended word that fits ``bits``."""
    value = word - (1 << 256) if word >> 255 else word
    if not -(1 << (bits - 1)) <= value < 1 << (bits - 1):
        raise Garbage(f"{name} = {value} does not fit int{bits}")
    return value


def require_tokens(token0: bytes | None, token1: bytes | None, expected: tuple[Address, Address]) -> None:
    """The pool's own tokens are those that its factory announced."""
    for name, answer, token in (("token0()", token0, expected[0]), ("token1()", token1, expected[1])):
        [word] = answer_words(answer, 1, name)
        if word != int(token, 16):
            raise Garbage(f"{name} is 0x{word:040x}, the factory announced {token}")


def set_bits(word: int) -> list[int]:
    """Positions of the set bits, ascending."""
    found = []
    while word:
        lowest = word & -word
        found.append(lowest.bit_length() - 1)
        word ^= lowest
    return found

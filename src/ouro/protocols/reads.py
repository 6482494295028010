"""Asking contracts without I/O: a script yields batches of reads, is sent their answers, and returns what it found.

Whoever drives a script (``market.scripts``) decides how the reads travel. Answers are hostile until they have the
expected shape: the helpers here raise ``Garbage``, which a script lets through as the reason why there is no state.
"""

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from ouro.protocols.errors import Garbage
from ouro.types import Address

__all__ = [
    "Answers",
    "Ask",
    "Garbage",
    "Read",
    "Script",
    "StorageRead",
    "account",
    "answer_words",
    "play",
    "require_tokens",
    "set_bits",
    "signed",
    "uint_word",
    "unsigned",
    "words",
]

_WORD = 32


@dataclass(frozen=True, slots=True)
class Read:
    """One view call: where, its calldata, and the gas that an honest contract needs for it."""

    target: Address
    data: bytes
    gas: int = 20_000


@dataclass(frozen=True, slots=True)
class StorageRead:
    """One word of a contract's storage, for what has no getter."""

    target: Address
    slot: int


Ask: TypeAlias = Read | StorageRead
Answers: TypeAlias = list[bytes | None]
"""In the order of the reads: None for a call that reverts (or burns its gas) even when asked alone and for a word
that the node can't give; a target without code answers with empty bytes; a word has 32 bytes."""

Found = TypeVar("Found")
Script: TypeAlias = Generator[Sequence[Ask], Answers, Found]
"""``answers = yield reads`` as often as it takes, then ``return found``. Many scripts run side by side: what all of
them ask in one round travels together, so it is the rounds that cost."""


def play(script: "Script[Found]", answer: Callable[[Ask], bytes | None]) -> Found:
    """Run one script against ``answer``. Raises ``Garbage`` where the script does. For tests and tools."""
    try:
        asked = next(script)
        while True:
            asked = script.send([answer(read) for read in asked])
    except StopIteration as end:
        return end.value


def uint_word(value: int) -> bytes:
    """ABI word of an integer; negatives as two's complement."""
    return (value % (1 << 256)).to_bytes(_WORD)


def words(data: bytes) -> list[int]:
    """The unsigned words of an answer; a ragged end is left out."""
    return [int.from_bytes(data[k : k + _WORD]) for k in range(0, len(data) - _WORD + 1, _WORD)]


def answer_words(answer: bytes | None, count: int, call: str) -> list[int]:
    """Exactly ``count`` words. Raises ``Garbage`` naming the call."""
    if answer is None:
        raise Garbage(f"{call} reverts or takes an absurd amount of gas")
    if len(answer) != _WORD * count:
        raise Garbage(f"{call} answers {len(answer)} bytes, {_WORD * count} are expected")
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


def account(answer: bytes | None, call: str) -> Address:
    """An address as the whole answer."""
    return "0x" + unsigned(answer_words(answer, 1, call)[0], 160, call).to_bytes(20).hex()


def require_tokens(answers: Iterable[bytes | None], announced: Sequence[Address]) -> None:
    """The pool's own tokens (``token0()``, ``token1()``) are those that its factory announced."""
    for k, (answer, token) in enumerate(zip(answers, announced, strict=True)):
        [word] = answer_words(answer, 1, f"token{k}()")
        if word != int(token, 16):
            raise Garbage(f"token{k}() is 0x{word:040x}, the factory announced {token}")


def set_bits(word: int) -> list[int]:
    """Positions of the set bits, ascending."""
    found = []
    while word:
        lowest = word & -word
        found.append(lowest.bit_length() - 1)
        word ^= lowest
    return found

"""Initialised ticks as contracts keep them, a bitmap and a mapping: reading them, and where their words are."""

from collections.abc import Iterable, Iterator, Sequence

from ouro.protocols.reads import Answers, Read, answer_words, set_bits, signed, uint_word, unsigned
from ouro.protocols.storage import U256, mapping_slot
from ouro.protocols.v3_math import MAX_TICK, MIN_TICK
from ouro.protocols.v3_ticks import WORD_BITS, TickTable
from ouro.types import Address

_WORD_GAS = 5_000


def bitmap_words(tick_spacing: int) -> range:
    """Every bitmap word that can hold a usable tick of this spacing."""
    return range((MIN_TICK // tick_spacing) >> 8, ((MAX_TICK // tick_spacing) >> 8) + 1)


def bitmap_reads(pool: Address, getter: bytes, tick_spacing: int) -> list[Read]:
    """The whole bitmap, word by word; ``getter`` is the selector."""
    return [Read(pool, getter + uint_word(word), _WORD_GAS) for word in bitmap_words(tick_spacing)]


def ticks_of_bitmap(words: Iterable[int], tick_spacing: int) -> list[int]:
    """The initialised ticks of the whole bitmap."""
    return [
        (word * WORD_BITS + bit) * tick_spacing
        for word, bits in zip(bitmap_words(tick_spacing), words, strict=True)
        for bit in set_bits(bits)
    ]


def bitmap_ticks(answers: Answers, tick_spacing: int, name: str) -> list[int]:
    """The same from the answers of ``bitmap_reads``. Raises ``Garbage``."""
    words = (
        answer_words(answer, 1, f"{name}({word})")[0]
        for word, answer in zip(bitmap_words(tick_spacing), answers, strict=True)
    )
    return ticks_of_bitmap(words, tick_spacing)


def tick_reads(pool: Address, getter: bytes, ticks: Sequence[int], gas: int) -> list[Read]:
    """Each tick's entry."""
    return [Read(pool, getter + uint_word(tick), gas) for tick in ticks]


def tick_table(ticks: Sequence[int], answers: Answers, n_words: int, gross_bits: int = 128) -> TickTable:
    """Gross and net liquidity from the first two of ``n_words`` words of each entry. Raises ``Garbage``."""
    found = {}
    for tick, answer in zip(ticks, answers, strict=True):
        gross, net = answer_words(answer, n_words, f"ticks({tick})")[:2]
        found[tick] = (
            unsigned(gross, gross_bits, f"ticks({tick}).liquidityGross"),
            signed(net, 128, f"ticks({tick}).liquidityNet"),
        )
    return TickTable(found)


def tick_slots(ticks: Iterable[int], mapping: int, words: Iterable[int]) -> Iterator[int]:
    """These words of each tick's entry in the mapping at slot ``mapping``."""
    wanted = tuple(words)
    for tick in ticks:
        base = mapping_slot(tick, mapping)
        yield from ((base + word) & U256 for word in wanted)


def bitmap_slots(ticks: Iterable[int], tick_spacing: int, mapping: int) -> Iterator[int]:
    """The words of the bitmap at slot ``mapping`` in which these ticks are."""
    words = {tick // tick_spacing >> 8 for tick in ticks}
    return (mapping_slot(word, mapping) for word in sorted(words))

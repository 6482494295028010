"""Pools found by asking factories, page by page; what their creation events would tell, without the events.

A page is a script (``reads``). Two kinds of factories: those that keep a list (``allPairs``), and those that only
answer for two tokens and a fee (``getPool``), which are asked for every two tokens of the configuration. Every
answer is a stranger's: what is impossible is refused with the reason, and an impossible list is not followed.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations, islice
from typing import Any, Protocol

from ouro.hashing import keccak, selector
from ouro.protocols.creation import MAX_TICK_SPACING, Factory, NewPool
from ouro.protocols.reads import Garbage, Read, Script, answer_words, require_tokens, uint_word, words
from ouro.types import Address

MOST_POOLS = 1_000_000
"""A factory that says it has more is not believed."""
MOST_QUESTIONS = 200_000
"""Pairs of tokens times fees that a factory is asked for; the configuration must name fewer tokens then."""
ITEMS_IN_PAGE, QUESTIONS_IN_PAGE = 400, 2_000
MOST_SILENCE = 200
"""So many items in a row without a pool: the list is not what it says."""


_ZERO = "0x" + "00" * 20
_TOKENS = (selector("token0()"), selector("token1()"))
_GAS = 10_000


@dataclass(slots=True)
class Page:
    """Pools of one page in the factory's order, what was refused, and where the next page begins.

    ``silent`` counts the last items in a row that were none; ``done`` says that nothing comes after.
    """

    pools: list[NewPool] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    following: int = 0
    silent: int = 0
    done: bool = False


class Listing(Protocol):
    """One factory's way of telling its pools. ``identity`` names the order of its items; where it ``grows``, items
    only come after those that are known, else the same questions may have other answers later."""

    @property
    def identity(self) -> str: ...

    @property
    def grows(self) -> bool: ...

    def page(self, first: int, number: int) -> Script[Page]:
        """The page that begins at ``first``, asked at block ``number``. Raises ``Garbage`` for the factory."""
        ...


# ------------------------------------------------------------------------------------------------- factories' lists


@dataclass(frozen=True, slots=True)
class ListKind:
    """Names of a list's two getters, in the dialects that exist, and what its pools tell beside their tokens."""

    dialects: tuple[tuple[str, str], ...]
    more: tuple[bytes, ...] = ()
    take: Callable[[Sequence[bytes | None]], dict[str, Any]] = lambda _: {}


@dataclass(frozen=True, slots=True)
class FactoryList:
    """A factory that keeps a list of all its pools."""

    dex: Factory
    kind: ListKind
    identity: str = "list"
    grows: bool = True

    def page(self, first: int, number: int) -> Script[Page]:
        """Items ``first`` and following."""
        item, length = yield from self._length()
        last = min(length, first + ITEMS_IN_PAGE)
        page = Page(following=max(first, last), done=last >= length)
        if first >= last:
            return page
        factory = self.dex.factory
        answers = yield [Read(factory, item + uint_word(k), _GAS) for k in range(first, last)]
        found: dict[int, Address] = {}
        for k, answer in zip(range(first, last), answers, strict=True):
            try:
                found[k] = _account(answer, f"item {k} of its list")
            except Garbage as garbage:
                page.refused[f"item {k}"] = str(garbage)
        told = yield from _told(list(found.values()), self.kind.more)
        last_pool = first - 1
        for (k, address), answers in zip(found.items(), told, strict=True):
            try:
                page.pools.append(self._pool(address, answers, number))
                last_pool = k
            except Garbage as garbage:
                page.refused[address] = str(garbage)
        page.silent = last - 1 - last_pool
        return page

    def _length(self) -> Script[tuple[bytes, int]]:
        answers = yield [Read(self.dex.factory, selector(name), _GAS) for name, _ in self.kind.dialects]
        for (name, item), answer in zip(self.kind.dialects, answers, strict=True):
            if answer is not None and len(answer) == 32:
                length = words(answer)[0]
                if length > MOST_POOLS:
                    raise Garbage(f"{name} is {length}: not believed, {MOST_POOLS} at most are")
                return selector(item), length
        names = " nor ".join(name for name, _ in self.kind.dialects)
        raise Garbage(f"it does not answer {names}: is it a factory of {self.dex.family}?")

    def _pool(self, address: Address, answers: Sequence[bytes | None], number: int) -> NewPool:
        tokens = _pool_tokens(address, answers)
        more = self.kind.take(answers[2:])
        return listed_pool(self.dex, address, tokens, number, **{"fee_ppm": self.dex.fee_ppm or 0, **more})


@dataclass(frozen=True, slots=True)
class NumberedPools:
    """A factory whose pools a script names from a number on, some at once; none where its list ends."""

    rest: Callable[[int], Script[Sequence[NewPool]]]
    identity: str = "list"
    grows: bool = True

    def page(self, first: int, number: int) -> Script[Page]:
        """What the script names from ``first`` on."""
        pools = yield from self.rest(first)
        dated = [replace(pool, created_block=number) for pool in pools]
        return Page(dated, following=first + len(dated), done=not dated)


def itself(dex: Factory) -> NumberedPools:
    """Nobody announces such pools: the configured contract is the only one."""

    def rest(known: int) -> Script[Sequence[NewPool]]:
        yield from ()  # nothing has to be asked
        return [] if known else [NewPool(dex.name, dex.family, dex.factory, (), 0, factory=dex.factory)]

    return NumberedPools(rest)


PAIRS = ("allPairsLength()", "allPairs(uint256)")
POOLS = ("allPoolsLength()", "allPools(uint256)")


# ---------------------------------------------------------------------------------- factories that are asked by key


@dataclass(frozen=True, slots=True)
class Question:
    """Two tokens in order and what else names a pool of theirs."""

    token0: Address
    token1: Address
    fee_ppm: int = 0
    spacing: int = 0


@dataclass(frozen=True, slots=True)
class AskedByTokens:
    """``getPool(a, b, fee)`` and ``poolByPair(a, b)``."""

    dex: Factory
    tokens: tuple[Address, ...]
    fees: tuple[int, ...] = ()
    grows: bool = False

    @property
    def identity(self) -> str:
        """A digest of the questions."""
        return digest(self.tokens, self.fees)

    def page(self, first: int, number: int) -> Script[Page]:
        """Questions ``first`` and following."""
        tiers = yield from self._tiers()
        every = ((pair, fee) for pair in pairs_of(self.tokens) for fee in self.fees or (0,))
        numbered = list(islice(every, first, first + QUESTIONS_IN_PAGE))
        page = Page(following=first + len(numbered), done=len(numbered) < QUESTIONS_IN_PAGE)
        asked = [Question(*pair, fee, tiers[fee]) for pair, fee in numbered if fee in tiers]
        answers = yield [Read(self.dex.factory, self._data(question), _GAS) for question in asked]
        found: list[tuple[Question, Address]] = []
        unanswered = 0
        for question, answer in zip(asked, answers, strict=True):
            try:
                found += [(question, _account(answer, "the answer", zero=True))]
            except Garbage as garbage:
                unanswered += 1
                page.refused[_named(question)] = str(garbage)
        if asked and unanswered == len(asked):
            raise Garbage(f"it answers none of {len(asked)} questions: is it a factory of {self.dex.family}?")
        found = [(question, address) for question, address in found if address != _ZERO]
        more = (selector("fee()"), selector("tickSpacing()")) if self.fees else ()
        told = yield from _told([address for _, address in found], more)
        for (question, address), answers in zip(found, told, strict=True):
            try:
                page.pools.append(self._pool(question, address, answers, number))
            except Garbage as garbage:
                page.refused[address] = str(garbage)
        return page

    def _tiers(self) -> Script[dict[int, int]]:
        """Spacing of each fee that the factory has."""
        if not self.fees:
            return {0: 0}
        data = selector("feeAmountTickSpacing(uint24)")
        answers = yield [Read(self.dex.factory, data + uint_word(fee), _GAS) for fee in self.fees]
        found: dict[int, int] = {}
        for fee, answer in zip(self.fees, answers, strict=True):
            if answer is not None and len(answer) == 32 and words(answer) != [0]:
                found[fee] = spacing_of(answer, f"feeAmountTickSpacing({fee})")
        if not found:
            raise Garbage(f"it has none of the fees {self.fees}: is it a factory of {self.dex.family}?")
        return found

    def _data(self, question: Question) -> bytes:
        tokens = _word(question.token0) + _word(question.token1)
        if self.fees:
            return selector("getPool(address,address,uint24)") + tokens + uint_word(question.fee_ppm)
        return selector("poolByPair(address,address)") + tokens

    def _pool(self, question: Question, address: Address, answers: Sequence[bytes | None], number: int) -> NewPool:
        _pool_tokens(address, answers)
        require_tokens(answers[:2], (question.token0, question.token1))
        if self.fees:
            for name, answer, wanted in zip(
                ("fee()", "tickSpacing()"), answers[2:], (question.fee_ppm, question.spacing), strict=True
            ):
                [value] = answer_words(answer, 1, name)
                if value != wanted:
                    raise Garbage(f"{name} is {value}, its factory was asked for {wanted}")
        return listed_pool(
            self.dex,
            address,
            (question.token0, question.token1),
            number,
            fee_ppm=question.fee_ppm,
            tick_spacing=question.spacing,
        )


# ----------------------------------------------------------------------------------------------------------- pieces


def _told(addresses: Iterable[Address], more: tuple[bytes, ...]) -> Script[list[list[bytes | None]]]:
    """What pools say of themselves: their tokens, and ``more``."""
    calls = (*_TOKENS, *more)
    answers = yield [Read(address, data, _GAS) for address in addresses for data in calls]
    return [answers[k : k + len(calls)] for k in range(0, len(answers), len(calls))]


def _pool_tokens(address: Address, answers: Sequence[bytes | None]) -> tuple[Address, Address]:
    if all(answer == b"" for answer in answers):
        raise Garbage("it has no code")
    token0, token1 = (_account(answers[k], f"token{k}()") for k in (0, 1))
    if int(token0, 16) >= int(token1, 16) or address in (token0, token1):
        raise Garbage(f"its tokens {token0} and {token1} are not two in order")
    return token0, token1


def _account(answer: bytes | None, what: str, *, zero: bool = False) -> Address:
    [word] = answer_words(answer, 1, what)
    if word >> 160:
        raise Garbage(f"{what} is not an address: {word:#x}")
    if not word and not zero:
        raise Garbage(f"{what} is the zero address")
    return "0x" + word.to_bytes(20).hex()


def spacing_of(answer: bytes | None, what: str) -> int:
    """A tick spacing that pools can have. Raises ``Garbage``."""
    [spacing] = answer_words(answer, 1, what)
    if not 0 < spacing < MAX_TICK_SPACING:
        raise Garbage(f"{what} = {spacing} is out of range")
    return spacing


def listed_pool(
    dex: Factory,
    address: str,
    tokens: tuple[Address, ...],
    number: int,
    *,
    fee_ppm: int = 0,
    tick_spacing: int = 0,
    stable: bool = False,
    hooks: Address = "",
    kind: str = "",
) -> NewPool:
    """A pool of the factory that was found at block ``number``."""
    return NewPool(
        dex.name,
        dex.family,
        address,
        tokens,
        number,
        factory=dex.factory,
        fee_ppm=fee_ppm,
        tick_spacing=tick_spacing,
        stable=stable,
        hooks=hooks,
        kind=kind,
    )


def pairs_of(tokens: Sequence[Address]) -> Iterator[tuple[Address, Address]]:
    """Every two of the tokens, in the order that pools have them."""
    return ((min(pair), max(pair)) for pair in combinations(tokens, 2))


def digest(*parts: object) -> str:
    """A name for a list of questions."""
    return keccak(repr(parts).encode())[:8].hex()


def _word(address: Address) -> bytes:
    return uint_word(int(address, 16))


def _named(question: Question) -> str:
    return f"{question.token0}/{question.token1}/{question.fee_ppm}"


def bounded(dex: Factory, tokens: Sequence[Address], tiers: int) -> tuple[Address, ...]:
    """The tokens, where their pairs times ``tiers`` are not too many questions. Raises ``ValueError``."""
    questions = len(tokens) * (len(tokens) - 1) // 2 * tiers
    if questions > MOST_QUESTIONS:
        raise ValueError(
            f"dex {dex.name!r}: {len(tokens)} tokens and {tiers} fees are {questions} questions to its factory, "
            f"{MOST_QUESTIONS} are the most: name fewer tokens or find its pools by events"
        )
    return tuple(tokens)

"""Running the families' scripts: what all of them ask in one round travels together, at one pinned block.

A script belongs to one pool. What a pool answers ends its own script only, whatever it provokes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from ouro.chain.rpc import Caller
from ouro.market.multicall import read_many
from ouro.market.reader import READ_TIMEOUT_MS, PinnedBlock, patiently
from ouro.protocols.reads import Answers, Ask, Garbage, Read, Script, StorageRead
from ouro.types import Address

MOST_ROUNDS = 64
"""A script that still asks after so many rounds follows a contract that leads it astray."""

_WORDS_AT_ONCE = 100

Found = TypeVar("Found")


@dataclass(slots=True)
class _Run(Generic[Found]):
    """One script, what it asks, and how it ended."""

    script: Script[Found]
    asked: Sequence[Ask] = ()
    ended: bool = False
    result: Any = field(default_factory=lambda: Garbage("its script has not ended"))

    def step(self, answers: Answers | None) -> None:
        """On to the next round; ``answers`` None starts it."""
        try:
            self.asked = next(self.script) if answers is None else self.script.send(answers)
        except StopIteration as end:
            self.finish(end.value)
        except Garbage as garbage:
            self.finish(garbage)
        except (ArithmeticError, LookupError, ValueError, TypeError) as error:
            # a hostile answer that no check was ready for must not take the other pools down
            self.finish(Garbage(f"its answers make no sense: {type(error).__name__}: {error}"))

    def finish(self, result: Any) -> None:
        """Ask no more."""
        self.script.close()
        self.asked, self.ended, self.result = (), True, result


async def run_scripts(
    reader: Caller,
    multicall: Address,
    scripts: Sequence[Script[Found]],
    block: PinnedBlock,
    *,
    missed: Callable[[], Any] | None = None,
    first: Read | None = None,
    check: Callable[[bytes | None], None] = lambda _: None,
) -> list[Found | Garbage]:
    """What each script found, or why there is nothing, in order.

    With ``missed`` a script that gets no answer to one of its reads ends with that value. ``first`` is asked before
    all others in every round; ``check`` looks at its answer and may raise. Raises ``SyncError`` when the node can't
    be read at ``block``.
    """
    runs = [_Run(script) for script in scripts]
    for run in runs:
        run.step(None)
    for _ in range(MOST_ROUNDS):
        waiting = [run for run in runs if not run.ended]
        if not waiting:
            break
        asked = [read for run in waiting for read in run.asked]
        extra = [] if first is None else [first]
        answers = await _answers(reader, multicall, [*extra, *asked], block)
        if first is not None:
            check(answers.pop(0))
        position = 0
        for run in waiting:
            mine = answers[position : position + len(run.asked)]
            position += len(run.asked)
            if missed is not None and None in mine:
                run.finish(missed())
            else:
                run.step(mine)
    for run in runs:
        if not run.ended:
            run.finish(Garbage(f"it is not read after {MOST_ROUNDS} rounds"))
    return [run.result for run in runs]


async def _answers(reader: Caller, multicall: Address, asked: Sequence[Ask], block: PinnedBlock) -> Answers:
    calls = [read for read in asked if isinstance(read, Read)]
    places = [read for read in asked if isinstance(read, StorageRead)]
    called = iter(await read_many(reader, multicall, calls, block) if calls else ())
    stored = iter(await _read_words(reader, places, block))
    return [next(called) if isinstance(read, Read) else next(stored) for read in asked]


async def _read_words(reader: Caller, places: Sequence[StorageRead], block: PinnedBlock) -> Answers:
    found: Answers = []
    for k in range(0, len(places), _WORDS_AT_ONCE):
        part = places[k : k + _WORDS_AT_ONCE]
        calls = [("eth_getStorageAt", [place.target, hex(place.slot), block.tag]) for place in part]

        async def ask(calls: list[tuple[str, list[Any]]] = calls) -> list[Any]:
            return await reader.batch(calls, READ_TIMEOUT_MS)

        found += [_word(answer) for answer in await patiently(ask, "storage words")]
    return found


def _word(answer: Any) -> bytes | None:
    try:
        return int(answer, 16).to_bytes(32)
    except (TypeError, ValueError, OverflowError):
        return None

"""Uniswap V4's manager asked for pools: it keeps no list, but says of every key whether there is a pool."""

from dataclasses import dataclass
from itertools import islice

from ouro.protocols.creation import Factory
from ouro.protocols.listings import QUESTIONS_IN_PAGE, Page, Question, digest, listed_pool, pairs_of
from ouro.protocols.reads import Script
from ouro.protocols.v4_reading import load
from ouro.protocols.v4_state import NATIVE, pool_id, pool_slot
from ouro.types import Address

USUAL_KEYS = ((100, 1), (500, 10), (3_000, 60), (10_000, 200))
"""Fee and spacing of the pools that interfaces create; V4 allows any."""


@dataclass(frozen=True, slots=True)
class KeyListing:
    """Uniswap V4: every key of two tokens, a fee with a spacing, and no hook, read out of the manager's storage."""

    dex: Factory
    tokens: tuple[Address, ...]
    keys: tuple[tuple[int, int], ...]
    grows: bool = False

    @property
    def identity(self) -> str:
        """A digest of the questions."""
        return digest(self.tokens, self.keys)

    def page(self, first: int, number: int) -> Script[Page]:
        """Keys ``first`` and following."""
        every = (Question(*pair, *key) for pair in pairs_of(self.tokens) for key in self.keys)
        asked = list(islice(every, first, first + QUESTIONS_IN_PAGE))
        page = Page(following=first + len(asked), done=len(asked) < QUESTIONS_IN_PAGE)
        names = [pool_id((q.token0, q.token1), q.fee_ppm, q.spacing, NATIVE) for q in asked]
        slots = [pool_slot(name) for name in names]
        prices = yield from load(self.dex.factory, slots)
        for question, name, price in zip(asked, names, prices, strict=True):
            if price & (1 << 160) - 1:
                pool = listed_pool(
                    self.dex,
                    name,
                    (question.token0, question.token1),
                    number,
                    fee_ppm=question.fee_ppm,
                    tick_spacing=question.spacing,
                    hooks=NATIVE,
                )
                page.pools.append(pool)
        return page

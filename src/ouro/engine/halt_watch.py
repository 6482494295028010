"""A halt also takes back what is under way: an empty transaction that outbids it uses up each open trade's nonce.

Whichever of the two is included, the other never can be. What is included before the replacement arrives was sent
before the halt, and is booked as any other.
"""

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

import structlog

from ouro.control import ControlStore, Halt, control_folder
from ouro.types import BlockUpdate

log = structlog.get_logger(__name__)

_LOOK_EVERY_S = 0.1
_AGAIN_S = 1.0


class TakesBack(Protocol):
    """A trader that can replace what it sent."""

    async def take_back_open(self, head: BlockUpdate) -> int: ...


def wants_taken_back(halts: Iterable[Halt]) -> frozenset[str]:
    """Ids of the halts that ask for it: a strategy's alone leaves what is open, a throttle as well."""
    return frozenset(
        halt.id
        for halt in halts
        if halt.mode == "stop" and halt.open_attempts == "cancel" and halt.strategy is None
    )


async def watch_halts(
    data_dir: Path, chain: str, now: Callable[[], tuple[TakesBack | None, BlockUpdate | None]]
) -> None:
    """Until cancelled: once for each halt of ``chain``, as soon as there is a trader and a block to bid for."""
    control = ControlStore(control_folder(data_dir))
    served: frozenset[str] = frozenset()
    while True:
        await asyncio.sleep(_LOOK_EVERY_S)
        asking = wants_taken_back(control.in_force(chain))
        trader, head = now()
        if not asking - served or trader is None or head is None:
            served &= asking
            continue
        try:
            count = await trader.take_back_open(head)
        except Exception as error:  # tried again in a moment; nothing new is sent meanwhile
            log.warning("not_taken_back", chain=chain, error=str(error))
            await asyncio.sleep(_AGAIN_S)
            continue
        served = asking
        log.warning("halted", chain=chain, replaced=count)

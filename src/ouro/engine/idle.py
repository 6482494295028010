"""The collector of garbage is kept out of the way of blocks: it runs between them."""

import gc
import sys

_MIDDLE_EVERY, _FULL_EVERY = 8, 128
_SWITCH_S = 0.0005
_following = 0
"""Sessions of this process that follow blocks: the collector is the process's."""


class Collector:
    """Of one chain's session. What exists when a session starts to follow blocks mostly lives as long as it does,
    so it is frozen: later collections look at what came since, which is a few blocks' worth."""

    def __init__(self) -> None:
        self._blocks = 0

    def start(self) -> None:
        """From now on nothing is collected but between blocks."""
        global _following
        _following += 1
        # the thread that writes the books gives way when a block comes, not 5 ms later
        sys.setswitchinterval(_SWITCH_S)
        gc.collect()
        gc.freeze()
        gc.disable()

    def between_blocks(self) -> None:
        """Collect a little, seldom more."""
        self._blocks += 1
        if self._blocks % _FULL_EVERY == 0:
            gc.collect()
        elif self._blocks % _MIDDLE_EVERY == 0:
            gc.collect(1)
        else:
            gc.collect(0)

    def stop(self) -> None:
        """As any process; what was frozen may be garbage now."""
        global _following
        _following -= 1
        if not _following:
            gc.unfreeze()
            gc.enable()

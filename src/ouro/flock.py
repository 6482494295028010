"""Locks between processes that are waited for, but not for ever: whoever holds one may be stopped or hung."""

import fcntl
import time
from typing import IO

WAIT_S = 3.0
"""Longer than anything that is done under such a lock, shorter than anybody's patience."""

_AGAIN_S = 0.01


def lock_within(file: int | IO[bytes] | IO[str], wait_s: float = WAIT_S) -> bool:
    """Take the exclusive lock of an open file; False when another has it all the time. Raises ``OSError``."""
    deadline = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(_AGAIN_S)
        else:
            return True

# pyright: basic, reportCallIssue=false, reportOptionalCall=false, reportArgumentType=false
"""The compiled smallest input, callable from Python."""

from typing import Any

import numpy as np
from numba import njit

from ouro.protocols.kernels.wide import load256, store
from ouro.protocols.quotes import from_limbs, to_limb_rows
from ouro.strategies.kernels.path import need


@njit
def _need(headers: Any, amount: Any, result: Any) -> int:
    status, found = need(np.uint64(headers.ctypes.data), load256(np.uint64(amount.ctypes.data)))
    store(np.uint64(result.ctypes.data), found)
    return status


def smallest_input(headers: Any, amount_out: int) -> tuple[int, int]:
    """(status, input) of the first header."""
    amount, result = to_limb_rows([amount_out]), to_limb_rows([0])
    status = _need(headers, amount, result)
    return int(status), from_limbs(result)[0]

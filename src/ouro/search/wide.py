"""Unsigned integers wider than a machine word, for compiled kernels: little-endian 32-bit limbs in uint64 arrays.

A product of two limbs and a carry fits 64 bits, so schoolbook multiplication and Knuth's algorithm D
(The Art of Computer Programming, volume 2, 4.3.1) need no wider type. Numba turns mixed signed and unsigned
operands into floats, hence the explicit ``uint64`` everywhere.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

Limbs = npt.NDArray[np.uint64]

LIMB_BITS = 32
_SHIFT = np.uint64(32)
_MASK = np.uint64(0xFFFFFFFF)
_BASE = np.uint64(1 << 32)
_ZERO = np.uint64(0)
_ONE = np.uint64(1)
_TOP = np.uint64(0x80000000)


def to_limbs(value: int, count: int) -> Limbs:
    """``value`` in ``count`` limbs. Raises ``OverflowError`` where it doesn't fit."""
    if not 0 <= value < 1 << (LIMB_BITS * count):
        raise OverflowError(f"{value} does not fit {count} limbs of {LIMB_BITS} bits")
    words = np.frombuffer(value.to_bytes(4 * count, "little"), dtype="<u4")
    return words.astype(np.uint64)


def from_limbs(limbs: Limbs) -> int:
    """The Python integer of ``limbs``."""
    return int.from_bytes(limbs.astype("<u4").tobytes(), "little")


@njit(cache=True, nogil=True, inline="always")
def used(a: Limbs, count: int) -> int:
    """Number of limbs of ``a[:count]`` up to the highest that isn't zero."""
    while count > 0 and a[count - 1] == _ZERO:
        count -= 1
    return count


@njit(cache=True, nogil=True)
def multiply(a: Limbs, n_a: int, b: Limbs, n_b: int, out: Limbs) -> int:
    """``out = a·b``; returns the limbs used. ``out`` is another array, of at least ``n_a + n_b`` limbs."""
    for i in range(n_a + n_b):
        out[i] = _ZERO
    for i in range(n_a):
        carry = _ZERO
        factor = a[i]
        if factor == _ZERO:
            continue
        for j in range(n_b):
            total = factor * b[j] + out[i + j] + carry
            out[i + j] = total & _MASK
            carry = total >> _SHIFT
        out[i + n_b] = carry
    return used(out, n_a + n_b)


@njit(cache=True, nogil=True)
def add(a: Limbs, n_a: int, b: Limbs, n_b: int, out: Limbs) -> int:
    """``out = a + b`` (``out`` may be one of them); returns the limbs used."""
    n = max(n_a, n_b)
    carry = _ZERO
    for i in range(n):
        total = carry
        if i < n_a:
            total += a[i]
        if i < n_b:
            total += b[i]
        out[i] = total & _MASK
        carry = total >> _SHIFT
    out[n] = carry
    return used(out, n + 1)


@njit(cache=True, nogil=True)
def subtract(a: Limbs, n_a: int, b: Limbs, n_b: int, out: Limbs) -> int:
    """``out = a - b`` for ``a >= b``; returns the limbs used."""
    borrow = _ZERO
    for i in range(n_a):
        taken = borrow
        if i < n_b:
            taken += b[i]
        if a[i] >= taken:
            out[i] = a[i] - taken
            borrow = _ZERO
        else:
            out[i] = a[i] + _BASE - taken
            borrow = _ONE
    return used(out, n_a)


@njit(cache=True, nogil=True)
def compare(a: Limbs, n_a: int, b: Limbs, n_b: int) -> int:
    """-1, 0 or 1; both without leading zero limbs."""
    if n_a != n_b:
        return -1 if n_a < n_b else 1
    for i in range(n_a - 1, -1, -1):
        if a[i] != b[i]:
            return -1 if a[i] < b[i] else 1
    return 0


@njit(cache=True, nogil=True)
def divide(a: Limbs, n_a: int, b: Limbs, n_b: int, quotient: Limbs, u: Limbs, v: Limbs) -> tuple[int, bool]:
    """``quotient = a // b``; returns (its limbs used, whether a remainder is left). ``b`` isn't zero.

    ``u`` (n_a + 1 limbs) and ``v`` (n_b limbs) are scratch; no array may be another.
    """
    n_a = used(a, n_a)
    n_b = used(b, n_b)
    if n_a < n_b:
        return 0, n_a > 0
    if n_b == 1:
        left = _ZERO
        divisor = b[0]
        for i in range(n_a - 1, -1, -1):
            part = (left << _SHIFT) | a[i]
            quotient[i] = part // divisor
            left = part % divisor
        return used(quotient, n_a), left != _ZERO
    shift = _ZERO
    top = b[n_b - 1]
    while top < _TOP:
        top <<= _ONE
        shift += _ONE
    rest = _SHIFT - shift
    for i in range(n_b - 1, 0, -1):
        v[i] = ((b[i] << shift) | (b[i - 1] >> rest)) & _MASK
    v[0] = (b[0] << shift) & _MASK
    u[n_a] = a[n_a - 1] >> rest
    for i in range(n_a - 1, 0, -1):
        u[i] = ((a[i] << shift) | (a[i - 1] >> rest)) & _MASK
    u[0] = (a[0] << shift) & _MASK
    high = v[n_b - 1]
    second = v[n_b - 2]
    for j in range(n_a - n_b, -1, -1):
        part = (u[j + n_b] << _SHIFT) | u[j + n_b - 1]
        digit = part // high
        left = part - digit * high
        while digit >= _BASE or digit * second > ((left << _SHIFT) | u[j + n_b - 2]):
            digit -= _ONE
            left += high
            if left >= _BASE:
                break
        carry = _ZERO
        borrow = _ZERO
        for i in range(n_b):
            product = digit * v[i] + carry
            carry = product >> _SHIFT
            taken = (product & _MASK) + borrow
            if u[i + j] >= taken:
                u[i + j] -= taken
                borrow = _ZERO
            else:
                u[i + j] = u[i + j] + _BASE - taken
                borrow = _ONE
        taken = carry + borrow
        if u[j + n_b] >= taken:
            u[j + n_b] -= taken
        else:
            # the estimate was one too large: put one divisor back
            digit -= _ONE
            carry = _ZERO
            for i in range(n_b):
                total = u[i + j] + v[i] + carry
                u[i + j] = total & _MASK
                carry = total >> _SHIFT
            u[j + n_b] = _ZERO
        quotient[j] = digit
    return used(quotient, n_a - n_b + 1), used(u, n_b) > 0

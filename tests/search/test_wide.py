"""Compiled wide integers against Python's own."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ouro.search.wide import add, compare, divide, from_limbs, multiply, subtract, to_limbs

# values near powers of two are where digit estimates and carries go wrong
EDGES = st.builds(
    lambda bits, low, shift: max(1, (1 << bits) - low + (1 << min(shift, bits))),
    st.integers(0, 255),
    st.integers(0, 3),
    st.integers(0, 255),
)
NUMBERS = st.one_of(st.integers(1, (1 << 256) - 1), EDGES, st.integers(1, 1 << 40))


def scratch() -> list[np.ndarray]:
    return [np.zeros(24, dtype=np.uint64) for _ in range(4)]


@settings(max_examples=400, deadline=None)
@given(a=NUMBERS, b=NUMBERS)
def test_arithmetic_equals_python(a: int, b: int) -> None:
    out, quotient, u, v = scratch()
    left, right = to_limbs(a, 10), to_limbs(b, 10)
    assert from_limbs(out[: multiply(left, 10, right, 10, out)]) == a * b
    assert from_limbs(out[: add(left, 10, right, 10, out)]) == a + b
    if a >= b:
        assert from_limbs(out[: subtract(left, 10, right, 10, out)]) == a - b
    count, remainder = divide(left, 10, right, 10, quotient, u, v)
    assert from_limbs(quotient[:count]) == a // b
    assert remainder == (a % b != 0)
    n_a, n_b = (-(-number.bit_length() // 32) for number in (a, b))
    assert compare(left, n_a, right, n_b) == (a > b) - (a < b)

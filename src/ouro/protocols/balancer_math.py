"""Balancer's fixed-point arithmetic in integers: 18 decimals, roundings named, powers by logarithm and exponential.

Formulas: ``FixedPoint`` and ``LogExpMath`` of Balancer V2 and V3. The contracts' arithmetic is checked: where a
product would not fit 256 bits they revert, and these raise ``QuoteError``. Solidity's signed division truncates and
both series are odd, so negative logarithms are computed as magnitudes.
"""

from ouro.protocols.base import QuoteError

ONE = 10**18
TWO, FOUR = 2 * ONE, 4 * ONE
MAX_POW_RELATIVE_ERROR = 10_000
_END256 = 1 << 256
_ONE20, _ONE36 = 10**20, 10**36
_NEAR = 10**17
"""Around one, logarithms have 36 decimals."""
_MIN_EXPONENT, _MAX_EXPONENT = -41 * ONE, 130 * ONE
_Y_END = (1 << 254) // _ONE20

_X0, _A0 = 128 * ONE, 38877084059945950922200000000000000000000000000000000000
_X1, _A1 = 64 * ONE, 6235149080811616882910000000
POWERS_OF_E: tuple[tuple[int, int], ...] = (
    (3200 * ONE, 7896296018268069516100000000000000),
    (1600 * ONE, 888611052050787263676000000),
    (800 * ONE, 298095798704172827474000),
    (400 * ONE, 5459815003314423907810),
    (200 * ONE, 738905609893065022723),
    (100 * ONE, 271828182845904523536),
    (50 * ONE, 164872127070012814685),
    (25 * ONE, 128402541668774148407),
    (125 * ONE // 10, 113314845306682631683),
    (625 * ONE // 100, 106449445891785942956),
)
"""(x, e^x) with 20 decimals, from 2^5 to 2^-4."""
_EXP_POWERS = POWERS_OF_E[:8]
_EXP_TERMS, _LN_TERMS, _LN36_TERMS = 12, 11, 15


def checked(value: int) -> int:
    """``value`` where it fits 256 bits."""
    if not 0 <= value < _END256:
        raise QuoteError("the pool's arithmetic would overflow")
    return value


def mul_down(a: int, b: int) -> int:
    """a·b, rounded down."""
    return checked(a * b) // ONE


def mul_up(a: int, b: int) -> int:
    """a·b, rounded up."""
    return -(-checked(a * b) // ONE)


def div_down(a: int, b: int) -> int:
    """a/b, rounded down."""
    if not b:
        raise QuoteError("division by zero in the pool's arithmetic")
    return checked(a * ONE) // b


def div_up(a: int, b: int) -> int:
    """a/b, rounded up."""
    if not b:
        raise QuoteError("division by zero in the pool's arithmetic")
    return -(-checked(a * ONE) // b)


def complement(x: int) -> int:
    """1 - x, not below 0."""
    return ONE - x if x < ONE else 0


def _ln(a: int) -> int:
    """Natural logarithm of ``a >= 1``."""
    total = 0
    if a >= _A0 * ONE:
        a //= _A0
        total += _X0
    if a >= _A1 * ONE:
        a //= _A1
        total += _X1
    total *= 100
    a *= 100
    for x, power in POWERS_OF_E:
        if a >= power:
            a = a * _ONE20 // power
            total += x
    z = (a - _ONE20) * _ONE20 // (a + _ONE20)
    square = z * z // _ONE20
    series = num = z
    for k in range(3, _LN_TERMS + 1, 2):
        num = num * square // _ONE20
        series += num // k
    return (total + 2 * series) // 100


def _ln36(x: int) -> tuple[int, int]:
    """(sign, magnitude) of the logarithm of ``x`` near one, with 36 decimals."""
    sign = -1 if x < ONE else 1
    z = abs(x - ONE) * _ONE36 // (x + ONE)
    square = z * z // _ONE36
    series = num = z
    for k in range(3, _LN36_TERMS + 1, 2):
        num = num * square // _ONE36
        series += num // k
    return sign, 2 * series


def exp(x: int) -> int:
    """e^x for a magnitude ``x`` of at most 130."""
    first = 1
    if x >= _X0:
        x -= _X0
        first = _A0
    elif x >= _X1:
        x -= _X1
        first = _A1
    x *= 100
    product = _ONE20
    for step, power in _EXP_POWERS:
        if x >= step:
            x -= step
            product = product * power // _ONE20
    series, term = _ONE20 + x, x
    for k in range(2, _EXP_TERMS + 1):
        term = term * x // _ONE20 // k
        series += term
    return product * series // _ONE20 * first // 100


def pow_raw(x: int, y: int) -> int:
    """``LogExpMath.pow``: x^y, near the true value on either side."""
    if not y:
        return ONE
    if not x:
        return 0
    if x >> 255 or y >= _Y_END:
        raise QuoteError("a power's base or exponent is out of bounds")
    if ONE - _NEAR < x < ONE + _NEAR:
        sign, log = _ln36(x)
        product = log // ONE * y + log % ONE * y // ONE
    elif x < ONE:
        sign, product = -1, _ln(ONE * ONE // x) * y
    else:
        sign, product = 1, _ln(x) * y
    exponent = product // ONE
    if not _MIN_EXPONENT <= sign * exponent <= _MAX_EXPONENT:
        raise QuoteError("a power's logarithm is out of bounds")
    return ONE * ONE // exp(exponent) if sign < 0 and exponent else exp(exponent)


def _multiplied(x: int, y: int, up: bool) -> int | None:
    multiply = mul_up if up else mul_down
    if y == ONE:
        return x
    if y == TWO:
        return multiply(x, x)
    if y == FOUR:
        square = multiply(x, x)
        return multiply(square, square)
    return None


def pow_up(x: int, y: int, shortcuts: bool = True) -> int:
    """x^y, not below the true value; ``shortcuts``: exponents 1, 2 and 4 are multiplied out (later pools)."""
    if shortcuts and (exact := _multiplied(x, y, True)) is not None:
        return exact
    raw = pow_raw(x, y)
    return checked(raw + mul_up(raw, MAX_POW_RELATIVE_ERROR) + 1)


def pow_down(x: int, y: int, shortcuts: bool = True) -> int:
    """x^y, not above the true value."""
    if shortcuts and (exact := _multiplied(x, y, False)) is not None:
        return exact
    raw = pow_raw(x, y)
    return max(raw - mul_up(raw, MAX_POW_RELATIVE_ERROR) - 1, 0)

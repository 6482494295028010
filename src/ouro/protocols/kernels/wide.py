# pyright: basic, reportCallIssue=false, reportOptionalCall=false, reportArgumentType=false
# (Numba's decorators change the signatures that the type checker sees.)
"""Unsigned integers of 128 to 512 bits inside Numba kernels: LLVM's own wide integers, exact modulo 2^bits.

``Wide(bits)`` is a Numba type whose values live in registers. Operators ``+ - * << >> & |`` and comparisons take
two values of one width; ``to128`` … ``to512`` widen or cut, ``load*`` and ``store`` read and write little-endian
64-bit limbs at an address. LLVM would expand a wide division into a loop over bits; ``divide`` estimates the
quotient in floating point instead, always from below, and subtracts until less than the divisor is left.
"""

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import (
    intrinsic,
    lower_builtin,
    models,
    register_model,
)

LIMB_BITS = 64
_F64 = ir.DoubleType()
_I64 = ir.IntType(64)
_MANTISSA_BITS = 52
_EXPONENT_BIAS = 1075  # of the integer mantissa


class Wide(types.Type):
    """An unsigned integer of ``bits``."""

    def __init__(self, bits: int) -> None:
        self.bits = bits
        super().__init__(name=f"Wide{bits}")


@register_model(Wide)
class _WideModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Wide) -> None:
        super().__init__(dmm, fe_type, ir.IntType(fe_type.bits))


def _binary(function: Any, emit: Callable[[Any, Any, Any], Any], result: Any = None) -> None:
    @infer_global(function)
    class _Typing(AbstractTemplate):
        def generic(self, args: Any, kws: Any) -> Any:
            if len(args) == 2 and isinstance(args[0], Wide) and args[0] == args[1]:
                return signature(result or args[0], *args)
            return None

    @lower_builtin(function, Wide, Wide)
    def _lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return emit(builder, *args)


def _shift(function: Any, emit: Callable[[Any, Any, Any], Any]) -> None:
    @infer_global(function)
    class _Typing(AbstractTemplate):
        def generic(self, args: Any, kws: Any) -> Any:
            if len(args) == 2 and isinstance(args[0], Wide) and isinstance(args[1], types.Integer):
                return signature(args[0], args[0], args[1])
            return None

    @lower_builtin(function, Wide, types.Integer)
    def _lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        value, by = args
        by = builder.zext(by, value.type) if by.type.width < value.type.width else builder.trunc(by, value.type)
        return emit(builder, value, by)


_binary(operator.add, lambda b, x, y: b.add(x, y))
_binary(operator.sub, lambda b, x, y: b.sub(x, y))
_binary(operator.iadd, lambda b, x, y: b.add(x, y))
_binary(operator.isub, lambda b, x, y: b.sub(x, y))
_binary(operator.mul, lambda b, x, y: b.mul(x, y))
_binary(operator.and_, lambda b, x, y: b.and_(x, y))
_binary(operator.or_, lambda b, x, y: b.or_(x, y))
_binary(operator.lt, lambda b, x, y: b.icmp_unsigned("<", x, y), types.boolean)
_binary(operator.le, lambda b, x, y: b.icmp_unsigned("<=", x, y), types.boolean)
_binary(operator.gt, lambda b, x, y: b.icmp_unsigned(">", x, y), types.boolean)
_binary(operator.ge, lambda b, x, y: b.icmp_unsigned(">=", x, y), types.boolean)
_binary(operator.eq, lambda b, x, y: b.icmp_unsigned("==", x, y), types.boolean)
_binary(operator.ne, lambda b, x, y: b.icmp_unsigned("!=", x, y), types.boolean)
_shift(operator.lshift, lambda b, x, y: b.shl(x, y))
_shift(operator.rshift, lambda b, x, y: b.lshr(x, y))


def _resized(builder: Any, value: Any, bits: int, signed: bool = False) -> Any:
    target = ir.IntType(bits)
    if value.type.width < bits:
        return builder.sext(value, target) if signed else builder.zext(value, target)
    return builder.trunc(value, target) if value.type.width > bits else value


def _maker(bits: int) -> Any:
    @intrinsic
    def convert(typingctx: Any, value: Any) -> Any:
        if not isinstance(value, Wide | types.Integer):
            return None

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return _resized(builder, args[0], bits)

        return signature(Wide(bits), value), codegen

    return convert


def _loader(bits: int) -> Any:
    @intrinsic
    def load(typingctx: Any, address: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            pointer = builder.inttoptr(args[0], ir.IntType(bits).as_pointer())
            return builder.load(pointer, align=8)

        return signature(Wide(bits), types.uint64), codegen

    return load


@intrinsic
def load64(typingctx: Any, address: Any) -> Any:
    """One limb at an address."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.load(builder.inttoptr(args[0], _I64.as_pointer()), align=8)

    return signature(types.uint64, types.uint64), codegen


@intrinsic
def store(typingctx: Any, address: Any, value: Any) -> Any:
    """Write a wide integer or a limb at an address."""
    if not isinstance(value, Wide | types.Integer):
        return None

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        builder.store(args[1], builder.inttoptr(args[0], args[1].type.as_pointer()), align=8)
        return context.get_dummy_value()

    return signature(types.void, types.uint64, value), codegen


@intrinsic
def low64(typingctx: Any, value: Any) -> Any:
    """The lowest limb."""
    if not isinstance(value, Wide):
        return None

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.trunc(args[0], _I64)

    return signature(types.uint64, value), codegen


@intrinsic
def as_one(typingctx: Any, like: Any, flag: Any) -> Any:
    """1 where ``flag``, else 0, in the width of ``like``."""
    if not (isinstance(like, Wide) and flag == types.boolean):
        return None

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.zext(builder.trunc(args[1], ir.IntType(1)), args[0].type)

    return signature(like, like, flag), codegen


@intrinsic
def bit_length(typingctx: Any, value: Any) -> Any:
    """Position of the highest set bit, plus one; 0 of 0."""
    if not isinstance(value, Wide):
        return None

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        width = args[0].type
        zeros = builder.ctlz(args[0], ir.Constant(ir.IntType(1), 0))
        return builder.trunc(builder.sub(ir.Constant(width, width.width), zeros), _I64)

    return signature(types.int64, value), codegen


def _power_of_two(builder: Any, exponent: Any) -> Any:
    """2.0 ** exponent for a normal exponent."""
    biased = builder.shl(builder.add(exponent, ir.Constant(_I64, 1023)), ir.Constant(_I64, _MANTISSA_BITS))
    return builder.bitcast(biased, _F64)


def _as_float(builder: Any, value: Any) -> Any:
    wide = value.type
    zeros = builder.trunc(builder.ctlz(value, ir.Constant(ir.IntType(1), 0)), _I64)
    excess = builder.sub(ir.Constant(_I64, wide.width - LIMB_BITS), zeros)
    zero = ir.Constant(_I64, 0)
    shift = builder.select(builder.icmp_signed(">", excess, zero), excess, zero)
    top = builder.trunc(builder.lshr(value, _resized(builder, shift, wide.width)), _I64)
    return builder.fmul(builder.uitofp(top, _F64), _power_of_two(builder, shift))


@intrinsic
def to_float(typingctx: Any, value: Any) -> Any:
    """As a double, within two units of its last place."""
    if not isinstance(value, Wide):
        return None

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _as_float(builder, args[0])

    return signature(types.float64, value), codegen


def _from_float(bits: int) -> Any:
    @intrinsic
    def convert(typingctx: Any, value: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            mantissa, shift = _split_float(builder, args[0])
            wide = ir.IntType(bits)
            return builder.shl(builder.zext(mantissa, wide), builder.zext(shift, wide))

        return signature(Wide(bits), types.float64), codegen

    return convert


def _split_float(builder: Any, value: Any) -> tuple[Any, Any]:
    """A non-negative double as ``mantissa << shift``, rounded down to an integer."""
    raw = builder.bitcast(value, _I64)
    zero = ir.Constant(_I64, 0)
    exponent = builder.sub(builder.lshr(raw, ir.Constant(_I64, _MANTISSA_BITS)), ir.Constant(_I64, _EXPONENT_BIAS))
    fraction = builder.and_(raw, ir.Constant(_I64, (1 << _MANTISSA_BITS) - 1))
    mantissa = builder.or_(fraction, ir.Constant(_I64, 1 << _MANTISSA_BITS))
    down = builder.sub(zero, exponent)
    small = builder.icmp_signed("<", exponent, zero)
    gone = builder.icmp_signed(">", down, ir.Constant(_I64, 63))
    lowered = builder.select(gone, zero, builder.lshr(mantissa, builder.select(small, down, zero)))
    return builder.select(small, lowered, mantissa), builder.select(small, zero, exponent)


@intrinsic
def _estimate_step(typingctx: Any, rest: Any, divisor: Any, quotient: Any, inverse: Any) -> Any:
    """(quotient + e, rest - e·divisor) with e = max(1, floor(rest·inverse)), which is never too large."""
    if not (isinstance(rest, Wide) and rest == divisor == quotient):
        return None

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        rest_value, divisor_value, quotient_value, inverse_value = args
        wide = rest_value.type
        mantissa, shift = _split_float(builder, builder.fmul(_as_float(builder, rest_value), inverse_value))
        nothing = builder.icmp_unsigned("==", mantissa, ir.Constant(_I64, 0))
        mantissa = builder.select(nothing, ir.Constant(_I64, 1), mantissa)
        by = builder.zext(shift, wide)
        estimate = builder.zext(mantissa, wide)
        new_quotient = builder.add(quotient_value, builder.shl(estimate, by))
        new_rest = builder.sub(rest_value, builder.shl(builder.mul(estimate, divisor_value), by))
        return context.make_tuple(builder, sig.return_type, (new_quotient, new_rest))

    return signature(types.UniTuple(rest, 2), rest, rest, rest, types.float64), codegen


to128, to192, to256, to384, to512 = (_maker(bits) for bits in (128, 192, 256, 384, 512))
load128, load192, load256 = (_loader(bits) for bits in (128, 192, 256))
float_to128, float_to256, float_to512 = (_from_float(bits) for bits in (128, 256, 512))

_BELOW = 1.0 - 2.0**-49  # the float estimate of a quotient is off by less than 2^-50


@njit(cache=True, nogil=True)
def divide(numerator: Any, divisor: Any) -> Any:
    """(quotient, rest) of two wide integers of one width; ``divisor`` is not 0."""
    inverse = _BELOW / to_float(divisor)
    quotient = numerator - numerator
    rest = numerator
    while rest >= divisor:
        quotient, rest = _estimate_step(rest, divisor, quotient, inverse)
    return quotient, rest


@njit(cache=True, nogil=True)
def floor_div(numerator: Any, divisor: Any) -> Any:
    """numerator // divisor."""
    return divide(numerator, divisor)[0]


@njit(cache=True, nogil=True)
def ceil_div(numerator: Any, divisor: Any) -> Any:
    """-(-numerator // divisor)."""
    quotient, rest = divide(numerator, divisor)
    return quotient + as_one(rest, rest > rest - rest)

"""Headers of pools with reserves, for the compiled batch quotes."""

from ouro.protocols.kernels.concentrated import (
    CONSTANT_PRODUCT,
    FEE_PARTS,
    HEADER,
    RATIO,
    STABLE,
    VOLATILE,
    WEIGHTED,
)
from ouro.protocols.kernels.crypto import CRYPTO
from ouro.protocols.kernels.solidly import MAX_SCALED_BITS

__all__ = [
    "CONSTANT_PRODUCT",
    "MAX_SCALED_BITS",
    "STABLE",
    "VOLATILE",
    "crypto_header",
    "packed_header",
    "ratio_header",
    "tagged",
    "weighted_header",
]

_BYTES = HEADER * 8


def tagged(kind: int, fee: int, whole: int) -> int:
    """Limb 0: the kind, and the fee that is taken from the input and rounded up, ``fee`` of ``whole``."""
    return kind | min(fee * FEE_PARTS // whole, FEE_PARTS) << 8


def packed_header(
    kind: int, fee: int, reserve_in: int, reserve_out: int, units: int = 0, k: int = 0, x: int = 0, y: int = 0
) -> bytes:
    """Limbs: 0 kind, 4 fee, 6 and 8 reserves, 10 units of both tokens, 12 invariant, 16 and 20 scaled reserves."""
    # Solidly's fee (of 10,000) leaves the input first; a pair's is part of its formula
    first = tagged(kind, fee, 10_000) if kind in (STABLE, VOLATILE) else kind
    packed = first | fee << 256 | reserve_in << 384 | reserve_out << 512 | units << 640
    return (packed | k << 768 | x << 1024 | y << 1280).to_bytes(_BYTES, "little")


def weighted_header(
    fee: int,
    exponent: int,
    exact_powers: bool,
    balances: tuple[int, int],
    scaling: tuple[int, int],
    room: tuple[int, int],
) -> bytes:
    """Limbs: 0 kind, 4 fee, 5 exact powers, 6 and 8 scaled balances, 10 and 11 scaling factors, 12 exponent,
    14 what the Vault's word still takes, 16 cash. Fee, exponent and powers have 18 decimals."""
    packed = (
        tagged(WEIGHTED, fee, 10**18) | fee << 256 | exact_powers << 320 | balances[0] << 384 | balances[1] << 512
    )
    packed |= scaling[0] << 640 | scaling[1] << 704 | exponent << 768 | room[0] << 896 | room[1] << 1024
    return packed.to_bytes(_BYTES, "little")


def ratio_header(numerator: int, denominator: int, most_in: int, least_out: int) -> bytes:
    """Limbs: 0 kind, 4 numerator, 8 denominator, 12 the most that goes in, 16 the least output."""
    packed = RATIO | numerator << 256 | denominator << 512 | most_in << 768 | least_out << 1024
    return packed.to_bytes(_BYTES, "little")


def crypto_header(
    places: tuple[int, int, int],
    fees: tuple[int, int, int],
    balances: tuple[int, int],
    worth_in: int,
    scaled: tuple[int, int],
    d: int,
    out_unit: tuple[int, int],
    parameters: tuple[int, int],
    flags: int,
) -> bytes:
    """``places``: coins, i, j. ``fees``: at the peg, far from it, gamma. ``worth_in``: of a unit, in 36 decimals.
    ``scaled``: output and third coin. ``out_unit``: price and precision of the output. See ``kernels.crypto``."""
    n, i, j = places
    packed = CRYPTO | (n | i << 8 | j << 16) << 64 | out_unit[1] << 128 | fees[2] << 192 | fees[0] << 256
    packed |= fees[1] << 320 | balances[0] << 384 | worth_in << 512 | scaled[0] << 640 | scaled[1] << 768
    packed |= d << 896 | out_unit[0] << 1024 | parameters[0] << 1152 | parameters[1] << 1216 | balances[1] << 1280
    return (packed | flags << 1408).to_bytes(_BYTES, "little")

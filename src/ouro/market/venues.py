"""Which pool a log is about: its emitter, or for managers of pools what the family reads from the log."""

from collections.abc import Mapping

from ouro.protocols.base import Family
from ouro.protocols.v4_state import NATIVE
from ouro.types import Address, Log, PoolId

__all__ = ["NATIVE", "pool_of"]


def pool_of(log: Log, managers: Mapping[Address, Family]) -> PoolId:
    """The pool that a log would be of; ``managers`` are the contracts that have pools inside, with the family that
    reads their logs."""
    manager = managers.get(log.address)
    return log.address if manager is None else manager.pool_named(log) or log.address

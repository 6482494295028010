"""The value without which nothing is signed or sent, and that only this room makes."""

from dataclasses import InitVar, dataclass
from typing import Any, NoReturn
from weakref import WeakSet

from ouro.types import Mode, Plan

_SEAL = object()


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Approved:
    """A plan that passed every limit. ``limits_hash`` names the limits, ``checked_at_ms`` is wall-clock.

    It can't be built, replaced, copied or unpickled outside `ouro.risk`; a determined import of private names still
    could, which is why the signer holds caps of its own.
    """

    plan: Plan
    mode: Mode
    checked_at_ms: int
    limits_hash: str
    seal: InitVar[object]

    def __post_init__(self, seal: object) -> None:
        if seal is not _SEAL:
            raise TypeError("only the risk gate approves plans; pass the plan through RiskGate.check")
        _issued.add(self)

    def __copy__(self) -> "Approved":
        return self

    def __deepcopy__(self, _memo: Any) -> "Approved":
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("an approval is valid only in the process that made it")


_issued: WeakSet[Approved] = WeakSet()


def approve(plan: Plan, mode: Mode, checked_at_ms: int, limits_hash: str) -> Approved:
    """For the gate alone."""
    return Approved(plan, mode, checked_at_ms, limits_hash, _SEAL)


def require_approved(value: object) -> Approved:
    """``value`` if the gate made it; TypeError for anything else, also for what only looks like an approval."""
    if type(value) is not Approved or value not in _issued:
        raise TypeError("this plan was not approved by the risk gate; it must not be signed or sent")
    return value

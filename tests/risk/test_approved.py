"""Nothing but the gate makes an approval."""

import copy
import dataclasses
import pickle
from typing import Any, cast

import pytest

from ouro.risk.approved import Approved, approve, require_approved
from ouro.types import Mode, Plan

NO_PLAN = cast("Plan", "any plan")


def test_only_this_room_can_make_one() -> None:
    genuine = approve(NO_PLAN, Mode.LIVE, 1, "h")
    assert require_approved(genuine) is genuine
    with pytest.raises(TypeError, match="only the risk gate"):
        Approved(NO_PLAN, Mode.LIVE, 1, "h", object())
    with pytest.raises((TypeError, ValueError)):
        dataclasses.replace(genuine, plan=NO_PLAN)
    with pytest.raises(dataclasses.FrozenInstanceError):
        cast("Any", genuine).plan = NO_PLAN
    with pytest.raises(TypeError, match="only in the process"):
        pickle.dumps(genuine)
    assert copy.deepcopy(genuine) is genuine
    assert copy.copy(genuine) is genuine


def test_a_look_alike_is_refused() -> None:
    forged = object.__new__(Approved)
    for name, value in (("plan", NO_PLAN), ("mode", Mode.LIVE), ("checked_at_ms", 1), ("limits_hash", "h")):
        object.__setattr__(forged, name, value)
    for value in (forged, None, "approved", object()):
        with pytest.raises(TypeError, match="not approved"):
            require_approved(value)

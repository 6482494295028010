"""Breakers: small reasons to stop, each by itself, which outlive the process that found them."""

from ouro.risk.breakers.base import Breaker, Latch, Tripped
from ouro.risk.breakers.board import Board, Halts, breakers_of
from ouro.risk.breakers.events import (
    ApprovedOrder,
    BlockDone,
    Event,
    NodesDisagree,
    Reconciled,
    ReleasedOrder,
    Reorganised,
    SettledTrade,
    WithdrawnTrade,
)

__all__ = [
    "ApprovedOrder",
    "BlockDone",
    "Board",
    "Breaker",
    "Event",
    "Halts",
    "Latch",
    "NodesDisagree",
    "Reconciled",
    "ReleasedOrder",
    "Reorganised",
    "SettledTrade",
    "Tripped",
    "WithdrawnTrade",
    "breakers_of",
]

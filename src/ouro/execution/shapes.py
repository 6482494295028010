"""What plans know of a hop before they have its state: the shape that its family's swaps have."""

from ouro.protocols.registry import FAMILIES
from ouro.protocols.steps import Shape
from ouro.types import Hop

EXECUTABLE = frozenset(Shape)
"""Shapes that programs of the executor can express."""

GIVES_CREDIT = frozenset((Shape.PAIR, Shape.CONCENTRATED, Shape.MANAGED))
"""Shapes that pay out before they are paid."""


def shape_of(hop: Hop) -> Shape | None:
    """The shape of a hop's swap; None for a family that nobody knows."""
    family = FAMILIES.get(hop.family)
    return family.shape if family is not None else None


def executable_families(shapes: frozenset[Shape] = EXECUTABLE) -> list[str]:
    """Families whose swaps have one of these shapes, for messages."""
    return sorted(name for name, family in FAMILIES.items() if family.shape in shapes)

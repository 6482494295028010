"""What proves a family: its comparison with the real contract. Figures and seeds are in docs/protocols.md."""

from dataclasses import dataclass

PROVEN_CASES = 100_000
"""Random cases against the real contract that count as a whole proof, with no mismatch among them."""


@dataclass(frozen=True, slots=True)
class Proof:
    """Cases that were compared, and those that differed."""

    cases: int = 0
    mismatches: int = 0

    @property
    def whole(self) -> bool:
        """Whether the family may trade like any other."""
        return self.cases >= PROVEN_CASES and not self.mismatches

    def __str__(self) -> str:
        if self.whole:
            return f"proven: {self.cases:,} cases, 0 mismatches"
        return f"not proven: {self.cases:,} of {PROVEN_CASES:,} cases, {self.mismatches} mismatches"

"""The AMM families that the rest of the system can use, by name: ``FAMILIES[state.family]``.

A new one is one line in ``catalogue``. A family without a whole proof is off unless the configuration asks for it,
and live only with a signed-off override: ``DexConfig.unproven`` and ``DexConfig.sign_off``.
"""

from importlib import import_module

from ouro.protocols.base import Family
from ouro.protocols.catalogue import CATALOGUE, Entry
from ouro.protocols.proof import PROVEN_CASES, Proof

__all__ = ["FAMILIES", "PROVEN_CASES", "Proof", "proof_of", "register"]

FAMILIES: dict[str, Family] = {}


def register(entry: Entry) -> Family:
    """Make a family known to the whole system. Raises ``ValueError`` where it calls itself otherwise."""
    module, _, kind = entry.implementation.partition(":")
    family: Family = getattr(import_module(module), kind)()
    if family.name != entry.name:
        raise ValueError(f"{entry.implementation} is the family {family.name!r}, not {entry.name!r}")
    CATALOGUE[entry.name] = entry
    FAMILIES[entry.name] = family
    return family


for _entry in tuple(CATALOGUE.values()):
    register(_entry)


def proof_of(family: str) -> Proof:
    """What proves ``family``; an empty proof where nobody knows it."""
    return FAMILIES[family].proof if family in FAMILIES else Proof()

"""Which factories may be watched and traded: an unproven family is off unless the configuration says so."""

from ouro.config.model import ChainConfig, DexConfig
from ouro.engine.errors import EngineError
from ouro.protocols.registry import proof_of
from ouro.types import Mode


def why_off(dex: DexConfig, mode: Mode) -> str | None:
    """Why ``dex`` is left out in this mode; None where it takes part."""
    proof = proof_of(dex.family)
    if proof.whole:
        return None
    reason = f"family {dex.family} is {proof}"
    if dex.unproven == "off":
        return f'{reason}; unproven = "watch" turns it on for observe and paper'
    if mode is Mode.LIVE and dex.sign_off is None:
        return f"{reason}; it trades live only with a sign_off (by, date, reason)"
    return None


def allowed_dexes(config: ChainConfig, mode: Mode) -> tuple[ChainConfig, dict[str, str]]:
    """The chain with the factories that take part, and why each other one doesn't, by its name.

    Raises ``EngineError`` where none is left.
    """
    reasons = {dex.name: reason for dex in config.dexes if (reason := why_off(dex, mode)) is not None}
    if not reasons:
        return config, {}
    kept = tuple(dex for dex in config.dexes if dex.name not in reasons)
    if not kept:
        raise EngineError(f"no factory is left to watch: {'; '.join(reasons.values())}")
    return config.model_copy(update={"dexes": kept}), reasons

"""Which chains a run is about; known without any of the trading rooms."""

from collections.abc import Sequence

from ouro.config.model import OuroConfig
from ouro.engine.errors import EngineError


def chosen_chains(config: OuroConfig, chains: Sequence[str]) -> list[str]:
    """``chains``, or all that are configured. Raises ``EngineError`` naming those that there are not."""
    unknown = [name for name in chains if name not in config.chains]
    if unknown:
        raise EngineError(
            f"no such chain in the configuration: {', '.join(unknown)}; it has {', '.join(config.chains)}"
        )
    return list(dict.fromkeys(chains)) or list(config.chains)

"""What the tests of the command line pass around."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ouro.config.model import OuroConfig
from ouro.testnet.testnet import LocalChain


@dataclass(frozen=True)
class Said:
    """What a command left behind."""

    code: int
    out: str
    err: str


Ouro = Callable[..., Said]


@dataclass(frozen=True)
class Traded:
    """A chain, and the configuration and books of an engine that traded there for a few blocks."""

    chain: LocalChain
    config: OuroConfig
    file: Path

"""What the engine leaves in files (see ``ouro.engine.picture``), read with distrust: half a file is none."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ouro.engine.picture import FOLDER

GONE_AFTER_MS = 5_000
"""An engine writes its picture every second: after so long without one, it is not there."""


@dataclass(frozen=True, slots=True)
class ChainNow:
    """One chain as its engine last wrote it. ``age_ms`` is how old that is."""

    chain: str
    values: Mapping[str, Any]
    at_ms: int

    def age_ms(self, now_ms: int) -> int:
        """Since it was written."""
        return max(0, now_ms - self.at_ms)

    def alive(self, now_ms: int) -> bool:
        """Whether its engine still writes."""
        return self.values.get("process") == "running" and self.age_ms(now_ms) < GONE_AFTER_MS

    def block_age_ms(self, now_ms: int) -> int | None:
        """Since its last block came, as far as it told."""
        age = self.values.get("block_age_ms")
        return None if age is None else int(age) + self.age_ms(now_ms)


@dataclass(frozen=True, slots=True)
class PoolEdge:
    """A pool of the graph."""

    pool: str
    family: str
    tokens: tuple[str, ...]


@dataclass(slots=True)
class EngineFiles:
    """Reads the folder; what can't be read keeps what was read before."""

    data_dir: Path
    chains: dict[str, ChainNow] = field(default_factory=dict)
    pools: dict[str, tuple[PoolEdge, ...]] = field(default_factory=dict)
    symbols: dict[str, dict[str, str]] = field(default_factory=dict)
    decimals: dict[str, dict[str, int]] = field(default_factory=dict)
    _stamps: dict[Path, tuple[int, int]] = field(default_factory=dict)

    def refresh(self) -> bool:
        """Read what changed; whether anything did."""
        changed = False
        folder = self.data_dir / FOLDER
        try:
            paths = sorted(folder.glob("[!.]*.json"))
        except OSError:
            return False
        for path in paths:
            values = self._fresh(path)
            if values is None:
                continue
            changed = True
            try:
                if path.name.endswith(".pools.json"):
                    self._take_pools(path.name.removesuffix(".pools.json"), values)
                else:
                    self.chains[path.stem] = ChainNow(path.stem, values, int(values["at_ms"]))
            except (KeyError, TypeError, ValueError):
                continue
        return changed

    def _fresh(self, path: Path) -> dict[str, Any] | None:
        try:
            stat = path.stat()
            stamp = (stat.st_mtime_ns, stat.st_size)
            if self._stamps.get(path) == stamp:
                return None
            values = json.loads(path.read_text())
        except (OSError, ValueError):
            return None
        self._stamps[path] = stamp
        return values if isinstance(values, dict) else None

    def _take_pools(self, chain: str, values: dict[str, Any]) -> None:
        self.pools[chain] = tuple(
            PoolEdge(str(row["pool"]), str(row["family"]), tuple(map(str, row["tokens"])))
            for row in values["pools"]
        )
        tokens = {str(key): item for key, item in values["tokens"].items()}
        self.symbols[chain] = {key: str(item["symbol"]) for key, item in tokens.items() if item.get("symbol")}
        self.decimals[chain] = {
            key: int(item["decimals"]) for key, item in tokens.items() if item.get("decimals") is not None
        }


def now_ms() -> int:
    """Unix milliseconds."""
    return time.time_ns() // 1_000_000

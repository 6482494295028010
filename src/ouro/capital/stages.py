"""The stages of each chain, kept on disk: the system proposes the next one, a person approves it, falling is
automatic.

    observe → paper → canary → limited → full

Every change is appended to the audit chain before it holds. A file that can't be read means observe: nothing is
sent.
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ouro.capital.errors import CapitalError
from ouro.capital.files import exclusive, read_json, replace_file, stamp_of
from ouro.config.capital import STAGES, StageName

_FORMAT = 1
_LONGEST_TEXT = 500
Auditor = Callable[[str, Mapping[str, Any]], Any]
"""Appends to the audit chain: (kind, body). Raises when it can't; then nothing changes."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """The next stage, and what it rests on."""

    to: StageName
    at_ms: int
    evidence: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ChainStage:
    """Where a chain stands, since when, and who or what put it there."""

    stage: StageName = "observe"
    since_ms: int = 0
    by: str = "system"
    why: str = "the beginning"
    proposal: Proposal | None = None


def stage_path(data_dir: Path) -> Path:
    """Where the stages of a configuration are."""
    return data_dir / "capital" / "stages.json"


class StageStore:
    """Durable stages; asking costs one look at the file's stamp. Writers are serialised over processes."""

    def __init__(self, path: Path, audit: Auditor, *, clock_ms: Callable[[], int] | None = None) -> None:
        self._path, self._audit = path, audit
        self._clock_ms = clock_ms or (lambda: time.time_ns() // 1_000_000)
        self._stamp: tuple[int, int, int] | None = None
        self._fresh = False
        self._stages: dict[str, ChainStage] = {}
        self.problem = ""

    def of(self, chain: str) -> ChainStage:
        """Where ``chain`` stands; observe where nothing is known, or nothing can be read (see ``problem``)."""
        stamp = stamp_of(self._path)
        if not self._fresh or stamp != self._stamp:
            self._stamp, self._fresh = stamp, True
            try:
                self._stages, self.problem = self._load(), ""
            except CapitalError as error:
                self._stages, self.problem = {}, str(error)
        return self._stages.get(chain, ChainStage())

    def begin(self, chain: str) -> ChainStage:
        """Note when a chain began to be observed, once."""
        with exclusive(self._path.parent):
            known = self._load().get(chain)
            if known is not None:
                return known
            made = ChainStage(since_ms=self._clock_ms())
            return self._change(chain, made, "stage_began", {"chain": chain, "stage": made.stage})

    def propose(self, chain: str, evidence: Mapping[str, Any]) -> ChainStage:
        """Propose the stage after the present one. The same proposal again changes nothing. Raises
        `CapitalError`."""
        with exclusive(self._path.parent):
            now = self._load().get(chain, ChainStage())
            to = next_stage(now.stage)
            if to is None:
                raise CapitalError(f"{chain}: it is at stage {now.stage} already, there is none above")
            if now.proposal is not None and now.proposal.to == to:
                return now
            proposal = Proposal(to, self._clock_ms(), dict(evidence))
            body = {"chain": chain, "from": now.stage, "to": to, "evidence": dict(evidence)}
            return self._change(chain, replace(now, proposal=proposal), "stage_proposed", body)

    def approve(self, chain: str, *, by: str, why: str, confirm: Callable[[StageName], str]) -> ChainStage:
        """A person approves what was proposed. ``confirm`` looks at the gates once more and says what fails now.

        Raises `CapitalError`: no proposal, no name, no reason, or gates that no longer hold.
        """
        by, why = _text("by", by), _text("why", why)
        with exclusive(self._path.parent):
            now = self._load().get(chain, ChainStage())
            if now.proposal is None:
                raise CapitalError(
                    f"{chain}: nothing is proposed (it is at stage {now.stage}); see `ouro stage show` for what is "
                    "missing, and `ouro stage propose`"
                )
            wrong = confirm(now.stage)
            if wrong:
                raise CapitalError(f"{chain}: the gates of {now.stage} no longer hold: {wrong}; propose it again")
            made = ChainStage(now.proposal.to, self._clock_ms(), by, why)
            body = {"chain": chain, "from": now.stage, "to": made.stage, "by": by, "why": why}
            return self._change(chain, made, "stage_approved", body)

    def demote(self, chain: str, to: StageName, why: str) -> ChainStage:
        """Fall to a lower stage; needs nobody. Falling to where it is or above changes nothing."""
        with exclusive(self._path.parent):
            now = self._load().get(chain, ChainStage())
            if STAGES.index(to) >= STAGES.index(now.stage):
                return now
            made = ChainStage(to, self._clock_ms(), "system", why[:_LONGEST_TEXT])
            return self._change(
                chain, made, "stage_demoted", {"chain": chain, "from": now.stage, "to": to, "why": made.why}
            )

    def withdraw(self, chain: str, why: str) -> ChainStage:
        """A proposal whose gates no longer hold is taken back."""
        with exclusive(self._path.parent):
            now = self._load().get(chain, ChainStage())
            if now.proposal is None:
                return now
            body = {"chain": chain, "to": now.proposal.to, "why": why}
            return self._change(chain, replace(now, proposal=None), "stage_proposal_withdrawn", body)

    def _change(self, chain: str, made: ChainStage, kind: str, body: Mapping[str, Any]) -> ChainStage:
        stages = self._load() | {chain: made}
        self._audit(kind, body)
        values = {"format": _FORMAT, "chains": {name: asdict(each) for name, each in sorted(stages.items())}}
        replace_file(self._path, json.dumps(values, indent=1) + "\n")
        self._fresh = False
        return made

    def _load(self) -> dict[str, ChainStage]:
        values = read_json(self._path)
        if values is None:
            return {}
        chains = values.get("chains") if isinstance(values, dict) and values.get("format") == _FORMAT else None
        if not isinstance(chains, dict):
            raise CapitalError(f"{self._path}: format, chains: it is no file of stages; restore it or remove it")
        return {str(name): _parsed(self._path, str(name), row) for name, row in chains.items()}


def next_stage(stage: StageName) -> StageName | None:
    """The one above."""
    at = STAGES.index(stage)
    return STAGES[at + 1] if at + 1 < len(STAGES) else None


def lower_stage(stage: StageName) -> StageName:
    """The one below, or the lowest."""
    return STAGES[max(0, STAGES.index(stage) - 1)]


def _parsed(path: Path, chain: str, row: Any) -> ChainStage:
    try:
        proposal = row["proposal"]
        made = None
        if proposal is not None:
            made = Proposal(_known(proposal["to"]), int(proposal["at_ms"]), dict(proposal["evidence"]))
        return ChainStage(_known(row["stage"]), int(row["since_ms"]), str(row["by"]), str(row["why"]), made)
    except (TypeError, KeyError, ValueError) as error:
        raise CapitalError(f"{path}: chains.{chain}: {error!r} is wrong; restore the file or remove it") from None


def _known(name: Any) -> StageName:
    for stage in STAGES:
        if stage == name:
            return stage
    raise ValueError(f"stage {name!r}")


def _text(field: str, value: str) -> str:
    value = " ".join(value.split())
    if len(value) < 2:
        raise CapitalError(f"{field}: a promotion needs a named person and a reason: --by NAME --why TEXT")
    if len(value) > _LONGEST_TEXT:
        raise CapitalError(f"{field}: more than {_LONGEST_TEXT} characters; say it shorter")
    return value

"""The table of drills."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ouro.testnet.drills.faults import KINDS

_HEAD = """# Fault drills

`make drills` plays every kind of fault with several seeds on a local chain with the real contracts: engine, gate,
signer behind its socket, books, halts and audit chain. Risk capital is fifty times the largest loss that the limits
let a trade make. Kinds that can lose are also played with breakers off, and must then lose more than 5 %.
A scenario passes if the drawdown stays below 5 %, no trade is journaled after a halt, no trade could cost more than
the cap, books and chain agree to the wei, and the audit chain verifies.

| Kind | What happens | Played | Passed | Worst drawdown | Breakers off | Tripped | Sent after halt | Books differ |
|---|---|---|---|---|---|---|---|---|
"""


def write_report(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """One line a kind, over all its scenarios."""
    lines = [_line(kind, [row for row in rows if row["kind"] == kind]) for kind in KINDS]
    played = [row for row in rows if row["kind"] in KINDS]
    passed = sum(not row["failed"] for row in played)
    seconds = sum(row["seconds"] for row in played)
    foot = f"\n{len(played)} scenarios of {len(KINDS)} kinds, {passed} passed, {seconds / 60:.0f} minutes.\n"
    failed = [
        f"- {row['kind']}, seed {row['seed']}, breakers {row['breakers']}: {'; '.join(row['failed'])}"
        for row in played
        if row["failed"]
    ]
    text = "\nNot passed:\n\n" + "\n".join(failed) + "\n" if failed else ""
    path.write_text(_HEAD + "\n".join(line for line in lines if line) + "\n" + foot + text)


def _line(kind: str, rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return ""
    on = [row for row in rows if row["breakers"] == "on"]
    off = [row["drawdown_ppm"] for row in rows if row["breakers"] == "off"]
    tripped = sorted({name for row in on for name in row["tripped"]})
    cells = (
        f"`{kind}`",
        KINDS[kind].says,
        str(len(rows)),
        str(sum(not row["failed"] for row in rows)),
        f"{max((row['drawdown_ppm'] for row in on), default=0) / 10_000:.2f} %",
        f"{min(off) / 10_000:.1f} … {max(off) / 10_000:.1f} %" if off else "",
        ", ".join(tripped),
        str(sum(row["sends_after_halt"] for row in on)),
        f"{max((row['difference_wei'] for row in on), default=0)} wei",
    )
    return "| " + " | ".join(cells) + " |"

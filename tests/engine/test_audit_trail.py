"""What the engine's decisions look like in the audit chain."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

sys.path[:0] = [str(Path(__file__).parents[1] / "ledger")]

from ledger_examples import attempt, failed, landed, plan  # noqa: E402  # pyright: ignore[reportMissingImports]

from ouro.audit import AuditError, verify  # noqa: E402
from ouro.engine.audit_trail import AuditTrail, code_hash, together, writer_of  # noqa: E402
from ouro.engine.decision import Decision  # noqa: E402
from ouro.execution.lanes import Handover  # noqa: E402
from ouro.execution.submit import Submitted  # noqa: E402
from ouro.risk.approved import Approved, approve  # noqa: E402
from ouro.types import BlockUpdate, Cycle, Edge, Mode, Opportunity, OutcomeKind, Refused  # noqa: E402

SESSION = {"mode": "live", "config_hash": "c" * 64, "session_id": "s1"}
UPDATE = BlockUpdate("ethereum", 10, "0x" + "ab" * 32, "0x" + "aa" * 32, 1, 7, 0, 0, (), 0)


def opportunity() -> Opportunity:
    made = plan()
    cycle = Cycle(tuple(Edge(hop.pool, hop.i, hop.j) for hop in made.hops), ("0xa", "0xb", "0xa"))
    return Opportunity("ethereum", cycle, (1, 2, 3), 2, 100_000, 10, UPDATE.hash)


def records(folder: Path) -> list[dict[str, Any]]:
    path = folder / "audit" / "engine-ethereum.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_trade_from_found_to_outcome(tmp_path: Path) -> None:
    trail = AuditTrail.open(tmp_path, ["ethereum"], SESSION)
    chain = trail.of("ethereum")
    made = plan()
    approved = approve(made, Mode.LIVE, 5, "limits")
    chain.decided(UPDATE, Decision(), ())
    chain.decided(UPDATE, Decision((opportunity(),), [made], candidates=3), [approved])
    chain.refused(Refused("plan-2", "max_notional", "too large"))
    chain.submitted(Submitted(attempt(), 1, 2, Handover.ACCEPTED))
    chain.outcome(attempt(), landed())
    chain.outcome(attempt(), None)
    chain.outcome(attempt(), failed("1", OutcomeKind.LOST))
    trail.close()
    assert verify(tmp_path / "audit").ok
    found = records(tmp_path)
    assert [record["kind"] for record in found] == [
        "chain_opened",
        "session_started",
        "decided",
        "refused",
        "sent",
        "outcome",
        "outcome_withdrawn",
        "outcome",
        "session_ended",
    ]
    session = found[1]
    assert session["body"]["config_hash"] == SESSION["config_hash"]
    assert session["body"]["code_sha256"] == code_hash()
    assert all(record["body"]["session"] == session["hash"] for record in found[2:])
    decided = found[2]["body"]
    assert decided["quiet_blocks_before"] == 1
    assert decided["block_hash"] == UPDATE.hash
    assert decided["opportunities"][0]["amounts_wei"] == ["1", "2", "3"]
    assert decided["approved"] == [{"plan": "plan-1", "limits": "limits", "at_ms": 5}]
    assert len(decided["plans"][0]["plan_sha256"]) == 64
    assert found[4]["body"]["handover"] == "accepted"
    assert found[5]["body"]["outcome"] == "landed"


def test_a_session_that_has_no_json_form_lets_go_of_the_chain(tmp_path: Path) -> None:
    with pytest.raises(AuditError, match="session_started"):
        AuditTrail.open(tmp_path, ["ethereum"], {"mode": object()})
    AuditTrail.open(tmp_path, ["ethereum"], SESSION).close()


@pytest.mark.parametrize(
    ("chains", "writer"),
    [
        (["fantom"], "engine-fantom"),
        (["fantom", "ethereum"], "engine-ethereum-fantom"),
        (["My Chain.2"], "engine-my-chain-2"),
    ],
)
def test_writers_are_named_by_their_chains(chains: list[str], writer: str) -> None:
    assert writer_of(chains) == writer


def test_many_chains_make_a_short_name() -> None:
    first, second = writer_of([f"chain{k}" for k in range(40)]), writer_of([f"chain{k}" for k in range(41)])
    assert first != second
    assert len(first) <= 64


def test_listeners_together() -> None:
    assert together(None, None) is None
    heard: list[str] = []

    class One:
        def decided(self, update: BlockUpdate, decision: Decision, approved: Sequence[Approved]) -> None:
            heard.append("decided")

        def refused(self, refused: Refused) -> None:
            heard.append("refused")

        def submitted(self, submitted: Submitted) -> None:
            heard.append("submitted")

    one = One()
    assert together(one, None) is one
    both = together(one, One())
    assert both is not None
    both.decided(UPDATE, Decision(), ())
    both.refused(Refused("p", "r", "d"))
    both.submitted(Submitted(attempt(), 1, 2, Handover.ACCEPTED))
    assert heard == ["decided"] * 2 + ["refused"] * 2 + ["submitted"] * 2

"""A process for each chain: what happens to one touches no other, and a halt works from outside of all of them."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from e2e_running import Running, assert_sound

from ouro.testnet.demo import DemoOptions

pytestmark = [pytest.mark.e2e, pytest.mark.node, pytest.mark.timeout(400)]


def pids(run: Running) -> dict[str, int]:
    """Of the chains' processes."""
    path = run.demo.work_dir / "data" / "processes.json"
    run.wait("the chains' processes", path.exists)
    return json.loads(path.read_text())["chains"]


def ouro(run: Running, *arguments: str) -> Any:
    """The command, as a person calls it beside the running engine."""
    command = [sys.executable, "-m", "ouro.cli", *arguments, "--config", str(run.demo.work_dir / "ouro.toml")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_one_chain_dies_hangs_and_is_halted_beside_another(work_dir: Path) -> None:
    with Running(work_dir, DemoOptions(blocks=None)) as run:
        run.wait_landed("ethereum", 1)
        run.wait_landed("fantom", 1)
        before = pids(run)

        os.kill(before["ethereum"], signal.SIGKILL)
        run.wait("ethereum's next process", lambda: pids(run)["ethereum"] != before["ethereum"])
        run.wait_landed("ethereum", 1)
        assert pids(run)["fantom"] == before["fantom"]

        hanging = pids(run)["ethereum"]
        os.kill(hanging, signal.SIGSTOP)
        try:
            run.wait_landed("fantom", 3)
            said = ouro(run, "halt", "--by", "anna", "--why", "a chain hangs", "--json")
            assert said["signer"]["state"] == "refuses"
        finally:
            with contextlib.suppress(ProcessLookupError):  # where it took long it was killed for its silence
                os.kill(hanging, signal.SIGCONT)
        run.wait_blocks("ethereum", 3)  # what was signed before the halt is journaled by now
        run.wait("a refusal", lambda: run.books.refusals().get("fantom", {}).get("chain_halted"))
        silent = {chain: len(run.attempts(chain)) for chain in ("ethereum", "fantom")}
        run.wait_blocks("ethereum", 3)
        run.wait_blocks("fantom", 3)
        assert {chain: len(run.attempts(chain)) for chain in silent} == silent
        assert [halt["by"] for halt in ouro(run, "halts", "--json")] == ["anna"]

        lifted = ouro(run, "resume", "--by", "bob", "--why", "it was the test", "--json")
        assert (len(lifted["lifted"]), lifted["in_force"]) == (1, [])
        for chain in silent:
            run.wait_landed(chain, 1)
        assert_sound(run.finish())
        events = ouro(run, "halts", "--history", "--json")
        assert [event["event"] for event in events] == ["halt", "resume"]

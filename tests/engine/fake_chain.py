"""Stands in for a chain's process under the supervisor: speaks its wire, trades nothing. The chain's name says what
it does: ``good`` counts its blocks and ends, ``crash`` dies after three of them in each life, ``hang`` goes silent
in its first life, ``bad`` can't begin.
"""

import argparse
import os
import signal
import sys
import time
from pathlib import Path

from ouro.engine.status import ChainStatus
from ouro.engine.status_wire import StatusSender
from ouro.types import OutcomeKind

parser = argparse.ArgumentParser()
parser.add_argument("chain")
parser.add_argument("marks")
parser.add_argument("--status-fd", type=int)
parser.add_argument("--blocks", type=int, default=10**9)
asked = parser.parse_args()
if asked.chain == "bad":
    print("ouro: this can't begin", file=sys.stderr)
    sys.exit(2)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
marks = Path(asked.marks)
(marks / f"{asked.chain}-{os.getpid()}").touch()
sender = StatusSender(asked.status_fd)
status = ChainStatus(asked.chain, state="running", freshness="ready")
while status.blocks < asked.blocks:
    status.blocks += 1
    status.net_wei += 2**70
    status.outcomes[OutcomeKind.LANDED.value] += 1
    status.decided.add(1.5)
    while not sender.send(status):
        time.sleep(0.01)
    if asked.chain == "crash" and status.blocks == 3:
        os._exit(7)
    if asked.chain == "hang" and len(list(marks.glob("hang-*"))) == 1:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(10_000)
    time.sleep(0.01)

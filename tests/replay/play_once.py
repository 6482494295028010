"""``python play_once.py RECORDING FOLDER``: play it, print the digest of the decisions and what they came to."""

import asyncio
import sys
from pathlib import Path

from ouro.engine.journal import DecisionJournal
from ouro.replay.recording import Recording
from ouro.replay.session import play

if __name__ == "__main__":
    folder = Path(sys.argv[2])
    journal = DecisionJournal(folder / "journal.jsonl")
    asyncio.run(play(Recording.open(Path(sys.argv[1])), folder, journal=journal))
    journal.close()
    print(journal.digest, journal.blocks, journal.plans, journal.transactions)

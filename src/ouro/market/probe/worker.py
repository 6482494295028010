"""The process that a trial runs in: a job as JSON on standard input, what was seen as JSON on standard output."""

import json
import sys
from dataclasses import asdict

from ouro.market.probe.script import Job, Trial, open_evm


def main() -> int:
    """Entry point of ``python -m ouro.market.probe.worker``."""
    order = json.loads(sys.stdin.read())
    job = Job(**order["job"])
    seen = asdict(Trial(open_evm(job, order["url"]), job).run())
    print(json.dumps({**seen, "flags": sorted(seen["flags"])}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Analysers over the executor, in a virtual environment and lock of their own (requirements-audit.lock).

    python contracts/audit.py        slither, then halmos; exit 1 on an unexplained finding or a failed property

They see the sources in a folder of their own, so that neither the tests' libraries nor old build output take part.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TOOLS = ROOT / ".venv-audit" / "bin"
FORGE = ROOT / "node_modules" / "@foundry-rs" / "forge-linux-amd64" / "bin"

# Detector → why its finding stays. Only low ones: high and medium may not be explained away here.
EXPLAINED = {
    "missing-zero-check": "offerOwnership(0) is how an offer is taken back; nobody can accept it",
    "reentrancy-events": "withdraw logs after it paid: the owner's own call, nothing is written after it",
    "timestamp": "the deadline is a guard of the operator's own plan; a builder can only let it run or not",
}
_CONFIG = """
[profile.default]
src = "src"
test = "test"
out = "out"
solc = "{solc}"
offline = true
auto_detect_solc = false
evm_version = "cancun"
optimizer = true
via_ir = true
ast = true
"""


def project(folder: Path) -> None:
    """A forge project with the executor and its symbolic properties."""
    sources = ("OuroExecutor.sol", "ExecutorRoles.sol", "TestToken.sol")
    for name, files in (("src", sources), ("test", ("Symbolic.t.sol",))):
        (folder / name).mkdir()
        for file in files:
            shutil.copy(ROOT / "contracts" / name / file, folder / name)
    (folder / "foundry.toml").write_text(_CONFIG.format(solc=ROOT / "contracts" / "solc"))


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a tool of the audit environment inside ``folder``."""
    environment = {**os.environ, "PATH": f"{FORGE}{os.pathsep}{os.environ['PATH']}"}
    arguments = [str(TOOLS / command[0]), *command[1:]]
    return subprocess.run(arguments, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def slither(folder: Path) -> int:
    """Findings of every impact but informational; how many are not explained."""
    report = folder / "slither.json"
    filters = ("--exclude-informational", "--exclude-optimization", "--filter-paths", "test/|TestToken")
    done = run(folder, "slither", ".", *filters, "--json", str(report))
    if not report.exists():
        print(f"slither did not run: {done.stderr.strip()[-500:]}")
        return 1
    answer = json.loads(report.read_text())
    if not answer["success"]:
        print(f"slither did not run: {answer['error']}")
        return 1
    open_findings = 0
    for finding in answer["results"].get("detectors", []):
        reason = EXPLAINED.get(finding["check"]) if finding["impact"] == "Low" else None
        open_findings += reason is None
        line = finding["description"].splitlines()[0]
        print(f"slither: {finding['impact']} {finding['check']}: {line}\n         {reason or 'UNEXPLAINED'}")
    print(f"slither: {open_findings} unexplained")
    return open_findings


def halmos(folder: Path) -> int:
    """Properties that do not hold."""
    done = run(folder, "halmos", "--solver-timeout-assertion", "120000")
    lines = [line for line in done.stdout.splitlines() if "check_" in line or "Symbolic test result" in line]
    print("\n".join(lines) or f"halmos did not run: {done.stderr.strip()[-500:]}")
    return 0 if done.returncode == 0 and lines else 1


def main() -> int:
    """Entry point."""
    if not (TOOLS / "slither").exists():
        print("audit: run `make audit`, which installs the tools", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="ouro-audit-") as name:
        project(Path(name))
        return 1 if slither(Path(name)) + halmos(Path(name)) else 0


if __name__ == "__main__":
    sys.exit(main())

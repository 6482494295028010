"""Write the files that Prometheus and Grafana read: ``python -m ouro.monitoring.generate [--check]``."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ouro.monitoring.grafana import DASHBOARDS, dashboard
from ouro.monitoring.rules import RUNBOOKS, alert_groups, recording_groups

DEPLOY = Path(__file__).parents[3] / "deploy"
_NOTE = "# Written by `python -m ouro.monitoring.generate`; change src/ouro/monitoring/rules.py instead.\n"


def files(runbooks: str = RUNBOOKS) -> dict[str, str]:
    """Contents by path under the folder ``deploy``."""
    found = {
        "prometheus/rules/recording.yml": _NOTE + _yaml(recording_groups()),
        "prometheus/rules/alerts.yml": _NOTE + _yaml(alert_groups(runbooks)),
    }
    for name in DASHBOARDS:
        found[f"grafana/dashboards/{name}.json"] = json.dumps(dashboard(name), indent=2, ensure_ascii=False) + "\n"
    return found


def _yaml(value: Any, depth: int = 0) -> str:
    """Block style for mappings and lists, JSON strings for texts: YAML is a superset of JSON."""
    margin = "  " * depth
    if isinstance(value, dict):
        lines = [f"{margin}{key}:{_nested(item, depth)}" for key, item in value.items()]
        return "".join(lines)
    items = [_yaml(item, depth + 1) for item in value]
    return "".join(f"{margin}- {item.removeprefix('  ' * (depth + 1))}" for item in items)


def _nested(value: Any, depth: int) -> str:
    if isinstance(value, dict | list):
        return "\n" + _yaml(value, depth + 1)
    return f" {json.dumps(value, ensure_ascii=False)}\n"


def main(argv: Sequence[str] | None = None) -> int:
    """The command; 1 where ``--check`` finds a file that is not as it would be written."""
    parser = argparse.ArgumentParser(prog="python -m ouro.monitoring.generate")
    parser.add_argument("--check", action="store_true", help="only compare")
    parser.add_argument("--output", type=Path, default=DEPLOY)
    parser.add_argument("--runbooks", default=RUNBOOKS, help="where the alerts' pages are read")
    arguments = parser.parse_args(argv)
    old = []
    for name, text in files(arguments.runbooks).items():
        path: Path = arguments.output / name
        if arguments.check:
            old += [name] if not path.is_file() or path.read_text(encoding="utf-8") != text else []
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    for name in old:
        sys.stderr.write(f"{name} is not as src/ouro/monitoring says: run python -m ouro.monitoring.generate\n")
    return 1 if old else 0


if __name__ == "__main__":
    sys.exit(main())

"""The site of the documents builds strictly, holds every setting, loads nothing from elsewhere; blocks run."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
_BLOCK = re.compile(
    r"(?:<!-- not executed: (?P<why>[^>]+) -->\s*\n)?```(?:sh|bash|shell|console)\n(?P<lines>.*?)```", re.DOTALL
)
_LOADED = re.compile(
    r"""<(?:script|img|iframe|source|link)\b[^>]*?\b(?:src|href)=["']?(https?:)?//[^>]*>|@import\s+url\(["']?https?:"""
)
_JUST_LINKS = re.compile(r'<link\b[^>]*rel=["\']?(?:canonical|next|prev|alternate)')


def blocks(path: Path) -> list[tuple[str, str]]:
    """(why it is not executed or nothing, the lines) of every shell block."""
    return [(found["why"] or "", found["lines"]) for found in _BLOCK.finditer(path.read_text())]


RUNNABLE = [
    pytest.param(lines, id=f"{path.name}-{number}")
    for path in DOCUMENTS
    for number, (why, lines) in enumerate(blocks(path))
    if not why
]


@pytest.mark.parametrize("lines", RUNNABLE)
def test_a_shell_block_does_what_it_says(lines: str, tmp_path: Path) -> None:
    """As a reader would: in a checkout (here its documents), with `ouro` on the path."""
    shutil.copytree(ROOT / "docs", tmp_path / "docs", ignore=shutil.ignore_patterns("runbooks", "pictures"))
    programs = tmp_path / "programs"
    programs.mkdir()
    command = programs / "ouro"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m ouro.cli "$@"\n')
    command.chmod(0o755)
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}
    script = re.sub(r"\.venv/bin/ouro", "ouro", lines)
    done = subprocess.run(
        ["sh", "-eu", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_what_is_not_executed_says_why() -> None:
    reasons = {why for path in DOCUMENTS for why, _ in blocks(path) if why}
    assert all(len(why) > 10 for why in reasons)


def test_the_site_builds_strictly_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3_000:]
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > 15
    for page in pages:
        foreign = [
            found.group() for found in _LOADED.finditer(page.read_text()) if not _JUST_LINKS.match(found.group())
        ]
        assert foreign == [], page
    for sheet in (tmp_path / "site").rglob("*.css"):
        assert not re.search(r"(?:url\(|@import)\s*[\"']?https?://", sheet.read_text()), sheet
    settings = (tmp_path / "site" / "configure.html").read_text()
    for name in ("max_daily_loss_wei", "inclusion_blocks", "session_minutes", "retention_days"):
        assert name in settings
    assert "quote_in" in (tmp_path / "site" / "reference.html").read_text()


def test_every_setting_is_in_the_table() -> None:
    from ouro.config.model import ChainConfig, OuroConfig, RiskConfig
    from ouro.config.parameters import sections

    found = {section.path.strip("[]"): {each.path for each in section.parameters} for section in sections()}
    assert {"mode", "data_dir"} <= found[""]
    assert {"endpoints", "max_hops"} <= found["chains.NAME"]
    places = {re.sub(r"[\[\]]", "", part) for path in found for part in path.split(".")}
    everything = places.union(*found.values())
    for model in (OuroConfig, ChainConfig, RiskConfig):
        assert set(model.model_fields) <= everything

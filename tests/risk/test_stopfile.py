"""One judgement of the files that stop trading, whoever asks."""

from pathlib import Path

from ouro.stopfile import stop_file_problem


def test_a_file_stops_while_it_is_there_or_cannot_be_looked_for(tmp_path: Path) -> None:
    path = tmp_path / "kill"
    assert stop_file_problem(path) == ""
    path.touch()
    assert f"{path} is present; remove it" in stop_file_problem(path)
    assert "can't be looked for" in stop_file_problem(path / "below a file")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert "can't be looked for" in stop_file_problem(tmp_path / "loop" / "kill")

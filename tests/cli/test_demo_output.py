"""Where the demo's result goes: the run itself is the end-to-end tests' matter."""

import pytest
from cli_bench import Ouro

from ouro.testnet import demo


@pytest.mark.parametrize(("words", "shown"), [([], "these books are empty"), (["--json"], '"chains"')])
def test_the_result_is_on_stdout_and_progress_is_not(
    ouro: Ouro, monkeypatch: pytest.MonkeyPatch, words: list[str], shown: str
) -> None:
    def finished(options: object, say: object, view: object) -> dict[str, object]:
        assert callable(say)
        say("chains are up")
        return {"chains": {}, "kinds": {}, "kinds_without_landed": []}

    monkeypatch.setattr(demo, "run_demo", finished)
    said = ouro("demo", *words)
    assert said.code == 0
    assert shown in said.out
    assert said.err == "chains are up\n"

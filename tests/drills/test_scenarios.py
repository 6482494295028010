"""A few drills whole; ``make drills`` plays all of them."""

from pathlib import Path

import pytest

from ouro.testnet.drills.ground import ground
from ouro.testnet.drills.scenario import play

pytestmark = [pytest.mark.node, pytest.mark.timeout(600)]


async def test_a_rival_that_always_wins_costs_little_with_breakers_and_much_without(tmp_path: Path) -> None:
    with ground(tmp_path / "a chain") as place:
        guarded = await play(place, "rival_always_wins", 1, tmp_path / "on")
        assert guarded.failed == []
        assert guarded.sends_after_halt == 0
        bare = await play(place, "rival_always_wins", 1, tmp_path / "off", "off")
        assert bare.failed == []
        assert bare.drawdown_ppm > 50_000 > guarded.drawdown_ppm

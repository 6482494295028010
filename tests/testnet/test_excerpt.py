from pathlib import Path

import pytest

from ouro.testnet import excerpt


def test_committed_excerpts_are_what_the_tool_cuts_from_the_records(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    committed = excerpt.DATA_DIR
    monkeypatch.setattr(excerpt, "DATA_DIR", tmp_path)
    monkeypatch.setattr("sys.argv", ["excerpt", str(shared_data / "open" / "pools")])
    excerpt.main()
    for name in ("pools_ethereum.csv", "pools_fantom.csv"):
        assert (tmp_path / name).read_bytes() == (committed / name).read_bytes()


def row(**values: str) -> dict[str, str]:
    basic = {"kind": "v2", "token0": "0xa", "token1": "0xb", "decimals0": "0", "decimals1": "0", "dex": "d"}
    return basic | {"symbol0": "A", "symbol1": "B", "pool": "0xP", "snapshot_date": "x"} | values


def test_prices_spread_from_the_stable_through_the_deepest_pools() -> None:
    rows = [
        row(reserve0="1000", reserve1="2000"),
        row(reserve0="10", reserve1="90"),
        row(token0="0xb", token1="0xc", reserve0="100", reserve1="50"),
    ]
    assert excerpt.usd_prices(rows, "0xa") == {"0xa": 1.0, "0xb": 0.5, "0xc": 1.0}


def test_prices_of_disconnected_tokens_are_not_guessed() -> None:
    rows = [row(reserve0="1", reserve1="1"), row(token0="0xc", token1="0xd", reserve0="5", reserve1="5")]
    assert set(excerpt.usd_prices(rows, "0xa")) == {"0xa", "0xb"}

"""``ouro scan`` as a person runs it: CSV and JSON on stdout, everything else on stderr."""

import csv
import io
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ouro.cli.main import app

WETH = "0xc02aaa39b223fe8d0a0e5c4f27ead9083c756cc2"
TOKEN = "0x" + "ab" * 20
HEADER = "chain_id,kind,pool,token0,token1,fee_ppm,reserve0,reserve1"


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    folder = tmp_path / "a folder with blanks"
    folder.mkdir()
    path = folder / "pools.csv"
    rows = [
        f"1,v2,0x{1:040x},0x{'AB' * 20},{WETH},,{10**21},{10**21}",
        f"1,v2,0x{2:040x},{TOKEN},{WETH},3000,{10**21},{11 * 10**20}",
        f"1,v2,0x{3:040x},{TOKEN},{WETH},3000,NaN,{10**21}",
    ]
    path.write_text("\n".join([HEADER, *rows]))
    return path


def test_csv(snapshot: Path) -> None:
    result = CliRunner().invoke(app, ["scan", str(snapshot), "--csv"])
    assert result.exit_code == 0, result.stderr
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert list(rows[0]) == ["n_hops", "pools", "tokens", "amount_in", "amount_out", "profit"]
    (row,) = rows
    assert row["pools"] == f"0x{1:040x}|0x{2:040x}"
    assert row["tokens"] == f"{WETH}|{TOKEN}|{WETH}"
    assert int(row["profit"]) == int(row["amount_out"]) - int(row["amount_in"]) > 10**18
    assert "1 rows left out" in result.stderr
    assert f"0x{3:040x}: reserve0 is no integer: 'NaN'" in result.stderr


def test_json_and_options(snapshot: Path) -> None:
    result = CliRunner().invoke(app, ["scan", str(snapshot), "--json", "--start", TOKEN, "--max-hops", "2"])
    (entry,) = json.loads(result.stdout)
    assert entry["tokens"] == f"{TOKEN}|{WETH}|{TOKEN}"
    assert isinstance(entry["profit"], int)
    assert entry["bucket_only"] == []
    high = CliRunner().invoke(app, ["scan", str(snapshot), "--json", "--min-profit", str(10**30)])
    assert json.loads(high.stdout) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--start", "WETH"], "--start 'WETH'"),
        (["--fee-ppm", "1000000"], "--fee-ppm 1000000"),
        (["--csv", "--json"], "exclude each other"),
        (["--max-hops", "9"], "max-hops"),
    ],
)
def test_senseless_requests(snapshot: Path, arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(app, ["scan", str(snapshot), *arguments])
    assert result.exit_code == 2
    assert message in result.stderr.replace("\n", " ")
    assert result.stdout == ""


def test_a_missing_file_is_a_message(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["scan", str(tmp_path / "none.csv")])
    assert result.exit_code == 2
    assert "none.csv" in result.stderr


def test_a_file_without_a_usable_row_names_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(f"{HEADER}\n1,v2,junk,a,b,,1,1\n")
    result = CliRunner().invoke(app, ["scan", str(path)])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "line 2: junk: pool is no address" in result.stderr
    assert "no row can be used" in result.stderr

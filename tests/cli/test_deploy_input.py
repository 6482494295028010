"""What a person types for money and time, read exactly or refused."""

import pytest
from typer.testing import CliRunner

from ouro.cli.contract_deploy import _wei_of_gwei
from ouro.cli.main import app
from ouro.execution.describe import InputError


def test_gwei_are_read_exactly() -> None:
    assert _wei_of_gwei("12.5") == 12_500_000_000
    assert _wei_of_gwei("123456789.123456789") == 123_456_789_123_456_789  # a float would round it
    assert _wei_of_gwei("1e-9") == 1


@pytest.mark.parametrize("text", ["inf", "nan", "-1", "0", "1e-10", "1e300", "abc", "", "1e999999999"])
def test_other_prices_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="--max-gas-price"):
        _wei_of_gwei(text)


@pytest.mark.parametrize("option", ["--mine", "--timeout"])
def test_no_endless_waits(option: str) -> None:
    said = CliRunner().invoke(app, ["contract", "deploy", "--chain", "one", option, "inf"])
    assert said.exit_code == 2
    assert option in said.output

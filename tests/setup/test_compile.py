"""The compiler wrapper: imports, errors for people, and a check that notices every change."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAD = "// SPDX-License-Identifier: MIT\npragma solidity 0.8.37;\n"


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("ouro_contracts_compile", ROOT / "contracts" / "compile.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sources = tmp_path / "src"
    (sources / "lib").mkdir(parents=True)
    (sources / "A.sol").write_text(
        HEAD + '// import "./nothing.sol";\nimport {L} from "./lib/L.sol";\n'
        "contract A { function f() external pure returns (uint256) { return L.one(); } }\n"
    )
    (sources / "lib" / "L.sol").write_text(
        HEAD + "library L { function one() internal pure returns (uint256) { return 1; } }\n"
    )
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "SOURCES", sources)
    monkeypatch.setattr(module, "CONTRACTS", {"A.sol": ("A", tmp_path / "out" / "A.json")})
    (tmp_path / "node_modules").symlink_to(ROOT / "node_modules")
    return module


def test_compiles_with_imports_and_checks(
    compiler: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compiler.main(["--check"]) == 1
    assert compiler.main([]) == 0
    written = json.loads((tmp_path / "out" / "A.json").read_text())
    assert set(written) == {"contract", "compiler", "source_sha256", "abi", "bytecode", "deployed_bytecode"}
    assert written["compiler"].startswith("solc 0.8.37")
    assert bytes.fromhex(written["bytecode"][2:]).endswith(bytes.fromhex(written["deployed_bytecode"][2:]))
    assert compiler.main(["--check"]) == 0
    library = tmp_path / "src" / "lib" / "L.sol"
    library.write_text(library.read_text() + "// a comment is a change too\n")
    assert compiler.main(["--check"]) == 1
    assert "out/A.json is not what its source compiles to" in capsys.readouterr().out


def test_errors_name_the_file(compiler: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "src" / "A.sol"
    source.write_text(HEAD + "contract A { uint256 x = true; }\n")
    assert compiler.main([]) == 1
    assert "A.sol:3" in capsys.readouterr().err
    source.write_text(HEAD + 'import "./gone.sol";\n')
    assert compiler.main([]) == 1
    assert "gone.sol: No such file" in capsys.readouterr().err
    source.write_text(HEAD + 'import "../../../etc/passwd";\n')
    assert compiler.main([]) == 1
    assert "leaves contracts/src" in capsys.readouterr().err

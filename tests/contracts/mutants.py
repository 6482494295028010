# ruff: noqa: E501 - a table of source text
"""Mutation of the executor: drop or invert each check of this list; the tests must notice every one.

    python tests/contracts/mutants.py [--only NAME | --first N]

Each mutant is compiled and run through ``KILLERS``; exit 1 when one survives.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from packages import compiler
from world import ROOT

SOURCES = ("OuroExecutor.sol", "ExecutorRoles.sol")
KILLERS = (
    "tests/contracts/test_executor_roles.py",
    "tests/contracts/test_executor_security.py",
    "tests/contracts/test_executor_plans.py",
    "tests/contracts/test_executor_families.py",
    "tests/contracts/test_executor_hooks.py",
    "tests/contracts/test_executor_tokens.py",
    "tests/contracts/test_executor_venues.py",
)

# One test compares the code itself and would kill anything: it doesn't count, and isn't run.
# name → (text of the source, what replaces it); the text occurs once
MUTANTS: dict[str, tuple[str, str]] = {
    "block guard": ("maxBlock != 0 && block.number > maxBlock", "false"),
    "block guard off by one": ("block.number > maxBlock", "block.number >= maxBlock"),
    "version": ("if (flags > 31) revert BadProgram();", ""),
    "deadline": ("if (block.timestamp > deadline) revert Late();", ""),
    "deadline off by one": ("block.timestamp > deadline", "block.timestamp >= deadline"),
    "parent hash": ("if (uint256(blockhash(block.number - 1)) >> 192 != parent) revert Late();", ""),
    "operator": ("if (word == 0) revert NotOperator();", ""),
    "pause": ("if (word & PAUSED != 0) revert IsPaused();", ""),
    "lock": ("if (running != 0) revert Reentered();", ""),
    "lock taken": ("tstore(TOKENS, or(LISTED, token))", "tstore(TOKENS, 0)"),
    "lock cleared": (
        "// Cleared, not left to the end of the transaction: one transaction may hold two programs.\n"
        '        assembly ("memory-safe") {\n            tstore(TOKENS, 0)',
        '        assembly ("memory-safe") {\n            tstore(EXPECTED, 0)',
    ),
    "length of the list": ("if (count >= MAX_TOKENS) revert BadProgram();", ""),
    "comparison of listed tokens": ("if (now_ < before[k]) revert BalanceFell(token);", ""),
    "comparison inverted": ("now_ < before[k]", "now_ > before[k]"),
    "list cleared": ("tstore(add(TOKENS, k), 0)", ""),
    "held cleared": ("tstore(add(HELD, k), 0)", ""),
    "held stored": ("tstore(add(HELD, k), amount)", ""),
    "native balance read": ("before[k] = token == address(0) ? address(this).balance", "before[k] = token == address(0) ? 0"),
    "balance may not fall": ("if (got < held) revert Shortfall(0, minProfit);", "if (got < held) held = got;"),
    "profit floor": ("if (got < minProfit) revert Shortfall(got, minProfit);", ""),
    "floor after the bribe": (
        "if (flags & HAS_BRIBE != 0) got -= _bribe(flags, word, token, got);\n"
        "        if (got < minProfit) revert Shortfall(got, minProfit);",
        "if (got < minProfit) revert Shortfall(got, minProfit);\n"
        "        if (flags & HAS_BRIBE != 0) got -= _bribe(flags, word, token, got);",
    ),
    "payout accepted": ("&& !_transfer(token, to, got)) revert TransferFailed();", "&& _transfer(token, to, got)) {}"),
    "inventory": ("to != address(this) && ", ""),
    "bribe cap": ("if (share > (word >> CAP_AT) & 0xffffff) revert BribeRefused();", ""),
    "bribe recipient": ("if (!isBribeRecipient[to]) revert BribeRefused();", ""),
    "bribe arrives": ("if (!ok || address(this).balance < before) revert BribeRefused();", "if (address(this).balance < before) revert BribeRefused();"),
    "bribe spends nothing held": ("!ok || address(this).balance < before", "!ok"),
    "bribe gas": ("gas: BRIBE_GAS", "gas: gasleft()"),
    "callback authenticity": ("if (!authentic) revert BadCallback();", ""),
    "callback caller": ("mstore(m, caller())\n", "mstore(m, shl(96, 1))\n"),
    "callback data": ("authentic := eq(or(and(keccak256(m, add(size, 0x20)), HASHED), shape), expected)", "authentic := 1"),
    "pair names us": ("if eq(shape, 4) { authentic := and(authentic, eq(calldataload(4), address())) }", ""),
    "callback once": ("                tstore(EXPECTED, 0)\n            }\n        }\n        if (!authentic)", "            }\n        }\n        if (!authentic)"),
    "callback came": ("if tload(EXPECTED) { fail(0x4b520fc3) } // CallbackSkipped", ""),
    "answer to V4": ("case 1 {\n                mstore(0, 0x20)", "case 7 {\n                mstore(0, 0x20)"),
    "answer to Aave": ("case 5 {\n                mstore(0, 1)", "case 7 {\n                mstore(0, 1)"),
    "end of the program": ("if gt(next, end) { fail(0x763c9dd0) } // BadProgram", ""),
    "unknown operations": ("default { fail(0x763c9dd0) } // BadProgram", "default { next := add(pos, 15) }"),
    "listed": ("if or(gt(index, 15), iszero(token)) { fail(0x763c9dd0) } // BadProgram", "if iszero(token) { token := LISTED }"),
    "list index": ("or(gt(index, 15), iszero(token))", "iszero(token)"),
    "native is no token": ("if iszero(token) { fail(0x763c9dd0) } // BadProgram\n            }\n            function pairCall", "}\n            function pairCall"),
    "wrap needs the native coin": ("if listed(byte(1, both)) { fail(0x763c9dd0) } // BadProgram", ""),
    "approval ends (Aave)": ("lend(pool, m, add(m, 0xa4), next, sub(end, next), 5)\n                    approve_(token, m, pool, 0)", "lend(pool, m, add(m, 0xa4), next, sub(end, next), 5)"),
    "approval ends (Morpho)": ("lend(pool, m, add(m, 0x64), next, sub(end, next), 2)\n                    approve_(token, m, pool, 0)", "lend(pool, m, add(m, 0x64), next, sub(end, next), 2)"),
    "transfer accepted": ("and(gt(returndatasize(), 31), eq(mload(0), 1))) }\n            }\n            function send", "1) }\n            }\n            function send"),
    "something received": ("if or(iszero(r), shr(112, r)) { fail(0x86ceaa08) } // Late", ""),
    "guard V2": ("if sub(amount, mload(shl(5, and(op, 1)))) { fail(0x86ceaa08) } // Late", ""),
    "guard V3": ("if sub(amount, and(mload(0), 0xffffffffffffffffffffffffffff)) { fail(0x86ceaa08) } // Late", ""),
    "guard V3 of Algebra": ("if and(op, 1) { mstore(0, 0xe76c01e400000000000000000000000000000000000000000000000000000000) }", ""),
    "Aave names us": ("if eq(shape, 5) { authentic := and(authentic, eq(calldataload(0x64), address())) }", ""),
    "shape of the callback": ("let shape := and(expected, 0xff)", "let shape := 3"),
    "size of the callback": ("if lt(size, calldatasize()) {", "if 1 {"),
    "V4 pays out": ("if slt(out, 0) { fail(0x86ceaa08) } // Late\n            }\n            function sync", "}\n            function sync"),
    "reserves are readable": ("if iszero(and(gt(returndatasize(), 63), staticcall(gas(), pool, 0, 4, 0, 0x40))) {", "if iszero(staticcall(gas(), pool, 0, 4, 0, 0x40)) {"),
    "price is readable": ("if iszero(and(gt(returndatasize(), 31), staticcall(gas(), pool, 0, 4, 0, 0x20))) {", "if iszero(staticcall(gas(), pool, 0, 4, 0, 0x20)) {"),
    "readable balance in programs": ("if iszero(and(gt(returndatasize(), 31), staticcall(gas(), token, 0, 0x24, 0, 0x20))) {", "if iszero(staticcall(gas(), token, 0, 0x24, 0, 0x20)) {"),
    "calls that fail": ("if iszero(call(gas(), target, value, at, size, 0, 0)) {", "pop(call(gas(), target, value, at, size, 0, 0))\n                if 0 {"),
    "operators may only pause": ("msg.sender != owner && !isOperator(msg.sender)", "msg.sender != owner && msg.sender == address(0)"),
    "cap in the word": ("(word >> CAP_AT) & 0xffffff) revert BribeRefused();", "(word >> CAP_AT)) revert BribeRefused();"),
    "readable balance": ("if (!ok) revert BalanceUnreadable();", ""),
    "native only while running": ("if (running == 0) revert BadCallback();", ""),
    "owner": ("if (msg.sender != owner) revert NotOwner();", ""),
    "two steps": ("if (msg.sender != pendingOwner) revert NotOwner();", ""),
    "offer ends": ("pendingOwner = address(0);", ""),
    "who pauses": ("if (msg.sender != owner && !isOperator(msg.sender)) revert NotOperator();", ""),
    "copies of settings": ("_words[_operators[k]] = OPERATOR | settings;", ""),
    "treasury is somebody": ("if (next == address(0)) revert ZeroAddress();", ""),
    "operator is somebody": ("if (operator == address(0)) revert ZeroAddress();", ""),
    "owner is somebody": ("if (owner_ == address(0)) revert ZeroAddress();", ""),
    "recipient is somebody": ("if (recipient == address(0)) revert ZeroAddress();", ""),
    "withdrawal goes somewhere": ("if (to == address(0)) revert ZeroAddress();", ""),
    "withdrawal arrives": ("if (!ok) revert TransferFailed();", ""),
    "number of operators": ("if (_operators.length == MAX_OPERATORS) revert TooMany();", ""),
    "operator removed": ("allowed ? OPERATOR | _settings : 0", "OPERATOR | _settings"),
    "place of the removed": ("if (_operators[k] == operator) _operators[k] = _operators[last];", ""),
    "approval ends (exchange)": ("if mul(approves, token) { revoke(token, m, pool) }", ""),
    "approval ends (vault)": ("invoke(pool, 0, m, 0x1c4)\n                    revoke(token, m, pool)", "invoke(pool, 0, m, 0x1c4)"),
    "approval ends (ERC-4626)": ("invoke(pool, 0, m, add(0x44, shl(5, burns)))\n                    if iszero(burns) { revoke(token, m, pool) }", "invoke(pool, 0, m, add(0x44, shl(5, burns)))"),
    "approval ends (shares)": ("invoke(pool, 0, m, 0x24)\n                    if iszero(burns) { revoke(token, m, pool) }", "invoke(pool, 0, m, 0x24)"),
    "approval that is left": ("if iszero(and(known, iszero(mload(0)))) { approve_(token, m, spender, 0) }", "if iszero(known) { approve_(token, m, spender, 0) }"),
    "who does not tell an approval": ("if iszero(and(known, iszero(mload(0)))) { approve_(token, m, spender, 0) }", "if mload(0) { approve_(token, m, spender, 0) }"),
    "names of exchanges": ("if iszero(name) { fail(0x763c9dd0) } // BadProgram", ""),
    "native coin for an exchange": ("case 0 { value := amount }", "case 0 { }"),
    "prepaid exchanges get no approval": ("let approves := lt(dialect, 6)", "let approves := 1"),
    "shares burn themselves (ERC-4626)": ("if burns { pool := token }\n                    if iszero(burns) { approve_(token, m, pool, amount) }\n                    mstore(m, 0x6e553f65", "if iszero(burns) { approve_(token, m, pool, amount) }\n                    mstore(m, 0x6e553f65"),
    "shares burn themselves (wrapped)": ("if burns { pool := token }\n                    if iszero(burns) { approve_(token, m, pool, amount) }\n                    mstore(m, 0xea598cb0", "if iszero(burns) { approve_(token, m, pool, amount) }\n                    mstore(m, 0xea598cb0"),
    "vault forgotten": ("tstore(place, 0)", ""),
    "vault and manager apart": ("let place := add(MANAGER, and(op, 1))", "let place := MANAGER"),
    "cap is a share": ("if (ppm > MILLION) revert BribeRefused();", ""),
}  # fmt: skip


def mutant_sources(name: str) -> dict[str, str]:
    """The sources with one change. Raises ValueError where its text is not there exactly once."""
    text, changed = MUTANTS[name]
    sources = {file: (ROOT / "contracts" / "src" / file).read_text() for file in SOURCES}
    if (count := sum(source.count(text) for source in sources.values())) != 1:
        raise ValueError(f"mutant {name!r}: its text is {count} times in the source; adapt the list")
    return {file: source.replace(text, changed) for file, source in sources.items()}


def creation_code(name: str) -> str:
    """Compiled mutant, hex."""
    _, output = compiler().compile_sources(mutant_sources(name))
    return output["contracts"]["OuroExecutor.sol"]["OuroExecutor"]["evm"]["bytecode"]["object"]


def killed_by(name: str) -> str:
    """The test that failed first; empty when the mutant survives."""
    with tempfile.NamedTemporaryFile("w", suffix=".hex") as file:
        file.write(creation_code(name))
        file.flush()
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-x",
            "-q",
            "--no-header",
            "--tb=no",
            "-p",
            "no:cacheprovider",
            "--deselect=tests/contracts/test_executor_security.py::TestWhoMayCall::test_treasury_defaults_to_the_owner",
            "--timeout=60",
            *KILLERS,
        ]
        environment = {**os.environ, "OURO_TEST_EXECUTOR": file.name}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return lines[0].split(" ")[1] if lines else ""


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description="Every check of the executor, dropped or inverted")
    parser.add_argument("--only", help="name of one mutant")
    parser.add_argument("--first", type=int, default=0, help="place in the list to begin at")
    options = parser.parse_args()
    names = [options.only] if options.only else list(MUTANTS)[options.first :]
    for name in names:
        mutant_sources(name)
    survivors = []
    for name in names:
        killer = killed_by(name)
        print(f"{'killed' if killer else 'ALIVE ':<8}{name:<28}{killer.split('/')[-1]}", flush=True)
        if not killer:
            survivors.append(name)
    print(f"{len(names)} mutants, {len(names) - len(survivors)} killed")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())

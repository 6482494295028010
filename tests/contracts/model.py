"""A model of the executor, small enough to try everything: programs up to a length, hostile actors, call orders.

    python tests/contracts/model.py [--length 3] [--pairs] [--sample 2000]

World: the executor holds 2 of the profit token (wrapped native), 2 of another token, 2 native. Someone holds an
operator's key, writes any program, and is every pool, manager, lender and recipient in it (contracts/src/Actor.sol
is the same actor); at each call he does one of ``ACTS``. A detector looks at all outcomes of transactions that did
not revert. The model takes nothing from the contract but its rules; a sample of the states, or all, is run on the
bytecode and must agree.
"""

import argparse
import itertools
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

ACTS = ("ignore", "honest", "twice", "altered", "relay", "reenter", "pull", "pay", "shape")
OPS = (
    "transfer",
    "send",
    "v2_swap",
    "v2_flash",
    "v3_swap",
    "aave",
    "morpho",
    "balancer",
    "unlock",
    "settle",
    "settle_native",
    "take",
    "wrap",
    "unwrap",
    "received",
    "send_register",
    "loan_v3",
    "v4_swap",
    "sync",
    "settled",
    "exchange",
    "vault",
    "deposit",
    "wrap_shares",
    "bins",
    "unlock_vault",
    "vault_swap",
    "take_vault",
    "settle_vault",
)
SHAPES = {
    "v2_flash": 4,
    "v3_swap": 3,
    "loan_v3": 3,
    "aave": 5,
    "morpho": 2,
    "balancer": 10,
    "unlock": 1,
    "unlock_vault": 1,
}
PULLING = ("exchange", "vault", "deposit", "wrap_shares")
"""Approve one X to the actor, call it, and take back what it left of the approval."""
EMPTY_MATCHES = {("shape", 1), ("shape", 10), ("reenter", 3), ("reenter", 10)}
LISTS = ((), ("X",), ("X", "N"))
START = {("P", "E"): 2, ("X", "E"): 2, ("N", "E"): 2, ("P", "K"): 3, ("X", "K"): 1, ("P", "T"): 1}


class Revert(Exception):  # noqa: N818
    """The call in progress has no effect."""


@dataclass(frozen=True)
class Case:
    """One state of the search. ``actor_is_operator``: its own address may execute too (a delegated account)."""

    ops: tuple[str, ...]
    listed: tuple[str, ...]
    first: str
    later: str
    actor_is_operator: bool = False


@dataclass
class Machine:
    """Executor, tokens, actor. ``balances`` by (token, holder), E being the executor, K the actor."""

    case: Case
    balances: dict[tuple[str, str], int] = field(default_factory=lambda: dict(START))
    allowance: int = 0
    expected: tuple[str, tuple[str, ...], int] | None = None
    tokens: tuple[str, ...] = ()
    manager: str = "0"
    vault: str = "0"
    calls: int = 0

    def execute(self, sender: str, ops: tuple[str, ...], listed: tuple[str, ...]) -> None:
        if sender != "operator" and not (sender == "K" and self.case.actor_is_operator):
            raise Revert("NotOperator")
        if self.tokens:
            raise Revert("Reentered")
        self.tokens = ("P", *listed)
        before = {token: self.balance(token, "E") for token in self.tokens}
        self.run(ops)
        gain = self.balance("P", "E") - before["P"]
        if gain < 0:
            raise Revert("Shortfall")
        self.move("P", "E", "T", gain)
        self.compare(before)
        self.tokens = ()

    def compare(self, before: dict[str, int]) -> None:
        if any(self.balance(token, "E") < amount for token, amount in before.items()):
            raise Revert("BalanceFell")

    def call_back(self, sender: str, shape: int, data: tuple[str, ...]) -> None:
        if self.expected is None:
            self.execute(sender, data, ())  # taken for a program; nobody who gets here may start one
            raise AssertionError("a callback ran as a program")
        self.authenticate(sender, shape, data)
        self.expected = None
        self.run(data)

    def authenticate(self, sender: str, shape: int, data: tuple[str, ...]) -> None:
        if self.expected != (sender, data, shape):
            raise Revert("BadCallback")

    def run(self, ops: tuple[str, ...]) -> None:
        register = 0
        for k, op in enumerate(ops):
            rest = ops[k + 1 :]
            if op in SHAPES:
                self.lend(op, rest)
                return
            register = self.step(op, register)

    def lend(self, op: str, rest: tuple[str, ...]) -> None:
        if op in ("aave", "morpho"):
            self.need("X")
            self.allowance = 1
        if op == "balancer":
            self.need("X")
        if op == "unlock":
            self.manager = "K"
        if op == "unlock_vault":
            self.vault = "K"
        self.expected = ("K", rest, SHAPES[op])
        self.called(SHAPES[op], rest)
        if self.expected is not None:
            raise Revert("CallbackSkipped")
        if op in ("aave", "morpho"):
            self.allowance = 0
        if op == "unlock":
            self.manager = "0"
        if op == "unlock_vault":
            self.vault = "0"

    def step(self, op: str, register: int) -> int:
        if op == "transfer":
            self.move("P", "E", "K", 1)
        elif op in ("send", "send_register"):
            self.need("X")
            self.move("X", "E", "K", 1 if op == "send" else register)
        elif op == "v2_swap":
            self.called(4, ())
        elif op == "settle":
            self.need("X")
            self.tell_manager()
            self.move("X", "E", self.manager, 1)
            self.tell_manager()
        elif op == "settle_native":
            self.need("N")
            self.move("N", "E", self.manager, 1)
            self.tell_manager()
        elif op in ("take", "sync", "settled"):
            self.tell_manager()
        elif op == "v4_swap":
            # Without a manager, or with one that doesn't answer, there is no amount to read.
            if self.manager != "K" or self.called(0, ()) == "ignore":
                raise Revert("no answer")
            register = 1
        elif op in PULLING:
            self.need("X")
            self.allowance = 1
            self.called(0, ())
            self.revoke()
        elif op == "bins":
            self.called(0, ())
        elif op == "vault_swap":
            if self.vault != "K" or self.called(0, ()) == "ignore":
                raise Revert("no answer")
            register = 1
        elif op == "take_vault":
            self.tell_vault()
        elif op == "settle_vault":
            self.need("X")
            self.move("X", "E", self.vault, 1)
            self.tell_vault()
        elif op == "wrap":
            self.need("N")
            self.move("N", "E", "W", 1)
            self.balances["P", "E"] += 1
        elif op == "unwrap":
            self.move("P", "E", "W", 1)
            self.balances["N", "E"] += 1
        elif op == "received":
            self.need("X")
            register = self.balance("X", "E")
            if register == 0:
                raise Revert("Late")
        return register

    def need(self, token: str) -> None:
        if token not in self.tokens:
            raise Revert("BadProgram")

    def revoke(self) -> None:
        self.allowance = 0

    def tell_vault(self) -> None:
        if self.vault == "K":
            self.called(0, ())

    def tell_manager(self) -> None:
        if self.manager == "K":
            self.called(0, ())

    # ---------------------------------------------------------------------------------------- tokens and the actor

    def balance(self, token: str, who: str) -> int:
        return self.balances.get((token, who), 0)

    def move(self, token: str, source: str, to: str, amount: int) -> None:
        if self.balance(token, source) < amount:
            raise Revert("TransferFailed")
        self.balances[token, source] = self.balance(token, source) - amount
        self.balances[token, to] = self.balance(token, to) + amount

    def called(self, shape: int, data: tuple[str, ...]) -> str:
        """The actor is called and does as the case says. Returns its act."""
        act = self.case.first if self.calls == 0 else self.case.later
        self.calls += 1
        if shape == 4 and not data:
            shape = 0  # empty bytes ask a pair for no callback, also those of a flash swap at a program's end
        if act == "ignore":
            return act
        if act == "reenter":
            self.attempt(self.execute_as_actor)
        if act == "pull":
            self.attempt(self.pull)
        if act == "pay":
            self.attempt(lambda: self.move("P", "K", "E", 1))
        if shape == 0:
            return act
        if act == "altered":
            self.attempt(lambda: self.call_back("K", shape, (*data, "junk")))
        if act == "relay":
            self.attempt(lambda: self.call_back("relay", shape, data))
        if act == "shape":
            self.attempt(lambda: self.misshapen("shape", shape, data))
        self.call_back("K", shape, data)
        if act == "twice":
            self.attempt(lambda: self.call_back("K", shape, data))
        return act

    def misshapen(self, act: str, shape: int, data: tuple[str, ...]) -> None:
        """The pool itself calls with bytes of another shape. Where nothing is left to run, and the place that the
        expected shape reads is zero or beyond the end, that is as good as the right callback."""
        if self.expected is None:
            raise Revert("BadProgram")
        if data or (act, shape) not in EMPTY_MATCHES:
            raise Revert("BadCallback")
        self.expected = None

    def execute_as_actor(self) -> None:
        if self.expected is not None:
            self.misshapen("reenter", self.expected[2], self.expected[1])
            return
        self.execute("K", ("transfer",), ())

    def pull(self) -> None:
        if self.allowance < 1:
            raise Revert("allowance")
        self.move("X", "E", "K", 1)
        self.allowance -= 1

    def attempt(self, what: Callable[[], None]) -> None:
        """A trick of the actor's: if it reverts, only it is undone."""
        kept = copy(self)
        kept.balances = dict(self.balances)
        try:
            what()
        except Revert:
            self.__dict__.update(kept.__dict__)


Outcome = tuple[bool, dict[tuple[str, str], int]]


def outcome(case: Case, machine_of: type[Machine] = Machine) -> tuple[Outcome, list[str]]:
    """Whether it went through, the balances after it, and what is suspicious about them."""
    machine = machine_of(case)
    try:
        machine.execute("operator", case.ops, case.listed)
    except Revert:
        return (False, dict(START)), []
    left = {place: amount for place, amount in machine.balances.items() if amount and place[1] != "W"}
    return (True, left), suspicious(machine)


def suspicious(machine: Machine) -> list[str]:
    """The detector: what no transaction may leave behind."""
    found = [
        f"the executor lost {token}" for token in ("P", "X", "N") if machine.balance(token, "E") < START[token, "E"]
    ]
    if machine.balance("P", "T") < START["P", "T"]:
        found.append("the treasury lost")
    if machine.allowance:
        found.append("an approval is left")
    if machine.expected is not None or machine.tokens or (machine.manager, machine.vault) != ("0", "0"):
        found.append("a lock is left")
    return found


def cases(length: int, pairs: bool) -> Iterator[Case]:
    """Programs of 1 … ``length`` operations, lists of tokens, acts at first and (``pairs``) other ones later."""
    for n in range(1, length + 1):
        for ops in itertools.product(OPS, repeat=n):
            for listed in LISTS:
                for first in ACTS:
                    for later in ACTS if pairs else (first,):
                        yield Case(ops, listed, first, later)
                        if "reenter" in (first, later):
                            yield Case(ops, listed, first, later, True)


def search(length: int, pairs: bool) -> tuple[int, int, list[tuple[Case, list[str]]]]:
    """How many states there are, how many went through, and those that are suspicious."""
    states = passed = 0
    bad = []
    for case in cases(length, pairs):
        (ok, _), found = outcome(case)
        states += 1
        passed += ok
        if found:
            bad.append((case, found))
    return states, passed, bad


def main(arguments: Sequence[str]) -> int:
    """Entry point; 1 when something is suspicious or the bytecode disagrees."""
    parser = argparse.ArgumentParser(
        description="All programs of the executor, and what an attacker gets out of them"
    )
    parser.add_argument("--length", type=int, default=2)
    parser.add_argument("--pairs", action="store_true", help="another act at later calls than at the first")
    parser.add_argument("--sample", type=int, default=2000, help="states to run on the bytecode; 0: all")
    options = parser.parse_args(arguments)
    states, passed, bad = search(options.length, options.pairs)
    print(f"model: {states} states, {passed} went through, {len(bad)} suspicious")
    for case, found in bad[:10]:
        print(f"  {case}: {', '.join(found)}")
    from modelworld import Bytecode
    from world import BUILDS

    everything = list(cases(options.length, options.pairs))
    chosen = random.Random(7).sample(everything, min(options.sample, states)) if options.sample else everything
    wrong = len(bad)
    for name in BUILDS:
        bytecode = Bytecode(name)
        differing = [case for case in chosen if bytecode.outcome(case) != outcome(case)[0]]
        print(f"{name}: {len(chosen)} states run, {len(differing)} differ")
        for case in differing[:10]:
            print(f"  {case}: model {outcome(case)[0]}, bytecode {bytecode.outcome(case)}")
        wrong += len(differing)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

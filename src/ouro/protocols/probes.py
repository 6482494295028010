"""A quote as a question to the deployed contract: its own view call and the answer that our integers predict."""

from dataclasses import dataclass

from ouro.protocols.reads import Read


@dataclass(frozen=True, slots=True)
class Probe:
    """``call`` must answer with ``expected`` as its word number ``word``. ``what`` says it for people."""

    call: Read
    expected: int
    what: str
    word: int = 0

    def difference(self, answer: bytes | None) -> str:
        """What is wrong with the contract's answer; empty where nothing is."""
        if answer is None:
            return f"{self.what}: the contract reverts, {self.expected} was predicted"
        found = answer[32 * self.word : 32 * self.word + 32]
        if len(found) != 32:
            return f"{self.what}: the contract answers {len(answer)} bytes"
        told = int.from_bytes(found)
        return "" if told == self.expected else f"{self.what}: the contract says {told}, predicted {self.expected}"

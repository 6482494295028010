"""Words that are put after a contract ran are what it reads next, all of them."""

from ouro.execution.evmdb import EvmDatabase
from ouro.types import BlockContext

CONTRACT, CALLER = "0x" + "c1" * 20, "0x" + "c2" * 20
CODE = bytes.fromhex("600035" + "54" + "600052" + "60206000f3")
"""Returns the word at the slot that it is called with."""


def test_many_words_of_an_account_that_was_read_before() -> None:
    database = EvmDatabase()
    database.set_account(CONTRACT, CODE)
    context = BlockContext(1, 1, 0)

    def read(slot: int) -> int:
        result = database.call(CALLER, CONTRACT, slot.to_bytes(32, "big"), context, 10**6)
        assert result.ok, result
        return int.from_bytes(result.output, "big")

    for value in (5, 70, 0, 8):
        words = {(CONTRACT, slot): value + slot for slot in range(6)}
        database.write_all(words)
        assert [read(slot) for slot in range(6)] == [value + slot for slot in range(6)]
        assert {place: database.words[place] for place in words} == words

"""The short form of the loop of random orders; ``make drills`` has a million of them."""

from ouro.testnet.drills.intents import run


def test_no_order_of_thousands_in_two_processes_gets_over_any_limit() -> None:
    results = run(3_000, seed=7)
    assert [result.broken for result in results] == [[], []]
    assert all(result.intents >= 1_500 and result.approved > 20 for result in results)
    assert all(result.refused for result in results)

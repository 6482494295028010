"""How the executor trades each family: forks of a kind differ in callbacks, fees and events, not in operation."""

PAIRS = frozenset(("uniswap_v2", "swapr", "solidly"))
"""``swap(amount0Out, amount1Out, to, data)`` by exact outputs, the input already there or paid in a callback."""

CONCENTRATED = frozenset(("uniswap_v3", "pancakeswap_v3", "slipstream", "algebra_integral", "algebra_adaptive"))
"""``swap(recipient, zeroForOne, amount, limit, data)`` by exact input, paid in a callback."""

MANAGED = frozenset(("uniswap_v4",))
"""Swaps in the books of one manager, settled in the callback of its unlock."""

EXECUTABLE = PAIRS | CONCENTRATED | MANAGED

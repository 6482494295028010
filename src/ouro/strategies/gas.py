"""What a transaction of the executor costs in gas beside its swaps; the swaps' own gas is in the families' quotes.

Both are fitted to the receipts in ``contracts/gas.json`` (all words written before, as in steady state): a least
square over cycles of two to six hops, within 4 % of each.
"""

TRANSACTION_GAS = 42_000
"""Base cost, calldata, entry, payout."""

LEAST_HOP_GAS = 37_000
"""No hop of any family has been seen to cost less, so a bound made with it stays one."""

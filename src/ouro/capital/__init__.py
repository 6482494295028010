"""How much may be at risk where: budgets from realised returns, and the stages by which the operation grows."""

"""The one error of this room."""


class CapitalError(Exception):
    """Budgets or stages can't be made, read or changed; the message names the field or file and what to do."""

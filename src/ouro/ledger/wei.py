"""The one column type for money: exact integers of any EVM size, on every database.

SQLite turns large numbers into floats, so there they are decimal text; PostgreSQL has NUMERIC(78,0), which holds
2^256-1 and its negative. Text neither sorts nor adds up as a number, so all arithmetic is done in Python, and SQL
that tries it is refused.
"""

import re
from decimal import Decimal
from typing import Any

from sqlalchemy import Dialect, Numeric, String, TypeDecorator
from sqlalchemy.sql import operators

from ouro.ledger.errors import LedgerError

LIMIT_WEI = 10**78
_DECIMAL_TEXT = re.compile(r"-?[0-9]{1,78}")
_ALLOWED = {operators.eq, operators.ne, operators.is_, operators.is_not, operators.in_op, operators.not_in_op}


class Wei(TypeDecorator[int]):
    """Python ``int``, \\|value\\| < 10^78; anything else (floats, booleans, Decimal) is refused with TypeError."""

    impl = String(80)
    cache_ok = True

    class Comparator(TypeDecorator.Comparator[int]):
        """Equality only: order and sums would be those of text on SQLite."""

        def operate(self, op: Any, *other: Any, **kwargs: Any) -> Any:
            if op not in _ALLOWED:
                raise TypeError(f"wei are never compared or added in SQL ({op}); read them and use Python integers")
            return super().operate(op, *other, **kwargs)

    comparator_factory = Comparator  # pyright: ignore[reportAssignmentType] - the way SQLAlchemy documents

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        """NUMERIC(78,0) where it is exact, text on SQLite."""
        if dialect.name == "postgresql":
            return dialect.type_descriptor(Numeric(78, 0))
        return dialect.type_descriptor(String(80))

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        """``value`` as the database stores it."""
        if value is None:
            return None
        if type(value) is not int:
            raise TypeError(f"a wei amount must be an int, not {type(value).__name__}")
        if abs(value) >= LIMIT_WEI:
            raise ValueError("a wei amount has more than 78 digits")
        return value if dialect.name == "postgresql" else str(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> int | None:
        """The exact integer; a number that went through a float is refused."""
        if value is None:
            return None
        if isinstance(value, str) and _DECIMAL_TEXT.fullmatch(value):
            return int(value)
        if isinstance(value, Decimal) and value == value.to_integral_value():
            return int(value)
        raise LedgerError(
            f"a wei column holds {value!r}, which is no exact integer: was it summed or edited in SQL?"
        )

"""Ouro: exact pools, complete search, atomic execution, every wei accounted for."""

__version__ = "0.1.0"

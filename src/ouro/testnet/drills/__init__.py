"""Drills: what goes wrong, made to go wrong on purpose, and what Ouro makes of it."""

"""What stops an engine."""


class EngineError(Exception):
    """The engine can't go on; the text says what, where, and what to do."""

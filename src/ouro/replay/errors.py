"""What is wrong with a recording, for people."""


class RecordingError(ValueError):
    """The file can't be used; the message names it, the place in it, and what to do."""

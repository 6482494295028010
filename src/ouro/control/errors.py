"""What can go wrong with halts."""


class ControlError(Exception):
    """A halt or its lifting is not possible as asked; the text names the field or the file, and what to do."""

"""The one error of this room."""


class AuditError(Exception):
    """An audit chain can't be opened, written or trusted; the message names the file, the line and what to do."""

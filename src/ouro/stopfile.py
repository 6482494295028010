"""Files by which a person stops trading: while one exists, nothing is approved, signed or sent."""

import os
from pathlib import Path


def stop_file_problem(path: Path) -> str:
    """Why ``path`` stops everything, empty when it does not.

    A file that can't be looked for counts as present: whoever wrote it there must not be overheard.
    """
    try:
        os.stat(path)  # noqa: PTH116 - Path.stat costs more than the check
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f"{path} can't be looked for ({error.strerror}); taken as present"
    return f"{path} is present; remove it to trade"

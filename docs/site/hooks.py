"""What the site fills in while it is built: the table of all settings, from the model that checks them."""

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

_MARK = "<!-- parameters -->"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the table where the mark is."""
    if _MARK not in markdown:
        return markdown
    from ouro.config.parameters import parameters_markdown

    return markdown.replace(_MARK, parameters_markdown())

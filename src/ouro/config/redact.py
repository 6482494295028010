"""Keep secrets out of what people and logs read: endpoint URLs carry API keys, database URLs carry passwords."""

import re
from urllib.parse import urlsplit

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://[^\s'\"<>]*[^\s'\"<>,;:.)]")


def redact_url(url: str) -> str:
    """Scheme, host and port of ``url``; user, password, path, query and fragment become ``…``.

    Local database URLs without a host (``sqlite:///file.db``) and plain paths hold no secret and stay whole.
    """
    if "://" not in url:
        return url
    if url.startswith("sqlite") and urlsplit(url).netloc == "":
        return url
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return url.split("://", 1)[0] + "://…"
    secret = parts.username or parts.password or parts.path.strip("/") or parts.query or parts.fragment
    return f"{parts.scheme}://{parts.hostname or ''}{port}{'/…' if secret else ''}"


def redact_text(text: str) -> str:
    """``text`` with every URL in it passed through `redact_url`."""
    return _URL.sub(lambda match: redact_url(match.group()), text)

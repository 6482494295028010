"""Provider URLs carry API keys in path, query or user part: what may be shown of them, and scrubbing of texts."""

from typing import Any
from urllib.parse import unquote, urlsplit

_MAX_TEXT = 500
_LONGEST_HARMLESS_PARAM = 66  # a hash; anything longer may be a signed transaction


def endpoint_label(url: str) -> str:
    """Scheme, host and port of ``url``; a path, query or user part shows as ``…``. File paths are shown whole."""
    if "://" not in url:
        return url
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return f"{url.split('://', 1)[0]}://…"
    if parts.scheme in ("ipc", "unix"):
        return f"{parts.scheme}://{parts.path}"
    host = parts.hostname or "?"
    host = f"[{host}]" if ":" in host else host
    user = "…@" if parts.username or parts.password else ""
    rest = "/…" if parts.path not in ("", "/") or parts.query or parts.fragment else ""
    return f"{parts.scheme}://{user}{host}{port}{rest}"


def url_secrets(url: str) -> tuple[str, ...]:
    """The pieces of ``url`` that must never be printed, longest first."""
    if "://" not in url:
        return ()
    try:
        parts = urlsplit(url)
    except ValueError:
        return (url,)
    if parts.scheme in ("ipc", "unix"):
        return ()
    pieces = {url, parts.username or "", parts.password or "", parts.query, parts.fragment, parts.path.strip("/")}
    pieces |= set(parts.path.split("/"))
    pieces |= {pair.partition("=")[2] for pair in parts.query.split("&")}
    pieces |= {unquote(piece) for piece in pieces}
    return tuple(sorted((piece for piece in pieces if len(piece) >= 4), key=len, reverse=True))


def scrub(text: str, secrets: tuple[str, ...], params: Any = None) -> str:
    """``text`` without ``secrets`` and without long parameters (raw transactions), cut to a readable length."""
    for secret in secrets:
        text = text.replace(secret, "…")
    if isinstance(params, list | tuple):
        for param in params:
            if isinstance(param, str) and len(param) > _LONGEST_HARMLESS_PARAM:
                text = text.replace(param, "…").replace(param.removeprefix("0x"), "…")
    return text if len(text) <= _MAX_TEXT else text[:_MAX_TEXT] + "…"

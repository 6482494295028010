"""Turn a failed check into problems that a person can act on: the field, what is wrong, what to do."""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from ouro.config.model import OuroConfig

_SECRET_FIELDS = {"endpoints", "url"}
_SHOWN_CHARS = 60


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to correct; ``path`` is the field from the top of the file."""

    path: tuple[str | int, ...]
    wrong: str
    todo: str


def explain(error: ValidationError) -> list[Problem]:
    """Every problem that pydantic found. Values of fields that may hold secrets are not shown."""
    items = [dict(item) for item in error.errors(include_url=False)]
    return [_explain_one(item) for item in items if not _follows_from_others(item, items)]


def _follows_from_others(item: dict[str, Any], items: list[dict[str, Any]]) -> bool:
    """A list is "too short" also when its items are wrong; then only the items are worth telling."""
    depth = len(item["loc"])
    return item["type"] == "too_short" and any(
        len(other["loc"]) > depth and other["loc"][:depth] == item["loc"] for other in items
    )


def walk_values(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Every leaf of a TOML document with its path."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from walk_values(item, (*path, key))
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield from walk_values(item, (*path, position))
    else:
        yield path, value


def field_names_at(path: tuple[str | int, ...]) -> list[str]:
    """Names of the fields of the section at ``path``; empty where there is no section."""
    here: Any = OuroConfig
    for key in path:
        if isinstance(here, type) and issubclass(here, BaseModel):
            info = here.model_fields.get(str(key))
            if info is None:
                return []
            here = info.annotation
        else:
            here = _item_type(here)
    section = _section(here)
    return list(section.model_fields) if section else []


def _item_type(annotation: Any) -> Any:
    arguments = get_args(annotation)
    if not arguments:
        return None
    return arguments[1] if get_origin(annotation) is dict else arguments[0]


def _section(annotation: Any) -> type[BaseModel] | None:
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def _explain_one(item: dict[str, Any]) -> Problem:
    path: tuple[str | int, ...] = tuple(item["loc"])
    kind, context = item["type"], item.get("ctx") or {}
    if kind == "extra_forbidden":
        return _unknown_key(path)
    if kind == "missing":
        return Problem(path, "is missing", "add it")
    if kind == "value_error":
        # Our own validators: they word the whole problem themselves.
        return Problem(path, _own_words(item, context, path), "correct it")
    wrong = item["msg"].removeprefix("Input ")
    wrong = wrong[:1].lower() + wrong[1:]
    return Problem(path, f"{wrong}{_shown(path, item.get('input'))}", _advice(kind, context))


def _own_words(item: dict[str, Any], context: dict[str, Any], path: tuple[str | int, ...]) -> str:
    words = str(context.get("error") or item["msg"])
    value = item.get("input")
    if _is_secret(path) and isinstance(value, str):
        words = words.replace(value, "…")
    return words


def _unknown_key(path: tuple[str | int, ...]) -> Problem:
    names = field_names_at(path[:-1])
    near = difflib.get_close_matches(str(path[-1]), names, n=1, cutoff=0.5)
    todo = f"did you mean {near[0]!r}?" if near else f"remove it; known here: {', '.join(sorted(names))}"
    return Problem(path, "is not a known key", todo)


def _is_secret(path: tuple[str | int, ...]) -> bool:
    return any(key in _SECRET_FIELDS for key in path)


def _shown(path: tuple[str | int, ...], value: Any) -> str:
    if _is_secret(path) or not isinstance(value, str | int | float):
        return ""
    text = repr(value)
    return f" (it is {text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + '…'})"


def _advice(kind: str, context: dict[str, Any]) -> str:
    if kind.startswith(("int_", "float_")):
        return "write a whole number, without quotes"
    if kind in ("tuple_type", "list_type"):
        return "write a list in square brackets"
    if kind in ("model_type", "dict_type", "model_attributes_type"):
        return "write a table, as [section] or { key = value }"
    if kind in ("enum", "literal_error"):
        return f"choose one of {context.get('expected', 'the allowed values')}"
    if kind == "too_short":
        return "add at least one"
    if kind.startswith(("greater_than", "less_than")):
        return "choose a value within the bound"
    if kind in ("string_type", "path_type"):
        return "write text in quotes"
    return "correct it"

"""Every setting of the configuration as text for people, read out of the model: it can't be out of date."""

import ast
import inspect
import itertools
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from ouro.config.model import OuroConfig


@dataclass(frozen=True, slots=True)
class Parameter:
    """One setting. ``path`` is its place in the file; ``default`` is TOML, empty where it has to be given."""

    path: str
    kind: str
    default: str
    bounds: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Section:
    """A table of the file."""

    path: str
    meaning: str
    parameters: tuple[Parameter, ...]


def sections(model: type[BaseModel] = OuroConfig, path: str = "") -> Iterator[Section]:
    """Depth first, the model's own settings before its sections'."""
    own: list[Parameter] = []
    below: list[tuple[str, type[BaseModel]]] = []
    meanings = _field_docstrings(model)
    for name, info in model.model_fields.items():
        place = f"{path}.{name}" if path else name
        nested, many = _nested(info.annotation)
        if nested is not None:
            below.append(({"dict": f"{place}.NAME", "list": f"[{place}]"}.get(many, place), nested))
        else:
            own.append(
                Parameter(name, kind_of(info.annotation), _default(info), _bounds(info), meanings.get(name, ""))
            )
    yield Section(path, inspect.cleandoc(model.__doc__ or ""), tuple(own))
    for place, nested in below:
        yield from sections(nested, place)


def parameters_markdown() -> str:
    """All of them as tables, one a section."""
    parts: list[str] = []
    for section in sections():
        title = f"`[{section.path}]`" if section.path else "At the top of the file"
        parts += [f"### {title}", "", section.meaning, ""]
        if section.parameters:
            parts += ["| Setting | Type | Default | Meaning |", "|---|---|---|---|"]
            parts += [_row(parameter) for parameter in section.parameters]
            parts.append("")
    return "\n".join(parts)


def _row(parameter: Parameter) -> str:
    kind = parameter.kind + (f", {parameter.bounds}" if parameter.bounds else "")
    default = f"`{parameter.default}`" if parameter.default else "required"
    meaning = " ".join(parameter.meaning.split()).replace("|", "\\|")
    return f"| `{parameter.path}` | {kind} | {default} | {meaning} |"


def kind_of(annotation: Any) -> str:
    """A type in words."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return kind_of(arguments[0])
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    if origin in (Union, UnionType):
        kinds = [kind_of(each) for each in arguments if each is not type(None)]
        return " or ".join(kinds)
    if origin is tuple:
        return f"list of {kind_of(arguments[0])}" if arguments[-1] is Ellipsis else "pair"
    if origin is dict:
        return f"table of {kind_of(arguments[1])}"
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return " or ".join(f"`{value.value}`" for value in annotation)
    names = {int: "whole number", str: "text", float: "number", Path: "path"}
    return names.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _nested(annotation: Any) -> tuple[type[BaseModel] | None, str]:
    """The section that a setting is, and whether there may be many of it."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, ""
    if origin is Annotated:
        return _nested(arguments[0])
    if origin in (Union, UnionType):
        return next((found for each in arguments if (found := _nested(each))[0] is not None), (None, ""))
    if origin is dict:
        return _nested(arguments[1])[0], "dict"
    if origin is tuple and arguments[-1] is Ellipsis:
        return _nested(arguments[0])[0], "list"
    return None, ""


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return ""
    value = info.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return ""
    if value is None:
        return "none"
    if isinstance(value, Enum):
        return f'"{value.value}"'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return f"{value:_}"
    if isinstance(value, (str, Path)):
        return f'"{value}"'
    return "[]" if value == () else "{}" if value == {} else str(value)


def _bounds(info: FieldInfo) -> str:
    words = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}
    found = []
    for item in info.metadata:
        for name, word in words.items():
            value = getattr(item, name, None)
            if value is not None:
                found.append(f"{word} {value:_}" if isinstance(value, int) else f"{word} {value}")
    return ", ".join(found)


def _field_docstrings(model: type[BaseModel]) -> dict[str, str]:
    """The text below each field, where the model has one."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(model)))
    except (OSError, SyntaxError):
        return {}
    body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
    result: dict[str, str] = {}
    for before, after in itertools.pairwise(body):
        if (
            isinstance(before, ast.AnnAssign)
            and isinstance(before.target, ast.Name)
            and isinstance(after, ast.Expr)
            and isinstance(after.value, ast.Constant)
            and isinstance(after.value.value, str)
        ):
            result[before.target.id] = inspect.cleandoc(after.value.value)
    return result

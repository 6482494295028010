"""Read the configuration: a TOML file, then ``OURO_*`` variables, then one check with errors made for people.

A variable names a field by its path, sections joined by two underscores, letters in any case:
``OURO_MODE=paper``, ``OURO_LEDGER__URL=…``, ``OURO_CHAINS__ETHEREUM__ENDPOINTS='["wss://…"]'``.
Lists and tables are JSON.
"""

import difflib
import json
import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ouro.config.explain import Problem, explain, field_names_at, walk_values
from ouro.config.model import OuroConfig
from ouro.config.redact import redact_text

PREFIX = "OURO_"
_OTHER_VARIABLES = frozenset(
    {"OURO_ANVIL", "OURO_CACHE", "OURO_KEYSTORE_PASSWORD", "OURO_OPERATOR_KEYS", "OURO_DEPLOYER_KEY"}
)
"""Near a field's name or not, these mean something else."""
_NEAR = 0.7
"""Likeness of names from which on one is taken for the other mistyped."""
_SQLITE = "sqlite:///"
_SCHEMES = ("ws://", "wss://", "http://", "https://", "ipc://")
# Beyond this a float no longer holds every integer, and a wei amount would silently lose its last digits.
_EXACT_FLOAT = 2**53


class ConfigError(Exception):
    """The configuration can't be used. ``problems`` has one line each: source, field, what is wrong, what to do."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


def load_config(path: Path | str, environ: Mapping[str, str] | None = None) -> OuroConfig:
    """The checked configuration in ``path`` with the overrides of ``environ`` (the process's own by default).

    Relative paths, IPC endpoints and ``sqlite:///`` URLs are taken from the file's folder.
    Raises `ConfigError` with every problem found.
    """
    file = Path(path).expanduser().absolute()
    values = _read(file)
    origins, problems = _apply_environment(values, os.environ if environ is None else environ)
    problems += _lossy_values(values)
    if not problems:
        problems += _endpoint_problems(values)
    config: OuroConfig | None = None
    try:
        config = OuroConfig.model_validate(_resolved(values, file.parent))
    except ValidationError as error:
        known = {problem.path for problem in problems}
        problems += [problem for problem in explain(error) if problem.path not in known]
    if problems or config is None:
        raise ConfigError([_line(file, problem, origins) for problem in problems])
    return config


def config_to_toml(config: OuroConfig) -> str:
    """``config`` as a TOML document that `load_config` reads back to an equal value (given absolute paths)."""
    return "\n".join(_toml_table((), config.model_dump(mode="json", exclude_none=True))).strip() + "\n"


def _read(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as stream:
            return tomllib.load(stream)
    except FileNotFoundError:
        raise ConfigError([f"{file}: there is no such file; write one, or pass its path"]) from None
    except IsADirectoryError:
        raise ConfigError([f"{file}: is a folder; name the file in it, such as {file / 'ouro.toml'}"]) from None
    except OSError as error:
        raise ConfigError([f"{file}: can't be read ({error.strerror}); check its permissions"]) from None
    except UnicodeDecodeError:
        raise ConfigError([f"{file}: is not UTF-8 text; save it as UTF-8"]) from None
    except tomllib.TOMLDecodeError as error:
        wrong = redact_text(str(error))
        raise ConfigError([f"{file}: is not TOML: {wrong}; correct the file at that place"]) from None
    except (ValueError, RecursionError):
        # Python refuses numbers of thousands of digits and endless nesting by these.
        raise ConfigError([f"{file}: holds an absurdly long number or nesting; correct the file"]) from None


def _line(file: Path, problem: Problem, origins: Mapping[tuple[str, ...], str]) -> str:
    source = str(file)
    for length in range(len(problem.path), 0, -1):
        variable = origins.get(tuple(str(key) for key in problem.path[:length]))
        if variable:
            source = f"environment variable {variable}"
            break
    field = ".".join(str(key) for key in problem.path) or "(whole file)"
    return " ".join(redact_text(f"{source}: {field}: {problem.wrong}; {problem.todo}").split())


def _apply_environment(
    values: dict[str, Any], environ: Mapping[str, str]
) -> tuple[dict[tuple[str, ...], str], list[Problem]]:
    """Write overrides into ``values``; which variable set which path, and what is wrong with their values."""
    origins: dict[tuple[str, ...], str] = {}
    problems: list[Problem] = []
    top = field_names_at(())
    chains = values.get("chains")
    named = list(chains) if isinstance(chains, dict) else []
    for variable in sorted(environ):
        if not variable.upper().startswith(PREFIX):
            continue
        path = _path_of(variable, values)
        # Other OURO_ variables exist (paths of tools, the keystore's password); only a nested name must be ours.
        if path[0] not in top and len(path) == 1:
            near = [] if variable.upper() in _OTHER_VARIABLES else difflib.get_close_matches(path[0], top, 1, _NEAR)
            if near:
                origins[path] = variable
                problems.append(
                    Problem(path, "is not a known key", f"did you mean {PREFIX}{near[0].upper()}? else rename it")
                )
            continue
        origins[path] = variable
        if path[0] == "chains" and len(path) > 1 and path[1] not in named:
            near = difflib.get_close_matches(path[1], named, 1, _NEAR)
            if near:
                wrong = f"the file has no chain {path[1]!r}"
                problems.append(Problem(path, wrong, f"did you mean {near[0]!r}?"))
                continue
            # What it lacks is the variable's doing, not the file's.
            origins.setdefault(path[:2], variable)
        raw = environ[variable]
        try:
            value = json.loads(raw) if raw.lstrip()[:1] in ("[", "{") else raw
        except (ValueError, RecursionError):
            problems.append(
                Problem(path, "is not valid JSON", 'write lists and tables as JSON, such as ["a", "b"]')
            )
            continue
        if not _put(values, path, value):
            problems.append(Problem(path, "goes through a value that is no table", "check the name's parts"))
    return origins, problems


def _path_of(variable: str, values: Mapping[str, Any]) -> tuple[str, ...]:
    """Field path of a variable; names that the file already has (chains) match in any case."""
    path: list[str] = []
    here: Any = values
    for part in variable[len(PREFIX) :].split("__"):
        names = list(here) if isinstance(here, Mapping) else []
        match = next((name for name in names if name.lower() == part.lower()), part.lower())
        path.append(match)
        here = here.get(match) if isinstance(here, Mapping) else None
    return tuple(path)


def _put(values: dict[str, Any], path: tuple[str, ...], value: Any) -> bool:
    here = values
    for key in path[:-1]:
        child = here.setdefault(key, {})
        if not isinstance(child, dict):
            return False
        here = child
    here[path[-1]] = value
    return True


def _lossy_values(values: Mapping[str, Any]) -> list[Problem]:
    """Values that the check would quietly turn into another number."""
    problems: list[Problem] = []
    for path, value in walk_values(values):
        if isinstance(value, bool):
            problems.append(
                Problem(path, f"is {str(value).lower()}", "no field is a truth value; write a number or text")
            )
        elif isinstance(value, float) and abs(value) >= _EXACT_FLOAT:
            problems.append(
                Problem(path, "is a float too large to be exact", "write the integer in full, without e or .")
            )
    return problems


def _endpoints(values: Mapping[str, Any]) -> Iterator[tuple[str, list[Any]]]:
    chains = values.get("chains")
    for name, chain in chains.items() if isinstance(chains, Mapping) else ():
        endpoints = chain.get("endpoints") if isinstance(chain, Mapping) else None
        if isinstance(endpoints, list):
            yield name, endpoints


def _endpoint_problems(values: Mapping[str, Any]) -> list[Problem]:
    problems: list[Problem] = []
    for name, endpoints in _endpoints(values):
        for position, endpoint in enumerate(endpoints):
            path = ("chains", name, "endpoints", position)
            if isinstance(endpoint, str) and "://" in endpoint and not endpoint.lower().startswith(_SCHEMES):
                scheme = endpoint.split("://", 1)[0]
                wrong = f"has the scheme {scheme!r}" if scheme.isalnum() else "has no usable scheme"
                problems.append(
                    Problem(path, wrong, "use ws://, wss://, http://, https:// or the path of an IPC socket")
                )
            elif isinstance(endpoint, str) and not endpoint.strip():
                problems.append(Problem(path, "is empty", "write the node's URL or the path of its IPC socket"))
    return problems


def _resolved(values: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """``values`` with every relative path made absolute; what is no path or malformed is left to the check."""
    result = _copy(values)
    defaults = {
        ("data_dir",): ".ouro",
        ("risk", "kill_file"): "kill",
        ("signer", "socket"): "signer.sock",
        ("signer", "halt_file"): "halt",
        ("signer", "keystore"): None,
    }
    for path, default in defaults.items():
        section = result if len(path) == 1 else result.setdefault(path[0], {})
        if isinstance(section, dict):
            value = section.get(path[-1], default)
            if isinstance(value, str):
                section[path[-1]] = str(folder / Path(value).expanduser())
    for own in _own_limits(result):
        _absolute_in(own, "kill_file", folder)
        for section, key in (("screening", "file"), ("collar", "feed_file")):
            _absolute_in(own.get(section), key, folder)
    alerts = result.get("alerts")
    destinations = alerts.get("destinations") if isinstance(alerts, dict) else None
    for destination in destinations if isinstance(destinations, list) else ():
        _absolute_in(destination, "url_file", folder)
    ledger = result.setdefault("ledger", {})
    if isinstance(ledger, dict) and isinstance(ledger.get("url", ""), str):
        ledger["url"] = _absolute_url(ledger.get("url", "sqlite:///ledger.db"), folder)
    for _, endpoints in _endpoints(result):
        endpoints[:] = [
            str(folder / Path(endpoint).expanduser())
            if isinstance(endpoint, str) and endpoint.strip() and "://" not in endpoint
            else endpoint
            for endpoint in endpoints
        ]
    return result


def _absolute_in(section: Any, key: str, folder: Path) -> None:
    if isinstance(section, dict) and isinstance(section.get(key), str):
        section[key] = str(folder / Path(section[key]).expanduser())


def _own_limits(values: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every table of limits: the common one and those of chains."""
    chains = values.get("chains")
    if isinstance(values.get("risk"), dict):
        yield values["risk"]
    for chain in chains.values() if isinstance(chains, dict) else ():
        if isinstance(chain, dict) and isinstance(chain.get("risk"), dict):
            yield chain["risk"]


def _absolute_url(url: str, folder: Path) -> str:
    rest = url.removeprefix(_SQLITE)
    if rest == url or not rest or rest.startswith(":memory:"):
        return url
    return _SQLITE + str(folder / rest)


def _copy(value: Any) -> Any:
    """A deep copy of TOML tables and lists; leaves are immutable and shared."""
    if isinstance(value, Mapping):
        return {key: _copy(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_copy(item) for item in value]
    return value


def _toml_table(path: tuple[str, ...], table: Mapping[str, Any]) -> Iterator[str]:
    plain = {key: value for key, value in table.items() if not _is_nested(value)}
    if path and (plain or not table):
        yield f"[{'.'.join(map(_toml_key, path))}]"
    for key, value in plain.items():
        yield f"{_toml_key(key)} = {_toml_value(value)}"
    if plain:
        yield ""
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _toml_table((*path, key), value)
        elif _is_nested(value):
            for item in value:
                yield f"[[{'.'.join(map(_toml_key, (*path, key)))}]]"
                for name, leaf in item.items():
                    yield f"{_toml_key(name)} = {_toml_value(leaf)}"
                yield ""


def _is_nested(value: Any) -> bool:
    return isinstance(value, Mapping) or (isinstance(value, list) and bool(value) and isinstance(value[0], Mapping))


def _toml_key(key: str) -> str:
    return (
        key if key and all(char.isascii() and (char.isalnum() or char in "_-") for char in key) else _toml_text(key)
    )


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml_value, value)) + "]"
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_toml_key(key)} = {_toml_value(item)}" for key, item in value.items()) + " }"
    return _toml_text(str(value))


def _toml_text(text: str) -> str:
    # A JSON string is a TOML basic string, except that TOML wants DEL escaped.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007F")

"""Calldata of the executor for people, and calldata of its owner's actions from words that people type."""

import dataclasses
import re
from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Any

from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError

from ouro.execution.builds import builds
from ouro.execution.contract import NATIVE, executor_artifact
from ouro.execution.encode import decode_program
from ouro.hashing import keccak, selector
from ouro.types import Address

_DEPLOY = selector("deploy(bytes32,bytes)")
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")


class InputError(ValueError):
    """Something that a person typed can't be used; the text names the argument."""


def read_address(text: str, what: str) -> Address:
    """A lower-case address. Raises ``InputError``, also where mixed case says that a digit is wrong (EIP-55)."""
    if not _ADDRESS.fullmatch(text):
        raise InputError(f"{what}: {text[:60]!r} is not an address: 0x and 40 hex digits are expected")
    lower = text.lower()
    if text[2:] not in (lower[2:], lower[2:].upper()) and text[2:] != _checksummed(lower[2:]):
        raise InputError(f"{what}: {text} has a wrong checksum; a digit may be mistyped")
    return lower


def read_bytes(text: str, what: str) -> bytes:
    """Bytes from hex digits, with or without 0x. Raises ``InputError``."""
    try:
        return bytes.fromhex(text.strip().removeprefix("0x"))
    except ValueError:
        raise InputError(f"{what}: is not whole bytes in hex digits") from None


# ------------------------------------------------------------------------------------------------- owner's actions


@dataclasses.dataclass(frozen=True, slots=True)
class Action:
    """A function of the executor that changes its state, under the name people type."""

    name: str
    function: str
    inputs: tuple[tuple[str, str], ...]

    @property
    def signature(self) -> str:
        """Canonical, as the selector is taken from."""
        return f"{self.function}({','.join(kind for _, kind in self.inputs)})"

    @property
    def usage(self) -> str:
        """Name and arguments."""
        return " ".join([self.name, *(f"{name.upper()}:{kind}" for name, kind in self.inputs)])


def actions() -> dict[str, Action]:
    """All of them, straight from the contract's interface."""
    found = {}
    for item in executor_artifact().abi:
        if item.get("type") == "function" and item["stateMutability"] in ("nonpayable", "payable"):
            name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", item["name"]).lower()
            inputs = tuple((part["name"].strip("_"), part["type"]) for part in item["inputs"])
            found[name] = Action(name, item["name"], inputs)
    return dict(sorted(found.items()))


def action_calldata(name: str, arguments: Sequence[str]) -> tuple[Action, bytes]:
    """The action and its calldata. Raises ``InputError`` naming what is wrong."""
    known = actions()
    if name not in known:
        raise InputError(f"{name!r} is no action of the executor; known: {', '.join(known)}")
    action = known[name]
    if len(arguments) != len(action.inputs):
        raise InputError(f"{name}: {len(arguments)} arguments; usage: {action.usage}")
    values = [
        _read_value(kind, text, f"{name} {argument}")
        for (argument, kind), text in zip(action.inputs, arguments, strict=True)
    ]
    return action, selector(action.signature) + encode([kind for _, kind in action.inputs], values)


def _read_value(kind: str, text: str, what: str) -> Any:
    if kind == "address":
        return NATIVE if text.lower() == "native" else read_address(text, what)
    if kind == "bool":
        if text.lower() not in ("true", "false"):
            raise InputError(f"{what}: {text!r} is neither true nor false")
        return text.lower() == "true"
    if kind.startswith("uint"):
        bits = int(kind[4:] or 256)
        if not re.fullmatch(r"[0-9][0-9_]*", text) or int(text) >= 1 << bits:
            raise InputError(f"{what}: {text[:80]!r} is not a whole number of at most {bits} bits, in digits")
        return int(text)
    raise InputError(f"{what}: values of type {kind} can't be typed here")


# ------------------------------------------------------------------------------------------------- calldata → text


def describe(calldata: bytes) -> list[str]:
    """Lines that say what ``calldata`` makes the executor (or the factory) do.

    Raises ``EncodeError`` (a ``ValueError``) where it is neither a function nor a program.
    """
    if calldata[:4] == _DEPLOY:
        return _described_deployment(calldata)
    if (call := _described_call(calldata)) is not None:
        return call
    return list(_program_lines(decode_program(calldata)))


def _described_call(calldata: bytes) -> list[str] | None:
    for item in executor_artifact().abi:
        if item.get("type") != "function":
            continue
        types = [part["type"] for part in item["inputs"]]
        if calldata[:4] != selector(f"{item['name']}({','.join(types)})"):
            continue
        try:
            values = decode(types, calldata[4:])
        except (DecodingError, OverflowError):
            raise InputError(f"calldata: starts like {item['name']}, but its arguments can't be read") from None
        names = [part["name"] for part in item["inputs"]]
        return [f"call {item['name']}", *_fields(zip(names, values, strict=True), "  ")]
    return None


def _described_deployment(calldata: bytes) -> list[str]:
    try:
        salt, code = decode(["bytes32", "bytes"], calldata[4:])
    except (DecodingError, OverflowError):
        raise InputError("calldata: starts like the factory's deploy, but its arguments can't be read") from None
    number = int.from_bytes(salt[20:], "big")
    lines = ["deploy through the factory", f"  deployer: 0x{salt[:20].hex()}", f"  salt: {number:#x}"]
    for build in builds():
        if code.startswith(build.creation_code):
            try:
                owner, treasury, operators = decode(
                    ["address", "address", "address[]"], code[len(build.creation_code) :]
                )
            except (DecodingError, OverflowError):
                continue
            if build.deployment(owner, operators, treasury) == code:
                of = {"build": build.name, "owner": owner, "treasury": treasury, "operators": operators}
                return lines + list(_fields(of.items(), "  "))
    return [*lines, f"  code: {len(code)} bytes that are no build of the executor (keccak 0x{keccak(code).hex()})"]


def _program_lines(program: Any) -> Iterable[str]:
    """Generic over the program's own dataclasses, so that whatever the encoding has is shown."""
    yield "program"
    lists = []
    for part in dataclasses.fields(program):
        value = getattr(program, part.name)
        if isinstance(value, tuple | list) and value and dataclasses.is_dataclass(value[0]):
            lists.append((part.name, value))
        else:
            yield f"  {part.name}: {_shown(value)}"
    for name, items in lists:
        yield f"  {name}:"
        for k, item in enumerate(items):
            yield from _nested(item, f"{k}", "    ")


def _nested(item: Any, label: str, indent: str) -> Iterable[str]:
    """One operation on a line; operations inside it (their names end the line) below, further in."""
    words, below = [], []
    for part in dataclasses.fields(item):
        value = getattr(item, part.name)
        if isinstance(value, tuple | list) and value and dataclasses.is_dataclass(value[0]):
            below.append((part.name, value))
        elif isinstance(value, Enum) and part.name == "kind":
            words.insert(0, value.name)
        elif not _says_nothing(item, part, value):
            words.append(f"{part.name}={_shown(value)}")
    head = "" if isinstance(getattr(item, "kind", None), Enum) else f"{type(item).__name__} "
    yield f"{indent}{label}  {head}{' '.join(words)}{''.join(f' {name}:' for name, _ in below)}"
    for _, items in below:
        for k, inner in enumerate(items):
            yield from _nested(inner, f"{label}.{k}", indent + "  ")


def _says_nothing(item: Any, part: "dataclasses.Field[Any]", value: Any) -> bool:
    """Absent, or zero where that is the default; a direction is told wherever there is a pool."""
    if value is False:
        return getattr(item, "pool", None) is None
    return value is None or (value is not True and value == part.default)


def _fields(pairs: Iterable[tuple[str, Any]], indent: str) -> Iterable[str]:
    for name, value in pairs:
        yield f"{indent}{name.strip('_')}: {_shown(value)}"


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, bytes | bytearray):
        return "0x" + value.hex()
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, tuple | list):
        return ", ".join(_shown(item) for item in value) or "none"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        parts = (f"{part.name}={_shown(getattr(value, part.name))}" for part in dataclasses.fields(value))
        return f"{type(value).__name__}({', '.join(parts)})"
    return str(value)


def _checksummed(digits: str) -> str:
    """EIP-55: a letter is a capital where the hash's digit at its place is above 7."""
    mask = keccak(digits.encode()).hex()
    return "".join(c.upper() if int(m, 16) > 7 else c for c, m in zip(digits, mask, strict=False))

"""Arguments of any input as JSON and back, for the calls that are rare.

Numbers, texts and None are themselves; all else is an object with one key that says what it is.
Dataclasses and enumerations of mkrpc are made again by name, so that an input which did not exist
when this was written needs no line here.
"""

import importlib
import inspect
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

from mkrpc.errors import InvalidArgumentError

__all__ = ["Reference", "from_plain", "to_plain"]

_PACKAGE = "mkrpc"

Reference = Callable[[Any], tuple[str, int] | None]
"""An object that lives on both sides, as its kind and its number; None: a value."""

_CONTAINERS: dict[type, str] = {tuple: "tuple", set: "set", frozenset: "frozenset"}
_MAKE: dict[str, Callable[[Any], Any]] = {"tuple": tuple, "set": set, "frozenset": frozenset}


def to_plain(value: Any, reference: Reference) -> Any:
    """``value`` as JSON. TypeError for what has no form here."""
    if isinstance(value, Enum):
        return {"enum": [_name_of(type(value)), value.name]}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    found = reference(value)
    if found is not None:
        return {"reference": list(found)}
    if isinstance(value, list):
        return [to_plain(each, reference) for each in value]
    if type(value) in _CONTAINERS:
        found_items = [to_plain(each, reference) for each in value]
        if not isinstance(value, tuple):
            found_items.sort(key=repr)
        return {_CONTAINERS[type(value)]: found_items}
    if isinstance(value, Mapping):
        pairs = [[to_plain(k, reference), to_plain(v, reference)] for k, v in value.items()]
        return {"mapping": pairs}
    names = _fields_of(value)
    return {
        "object": [
            _name_of(type(value)),
            {name: to_plain(getattr(value, name), reference) for name in names},
        ]
    }


def from_plain(plain: Any, resolve: Callable[[str, int], Any]) -> Any:
    """The value again; ``resolve`` finds what a reference names."""
    if isinstance(plain, list):
        return [from_plain(each, resolve) for each in plain]
    if not isinstance(plain, dict):
        return plain
    ((kind, body),) = plain.items()
    if kind == "bytes":
        return bytes.fromhex(body)
    if kind == "reference":
        return resolve(*body)
    if kind in _MAKE:
        return _MAKE[kind](from_plain(each, resolve) for each in body)
    if kind == "mapping":
        return {from_plain(k, resolve): from_plain(v, resolve) for k, v in body}
    name, content = body
    found = _named(name)
    if kind == "enum":
        return found[content]
    return _made(found, {key: from_plain(each, resolve) for key, each in content.items()})


def _made(kind: Any, content: dict[str, Any]) -> Any:
    """An object of these fields, those that its constructor does not take included."""
    construct = kind
    if not is_dataclass(kind):
        return construct(**content)
    later = {field.name for field in fields(kind) if not field.init}
    made = construct(**{key: value for key, value in content.items() if key not in later})
    for key in later & content.keys():
        object.__setattr__(made, key, content[key])
    return made


def _fields_of(value: Any) -> tuple[str, ...]:
    if is_dataclass(value) and not isinstance(value, type):
        return tuple(field.name for field in fields(value))
    kind = type(value)
    names = tuple(inspect.signature(kind).parameters)
    if kind.__module__.partition(".")[0] != _PACKAGE or not all(hasattr(value, n) for n in names):
        raise TypeError(f"no form in a journal for {value!r}")
    return names  # such as a policy: whatever it is made of can be read back


def _name_of(kind: type) -> str:
    assert kind.__module__.partition(".")[0] == _PACKAGE, kind
    return f"{kind.__module__}:{kind.__qualname__}"


def _named(name: str) -> Any:
    """A class of mkrpc, and nothing else: a module of it leads to all that it imports."""
    module, _, qualname = name.partition(":")
    found: Any = None
    packages = module.split(".")
    if packages[0] == _PACKAGE and "__main__" not in packages:  # which is a command, and would run
        with suppress(ImportError):
            found = importlib.import_module(module)
        for part in qualname.split("."):
            found = getattr(found, part, None)
    if not isinstance(found, type) or found.__module__ != module:
        raise InvalidArgumentError(
            f"the journal names {name}, which is no class of mkrpc",
            advice="it is damaged, or forged, or of another release",
        )
    return found

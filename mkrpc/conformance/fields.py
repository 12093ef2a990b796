"""Checked access to the fields of one recorded JSON object.

Everything raises :class:`MalformedError`, which says what is wrong but not where: the reader of the
file knows the line.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, ParamSpec, TypeVar

__all__ = [
    "MAX_QWORD",
    "MAX_VECTOR",
    "MAX_WORD",
    "MalformedError",
    "as_bool",
    "as_cpu",
    "as_enum",
    "as_number",
    "as_object",
    "as_strings",
    "at",
    "number_at",
    "string_at",
    "list_at",
]

MAX_VECTOR = 0xFF
MAX_WORD = 0xFFFF_FFFF
MAX_QWORD = 0xFFFF_FFFF_FFFF_FFFF

_T = TypeVar("_T")
_P = ParamSpec("_P")
_Enum = TypeVar("_Enum", bound=StrEnum)


class MalformedError(Exception):
    """A recorded scenario is not what it should be."""


def at(where: str, read: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """``read(...)``, with ``where`` in front of what it complains about."""
    try:
        return read(*args, **kwargs)
    except MalformedError as error:
        raise MalformedError(f"{where}: {error}") from error


def as_object(value: object, what: str) -> dict[str, Any]:
    """A JSON object."""
    if not isinstance(value, dict):
        raise MalformedError(f"{what} is no JSON object")
    return value


def as_number(value: object, name: str, most: int) -> int:
    """A whole number from 0 to ``most``; true and false are none."""
    if type(value) is not int or not 0 <= value <= most:
        raise MalformedError(f"'{name}' is {value!r}, not a number from 0 to {most:#x}")
    return value


def as_bool(value: object, name: str) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise MalformedError(f"'{name}' is {value!r}, neither true nor false")
    return value


def as_strings(value: object, name: str) -> tuple[str, ...]:
    """A list of texts."""
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise MalformedError(f"'{name}' is no list of texts")
    return tuple(value)


def as_enum(kind: type[_Enum], value: object, name: str) -> _Enum:
    """A member of ``kind`` by its value."""
    try:
        return kind(str(value))
    except ValueError:
        known = ", ".join(repr(str(member)) for member in kind)
        raise MalformedError(f"{name} {value!r} is none of {known}") from None


def as_cpu(text: str, cpus: int) -> int:
    """A CPU index in decimal, below ``cpus``."""
    if text not in map(str, range(cpus)):
        raise MalformedError(f"there is no CPU {text!r} among {cpus}")
    return int(text)


def number_at(line: Mapping[str, Any], key: str, most: int) -> int:
    """The number under ``key``, 0 to ``most``."""
    return as_number(line.get(key), key, most)


def string_at(line: Mapping[str, Any], key: str) -> str:
    """The text under ``key``, which is not empty."""
    value = line.get(key)
    if not isinstance(value, str) or not value:
        raise MalformedError(f"'{key}' is missing or no text")
    return value


def list_at(line: Mapping[str, Any], key: str) -> list[Any]:
    """The list under ``key``."""
    value = line.get(key)
    if not isinstance(value, list):
        raise MalformedError(f"'{key}' is no list")
    return value

"""Checked access to the fields of one recorded JSON object.

Everything raises :class:`MalformedError`, which says what is wrong but not where: the reader of the
file knows the line.
"""

from collections.abc import Callable, Collection, Mapping
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
    "given",
    "number_at",
    "string_at",
    "list_at",
]

MAX_VECTOR = 0xFF
MAX_WORD = 0xFFFF_FFFF
MAX_QWORD = 0xFFFF_FFFF_FFFF_FFFF
_WIDTHS = (MAX_VECTOR, MAX_WORD, MAX_QWORD)

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


def as_number(value: object, name: str, most: int, *, least: int = 0, base: int = 10) -> int:
    """A whole number from ``least`` to ``most``; true and false are none.

    ``base``: that in which it was written, and in which the complaint has it.
    """
    if type(value) is not int or not least <= value <= most:
        form = "#x" if base == 16 else "d"
        shown = format(value, form) if type(value) is int else repr(value)
        hexadecimal = f" ({most:#x})" if base == 10 and most in _WIDTHS else ""
        span = f"{format(least, form)} to {format(most, form)}{hexadecimal}"
        raise MalformedError(f"'{name}' is {shown}, not a number from {span}")
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


def as_enum(kind: type[_Enum], value: object, name: str, *, but: Collection[_Enum] = ()) -> _Enum:
    """A member of ``kind`` by its value, other than ``but``."""
    member = next((each for each in kind if each == str(value)), None)
    if member is None or member in but:
        known = ", ".join(repr(str(each)) for each in kind if each not in but)
        raise MalformedError(f"{name} {value!r} is none of {known}")
    return member


def as_cpu(text: str, cpus: int) -> int:
    """A CPU index in decimal, below ``cpus``."""
    if text not in map(str, range(cpus)):
        raise MalformedError(f"there is no CPU {text!r} among {cpus}")
    return int(text)


def given(line: Mapping[str, Any], key: str) -> Any:
    """What is under ``key``, which cannot be left out."""
    if line.get(key) is None:
        raise MalformedError(f"'{key}' is missing")
    return line[key]


def number_at(line: Mapping[str, Any], key: str, most: int, *, least: int = 0) -> int:
    """The number under ``key``, ``least`` to ``most``."""
    return as_number(given(line, key), key, most, least=least)


def string_at(line: Mapping[str, Any], key: str) -> str:
    """The text under ``key``, which is not empty."""
    value = given(line, key)
    if not isinstance(value, str) or not value:
        raise MalformedError(f"'{key}' is empty or no text")
    return value


def list_at(line: Mapping[str, Any], key: str) -> list[Any]:
    """The list under ``key``."""
    value = given(line, key)
    if not isinstance(value, list):
        raise MalformedError(f"'{key}' is no list")
    return value

"""Switches: fields with named values, of which a mistyped one would otherwise mean another."""

from collections.abc import Collection
from functools import cache
from typing import Any, Literal, get_args, get_origin, get_type_hints

from mkrpc.errors import InvalidArgumentError

__all__ = ["check_switch", "check_switches"]


def check_switches(settings: Any) -> None:
    """Raise InvalidArgumentError if a ``Literal`` field of a dataclass holds none of its values."""
    for name, choices in _switches_of(type(settings)):
        check_switch(name, getattr(settings, name), choices)


@cache
def _switches_of(kind: type) -> tuple[tuple[str, tuple[object, ...]], ...]:
    hints = get_type_hints(kind).items()
    return tuple((name, get_args(hint)) for name, hint in hints if get_origin(hint) is Literal)


def check_switch(name: str, value: object, choices: Collection[object]) -> None:
    """Raise InvalidArgumentError, naming the switch, for what is none of its choices."""
    if value not in choices:
        raise InvalidArgumentError(
            f"{name} is {value!r}", advice=f"choose one of {', '.join(map(repr, choices))}"
        )

"""Switches: fields with named values, of which a mistyped one would otherwise mean another."""

from collections.abc import Collection
from typing import Literal, get_args, get_origin, get_type_hints

from mkrpc.errors import InvalidArgumentError

__all__ = ["check_switch", "check_switches"]


def check_switches(settings: object) -> None:
    """Raise InvalidArgumentError if a ``Literal`` field of a dataclass holds none of its values."""
    for name, hint in get_type_hints(type(settings)).items():
        if get_origin(hint) is Literal:
            check_switch(name, getattr(settings, name), get_args(hint))


def check_switch(name: str, value: object, choices: Collection[object]) -> None:
    """Raise InvalidArgumentError, naming the switch, for what is none of its choices."""
    if value not in choices:
        raise InvalidArgumentError(
            f"{name} is {value!r}", advice=f"choose one of {', '.join(map(repr, choices))}"
        )

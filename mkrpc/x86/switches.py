"""Switches: fields with named values, of which a mistyped one would otherwise mean another."""

from collections.abc import Collection
from typing import Literal, get_args, get_origin, get_type_hints

from mkrpc.errors import InvalidArgumentError

__all__ = ["check_switch", "check_switches"]


_known: dict[type, tuple[tuple[str, tuple[object, ...]], ...]] = {}
"""The switches of each kind of settings, for annotations take long to read."""


def check_switches(settings: object) -> None:
    """Raise InvalidArgumentError if a ``Literal`` field of a dataclass holds none of its values."""
    kind = type(settings)
    if kind not in _known:
        hints = get_type_hints(kind).items()
        _known[kind] = tuple(
            (name, get_args(hint)) for name, hint in hints if get_origin(hint) is Literal
        )
    for name, choices in _known[kind]:
        check_switch(name, getattr(settings, name), choices)


def check_switch(name: str, value: object, choices: Collection[object]) -> None:
    """Raise InvalidArgumentError, naming the switch, for what is none of its choices."""
    if value not in choices:
        raise InvalidArgumentError(
            f"{name} is {value!r}", advice=f"choose one of {', '.join(map(repr, choices))}"
        )

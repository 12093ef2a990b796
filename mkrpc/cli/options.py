"""Options that commands share, and how they find the cluster."""

import math
from collections.abc import Callable
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from mkrpc.client import Client

__all__ = [
    "Amount",
    "ApicSwitch",
    "Number",
    "cluster_options",
    "connect",
    "instance_key",
    "json_option",
    "name_option",
]

_ID_DIGITS = 20
"""More is no number of anything; Python would not even read 5,000."""

Command = TypeVar("Command", bound=Callable[..., Any])

name_option = click.option(
    "--name", default="default", envvar="MKRPC_NAME", show_default=True, help="Name of the cluster."
)

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def cluster_options(command: Command) -> Command:
    """``--name`` and ``--address``: which cluster. The address wins if both are given."""
    address = click.option(
        "--address", metavar="ADDRESS", help="unix:/path or host:port, in place of a name."
    )
    return name_option(address(command))


def connect(name: str, address: str | None) -> "Client":
    """A client of the cluster; NotFoundError or UnavailableError if there is none."""
    # Imported late: gRPC takes longer to load than most commands without a cluster take in all.
    from mkrpc.client import Client

    if address is None:
        from mkrpc.cluster import find

        address = find(name).address
    return Client(address)


def instance_key(text: str) -> int | str:
    """An instance as typed: an id if it is a number, a name otherwise."""
    number = text.isascii() and text.isdigit() and len(text) <= _ID_DIGITS
    return int(text) if number else text


class Amount(click.FloatRange):
    """A range of floating-point numbers; NaN, which is in none, is not in it either."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The number; a usage error that says which are possible."""
        number: float = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value} is not a number", param, ctx)
        return number


class Number(click.ParamType):  # type: ignore[type-arg] # generic in new click only
    """A number in decimal or, after 0x, in hexadecimal, from ``lowest`` to ``highest``."""

    name = "number"

    def __init__(self, lowest: int, highest: int, *, hexadecimal: bool = False) -> None:
        self.lowest, self.highest = lowest, highest
        self.hexadecimal = hexadecimal

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number; a usage error that says which are possible."""
        text = str(value)
        try:
            number = int(text, 16 if text.lower().startswith("0x") else 10)
        except ValueError:
            self.fail(f"{text!r} is not a number (decimal, or hexadecimal after 0x)", param, ctx)
        if not self.lowest <= number <= self.highest:
            form = "#x" if self.hexadecimal else "d"
            span = f"{format(self.lowest, form)} to {format(self.highest, form)}"
            self.fail(f"{text} is out of range: {span}", param, ctx)
        return number


class ApicSwitch(click.ParamType):  # type: ignore[type-arg] # generic in new click only
    """``KEY=VALUE``: a switch of the local APICs, spelt as in a topology's ``[apic]``."""

    name = "KEY=VALUE"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str | bool]:
        """The key and what the table holds; a usage error that says which are possible."""
        # Imported late: pydantic is for those who need it.
        from mkrpc.topology import ApicSpec

        key, equals, text = str(value).partition("=")
        if key not in ApicSpec.model_fields:
            close = get_close_matches(key, ApicSpec.model_fields, n=1)
            hint = f", did you mean {close[0]}?" if close else "."
            known = ", ".join(ApicSpec.model_fields)
            self.fail(f"there is no switch {key!r}{hint} There are: {known}", param, ctx)
        choices = ApicSpec.choices(key)
        possible = " or ".join(choices)
        if not equals:
            self.fail(f"{key} without a value: write {key}=VALUE, {possible}", param, ctx)
        if text not in choices:
            self.fail(f"{key} is {possible}, not {text!r}", param, ctx)
        return key, {"true": True, "false": False}.get(text, text)

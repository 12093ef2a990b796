"""Operands of instructions: what runs on a CPU is Python, in which they can be anything."""

from mkrpc.errors import InvalidArgumentError

__all__ = ["check_bits", "check_integer"]


def check_integer(what: str, value: int) -> None:
    """Raise TypeError for what is no integer. An IntEnum is one, a bool is not."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{what} {value!r} is no integer")


def check_bits(what: str, value: int, bits: int) -> None:
    """Raise as :func:`check_integer`, and InvalidArgumentError beyond ``bits`` bits, unsigned."""
    if type(value) is not int:  # a quick look first: this is on the way of every ICR write
        check_integer(what, value)
    if not 0 <= value < 1 << bits:
        raise InvalidArgumentError(
            f"{what} {value:#x} does not fit {bits} bits",
            advice=f"give a number from 0 to {(1 << bits) - 1:#x}",
        )

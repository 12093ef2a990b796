"""Numbers of a caller, checked before protobuf sees them, which would raise ValueError."""

import operator

from mkrpc.errors import InvalidArgumentError

__all__ = ["check_apic_id", "check_bits", "check_instance_id"]


def check_apic_id(apic_id: int) -> int:
    """The same number, if it fits 32 bits; InvalidArgumentError otherwise."""
    return check_bits("APIC id", apic_id, 32)


def check_instance_id(instance_id: int) -> int:
    """The same number, if it fits 32 bits; InvalidArgumentError otherwise."""
    return check_bits("instance id", instance_id, 32)


def check_bits(what: str, value: int, bits: int) -> int:
    """The same number, if it fits so many bits; InvalidArgumentError otherwise."""
    advice = f"give a whole number from 0 to {(1 << bits) - 1:#x}"
    try:
        value = operator.index(value)
    except TypeError:
        raise InvalidArgumentError(f"{what} {value!r} is no whole number", advice=advice) from None
    if not 0 <= value < 1 << bits:
        raise InvalidArgumentError(f"{what} {value:#x} does not fit {bits} bits", advice=advice)
    return value

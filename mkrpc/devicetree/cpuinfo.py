"""/proc/cpuinfo of an x86 machine: which logical CPU has which APIC id."""

import re
from collections.abc import Mapping

from mkrpc.errors import InvalidArgumentError

__all__ = ["parse_cpuinfo"]

_LINE = re.compile(r"^(processor|apicid)[ \t]*:[ \t]*([0-9]{1,10})[ \t]*$", re.MULTILINE)


def parse_cpuinfo(text: str, file: str) -> Mapping[int, int]:
    """APIC id by logical CPU number. Raises InvalidArgumentError if there is none in it.

    ``apicid``, not ``physical id``, which is the socket.
    """
    found: dict[int, int] = {}
    processor: int | None = None
    for key, number in _LINE.findall(text):
        if key == "processor":
            processor = int(number)
        elif processor is not None:
            found[processor] = int(number)
            processor = None
    if not found:
        raise InvalidArgumentError(
            f"{file}: no CPU with an apicid", advice="give /proc/cpuinfo of an x86 machine"
        )
    return found

"""What may be loaded into an instance."""

import re

from mkrpc.errors import InvalidArgumentError
from mkrpc.limits import ENTRY, MAX_CMDLINE, MAX_ENTRY, MAX_HANDLERS
from mkrpc.v1 import types_pb2 as types

__all__ = ["check_image"]

_ENTRY = re.compile(ENTRY)


def check_image(image: types.Image, *, cpus: int) -> None:
    """InvalidArgumentError (EINVAL) for what no instance of so many CPUs can run."""
    if len(image.cmdline) > MAX_CMDLINE or not (image.cmdline.isascii() and _printable(image)):
        raise _invalid(
            f"a command line of {len(image.cmdline)} characters",
            f"at most {MAX_CMDLINE}, printable ASCII",
        )
    if len(image.handlers) > MAX_HANDLERS:
        raise _invalid(f"{len(image.handlers)} handlers", f"at most {MAX_HANDLERS}")
    for entry in (*image.handlers, *(program.entry for program in image.programs)):
        if len(entry) > MAX_ENTRY:
            raise _invalid(f"a name of {len(entry)} characters", f"at most {MAX_ENTRY}")
        if not _ENTRY.fullmatch(entry):
            raise _invalid(f"{entry!r} names nothing", "write it as package.module:name")
    seen: set[int] = set()
    for program in image.programs:
        if program.cpu >= cpus or program.cpu in seen:
            why = "two programs" if program.cpu in seen else f"not one of its {cpus} CPUs"
            raise _invalid(f"a program on CPU {program.cpu}: {why}", "CPUs are numbered from 0")
        seen.add(program.cpu)


def _printable(image: types.Image) -> bool:
    return not image.cmdline or image.cmdline.isprintable()


def _invalid(what: str, advice: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"EINVAL: {what}", advice=advice)

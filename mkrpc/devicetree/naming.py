"""Names and ids of instances, as a machine has them."""

import re
from collections.abc import Iterable

from mkrpc.devicetree.description import Instance
from mkrpc.limits import RESERVED_NAMES

__all__ = ["numbered", "plain_name"]

_NAME_LENGTH = 63


def plain_name(name: str) -> str:
    """A node's name as a label: ``Web_1`` is ``web-1``. A plain one stays as it is."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()) if not _is_plain(name) else name
    plain = plain.strip("-")
    if not plain[:1].isalpha() or plain in RESERVED_NAMES:
        plain = f"mk-{plain}".rstrip("-")
    return plain[:_NAME_LENGTH].rstrip("-")


def _is_plain(name: str) -> bool:
    return re.fullmatch(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?", name) is not None


def numbered(instances: Iterable[Instance]) -> list[tuple[int, Instance]]:
    """Every instance with its id, by id; those without one get the lowest that are free, from 1."""
    ordered = list(instances)
    taken = {instance.id for instance in ordered}
    numbers = iter(number for number in range(1, len(ordered) + 1) if number not in taken)
    given = ((next(numbers) if one.id is None else one.id, one) for one in ordered)
    return sorted(given, key=lambda pair: pair[0])

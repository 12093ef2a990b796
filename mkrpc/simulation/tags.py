"""How the parts of a run are named, so that one can be replayed without some of them.

``s3`` is a step, ``f1`` a fault, ``i2`` an instance that is never started; ``s3-9`` are many steps.
"""

import re
from collections.abc import Iterable
from itertools import groupby

from mkrpc.errors import InvalidArgumentError

__all__ = ["MAX_TAG", "parse_tags", "tags_text"]

MAX_TAG = 9_999
"""The highest number in a tag."""

_TAG = re.compile(r"([sfi])(\d{1,4})(?:-(\d{1,4}))?")


def parse_tags(text: str) -> frozenset[str]:
    """The tags of a list such as ``f1,f3,s2-9``; none of an empty text.

    :raises InvalidArgumentError: it is no such list.
    """
    tags: set[str] = set()
    for part in filter(None, (part.strip() for part in text.split(","))):
        match = _TAG.fullmatch(part)
        if match is None:
            raise InvalidArgumentError(
                f"{part!r} names no part of a run", advice="name steps and faults, as s3,s7-9,f1,i2"
            )
        letter, first, last = match[1], int(match[2]), int(match[3] or match[2])
        tags.update(f"{letter}{number}" for number in range(first, last + 1))
    return frozenset(tags)


def tags_text(tags: Iterable[str]) -> str:
    """The shortest list of these tags, in order."""
    parts = []
    numbered = sorted((tag[0], int(tag[1:])) for tag in tags)
    for letter, group in groupby(numbered, key=lambda tag: tag[0]):
        numbers = [number for _, number in group]
        # Numbers of a run without a gap all differ from their place by the same.
        for _, places in groupby(enumerate(numbers), key=lambda place: place[1] - place[0]):
            of_run = [number for _, number in places]
            last = f"-{of_run[-1]}" if len(of_run) > 1 else ""
            parts.append(f"{letter}{of_run[0]}{last}")
    return ",".join(parts)

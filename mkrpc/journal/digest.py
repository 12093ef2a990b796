"""Books as lines of text, and what is kept of them to compare two runs."""

import zlib
from collections.abc import Sequence
from typing import Any

__all__ = ["MAX_DIGEST_LINES", "MAX_KEPT_LINES", "books_digest"]

MAX_DIGEST_LINES = 8192
"""Lines of books of which a digest is made while the machine runs; larger ones only at its end."""

MAX_KEPT_LINES = 65_536
"""Lines that are kept whole at the end, to show which one differs; of more only the digest."""


def books_digest(lines: Sequence[str], *, whole: bool = True) -> dict[str, Any]:
    """A digest of the lines, with the lines themselves if ``whole`` and they are not too many."""
    digest: dict[str, Any] = {
        "lines": len(lines),
        "crc": zlib.crc32("\n".join(lines).encode("utf-8", "backslashreplace")),
    }
    if whole and len(lines) <= MAX_KEPT_LINES:
        digest["text"] = list(lines)
    return digest

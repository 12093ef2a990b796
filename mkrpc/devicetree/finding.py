"""What a validator says: where, what, what is there now, and what to write instead."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from mkrpc.devicetree.node import Node, Property
from mkrpc.errors import TopologyError
from mkrpc.topology_report import MAX_PROBLEMS_NAMED

__all__ = ["DeviceTreeError", "Finding", "Place", "Severity", "error", "refuse", "warning"]


class Severity(StrEnum):
    """How bad: an error is no machine; a warning is one, but perhaps not the one meant."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Place:
    """Where: ``line`` from 1, 0 in a blob; ``path`` of the node; ``key`` of the property."""

    file: str
    line: int = 0
    path: str = ""
    key: str = ""

    def at(self, what: Node | Property) -> "Place":
        """The place of a node, or of a property of the node that this is the place of."""
        if isinstance(what, Property):
            return Place(self.file, what.line, self.path, what.name)
        return Place(self.file, what.line, what.path)

    def __str__(self) -> str:
        line = f"line {self.line}" if self.line else ""
        key = ": ".join(part for part in (self.path, self.key) if part)
        return ": ".join(part for part in (self.file, line, key) if part)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, or likely to be.

    ``current``: what the file has there now, empty for nothing. ``suggestion``: what to write.
    """

    severity: Severity
    place: Place
    what: str
    suggestion: str
    current: str = ""

    def __str__(self) -> str:
        now = f" (now: {self.current})" if self.current else ""
        return f"{self.place}: {self.what}{now}"


class DeviceTreeError(TopologyError):
    """A device tree of which no machine can be made; ``findings`` has everything found."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        errors = [found for found in findings if found.severity is Severity.ERROR]
        named = errors[:MAX_PROBLEMS_NAMED]
        text = "; ".join(str(found) for found in named)
        if more := len(errors) - len(named):
            text += f"; and {more} more, all named by mkrpc topology"
        super().__init__(text, advice="; ".join(dict.fromkeys(f.suggestion for f in named)))
        self.findings = tuple(findings)


def error(place: Place, what: str, suggestion: str, *, current: str = "") -> Finding:
    """An error: no machine can be made of it."""
    return Finding(Severity.ERROR, place, what, suggestion, current)


def warning(place: Place, what: str, suggestion: str, *, current: str = "") -> Finding:
    """A warning: a machine can be made, but perhaps not the one meant."""
    return Finding(Severity.WARNING, place, what, suggestion, current)


def refuse(found: Finding, *, others: Iterable[Finding] = ()) -> DeviceTreeError:
    """What to raise where reading cannot go on."""
    return DeviceTreeError((*others, found))

"""What a fault is: its kind, whom it strikes, how often and for how long (design 3.5).

Link faults act below the exactly-once layer and change nothing but time: what a stream loses is
sent again, and what comes twice is ignored. A machine fault (``drop``, ``pause``) acts above it and
is in the books, or in the list of instances, by name.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any, Self

from mkrpc.errors import InvalidArgumentError
from mkrpc.limits import MAX_INSTANCE_ID

__all__ = [
    "LINK_KINDS",
    "MAX_DELAY_US",
    "MAX_FAULT_US",
    "MAX_STRIKES",
    "MIN_PERIOD_US",
    "Direction",
    "Fault",
    "FaultKind",
]

MAX_DELAY_US = 1_000_000
"""Delay and jitter of one direction together, in microseconds: a third of the usual lease, so that
a hello and its welcome always find each other within one."""

MIN_PERIOD_US = 50_000
"""Shortest time between two cuts of a flapping link, in microseconds: an instance comes back in
between, so that something always gets through."""

MAX_FAULT_US = 24 * 3600 * 1_000_000
"""Longest duration of a fault, a day; one without a duration lasts until it is cleared."""

MAX_STRIKES = 1 << 32
"""Largest ``every`` and ``limit`` of a fault."""


class FaultKind(StrEnum):
    """What goes wrong; docs/faults.md explains each."""

    DROP = "drop"
    DELAY = "delay"
    DUPLICATE = "duplicate"
    REORDER = "reorder"
    PARTITION = "partition"
    FLAP = "flap"
    PAUSE = "pause"


LINK_KINDS = frozenset(
    {
        FaultKind.DELAY,
        FaultKind.DUPLICATE,
        FaultKind.REORDER,
        FaultKind.PARTITION,
        FaultKind.FLAP,
    }
)
"""Faults of the links between instances and the interconnect."""


class Direction(StrEnum):
    """``up`` is from an instance to the interconnect."""

    UP = "up"
    DOWN = "down"
    BOTH = "both"


_STRIKES = frozenset({"share", "every", "limit", "seed"})
_TAKES = {
    FaultKind.DROP: frozenset({"source", "destination", "vector"}) | _STRIKES,
    FaultKind.DELAY: frozenset({"instance", "direction", "delay_us", "jitter_us", "seed"}),
    FaultKind.DUPLICATE: frozenset({"instance", "direction"}) | _STRIKES,
    FaultKind.REORDER: frozenset({"instance", "direction"}) | _STRIKES,
    FaultKind.PARTITION: frozenset({"instance", "direction"}),
    FaultKind.FLAP: frozenset({"instance", "period_us", "limit"}),
    FaultKind.PAUSE: frozenset({"instance"}),
}
"""What says more about a fault of each kind, beside ``kind`` and ``for_us``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault, as it is asked for. What a kind does not take is left at its default.

    ``for_us``: microseconds until it ends by itself, 0 for until it is cleared. ``instance``: whose
    link or process; None for those of all. For ``drop``, ``source`` and ``destination`` are
    instances and ``vector`` is 0 to 255 of a fixed or lowest-priority IPI; None matches all. Of
    what it could strike it strikes each ``every``-th, or where that is 0 a ``share`` from 0 to 1,
    and ends after ``limit`` strikes, if that is not 0. ``seed``: of the chance by which it does so,
    64 bits; an equal fault with an equal seed strikes alike.
    """

    kind: FaultKind
    for_us: int = 0
    instance: int | None = None
    direction: Direction = Direction.BOTH
    source: int | None = None
    destination: int | None = None
    vector: int | None = None
    share: float = 1.0
    every: int = 0
    limit: int = 0
    delay_us: int = 0
    jitter_us: int = 0
    period_us: int = 0
    seed: int = 0

    @property
    def takes(self) -> frozenset[str]:
        """The fields that mean something for its kind, beside ``kind`` and ``for_us``."""
        return _TAKES[self.kind]

    @classmethod
    def of(cls, table: Mapping[str, Any]) -> Self:
        """The inverse of :meth:`to_dict`."""
        kind, direction = FaultKind(table["kind"]), Direction(table["direction"])
        return cls(**{**table, "kind": kind, "direction": direction})

    def to_dict(self) -> dict[str, Any]:
        """Plain strings and numbers, fit for JSON."""
        table = asdict(self)
        return table | {"kind": self.kind.value, "direction": self.direction.value}

    def check(self) -> None:
        """:raises InvalidArgumentError: no such fault can be; the first reason is named."""
        for what, advice in self._problems():
            raise InvalidArgumentError(f"{self.kind}: {what}", advice=advice)

    def _problems(self) -> Iterator[tuple[str, str]]:
        takes = _TAKES[self.kind]
        for each in fields(self):
            if each.name in takes or each.name in ("kind", "for_us"):
                continue
            if getattr(self, each.name) != each.default:
                known = ", ".join(sorted(takes - {"seed"}))
                yield f"has no {_spoken(each.name)}", f"it takes {_spoken(known)}, and a duration"
        for name in ("instance", "source", "destination"):
            number = getattr(self, name)
            if number is not None and not 0 <= number <= MAX_INSTANCE_ID:
                yield f"{name} {number} is no instance", f"ids are 0 to {MAX_INSTANCE_ID}"
        if self.vector is not None and not 0 <= self.vector <= 0xFF:
            yield f"vector {self.vector:#x} has more than 8 bits", "vectors are 0 to 0xff"
        if not 0 <= self.for_us <= MAX_FAULT_US:
            yield f"lasts for {self.for_us / 1e6:g} s", f"at most {MAX_FAULT_US // 10**6} s"
        if not 0 <= self.seed < 1 << 64:
            yield f"seed {self.seed:#x} has more than 64 bits", "leave it out"
        yield from self._strike_problems()
        yield from self._time_problems()

    def _strike_problems(self) -> Iterator[tuple[str, str]]:
        if not 0 < self.share <= 1:
            yield f"a share of {self.share:g}", "a share is more than 0 and at most 1"
        for name in ("every", "limit"):
            if not 0 <= getattr(self, name) <= MAX_STRIKES:
                yield f"{name} {getattr(self, name)}", f"0 to {MAX_STRIKES}"
        if self.every and self.share != 1:
            yield "both a share and an every", "give one of the two"
        if self.kind is FaultKind.REORDER and self.every < 2 and not self.share <= 0.5:
            advice = "every 2nd at most, or a share of 0.5: something must get through"
            yield "would strike more than every second frame", advice

    def _time_problems(self) -> Iterator[tuple[str, str]]:
        if self.kind is FaultKind.DELAY:
            if self.delay_us < 0 or self.jitter_us < 0:
                yield "a time below 0", "times are at least 0"
            most = f"give a delay or a jitter, {MAX_DELAY_US // 1000} ms together at most"
            if not 0 < self.delay_us + self.jitter_us <= MAX_DELAY_US:
                yield f"by {(self.delay_us + self.jitter_us) / 1000:g} ms", most
        if self.kind is FaultKind.FLAP and not MIN_PERIOD_US <= self.period_us <= MAX_FAULT_US:
            what = f"a cut every {self.period_us / 1000:g} ms"
            yield what, f"{MIN_PERIOD_US // 1000} ms at least, and a day at most"

    def __str__(self) -> str:
        """One line, such as ``drop from 0 to any, vector 0xea, every 10th, 5 at most``."""
        parts = [self.kind.value]
        if self.kind is FaultKind.DROP:
            parts[0] += f" from {_whose(self.source)} to {_whose(self.destination)}"
            parts += [f"vector {self.vector:#04x}"] if self.vector is not None else []
        else:
            what = "instance" if self.kind is FaultKind.PAUSE else "link of"
            parts[0] += f" {what} {_whose(self.instance)}"
            if "direction" in _TAKES[self.kind] and self.direction is not Direction.BOTH:
                parts.append(f"{self.direction}ward")
        if self.every:
            parts.append(f"1 in {self.every}")
        elif self.share != 1:
            parts.append(f"a share of {self.share:g}")
        if self.delay_us or self.jitter_us:
            parts.append(f"{self.delay_us / 1000:g} ms")
        if self.jitter_us:
            parts[-1] += f" and up to {self.jitter_us / 1000:g} ms more"
        if self.period_us:
            parts.append(f"a cut every {self.period_us / 1000:g} ms")
        if self.limit:
            parts.append(f"{self.limit} at most")
        return ", ".join(parts)


def _whose(instance: int | None) -> str:
    return "any" if instance is None else str(instance)


def _spoken(name: str) -> str:
    return name.replace("_us", "")

"""Where a patched kernel's counts may differ from the emulated one's, and why."""

from collections.abc import Callable
from dataclasses import dataclass

from mkrpc.conformance.deviations import BY_NAME, UNEXPLAINED
from mkrpc.conformance.recording import LinuxApic, LinuxTest, Verb
from mkrpc.x86.icr import XAPIC_BROADCAST, DestinationMode, Shorthand, decode

__all__ = ["LINUX", "LINUX_DEVIATIONS", "LinuxDeviation", "explain_linux"]

LINUX = "linux"
"""In place of an engine: whose the tests of a patched kernel are. One machine recorded them."""

_PLAIN_AND = BY_NAME["logical-broadcast-ldr-0"]


@dataclass(frozen=True, slots=True)
class LinuxDeviation:
    """As :class:`mkrpc.conformance.deviations.Deviation`, of the counts of one test.

    ``holds`` is given the test and the counts of the model, by CPU.
    """

    name: str
    rules: tuple[str, ...]
    engine: str
    model: str
    holds: Callable[[LinuxTest, tuple[int, ...]], bool]


def _logical_broadcast(test: LinuxTest, cal: tuple[int, ...]) -> bool:
    """A logical 0xff by an xAPIC, whose LDR Linux's physical flat driver leaves at 0."""
    return (
        test.apic is LinuxApic.PHYSICAL_FLAT
        and _none_above(test.cal, cal)
        and any(
            icr.destination & 0xFF == XAPIC_BROADCAST
            and icr.shorthand is Shorthand.NONE
            and icr.destination_mode is DestinationMode.LOGICAL
            for icr in (
                decode(line.high << 32 | line.low) for line in test.script if line.verb is Verb.RAW
            )
        )
    )


def _burst(test: LinuxTest, cal: tuple[int, ...]) -> bool:
    """One line of the script sends several times: each CPU had at least one, and not more."""
    repeated = any(line.repeat > 1 for line in test.script)
    return (
        repeated
        and _none_above(test.cal, cal)
        and all(bool(recorded) is bool(seen) for recorded, seen in zip(test.cal, cal, strict=True))
    )


def _background(test: LinuxTest, cal: tuple[int, ...]) -> bool:
    return not test.clean and _none_above(cal, test.cal)


def _none_above(counts: tuple[int, ...], limits: tuple[int, ...]) -> bool:
    return all(count <= limit for count, limit in zip(counts, limits, strict=True))


LINUX_DEVIATIONS = (
    LinuxDeviation(
        _PLAIN_AND.name,
        _PLAIN_AND.rules,
        _PLAIN_AND.engine,
        _PLAIN_AND.model,
        _logical_broadcast,
    ),
    LinuxDeviation(
        "burst-coalesced",
        ("R42",),
        "merges sends that come before the target has taken the first",
        "an idle CPU takes each at once: docs/faithfulness.md, departures",
        _burst,
    ),
    LinuxDeviation(
        "background-calls",
        (),
        "counts function calls of its own in the same row",
        "has none: the window of the recording was not clean",
        _background,
    ),
)


def explain_linux(test: LinuxTest, cal: tuple[int, ...]) -> tuple[str, tuple[str, ...]]:
    """Name and rules of what explains that the counts differ; nothing explains another text."""
    for deviation in LINUX_DEVIATIONS:
        if cal != test.cal and deviation.holds(test, cal):
            return deviation.name, deviation.rules
    return UNEXPLAINED, ()

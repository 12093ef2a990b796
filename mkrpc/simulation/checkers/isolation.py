"""Isolation (design 3.5): under the filtered policy nobody gets what the policy forbids.

The rule in one predicate, beside the table that the interconnect goes by.
"""

from collections.abc import Mapping
from typing import ClassVar

from mkrpc.interconnect.policy import HOST_INSTANCE
from mkrpc.simulation.checkers.exactly_once import ExactlyOnce
from mkrpc.simulation.checkers.violation import Checker
from mkrpc.simulation.events import Applied
from mkrpc.x86.icr import DeliveryMode, Icr, decode
from mkrpc.x86.irq_vectors import MULTIKERNEL_VECTOR

__all__ = ["Isolation"]

_LIFECYCLE = (DeliveryMode.INIT, DeliveryMode.STARTUP, DeliveryMode.NMI)


class Isolation(Checker):
    """``instances``: that of every incarnation. Nothing is forbidden unless ``filtered``."""

    name: ClassVar[str] = "isolation"
    listens: ClassVar[tuple[type, ...]] = (Applied,)

    def __init__(
        self, journal: ExactlyOnce, *, filtered: bool, instances: Mapping[bytes, int]
    ) -> None:
        self._journal = journal
        self._filtered = filtered
        self._instances = instances

    def on_event(self, event: object) -> None:
        """As :class:`Checker`."""
        assert isinstance(event, Applied)
        write = event.source, event.seq
        if not self._filtered or write not in self._journal.writes:
            return
        source = None if write in self._journal.calls else self._instances[event.source]
        target = event.kernel.config.instance_id
        if not _permitted(decode(event.word), source=source, target=target):
            self.fail(f"{event.word:#x} of instance {source} reached instance {target}")


def _permitted(icr: Icr, *, source: int | None, target: int) -> bool:
    """Whether a leg may pass; ``source`` None for a client."""
    if source == target:
        return True
    if icr.delivery_mode is DeliveryMode.FIXED:
        return icr.vector == MULTIKERNEL_VECTOR
    return source == HOST_INSTANCE and icr.delivery_mode in _LIFECYCLE

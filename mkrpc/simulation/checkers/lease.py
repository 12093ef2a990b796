"""Leases (design 3.3, rule 5): nobody is taken for dead who lives and speaks.

A session ends because its process has ended or said goodbye, or because nothing has come from it
for the time of its lease. A stream that breaks costs nothing but time.
"""

from collections.abc import Callable
from typing import ClassVar

from mkrpc.simulation.checkers.violation import Checker
from mkrpc.simulation.events import Arrived, KernelEnded
from mkrpc.trace import InstanceAttached, InstanceDetached, InstanceResumed, LeaseExpired

__all__ = ["Lease"]


class Lease(Checker):
    """``now_us`` is the interconnect's clock."""

    name: ClassVar[str] = "lease"
    listens: ClassVar[tuple[type, ...]] = (
        *(Arrived, KernelEnded, InstanceAttached),
        *(InstanceDetached, InstanceResumed, LeaseExpired),
    )

    def __init__(self, now_us: Callable[[], int], lease_us: int) -> None:
        self._now_us = now_us
        self._lease_us = lease_us
        self._heard_us: dict[bytes, int] = {}
        self._over: set[bytes] = set()

    def on_event(self, event: object) -> None:
        """As :class:`Checker`."""
        if isinstance(event, Arrived | InstanceAttached | InstanceResumed):
            self._heard_us[event.incarnation] = self._now_us()
        elif type(event) is KernelEnded:
            self._over.add(event.kernel.incarnation)
        elif type(event) is LeaseExpired:
            silent_us = self._now_us() - self._heard_us[event.incarnation]
            if silent_us < self._lease_us:
                self.fail(f"instance {event.instance_id} spoke {silent_us} us before its lease")
            self._over.add(event.incarnation)
        elif type(event) is InstanceDetached and event.incarnation not in self._over:
            self.fail(f"instance {event.instance_id} lives and was detached: {event.reason}")

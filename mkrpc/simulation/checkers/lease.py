"""Leases (design 3.3, rule 5): nobody is taken for dead who lives and speaks.

A session ends because its process has ended or said goodbye, or because nothing has come from it
for the time of its lease. A stream that breaks costs nothing but time, and so does an interconnect
that dies: whoever still holds a lease is taken over (rule 4).
"""

from collections.abc import Callable
from typing import ClassVar

from mkrpc.simulation.checkers.violation import Checker
from mkrpc.simulation.events import Arrived, Fenced, HubBegan, KernelEnded
from mkrpc.trace import (
    InstanceAttached,
    InstanceDetached,
    InstanceResumed,
    InstanceTakenOver,
    LeaseExpired,
)

__all__ = ["Lease"]


_SPEAKS = Arrived, InstanceAttached, InstanceResumed, InstanceTakenOver


class Lease(Checker):
    """``now_us`` is the interconnect's clock; ``holds_lease``: whether an incarnation lives and may
    go on by its own clock."""

    name: ClassVar[str] = "lease"
    listens: ClassVar[tuple[type, ...]] = (
        *_SPEAKS,
        *(KernelEnded, Fenced, HubBegan, InstanceDetached, LeaseExpired),
    )

    def __init__(
        self, now_us: Callable[[], int], lease_us: int, holds_lease: Callable[[bytes], bool]
    ) -> None:
        self._now_us = now_us
        self._holds_lease = holds_lease
        self._lease_us = lease_us
        self._heard_us: dict[bytes, int] = {}
        self._over: set[bytes] = set()

    def on_event(self, event: object) -> None:
        """As :class:`Checker`."""
        if type(event) is HubBegan:
            self._heard_us.clear()
        elif type(event) is Fenced:
            if event.kernel.incarnation not in self._over:
                self.fail(f"instance {event.kernel.config.instance_id} is fenced, and was not over")
        elif isinstance(event, _SPEAKS):
            self._heard_us[event.incarnation] = self._now_us()
        elif type(event) is KernelEnded:
            self._over.add(event.kernel.incarnation)
        elif type(event) is LeaseExpired:
            silent_us = self._now_us() - self._heard_us[event.incarnation]
            if silent_us < self._lease_us:
                self.fail(f"instance {event.instance_id} spoke {silent_us} us before its lease")
            self._over.add(event.incarnation)
        elif type(event) is InstanceDetached and event.incarnation not in self._over:
            if event.incarnation in self._heard_us or self._holds_lease(event.incarnation):
                self.fail(f"instance {event.instance_id} lives and was detached: {event.reason}")
            self._over.add(event.incarnation)

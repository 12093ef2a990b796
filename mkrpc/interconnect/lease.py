"""Leases as the interconnect sees them: who has been silent for too long (design 3.3, rule 5)."""

from collections import OrderedDict

from mkrpc.interconnect.session import Session

__all__ = ["CLOCK_DRIFT_SHARE", "LEASE_US", "Leases", "granted_us"]

LEASE_US = 3_000_000
"""Microseconds of silence after which an instance is taken for dead."""

CLOCK_DRIFT_SHARE = 32
"""An instance is granted its lease less one part in so many, so that it is never the later one to
see the end of it, unless its clock runs slower than the interconnect's by about 3 %."""


def granted_us(lease_us: int) -> int:
    """What an instance may count on, from the moment it sent what was answered."""
    return lease_us - lease_us // CLOCK_DRIFT_SHARE


class Leases:
    """The sessions that live, silent for longest first.

    A lease runs from when anything was last received. The instance measures its own from when it
    sent that, or something before it, so it always ends earlier.
    """

    __slots__ = ("_heard", "lease_us", "now_us")

    def __init__(self, lease_us: int) -> None:
        assert lease_us > 0
        self.lease_us = lease_us
        self.now_us = 0
        self._heard: OrderedDict[Session, int] = OrderedDict()

    def advance(self, now_us: int) -> None:
        """It is ``now_us``, in microseconds on a clock that never runs backwards."""
        assert now_us >= self.now_us, "the time ran backwards"
        self.now_us = now_us

    def hear(self, session: Session) -> None:
        """Something has come from an instance: its lease begins anew."""
        self._heard[session] = self.now_us
        self._heard.move_to_end(session)

    def end(self, session: Session) -> None:
        """The session is over."""
        del self._heard[session]

    def left_us(self, session: Session) -> int:
        """Microseconds until the lease of a session that lives ends."""
        return max(0, self._heard[session] + self.lease_us - self.now_us)

    @property
    def deadline_us(self) -> int | None:
        """When the first lease ends; None if nobody has one."""
        if not self._heard:
            return None
        return next(iter(self._heard.values())) + self.lease_us

    def first_expired(self) -> Session | None:
        """The session that has been silent for longest, if its lease is over."""
        deadline = self.deadline_us
        if deadline is None or self.now_us < deadline:
            return None
        return next(iter(self._heard))

"""Leases as the interconnect sees them: who has been silent for too long (design 3.3, rule 5)."""

from collections import OrderedDict
from itertools import islice

from mkrpc.interconnect.session import Session
from mkrpc.link.lease import BEATS_PER_LEASE

__all__ = [
    "CLOCK_DRIFT_SHARE",
    "INSTANCES_PER_CORE",
    "LEASE_US",
    "Leases",
    "granted_us",
    "lease_us_for",
]

LEASE_US = 3_000_000
"""Microseconds of silence after which an instance is taken for dead."""

CLOCK_DRIFT_SHARE = 32
"""An instance is granted its lease less one part in so many, so that it is never the later one to
see the end of it, unless its clock runs slower than the interconnect's by about 3 %."""


INSTANCES_PER_CORE = 16
"""Instances on one core up to which :data:`LEASE_US` is enough."""


def lease_us_for(instances: int, cores: int) -> int:
    """The lease of a cluster on one host, in microseconds.

    Where many more processes want to run than there are cores, each of them stops for seconds, and
    is not to be called dead for that: the lease grows with their number.
    """
    return LEASE_US * max(INSTANCES_PER_CORE * cores, instances) // (INSTANCES_PER_CORE * cores)


def granted_us(lease_us: int) -> int:
    """What an instance may count on, from the moment it sent what was answered."""
    return lease_us - lease_us // CLOCK_DRIFT_SHARE


class Leases:
    """The sessions that live, silent for longest first.

    A lease runs from when anything was last received. The instance measures its own from when it
    sent that, or something before it, so it always ends earlier.

    Time in which the interconnect did not look does not count: if it was stopped, or had too much
    to do, what was sent to it meanwhile still waits to be read. It looks when it is told the time,
    and what it is told later than it asked for is such a time.
    """

    __slots__ = ("_also_us", "_heard", "_quiet_until_us", "lease_us", "looked_us", "now_us")

    def __init__(self, lease_us: int) -> None:
        assert lease_us > 0
        self.lease_us = lease_us
        self.now_us = 0
        self.looked_us = 0
        """The time in which somebody looked."""
        self._also_us: int | None = None
        self._quiet_until_us = 0
        """Before that nothing is due. A lease that begins anew ends later, so this is looked for
        only once it has come."""
        # Times on a clock that stands still while nobody looks.
        self._heard: OrderedDict[Session, int] = OrderedDict()

    def advance(self, now_us: int) -> None:
        """It is ``now_us``, in microseconds on a clock that never runs backwards."""
        assert now_us >= self.now_us, "the time ran backwards"
        if now_us < self._quiet_until_us:
            self.looked_us += now_us - self.now_us
            self.now_us = now_us
            return
        deadline_us = self.deadline_us
        late_us = max(0, now_us - deadline_us) if deadline_us is not None else 0
        self.looked_us += now_us - self.now_us - late_us
        self.now_us = now_us
        self._quiet_until_us = self.deadline_us or 0

    @property
    def also_us(self) -> int | None:
        """When something else is due, by ``looked_us``: so the time must be told even if nobody
        lives."""
        return self._also_us

    @also_us.setter
    def also_us(self, also_us: int | None) -> None:
        self._also_us = also_us
        self._quiet_until_us = 0

    def hear(self, session: Session) -> None:
        """Something has come from an instance: its lease begins anew."""
        self._heard[session] = self.looked_us
        self._heard.move_to_end(session)

    def end(self, session: Session) -> None:
        """The session is over."""
        del self._heard[session]

    def left_us(self, session: Session) -> int:
        """Microseconds until the lease of a session that lives ends."""
        return max(0, self._heard[session] + self.lease_us - self.looked_us)

    @property
    def deadline_us(self) -> int | None:
        """When to look next: when the first lease ends, or a beat from now; None for never."""
        ends_us = [heard_us + self.lease_us for heard_us in islice(self._heard.values(), 1)]
        if self._also_us is not None:
            ends_us.append(self._also_us)
        if not ends_us:
            return None
        left_us = max(0, min(ends_us) - self.looked_us)
        return self.now_us + min(left_us, -(-self.lease_us // BEATS_PER_LEASE))

    def first_expired(self) -> Session | None:
        """The session that has been silent for longest, if its lease is over."""
        if self.now_us < self._quiet_until_us:
            return None
        for session, heard_us in self._heard.items():
            return session if self.looked_us >= heard_us + self.lease_us else None
        return None

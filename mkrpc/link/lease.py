"""The lease as the instance holds it: beats, their answers, and the end (design 3.3, rule 5)."""

from collections import deque
from typing import Final

from mkrpc.errors import FencedError, ProtocolError

__all__ = [
    "BEATS_PER_LEASE",
    "MAX_BEAT_CORES",
    "MAX_WHERE",
    "PATIENCE_LEASES",
    "SILENT_LEASES",
    "HeldLease",
]

BEATS_PER_LEASE = 6
"""Beats in the time of one lease, so that a few may be late before it ends."""

SILENT_LEASES = 2
"""Leases for which nothing may come over a link while beats are answered by another way."""

PATIENCE_LEASES = 10
"""Leases for which beats by another way keep an instance alive whose link is down."""

MAX_BEAT_CORES = 16
"""CPUs that a beat past the stream tells of: the first that have something pending, in service, or
a handler that has not returned."""

MAX_WHERE = 200
"""Characters in which such a beat says where the event loop is; the rest is cut off."""

_NEVER: Final = 1 << 62
"""Later than any clock goes."""


class HeldLease:
    """How long an incarnation may go on by what it knows itself.

    A lease runs from the moment at which the last beat *was sent* that has been answered, a hello
    being one. The interconnect has heard that beat later than it was sent, so it sees the end of
    the lease later: when it books what the instance held as lost, the instance has stopped already.

    Times are microseconds on a clock that never runs backwards. Before the first :meth:`grant`, and
    with a lease of 0, there is no end and nothing to beat for. ``since_us``: when the lease began.
    """

    __slots__ = (
        "_beats",
        "_due_us",
        "_hello_us",
        "_last_us",
        "_link_us",
        "_unanswered",
        "lease_us",
        "now_us",
        "since_us",
    )

    def __init__(self) -> None:
        self.now_us = 0
        self.lease_us = 0
        self.since_us = 0
        # When anything last came over the link, for want of which it is given up.
        self._link_us = 0
        self._hello_us = 0
        self._last_us = 0
        self._due_us = _NEVER
        self._beats = 0
        # Number and time of what was sent. What is older than a lease could renew nothing, so that
        # there are never more than BEATS_PER_LEASE.
        self._unanswered: deque[tuple[int, int]] = deque()

    def advance(self, now_us: int) -> None:
        """It is ``now_us``."""
        assert now_us >= self.now_us, "the time ran backwards"
        self.now_us = now_us

    @property
    def end_us(self) -> int | None:
        """When it ends, as far as it is known now; None for never."""
        return self.since_us + self.lease_us if self.lease_us else None

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return 0 < self.lease_us <= self.now_us - self.since_us

    def fenced(self, instance_id: int) -> FencedError:
        """What is said of an instance whose lease is over."""
        return FencedError(
            f"the lease of instance {instance_id} ended "
            f"{-self.left_us / 1e6:.1f} s ago: no beat was answered in time",
            advice="'mkrpc exec' starts it again, as a new incarnation",
        )

    @property
    def left_us(self) -> int:
        """Microseconds until it ends; negative after the end."""
        return self.since_us + self.lease_us - self.now_us

    @property
    def give_up_us(self) -> int | None:
        """When to give up a link over which nothing comes; None for never.

        After half a lease, so that another one has time; but if beats are answered by another way,
        so that the lease is not at stake, only after :data:`SILENT_LEASES`: it may be slow.
        """
        if not self.lease_us:
            return None
        link_us, half_us = max(self._link_us, self._hello_us), self.lease_us // 2
        patient_us = link_us + SILENT_LEASES * self.lease_us
        return max(link_us + half_us, min(self.since_us + half_us, patient_us))

    @property
    def beat_due(self) -> bool:
        """Whether the next frame should carry a beat, even alone."""
        return self.now_us >= self._due_us

    @property
    def stalled(self) -> bool:
        """Whether it is time to give the link up."""
        give_up_us = self.give_up_us
        return give_up_us is not None and self.now_us >= give_up_us

    def deadline_us(self, *, beating: bool) -> int | None:
        """When something comes to be due that is not yet; None for never.

        ``beating``: whether a beat could go out now.
        """
        give_up_us = self.give_up_us
        if give_up_us is None or self.over:
            return None
        deadline_us, now_us = self.since_us + self.lease_us, self.now_us
        if now_us < give_up_us < deadline_us:
            deadline_us = give_up_us
        if beating and now_us < self._due_us < deadline_us:
            deadline_us = self._due_us
        return deadline_us

    def hello(self) -> None:
        """A hello goes out now."""
        self._hello_us = self.now_us

    def too_late_for(self, lease_us: int) -> bool:
        """Whether a lease that is granted now would be over, because its hello is so old."""
        return 0 < lease_us <= self.now_us - self._hello_us

    def grant(self, lease_us: int) -> None:
        """The last hello has been answered by a welcome."""
        self.lease_us = lease_us
        # The hello is later than all of these, and another lease may be longer than theirs.
        self._unanswered.clear()
        self._renew(self._hello_us)
        self.came()
        self._last_us = max(self._last_us, self._hello_us)
        self._set_due()

    def came(self) -> None:
        """Something has come over the link."""
        self._link_us = self.now_us

    def beat(self) -> int:
        """A beat goes out now; its number."""
        self._beats += 1
        self._last_us = self.now_us
        self._set_due()
        while self._unanswered and self._unanswered[0][1] + self.lease_us <= self.now_us:
            self._unanswered.popleft()
        self._unanswered.append((self._beats, self.now_us))
        assert len(self._unanswered) <= BEATS_PER_LEASE
        return self._beats

    def answered(self, beat: int) -> None:
        """Every beat up to this one has been received by the peer.

        :raises ProtocolError: it was never sent.
        """
        if beat > self._beats:
            raise ProtocolError(f"beat {beat} is answered, {self._beats} were sent")
        while self._unanswered and self._unanswered[0][0] <= beat:
            self._renew(self._unanswered.popleft()[1])

    def answered_elsewhere(self, sent_us: int) -> None:
        """A beat that was sent at ``sent_us`` by another way than the link has been answered."""
        self._renew(sent_us)

    def _renew(self, sent_us: int) -> None:
        self.since_us = max(self.since_us, sent_us)

    def _set_due(self) -> None:
        interval_us = -(-self.lease_us // BEATS_PER_LEASE)
        self._due_us = self._last_us + interval_us if self.lease_us else _NEVER

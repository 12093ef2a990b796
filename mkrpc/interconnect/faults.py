"""The faults that are injected now: who is struck is decided here, by data, seed and bus time.

Nothing here moves a frame or ends a process. A ``drop`` is asked about by the router; faults of
links by :mod:`mkrpc.interconnect.faulty_link`; a ``pause`` only stands here, to be seen.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mkrpc.errors import LimitReachedError, NotFoundError
from mkrpc.fault import LINK_KINDS, Direction, Fault, FaultKind
from mkrpc.limits import MAX_FAULTS
from mkrpc.trace import FaultBegan, FaultEnded, Sink
from mkrpc.x86.icr import DeliveryMode, Icr

__all__ = ["ActiveFault", "Faults"]

_CARRIES_VECTOR = (DeliveryMode.FIXED, DeliveryMode.LOWEST_PRIORITY)


@dataclass(slots=True, eq=False)
class ActiveFault:
    """A fault from its beginning on. ``seen`` counts what it could strike, ``struck`` what it did.

    ``until_us``: when it ends by itself; None for never.
    """

    number: int
    fault: Fault
    since_us: int
    until_us: int | None
    seen: int = 0
    struck: int = 0

    def chance(self) -> float:
        """The next number from 0 to below 1 of those that the seed gives."""
        self.seen += 1
        return _mixed(self.fault.seed, self.seen)

    def strike(self, count: int = 1) -> tuple[bool, int]:
        """Whether the next that it could strike is struck, and of how many up to ``count`` that
        holds: so many are counted."""
        fault = self.fault
        if fault.every:
            passing = fault.every - 1 - self.seen % fault.every
            struck, part = not passing, min(passing, count) or 1
            self.seen += part
        elif fault.share == 1:
            struck, part = True, min(count, fault.limit - self.struck) if fault.limit else count
            self.seen += part
        else:
            struck, part = self.chance() < fault.share, 1
        self.struck += part * struck
        return struck, part


def _mixed(seed: int, number: int) -> float:
    """SplitMix64 (Steele, Lea and Flood, 2014): the ``number``-th of a seed, as 53 bits."""
    mask = (1 << 64) - 1
    value = (seed + number * 0x9E3779B97F4A7C15) & mask
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 & mask
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB & mask
    return ((value ^ (value >> 31)) >> 11) / (1 << 53)


class Faults:
    """The table. ``drops`` and ``on_links`` are empty while there is no fault of that sort.

    ``sink`` takes the trace events; None for nobody. Time is that of the bus.
    """

    def __init__(self) -> None:
        self.now_us = 0
        self.sink: Sink | None = None
        self.drops: list[ActiveFault] = []
        self.on_links: list[ActiveFault] = []
        self.standing: dict[int, ActiveFault] = {}
        """Those that there are, by number."""
        self._last = 0

    def __iter__(self) -> Iterator[ActiveFault]:
        """By number, which is the order in which they began."""
        return iter(list(self.standing.values()))

    def begin(self, fault: Fault) -> ActiveFault:
        """It strikes from now on. Of pauses there are at most as many as instances.

        :raises InvalidArgumentError: it cannot be.
        :raises LimitReachedError: there are :data:`~mkrpc.limits.MAX_FAULTS`.
        """
        fault.check()
        pauses = sum(each.fault.kind is FaultKind.PAUSE for each in self.standing.values())
        if fault.kind is not FaultKind.PAUSE and len(self.standing) - pauses >= MAX_FAULTS:
            raise LimitReachedError(
                f"{MAX_FAULTS} faults are injected already", advice="clear some: mkrpc fault clear"
            )
        self._last += 1
        until_us = self.now_us + fault.for_us if fault.for_us else None
        active = ActiveFault(self._last, fault, self.now_us, until_us)
        self.standing[active.number] = active
        self._sort()
        if self.sink is not None:
            self.sink(FaultBegan(active.number, fault.kind.value, str(fault), fault.for_us))
        return active

    def find(self, number: int) -> ActiveFault:
        """The fault of that number.

        :raises NotFoundError: there is none.
        """
        active = self.standing.get(number)
        if active is None:
            known = ", ".join(map(str, self.standing)) or "none"
            raise NotFoundError(f"there is no fault {number}", advice=f"there are: {known}")
        return active

    def end(self, number: int, reason: str) -> ActiveFault:
        """It strikes no more.

        :raises NotFoundError: there is none of that number.
        """
        active = self.find(number)
        del self.standing[number]
        self._sort()
        if self.sink is not None:
            self.sink(FaultEnded(number, active.fault.kind.value, reason, active.struck))
        return active

    def advance(self, now_us: int) -> None:
        """It is ``now_us``: what has lasted for long enough ends."""
        self.now_us = now_us
        for active in self:
            if active.until_us is not None and active.until_us <= now_us:
                self.end(active.number, "its time is over")

    @property
    def deadline_us(self) -> int | None:
        """When the next one ends by itself; None for never."""
        times = (active.until_us for active in self.standing.values())
        return min((time_us for time_us in times if time_us is not None), default=None)

    def judge(
        self,
        *,
        source_id: int | None,
        destination_ids: Sequence[int | None],
        icr: Icr,
        count: int,
    ) -> tuple[int, list[bool]]:
        """Of how many of ``count`` equal writes the same holds, and which legs are dropped.

        A leg to None is nobody's, or refused already. The first drop that matches a leg judges it,
        and it alone; no other is asked if it lets it pass.
        """
        judges = [
            None if destination_id is None else self._judge(source_id, destination_id, icr)
            for destination_id in destination_ids
        ]
        several = sum(judge is not None for judge in judges) > 1
        part = 1 if several else count
        dropped = []
        for judge in judges:
            struck = False
            if judge is not None and judge.number in self.standing:
                struck, part = self.strike(judge, part)
            dropped.append(struck)
        return part, dropped

    def _judge(self, source_id: int | None, destination_id: int, icr: Icr) -> ActiveFault | None:
        for active in self.drops:
            fault = active.fault
            if (
                fault.source in (None, source_id)
                and fault.destination in (None, destination_id)
                and (fault.vector is None or _is_vector(icr, fault.vector))
            ):
                return active
        return None

    def strike(self, active: ActiveFault, count: int = 1) -> tuple[bool, int]:
        """As :meth:`ActiveFault.strike`; the fault ends if it has struck often enough."""
        struck, part = active.strike(count)
        limit = active.fault.limit
        if limit and active.struck >= limit:
            self.end(active.number, f"it has struck {active.struck} times")
        return struck, part

    def of_link(self, instance_id: int, direction: Direction) -> Iterator[ActiveFault]:
        """The faults of one direction of an instance's link; ``BOTH`` for those of either."""
        for active in list(self.on_links):
            fault = active.fault
            if fault.instance in (None, instance_id) and (
                Direction.BOTH in (direction, fault.direction) or fault.direction is direction
            ):
                yield active

    def parted(self, instance_id: int, direction: Direction) -> bool:
        """Whether nothing gets through in this direction."""
        return any(
            active.fault.kind is FaultKind.PARTITION
            for active in self.of_link(instance_id, direction)
        )

    def _sort(self) -> None:
        active = self.standing.values()
        self.drops = [each for each in active if each.fault.kind is FaultKind.DROP]
        self.on_links = [each for each in active if each.fault.kind in LINK_KINDS]


def _is_vector(icr: Icr, vector: int) -> bool:
    return icr.delivery_mode in _CARRIES_VECTOR and icr.vector == vector

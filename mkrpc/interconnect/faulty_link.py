"""What faults do to the stream of one instance: hold, repeat, hold back, cut. No I/O, no clock.

The driver puts in every message that passes, takes out what gets through, and cuts the stream when
it is told to. An ordered stream cannot lose, repeat or reorder by itself. The network below it can
break it, and can deliver late what it had swallowed. So faults take these shapes:

- What is delayed or parted keeps its order. Whatever is held when the stream ends is lost.
- A frame that comes twice comes twice in a row.
- A frame that is reordered is held back, and its stream is cut. It comes over the newer stream,
  behind the copy that was sent again, and perhaps behind other frames.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from mkrpc.fault import Direction, FaultKind
from mkrpc.interconnect.faults import ActiveFault, Faults

__all__ = ["MAX_HELD", "MAX_LATE", "FaultyLink", "Late"]

MAX_HELD = 1024
"""Messages held of one direction of a stream; one more and the stream is cut."""

MAX_LATE = 16
"""Frames held back of one direction of an instance; the oldest is lost for the next."""


@dataclass(slots=True)
class Late:
    """Frames that wait for a newer stream of the same incarnation, by direction."""

    frames: dict[Direction, deque[tuple[int, bytes]]] = field(
        default_factory=lambda: {
            Direction.UP: deque(maxlen=MAX_LATE),
            Direction.DOWN: deque(maxlen=MAX_LATE),
        }
    )

    def take(self, direction: Direction, number: int) -> Iterator[bytes]:
        """Those that are no news to whoever has received frame ``number``."""
        frames = self.frames[direction]
        while frames and frames[0][0] <= number:
            yield frames.popleft()[1]


class FaultyLink:
    """One stream. ``cut`` says why it must be cut now; empty as long as it may live.

    ``late`` outlives it. Times are those of the table of faults.
    """

    def __init__(self, faults: Faults, instance_id: int, late: Late) -> None:
        self.cut = ""
        self._faults = faults
        self._instance_id = instance_id
        self._late = late
        self._opened_us = faults.now_us
        self._held: dict[Direction, deque[tuple[int, int, bytes]]] = {
            Direction.UP: deque(),
            Direction.DOWN: deque(),
        }
        self._again: dict[Direction, deque[bytes]] = {
            Direction.UP: deque(),
            Direction.DOWN: deque(),
        }

    def put(self, direction: Direction, message: bytes, number: int) -> None:
        """A message has come: a frame with content has a ``number``, others have 0."""
        if self.cut:
            return
        held = self._held[direction]
        due_us = self._faults.now_us
        copies = 1
        for active in self._faults.of_link(self._instance_id, direction):
            fault = active.fault
            match fault.kind:
                case FaultKind.DELAY:
                    due_us += fault.delay_us
                    due_us += int(fault.jitter_us * active.chance()) if fault.jitter_us else 0
                    active.struck += 1
                case FaultKind.DUPLICATE if number:
                    copies += self._faults.strike(active)[0]
                case FaultKind.REORDER if number:
                    if self._faults.strike(active)[0]:
                        self._late.frames[direction].append((number, message))
                        self._cut(active)
                        return
        held.extend([(due_us, number, message)] * copies)
        if len(held) > MAX_HELD:
            self.cut = f"an injected fault holds {len(held)} messages of it"

    def take(self, direction: Direction) -> bytes | None:
        """What gets through next, in order; None for nothing now. Late frames follow a copy."""
        if self._again[direction]:
            return self._again[direction].popleft()
        held = self._held[direction]
        if not held or held[0][0] > self._faults.now_us or self.stopped(direction):
            return None
        _, number, message = held.popleft()
        if number:
            self._again[direction].extend(self._late.take(direction, number))
        return message

    def stopped(self, direction: Direction) -> bool:
        """Whether nothing gets through now, come what may."""
        return bool(self.cut) or self._faults.parted(self._instance_id, direction)

    def advance(self) -> None:
        """Time has passed: a link that flaps is cut at each multiple of its period."""
        for active in self._flaps():
            if not self.cut and self._next_cut_us(active) <= self._faults.now_us:
                self._faults.strike(active)
                self._cut(active)

    @property
    def holds(self) -> bool:
        """Whether anything waits here."""
        return any(self._held.values()) or any(self._again.values())

    @property
    def deadline_us(self) -> int | None:
        """When something is due by itself; None for never. A fault that ends comes before that."""
        times = [self._next_cut_us(active) for active in self._flaps()]
        for direction, held in self._held.items():
            if held and not self.stopped(direction):
                times.append(held[0][0])
        return None if self.cut else min(times, default=None)

    def _flaps(self) -> Iterator[ActiveFault]:
        for active in self._faults.of_link(self._instance_id, Direction.BOTH):
            if active.fault.kind is FaultKind.FLAP:
                yield active

    def _next_cut_us(self, active: ActiveFault) -> int:
        period_us = active.fault.period_us
        return active.since_us + ((self._opened_us - active.since_us) // period_us + 1) * period_us

    def _cut(self, active: ActiveFault) -> None:
        self.cut = f"cut by fault {active.number}: {active.fault}"

"""What sources have published as resolved, on its way to those who may have had legs of theirs.

A publication costs as much as its source has destinations, however many instances there are.
"""

from collections import OrderedDict

from mkrpc.link.frames import DownFrame, ResolvedRun, SourceFloor
from mkrpc.link.memory import MAX_SOURCES

__all__ = ["Floors", "Publications"]


class Publications:
    """Who is told what each source publishes."""

    __slots__ = ("_heard_by", "_taken_over")

    def __init__(self) -> None:
        self._heard_by: dict[bytes, dict[Floors, None]] = {}
        self._taken_over: dict[Floors, None] = {}

    def publish(self, source: bytes, runs: tuple[ResolvedRun, ...]) -> None:
        """A source has published what is resolved: everything, each time."""
        for floors in self._heard_by.get(source, ()):
            floors.put(source, runs)
        for floors in self._taken_over:
            floors.put(source, runs)

    def begin(self, floors: "Floors") -> None:
        """An instance that an earlier interconnect had: it may have had legs of any source."""
        self._taken_over[floors] = None

    def hear(self, floors: "Floors", source: bytes) -> None:
        """An instance has its first legs of a source."""
        self._heard_by.setdefault(source, {})[floors] = None

    def forget(self, floors: "Floors", source: bytes) -> None:
        """An instance remembers nothing of a source any more, or is over."""
        hearers = self._heard_by[source]
        del hearers[floors]
        if not hearers:
            del self._heard_by[source]

    def end(self, floors: "Floors") -> None:
        """An instance is over."""
        self._taken_over.pop(floors, None)


class Floors:
    """What one instance is to be told. It goes with the next frame that has anything in it:
    forgetting is never urgent.

    ``taken_over``: whose legs it had of earlier interconnects is not known.
    """

    __slots__ = ("_heard", "_latest", "_publications", "_waiting")

    def __init__(self, publications: Publications, *, taken_over: bool) -> None:
        self._publications = publications
        # The sources whose legs this instance has had, latest last: exactly those that it can
        # remember outcomes of, since it forgets the silent ones by the same rule.
        self._heard: OrderedDict[bytes, None] = OrderedDict()
        self._latest = b""
        self._waiting: dict[bytes, tuple[ResolvedRun, ...]] = {}
        if taken_over:
            publications.begin(self)

    def hear(self, source: bytes) -> None:
        """The instance is given legs of this source."""
        if source == self._latest:
            return
        self._latest = source
        if source in self._heard:
            self._heard.move_to_end(source)
            return
        self._publications.hear(self, source)
        self._heard[source] = None
        if len(self._heard) > MAX_SOURCES:
            forgotten, _ = self._heard.popitem(last=False)
            self._publications.forget(self, forgotten)
            self._waiting.pop(forgotten, None)

    def put(self, source: bytes, runs: tuple[ResolvedRun, ...]) -> None:
        """A source that it may have had legs of has published."""
        if source in self._heard or len(self._waiting) < MAX_SOURCES:
            self._waiting[source] = runs

    def take(self, frame: DownFrame, room: int) -> None:
        """Put into a frame what fits, ``room`` runs at most."""
        if not self._waiting:
            return
        floors = []
        for source, runs in list(self._waiting.items()):
            if len(runs) > room:
                break
            room -= len(runs)
            floors.append(SourceFloor(source, runs))
            del self._waiting[source]
        frame.floors = floors

    def end(self) -> None:
        """The instance is over."""
        for source in self._heard:
            self._publications.forget(self, source)
        self._heard.clear()
        self._latest = b""
        self._publications.end(self)

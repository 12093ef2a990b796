"""Where words go, looked up once: destinations, policy, and the rows of the books.

What has been found holds until a CPU changes hands or its address, or rows are folded.
"""

from collections.abc import Mapping
from typing import Final

from mkrpc.interconnect.equal_legs import Place
from mkrpc.interconnect.fan_legs import Fan, FanPlace
from mkrpc.interconnect.ledger import Ledger, Party, RowKey
from mkrpc.interconnect.policy import Policy
from mkrpc.interconnect.registry import Registry
from mkrpc.interconnect.session import Session
from mkrpc.x86.icr import DeliveryMode, DestinationMode, Shorthand, decode

__all__ = ["FAN_FROM", "MAX_PLACES", "Places"]

FAN_FROM: Final = 2
"""CPUs from which on a word that goes to several of them is one entry for each instance."""

MAX_PLACES = 65_536
"""Words of all sources whose places are known at a time; at so many all are looked up again."""


class Places:
    """Of all sources. What must take the general path of :mod:`mkrpc.interconnect.routing`, as what
    is refused, has no place."""

    def __init__(self, *, registry: Registry, policy: Policy, ledger: Ledger) -> None:
        self._registry = registry
        self._policy = policy
        self._ledger = ledger
        self._places: dict[bytes, dict[int, Place | None]] = {}
        self._fans: dict[tuple[bytes, int, int | None], Fan | None] = {}
        self._known = 0
        self._version = self._folds = -1

    def _known_of(self, source: Party) -> dict[int, Place | None]:
        """What has been looked up of a source, and holds."""
        version, folds = self._registry.version, self._ledger.folds
        if version != self._version or folds != self._folds or self._known >= MAX_PLACES:
            self._version, self._folds, self._known = version, folds, 0
            self._places.clear()
            self._fans.clear()
        places = self._places.get(source.identity)
        if places is None:
            places = self._places[source.identity] = {}
        return places

    def place(self, source: Party, word: int) -> Place | None:
        """Where a word goes; None for one of the general path."""
        places = self._known_of(source)
        place = places.get(word)
        if place is not None or word in places:
            return place
        # A row that this opens may have others folded; nothing that is known is used after that.
        place = places[word] = self._look_up(source, word)
        self._known += 1
        return place

    def fan(self, source: Party, apic_id: int | None, word: int) -> Fan | None:
        """Where a word goes that has no place, if it is to several CPUs that may all have it."""
        self._known_of(source)  # to look for its place may have had rows folded
        key = source.identity, word, apic_id
        if key in self._fans:
            return self._fans[key]
        folds = self._ledger.folds
        fan = self._fans[key] = self._look_for_fan(source, apic_id, word)
        self._known += 1 if fan is None else fan.size
        # A row that this has opened may have had others folded, perhaps one of these.
        return fan if self._ledger.folds == folds else None

    def _look_for_fan(self, source: Party, apic_id: int | None, word: int) -> Fan | None:
        icr = decode(word)
        if icr.delivery_mode is DeliveryMode.LOWEST_PRIORITY:
            return None
        found = self._registry.map.resolve(word, apic_id)
        if len(found) < FAN_FROM:
            return None
        vector = self._ledger.vector_of(icr.delivery_mode, icr.vector)
        instances: dict[Session, list[FanPlace]] = {}
        for lane, to in enumerate(found):
            session, cpu = self._registry.cpu_owner(to)
            refusal = self._policy.decide(
                source_id=source.instance_id, destination_id=session.instance_id, icr=icr
            )
            if refusal is not None:
                return None
            row = self._ledger.row(RowKey(source, session.party, to, icr.delivery_mode, vector))
            if row is None:
                return None
            instances.setdefault(session, []).append(FanPlace(lane, cpu, to, row))
        return Fan(instances)

    def find(self, source: Party, different: Mapping[int, int]) -> dict[int, Place | None]:
        """Where these words go; None for those of the general path."""
        places = self._known_of(source)
        for word in different:
            if word not in places:
                places[word] = self._look_up(source, word)
                self._known += 1
        if self._ledger.folds != self._folds:
            # A row that was opened has had others folded, perhaps one that has just been found.
            return self.find(source, different)
        return {word: places[word] for word in different}

    def _look_up(self, source: Party, word: int) -> Place | None:
        icr = decode(word)
        if (
            icr.delivery_mode is not DeliveryMode.FIXED
            or icr.shorthand is not Shorthand.NONE
            or icr.destination_mode is not DestinationMode.PHYSICAL
        ):
            return None
        found = self._registry.map.resolve(word, None)
        if len(found) != 1:
            return None
        apic_id = found[0]
        session, cpu = self._registry.cpu_owner(apic_id)
        refusal = self._policy.decide(
            source_id=source.instance_id, destination_id=session.instance_id, icr=icr
        )
        if refusal is not None:
            return None
        vector = self._ledger.vector_of(icr.delivery_mode, icr.vector)
        row = self._ledger.row(RowKey(source, session.party, apic_id, icr.delivery_mode, vector))
        if row is None:
            return None
        return Place(source=source, word=word, session=session, cpu=cpu, apic_id=apic_id, row=row)

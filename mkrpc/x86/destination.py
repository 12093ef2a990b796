"""Which APICs a command reaches: the specification's predicate, and a map that equals it.

``matches`` is the law, rules R23 to R30. ``DestinationMap`` answers the same for a whole machine
without asking every APIC; a property test holds the two equal.

Not decided here: whether a target is software-enabled (its own APIC decides at arrival), and
lowest-priority arbitration: for that mode the answer is the set of candidates, from which the bus
takes one (R32).

Mixed modes follow hardware, where matching happens in the target: an xAPIC looks at the low 8 bits
of whatever destination the message carries (R29).
Source: SDM vol. 3, 10.6.2, 10.12.9 and 10.12.10.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from mkrpc.x86.apic_base import ApicMode
from mkrpc.x86.icr import (
    BROADCAST,
    XAPIC_BROADCAST,
    DestinationMode,
    Icr,
    Shorthand,
    decode,
)

__all__ = [
    "MEMO_LIMIT",
    "ApicAddress",
    "DestinationMap",
    "matches",
    "x2apic_ldr",
]

MEMO_LIMIT = 8192
"""Resolved destinations that one map remembers; the one after that empties the memo first."""

_DFR_FLAT = 0xF
_DFR_CLUSTER = 0x0

_SHORTHAND_BITS = 3 << 18
_DESTINATION_BITS = BROADCAST << 32 | 1 << 11


@dataclass(frozen=True, slots=True, kw_only=True)
class ApicAddress:
    """All that decides whether an APIC answers to a destination.

    ``initial_id`` is the 32-bit hardware id and the APIC's identity; ``xapic_id`` (8 bits) is the
    id register of xAPIC mode, which software may have rewritten; ``ldr`` and ``dfr`` are the raw
    32-bit registers of the current mode.
    """

    initial_id: int
    mode: ApicMode
    xapic_id: int
    ldr: int
    dfr: int


def x2apic_ldr(initial_id: int) -> int:
    """The read-only logical id of x2APIC mode: cluster in bits 31:16, one bit of 15:0 (R24)."""
    return (initial_id >> 4 & 0xFFFF) << 16 | 1 << (initial_id & 0xF)


def matches(icr: Icr, *, source: int | None, target: ApicAddress) -> bool:
    """Does ``target`` take this command? (R23 to R30)

    ``source`` is the initial id of the sending APIC, or None for an external injector. The latter
    has no APIC of its own, so SELF and ALL_EXCLUDING_SELF reach nobody for it.
    """
    if target.mode is ApicMode.DISABLED:
        return False
    match icr.shorthand:
        case Shorthand.SELF:
            return source == target.initial_id
        case Shorthand.ALL_INCLUDING_SELF:
            return True
        case Shorthand.ALL_EXCLUDING_SELF:
            return source is not None and source != target.initial_id
        case Shorthand.NONE:
            if icr.destination_mode is DestinationMode.LOGICAL:
                return _matches_logical(icr.destination, target)
            return _matches_physical(icr.destination, target)


def _matches_physical(destination: int, target: ApicAddress) -> bool:
    """R25, R26, R29."""
    if target.mode is ApicMode.X2APIC:
        return destination in (target.initial_id, BROADCAST)
    return destination & 0xFF in (target.xapic_id, XAPIC_BROADCAST)


def _matches_logical(destination: int, target: ApicAddress) -> bool:
    """R27 for an xAPIC, R28 for an x2APIC.

    All ones is a broadcast to an xAPIC whatever its LDR and DFR hold: the SDM's words allow it and
    the AMD manual (vol. 2, 16.6.1) says so.
    """
    if target.mode is ApicMode.X2APIC:
        if destination == BROADCAST:
            return True
        return destination >> 16 == target.ldr >> 16 and bool(destination & target.ldr & 0xFFFF)
    destination &= 0xFF
    if destination == XAPIC_BROADCAST:
        return True
    ldr = target.ldr >> 24
    model = target.dfr >> 28
    if model == _DFR_FLAT:
        return bool(destination & ldr)
    if model == _DFR_CLUSTER:
        return destination >> 4 == ldr >> 4 and bool(destination & ldr & 0xF)
    return False  # no other model is defined, so nothing matches


class DestinationMap:
    """An immutable picture of every APIC address in the machine, made for look-ups.

    A new picture is made when an address changes; nobody waits for a lock, and what was resolved
    with the old one dies with it. Two addresses of one initial id are a bug of the caller.
    """

    __slots__ = (
        "_all",
        "_cluster",
        "_everyone",
        "_flat",
        "_memo",
        "_x2_cluster",
        "_x2_physical",
        "_xapic",
        "_xapic_physical",
        "addresses",
    )

    def __init__(self, addresses: Iterable[ApicAddress]) -> None:
        self.addresses = tuple(sorted(addresses, key=lambda address: address.initial_id))
        enabled = [a for a in self.addresses if a.mode is not ApicMode.DISABLED]
        self._everyone = frozenset(address.initial_id for address in enabled)
        assert len({a.initial_id for a in self.addresses}) == len(self.addresses)
        self._all = tuple(address.initial_id for address in enabled)
        self._xapic = tuple(a.initial_id for a in enabled if a.mode is ApicMode.XAPIC)
        self._xapic_physical: dict[int, tuple[int, ...]] = {}
        self._x2_physical = frozenset(a.initial_id for a in enabled if a.mode is ApicMode.X2APIC)
        self._flat: tuple[tuple[int, int], ...] = ()
        self._cluster: dict[int, tuple[tuple[int, int], ...]] = {}
        self._x2_cluster: dict[int, tuple[tuple[int, int], ...]] = {}
        for address in enabled:
            if address.mode is ApicMode.X2APIC:
                cluster, mask = address.ldr >> 16, address.ldr & 0xFFFF
                _append(self._x2_cluster, cluster, (mask, address.initial_id))
            else:
                self._add_xapic(address)
        self._memo: dict[int | tuple[int, int | None], tuple[int, ...]] = {}

    def _add_xapic(self, address: ApicAddress) -> None:
        same_id = self._xapic_physical.get(address.xapic_id, ())
        self._xapic_physical[address.xapic_id] = (*same_id, address.initial_id)
        ldr = address.ldr >> 24
        model = address.dfr >> 28
        if model == _DFR_FLAT:
            self._flat = (*self._flat, (ldr, address.initial_id))
        elif model == _DFR_CLUSTER:
            _append(self._cluster, ldr >> 4, (ldr & 0xF, address.initial_id))

    def resolve(self, word: int, source: int | None) -> tuple[int, ...]:
        """Initial ids, ascending, of the APICs that a 64-bit word from ``source`` reaches.

        ``source`` is as in ``matches``. Empty when nobody answers (R41).
        """
        key: int | tuple[int, int | None]
        if word & _SHORTHAND_BITS:
            key = (word & _SHORTHAND_BITS, source)
        else:
            key = word & _DESTINATION_BITS
        found = self._memo.get(key)
        if found is None:
            found = self._look_up(decode(word), source)
            if len(self._memo) >= MEMO_LIMIT:
                self._memo.clear()
            self._memo[key] = found
        return found

    def _look_up(self, icr: Icr, source: int | None) -> tuple[int, ...]:
        match icr.shorthand:
            case Shorthand.SELF:
                return (source,) if source is not None and source in self._everyone else ()
            case Shorthand.ALL_INCLUDING_SELF:
                return self._all
            case Shorthand.ALL_EXCLUDING_SELF:
                if source is None:
                    return ()
                return tuple(each for each in self._all if each != source)
            case Shorthand.NONE:
                if icr.destination == BROADCAST:
                    return self._all
                if icr.destination_mode is DestinationMode.LOGICAL:
                    return self._logical(icr.destination)
                return self._physical(icr.destination)

    def _physical(self, destination: int) -> tuple[int, ...]:
        low = destination & 0xFF
        xapic = self._xapic if low == XAPIC_BROADCAST else self._xapic_physical.get(low, ())
        if destination not in self._x2_physical:
            return xapic
        return tuple(sorted((*xapic, destination)))

    def _logical(self, destination: int) -> tuple[int, ...]:
        members = self._x2_cluster.get(destination >> 16, ())
        found = [each for mask, each in members if mask & destination]
        low = destination & 0xFF
        if low == XAPIC_BROADCAST:
            found.extend(self._xapic)
        else:
            found.extend(each for mask, each in self._flat if mask & low)
            found.extend(each for mask, each in self._cluster.get(low >> 4, ()) if mask & low)
        return tuple(sorted(found))


def _append(
    table: dict[int, tuple[tuple[int, int], ...]], cluster: int, member: tuple[int, int]
) -> None:
    table[cluster] = (*table.get(cluster, ()), member)

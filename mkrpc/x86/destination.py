"""Which APICs a command reaches: the specification's predicate, and a map that equals it.

``matches`` is the law, rules R23 to R30. ``DestinationMap`` answers the same for a whole machine
without asking every APIC; a property test holds the two equal.

Not decided here: whether a target that is software-disabled takes the command (its own APIC decides
at arrival), and lowest-priority arbitration: for that mode the answer is the set of candidates,
from which the bus takes one (R32).

Mixed modes follow hardware, where matching happens in the target: an xAPIC looks at the low 8 bits
of whatever destination the message carries (R29).
Source: SDM vol. 3, 10.6.2, 10.12.9 and 10.12.10.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

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

_DFR_FLAT: Final = 0xF
_DFR_CLUSTER: Final = 0x0
_FLAT: Final = 0

_SHORTHAND_BITS: Final = 3 << 18
_DESTINATION_BITS: Final = BROADCAST << 32 | 1 << 11


@dataclass(frozen=True, slots=True, kw_only=True)
class ApicAddress:
    """All that decides whether an APIC answers to a destination.

    ``initial_id`` is the 32-bit hardware id and the APIC's identity; ``xapic_id`` (8 bits) is the
    id register of xAPIC mode, which software may have rewritten; ``ldr`` and ``dfr`` are the raw
    32-bit registers of the current mode. ``software_enabled`` (SVR bit 8) decides no match: only an
    arbitration of lowest priority goes by it (R32, R37).
    """

    initial_id: int
    mode: ApicMode
    xapic_id: int
    ldr: int
    dfr: int
    software_enabled: bool


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
    """The APIC addresses of a whole machine, made for look-ups.

    A change costs a few insertions, not the whole machine: one CPU that rewrites its LDR for ever
    holds nobody up.
    """

    __slots__ = (
        "_addresses",
        "_all",
        "_cluster",
        "_flat",
        "_memo",
        "_x2_cluster",
        "_xapic",
        "_xapic_physical",
    )

    def __init__(self, addresses: Iterable[ApicAddress] = ()) -> None:
        self._addresses: dict[int, ApicAddress] = {}
        # Initial ids, ascending: of all APICs that are not globally disabled, of those in xAPIC
        # mode, and of the latter by their id register.
        self._all: list[int] = []
        self._xapic: list[int] = []
        self._xapic_physical: dict[int, list[int]] = {}
        # Initial id -> logical bits, by cluster; the flat model has one.
        self._flat: dict[int, dict[int, int]] = {}
        self._cluster: dict[int, dict[int, int]] = {}
        self._x2_cluster: dict[int, dict[int, int]] = {}
        self._memo: dict[int | tuple[int, int | None], tuple[int, ...]] = {}
        for address in addresses:
            assert address.initial_id not in self._addresses, "two APICs of one initial id"
            self.put(address)

    def put(self, address: ApicAddress) -> None:
        """An APIC with a new initial id, or a new address of a known one."""
        self.discard(address.initial_id)
        self._addresses[address.initial_id] = address
        self._memo.clear()
        if address.mode is ApicMode.DISABLED:
            return
        insort(self._all, address.initial_id)
        if address.mode is ApicMode.XAPIC:
            insort(self._xapic, address.initial_id)
            insort(self._xapic_physical.setdefault(address.xapic_id, []), address.initial_id)
        table, cluster, mask = self._logical_place(address)
        table.setdefault(cluster, {})[address.initial_id] = mask

    def discard(self, initial_id: int) -> None:
        """The APIC is no longer there; nothing happens if it never was."""
        address = self._addresses.pop(initial_id, None)
        if address is None or address.mode is ApicMode.DISABLED:
            return
        self._memo.clear()
        _remove(self._all, initial_id)
        if address.mode is ApicMode.XAPIC:
            _remove(self._xapic, initial_id)
            _remove(self._xapic_physical[address.xapic_id], initial_id)
        table, cluster, _ = self._logical_place(address)
        del table[cluster][initial_id]
        if not table[cluster]:
            del table[cluster]

    def _logical_place(self, address: ApicAddress) -> tuple[dict[int, dict[int, int]], int, int]:
        """The table in which a logical destination finds the APIC, its cluster and its bits."""
        if address.mode is ApicMode.X2APIC:
            return self._x2_cluster, address.ldr >> 16, address.ldr & 0xFFFF
        ldr = address.ldr >> 24
        model = address.dfr >> 28
        if model == _DFR_CLUSTER:
            return self._cluster, ldr >> 4, ldr & 0xF
        # No other model is defined, so no bit finds it.
        return self._flat, _FLAT, ldr if model == _DFR_FLAT else 0

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
                return (source,) if source is not None and self._is_enabled(source) else ()
            case Shorthand.ALL_INCLUDING_SELF:
                return tuple(self._all)
            case Shorthand.ALL_EXCLUDING_SELF:
                if source is None:
                    return ()
                return tuple(each for each in self._all if each != source)
            case Shorthand.NONE:
                if icr.destination == BROADCAST:
                    return tuple(self._all)
                if icr.destination_mode is DestinationMode.LOGICAL:
                    return self._logical(icr.destination)
                return self._physical(icr.destination)

    def _is_enabled(self, initial_id: int) -> bool:
        address = self._addresses.get(initial_id)
        return address is not None and address.mode is not ApicMode.DISABLED

    def _physical(self, destination: int) -> tuple[int, ...]:
        low = destination & 0xFF
        xapic = self._xapic if low == XAPIC_BROADCAST else self._xapic_physical.get(low, ())
        exact = self._addresses.get(destination)
        if exact is None or exact.mode is not ApicMode.X2APIC:
            return tuple(xapic)
        return tuple(sorted((*xapic, destination)))

    def _logical(self, destination: int) -> tuple[int, ...]:
        found = _members(self._x2_cluster.get(destination >> 16), destination & 0xFFFF)
        low = destination & 0xFF
        if low == XAPIC_BROADCAST:
            found += self._xapic
        else:
            found += _members(self._flat.get(_FLAT), low)
            found += _members(self._cluster.get(low >> 4), low & 0xF)
        return tuple(sorted(found))


def _members(table: dict[int, int] | None, bits: int) -> list[int]:
    return [each for each, mask in table.items() if mask & bits] if table else []


def _remove(ascending: list[int], member: int) -> None:
    index = bisect_left(ascending, member)
    assert ascending[index] == member
    del ascending[index]

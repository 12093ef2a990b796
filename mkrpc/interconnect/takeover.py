"""What outlives an interconnect, as plain data: read by its successor, and read out of the bus.

Whoever keeps it (a file, the simulator) takes :class:`Changes` from one bus and hands the next one
a :class:`Takeover`. What is in flight is in neither: sources send it again (design 3.4).
"""

from dataclasses import dataclass, replace

from mkrpc.interconnect.ledger import RowKey
from mkrpc.interconnect.tally import LegKind
from mkrpc.link.accounts import CpuAccount
from mkrpc.outcome import Outcome

__all__ = ["BookRow", "CallKey", "Changes", "Incarnation", "KeptCall", "KeptMirror", "Takeover"]

CallKey = tuple[bytes, int]
"""A call of a client: its id, and the number of the call's first write."""


@dataclass(frozen=True, slots=True)
class Incarnation:
    """One that was attached. ``born``: its roster number.

    ``reason``: why it ended, one line; empty while it lives, and ``ended`` is 0 then. ``ended``:
    the roster number of its end. ``elsewhere``: whether a physical destination that is not its
    initial APIC id could reach one of its CPUs: it has or had another xAPIC id.
    """

    incarnation: bytes
    instance_id: int
    name: str
    pid: int
    born: int
    apic_ids: tuple[int, ...]
    reason: str = ""
    ended: int = 0
    elsewhere: bool = False


@dataclass(frozen=True, slots=True)
class BookRow:
    """A row of the ledger: legs written, and how those ended that have an outcome."""

    key: RowKey
    written: int
    outcomes: tuple[tuple[Outcome, int], ...]


@dataclass(frozen=True, slots=True)
class KeptMirror:
    """The last accounting of an incarnation that has ended, whole."""

    incarnation: bytes
    instance_id: int
    accounts: tuple[CpuAccount, ...]


@dataclass(frozen=True, slots=True)
class KeptCall:
    """A call of a client that is answered, and may be repeated.

    ``legs``: how many ended how, which is what a repetition is answered with. ``rows``: where in
    the books they are.
    """

    client: bytes
    first_seq: int
    count: int
    word: int
    legs: tuple[tuple[LegKind, int], ...]
    rows: tuple[BookRow, ...]

    @property
    def key(self) -> CallKey:
        """What it is kept under."""
        return self.client, self.first_seq

    @property
    def booked(self) -> tuple[BookRow, ...]:
        """Its rows once it is acknowledged: of all clients together."""
        return tuple(replace(row, key=row.key.folded(row.key.source)) for row in self.rows)


@dataclass(frozen=True, slots=True)
class Changes:
    """What has changed at the bus since it was last asked.

    ``attached`` must be kept before the welcome is sent, since one that a successor has not heard
    of may come back to it; ``ended`` at once, since a successor waits for one that it takes for
    living. One that is in ``attached`` again takes the place of what is kept of it.

    ``rows`` take the place of what is kept under their keys; the rows of ``removed`` are gone.
    ``client_rows`` are of calls that were answered and acknowledged since. They are to be *added*
    to what is kept, for clients cannot say again what they know. ``acknowledged`` were kept as
    ``calls`` before: each is to be kept no longer, and its rows are to be added, as ``booked``, in
    the same step. After that ``calls`` are to be kept.
    """

    roster: int = 0
    attached: tuple[Incarnation, ...] = ()
    ended: tuple[Incarnation, ...] = ()
    rows: tuple[BookRow, ...] = ()
    removed: tuple[RowKey, ...] = ()
    client_rows: tuple[BookRow, ...] = ()
    acknowledged: tuple[CallKey, ...] = ()
    calls: tuple[KeptCall, ...] = ()
    mirrors: tuple[KeptMirror, ...] = ()


@dataclass(frozen=True, slots=True)
class Takeover:
    """What an interconnect that begins knows of those before it.

    ``epochs``: theirs, at least one. ``expected``: incarnations that had not ended, and may still
    hold a lease. ``ended``: those that had, as many as are kept. ``roster``: the highest roster
    number that was kept. ``rows``: of all sources, as last kept; those of an instance that comes
    back count for nothing, since it publishes its own. ``calls``: those that are answered and not
    acknowledged, in the order of their answers; their rows are in none of ``rows``. ``lease_us``:
    the longest lease that one of the earlier epochs granted; 0: none longer than the new one's.
    """

    epochs: tuple[int, ...]
    expected: tuple[Incarnation, ...] = ()
    ended: tuple[Incarnation, ...] = ()
    roster: int = 0
    rows: tuple[BookRow, ...] = ()
    calls: tuple[KeptCall, ...] = ()
    mirrors: tuple[KeptMirror, ...] = ()
    lease_us: int = 0

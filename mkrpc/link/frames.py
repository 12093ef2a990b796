"""What one link between an instance and the interconnect carries, as plain objects.

The codec turns these into ``mkrpc.v1`` messages and back; everything else speaks in them. One
:class:`UpFrame` or :class:`DownFrame` is one gRPC message. Bounds are in :data:`MAX_FRAME_WORDS`
and in the modules beside this one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from mkrpc.link.accounts import CpuAccount, VectorCount
from mkrpc.link.commands import Command, CommandKind
from mkrpc.link.greetings import CpuAddress, Goodbye, Hello, Welcome
from mkrpc.link.legs import Legs
from mkrpc.link.messages import Arrival, Doorbell, Message, SettledMessages, Taken
from mkrpc.link.recovery import Arbitrated, SourceBook
from mkrpc.outcome import Outcome
from mkrpc.x86.pending import CoreState

__all__ = [
    "MAX_FRAME_WORDS",
    "MAX_REPLY_VIEWS",
    "NOBODY",
    "WIRE_VERSION",
    "Command",
    "CommandKind",
    "CpuAccount",
    "CpuAddress",
    "CpuView",
    "DownFrame",
    "Goodbye",
    "Hello",
    "Legs",
    "LogRecord",
    "OutcomeRun",
    "PendingView",
    "Reply",
    "ResolvedRun",
    "SettledWrite",
    "SourceFloor",
    "UpFrame",
    "VectorCount",
    "Welcome",
    "Writes",
]

WIRE_VERSION: Final = 3
"""Both ends of a link must speak the same; another is refused by name. 2: leases, so that an end
that does not beat is not taken for one that has stopped. 3: books of the source, so that another
interconnect can take over."""


MAX_FRAME_WORDS = 4096
"""ICR words or legs in one frame at most; what is over waits for the next frame."""

MAX_REPLY_VIEWS: Final = 32
"""CPUs in one reply at most: whoever asks for more asks several times. With every vector in use one
view is about 15 KiB, so that a reply fits a frame beside all else that the frame may hold."""

NOBODY: Final = 0xFFFF_FFFF
"""The APIC id of a leg to nobody; as a physical destination it is the broadcast, never an id."""


@dataclass(slots=True, init=False)
class Writes:
    """Consecutive ICR writes of one CPU: ``words[i]`` has sequence number ``first_seq + i``.

    ``command`` is the command that asked for them, 0 for none. ``stamp``: 0, or of what is sent
    again to an interconnect that takes over, the roster number that was known when it was made.
    """

    cpu: int
    first_seq: int
    words: list[int]
    command: int
    stamp: int

    def __init__(  # a compiler knows it
        self, cpu: int, first_seq: int, words: list[int], command: int = 0, stamp: int = 0
    ) -> None:
        self.cpu = cpu
        self.first_seq = first_seq
        self.words = words
        self.command = command
        self.stamp = stamp


@dataclass(frozen=True, slots=True)
class SettledWrite:
    """An ICR write that never left its APIC: a self IPI, or one that the sender's APIC refused."""

    cpu: int
    seq: int
    word: int
    outcome: Outcome
    command: int = 0
    stamp: int = 0


@dataclass(frozen=True, slots=True)
class OutcomeRun:
    """Outcomes other than ``delivered`` of consecutive legs, by their number on this link."""

    first: int
    count: int
    outcome: Outcome


@dataclass(slots=True, init=False, unsafe_hash=True)
class ResolvedRun:
    """Sequence numbers ``first`` to ``last`` (both included) of one source are resolved.

    Not to be changed, nor copied; see :mod:`mkrpc.link.accounts` for why it is not frozen.
    """

    first: int
    last: int

    def __init__(self, first: int, last: int) -> None:
        self.first = first
        self.last = last


@dataclass(slots=True, init=False)
class SourceFloor:
    """What a source has published as resolved: a destination may forget its outcomes (3.3, 2)."""

    source: bytes
    runs: tuple[ResolvedRun, ...]

    def __init__(self, source: bytes, runs: tuple[ResolvedRun, ...]) -> None:
        self.source = source
        self.runs = runs


@dataclass(frozen=True, slots=True)
class CpuView:
    """One CPU as its instance sees it; registers by SDM name, raw values, and ``DIAG_*``."""

    account: CpuAccount
    apic_id: int
    mode: int
    registers: dict[str, int]


@dataclass(frozen=True, slots=True)
class PendingView:
    """What bears on one vector of one CPU: the CPU as it is, and the counts of the vector."""

    core: CoreState
    counts: VectorCount


class LogRecord(NamedTuple):
    """One line of a kernel's log.

    ``number`` counts from 1 and is never reused; ``level`` 0 (emergency) to 7 (debug);
    ``time_us`` on the kernel's clock; ``cpu`` is the number within the kernel.
    """

    number: int
    level: int
    time_us: int
    cpu: int
    text: str


@dataclass(slots=True)
class Reply:
    """The answer to a command. ``error`` is empty on success; ``reason`` is its registry entry."""

    command: int
    error: str = ""
    reason: str = ""
    advice: str = ""
    text: str = ""
    written: int = 0
    cpus: list[CpuView] = field(default_factory=list)
    records: list[LogRecord] = field(default_factory=list)
    records_dropped: int = 0
    pending: PendingView | None = None


@dataclass(slots=True, init=False)
class UpFrame:
    """Instance to interconnect. Applied in the order of the fields.

    ``frame`` numbers frames with content from 1; 0 is a bare acknowledgement. ``ack`` is the
    highest frame received. ``events`` are the ICR writes and the changes of routing registers in
    program order. ``applied`` is the cumulative number of legs answered on this link: those that
    ``outcomes`` does not name were delivered. ``more`` says that further frames follow at once and
    that the accounts come with the last of them. ``beat`` numbers the beats of the instance's lease
    from 1; 0 on a frame that carries none. A bare frame may carry one. After a takeover, before the
    first event: ``books``, all that are known; ``arbitrated``, what has been applied here;
    ``recovered`` with the last of these. ``listens``: from now on it takes messages.

    A column of either frame is put into it as a whole: without one all frames share the empty one.
    """

    frame: int
    ack: int
    more: bool
    events: Sequence[Writes | SettledWrite | CpuAddress | Message]
    applied: int
    outcomes: Sequence[OutcomeRun]
    accounts: Sequence[CpuAccount]
    resolved: Sequence[ResolvedRun]
    replies: Sequence[Reply]
    beat: int
    books: Sequence[SourceBook]
    arbitrated: Sequence[Arbitrated]
    recovered: bool
    taken: Sequence[Taken]
    listens: bool

    def __init__(
        self,
        *,
        frame: int = 0,
        ack: int = 0,
        more: bool = False,
        events: Sequence[Writes | SettledWrite | CpuAddress | Message] = (),
        applied: int = 0,
        outcomes: Sequence[OutcomeRun] = (),
        accounts: Sequence[CpuAccount] = (),
        resolved: Sequence[ResolvedRun] = (),
        replies: Sequence[Reply] = (),
        beat: int = 0,
        books: Sequence[SourceBook] = (),
        arbitrated: Sequence[Arbitrated] = (),
        recovered: bool = False,
        taken: Sequence[Taken] = (),
        listens: bool = False,
    ) -> None:
        self.frame = frame
        self.ack = ack
        self.more = more
        self.events = events
        self.applied = applied
        self.outcomes = outcomes
        self.accounts = accounts
        self.resolved = resolved
        self.replies = replies
        self.beat = beat
        self.books = books
        self.arbitrated = arbitrated
        self.recovered = recovered
        self.taken = taken
        self.listens = listens


@dataclass(slots=True, init=False)
class DownFrame:
    """Interconnect to instance. Legs are numbered on the link from 1 in order of appearance.

    ``beat``: the highest beat received, on a frame that answers it; 0 on others. ``roster``: the
    highest roster number, 0 if it has been told. ``books``: how the legs of ``resolved`` ended;
    where both take several frames, ``partial`` is set on all but the last, and they count together.
    ``doorbells``: for one that listens.
    """

    frame: int
    ack: int
    floors: Sequence[SourceFloor]
    legs: Sequence[Legs]
    resolved: Sequence[ResolvedRun]
    commands: Sequence[Command]
    beat: int
    roster: int
    books: Sequence[SourceBook]
    partial: bool
    messages: Sequence[Arrival]
    settled: Sequence[SettledMessages]
    doorbells: Sequence[Doorbell]

    def __init__(
        self,
        *,
        frame: int = 0,
        ack: int = 0,
        floors: Sequence[SourceFloor] = (),
        legs: Sequence[Legs] = (),
        resolved: Sequence[ResolvedRun] = (),
        commands: Sequence[Command] = (),
        beat: int = 0,
        roster: int = 0,
        books: Sequence[SourceBook] = (),
        partial: bool = False,
        messages: Sequence[Arrival] = (),
        settled: Sequence[SettledMessages] = (),
        doorbells: Sequence[Doorbell] = (),
    ) -> None:
        self.frame = frame
        self.ack = ack
        self.floors = floors
        self.legs = legs
        self.resolved = resolved
        self.commands = commands
        self.beat = beat
        self.roster = roster
        self.books = books
        self.partial = partial
        self.messages = messages
        self.settled = settled
        self.doorbells = doorbells

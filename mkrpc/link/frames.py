"""What one link between an instance and the interconnect carries, as plain objects.

The codec turns these into ``mkrpc.v1`` messages and back; everything else speaks in them. One
:class:`UpFrame` or :class:`DownFrame` is one gRPC message. Bounds are in :data:`MAX_FRAME_WORDS`
and in the modules beside this one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from mkrpc.link.accounts import CpuAccount, VectorCount
from mkrpc.link.commands import Command, CommandKind
from mkrpc.link.legs import Legs
from mkrpc.link.messages import Arrival, Doorbell, Message, SettledMessages, Taken
from mkrpc.link.moved import Moved
from mkrpc.link.recovery import Arbitrated, SourceBook
from mkrpc.outcome import Outcome
from mkrpc.x86.apic_base import ApicMode
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

WIRE_VERSION = 3
"""Both ends of a link must speak the same; another is refused by name. 2: leases, so that an end
that does not beat is not taken for one that has stopped. 3: books of the source, so that another
interconnect can take over."""


MAX_FRAME_WORDS = 4096
"""ICR words or legs in one frame at most; what is over waits for the next frame."""

MAX_REPLY_VIEWS = 32
"""CPUs in one reply at most: whoever asks for more asks several times. With every vector in use one
view is about 15 KiB, so that a reply fits a frame beside all else that the frame may hold."""

NOBODY = 0xFFFF_FFFF
"""The APIC id of a leg to nobody; as a physical destination it is the broadcast, never an id."""


@dataclass(frozen=True, slots=True)
class CpuAddress:
    """What the interconnect must know of one CPU to route to it (rules R23 to R30).

    ``cpu`` is the number within its instance; ``mode`` is :class:`mkrpc.x86.lapic.ApicMode` as an
    integer; ``ldr`` and ``dfr`` are the raw 32-bit registers. ``software_enabled`` is SVR bit 8:
    lowest priority is arbitrated among the CPUs that have it set (R32, R37). ``vacant``: the CPU
    has left this kernel, whose number it stays, and no destination and no shorthand finds it there;
    its mode is then 0.
    """

    cpu: int
    apic_id: int
    mode: int
    xapic_id: int
    ldr: int
    dfr: int
    software_enabled: bool
    vacant: bool = False

    @property
    def is_elsewhere(self) -> bool:
        """Whether the physical destination that names it is not its initial APIC id."""
        return self.mode == ApicMode.XAPIC and self.xapic_id != self.apic_id


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


@dataclass(frozen=True, slots=True)
class ResolvedRun:
    """Sequence numbers ``first`` to ``last`` (both included) of one source are resolved."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class SourceFloor:
    """What a source has published as resolved: a destination may forget its outcomes (3.3, 2)."""

    source: bytes
    runs: tuple[ResolvedRun, ...]


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


@dataclass(frozen=True, slots=True)
class Hello:
    """The first message of an instance. ``incarnation``: 16 random bytes, never reused (3.3, 1).

    ``tell_resolved``: every resolved write is to be told at once, since its CPUs show a delivery
    status that programs wait for (R20); else the interconnect tells when it is worth a frame.
    ``epoch``: of the interconnect that it is attached to, 0 for none yet. ``generation``: how many
    links it has tried before this one, which therefore is the next; 0: it begins. ``received``: the
    highest frame that it has applied. ``born``: its roster number, 0 before the first welcome;
    ``roster``: the highest that it has been told. For an interconnect that takes over: all own
    writes below ``resolved_below`` are resolved, and ``sent`` is the last that went into a frame.
    ``moved``: by CPU; empty if none ever has. ``listens``: it takes messages.
    ``deaf``: it never will. ``waits_for_sipi``: none of its CPUs has ever run.
    """

    wire_version: int
    instance_id: int
    name: str
    incarnation: bytes
    pid: int
    cpus: tuple[CpuAddress, ...]
    tell_resolved: bool = False
    epoch: int = 0
    generation: int = 0
    received: int = 0
    born: int = 0
    roster: int = 0
    resolved_below: int = 0
    sent: int = 0
    moved: tuple[Moved, ...] = ()
    listens: bool = False
    deaf: bool = False
    waits_for_sipi: bool = False


@dataclass(frozen=True, slots=True)
class Welcome:
    """The interconnect's answer. ``epoch``: 64 random bits of this interconnect's life, not 0.

    ``generation``: of this link, one more than the hello's. ``received``: the highest frame that
    the interconnect has applied. ``resumed``: the incarnation was attached before, and all goes on.
    ``lease_us``: how long the instance may go on after it sent the last beat that was answered, in
    microseconds; 0 for as long as it likes. ``beat_address``: where it may beat past its stream, or
    empty; ``:port`` means the host that it has reached. ``taken_over``: the instance was attached
    to an earlier interconnect, and the link begins afresh. ``born``: the roster number of the
    incarnation; ``roster``: the highest there is.
    """

    wire_version: int
    epoch: int
    generation: int
    received: int = 0
    resumed: bool = False
    lease_us: int = 0
    beat_address: str = ""
    taken_over: bool = False
    born: int = 0
    roster: int = 0


@dataclass(frozen=True, slots=True)
class Goodbye:
    """The last message of either side before the end. ``failed``: nobody had asked for it."""

    reason: str
    failed: bool = False


@dataclass(slots=True)
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

    frame: int = 0
    ack: int = 0
    more: bool = False
    events: Sequence[Writes | SettledWrite | CpuAddress | Message] = ()
    applied: int = 0
    outcomes: Sequence[OutcomeRun] = ()
    accounts: Sequence[CpuAccount] = ()
    resolved: Sequence[ResolvedRun] = ()
    replies: Sequence[Reply] = ()
    beat: int = 0
    books: Sequence[SourceBook] = ()
    arbitrated: Sequence[Arbitrated] = ()
    recovered: bool = False
    taken: Sequence[Taken] = ()
    listens: bool = False


@dataclass(slots=True)
class DownFrame:
    """Interconnect to instance. Legs are numbered on the link from 1 in order of appearance.

    ``beat``: the highest beat received, on a frame that answers it; 0 on others. ``roster``: the
    highest roster number, 0 if it has been told. ``books``: how the legs of ``resolved`` ended;
    where both take several frames, ``partial`` is set on all but the last, and they count together.
    ``doorbells``: for one that listens.
    """

    frame: int = 0
    ack: int = 0
    floors: Sequence[SourceFloor] = ()
    legs: Sequence[Legs] = ()
    resolved: Sequence[ResolvedRun] = ()
    commands: Sequence[Command] = ()
    beat: int = 0
    roster: int = 0
    books: Sequence[SourceBook] = ()
    partial: bool = False
    messages: Sequence[Arrival] = ()
    settled: Sequence[SettledMessages] = ()
    doorbells: Sequence[Doorbell] = ()

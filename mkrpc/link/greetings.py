"""The first messages of a link between an instance and the interconnect, and the last."""

from dataclasses import dataclass

from mkrpc.link.moved import Moved
from mkrpc.x86.apic_base import ApicMode

__all__ = ["CpuAddress", "Goodbye", "Hello", "Welcome"]


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

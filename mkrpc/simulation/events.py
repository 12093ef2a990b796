"""What a simulated run reports to its checkers, beside the trace events of the interconnect."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mkrpc.instance.attachment import Attachment
from mkrpc.instance.kernel import Kernel
from mkrpc.interconnect.apic_bus import ApicBus
from mkrpc.interconnect.singles import SinglesAnswer
from mkrpc.interconnect.takeover import Takeover
from mkrpc.interconnect.tally import Tally
from mkrpc.link.frames import UpFrame
from mkrpc.outcome import Outcome

__all__ = [
    "Answered",
    "AnsweredTogether",
    "Applied",
    "Arrived",
    "Called",
    "BusTurn",
    "Fenced",
    "HubBegan",
    "HubKept",
    "KernelEnded",
    "KernelTurn",
    "Limited",
    "Reported",
    "Standing",
]


@dataclass(slots=True)
class Applied:
    """A kernel has been given a leg: ``outcome`` is its APIC's word.

    ``source`` and ``seq`` are those under which the leg was looked for in the outcomes that the
    kernel remembers; an empty source stands for one that was not looked for.
    """

    kernel: Kernel
    source: bytes
    seq: int
    cpu: int
    word: int
    outcome: Outcome


@dataclass(slots=True)
class KernelTurn:
    """An instance has done something."""

    kernel: Kernel


@dataclass(slots=True)
class KernelEnded:
    """A process has ended, with whatever it had not reported."""

    kernel: Kernel


@dataclass(slots=True)
class Fenced:
    """An instance has been told by name that it is over."""

    kernel: Kernel


@dataclass(slots=True)
class Arrived:
    """A frame of an incarnation has come to the interconnect over the stream last opened there."""

    incarnation: bytes


@dataclass(slots=True)
class Reported:
    """The bus has applied a frame of an instance."""

    bus: ApicBus
    kernel: Kernel
    frame: UpFrame


@dataclass(slots=True)
class BusTurn:
    """The bus has done something."""

    bus: ApicBus


@dataclass(slots=True)
class HubBegan:
    """Another interconnect has begun after one that died; ``takeover`` is what it was told of those
    before it."""

    bus: ApicBus
    takeover: Takeover


@dataclass(slots=True)
class HubKept:
    """All that the interconnect knows and a disk keeps is on its disk."""


@dataclass(slots=True)
class Answered:
    """A client has an answer to its call, made once or repeated, of ``count`` writes, from this
    interconnect. ``each``: it has asked for the outcome of every word."""

    bus: ApicBus
    client: bytes
    first_seq: int
    count: int
    tally: Tally
    each: bool = False


@dataclass(slots=True)
class AnsweredTogether:
    """A client has answers to calls of one word each, which were made together."""

    bus: ApicBus
    client: bytes
    answer: SinglesAnswer


@dataclass(slots=True)
class Called:
    """An interconnect is asked to make a call of these words, perhaps ``again``."""

    bus: ApicBus
    client: bytes
    first_seq: int
    words: Sequence[int]
    again: bool


@dataclass(slots=True)
class Limited:
    """From now on clients may make so many writes a second; 0: as many as they like."""

    writes_per_s: int


@dataclass(slots=True)
class Standing:
    """How a run stands at its end: the bus, the kernels that live and their attachments, by
    instance, and what has not come to rest, a line each."""

    bus: ApicBus
    kernels: Mapping[int, Kernel]
    attachments: Mapping[int, Attachment]
    unsettled: list[str]

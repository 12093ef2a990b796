"""What an instance reports of its CPUs, cumulative (design 3.4)."""

from dataclasses import dataclass

__all__ = ["CpuAccount", "VectorCount"]


# One of each is made of an interrupt and read at the other end. So both have constructors that a
# compiler knows, with arguments by place, and a count is not frozen, which would cost four times
# as much.


@dataclass(slots=True, init=False)
class VectorCount:
    """Cumulative counts of one vector on one CPU since the incarnation began."""

    vector: int
    delivered: int
    coalesced: int
    handled: int
    eoi: int
    discarded: int

    def __init__(  # noqa: PLR0917
        self, vector: int, delivered: int, coalesced: int, handled: int, eoi: int, discarded: int
    ) -> None:
        self.vector = vector
        self.delivered = delivered
        self.coalesced = coalesced
        self.handled = handled
        self.eoi = eoi
        self.discarded = discarded


@dataclass(slots=True, init=False)
class CpuAccount:
    """One CPU's accounting, cumulative: a repeated one changes nothing (design 3.4).

    ``vectors`` and ``stats`` (index into ``mkrpc.x86.irq_stat.FIELDS`` -> count) hold only what
    changed since the last one sent. ``multikernel`` counts runs of ``sysvec_multikernel``.
    """

    cpu: int
    irr: int
    isr: int
    tpr: int
    ppr: int
    interrupts_enabled: bool
    activity: str
    multikernel: int
    vectors: list[VectorCount]
    stats: dict[int, int]

    def __init__(  # noqa: PLR0917
        self,
        cpu: int,
        irr: int,
        isr: int,
        tpr: int,
        ppr: int,
        interrupts_enabled: bool,
        activity: str,
        multikernel: int,
        vectors: list[VectorCount] | None = None,
        stats: dict[int, int] | None = None,
    ) -> None:
        self.cpu = cpu
        self.irr = irr
        self.isr = isr
        self.tpr = tpr
        self.ppr = ppr
        self.interrupts_enabled = interrupts_enabled
        self.activity = activity
        self.multikernel = multikernel
        self.vectors = [] if vectors is None else vectors
        self.stats = {} if stats is None else stats

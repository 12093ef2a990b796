"""What an instance reports of its CPUs, cumulative (design 3.4)."""

from dataclasses import dataclass, field

__all__ = ["CpuAccount", "VectorCount"]


@dataclass(frozen=True, slots=True)
class VectorCount:
    """Cumulative counts of one vector on one CPU since the incarnation began."""

    vector: int
    delivered: int
    coalesced: int
    handled: int
    eoi: int
    discarded: int


@dataclass(slots=True)
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
    vectors: list[VectorCount] = field(default_factory=list)
    stats: dict[int, int] = field(default_factory=dict)

"""Local APICs as several tests want them."""

from mkrpc.x86.lapic import ApicMode, ApicPolicy, LocalApic


def enabled(
    initial_id: int = 0, *, mode: ApicMode = ApicMode.X2APIC, policy: ApicPolicy | None = None
) -> LocalApic:
    """Software-enabled, with the spurious vector that Linux gives it."""
    apic = LocalApic(initial_id, mode=mode, policy=policy)
    apic.write_svr(0x1FF)
    return apic


def bits(*vectors: int) -> int:
    """A 256-bit register with these vectors set."""
    return sum(1 << vector for vector in vectors)


def take_all(apic: LocalApic) -> list[int]:
    """Acknowledge and end, one after another, as a CPU with IF = 1 and EOI-first handlers does."""
    taken = []
    while apic.highest_deliverable() >= 0:
        taken.append(apic.acknowledge())
        assert apic.eoi() == taken[-1]
        apic.assert_invariants()
    return taken

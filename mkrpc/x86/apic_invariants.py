"""What no local APIC can ever be in: the checks that tests and the simulator make after every step.

Source: SDM vol. 3, 10.5.3, 10.8; rules R44, R48, R51, R52.
"""

from mkrpc.x86.apic_base import ApicMode
from mkrpc.x86.apic_state import LVT_MASKED, NMI_LATCH_LIMIT, SMI_LATCH_LIMIT, ApicState
from mkrpc.x86.destination import x2apic_ldr
from mkrpc.x86.irq_vectors import NR_VECTORS

__all__ = ["assert_invariants"]

_ESR_BITS = 0xF0  # bits 3:0 belong to the APIC bus of the P6 and are never set (R51)
_ILLEGAL_VECTORS = 0xFFFF
_CLASS_BITS = 0xFFFF
_CLASSES = 16


def assert_invariants(apic: ApicState) -> None:
    """Raise AssertionError if this APIC is in a state that no APIC can be in (R44, R48, R52).

    For tests and the simulator, after every step; it changes nothing.
    """
    assert not (apic.irr | apic.isr) & _ILLEGAL_VECTORS, "a vector below 16 got in"
    assert apic.irr >> NR_VECTORS == 0
    assert apic.isr >> NR_VECTORS == 0
    assert apic.tmr == 0, "an IPI is always edge"
    for each in range(_CLASSES):
        in_class = apic.isr >> each * 16 & _CLASS_BITS
        assert in_class & (in_class - 1) == 0, f"two vectors of class {each:#x} in service"
    assert not apic.esr & ~_ESR_BITS
    assert not apic.esr_pending & ~_ESR_BITS
    assert 0 <= apic.nmi_latched <= NMI_LATCH_LIMIT
    assert 0 <= apic.smi_latched <= SMI_LATCH_LIMIT
    assert apic.sipi_vector is None or apic.wait_for_sipi or apic.init_latched
    assert apic.sipi_vector is None or not apic.bsp, "the BSP waits for no SIPI"
    assert not (apic.icr & 1 << 12), "delivery status is no bit of the register's own"
    assert not apic.intr_latched or apic.policy.intr == "latched"
    assert apic._address == apic._current_address()
    if apic.mode is ApicMode.X2APIC:
        assert apic.ldr == x2apic_ldr(apic.initial_id)
    if not apic.software_enabled:
        assert all(entry & LVT_MASKED for entry in apic.lvt.values())
    cached = _cached(apic)
    apic._enable_changed()
    assert cached == _cached(apic)


def _cached(apic: "ApicState") -> tuple[int, int, int, bool]:
    """What is derived from the registers and kept, for the way of every interrupt."""
    return apic.ppr, apic._deliverable_from, apic._idle_deliverable_from, apic._accepts_fixed

"""The IDT that Linux 6.17 fills, and its vectors (multikernel reference, 4.1 and 4.2)."""

import pytest

from mkrpc.x86 import irq_vectors
from mkrpc.x86.idt import APIC_IDTS, EXCEPTIONS, Gate, Idt, default_gate_name
from mkrpc.x86.irq_vectors import (
    FIRST_EXTERNAL_VECTOR,
    FIRST_SYSTEM_VECTOR,
    MULTIKERNEL_VECTOR,
    NR_VECTORS,
)


def common() -> str:
    return "common"


def spurious() -> str:
    return "spurious"


def exception() -> str:
    return "exception"


def multikernel() -> str:
    return "multikernel"


def make(**handlers: object) -> Idt:
    assert all(callable(handler) for handler in handlers.values())
    return Idt(
        {name: handler for name, handler in handlers.items() if callable(handler)},
        common_interrupt=common,
        spurious_interrupt=spurious,
    )


@pytest.mark.parametrize(
    ("name", "vector"),
    [
        ("NMI_VECTOR", 0x02),
        ("FIRST_EXTERNAL_VECTOR", 0x20),
        ("IA32_SYSCALL_VECTOR", 0x80),
        ("MULTIKERNEL_VECTOR", 0xEA),
        ("POSTED_MSI_NOTIFICATION_VECTOR", 0xEB),
        ("FIRST_SYSTEM_VECTOR", 0xEB),
        ("LOCAL_TIMER_VECTOR", 0xEC),
        ("HYPERV_STIMER0_VECTOR", 0xED),
        ("HYPERV_REENLIGHTENMENT_VECTOR", 0xEE),
        ("MANAGED_IRQ_SHUTDOWN_VECTOR", 0xEF),
        ("POSTED_INTR_NESTED_VECTOR", 0xF0),
        ("POSTED_INTR_WAKEUP_VECTOR", 0xF1),
        ("POSTED_INTR_VECTOR", 0xF2),
        ("HYPERVISOR_CALLBACK_VECTOR", 0xF3),
        ("DEFERRED_ERROR_VECTOR", 0xF4),
        ("IRQ_WORK_VECTOR", 0xF6),
        ("X86_PLATFORM_IPI_VECTOR", 0xF7),
        ("REBOOT_VECTOR", 0xF8),
        ("THRESHOLD_APIC_VECTOR", 0xF9),
        ("THERMAL_APIC_VECTOR", 0xFA),
        ("CALL_FUNCTION_SINGLE_VECTOR", 0xFB),
        ("CALL_FUNCTION_VECTOR", 0xFC),
        ("RESCHEDULE_VECTOR", 0xFD),
        ("ERROR_APIC_VECTOR", 0xFE),
        ("SPURIOUS_APIC_VECTOR", 0xFF),
        ("NR_VECTORS", 256),
    ],
)
def test_vectors_are_those_of_irq_vectors_h(name: str, vector: int) -> None:
    assert getattr(irq_vectors, name) == vector


def test_every_system_vector_is_named_but_0xf5() -> None:
    named = {vector for name, vector in vars(irq_vectors).items() if name.endswith("_VECTOR")}
    assert set(range(MULTIKERNEL_VECTOR, NR_VECTORS)) - named == {0xF5}


@pytest.mark.parametrize(
    ("vector", "name"),
    [
        (0, "asm_exc_divide_error"),
        (2, "asm_exc_nmi"),
        (14, "asm_exc_page_fault"),
        (19, "asm_exc_simd_coprocessor_error"),
        (22, "asm_exc_general_protection"),  # no gate in Linux: the CPU raises #GP
        (31, "asm_exc_general_protection"),
        (0x20, "common_interrupt"),
        (0x80, "common_interrupt"),
        (0xE9, "common_interrupt"),
        (0xEA, "sysvec_multikernel"),
        (0xEB, "sysvec_posted_msi_notification"),
        (0xED, "spurious_interrupt"),  # Hyper-V installs it at run time
        (0xF5, "spurious_interrupt"),
        (0xFB, "sysvec_call_function_single"),
        (0xFD, "sysvec_reschedule_ipi"),
        (0xFE, "sysvec_error_interrupt"),
        (0xFF, "sysvec_spurious_apic_interrupt"),
    ],
)
def test_default_entries(vector: int, name: str) -> None:
    assert default_gate_name(vector) == name


def test_0xea_is_installed_beside_the_other_system_vectors_but_below_them() -> None:
    """The patch does not move FIRST_SYSTEM_VECTOR (reference 6.1)."""
    names = [name for _, name in APIC_IDTS]
    after_call_function_single = names.index("sysvec_call_function_single") + 1
    assert names[after_call_function_single] == "sysvec_multikernel"
    assert MULTIKERNEL_VECTOR == FIRST_SYSTEM_VECTOR - 1


def test_a_bound_entry_leads_to_its_handler() -> None:
    gate = make(sysvec_multikernel=multikernel)[MULTIKERNEL_VECTOR]
    assert gate == Gate(MULTIKERNEL_VECTOR, "sysvec_multikernel", multikernel)
    assert gate.handler() == "multikernel"


def test_an_unpatched_kernel_takes_0xea_as_a_device_interrupt() -> None:
    assert make()[MULTIKERNEL_VECTOR] == Gate(MULTIKERNEL_VECTOR, "common_interrupt", common)


def test_an_unassigned_vector_is_common_below_and_spurious_from_first_system_vector() -> None:
    idt = make()
    for vector in range(FIRST_EXTERNAL_VECTOR, NR_VECTORS):
        expected = spurious if vector >= FIRST_SYSTEM_VECTOR else common
        assert idt[vector].handler is expected, hex(vector)


@pytest.mark.rule("R60")
def test_vectors_16_to_31_lead_to_the_exceptions_gates() -> None:
    idt = Idt(
        {"asm_exc_nmi": multikernel},
        common_interrupt=common,
        spurious_interrupt=spurious,
        exception=exception,
    )
    assert idt[2].handler is multikernel
    for vector in range(16, 32):
        assert idt[vector].handler is exception
        expected = EXCEPTIONS.get(vector, "asm_exc_general_protection")
        assert idt[vector].name == expected
    assert make()[16] == Gate(16, "asm_exc_coprocessor_error", common)


def test_install_replaces_one_gate() -> None:
    idt, untouched = make(), make()
    idt.install(0xF3, "sysvec_xen_hvm_callback", multikernel)
    assert idt[0xF3] == Gate(0xF3, "sysvec_xen_hvm_callback", multikernel)
    others = [vector for vector in range(NR_VECTORS) if vector != 0xF3]
    assert [idt[vector] for vector in others] == [untouched[vector] for vector in others]


@pytest.mark.parametrize("vector", [-1, 256])
def test_a_vector_beyond_the_table_is_a_bug(vector: int) -> None:
    with pytest.raises(AssertionError):
        make().install(vector, "nobody", common)

"""/proc/interrupts and /proc/stat, byte for byte as the patched kernel printed them."""

import gzip
from pathlib import Path

import pytest

from mkrpc.instance.procfs import nr_irqs, proc_interrupts, proc_stat
from mkrpc.x86.icr import fixed
from mkrpc.x86.irq_stat import ARCH_ROWS

GOLDEN = Path(__file__).parents[1] / "golden" / "linux"
RECORDED = [
    ("smp1-plain", 1),
    ("smp2-plain", 2),
    ("smp4-plain", 4),
    ("smp4-caller", 4),
    ("smp4-x2apic-cluster-plain", 4),
    ("smp4-x2apic-phys-caller", 4),
    ("smp8-caller", 8),
]


def recorded(name):
    return gzip.decompress((GOLDEN / f"{name}.txt.gz").read_bytes()).decode()


@pytest.mark.parametrize(("tag", "cpus"), RECORDED)
def test_interrupts_is_the_recorded_file_without_its_device_rows(make_kernel, tag, cpus):
    """The recorded numbers are put into the counters; every byte of the rendering must return."""
    lines = recorded(f"interrupts.{tag}").splitlines(keepends=True)
    lines = [line for line in lines if not line.lstrip()[0].isdigit()]
    kernel = make_kernel(cpus)
    fields = {row.label: row.field for row in ARCH_ROWS}
    for line in lines[1:]:
        label, _, rest = line.partition(":")
        field = fields[label.strip()]
        if field is None:
            continue
        for cpu, count in zip(kernel.cpus, rest.split(), strict=False):
            setattr(cpu.irq_stat, field, int(count))
    assert proc_interrupts(kernel) == "".join(lines)


def test_err_is_machine_wide(kernel):
    kernel.irq_err_count = 12
    assert "ERR:         12\nMIS:          0\n" in proc_interrupts(kernel)


def test_a_ring_shows_in_the_column_of_its_cpu(kernel):
    kernel.accept(1, fixed(1, 0xEA))
    expected = "CAL:          0          1   Function call interrupts\n"
    assert expected in proc_interrupts(kernel)


def test_labels_grow_with_the_number_of_interrupts(make_kernel):
    """From 1000 interrupt numbers on (72 CPUs here) the labels are four wide."""
    assert proc_interrupts(make_kernel(71)).splitlines()[1].startswith("NMI:          0 ")
    assert proc_interrupts(make_kernel(72)).splitlines()[1].startswith(" NMI:          0 ")
    assert proc_interrupts(make_kernel(72)).startswith(" " * 12 + "CPU0       CPU1       ")


@pytest.mark.parametrize(("tag", "cpus"), RECORDED)
def test_stat_has_as_many_interrupt_numbers_as_recorded(make_kernel, tag, cpus):
    (line,) = [line for line in recorded(f"stat.{tag}").splitlines() if line.startswith("intr")]
    assert len(line.split()) == 2 + nr_irqs(cpus)
    assert proc_stat(make_kernel(cpus)) == "intr 0" + " 0" * nr_irqs(cpus) + "\n"


def test_the_total_of_stat_counts_calls_of_all_cpus_and_errors(kernel):
    for vector in (0xEA, 0xEA, 0xFD, 0xFF):
        kernel.accept(0, fixed(0, vector))
    kernel.accept(1, fixed(1, 0xEA))
    kernel.irq_err_count = 1
    assert proc_stat(kernel).startswith("intr 6 0 ")


def test_the_total_of_stat_leaves_out_what_linux_leaves_out(kernel):
    kernel.cpus[0].irq_stat.irq_deferred_error_count = 5
    kernel.cpus[0].irq_stat.kvm_posted_intr_ipis = 5
    assert proc_stat(kernel).startswith("intr 0 0 ")

"""/proc/interrupts and /proc/stat, byte for byte as the patched kernel printed them."""

import gzip
from pathlib import Path

import pytest

from mkrpc.instance.procfs import nr_irqs, proc_interrupts, proc_stat
from mkrpc.x86.icr import fixed
from mkrpc.x86.irq_stat import ARCH_ROWS, FIELDS

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


def is_device_row(line):
    return line.lstrip()[0].isdigit()


def fill(kernel, text):
    """Put the recorded numbers into the counters; returns the text without its device rows."""
    lines = [line for line in text.splitlines(keepends=True) if not is_device_row(line)]
    fields = {row.label: row.field for row in ARCH_ROWS}
    cpus = [kernel.cpus[int(name.removeprefix("CPU"))] for name in lines[0].split()]
    for line in lines[1:]:
        label, _, rest = line.partition(":")
        field = fields[label.strip()]
        if field is None:
            kernel.irq_err_count += int(rest) if label.strip() == "ERR" else 0
            continue
        for cpu, count in zip(cpus, rest.split()[: len(cpus)], strict=True):
            setattr(cpu.irq_stat, field, int(count))
    return "".join(lines)


def test_every_recorded_file_is_compared():
    names = {path.name.partition(".")[0] for path in GOLDEN.glob("*.txt.gz")}
    assert names == {"interrupts", "interrupts-cpu3-offline", "stat", "dmesg"}
    tags = {path.name.split(".")[1] for path in GOLDEN.glob("interrupts.*.txt.gz")}
    assert tags == {tag for tag, _ in RECORDED}


@pytest.mark.parametrize(("tag", "cpus"), RECORDED)
def test_interrupts_is_the_recorded_file_without_its_device_rows(make_kernel, tag, cpus):
    """Every byte of the rendering must return."""
    kernel = make_kernel(cpus)
    assert fill(kernel, recorded(f"interrupts.{tag}")) == proc_interrupts(kernel)


@pytest.mark.parametrize(("tag", "cpus"), [(tag, cpus) for tag, cpus in RECORDED if cpus > 3])
def test_an_offline_cpu_loses_its_column_as_recorded(make_kernel, tag, cpus):
    kernel = make_kernel(cpus)
    kernel.cpus[3].irq_stat.irq_call_count = 77
    kernel.hotplug.take_offline(3)
    assert fill(kernel, recorded(f"interrupts-cpu3-offline.{tag}")) == proc_interrupts(kernel)


@pytest.mark.parametrize(("tag", "cpus"), RECORDED)
def test_the_recorded_total_is_that_of_the_rows_that_count(make_kernel, tag, cpus):
    """The total has the device interrupts too, and the ticks between the two files: LOC moved by
    about 17 a CPU until /proc/stat was read."""
    (line,) = [line for line in recorded(f"stat.{tag}").splitlines() if line.startswith("intr")]
    total, *devices = map(int, line.split()[1:])
    kernel = make_kernel(cpus)
    fill(kernel, recorded(f"interrupts.{tag}"))
    counted = int(proc_stat(kernel).split()[1])
    assert 16 * cpus <= total - sum(devices) - counted <= 18 * cpus


def test_err_is_machine_wide(kernel):
    kernel.irq_err_count = 12
    assert "ERR:         12\nMIS:          0\n" in proc_interrupts(kernel)


def test_a_ring_shows_in_the_column_of_its_cpu(kernel):
    kernel.accept(1, fixed(1, 0xEA))
    expected = "CAL:          0          1   Function call interrupts\n"
    assert expected in proc_interrupts(kernel)


@pytest.mark.parametrize(
    ("cpus", "numbers", "width"),
    [
        (1, 256, 3),
        (2, 440, 3),
        (10, 504, 3),
        (71, 992, 3),
        (72, 1000, 4),
        (100, 1224, 4),
        (512, 4520, 4),
    ],
)
def test_every_line_is_as_wide_as_linux_makes_it(make_kernel, cpus, numbers, width):
    """Header "%*s" of width + 8, "CPU%-8d" a CPU; rows "%*s: ", "%10u " a CPU, two spaces."""
    kernel = make_kernel(cpus)
    kernel.cpus[-1].irq_stat.irq_call_count = 0xFFFFFFFF
    header, *rows = proc_interrupts(kernel).splitlines()
    assert nr_irqs(cpus) == numbers
    assert len(header) == width + 8 + sum(max(11, 3 + len(str(n))) for n in range(cpus))
    assert header.split() == [f"CPU{number}" for number in range(cpus)]
    texts = {row.label: row.text for row in ARCH_ROWS}
    for row in rows:
        label, _, rest = row.partition(": ")
        assert len(label) == width
        text = texts[label.strip()]
        if text:
            assert rest[11 * cpus :] == f"  {text}"
            columns = [rest[11 * n : 11 * n + 11] for n in range(cpus)]
            assert all(len(c) == 11 and c[:10].strip().isdigit() and c[10] == " " for c in columns)
        else:
            assert rest == "         0"
    assert [row.partition(":")[0].strip() for row in rows] == ALWAYS_SHOWN


ALWAYS_SHOWN = [
    *("NMI", "LOC", "SPU", "PMI", "IWI", "RTR", "RES", "CAL", "TLB", "TRM", "THR", "DFR"),
    *("MCE", "MCP", "ERR", "MIS", "PIN", "NPI", "PIW", "PMN"),
]


def labels(kernel):
    return [line.partition(":")[0].strip() for line in proc_interrupts(kernel).splitlines()[1:]]


def test_platform_interrupts_have_a_row_and_a_part_of_the_total_with_a_callback(kernel):
    kernel.accept(1, fixed(1, 0xF7))
    assert labels(kernel) == ALWAYS_SHOWN
    assert proc_stat(kernel).startswith("intr 0 ")
    called = []
    kernel.x86_platform_ipi_callback = called.append
    kernel.accept(1, fixed(1, 0xF7))
    assert called == [kernel.cpus[1]]
    assert labels(kernel)[5:8] == ["RTR", "PLT", "RES"]
    assert "PLT:          0          2   Platform interrupts\n" in proc_interrupts(kernel)
    assert proc_stat(kernel).startswith("intr 2 ")


@pytest.mark.parametrize("entry", ["idt", "fred"])
@pytest.mark.parametrize(
    ("vector", "field", "line"),
    [
        (0xF3, "irq_hv_callback_count", "HYP: {} Hypervisor callback interrupts"),
        (0xEE, "irq_hv_reenlightenment_count", "HRE: {} Hyper-V reenlightenment interrupts"),
        (0xED, "hyperv_stimer0_count", "HVS: {} Hyper-V stimer0 interrupts"),
    ],
)
def test_a_hypervisors_row_appears_with_its_vector(make_kernel, entry, vector, field, line):
    def sysvec(cpu):
        cpu.apic_eoi()
        setattr(cpu.irq_stat, field, getattr(cpu.irq_stat, field) + 1)

    kernel = make_kernel(entry=entry)
    kernel.idt.install(vector, "sysvec", sysvec)
    kernel.accept(0, fixed(0, vector))
    shown = labels(kernel)
    assert [name for name in shown if name not in ALWAYS_SHOWN] == [line[:3]]
    assert shown[shown.index("MCP") + 1] == line[:3]
    assert line.format("         1          0  ") in proc_interrupts(kernel).splitlines()
    assert proc_stat(kernel).startswith("intr 1 ")


@pytest.mark.parametrize("vector", [0xF3, 0xEE, 0xED])
def test_a_gate_that_is_not_present_has_no_row(kernel, vector):
    kernel.idt.remove(vector)
    assert labels(kernel) == ALWAYS_SHOWN
    kernel.idt.install(vector, "sysvec", lambda cpu: cpu.apic_eoi())
    assert len(labels(kernel)) == len(ALWAYS_SHOWN) + 1


def test_counters_wrap_at_32_bits_in_what_a_person_reads(kernel):
    kernel.cpus[0].irq_stat.irq_call_count = (1 << 32) + 5
    kernel.irq_err_count = (1 << 32) + 1
    assert "CAL:          5          0 " in proc_interrupts(kernel)
    assert "ERR:          1\n" in proc_interrupts(kernel)
    assert proc_stat(kernel).startswith("intr 6 ")


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


LEFT_OUT = [
    "x86_platform_ipis",  # without a callback
    "irq_tlb_count",
    "irq_deferred_error_count",
    "kvm_posted_intr_ipis",
    "kvm_posted_intr_nested_ipis",
    "kvm_posted_intr_wakeup_ipis",
    "posted_msi_notification_count",
]


@pytest.mark.parametrize("field", FIELDS)
def test_the_total_of_stat_leaves_out_what_linux_leaves_out(kernel, field):
    setattr(kernel.cpus[0].irq_stat, field, 5)
    assert proc_stat(kernel).split()[1] == ("0" if field in LEFT_OUT else "5")

"""irq_stat and the architecture rows of /proc/interrupts (multikernel reference, 4.4)."""

import pytest

from mkrpc.x86.irq_stat import ARCH_ROWS, FIELDS, ArchRow, IrqStat, RowShown

# Recorded with the patched 6.12 on 4 CPUs: the rows and texts that every kernel prints.
SHOWN_ON_PLAIN_HARDWARE = [
    ("NMI", "Non-maskable interrupts"),
    ("LOC", "Local timer interrupts"),
    ("SPU", "Spurious interrupts"),
    ("PMI", "Performance monitoring interrupts"),
    ("IWI", "IRQ work interrupts"),
    ("RTR", "APIC ICR read retries"),
    ("RES", "Rescheduling interrupts"),
    ("CAL", "Function call interrupts"),
    ("TLB", "TLB shootdowns"),
    ("TRM", "Thermal event interrupts"),
    ("THR", "Threshold APIC interrupts"),
    ("DFR", "Deferred Error APIC interrupts"),
    ("MCE", "Machine check exceptions"),
    ("MCP", "Machine check polls"),
    ("ERR", ""),
    ("MIS", ""),
    ("PIN", "Posted-interrupt notification event"),
    ("NPI", "Nested posted-interrupt event"),
    ("PIW", "Posted-interrupt wakeup event"),
    ("PMN", "Posted MSI notification event"),
]


def test_rows_texts_and_order_are_those_that_linux_printed() -> None:
    always = [(row.label, row.text) for row in ARCH_ROWS if row.shown is RowShown.ALWAYS]
    assert always == SHOWN_ON_PLAIN_HARDWARE


def test_the_other_rows_stand_where_irq_c_has_them() -> None:
    labels = [row.label for row in ARCH_ROWS]
    assert labels[labels.index("RTR") + 1] == "PLT"
    assert labels[labels.index("MCP") + 1 : labels.index("ERR")] == ["HYP", "HRE", "HVS"]


def test_every_counter_has_one_row_and_only_err_and_mis_have_none() -> None:
    assert sorted(row.field for row in ARCH_ROWS if row.field) == sorted(FIELDS)
    assert [row.label for row in ARCH_ROWS if row.field is None] == ["ERR", "MIS"]


def test_cal_shows_irq_call_count() -> None:
    """The patch counts 0xea there, shared with function calls."""
    (cal,) = [row for row in ARCH_ROWS if row.label == "CAL"]
    assert cal.field == "irq_call_count"


def test_field_numbers_on_the_wire_are_stable() -> None:
    """New fields go to the end: these numbers are in recorded frames."""
    assert FIELDS[0] == "nmi_count"
    assert FIELDS.index("irq_spurious_count") == 2
    assert FIELDS.index("irq_resched_count") == 7
    assert FIELDS.index("irq_call_count") == 8
    assert FIELDS.index("posted_msi_notification_count") == 21
    assert len(FIELDS) == 22


def test_counters_start_at_zero_and_count_apart() -> None:
    stat = IrqStat()
    stat.irq_call_count += 1
    assert {name: getattr(stat, name) for name in FIELDS if getattr(stat, name)} == {
        "irq_call_count": 1
    }


def test_a_counter_that_linux_lacks_cannot_be_written() -> None:
    with pytest.raises(AttributeError):
        IrqStat().irq_multikernel_count = 1  # type: ignore[attr-defined]


def test_a_row_of_an_unknown_field_is_a_bug() -> None:
    with pytest.raises(AssertionError):
        ArchRow(label="NIL", field="no_such_count", text="")


def test_counts_are_those_of_the_fields_in_their_order():
    stat = IrqStat()
    for number, name in enumerate(FIELDS, start=1):
        setattr(stat, name, number)
    assert stat.counts() == tuple(range(1, len(FIELDS) + 1))

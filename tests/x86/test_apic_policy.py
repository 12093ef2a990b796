"""Every switch of ApicPolicy, each value of it, by what it changes.

A row is one value of one field and what one observation of an APIC with it gives: for another value
it gives something else (``ppr`` and ``hash`` differ on the bus alone). A field, or a value of one,
without a row fails.
"""

from collections.abc import Callable
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest

from mkrpc.errors import InvalidArgumentError
from mkrpc.outcome import Outcome
from mkrpc.x86.icr import DeliveryMode, Icr, Shorthand, fixed, icr_word, shorthand_word
from mkrpc.x86.lapic import ApicMode, ApicPolicy, LocalApic
from mkrpc.x86.registers import GeneralProtection, mmio_read, mmio_write

BASE = 0xFEE00000
EN = 1 << 11
EXTD = 1 << 10
BUSY = 1 << 12


def enabled(policy: ApicPolicy, mode: ApicMode = ApicMode.X2APIC) -> LocalApic:
    apic = LocalApic(5, mode=mode, policy=policy)
    apic.write_svr(0x1FF)
    return apic


def lowest_priority_sent(policy: ApicPolicy) -> object:
    """R32. By what it arbitrates is the bus's business: tests/interconnect."""
    apic = enabled(policy)
    word = icr_word(vector=0x41, delivery_mode=DeliveryMode.LOWEST_PRIORITY, destination=1)
    return apic.write_icr(word).settled, apic.esr_pending


def second_write_while_busy(policy: ApicPolicy) -> object:
    """R20: what ICR reads, and what becomes of a second write, while the first is under way."""
    apic = enabled(policy, ApicMode.XAPIC)
    mmio_write(apic, 0x300, 0x41)
    apic.delivery_pending = True
    read = mmio_read(apic, 0x300)
    write = mmio_write(apic, 0x300, 0x42)
    assert write is not None
    return read, write.settled, apic.icr


def bit_12_written(policy: ApicPolicy) -> object:
    """R18."""
    apic = enabled(policy)
    try:
        return apic.write_icr(fixed(1, 0x41) | BUSY).word
    except GeneralProtection:
        return "#GP"


def self_nmi(policy: ApicPolicy) -> object:
    """R22."""
    apic = enabled(policy)
    word = shorthand_word(Shorthand.SELF, 0, delivery_mode=DeliveryMode.NMI)
    return apic.write_icr(word).settled, apic.nmi_latched, apic.invalid_combinations


def nmi_to_a_software_disabled_apic(policy: ApicPolicy) -> object:
    """R35."""
    apic = LocalApic(5, policy=policy)
    return apic.accept(Icr(vector=0, delivery_mode=DeliveryMode.NMI)), apic.nmi_latched


def pending_when_software_disabled(policy: ApicPolicy) -> object:
    """R38."""
    apic = enabled(policy)
    apic.accept_fixed(0x41)
    apic.write_svr(0xFF)
    return apic.highest_deliverable()


def registers_after_global_disable(policy: ApicPolicy) -> object:
    """R6: IRR, TPR, and the id, which comes back either way."""
    apic = enabled(policy, ApicMode.XAPIC)
    apic.write_xapic_id(9)
    apic.tpr = 0x20
    apic.accept_fixed(0x41)
    apic.set_apic_base(BASE)
    apic.set_apic_base(BASE | EN)
    return apic.irr, apic.tpr, apic.xapic_id


def tpr_raised_over_a_signalled_interrupt(policy: ApicPolicy) -> object:
    """R47: is the CPU owed a vector?"""
    apic = enabled(policy)
    apic.accept_fixed(0x41)
    apic.tpr = 0x40
    return apic.intr_latched, apic.core_event


def illegal_self_ipi(policy: ApicPolicy) -> object:
    """R52."""
    apic = enabled(policy)
    assert apic.write_self_ipi(5).settled is Outcome.REJECTED_ILLEGAL_VECTOR
    return apic.esr_pending


def id_written(policy: ApicPolicy) -> object:
    """R7."""
    apic = enabled(policy, ApicMode.XAPIC)
    mmio_write(apic, 0x20, 9 << 24)
    return mmio_read(apic, 0x20) >> 24


def icr_after_self_ipi(policy: ApicPolicy) -> object:
    """R54."""
    apic = enabled(policy)
    apic.write_self_ipi(0x41)
    return apic.icr


def extd_written(policy: ApicPolicy) -> object:
    """R1."""
    apic = enabled(policy, ApicMode.XAPIC)
    try:
        apic.set_apic_base(BASE | EN | EXTD)
    except GeneralProtection:
        return "#GP"
    return apic.mode


Row = tuple[str, object, Callable[[ApicPolicy], object], object]
ROWS: list[Row] = [
    ("lowest_priority", "ppr", lowest_priority_sent, (None, 0)),
    ("lowest_priority", "hash", lowest_priority_sent, (None, 0)),
    (
        "lowest_priority",
        "unsupported",
        lowest_priority_sent,
        (Outcome.REJECTED_REDIRECTABLE_IPI, 0x10),
    ),
    ("icr_busy", "never", second_write_while_busy, (0x41, None, 0x42)),
    ("icr_busy", "queue", second_write_while_busy, (0x41 | BUSY, None, 0x42)),
    (
        "icr_busy",
        "drop",
        second_write_while_busy,
        (0x41 | BUSY, Outcome.REJECTED_ICR_BUSY, 0x41),
    ),
    ("icr_bit12", "cleared", bit_12_written, fixed(1, 0x41)),
    ("icr_bit12", "gp", bit_12_written, "#GP"),
    ("invalid_combination", "deliver", self_nmi, (Outcome.DELIVERED, 1, 1)),
    ("invalid_combination", "drop", self_nmi, (Outcome.REJECTED_INVALID_COMBINATION, 0, 1)),
    (
        "nmi_while_software_disabled",
        "deliver",
        nmi_to_a_software_disabled_apic,
        (Outcome.DELIVERED, 1),
    ),
    (
        "nmi_while_software_disabled",
        "drop",
        nmi_to_a_software_disabled_apic,
        (Outcome.REJECTED_SOFTWARE_DISABLED, 0),
    ),
    ("pending_while_software_disabled", "hold", pending_when_software_disabled, -1),
    ("pending_while_software_disabled", "deliver", pending_when_software_disabled, 0x41),
    ("global_disable", "reset", registers_after_global_disable, (0, 0, 5)),
    ("global_disable", "keep", registers_after_global_disable, (1 << 0x41, 0x20, 5)),
    ("intr", "synchronous", tpr_raised_over_a_signalled_interrupt, (False, False)),
    ("intr", "latched", tpr_raised_over_a_signalled_interrupt, (True, True)),
    ("self_ipi_illegal_vector", "send", illegal_self_ipi, 0x20),
    ("self_ipi_illegal_vector", "receive", illegal_self_ipi, 0x40),
    ("self_ipi_illegal_vector", "both", illegal_self_ipi, 0x60),
    ("xapic_id_writable", True, id_written, 9),
    ("xapic_id_writable", False, id_written, 5),
    ("self_ipi_stored_in_icr", False, icr_after_self_ipi, 0),
    ("self_ipi_stored_in_icr", True, icr_after_self_ipi, 0x40041),
    ("x2apic_supported", True, extd_written, ApicMode.X2APIC),
    ("x2apic_supported", False, extd_written, "#GP"),
]
DEFAULTS: dict[str, object] = {
    "lowest_priority": "ppr",
    "icr_busy": "never",
    "icr_bit12": "cleared",
    "invalid_combination": "deliver",
    "nmi_while_software_disabled": "deliver",
    "pending_while_software_disabled": "hold",
    "global_disable": "reset",
    "intr": "synchronous",
    "self_ipi_illegal_vector": "send",
    "xapic_id_writable": True,
    "self_ipi_stored_in_icr": False,
    "x2apic_supported": True,
}


def values_of(hint: Any) -> set[object]:
    """The values that a field can have, by its annotation."""
    if hint is bool:
        return {True, False}
    assert get_origin(hint) is Literal, f"a switch has named values, not {hint}"
    return set(get_args(hint))


@pytest.mark.rule("R1", "R6", "R7", "R18", "R20", "R22", "R32", "R35", "R38", "R47", "R52", "R54")
@pytest.mark.parametrize(
    ("field", "value", "observe", "expected"),
    [pytest.param(*row, id=f"{row[0]}={row[1]}") for row in ROWS],
)
def test_a_switch_does_what_it_says(
    field: str, value: object, observe: Callable[[ApicPolicy], object], expected: object
) -> None:
    choice: dict[str, Any] = {field: value}
    assert observe(ApicPolicy(**choice)) == expected
    others = [row for row in ROWS if row[0] == field and row[1] != value]
    assert all(row[3] != expected for row in others) or {value, others[0][1]} == {"ppr", "hash"}
    if DEFAULTS[field] == value:
        assert observe(ApicPolicy()) == expected


def test_every_value_of_every_switch_has_a_row() -> None:
    there_are = {
        (field, value)
        for field, hint in get_type_hints(ApicPolicy).items()
        for value in values_of(hint)
    }
    assert {(field, value) for field, value, _, _ in ROWS} == there_are


@pytest.mark.parametrize(
    "field", [name for name, hint in get_type_hints(ApicPolicy).items() if hint is not bool]
)
@pytest.mark.parametrize("value", ["", "Ppr", None, True])
def test_a_value_that_a_switch_does_not_have_is_refused_by_name(field: str, value: object) -> None:
    choice: dict[str, Any] = {field: value}
    with pytest.raises(InvalidArgumentError, match=f"^{field} is {value!r}$") as caught:
        ApicPolicy(**choice)
    for possible in values_of(get_type_hints(ApicPolicy)[field]):
        assert repr(possible) in caught.value.advice


def test_the_defaults_are_those_of_the_pages() -> None:
    assert {field: getattr(ApicPolicy(), field) for field in DEFAULTS} == DEFAULTS
    assert DEFAULTS.keys() == get_type_hints(ApicPolicy).keys()

"""What holds an interrupt that is pending: every reason alone, and several in their order."""

import pytest

from mkrpc.x86.apic_base import ApicMode
from mkrpc.x86.pending import (
    BLOCKING_BY_MOV_SS,
    BLOCKING_BY_STI,
    CoreState,
    HoldKind,
    holds,
    why_in_service,
)

VECTOR = 0x41
NMI = 2


def core(**changes: object) -> CoreState:
    """An idle CPU with IF = 1, in whose IRR only VECTOR waits; it would take that at once."""
    values: dict[str, object] = {
        "cpu": 0,
        "irr": 1 << VECTOR,
        "isr": 0,
        "tpr": 0,
        "ppr": 0,
        "interrupts_enabled": True,
        "activity": "idle",
    }
    return CoreState(**(values | changes))  # type: ignore[arg-type]


ALONE = {
    "R44: nothing, so the next boundary": ({}, HoldKind.NEXT_BOUNDARY, -1),
    "R56: IF = 0 in a program": (
        {"interrupts_enabled": False, "program": True, "activity": "running"},
        HoldKind.IF_CLEAR,
        -1,
    ),
    "R56: IF = 0 in a handler, which is named": (
        {"interrupts_enabled": False, "handlers": (0x31, 0xEA), "activity": "running"},
        HoldKind.IF_CLEAR,
        0xEA,
    ),
    "R56: IF = 0 and nothing runs": (
        {"interrupts_enabled": False, "activity": "running"},
        HoldKind.IF_CLEAR,
        -1,
    ),
    "R59: halted with IF = 0": (
        {"interrupts_enabled": False, "activity": "halted"},
        HoldKind.HALTED,
        -1,
    ),
    "R56: the shadow of STI": ({"interrupt_shadow": BLOCKING_BY_STI}, HoldKind.SHADOW_STI, -1),
    "R56: the shadow of MOV SS": (
        {"interrupt_shadow": BLOCKING_BY_MOV_SS},
        HoldKind.SHADOW_MOV_SS,
        -1,
    ),
    "R43: TPR of its class": ({"tpr": 0x40, "ppr": 0x40}, HoldKind.TPR, -1),
    "R43: TPR of a class above": ({"tpr": 0xFF, "ppr": 0xFF}, HoldKind.TPR, -1),
    "R43: an ISR bit of its class": ({"isr": 1 << 0x40, "ppr": 0x40}, HoldKind.ISR, 0x40),
    "R43: the highest of several ISR bits": (
        {"isr": 1 << 0x52 | 1 << 0x20, "ppr": 0x50},
        HoldKind.ISR,
        0x52,
    ),
    "R45: a higher IRR bit goes first": (
        {"irr": 1 << VECTOR | 1 << 0x42},
        HoldKind.BEHIND,
        0x42,
    ),
    "R38: software-disabled": ({"software_enabled": False}, HoldKind.SOFTWARE_DISABLED, -1),
    "R3: globally disabled": ({"mode": ApicMode.DISABLED}, HoldKind.APIC_DISABLED, -1),
    "R36: wait-for-SIPI": (
        {"activity": "wait-for-sipi", "interrupts_enabled": False},
        HoldKind.WAIT_FOR_SIPI,
        -1,
    ),
    "stopped for good": (
        {"stopped": True, "activity": "halted", "interrupts_enabled": False},
        HoldKind.STOPPED,
        -1,
    ),
    "a kernel that has panicked": (
        {"panic": "Kernel panic - not syncing: x", "stopped": True, "interrupts_enabled": False},
        HoldKind.PANIC,
        -1,
    ),
    "a storm": ({"storm": True}, HoldKind.STORM, -1),
    "events that wait for the link": ({"congested": True}, HoldKind.CONGESTED, -1),
    "R20: an ICR write that waits": ({"waits_to_write": True}, HoldKind.WRITE_WINDOW, -1),
}


@pytest.mark.parametrize(("changes", "kind", "vector"), ALONE.values(), ids=ALONE.keys())
def test_a_reason_alone_is_named_alone(changes: dict[str, object], kind: HoldKind, vector: int):
    (hold,) = holds(core(**changes), VECTOR)
    assert (hold.kind, hold.vector) == (kind, vector)


NOT_HELD = {
    "TPR of the class below, whatever its low nibble": {"tpr": 0x3F, "ppr": 0x3F},
    "an ISR bit of the class below": {"isr": 1 << 0x3F, "ppr": 0x30},
    "a lower IRR bit": {"irr": 1 << VECTOR | 1 << 0x40},
    "an NMI in service": {"nmi_in_service": True},
    "a halted CPU with IF = 1": {"activity": "halted"},
}


@pytest.mark.parametrize("changes", NOT_HELD.values(), ids=NOT_HELD.keys())
def test_what_does_not_hold_it_is_not_named(changes: dict[str, object]):
    assert [hold.kind for hold in holds(core(**changes), VECTOR)] == [HoldKind.NEXT_BOUNDARY]


def test_all_reasons_are_named_the_flag_before_the_priorities():
    busy = core(
        interrupts_enabled=False,
        activity="running",
        handlers=(0x52,),
        isr=1 << 0x52,
        tpr=0x40,
        irr=1 << VECTOR | 1 << 0x61,
    )
    kinds = [hold.kind for hold in holds(busy, VECTOR)]
    assert kinds == [HoldKind.IF_CLEAR, HoldKind.ISR, HoldKind.TPR, HoldKind.BEHIND]


@pytest.mark.parametrize(
    ("changes", "kinds"),
    [
        ({"nmi_latched": 1}, [HoldKind.NEXT_BOUNDARY]),
        ({"nmi_latched": 1, "interrupts_enabled": False, "tpr": 0xFF}, [HoldKind.NEXT_BOUNDARY]),
        ({"nmi_latched": 1, "nmi_in_service": True}, [HoldKind.NMI_BLOCKED]),
        ({"nmi_latched": 1, "interrupt_shadow": BLOCKING_BY_STI}, [HoldKind.SHADOW_STI]),
        ({"nmi_latched": 1, "activity": "wait-for-sipi"}, [HoldKind.WAIT_FOR_SIPI]),
    ],
)
def test_an_nmi_is_held_by_other_things(changes: dict[str, object], kinds: list[HoldKind]):
    """R57, R58: neither IF nor any priority, but the block until IRET and the shadows."""
    held = core(**changes)
    assert held.is_pending(NMI)
    assert [hold.kind for hold in holds(held, NMI)] == kinds


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"handlers": (0x52,)}, "its handler runs and has not written EOI"),
        ({"handlers": (0x52, 0x61)}, "that of 0x61 has interrupted it"),
        ({"handlers": ()}, "its handler has returned without an EOI"),
        ({"handlers": (), "known": False}, "it has had no EOI"),
    ],
)
def test_who_has_to_write_eoi_is_said(changes: dict[str, object], words: str):
    serving = core(isr=1 << 0x52, **changes)
    assert words in why_in_service(serving, 0x52).text
    assert words in holds(serving, VECTOR)[0].text


def test_a_mirror_says_no_more_than_it_knows():
    """Who keeps IF = 0 is in no report."""
    (hold,) = holds(core(interrupts_enabled=False, activity="running", known=False), VECTOR)
    assert hold.text == "IF = 0: interrupts are disabled (SDM 6.8.1)"

"""The law of scoring (README of the recordings), on hand-made runs that no machine played."""

from dataclasses import replace
from typing import Any

import pytest

from mkrpc.conformance.judge import judge_apic
from mkrpc.conformance.recording import (
    Agree,
    ApicMachineMode,
    ApicScenario,
    CpuDelta,
    FieldValue,
    Op,
    Step,
)
from mkrpc.conformance.score import Observation, Run, differences
from mkrpc.x86.registers import Register

START: dict[str, FieldValue] = {
    "id": 0,
    "tpr": 0,
    "ppr": 0,
    "ldr": 1,
    "dfr": 0,
    "svr": 0x1FF,
    "esr": 0,
    "icr_lo": 0,
    "icr_hi": 0,
    "isr": (),
    "irr": (),
    "if": 1,
    "boots": 0,
}
QUIET: dict[str, FieldValue] = {"delivered": (), "ppr_at_entry": (), "not_in_isr": ()}
ICR = {"icr_lo": 0x40EA, "icr_hi": 1}


def seen(**changes: FieldValue) -> CpuDelta:
    return {**START, **QUIET, "responsive": True, **changes}


def observed(
    *cpus: CpuDelta, result: int | None = None, gp: bool = False, skipped: bool = False
) -> Observation:
    return Observation(result=result, gp=gp, skipped=skipped, cpus=cpus)


def scenario(*steps: Step, agree: Agree = Agree.ALL, cpus: int = 1) -> ApicScenario:
    return ApicScenario(
        name="hand/made",
        line=1,
        mode=ApicMachineMode.FLAT,
        ids=tuple(range(cpus)),
        agree=agree,
        # Every recording starts with an ICR that the guest's own start left over.
        initial={cpu: {**START, "icr_lo": 0x440FE} for cpu in range(cpus)},
        steps=steps,
        final={},
        delivered_total={},
        first_disagree_step=None,
        open_fields=frozenset(),
        note="",
    )


def nop(held: tuple[str, ...] = (), /, **delta: FieldValue) -> Step:
    return Step(op=Op.NOP, cpu=0, cpus={0: delta} if delta else {}, held=frozenset(held))


def fields(recorded: ApicScenario, *steps: Observation) -> list[tuple[int, str]]:
    run = Run(initial=(seen(),) * len(recorded.ids), steps=steps)
    return [(found.step, found.field) for found in differences(recorded, run)]


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("id", 1),
        ("tpr", 1),
        ("ppr", 1),
        ("ldr", 2),
        ("dfr", 1),
        ("svr", 0xFF),
        ("esr", 0x20),
        ("isr", (0xEA,)),
        ("irr", (0xEA,)),
        ("if", 0),
        ("boots", 1),
        ("responsive", False),
        ("delivered", (0xEA,)),
        ("ppr_at_entry", (0xE0,)),
        ("not_in_isr", (0xEA,)),
    ],
)
def test_a_field_that_a_strict_step_lacks_is_unchanged(field: str, wrong: FieldValue) -> None:
    assert fields(scenario(nop()), observed(seen())) == []
    assert (0, field) in fields(scenario(nop()), observed(seen(**{field: wrong})))
    changed = scenario(nop(**{field: wrong}))
    if field != "responsive":
        assert fields(changed, observed(seen(**{field: wrong}))) == []
    assert (0, field) in fields(changed, observed(seen()))


def test_changes_carry_over_and_events_do_not() -> None:
    recorded = scenario(nop(tpr=0x20, delivered=(0x41,)), nop())
    first = observed(seen(tpr=0x20, delivered=(0x41,)))
    assert fields(recorded, first, observed(seen(tpr=0x20))) == []
    assert fields(recorded, first, observed(seen())) == [(1, "tpr")]
    assert fields(recorded, first, observed(seen(tpr=0x20, delivered=(0x41,)))) == [
        (1, "delivered")
    ]


def test_the_order_of_delivery_counts() -> None:
    recorded = scenario(nop(delivered=(0x51, 0x41)))
    assert fields(recorded, observed(seen(delivered=(0x51, 0x41)))) == []
    assert fields(recorded, observed(seen(delivered=(0x41, 0x51)))) == [(0, "delivered")]


def test_the_state_before_the_first_step_counts() -> None:
    recorded = scenario(nop())
    run = Run(initial=(seen(svr=0xFF),), steps=(observed(seen()),))
    assert [found.step for found in differences(recorded, run)] == [-1]


def test_the_icr_is_ignored_until_the_scenario_writes_it() -> None:
    send = Step(op=Op.ICR, cpu=0, hi=1, lo=0x40EA, cpus={0: ICR})
    recorded = scenario(nop(), send, nop())
    after = seen(**ICR)
    assert fields(recorded, observed(seen(icr_lo=7)), observed(after), observed(after)) == []
    forgot = observed(seen())
    assert fields(recorded, observed(seen()), forgot, observed(after)) == [
        (1, "icr_lo"),
        (1, "icr_hi"),
    ]


def test_a_write_that_leaves_the_left_over_value_counts_as_a_write() -> None:
    send = Step(op=Op.ICR, cpu=0, hi=0, lo=0x440FE, cpus={})
    assert fields(scenario(send), observed(seen(icr_lo=0x440FE))) == []
    assert fields(scenario(send), observed(seen())) == [(0, "icr_lo")]


def test_an_icr_that_the_recording_says_has_changed_counts() -> None:
    """INIT resets it on a CPU that never wrote it."""
    recorded = scenario(nop(icr_lo=0))
    assert fields(recorded, observed(seen())) == []
    assert fields(recorded, observed(seen(icr_lo=0x40EA))) == [(0, "icr_lo")]


def test_an_icr_write_that_faulted_wrote_nothing() -> None:
    send = Step(op=Op.ICR, cpu=0, hi=0, lo=1 << 31, gp=True, cpus={})
    assert fields(scenario(send), observed(seen(), gp=True)) == []


def test_reading_an_icr_that_nobody_wrote_says_nothing() -> None:
    read = Step(op=Op.READ, cpu=0, register=Register.ICR, result=0x440FE, cpus={})
    assert fields(scenario(read), observed(seen(), result=0)) == []
    send = Step(op=Op.ICR, cpu=0, hi=1, lo=0x40EA, cpus={0: ICR})
    after = observed(seen(**ICR), result=0x40EA)
    wrong = replace(after, result=0)
    read = replace(read, result=0x40EA)
    assert fields(scenario(send, read), observed(seen(**ICR)), after) == []
    assert fields(scenario(send, read), observed(seen(**ICR)), wrong) == [(1, "result")]


def test_the_registers_of_a_cpu_that_does_not_answer_are_unknown_until_it_does() -> None:
    recorded = scenario(nop(responsive=False), nop(responsive=True, svr=0xFF))
    dead = observed(seen(responsive=False, svr=0xFF, irr=(0x41,)))
    assert fields(recorded, dead, observed(seen(svr=0xFF))) == []
    assert fields(recorded, dead, observed(seen())) == [(1, "svr")]
    assert fields(recorded, observed(seen()), observed(seen(svr=0xFF))) == [(0, "responsive")]


def test_handlers_of_a_cpu_that_does_not_answer_are_known() -> None:
    recorded = scenario(nop(responsive=False))
    ran = observed(seen(responsive=False, delivered=(0x41,)))
    assert fields(recorded, ran) == [(0, "delivered")]


@pytest.mark.parametrize("name", ["gp", "skipped"])
def test_a_strict_step_that_lacks_a_flag_says_that_it_was_clear(name: str) -> None:
    flag: dict[str, Any] = {name: True}
    flagged = observed(seen(), **flag)
    assert fields(scenario(nop()), flagged) == [(0, name)]
    assert fields(scenario(replace(nop(), **flag)), flagged) == []


@pytest.mark.parametrize("name", ["esr", "ldr"])
def test_a_delivery_line_says_nothing_of_what_it_lacks(name: str) -> None:
    recorded = scenario(nop(), agree=Agree.DELIVERY)
    assert fields(recorded, observed(seen(**{name: 4}))) == []
    held = scenario(nop(**{name: 4}), agree=Agree.DELIVERY)
    assert fields(held, observed(seen())) == [(0, name)]
    assert fields(recorded, observed(seen(irr=(0x41,)))) == [(0, "irr")]


def test_a_delivery_line_says_nothing_of_a_result_or_fault_that_it_lacks() -> None:
    read = Step(op=Op.READ, cpu=0, register=Register.ESR, cpus={})
    recorded = scenario(read, agree=Agree.DELIVERY)
    assert fields(recorded, observed(seen(), result=4)) == []
    assert fields(recorded, observed(seen(), gp=True)) == []
    held = scenario(replace(read, result=0, held=frozenset({"result"})), agree=Agree.DELIVERY)
    assert fields(held, observed(seen(), result=4)) == [(0, "result")]


def test_an_open_field_is_not_compared() -> None:
    recorded = replace(scenario(nop(), agree=Agree.DELIVERY), open_fields=frozenset({"gp"}))
    held = replace(recorded, steps=(replace(nop(("gp",)), gp=False),))
    assert fields(held, observed(seen(), gp=True)) == []
    assert fields(replace(held, open_fields=frozenset()), observed(seen(), gp=True)) == [(0, "gp")]


def test_the_final_state_and_the_totals_count() -> None:
    recorded = replace(
        scenario(nop(delivered=(0x41,)), nop(delivered=(0x51,))),
        final={0: {"irr": (), "responsive": True}},
        delivered_total={0: (0x41, 0x51)},
    )
    good = [observed(seen(delivered=(v,))) for v in (0x41, 0x51)]
    assert fields(recorded, *good) == []
    wrong = replace(recorded, delivered_total={0: (0x41,)}, final={0: {"irr": (0x61,)}})
    assert fields(wrong, *good) == [(2, "irr"), (2, "delivered_total")]


# Verdicts.


def test_an_all_line_with_a_wrong_expectation_fails_with_its_first_difference() -> None:
    recorded = scenario(nop(), nop(irr=(0x41,)), nop())
    run = Run(initial=(seen(),), steps=(observed(seen()),) * 3)
    verdict = judge_apic(recorded, run)
    assert verdict.scored
    assert verdict.failed is not None
    assert verdict.failed.step == 1
    assert verdict.failed.expected == "cpu 0: irr = [0x41]"
    assert verdict.failed.actual == "cpu 0: irr = []"


def disputed(step: int) -> ApicScenario:
    recorded = scenario(nop(), nop(irr=(0x41,)), nop(), agree=Agree.NO)
    return replace(recorded, first_disagree_step=step, final={0: {"irr": (0x99,)}})


@pytest.mark.parametrize(("step", "passes"), [(0, True), (1, True), (2, False)])
def test_a_no_line_counts_up_to_the_first_step_of_disagreement(step: int, passes: bool) -> None:
    run = Run(initial=(seen(),), steps=(observed(seen()),) * 3)
    verdict = judge_apic(disputed(step), run)
    assert verdict.scored
    assert (verdict.failed is None) is passes
    assert verdict.reported is not None


def test_a_no_line_that_starts_from_another_state_fails() -> None:
    run = Run(initial=(seen(svr=0xFF),), steps=(observed(seen()),) * 3)
    failed = judge_apic(disputed(1), run).failed
    assert failed is not None
    assert failed.step == -1


def test_a_no_line_is_reported_with_the_engines_that_the_model_agrees_with() -> None:
    run = Run(initial=(seen(),), steps=(observed(seen()),) * 3)
    agreeing = scenario(nop(), nop(), nop(), agree=Agree.UNSTATED)
    other = scenario(nop(), nop(irr=(0x41,)), nop(irr=()), agree=Agree.UNSTATED)
    reported = judge_apic(disputed(1), run, traces={"bochs": other, "tcg": agreeing}).reported
    assert reported is not None
    assert (reported.step, reported.expected) == (1, "bochs: cpu 0: irr = [0x41]")
    assert "agrees to the end with tcg" in reported.note
    assert "bochs parts at step 1" in reported.note
    reported = judge_apic(disputed(1), run, traces={"bochs": other}).reported
    assert reported is not None
    assert "agrees with no engine" in reported.note
    assert (reported.expected, reported.actual) == (
        "bochs: cpu 0: irr = [0x41]",
        "cpu 0: irr = []",
    )


def test_a_final_icr_counts_only_if_the_scenario_wrote_it() -> None:
    recorded = replace(scenario(nop()), final={0: {"icr_lo": 0x440FE}})
    assert fields(recorded, observed(seen())) == []
    send = Step(op=Op.ICR, cpu=0, hi=1, lo=0x40EA, cpus={0: ICR})
    wrote = replace(scenario(send), final={0: {"icr_lo": 0x440FE}})
    assert fields(wrote, observed(seen(**ICR))) == [(1, "icr_lo")]


@pytest.mark.parametrize("register", [Register.ICR, Register.ICR2])
def test_a_left_over_icr_that_is_read_is_not_compared(register: Register) -> None:
    read = Step(op=Op.READ, cpu=0, register=register, result=0x440FE, cpus={})
    assert fields(scenario(read), observed(seen(), result=0)) == []


@pytest.mark.parametrize("agree", [Agree.ALL, Agree.DELIVERY])
def test_the_state_before_the_first_step_is_held_whole(agree: Agree) -> None:
    run = Run(initial=(seen(ldr=2),), steps=(observed(seen(ldr=2)),))
    found = differences(scenario(nop(), agree=agree), run)
    assert (-1, "ldr") in [(d.step, d.field) for d in found]


def test_kvm_is_compared_in_five_fields_and_not_where_handlers_defer() -> None:
    run = Run(initial=(seen(),), steps=(observed(seen()),) * 3)
    blind = scenario(nop(ppr=0xE0), nop(isr=(0x41,)), nop(), agree=Agree.UNSTATED)
    reported = judge_apic(disputed(0), run, traces={"kvm": blind}).reported
    assert reported is not None
    assert "agrees to the end with kvm" in reported.note
    wrong = scenario(nop(irr=(0x41,)), nop(), nop(), agree=Agree.UNSTATED)
    reported = judge_apic(disputed(0), run, traces={"kvm": wrong}).reported
    assert reported is not None
    assert "kvm parts at step 0" in reported.note
    defers = replace(blind, steps=(replace(nop(), op=Op.MODE, defer=True), nop(), nop()))
    reported = judge_apic(disputed(0), run, traces={"kvm": defers}).reported
    assert reported is not None
    assert "no engine's own trace" in reported.note


@pytest.mark.parametrize(
    "agree",
    [Agree.SINGLE_ENGINE, Agree.NONDETERMINISTIC, Agree.ALL_DEVIATES, Agree.UNSTATED],
)
@pytest.mark.parametrize("wrong", [False, True])
def test_other_lines_are_reported_and_never_scored(agree: Agree, wrong: bool) -> None:
    recorded = scenario(nop(irr=(0x41,)) if wrong else nop(), agree=agree)
    verdict = judge_apic(recorded, Run(initial=(seen(),), steps=(observed(seen()),)))
    assert not verdict.scored
    assert verdict.failed is None
    assert verdict.reported is not None
    assert (verdict.reported.step == 0) is wrong
    assert ("the model agrees to the end" in verdict.reported.note) is not wrong
    assert verdict.reported.deviation == ("unexplained" if wrong else "")


@pytest.mark.rule("R19")
def test_an_icr_whose_high_half_reads_0_is_told_in_passing() -> None:
    """What comes after it is compared all the same, whoever the engine is."""
    send = Step(op=Op.ICR, cpu=0, hi=1, lo=0x40EA, cpus={0: {"icr_lo": 0x40EA}})
    x2apic = replace(scenario(send, agree=Agree.UNSTATED), mode=ApicMachineMode.X2APIC)
    after = observed(seen(**ICR))
    reported = judge_apic(x2apic, Run(initial=(seen(),), steps=(after,)), engine="mine").reported
    assert reported is not None
    assert (reported.deviation, reported.rules) == ("icr-high-half-reads-0", ("R19",))
    assert (reported.step, reported.agrees_with, reported.parts_from) == (0, ("mine",), ())
    later = replace(x2apic, steps=(send, nop(tpr=0x20)))
    reported = judge_apic(later, Run(initial=(seen(),), steps=(after, after))).reported
    assert reported is not None
    assert (reported.step, reported.deviation) == (1, "unexplained")
    assert "in passing at step 0: icr-high-half-reads-0 (R19)" in reported.note

"""Every deviation: a trace that differs by it is explained, one that differs by chance is not.

The model plays a script; its own run, altered in one place, is the trace of an engine that
deviates. Each case is a line: mode | script | what the engine shows otherwise. Numbers are
hexadecimal. A step is an op, its CPU and operands (``icr CPU DESTINATION LOW``); ``@2 1.irr=ea`` is
what CPU 1 shows from step 2 on, ``1.+ea`` that its handler of 0xea ran, ``1.-`` that none did.
"""

import shlex
from dataclasses import replace
from typing import Any

import pytest

from mkrpc.conformance.apic_guest import play
from mkrpc.conformance.comparison import Comparison, compare
from mkrpc.conformance.deviations import BY_NAME, DEVIATIONS
from mkrpc.conformance.judge import judge_apic
from mkrpc.conformance.recording import (
    REGISTER_NAMES,
    Agree,
    ApicMachineMode,
    ApicScenario,
    CpuDelta,
    Disagreement,
    Op,
    Step,
)
from mkrpc.conformance.score import Run

Altered = dict[int, dict[int | None, dict[str, Any]]]
"""Step -> CPU, None for the step itself -> field -> value."""

EVENTS = ("delivered", "ppr_at_entry", "not_in_isr")
LISTS = (*EVENTS, "irr", "isr")
MODES = {
    "flat": ("flat", 0xFFFFFFFF, (1, 2, 4)),
    "flat-ldr-0": ("flat", 0xFFFFFFFF, (1, 0, 4)),
    "no-model": ("flat", 0x5FFFFFFF, (1, 2, 4)),
    "cluster": ("cluster", 0x0FFFFFFF, (1, 2, 4)),
    "x2apic": ("x2apic", 0, ()),
}


def scenario(mode: str, script: str) -> ApicScenario:
    name, dfr, ldr = MODES[mode]
    states: dict[int, CpuDelta] = {
        cpu: {"svr": 0x1FF, "tpr": 0, **({"dfr": dfr, "ldr": ldr[cpu] << 24} if ldr else {})}
        for cpu in range(3)
    }
    return ApicScenario(
        name="made",
        line=1,
        mode=ApicMachineMode(name),
        ids=(0, 1, 2),
        agree=Agree.UNSTATED,
        initial=states,
        steps=tuple(step(text, x2apic=not ldr) for text in script.split(";")),
        final={},
        delivered_total={},
        first_disagree_step=None,
        open_fields=frozenset(),
        note="",
    )


def step(text: str, *, x2apic: bool) -> Step:
    op, cpu, *words = text.split()
    operands: dict[str, Any] = {}
    match op:
        case "icr":
            to, low = (int(word, 16) for word in words)
            operands = {"hi": to if x2apic else to << 24, "lo": low}
        case "wr":
            operands = {"register": REGISTER_NAMES[words[0]], "value": int(words[1], 16)}
        case "rd":
            operands = {"register": REGISTER_NAMES[words[0]]}
        case "self_ipi":
            operands = {"vector": int(words[0], 16)}
        case "defer":
            op, operands = "mode", {"defer": True}
    return Step(op=Op(op), cpu=int(cpu), cpus={}, **operands)


def altered(text: str) -> Altered:
    found: Altered = {}
    index = 0
    for word in shlex.split(text):
        if word.startswith("@"):
            index = int(word[1:])
            continue
        place, _, rest = word.rpartition(".")
        fields = found.setdefault(index, {}).setdefault(int(place) if place else None, {})
        if rest == "-":
            fields.update(delivered=(), ppr_at_entry=())
        elif rest.startswith("+"):
            vector = int(rest[1:], 16)
            shown = vector if vector >= 0x10 else f"exc{vector}"
            fields.update(delivered=(shown,), ppr_at_entry=(vector & 0xF0,))
        else:
            field, _, value = rest.partition("=")
            fields[field] = read(field, value)
    return found


def read(field: str, value: str) -> Any:
    if value in ("yes", "no"):
        return value == "yes"
    if field in LISTS:
        return tuple(int(vector, 16) for vector in value.split(",") if vector)
    return int(value, 16)


def traced(script: ApicScenario, changes: Altered) -> tuple[ApicScenario, Run]:
    """The model's run as a recording, but for the ``changes``; registers stay changed."""
    run = play(script)
    lasting: dict[int, dict[str, Any]] = {cpu: {} for cpu in range(3)}
    steps = []
    for index, (played, seen) in enumerate(zip(script.steps, run.steps, strict=True)):
        here = changes.get(index, {})
        cpus = {}
        for cpu, state in enumerate(seen.cpus):
            own = here.get(cpu, {})
            lasting[cpu].update({field: own[field] for field in own if field not in EVENTS})
            cpus[cpu] = {**state, **lasting[cpu], **own}
        outcome = {"result": seen.result, "gp": seen.gp, "skipped": seen.skipped}
        steps.append(replace(played, cpus=cpus, **{**outcome, **here.get(None, {})}))
    return replace(script, steps=tuple(steps)), run


def compared(case: str) -> Comparison:
    mode, script, changes = (part.strip() for part in case.split("|"))
    trace, run = traced(scenario(mode, script), altered(changes))
    return compare("mine", trace, run)


CASES = """
x2apic-reserved-bits: x2apic | wr 1 tpr 120 | gp=no 1.tpr=20
x2apic-reserved-bits: x2apic | icr 0 1 1000ea | gp=no 0.icr_lo=1000ea 0.icr_hi=1 1.+ea
x2apic-reserved-bits: x2apic | wr 1 eoi 7 | gp=no
icr-bit-12-gp: x2apic | icr 0 1 10ea | gp=yes 0.icr_lo=0 1.-
x2apic-register-map: x2apic | rd 1 dfr | gp=no result=0
x2apic-register-map: flat | self_ipi 1 41 | gp=no
init-leaves-x2apic: x2apic | icr 0 1 500; icr 0 1 600 | @1 1.id=51 1.svr=51
init-of-boot-processor: flat | icr 1 0 500 | 0.boots=1
illegal-vector-delivered: flat | icr 0 1 5 | 1.+5 1.isr=5
illegal-vector-delivered: flat | cli 1; icr 0 1 5 | @1 1.irr=5
illegal-vector-delivered: x2apic | self_ipi 1 5 | 1.+5 1.isr=5
esr-not-latched: flat | icr 0 1 5 | 0.esr=20
illegal-vector-error: flat | icr 0 1 5; wr 0 esr 0 | @1 0.esr=0
illegal-vector-error: flat | icr 0 1 5; wr 1 esr 0 | @1 1.esr=40
illegal-vector-error: flat | icr 0 0 5; wr 0 esr 0 | @1 0.esr=40
absent-destination-error: flat | icr 0 9 ea; wr 0 esr 0 | @1 0.esr=4
redirectable-ipi-error: flat | icr 0 9 1ea; wr 0 esr 0 | @1 0.esr=10
illegal-register-error: flat | rd 0 self_ipi; wr 0 esr 0 | @1 0.esr=0
x2apic-broadcast: x2apic | icr 0 ff ea | 1.+ea
x2apic-broadcast: x2apic | icr 0 ff 500 | 1.responsive=no
x2apic-broadcast: x2apic | icr 0 ffffffff ea | 1.-
cluster-15: cluster | icr 0 f2 8ea | 1.+ea
cluster-15: cluster | icr 0 ff 8ea | 1.-
logical-broadcast-ldr-0: flat-ldr-0 | icr 0 ff 8ea | 1.-
undefined-destination-model: no-model | icr 0 2 8ea | 1.+ea
xapic-id-rewritten: flat | wr 1 id 7000000 | 1.id=1000000
rewritten-id-addressed: flat | wr 1 id 2000000; icr 0 2 ea | @1 1.-
lowest-priority-winner: flat | icr 0 6 9ea | 1.- 2.+ea
lowest-priority-to-sender: flat | icr 0 0 c01ea | 1.- 0.+ea
lowest-priority-dropped: flat | icr 0 1 1ea | 1.-
invalid-shorthand: flat | icr 1 0 40400 | 1.-
level-deassert-dropped: flat | icr 0 1 80ea | 1.-
init-level: flat | icr 0 1 8500 | 1.responsive=no
init-level: flat | icr 0 1 500 | 1.responsive=yes
reserved-mode-delivered: flat | icr 0 1 7ea | 1.+ea
nmi-while-software-disabled: flat | wr 1 svr ff; icr 0 1 400 | @1 1.-
smi-and-hlt: flat | hlt 1; icr 0 1 200 | @1 1.responsive=no
pending-while-software-disabled: flat | cli 1; icr 0 1 ea; wr 1 svr ff; sti 1 | @3 1.+ea 1.irr=
software-disabled-accepts: flat | wr 1 svr ff; icr 0 1 ea | @1 1.irr=ea
software-disabled-accepts: flat | wr 1 svr ff; icr 0 1 ea | @1 1.+ea
software-disabled-accepts: flat | icr 0 1 500; icr 0 1 ea; icr 0 1 600 | @2 1.irr=ea
nmi-wakes-wait-for-sipi: flat | icr 0 1 500; icr 0 1 400; icr 0 1 600 | @2 1.responsive=no
spurious-vector-in-service: flat | icr 0 1 ff | 1.isr=ff 1.ppr=f0
spurious-vector-in-service: flat | defer 1; icr 0 1 ff; icr 0 1 41; eoi 1 | @3 1.- 1.irr=41 1.isr=ff
extra-spurious-interrupt: flat | defer 1; icr 0 1 ea; icr 0 1 eb | @2 1.+ff 1.not_in_isr=ff
same-class-nesting: flat | defer 1; icr 0 1 ea; icr 0 1 eb | @2 1.+eb 1.irr= 1.isr=ea,eb
local-sources: flat | wr 1 lvtt 31; wr 1 tmict 9 | @1 1.+31
local-sources: flat | rd 1 tmcct | result=5
lvt-masks-while-disabled: flat | wr 1 lvtt 31; wr 1 svr ff; rd 1 lvtt | @2 result=31
icr-high-half-reads-0: x2apic | icr 0 1 ea | 0.icr_hi=0
icr-bit-12-kept: flat | icr 0 1 10ea | 0.icr_lo=10ea
self-ipi-in-icr: x2apic | icr 1 1 ea; self_ipi 1 41 | @1 1.icr_lo=40041 1.icr_hi=0
version-register: flat | rd 1 version | result=50014
ppr-sub-class: flat | wr 1 tpr 25 | 1.ppr=20
""".strip().splitlines()


@pytest.mark.parametrize("line", CASES)
def test_a_difference_is_explained_by_its_deviation(line: str) -> None:
    name, _, case = line.partition(": ")
    comparison = compared(case)
    assert {departure.name for departure in comparison.departures} == {name}
    unchanged = case[: case.rindex("|") + 1]
    assert compared(unchanged).departures == ()


def test_every_deviation_has_a_case_and_a_name_of_its_own() -> None:
    """x2apic-logical-id shows before the first step and has a test below."""
    assert {line.partition(":")[0] for line in CASES} == BY_NAME.keys() - {"x2apic-logical-id"}
    assert len(BY_NAME) == len(DEVIATIONS)


@pytest.mark.rule("R24")
def test_another_logical_id_shows_before_the_first_step() -> None:
    script = scenario("x2apic", "nop 0")
    trace = replace(script, initial={**script.initial, 2: {"svr": 0x1FF, "ldr": 0x100001}})
    (departure,) = compare("mine", trace, play(script)).departures
    assert (departure.step, departure.name, departure.rules) == (-1, "x2apic-logical-id", ("R24",))


BY_CHANCE = """
a legal write faults: x2apic | wr 1 tpr 20 | gp=no 1.tpr=30
a vector that nobody sent: flat | nop 0 | 1.+ea
a vector below 16 that nobody sent: flat | nop 0 | 1.irr=5
a delivery that fails: flat | icr 0 1 ea | 1.-
a delivery to somebody else: flat | icr 0 1 ea | 2.+ea
a broadcast that misses one: flat | icr 0 ff ea | 1.-
an ESR bit without an error: flat | wr 0 esr 0 | 0.esr=20
ESR bit 2 although somebody answered: flat | icr 0 1 ea; wr 0 esr 0 | @1 0.esr=4
an LVT entry unmasked: flat | rd 1 lvtt | result=0
an IPI lost after enabling: flat | wr 1 svr ff; icr 0 1 ea; wr 1 svr 1ff; icr 0 1 ea | @3 1.-
one more, enabled: flat | wr 1 svr ff; icr 0 1 ea; wr 1 svr 1ff; icr 0 1 ea | @3 1.irr=ea
a spurious vector with its ISR bit: flat | nop 0 | 1.+ff
a spurious vector and another clear bit: flat | nop 0 | 1.+ff 1.not_in_isr=41
nesting in a lower class: flat | defer 1; icr 0 1 ea; icr 0 1 d1 | @2 1.+d1 1.irr=
another order: flat | cli 1; icr 0 1 ea; icr 0 1 41; sti 1 | @3 1.delivered=41,ea
lowest priority to one not asked: flat | icr 0 1 1ea | 2.+ea
another PPR class: flat | wr 1 tpr 25 | 1.ppr=30
a CPU that dies: flat | icr 0 1 ea | 2.responsive=no
a restart: flat | nop 0 | 1.boots=1
garbage without an INIT: x2apic | nop 0 | 1.id=51
an ICR that is not read back: flat | icr 0 1 ea | 0.icr_hi=0
an NMI that an enabled APIC misses: flat | icr 0 1 400 | 1.-
an NMI to a halted CPU: flat | hlt 1; icr 0 1 400 | @1 1.- 1.responsive=no
""".strip().splitlines()


@pytest.mark.parametrize("line", BY_CHANCE)
def test_a_difference_by_chance_stays_unexplained(line: str) -> None:
    comparison = compared(line.partition(": ")[2])
    assert comparison.unexplained, comparison.departures


def test_one_difference_without_a_rule_leaves_the_step_unexplained() -> None:
    """A deviation does not cover what else goes wrong in its step."""
    comparison = compared("flat | wr 1 svr ff; icr 0 ff ea | @1 1.irr=ea 2.-")
    assert [each.name for each in comparison.departures] == [
        "software-disabled-accepts",
        "unexplained",
    ]
    assert comparison.shown is not None
    assert comparison.shown.difference.cpu == 2


def test_what_comes_after_has_the_first_cause() -> None:
    comparison = compared("flat | wr 1 svr ff; icr 0 1 ea; nop 0 | @1 1.irr=ea @2 2.tpr=77")
    assert [(each.step, each.name) for each in comparison.departures] == [
        (1, "software-disabled-accepts")
    ]


def test_what_passes_does_not_hide_what_comes_after() -> None:
    comparison = compared(
        "flat | defer 1; icr 0 1 ea; icr 0 1 eb; nop 0 | @2 1.+ff 1.not_in_isr=ff @3 2.tpr=77"
    )
    assert [(each.step, each.name, each.passing) for each in comparison.departures] == [
        (2, "extra-spurious-interrupt", True),
        (3, "unexplained", False),
    ]
    assert comparison.shown == comparison.departures[1]


def test_without_traces_the_disagreements_of_the_line_itself_are_compared() -> None:
    trace, run = traced(scenario("flat", "nop 0; icr 0 1 5; nop 0"), {})
    listed = (
        Disagreement(step=1, cpu=1, field="irr", values={"bochs": (), "tcg": (5,)}),
        Disagreement(step=2, cpu=None, field="gp", values={"tcg": True, "bochs": False}),
    )
    disputed = replace(trace, agree=Agree.NO, first_disagree_step=1, disagreements=listed)
    reported = judge_apic(disputed, run).reported
    assert reported is not None
    assert (reported.agrees_with, reported.parts_from) == (("bochs",), ("tcg",))
    assert (reported.step, reported.expected) == (1, "tcg: cpu 1: irr = [0x5]")
    assert reported.deviation == "illegal-vector-delivered"

"""Compares what the model did with what was recorded, and says what counts.

docs/conformance.md has the law of scoring. ``all`` and ``delivery`` lines count whole, ``no`` lines
up to ``first_disagree_step``; the rest is compared and reported. In an ``all`` line a field that a
step lacks is unchanged. In a ``delivery`` line a field that the engines disagree about may be
lacking, and then the line says nothing of it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from mkrpc.conformance.recording import (
    BANK_FIELDS,
    EVENT_FIELDS,
    REGISTER_FIELDS,
    Agree,
    ApicScenario,
    CpuDelta,
    FieldValue,
    Op,
    Step,
)
from mkrpc.x86.registers import Register

__all__ = [
    "BEFORE_FIRST_STEP",
    "Difference",
    "Observation",
    "Run",
    "comparable",
    "differences",
    "first_in",
]

BEFORE_FIRST_STEP = -1
"""Step number of a difference in the state from which the scenario starts."""

_CPU_FIELDS = ("responsive", "boots", "if", *BANK_FIELDS, *REGISTER_FIELDS)
_ICR_FIELDS = ("icr_lo", "icr_hi")
_ICR_REGISTERS = (Register.ICR, Register.ICR2)
_LOOSE = frozenset({"esr", "icr_lo", "icr_hi", "ldr", "result", "gp"})
"""What may be lacking in a ``delivery`` line without saying "unchanged"."""
_KVM_FIELDS = frozenset({"delivered", "irr", "responsive", "esr", "svr"})
_ALL_FIELDS = frozenset((*_CPU_FIELDS, *EVENT_FIELDS, "result", "gp", "skipped", "delivered_total"))
_KVM = "kvm"


@dataclass(frozen=True, slots=True)
class Difference:
    """The model and the recording part here. ``step`` = number of steps: in the final state.

    ``cpu`` is None where the field belongs to the step (result, gp, skipped).
    """

    step: int
    cpu: int | None
    field: str
    expected: FieldValue | None
    actual: FieldValue | None

    @property
    def expected_text(self) -> str:
        """For people: ``cpu 1: irr = [0xea]``."""
        return self._text(self.expected)

    @property
    def actual_text(self) -> str:
        """The same of what the model did."""
        return self._text(self.actual)

    def _text(self, value: FieldValue | None) -> str:
        where = "" if self.cpu is None else f"cpu {self.cpu}: "
        return f"{where}{self.field} = {_shown(value)}"


def _shown(value: FieldValue | None) -> str:
    match value:
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case int():
            return f"{value:#x}"
        case _:
            return f"[{', '.join(v if isinstance(v, str) else f'{v:#x}' for v in value)}]"


@dataclass(frozen=True, slots=True)
class Observation:
    """What the model did in one step: the step's own outcome, and every CPU's whole state after it.

    The keys of ``cpus[i]`` are the field names of the recordings.
    """

    result: int | None
    gp: bool
    skipped: bool
    cpus: tuple[CpuDelta, ...]


@dataclass(frozen=True, slots=True)
class Run:
    """A scenario as the model played it; ``initial`` by CPU, one observation for every step."""

    initial: tuple[CpuDelta, ...]
    steps: tuple[Observation, ...]


@dataclass(slots=True)
class _Recorded:
    """The recorded state of one CPU, rebuilt from the changes."""

    state: dict[str, FieldValue]
    icr_known: set[str] = field(default_factory=set)

    def apply(self, delta: CpuDelta) -> None:
        """Take the changes of a step; an ICR that changed is no longer the start's left-over."""
        self.state.update((k, v) for k, v in delta.items() if k not in EVENT_FIELDS)
        self.icr_known.update(name for name in _ICR_FIELDS if name in delta)


def comparable(engine: str, scenario: ApicScenario) -> frozenset[str]:
    """The fields in which an engine's own trace of a scenario can be compared; empty: none.

    KVM ran on a backend that keeps neither ISR nor PPR: five fields, and nothing where handlers
    leave the EOI out.
    """
    if engine != _KVM:
        return _ALL_FIELDS
    defers = any(step.op is Op.MODE and step.defer for step in scenario.steps)
    return frozenset() if defers else _KVM_FIELDS


def differences(scenario: ApicScenario, run: Run) -> Iterator[Difference]:
    """Every field in which the model's run departs from the recording, in order of the steps.

    ``scenario`` may be an engine's own trace of the same script: then every field is strict.
    """
    opened = scenario.open_fields
    if "icr" in opened:
        opened |= frozenset(_ICR_FIELDS)
    for difference in _all_differences(scenario, run):
        if difference.field not in opened:
            yield difference


def _all_differences(scenario: ApicScenario, run: Run) -> Iterator[Difference]:
    assert len(run.steps) == len(scenario.steps), (len(run.steps), len(scenario.steps))
    loose = _LOOSE if scenario.agree is Agree.DELIVERY else frozenset()
    recorded = {
        cpu: _Recorded({"responsive": True, **initial}) for cpu, initial in scenario.initial.items()
    }
    for cpu, known in recorded.items():
        yield from _cpu_differences(
            BEFORE_FIRST_STEP, cpu, known, run.initial[cpu], skip=frozenset()
        )
    for index, (step, seen) in enumerate(zip(scenario.steps, run.steps, strict=True)):
        if _writes_icr(step, seen):
            recorded[step.cpu].icr_known.update(_ICR_FIELDS)
        for cpu, delta in step.cpus.items():
            recorded[cpu].apply(delta)
        icr_left_over = step.register in _ICR_REGISTERS and not recorded[step.cpu].icr_known
        yield from _step_differences(index, step, seen, loose=loose, icr_left_over=icr_left_over)
        for cpu, known in recorded.items():
            delta = step.cpus.get(cpu, {})
            yield from _event_differences(index, cpu, delta, seen.cpus[cpu])
            skip = loose - delta.keys()
            yield from _cpu_differences(index, cpu, known, seen.cpus[cpu], skip=skip)
    written = {cpu: known.icr_known for cpu, known in recorded.items()}
    yield from _final_differences(scenario, run, written)


def _writes_icr(step: Step, seen: Observation) -> bool:
    """From here on the ICR of the step's CPU is no longer what the guest's start left in it."""
    wrote = step.op is Op.ICR or (step.op is Op.WRITE and step.register == Register.ICR)
    return wrote and not (seen.gp or seen.skipped or step.gp or step.skipped)


def _step_differences(
    index: int, step: Step, seen: Observation, *, loose: frozenset[str], icr_left_over: bool
) -> Iterator[Difference]:
    for name in ("skipped", "gp", "result"):
        expected, actual = getattr(step, name), getattr(seen, name)
        says_nothing = name in loose and name not in step.held
        if name == "result" and step.op is Op.READ and icr_left_over:
            continue
        if expected != actual and not says_nothing:
            yield Difference(index, None, name, expected, actual)


def _event_differences(
    index: int, cpu: int, delta: CpuDelta, seen: CpuDelta
) -> Iterator[Difference]:
    for name in EVENT_FIELDS:
        expected = delta.get(name, ())
        if expected != seen[name]:
            yield Difference(index, cpu, name, expected, seen[name])


def _cpu_differences(
    index: int, cpu: int, known: _Recorded, seen: CpuDelta, *, skip: frozenset[str]
) -> Iterator[Difference]:
    for name in _CPU_FIELDS:
        expected = known.state.get(name)
        if expected is None or name in skip:
            continue
        if name in _ICR_FIELDS and name not in known.icr_known:
            continue
        if expected != seen[name]:
            yield Difference(index, cpu, name, expected, seen[name])
        if name == "responsive" and not expected:
            # A CPU that is halted or waits for SIPI answers nothing: its registers are unknown.
            return


def _final_differences(
    scenario: ApicScenario, run: Run, icr_known: Mapping[int, set[str]]
) -> Iterator[Difference]:
    index = len(scenario.steps)
    last = run.steps[-1].cpus if run.steps else run.initial
    for cpu, final in scenario.final.items():
        known = _Recorded(dict(final), icr_known[cpu])
        yield from _cpu_differences(index, cpu, known, last[cpu], skip=frozenset())
    for cpu, total in scenario.delivered_total.items():
        seen = _total_delivered(run, cpu)
        if seen != total:
            yield Difference(index, cpu, "delivered_total", total, seen)


def _total_delivered(run: Run, cpu: int) -> tuple[int | str, ...]:
    total: list[int | str] = []
    for step in run.steps:
        delivered = step.cpus[cpu]["delivered"]
        assert isinstance(delivered, tuple)
        total.extend(delivered)
    return tuple(total)


def first_in(
    found: Iterator[Difference], fields: frozenset[str], *, start: int, stop: int
) -> Difference | None:
    """The first difference in ``fields`` from step ``start`` up to, not including, ``stop``."""
    for difference in found:
        if difference.step >= stop:
            return None
        if difference.step >= start and difference.field in fields:
            return difference
    return None

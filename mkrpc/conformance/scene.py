"""What is known at a step in which a recording and the model part.

The script up to that step, what the model's machine looked like before it, which commands were sent
and whom they address by rules R23 to R30, and the step's differences, taken apart: a list of
vectors into single vectors, an ESR into single bits.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from mkrpc.conformance.recording import ApicMachineMode, ApicScenario, CpuDelta, Op, Step
from mkrpc.conformance.score import Difference, Run
from mkrpc.x86.apic_base import ApicMode
from mkrpc.x86.destination import ApicAddress, matches
from mkrpc.x86.icr import DeliveryMode, Icr, Shorthand, decode, from_xapic
from mkrpc.x86.registers import Register

__all__ = ["LIST_FIELDS", "Clue", "Scene", "Script", "Sent"]

LIST_FIELDS = ("delivered", "irr", "isr")
"""Where a vector shows that an APIC has accepted."""

_SPLIT_FIELDS = (*LIST_FIELDS, "not_in_isr")
_SVR_ENABLED = 1 << 8
_NMI = "nmi"


@dataclass(frozen=True, slots=True)
class Sent:
    """A command that the model's CPU ``source`` executed in step ``index``, by SELF_IPI too."""

    index: int
    source: int
    icr: Icr

    @property
    def item(self) -> int | str | None:
        """How its arrival shows in a list: a vector, "nmi", or not at all."""
        match self.icr.delivery_mode:
            case DeliveryMode.FIXED | DeliveryMode.LOWEST_PRIORITY:
                return self.icr.vector
            case DeliveryMode.NMI:
                return _NMI
            case _:
                return None


@dataclass(frozen=True, slots=True)
class Clue:
    """The smallest part of a difference.

    ``item``: the one vector (or "nmi") that only one of the two has, or the one bit of an ESR;
    None where the field has no parts. ``extra``: it is the engine that has it.
    """

    difference: Difference
    item: int | str | None = None
    extra: bool = False

    @property
    def cpu(self) -> int | None:
        """The CPU; None where the field belongs to the step."""
        return self.difference.cpu

    @property
    def field(self) -> str:
        """The field of the difference."""
        return self.difference.field


class Script:
    """A script and the model's run of it: what was sent, and the state around each step."""

    def __init__(self, scenario: ApicScenario, run: Run) -> None:
        self.scenario = scenario
        self.run = run
        self.x2apic = scenario.mode is ApicMachineMode.X2APIC
        self._targets: dict[int, frozenset[int]] = {}

    def before(self, index: int) -> tuple[CpuDelta, ...]:
        """Every CPU's state before step ``index``; at -1 that from which the script starts."""
        steps = self.run.steps
        return steps[min(index, len(steps)) - 1].cpus if index > 0 and steps else self.run.initial

    @cached_property
    def sent(self) -> tuple[Sent, ...]:
        """Every command, in order."""
        found = []
        for index, (step, seen) in enumerate(zip(self.scenario.steps, self.run.steps, strict=True)):
            word = None if seen.skipped or seen.gp else self._word(index, step)
            if word is not None:
                found.append(Sent(index, step.cpu, decode(word)))
        return tuple(found)

    def _word(self, index: int, step: Step) -> int | None:
        """The command that a step writes, in x2APIC layout."""
        match step.op, step.register:
            case Op.ICR, _:
                hi, lo = step.hi, step.lo
            case Op.WRITE, Register.ICR:
                icr2 = _word(self.before(index)[step.cpu], "icr_hi")
                hi, lo = step.value >> 32 if self.x2apic else icr2, step.value & 0xFFFFFFFF
            case (Op.SELF_IPI, _) | (Op.WRITE, Register.SELF_IPI) if self.x2apic:
                vector = step.vector if step.op is Op.SELF_IPI else step.value
                return Shorthand.SELF << 18 | vector & 0xFF
            case _:
                return None
        return hi << 32 | lo if self.x2apic else from_xapic(hi, lo)

    def targets(self, sent: Sent) -> frozenset[int]:
        """The CPUs that a command addresses, enabled or not (R23 to R30)."""
        if sent.index not in self._targets:
            source = self.scenario.ids[sent.source]
            self._targets[sent.index] = frozenset(
                cpu
                for cpu, state in enumerate(self.before(sent.index))
                if matches(sent.icr, source=source, target=self._address(cpu, state))
            )
        return self._targets[sent.index]

    def _address(self, cpu: int, state: CpuDelta) -> ApicAddress:
        return ApicAddress(
            initial_id=self.scenario.ids[cpu],
            mode=ApicMode.X2APIC if self.x2apic else ApicMode.XAPIC,
            xapic_id=_word(state, "id") >> 24,
            ldr=_word(state, "ldr"),
            dfr=_word(state, "dfr"),
            software_enabled=bool(_word(state, "svr") & _SVR_ENABLED),
        )

    def enabled(self, cpu: int, index: int) -> bool:
        """Is the APIC software-enabled before step ``index``? (R37)"""
        return bool(_word(self.before(index)[cpu], "svr") & _SVR_ENABLED)

    def waits_for_sipi(self, cpu: int, index: int) -> bool:
        """Has the CPU taken an INIT before step ``index``, and not started since?"""
        state = self.before(index)
        if state[cpu]["responsive"]:
            return False
        return any(
            sent.icr.delivery_mode is DeliveryMode.INIT
            and not sent.icr.is_init_deassert
            and cpu in self.targets(sent)
            and self.before(sent.index)[cpu]["boots"] == state[cpu]["boots"]
            for sent in self.sent
            if sent.index < index
        )


class Scene:
    """Step ``index`` of a script, -1 before the first and the number of steps after the last.

    ``found``: what differs there and did not differ in the same way before.
    """

    def __init__(self, script: Script, index: int, found: Sequence[Difference]) -> None:
        self.script = script
        self.index = index
        self.found = tuple(found)
        steps = script.scenario.steps
        self.step = steps[index] if 0 <= index < len(steps) else None
        self.x2apic = script.x2apic
        self.clues = tuple(clue for difference in found for clue in self._clues(difference))

    @cached_property
    def sent(self) -> Sent | None:
        """The command of this very step."""
        return next((sent for sent in self.script.sent if sent.index == self.index), None)

    @property
    def history(self) -> Iterator[Sent]:
        """The commands up to this step, this one too."""
        return (sent for sent in self.script.sent if sent.index <= self.index)

    def addressed(self, cpu: int | None) -> bool:
        """Does this step's command address the CPU?"""
        return self.sent is not None and cpu in self.script.targets(self.sent)

    def received(self, cpu: int | None, item: int | str | None) -> Iterator[Sent]:
        """The commands so far that address the CPU and would show there as ``item``."""
        return (
            sent for sent in self.history if sent.item == item and cpu in self.script.targets(sent)
        )

    def before(self, cpu: int | None) -> CpuDelta:
        """The model's state of a CPU before the step."""
        assert cpu is not None
        return self.script.before(self.index)[cpu]

    def after(self, cpu: int | None) -> CpuDelta:
        """The model's state of a CPU after the step."""
        assert cpu is not None
        return self.script.before(self.index + 1)[cpu]

    def svr(self, cpu: int | None) -> int:
        """The model's SVR before the step."""
        return _word(self.before(cpu), "svr")

    def difference(self, cpu: int | None, field: str) -> Difference | None:
        """The step's difference in a field, if there is one."""
        return next((d for d in self.found if (d.cpu, d.field) == (cpu, field)), None)

    def follows(self, clue: Clue) -> bool:
        """Is the clue a mere consequence of another difference of the same CPU in this step?"""
        leaders: tuple[str, ...] = ()
        if clue.field in ("ppr_at_entry", "not_in_isr"):
            leaders = ("delivered",)
        elif clue.field == "ppr":
            leaders = ("isr", "tpr")
        elif clue.field == "responsive":
            leaders = ("delivered",)
        elif clue.cpu is not None:
            leaders = ("responsive", "boots") if clue.field != "boots" else ("responsive",)
        return any(self.difference(clue.cpu, leader) for leader in leaders)

    def _clues(self, difference: Difference) -> Iterator[Clue]:
        if difference.field in _SPLIT_FIELDS:
            yield from _vectors(difference)
        elif difference.field == "esr" or self._reads_esr(difference):
            expected, actual = difference.expected, difference.actual
            assert isinstance(expected, int), difference
            assert isinstance(actual, int), difference
            for bit in (1 << n for n in range(32) if (expected ^ actual) >> n & 1):
                yield Clue(difference, bit, extra=bool(expected & bit))
        else:
            yield Clue(difference)

    def _reads_esr(self, difference: Difference) -> bool:
        return (
            difference.field == "result"
            and self.step is not None
            and self.step.register == Register.ESR
            and None not in (difference.expected, difference.actual)
        )


def _vectors(difference: Difference) -> Iterator[Clue]:
    """One clue for each vector that only one of the two has; one without, if the order differs."""
    expected, actual = (Counter(_items(v)) for v in (difference.expected, difference.actual))
    for item in expected - actual:
        yield Clue(difference, item, extra=True)
    for item in actual - expected:
        yield Clue(difference, item, extra=False)
    if expected == actual:
        yield Clue(difference)


def _items(value: object) -> list[int | str]:
    """Vectors as numbers, also those that a recording names ``excN``."""
    assert isinstance(value, tuple), value
    return [
        int(item[3:]) if isinstance(item, str) and item.startswith("exc") else item
        for item in value
    ]


def _word(state: CpuDelta, field: str) -> int:
    value = state[field]
    assert isinstance(value, int), field
    return value

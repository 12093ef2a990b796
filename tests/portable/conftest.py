"""What the portable tests share: tables that are gone through in parts, and a machine that notes.

A test marked ``rows(total, every=k)`` gets the fixture ``rows``. In the quick tier that is every
k-th row of its table, the first one included; k is prime, so that a sample is in step with none of
the table's loops. In the full tier the test also goes through the whole table, PART_ROWS at a time.
"""

import inspect
from collections.abc import Callable, Generator, Iterable, Iterator

import pytest

from mkrpc.instance.accounting import assert_books
from mkrpc.instance.cpu import Cpu
from mkrpc.instance.instructions import Instruction
from mkrpc.instance.kernel import KernelConfig
from mkrpc.simulation.machine import Machine
from mkrpc.x86.irq_vectors import NMI_VECTOR
from mkrpc.x86.lapic import ApicMode

PART_ROWS = 20_000
SHOWN_ROWS = 10
FIRST_USER_VECTOR = 32
MAX_TURNS = 100_000

Judge = Callable[..., tuple[object, object]]


class Rows:
    """The rows of one table, ``total`` in all, of which one test item takes a slice."""

    def __init__(self, total: int, part: slice) -> None:
        self.total = total
        self.part = part

    def assert_each(self, table: Iterable[object], judge: Judge) -> None:
        """``judge(*row)`` is the pair of what happened and what must happen."""
        whole = [row if isinstance(row, tuple) else (row,) for row in table]
        assert len(whole) == self.total
        names = list(inspect.signature(judge).parameters)
        wrong = []
        for row in whole[self.part]:
            actual, expected = judge(*row)
            if actual != expected:
                cells = ", ".join(f"{n}={_shown(v)}" for n, v in zip(names, row, strict=True))
                wrong.append(f"{cells}: {_shown(actual)} instead of {_shown(expected)}")
        shown = "\n".join(wrong[:SHOWN_ROWS])
        assert not wrong, f"{len(wrong)} of {len(whole[self.part])} rows are wrong:\n{shown}"


def _shown(value: object) -> str:
    if isinstance(value, tuple | list):
        return "(" + ", ".join(_shown(each) for each in value) + ")"
    return hex(value) if type(value) is int else repr(value)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One item for the sample and, unless that is everything, full items for all the parts."""
    if "rows" not in metafunc.fixturenames:
        return
    (marker,) = metafunc.definition.iter_markers("rows")
    (total,), every = marker.args, marker.kwargs.get("every", 1)
    name = "all rows" if every == 1 else f"1 row in {every}"
    parts = [pytest.param(Rows(total, slice(None, None, every)), id=name)]
    if every > 1:
        for first in range(0, total, PART_ROWS):
            part = slice(first, min(first + PART_ROWS, total))
            parts.append(
                pytest.param(
                    Rows(total, part), id=f"rows {part.start}-{part.stop}", marks=pytest.mark.full
                )
            )
    metafunc.parametrize("rows", parts)


class Bench:
    """A machine in which APIC ids are CPU numbers; one kernel each, or all in the host kernel.

    Handlers note ``(APIC id, vector)`` in ``ran`` when they run, and end with EOI, that of NMI
    apart. TPR is 0 and LDR is 0 at the start, IF is 1.
    """

    def __init__(self, cpus: int, *, one_kernel: bool, mode: ApicMode) -> None:
        groups = [tuple(range(cpus))] if one_kernel else [(cpu,) for cpu in range(cpus)]
        self.machine = Machine(
            [
                KernelConfig(
                    instance_id=instance,
                    name=f"mk{instance}",
                    apic_ids=group,
                    mode=mode,
                    initial_tpr=0,
                    xapic_ldr="zero",
                )
                for instance, group in enumerate(groups)
            ]
        )
        self.ran: list[tuple[int, int]] = []
        self.cpus = [self.machine.cpu(apic_id) for apic_id in range(cpus)]
        for vector in (NMI_VECTOR, *range(FIRST_USER_VECTOR, 0x100)):
            self.install(vector, self._note)

    def _note(self, cpu: Cpu) -> None:
        self.ran.append((cpu.apic_id, cpu.vector))
        if cpu.vector != NMI_VECTOR:
            cpu.apic_eoi()

    def install(self, vector: int, handler: Callable[[Cpu], object]) -> None:
        for kernel in self.machine.kernels.values():
            kernel.idt.install(vector, f"portable_{vector:#x}", handler)

    def start(self, cpu: int, program: Callable[[Cpu], Generator]) -> None:
        self.cpus[cpu].kernel.start_program(self.cpus[cpu].number, program)

    def execute(self, cpu: int, *instructions: Instruction) -> object:
        """Instructions in place of the idle task; what they send arrives. The last one's result."""
        result = None
        for instruction in instructions:
            result = self.cpus[cpu].execute(instruction)
            self.machine.exchange()
        return result

    def turn(self) -> bool:
        """One instruction per kernel; what it sent arrives. Whether anything moved."""
        ran = [kernel.advance(1) for kernel in self.machine.kernels.values()]
        return self.machine.exchange() or any(ran)

    def run(self) -> list[tuple[int, int]]:
        """Until nothing moves; returns and forgets what ran."""
        for _ in range(MAX_TURNS):
            if not self.turn():
                ran, self.ran = self.ran, []
                return ran
        raise AssertionError(f"no rest after {MAX_TURNS} turns")

    def assert_sound(self) -> None:
        """No program or handler failed, every state is a legal one, and the books balance."""
        for kernel in self.machine.kernels.values():
            assert kernel.oops_count == 0, [record.text for record in kernel.log.since(1)]
            assert_books(kernel)
            for cpu in kernel.cpus:
                cpu.apic.assert_invariants()
        while self.machine.exchange():
            pass
        assert self.machine.bus.balance() == []
        assert self.machine.bus.in_flight() == 0


@pytest.fixture
def make_bench() -> Iterator[Callable[..., Bench]]:
    """``make_bench(cpus=2, one_kernel=True, mode=ApicMode.X2APIC)``; found sound at the end."""
    made = []

    def make(cpus: int = 2, *, one_kernel: bool = True, mode: ApicMode = ApicMode.X2APIC) -> Bench:
        made.append(Bench(cpus, one_kernel=one_kernel, mode=mode))
        return made[-1]

    yield make
    for bench in made:
        bench.assert_sound()

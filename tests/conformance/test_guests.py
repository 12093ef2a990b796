"""The two guests: what the recordings say of them beyond the outcome of their scenarios."""

from collections.abc import Mapping
from typing import Any

import pytest

from mkrpc.conformance.apic_guest import ApicGuest, Layout
from mkrpc.conformance.linux_driver import LinuxDriver
from mkrpc.conformance.linux_guest import LinuxGuest
from mkrpc.conformance.recording import (
    Agree,
    ApicMachineMode,
    ApicScenario,
    CpuDelta,
    Line,
    LinuxApic,
    LinuxTest,
    Op,
    Step,
    Verb,
)
from mkrpc.conformance.score import Observation
from mkrpc.x86.registers import Register

INIT, SIPI, NMI = 0x4500, 0x4608, 0x4400
XAPIC_START: Mapping[str, Any] = {"tpr": 0, "dfr": 0xFFFFFFFF, "svr": 0x1FF}


def guest(
    mode: ApicMachineMode = ApicMachineMode.FLAT, *, layout: Layout = Layout.ONE_KERNEL
) -> ApicGuest:
    initial: dict[int, CpuDelta] = {cpu: {**XAPIC_START, "ldr": 1 << 24 + cpu} for cpu in range(4)}
    scenario = ApicScenario(
        name="hand/made",
        line=1,
        mode=mode,
        ids=(0, 1, 2, 3),
        agree=Agree.UNSTATED,
        initial=initial,
        steps=(),
        final={},
        delivered_total={},
        first_disagree_step=None,
        open_fields=frozenset(),
        note="",
    )
    return ApicGuest(scenario, layout=layout)


def step(op: Op, cpu: int = 0, **operands: Any) -> Step:
    return Step(op=op, cpu=cpu, cpus={}, **operands)


def send(machine: ApicGuest, low: int, to: int = 1) -> Observation:
    """CPU 0 of an xAPIC machine writes its ICR."""
    return machine.execute(step(Op.ICR, hi=to << 24, lo=low))


@pytest.mark.parametrize("layout", Layout)
def test_a_machine_starts_as_the_recordings_do(layout: Layout) -> None:
    """TPR 0, SVR 0x1ff, IF = 1, nothing pending, flat LDR = 1 << cpu; all LVT masked."""
    machine = guest(layout=layout)
    for cpu, state in enumerate(machine.observe()):
        assert (state["id"], state["ldr"]) == (cpu << 24, 1 << 24 + cpu)
        assert (state["tpr"], state["svr"], state["if"]) == (0, 0x1FF, 1)
        assert (state["isr"], state["irr"], state["esr"], state["boots"]) == ((), (), 0, 0)
        assert state["responsive"] is True
        read = machine.execute(step(Op.READ, cpu, register=Register.LVT_ERROR))
        assert read.result == 0x10000


def test_handlers_log_in_order_and_end_the_interrupt_first() -> None:
    machine = guest()
    machine.execute(step(Op.CLI, 1))
    for vector in (0x41, 0xEA, 0x41):
        send(machine, 0x4000 | vector)
    seen = machine.execute(step(Op.STI, 1)).cpus[1]
    assert seen["delivered"] == (0xEA, 0x41)
    assert seen["ppr_at_entry"] == (0xE0, 0x40)
    assert seen["isr"] == ()
    assert seen["not_in_isr"] == ()


def test_handlers_that_defer_leave_the_isr_bit() -> None:
    machine = guest()
    machine.execute(step(Op.MODE, 1, defer=True))
    assert send(machine, 0x4041).cpus[1]["isr"] == (0x41,)
    seen = send(machine, 0x4051).cpus[1]
    assert (seen["isr"], seen["ppr"], seen["delivered"]) == ((0x41, 0x51), 0x50, (0x51,))
    seen = machine.execute(step(Op.EOI, 1)).cpus[1]
    assert (seen["isr"], seen["delivered"]) == ((0x41,), ())


def test_init_and_sipi_restart_the_stub_and_reset_the_mode() -> None:
    machine = guest()
    machine.execute(step(Op.MODE, 1, defer=True))
    assert send(machine, INIT).cpus[1]["responsive"] is False
    seen = send(machine, SIPI).cpus[1]
    assert (seen["responsive"], seen["if"], seen["svr"], seen["boots"]) == (True, 0, 0xFF, 1)
    machine.execute(step(Op.WRITE, 1, register=Register.SVR, value=0x1FF))
    machine.execute(step(Op.STI, 1))
    seen = send(machine, 0x40EA).cpus[1]
    assert (seen["delivered"], seen["isr"]) == ((0xEA,), ())


@pytest.mark.parametrize("op", [Op.HLT, Op.CLI_HLT])
def test_a_halted_cpu_executes_nothing_until_it_is_woken(op: Op) -> None:
    machine = guest()
    assert machine.execute(step(op, 1)).cpus[1]["responsive"] is False
    skipped = machine.execute(step(Op.WRITE, 1, register=Register.TPR, value=0x20))
    assert (skipped.skipped, skipped.cpus[1]["tpr"]) == (True, 0)
    woken = send(machine, NMI).cpus[1]
    assert (woken["delivered"], woken["responsive"]) == (("nmi",), True)
    assert woken["if"] == int(op is Op.HLT)
    again = machine.execute(step(Op.WRITE, 1, register=Register.TPR, value=0x20))
    assert (again.skipped, again.cpus[1]["tpr"]) == (False, 0x20)


def test_an_access_that_faults_is_seen_as_gp_and_changes_nothing() -> None:
    machine = guest(ApicMachineMode.X2APIC)
    before = machine.observe()
    seen = machine.execute(step(Op.WRITE, 1, register=Register.TPR, value=0x100))
    assert seen.gp
    assert seen.cpus == before
    assert machine.execute(step(Op.READ, 1, register=Register.DFR)).gp
    assert not machine.execute(step(Op.READ, 1, register=Register.LDR)).gp


def test_a_self_ipi_runs_at_once() -> None:
    seen = guest(ApicMachineMode.X2APIC).execute(step(Op.SELF_IPI, 2, vector=0x41))
    assert [cpu["delivered"] for cpu in seen.cpus] == [(), (), (0x41,), ()]


@pytest.mark.rule("R3", "R54")
def test_a_self_ipi_is_an_msr_that_an_xapic_does_not_have() -> None:
    seen = guest().execute(step(Op.SELF_IPI, 2, vector=0x41))
    assert (seen.gp, [cpu["delivered"] for cpu in seen.cpus]) == (True, [()] * 4)


# Linux.


def linux_test(name: str, *script: Line, sender: int = 0) -> LinuxTest:
    return LinuxTest(
        name=name,
        line=1,
        sender=sender,
        script=script,
        cal=(0,) * 4,
        printk=0,
        expected=None,
        clean=True,
        peek=(),
        apic=LinuxApic.PHYSICAL_FLAT,
        other_dmesg=(),
        note="",
    )


WHOLE_MASK = Line(verb=Verb.MASK, mask=0xF)


@pytest.mark.parametrize(
    ("driver", "line", "writes"),
    [
        (
            LinuxApic.PHYSICAL_FLAT,
            WHOLE_MASK,
            [0xEA, 1 << 32 | 0xEA, 2 << 32 | 0xEA, 3 << 32 | 0xEA],
        ),
        (LinuxApic.X2APIC_PHYSICAL, WHOLE_MASK, [n << 32 | 0xEA for n in range(4)]),
        (LinuxApic.X2APIC_CLUSTER, WHOLE_MASK, [0xF << 32 | 0x8EA]),
        (LinuxApic.PHYSICAL_FLAT, Line(verb=Verb.ONE, cpu=2), [2 << 32 | 0xEA]),
        (LinuxApic.X2APIC_CLUSTER, Line(verb=Verb.ONE, cpu=2), [4 << 32 | 0x8EA]),
        (LinuxApic.X2APIC_PHYSICAL, Line(verb=Verb.VEC, cpu=1, vector=0xFD), [1 << 32 | 0xFD]),
        (LinuxApic.PHYSICAL_FLAT, Line(verb=Verb.ALL_BUT_SELF), [0xC00EA]),
        (LinuxApic.X2APIC_CLUSTER, Line(verb=Verb.ALL), [0x800EA]),
        (LinuxApic.PHYSICAL_FLAT, Line(verb=Verb.RAW, high=0x1E, low=0x40EA), [0x1E000040EA]),
        (LinuxApic.PHYSICAL_FLAT, Line(verb=Verb.MASK_BUT_SELF, mask=3), [1 << 32 | 0xEA]),
    ],
)
def test_a_driver_writes_what_linux_writes(
    driver: LinuxApic, line: Line, writes: list[int]
) -> None:
    """No level bit; a mask is one write per CPU, or one per cluster (arch/x86/kernel/apic)."""
    assert LinuxDriver(driver, range(4)).words(0, line) == writes


def test_the_cluster_driver_writes_once_per_cluster() -> None:
    driver = LinuxDriver(LinuxApic.X2APIC_CLUSTER, [0, 1, 32, 33])
    assert driver.words(1, WHOLE_MASK) == [0x3 << 32 | 0x8EA, 0x20003 << 32 | 0x8EA]


def test_an_offline_cpu_hears_nothing_and_comes_back_without_what_it_missed() -> None:
    """apic_soft_disable, then INIT, SIPI and setup_local_APIC."""
    machine = LinuxGuest(cpus=4, driver=LinuxApic.PHYSICAL_FLAT)
    others = Line(verb=Verb.ALL_BUT_SELF)
    assert machine.play(linux_test("cpu3-offline-x", others)).cal == (0, 1, 1, 0)
    back = machine.play(linux_test("back", Line(verb=Verb.PEEK, cpu=3, vector=0xEA)))
    assert back.cal == (0, 0, 0, 0)
    assert back.peek == ("peek cpu=3 vec=ea irr=0 isr=0 ppr=10",)
    assert machine.play(linux_test("again", others)).cal == (0, 1, 1, 1)


def test_state_carries_over_from_test_to_test() -> None:
    machine = LinuxGuest(cpus=2, driver=LinuxApic.X2APIC_PHYSICAL)
    to_1 = Line(verb=Verb.ONE, cpu=1, repeat=3)
    held = machine.play(linux_test("a", Line(verb=Verb.HOLD, cpu=1), to_1))
    assert (held.cal, held.printk) == ((0, 0), 0)
    released = machine.play(linux_test("b", Line(verb=Verb.RELEASE, cpu=1)))
    assert (released.cal, released.printk) == ((0, 1), 1)


def test_an_unhandled_vector_prints_and_leaves_cal_alone() -> None:
    machine = LinuxGuest(cpus=2, driver=LinuxApic.PHYSICAL_FLAT)
    seen = machine.play(linux_test("e9", Line(verb=Verb.VEC, cpu=1, vector=0xE9)))
    assert seen.cal == (0, 0)
    assert seen.other_dmesg == ("No irq handler for 1.233",)

"""CPUs taken offline and brought back (Linux 6.17, arch/x86/kernel/smpboot.c)."""

import pytest

from mkrpc.errors import ClusterStateError, LimitReachedError, NotFoundError
from mkrpc.instance.accounting import assert_books
from mkrpc.instance.config import KernelConfig
from mkrpc.instance.instructions import Cli, Nop
from mkrpc.instance.procfs import proc_interrupts, proc_stat
from mkrpc.outcome import Outcome
from mkrpc.simulation.machine import Machine
from mkrpc.x86.apic_policy import ApicPolicy
from mkrpc.x86.icr import Shorthand, fixed, init_assert, nmi, shorthand_word, startup
from mkrpc.x86.lapic import ApicMode

SETTINGS = [
    {},
    {"mode": ApicMode.XAPIC},
    {"mode": ApicMode.XAPIC, "xapic_ldr": "zero"},
    {"mode": ApicMode.XAPIC, "apic_policy": ApicPolicy(icr_busy="queue")},
    {"apic_policy": ApicPolicy(intr="latched")},
]


@pytest.fixture
def make_machine():
    """``make_machine(**config)``: one kernel of four CPUs and the machine around it."""

    def make(**settings):
        machine = Machine(
            [KernelConfig(instance_id=0, name="zero", apic_ids=(0, 1, 2, 3), **settings)]
        )
        machine.settle()
        return machine, machine.kernels[0]

    return make


def registers(cpu):
    apic = cpu.apic
    return apic.tpr, apic.svr, apic.ldr, dict(apic.lvt), cpu.interrupts_enabled, cpu.activity


def test_offline_a_cpu_is_disabled_halted_and_without_a_column(kernel):
    cpu = kernel.cpus[1]
    kernel.accept(1, fixed(1, 0xEA))
    kernel.hotplug.take_offline(1)
    assert (cpu.activity, cpu.interrupts_enabled) == ("halted", False)
    assert not cpu.apic.software_enabled
    assert kernel.accept(1, fixed(1, 0xEA)) is Outcome.REJECTED_SOFTWARE_DISABLED
    header, *rows = proc_interrupts(kernel).splitlines()
    assert header == " " * 11 + "CPU0       "
    assert "CAL:          0   Function call interrupts" in rows
    assert proc_stat(kernel).startswith("intr 1 ")  # the total is of all CPUs, offline ones too
    assert_books(kernel)


def test_an_nmi_does_not_wake_it(kernel):
    """play_dead is a loop around HLT, and exc_nmi leaves at once on an offline CPU."""
    kernel.hotplug.take_offline(1)
    kernel.accept(1, nmi(1))
    cpu = kernel.cpus[1]
    assert (cpu.activity, cpu.irq_stat.nmi_count) == ("halted", 0)


@pytest.mark.rule("R10", "R36")
@pytest.mark.parametrize("settings", SETTINGS)
def test_back_online_it_is_what_it_was_at_boot(make_machine, settings):
    machine, kernel = make_machine(**settings)
    cpu = kernel.cpus[3]
    booted, before = registers(cpu), proc_interrupts(kernel)
    kernel.hotplug.take_offline(3)
    machine.settle()
    machine.inject(shorthand_word(Shorthand.ALL_INCLUDING_SELF, 0xEA))
    machine.inject(fixed(3, 0xEA))
    machine.settle()
    assert kernel.hotplug.offline == {3}
    kernel.hotplug.bring_online(3)
    machine.settle()
    assert registers(cpu) == booted
    assert (kernel.hotplug.offline, cpu.boots) == (set(), 1)
    assert proc_interrupts(kernel).splitlines()[0] == before.splitlines()[0]
    machine.inject(fixed(3, 0xEA))
    machine.settle()
    assert cpu.multikernel_count == 1
    assert_books(kernel)


def test_what_was_pending_is_gone_with_the_init_of_its_return(make_machine):
    machine, kernel = make_machine()
    cpu = kernel.cpus[3]
    cpu.apic.tpr = 0xF0
    kernel.accept(3, fixed(3, 0x41))
    kernel.hotplug.take_offline(3)
    assert cpu.apic.irr == 1 << 0x41  # disabling preserves it
    kernel.hotplug.bring_online(3)
    machine.settle()
    assert (cpu.apic.irr, cpu.books.row(0x41).discarded) == (0, 1)
    assert_books(kernel)


@pytest.mark.parametrize(
    ("number", "error", "text"),
    [
        (0, ClusterStateError, "CPU 0, APIC id 0, is the boot CPU and stays online"),
        (2, NotFoundError, "instance 1 has no CPU 2"),
        (-1, NotFoundError, "instance 1 has no CPU -1"),
    ],
)
def test_some_cpus_cannot_go(kernel, number, error, text):
    with pytest.raises(error, match=text):
        kernel.hotplug.take_offline(number)
    assert kernel.hotplug.offline == set()


def test_offline_twice_and_online_twice_are_refused(kernel):
    with pytest.raises(ClusterStateError, match="CPU 1, APIC id 1, is online already"):
        kernel.hotplug.bring_online(1)
    kernel.hotplug.take_offline(1)
    with pytest.raises(ClusterStateError, match="CPU 1, APIC id 1, is offline already"):
        kernel.hotplug.take_offline(1)


def run_a_program(kernel):
    def program(cpu):
        while True:
            yield Nop()

    kernel.start_program(1, program)


@pytest.mark.parametrize(
    "occupy",
    [
        run_a_program,
        lambda kernel: kernel.cpus[1].execute(Cli()),
        lambda kernel: kernel.cpus[1].stop(),
        lambda kernel: kernel.accept(1, init_assert(1)),
        lambda kernel: kernel.panic(kernel.cpus[1], "test"),
    ],
    ids=["program", "cli", "stopped", "wait-for-sipi", "failed"],
)
def test_only_an_idle_cpu_of_a_kernel_that_runs_goes_offline(kernel, occupy):
    occupy(kernel)
    with pytest.raises(ClusterStateError):
        kernel.hotplug.take_offline(1)
    assert kernel.hotplug.offline == set()


def test_an_init_from_elsewhere_leaves_the_column(kernel):
    """Its kernel never took it offline, and a SIPI from elsewhere starts nothing of it."""
    kernel.accept(1, init_assert(1))
    assert proc_interrupts(kernel).splitlines()[0].split() == ["CPU0", "CPU1"]
    kernel.accept(1, startup(1, 8))
    kernel.advance(100)
    assert kernel.cpus[1].activity == "halted"


def test_a_sipi_that_nobody_asked_for_does_not_bring_a_cpu_online(kernel):
    kernel.hotplug.take_offline(1)
    kernel.accept(1, init_assert(1))
    kernel.accept(1, startup(1, 8))
    kernel.advance(100)
    assert kernel.hotplug.offline == {1}
    assert kernel.cpus[1].activity == "halted"


def test_a_boot_cpu_that_cannot_send_brings_nobody_online(kernel):
    kernel.hotplug.take_offline(1)
    kernel.cpus[0].stop()
    with pytest.raises(ClusterStateError, match="CPU 0 is stopped"):
        kernel.hotplug.bring_online(1)


def test_nor_does_one_whose_window_is_full(kernel):
    kernel.hotplug.take_offline(1)
    boot = kernel.cpus[0]
    while boot.may_write:
        boot.write_icr(fixed(1, 0xEA))
    with pytest.raises(LimitReachedError):
        kernel.hotplug.bring_online(1)


def test_nor_one_whose_apic_is_globally_disabled(kernel):
    kernel.hotplug.take_offline(1)
    kernel.cpus[0].wrmsr(0x1B, kernel.cpus[0].rdmsr(0x1B) & ~(3 << 10))
    with pytest.raises(ClusterStateError, match="globally disabled"):
        kernel.hotplug.bring_online(1)


def test_nor_one_that_drops_what_is_written_while_busy(make_kernel):
    kernel = make_kernel(mode=ApicMode.XAPIC, apic_policy=ApicPolicy(icr_busy="drop"))
    kernel.hotplug.take_offline(1)
    with pytest.raises(ClusterStateError, match="the IPIs after the first would be lost"):
        kernel.hotplug.bring_online(1)
    assert kernel.source.outstanding == 0


def test_a_kernel_with_start_up_code_of_its_own_starts_its_cpus_by_that(kernel):
    kernel.hotplug.take_offline(1)
    kernel.on_startup = lambda cpu, vector: None
    with pytest.raises(ClusterStateError, match="on_startup was replaced"):
        kernel.hotplug.bring_online(1)

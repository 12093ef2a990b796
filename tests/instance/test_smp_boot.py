"""A kernel that boots by INIT and SIPI, and how it comes down (smpboot.c, and the series)."""

import pytest

from mkrpc.errors import LimitReachedError
from mkrpc.instance.accounting import assert_books
from mkrpc.instance.commands import MAX_WAITING_COMMANDS
from mkrpc.instance.config import KernelConfig
from mkrpc.instance.instructions import Nop
from mkrpc.instance.kernel import Kernel
from mkrpc.instance.procfs import proc_cmdline, proc_interrupts
from mkrpc.instance.smp_boot import START_PAGE, START_TIMEOUT_US
from mkrpc.lifecycle import cpus_to_start
from mkrpc.link.frames import Command, CommandKind
from mkrpc.outcome import Outcome
from mkrpc.simulation.machine import Machine
from mkrpc.x86.apic_policy import ApicPolicy
from mkrpc.x86.apic_state import LVT_MASKED
from mkrpc.x86.icr import fixed, init_assert, nmi, startup
from mkrpc.x86.lapic import ApicMode

SETTINGS = [
    {},
    {"mode": ApicMode.XAPIC},
    {"mode": ApicMode.XAPIC, "apic_policy": ApicPolicy(icr_busy="queue")},
    {"mode": ApicMode.XAPIC, "apic_policy": ApicPolicy(icr_busy="drop")},
]


def texts(kernel) -> list[str]:
    return [record.text for record in kernel.log.since(0)]


@pytest.fixture
def make_machine():
    """``make_machine(**config)``: a host of one CPU, and a kernel of three that waits for SIPI."""

    def make(**settings):
        host = KernelConfig(instance_id=0, name="zero", apic_ids=(0,))
        spawn = {"instance_id": 1, "name": "one", "apic_ids": (1, 2, 3), "wait_for_sipi": True}
        machine = Machine([host, KernelConfig(**spawn | settings)])
        machine.settle()
        return machine, machine.kernels[1]

    return make


def boot(machine) -> None:
    """As the host does it: one write after the other."""
    for word in (init_assert(1), startup(1, START_PAGE), startup(1, START_PAGE)):
        machine.kernels[0].cpus[0].write_icr(word)
        machine.settle()


def test_before_its_sipi_nothing_of_it_runs(make_machine):
    machine, kernel = make_machine()
    assert [cpu.activity for cpu in kernel.cpus] == ["wait-for-sipi"] * 3
    assert kernel.hotplug.online_cpus == ()
    assert kernel.accept(0, fixed(1, 0xEA)) is Outcome.REJECTED_SOFTWARE_DISABLED
    machine.settle()
    assert texts(kernel) == []


@pytest.mark.parametrize("settings", SETTINGS)
def test_one_cpu_is_woken_and_wakes_the_others(make_machine, settings):
    machine, kernel = make_machine(**settings)
    boot(machine)
    assert [cpu.activity for cpu in kernel.cpus] == ["idle"] * 3
    assert all(cpu.apic.software_enabled for cpu in kernel.cpus)
    assert [cpu.boots for cpu in kernel.cpus] == [1, 1, 1]
    assert texts(kernel)[-1] == "smp: Brought up 1 node, 3 CPUs"
    assert len(proc_interrupts(kernel).splitlines()[0].split()) == 3
    machine.inject(fixed(3, 0xEA))
    machine.settle()
    assert kernel.cpus[2].multikernel_count == 1
    assert_books(kernel)


@pytest.mark.parametrize(
    ("cmdline", "cpus", "expected"),
    [
        ("", 4, 4),
        ("quiet", 4, 4),
        ("maxcpus=2", 4, 2),
        ("maxcpus=0", 4, 1),
        ("maxcpus=9", 4, 4),
        ("maxcpus=", 4, 4),
        ("maxcpus=-1", 4, 4),
        ("quiet nosmp", 4, 1),
    ],
)
def test_how_many_cpus_come_up(cmdline, cpus, expected):
    assert cpus_to_start(cmdline, cpus) == expected


def test_the_rest_stays_offline(make_machine):
    machine, kernel = make_machine(cmdline="maxcpus=2")
    boot(machine)
    assert [cpu.activity for cpu in kernel.cpus] == ["idle", "idle", "wait-for-sipi"]
    assert kernel.hotplug.offline == {2}
    assert proc_cmdline(kernel) == "maxcpus=2\n"


def test_programs_begin_once_their_cpu_is_online_with_interrupts_on(make_machine):
    machine, kernel = make_machine()
    seen = []

    def program(cpu):
        seen.append((cpu.number, cpu.interrupts_enabled, cpu.apic.software_enabled))
        yield Nop()

    kernel.start_program(0, program)
    kernel.start_program(2, program)
    machine.settle()
    assert seen == []
    boot(machine)
    assert sorted(seen) == [(0, True, True), (2, True, True)]


def test_a_sipi_with_another_page_starts_nothing(make_machine):
    machine, kernel = make_machine()
    for word in (init_assert(1), startup(1, START_PAGE + 1)):
        machine.inject(word)
    machine.settle()
    assert kernel.cpus[0].activity == "halted"
    assert kernel.hotplug.online_cpus == ()


def test_a_cpu_that_does_not_come_is_left_offline_by_name():
    """Its IPIs go nowhere here: nobody carries them."""
    now_us = 0

    def clock() -> int:
        nonlocal now_us
        now_us += START_TIMEOUT_US // 8
        return now_us

    config = KernelConfig(instance_id=1, name="one", apic_ids=(1, 2), wait_for_sipi=True)
    kernel = Kernel(config, incarnation=bytes(16), now_us=clock)
    kernel.accept(0, startup(1, START_PAGE))
    while kernel.runnable:
        kernel.advance(100)
    assert texts(kernel)[-2:] == [
        "CPU1 failed to report alive state",
        "smp: Brought up 1 node, 1 CPU",
    ]
    assert kernel.hotplug.offline == {1}


def parked(kernel) -> bool:
    return all(
        cpu.stopped and not cpu.interrupts_enabled and cpu.apic.software_enabled
        and all(entry & LVT_MASKED for entry in cpu.apic.lvt.values())
        for cpu in kernel.cpus
    )  # fmt: skip


def test_asked_to_shut_down_it_parks_every_cpu_with_its_apic_enabled(kernel):
    reply = kernel.execute(Command(7, CommandKind.SHUTDOWN))
    assert (reply.command, reply.text, reply.error) == (7, "2", "")
    assert parked(kernel)
    assert texts(kernel)[-1] == "reboot: System halted"
    assert kernel.accept(1, fixed(1, 0xEA)) is Outcome.DELIVERED  # into IRR; nobody takes it
    assert kernel.cpus[1].multikernel_count == 0


def test_an_nmi_without_the_marker_parks_nobody(kernel):
    kernel.accept(0, nmi(0))
    assert not kernel.cpus[0].stopped
    assert kernel.cpus[0].irq_stat.nmi_count == 1


def test_with_the_marker_each_cpu_parks_at_its_nmi_and_the_answer_waits_for_the_last(kernel):
    assert kernel.execute(Command(7, CommandKind.FORCE_HALT)) is None
    kernel.accept(0, nmi(0))
    assert kernel.take_replies() == []
    kernel.accept(1, nmi(1))
    (reply,) = kernel.take_replies()
    assert (reply.command, reply.text) == (7, "2")
    assert parked(kernel)
    instance_id = kernel.config.instance_id
    assert texts(kernel)[-1] == f"CPU 1: Forcible shutdown via NMI (instance {instance_id})"
    assert kernel.take_replies() == []


def test_so_many_may_wait_for_the_end(kernel):
    for number in range(MAX_WAITING_COMMANDS):
        assert kernel.execute(Command(number, CommandKind.FORCE_HALT)) is None
    reply = kernel.execute(Command(9999, CommandKind.FORCE_HALT))
    assert reply.reason == LimitReachedError.reason


def test_a_parked_cpu_comes_back_by_init_and_sipi_alone(make_machine):
    machine, kernel = make_machine()
    boot(machine)
    kernel.execute(Command(7, CommandKind.SHUTDOWN))
    kernel.accept(1, nmi(2))
    assert kernel.cpus[1].stopped
    kernel.accept(1, init_assert(2))
    assert kernel.cpus[1].activity == "wait-for-sipi"

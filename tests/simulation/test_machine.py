"""The machine in one thread: boot, crash, inject, settle, with the objects that run for real."""

import pytest

from mkrpc.errors import AlreadyExistsError, NotFoundError
from mkrpc.instance.accounting import assert_books
from mkrpc.instance.instructions import Hlt, Load, Nop, Sti, Store, WriteIcr, WriteRegister
from mkrpc.instance.kernel import KernelConfig
from mkrpc.instance.memory import SharedMemory
from mkrpc.interconnect.policy import Policy
from mkrpc.link.frames import NOBODY
from mkrpc.outcome import Outcome
from mkrpc.simulation import machine as machine_module
from mkrpc.simulation.machine import Machine
from mkrpc.x86.apic_state import SVR_APIC_ENABLED
from mkrpc.x86.icr import (
    DeliveryMode,
    Shorthand,
    fixed,
    icr_word,
    init_assert,
    shorthand_word,
    startup,
)
from mkrpc.x86.registers import Register

RING_2 = fixed(2, 0xEA)
"""The multikernel vector to the first CPU of the second kernel."""


def config(instance_id: int, *apic_ids: int) -> KernelConfig:
    return KernelConfig(instance_id=instance_id, name=f"mk{instance_id}", apic_ids=apic_ids)


@pytest.fixture
def machine() -> Machine:
    return Machine([config(0, 0, 1), config(1, 2, 3)])


def cal(machine: Machine) -> list[int]:
    """irq_call_count of every CPU of every kernel that runs, in order."""
    return [
        cpu.irq_stat.irq_call_count for kernel in machine.kernels.values() for cpu in kernel.cpus
    ]


def assert_balanced(machine: Machine) -> None:
    assert machine.bus.balance() == []
    assert machine.bus.in_flight() == 0
    for kernel in machine.kernels.values():
        assert_books(kernel)


def test_an_injection_arrives_once_the_machine_has_settled(machine):
    answers = []
    tally = machine.inject(RING_2, 3, on_done=answers.append)
    assert not tally.done
    assert cal(machine) == [0, 0, 0, 0]
    machine.settle()
    assert tally.done
    assert answers == [tally]
    assert tally.legs == {(2, 1, Outcome.DELIVERED): 3}
    assert cal(machine) == [0, 0, 3, 0]
    assert_balanced(machine)


def test_injections_are_numbered_on_so_that_none_is_taken_for_a_repetition(machine):
    tallies = [machine.inject(RING_2, count) for count in (1, 2, 1)]
    machine.settle()
    assert [tally.repeated for tally in tallies] == [False] * 3
    assert cal(machine) == [0, 0, 4, 0]


def test_a_program_rings_the_other_kernel_and_shares_its_memory(machine):
    def sender(cpu):
        yield Store(8, 41)
        yield WriteIcr(RING_2)

    def receiver(cpu):
        cpu.store(16, cpu.load(8, 8) + 1, 8)

    machine.kernels[1].register_handler(receiver)
    machine.kernels[0].start_program(1, sender)
    machine.settle()
    assert machine.memory.load(16, 8) == 42
    assert cal(machine) == [0, 0, 1, 0]
    assert_balanced(machine)


def test_frames_move_without_running_programs(machine):
    ran = []

    def program(cpu):
        ran.append((yield Load(0)))

    machine.kernels[0].start_program(0, program)
    machine.inject(RING_2)
    while machine.exchange():
        pass
    assert ran == []
    assert cal(machine) == [0, 0, 1, 0]
    machine.settle()
    assert ran == [0]


def test_settling_waits_for_a_program_that_only_computes(machine):
    done = []

    def program(cpu):
        for _ in range(10_000):
            yield
        done.append(cpu.apic_id)

    machine.kernels[0].start_program(0, program)
    machine.settle()
    assert done == [0]


def test_memory_policy_and_time_are_the_callers():
    memory = SharedMemory(bytearray(64))
    machine = Machine([config(1, 0), config(2, 1)], policy=Policy.named("filtered"), memory=memory)
    assert machine.memory is memory
    machine.kernels[1].cpus[0].execute(WriteIcr(fixed(1, 0x55)))
    machine.now_us = 1_500_000
    machine.kernels[1].cpus[0].printk("now")
    machine.settle()
    assert machine.kernels[2].cpus[0].books.delivered[0x55] == 0
    assert [(r.time_us, r.text) for r in machine.kernels[1].log.since(1)] == [(1_500_000, "now")]
    assert_balanced(machine)


def test_a_cpu_is_found_by_its_apic_id(machine):
    assert machine.cpu(3) is machine.kernels[1].cpus[1]
    with pytest.raises(KeyError, match="no CPU has APIC id 9"):
        machine.cpu(9)
    machine.crash(1)
    with pytest.raises(KeyError, match="no CPU has APIC id 3"):
        machine.cpu(3)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [((1, 7), "instance id 1"), ((2, 3), "APIC id 3")],
    ids=["instance id", "APIC id"],
)
def test_ids_that_overlap_are_refused_and_the_rest_goes_on(machine, wrong, says):
    with pytest.raises(AlreadyExistsError, match=says):
        machine.boot(config(*wrong))
    machine.inject(RING_2)
    machine.settle()
    assert cal(machine) == [0, 0, 1, 0]
    assert_balanced(machine)


@pytest.mark.parametrize(
    ("exchanges", "outcome"),
    [(0, Outcome.LOST_TARGET_DEAD), (1, Outcome.LOST_TARGET_DEAD_MAYBE_DELIVERED)],
    ids=["before the legs were handed over", "with the legs in its hands, unanswered"],
)
def test_a_crash_in_mid_flight_books_the_legs_as_lost(machine, exchanges, outcome):
    """Design 3.3, rule 3: nobody can know what a target did that died before it answered."""
    machine.settle()
    tally = machine.inject(RING_2, 5)
    for _ in range(exchanges):
        machine.exchange()
    assert machine.bus.in_flight() == 5
    machine.crash(1)
    machine.settle()
    assert tally.legs == {(2, 1, outcome): 5}
    assert tally.done
    totals = machine.bus.totals()
    assert (totals.written, totals.lost, totals.in_flight) == (5, 5, 0)
    assert_balanced(machine)


def test_a_crash_takes_with_it_what_was_not_reported(machine):
    """``written`` of a source that died is what was received from it (design 3.1)."""
    cpu = machine.cpu(0)
    cpu.execute(WriteIcr(RING_2))
    machine.settle()
    cpu.execute(WriteIcr(RING_2))
    machine.crash(0)
    machine.settle()
    assert machine.bus.totals().written == 1
    assert cal(machine) == [1, 0]
    assert_balanced(machine)


def test_after_a_crash_its_cpus_are_nobody_until_a_new_incarnation_has_them(machine):
    first = machine.kernels[1].incarnation
    machine.crash(1)
    gone = machine.inject(RING_2)
    machine.settle()
    assert gone.legs == {(NOBODY, None, Outcome.REJECTED_NO_SUCH_APIC): 1}
    again = machine.boot(config(1, 2, 3))
    assert again is machine.kernels[1]
    assert again.incarnation != first
    back = machine.inject(RING_2)
    machine.settle()
    assert back.legs == {(2, 1, Outcome.DELIVERED): 1}
    assert cal(machine) == [0, 0, 1, 0]
    assert_balanced(machine)


def test_a_broadcast_leaves_out_its_sender_alone(machine):
    machine.cpu(1).execute(WriteIcr(shorthand_word(Shorthand.ALL_EXCLUDING_SELF, 0xEA)))
    machine.settle()
    assert cal(machine) == [1, 0, 1, 1]


def test_a_machine_that_rings_itself_for_ever_is_told_and_not_waited_for(machine, monkeypatch):
    monkeypatch.setattr(machine_module, "MAX_ROUNDS", 200)
    machine.kernels[0].register_handler(lambda cpu: cpu.write_icr(RING_2))
    machine.kernels[1].register_handler(lambda cpu: cpu.write_icr(fixed(0, 0xEA)))
    machine.inject(RING_2)
    with pytest.raises(AssertionError, match="did not come to rest in 200 rounds"):
        machine.settle()
    assert all(50 < cal(machine)[cpu] <= 200 for cpu in (0, 2)), "at most one ring a round"


def test_a_halted_program_is_at_rest_until_it_is_rung(machine):
    woken = []

    def program(cpu):
        yield Hlt()
        woken.append(cpu.apic_id)

    machine.kernels[1].start_program(0, program)
    machine.settle()
    assert woken == []
    machine.inject(RING_2)
    machine.settle()
    assert woken == [2]


LOWEST = icr_word(vector=0x51, destination=NOBODY, delivery_mode=DeliveryMode.LOWEST_PRIORITY)
"""To whoever of all has the lowest priority."""


@pytest.mark.rule("R9", "R32", "R37")
def test_lowest_priority_passes_over_a_cpu_that_init_has_software_disabled(machine):
    """A CPU after INIT has PPR 0, the lowest there is, and takes nothing."""
    for kernel in machine.kernels.values():
        kernel.idt.install(0x51, "test", lambda cpu: cpu.apic_eoi())
    machine.inject(init_assert(3))
    machine.settle()
    tally = machine.inject(LOWEST, 9)
    machine.settle()
    assert tally.legs == {(n, n // 2, Outcome.DELIVERED): 3 for n in range(3)}
    machine.cpu(3).kernel.on_startup = lambda cpu, vector: _enable_apic
    machine.inject(startup(3, 8))
    machine.settle()
    tally = machine.inject(LOWEST, 8)
    machine.settle()
    assert tally.legs == {(3, 1, Outcome.DELIVERED): 8}, "its TPR is 0 now, the others' is not"
    assert_balanced(machine)


def _enable_apic(cpu):
    yield WriteRegister(Register.SVR, SVR_APIC_ENABLED | 0xFF)
    yield Sti()
    yield Nop()


@pytest.mark.rule("R10", "R36")
def test_the_bsp_takes_an_init_and_no_sipi_behind_it():
    """With ``boundary="frame"`` both are there before the INIT is taken."""
    bsp = KernelConfig(instance_id=0, name="mk0", apic_ids=(0,), boundary="frame")
    machine = Machine([bsp, config(1, 1)])
    outcomes = []
    for word in (init_assert(0), startup(0, 8)):
        outcomes.append(machine.inject(word))
    machine.settle()
    assert outcomes[0].legs == {(0, 0, Outcome.DELIVERED): 1}
    assert outcomes[1].legs == {(0, 0, Outcome.REJECTED_NOT_WAITING_FOR_SIPI): 1}
    assert machine.cpu(0).boots == 0
    assert_balanced(machine)


def test_a_cpu_of_an_instance_that_died_is_told_from_one_that_never_was(machine):
    machine.crash(1)
    with pytest.raises(NotFoundError, match=r"belongs to instance 1 .* not attached: crashed"):
        machine.bus.cpu_owner(2)
    with pytest.raises(NotFoundError, match="no CPU has APIC id 99"):
        machine.bus.cpu_owner(99)

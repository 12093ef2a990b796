"""CPUs that one instance asks others for: errnos, lost ACKs, crashes."""

import random
from errno import EBUSY, EINVAL, EIO, ENODEV, ETIMEDOUT

import pytest

from mkrpc import Topology
from mkrpc.instance import hotplug
from mkrpc.instance.config import kernel_config
from mkrpc.instance.cpu_slots import add_cpu, remove_cpu
from mkrpc.instance.instructions import Nop
from mkrpc.instance.multikernel.mk_message import CpuPayload, Subtype
from mkrpc.instance.multikernel.requests import RESOURCE_TIMEOUT_US

GIVEN, SPARE = (1, 3), (2, 5)
"""APIC id 3 is the second CPU of instance 1, APIC id 5 of instance 2."""


def topology(links: str = "memory") -> Topology:
    instances = [
        {"id": 0, "cpu_count": 2},
        {"id": 1, "cpu_count": 2},
        {"id": 2, "cpu_count": 2, "spare_cpus": 1},
    ]
    return Topology.from_dict({"links": links, "instances": instances})


def online(machine, which: tuple[int, int]) -> bool:
    instance, apic_id = which
    kernel = machine.kernels[instance]
    return kernel.config.apic_ids.index(apic_id) not in kernel.hotplug.offline


@pytest.fixture(params=["memory", "interconnect"])
def machine(mk_machine, request):
    """Three instances that answer."""
    made = mk_machine(topology(request.param))
    for kernel in made.kernels.values():
        assert kernel.multikernel.hotplug is not None
    return made


def ask(machine, make, *, at: int = 0) -> list[int]:
    """Start ``make(hotplug)`` in a program of instance 0; what it returns comes into the list."""
    results: list[int] = []

    def program(cpu):
        results.append((yield from make(cpu.kernel.multikernel.hotplug)))

    machine.kernels[0].start_program(at, program)
    return results


def run(machine, rounds: int = 2000) -> None:
    """As far as it goes without time: a program that waits for an ACK never comes to rest."""
    for _ in range(rounds):
        machine._round()


def answer(machine, make) -> int:
    results = ask(machine, make)
    run(machine, 300)
    if not results:
        machine.now_us += RESOURCE_TIMEOUT_US
        run(machine, 300)
    return results[0]


def lines(machine, instance: int) -> list[str]:
    return [r.text for r in machine.kernels[instance].log.since(0) if "hotplug" in r.text]


def test_a_spare_cpu_is_offline_until_it_is_asked_for(machine) -> None:
    assert not online(machine, SPARE)
    assert answer(machine, lambda hotplug: hotplug.add_cpu(*SPARE)) == 0
    assert online(machine, SPARE)
    cpu = machine.kernels[2].cpus[1]
    assert cpu.boots == 1, "by INIT and SIPI"
    assert cpu.apic.software_enabled
    assert lines(machine, 2) == ["Multikernel hotplug: Adding CPU 5 (numa=0, flags=0x0)"]
    assert lines(machine, 0) == ["Multikernel hotplug: ACK op=0x2001 resource=5 result=0"]
    assert answer(machine, lambda hotplug: hotplug.add_cpu(*SPARE)) == 0, "it is up"
    assert cpu.boots == 1
    assert machine.bus.balance() == []


def test_a_cpu_is_removed_and_refuses_what_comes(machine) -> None:
    assert answer(machine, lambda hotplug: hotplug.remove_cpu(*GIVEN)) == 0
    assert not online(machine, GIVEN)
    tally = machine.inject(GIVEN[1] << 32 | 0xEA)
    machine.settle()
    assert [o.name for _, _, o in tally.legs] == ["REJECTED_SOFTWARE_DISABLED"]
    assert answer(machine, lambda hotplug: hotplug.remove_cpu(*GIVEN)) == 0
    assert answer(machine, lambda hotplug: hotplug.add_cpu(*GIVEN)) == 0
    assert online(machine, GIVEN)


def test_a_cpu_moves(machine) -> None:
    assert answer(machine, lambda hotplug: hotplug.move_cpu(GIVEN, SPARE)) == 0
    assert (online(machine, GIVEN), online(machine, SPARE)) == (False, True)
    assert answer(machine, lambda hotplug: hotplug.move_cpu(SPARE, GIVEN)) == 0
    assert (online(machine, GIVEN), online(machine, SPARE)) == (True, False)


def test_the_boot_cpu_refuses(machine) -> None:
    assert answer(machine, lambda hotplug: hotplug.remove_cpu(1, 2)) == -EINVAL
    assert lines(machine, 1)[-1] == "Multikernel hotplug: Cannot remove boot CPU"
    assert online(machine, (1, 2))


@pytest.mark.parametrize("verb", ["add_cpu", "remove_cpu"])
def test_a_cpu_of_somebody_else(machine, verb) -> None:
    assert answer(machine, lambda hotplug: getattr(hotplug, verb)(1, 5)) == -ENODEV
    assert lines(machine, 1)[-1] == "Multikernel hotplug: CPU 5 is not in this kernel's pool"


@pytest.mark.parametrize("verb", ["add_cpu", "remove_cpu"])
def test_a_cpu_that_has_left_is_somebody_else_s(machine, verb) -> None:
    _, apic_id = GIVEN
    remove_cpu(machine.kernels[1], apic_id)
    assert answer(machine, lambda hotplug: getattr(hotplug, verb)(*GIVEN)) == -ENODEV


def test_a_cpu_that_has_come_is_brought_up_by_request(machine) -> None:
    """CPU_ADD, INIT and SIPI by its new kernel's boot CPU, and the ACK."""
    _, apic_id = GIVEN
    remove_cpu(machine.kernels[1], apic_id)
    run(machine, 100)
    number = add_cpu(machine.kernels[2], apic_id)
    assert answer(machine, lambda hotplug: hotplug.add_cpu(2, apic_id)) == 0
    assert number not in machine.kernels[2].hotplug.offline


def test_a_cpu_that_has_work_stays(machine) -> None:
    def busy(cpu):
        while True:
            yield Nop()

    machine.kernels[1].start_program(1, busy)
    assert answer(machine, lambda hotplug: hotplug.remove_cpu(*GIVEN)) == -EBUSY
    assert online(machine, GIVEN)


def test_a_taker_that_refuses_leaves_the_cpu_where_it_was(machine) -> None:
    move = ask(machine, lambda hotplug: hotplug.move_cpu(GIVEN, (2, 77)))
    run(machine, 500)
    assert move == [-ENODEV]
    assert online(machine, GIVEN)


def test_one_that_does_not_come_up_is_told(machine, monkeypatch) -> None:
    def stuck(_cpu):
        while True:
            yield Nop()

    monkeypatch.setattr(hotplug, "come_online", stuck)
    results = ask(machine, lambda hotplug: hotplug.add_cpu(*SPARE))
    run(machine, 100)
    machine.now_us += RESOURCE_TIMEOUT_US * 6 // 10
    run(machine, 300)
    assert results == [-EIO]
    assert lines(machine, 2)[-1] == "Multikernel hotplug: CPU 5 did not come up"


def test_a_payload_that_is_none(machine) -> None:
    def make(hotplug):
        messages = hotplug._messages
        request = yield from messages.request(1, Subtype.MK_RES_CPU_ADD, b"?", resource_id=0)
        return (yield from messages.wait(request))

    assert answer(machine, make) == -EINVAL


def test_what_is_no_request_for_a_cpu(machine) -> None:
    def make(hotplug):
        messages = hotplug._messages
        payload = CpuPayload(3, 0, 0, 0).encode()
        request = yield from messages.request(1, Subtype.MK_RES_MEM_ADD, payload, resource_id=3)
        return (yield from messages.wait(request))

    assert answer(machine, make) == -EINVAL


def lose_acks(kernel, lost) -> None:
    """``lost()`` is asked of each ACK of the kernel."""
    messages = kernel.multikernel.messages
    send = messages.acknowledge

    def acknowledge(target, request, **what):
        if lost():
            return 0
        return (yield from send(target, request, **what))

    messages.acknowledge = acknowledge  # type: ignore[method-assign]


def test_a_lost_ack_is_told_and_the_same_call_goes_on(machine) -> None:
    loses = [True, False]
    lose_acks(machine.kernels[1], lambda: loses.pop(0))
    assert answer(machine, lambda hotplug: hotplug.move_cpu(GIVEN, SPARE)) == -ETIMEDOUT
    assert (online(machine, GIVEN), online(machine, SPARE)) == (False, False)
    texts = [record.text for record in machine.kernels[0].log.since(0)]
    assert "Timeout waiting for operation 0x2002 on resource 3" in texts
    assert answer(machine, lambda hotplug: hotplug.move_cpu(GIVEN, SPARE)) == 0
    assert (online(machine, GIVEN), online(machine, SPARE)) == (False, True)


def wander(mk_machine, seed: int) -> None:
    """Moves to and fro while ACKs are lost and kernels die: never is the CPU in both places."""
    rng = random.Random(seed)
    made = topology(rng.choice(["memory", "interconnect"]))
    machine = mk_machine(made)

    def serve(instance: int) -> None:
        lose_acks(machine.kernels[instance], lambda: rng.random() < 0.3)
        assert machine.kernels[instance].multikernel.hotplug is not None

    for instance in machine.kernels:
        serve(instance)
    to_spare = True
    for _ in range(6):
        places = (GIVEN, SPARE) if to_spare else (SPARE, GIVEN)
        results = ask(machine, lambda hotplug, places=places: hotplug.move_cpu(*places))
        dies = rng.randrange(120) if rng.random() < 0.3 else None
        who = rng.choice([1, 2])
        for step in range(1000):
            machine._round()
            assert not (online(machine, GIVEN) and online(machine, SPARE)) or dies == -1
            if step == dies:
                machine.crash(who)
                machine.boot(kernel_config(made, who))
                serve(who)
                dies = -1
            if step % 200 == 199:
                machine.now_us += RESOURCE_TIMEOUT_US
            if results and step % 200 > 100:
                break
        (result,) = results
        assert result in (0, -ETIMEDOUT), result
        if dies == -1:  # a kernel that boots has its CPUs as its configuration says
            return
        if result == 0:
            assert not online(machine, places[0])
            assert online(machine, places[1])
            to_spare = not to_spare
    assert machine.bus.balance() == []


@pytest.mark.parametrize("seed", range(40))
def test_moves_with_lost_acks_and_crashes(mk_machine, seed) -> None:
    wander(mk_machine, seed)


@pytest.mark.full
def test_moves_with_lost_acks_and_crashes_often(mk_machine) -> None:
    for seed in range(1000, 2000):
        wander(mk_machine, seed)

"""Where an instance is rung that began later, or began again on another CPU (docs/messages.md)."""

from errno import ENODEV
from itertools import pairwise

import pytest

from mkrpc import Topology
from mkrpc.instance.config import kernel_config
from mkrpc.instance.instructions import Nop
from mkrpc.link.messages import Doorbell

USER = 0x4000
TOTAL = 3


def topology(links: str, instances: int) -> Topology:
    specs = [{"id": number, "cpus": [2 * number, 2 * number + 1]} for number in range(instances)]
    return Topology.from_dict({"links": links, "instances": specs})


@pytest.fixture(params=["memory", "interconnect"])
def links(request) -> str:
    return request.param


def listen(kernel) -> list:
    """What comes to a kernel, from now on."""
    received = []

    def note(_cpu, delivery, _ctx):
        received.append((delivery.sender, delivery.data))

    assert kernel.multikernel.register_handler(USER, note) == 0
    return received


def send(machine, sender: int, target: int, data: bytes) -> int:
    """The result of one send."""
    results = []

    def program(cpu):
        yield Nop()
        results.append((yield from cpu.kernel.multikernel.send_ipi_data(target, data, USER)))

    machine.kernels[sender].start_program(0, program)
    machine.settle()
    return results[0]


def test_one_that_begins_later_is_sent_to_and_sends(mk_machine, links) -> None:
    machine = mk_machine(topology(links, 2))
    first = listen(machine.kernels[0])
    machine.settle()
    assert send(machine, 0, 2, b"too early") == -ENODEV
    machine.boot(kernel_config(topology(links, TOTAL), 2))
    second = listen(machine.kernels[2])
    machine.settle()
    assert send(machine, 0, 2, b"to a newcomer") == 0
    assert send(machine, 2, 0, b"from a newcomer") == 0
    assert (first, second) == ([(2, b"from a newcomer")], [(0, b"to a newcomer")])
    assert machine.kernels[0].multikernel.links.counts[2].posted == (links != "memory")


def test_one_that_listens_late_learns_of_all_who_came_before(mk_machine, links) -> None:
    machine = mk_machine(topology(links, 1))
    for instance in (1, 2):
        machine.boot(kernel_config(topology(links, instance + 1), instance))
    received = listen(machine.kernels[2])
    listen(machine.kernels[0])
    machine.settle()
    assert send(machine, 0, 2, b"there you are") == 0
    assert received == [(0, b"there you are")]


def test_one_that_begins_again_on_another_cpu_is_rung_there(mk_machine, links) -> None:
    """And whose CPU it has now is not rung in the name of the one before."""
    machine = mk_machine(topology(links, 3))
    listen(machine.kernels[0])
    machine.settle()
    machine.crash(1)
    machine.crash(2)
    moved = {"id": 1, "cpus": [5, 2]}
    specs = [{"id": 0, "cpus": [0, 1]}, moved]
    again = Topology.from_dict({"links": links, "instances": specs})
    machine.boot(kernel_config(again, 1))
    received = listen(machine.kernels[1])
    machine.settle()
    assert send(machine, 0, 1, b"at CPU 5") == 0
    assert received == [(0, b"at CPU 5")]
    assert machine.cpu(5).multikernel_count == 1
    assert machine.cpu(2).multikernel_count == 0


def test_nobody_is_told_who_does_not_listen(mk_machine, links) -> None:
    machine = mk_machine(topology(links, 2))
    machine.settle()
    machine.boot(kernel_config(topology(links, TOTAL), 2))
    machine.settle()
    assert [kernel.post.doorbells for kernel in machine.kernels.values()] == [{}, {}, {}]


def test_the_cpu_of_one_that_is_gone_rings_its_new_owner_alone(mk_machine) -> None:
    machine = mk_machine(topology("interconnect", 2))
    post = machine.kernels[0].post
    listen(machine.kernels[0])
    machine.settle()
    assert post.doorbells == {1: 2}
    machine.crash(1)
    specs = [{"id": 0, "cpus": [0, 1]}, {"id": 2, "cpus": [2, 3]}]
    machine.boot(kernel_config(Topology.from_dict({"instances": specs}), 2))
    machine.settle()
    assert post.doorbells == {2: 2}
    assert send(machine, 0, 1, b"nobody") == -ENODEV


def test_nobody_is_rung_for_one_whose_cpu_changes_hands_as_it_is_sent_to(mk_machine) -> None:
    """The program goes on, and with interrupts as they were."""
    machine = mk_machine(topology("interconnect", 2))
    kernel = machine.kernels[0]
    listen(kernel)
    machine.settle()
    results = []

    def program(cpu):
        another = [Doorbell(2, 2)]
        result = yield from kernel.multikernel.send_ipi_data(
            1, b"in the post", USER, on_sent=lambda: kernel.post.told_of(another)
        )
        results.append((result, cpu.interrupts_enabled))

    kernel.start_program(0, program)
    machine.settle()
    assert results == [(0, True)]
    assert kernel.multikernel.rung == 0
    assert machine.bus.balance() == []


def test_no_two_instances_are_rung_at_one_cpu(mk_machine) -> None:
    machine = mk_machine(topology("interconnect", 1))
    post = machine.kernels[0].post
    for told in [(1, 4), (2, 5), (1, 5), (2, 4), (2, 4), (1, 6), (3, 5)]:
        post.told_of([told])
        rung = sorted(post.doorbells.values())
        assert all(one < other for one, other in pairwise(rung)), post.doorbells
    assert post.doorbells == {2: 4, 1: 6, 3: 5}

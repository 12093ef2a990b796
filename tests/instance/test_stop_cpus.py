"""Stopping the other CPUs of a kernel, and what a foreign kernel's stop does, with its text."""

import pytest

from mkrpc.instance.stop_cpus import NOBODY_STOPS, StopCpus


@pytest.fixture
def stopped(mk_machine):
    """Two kernels of two CPUs; CPU 0 of the first one has stopped its others."""

    def make(*, filters, by="reboot", shorthand=True):
        machine = mk_machine(instances=2, cpus=2)
        stops = [StopCpus(machine.kernels[n], filters=filters) for n in (0, 1)]
        machine.kernels[0].start_program(
            0, lambda cpu: stops[0].stop_other_cpus(cpu, by=by, shorthand=shorthand)
        )
        machine.settle()
        return machine, stops

    return make


def online(machine):
    return [tuple(cpu.number for cpu in machine.kernels[n].hotplug.online_cpus) for n in (0, 1)]


@pytest.mark.parametrize("by", ["reboot", "nmi"])
def test_a_broadcast_stops_the_cpus_of_all_kernels(stopped, by):
    machine, _ = stopped(filters=False, by=by)
    assert online(machine) == [(0,), ()]


@pytest.mark.parametrize(("by", "what"), [("reboot", "REBOOT_VECTOR"), ("nmi", "stop NMI")])
def test_a_filter_ignores_what_did_not_begin_in_its_kernel_and_says_so(stopped, by, what):
    machine, stops = stopped(filters=True, by=by)
    assert online(machine) == [(0,), (0, 1)]
    assert [each.stopping_cpu for each in stops] == [0, NOBODY_STOPS]
    lines = [record.text for record in machine.kernels[1].log.since(0)]
    assert [line for line in lines if "Ignoring" in line] == [
        f"CPU {number}: Ignoring {what} from other kernel instance (stopping_cpu=-1)"
        for number in (0, 1)
    ]


@pytest.mark.parametrize("by", ["reboot", "nmi"])
def test_one_ipi_to_each_of_its_own_reaches_nobody_else(stopped, by):
    machine, _ = stopped(filters=False, by=by, shorthand=False)
    assert online(machine) == [(0,), (0, 1)]


def test_the_nmi_is_counted_as_ever(stopped):
    machine, _ = stopped(filters=True, by="nmi")
    assert [cpu.irq_stat.nmi_count for cpu in machine.kernels[1].cpus] == [1, 1]

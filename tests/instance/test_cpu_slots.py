"""CPUs that leave a kernel and come to one, and what it refuses (docs/moving-cpus.md)."""

from typing import Any

import pytest

from mkrpc.errors import (
    ClusterStateError,
    InvalidArgumentError,
    LimitReachedError,
    MkrpcError,
    NoCpuError,
)
from mkrpc.instance.accounting import assert_books
from mkrpc.instance.cpu_slots import add_cpu, remove_cpu
from mkrpc.instance.instructions import Nop
from mkrpc.instance.procfs import proc_interrupts
from mkrpc.instance.stop_cpus import StopCpus
from mkrpc.limits import MAX_CPUS
from mkrpc.outcome import Outcome
from mkrpc.x86.apic_base import ApicMode
from mkrpc.x86.icr import decode, fixed, init_assert, nmi, startup


def test_a_vacant_number_takes_nothing_in_any_mode(kernel: Any) -> None:
    assert remove_cpu(kernel, 1) == 1
    for word in (fixed(1, 0xEA), nmi(1), init_assert(1), startup(1, 8)):
        assert kernel.accept(1, word) is Outcome.REJECTED_NO_SUCH_APIC
    address = kernel.address_of(1)
    assert (address.vacant, address.mode, address.apic_id) == (True, ApicMode.DISABLED, 1)
    assert "CPU1" not in proc_interrupts(kernel).splitlines()[0]
    assert remove_cpu(kernel, 1) == 1
    assert [each.vacant for each in kernel.events] == [True]


def test_one_that_comes_waits_for_sipi_under_the_next_number(kernel: Any) -> None:
    assert add_cpu(kernel, 7) == 2
    cpu = kernel.cpus[2]
    assert (cpu.apic_id, cpu.activity, 2 in kernel.hotplug.offline) == (7, "wait-for-sipi", True)
    assert kernel.accept(2, fixed(7, 0xEA)) is Outcome.REJECTED_SOFTWARE_DISABLED
    assert kernel.accept(2, startup(7, 8)) is Outcome.DELIVERED
    assert add_cpu(kernel, 7) == 2
    assert_books(kernel)


def test_what_is_pending_is_discarded_and_the_counts_go_on(kernel: Any) -> None:
    cpu = kernel.cpus[1]
    assert kernel.accept(1, fixed(1, 0x41)) is Outcome.DELIVERED
    cpu.write_tpr(0xF0)
    assert kernel.accept(1, fixed(1, 0x41)) is Outcome.DELIVERED
    remove_cpu(kernel, 1)
    assert (cpu.books.delivered[0x41], cpu.books.discarded[0x41]) == (2, 1)
    assert add_cpu(kernel, 1) == 1
    assert not cpu.apic.irr
    assert (cpu.books.delivered[0x41], cpu.books.discarded[0x41]) == (2, 1)
    assert_books(kernel)


def busy(kernel: Any) -> None:
    def program(cpu: Any) -> Any:
        while True:
            yield Nop()

    kernel.start_program(1, program)


def failed(kernel: Any) -> None:
    kernel.hotplug.take_offline(1)
    kernel.panic(kernel.cpus[0], "for a test")


def full(kernel: Any) -> None:
    for apic_id in range(10, 10 + MAX_CPUS - 2):
        add_cpu(kernel, apic_id)


@pytest.mark.parametrize(
    ("before", "refused", "error", "text"),
    [
        (
            None,
            lambda kernel: remove_cpu(kernel, 9),
            NoCpuError,
            "ENODEV: .* no CPU with APIC id 9",
        ),
        (None, lambda kernel: remove_cpu(kernel, 0), InvalidArgumentError, "EINVAL: .* boot CPU"),
        (
            busy,
            lambda kernel: remove_cpu(kernel, 1),
            ClusterStateError,
            "EBUSY: CPU 1, .* is busy",
        ),
        (failed, lambda kernel: remove_cpu(kernel, 1), ClusterStateError, "EBUSY: the kernel has"),
        (failed, lambda kernel: add_cpu(kernel, 9), ClusterStateError, "EBUSY: the kernel has"),
        (full, lambda kernel: add_cpu(kernel, 9), LimitReachedError, "ENOSPC: .* 512 CPUs"),
        (None, lambda kernel: add_cpu(kernel, 1 << 32), InvalidArgumentError, "EINVAL: .* beyond"),
    ],
    ids=["foreign", "boot", "busy", "failed", "failed-add", "full", "id"],
)
def test_what_a_kernel_refuses(
    kernel: Any, before: Any, refused: Any, error: type[MkrpcError], text: str
) -> None:
    if before is not None:
        before(kernel)
    known = [kernel.address_of(cpu.number) for cpu in kernel.cpus]
    with pytest.raises(error, match=text) as caught:
        refused(kernel)
    assert caught.value.advice
    assert known == [kernel.address_of(cpu.number) for cpu in kernel.cpus]


def test_before_it_has_booted_a_kernel_takes_in_nothing(make_kernel: Any) -> None:
    kernel = make_kernel(wait_for_sipi=True)
    with pytest.raises(ClusterStateError, match="EBUSY: instance 1 has not booted"):
        add_cpu(kernel, 9)


def test_a_cpu_that_has_left_is_not_brought_online(kernel: Any) -> None:
    remove_cpu(kernel, 1)
    with pytest.raises(ClusterStateError, match="has left this kernel"):
        kernel.hotplug.bring_online(1)


@pytest.mark.parametrize("by", ["reboot", "nmi"])
def test_who_stops_the_other_cpus_leaves_alone_what_has_left(make_kernel: Any, by: Any) -> None:
    """It may be another kernel's by now."""
    kernel = make_kernel(cpus=3)
    remove_cpu(kernel, 1)
    stop = StopCpus(kernel, filters=False)
    writes = list(stop.stop_other_cpus(kernel.cpus[0], by=by, shorthand=False))
    assert [decode(each.word).destination for each in writes if each is not None] == [2]

"""The cluster as told in pages: each fits one message, and together they are what one would be."""

from typing import Any

import pytest

from mkrpc.fault import Fault, FaultKind
from mkrpc.interconnect import answers
from mkrpc.interconnect.answers import PAGE_BYTES, Switches, cluster_to_pb
from mkrpc.interconnect.apic_bus import ApicBus
from mkrpc.interconnect.hosts import HostRegistry
from mkrpc.limits import MAX_CMDLINE, MAX_CPUS, MAX_ENTRY, MAX_HANDLERS, MAX_INSTANCE_ID
from mkrpc.link.accounts import VectorCount
from mkrpc.transport.stream import MAX_ANSWER_BYTES
from mkrpc.v1 import control_pb2 as pb
from mkrpc.v1 import types_pb2 as types
from mkrpc.x86.irq_stat import FIELDS


def tell(bus: ApicBus, page_from: int | None = None) -> pb.GetClusterResponse:
    return cluster_to_pb(
        bus, HostRegistry(7), Switches(), address="x", interconnect_pid=1, page_from=page_from
    )


def pages_of(bus: ApicBus) -> list[pb.GetClusterResponse]:
    pages = [tell(bus, 0)]
    while pages[-1].HasField("next_instance"):
        pages.append(tell(bus, pages[-1].next_instance))
    return pages


def instances(*pages: pb.GetClusterResponse) -> list[pb.Instance]:
    return [instance for page in pages for instance in page.instances]


def test_pages_are_the_whole_and_end_where_they_are_full(machine: Any, monkeypatch: Any):
    monkeypatch.setattr(answers, "PAGE_BYTES", 400)
    wire = machine(*((4 * n, 4 * n + 1, 4 * n + 2, 4 * n + 3) for n in range(12)))
    wire.bus.faults.begin(Fault(kind=FaultKind.DROP))
    whole = tell(wire.bus)
    assert not whole.HasField("next_instance")
    pages = pages_of(wire.bus)
    assert len(pages) > 2
    assert instances(*pages) == list(whole.instances)
    for page in pages:
        *full, _ = page.instances
        assert sum(instance.ByteSize() for instance in full) < 400
        assert (page.address, page.epoch) == ("x", 7)
    assert [len(page.faults) for page in pages] == [1] + [0] * (len(pages) - 1)


def test_who_has_gone_between_two_pages_is_in_neither(machine: Any, monkeypatch: Any):
    monkeypatch.setattr(answers, "PAGE_BYTES", 1)
    wire = machine((0,), (1,), (2,))
    assert tell(wire.bus, 0).next_instance == 1
    wire.attach(5, (5,))
    assert [instance.id for instance in tell(wire.bus, 3).instances] == [5]
    assert not tell(wire.bus, 6).instances
    assert not tell(wire.bus, 6).HasField("next_instance")


def test_a_full_page_and_the_largest_instance_fit_one_answer():
    """Bits everywhere, every counter that there is, and as large as in 2^42 interrupts."""
    account = types.CpuAccount(
        irr=b"\xff" * 32, isr=b"\xff" * 32, tpr=255, ppr=255, interrupts_enabled=True
    )
    account.activity, account.multikernel = "wait-for-sipi", 1 << 42
    for vector in range(256):
        counts = dict.fromkeys(("delivered", "coalesced", "handled", "eoi", "discarded"), 1 << 42)
        account.vectors.add(vector=vector, **counts)
    for field in range(len(FIELDS)):
        account.stats.add(field=field, count=1 << 42)
    word = (1 << 32) - 1
    address = types.CpuAddress(apic_id=word, xapic_id=255, ldr=word, dfr=word)
    largest = pb.Instance(name="n" * 63, detail="d" * 4096, incarnation=bytes(16))
    for cpu in range(MAX_CPUS):
        account.cpu = address.cpu = cpu
        largest.cpus.add(address=address, account=account)
    largest.apic_ids.extend([word] * MAX_CPUS)
    image = largest.image
    image.cmdline = "c" * MAX_CMDLINE
    image.handlers.extend(["h" * MAX_ENTRY] * MAX_HANDLERS)
    for cpu in range(MAX_CPUS):
        image.programs.add(cpu=cpu, entry="p" * MAX_ENTRY)
    assert PAGE_BYTES + largest.ByteSize() + 64 * 1024 < MAX_ANSWER_BYTES


@pytest.mark.full
def test_the_largest_machine_is_told_though_no_answer_could_hold_it(machine: Any):
    every, cpus = range(MAX_INSTANCE_ID + 1), 64
    wire = machine(*(tuple(range(n * cpus, (n + 1) * cpus)) for n in every))
    counts = [VectorCount(vector, 1000, 1000, 1000, 1000, 1000) for vector in range(32, 72)]
    for peer in wire.peers:
        accounts = [cpu.account() for cpu in peer.cpus]
        for account in accounts:
            account.vectors = counts
        peer.send(accounts=accounts)
    pages = pages_of(wire.bus)
    assert [instance.id for instance in instances(*pages)] == list(every)
    assert all(len(instance.cpus) == cpus for instance in instances(*pages))
    assert sum(page.ByteSize() for page in pages) > MAX_ANSWER_BYTES
    assert max(page.ByteSize() for page in pages) < 2 * PAGE_BYTES

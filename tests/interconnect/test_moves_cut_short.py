"""A move of a CPU whose interconnect died between the two acknowledgements ends in one truth."""

from typing import Any

import pytest

from mkrpc.interconnect.apic_bus import ApicBus
from mkrpc.interconnect.policy import Policy
from mkrpc.interconnect.takeover import Incarnation, Takeover
from mkrpc.link.endpoint import LinkEnd
from mkrpc.link.frames import WIRE_VERSION, CpuAddress, DownFrame, Hello, UpFrame, Writes
from mkrpc.v1 import types_pb2 as types
from mkrpc.x86.apic_base import ApicMode
from mkrpc.x86.icr import fixed

from .host_by_hand import Host, Machine, hosted, turns

BEFORE, NOW = 11, 12
ACTIVE = int(ApicMode.X2APIC)


def address(cpu: int, apic_id: int, *, vacant: bool = False) -> CpuAddress:
    mode = int(ApicMode.DISABLED) if vacant else ACTIVE
    return CpuAddress(cpu, apic_id, mode, apic_id, 0, 0, not vacant, vacant)


class TakenOver(Machine):
    """Instance 1 is back from an earlier interconnect. Its kernel has the CPUs of ``addresses``,
    its host agent those of ``apic_ids``; the pool has 4 to 7."""

    def __init__(self, *addresses: CpuAddress, apic_ids: list[int], **hello: Any) -> None:
        said = {
            "wire_version": WIRE_VERSION,
            "instance_id": 1,
            "name": "mk1",
            "incarnation": b"1" * 16,
            "pid": 6,
            "cpus": addresses,
            "epoch": BEFORE,
            "generation": 1,
            "born": 1,
            "roster": 5,
            "resolved_below": 1,
        }
        hello_of_kernel = Hello(**said | hello)
        known = Incarnation(
            incarnation=b"1" * 16, instance_id=1, name="mk1", pid=6, born=1, apic_ids=(1,)
        )
        takeover = Takeover(epochs=(BEFORE,), expected=(known,), roster=5)
        bus = ApicBus(epoch=NOW, policy=Policy.bare_metal(), takeover=takeover)
        bus.advance(0)
        self.bus = bus
        self.session = bus.attach(hello_of_kernel)
        super().__init__(
            hosted(1, apic_ids=apic_ids, pid=6, running=True, image=types.Image()), bus=bus
        )

    async def look(self) -> None:
        """The host agent has spoken, and everybody is back."""
        self.verbs.adopt()
        await turns()

    @property
    def kept(self) -> list[tuple[int, list[int], bool]]:
        """What the host agent was told to keep."""
        return [
            (order.keep.instance_id, list(order.keep.apic_ids), order.keep.hotplug)
            for order in self.orders
        ]


@pytest.mark.parametrize(
    ("addresses", "apic_ids", "kept", "pool"),
    [
        # Its kernel has acknowledged that it left, its host agent not.
        ([address(0, 1), address(1, 2, vacant=True)], [1, 2], [1], {2, 4, 5, 6, 7}),
        # Its host agent has acknowledged that it comes, its kernel was never told.
        ([address(0, 1)], [1, 4], [1], {4, 5, 6, 7}),
        # Its host agent had taken it back, and the kernel took it in after all.
        ([address(0, 1), address(1, 4)], [1], [1, 4], {5, 6, 7}),
    ],
    ids=["left", "never came", "came after all"],
)
async def test_a_host_agent_is_told_what_the_kernel_has(
    addresses: list[CpuAddress], apic_ids: list[int], kept: list[int], pool: set[int]
) -> None:
    machine = TakenOver(*addresses, apic_ids=apic_ids)
    await machine.look()
    assert machine.kept == [(1, kept, True)]
    machine.answer()
    await turns()
    assert machine.registry.processes[1].apic_ids == tuple(kept)
    assert machine.registry.pool == pool


@pytest.mark.parametrize(
    "hello",
    [{}, {"cpus": (address(0, 2), address(1, 1), address(2, 5, vacant=True))}],
    ids=["as it was", "in another order"],
)
async def test_who_has_what_its_host_agent_knows_is_left_alone(hello: dict[str, Any]) -> None:
    machine = TakenOver(address(0, 1), address(1, 2), apic_ids=[1, 2], **hello)
    await machine.look()
    assert machine.kept == []


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_a_cpu_that_had_left_by_then_has_still_what_it_wrote_before(order: tuple[int, ...]) -> None:
    """Nobody had been sent it. The hello may tell the CPUs in any order."""
    cpus = (address(0, 2), address(1, 1), address(2, 5, vacant=True))
    machine = TakenOver(apic_ids=[1, 2], cpus=tuple(cpus[cpu] for cpu in order))
    link: LinkEnd[UpFrame, DownFrame] = LinkEnd()
    said = (Writes(cpu, cpu, [fixed(77, 0x41)]) for cpu in (1, 2))
    for frame in (UpFrame(recovered=True), *(UpFrame(events=[each]) for each in said)):
        machine.bus.receive(machine.session, link.stamp(frame))
    assert machine.session.highest_seq == 2
    assert machine.bus.totals().written == 2


async def test_it_is_looked_at_once_and_not_during_a_move_of_today() -> None:
    machine = TakenOver(address(0, 1), address(1, 2), apic_ids=[1, 2])
    await machine.look()
    machine.registry.processes[1].apic_ids = (1, 2, 4)  # as in the middle of an update
    await machine.look()
    assert machine.kept == []


async def test_a_new_life_has_what_its_host_agent_gave_it() -> None:
    """It may have become another since it was started."""
    machine = TakenOver(address(0, 1), apic_ids=[1, 4], epoch=0, generation=0, born=0, roster=0)
    await machine.look()
    assert machine.kept == []


async def test_a_host_agent_that_goes_away_meanwhile_is_told_when_it_is_back() -> None:
    machine = TakenOver(address(0, 1), address(1, 2, vacant=True), apic_ids=[1, 2])
    await machine.look()
    machine.host.vanish()
    await turns()
    assert machine.registry.processes == {}
    machine.host = Host(machine.registry)
    machine.host.hello(
        hosted(1, apic_ids=[1, 2], pid=6, running=True, image=types.Image()), pool=[4, 5, 6, 7]
    )
    await machine.look()
    assert machine.kept == [(1, [1], True)]

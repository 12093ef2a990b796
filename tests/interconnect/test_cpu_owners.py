"""What an instance can say of CPUs that leave and come, and what the bus makes of it."""

from dataclasses import replace
from typing import Any

import pytest

from mkrpc.errors import AlreadyExistsError, NotFoundError, ProtocolError
from mkrpc.link.frames import CpuAddress, OutcomeRun, Writes
from mkrpc.outcome import Outcome
from mkrpc.x86.apic_base import ApicMode
from mkrpc.x86.destination import x2apic_ldr
from mkrpc.x86.icr import fixed


def address(cpu: int, apic_id: int, *, vacant: bool = False) -> CpuAddress:
    mode = ApicMode.DISABLED if vacant else ApicMode.X2APIC
    return CpuAddress(cpu, apic_id, mode, apic_id & 0xFF, x2apic_ldr(apic_id), 0, True, vacant)


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        (address(3, 9), "CPU 3, which does not exist"),
        (address(1, 9), "had APIC id 3, now 9"),
        (address(2, 3), "which another number has"),
        (address(2, 0), "which instance 0 has"),
        (replace(address(1, 3, vacant=True), mode=ApicMode.X2APIC), "has left, and is in"),
    ],
)
def test_what_no_kernel_can_say_of_its_cpus(machine: Any, said: CpuAddress, problem: str) -> None:
    wire = machine((0, 1), (2, 3))
    before = list(wire.peers[1].session.addresses)
    with pytest.raises(ProtocolError, match=problem):
        wire.peers[1].send(events=[said])
    assert wire.peers[1].session.addresses == before
    assert wire.bus.cpu_owner(0)[0] is wire.peers[0].session


def test_a_cpu_that_has_left_writes_nothing_more(machine: Any) -> None:
    wire = machine((0, 1), (2, 3))
    bob = wire.peers[1]
    bob.send(events=[Writes(1, 1, [fixed(0, 0x41)]), address(1, 3, vacant=True)])
    with pytest.raises(ProtocolError, match="a write by CPU 1, which has left"):
        bob.send(events=[Writes(1, 2, [fixed(0, 0x41)])])


def test_an_id_is_nobodys_until_what_was_on_its_way_has_ended(machine: Any) -> None:
    wire = machine((0, 1), (2, 3))
    alice, bob = wire.peers
    wire.inject(fixed(3, 0x41))
    bob.pull()
    bob.send(events=[address(1, 3, vacant=True)])
    with pytest.raises(NotFoundError, match="no CPU has APIC id 3"):
        wire.bus.cpu_owner(3)
    with pytest.raises(ProtocolError, match="which instance 1 has"):
        alice.send(events=[address(2, 3)])
    with pytest.raises(AlreadyExistsError, match="has left instance 1"):
        wire.attach(7, (3,))
    bob.send(applied=1, outcomes=[OutcomeRun(1, 1, Outcome.REJECTED_NO_SUCH_APIC)])
    alice.send(events=[address(2, 3)])
    assert wire.bus.cpu_owner(3) == (alice.session, 2)


def test_an_id_of_somebody_who_dies_meanwhile_is_free(machine: Any) -> None:
    wire = machine((0, 1), (2, 3))
    alice, bob = wire.peers
    wire.inject(fixed(3, 0x41))
    bob.send(events=[address(1, 3, vacant=True)])
    bob.die()
    alice.send(events=[address(2, 3)])
    assert wire.bus.cpu_owner(3) == (alice.session, 2)
    alice.die()
    with pytest.raises(NotFoundError, match="APIC id 3 belongs to instance 0"):
        wire.bus.cpu_owner(3)
    assert wire.attach(7, (3,)).session.alive

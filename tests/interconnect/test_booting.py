"""Start-ups that an interconnect which has died began: they go on, or have failed by name."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from mkrpc.errors import InstanceBusyError
from mkrpc.interconnect import booting
from mkrpc.interconnect.start_up import START_PAGE, boot_by_host
from mkrpc.lifecycle import InstanceState
from mkrpc.link.frames import WIRE_VERSION
from mkrpc.outcome import Outcome
from mkrpc.v1 import interconnect_pb2 as pb
from mkrpc.v1 import types_pb2 as types
from mkrpc.x86.icr import startup

from .host_by_hand import Machine, hosted, turns
from .ward import Ward, make_ward

S = InstanceState
SIPI = startup(4, START_PAGE)
RUNS = {"image": types.Image(), "pid": 6, "running": True}


class TakenOver(Machine):
    """Instance 1, which waits for SIPI, is attached; its host agent says that its process runs."""

    def __init__(self, ward: Ward) -> None:
        super().__init__(hosted(1, apic_ids=[4, 5], **RUNS), bus=ward.wire.bus)
        self.ward = ward

    @property
    def process(self) -> Any:
        return self.registry.processes[1]

    async def rest(self) -> None:
        """Until nothing is done of the instance any more; the kernels do what they are told."""
        await turns()
        async with asyncio.timeout(60):
            while self.process.booting:
                self.ward.drain()
                if self.orders and self.orders[-1].HasField("kill") and self.process.running:
                    self.ward.wire.peers[1].die("killed")
                    self.answer(pid=6, exit_code=-9, ended_by_order=True)
                await asyncio.sleep(0)


@contextmanager
def short(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setattr(booting, "boot_by_host", partial(boot_by_host, timeout_s=0.05))
        yield


async def test_a_kernel_that_was_never_sent_its_sipi_is_sent_it(machine):
    hosting = TakenOver(make_ward(machine))
    assert hosting.verbs.states()[1] is S.ACTIVE
    hosting.verbs.adopt()
    await turns()
    assert hosting.verbs.states()[1] is S.LOADED
    hosting.ward.go_online(1)
    await hosting.rest()
    assert hosting.ward.words == [SIPI, SIPI]
    assert hosting.verbs.states()[1] is S.ACTIVE
    assert hosting.process.failure == ""
    assert hosting.orders == []


async def test_a_sipi_that_comes_after_all_is_enough(machine):
    """The host's kernel had written one, and sends it again to the next interconnect."""
    hosting = TakenOver(make_ward(machine))
    hosting.verbs.adopt()
    hosting.ward.wire.peers[0].write(SIPI)
    hosting.ward.wire.peers[0].push()
    hosting.ward.go_online(1)
    await hosting.rest()
    assert hosting.ward.words == [SIPI] * 3
    assert hosting.verbs.states()[1] is S.ACTIVE


async def test_one_that_does_not_come_up_has_failed_by_name_and_is_ended(machine, monkeypatch):
    hosting = TakenOver(make_ward(machine, takes_sipi=Outcome.REJECTED_APIC_DISABLED))
    with short(monkeypatch):
        hosting.verbs.adopt()
        await hosting.rest()
    assert hosting.orders[-1].kill == pb.KillProcess(instance_id=1, force=True)
    assert hosting.verbs.states()[1] is S.FAILED
    assert hosting.process.failure == (
        "stuck at start-up, which another interconnect began: ETIMEDOUT: CPU 0 of instance 1 "
        "(kernel1), APIC id 4, is not responding within 0.05 s (SIPI: rejected(apic_disabled), "
        "SIPI: rejected(apic_disabled))"
    )


async def test_without_a_host_to_send_it_has_failed_too(machine):
    made = make_ward(machine)
    made.wire.peers[0].die()
    hosting = TakenOver(made)
    hosting.verbs.adopt()
    await hosting.rest()
    assert hosting.verbs.states()[1] is S.FAILED
    assert "ENODEV: the host instance is not active" in hosting.process.failure


async def test_of_one_that_is_being_started_nothing_else_is_done(machine):
    hosting = TakenOver(make_ward(machine))
    hosting.verbs.adopt()
    hosting.verbs.adopt()
    with pytest.raises(InstanceBusyError, match="exec of instance 1 is under way"):
        await hosting.verbs.kill(1, force=True, signal=False)
    hosting.ward.go_online(1)
    await hosting.rest()
    assert hosting.ward.words == [SIPI, SIPI]


async def test_one_that_has_come_up_is_never_started_again(machine):
    """A program may send its boot CPU INIT, and its SIPI when it likes."""
    hosting = TakenOver(make_ward(machine))
    spawn = hosting.ward.wire.peers[1]
    for number in range(2):
        hosting.ward.go_online(number)
    spawn.push()
    hosting.verbs.adopt()
    spawn.events.append(replace(spawn.hello.cpus[0], software_enabled=False))
    spawn.push()
    hosting.verbs.adopt()
    await turns()
    hosting.ward.drain()
    assert not hosting.process.booting
    assert hosting.ward.words == []


async def test_one_that_runs_since_its_cluster_began_is_none(machine):
    wire = machine((0,), (4,))
    hosting = Machine(hosted(1, apic_ids=[4], **RUNS), bus=wire.bus)
    spawn = wire.peers[1]
    spawn.events.append(replace(spawn.hello.cpus[0], software_enabled=False))
    spawn.push()
    hosting.verbs.adopt()
    assert not hosting.registry.processes[1].booting


def test_a_host_agent_that_speaks_by_itself_makes_the_interconnect_look(machine):
    told: list[str] = []
    hosting = Machine(hosted(1, **RUNS), bus=machine((0,)).bus)
    hosting.registry.on_told = lambda: told.append("look")
    hosting.host.say(report=pb.HostReport(instance_id=1, pid=6, running=True))
    assert told == ["look"]
    other = hosting.registry.open(hosting.host.wire)
    hosting.registry.admit(other, pb.HostHello(wire_version=WIRE_VERSION, pid=2, host_name="h"))
    assert told == ["look", "look"]

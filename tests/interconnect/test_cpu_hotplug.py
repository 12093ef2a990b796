"""An update of an instance that runs: orders to its kernel and to its host agent, and refusals."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from mkrpc.errors import (
    ClusterStateError,
    InvalidArgumentError,
    LimitReachedError,
    ProtocolError,
    StuckError,
    UnavailableError,
)
from mkrpc.interconnect import cpu_hotplug
from mkrpc.lifecycle import InstanceState
from mkrpc.link.frames import (
    Command,
    CommandKind,
    CpuAccount,
    CpuAddress,
    CpuView,
    OutcomeRun,
    Reply,
)
from mkrpc.outcome import Outcome
from mkrpc.v1 import types_pb2 as types
from mkrpc.x86.apic_base import ApicMode
from mkrpc.x86.destination import x2apic_ldr
from mkrpc.x86.icr import fixed

from .host_by_hand import Machine, hosted, turns

REMOVE, ADD, SET = CommandKind.REMOVE_CPU, CommandKind.ADD_CPU, CommandKind.SET_CPU


def address(cpu: int, apic_id: int, *, vacant: bool = False, online: bool = True) -> CpuAddress:
    mode = ApicMode.DISABLED if vacant else ApicMode.X2APIC
    return CpuAddress(cpu, apic_id, mode, apic_id, x2apic_ldr(apic_id), 0, online, vacant)


class Kernels:
    """Instances 0 to 2 with APIC ids 0, 1 and 2, 3; what their kernels are told, they do, unless
    ``refuse`` says otherwise."""

    def __init__(self, wire: Any) -> None:
        self.wire = wire((0,), (1, 2), (3,))
        run = {"running": True, "image": types.Image()}
        self.host = Machine(
            hosted(1, pid=11, apic_ids=[1, 2], **run),
            hosted(2, pid=12, apic_ids=[3], **run),
            bus=self.wire.bus,
        )
        self.told: list[tuple[int, CommandKind, int]] = []
        self.kept: list[tuple[int, tuple[int, ...]]] = []
        self.answered = 0
        self.refuse: Callable[[Command], Reply | None] = lambda _command: None

    async def do(self, asked: Any) -> Any:
        task = asyncio.ensure_future(asked)
        while not task.done():
            await turns()
            self.kernels()
            self.agent()
            await asyncio.sleep(0)
        return await task

    def update(self, instance_id: int, *apic_ids: int) -> Any:
        return self.do(self.host.verbs.update(instance_id, apic_ids))

    def kernels(self) -> None:
        for peer in self.wire.peers:
            while peer.session.alive and peer.pull():
                pass
            commands, peer.commands = peer.commands, []
            for command in commands:
                self.told.append((peer.session.instance_id, command.kind, command.word))
                refused = self.refuse(command)
                if refused is None:
                    self.obey(peer, command)
                elif refused.command:
                    peer.replies.append(refused)
            if peer.session.alive:
                peer.push()

    @staticmethod
    def obey(peer: Any, command: Command) -> None:
        cpus, apic_id = peer.session.addresses, command.word
        number = next((a.cpu for a in cpus if a.apic_id == apic_id), len(cpus))
        match command.kind:
            case CommandKind.REMOVE_CPU:
                peer.events.append(address(number, apic_id, vacant=True))
            case CommandKind.ADD_CPU:
                peer.events.append(address(number, apic_id, online=False))
            case CommandKind.SET_CPU:
                assert command.action == "online=1"
                account = CpuAccount(command.cpu, 0, 0, 0, 0, True, "idle", 0)
                apic_id = cpus[command.cpu].apic_id
                view = CpuView(account, apic_id, int(ApicMode.X2APIC), {})
                peer.events.append(address(command.cpu, apic_id))
                peer.replies.append(Reply(command.number, cpus=[view]))
                return
        peer.replies.append(Reply(command.number, text=str(number)))

    def agent(self) -> None:
        while self.answered < len(self.host.orders):
            order = self.host.orders[self.answered]
            self.answered += 1
            assert order.keep.hotplug
            self.kept.append((order.keep.instance_id, tuple(order.keep.apic_ids)))
            self.host.answer()


@pytest.fixture
def kernels(machine: Any) -> Kernels:
    return Kernels(machine)


async def test_a_cpu_leaves_and_comes_with_its_host_agents_told(kernels: Kernels) -> None:
    assert await kernels.update(1, 1) is InstanceState.ACTIVE
    assert kernels.host.registry.pool == {2, 4, 5, 6, 7}
    assert await kernels.update(2, 2, 3) is InstanceState.ACTIVE
    assert kernels.host.registry.pool == {4, 5, 6, 7}
    assert kernels.told == [(1, REMOVE, 2), (2, ADD, 2), (2, SET, 0)]
    assert kernels.kept == [(1, (1,)), (2, (3, 2))]
    bob, carol = kernels.wire.peers[1:]
    assert kernels.wire.bus.cpu_owner(2) == (carol.session, 1)
    assert [a.vacant for a in bob.session.addresses] == [False, True]


async def test_what_is_so_already_is_not_done_again(kernels: Kernels) -> None:
    await kernels.update(1, 2, 1)
    assert not kernels.told
    await kernels.update(1, 1)
    # Its acknowledgement, or that of the host agent, was lost: the host agent has it there still.
    kernels.host.registry.processes[1].apic_ids = (1, 2)
    await kernels.update(1, 1)
    assert kernels.kept[-1] == (1, (1,))
    assert [each[1] for each in kernels.told] == [REMOVE, REMOVE]


async def test_a_boot_cpu_is_refused_before_anything_is_done(kernels: Kernels) -> None:
    with pytest.raises(InvalidArgumentError, match=r"EINVAL: .* APIC id 1 is the boot CPU"):
        await kernels.update(1, 2)
    assert not kernels.told


async def test_what_a_taker_refuses_is_the_pools_again(kernels: Kernels) -> None:
    await kernels.update(1, 1)
    kernels.refuse = lambda command: (
        Reply(command.number, error="ENOSPC: no number", reason="LIMIT_REACHED", advice="none")
        if command.kind is ADD
        else None
    )
    with pytest.raises(LimitReachedError, match="ENOSPC: no number"):
        await kernels.update(2, 3, 2)
    assert kernels.kept[1:] == [(2, (3, 2)), (2, (3,))]
    assert kernels.host.registry.pool == {2, 4, 5, 6, 7}


async def test_a_taker_that_says_what_is_not_so(kernels: Kernels) -> None:
    await kernels.update(1, 1)
    kernels.refuse = lambda command: Reply(command.number, text="77")
    with pytest.raises(ProtocolError, match="says that it took in APIC id 2, and has not"):
        await kernels.update(2, 3, 2)
    assert kernels.host.registry.pool == {2, 4, 5, 6, 7}


async def test_a_giver_that_refuses_keeps_it(kernels: Kernels) -> None:
    kernels.refuse = lambda command: Reply(
        command.number, error="EBUSY: CPU 1 is busy", reason="WRONG_STATE", advice="wait"
    )
    with pytest.raises(ClusterStateError, match="EBUSY: CPU 1 is busy"):
        await kernels.update(1, 1)
    assert not kernels.kept
    assert kernels.wire.bus.cpu_owner(2)[0].instance_id == 1


async def test_a_kernel_that_does_not_answer(
    kernels: Kernels, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next call goes on from where it was, which is nowhere: the command is still there."""
    silent = Reply(0)
    kernels.refuse = lambda _command: silent
    monkeypatch.setattr(cpu_hotplug, "HOTPLUG_TIMEOUT_S", 0.05)
    with pytest.raises(StuckError, match=r"ETIMEDOUT: .* give up the CPU with APIC id 2"):
        await kernels.update(1, 1)
    assert kernels.told == [(1, REMOVE, 2)]
    assert not kernels.kept


async def test_a_taker_that_dies_before_it_has_answered_leaves_it_in_the_pool(
    kernels: Kernels,
) -> None:
    await kernels.update(1, 1)

    def die(command: Command) -> Reply:
        kernels.wire.peers[2].die()
        return Reply(0)

    kernels.refuse = die
    with pytest.raises(UnavailableError, match="went away"):
        await kernels.update(2, 3, 2)
    assert kernels.host.registry.processes[2].apic_ids == (3,)
    assert kernels.host.registry.pool == {2, 4, 5, 6, 7}


async def test_a_taker_that_dies_with_it_has_it_in_its_next_life(kernels: Kernels) -> None:
    """It has taken it in, and not brought it online."""
    await kernels.update(1, 1)
    carol = kernels.wire.peers[2]

    def takes_no_sipi(command: Command) -> Reply | None:
        if command.kind is not SET:
            return None
        kernels.obey(carol, command)
        carol.events.clear()
        return Reply(0)

    kernels.refuse = takes_no_sipi
    task = asyncio.ensure_future(kernels.update(2, 3, 2))
    while (2, SET, 0) not in kernels.told:
        await turns()
    carol.die()
    with pytest.raises(UnavailableError, match="instance 2 ended: killed"):
        await task
    assert kernels.host.registry.processes[2].apic_ids == (3, 2)


async def test_a_taker_that_does_not_answer_has_it_until_somebody_asks_again(
    kernels: Kernels, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows whether it has taken it in; it is nobody else's, and the same call finds out."""
    await kernels.update(1, 1)
    withheld: list[Command] = []
    kernels.refuse = lambda command: withheld.append(command) or Reply(0)
    with monkeypatch.context() as impatient:
        impatient.setattr(cpu_hotplug, "HOTPLUG_TIMEOUT_S", 0.05)
        for _ in range(2):
            with pytest.raises(StuckError, match=r"ETIMEDOUT: .* take in the CPU with APIC id 2"):
                await kernels.update(2, 3, 2)
    assert kernels.host.registry.pool == {4, 5, 6, 7}
    assert len(withheld) == 1, "it owes an answer, and is not told again"
    kernels.refuse = lambda _command: None
    kernels.obey(kernels.wire.peers[2], withheld[0])
    await kernels.update(2, 3, 2)
    assert kernels.wire.bus.cpu_owner(2)[0].instance_id == 2
    assert kernels.kept[-1] == (2, (3, 2))


async def test_an_id_to_which_something_is_on_its_way_is_waited_for(kernels: Kernels) -> None:
    bob = kernels.wire.peers[1]
    kernels.wire.inject(fixed(2, 0x41))
    await kernels.update(1, 1)
    task = asyncio.ensure_future(kernels.update(2, 3, 2))
    for _ in range(5):
        await turns()
    assert [kind for _, kind, _ in kernels.told] == [REMOVE]
    assert kernels.wire.bus.is_moving(2)
    bob.outcomes.append(OutcomeRun(1, 1, Outcome.REJECTED_NO_SUCH_APIC))
    bob.applied = 1
    bob.push()
    await task
    assert kernels.wire.bus.cpu_owner(2)[0].instance_id == 2
